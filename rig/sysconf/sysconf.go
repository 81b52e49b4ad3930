// Package sysconf writes the configuration files that the rig serves: it takes
// the text of a golden file as it is, sets and removes fields in it and
// encrypts it where a scenario asks for that. The grammar is the vendor's:
// [SECTION] lines, then "name value ;comment", blank-separated, values with
// blanks in double quotes (phone-facts section 2.1).
package sysconf

import (
	"bytes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // the vendor's cipher is 3DES
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxLine bounds a line of a golden file, in bytes.
const MaxLine = 4096

// File is a configuration file whose lines, comments and order are kept.
type File struct{ lines []string }

// Parse takes a golden file's text. The error names the line.
func Parse(name string, text []byte) (*File, error) {
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, fmt.Errorf("%s: not a text file: golden files are given in clear, the rig encrypts them itself", name)
	}
	f := &File{}
	section := ""
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if len(line) > MaxLine {
			return nil, fmt.Errorf("%s:%d: the line has %d bytes, more than %d", name, n, len(line), MaxLine)
		}
		body := strings.TrimSpace(line)
		switch {
		case body == "" || body[0] == ';':
		case body[0] == '[':
			end := strings.IndexByte(body, ']')
			if end < 2 {
				return nil, fmt.Errorf("%s:%d: section header %q is not closed", name, n, body)
			}
			section = body[1:end]
		case section == "":
			return nil, fmt.Errorf("%s:%d: %q stands before the first [SECTION]", name, n, body)
		case strings.Contains(strings.Fields(body)[0], "="):
			return nil, fmt.Errorf("%s:%d: %q: names and values are separated by a blank, not by \"=\"", name, n, body)
		}
		f.lines = append(f.lines, line)
	}
	return f, nil
}

// Clone returns a copy that can be changed by itself.
func (f *File) Clone() *File { return &File{lines: slices.Clone(f.lines)} }

// Set gives a field a value, in place where it stands already, else at the end
// of its section, which is made where it is missing.
func (f *File) Set(section, name, value string) { f.set(section, name, Quote(value)) }

// SetList is Set of several words, which stand there without quotes (88).
func (f *File) SetList(section, name string, words ...string) {
	f.set(section, name, strings.Join(words, " "))
}

func (f *File) set(section, name, text string) {
	line := name + " " + text
	if i := f.find(section, name); i >= 0 {
		f.lines[i] = line
		return
	}
	end := f.sectionEnd(section)
	if end < 0 {
		f.lines = append(f.lines, "["+section+"]", line)
		return
	}
	f.lines = slices.Insert(f.lines, end, line)
}

// Remove takes a field out of the file.
func (f *File) Remove(section, name string) {
	if i := f.find(section, name); i >= 0 {
		f.lines = slices.Delete(f.lines, i, i+1)
	}
}

// Get returns the value of a field as the file gives it, without quotes.
func (f *File) Get(section, name string) (value string, ok bool) {
	i := f.find(section, name)
	if i < 0 {
		return "", false
	}
	rest := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(f.lines[i]), name))
	if after, quoted := strings.CutPrefix(rest, `"`); quoted {
		value, _, _ = strings.Cut(after, `"`)
		return value, true
	}
	rest, _, _ = strings.Cut(rest, " ;")
	return strings.TrimSpace(rest), true
}

func (f *File) find(section, name string) int {
	in := ""
	for i, line := range f.lines {
		body := strings.TrimSpace(line)
		if strings.HasPrefix(body, "[") {
			in, _, _ = strings.Cut(body[1:], "]")
			continue
		}
		if in == section && (body == name || strings.HasPrefix(body, name+" ") || strings.HasPrefix(body, name+"\t")) {
			return i
		}
	}
	return -1
}

func (f *File) sectionEnd(section string) int {
	in, end := "", -1
	for i, line := range f.lines {
		body := strings.TrimSpace(line)
		if strings.HasPrefix(body, "[") {
			in, _, _ = strings.Cut(body[1:], "]")
		}
		if in == section {
			end = i + 1
		}
	}
	return end
}

// Bytes returns the file's text.
func (f *File) Bytes() []byte {
	if len(f.lines) == 0 {
		return nil
	}
	return []byte(strings.Join(f.lines, "\n") + "\n")
}

// Quote writes a value as the handsets want it: in double quotes when it is
// empty or holds blanks or a semicolon.
func Quote(value string) string {
	if value == "" || strings.ContainsAny(value, " \t;") {
		return `"` + value + `"`
	}
	return value
}

// Encrypt makes an unreadable file of a text. form is the fact
// decrypt-key-form; key is in hexadecimal.
func Encrypt(form, key string, text []byte) ([]byte, error) {
	raw, err := hex.DecodeString(key)
	if err != nil || len(raw) != 16 {
		return nil, errors.New("encrypt: the key is not of 32 hexadecimal digits")
	}
	block, err := des.NewTripleDESCipher(slices.Concat(raw, raw[:8])) //nolint:gosec // the vendor's cipher is 3DES
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	padded := slices.Clone(text)
	for len(padded)%des.BlockSize != 0 {
		padded = append(padded, 0)
	}
	out := make([]byte, len(padded))
	switch form {
	case "3des-2key-hex-cbc-zero-iv-zero-pad":
		cipher.NewCBCEncrypter(block, make([]byte, des.BlockSize)).CryptBlocks(out, padded) //nolint:gosec // a zero IV is what is assumed of the handset
	case "3des-2key-hex-ecb-zero-pad":
		for i := 0; i < len(padded); i += des.BlockSize {
			block.Encrypt(out[i:i+des.BlockSize], padded[i:i+des.BlockSize])
		}
	default:
		return nil, fmt.Errorf("encrypt: unknown form %q", form)
	}
	return out, nil
}

// Package config reads the configuration files of the simulated handset:
// sections in brackets, then one "name value ;comment" per line, as the
// vendor's reference file for the family shows them. It is written to survive
// whatever a network delivers: what it cannot make sense of it leaves out, and
// says so, and everything else is taken.
//
// What no document says is decided here, once:
//   - names and sections are told apart by letter case, as they are shown;
//   - a header that is not whole, or an unknown section, hides all lines up to
//     the next header; lines before the first header are left out;
//   - of a name that occurs twice the last one counts;
//   - a name that is not in the table of fields is left out;
//   - a value out of range, an open quote or blanks in a value that is not a
//     list leave the line out (LG phones ignored unquoted display names);
//   - a line longer than MaxLine bytes is left out.
package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"ip88rig/rig/model"
)

// MaxLine is the longest line that is looked at, in bytes (assumed).
const MaxLine = 1024

// Setting is one field that a file sets.
type Setting struct {
	Field model.Field
	// Value is without quotes; the words of a list are parted by one blank.
	Value string
	// Line counts from 1.
	Line int
}

// Remark is a line that was left out, and why.
type Remark struct {
	Line int
	Why  string
}

// String prints the remark for a log.
func (r Remark) String() string { return fmt.Sprintf("line %d: %s", r.Line, r.Why) }

// maxRemarks keeps a file of rubbish from filling the log.
const maxRemarks = 20

// File is what one configuration file says.
type File struct {
	// Settings stand in the order of the file.
	Settings []Setting
	// Includes names the files of "include <file> phonebook" lines.
	Includes []string
	// Remarks are the first lines that were left out; Ignored counts them all.
	Remarks []Remark
	Ignored int
}

func (f *File) remark(line int, format string, args ...any) {
	f.Ignored++
	if len(f.Remarks) < maxRemarks {
		f.Remarks = append(f.Remarks, Remark{line, fmt.Sprintf(format, args...)})
	}
}

// Options changes how a file is read.
type Options struct {
	// KeepsComments takes the comment after a value for a part of it.
	KeepsComments bool
}

// Parse reads a configuration file. It never fails: a file of rubbish is a
// file that sets nothing.
func Parse(text []byte, rules Rules, opts Options) File {
	var f File
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	section, number := "", 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimRight(line, "\r\n")
		if len(line) > MaxLine {
			f.remark(number, "%d bytes are more than %d", len(line), MaxLine)
			continue
		}
		s := strings.Trim(string(line), " \t")
		switch {
		case s == "" || s[0] == ';':
		case s[0] == '[':
			section = f.header(number, s, rules)
		default:
			f.line(number, section, s, rules, opts)
		}
	}
	return f
}

// header returns the section that a header opens, blank when it hides what follows.
func (f *File) header(number int, s string, rules Rules) string {
	name, rest, ok := strings.Cut(s[1:], "]")
	name, rest = strings.TrimSpace(name), strings.TrimLeft(rest, " \t")
	if !ok || rest != "" && rest[0] != ';' {
		f.remark(number, "section header %.40q is not whole", s)
		return ""
	}
	if !rules.hasSection(name) {
		f.remark(number, "unknown section %.40q", name)
		return ""
	}
	return name
}

func (f *File) line(number int, section, s string, rules Rules, opts Options) {
	words, comment, err := split(s)
	if err != nil {
		f.remark(number, "%v", err)
		return
	}
	if len(words) == 0 {
		return
	}
	if words[0] == "include" {
		// An include stands at the end of a file, in whatever section that is.
		if len(words) != 3 || words[2] != "phonebook" {
			f.remark(number, "include wants a file and the word phonebook")
			return
		}
		f.Includes = append(f.Includes, words[1])
		return
	}
	if section == "" {
		f.remark(number, "%.40q stands in no known section", words[0])
		return
	}
	name, values := keyword(section, words)
	field := model.Field{Section: section, Name: name}
	rule, ok := rules.Rule(field)
	if !ok {
		f.remark(number, "unknown name %s/%.40q", section, name)
		return
	}
	if len(values) > 1 && !rule.List {
		f.remark(number, "%s: %d words without quotes", name, len(values))
		return
	}
	if opts.KeepsComments && len(values) > 0 && comment != "" {
		values = append(values, comment)
	}
	value := strings.Join(values, " ")
	if err := rule.Check(value); err != nil {
		f.remark(number, "%s: %v", name, err)
		return
	}
	f.Settings = append(f.Settings, Setting{field, value, number})
}

// keyword takes the sub-name of "function tcp enable" and of "add 3 1 201"
// into the name, so that every setting has one name and one value.
func keyword(section string, words []string) (name string, values []string) {
	n := 1
	switch {
	case words[0] == "function", words[0] == "vsc":
		n = 2
	case words[0] == "add" && section == "PROG":
		n = 2
	case words[0] == "add" && section == "ROUTE":
		// A route has no key of its own: the whole record is its name.
		n = len(words)
	}
	n = min(n, len(words))
	return strings.Join(words[:n], " "), words[n:]
}

// split cuts a line into words up to its comment, which it returns. A comment opens with a
// semicolon at the start of a word; in the middle of a word it is a part of it,
// since "a blank is required between the value and ;".
func split(s string) (words []string, comment string, err error) {
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == ';' {
			return words, s, nil
		}
		if s[0] == '"' {
			text, rest, ok := strings.Cut(s[1:], `"`)
			if !ok {
				return nil, "", fmt.Errorf("quote is not closed")
			}
			if rest != "" && !strings.ContainsRune(" \t;", rune(rest[0])) {
				return nil, "", fmt.Errorf("%.20q follows a closing quote", rest)
			}
			words = append(words, text)
			s = rest
			continue
		}
		end := strings.IndexAny(s, " \t")
		if end < 0 {
			end = len(s)
		}
		words = append(words, s[:end])
		s = s[end:]
	}
}

// Readable reports whether bytes are text that a handset would read as it
// stands (assumed: UTF-8 without control characters). A byte order mark and
// the line ends of any system are text; a NUL is not.
func Readable(data []byte) bool {
	if !utf8.Valid(data) {
		return false
	}
	for _, b := range data {
		if b < ' ' && b != '\t' && b != '\r' && b != '\n' || b == 0x7f {
			return false
		}
	}
	return true
}

// DamagedText reports whether a file that is not readable was text: UTF-8 with
// control characters in it, as no cipher leaves it.
func DamagedText(data []byte) bool {
	const short = 16 // whatever is shorter may be anything
	return len(data) >= short && utf8.Valid(data) && !Readable(data)
}

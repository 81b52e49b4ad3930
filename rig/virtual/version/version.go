// Package version reads the software version file of the simulated handset,
// which names the version on the server and the files to download (guide F-2).
// The guide says no more of it than that, and that a line with "#" in front is
// a comment; the form of the lines is the fact version-file-syntax.
//
// A file that is damaged in any way is refused as a whole: a handset that
// installs half of what was meant may not come back.
package version

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Syntax is the one known form of the file (8000E): "version <string>", then
// "<tag> <file> <CRC-32 as 8 hex digits>" lines. The digits may be left out;
// then the file is not checked.
const Syntax = "version-tag-file-crc32"

// Limits that a sane file keeps (assumed).
const (
	// MaxSize is the longest file, in bytes.
	MaxSize = 64 << 10
	// MaxFiles is how many files it may name.
	MaxFiles = 32
	maxWord  = 128
)

// Listed is one file to download.
type Listed struct {
	Tag, Name string
	// CRC is the IEEE CRC-32 of the whole file, if HasCRC.
	CRC    uint32
	HasCRC bool
}

// File is what a version file says.
type File struct {
	Version string
	Files   []Listed
}

// Options are ways to read the file wrongly.
type Options struct {
	// KeepsTrailing takes what stands after the version in its line, up to the
	// line feed, for a part of it.
	KeepsTrailing bool
	// CommentsOnlyOnTop takes a "#" line below the version line for a file.
	CommentsOnlyOnTop bool
}

// Parse reads a version file. Lines with "#" in front are comments wherever
// they stand, also after blanks (assumed).
func Parse(syntax string, data []byte, opts Options) (File, error) {
	var f File
	if syntax != Syntax {
		return f, fmt.Errorf("version file: unknown syntax %q", syntax)
	}
	if len(data) > MaxSize {
		return f, fmt.Errorf("version file: %d bytes are more than %d", len(data), MaxSize)
	}
	number := 0
	for raw := range bytes.Lines(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))) {
		number++
		if raw[0] == '#' && (f.Version == "" || !opts.CommentsOnlyOnTop) {
			continue // whatever a comment holds
		}
		for _, b := range raw {
			if b >= 0x7f || b < ' ' && b != '\t' && b != '\r' && b != '\n' {
				return File{}, fmt.Errorf("version file: line %d: byte %#02x is not ASCII text", number, b)
			}
		}
		line := strings.TrimSpace(string(raw))
		if line == "" || line[0] == '#' && (f.Version == "" || !opts.CommentsOnlyOnTop) {
			continue
		}
		if err := f.line(strings.Fields(line), opts); err != nil {
			return File{}, fmt.Errorf("version file: line %d: %w", number, err)
		}
		if rest, ok := strings.CutPrefix(string(raw), "version "); ok && opts.KeepsTrailing {
			f.Version = strings.TrimSuffix(rest, "\n")
		}
	}
	if f.Version == "" {
		return File{}, fmt.Errorf("version file: no version in %d lines", number)
	}
	return f, nil
}

func (f *File) line(words []string, opts Options) error {
	for _, w := range words {
		if len(w) > maxWord {
			return fmt.Errorf("word of %d characters", len(w))
		}
	}
	if words[0] == "version" {
		if f.Version != "" {
			return fmt.Errorf("a second version")
		}
		if len(words) != 2 {
			return fmt.Errorf("version wants one word, not %d", len(words)-1)
		}
		f.Version = words[1]
		return nil
	}
	if f.Version == "" {
		return fmt.Errorf("%q stands before the version", words[0])
	}
	if opts.CommentsOnlyOnTop && words[0][0] == '#' {
		f.Files = append(f.Files, Listed{Tag: "#", Name: strings.TrimLeft(words[len(words)-1], "#")})
		return nil
	}
	if len(words) < 2 || len(words) > 3 {
		return fmt.Errorf("%d words, want tag, file and checksum", len(words))
	}
	l := Listed{Tag: words[0], Name: words[1]}
	if strings.Contains(l.Name, "..") || strings.HasPrefix(l.Name, "/") || strings.ContainsAny(l.Name, `\?#%`) {
		return fmt.Errorf("file name %q", l.Name)
	}
	if len(words) == 3 {
		sum, err := strconv.ParseUint(words[2], 16, 32)
		if err != nil || len(words[2]) != 8 {
			return fmt.Errorf("checksum %q of %s is not 8 hex digits", words[2], l.Name)
		}
		l.CRC, l.HasCRC = uint32(sum), true
	}
	if len(f.Files) == MaxFiles {
		return fmt.Errorf("more than %d files", MaxFiles)
	}
	f.Files = append(f.Files, l)
	return nil
}

// Newer reports whether version a sorts after b: runs of digits are compared as
// numbers, all else byte by byte.
func Newer(a, b string) bool {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			m, n := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
			if len(m) != len(n) {
				return len(m) > len(n)
			}
			if m != n {
				return m > n
			}
			a, b = a[x:], b[y:]
			continue
		}
		if a[0] != b[0] {
			return a[0] > b[0]
		}
		a, b = a[1:], b[1:]
	}
	return len(a) > len(b)
}

// digits returns how many digits s opens with.
func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

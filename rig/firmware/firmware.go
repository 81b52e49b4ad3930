// Package firmware holds software versions that can be offered to a handset:
// vendor bundles named in the bench file, checked against their sums before
// anything is served, and generated stand-ins for simulated handsets. A real
// handset is never offered a stand-in.
package firmware

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"ip88rig/fixtures"
	"ip88rig/rig/bench"
	"ip88rig/rig/model"
	"ip88rig/rig/publish"
)

// Version is one software version with its files.
type Version struct {
	// Name is the version string that the version file names.
	Name string
	// VersionFile is the text of the version file.
	VersionFile []byte
	// Files are those that the version file lists, in its order.
	Files []publish.File
	// StandIn tells a generated one from a vendor's.
	StandIn bool
}

// StandIn generates a version for a simulated handset; size is the main
// file's, in bytes.
func StandIn(m model.Model, version string, seed uint64, size int) Version {
	files := fixtures.Firmware(string(m), version, seed, size)
	v := Version{Name: version, VersionFile: fixtures.VersionFile(version, files), StandIn: true}
	for _, f := range files {
		v.Files = append(v.Files, publish.File{Name: f.Name, Content: f.Content, Meaning: "software file of stand-in " + version})
	}
	return v
}

// Load reads a vendor bundle: the version file of the model, each file that the
// bench entry lists, all checked against SHA256SUMS. The bundle must be whole:
// the version file names the bench entry's version and lists its files, no other.
func Load(m model.Model, b bench.Bundle) (Version, error) {
	sums, err := readSums(filepath.Join(b.Folder, "SHA256SUMS"))
	if err != nil {
		return Version{}, err
	}
	v := Version{Name: b.Version}
	read := func(name string) ([]byte, error) {
		path := filepath.Join(b.Folder, name)
		data, err := os.ReadFile(path) //nolint:gosec // names are plain file names, checked with the bench file
		if err != nil {
			return nil, fmt.Errorf("firmware bundle: %w", err)
		}
		want, ok := sums[name]
		sum := sha256.Sum256(data)
		if got := hex.EncodeToString(sum[:]); !ok || got != want {
			return nil, fmt.Errorf("firmware bundle: %s does not match SHA256SUMS: has %s, want %q", path, got, want)
		}
		return data, nil
	}
	if v.VersionFile, err = read(m.VersionFile()); err != nil {
		return Version{}, err
	}
	path := filepath.Join(b.Folder, m.VersionFile())
	version, listed, plain := parse(v.VersionFile)
	switch {
	case !plain:
		words := wordsOf(v.VersionFile)
		if !words[b.Version] {
			return Version{}, fmt.Errorf("firmware bundle: %s does not name the version %q of the bench file", path, b.Version)
		}
		for _, name := range b.Files {
			if !words[name] {
				return Version{}, fmt.Errorf("firmware bundle: %s does not list %q", path, name)
			}
		}
		// Nobody can tell what else it lists: then nothing else may be there.
		for _, name := range slices.Sorted(maps.Keys(sums)) {
			if name != m.VersionFile() && !slices.Contains(b.Files, name) {
				return Version{}, fmt.Errorf("firmware bundle: %s is not of the form %s, and SHA256SUMS holds %q, which the bench entry does not list: list it, or take it out of SHA256SUMS", path, syntax, name)
			}
		}
	case version != b.Version:
		return Version{}, fmt.Errorf("firmware bundle: %s does not name the version %q of the bench file, but %q", path, b.Version, version)
	default:
		for _, name := range b.Files {
			if !slices.Contains(listed, name) {
				return Version{}, fmt.Errorf("firmware bundle: %s does not list %q", path, name)
			}
		}
		for _, name := range listed {
			if !slices.Contains(b.Files, name) {
				return Version{}, fmt.Errorf("firmware bundle: %s lists %q, which the bench entry does not", path, name)
			}
		}
	}
	for _, name := range b.Files {
		data, err := read(name)
		if err != nil {
			return Version{}, err
		}
		v.Files = append(v.Files, publish.File{Name: name, Content: data, Meaning: "software file of " + b.Version})
	}
	return v, nil
}

// syntax is the one known form of a version file: the value of the fact
// version-file-syntax.
const syntax = "version-tag-file-crc32"

// parse reads a version file of the known form: "version <string>", then "<tag>
// <file> <CRC-32 as 8 hex digits>" lines, the digits perhaps left out, comments
// anywhere. The form is assumed, so a file of another form is not wrong, but
// plain is false. The digits are not compared with the files: what they are
// computed over is assumed, too, and SHA256SUMS tells who changed what.
func parse(data []byte) (version string, listed []string, plain bool) {
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0][0] == '#':
		case version == "":
			if len(words) < 2 || words[0] != "version" {
				return "", nil, false
			}
			version = strings.Join(words[1:], " ")
		case words[0] == "version" || len(words) < 2 || len(words) > 3:
			return "", nil, false
		default:
			if len(words) == 3 {
				if crc, err := hex.DecodeString(words[2]); err != nil || len(crc) != crc32.Size {
					return "", nil, false
				}
			}
			listed = append(listed, words[1])
		}
	}
	return version, listed, version != "" && len(listed) > 0
}

// wordsOf are the words of a version file outside of its comments.
func wordsOf(data []byte) map[string]bool {
	words := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, w := range strings.FieldsFunc(line, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("=,;:\"'<>()[]{}|", r) }) {
			words[w] = true
		}
	}
	return words
}

func readSums(path string) (map[string]string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the folder is named by the user's bench file
	if err != nil {
		return nil, fmt.Errorf("firmware bundle: %w", err)
	}
	sums := map[string]string{}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 || len(fields[0]) != hex.EncodedLen(sha256.Size) {
			return nil, fmt.Errorf("%s:%d: want \"<sha256>  <file>\"", path, n)
		}
		sums[strings.TrimPrefix(fields[1], "*")] = strings.ToLower(fields[0])
	}
	if len(sums) == 0 {
		return nil, fmt.Errorf("%s: holds no sum", path)
	}
	return sums, nil
}

// Commented returns the version with comment lines added on top, in the middle
// and at the end of its version file (FWU-04), with the line ends that it has.
// Comments, and blanks and line ends around what it says, are all that may be
// changed in a vendor's bundle.
func (v Version) Commented(text string) Version { return v.commented("# " + text) }

// CommentedBehindBlanks is Commented with blanks before each comment mark.
func (v Version) CommentedBehindBlanks(text string) Version { return v.commented("  # " + text) }

func (v Version) commented(comment string) Version {
	end := "\n"
	if strings.Contains(string(v.VersionFile), "\r\n") {
		end = "\r\n"
	}
	comment += end
	lines := strings.SplitAfter(strings.TrimRight(string(v.VersionFile), "\r\n")+end, "\n")
	lines = lines[:len(lines)-1]
	lines = slices.Insert(lines, len(lines)/2+1, comment)
	lines = slices.Insert(lines, 1, comment)
	out := v
	out.VersionFile = []byte(comment + strings.Join(lines, "") + comment)
	return out
}

// WithLineEnds returns the version with other line ends in its version file,
// whichever it has.
func (v Version) WithLineEnds(end string) Version {
	out := v
	text := strings.ReplaceAll(string(v.VersionFile), "\r\n", "\n")
	out.VersionFile = []byte(strings.ReplaceAll(text, "\n", end))
	return out
}

// Foreign returns a stand-in of another model in the clothes of this one: under
// its version, its file names, and with checksums that are right.
func (v Version) Foreign(other model.Model, seed uint64, size int) (Version, error) {
	if !v.StandIn {
		return Version{}, fmt.Errorf("version %s as an %s's: %w", v.Name, other, ErrStandIn)
	}
	files := fixtures.Firmware(string(other), v.Name, seed, size)
	if len(files) != len(v.Files) {
		return Version{}, fmt.Errorf("version %s as an %s's: it has %d files, not %d", v.Name, other, len(files), len(v.Files))
	}
	out := Version{Name: v.Name, StandIn: true}
	for i := range files {
		files[i].Name = v.Files[i].Name
		out.Files = append(out.Files, publish.File{Name: files[i].Name, Content: files[i].Content, Meaning: "software file of stand-in " + v.Name + " of an " + other.String()})
	}
	out.VersionFile = fixtures.VersionFile(v.Name, files)
	return out, nil
}

// ErrStandIn refuses a generated version for a real handset.
var ErrStandIn = errors.New("a real handset is only offered files of a vendor bundle named in its bench entry")

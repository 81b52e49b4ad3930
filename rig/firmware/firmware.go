// Package firmware holds software versions that can be offered to a handset:
// vendor bundles named in the bench file, checked against their sums before
// anything is served, and generated stand-ins for simulated handsets. A real
// handset is never offered a stand-in.
package firmware

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
// bench entry lists, all checked against SHA256SUMS.
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
	if !bytes.Contains(v.VersionFile, []byte(b.Version)) {
		return Version{}, fmt.Errorf("firmware bundle: %s does not name the version %q of the bench file", filepath.Join(b.Folder, m.VersionFile()), b.Version)
	}
	for _, name := range b.Files {
		data, err := read(name)
		if err != nil {
			return Version{}, err
		}
		if !bytes.Contains(v.VersionFile, []byte(name)) {
			return Version{}, fmt.Errorf("firmware bundle: the version file does not list %q", name)
		}
		v.Files = append(v.Files, publish.File{Name: name, Content: data, Meaning: "software file of " + b.Version})
	}
	return v, nil
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
// and at the end of its version file (FWU-04): one of the two things that may
// be changed in a vendor's bundle.
func (v Version) Commented(text string) Version {
	lines := strings.SplitAfter(strings.TrimRight(string(v.VersionFile), "\n")+"\n", "\n")
	lines = lines[:len(lines)-1]
	comment := "# " + text + "\n"
	lines = slices.Insert(lines, len(lines)/2+1, comment)
	lines = slices.Insert(lines, 1, comment)
	out := v
	out.VersionFile = []byte(comment + strings.Join(lines, "") + comment)
	return out
}

// ErrStandIn refuses a generated version for a real handset.
var ErrStandIn = errors.New("a real handset is only offered files of a vendor bundle named in its bench entry")

// Package publish holds what the rig serves: one tree of files for every
// transport. Names are looked up without regard to letter case, because it is
// not known how the handsets write a MAC; what they really wrote is recorded
// by the services. Nothing outside the tree can be reached from it.
package publish

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync"

	"ip88rig/capture/timeline"
)

// MaxFile bounds one published file, in bytes.
const MaxFile = 64 << 20

// File is one published file.
type File struct {
	// Name is the path below the tree's root, with slashes.
	Name    string
	Content []byte
	// Meaning says what the file is, for the journal ("version file naming 1.2.3").
	Meaning string
}

// SHA256 returns the digest of a content in hexadecimal.
func SHA256(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Tree is a set of published files. It is safe for concurrent use.
type Tree struct {
	record func(timeline.Event)

	mu    sync.RWMutex
	files map[string]File
}

// New returns an empty tree that tells record of every change.
func New(record func(timeline.Event)) *Tree {
	return &Tree{record: record, files: map[string]File{}}
}

// Replace publishes exactly these files and withdraws all others. Only what
// changed is recorded. It refuses a bad name, a doubled one and an oversized
// file before anything is changed.
func (t *Tree) Replace(files []File) error {
	next := make(map[string]File, len(files))
	for _, f := range files {
		key, err := clean(f.Name)
		if err != nil {
			return fmt.Errorf("publish %q: %w", f.Name, err)
		}
		if len(f.Content) > MaxFile {
			return fmt.Errorf("publish %q: %d bytes are more than the %d that one file may have", f.Name, len(f.Content), MaxFile)
		}
		if other, ok := next[key]; ok {
			return fmt.Errorf("publish %q: %q differs from it in letter case only", f.Name, other.Name)
		}
		next[key] = f
	}
	t.mu.Lock()
	old := t.files
	for key, f := range next {
		// Nobody changes what is published: what stays the same need not be copied.
		if was := old[key]; bytes.Equal(was.Content, f.Content) {
			f.Content = was.Content
		} else {
			f.Content = bytes.Clone(f.Content)
		}
		next[key] = f
	}
	t.files = next
	t.mu.Unlock()
	for _, key := range sorted(old) {
		if _, ok := next[key]; !ok {
			t.record(timeline.Event{By: "publish", Kind: timeline.Published, File: old[key].Name, Reason: "withdrawn"})
		}
	}
	for _, key := range sorted(next) {
		f := next[key]
		if was, ok := old[key]; ok && was.Name == f.Name && bytes.Equal(was.Content, f.Content) {
			continue
		}
		t.record(published(f))
	}
	return nil
}

func published(f File) timeline.Event {
	return timeline.Event{
		By: "publish", Kind: timeline.Published, File: f.Name, Reason: f.Meaning,
		Bytes: int64(len(f.Content)), SHA256: SHA256(f.Content),
	}
}

// Tell records everything that is published, for a recording that begins, and
// returns how many files that are.
func (t *Tree) Tell() int {
	files := t.Files()
	for _, f := range files {
		t.record(published(f))
	}
	return len(files)
}

// Files returns what is published, sorted by name.
func (t *Tree) Files() []File {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]File, 0, len(t.files))
	for _, key := range sorted(t.files) {
		out = append(out, t.files[key])
	}
	return out
}

// Lookup returns the content of the file that a handset asked for. The error
// is fs.ErrNotExist when it is not published, fs.ErrPermission when the name
// tries to leave the tree. A "?" is part of the name, as over TFTP: a query is HTTP's
// to take off. The content must not be changed.
func (t *Tree) Lookup(name string, _ netip.AddrPort) ([]byte, error) {
	key, err := clean(name)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	f, ok := t.files[key]
	if !ok {
		return nil, fmt.Errorf("%q is not published: %w", name, fs.ErrNotExist)
	}
	return f.Content, nil
}

var errEscape = errors.New("the name leaves the published tree")

func clean(name string) (string, error) {
	if strings.ContainsAny(name, "\x00\\") {
		return "", fmt.Errorf("%w: NUL or backslash: %w", errEscape, fs.ErrPermission)
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", fmt.Errorf("%w: \"..\": %w", errEscape, fs.ErrPermission)
	}
	p := strings.TrimPrefix(path.Clean("/"+name), "/")
	if p == "" {
		return "", fmt.Errorf("the name is empty: %w", fs.ErrNotExist)
	}
	return strings.ToLower(p), nil
}

func sorted(m map[string]File) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

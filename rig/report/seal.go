package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// A run is sealed when it ends: run.json holds the SHA-256 of every recorded file,
// and of itself. A seal shows damage and careless edits. It is no signature: who
// changes a file can make the seal anew, and then the recordings speak against him.

// sealed are the files of a recording; the rest of a run's folder is made from them.
func sealed() []string {
	return []string{"capture.pcapng", "journal.jsonl", "keys.log", "timeline.txt"}
}

// unsealed stands in run.json's place of its own seal while that is computed.
const unsealed = "0000000000000000000000000000000000000000000000000000000000000000"

// HashFiles returns the SHA-256 of each recorded file below a run's folder, for
// Run.Files.
func HashFiles(dir string) (map[string]string, error) {
	sums, err := hashFiles(dir, "")
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", dir, err)
	}
	return sums, nil
}

// hashFiles returns the SHA-256 of each recorded file below dir/below, by its path
// from dir, with slashes.
func hashFiles(dir, below string) (map[string]string, error) {
	var paths []string
	err := filepath.WalkDir(filepath.Join(dir, below), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && slices.Contains(sealed(), d.Name()) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	sums := make([]string, len(paths))
	var g errgroup.Group
	g.SetLimit(4)
	for i, path := range paths {
		g.Go(func() (err error) {
			sums[i], err = hashFile(path)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := make(map[string]string, len(paths))
	for i, path := range paths {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, err
		}
		out[filepath.ToSlash(name)] = sums[i]
	}
	return out, nil
}

func hashFile(path string) (sum string, err error) {
	file, err := os.Open(path) //nolint:gosec // G304: a file of the run
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// seal puts the SHA-256 of a run.json with a blank seal in the place of that seal.
func seal(data []byte) []byte {
	sum := sha256.Sum256(data)
	return bytes.Replace(data, sealLine(unsealed), sealLine(hex.EncodeToString(sum[:])), 1)
}

func sealLine(sum string) []byte { return []byte(`"seal": "` + sum + `"`) }

// Broken says what of a run's folder is not as it was when the run ended, one line
// each: run.json, and the files below the folder named below ("" is all of it). A
// run without a seal is one of before: ok is false.
func (r Run) Broken(dir, below string) (problems []string, ok bool, err error) {
	if r.Seal == "" {
		return nil, false, nil
	}
	path := filepath.Join(dir, "run.json")
	data, err := os.ReadFile(path) //nolint:gosec // G304: the user's own run folder
	if err != nil {
		return nil, true, err
	}
	blank := bytes.Replace(data, sealLine(r.Seal), sealLine(unsealed), 1)
	if sum := sha256.Sum256(blank); hex.EncodeToString(sum[:]) != r.Seal {
		problems = append(problems, path+": it is not as the run wrote it: its seal is broken")
	}
	if r.Files == nil {
		return problems, true, nil
	}
	is, err := hashFiles(dir, below)
	if err != nil {
		return problems, true, err
	}
	inside := func(name string) bool {
		return below == "" || name == below || strings.HasPrefix(name, filepath.ToSlash(below)+"/")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Files)) {
		if !inside(name) {
			continue
		}
		switch got, there := is[name]; {
		case !there:
			problems = append(problems, filepath.Join(dir, filepath.FromSlash(name))+": it is sealed in run.json, and it is not there")
		case got != r.Files[name]:
			problems = append(problems, filepath.Join(dir, filepath.FromSlash(name))+": its bytes are not those that run.json seals")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if _, known := r.Files[name]; !known {
			problems = append(problems, filepath.Join(dir, filepath.FromSlash(name))+": run.json does not seal it: it came later")
		}
	}
	return problems, true, nil
}

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// stateFile keeps how each handset was left, so that the next run knows what to
// bring home. Every lane begins by bringing its handset home in any case; the
// file tells people why.
const stateFile = "handsets.json"

// readState returns why handsets were not left at golden. A file that is missing
// or damaged says nothing: all is unknown then, which is how every lane begins.
func readState(dir string) map[string]string {
	kept := map[string]string{}
	data, err := os.ReadFile(filepath.Join(dir, stateFile)) //nolint:gosec // the bench's own state folder
	if err == nil && json.Unmarshal(data, &kept) != nil {
		clear(kept)
	}
	return kept
}

func writeState(dir string, kept map[string]string) error {
	data, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	path := filepath.Join(dir, stateFile)
	if err := os.WriteFile(path+".tmp", append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ip88rig/capture"
)

// repeats asks TestTheSameSeedGivesTheSameRun for all of it: see "make same".
var repeats = flag.Int("same", 0, "how often each of three seeds runs whole, beside busy loops; 0: once with each GOMAXPROCS, and a part of the suite")

// TestTheSameSeedGivesTheSameRun runs the suite several times with GOMAXPROCS 1
// and 2 and compares what was recorded.
func TestTheSameSeedGivesTheSameRun(t *testing.T) {
	seeds, times, suite := []string{"1"}, 1, []string{"--handset", "ip8830,ip8830-wifi", "--filter", "ORD-01|AUT-02|TLS-01.*mask 6|TIM-02.*tftp|SIP|FWU-01|XPT-09"}
	if *repeats > 0 {
		seeds, times, suite = []string{"1", "2", "3"}, *repeats, []string{"--handset", "ip8830,ip8830-wifi"}
	} else if testing.Short() {
		t.Skip("two runs take a while")
	}
	path := binary(t)
	for _, seed := range seeds {
		t.Run("seed "+seed, func(t *testing.T) {
			first := ""
			for n := range 2 * times {
				procs := fmt.Sprint(1 + n%2)
				rest := func() {}
				if *repeats > 0 {
					rest = busy(t, runtime.NumCPU())
				}
				out := t.TempDir()
				cmd := exec.CommandContext(t.Context(), path, append([]string{"run", "--quiet", "--seed", seed, "--out", out}, suite...)...)
				cmd.Env = append(os.Environ(), "GOMAXPROCS="+procs)
				said, err := cmd.CombinedOutput()
				rest()
				if err != nil {
					t.Fatalf("run %d: %v\n%s", n+1, err, said)
				}
				if first == "" {
					first = out
					continue
				}
				files, differ, err := compareRuns(filepath.Join(first, "latest"), filepath.Join(out, "latest"))
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("run %d, GOMAXPROCS=%s: %d files, %d differ", n+1, procs, files, len(differ))
				if files < 10 {
					t.Errorf("only %d files", files)
				}
				if len(differ) > 0 {
					t.Errorf("run %d with GOMAXPROCS=%s is not the first run again, in %d of %d files; some of them:\n%s", n+1, procs, len(differ), files, strings.Join(differ[:min(len(differ), 10)], "\n"))
				}
				if err := os.RemoveAll(out); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// busy keeps n CPUs busy until rest is called.
func busy(t *testing.T, n int) (rest func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var loops sync.WaitGroup
	for range n {
		cmd := exec.CommandContext(ctx, "timeout", "--foreground", "300", "sh", "-c", "while :; do :; done")
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // which it hands on
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Ends with ctx, after 300 s at the latest.
		loops.Go(func() { _ = cmd.Wait() })
	}
	rest = func() {
		cancel()
		loops.Wait()
	}
	t.Cleanup(rest)
	return rest
}

// compareRuns compares two run folders: every timeline.txt byte for byte, of every
// capture the interface, length and time of each frame. It tells how many files
// there are, and for each that differs its first difference.
func compareRuns(a, b string) (files int, differ []string, err error) {
	names := map[string]bool{}
	for _, dir := range []string{a, b} {
		dir, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return 0, nil, err
		}
		err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if base := filepath.Base(path); base == "timeline.txt" || base == capture.CaptureFile {
				name, _ := filepath.Rel(dir, path) // path is below dir
				names[name] = true
			}
			return err
		})
		if err != nil {
			return 0, nil, err
		}
	}
	for name := range names {
		x, err := lines(filepath.Join(a, name))
		if err != nil {
			return 0, nil, err
		}
		y, err := lines(filepath.Join(b, name))
		if err != nil {
			return 0, nil, err
		}
		if slices.Equal(x, y) {
			continue
		}
		n := 0
		for n < min(len(x), len(y)) && x[n] == y[n] {
			n++
		}
		at := func(all []string) string {
			if n < len(all) {
				return all[n]
			}
			return "end"
		}
		differ = append(differ, fmt.Sprintf("%s: line or frame %d:\n\t%s\n\t%s", name, n+1, at(x), at(y)))
	}
	slices.Sort(differ)
	return len(names), differ, nil
}

// lines are what is compared of a file; none of one that is not there.
func lines(path string) ([]string, error) {
	if filepath.Base(path) != capture.CaptureFile {
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return strings.Split(string(data), "\n"), err
	}
	var out []string
	err := capture.Read(path, func(iface, number int, at time.Time, data []byte, _ []string) error {
		out = append(out, fmt.Sprintf("frame %d on interface %d at %s, %d bytes", number, iface, at.Format(time.RFC3339Nano), len(data)))
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return out, err
}

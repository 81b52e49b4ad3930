//go:build linux && interop

package interop

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ending says to TestNothingIsLeftBehind that it is the one that ends, and how.
const ending = "IP88RIG_ENDING"

// TestNothingIsLeftBehind ends tests in every way there is that have a process in
// a network namespace, a folder, and nothing that cleans up. It compares what there
// is before and after, so not beside other tests.
func TestNothingIsLeftBehind(t *testing.T) {
	if how := os.Getenv(ending); how != "" {
		leave(t, how)
		return
	}
	need(t, "bash", "ip", "setsid", "sleep")
	one := func(signal syscall.Signal) func(int) error {
		return func(pid int) error { return syscall.Kill(pid, signal) }
	}
	for _, c := range []struct {
		how string
		// by are words before the tests' own, end ends them once they are ready; nil
		// waits for them to end.
		by   []string
		end  func(pid int) error
		code int
	}{
		{how: "passes"},
		{how: "fails", code: 1},
		{how: "panics", code: 2},
		{how: "runs out of time", code: 2},
		{how: "gets SIGINT", end: one(syscall.SIGINT), code: 1},
		{how: "gets SIGINT, as all do by Ctrl-C", end: func(pid int) error { return syscall.Kill(-pid, syscall.SIGINT) }, code: 1},
		{how: "gets SIGTERM", end: one(syscall.SIGTERM), code: 1},
		{how: "gets SIGKILL", end: one(syscall.SIGKILL), code: -1},
		{how: "is orphaned by SIGKILL", by: []string{"bash", "-c", `"$0" "$@"; exit`}, end: one(syscall.SIGKILL), code: -1},
	} {
		t.Run("when one "+c.how, func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			before := present(t)
			args := append(c.by, self, "-test.run=^TestNothingIsLeftBehind$", "-test.v", "-test.timeout=2s")
			if c.end != nil {
				args[len(args)-1] = "-test.timeout=" + patience.String()
			}
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			cmd.Env = append(os.Environ(), apart+"=", ending+"="+c.how)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			pipe, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = cmd.Stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			out := bufio.NewReader(pipe)
			var said strings.Builder
			for !strings.Contains(said.String(), "\nready\n") {
				line, err := out.ReadString('\n')
				said.WriteString(line)
				if err != nil {
					t.Fatalf("not ready: %v\n%s", err, &said)
				}
			}
			if c.end != nil {
				// Itself, the shell, the tests, and what those started.
				// One that becomes another program has no environment for a moment.
				var list []string
				until(func() bool { list = marked(t, ending+"="+c.how); return len(list) >= 4 })
				if len(list) < 4 {
					t.Errorf("%d processes are there, want 4: %q", len(list), list)
				}
				if err := c.end(cmd.Process.Pid); err != nil {
					t.Error(err)
				}
			}
			rest, err := io.ReadAll(out)
			if err != nil {
				t.Error(err)
			}
			if code := exitCode(t, cmd.Wait()); code != c.code {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, &said, rest)
			}
			if c.code == -1 { // those that it left need a moment
				until(func() bool { return len(marked(t, ending+"="+c.how)) == 0 })
			}
			if list := marked(t, ending+"="+c.how); len(list) > 0 {
				t.Errorf("processes are left: %q", list)
			}
			if after := present(t); !slices.Equal(after, before) {
				t.Errorf("there was %q, is %q", before, after)
			}
		})
	}
}

// leave makes a network namespace, a process in it and a folder, and ends.
func leave(t *testing.T, how string) {
	t.Helper()
	if _, err := os.MkdirTemp("", "ip88-left-"); err != nil { //nolint:usetesting // that would clean up
		t.Fatal(err)
	}
	for _, args := range []string{"ip netns add ip88-left", "setsid -f ip netns exec ip88-left sleep 86400"} {
		words := strings.Fields(args)
		cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v", args, err)
		}
	}
	_, _ = os.Stdout.WriteString("\nready\n")
	switch how {
	case "passes":
	case "fails":
		t.Fatal("as told")
	case "panics":
		panic("as told")
	default:
		select {} // ended from outside, or by its time
	}
}

// present lists network namespaces and temporary folders.
func present(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, pattern := range []string{"/run/netns/*", filepath.Join(os.TempDir(), "*")} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, names...)
	}
	return list
}

// marked lists the command lines of processes that have a word in their environment.
func marked(t *testing.T, word string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !slices.Contains(strings.Split(string(text), "\x00"), word) {
			continue // ended, or another's
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline")) // may end just now
		list = append(list, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
	}
	return list
}

// until waits until something is so, with patience: a wait for what has no event.
func until(so func() bool) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !so() {
		select {
		case <-tick.C:
		case <-limit:
			return
		}
	}
}

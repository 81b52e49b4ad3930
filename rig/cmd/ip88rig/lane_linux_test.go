package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ip88rig/capture"
	"ip88rig/rig"
	"ip88rig/rig/pipe"
	"ip88rig/rig/report"
)

// laneProcess is a lane in virtual time whose parent is this test.
type laneProcess struct {
	cmd  *exec.Cmd
	down *os.File
	ups  chan pipe.Up // closed when the lane says no more
	log  logFile
	out  string
}

// logFile is what the lane says for people.
type logFile string

func (l logFile) String() string {
	data, err := os.ReadFile(string(l))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// startLane starts the lane of a handset of a bench; the rest of args go to it.
func startLane(t *testing.T, path string, args ...string) *laneProcess {
	t.Helper()
	l := &laneProcess{ups: make(chan pipe.Up, 10_000), out: t.TempDir()}
	// A file: a process that the lane leaves behind would keep a pipe open.
	l.log = logFile(filepath.Join(l.out, "lane.log"))
	log, err := os.Create(string(l.log))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	state := filepath.Join(l.out, "state")
	if _, err := rig.LoadAuthorities(state); err != nil {
		t.Fatal(err)
	}
	upR, upW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	downR, downW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l.down = downW
	l.cmd = exec.CommandContext(t.Context(), path, append([]string{"lane", "--out=" + l.out, "--state=" + state, "--seed=1", "--rerun=%s"}, args...)...)
	l.cmd.Stdout, l.cmd.Stderr, l.cmd.ExtraFiles = log, log, []*os.File{upW, downR}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = upW.Close(), downR.Close()
	// Ends with the lane.
	go func() {
		defer close(l.ups)
		_ = pipe.Read(upR, func(u pipe.Up) error { l.ups <- u; return nil })
	}()
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill()
		_, _ = downW.Close(), upR.Close()
	})
	return l
}

// await returns the first message that is as wanted.
func (l *laneProcess) await(t *testing.T, what string, is func(pipe.Up) bool) pipe.Up {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case u, ok := <-l.ups:
			if !ok {
				t.Fatalf("the lane ended before %s\n%s", what, l.log)
			}
			if is(u) {
				return u
			}
		case <-limit:
			t.Fatalf("waited in vain for %s\n%s", what, l.log)
		}
	}
}

// ends waits for the lane's end and returns what it said from here on.
func (l *laneProcess) ends(t *testing.T, code int) []pipe.Up {
	t.Helper()
	var rest []pipe.Up
	limit := time.After(time.Minute)
	for {
		select {
		case u, ok := <-l.ups:
			if ok {
				rest = append(rest, u)
				continue
			}
			if got := exitCode(l.cmd.Wait()); got != code {
				t.Errorf("exit code %d, want %d\n%s", got, code, l.log)
			}
			return rest
		case <-limit:
			t.Fatalf("the lane does not end\n%s", l.log)
		}
	}
}

// TestHowALaneInVirtualTimeEnds is one test, so that the command is built once.
func TestHowALaneInVirtualTimeEnds(t *testing.T) {
	path := binary(t)
	for name, end := range map[string]func(*laneProcess) error{
		"its parent says so":   func(l *laneProcess) error { _, err := fmt.Fprintln(l.down, `{"number":0,"end":true}`); return err },
		"its parent is gone":   func(l *laneProcess) error { return l.down.Close() },
		"a signal comes to it": func(l *laneProcess) error { return l.cmd.Process.Signal(syscall.SIGTERM) },
		"an interrupt comes":   func(l *laneProcess) error { return l.cmd.Process.Signal(os.Interrupt) },
		"signals come repeatedly": func(l *laneProcess) error {
			var err error
			for range 20 {
				err = l.cmd.Process.Signal(syscall.SIGTERM)
			}
			return err
		},
	} {
		t.Run("in order, when "+name, func(t *testing.T) {
			l := startLane(t, path, "--handset=ip8830")
			first := l.await(t, "the first spec", func(u pipe.Up) bool { return u.Done != nil })
			if err := end(l); err != nil {
				t.Fatal(err)
			}
			specs := 0
			said := false
			for _, u := range l.ends(t, 0) {
				if u.Done != nil {
					specs++
				}
				said = said || u.Left != "" || u.Home
				if u.Died != "" {
					t.Errorf("died of %q", u.Died)
				}
			}
			if specs > 200 {
				t.Errorf("it ran %d more specs", specs)
			}
			if !said {
				t.Error("it does not say how it leaves its handset")
			}
			if rec, err := capture.Load(first.Done.Folder); err != nil || rec == nil {
				t.Errorf("the evidence cannot be read: %v", err)
			}
		})
	}
	t.Run("with all goroutines, when time stands still", func(t *testing.T) {
		// A command that never returns holds time still, and its own time-out with it.
		lab := write(t, "lab.yaml", "wire: {memory: true}\nhandsets:\n  - {name: desk, model: IP8830, simulated: true, mac: 00:00:5e:00:53:30, power: {kind: command, on: 'true', off: 'exec sleep 20'}}\n")
		l := startLane(t, path, "--bench="+lab, "--handset=desk", "--stall-limit=2s")
		rest := l.ends(t, report.ExitInconclusive)
		if !slices.ContainsFunc(rest, func(u pipe.Up) bool { return strings.Contains(u.Died, "virtual time has stood still") }) {
			t.Errorf("nobody is told: %+v", rest)
		}
		if log := l.log.String(); !strings.Contains(log, "goroutine ") || !strings.Contains(log, "exec.(*Cmd)") {
			t.Errorf("the log does not show who holds time still:\n%.2000s", log)
		}
	})
	t.Run("not at all, while a person thinks", func(t *testing.T) {
		lab := write(t, "lab.yaml", operated)
		l := startLane(t, path, "--bench="+lab, "--handset=desk", "--stall-limit=1s")
		ask := l.await(t, "a question", func(u pipe.Up) bool { return u.Ask != nil })
		select {
		case u := <-l.ups:
			t.Fatalf("it said %+v while nobody had answered", u)
		case <-time.After(4 * time.Second):
		}
		if _, err := fmt.Fprintf(l.down, `{"number":%d}`+"\n", ask.Ask.Number); err != nil {
			t.Fatal(err)
		}
		l.await(t, "what comes after the answer", func(u pipe.Up) bool { return u.Ask != nil || u.Done != nil })
		if err := l.down.Close(); err != nil {
			t.Fatal(err)
		}
		// Nobody is left to give the handset its power back.
		l.ends(t, report.ExitInconclusive)
	})
}

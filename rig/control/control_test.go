package control_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/control"
)

type supply struct {
	did  []string
	fail string
}

func (s *supply) On(context.Context) error  { return s.do("on") }
func (s *supply) Off(context.Context) error { return s.do("off") }
func (s *supply) do(what string) error {
	s.did = append(s.did, what)
	if what == s.fail {
		return errors.New("relay stuck")
	}
	return nil
}

func TestACycleHoldsThePowerOffAndNeverLeavesItOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &supply{}
		start := time.Now()
		if err := control.Cycle(t.Context(), s, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != 5*time.Second {
			t.Errorf("held off for %v, want 5s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := control.Cycle(ctx, s, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("interrupted cycle: %v", err)
		}
		if want := []string{"off", "on", "off", "on"}; !slices.Equal(s.did, want) {
			t.Errorf("did %v, want %v", s.did, want)
		}
	})
	for _, what := range []string{"on", "off"} {
		if err := control.Cycle(t.Context(), &supply{fail: what}, 0); err == nil || !strings.Contains(err.Error(), "power "+what) {
			t.Errorf("a stuck relay at %q gave %v", what, err)
		}
	}
}

// deaf is a supply that never answers when it is to give the power back.
type deaf struct{ supply }

func (*deaf) On(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAnInterruptedCycleDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		err := control.Cycle(ctx, &deaf{}, time.Minute)
		if took := time.Since(start); took != 31*time.Second {
			t.Errorf("it took %v, want the second before the interrupt and 30 s", took)
		}
		if !errors.Is(err, context.Canceled) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the interrupt and that the supply was late", err)
		}
	})
}

func TestAHookSaysWhichCommandFailedAndWhatItSaid(t *testing.T) {
	h := control.Hook{OnCommand: "true", OffCommand: "echo no such outlet >&2; exit 3", Timeout: 10 * time.Second}
	if err := h.On(t.Context()); err != nil {
		t.Error(err)
	}
	err := h.Off(t.Context())
	for _, want := range []string{"power.off", "exit status 3", "no such outlet"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	slow := control.Hook{OnCommand: "exec sleep 60", OffCommand: "true", Timeout: 50 * time.Millisecond}
	if err := slow.On(t.Context()); err == nil {
		t.Error("a hanging command was waited for")
	}
}

type hands struct{ asked []control.Verb }

func (h *hands) Do(_ context.Context, r control.Request) error {
	h.asked = append(h.asked, r.Verb)
	return nil
}

func TestAPersonIsAPowerSupplyToo(t *testing.T) {
	h := &hands{}
	if err := control.Cycle(t.Context(), control.Hands{Operator: h, Handset: "desk"}, 0); err != nil {
		t.Fatal(err)
	}
	if want := []control.Verb{control.Unplug, control.Supply}; !slices.Equal(h.asked, want) {
		t.Errorf("asked for %v, want %v", h.asked, want)
	}
}

func TestAPersonIsToldToLookAgain(t *testing.T) {
	r := control.Request{Text: "set the checks"}
	if got := r.Words(); got != r.Text {
		t.Errorf("got %q, want %q", got, r.Text)
	}
	r.ReadBack = "the menu shows expiry off"
	if got, want := r.Words(), "set the checks; then look again: press Enter only if the menu shows expiry off, otherwise type what is shown"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAHookMayLeaveAProcessBehind has a power command that starts a daemon, which
// keeps the command's output open: the hook ends with its own shell.
func TestAHookMayLeaveAProcessBehind(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	hook := control.Hook{OnCommand: "sleep 1000 & echo $! > " + pid, Timeout: time.Minute}
	began := time.Now()
	err := hook.On(t.Context())
	text, readErr := os.ReadFile(pid)
	if readErr != nil {
		t.Fatal(readErr)
	}
	daemon, convErr := strconv.Atoi(strings.TrimSpace(string(text)))
	if convErr != nil {
		t.Fatal(convErr)
	}
	if err := syscall.Kill(daemon, syscall.SIGKILL); err != nil {
		t.Errorf("the daemon does not run any more: %v", err)
	}
	if err != nil || time.Since(began) > 30*time.Second {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
}

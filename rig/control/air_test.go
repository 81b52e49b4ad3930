package control_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ip88rig/rig/control"
)

func TestAnAccessPointsCommandKnowsWhomItIsFor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "said")
	h := control.AirHook{
		Commands: map[control.AirDeed]string{control.Deauth: `echo "$IP88RIG_HANDSET $IP88RIG_MODULE" > ` + file},
		Handset:  "desk-wifi", Module: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 0xa2}, Timeout: 10 * time.Second,
	}
	if err := h.Do(t.Context(), control.Deauth); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if want := "desk-wifi 00:00:5e:00:53:a2\n"; err != nil || string(got) != want {
		t.Errorf("the command had %q, %v; want %q", got, err, want)
	}
	if err := h.Undo(t.Context(), control.Deauth); err != nil {
		t.Errorf("nothing is to be undone after a de-authentication: %v", err)
	}
}

func TestADeedWithoutCommandNamesTheKey(t *testing.T) {
	h := control.AirHook{Commands: map[control.AirDeed]string{control.Roam: " ", control.WrongPassphrase: "true"}, Timeout: time.Second}
	for deed, key := range map[control.AirDeed]string{
		control.Roam: "access-point.roam ", control.Channel: "access-point.channel ", control.WrongPassphrase: "access-point.passphrase-right ",
	} {
		for name, err := range map[string]error{"can": h.Can(deed), "do": h.Do(t.Context(), deed)} {
			missing, typed := errors.AsType[*control.NoCommandError](err)
			if !typed || !errors.Is(err, control.ErrUnsupported) || !strings.Contains(err.Error(), key) {
				t.Errorf("%s %s: %v (%v), want %q named", name, deed, err, missing, key)
			}
		}
	}
}

func TestTheRightPassphraseIsTriedTwice(t *testing.T) {
	once := filepath.Join(t.TempDir(), "once")
	h := control.AirHook{
		Commands: map[control.AirDeed]string{control.WrongPassphrase: "true", control.RightPassphrase: "test -e " + once + " || { touch " + once + "; echo busy >&2; exit 1; }"},
		Timeout:  10 * time.Second,
	}
	if err := h.Undo(t.Context(), control.WrongPassphrase); err != nil {
		t.Error(err)
	}
	h.Commands[control.RightPassphrase] = "echo no such radio >&2; exit 4"
	err := h.Undo(t.Context(), control.WrongPassphrase)
	for _, want := range []string{"access-point.passphrase-right", "exit status 4", "no such radio"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestAnUndoThatIsCutOffIsNotTriedAgain(t *testing.T) {
	began := filepath.Join(t.TempDir(), "began")
	if err := syscall.Mkfifo(began, 0o600); err != nil {
		t.Fatal(err)
	}
	h := control.AirHook{
		Commands: map[control.AirDeed]string{control.WrongPassphrase: "true", control.RightPassphrase: "echo x > " + began + "; exec tail -f /dev/null"},
		Timeout:  time.Minute,
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	undone := make(chan error, 1)
	go func() { undone <- h.Undo(ctx, control.WrongPassphrase) }() // ends with ctx
	if _, err := os.ReadFile(began); err != nil {
		t.Fatal(err)
	}
	cancel()
	// The first try was killed, a second one would not have begun.
	err := <-undone
	for _, want := range []string{"access-point.passphrase-right", "signal: killed"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

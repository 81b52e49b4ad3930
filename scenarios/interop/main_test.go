//go:build linux && interop

package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a program that nobody here wrote may take for what it must
// do: as long as a real phone may take to boot. A wait ends at the event.
const patience = 4 * time.Minute

// perProcessor is how many tests run at once for each processor. A handset made of
// foreign programs mostly waits, as a phone does: it needs a twentieth of one.
const perProcessor = 3

// apart says to the tests that they run apart.
const apart = "IP88RIG_APART"

// TestMain runs the tests apart from the machine, in namespaces of their own for
// processes and mounts. However they end, the kernel ends whatever they started
// and forgets the network namespaces and folders they made.
func TestMain(m *testing.M) {
	if os.Getenv(apart) != "" {
		m.Run()
		return
	}
	code, err := runApart()
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
	}
	os.Exit(code)
}

// runApart runs this program apart and returns its exit code. An interrupt ends
// it, and so does the end of whoever started it.
func runApart() (int, error) {
	runtime.LockOSThread() // the kernel takes the end of the thread for that of the parent
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGTERM), 0, 0, 0); err != nil {
		return 1, fmt.Errorf("outlive nobody: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("find the tests: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM) //nolint:forbidigo // there is none yet
	defer stop()
	// The shell is the first of the processes: the kernel ends them all with it, and
	// it takes in those whose parents have ended. It must not become the tests.
	cmd := exec.CommandContext(ctx, "bash", append([]string{"-euc", `
		mount --make-rprivate /
		mount -t proc none /proc
		mount -t tmpfs none /run # and so /run/netns
		mkdir /run/tmp
		export TMPDIR=/run/tmp ` + apart + `=yes
		"$0" "$@" || exit
	`, self, fmt.Sprintf("-test.parallel=%d", perProcessor*runtime.NumCPU())}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	var exit *exec.ExitError
	switch err := cmd.Run(); { // back when all processes have ended
	case ctx.Err() != nil:
		return 1, errors.New("interrupted")
	case errors.Is(err, unix.EPERM):
		return 1, fmt.Errorf("namespaces need root: %w", err)
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	case err != nil:
		return 1, fmt.Errorf("run apart: %w", err)
	}
	return 0, nil
}

// inWhole leaves a test out of the short part.
func inWhole(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the whole: make interop without -test.short")
	}
}

// folder makes a folder whose path is short, as those of sockets must be. That of
// a test that failed stays as evidence, in out/interop.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ip88-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			keep(t, dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func keep(t *testing.T, dir string) {
	t.Helper()
	out, err := filepath.Abs("../../out/interop")
	if err != nil {
		t.Error(err)
		return
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Error(err)
		return
	}
	if said, err := exec.CommandContext(context.WithoutCancel(t.Context()), "cp", "-a", dir, out).CombinedOutput(); err != nil {
		t.Errorf("keep the evidence: %v: %s", err, said)
		return
	}
	t.Logf("evidence: %s", filepath.Join(out, filepath.Base(dir)))
}

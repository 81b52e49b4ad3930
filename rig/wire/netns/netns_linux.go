// Package netns gives tests a cable between the rig and programs that nobody
// here wrote: two network namespaces joined by a veth pair. The rig opens one
// end as a lab interface; curl, dnsmasq, ping and the kernel behind them use the
// other. It needs root and iproute2, and skips the test without them; it touches
// nothing outside of its namespaces, and removes those.
package netns

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"ip88rig/rig/wire"
)

// Names of the two ends of a cable, each in its namespace.
const (
	RigEnd  = "lab0"
	PeerEnd = "eth0"
)

// Cable is a veth pair in two namespaces.
type Cable struct {
	rig, peer string // namespaces
}

// serial tells the cables of one process apart.
var serial atomic.Int64 //nolint:gochecknoglobals // namespaces are global to the computer, and so is their numbering

// New makes a cable whose ends are up and have no addresses. All is removed at
// the end of the test.
func New(tb testing.TB) *Cable {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		tb.Skip("network namespaces need iproute2")
	}
	n := serial.Add(1)
	c := &Cable{
		rig:  fmt.Sprintf("ip88-%d-%d-rig", os.Getpid(), n),
		peer: fmt.Sprintf("ip88-%d-%d-peer", os.Getpid(), n),
	}
	for _, ns := range []string{c.rig, c.peer} {
		if out, err := ip(tb.Context(), "netns", "add", ns); err != nil {
			tb.Skipf("network namespaces do not work here: %v: %s", err, out)
		}
		tb.Cleanup(func() {
			if out, err := ip(context.WithoutCancel(tb.Context()), "netns", "delete", ns); err != nil {
				tb.Errorf("remove namespace %s: %v: %s", ns, err, out)
			}
		})
	}
	for _, args := range []string{
		"-n " + c.rig + " link add " + RigEnd + " type veth peer name " + PeerEnd + " netns " + c.peer,
		"-n " + c.rig + " link set " + RigEnd + " up",
		"-n " + c.peer + " link set " + PeerEnd + " up",
		"-n " + c.peer + " link set lo up",
	} {
		if out, err := ip(tb.Context(), strings.Fields(args)...); err != nil {
			tb.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	c.awaitCarrier(tb)
	return c
}

// awaitCarrier waits until frames pass: for up to a second after both ends are up,
// the kernel drops without a word what is sent.
func (c *Cable) awaitCarrier(tb testing.TB) {
	tb.Helper()
	for end, ns := range map[string]string{RigEnd: c.rig, PeerEnd: c.peer} {
		for tries := 0; ; tries++ {
			out, err := ip(tb.Context(), "-n", ns, "-o", "link", "show", "dev", end)
			if err != nil {
				tb.Fatalf("ip link show %s: %v: %s", end, err, out)
			}
			if text := string(out); strings.Contains(text, "state UP") && !strings.Contains(text, "qdisc noop ") {
				break
			}
			if tries > 1000 {
				tb.Fatalf("%s does not come up: %s", end, out)
			}
		}
	}
}

func ip(ctx context.Context, args ...string) ([]byte, error) {
	return exec.CommandContext(ctx, "ip", args...).CombinedOutput() //nolint:gosec // a test's own words
}

// PeerName is the name of the peer's namespace, for commands that a program
// under test runs by itself.
func (c *Cable) PeerName() string { return c.peer }

// Open opens the rig's end.
func (c *Cable) Open(tb testing.TB, opts wire.PacketOptions) *wire.PacketPort {
	tb.Helper()
	return open(tb, c.rig, RigEnd, opts)
}

// OpenPeer opens the peer's end, too, for a second rig.
func (c *Cable) OpenPeer(tb testing.TB, opts wire.PacketOptions) *wire.PacketPort {
	tb.Helper()
	return open(tb, c.peer, PeerEnd, opts)
}

// Peer returns a command that will run in the peer's namespace.
func (c *Cable) Peer(ctx context.Context, args ...string) *exec.Cmd {
	return command(ctx, c.peer, args)
}

// Rig returns a command that will run in the rig's namespace.
func (c *Cable) Rig(ctx context.Context, args ...string) *exec.Cmd {
	return command(ctx, c.rig, args)
}

func command(ctx context.Context, ns string, args []string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns}, args...)...) //nolint:gosec // a test's own words
}

// Address gives the peer's end an address with its prefix length.
func (c *Cable) Address(tb testing.TB, prefix string) {
	tb.Helper()
	if out, err := ip(tb.Context(), "-n", c.peer, "address", "add", prefix, "dev", PeerEnd); err != nil {
		tb.Fatalf("add address %s: %v: %s", prefix, err, out)
	}
}

func open(tb testing.TB, ns, ifname string, opts wire.PacketOptions) *wire.PacketPort {
	tb.Helper()
	var port *wire.PacketPort
	var err error
	done := make(chan struct{})
	go func() { // ends when the port is open
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its namespace with it
		var fd int
		if fd, err = unix.Open("/var/run/netns/"+ns, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd) //nolint:errcheck // opened to read
		if err = unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return
		}
		port, err = wire.OpenPacket(ifname, opts)
	}()
	<-done
	if err != nil {
		tb.Fatalf("open %s in namespace %s: %v", ifname, ns, err)
	}
	tb.Cleanup(func() {
		if err := port.Close(); err != nil {
			tb.Errorf("close %s: %v", ifname, err)
		}
	})
	return port
}

package host

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"ip88rig/rig/wire"
)

// growing gives its send buffer the size back, as an ACK does, just before the
// stack is asked whether there is room.
type growing struct {
	tcpip.Endpoint
	size int64
	left int // how many times
}

func (g *growing) Readiness(mask waiter.EventMask) waiter.EventMask {
	if g.left > 0 {
		g.left--
		g.SocketOptions().SetSendBufferSize(g.size, false)
	}
	return g.Endpoint.Readiness(mask)
}

// unacknowledged is a connection on which something was written that nobody takes.
func unacknowledged(t *testing.T) *conn {
	t.Helper()
	sw := wire.NewSwitch()
	open := func(p wire.Port, n byte) *Host {
		h, err := New(t.Context(), Config{
			Port: p, MAC: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, n}, Seed: uint64(n),
			Addrs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 24)},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
		return h
	}
	l, err := open(sw.Access("server", 1), 1).ListenTCP(netip.MustParseAddrPort("192.0.2.1:80"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	plug := sw.Access("client", 1)
	if _, err := open(plug, 2).DialTCP(t.Context(), netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.1:80")); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	plug.SetLink(false)
	if _, err := c.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	return c.(*conn)
}

func TestDrainDoesNotBelieveTheRoomOfABufferThatGrew(t *testing.T) {
	c := unacknowledged(t)
	c.ep = &growing{c.ep, c.ep.SocketOptions().GetSendBufferSize(), 3}
	if err := c.Drain(time.Now().Add(50 * time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("drained, %v, though nobody took it", err)
	}
}

func TestDrainTellsThatTheConnectionWasClosedAtThisEnd(t *testing.T) {
	for name, end := range map[string]func(*conn) error{"closed": (*conn).Close, "half": func(c *conn) error { return c.CloseWrite() }} {
		c := unacknowledged(t)
		if err := end(c); err != nil {
			t.Fatal(err)
		}
		if err := c.Drain(time.Now().Add(20 * time.Second)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: drained, %v", name, err)
		}
	}
}

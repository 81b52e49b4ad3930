package host_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ip88rig/rig/wire"
)

// ends counts the segments that the tapped port sends with RST, and with FIN.
type ends struct{ rst, fin atomic.Int64 }

func (e *ends) see(_ int, outbound bool, _ time.Time, f []byte, _ ...string) int {
	// IPv4 without options, TCP: the flags are the 14th byte of its header.
	if !outbound || len(f) < 48 || f[12] != 8 || f[13] != 0 || f[23] != 6 {
		return 0
	}
	if f[47]&4 != 0 {
		e.rst.Add(1)
	}
	if f[47]&1 != 0 {
		e.fin.Add(1)
	}
	return 0
}

// breaker is what the hosts' connections can do that net.Conn does not promise.
type breaker interface {
	net.Conn
	SetLinger(sec int) error
	Drain(until time.Time) error
}

// pair connects the second station to the first.
func pair(t *testing.T, sw *wire.Switch, seen *ends) (server, client breaker, plug *wire.SwitchPort) {
	t.Helper()
	h := startOn(t, wire.Tap(sw.Access("station 1", 1), seen.see), 1)
	l, err := h.ListenTCP(netip.AddrPortFrom(at(1), 80))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	plug = sw.Access("station 2", 1)
	far, err := startOn(t, plug, 2).DialTCP(patience(t), netip.AddrPort{}, netip.AddrPortFrom(at(1), 80))
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near.(breaker), far.(breaker), plug
}

func TestAConnectionClosesAsItsLingerSays(t *testing.T) {
	const much = 300 << 10 // more than is sent without being acknowledged
	for name, c := range map[string]struct {
		linger int
		reset  bool
	}{
		"0 seconds: reset":          {0, true},
		"fewer than 0: in order":    {-1, false},
		"one second: in order, too": {1, false},
	} {
		t.Run(name, func(t *testing.T) {
			var seen ends
			server, client, _ := pair(t, wire.NewSwitch(), &seen)
			if err := server.SetLinger(c.linger); err != nil {
				t.Fatal(err)
			}
			got := make(chan error, 1)
			var read int64
			// Ends with the connection.
			go func() {
				var err error
				read, err = io.Copy(io.Discard, client)
				got <- err
			}()
			if _, err := server.Write(image(much)); err != nil {
				t.Fatal(err)
			}
			if err := server.Drain(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if err := server.Close(); err != nil {
				t.Fatal(err)
			}
			err := <-got
			if reset := err != nil && strings.Contains(err.Error(), "reset by peer"); reset != c.reset || !c.reset && err != nil {
				t.Errorf("the client saw %v", err)
			}
			if !c.reset && read != much {
				t.Errorf("the client read %d bytes of %d", read, much)
			}
			if rst, fin := seen.rst.Load(), seen.fin.Load(); (rst > 0) != c.reset || (fin > 0) == c.reset {
				t.Errorf("%d segments with RST and %d with FIN on the wire", rst, fin)
			}
		})
	}
}

func TestDrainTellsWhatWasNotTaken(t *testing.T) {
	server, _, plug := pair(t, wire.NewSwitch(), &ends{})
	plug.SetLink(false)
	if _, err := server.Write(image(1000)); err != nil {
		t.Fatal(err)
	}
	if err := server.Drain(time.Now().Add(20 * time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("drained, %v, though nobody could read", err)
	}
	plug.SetLink(true)
	if err := server.Drain(time.Now().Add(20 * time.Second)); err != nil {
		t.Errorf("not drained when the link was back: %v", err)
	}
}

func TestDrainTellsThatTheConnectionIsBroken(t *testing.T) {
	server, client, _ := pair(t, wire.NewSwitch(), &ends{})
	if err := client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err == nil {
		t.Fatal("read from a connection that was reset")
	}
	if err := server.Drain(time.Now().Add(20 * time.Second)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("drained, %v, though the connection is broken", err)
	}
}

func TestADialledConnectionCanBeReset(t *testing.T) {
	server, client, _ := pair(t, wire.NewSwitch(), &ends{})
	if err := client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset by peer") {
		t.Errorf("the server saw %v", err)
	}
}

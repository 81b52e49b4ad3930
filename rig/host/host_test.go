package host_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ip88rig/rig/host"
	"ip88rig/rig/wire"
)

// at is the address of station n.
func at(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) }

// macOf is the MAC address of station n (RFC 7042).
func macOf(n byte) net.HardwareAddr { return net.HardwareAddr{0, 0, 0x5e, 0, 0x53, n} }

// start runs station n on a port of its own.
func start(tb testing.TB, sw *wire.Switch, n byte) *host.Host {
	tb.Helper()
	return startOn(tb, sw.Access(fmt.Sprintf("station %d", n), 1), n)
}

func startOn(tb testing.TB, port wire.Port, n byte) *host.Host {
	tb.Helper()
	h, err := host.New(tb.Context(), host.Config{
		Port: port, MAC: macOf(n), Addrs: []netip.Prefix{netip.PrefixFrom(at(n), 24)}, Seed: uint64(n),
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Errorf("close station %d: %v", n, err)
		}
	})
	return h
}

// patience bounds every wait of these tests.
func patience(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

// serve answers every request with body.
func serve(tb testing.TB, h *host.Host, body []byte) netip.AddrPort {
	tb.Helper()
	l, err := h.ListenTCP(netip.AddrPortFrom(netip.IPv4Unspecified(), 80))
	if err != nil {
		tb.Fatal(err)
	}
	srv := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }),
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
	}
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			tb.Errorf("serve: %v", err)
		}
	}()
	tb.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return netip.AddrPortFrom(h.Addr(), 80)
}

// client speaks HTTP from h.
func client(tb testing.TB, h *host.Host) *http.Client {
	tb.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(addr)
		if err != nil {
			return nil, err
		}
		return h.DialTCP(ctx, netip.AddrPort{}, to)
	}}
	tb.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func fetch(ctx context.Context, c *http.Client, from netip.AddrPort) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+from.String()+"/", http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	return body, errors.Join(err, res.Body.Close())
}

// image is n bytes that do not repeat soon.
func image(n int) []byte {
	b := make([]byte, 0, n+sha256.Size)
	for i := 0; len(b) < n; i++ {
		s := sha256.Sum256(fmt.Append(nil, i))
		b = append(b, s[:]...)
	}
	return b[:n]
}

func TestTwentyHostsFetchOneMebibyteEach(t *testing.T) {
	sw := wire.NewSwitch()
	body := image(1 << 20)
	from := serve(t, start(t, sw, 1), body)
	began := time.Now()
	var wg sync.WaitGroup
	for n := range byte(20) {
		c := client(t, start(t, sw, 10+n))
		wg.Go(func() {
			got, err := fetch(patience(t), c, from)
			switch {
			case err != nil:
				t.Errorf("host %d: %v", n, err)
			case !bytes.Equal(got, body):
				t.Errorf("host %d: got %d bytes that differ from the %d sent", n, len(got), len(body))
			}
		})
	}
	wg.Wait()
	t.Logf("20 hosts, 1 MiB each: %v", time.Since(began))
	if n := sw.Dropped(); n != 0 {
		t.Errorf("the switch dropped %d frames, want 0", n)
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		sw := wire.NewSwitch()
		a, b := sw.Access("a", 1), sw.Access("b", 1)
		server, err := host.New(t.Context(), host.Config{Port: a, MAC: macOf(1), Addrs: []netip.Prefix{netip.PrefixFrom(at(1), 24)}})
		if err != nil {
			t.Fatal(err)
		}
		handset, err := host.New(t.Context(), host.Config{Port: b, MAC: macOf(2), Addrs: []netip.Prefix{netip.PrefixFrom(at(2), 24)}})
		if err != nil {
			t.Fatal(err)
		}
		l, err := server.ListenTCP(netip.AddrPortFrom(at(1), 80))
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan error, 1)
		go func() {
			for {
				if _, err := l.Accept(); err != nil {
					accepted <- err
					return
				}
			}
		}()
		if _, err := handset.DialTCP(patience(t), netip.AddrPort{}, netip.AddrPortFrom(at(1), 80)); err != nil {
			t.Fatal(err)
		}
		if err := handset.Close(); err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-accepted; !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept on a closed host: got %v, want net.ErrClosed", err)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		runtime.Gosched()
	}
	if after := runtime.NumGoroutine(); after > before {
		buf := make([]byte, 1<<20)
		t.Errorf("goroutines: %d before, %d after\n%s", before, after, buf[:runtime.Stack(buf, true)])
	}
}

func TestUDPTellsWhichAddressADatagramCameTo(t *testing.T) {
	sw := wire.NewSwitch()
	server, handset := start(t, sw, 1), start(t, sw, 2)
	if err := server.AddAddr(netip.PrefixFrom(at(9), 24)); err != nil {
		t.Fatal(err)
	}
	s, err := server.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 69))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		to   netip.Addr
		back netip.Addr // where the answer is from
	}{
		{"the first address", at(1), at(1)},
		{"a further address", at(9), at(9)},
		{"limited broadcast", netip.MustParseAddr("255.255.255.255"), at(1)},
		{"broadcast of the subnet", at(255), at(1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := handset.ListenUDP(netip.AddrPortFrom(at(2), 0))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			for _, conn := range []*host.UDPConn{c, s} {
				if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			to := netip.AddrPortFrom(tt.to, 69)
			if _, err := c.WriteTo([]byte("ask"), net.UDPAddrFromAddrPort(to)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			n, from, got, err := s.ReadFromTo(b)
			if err != nil {
				t.Fatal(err)
			}
			if got != to || string(b[:n]) != "ask" || from.Addr() != at(2) {
				t.Errorf("got %q from %s to %s, want %q from %s to %s", b[:n], from, got, "ask", at(2), to)
			}
			if _, err := s.WriteFromTo([]byte("answer"), got, from); err != nil {
				t.Fatal(err)
			}
			n, answerer, err := c.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			if want := netip.AddrPortFrom(tt.back, 69); answerer.String() != want.String() || string(b[:n]) != "answer" {
				t.Errorf("got %q from %s, want %q from %s", b[:n], answerer, "answer", want)
			}
		})
	}
}

func TestUDPReadEndsAtDeadlineAndClose(t *testing.T) {
	h := start(t, wire.NewSwitch(), 1)
	c, err := h.ListenUDP(netip.AddrPortFrom(at(1), 69))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadFrom(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read past the deadline: got %v, want os.ErrDeadlineExceeded", err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		_, _, err := c.ReadFrom(make([]byte, 10))
		got <- err
	}()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed socket: got %v, want net.ErrClosed", err)
	}
}

func TestClaimTakesFramesBeforeTheStack(t *testing.T) {
	sw := wire.NewSwitch()
	server, handset := start(t, sw, 1), start(t, sw, 2)
	udp, err := server.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 67))
	if err != nil {
		t.Fatal(err)
	}
	claim := server.Claim(func(f []byte) bool { return strings.Contains(string(f), "DISCOVER") })
	out, err := handset.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 68))
	if err != nil {
		t.Fatal(err)
	}
	everyone := netip.AddrPortFrom(netip.MustParseAddr("255.255.255.255"), 67)
	for _, s := range []string{"DISCOVER", "other"} {
		if _, err := out.WriteFromTo([]byte(s), netip.AddrPort{}, everyone); err != nil {
			t.Fatal(err)
		}
	}
	f, err := claim.Receive(patience(t))
	if err != nil || !strings.Contains(string(f.Data), "DISCOVER") {
		t.Errorf("claimed %q, %v, want the frame with DISCOVER", f.Data, err)
	}
	b := make([]byte, 100)
	if n, _, err := udp.ReadFrom(b); err != nil || string(b[:n]) != "other" {
		t.Errorf("the stack got %q, %v, want %q", b[:n], err, "other")
	}
	if err := claim.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.WriteFromTo([]byte("DISCOVER again"), netip.AddrPort{}, everyone); err != nil {
		t.Fatal(err)
	}
	if n, _, err := udp.ReadFrom(b); err != nil || string(b[:n]) != "DISCOVER again" {
		t.Errorf("after the claim the stack got %q, %v, want %q", b[:n], err, "DISCOVER again")
	}
}

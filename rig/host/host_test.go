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

func TestConfigIsChecked(t *testing.T) {
	port := wire.NewSwitch().Access("p", 1)
	for _, tt := range []struct {
		name string
		cfg  host.Config
		want string
	}{
		{"no port", host.Config{}, "Port is nil"},
		{"a group address", host.Config{Port: port, MAC: net.HardwareAddr{1, 0, 0, 0, 0, 1}}, "MAC 01:00:00:00:00:01"},
		{"a MAC address of eight bytes", host.Config{Port: port, MAC: make(net.HardwareAddr, 8)}, "MAC 00:00:00:00:00:00:00:00"},
		{"an MTU below the least", host.Config{Port: port, MTU: 575}, "MTU 575"},
		{"an IPv6 address", host.Config{Port: port, Addrs: []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}}, "2001:db8::1/64"},
		{"an address twice", host.Config{Port: port, Addrs: []netip.Prefix{netip.PrefixFrom(at(1), 24), netip.PrefixFrom(at(1), 24)}}, "192.0.2.1/24"},
		{"an IPv6 gateway", host.Config{Port: port, Gateway: netip.MustParseAddr("2001:db8::1")}, "gateway 2001:db8::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := host.New(t.Context(), tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestSeedDecidesAddressAndPorts(t *testing.T) {
	look := func(seed uint64) string {
		h, err := host.New(t.Context(), host.Config{
			Port: wire.NewSwitch().Access("p", 1), Addrs: []netip.Prefix{netip.PrefixFrom(at(1), 24)}, Seed: seed,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = h.Close() }()
		c, err := h.ListenUDP(netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		if b := h.MAC(); b[0]&3 != 2 {
			t.Errorf("made the address %s, want a locally administered one of one station", b)
		}
		return h.MAC().String() + " " + c.LocalAddr().String()
	}
	if a, b := look(7), look(7); a != b {
		t.Errorf("seed 7: got %s and %s, want the same", a, b)
	}
	if a, b := look(7), look(8); a == b {
		t.Errorf("seeds 7 and 8: got %s twice", a)
	}
	if a, b := look(0), look(0); a == b {
		t.Errorf("without a seed: got %s twice", a)
	}
}

func TestAddressesComeAndGo(t *testing.T) {
	sw := wire.NewSwitch()
	server, handset := start(t, sw, 1), start(t, sw, 2)
	serve(t, server, []byte("hello"))
	c := client(t, handset)
	far := netip.MustParsePrefix("198.51.100.1/24")
	ask := func(a netip.Addr) error {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		c.CloseIdleConnections()
		got, err := fetch(ctx, c, netip.AddrPortFrom(a, 80))
		if err == nil && string(got) != "hello" {
			t.Errorf("fetched %q", got)
		}
		return err
	}
	if err := server.AddAddr(far); err != nil {
		t.Fatal(err)
	}
	if err := ask(far.Addr()); err == nil {
		t.Error("the handset reached another subnet without a gateway")
	}
	if err := handset.SetGateway(at(1)); err != nil {
		t.Fatal(err)
	}
	if err := server.SetGateway(at(2)); err != nil {
		t.Fatal(err)
	}
	if err := ask(far.Addr()); err != nil {
		t.Errorf("through the gateway: %v", err)
	}
	if err := handset.AddAddr(netip.MustParsePrefix("198.51.100.2/24")); err != nil {
		t.Fatal(err)
	}
	if err := ask(far.Addr()); err != nil {
		t.Errorf("from the same subnet: %v", err)
	}
	if got := fmt.Sprint(server.Addrs(), server.Addr()); got != "[192.0.2.1/24 198.51.100.1/24] 192.0.2.1" {
		t.Errorf("addresses: got %s", got)
	}
	if err := server.RemoveAddr(far.Addr()); err != nil {
		t.Fatal(err)
	}
	if err := ask(far.Addr()); err == nil {
		t.Error("the server answers on an address that was removed")
	}
	if err := server.RemoveAddr(far.Addr()); err == nil {
		t.Error("an address was removed twice")
	}
	if err := ask(at(1)); err != nil {
		t.Errorf("on the address that is left: %v", err)
	}
}

func TestDialTCPFails(t *testing.T) {
	sw := wire.NewSwitch()
	start(t, sw, 1)
	h := start(t, sw, 2)
	for _, tt := range []struct {
		name   string
		ended  bool
		local  string
		remote string
		want   string
	}{
		{"nobody listens", false, "", "192.0.2.1:80", "connection was refused"},
		{"no route", false, "", "198.51.100.1:80", "unreachable"},
		{"context has ended", true, "", "192.0.2.1:80", "context canceled"},
		{"a local address of somebody else", false, "192.0.2.9:0", "192.0.2.1:80", "192.0.2.1:80"},
		{"IPv6", false, "", "[2001:db8::1]:80", "not an IPv4 address"},
		{"no port", false, "", "192.0.2.1:0", "not an IPv4 address and port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var local netip.AddrPort
			if tt.local != "" {
				local = netip.MustParseAddrPort(tt.local)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.ended {
				cancel()
			}
			_, err := h.DialTCP(ctx, local, netip.MustParseAddrPort(tt.remote))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.DialTCP(ctx, netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.77:80")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial a station that is not there: got %v, want context.DeadlineExceeded", err)
	}
}

func TestDialTCPFromAGivenPort(t *testing.T) {
	sw := wire.NewSwitch()
	server, handset := start(t, sw, 1), start(t, sw, 2)
	l, err := server.ListenTCP(netip.AddrPortFrom(at(1), 0))
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort(l.Addr().String())
	if _, err := handset.DialTCP(patience(t), netip.MustParseAddrPort("192.0.2.2:1234"), to); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := c.RemoteAddr().String(); got != "192.0.2.2:1234" {
		t.Errorf("connected from %s, want 192.0.2.2:1234", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept on a closed listener: got %v, want net.ErrClosed", err)
	}
	if _, err := server.ListenTCP(to); err != nil {
		t.Errorf("listen again on a port that was closed: %v", err)
	}
	if _, err := server.ListenTCP(to); err == nil {
		t.Error("two listeners share a port")
	}
}

func TestDialledUDP(t *testing.T) {
	sw := wire.NewSwitch()
	server, handset := start(t, sw, 1), start(t, sw, 2)
	s, err := server.ListenUDP(netip.AddrPortFrom(at(1), 5060))
	if err != nil {
		t.Fatal(err)
	}
	c, err := handset.DialUDP(t.Context(), netip.AddrPort{}, netip.AddrPortFrom(at(1), 5060))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// Past the MTU: a SIP message in fragments.
	long := image(8000)
	if _, err := c.Write(long); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10_000)
	n, from, err := s.ReadFrom(b)
	if err != nil || !bytes.Equal(b[:n], long) {
		t.Fatalf("received %d bytes, %v, want the %d sent", n, err, len(long))
	}
	if from.String() != fmt.Sprintf("192.0.2.2:%d", c.LocalAddr().(*net.UDPAddr).Port) {
		t.Errorf("received from %s, want from %s at 192.0.2.2", from, c.LocalAddr())
	}
	other, err := server.ListenUDP(netip.AddrPortFrom(at(1), 5061))
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []*host.UDPConn{other, s} {
		if _, err := conn.WriteTo([]byte(conn.LocalAddr().String()), from); err != nil {
			t.Fatal(err)
		}
	}
	small := make([]byte, 9)
	if n, err := c.Read(small); err != nil || string(small[:n]) != "192.0.2.1" {
		t.Errorf("read %q, %v, want the beginning of what came from the dialled port", small[:n], err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(b); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("read after nobody listens any more: got %v, want that it was refused", err)
	}
	if _, err := c.Write(make([]byte, 70_000)); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("write 70000 bytes: got %v, want that it is too long", err)
	}
}

func TestHostWithoutAddressBroadcasts(t *testing.T) {
	sw := wire.NewSwitch()
	h, err := host.New(t.Context(), host.Config{Port: sw.Access("handset", 1), MAC: macOf(1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	server := start(t, sw, 2)
	s, err := server.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 67))
	if err != nil {
		t.Fatal(err)
	}
	c, err := h.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 68))
	if err != nil {
		t.Fatal(err)
	}
	everyone := netip.MustParseAddrPort("255.255.255.255:67")
	if _, err := c.WriteFromTo([]byte("DISCOVER"), netip.AddrPort{}, everyone); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, from, to, err := s.ReadFromTo(b)
	if err != nil || string(b[:n]) != "DISCOVER" || from.String() != "0.0.0.0:68" || to != everyone {
		t.Errorf("received %q from %s to %s, %v, want DISCOVER from 0.0.0.0:68 to %s", b[:n], from, to, err, everyone)
	}
	if _, err := s.WriteFromTo([]byte("OFFER"), netip.AddrPort{}, netip.MustParseAddrPort("255.255.255.255:68")); err != nil {
		t.Fatal(err)
	}
	n, from, _, err = c.ReadFromTo(b)
	if err != nil || string(b[:n]) != "OFFER" || from.String() != "192.0.2.2:67" {
		t.Errorf("received %q from %s, %v, want OFFER from 192.0.2.2:67", b[:n], from, err)
	}
	if _, err := c.WriteFromTo([]byte("x"), netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.2:67")); err == nil {
		t.Error("a host without an address sent to one station")
	}
}

func TestTheNextHostTakesThePort(t *testing.T) {
	sw := wire.NewSwitch()
	from := serve(t, start(t, sw, 1), image(100_000))
	port := sw.Access("handset", 1)
	for boot := range uint64(5) {
		h, err := host.New(t.Context(), host.Config{
			Port: port, MAC: macOf(2), Addrs: []netip.Prefix{netip.PrefixFrom(at(2), 24)}, Seed: boot + 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fetch(patience(t), client(t, h), from); err != nil {
			t.Errorf("boot %d: %v", boot, err)
		}
		if err := h.Close(); err != nil {
			t.Errorf("boot %d: close: %v", boot, err)
		}
	}
}

func TestTransferSurvivesLoss(t *testing.T) {
	sw := wire.NewSwitch()
	body := image(256 << 10)
	n := 0
	silent := func(int, bool, time.Time, []byte, ...string) int { return 0 }
	lossy := wire.Impair(sw.Access("handset", 1), silent, func(bool, wire.Frame) wire.Verdict {
		n++
		return wire.Verdict{Drop: n%50 == 0}
	})
	from := serve(t, start(t, sw, 1), body)
	got, err := fetch(patience(t), client(t, startOn(t, lossy, 2)), from)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("fetched %d bytes, %v, want the %d served", len(got), err, len(body))
	}
}

package httpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/host"
	"ip88rig/rig/pki"
	"ip88rig/rig/wire"
)

// stand is the server on the rig's own host, whose deeds wait for the test, with
// a handset's host across the wire.
type stand struct {
	j     *journal
	plan  *fault.Plan
	phone *host.Host
	plug  *wire.SwitchPort // the phone's
	deeds chan string      // a deed is to be done
	done  chan struct{}    // it is
}

func newStand(t *testing.T, cfg Config, rules ...fault.Rule) *stand {
	t.Helper()
	s := &stand{plan: &fault.Plan{}, deeds: make(chan string), done: make(chan struct{})}
	sw := wire.NewSwitch()
	open := func(p wire.Port, n byte) *host.Host {
		// The host outlives the service: t.Context ends before either's cleanup.
		h, err := host.New(context.WithoutCancel(t.Context()), host.Config{
			Port: p, MAC: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, n}, Addrs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 24)},
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
	rig := open(sw.Access("rig", 1), 1)
	s.plug = sw.Access("handset", 1)
	s.phone = open(s.plug, 2)
	l, err := rig.ListenTCP(netip.MustParseAddrPort("192.0.2.1:80"))
	if err != nil {
		t.Fatal(err)
	}
	s.plan.Act(func(_ fault.Deed, sentence string) {
		select {
		case s.deeds <- sentence:
		case <-t.Context().Done():
		}
		select {
		case <-s.done:
		case <-t.Context().Done():
		}
	})
	for _, r := range rules {
		s.plan.Add(r)
	}
	cfg.Faults = s.plan
	s.j = serveOn(t, l, cfg)
	return s
}

// deed waits for the next deed, and takes the link down as it would.
func (s *stand) deed(t *testing.T) string {
	t.Helper()
	select {
	case sentence := <-s.deeds:
		s.plug.SetLink(false)
		return sentence
	case <-time.After(20 * time.Second):
		t.Fatalf("no deed came:\n%s", s.j)
		return ""
	}
}

// goOn brings the link back and lets the server go on.
func (s *stand) goOn() {
	s.plug.SetLink(true)
	s.done <- struct{}{}
}

// ask sends a request for the image over a connection of its own.
func (s *stand) ask(t *testing.T, over *tls.Config) (client, raw net.Conn) {
	t.Helper()
	raw, err := s.phone.DialTCP(t.Context(), netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.1:80"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	if client = raw; over != nil {
		client = tls.Client(raw, over)
	}
	if _, err := io.WriteString(client, "GET /image.rom HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return client, raw
}

// held counts what a client has of a body.
type held struct {
	bytes atomic.Int64
	grown chan struct{}
	ended chan error
}

// hold reads the answer on a connection.
func hold(t *testing.T, client net.Conn) *held {
	t.Helper()
	h := &held{grown: make(chan struct{}, 1), ended: make(chan error, 1)}
	read := func() error {
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		for b := make([]byte, 4096); ; {
			n, err := resp.Body.Read(b)
			h.bytes.Add(int64(n))
			select {
			case h.grown <- struct{}{}:
			default:
			}
			if err != nil {
				return err
			}
		}
	}
	// Ends with the connection.
	go func() { h.ended <- read() }()
	return h
}

// until waits for so many bytes.
func (h *held) until(t *testing.T, n int64) {
	t.Helper()
	patience := time.After(20 * time.Second)
	for h.bytes.Load() < n {
		select {
		case <-h.grown:
		case <-patience:
			t.Fatalf("the client holds %d bytes, want %d", h.bytes.Load(), n)
		}
	}
	if got := h.bytes.Load(); got != n {
		t.Errorf("the client holds %d bytes, want %d and no more", got, n)
	}
}

// What is held when a deed is done has come before: the link is down then.
func TestADeedAtAByteIsDoneWhenTheClientHoldsThatManyAndNoMore(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{
		"HTTP":             0,
		"HTTPS in TLS 1.0": tls.VersionTLS10,
		"HTTPS in TLS 1.2": tls.VersionTLS12,
		"HTTPS in TLS 1.3": tls.VersionTLS13,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cfg Config
			var over *tls.Config
			if version != 0 {
				cfg.Certificate = shows(leaf(t, pki.Good))
				over = &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}
			}
			s := newStand(t, cfg,
				fault.On("image.rom").Behind(1).Do(deed{}).Once(),
				fault.On("image.rom").Behind(100_000).Do(deed{}).Once(),
				fault.On("done").Of("image.rom").Do(deed{}).Once(),
			)
			client, _ := s.ask(t, over)
			h := hold(t, client)
			for _, c := range []struct {
				sentence string
				bytes    int64
			}{
				{"on image.rom behind byte 1: is done, once", 1 << 14},
				{"on image.rom behind byte 100000: is done, once", 7 << 14},
				{"on done of image.rom: is done, once", int64(len(image))},
			} {
				if got := s.deed(t); got != c.sentence {
					t.Errorf("%s, want %s", got, c.sentence)
				}
				h.until(t, c.bytes)
				s.goOn()
			}
			if err := <-h.ended; err != io.EOF { //nolint:errorlint // what a body ends with
				t.Errorf("the answer ends with %v", err)
			}
			told(t, s.j, string(image), true)
		})
	}
}

func TestAHandsetThatResetsTheConnectionDoesNotGetToTheByte(t *testing.T) {
	t.Parallel()
	s := newStand(t, Config{},
		fault.On("image.rom").Behind(1<<14).Do(deed{}).Once(),
		fault.On("image.rom").Behind(100_000).Do(deed{}).Once(),
		fault.On("done").Of("image.rom").Do(deed{}).Once(),
	)
	client, raw := s.ask(t, nil)
	h := hold(t, client)
	s.deed(t)
	h.until(t, 1<<14)
	if err := raw.(interface{ SetLinger(sec int) error }).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	s.goOn()
	if closed := s.j.wait(t, timeline.ConnClosed, 1)[0]; closed.Reason != "reset by the handset" {
		t.Errorf("closed %+v", closed)
	}
	for i, want := range []int{1, 0, 0} {
		if n := s.plan.Ledger()[i]; n.Fired != want {
			t.Errorf("%s: fired %d times", n.Rule, n.Fired)
		}
	}
	if odd := s.j.of(timeline.ServiceOddity); len(odd) > 0 {
		t.Errorf("oddities %v", odd)
	}
}

func TestAHandsetThatAcknowledgesNothingDoesNotGetToTheByte(t *testing.T) {
	t.Parallel()
	s := newStand(t, Config{Stall: 50 * time.Millisecond},
		fault.On("image.rom").Behind(1<<14).Do(deed{}).Once(),
		fault.On("image.rom").Behind(100_000).Do(deed{}),
		fault.On("done").Of("image.rom").Do(deed{}),
	)
	client, _ := s.ask(t, nil)
	h := hold(t, client)
	s.deed(t)
	s.done <- struct{}{} // the link stays down
	odd := s.j.wait(t, timeline.ServiceOddity, 1)
	s.plug.SetLink(true)
	if err := <-h.ended; err != io.EOF || h.bytes.Load() != int64(len(image)) { //nolint:errorlint // what a body ends with
		t.Errorf("the answer ends with %v after %d bytes", err, h.bytes.Load())
	}
	s.j.wait(t, timeline.ConnClosed, 1)
	if odd[0].Reason != "the handset did not acknowledge all in 50ms" || len(s.j.of(timeline.ServiceOddity)) != 1 {
		t.Errorf("oddities %v", s.j.of(timeline.ServiceOddity))
	}
	for i, want := range []int{1, 0, 0} {
		if n := s.plan.Ledger()[i]; n.Fired != want {
			t.Errorf("%s: fired %d times", n.Rule, n.Fired)
		}
	}
}

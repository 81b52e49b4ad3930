package httpd_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"ip88rig/capture/decode"
	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/host"
	"ip88rig/rig/httpd"
	"ip88rig/rig/wire"
)

// bench is the server on the rig's own host, with a recording of both witnesses:
// the frames of the handset's cable and the journal.
type bench struct {
	mu     sync.Mutex
	frames int
	events []timeline.Event
	dec    *decode.Decoder
	client *host.Host
	closed chan struct{} // a connection was
}

var (
	rigAddr     = netip.MustParseAddr("192.0.2.1")
	handsetAddr = netip.MustParseAddr("192.0.2.2")
	handsetMAC  = net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 2}
)

func (b *bench) frame(_ int, _ bool, at time.Time, data []byte, _ ...string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frames++
	b.events = append(b.events, b.dec.Frame(0, b.frames, at, data)...)
	return b.frames
}

func (b *bench) record(e timeline.Event) {
	b.mu.Lock()
	e.At, e.Frame = time.Now(), b.frames
	b.events = append(b.events, e)
	b.mu.Unlock()
	if e.Kind == timeline.ConnClosed {
		b.closed <- struct{}{}
	}
}

func (b *bench) all() []timeline.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]timeline.Event(nil), b.events...)
}

func openBench(t *testing.T, plan *fault.Plan, content []byte) *bench {
	t.Helper()
	b := &bench{dec: decode.New(decode.Config{HandsetMACs: []string{handsetMAC.String()}}), closed: make(chan struct{}, 100)}
	sw := wire.NewSwitch()
	open := func(p wire.Port, mac net.HardwareAddr, a netip.Addr) *host.Host {
		// The host outlives the service: t.Context ends before either's cleanup.
		h, err := host.New(context.WithoutCancel(t.Context()), host.Config{Port: p, MAC: mac, Addrs: []netip.Prefix{netip.PrefixFrom(a, 24)}, Seed: 1})
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
	server := open(wire.Tap(sw.Access("rig", 1), b.frame), net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 1}, rigAddr)
	b.client = open(sw.Access("handset", 1), handsetMAC, handsetAddr)
	l, err := server.ListenTCP(netip.AddrPortFrom(rigAddr, 80))
	if err != nil {
		t.Fatal(err)
	}
	s, err := httpd.New(httpd.Config{
		Listener: l, Record: b.record, Faults: plan, Linger: 200 * time.Millisecond,
		Lookup: func(name string, _ netip.AddrPort) ([]byte, error) {
			switch name {
			case "image.rom":
				return content, nil
			case "other":
				return []byte("another file"), nil
			}
			return nil, fs.ErrNotExist
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	// Ends when the test's cleanup cancels ctx.
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

// fetch is a client of few words. It returns how the connection ended.
func (b *bench) fetch(t *testing.T, file string) error {
	t.Helper()
	c, err := b.client.DialTCP(t.Context(), netip.AddrPort{}, netip.AddrPortFrom(rigAddr, 80))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /"+file+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, c)
	_ = c.Close()
	<-b.closed
	return err
}

func TestTheJournalAndTheFramesAgreeUnderEachFault(t *testing.T) {
	t.Parallel()
	var content []byte
	for i := 0; len(content) < 300_000; i++ {
		content = fmt.Appendf(content, "line %d of the firmware stand-in\n", i)
	}
	for _, c := range []struct {
		effect fault.Effect
		// blind: by the head that was sent the frames cannot be followed to the
		// end, or mean something else.
		blind bool
	}{
		{effect: httpd.Delay{For: time.Millisecond}},
		{effect: httpd.Status{Code: 503, Header: "Retry-After: 1"}},
		{effect: httpd.Redirect{Code: 302}},
		{effect: httpd.Interim{Count: 2}},
		{effect: httpd.FileUnder{Code: 404}},
		{effect: httpd.FileUnder{Code: 304}, blind: true},
		{effect: httpd.Twice{}, blind: true},
		{effect: httpd.Version{Name: "HTTP/1.0"}},
		{effect: httpd.BareBody{}, blind: true},
		{effect: httpd.StatusLine{Line: "HTTP/1.1 no"}, blind: true},
		{effect: httpd.Persistence{Say: "keep-alive", Close: true}},
		{effect: httpd.LongHeader{Bytes: 5000}},
		{effect: httpd.FoldedHeader{Name: "Server"}},
		{effect: httpd.NULHeader{}},
		{effect: httpd.BareLF{}},
		{effect: httpd.Length{By: 100}},
		{effect: httpd.Length{By: -100}, blind: true},
		{effect: httpd.LengthAs{Text: "six"}, blind: true},
		{effect: httpd.LengthTwice{By: 1}, blind: true},
		{effect: httpd.NoLength{}},
		{effect: httpd.Chunked{}},
		{effect: httpd.Chunked{Size: 1000}},
		{effect: httpd.Chunked{Flaw: httpd.ChunkNoLast}},
		{effect: httpd.Chunked{Flaw: httpd.ChunkHuge}, blind: true},
		{effect: httpd.Compressed{}},
		{effect: httpd.Compressed{HeaderOnly: true}},
		{effect: httpd.Corrupt{Offset: 100_000}},
		{effect: httpd.WrongFile{Name: "other"}},
		{effect: httpd.Truncate{Bytes: 1000}},
		{effect: httpd.Garbage{Bytes: 1000}, blind: true},
		{effect: httpd.Reset{}},
		{effect: httpd.Reset{HeadBytes: 30}, blind: true},
		{effect: httpd.Reset{AfterBytes: 200_000}},
		{effect: httpd.Reset{AfterBytes: 300_000}},
		{effect: httpd.FallSilent{}},
		{effect: httpd.FallSilent{AfterBytes: 200_000}},
		{effect: httpd.Close{AfterBytes: 200_000}},
		{effect: httpd.Close{HeadBytes: 30}, blind: true},
		{effect: httpd.Trickle{Bytes: 30_000, Every: time.Millisecond}},
	} {
		t.Run(c.effect.String(), func(t *testing.T) {
			t.Parallel()
			plan := &fault.Plan{}
			plan.Add(fault.On("image.rom").Do(c.effect).Once())
			b := openBench(t, plan, content)
			err := b.fetch(t, "image.rom")
			if _, reset := c.effect.(httpd.Reset); reset != (err != nil && strings.Contains(err.Error(), "reset by peer")) {
				t.Errorf("the client saw %v", err)
			}
			_ = b.fetch(t, "image.rom")
			if fired := plan.Ledger()[0].Fired; fired != 1 {
				t.Errorf("fired %d times", fired)
			}
			events := b.all()
			for _, d := range timeline.Disagreements(timeline.LogOf(events...)) {
				t.Error(d)
			}
			if c.blind {
				return
			}
			var wired, served []timeline.Event
			for _, e := range events {
				if e.Kind == timeline.HTTPResponse && e.By == timeline.Wire && e.Status >= 200 {
					wired = append(wired, e)
				}
				if e.Kind == timeline.Served {
					served = append(served, e)
				}
			}
			compare(t, wired, served)
		})
	}
}

// compare holds what the frames show of the answers against the journal: the
// second file is whole in any case.
func compare(t *testing.T, wired, served []timeline.Event) {
	t.Helper()
	if len(served) == 0 || len(wired) == 0 {
		t.Fatalf("%d answers on the wire, %d in the journal", len(wired), len(served))
	}
	last := served[len(served)-1]
	if w := wired[len(wired)-1]; !last.Complete || !w.Complete || w.SHA256 != last.SHA256 {
		t.Errorf("the second time: the wire shows %d bytes, complete %t; the journal says %d, %t", w.Bytes, w.Complete, last.Bytes, last.Complete)
	}
	if len(served) == 1 || served[0].Bytes == 0 {
		return // another answer than the file, or nothing
	}
	w, s := wired[0], served[0]
	if w.Bytes != s.Bytes || w.Complete && s.Complete && w.SHA256 != s.SHA256 || w.Complete != s.Complete && !strings.HasPrefix(s.Reason, "resets") {
		t.Errorf("the wire shows %d bytes, complete %t (%s); the journal says %d, %t (%s)", w.Bytes, w.Complete, w.Reason, s.Bytes, s.Complete, s.Reason)
	}
}

package tftpd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram/memnet"
	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

const (
	wellKnown = "192.0.2.1:69"
	handset   = "192.0.2.7:2001"
)

// bench is a server in memory with what it journalled.
type bench struct {
	t      testing.TB
	net    *memnet.Network
	faults *fault.Plan
	files  map[string][]byte

	mu      sync.Mutex
	events  []timeline.Event
	lookups []string
	changed chan struct{} // closed at the next event
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	return &bench{t: tb, net: memnet.New(), faults: &fault.Plan{}, files: map[string][]byte{}, changed: make(chan struct{})}
}

func (b *bench) record(e timeline.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	close(b.changed)
	b.changed = make(chan struct{})
}

// await waits until the journal has an entry of a kind: a client may be done
// before the server has read its last ACK.
func (b *bench) await(kind timeline.Kind) {
	b.t.Helper()
	b.awaitN(kind, 1)
}

func (b *bench) awaitN(kind timeline.Kind, n int) {
	b.t.Helper()
	late := time.After(10 * time.Second)
	for {
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		if len(b.of(kind)) >= n {
			return
		}
		select {
		case <-changed:
		case <-late:
			b.t.Fatalf("journal has %d of %q after 10 s, want %d", len(b.of(kind)), kind, n)
		}
	}
}

// of returns the journal's entries of a kind.
func (b *bench) of(kind timeline.Kind) []timeline.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []timeline.Event
	for _, e := range b.events {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

func (b *bench) lookup(name string, _ netip.AddrPort) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lookups = append(b.lookups, name)
	switch content, ok := b.files[name]; {
	case name == "secret":
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrPermission)
	case name == "broken":
		return nil, errors.New("the disk is on fire")
	case !ok:
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	default:
		return content, nil
	}
}

// start serves on the well-known port until the test ends, or end is called.
func (b *bench) start(edit ...func(*tftpd.Config)) (s *tftpd.Server, end func()) {
	b.t.Helper()
	cfg := tftpd.Config{
		Transfer: func(local netip.Addr) (net.PacketConn, error) {
			return b.net.Listen(netip.AddrPortFrom(local, 0))
		},
		Lookup: b.lookup,
		Record: b.record,
		Faults: b.faults,
	}
	for _, e := range edit {
		e(&cfg)
	}
	if cfg.Conn == nil {
		cfg.Conn = b.net.MustListen(b.t, wellKnown)
	}
	s, err := tftpd.New(cfg)
	if err != nil {
		b.t.Fatalf("New: %v", err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }() // ends with ctx
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Serve: %v", err)
		}
	})
	b.t.Cleanup(end)
	return s, end
}

// client speaks TFTP packet by packet.
type client struct {
	t    testing.TB
	port *memnet.Port
	// peer is the transfer's end at the server, once a packet came from it.
	peer netip.AddrPort
}

func (b *bench) client(addr string) *client {
	b.t.Helper()
	return &client{t: b.t, port: b.net.MustListen(b.t, addr), peer: netip.MustParseAddrPort(wellKnown)}
}

func (c *client) send(pkt []byte) {
	c.t.Helper()
	if _, err := c.port.Send(pkt, c.peer); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// ask sends a request to the well-known port.
func (c *client) ask(pkt []byte) {
	c.t.Helper()
	c.peer = netip.MustParseAddrPort(wellKnown)
	c.send(pkt)
}

// next returns the next packet that comes within a while, nil if none.
func (c *client) next(within time.Duration) []byte {
	c.t.Helper()
	if err := c.port.SetReadDeadline(time.Now().Add(within)); err != nil {
		c.t.Fatal(err)
	}
	d, err := c.port.Receive()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		c.t.Fatalf("receive: %v", err)
	}
	c.peer = d.From
	return d.Data
}

func (c *client) expect(what string, want []byte) {
	c.t.Helper()
	if got := c.next(time.Millisecond); !bytes.Equal(got, want) {
		c.t.Fatalf("%s: got %s, want %s", what, show(got), show(want))
	}
}

func (c *client) expectNothing(within time.Duration) {
	c.t.Helper()
	if got := c.next(within); got != nil {
		c.t.Fatalf("got %s, want nothing", show(got))
	}
}

// fetch is a plain lock-step or windowed client: it acknowledges the last block
// of each window, and asks again for what did not come.
func (c *client) fetch(name string, opts ...string) ([]byte, error) {
	c.t.Helper()
	request := rrq(name, "octet", opts...)
	c.ask(request)
	var out []byte
	last, size, window, fresh := 0, 512, 1, 0
	word := request
	for range 1 << 20 {
		pkt := c.next(3 * time.Second)
		if pkt == nil {
			if bytes.Equal(word, request) {
				c.ask(word)
			} else {
				c.send(word)
			}
			continue
		}
		switch op := pkt[1]; op {
		case 6:
			fields := strings.Split(strings.TrimSuffix(string(pkt[2:]), "\x00"), "\x00")
			for i := 0; i+1 < len(fields); i += 2 {
				n, _ := strconv.Atoi(fields[i+1])
				switch fields[i] {
				case "blksize":
					size = n
				case "windowsize":
					window = n
				}
			}
			word = ack(0)
			c.send(word)
		case 3:
			block := int(binary.BigEndian.Uint16(pkt[2:]))
			if block != (last+1)&0xffff {
				// A gap, or seen before: say what is there (RFC 7440), once per
				// window. The block seen last ends a window whose ACK was lost.
				if block == last&0xffff {
					c.send(ack(last))
				} else if fresh > 0 {
					fresh = 0
					c.send(ack(last))
				}
				continue
			}
			last++
			fresh++
			out = append(out, pkt[4:]...)
			word = ack(last)
			done := len(pkt)-4 < size
			if fresh == window || done {
				fresh = 0
				c.send(word)
			}
			if done {
				return out, nil
			}
		case 5:
			return out, fmt.Errorf("ERROR %d %s", binary.BigEndian.Uint16(pkt[2:]), pkt[4:])
		}
	}
	return out, errors.New("no end")
}

func rrq(name, mode string, opts ...string) []byte {
	return []byte("\x00\x01" + name + "\x00" + mode + "\x00" + nulls(opts...))
}

func nulls(s ...string) string {
	var b strings.Builder
	for _, v := range s {
		b.WriteString(v + "\x00")
	}
	return b.String()
}

func ack(n int) []byte { return []byte{0, 4, byte(n >> 8), byte(n)} }

func data(n int, payload []byte) []byte {
	return append([]byte{0, 3, byte(n >> 8), byte(n)}, payload...)
}

func oack(opts ...string) []byte { return []byte("\x00\x06" + nulls(opts...)) }

func failure(code byte, text string) []byte {
	return []byte("\x00\x05\x00" + string([]byte{code}) + text + "\x00")
}

func show(pkt []byte) string {
	if pkt == nil {
		return "nothing"
	}
	if len(pkt) > 64 {
		return fmt.Sprintf("%q… (%d bytes)", pkt[:64], len(pkt))
	}
	return strconv.Quote(string(pkt))
}

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// served returns the one Served entry.
func (b *bench) served() timeline.Event {
	b.t.Helper()
	all := b.of(timeline.Served)
	if len(all) != 1 {
		b.t.Fatalf("journal has %d served entries, want 1: %+v", len(all), all)
	}
	return all[0]
}

func (b *bench) wantComplete(name string, sent []byte) {
	b.t.Helper()
	e := b.served()
	want := timeline.Event{
		At: e.At, By: "tftpd", Kind: timeline.Served, Src: netip.MustParseAddrPort(handset), Dst: e.Dst,
		Transport: timeline.TFTP, File: name, Bytes: int64(len(sent)), SHA256: hashOf(sent), Complete: true, Fields: e.Fields,
	}
	if fmt.Sprint(e) != fmt.Sprint(want) {
		b.t.Errorf("journal has\n%+v, want\n%+v", e, want)
	}
}

func TestTransfers(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes int
		opts  []string
		data  int // DATA packets
	}{
		{"an empty file is one empty block", 0, nil, 1},
		{"one byte", 1, nil, 1},
		{"one byte less than a block", 511, nil, 1},
		{"a whole block is followed by an empty one", 512, nil, 2},
		{"one byte more than a block", 513, nil, 2},
		{"1 MiB", 1 << 20, nil, 2049},
		{"with blksize", 1 << 20, []string{"blksize", "1428"}, 735},
		{"with the largest blksize", 1 << 20, []string{"blksize", "65464"}, 17},
		{"with windowsize", 1 << 20, []string{"windowsize", "8", "blksize", "1024"}, 1025},
		{"past block 65535 in lock-step", 600_000, []string{"blksize", "8"}, 75001},
		{"past block 65535 with windows", 8*65536 + 3, []string{"blksize", "8", "windowsize", "7"}, 65537},
		{"ending at block 65535", 8*65535 - 1, []string{"blksize", "8"}, 65535},
		{"ending at block 65536, which is 0 on the wire", 8*65535 + 1, []string{"blksize", "8"}, 65536},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["image.rom"] = content(c.bytes)
				var blocks int
				b.net.Through = func(_, _ netip.AddrPort, pkt []byte) [][]byte {
					if pkt[1] == 3 {
						blocks++
					}
					return [][]byte{pkt}
				}
				b.start()
				began := time.Now()
				got, err := b.client(handset).fetch("image.rom", c.opts...)
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if !bytes.Equal(got, b.files["image.rom"]) {
					t.Errorf("got %d bytes that differ from the %d of the file", len(got), c.bytes)
				}
				if blocks != c.data {
					t.Errorf("%d DATA packets, want %d", blocks, c.data)
				}
				if d := time.Since(began); d != 0 {
					t.Errorf("took %v on a wire without delay: somebody waited", d)
				}
				b.wantComplete("image.rom", got)
				if odd := b.of(timeline.ServiceOddity); odd != nil {
					t.Errorf("oddities: %+v", odd)
				}
			})
		})
	}
}

func TestBadWires(t *testing.T) {
	// The same packet is not lost three times: a count alone beats in time with
	// the repetitions of a window and loses the same ACK for ever.
	thirdLost := func() func(_, _ netip.AddrPort, pkt []byte) [][]byte {
		i, lost := 0, map[string]int{}
		return func(from, _ netip.AddrPort, pkt []byte) [][]byte {
			i++
			key := from.String() + string(pkt)
			if i%3 == 0 && lost[key] < 2 {
				lost[key]++
				return nil
			}
			return [][]byte{pkt}
		}
	}
	for _, c := range []struct {
		name    string
		opts    []string
		through func() func(from, to netip.AddrPort, pkt []byte) [][]byte
		data    int // DATA packets, 0: any number
	}{
		{name: "every packet comes twice, DATA is not doubled", data: 41, through: func() func(_, _ netip.AddrPort, pkt []byte) [][]byte {
			return func(_, _ netip.AddrPort, pkt []byte) [][]byte {
				if pkt[1] == 1 {
					return [][]byte{pkt}
				}
				return [][]byte{pkt, pkt}
			}
		}},
		{name: "every packet comes twice, with windows", opts: []string{"windowsize", "4"}, data: 41, through: func() func(_, _ netip.AddrPort, pkt []byte) [][]byte {
			return func(_, _ netip.AddrPort, pkt []byte) [][]byte {
				if pkt[1] == 1 || pkt[1] == 3 {
					return [][]byte{pkt}
				}
				return [][]byte{pkt, pkt}
			}
		}},
		{name: "every third packet is lost", through: thirdLost},
		{name: "every third packet is lost, with windows", opts: []string{"windowsize", "5", "blksize", "100"}, through: thirdLost},
		{name: "each ACK brings the one before it along", data: 41, through: func() func(_, _ netip.AddrPort, pkt []byte) [][]byte {
			var last []byte
			return func(_, _ netip.AddrPort, pkt []byte) [][]byte {
				if pkt[1] != 4 {
					return [][]byte{pkt}
				}
				out := [][]byte{pkt}
				if last != nil {
					out = [][]byte{last, pkt, last}
				}
				last = slices.Clone(pkt)
				return out
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["image.rom"] = content(40*512 + 7)
				blocks, through := 0, c.through()
				var mu sync.Mutex
				b.net.Through = func(from, to netip.AddrPort, pkt []byte) [][]byte {
					mu.Lock()
					defer mu.Unlock()
					if pkt[1] == 3 {
						blocks++
					}
					return through(from, to, pkt)
				}
				b.start(func(c *tftpd.Config) { c.Tries = 20 })
				cl := b.client(handset)
				got, err := cl.fetch("image.rom", c.opts...)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, b.files["image.rom"]) {
					t.Errorf("got %d bytes that differ from the %d of the file", len(got), len(b.files["image.rom"]))
				}
				for cl.next(2*time.Second) != nil { // a last ACK may have been lost
					cl.send(ack(len(got)/512 + 1))
				}
				if c.data != 0 && blocks != c.data {
					t.Errorf("%d DATA packets, want %d", blocks, c.data)
				}
			})
		})
	}
}

func TestLockStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.files["own"] = content(1100)
		b.start()
		c := b.client(handset)
		c.ask(rrq("/own", "OCTET"))
		c.expect("block 1", data(1, content(1100)[:512]))
		if c.peer.Port() == 69 {
			t.Error("DATA came from the well-known port")
		}
		c.expectNothing(999 * time.Millisecond)
		c.send(ack(0)) // earlier: no answer, and no longer patience either
		c.expect("block 1 again after 1 s", nil)
		c.expect("block 1 again after 1 s", data(1, content(1100)[:512]))
		c.send(ack(2)) // not sent yet
		c.expectNothing(500 * time.Millisecond)
		c.send(ack(1))
		c.expect("block 2", data(2, content(1100)[512:1024]))
		c.send(ack(1))
		c.send(ack(1))
		c.expectNothing(900 * time.Millisecond)
		c.send(append(ack(2), 0, 0, 0)) // padded
		c.expect("block 3", data(3, content(1100)[1024:]))
		c.send(ack(3))
		c.expectNothing(time.Minute)
		b.wantComplete("own", content(1100))
		if got := b.served().Fields["retransmissions"]; got != "1" {
			t.Errorf("journal has %s retransmissions, want 1", got)
		}
		if len(b.of(timeline.ServiceOddity)) != 1 {
			t.Errorf("oddities %+v, want the early ACK only", b.of(timeline.ServiceOddity))
		}
		if want := []string{"own"}; !slices.Equal(b.lookups, want) {
			t.Errorf("looked up %q, want %q", b.lookups, want)
		}
	})
}

func TestWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		all := content(80)
		block := func(n int) []byte { return data(n, all[(n-1)*8:min(n*8, 80)]) }
		b.files["own"] = all
		b.start()
		c := b.client(handset)
		c.ask(rrq("own", "octet", "blksize", "8", "windowsize", "4"))
		c.expect("OACK", oack("blksize", "8", "windowsize", "4"))
		c.send(ack(0))
		for n := 1; n <= 4; n++ {
			c.expect("first window", block(n))
		}
		c.expectNothing(10 * time.Millisecond)
		c.send(ack(2)) // block 3 was lost
		for n := 3; n <= 6; n++ {
			c.expect("the window goes on from the gap", block(n))
		}
		c.send(ack(2)) // block 4 was old and out of order
		c.expectNothing(900 * time.Millisecond)
		for n := 3; n <= 6; n++ {
			c.next(200 * time.Millisecond)
		}
		c.send(ack(6))
		for n := 7; n <= 10; n++ {
			c.expect("third window", block(n))
		}
		c.send(ack(10))
		c.expect("the last block is empty", block(11))
		c.send(ack(11))
		c.expectNothing(time.Minute)
		b.wantComplete("own", all)
	})
}

func TestGivesUp(t *testing.T) {
	for _, c := range []struct {
		name string
		opts []string
		acks []int
		want [][]byte
		wait time.Duration
		gone string
		ok   int64
	}{
		{"without an ACK", nil, nil, [][]byte{data(1, content(512))}, time.Second, "block 1: timeout after 5 tries", 0},
		{"after block 1", nil, []int{1}, [][]byte{data(2, content(600)[512:])}, time.Second, "block 2: timeout after 5 tries", 512},
		{"at the OACK, with the client's timeout", []string{"timeout", "7"}, nil, [][]byte{oack("timeout", "7")}, 7 * time.Second, "OACK: timeout after 5 tries", 0},
		{"with a window", []string{"blksize", "512", "windowsize", "2"}, []int{0}, [][]byte{data(1, content(512)), data(2, content(600)[512:])}, time.Second, "block 1: timeout after 5 tries", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["own"] = content(600)
				b.start()
				cl := b.client(handset)
				cl.ask(rrq("own", "octet", c.opts...))
				for _, n := range c.acks {
					cl.next(time.Millisecond)
					cl.send(ack(n))
				}
				began := time.Now()
				for try := range 5 {
					for _, want := range c.want {
						if got := cl.next(time.Minute); !bytes.Equal(got, want) {
							t.Fatalf("try %d: got %s, want %s", try+1, show(got), show(want))
						}
					}
					if d := time.Since(began); d != time.Duration(try)*c.wait {
						t.Errorf("try %d after %v, want %v", try+1, d, time.Duration(try)*c.wait)
					}
				}
				cl.expectNothing(time.Hour)
				e := b.served()
				if e.Complete || e.Reason != c.gone || e.Bytes != c.ok || e.SHA256 != hashOf(content(600)[:c.ok]) {
					t.Errorf("journal has %+v, want %d bytes and reason %q", e, c.ok, c.gone)
				}
			})
		})
	}
}

func TestAnotherTransferID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.files["own"] = content(700)
		b.start()
		c := b.client(handset)
		c.ask(rrq("own", "octet"))
		c.expect("block 1", data(1, content(512)))
		for _, addr := range []string{"192.0.2.7:2002", "192.0.2.8:2001"} {
			stranger := b.client(addr)
			stranger.peer = c.peer
			stranger.send(ack(1))
			stranger.expect("ERROR 5", failure(5, "unknown transfer id"))
			stranger.send(failure(0, "no, you"))
			stranger.expectNothing(time.Millisecond)
		}
		c.expectNothing(time.Millisecond)
		c.send(ack(1))
		c.expect("block 2", data(2, content(700)[512:]))
		c.send(ack(2))
		synctest.Wait()
		b.wantComplete("own", content(700))
		if got := len(b.of(timeline.ServiceOddity)); got != 4 {
			t.Errorf("%d oddities, want 4", got)
		}
	})
}

func TestRequests(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name   string
		pkt    []byte
		want   []byte
		reason string // of Served; empty: none
		odd    string // of the first oddity; empty: none
	}{
		{"a file that is not there", rrq("nothing", "octet"), failure(1, "file not found"), "refused: file not found", ""},
		{"a file that is not for everybody", rrq("secret", "octet"), failure(2, "access violation"), "refused: access violation", ""},
		{"a look-up that fails", rrq("broken", "octet"), failure(0, "server error"), "refused: server error", "look-up: the disk is on fire"},
		{"a write request", []byte("\x00\x02own\x00octet\x00"), failure(2, "nothing can be written here"), "refused: nothing can be written here", "write request"},
		{"an unknown opcode", []byte("\x00\x09own\x00octet\x00"), failure(4, "not a request"), "refused: not a request", "opcode 9 to the well-known port"},
		{"an ACK to the well-known port", ack(1), failure(4, "not a request"), "refused: not a request", "ACK to the well-known port"},
		{"an ERROR is never answered", failure(0, "hm"), nil, "", `ERROR 0 "hm" to the well-known port, ignored`},
		{"one byte", []byte{0}, nil, "", "datagram of 1 bytes, ignored"},
		{"no bytes", []byte{}, nil, "", "datagram of 0 bytes, ignored"},
		{"no mode", []byte("\x00\x01own\x00"), failure(4, "malformed request"), "refused: malformed request", "malformed request: mode without a NUL behind it"},
		{"no NUL", []byte("\x00\x01own"), failure(4, "malformed request"), "refused: malformed request", "malformed request: file name without a NUL behind it"},
		{"mode mail", rrq("own", "mail"), failure(4, "unknown mode"), "refused: unknown mode", `mode "mail"`},
		{"a NUL in the name makes the rest the mode", rrq("own\x00.cfg", "octet"), failure(4, "unknown mode"), "refused: unknown mode", `option "octet" without a NUL behind its value`},
		{"no name", rrq("", "octet"), failure(1, "no file name"), "refused: no file name", "no file name"},
		{"dots", rrq("../etc/passwd", "octet"), failure(2, `".." in the file name`), `refused: ".." in the file name`, `".." in the file name`},
		{"dots behind a slash", rrq("/a/../../b", "octet"), failure(2, `".." in the file name`), `refused: ".." in the file name`, `".." in the file name`},
		{"dots within a name are letters", rrq("a..b", "octet"), failure(1, "file not found"), "refused: file not found", ""},
		{"a backslash", rrq(`..\boot.ini`, "octet"), failure(2, "backslash in the file name"), "refused: backslash in the file name", "backslash in the file name"},
		{"two slashes", rrq("//etc/passwd", "octet"), failure(2, "absolute file name"), "refused: absolute file name", "absolute file name"},
		{"a drive", rrq("C:/boot.ini", "octet"), failure(2, "absolute file name"), "refused: absolute file name", "absolute file name"},
		{"one slash is the root of what is published", rrq("/etc/passwd", "octet"), failure(1, "file not found"), "refused: file not found", ""},
		{"an over-long name", rrq(long, "octet"), failure(2, "file name of 256 bytes, at most 255"), "refused: file name of 256 bytes, at most 255", "file name of 256 bytes, at most 255"},
		{"a control byte", rrq("own\r\n", "octet"), failure(2, "control byte in the file name"), "refused: control byte in the file name", "control byte in the file name"},
		{"a cut option is ignored", []byte("\x00\x01own\x00octet\x00blksize\x0016"), data(1, []byte("own file")), "", `option "blksize" without a NUL behind its value`},
		{"an option without a value is ignored", rrq("own", "octet", "tsize"), data(1, []byte("own file")), "", `option "tsize" without a NUL behind its value`},
		{"an option out of range is ignored", rrq("own", "octet", "blksize", "7"), data(1, []byte("own file")), "", `option blksize="7" out of range 8 to 65464, ignored`},
		{"an unknown option is ignored in silence", rrq("own", "octet", "multicast", ""), data(1, []byte("own file")), "", ""},
		{"options are spelt as the client does", rrq("own", "octet", "TSize", "0", "x", "y", "BLKSIZE", "1428"), oack("TSize", "8", "BLKSIZE", "1428"), "", ""},
		{"a request longer than RFC 2347 allows", rrq("own", "octet", "x", strings.Repeat("y", 600)), data(1, []byte("own file")), "", "request of 615 bytes, RFC 2347 allows 512"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["own"] = []byte("own file")
				b.start()
				cl := b.client(handset)
				cl.ask(c.pkt)
				cl.expect("answer", c.want)
				synctest.Wait()
				if c.reason == "" {
					if got := b.of(timeline.Served); got != nil {
						t.Errorf("journal has %+v, want nothing served yet", got)
					}
				} else if e := b.served(); e.Reason != c.reason || e.Complete || e.Status != int(c.want[3]) || e.Fields["tftp.error.code"] == "" {
					t.Errorf("journal has %+v, want reason %q", e, c.reason)
				}
				odd := b.of(timeline.ServiceOddity)
				if c.odd == "" && odd != nil || c.odd != "" && (len(odd) == 0 || odd[0].Reason != c.odd || odd[0].Src.String() != handset) {
					t.Errorf("oddities %+v, want %q", odd, c.odd)
				}
			})
		})
	}
}

func TestClientEndsIt(t *testing.T) {
	for _, c := range []struct {
		name   string
		opts   []string
		pkt    []byte
		answer []byte
		reason string
		status int
	}{
		{"the option is refused", []string{"blksize", "1428"}, failure(8, "I did not mean it"), nil, `OACK: the client sent ERROR 8 "I did not mean it"`, 0},
		{"an ERROR without text or NUL", nil, []byte{0, 5, 0, 3}, nil, `block 1: the client sent ERROR 3 ""`, 0},
		{"a packet that makes no sense", nil, []byte("\x00\x09"), failure(4, "not an ACK"), `opcode 9 instead of an ACK: ERROR 4 "not an ACK"`, 4},
		{"a cut ACK", nil, []byte{0, 4, 0}, failure(4, "not an ACK"), `ACK of 3 bytes: ERROR 4 "not an ACK"`, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["own"] = content(700)
				b.start()
				cl := b.client(handset)
				cl.ask(rrq("own", "octet", c.opts...))
				cl.next(time.Millisecond)
				cl.send(c.pkt)
				cl.expect("answer", c.answer)
				cl.expectNothing(time.Hour)
				if e := b.served(); e.Reason != c.reason || e.Complete || e.Status != c.status {
					t.Errorf("journal has %+v, want reason %q", e, c.reason)
				}
			})
		})
	}
}

func TestRequestSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.files["own"], b.files["next"] = content(600), []byte("next")
		b.start()
		c := b.client(handset)
		c.ask(rrq("own", "octet"))
		c.ask(rrq("own", "octet"))
		c.expect("block 1", data(1, content(512)))
		c.expectNothing(time.Millisecond)
		if got := b.of(timeline.ServiceOddity); len(got) != 1 || got[0].Reason != "request sent again while its transfer lives, ignored" {
			t.Errorf("oddities %+v, want the second request", got)
		}
		if len(b.lookups) != 1 {
			t.Errorf("%d look-ups, want 1", len(b.lookups))
		}
		c.send(ack(1))
		c.expect("block 2", data(2, content(600)[512:]))
		// The last ACK is lost, and the client goes on from the same port.
		c.ask(rrq("next", "octet"))
		c.expect("the next file", data(1, []byte("next")))
		c.send(ack(1))
		c.expectNothing(time.Minute)
		served := b.of(timeline.Served)
		if len(served) != 2 || !served[1].Complete && !served[0].Complete {
			t.Fatalf("journal has %+v, want one broken and one complete", served)
		}
		slices.SortFunc(served, func(a, b timeline.Event) int { return strings.Compare(b.File, a.File) })
		if served[0].Complete || served[0].Reason != "the client sent another request from the same port" || served[0].Bytes != 512 {
			t.Errorf("journal has %+v, want it broken off after 512 bytes", served[0])
		}
	})
}

// The last ACK and the next request go to two sockets of the server, which may
// read the request first.
func TestTheNextRequestOvertakesTheLastACK(t *testing.T) {
	for name, tt := range map[string]struct {
		late     time.Duration
		complete bool
	}{
		"by a little":                 {25 * time.Millisecond, true},
		"so far that it is not heard": {100 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["own"], b.files["next"] = []byte("own"), []byte("next")
				b.start()
				c := b.client(handset)
				c.ask(rrq("own", "octet"))
				c.expect("all of it", data(1, []byte("own")))
				old := c.peer
				c.ask(rrq("next", "octet"))
				c.expect("the next file", data(1, []byte("next")))
				next := c.peer
				<-time.After(tt.late)
				c.peer = old
				c.send(ack(1))
				c.peer = next
				c.send(ack(1))
				c.expectNothing(time.Minute)
				for _, e := range b.of(timeline.Served) {
					if want := e.File == "next" || tt.complete; e.Complete != want {
						t.Errorf("%s complete %t, want %t", e.File, e.Complete, want)
					}
				}
				if n := len(b.of(timeline.Served)); n != 2 {
					t.Errorf("%d files served, want 2", n)
				}
			})
		})
	}
}

func TestNetascii(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.files["own"] = []byte("a\nb\r\nc\r")
		sent := []byte("a\r\nb\r\x00\r\nc\r\x00")
		b.start()
		c := b.client(handset)
		c.ask(rrq("own", "NetASCII", "tsize", "0"))
		c.expect("OACK", oack("tsize", strconv.Itoa(len(sent))))
		c.send(ack(0))
		c.expect("block 1", data(1, sent))
		c.send(ack(1))
		synctest.Wait()
		b.wantComplete("own", sent)
		if got := b.served().Fields["tftp.type"]; got != "netascii" {
			t.Errorf("journal says type %q", got)
		}
		if got := b.of(timeline.Note); len(got) != 1 || got[0].Reason != "netascii asked for: line ends translated, 7 bytes become 11" {
			t.Errorf("notes %+v, want the translation", got)
		}
	})
}

func TestManyTransfersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 100 {
			b.files[fmt.Sprintf("file%d", i)] = content(i * 997)
		}
		_, end := b.start()
		var wg sync.WaitGroup
		for i := range 100 {
			name := fmt.Sprintf("file%d", i)
			c := b.client(fmt.Sprintf("192.0.2.%d:2001", 100+i))
			wg.Go(func() {
				got, err := c.fetch(name, "blksize", "1000", "windowsize", "3")
				if err != nil || !bytes.Equal(got, content(i*997)) {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		end()
		if got := len(b.of(timeline.Served)); got != 100 {
			t.Errorf("%d served entries, want 100", got)
		}
		ports := map[netip.AddrPort]bool{}
		for _, e := range b.of(timeline.Served) {
			ports[e.Dst] = true
		}
		if len(ports) != 100 {
			t.Errorf("%d ports for 100 transfers", len(ports))
		}
	})
}

func TestAnswersFromTheAddressThatWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.files["own"] = []byte("x")
		well := memnet.AnyPort{Port: b.net.MustListen(t, "0.0.0.0:69")}
		b.start(func(c *tftpd.Config) { c.Conn = well })
		c := b.client(handset)
		for _, addr := range []string{"192.0.2.1:69", "198.51.100.9:69"} {
			for _, file := range []string{"own", "nothing"} {
				c.peer = netip.MustParseAddrPort(addr)
				c.send(rrq(file, "octet"))
				c.next(time.Millisecond)
				if got, want := c.peer.Addr(), netip.MustParseAddrPort(addr).Addr(); got != want {
					t.Errorf("%s: answer from %v, want %v", file, got, want)
				}
				c.send(ack(1))
				synctest.Wait()
			}
		}
		c.peer = netip.MustParseAddrPort("255.255.255.255:69")
		c.send(rrq("own", "octet"))
		c.expectNothing(time.Minute)
	})
}

func TestServeWaitsForItsTransfers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.files["own"] = content(600)
		b.faults.Add(fault.On("silent").Do(tftpd.FallSilent{}))
		b.files["silent"] = nil
		_, end := b.start()
		c, d := b.client(handset), b.client("192.0.2.8:1")
		c.ask(rrq("own", "octet"))
		c.expect("block 1", data(1, content(512)))
		d.ask(rrq("silent", "octet"))
		d.expectNothing(time.Millisecond)
		end()
		if got := b.of(timeline.Served); len(got) != 2 || got[1].Reason != "the server was stopped" || got[1].Complete {
			t.Errorf("journal has %+v, want the transfer broken off", got)
		}
		if n := b.net.Ports(); n != 2 {
			t.Errorf("%d ports are open, want the two of the clients", n)
		}
	})
}

func TestServeSaysWhenItsPortFails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.net.MustListen(t, wellKnown)
	s, err := tftpd.New(tftpd.Config{Conn: p, Lookup: b.lookup, Transfer: func(netip.Addr) (net.PacketConn, error) { return nil, errors.New("no") }})
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	if err := s.Serve(t.Context()); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), wellKnown) {
		t.Errorf("got %v, want the port and its error", err)
	}
}

type foreignEffect struct{}

func (foreignEffect) String() string { return "sings" }

func TestCan(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, _ := b.start()
	for _, c := range []struct {
		effect fault.Effect
		want   string
	}{
		{tftpd.Drop{}, ""},
		{foreignEffect{}, "tftpd cannot do tftpd_test.foreignEffect"},
		{nil, "tftpd cannot do <nil>"},
	} {
		got := ""
		if err := s.Can(c.effect); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("Can(%v): got %q, want %q", c.effect, got, c.want)
		}
	}
}

func TestNewNamesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	conn := memnet.New().MustListen(t, wellKnown)
	open := func(netip.Addr) (net.PacketConn, error) { return nil, errors.New("no") }
	lookup := func(string, netip.AddrPort) ([]byte, error) { return nil, fs.ErrNotExist }
	for _, c := range []struct {
		field string
		cfg   tftpd.Config
	}{
		{"Conn", tftpd.Config{Transfer: open, Lookup: lookup}},
		{"Transfer", tftpd.Config{Conn: conn, Lookup: lookup}},
		{"Lookup", tftpd.Config{Conn: conn, Transfer: open}},
		{"Timeout", tftpd.Config{Conn: conn, Transfer: open, Lookup: lookup, Timeout: -1}},
		{"Tries", tftpd.Config{Conn: conn, Transfer: open, Lookup: lookup, Tries: -1}},
	} {
		if _, err := tftpd.New(c.cfg); err == nil || !strings.Contains(err.Error(), c.field) {
			t.Errorf("got %v, want an error that names %s", err, c.field)
		}
	}
}

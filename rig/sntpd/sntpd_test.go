package sntpd

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram/memnet"
	"ip88rig/rig/fault"
)

var (
	handset = netip.MustParseAddrPort("192.0.2.10:123")
	other   = netip.MustParseAddrPort("192.0.2.11:1024")
	own     = netip.MustParseAddrPort("192.0.2.1:123")
)

// journal keeps what a server records.
type journal struct {
	mu     sync.Mutex
	events []timeline.Event
}

func (j *journal) record(e timeline.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

func (j *journal) kinds() []timeline.Kind {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []timeline.Kind
	for _, e := range j.events {
		out = append(out, e.Kind)
	}
	return out
}

func (j *journal) last() timeline.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.events[len(j.events)-1]
}

// socket is a socket bound to the unspecified address, as the rig's host has it:
// it tells the address that each datagram came to.
func socket(tb testing.TB, n *memnet.Network) memnet.AnyPort {
	tb.Helper()
	return memnet.AnyPort{Port: n.MustListen(tb, "0.0.0.0:123")}
}

func request(first byte) []byte {
	b := make([]byte, 48)
	b[0], b[2] = first, 6
	copy(b[40:], "\xe8\x01\x02\x03\x04\x05\x06\x07")
	return b
}

// respond handles one datagram and returns the bytes that are sent, nil: none.
func respond(t *testing.T, s *Server, b []byte, from netip.AddrPort, received time.Time) []byte {
	t.Helper()
	a := s.answer(b, from, own, received)
	if a == nil {
		return nil
	}
	s.send(t.Context(), a, from, own)
	return a.bytes()
}

func TestStampsCountFrom1900AndWrapIn2036(t *testing.T) {
	for _, tt := range []struct {
		name, at, want string
	}{
		{"NTP begins", "1900-01-01T00:00:00Z", "0000000000000000"},
		{"RFC 5905 figure 4, Unix begins", "1970-01-01T00:00:00Z", "83aa7e8000000000"},
		{"RFC 5905 figure 4, last day of the century", "1999-12-31T00:00:00Z", "bc16708000000000"},
		{"half a second is the upper bit of the fraction", "2026-01-01T00:00:00.5Z", "ed00378080000000"},
		{"a quarter", "1970-01-01T00:00:00.25Z", "83aa7e8040000000"},
		{"last second of era 0", "2036-02-07T06:28:15.999999999Z", "fffffffffffffffb"},
		{"first second of era 1", "2036-02-07T06:28:16Z", "0000000000000000"},
		{"era 1", "2036-02-07T06:28:17Z", "0000000100000000"},
		{"before era 0 wraps backwards", "1899-12-31T23:59:59Z", "ffffffff00000000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339Nano, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			var b [8]byte
			binary.BigEndian.PutUint64(b[:], Stamp(at))
			if got := hex.EncodeToString(b[:]); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	base := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		first  byte
		cfg    Config
		effect fault.Effect
		// head is flags, stratum, poll and precision; refid as text.
		head, refid string
		off         time.Duration
		kinds       []timeline.Kind
	}{
		{
			name: "version 4 client", first: 4<<3 | 3,
			head: "240106ec", refid: "LOCL", kinds: []timeline.Kind{timeline.SNTPResponse},
		},
		{
			name: "the version is the client's", first: 3<<3 | 3,
			head: "1c0106ec", refid: "LOCL", kinds: []timeline.Kind{timeline.SNTPResponse},
		},
		{
			name: "an unsynchronised client is answered", first: 3<<6 | 3<<3 | 3,
			head: "1c0106ec", refid: "LOCL", kinds: []timeline.Kind{timeline.SNTPResponse},
		},
		{
			name: "version 1 knew no modes", first: 1 << 3,
			head: "0c0106ec", refid: "LOCL", kinds: []timeline.Kind{timeline.SNTPResponse},
		},
		{
			name: "leap second and stratum as configured", first: 4<<3 | 3, cfg: Config{Leap: 1, Stratum: 3},
			head: "640306ec", refid: "LOCL", kinds: []timeline.Kind{timeline.SNTPResponse},
		},
		{
			name: "the clock of a scenario is told", first: 4<<3 | 3,
			cfg: Config{Clock: func(client netip.Addr, now time.Time) (time.Time, bool) {
				if client != handset.Addr() {
					return now, false
				}
				return now.AddDate(20, 0, 0), true
			}},
			head: "240106ec", refid: "LOCL", off: base.AddDate(20, 0, 0).Sub(base),
			kinds: []timeline.Kind{timeline.SNTPResponse},
		},
		{
			name: "a clock that is not synchronised", first: 4<<3 | 3,
			cfg:  Config{Clock: func(_ netip.Addr, now time.Time) (time.Time, bool) { return now, false }},
			head: "e40006ec", refid: "INIT", kinds: []timeline.Kind{timeline.SNTPResponse},
		},
		{
			name: "kiss-of-death", first: 4<<3 | 3, effect: KissOfDeath{Code: "RATE"},
			head: "e40006ec", refid: "RATE", kinds: []timeline.Kind{timeline.FaultFired, timeline.SNTPResponse},
		},
		{
			name: "a wrong time", first: 4<<3 | 3, effect: Offset{D: -time.Hour},
			head: "240106ec", refid: "LOCL", off: -time.Hour,
			kinds: []timeline.Kind{timeline.FaultFired, timeline.SNTPResponse},
		},
		{name: "dropped", first: 4<<3 | 3, effect: Drop{}, kinds: []timeline.Kind{timeline.FaultFired}},
		{name: "a server's answer", first: 4<<3 | 4, kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "a broadcast", first: 4<<3 | 5, kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "a control message", first: 4<<3 | 6, kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "version 0", first: 3, kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "version 7", first: 7<<3 | 3, kinds: []timeline.Kind{timeline.ServiceOddity}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var j journal
			var plan fault.Plan
			if tt.effect != nil {
				plan.Add(fault.On("SNTP").Do(tt.effect))
			}
			cfg := tt.cfg
			cfg.Conn, cfg.Record, cfg.Faults = socket(t, memnet.New()), j.record, &plan
			now := base
			cfg.Now = func() time.Time { now = now.Add(time.Millisecond); return now }
			s, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}

			got := respond(t, s, request(tt.first), handset, base)

			if kinds := j.kinds(); !slices.Equal(kinds, tt.kinds) {
				t.Errorf("recorded %v, want %v", kinds, tt.kinds)
			}
			if e := j.last(); e.By != "sntpd" || e.Src != handset || e.Dst != own {
				t.Errorf("recorded By %q Src %v Dst %v", e.By, e.Src, e.Dst)
			}
			if tt.head == "" {
				if got != nil {
					t.Fatalf("answered %x", got)
				}
				return
			}
			if len(got) != 48 {
				t.Fatalf("got %d bytes, want 48", len(got))
			}
			if head := hex.EncodeToString(got[:4]); head != tt.head {
				t.Errorf("head %s, want %s", head, tt.head)
			}
			if refid := string(got[12:16]); refid != tt.refid {
				t.Errorf("reference %q, want %q", refid, tt.refid)
			}
			if !slices.Equal(got[24:32], request(0)[40:48]) {
				t.Errorf("origin %x is not the client's transmit stamp", got[24:32])
			}
			if rec, want := binary.BigEndian.Uint64(got[32:]), Stamp(base.Add(tt.off)); rec != want {
				t.Errorf("receive %x, want %x", rec, want)
			}
			if xmt, want := binary.BigEndian.Uint64(got[40:]), Stamp(base.Add(tt.off+time.Millisecond)); xmt != want {
				t.Errorf("transmit %x, want %x", xmt, want)
			}
		})
	}
}

func TestTheClockIsAskedForEachClient(t *testing.T) {
	var j journal
	base := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s, err := New(Config{
		Conn: socket(t, memnet.New()), Record: j.record, Now: func() time.Time { return base },
		Clock: func(client netip.Addr, now time.Time) (time.Time, bool) {
			if client == handset.Addr() {
				return now.Add(-time.Hour), true
			}
			return now, true
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for client, want := range map[netip.AddrPort]time.Time{handset: base.Add(-time.Hour), other: base} {
		got := respond(t, s, request(4<<3|3), client, base)
		if xmt := binary.BigEndian.Uint64(got[40:]); xmt != Stamp(want) {
			t.Errorf("%v was told %x, want %x", client, xmt, Stamp(want))
		}
	}
}

func TestAShortPacketIsAnOddity(t *testing.T) {
	var j journal
	s, err := New(Config{Conn: socket(t, memnet.New()), Record: j.record})
	if err != nil {
		t.Fatal(err)
	}
	if got := respond(t, s, request(4<<3 | 3)[:47], handset, time.Time{}); got != nil {
		t.Errorf("answered %x", got)
	}
	if e := j.last(); e.Kind != timeline.ServiceOddity || !strings.Contains(e.Reason, "47 bytes") {
		t.Errorf("recorded %q %q", e.Kind, e.Reason)
	}
}

func TestServeAnswersFromTheAddressAskedAndEndsWithItsContext(t *testing.T) {
	var j journal
	n := memnet.New()
	phone, p := n.MustListen(t, handset.String()), socket(t, n)
	s, err := New(Config{Conn: p, Record: j.record})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }() // ends with ctx
	if _, err := phone.Send(request(4<<3|3), own); err != nil {
		t.Fatal(err)
	}
	if got, err := phone.Receive(); err != nil || got.From != own || got.To != handset {
		t.Errorf("answered from %v to %v, %v, want from %v to %v", got.From, got.To, err, own, handset)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	want := []timeline.Kind{timeline.ServiceUp, timeline.SNTPResponse, timeline.ServiceDown}
	if got := j.kinds(); !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
}

func TestServeFailsWithItsSocket(t *testing.T) {
	var j journal
	p := socket(t, memnet.New())
	s, err := New(Config{Conn: p, Record: j.record})
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	if err := s.Serve(t.Context()); err == nil {
		t.Error("Serve on a closed socket returned nil")
	}
	if e := j.last(); e.Kind != timeline.ServiceDown || e.Reason == "" {
		t.Errorf("recorded %q %q, want the reason of %q", e.Kind, e.Reason, timeline.ServiceDown)
	}
}

func TestNewNamesTheFieldThatIsWrong(t *testing.T) {
	conn := socket(t, memnet.New())
	record := func(timeline.Event) {}
	for field, cfg := range map[string]Config{
		"Conn":    {Record: record},
		"Record":  {Conn: conn},
		"Stratum": {Conn: conn, Record: record, Stratum: 16},
		"Leap":    {Conn: conn, Record: record, Leap: 3},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want an error about %s", err, field)
		}
	}
}

type foreign struct{}

func (foreign) String() string { return "is not ours" }

func TestCanRefusesWhatItCannotDo(t *testing.T) {
	s := &Server{}
	for _, e := range []fault.Effect{Drop{}, Offset{D: time.Hour}, KissOfDeath{Code: "DENY"}, KissOfDeath{Code: "X"}} {
		if err := s.Can(e); err != nil {
			t.Errorf("%v: %v", e, err)
		}
	}
	for _, e := range []fault.Effect{foreign{}, KissOfDeath{}, KissOfDeath{Code: "LATER"}, KissOfDeath{Code: "RÄT"}} {
		if err := s.Can(e); err == nil {
			t.Errorf("%v: not refused", e)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(request(4<<3 | 3))
	f.Add(request(1 << 3))
	f.Add(request(4<<3 | 6))
	f.Add([]byte{})
	f.Add(append(request(4<<3|3), make([]byte, 20)...)) // with an authenticator
	conn := socket(f, memnet.New())
	f.Fuzz(func(t *testing.T, b []byte) {
		var j journal
		s, err := New(Config{Conn: conn, Record: j.record})
		if err != nil {
			t.Fatal(err)
		}
		got := respond(t, s, b, handset, time.Now())
		if n := len(j.kinds()); n != 1 {
			t.Errorf("%d events for one datagram", n)
		}
		if got == nil {
			return
		}
		if len(got) != 48 || got[0]&7 != modeServer || !slices.Equal(got[24:32], b[40:48]) {
			t.Errorf("answered %x to %x", got, b)
		}
	})
}

// TestChronydReadsTheTime has chrony, which nobody here wrote, ask over
// loopback and compares what it makes of the answer.
func TestChronydReadsTheTime(t *testing.T) {
	chronyd, err := exec.LookPath("chronyd")
	if err != nil {
		t.Skip("needs chronyd (Debian: chrony)")
	}
	for _, off := range []time.Duration{0, 90 * time.Minute, -36 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var j journal
			var plan fault.Plan
			plan.Add(fault.On("SNTP").Do(Offset{D: off}))
			s, err := New(Config{Conn: conn, Record: j.record, Faults: &plan})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- s.Serve(ctx) }() // ends with ctx
			port := netip.MustParseAddrPort(conn.LocalAddr().String()).Port()
			out, err := exec.CommandContext(t.Context(), chronyd, "-Q", "-t", "20", "-u", "root",
				"server 127.0.0.1 port "+strconv.Itoa(int(port))+" iburst maxsamples 1",
				"pidfile "+filepath.Join(t.TempDir(), "pid"), "cmdport 0").CombinedOutput()
			cancel()
			if e := <-served; e != nil {
				t.Errorf("Serve: %v", e)
			}
			m := regexp.MustCompile(`System clock wrong by (-?[0-9.]+) seconds`).FindSubmatch(out)
			if m == nil {
				t.Fatalf("chronyd (%v) says\n%s", err, out)
			}
			wrong, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil {
				t.Fatal(err)
			}
			if diff := wrong - off.Seconds(); diff < -1 || diff > 1 {
				t.Errorf("chronyd sees its clock wrong by %v s, want %v", wrong, off.Seconds())
			}
			t.Logf("%s", out)
		})
	}
}

package dnsd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram/memnet"
	"ip88rig/rig/fault"
)

var (
	handset = netip.MustParseAddrPort("192.0.2.10:1024")
	own     = netip.MustParseAddrPort("192.0.2.1:53")
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
	return memnet.AnyPort{Port: n.MustListen(tb, "0.0.0.0:53")}
}

// names is what the bench of the tests knows.
func names(name string) []netip.Addr {
	switch name {
	case "prov.example":
		return []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	case "two.example":
		return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")}
	case "empty.example":
		return []netip.Addr{}
	case "many.example":
		var out []netip.Addr
		for i := range 100 {
			out = append(out, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
		}
		return out
	}
	return nil
}

func query(name string, qtype uint16, change ...func(*dns.Msg)) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.Id = 0x1234
	for _, f := range change {
		f(m)
	}
	return m
}

func pack(tb testing.TB, m *dns.Msg) []byte {
	tb.Helper()
	b, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// summary is an answer in one line: code, flags, records.
func summary(m *dns.Msg) string {
	var b strings.Builder
	b.WriteString(rcodeName(m.Rcode))
	if m.Truncated {
		b.WriteString(" tc")
	}
	for _, rr := range m.Answer {
		fmt.Fprintf(&b, " %s", strings.Join(strings.Fields(rr.String()), " "))
	}
	return b.String()
}

// respond handles one datagram of the handset and returns what is sent, nil: nothing.
func respond(t *testing.T, s *Server, b []byte) []byte {
	t.Helper()
	a := s.answer(b, handset, own)
	if a == nil {
		return nil
	}
	s.send(t.Context(), a, handset, own)
	return a.out
}

func TestAnswers(t *testing.T) {
	answered := []timeline.Kind{timeline.DNSResponse}
	odd := []timeline.Kind{timeline.ServiceOddity, timeline.DNSResponse}
	for _, tt := range []struct {
		name   string
		query  *dns.Msg
		raw    string
		effect fault.Rule
		want   string
		kinds  []timeline.Kind
	}{
		{
			name:  "the address of a known name",
			query: query("prov.example.", dns.TypeA), want: "NOERROR prov.example. 30 IN A 192.0.2.1", kinds: answered,
		},
		{
			name: "letter case does not matter and comes back as asked", query: query("PROV.Example.", dns.TypeA),
			want: "NOERROR PROV.Example. 30 IN A 192.0.2.1", kinds: answered,
		},
		{
			name: "every address", query: query("two.example.", dns.TypeA),
			want: "NOERROR two.example. 30 IN A 192.0.2.1 two.example. 30 IN A 192.0.2.2", kinds: answered,
		},
		{
			name: "an IPv6 address where there is one", query: query("two.example.", dns.TypeAAAA),
			want: "NOERROR two.example. 30 IN AAAA 2001:db8::1", kinds: answered,
		},
		{name: "AAAA of a known name is empty", query: query("prov.example.", dns.TypeAAAA), want: "NOERROR", kinds: answered},
		{name: "SRV of a known name is empty", query: query("prov.example.", dns.TypeSRV), want: "NOERROR", kinds: answered},
		{name: "a name without address is empty", query: query("empty.example.", dns.TypeA), want: "NOERROR", kinds: answered},
		{name: "an unknown name", query: query("www.example.", dns.TypeA), want: "NXDOMAIN", kinds: answered},
		{name: "AAAA of an unknown name", query: query("www.example.", dns.TypeAAAA), want: "NXDOMAIN", kinds: answered},
		{name: "below a known name", query: query("a.prov.example.", dns.TypeA), want: "NXDOMAIN", kinds: answered},
		{name: "the root", query: query(".", dns.TypeNS), want: "NXDOMAIN", kinds: answered},
		{
			name:  "class CH",
			query: query("version.bind.", dns.TypeTXT, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
			want:  "REFUSED", kinds: answered,
		},
		{
			name:  "a dynamic update",
			query: query("prov.example.", dns.TypeSOA, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }),
			want:  "NOTIMP", kinds: odd,
		},
		{
			name: "no question", query: query("prov.example.", dns.TypeA, func(m *dns.Msg) { m.Question = nil }),
			want: "FORMERR", kinds: odd,
		},
		{
			name:  "two questions",
			query: query("prov.example.", dns.TypeA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
			want:  "FORMERR", kinds: odd,
		},
		{name: "cut within the question", raw: "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04pro", want: "FORMERR", kinds: odd},
		{name: "too long for 512 bytes", query: query("many.example.", dns.TypeA), want: "tc", kinds: answered},
		{
			name:  "EDNS version 1",
			query: query("prov.example.", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) }),
			want:  "BADVERS", kinds: answered,
		},
		{
			name:  "two OPT records",
			query: query("prov.example.", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(1232, false).SetEdns0(512, false) }),
			want:  "FORMERR", kinds: answered,
		},
		{
			name: "SERVFAIL by fault", query: query("prov.example.", dns.TypeA), effect: fault.On("prov.example").Do(Rcode{N: 2}),
			want: "SERVFAIL", kinds: []timeline.Kind{timeline.FaultFired, timeline.DNSResponse},
		},
		{
			name: "a fault on another type does not fire", query: query("prov.example.", dns.TypeAAAA), effect: fault.On("A").Do(Rcode{N: 2}),
			want: "NOERROR", kinds: answered,
		},
		{
			name: "dropped by fault", query: query("prov.example.", dns.TypeA), effect: fault.On("A").Do(Drop{}),
			kinds: []timeline.Kind{timeline.FaultFired},
		},
		{
			name: "a response", query: query("prov.example.", dns.TypeA, func(m *dns.Msg) { m.Response = true }),
			kinds: []timeline.Kind{timeline.ServiceOddity},
		},
		{name: "half a header", raw: "\x12\x34\x01\x00\x00\x01", kinds: []timeline.Kind{timeline.ServiceOddity}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var j journal
			var plan fault.Plan
			plan.Add(tt.effect)
			s, err := New(Config{Conn: socket(t, memnet.New()), Names: names, Record: j.record, Faults: &plan})
			if err != nil {
				t.Fatal(err)
			}
			raw := []byte(tt.raw)
			if tt.query != nil {
				raw = pack(t, tt.query)
			}

			got := respond(t, s, raw)

			if kinds := j.kinds(); !slices.Equal(kinds, tt.kinds) {
				t.Errorf("recorded %v, want %v", kinds, tt.kinds)
			}
			if e := j.last(); e.By != "dnsd" || e.Src != handset || e.Dst != own {
				t.Errorf("recorded By %q Src %v Dst %v", e.By, e.Src, e.Dst)
			}
			if tt.want == "" {
				if got != nil {
					t.Fatalf("answered %x", got)
				}
				return
			}
			var m dns.Msg
			if err := m.Unpack(got); err != nil {
				t.Fatal(err)
			}
			if !m.Response || m.Id != 0x1234 || !m.RecursionDesired {
				t.Errorf("head %v", m.MsgHdr)
			}
			if tt.want == "tc" {
				if !m.Truncated || len(m.Answer) == 0 || len(got) > 512 {
					t.Errorf("%d bytes, %d records, truncated %t", len(got), len(m.Answer), m.Truncated)
				}
				return
			}
			if s := summary(&m); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
}

func TestEDNSIsAnsweredWithEDNSAndItsRoom(t *testing.T) {
	var j journal
	s, err := New(Config{Conn: socket(t, memnet.New()), Names: names, Record: j.record})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		offered uint16
		longest int
	}{{100, 512}, {512, 512}, {900, 900}, {4096, 1232}} {
		got := respond(t, s, pack(t, query("many.example.", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(tt.offered, false) })))
		var m dns.Msg
		if err := m.Unpack(got); err != nil {
			t.Fatal(err)
		}
		if m.IsEdns0() == nil || !m.Truncated || len(got) > tt.longest || len(got) < tt.longest-16 {
			t.Errorf("offered %d: %d bytes of %d, truncated %t, OPT %v", tt.offered, len(got), tt.longest, m.Truncated, m.IsEdns0())
		}
	}
}

func TestServeAnswersFromTheAddressAskedAndEndsWithItsContext(t *testing.T) {
	var j journal
	n := memnet.New()
	phone, p := n.MustListen(t, handset.String()), socket(t, n)
	s, err := New(Config{Conn: p, Names: names, Record: j.record})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }() // ends with ctx
	if _, err := phone.Send(pack(t, query("prov.example.", dns.TypeA)), own); err != nil {
		t.Fatal(err)
	}
	if got, err := phone.Receive(); err != nil || got.From != own || got.To != handset {
		t.Errorf("answered from %v to %v, %v, want from %v to %v", got.From, got.To, err, own, handset)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	want := []timeline.Kind{timeline.ServiceUp, timeline.DNSResponse, timeline.ServiceDown}
	if got := j.kinds(); !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
}

func TestServeFailsWithItsSocket(t *testing.T) {
	var j journal
	p := socket(t, memnet.New())
	s, err := New(Config{Conn: p, Names: names, Record: j.record})
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
		"Conn":   {Names: names, Record: record},
		"Names":  {Conn: conn, Record: record},
		"Record": {Conn: conn, Names: names},
		"TTL":    {Conn: conn, Names: names, Record: record, TTL: time.Millisecond},
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
	for _, e := range []fault.Effect{Drop{}, Rcode{N: 0}, Rcode{N: 15}} {
		if err := s.Can(e); err != nil {
			t.Errorf("%v: %v", e, err)
		}
	}
	for _, e := range []fault.Effect{foreign{}, Rcode{N: -1}, Rcode{N: 16}} {
		if err := s.Can(e); err == nil {
			t.Errorf("%v: not refused", e)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(pack(f, query("prov.example.", dns.TypeA)))
	f.Add(pack(f, query("two.example.", dns.TypeANY)))
	f.Add(pack(f, query("many.example.", dns.TypeA, func(m *dns.Msg) { m.SetEdns0(600, true) })))
	f.Add(pack(f, query("prov.example.", dns.TypeSOA, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate })))
	f.Add([]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01")) // a name that points to itself
	f.Add([]byte{})
	conn := socket(f, memnet.New())
	f.Fuzz(func(t *testing.T, b []byte) {
		var j journal
		s, err := New(Config{Conn: conn, Names: names, Record: j.record})
		if err != nil {
			t.Fatal(err)
		}
		got := respond(t, s, b)
		if len(j.kinds()) == 0 {
			t.Error("no event for a datagram")
		}
		if got == nil {
			return
		}
		var m dns.Msg
		if err := m.Unpack(got); err != nil {
			t.Fatalf("answer %x to %x: %v", got, b, err)
		}
		if !m.Response || m.Id != uint16(b[0])<<8|uint16(b[1]) || len(got) > ednsSize {
			t.Errorf("answered %d bytes: %v", len(got), &m)
		}
	})
}

// TestNslookupResolves has busybox, which nobody here wrote, ask over loopback.
func TestNslookupResolves(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox")
	}
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var j journal
	s, err := New(Config{Conn: conn, Names: names, Record: j.record})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }() // ends with ctx
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	for name, want := range map[string]string{
		"two.example": "192.0.2.2",
		"www.example": "NXDOMAIN",
	} {
		out, err := exec.CommandContext(t.Context(), busybox, "nslookup", name, conn.LocalAddr().String()).CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("nslookup %s (%v) says\n%s", name, err, out)
		}
		t.Logf("%s", out)
	}
}

package dnsd

import (
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram/memnet"
	"ip88rig/rig/fault"
)

// faulty is a server with rules in force.
func faulty(t *testing.T, conn net.PacketConn, rules ...fault.Rule) (*Server, *journal) {
	t.Helper()
	var j journal
	var plan fault.Plan
	s, err := New(Config{Conn: conn, Names: names, Record: j.record, Faults: &plan})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if err := s.Can(r.Effect()); err != nil {
			t.Fatal(err)
		}
		plan.Add(r)
	}
	return s, &j
}

// serve lets a server run until the test ends.
func serve(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// asked is the question about prov.example, type A, with id 0x1234, and what an
// answer repeats of it.
const (
	asked    = "12340100000100000000000004" + "70726f7607" + "6578616d706c65" + "00" + "00010001"
	owner    = "0470726f76" + "076578616d706c65" + "00"
	question = owner + "00010001"
	address  = owner + "000100010000001e0004c0000201" // 192.0.2.1 for 30 s
)

// TestFaultsOnTheWire holds answers against bytes written down here (RFC 1035
// section 4).
func TestFaultsOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name   string
		effect Effect
		want   string
		a      string // of the journal
	}{
		{"NXDOMAIN", Rcode{N: 3}, "1234" + "8583" + "0001000000000000" + question, ""},
		{"SERVFAIL", Rcode{N: 2}, "1234" + "8582" + "0001000000000000" + question, ""},
		{"another address", WrongAddress{Addr: netip.MustParseAddr("198.51.100.99")}, "1234" + "8580" + "0001000100000000" + question + owner + "000100010000001e0004c6336463", "198.51.100.99"},
		{"nothing", Empty{}, "1234" + "8580" + "0001000000000000" + question, ""},
		{"truncated to nothing", Truncated{}, "1234" + "8780" + "0001000000000000" + question, ""},
		{"truncated, and whole", Truncated{Keep: true}, "1234" + "8780" + "0001000100000000" + question + address, "192.0.2.1"},
		{"another id", WrongID{}, "1334" + "8580" + "0001000100000000" + question + address, "192.0.2.1"},
		{
			"a chain of one",
			Chain{Length: 1},
			"1234" + "8580" + "0001000200000000" + question + owner + "000500010000001e0011" + "026331" + owner + "026331" + owner + "000100010000001e0004c0000201", "192.0.2.1",
		},
		{
			"a circle",
			Loop{},
			"1234" + "8580" + "0001000200000000" + question + owner + "000500010000001e0011" + "026331" + owner + "026331" + owner + "000500010000001e000e" + owner, "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, j := faulty(t, socket(t, memnet.New()), fault.On("prov.example").Do(c.effect).Once())
			b, err := hex.DecodeString(asked)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(respond(t, s, b)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			e := j.last()
			if e.Fields["dns.id"] != "0x"+c.want[:4] || e.Fields["dns.a"] != c.a || (e.Fields["dns.flags.truncated"] != "") != (c.want[5] == '7') {
				t.Errorf("journal has %v", e.Fields)
			}
			right := "1234" + "8580" + "0001000100000000" + question + address
			if got := hex.EncodeToString(respond(t, s, b)); got != right {
				t.Errorf("the next answer is %s, want %s", got, right)
			}
		})
	}
}

func TestEffectsWaitForAQuestionTheyFit(t *testing.T) {
	s, j := faulty(t, socket(t, memnet.New()),
		fault.On("*").Do(WrongAddress{Addr: netip.MustParseAddr("2001:db8::9")}).Once(),
		fault.On("*").Do(Chain{Length: 2}).Once())
	s.faults.Add(fault.On("*").Do(foreign{}))
	for _, c := range []struct {
		query *dns.Msg
		want  string
	}{
		{query("prov.example.", dns.TypeSRV), "NOERROR"},
		{query("prov.example.", dns.TypeA), "NOERROR prov.example. 30 IN CNAME c1.prov.example." + " c1.prov.example. 30 IN CNAME c2.prov.example." + " c2.prov.example. 30 IN A 192.0.2.1"},
		{query("prov.example.", dns.TypeA), "NOERROR prov.example. 30 IN A 192.0.2.1"},
		{query("unknown.example.", dns.TypeAAAA), "NOERROR unknown.example. 30 IN AAAA 2001:db8::9"},
		{query("prov.example.", dns.TypeAAAA), "NOERROR"},
	} {
		var m dns.Msg
		if err := m.Unpack(respond(t, s, pack(t, c.query))); err != nil {
			t.Fatal(err)
		}
		if got := summary(&m); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	fired := 0
	for _, k := range j.kinds() {
		if k == timeline.FaultFired {
			fired++
		}
	}
	if fired != 2 {
		t.Errorf("fired %d times, want twice", fired)
	}
}

func TestALongChainIsTruncated(t *testing.T) {
	for _, c := range []struct {
		length  int
		records int // 0: fewer than the chain has
	}{{8, 9}, {20, 21}, {100, 0}} {
		s, _ := faulty(t, socket(t, memnet.New()), fault.On("A").Do(Chain{Length: c.length}))
		got := respond(t, s, pack(t, query("prov.example.", dns.TypeA)))
		var m dns.Msg
		if err := m.Unpack(got); err != nil {
			t.Fatal(err)
		}
		if len(got) > 512 || m.Truncated != (c.records == 0) || (c.records > 0 && len(m.Answer) != c.records) {
			t.Errorf("chain of %d: %d bytes, %d records, truncated %t", c.length, len(got), len(m.Answer), m.Truncated)
		}
	}
	// A name as long as can be has no room for an alias.
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4)
	s, j := faulty(t, socket(t, memnet.New()), fault.On("A").Do(Loop{}))
	if got := respond(t, s, pack(t, query(long, dns.TypeA))); got == nil || j.last().Fields["dns.flags.rcode"] != "NXDOMAIN" {
		t.Errorf("got %x, %+v", got, j.last())
	}
}

func TestALateAnswerHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		phone := n.MustListen(t, handset.String())
		s, j := faulty(t, socket(t, n), fault.On("A").Do(Delay{By: 10 * time.Second}).Once(), fault.On("AAAA").Do(Delay{By: time.Hour}))
		serve(t, s)
		began := time.Now()
		for _, q := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
			if _, err := phone.Send(pack(t, query("prov.example.", q)), own); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for _, c := range []struct {
			qtype uint16
			after time.Duration
		}{{dns.TypeSRV, 0}, {dns.TypeA, 10 * time.Second}} { // that of AAAA is still out when the server ends
			d, err := phone.Receive()
			if err != nil {
				t.Fatal(err)
			}
			var m dns.Msg
			if err := m.Unpack(d.Data); err != nil || m.Question[0].Qtype != c.qtype || time.Since(began) != c.after {
				t.Errorf("%v after %v, %v; want that of type %d after %v", m.Question, time.Since(began), err, c.qtype, c.after)
			}
		}
		if e := j.last(); e.Kind != timeline.DNSResponse || e.Fields["dns.qry.type"] != "A" {
			t.Errorf("journal ends with %+v", e)
		}
	})
}

func TestEffectsSayWhatTheyDoAndAreChecked(t *testing.T) {
	s := &Server{}
	for _, c := range []struct {
		effect      Effect
		text, wrong string
	}{
		{Rcode{N: 3}, "answers NXDOMAIN", ""},
		{Truncated{}, "truncates the answer to nothing", ""},
		{Truncated{Keep: true}, "says that the answer is truncated, and it is whole", ""},
		{WrongID{}, "answers with a wrong id", ""},
		{Delay{By: time.Second}, "answers 1s late", ""},
		{Delay{}, "answers 0s late", "dnsd: a delay of 0s is not within 0 and an hour"},
		{WrongAddress{Addr: netip.MustParseAddr("192.0.2.9")}, "answers with the address 192.0.2.9", ""},
		{WrongAddress{}, "answers with the address invalid IP", "dnsd cannot answer with the address invalid IP"},
		{WrongAddress{Addr: netip.MustParseAddr("::ffff:192.0.2.9")}, "answers with the address ::ffff:192.0.2.9", "dnsd cannot answer with the address ::ffff:192.0.2.9"},
		{Empty{}, "answers without records", ""},
		{Chain{Length: 8}, "answers with a chain of 8 aliases", ""},
		{Chain{}, "answers with a chain of 0 aliases", "dnsd: a chain of 0 aliases is not within 1 to 100"},
		{Chain{Length: 101}, "answers with a chain of 101 aliases", "dnsd: a chain of 101 aliases is not within 1 to 100"},
		{Loop{}, "answers with aliases that lead in a circle", ""},
	} {
		if got := c.effect.String(); got != c.text {
			t.Errorf("got %q, want %q", got, c.text)
		}
		got := ""
		if err := s.Can(c.effect); err != nil {
			got = err.Error()
		}
		if got != c.wrong {
			t.Errorf("%s: got %q, want %q", c.text, got, c.wrong)
		}
	}
}

// TestNslookupUnderFaults has busybox, which nobody here wrote, ask over loopback.
func TestNslookupUnderFaults(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox")
	}
	for _, c := range []struct {
		effect Effect
		want   []string
	}{
		{WrongAddress{Addr: netip.MustParseAddr("198.51.100.99")}, []string{"198.51.100.99"}},
		{Rcode{N: 2}, []string{"SERVFAIL"}},
		{Chain{Length: 5}, []string{"canonical name = c5.prov.example", "192.0.2.1"}},
	} {
		t.Run(c.effect.String(), func(t *testing.T) {
			conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s, _ := faulty(t, conn, fault.On("A").Do(c.effect))
			serve(t, s)
			out, err := exec.CommandContext(t.Context(), busybox, "nslookup", "-type=a", "prov.example", conn.LocalAddr().String()).CombinedOutput()
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("nslookup (%v) does not say %q:\n%s", err, want, out)
				}
			}
		})
	}
}

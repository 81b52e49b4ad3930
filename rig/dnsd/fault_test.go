package dnsd

import (
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"testing"
	"time"

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

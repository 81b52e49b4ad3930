package dnsd

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram/memnet"
	"ip88rig/rig/fault"
)

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

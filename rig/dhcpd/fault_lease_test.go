package dhcpd

import (
	"net/netip"
	"testing"

	"ip88rig/rig/fault"
)

func TestLeaseTimesAreSentAsTheyAre(t *testing.T) {
	for _, tt := range []struct {
		effect              LeaseTimes
		lease, first, later string
	}{
		{LeaseTimes{Lease: 1, T1: 1, T2: 1}, "00000001", "00000001", "00000001"},
		{LeaseTimes{Lease: 60, T1: 50, T2: 40}, "0000003c", "00000032", "00000028"},
		{LeaseTimes{Lease: 60, T1: 100, T2: 200}, "0000003c", "00000064", "000000c8"},
		{LeaseTimes{}, "00000000", "00000000", "00000000"},
		{LeaseTimes{Lease: 0xffffffff, T1: 0xffffffff, T2: 0xffffffff}, "ffffffff", "ffffffff", "ffffffff"},
	} {
		for message, m := range map[string]msg{"OFFER": kind(1), "ACK": renews()} {
			frames, events, ledger := spoilt(t, m, fault.On(message).Do(tt.effect))
			fires(t, events, ledger)
			r := read(t, frames[0])
			if r.value(51) != tt.lease || r.value(58) != tt.first || r.value(59) != tt.later {
				t.Errorf("%s %v: sent %s, %s, %s", message, tt.effect, r.value(51), r.value(58), r.value(59))
			}
		}
	}
}

func TestLeaseTimesComeWhereThereAreNone(t *testing.T) {
	l := lease()
	l.Duration = Forever
	s, c, _, plan := bench(t, l)
	plan.Add(fault.On("OFFER").Do(LeaseTimes{Lease: 9, T1: 8, T2: 7}))
	s.handle(frameOf(t, kind(1)))
	if r := read(t, c.sent(t)); r.value(51) != "00000009" || r.value(58) != "00000008" || r.value(59) != "00000007" {
		t.Errorf("sent %s, %s, %s", r.value(51), r.value(58), r.value(59))
	}
}

// TestAnAddressOutsideOfTheSubnetIsNotTheLease has the handset believe it.
func TestAnAddressOutsideOfTheSubnetIsNotTheLease(t *testing.T) {
	s, c, _, plan := bench(t, lease())
	plan.Add(fault.On("OFFER").Do(WrongAddr{Addr: netip.MustParseAddr("198.51.100.7")}))
	s.handle(frameOf(t, kind(1)))
	if r := read(t, c.sent(t)); r.yiaddr != "198.51.100.7" || r.dst != "198.51.100.7:68" || r.value(1) != "ffffff00" {
		t.Errorf("offered %s to %s with the mask %s", r.yiaddr, r.dst, r.value(1))
	}
	s.handle(frameOf(t, kind(3, opt(54, 192, 0, 2, 1), opt(50, 198, 51, 100, 7))))
	if r := read(t, c.sent(t)); r.value(53) != "06" {
		t.Errorf("its REQUEST is answered %s, want a NAK", r.value(53))
	}
}

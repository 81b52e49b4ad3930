package dhcpd

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Options that this package knows by number (RFC 2132, RFC 3046).
const (
	optPad         = 0
	optMask        = 1
	optRouter      = 3
	optDNS         = 6
	optHostName    = 12
	optNTP         = 42
	optRequested   = 50
	optLeaseTime   = 51
	optOverload    = 52
	optMessageType = 53
	optServerID    = 54
	optRequestList = 55
	optMessage     = 56
	optMaxSize     = 57
	optT1          = 58
	optT2          = 59
	optVendorClass = 60
	optRelayAgent  = 82
	optEnd         = 255
)

// Forever is the duration of a lease without end (RFC 2131 section 3.3).
const Forever = (1<<32 - 1) * time.Second

// Lease is what one handset is given.
type Lease struct {
	// Addr is the handset's address with the length of the subnet's prefix
	// (option 1).
	Addr netip.Prefix
	// Spare are further addresses of the subnet, given one after another when
	// the handset declines the one before. Where none is left the last one is
	// given again: the conflict may be over.
	Spare []netip.Addr
	// Router (option 3), DNS (6) and NTP (42) are left out where they are empty.
	Router netip.Addr
	DNS    []netip.Addr
	NTP    []netip.Addr
	// NextServer is siaddr of the BOOTP header; most clients ignore it.
	NextServer netip.Addr
	// Duration (option 51), T1 (58) and T2 (59) travel in whole seconds. A T1 or
	// T2 of zero is half and seven eighths of Duration (RFC 2131 section 4.4.5),
	// and left out for a lease of Forever or where it is under a second.
	Duration, T1, T2 time.Duration
	// Options are any others by number, as raw bytes (see Text, Addrs, Int32);
	// they win over the fields above. Values over 255 bytes travel in several
	// pieces (RFC 3396).
	Options map[uint8][]byte
	// Order puts these options first; those that it does not name follow in the
	// order of the parameter request list. Empty: the list decides alone, but
	// option 1 stands before option 3 (RFC 2132 section 3.3).
	Order []uint8
	// Force are options that are sent although the parameter request list does
	// not name them.
	Force []uint8
	// Oversize sends what the client's maximum message size has no room for, up
	// to the MTU of Ethernet.
	Oversize bool
}

// Text is the value of an option that holds text, as 66 (TFTP server name) and
// 160 (provisioning URL).
func Text(s string) []byte { return []byte(s) }

// Addrs is the value of an option that holds IPv4 addresses, as 150 (TFTP
// server addresses).
func Addrs(addrs ...netip.Addr) []byte {
	var out []byte
	for _, a := range addrs {
		out = append(out, a.Unmap().AsSlice()...)
	}
	return out
}

// check says what is wrong with a lease.
func (l *Lease) check() error {
	if !l.Addr.IsValid() || !l.Addr.Addr().Is4() || l.Addr.Addr().IsUnspecified() {
		return fmt.Errorf("lease: Addr %v is not an IPv4 address with its prefix", l.Addr)
	}
	for _, a := range l.Spare {
		if !l.Addr.Contains(a) {
			return fmt.Errorf("lease: Spare %v is not within %v", a, l.Addr.Masked())
		}
	}
	for _, a := range slices.Concat(l.DNS, l.NTP) {
		if !a.Is4() {
			return fmt.Errorf("lease: %v is not an IPv4 address", a)
		}
	}
	if l.Router.IsValid() && !l.Router.Is4() {
		return fmt.Errorf("lease: Router %v is not an IPv4 address", l.Router)
	}
	if l.NextServer.IsValid() && !l.NextServer.Is4() {
		return fmt.Errorf("lease: NextServer %v is not an IPv4 address", l.NextServer)
	}
	if l.Duration < time.Second || l.Duration > Forever {
		return fmt.Errorf("lease: Duration %v is not within 1 s and %v", l.Duration, Forever)
	}
	for _, d := range []time.Duration{l.T1, l.T2} {
		if d < 0 || d > Forever {
			return fmt.Errorf("lease: T1 or T2 %v is not within 0 and %v", d, Forever)
		}
	}
	for code := range l.Options {
		switch code {
		case optPad, optOverload, optMessageType, optRelayAgent, optEnd:
			return fmt.Errorf("lease: option %d is the server's own", code)
		}
	}
	return nil
}

// clone returns a copy that shares nothing with l.
func (l *Lease) clone() Lease {
	c := *l
	c.Spare, c.DNS, c.NTP = slices.Clone(l.Spare), slices.Clone(l.DNS), slices.Clone(l.NTP)
	c.Order, c.Force = slices.Clone(l.Order), slices.Clone(l.Force)
	c.Options = make(map[uint8][]byte, len(l.Options))
	for code, value := range l.Options {
		c.Options[code] = slices.Clone(value)
	}
	return c
}

// timers are the options that go with an address and are always sent.
func (l *Lease) timers() map[uint8][]byte {
	out := map[uint8][]byte{optLeaseTime: seconds(l.Duration)}
	t1, t2 := l.T1, l.T2
	if t1 == 0 && l.Duration < Forever {
		t1 = l.Duration / 2
	}
	if t2 == 0 && l.Duration < Forever {
		t2 = l.Duration / 8 * 7
	}
	if t1 >= time.Second {
		out[optT1] = seconds(t1)
	}
	if t2 >= time.Second {
		out[optT2] = seconds(t2)
	}
	return out
}

// parameters are the options that are sent when they are asked for or forced.
func (l *Lease) parameters() map[uint8][]byte {
	mask := make([]byte, 4)
	binary.BigEndian.PutUint32(mask, ^uint32(0)<<(32-l.Addr.Bits()))
	out := map[uint8][]byte{optMask: mask}
	if l.Router.IsValid() {
		out[optRouter] = Addrs(l.Router)
	}
	if len(l.DNS) > 0 {
		out[optDNS] = Addrs(l.DNS...)
	}
	if len(l.NTP) > 0 {
		out[optNTP] = Addrs(l.NTP...)
	}
	return out
}

func seconds(d time.Duration) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(d/time.Second)) //nolint:gosec // checked: 0 to 2^32-1
}

// otherLease is what a made-up server has for a handset.
type otherLease struct {
	from  identity
	lease Lease
	// taken is set once the handset selected it.
	taken bool
}

// client is a handset and what it did with its lease.
type client struct {
	lease Lease
	// declined counts the addresses that the handset turned down.
	declined int
	// others are the leases that made-up servers offered, by their address.
	others map[netip.Addr]*otherLease
}

// addr is the address that is given now.
func (c *client) addr() netip.Addr {
	if c.declined == 0 || len(c.lease.Spare) == 0 {
		return c.lease.Addr.Addr()
	}
	return c.lease.Spare[min(c.declined, len(c.lease.Spare))-1]
}

// holds reports whether the handset may use an address.
func (c *client) holds(a netip.Addr) bool { return a == c.addr() || c.takenFrom(a) != nil }

// takenFrom returns the made-up server's lease of an address, if the handset
// took it.
func (c *client) takenFrom(a netip.Addr) *otherLease {
	for _, o := range c.others {
		if o.taken && o.lease.Addr.Addr() == a {
			return o
		}
	}
	return nil
}

// identity is who answers: the server, or the other one that a fault makes up.
type identity struct {
	mac net.HardwareAddr
	ip  netip.Addr
}

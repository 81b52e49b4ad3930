package dhcpc

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// infinite is the lease time that never ends (RFC 2131, 3.3).
const infinite = 0xffffffff

// Lease is what a server gave.
type Lease struct {
	// Addr is the address, with the length of its network.
	Addr netip.Prefix
	// Gateway is the first router of option 3, invalid without one.
	Gateway netip.Addr
	// DNS holds option 6.
	DNS []netip.Addr
	// Server is the server's identifier.
	Server netip.Addr
	// ServerMAC is where the server's answer came from on the wire.
	ServerMAC net.HardwareAddr
	// Options holds every option of the ACK by its number, as raw bytes, split
	// ones put together.
	Options map[uint8][]byte
	// Acquired is when the request that was granted was sent; the durations count
	// from then. An Ends of 0 never ends.
	Acquired time.Time
	// Renew is T1, Rebind T2, Ends the lease time.
	Renew, Rebind, Ends time.Duration
}

// Valid reports whether the lease holds at a time.
func (l Lease) Valid(now time.Time) bool {
	return l.Addr.IsValid() && (l.Ends == 0 || now.Before(l.Acquired.Add(l.Ends)))
}

// Text returns an option as text without trailing NULs (RFC 2132, 2).
func (l Lease) Text(code uint8) string { return strings.TrimRight(string(l.Options[code]), "\x00") }

// Addrs returns an option as a list of addresses; bytes past the last whole
// address are left out.
func (l Lease) Addrs(code uint8) []netip.Addr {
	var out []netip.Addr
	for b := l.Options[code]; len(b) >= 4; b = b[4:] {
		out = append(out, netip.AddrFrom4([4]byte(b)))
	}
	return out
}

// newLease reads an ACK; unnamed is the lease time of one that names none. T1 and
// T2 are half and seven eighths of the lease time when they are missing, or not in
// the order T1, T2, end (RFC 2131, 4.4.5).
func newLease(r *reply, sent time.Time, unnamed time.Duration) Lease {
	l := Lease{
		Server: r.server, ServerMAC: r.from, Options: r.options, Acquired: sent,
	}
	addr := offered(r)
	l.Addr = netip.PrefixFrom(addr, maskBits(r, addr))
	if routers := l.Addrs(dhcpv4.OptionRouter.Code()); len(routers) > 0 {
		l.Gateway = routers[0]
	}
	l.DNS = l.Addrs(dhcpv4.OptionDomainNameServer.Code())

	ends, ok := r.seconds(dhcpv4.OptionIPAddressLeaseTime)
	switch {
	case ends == infinite*time.Second:
		return l
	case !ok || ends == 0:
		ends = max(unnamed, 1) // 0 would never end
	}
	l.Ends, l.Renew, l.Rebind = ends, ends/2, ends*7/8
	t1, ok1 := r.seconds(dhcpv4.OptionRenewTimeValue)
	t2, ok2 := r.seconds(dhcpv4.OptionRebindingTimeValue)
	if !ok1 {
		t1 = l.Renew
	}
	if !ok2 {
		t2 = l.Rebind
	}
	if t1 > 0 && t1 < t2 && t2 < ends {
		l.Renew, l.Rebind = t1, t2
	}
	return l
}

// maskBits is the length of the network. A mask that is none, or leaves no
// network or no neighbour, is disregarded.
func maskBits(r *reply, addr netip.Addr) int {
	if mask, ok := r.four(dhcpv4.OptionSubnetMask); ok {
		if ones, size := net.IPMask(mask[:]).Size(); size == 32 && ones > 0 && ones < 32 {
			return ones
		}
	}
	return classBits(addr)
}

// classBits is the network of an address without a mask (RFC 791).
func classBits(a netip.Addr) int {
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	default:
		return 24
	}
}

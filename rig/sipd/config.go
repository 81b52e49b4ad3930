package sipd

import (
	"net"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

// userAgent names us in requests and responses.
const userAgent = "ip88rig"

// Config says whom a Server registers, and on what.
type Config struct {
	// Conn is the server's UDP port. When it is bound to an unspecified address
	// it should also have
	//
	//	ReadFromTo([]byte) (n int, from, to netip.AddrPort, err error)
	//	WriteFromTo(b []byte, from, to netip.AddrPort) (int, error)
	//
	// so that an answer comes from the address that was asked. Serve closes it.
	Conn net.PacketConn
	// Realm of the digest challenge; "ip88rig" if empty.
	Realm string
	// Password returns the password of an authentication name. If it is nil
	// nobody is challenged and every user may register.
	Password func(name string) (password string, known bool)
	// Challenge tells, anew for each request, whether to challenge at all; nil:
	// always, where there is a Password.
	Challenge func() bool
	// Expires is granted when a REGISTER names no time: 1 h if zero. MinExpires
	// is the shortest time granted, a shorter one is refused with 423; none if
	// zero. MaxExpires is the longest, a longer one is cut; none if zero. All in
	// whole seconds.
	Expires, MinExpires, MaxExpires time.Duration
	// T1 and T2 are the timers of RFC 3261 section 17.1.1.1: 500 ms and 4 s if
	// zero. A request is given up after 64 times T1.
	T1, T2 time.Duration
	// Record takes journal entries; nil drops them.
	Record func(timeline.Event)
	// Faults is what goes wrong on purpose; nil for nothing.
	Faults *fault.Plan
	// Now is the lane's clock, time.Now if nil.
	Now func() time.Time
	// Text makes nonces, tags, branches and Call-IDs, crypto/rand.Text if nil.
	Text func() string
}

// hop is a handset's end and the end of ours that it talks to.
type hop struct{ peer, local netip.AddrPort }

// withPort is the address with SIP's port where none is told.
func withPort(addr netip.Addr, port int) netip.AddrPort {
	if port <= 0 || port > 65535 {
		port = sip.DefaultUdpPort
	}
	return netip.AddrPortFrom(addr, uint16(port))
}

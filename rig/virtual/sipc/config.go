package sipc

import (
	"net"
	"net/netip"
	"time"

	"ip88rig/rig/virtual/defect"
)

// Config says who the agent is. Times that RFC 3261 gives as multiples of T1
// scale with it; whole seconds on the wire (Expires, Retry-After) do not.
type Config struct {
	// Conn is bound to the handset's SIP port. It stays the caller's: Run neither
	// opens nor closes it.
	Conn net.PacketConn
	// Local is the address that Via and Contact name.
	Local netip.AddrPort
	// Proxy is where requests are sent.
	Proxy netip.AddrPort
	// ProxyHost is the registrar's name in URIs; Proxy's address when blank.
	ProxyHost string
	// User is the line's name, AuthUser and Password answer challenges; a blank
	// AuthUser is User.
	User, AuthUser, Password string
	// DisplayName stands in From when it is not blank.
	DisplayName string
	// UserAgent is sent when it is not blank.
	UserAgent string
	// Expires is asked for, in seconds; 3600 when 0.
	Expires int
	// T1 is the round-trip time of RFC 3261, 17.1.1.1; 500 ms when 0.
	T1 time.Duration
	// MediaPort stands in SDP; 23000 when 0, as the previous generation has it.
	MediaPort uint16
	// Formats gives the RTP payload types that it offers and answers with, in its
	// own order; nil or none: G.711 (0 and 8), as the other end has them.
	Formats func() []string
	// Seed makes tags, branches and jitter repeatable; 0 is different each time.
	Seed uint64
	// CallID is that of every REGISTER of this boot.
	CallID string
	// Event is the event package that a NOTIFY may name; check-sync when blank.
	Event string
	// OnNotify is called with the Event header of a check-sync NOTIFY, parameters
	// and all, after the 200 was sent. Like every hook it must not block and must
	// not call the agent's methods that take a context.
	OnNotify func(event string)
	// OnRegister is called when a registration is made or renewed (ok), and when
	// one fails.
	OnRegister func(ok bool)
	// OnRefused is called with the status when the registrar refuses a REGISTER for
	// good, challenges that can be answered aside.
	OnRefused func(status int)
	// OnIdle is called when a call has ended.
	OnIdle func()
	// AutoAnswer takes calls at once.
	AutoAnswer bool
	// Defects are the handset's.
	Defects defect.Set
}

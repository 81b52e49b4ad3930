package sipc

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"ip88rig/rig/virtual/defect"
)

// endpoint is what the parts of an agent share: its configuration, its socket and
// its clock.
type endpoint struct {
	alarms

	cfg    Config
	host   string // of URIs
	random *rand.Rand
}

func (e *endpoint) send(to netip.AddrPort, message []byte) {
	// A datagram that cannot be sent is a lost one; the transaction tries again.
	_, _ = e.cfg.Conn.WriteTo(message, net.UDPAddrFromAddrPort(to))
}

// token is for tags, branches and nonces.
func (e *endpoint) token() string { return fmt.Sprintf("%016x", e.random.Uint64()) }

// head begins a request of ours.
func (e *endpoint) head(method, uri, branch string) *strings.Builder {
	m := &strings.Builder{}
	fmt.Fprintf(m, "%s %s SIP/2.0\r\n", method, uri)
	line(m, "Via", fmt.Sprintf("SIP/2.0/UDP %v;rport;branch=%s", e.cfg.Local, branch))
	line(m, "Max-Forwards", "70")
	return m
}

func (e *endpoint) contact() string {
	return "<sip:" + escapeUser(e.cfg.User) + "@" + e.cfg.Local.String() + ">"
}

func (e *endpoint) isContact(uri string) bool {
	var u sip.Uri
	if sip.ParseUri(uri, &u) != nil {
		return false
	}
	port := u.Port
	if port == 0 {
		port = defaultPort
	}
	return unescape(u.User) == e.cfg.User && u.Host == e.cfg.Local.Addr().String() && port == int(e.cfg.Local.Port())
}

// parse returns nil for what cannot be used.
func parse(p *sip.Parser, data []byte) sip.Message {
	if len(data) < 12 { // keep-alives
		return nil
	}
	m, err := p.ParseSIP(data)
	if err != nil || m == nil {
		return nil
	}
	if m.Via() == nil || m.From() == nil || m.To() == nil || m.CallID() == nil || m.CSeq() == nil {
		return nil
	}
	return m
}

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

// alarm calls a function at a time.
type alarm struct {
	at time.Time
	do func()
}

// alarms calls functions at their times. It belongs to Run's goroutine.
type alarms struct {
	now time.Time
	set []*alarm // in the order in which they were set
}

// after sets an alarm.
func (a *alarms) after(d time.Duration, do func()) *alarm {
	al := &alarm{a.now.Add(d), do}
	a.set = append(a.set, al)
	return al
}

func (a *alarms) cancel(al *alarm) {
	a.set = slices.DeleteFunc(a.set, func(other *alarm) bool { return other == al })
}

func (a *alarms) until() time.Duration {
	const long = time.Hour
	next := time.Now().Add(long)
	for _, al := range a.set {
		if al.at.Before(next) {
			next = al.at
		}
	}
	return time.Until(next)
}

// ring calls what is due, the earliest first.
func (a *alarms) ring() {
	for {
		var due *alarm
		for _, al := range a.set {
			if !al.at.After(a.now) && (due == nil || al.at.Before(due.at)) {
				due = al
			}
		}
		if due == nil {
			return
		}
		a.cancel(due)
		due.do()
	}
}

package dhcpd

import (
	"fmt"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

// outgoing is what is about to be done about a message; effects change it.
type outgoing struct {
	s *Server
	m *message
	// lease is what the handset's own server has for it.
	lease Lease
	phase phase
	*answer
	reason string
	// silent sends nothing.
	silent bool
	// delay is how late the answer goes out; copies more follow, gap apart.
	delay, gap time.Duration
	copies     int
	// before and after are answers of other servers around it.
	before, after []*answer
	// turn is the message with its answer, for who counts.
	turn fault.Exchange
}

// note adds to what the journal says.
func (o *outgoing) note(format string, args ...any) {
	o.reason += ", " + fmt.Sprintf(format, args...) + " by fault"
}

// decide says what is answered to a handset's message, and why; nil: nothing,
// and that is recorded.
func (s *Server) decide(x *exchange) *outgoing {
	// The lease cannot change between the decision and the bytes of its answer.
	s.mu.Lock()
	defer s.mu.Unlock()
	m := x.m
	c, ok := s.clients[m.mac]
	if !ok {
		return nil // removed just now
	}
	o := &outgoing{s: s, m: m, lease: c.lease}
	switch m.kind {
	case dhcpv4.MessageTypeDiscover:
		o.reason = fmt.Sprintf("DISCOVER: OFFER %v", c.addr())
		if c.declined > len(c.lease.Spare) {
			o.reason += ", declined before, no other is left"
		}
		o.phase, o.answer = selecting, grant(m, dhcpv4.MessageTypeOffer, s.own, &c.lease, c.addr())
		return o
	case dhcpv4.MessageTypeRequest:
		if s.request(x, c, o) {
			return o
		}
	case dhcpv4.MessageTypeInform:
		if m.ciaddr.IsUnspecified() {
			m.odd = "INFORM without ciaddr"
		}
		o.phase, o.reason = informing, "INFORM: ACK without a lease"
		o.answer = grant(m, dhcpv4.MessageTypeAck, s.own, &c.lease, c.addr())
		return o
	case dhcpv4.MessageTypeDecline:
		s.decline(x, c)
	case dhcpv4.MessageTypeRelease:
		if !c.holds(m.ciaddr) {
			s.oddity(x, "RELEASE of %v, but %v is the lease", m.ciaddr, c.addr())
			break
		}
		s.record(x.event(timeline.DHCPRelease, fmt.Sprintf("RELEASE of %v: no answer is due", m.ciaddr)))
	default:
		s.oddity(x, "malformed: a client sends %s", word(m.kind))
	}
	return nil
}

// request answers a REQUEST (RFC 2131 section 4.3.2). Every handset has its
// lease here, so that the server always knows, and never has to stay silent for
// not knowing.
func (s *Server) request(x *exchange, c *client, o *outgoing) bool {
	m := x.m
	ph, err := m.state(&x.in)
	if err != nil {
		s.oddity(x, "malformed: %v", err)
		return false
	}
	o.phase = ph
	wants, lease, has, from := m.requested, &c.lease, c.addr(), s.own
	take := func(other *otherLease) {
		o.phase = straying
		lease, has, from = &other.lease, other.lease.Addr.Addr(), other.from
		other.taken = other.taken || wants == has
	}
	switch ph {
	case rebooting, informing, straying:
	case selecting:
		if m.serverID == s.own.ip {
			break
		}
		other := c.others[m.serverID]
		if other == nil {
			s.oddity(x, "SELECTING %v of another server, %v: not answered", m.requested, m.serverID)
			return false
		}
		take(other)
	case renewing, rebinding:
		wants = m.ciaddr
	}
	if ph != selecting && wants != has {
		if other := c.takenFrom(wants); other != nil {
			take(other)
			o.phase = ph
		}
	}
	as := ""
	if from.ip != s.own.ip {
		as = fmt.Sprintf(" as another server, %v", from.ip)
	}
	if wants != has {
		o.answer = refuse(m, from, fmt.Sprintf("%v is not the lease of %s", wants, m.mac))
		o.reason = fmt.Sprintf("%s %v, but %v is the lease: NAK%s", ph.field(), wants, has, as)
		return true
	}
	o.answer = grant(m, dhcpv4.MessageTypeAck, from, lease, has)
	o.reason = fmt.Sprintf("%s %v: ACK%s", ph.field(), wants, as)
	return true
}

// decline takes an address out that a client found in use (RFC 2131 section
// 4.3.3).
func (s *Server) decline(x *exchange, c *client) {
	m := x.m
	other := c.others[m.serverID]
	switch {
	case other != nil:
		delete(c.others, m.serverID)
		s.record(x.event(timeline.DHCPDecline, fmt.Sprintf("DECLINE of %v to another server, %v", m.requested, m.serverID)))
	case m.serverID.IsValid() && m.serverID != s.own.ip:
		s.oddity(x, "DECLINE to another server, %v", m.serverID)
	case m.requested != c.addr():
		s.oddity(x, "DECLINE of %v, but %v is the lease", m.requested, c.addr())
	default:
		declined := c.addr()
		c.declined++
		s.record(x.event(timeline.DHCPDecline, fmt.Sprintf("DECLINE of %v: the next OFFER is of %v", declined, c.addr())))
	}
}

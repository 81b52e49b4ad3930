package dhcpd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

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
	o := &outgoing{
		m: m, lease: c.lease,
		hush:  func(long time.Duration) { s.silence(m.mac, long) },
		enter: func(other *otherLease) { s.enter(m.mac, other) },
	}
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

// reply puts question and answer to the plan, records and sends.
func (s *Server) reply(x *exchange, o *outgoing) {
	if x.m.odd != "" {
		s.oddity(x, "answered all the same: %s", x.m.odd)
	}
	s.misbehave(x, o, x.m.kind, false)
	if !o.silent {
		s.misbehave(x, o, o.kind, true)
	}
	if o.silent {
		return
	}
	for _, a := range o.before {
		s.send(x, a, a.as(), 0)
	}
	s.send(x, o.answer, o.reason, o.delay)
	for i := range o.copies {
		s.send(x, o.answer, fmt.Sprintf("%s, copy %d", o.reason, i+1), o.delay+time.Duration(i+1)*o.gap)
	}
	for _, a := range o.after {
		s.send(x, a, a.as(), 0)
	}
}

// misbehave lets the effect that is due for this message act. last tells the
// second of the two points from the first.
func (s *Server) misbehave(x *exchange, o *outgoing, kind dhcpv4.MessageType, last bool) {
	var unknown fault.Effect
	var noRoom []string
	o.turn.Phase = string(o.phase)
	pt := fault.Point{Service: name, Message: word(kind), Phase: o.turn.Phase, Exchange: &o.turn}
	_, sentence, ok := s.faults.Try(pt, func(e fault.Effect) bool {
		if !Kinds().Has(e) && last {
			unknown = e
		}
		if picks, ok := e.(choosy); ok {
			return picks.fits(o)
		}
		_, ok := e.(answering)
		return ok
	}, func(e fault.Effect) bool {
		mine, ok := e.(answering)
		if !ok {
			return false
		}
		acted, leftOut := o.applyFault(mine)
		if len(leftOut) > 0 {
			noRoom = append(noRoom, fmt.Sprintf("%s: spared, there would be no room for %s", e, codes(leftOut)))
		}
		return acted
	})
	for _, why := range noRoom {
		s.oddity(x, "%s", why)
	}
	if unknown != nil {
		s.oddity(x, "fault not known here, ignored: %s", unknown)
	}
	if ok {
		s.record(x.event(timeline.FaultFired, sentence))
	}
}

// send puts an answer on the wire, at once or late.
func (s *Server) send(x *exchange, a *answer, reason string, delay time.Duration) {
	payload, leftOut := a.bytes()
	if len(leftOut) > 0 {
		reason += fmt.Sprintf("; %d bytes have no room for %s", a.room, codes(leftOut))
	}
	p := a.packet(&x.in, payload)
	kind := a.kind
	list, values := carried(payload)
	// A fault may have changed it, to what is no message too.
	if t := values[optMessageType]; len(t) == 1 && t[0] >= 1 && t[0] <= byte(dhcpv4.MessageTypeInform) {
		kind = dhcpv4.MessageType(t[0])
	}
	e := x.event(kindOf(kind), reason)
	e.Message = word(kind)
	e.Fields["dhcp.option.type"] = codes(list)
	if len(payload) >= snameAt {
		e.Fields["dhcp.id"] = fmt.Sprintf("0x%08x", payload[4:8])
		if a.yiaddr.IsValid() {
			e.Fields["dhcp.ip.your"] = netip.AddrFrom4([4]byte(payload[16:20])).String()
		}
	}
	if id := values[optServerID]; len(id) == 4 && netip.AddrFrom4([4]byte(id)) != s.own.ip {
		e.Fields["dhcp.option.dhcp_server_id"] = netip.AddrFrom4([4]byte(id)).String()
	}
	if delay == 0 {
		s.put(x, e, p)
		return
	}
	e.Reason += fmt.Sprintf(", %v late by fault", delay)
	s.later(delay, func() { s.put(x, e, p) })
}

// put records an answer and puts it on the wire.
func (s *Server) put(x *exchange, e timeline.Event, p *packet) {
	data, err := p.frame()
	if err != nil {
		s.oddity(x, "%s does not pack: %v", strings.ToLower(string(e.Kind)), err)
		return
	}
	s.record(e)
	if err := s.port.Send(wire.Frame{Data: data, At: s.now()}); err != nil {
		s.oddity(x, "send %s to %v: %v", e.Message, p.dst, err)
	}
}

// shape is what can be seen of what is about to be done.
type shape struct {
	payload    string
	silent     bool
	delay, gap time.Duration
	copies     int
	others     int // answers of other servers
}

func (o *outgoing) shape() (now shape, leftOut []byte) {
	payload, leftOut := o.bytes()
	return shape{
		payload: string(payload), silent: o.silent, delay: o.delay, gap: o.gap, copies: o.copies,
		others: len(o.before) + len(o.after),
	}, leftOut
}

// applyFault has an effect act, and reports whether what is sent is another then. An
// effect that leaves no room for an option, its own or another, does not do what it
// says: it is taken back, and leftOut are those options.
func (o *outgoing) applyFault(e answering) (acted bool, leftOut []byte) {
	was, lacked := o.shape()
	sound, reason := *o.answer, o.reason
	sound.options, sound.edits = slices.Clone(sound.options), slices.Clone(sound.edits)
	if !e.act(o) {
		return false, nil
	}
	now, lacks := o.shape()
	grown := o.room > sound.room
	crowded := len(lacks) > 0 && (grown || !slices.Equal(lacks, lacked))
	// Whole seconds come out as the lease has them now and then: they are as told.
	_, times := e.(LeaseTimes)
	if (now != was || times) && !crowded {
		return true, nil
	}
	o.answer, o.reason = &sound, reason
	if crowded {
		return false, lacks
	}
	return false, nil
}

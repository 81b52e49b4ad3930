package dhcpd

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

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
		acted, leftOut := o.suffer(mine)
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

// later runs f once after d, unless Serve ends before. It is for the goroutine
// of Serve that handles messages.
func (s *Server) later(d time.Duration, f func()) {
	s.running.Add(1)
	// Runs once at most; Serve stops the timer or waits for it before it returns.
	s.delayed = append(s.delayed, s.after(d, func() {
		defer s.running.Done()
		f()
	}))
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

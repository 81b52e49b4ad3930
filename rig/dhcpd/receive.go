package dhcpd

import (
	"fmt"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

// exchange is one message with what carried it, under way to its answer.
type exchange struct {
	in     packet
	number int
	m      *message
}

// event fills in what every event about this message has.
func (x *exchange) event(kind timeline.Kind, reason string) timeline.Event {
	e := timeline.Event{
		By: name, Kind: kind, Frame: x.number, Src: x.in.src, Dst: x.in.dst,
		SrcMAC: x.in.srcMAC.String(), DstMAC: x.in.dstMAC.String(), Reason: reason,
	}
	if x.m != nil {
		e.SrcMAC = x.m.mac // behind a relay the frame has the relay's
		e.Message = word(x.m.kind)
		e.Fields = x.m.fields()
	}
	return e
}

func (s *Server) oddity(x *exchange, format string, args ...any) {
	s.record(x.event(timeline.ServiceOddity, fmt.Sprintf(format, args...)))
}

// handle does all that is done about one frame, but for what is delayed.
func (s *Server) handle(f wire.Frame) {
	x := &exchange{number: f.Number}
	var err error
	if x.in, err = parseFrame(f.Data); err != nil {
		s.oddity(x, "frame: %v", err)
		return
	}
	if slices.Equal(x.in.srcMAC, s.own.mac) {
		return // our own, come back
	}
	if x.in.dst.Port() != serverPort && x.in.src.Port() != serverPort {
		s.oddity(x, "frame to UDP port %d", x.in.dst.Port())
		return
	}
	if x.m, err = parseMessage(x.in.payload); err != nil {
		s.oddity(x, "malformed: %v", err)
		return
	}
	if x.m.raw.OpCode == dhcpv4.OpcodeBootReply {
		s.foreignServer(x)
		return
	}
	if x.m.raw.OpCode != dhcpv4.OpcodeBootRequest || x.in.dst.Port() != serverPort {
		s.oddity(x, "malformed: op %d to UDP port %d", byte(x.m.raw.OpCode), x.in.dst.Port())
		return
	}
	if !s.heard(x) {
		return
	}
	if o := s.decide(x); o != nil {
		s.reply(x, o)
	}
}

// foreignServer records another server that was heard.
func (s *Server) foreignServer(x *exchange) {
	mac := x.in.srcMAC.String()
	if !s.firstSight(stranger{mac, x.m.kind}) {
		return
	}
	e := x.event(timeline.Stranger, fmt.Sprintf("another DHCP server answers %s to %s", word(x.m.kind), x.m.mac))
	e.SrcMAC = mac
	if x.m.serverID.IsValid() {
		e.Fields["dhcp.option.dhcp_server_id"] = x.m.serverID.String()
	}
	s.record(e)
}

func (s *Server) firstSight(who stranger) bool {
	if s.strangers[who] || len(s.strangers) >= maxStrangers {
		return false
	}
	s.strangers[who] = true
	return true
}

// heard tells whether a message is dealt with: that of a handset of the bench,
// unless a fault has the server not hear it. Otherwise it says so.
func (s *Server) heard(x *exchange) bool {
	m := x.m
	s.mu.Lock()
	_, known := s.clients[m.mac]
	silent := s.silent[m.mac] > 0
	s.mu.Unlock()
	if !known {
		asks := m.kind == dhcpv4.MessageTypeDiscover || m.kind == dhcpv4.MessageTypeRequest
		if asks && s.firstSight(stranger{m.mac, m.kind}) {
			s.record(x.event(timeline.Stranger, "not a handset of this bench: not answered"))
		}
		return false
	}
	if silent && s.silenced() {
		s.record(x.event(timeline.Note, "not answered: still silent by fault"))
		return false
	}
	if m.kind != dhcpv4.MessageTypeDecline && m.kind != dhcpv4.MessageTypeRelease {
		return true
	}
	_, sentence, dropped := s.faults.Try(fault.Point{Service: name, Message: word(m.kind)}, func(e fault.Effect) bool {
		return e == fault.Effect(Drop{})
	}, nil)
	if dropped {
		s.record(x.event(timeline.FaultFired, sentence))
	}
	return !dropped
}

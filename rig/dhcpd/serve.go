package dhcpd

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sync/errgroup"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

// Serve answers messages until ctx ends and returns nil then, once no delayed
// answer is on its way any more. It returns an error when a port fails before
// that. It may be called once.
func (s *Server) Serve(ctx context.Context) error {
	own := netip.AddrPortFrom(s.own.ip, serverPort)
	s.record(timeline.Event{By: name, Kind: timeline.ServiceUp, Dst: own})
	err := s.serve(ctx)
	for _, t := range s.delayed {
		if t.Stop() {
			s.running.Done()
		}
	}
	s.running.Wait()
	down := timeline.Event{By: name, Kind: timeline.ServiceDown, Dst: own}
	if err != nil {
		down.Reason = err.Error()
	}
	s.record(down)
	return err
}

func (s *Server) serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	// Both end with ctx, and with each other's failure.
	g.Go(func() error { return each(ctx, s.port, s.handle) })
	if s.arp != nil {
		g.Go(func() error { return each(ctx, s.arp, s.handleARP) })
	}
	return g.Wait()
}

// each hands over the frames of a port one by one until ctx ends.
func each(ctx context.Context, port wire.Port, handle func(wire.Frame)) error {
	for {
		f, err := port.Receive(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the wait failed because ctx ended
		}
		if err != nil {
			return fmt.Errorf("dhcpd: receive: %w", err)
		}
		handle(f)
	}
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

// heard reports whether a message is dealt with: that of a handset of the bench,
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

// silenced reports whether a rule in force has had the server fall silent: what a
// scenario told must not outlive it.
func (s *Server) silenced() bool {
	return slices.ContainsFunc(s.faults.Ledger(), func(c fault.Count) bool {
		_, ok := c.Rule.Effect().(Silence)
		return ok && c.Fired > 0
	})
}

// handleARP answers a handset that probes, if a fault has it so.
func (s *Server) handleARP(f wire.Frame) {
	q, ok := parseARP(f.Data)
	if !ok {
		return
	}
	message := "ARP probe"
	switch {
	case q.target.IsUnspecified():
		return
	case q.sender == q.target:
		message = "ARP announcement"
	case !q.sender.IsUnspecified():
		return
	}
	mac := q.from.String()
	s.mu.Lock()
	_, known := s.clients[mac]
	s.mu.Unlock()
	if !known {
		return
	}
	_, sentence, fired := s.faults.Try(fault.Point{Service: name, Message: message}, func(e fault.Effect) bool {
		return e == fault.Effect(InUse{})
	}, nil)
	if !fired {
		return
	}
	e := timeline.Event{
		By: name, Kind: timeline.FaultFired, Frame: f.Number, SrcMAC: mac, DstMAC: ConflictMAC, Message: message,
		Reason: sentence, Fields: map[string]string{"arp.dst.proto_ipv4": q.target.String()},
	}
	s.record(e)
	if err := s.arp.Send(wire.Frame{Data: q.reply(conflictMAC()), At: s.now()}); err != nil {
		e.Kind, e.Reason = timeline.ServiceOddity, "send an ARP reply: "+err.Error()
		e.Fields = map[string]string{"arp.dst.proto_ipv4": q.target.String(), timeline.FaultUndone: InUse{}.String()}
		s.record(e)
	}
}

// maxStrangers bounds what is remembered of hosts that are not of the bench; a
// flood of made-up MACs is recorded up to here.
const maxStrangers = 4096

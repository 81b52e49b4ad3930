// Package dhcpd gives handsets their address and tells them where to provision
// from: a DHCP server after RFC 2131 and 2132, with long options after RFC 3396
// and relay agents after RFC 3046. It reads and writes Ethernet frames itself,
// so that it can answer clients without an address, byte for byte as a scenario
// wants it. The codec insomniacslk/dhcp reads what clients send; answers are
// written here, because its options are a map without order.
//
// Each handset has one Lease, which can be replaced while the server runs; it
// is answered from that alone, and no other host is answered at all. Messages
// are handled one after another, and each answer stands in the journal before
// it is sent: an event of the kind that is sent (By "dhcpd", from the client's
// end to ours) whose Reason says why.
//
// The client identifier (option 61) is not sent back, as RFC 2131 table 3 has
// it: RFC 6842, which changed that, is younger than these handsets.
//
// Faults are asked for before every answer at
//
//	fault.Point{Service: "dhcpd", Message: "ACK", Phase: "renewing"}
//
// where Message is the answer that is due (OFFER, ACK or NAK) and Phase the
// client's state: selecting (also of an OFFER), rebooting, renewing, rebinding
// or informing.
package dhcpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

const name = "dhcpd"

// maxStrangers bounds what is remembered of hosts that are not of the bench; a
// flood of made-up MACs is recorded up to here.
const maxStrangers = 4096

// Config is what a Server needs. It is not read any more once New returned.
type Config struct {
	// Port delivers frames with UDP destination port 67 and takes whole frames
	// to be sent. One 802.1Q tag may stand in them; answers carry it again. The
	// server does not close it.
	Port wire.Port
	// ServerMAC and ServerIP are the source of answers; ServerIP is the server
	// identifier too.
	ServerMAC net.HardwareAddr
	ServerIP  netip.Addr
	// Clients are the handsets by MAC. More can be set later.
	Clients map[string]Lease
	// Record takes events into the journal. It must not be nil.
	Record func(timeline.Event)
	// Faults is the plan in force; nil misbehaves never.
	Faults *fault.Plan
	// Now is the lane's clock, for the stamps of sent frames; nil means
	// time.Now.
	Now func() time.Time
	// After runs delayed answers and may scale their delay; nil means
	// time.AfterFunc.
	After func(d time.Duration, f func()) *time.Timer
}

// Server answers the DHCP clients of one bench.
type Server struct {
	port   wire.Port
	mac    net.HardwareAddr
	ip     netip.Addr
	record func(timeline.Event)
	faults *fault.Plan
	now    func() time.Time
	after  func(time.Duration, func()) *time.Timer

	mu      sync.Mutex
	clients map[string]*client

	// The rest belongs to Serve alone.
	strangers map[stranger]bool
	delayed   []*time.Timer
	running   sync.WaitGroup
}

// client is a handset and what it did with its lease.
type client struct {
	lease Lease
	// declined counts the addresses that the handset turned down.
	declined int
}

// addr is the address that is given now.
func (c *client) addr() netip.Addr {
	if c.declined == 0 || len(c.lease.Spare) == 0 {
		return c.lease.Addr.Addr()
	}
	return c.lease.Spare[min(c.declined, len(c.lease.Spare))-1]
}

// stranger is what is recorded once of a host that is not of the bench.
type stranger struct {
	mac  string
	kind dhcpv4.MessageType
}

// New checks cfg and returns a server that does not listen to its port yet. The
// error names the field that is wrong.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Port == nil:
		return nil, errors.New("dhcpd: Port is missing")
	case len(cfg.ServerMAC) != 6:
		return nil, fmt.Errorf("dhcpd: ServerMAC %q is not an Ethernet address", cfg.ServerMAC)
	case !cfg.ServerIP.Is4():
		return nil, fmt.Errorf("dhcpd: ServerIP %v is not an IPv4 address", cfg.ServerIP)
	case cfg.Record == nil:
		return nil, errors.New("dhcpd: Record is missing")
	}
	s := &Server{
		port: cfg.Port, mac: slices.Clone(cfg.ServerMAC), ip: cfg.ServerIP,
		record: cfg.Record, faults: cfg.Faults, now: cfg.Now, after: cfg.After,
		clients: make(map[string]*client), strangers: make(map[stranger]bool),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.after == nil {
		s.after = time.AfterFunc
	}
	for mac, lease := range cfg.Clients {
		if err := s.SetLease(mac, lease); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// SetLease gives a handset this lease from the next message on, and forgets
// what it declined. It may be called while the server runs. The error says what
// is wrong with the MAC or the lease; the old lease then stays.
func (s *Server) SetLease(mac string, lease Lease) error {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 {
		return fmt.Errorf("dhcpd: %q is not an Ethernet address", mac)
	}
	if err := lease.check(); err != nil {
		return fmt.Errorf("dhcpd: %s: %w", mac, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[hw.String()] = &client{lease: lease.clone()}
	return nil
}

// Remove makes a handset a stranger.
func (s *Server) Remove(mac string) {
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, hw.String())
}

// Serve answers messages until ctx ends and returns nil then, once no delayed
// answer is on its way any more. It returns an error when the port fails before
// that. It may be called once.
func (s *Server) Serve(ctx context.Context) error {
	own := netip.AddrPortFrom(s.ip, serverPort)
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
	for {
		f, err := s.port.Receive(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the wait failed because ctx ended
		}
		if err != nil {
			return fmt.Errorf("dhcpd: receive: %w", err)
		}
		s.handle(f)
	}
}

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
	if slices.Equal(x.in.srcMAC, s.mac) {
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
	if x.m.OpCode == dhcpv4.OpcodeBootReply {
		s.foreignServer(x)
		return
	}
	if x.m.OpCode != dhcpv4.OpcodeBootRequest || x.in.dst.Port() != serverPort {
		s.oddity(x, "malformed: op %d to UDP port %d", byte(x.m.OpCode), x.in.dst.Port())
		return
	}
	a, ph, reason := s.decide(x)
	if a != nil {
		s.reply(x, a, ph, reason)
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

// decide says what is answered to a client's message, and why; nil: nothing,
// and that is recorded.
func (s *Server) decide(x *exchange) (a *answer, ph phase, reason string) {
	// The lease cannot change between the decision and the bytes of its answer.
	s.mu.Lock()
	defer s.mu.Unlock()
	m := x.m
	c, ok := s.clients[m.mac]
	if !ok {
		asks := m.kind == dhcpv4.MessageTypeDiscover || m.kind == dhcpv4.MessageTypeRequest
		if asks && s.firstSight(stranger{m.mac, m.kind}) {
			s.record(x.event(timeline.Stranger, "not a handset of this bench: not answered"))
		}
		return nil, "", ""
	}
	switch m.kind {
	case dhcpv4.MessageTypeDiscover:
		reason = fmt.Sprintf("DISCOVER: OFFER %v", c.addr())
		if c.declined > len(c.lease.Spare) {
			reason += ", declined before, no other is left"
		}
		return s.grant(m, dhcpv4.MessageTypeOffer, c), selecting, reason
	case dhcpv4.MessageTypeRequest:
		return s.request(x, c)
	case dhcpv4.MessageTypeInform:
		if m.ciaddr.IsUnspecified() {
			m.odd = "INFORM without ciaddr"
		}
		return s.grant(m, dhcpv4.MessageTypeAck, c), informing, "INFORM: ACK without a lease"
	case dhcpv4.MessageTypeDecline:
		s.decline(x, c)
	case dhcpv4.MessageTypeRelease:
		if m.ciaddr != c.addr() {
			s.oddity(x, "RELEASE of %v, but %v is the lease", m.ciaddr, c.addr())
			break
		}
		s.record(x.event(timeline.DHCPRelease, fmt.Sprintf("RELEASE of %v: no answer is due", m.ciaddr)))
	default:
		s.oddity(x, "malformed: a client sends %s", word(m.kind))
	}
	return nil, "", ""
}

// request answers a REQUEST (RFC 2131 section 4.3.2). Every handset has its
// lease here, so that the server always knows, and never has to stay silent for
// not knowing.
func (s *Server) request(x *exchange, c *client) (*answer, phase, string) {
	m := x.m
	ph, err := m.state(&x.in)
	if err != nil {
		s.oddity(x, "malformed: %v", err)
		return nil, "", ""
	}
	wants := m.requested
	switch ph {
	case rebooting, informing:
	case selecting:
		if m.serverID != s.ip {
			s.oddity(x, "SELECTING %v of another server, %v: not answered", m.requested, m.serverID)
			return nil, "", ""
		}
	case renewing, rebinding:
		wants = m.ciaddr
	}
	if wants != c.addr() {
		why := fmt.Sprintf("%v is not the lease of %s", wants, m.mac)
		return s.refuse(m, why), ph, fmt.Sprintf("%s %v, but %v is the lease: NAK", ph.field(), wants, c.addr())
	}
	return s.grant(m, dhcpv4.MessageTypeAck, c), ph, fmt.Sprintf("%s %v: ACK", ph.field(), wants)
}

// decline takes an address out that a client found in use (RFC 2131 section
// 4.3.3).
func (s *Server) decline(x *exchange, c *client) {
	m := x.m
	switch {
	case m.serverID.IsValid() && m.serverID != s.ip:
		s.oddity(x, "DECLINE to another server, %v", m.serverID)
	case m.requested != c.addr():
		s.oddity(x, "DECLINE of %v, but %v is the lease", m.requested, c.addr())
	default:
		declined := c.addr()
		c.declined++
		s.record(x.event(timeline.DHCPDecline, fmt.Sprintf("DECLINE of %v: the next OFFER is of %v", declined, c.addr())))
	}
}

// reply puts the question to the plan, records and sends.
func (s *Server) reply(x *exchange, a *answer, ph phase, reason string) {
	if x.m.odd != "" {
		s.oddity(x, "answered all the same: %s", x.m.odd)
	}
	var delay time.Duration
	effect, sentence, ok := s.faults.At(fault.Point{Service: name, Message: word(a.kind), Phase: string(ph)})
	if ok {
		e, mine := effect.(Effect)
		if mine {
			s.record(x.event(timeline.FaultFired, sentence))
		} else {
			s.oddity(x, "fault not known here, ignored: %s", sentence)
		}
		switch e := e.(type) {
		case nil:
		case Drop:
			return
		case Delay:
			delay = e.D
		case Nak:
			a = s.refuse(x.m, "refused by fault")
			reason += ", but NAK by fault"
		case WithoutOption:
			a.without(e.Code)
			reason += fmt.Sprintf(", without option %d by fault", e.Code)
		}
	}
	payload, sent, leftOut := a.bytes()
	if len(leftOut) > 0 {
		reason += fmt.Sprintf("; %d bytes have no room for %s", a.room, codes(leftOut))
	}
	p := s.packet(a, &x.in, payload)
	out := x.event(kindOf(a.kind), reason)
	out.Message = word(a.kind)
	out.Fields["dhcp.option.type"] = codes(sent)
	if a.yiaddr.IsValid() {
		out.Fields["dhcp.ip.your"] = a.yiaddr.String()
	}
	if delay == 0 {
		s.send(x, out, p)
		return
	}
	out.Reason += fmt.Sprintf(", %v late by fault", delay)
	s.running.Add(1)
	// Runs once at most; Serve stops the timer or waits for it before it returns.
	s.delayed = append(s.delayed, s.after(delay, func() {
		defer s.running.Done()
		s.send(x, out, p)
	}))
}

// send records the answer and puts it on the wire.
func (s *Server) send(x *exchange, e timeline.Event, p *packet) {
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

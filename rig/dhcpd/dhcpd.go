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
// Faults are asked for when a handset's message came that an answer is due to,
// and again before the answer, at
//
//	fault.Point{Service: "dhcpd", Message: "REQUEST", Phase: "renewing"}
//	fault.Point{Service: "dhcpd", Message: "ACK", Phase: "renewing"}
//
// where Message is the message (DISCOVER, REQUEST, INFORM) or its answer (OFFER,
// ACK or NAK) and Phase the client's state: selecting (also of DISCOVER and
// OFFER), rebooting, renewing, rebinding, informing, or "selecting another
// server" for one that takes the offer of a SecondServer. Whatever is done to an
// answer may be declared at either point, and two rules at one each; what a
// rule for "*" did at the first it does not do again at the second. At DECLINE
// and RELEASE, which have no answer, only Drop applies: the server does not hear
// them. ARP has points of its own, see InUse.
//
// What the journal says of an answer is read from the bytes that were sent.
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
	"golang.org/x/sync/errgroup"

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
	// ARP, if there is one, delivers the frames of which IsARPProbe or
	// IsARPAnnouncement says true, of any host, and takes answers to them; it is
	// for the fault InUse alone. Frames that ask for an address of the rig's own
	// must not come here, because nothing else here answers them. The server
	// does not close it.
	ARP wire.Port
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
	arp    wire.Port
	own    identity
	record func(timeline.Event)
	faults *fault.Plan
	now    func() time.Time
	after  func(time.Duration, func()) *time.Timer

	mu      sync.Mutex
	clients map[string]*client
	// silent counts the silences towards a MAC that have not ended.
	silent map[string]int

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
	// others are the leases that made-up servers offered, by their address.
	others map[netip.Addr]*otherLease
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
		port: cfg.Port, arp: cfg.ARP, own: identity{mac: slices.Clone(cfg.ServerMAC), ip: cfg.ServerIP},
		record: cfg.Record, faults: cfg.Faults, now: cfg.Now, after: cfg.After,
		clients: make(map[string]*client), silent: make(map[string]int), strangers: make(map[stranger]bool),
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
	if x.m.OpCode == dhcpv4.OpcodeBootReply {
		s.foreignServer(x)
		return
	}
	if x.m.OpCode != dhcpv4.OpcodeBootRequest || x.in.dst.Port() != serverPort {
		s.oddity(x, "malformed: op %d to UDP port %d", byte(x.m.OpCode), x.in.dst.Port())
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

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
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

const name = "dhcpd"

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

// Kinds lists the effects, so that a file can name them: what this service can do
// instead of answering as it should. The families stand in files of their own,
// fault_*.go.
func Kinds() fault.Kinds {
	return fault.NewKinds("dhcpd",
		Delay{}, DoubleOption{}, Drop{}, Duplicate{}, Garbage{}, InUse{}, LeaseTimes{}, Nak{}, NoEnd{},
		Overload{}, Overwrite{}, SecondServer{}, SetOption{}, Silence{}, SplitOption{}, Truncate{},
		UnknownOptions{}, UnsplitOption{}, WithoutOption{}, WrongAddr{}, WrongChaddr{}, WrongCookie{},
		WrongHlen{}, WrongLength{}, WrongServerID{}, WrongXID{},
	)
}

// Can says whether this service can do e; the error says why not.
func (*Server) Can(e fault.Effect) error {
	if !Kinds().Has(e) {
		return fmt.Errorf("dhcpd cannot do %T", e)
	}
	if c, ok := e.(checked); ok {
		if err := c.check(); err != nil {
			return fmt.Errorf("dhcpd: %s: %w", e, err)
		}
	}
	return nil
}

// silence has the server hear nothing of a handset for so long.
func (s *Server) silence(mac string, long time.Duration) {
	count := func(by int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.silent[mac] += by
	}
	count(1)
	s.later(long, func() { count(-1) })
}

// enter makes another server known that has offered a handset a lease. One that the
// handset took from it before stays taken.
func (s *Server) enter(mac string, other *otherLease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[mac]
	if !ok {
		return
	}
	if c.others == nil {
		c.others = make(map[netip.Addr]*otherLease)
	}
	if old := c.others[other.from.ip]; old != nil && old.lease.Addr == other.lease.Addr {
		other.taken = old.taken
	}
	c.others[other.from.ip] = other
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

// Package host is a TCP/IP host on a wire.Port: an Ethernet address, ARP, IPv4
// with any number of addresses, UDP and TCP, all in user space (gVisor's
// netstack). The rig's services and the simulated handset get their listeners,
// packet connections and dialers from here and nowhere else, so that what runs
// in memory, on a lab interface or towards a virtual machine is the same, and
// the ports, addresses and routes of the computer it runs on are never touched.
package host

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"ip88rig/rig/vtime"
	"ip88rig/rig/wire"
)

// nicID is the number of the host's only interface.
const nicID tcpip.NICID = 1

// Sizes in bytes.
const (
	defaultMTU = 1500
	minMTU     = 576     // RFC 791: every host takes in that much
	maxMTU     = 65535   // of an IPv4 packet
	udpBuffer  = 1 << 20 // a TFTP window of 64 blocks of 1428 bytes, ten times over
)

// Config is what a Host is made of.
type Config struct {
	// Port is the cable. The host reads it alone; it never closes it, so that
	// the next host can take its place.
	Port wire.Port
	// MAC is the host's address on the wire. Nil: a locally administered one
	// made from Seed.
	MAC net.HardwareAddr
	// Addrs are the host's IPv4 addresses with the subnets they are in. The
	// first is the source address wherever several would do. It may be empty.
	Addrs []netip.Prefix
	// Gateway is the way to every other subnet. The zero Addr: none.
	Gateway netip.Addr
	// Seed makes the MAC address, port numbers and sequence numbers
	// repeatable. 0: different each time. Two boots of one simulated device
	// need different seeds, or the second reuses the connections of the first.
	Seed uint64
	// MTU is the longest IP packet sent, in bytes; longer ones are taken in
	// all the same. 0: 1500.
	MTU int
}

// check says which field is wrong.
func (c Config) check() error {
	switch {
	case c.Port == nil:
		return errors.New("host: config: Port is nil")
	case c.MAC != nil && (len(c.MAC) != 6 || c.MAC[0]&1 == 1):
		return fmt.Errorf("host: config: MAC %s is not the address of one Ethernet station", c.MAC)
	case c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU):
		return fmt.Errorf("host: config: MTU %d: must be %d to %d", c.MTU, minMTU, maxMTU)
	}
	return nil
}

// Host is a running TCP/IP host. Its methods are safe for concurrent use.
type Host struct {
	mac   net.HardwareAddr
	stack *stack.Stack
	link  *link

	mu      sync.Mutex // guards below, and the stack's addresses and routes
	addrs   []netip.Prefix
	gateway netip.Addr
	// table counts the changes of addresses and gateway.
	table atomic.Uint64

	cancel  context.CancelFunc
	stopped chan struct{} // closed when the port is no longer read
	done    chan struct{} // closed when the sockets are closed, too
	err     error         // why; set before stopped is closed
	closed  sync.Once
}

// New starts a host. It runs until Close, or until ctx ends or the port fails:
// then it hears nothing any more and its sockets are closed, but Close must
// still be called.
func New(ctx context.Context, cfg Config) (*Host, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	seed := cfg.Seed
	if seed == 0 {
		var b [8]byte
		if _, err := crand.Read(b[:]); err != nil {
			return nil, fmt.Errorf("host: seed: %w", err)
		}
		seed = binary.LittleEndian.Uint64(b[:])
	}
	mac := slices.Clone(cfg.MAC)
	if mac == nil {
		mac = macOf(seed)
	}
	mtu := cfg.MTU
	if mtu == 0 {
		mtu = defaultMTU
	}

	random := newRandom(seed, mac)
	options := stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
		HandleLocal:        true,
		RandSource:         random,
		SecureRNG:          random,
	}
	if vtime.Virtual() {
		beLate(&options)
	}
	h := &Host{
		mac:     mac,
		link:    newLink(cfg.Port, mac, mtu),
		stack:   stack.New(options),
		stopped: make(chan struct{}),
		done:    make(chan struct{}),
	}
	if vtime.Virtual() {
		if err := waitDurably(h.stack); err != nil {
			h.stack.Destroy()
			return nil, fmt.Errorf("host %s: %w", mac, err)
		}
	}
	if err := h.setUp(cfg); err != nil {
		h.stack.Destroy()
		return nil, err
	}

	ctx, h.cancel = context.WithCancel(ctx)
	go h.run(ctx) // ends when ctx ends, by Close at the latest, or the port fails
	return h, nil
}

// setUp brings the interface up with cfg's addresses.
func (h *Host) setUp(cfg Config) error {
	options := []tcpip.SettableTransportProtocolOption{
		new(tcpip.TCPSACKEnabled(true)),
		// RACK of this stack takes reordered segments for lost ones and slows
		// down; SACK recovery does not.
		new(tcpip.TCPRecovery(0)),
		new(tcpip.TCPModerateReceiveBufferOption(true)),
	}
	for _, o := range options {
		if err := h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("host %s: set %T: %s", h.mac, o, err)
		}
	}
	if err := h.stack.CreateNIC(nicID, h.link); err != nil {
		return fmt.Errorf("host %s: create interface: %s", h.mac, err)
	}
	if cfg.Gateway.IsValid() {
		if err := h.SetGateway(cfg.Gateway); err != nil {
			return err
		}
	}
	for _, p := range cfg.Addrs {
		if err := h.AddAddr(p); err != nil {
			return err
		}
	}
	return nil
}

// run takes frames in until ctx ends or the port fails, then stops the sockets.
func (h *Host) run(ctx context.Context) {
	defer close(h.done)
	for {
		f, err := h.link.port.Receive(ctx)
		if err != nil {
			if ctx.Err() == nil {
				h.err = fmt.Errorf("host %s: receive: %w", h.mac, err)
			}
			break
		}
		h.link.take(f)
	}
	close(h.stopped)
	h.link.closeClaims()
	h.stack.Close()
}

// Done returns a channel that is closed once the host hears nothing any more.
func (h *Host) Done() <-chan struct{} { return h.done }

// Err tells, after Done, which error of the port ended the host; nil when it
// was Close or the context.
func (h *Host) Err() error {
	select {
	case <-h.done:
		return h.err
	default:
		return nil
	}
}

// Close stops the host: its sockets are closed, connections are reset, and
// every goroutine has ended when it returns. The port stays open.
func (h *Host) Close() error {
	h.closed.Do(func() {
		h.cancel()
		<-h.done
		h.stack.Destroy()
	})
	<-h.done
	return h.err
}

// MAC returns the host's address on the wire.
func (h *Host) MAC() net.HardwareAddr { return slices.Clone(h.mac) }

// Addr returns the first of the host's IPv4 addresses, the zero Addr if it has
// none.
func (h *Host) Addr() netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.addrs) == 0 {
		return netip.Addr{}
	}
	return h.addrs[0].Addr()
}

// Addrs returns the host's addresses in the order they were added.
func (h *Host) Addrs() []netip.Prefix {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.addrs)
}

// AddAddr gives the host a further address. Its subnet is reached without a
// gateway from now on.
func (h *Host) AddAddr(p netip.Prefix) error {
	a := p.Addr()
	if !p.IsValid() || !a.Is4() || a.IsUnspecified() || a.IsMulticast() {
		return fmt.Errorf("host %s: add address %s: not an IPv4 address with its subnet", h.mac, p)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.stack.AddProtocolAddress(nicID, tcpip.ProtocolAddress{
		Protocol: ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFrom4(a.As4()), PrefixLen: p.Bits(),
		},
	}, stack.AddressProperties{})
	if err != nil {
		return fmt.Errorf("host %s: add address %s: %s", h.mac, p, err)
	}
	h.addrs = append(h.addrs, p)
	h.route()
	return nil
}

// RemoveAddr takes an address away. Connections on it are not told: they time
// out, as when a cable moves.
func (h *Host) RemoveAddr(a netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.addrs, func(p netip.Prefix) bool { return p.Addr() == a })
	if i < 0 {
		return fmt.Errorf("host %s: remove address %s: the host does not have it", h.mac, a)
	}
	if err := h.stack.RemoveAddress(nicID, tcpip.AddrFrom4(a.As4())); err != nil {
		return fmt.Errorf("host %s: remove address %s: %s", h.mac, a, err)
	}
	h.addrs = slices.Delete(h.addrs, i, i+1)
	h.route()
	return nil
}

// SetGateway changes the way to other subnets; the zero Addr takes it away.
func (h *Host) SetGateway(a netip.Addr) error {
	if a.IsValid() && (!a.Is4() || a.IsUnspecified()) {
		return fmt.Errorf("host %s: gateway %s: not an IPv4 address", h.mac, a)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gateway = a
	h.route()
	return nil
}

// route makes the routing table out of addresses and gateway. mu is held, or
// the host is not yet shared.
func (h *Host) route() {
	var table []tcpip.Route
	for _, p := range h.addrs {
		table = append(table, tcpip.Route{
			Destination: tcpip.AddressWithPrefix{
				Address: tcpip.AddrFrom4(p.Masked().Addr().As4()), PrefixLen: p.Bits(),
			}.Subnet(),
			NIC:        nicID,
			SourceHint: tcpip.AddrFrom4(p.Addr().As4()),
		})
	}
	// The longest prefix first: the stack takes the first that fits.
	slices.SortStableFunc(table, func(a, b tcpip.Route) int {
		return b.Destination.Prefix() - a.Destination.Prefix()
	})
	if h.gateway.IsValid() {
		far := tcpip.Route{
			Destination: header.IPv4EmptySubnet,
			Gateway:     tcpip.AddrFrom4(h.gateway.As4()),
			NIC:         nicID,
		}
		for _, p := range slices.Backward(h.addrs) {
			if p.Contains(h.gateway) {
				far.SourceHint = tcpip.AddrFrom4(p.Addr().As4())
			}
		}
		table = append(table, far)
	}
	h.stack.SetRouteTable(table)
	h.table.Add(1)
}

// Dropped returns how many frames or datagrams for the host were lost because
// nobody read them: of claims, and of UDP sockets.
func (h *Host) Dropped() uint64 {
	return h.link.dropped() + h.stack.Stats().UDP.ReceiveBufferErrors.Value()
}

// Corrupt returns how many received packets were dropped because of a wrong
// checksum.
func (h *Host) Corrupt() uint64 { return h.link.corrupt.Load() }

// macOf makes a locally administered address.
func macOf(seed uint64) net.HardwareAddr {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], rand.New(rand.NewPCG(seed, 0)).Uint64()) //nolint:gosec // repeatable, not secret
	b[0] = b[0]&^3 | 2
	return net.HardwareAddr(b[:6])
}

// random is the stack's source of numbers: repeatable, which nothing here needs
// to be protected from. It implements math/rand's Source and io.Reader.
type random struct {
	mu  sync.Mutex
	src *rand.ChaCha8
}

// newRandom mixes the address in, so that hosts of one seed differ.
func newRandom(seed uint64, mac net.HardwareAddr) *random {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	copy(key[8:], mac)
	return &random{src: rand.NewChaCha8(key)}
}

// Int63 implements math/rand.Source.
func (r *random) Int63() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int64(r.src.Uint64() >> 1)
}

// Seed implements math/rand.Source; the seed was given to newRandom.
func (*random) Seed(int64) {}

// Read implements io.Reader.
func (r *random) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.src.Read(b)
}

// deadline is a moment that can be moved while others wait for it.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer   // nil until a moment was set
	at    time.Time     // zero: never
	hit   chan struct{} // closed when the moment has come
}

func newDeadline() *deadline { return &deadline{hit: make(chan struct{})} }

// set moves the deadline; the zero time is never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	select {
	case <-d.hit:
		d.hit = make(chan struct{})
	default:
	}
	left := time.Until(t)
	switch {
	case t.IsZero() || left <= 0:
		if d.timer != nil {
			d.timer.Stop()
		}
		if !t.IsZero() {
			close(d.hit)
		}
	case d.timer == nil:
		d.timer = time.AfterFunc(left, d.come)
	default:
		d.timer.Reset(left)
	}
}

// come closes the channel unless the deadline was moved meanwhile: then the timer
// comes again.
func (d *deadline) come() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at.IsZero() || time.Until(d.at) > 0 {
		return
	}
	select {
	case <-d.hit:
	default:
		close(d.hit)
	}
}

// wait returns the channel that is closed at the deadline.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hit
}

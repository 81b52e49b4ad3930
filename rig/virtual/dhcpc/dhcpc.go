// Package dhcpc is the DHCP client of the simulated handset: the state machine
// of RFC 2131 (INIT, SELECTING, REQUESTING, INIT-REBOOT, REBOOTING, BOUND,
// RENEWING, REBINDING) with the address probe of RFC 5227, on raw Ethernet
// frames. It is our own because the client of the DHCP library lacks INIT-REBOOT,
// REBINDING, the probe and DECLINE.
package dhcpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/wire"
)

// Errors that a caller decides on.
var (
	// ErrNoServer is returned when no server gave an address to all tries.
	ErrNoServer = errors.New("dhcp: no server gave an address")
	// ErrLeaseEnded is returned when a lease ran out with nobody renewing it.
	ErrLeaseEnded = errors.New("dhcp: lease ended")
	// ErrNak is returned when a server takes back the lease.
	ErrNak = errors.New("dhcp: NAK")

	errSilent = errors.New("silence")
	errInUse  = errors.New("address in use")
)

// infinite is the lease time that never ends (RFC 2131, 3.3).
const infinite = 0xffffffff

// Config says how to ask. Durations that are 0 follow from Timeout in the
// ratios of RFC 2131 (whose Timeout is 4 s), so that a scaled handset keeps
// them.
type Config struct {
	// Port carries raw Ethernet frames; DHCP and ARP are read from it. While
	// Maintain runs, DHCP to the client's port is enough.
	Port wire.Port
	// MAC is the client's.
	MAC net.HardwareAddr
	// VendorClass (option 60), HostName (12) and ClientID (61) are left out when
	// empty.
	VendorClass, HostName string
	ClientID              []byte
	// RequestList is option 55, in its order.
	RequestList []uint8
	// MaxMessageSize is option 57, in bytes; left out when 0.
	MaxMessageSize uint16
	// Broadcast sets the flag that asks for answers by broadcast.
	Broadcast bool
	// Timeout is waited for the first answer; each further wait is twice the one
	// before, up to 16 times Timeout, plus or minus a quarter of Timeout. It must
	// be positive.
	Timeout time.Duration
	// Tries is how often a message is sent, at least once.
	Tries int
	// ProbeTime is how long an address is probed with ARP before it is used; 0
	// for not at all.
	ProbeTime time.Duration
	// DeclineWait is waited after a DECLINE; 0 is 10 s at a Timeout of 4 s.
	DeclineWait time.Duration
	// RenewWait is the least time between two requests in RENEWING and
	// REBINDING; 0 is 60 s at a Timeout of 4 s.
	RenewWait time.Duration
	// DefaultLease counts when a server names no lease time, or 0 seconds; 1 h
	// when it is 0.
	DefaultLease time.Duration
	// Again makes Maintain ask for the lease at once each time something comes
	// from it: the link was gone, and the network may be another one (RFC 2131,
	// 3.7). How it asks is what came. Nil for never.
	Again <-chan Again
	// Defects are the handset's.
	Defects defect.Set
	// Seed makes transaction ids and jitter repeatable; 0 is different each time.
	// Who calls Acquire again should hand in another one, so that late answers to
	// the calls before are not taken.
	Seed uint64
	// Now stamps leases; time.Now when nil.
	Now func() time.Time
}

// Again is how a lease is asked for that still holds.
type Again int

// Renew asks the server of the lease, as in RENEWING; Reboot asks any server for
// the address, as in INIT-REBOOT. Silence leaves the lease as it was.
const (
	Renew Again = iota
	Reboot
)

// Lease is what a server gave.
type Lease struct {
	// Addr is the address, with the length of its network.
	Addr netip.Prefix
	// Gateway is the first router of option 3, invalid without one.
	Gateway netip.Addr
	// DNS holds option 6.
	DNS []netip.Addr
	// Server is the server's identifier.
	Server netip.Addr
	// ServerMAC is where the server's answer came from on the wire.
	ServerMAC net.HardwareAddr
	// Options holds every option of the ACK by its number, as raw bytes, split
	// ones put together.
	Options map[uint8][]byte
	// Acquired is when the request that was granted was sent; the durations count
	// from then. An Ends of 0 never ends.
	Acquired time.Time
	// Renew is T1, Rebind T2, Ends the lease time.
	Renew, Rebind, Ends time.Duration
}

// Valid tells whether the lease holds at a time.
func (l Lease) Valid(now time.Time) bool {
	return l.Addr.IsValid() && (l.Ends == 0 || now.Before(l.Acquired.Add(l.Ends)))
}

// Text returns an option as text without trailing NULs (RFC 2132, 2).
func (l Lease) Text(code uint8) string { return strings.TrimRight(string(l.Options[code]), "\x00") }

// Addrs returns an option as a list of addresses; bytes past the last whole
// address are left out.
func (l Lease) Addrs(code uint8) []netip.Addr {
	var out []netip.Addr
	for b := l.Options[code]; len(b) >= 4; b = b[4:] {
		out = append(out, netip.AddrFrom4([4]byte(b)))
	}
	return out
}

// client is one run of the state machine.
type client struct {
	Config
	random *rand.Rand
	start  time.Time // of the exchange, for the secs field
	xid    dhcpv4.TransactionID
}

// newClient checks the configuration. Each purpose draws other numbers from the
// seed.
func newClient(cfg Config, purpose uint64) (*client, error) {
	switch {
	case cfg.Port == nil:
		return nil, errors.New("dhcp: no port")
	case len(cfg.MAC) != 6:
		return nil, fmt.Errorf("dhcp: MAC %q is not of 6 bytes", cfg.MAC)
	case cfg.Timeout <= 0:
		return nil, fmt.Errorf("dhcp: timeout %v is not positive", cfg.Timeout)
	}
	cfg.Tries = max(cfg.Tries, 1)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.DeclineWait <= 0 {
		cfg.DeclineWait = cfg.Timeout * 5 / 2
	}
	if cfg.DefaultLease <= 0 {
		cfg.DefaultLease = time.Hour
	}
	if cfg.RenewWait <= 0 {
		cfg.RenewWait = cfg.Timeout * 15
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64() //nolint:gosec // transaction ids are no secret
	}
	mac := append(make([]byte, 2), cfg.MAC...)
	return &client{
		Config: cfg,
		random: rand.New(rand.NewPCG(cfg.Seed, purpose<<48|binary.BigEndian.Uint64(mac))), //nolint:gosec // repeatable on purpose
	}, nil
}

// Acquire gets an address. With a previous lease that is still valid it starts
// in INIT-REBOOT, and in INIT after a NAK or silence. It returns ErrNoServer
// when Tries DISCOVERs, or as many rounds that led to no lease, are used up;
// the caller starts over if it likes.
func Acquire(ctx context.Context, cfg Config, previous *Lease) (Lease, error) {
	c, err := newClient(cfg, 1)
	if err != nil {
		return Lease{}, err
	}
	if previous != nil && previous.Valid(c.Now()) {
		lease, err := c.reboot(ctx, *previous)
		if !again(err) {
			return lease, err
		}
		if errors.Is(err, errInUse) {
			if err := c.wait(ctx, c.DeclineWait); err != nil {
				return Lease{}, err
			}
		}
	}
	var last error
	for round := range c.Tries {
		lease, err := c.initial(ctx)
		switch {
		case !again(err):
			return lease, err
		case errors.Is(err, errSilent):
			return Lease{}, fmt.Errorf("%w: %v", ErrNoServer, err)
		case errors.Is(err, errInUse):
			err = errors.Join(err, c.wait(ctx, c.DeclineWait))
		case round > 0: // a second NAK in a row must not become a storm
			err = errors.Join(err, c.wait(ctx, c.backoff(round)))
		}
		if ctx.Err() != nil {
			return Lease{}, ctx.Err()
		}
		last = err
	}
	return Lease{}, fmt.Errorf("%w: %v", ErrNoServer, last)
}

// again tells whether an error leads back to INIT.
func again(err error) bool {
	return errors.Is(err, errSilent) || errors.Is(err, ErrNak) || errors.Is(err, errInUse) || errors.Is(err, errRefused)
}

// errRefused is a REQUEST that an offering server never answered.
var errRefused = errors.New("offer not granted")

// reboot is INIT-REBOOT and REBOOTING: a broadcast REQUEST for the address of
// before, without a server identifier.
func (c *client) reboot(ctx context.Context, previous Lease) (Lease, error) {
	ack, sent, err := c.verify(ctx, previous)
	if err != nil {
		return Lease{}, err
	}
	if c.disregards(ack) {
		previous.Options = ack.options
		return previous, nil
	}
	return c.bind(ctx, ack, sent)
}

func (c *client) verify(ctx context.Context, held Lease) (r *reply, sent time.Time, err error) {
	c.begin()
	return c.ask(ctx, func() []byte {
		m := c.message(dhcpv4.MessageTypeRequest)
		c.put(m, dhcpv4.OptRequestedIPAddress(asIP(held.Addr.Addr())))
		return c.toServer(m, netip.IPv4Unspecified(), broadcast(), nil)
	}, granted)
}

// disregards tells of the defect ignores-nak.
func (c *client) disregards(r *reply) bool {
	return r.kind == dhcpv4.MessageTypeNak && c.Defects.Has(defect.IgnoresNAK)
}

// initial is INIT, SELECTING and REQUESTING.
func (c *client) initial(ctx context.Context) (Lease, error) {
	c.begin()
	offer, _, err := c.ask(ctx, func() []byte {
		return c.toServer(c.message(dhcpv4.MessageTypeDiscover), netip.IPv4Unspecified(), broadcast(), nil)
	}, func(r *reply) bool {
		return r.kind == dhcpv4.MessageTypeOffer && r.server.IsValid() && usable(offered(r))
	})
	if err != nil {
		return Lease{}, fmt.Errorf("DISCOVER: %w", err)
	}
	// RFC 2131, 4.4.1: the REQUEST keeps the OFFER's transaction id.
	ack, sent, err := c.ask(ctx, func() []byte {
		m := c.message(dhcpv4.MessageTypeRequest)
		c.put(m, dhcpv4.OptRequestedIPAddress(asIP(offered(offer))))
		c.put(m, dhcpv4.OptServerIdentifier(asIP(offer.server)))
		return c.toServer(m, netip.IPv4Unspecified(), broadcast(), nil)
	}, func(r *reply) bool {
		return granted(r) && (!r.server.IsValid() || r.server == offer.server || c.Defects.Has(defect.TakesAnyServer))
	})
	if errors.Is(err, errSilent) {
		return Lease{}, fmt.Errorf("REQUEST for %v to %v: %w", offered(offer), offer.server, errRefused)
	}
	if err != nil {
		return Lease{}, fmt.Errorf("REQUEST for %v to %v: %w", offered(offer), offer.server, err)
	}
	if c.disregards(ack) {
		ack = offer
	}
	return c.bind(ctx, ack, sent)
}

// granted accepts an ACK that can be used, and any NAK.
func granted(r *reply) bool {
	if r.kind == dhcpv4.MessageTypeNak {
		return true
	}
	return r.kind == dhcpv4.MessageTypeAck && usable(offered(r))
}

// usable leaves out what cannot be a host's address.
func usable(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a != broadcast()
}

// bind probes the address that was granted, announces it, and is BOUND.
func (c *client) bind(ctx context.Context, ack *reply, sent time.Time) (Lease, error) {
	if ack.kind == dhcpv4.MessageTypeNak {
		return Lease{}, c.nak(ack)
	}
	lease := c.lease(ack, sent)
	addr := lease.Addr.Addr()
	if c.ProbeTime <= 0 {
		return lease, nil
	}
	by, err := c.probe(ctx, addr)
	if err != nil {
		return Lease{}, err
	}
	if by != nil && !c.Defects.Has(defect.IgnoresConflict) {
		c.begin()
		m := c.message(dhcpv4.MessageTypeDecline)
		c.put(m, dhcpv4.OptRequestedIPAddress(asIP(addr)))
		c.put(m, dhcpv4.OptServerIdentifier(asIP(lease.Server)))
		err := c.send(c.toServer(m, netip.IPv4Unspecified(), broadcast(), nil))
		if c.Defects.Has(defect.KeepsDeclined) {
			return lease, err
		}
		return Lease{}, errors.Join(fmt.Errorf("%w: %v by %v", errInUse, addr, by), err)
	}
	return lease, c.send(arpFrame(c.MAC, addr, addr))
}

func (c *client) nak(r *reply) error {
	return fmt.Errorf("%w from %v %q", ErrNak, r.server, r.options[dhcpv4.OptionMessage.Code()])
}

// probe sends three probes, a quarter of ProbeTime apart, and listens on for
// the last quarter (RFC 5227, 2.1.1: PROBE_NUM, ANNOUNCE_WAIT).
func (c *client) probe(ctx context.Context, addr netip.Addr) (by net.HardwareAddr, err error) {
	const probes, quarters = 3, 4
	for i := range quarters {
		if i < probes {
			if err := c.send(arpFrame(c.MAC, netip.IPv4Unspecified(), addr)); err != nil {
				return nil, err
			}
		}
		err := c.receive(ctx, c.ProbeTime/quarters, func(frame []byte) bool {
			by = conflict(frame, c.MAC, addr)
			return by != nil
		})
		if !errors.Is(err, errSilent) {
			return by, err
		}
	}
	return nil, nil //nolint:nilnil // nobody has it
}

// Maintain keeps a lease from BOUND on: RENEWING at T1 by unicast, REBINDING at
// T2 by broadcast. changed is called with every renewed lease. It returns
// ErrLeaseEnded, ErrNak (the address must not be used any more), or nil when
// ctx ends.
func Maintain(ctx context.Context, cfg Config, lease Lease, changed func(Lease)) error {
	c, err := newClient(cfg, 2)
	if err != nil {
		return err
	}
	if c.ProbeTime > 0 { // the second announcement of RFC 5227, 2.3
		if err := c.send(arpFrame(c.MAC, lease.Addr.Addr(), lease.Addr.Addr())); err != nil {
			return err
		}
	}
	for {
		next, err := c.keep(ctx, lease)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to stop
		}
		if err != nil {
			return err
		}
		lease = next
		if changed != nil {
			changed(lease)
		}
	}
}

// keep waits for T1 and renews the lease once.
func (c *client) keep(ctx context.Context, lease Lease) (Lease, error) {
	if c.Defects.Has(defect.NeverRenews) {
		return Lease{}, c.forever(ctx)
	}
	how, early, err := c.bound(ctx, lease)
	switch {
	case err != nil:
		return Lease{}, err
	case early:
		return c.confirm(ctx, lease, how)
	}
	own, mac := lease.Server, lease.ServerMAC
	if c.Defects.Has(defect.RenewsByBroadcast) {
		own, mac = broadcast(), nil
	}
	renewed, err := c.extend(ctx, lease, lease.Rebind, own, mac)
	if errors.Is(err, errSilent) {
		anybody, all := broadcast(), net.HardwareAddr(nil)
		if c.Defects.Has(defect.NeverRebinds) {
			anybody, all = own, mac
		}
		renewed, err = c.extend(ctx, lease, lease.Ends, anybody, all)
	}
	if errors.Is(err, errSilent) {
		return Lease{}, fmt.Errorf("%w: %v of %v", ErrLeaseEnded, lease.Addr, lease.Server)
	}
	return renewed, err
}

// forever reads away what comes.
func (c *client) forever(ctx context.Context) error {
	const long = 1000 * time.Hour
	for {
		if err := c.wait(ctx, long); err != nil {
			return err
		}
	}
}

// bound is BOUND: it waits for T1, or until the lease is to be asked for again,
// and reads away what comes meanwhile.
func (c *client) bound(ctx context.Context, lease Lease) (how Again, early bool, err error) {
	const long = 1000 * time.Hour
	left := c.until(lease, lease.Renew)
	if lease.Ends == 0 {
		left = long
	}
	if c.Again == nil {
		return 0, false, c.wait(ctx, left)
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() { // ends by stop, or with the wait
		defer close(done)
		err = c.wait(waiting, left)
	}()
	select {
	case <-done:
		return 0, false, err
	case how := <-c.Again:
		stop()
		<-done
		return how, true, ctx.Err()
	}
}

// confirm asks for a lease that still holds. Silence leaves it as it was.
func (c *client) confirm(ctx context.Context, lease Lease, how Again) (Lease, error) {
	var r *reply
	var sent time.Time
	var err error
	if how == Reboot {
		r, sent, err = c.verify(ctx, lease)
	} else {
		c.begin()
		r, sent, err = c.ask(ctx, func() []byte {
			return c.renewal(lease, lease.Server, lease.ServerMAC)
		}, c.extends(lease))
	}
	switch {
	case errors.Is(err, errSilent):
		return lease, nil
	case err != nil:
		return Lease{}, err
	case c.disregards(r):
		return lease, nil
	case r.kind == dhcpv4.MessageTypeNak:
		return Lease{}, c.nak(r)
	case offered(r) != lease.Addr.Addr():
		return Lease{}, fmt.Errorf("%w: %v instead of %v", ErrNak, offered(r), lease.Addr.Addr())
	}
	return c.lease(r, sent), nil
}

// renewal is the REQUEST of RENEWING and REBINDING.
func (c *client) renewal(lease Lease, to netip.Addr, mac net.HardwareAddr) []byte {
	m := c.message(dhcpv4.MessageTypeRequest)
	m.ClientIPAddr = asIP(lease.Addr.Addr())
	m.SetUnicast()
	if !to.IsValid() {
		to = broadcast()
	}
	return c.toServer(m, lease.Addr.Addr(), to, mac)
}

// extends accepts the answer to a renewal.
func (c *client) extends(lease Lease) func(*reply) bool {
	return func(r *reply) bool {
		return granted(r) && !c.disregards(r) && (r.kind == dhcpv4.MessageTypeNak || offered(r) == lease.Addr.Addr())
	}
}

// extend asks until the end of RENEWING or REBINDING, each time after half of
// what is left (RFC 2131, 4.4.5).
func (c *client) extend(ctx context.Context, lease Lease, end time.Duration, to netip.Addr, mac net.HardwareAddr) (Lease, error) {
	if c.until(lease, end) <= 0 {
		return Lease{}, errSilent
	}
	c.begin()
	for {
		sent := c.Now()
		if err := c.send(c.renewal(lease, to, mac)); err != nil {
			return Lease{}, err
		}
		left := c.until(lease, end)
		wait := left / 2
		if wait < c.RenewWait {
			wait = min(c.RenewWait, left)
		}
		r, err := c.answer(ctx, wait, c.extends(lease))
		switch {
		case errors.Is(err, errSilent) && c.until(lease, end) > 0:
			continue
		case err != nil:
			return Lease{}, err
		case r.kind == dhcpv4.MessageTypeNak:
			return Lease{}, c.nak(r)
		}
		return c.lease(r, sent), nil
	}
}

func (c *client) until(lease Lease, d time.Duration) time.Duration {
	return lease.Acquired.Add(d).Sub(c.Now())
}

// Release gives the address back (RFC 2131, 4.4.6). Nothing answers it.
func Release(_ context.Context, cfg Config, lease Lease) error {
	c, err := newClient(cfg, 3)
	if err != nil {
		return err
	}
	c.begin()
	m := c.message(dhcpv4.MessageTypeRelease)
	m.ClientIPAddr = asIP(lease.Addr.Addr())
	m.SetUnicast()
	c.put(m, dhcpv4.OptServerIdentifier(asIP(lease.Server)))
	return c.send(c.toServer(m, lease.Addr.Addr(), lease.Server, lease.ServerMAC))
}

// begin starts an exchange with a transaction id of its own.
func (c *client) begin() {
	c.start = c.Now()
	binary.BigEndian.PutUint32(c.xid[:], c.random.Uint32())
}

// message is a request as all of ours begin. RFC 2131, table 5: a DECLINE and a
// RELEASE carry no parameters.
func (c *client) message(kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	m := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: 1, TransactionID: c.xid, ClientHWAddr: c.MAC,
		NumSeconds:   uint16(min(c.Now().Sub(c.start)/time.Second, 0xffff)), //nolint:gosec // bounded
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		Options: dhcpv4.Options{},
	}
	if c.Broadcast {
		m.SetBroadcast()
	}
	c.put(m, dhcpv4.OptMessageType(kind))
	if len(c.ClientID) > 0 {
		c.put(m, dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, c.ClientID))
	}
	if kind == dhcpv4.MessageTypeDecline || kind == dhcpv4.MessageTypeRelease {
		return m
	}
	if c.VendorClass != "" && !c.Defects.Has(defect.NoVendorClass) {
		c.put(m, dhcpv4.OptGeneric(dhcpv4.OptionClassIdentifier, []byte(c.VendorClass)))
	}
	if c.HostName != "" {
		c.put(m, dhcpv4.OptGeneric(dhcpv4.OptionHostName, []byte(c.HostName)))
	}
	if len(c.RequestList) > 0 {
		c.put(m, dhcpv4.OptGeneric(dhcpv4.OptionParameterRequestList, c.RequestList))
	}
	if c.MaxMessageSize > 0 {
		c.put(m, dhcpv4.OptMaxMessageSize(c.MaxMessageSize))
	}
	return m
}

func (*client) put(m *dhcpv4.DHCPv4, o dhcpv4.Option) { m.Options.Update(o) }

// toServer makes the frame; without a MAC it is broadcast.
func (c *client) toServer(m *dhcpv4.DHCPv4, from, to netip.Addr, mac net.HardwareAddr) []byte {
	if len(mac) != 6 {
		mac = broadcastMAC()
	}
	return udpFrame(mac, c.MAC, from, to, uint16(c.random.Uint32()), m.ToBytes()) //nolint:gosec // truncated on purpose
}

func (c *client) send(frame []byte) error {
	return c.Port.Send(wire.Frame{Data: frame, At: time.Now()})
}

// ask sends a message, made afresh each time, until an answer is accepted or
// Tries are used up; then it returns errSilent.
func (c *client) ask(ctx context.Context, frame func() []byte, accept func(*reply) bool) (r *reply, sent time.Time, err error) {
	for try := range c.Tries {
		sent = c.Now()
		if err := c.send(frame()); err != nil {
			return nil, sent, err
		}
		r, err = c.answer(ctx, c.backoff(try), accept)
		if !errors.Is(err, errSilent) {
			return r, sent, err
		}
	}
	return nil, sent, fmt.Errorf("%d tries: %w", c.Tries, errSilent)
}

// backoff is RFC 2131, 4.1: 4, 8, 16, ... 64 s, each plus or minus 1 s.
func (c *client) backoff(try int) time.Duration {
	jitter := time.Duration((c.random.Float64() - 0.5) / 2 * float64(c.Timeout))
	return c.Timeout<<min(try, 4) + jitter
}

// answer waits for a reply of the running exchange that is accepted.
func (c *client) answer(ctx context.Context, wait time.Duration, accept func(*reply) bool) (*reply, error) {
	var found *reply
	err := c.receive(ctx, wait, func(frame []byte) bool {
		r, err := parseReply(frame, c.MAC, c.xid)
		if err != nil || !accept(r) {
			return false
		}
		found = r
		return true
	})
	return found, err
}

// receive reads until a frame is wanted, or returns errSilent after wait.
func (c *client) receive(ctx context.Context, wait time.Duration, want func([]byte) bool) error {
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		f, err := c.Port.Receive(limited)
		switch {
		case err == nil && want(f.Data):
			return nil
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case limited.Err() != nil:
			return errSilent
		default:
			return fmt.Errorf("dhcp: %w", err)
		}
	}
}

// wait lets time pass, and reads away what comes meanwhile.
func (c *client) wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	err := c.receive(ctx, d, func([]byte) bool { return false })
	if errors.Is(err, errSilent) {
		return nil
	}
	return err
}

// lease reads an ACK. T1 and T2 are half and seven eighths of the lease time
// when they are missing, or not in the order T1, T2, end (RFC 2131, 4.4.5).
func (c *client) lease(r *reply, sent time.Time) Lease {
	l := Lease{
		Server: r.server, ServerMAC: r.from, Options: r.options, Acquired: sent,
	}
	addr := offered(r)
	l.Addr = netip.PrefixFrom(addr, maskBits(r, addr))
	if routers := l.Addrs(dhcpv4.OptionRouter.Code()); len(routers) > 0 {
		l.Gateway = routers[0]
	}
	l.DNS = l.Addrs(dhcpv4.OptionDomainNameServer.Code())

	ends, ok := r.seconds(dhcpv4.OptionIPAddressLeaseTime)
	switch {
	case ends == infinite*time.Second:
		return l
	case !ok || ends == 0:
		ends = max(c.DefaultLease, 1) // 0 would never end
	}
	l.Ends, l.Renew, l.Rebind = ends, ends/2, ends*7/8
	t1, ok1 := r.seconds(dhcpv4.OptionRenewTimeValue)
	t2, ok2 := r.seconds(dhcpv4.OptionRebindingTimeValue)
	if !ok1 {
		t1 = l.Renew
	}
	if !ok2 {
		t2 = l.Rebind
	}
	if t1 > 0 && t1 < t2 && t2 < ends {
		l.Renew, l.Rebind = t1, t2
	}
	return l
}

// seconds reads a time of whole seconds.
func (r *reply) seconds(o dhcpv4.OptionCode) (time.Duration, bool) {
	b, ok := r.four(o)
	return time.Duration(binary.BigEndian.Uint32(b[:])) * time.Second, ok
}

// maskBits is the length of the network. A mask that is none, or leaves no
// network or no neighbour, is disregarded.
func maskBits(r *reply, addr netip.Addr) int {
	if mask, ok := r.four(dhcpv4.OptionSubnetMask); ok {
		if ones, size := net.IPMask(mask[:]).Size(); size == 32 && ones > 0 && ones < 32 {
			return ones
		}
	}
	return classBits(addr)
}

// classBits is the network of an address without a mask (RFC 791).
func classBits(a netip.Addr) int {
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	default:
		return 24
	}
}

func offered(r *reply) netip.Addr {
	a, _ := netip.AddrFromSlice(bytes.Clone(r.message.YourIPAddr.To4()))
	return a
}

func asIP(a netip.Addr) net.IP {
	if !a.IsValid() {
		return net.IPv4zero
	}
	return a.AsSlice()
}

func broadcast() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

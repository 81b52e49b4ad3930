package dhcpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
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

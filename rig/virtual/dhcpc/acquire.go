package dhcpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/rig/virtual/defect"
)

// errRefused is a REQUEST that an offering server never answered.
var errRefused = errors.New("offer not granted")

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

// again reports whether an error leads back to INIT.
func again(err error) bool {
	return errors.Is(err, errSilent) || errors.Is(err, ErrNak) || errors.Is(err, errInUse) || errors.Is(err, errRefused)
}

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

// bind probes the address that was granted, announces it, and is BOUND.
func (c *client) bind(ctx context.Context, ack *reply, sent time.Time) (Lease, error) {
	if ack.kind == dhcpv4.MessageTypeNak {
		return Lease{}, c.nak(ack)
	}
	lease := newLease(ack, sent, c.DefaultLease)
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

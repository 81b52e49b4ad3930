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
	return newLease(r, sent, c.DefaultLease), nil
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
		return newLease(r, sent, c.DefaultLease), nil
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

package virtual

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/dhcpc"
	"ip88rig/rig/virtual/flash"
)

// boot is the handset from the boot loader's end to the next reboot or the cut
// of power. It joins the parts that live as long.
type boot struct {
	*device

	radio *radio
	both  bool // the cable beside the module is used too
	stop  context.CancelCauseFunc
	wake  chan struct{}  // something changed by hand, or the address
	tasks sync.WaitGroup // all end when the boot's context does

	link        *link
	net         *network
	clock       *clock
	provisioner *provisioner
	schedule    *schedule
	phone       *telephone
	resync      *resync
	web         *webManager

	// cycling says that a provisioning cycle runs.
	cycling atomic.Bool
	// retries is how often a cycle that the link has broken off is run again, and
	// broken that one waits for that, disregarding the flags as the first did.
	broken, forcedAgain bool
	retries             int

	mu     sync.Mutex   // guards below
	reset  []chan error // who wants a factory reset and to hear of it
	closed bool         // too late for that
}

// newBoot begins a boot, which stop ends.
func newBoot(d *device, r *radio, both bool, stop context.CancelCauseFunc) *boot {
	b := &boot{device: d, radio: r, both: both, stop: stop, wake: make(chan struct{}, 1), link: newLink()}
	b.phone = &telephone{device: d, version: d.version(), tasks: &b.tasks, stop: stop}
	b.resync = &resync{device: d, phone: b.phone, stop: stop, events: make(chan string, 1)}
	b.phone.notified = b.resync.notified
	b.web = &webManager{device: d, tasks: &b.tasks}
	return b
}

// live runs a boot. The error is that of the port. ready is called when a person can
// use the handset, and with nil when that is over.
func (b *boot) live(ctx, up context.Context, ready func(*boot)) error {
	b.log.Info("boot", "version", b.phone.version, "number", b.boots)
	c := &carrier{radio: b.radio, link: b.link, busy: b.cycling.Load, back: b.linkBack}
	change, err := c.associate(ctx)
	if err != nil {
		return err
	}
	b.cord.deaf.Store(false)
	b.cord.live.Store(true)
	ready(b)
	b.tasks.Go(func() { c.watch(up, change) }) // ends when up does
	reason, err := b.run(up, ctx)
	if owed, ok := errors.AsType[*reboot](err); ok {
		reason, err = owed.reason, nil
	}
	ready(nil)
	b.stop(errOver)
	b.phone.voice.end()
	b.web.on.end()
	b.tasks.Wait()
	reset := b.factoryReset(ctx)
	if reset {
		reason = "factory reset"
	}
	if ctx.Err() == nil && (err == nil || reset) {
		b.log.Info("reboot", "reason", reason)
		err = pause(ctx, b.wait(model.ShutdownTime))
	}
	b.cord.live.Store(false)
	if b.net != nil {
		err = errors.Join(err, b.net.host.Close())
	}
	return quiet(ctx, err)
}

// run is the guide's order; it returns why to reboot. The host lives as long as
// power does, all else as long as up.
func (b *boot) run(up, power context.Context) (reason string, err error) {
	version := b.phone.version
	if b.net, err = connect(up, power, b.device, b.link, version); err != nil {
		return "", err
	}
	b.clock = newClock(b.net, &b.tasks, b.nudge)
	b.provisioner = &provisioner{chooser: chooser{transports{device: b.device, net: b.net, clock: b.clock, version: version}}}
	b.schedule = &schedule{device: b.device, clock: b.clock}
	b.phone.net, b.web.net = b.net, b.net
	if b.both {
		b.cableToo(up)
	}
	b.tasks.Go(func() { // ends when up does, or the port fails
		select {
		case <-b.net.host.Done():
			b.stop(b.net.host.Err())
		case <-up.Done():
		}
	})
	b.tasks.Go(func() { // ends when up does
		if err := b.net.maintain(up, b.nudge); err != nil {
			b.stop(err)
		}
	})
	if b.mark(markHalf) != "" { // single-bank: the boot loader has an address, and nothing to start
		<-up.Done()
		return "", context.Cause(up)
	}
	b.web.adjust(up)

	var force bool
	b.memory.update(func(v *volatile) { force, v.force = v.force, false })
	if reason = b.cycle(up, force); reason != "" {
		return reason, nil
	}
	return b.stay(up)
}

// cableToo gets the phone's own socket an address, where that is used beside the
// module. Nothing else goes over it (assumed). It is called before anything else
// uses the network.
func (b *boot) cableToo(ctx context.Context) {
	cfg := b.net.dhcp
	cfg.MAC, cfg.Again, cfg.Seed = b.cfg.MAC, nil, b.seed(6)
	port := b.cord.openLAN(b.cfg.MAC)
	cfg.Port = port
	b.tasks.Go(func() { // ends with an address, without a server, or with the boot
		lease, err := dhcpc.Acquire(ctx, cfg, nil)
		b.log.Info("address of the cable beside the module", "addr", lease.Addr, "error", err)
		_ = port.Close() // always nil
	})
}

// linkBack has everything that waits for the network look again.
func (b *boot) linkBack(ctx context.Context) {
	if agent := b.phone.line(); agent != nil {
		_ = agent.Retry(ctx) // it has ended, and will register when it begins again
	}
	b.nudge()
}

// cycle is one provisioning cycle. One in which the link was lost and a file
// was not had for that is run again when the link is back, as often as the facts
// say.
func (b *boot) cycle(ctx context.Context, force bool) (reason string) {
	if b.has(defect.LinkLossSticks) && b.memory.read().linkLost {
		b.log.Info("no cycle after the loss of the link (defect)")
		b.schedule.last = time.Now()
		return ""
	}
	b.cycling.Store(true)
	defer b.cycling.Store(false)
	_, before, _ := b.link.state()
	reason = b.provisioner.provision(ctx, force)
	b.schedule.last = time.Now()
	up, losses, _ := b.link.state()
	lost := b.provisioner.failed && (losses != before || !up)
	switch {
	case !lost:
		b.broken, b.retries = false, 0
	case reason == "" && b.retries < b.cfg.Facts.Int(model.RetryCycle):
		b.broken, b.forcedAgain = true, force
		b.retries++
	default:
		b.broken = false
	}
	if b.has(defect.AsksTimeLate) {
		b.clock.askTimeNow(ctx)
	}
	return reason
}

// again is closed when a cycle that was broken off may be run again; nil for
// none.
func (b *boot) again() <-chan struct{} {
	if !b.broken {
		return nil
	}
	up, _, change := b.link.state()
	if !up {
		return change
	}
	now := make(chan struct{})
	close(now)
	return now
}

// nudge has stay look at the settings again.
func (b *boot) nudge() {
	select {
	case b.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// stay registers and goes on until there is a reason to reboot.
func (b *boot) stay(ctx context.Context) (reason string, err error) {
	var pending *string // the event of a check-sync that has not been followed
	for {
		b.web.adjust(ctx)
		b.phone.adjust(ctx)
		var ready <-chan struct{}
		if pending != nil {
			ready = b.resync.ready()
		}
		timer := time.NewTimer(min(b.schedule.untilSmartUpdate(), b.schedule.untilTime()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return "", context.Cause(ctx)
		case <-b.wake:
		case event := <-b.resync.events:
			b.log.Info("check-sync", "event", event, "in call", b.phone.busy())
			pending = &event
		case <-ready:
			event := *pending
			pending = nil
			if b.resync.rebootsFirst(event) {
				b.memory.update(func(v *volatile) { v.force = b.resync.forced() })
				timer.Stop()
				return "check-sync", nil
			}
			b.resync.running.Store(true)
			reason = b.cycle(ctx, b.resync.forced())
			b.resync.running.Store(false)
		case <-b.again():
			if up, _, _ := b.link.state(); up {
				b.log.Info("cycle once more: the link had broken it off", "time", b.retries)
				reason = b.cycle(ctx, b.forcedAgain)
			}
		case <-timer.C:
			if b.schedule.untilTime() <= 0 {
				b.clock.askAgain(ctx)
			}
			if b.schedule.untilSmartUpdate() <= 0 {
				b.log.Info("periodic re-sync")
				reason = b.cycle(ctx, false)
			}
		}
		timer.Stop()
		if reason != "" {
			return reason, nil
		}
	}
}

// askReset asks for a factory reset at the end of the boot, and ends it. done gets
// the outcome. It returns false when the boot is over already.
func (b *boot) askReset(done chan error) bool {
	b.mu.Lock()
	taken := !b.closed
	if taken {
		b.reset = append(b.reset, done)
	}
	b.mu.Unlock()
	if taken {
		b.stop(errors.New("factory reset by hand"))
	}
	return taken
}

// factoryReset does what was asked for by hand, unless power went first.
func (b *boot) factoryReset(ctx context.Context) bool {
	b.mu.Lock()
	waiting := b.reset
	b.reset, b.closed = nil, true
	b.mu.Unlock()
	if len(waiting) == 0 {
		return false
	}
	err := fmt.Errorf("factory reset: %w", errNoPower)
	powered := ctx.Err() == nil
	if powered {
		err = b.flash.Update(func(s *flash.State) {
			s.Factory()
			if b.has(defect.FactoryChecksOff) {
				for _, f := range b.cfg.Facts.Fields(model.MaskField) {
					s.Set(f, "0")
				}
			}
		})
		b.memory.update(func(v *volatile) { v.undo, v.uploaded = map[model.Field]*string{}, nil })
	}
	for _, w := range waiting {
		w <- err
	}
	return powered
}

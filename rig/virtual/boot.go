package virtual

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
)

// boot is the handset from the boot loader's end to the next reboot or the cut
// of power.
type boot struct {
	h       *Handset
	version string // that runs
	stop    context.CancelCauseFunc
	net     *network
	link    *link

	wake   chan struct{} // something changed by hand, or the address
	resync chan string   // a NOTIFY check-sync, by its event

	cycled time.Time // end of the last cycle
	agents uint64    // SIP agents so far
	// failed says that the transfer of a file has failed in the cycle, retries how
	// often a cycle that the link has broken off is run again, and broken that
	// one waits for that, disregarding the flags as the first did.
	failed, broken, forcedAgain bool
	retries                     int
	// resyncing says that a cycle runs because of a check-sync, cycling that one
	// runs.
	resyncing, cycling atomic.Bool
	// registered says that line 1 is.
	registered atomic.Bool

	tasks sync.WaitGroup // all end when the boot's context does
	voice *voice
	web   *manager

	mu     sync.Mutex   // guards below, and voice for others than run
	reset  []chan error // who wants a factory reset and to hear of it
	closed bool         // too late for that
}

// boot runs one boot. The error is that of the port.
func (h *Handset) boot(ctx context.Context) error {
	s := h.flash.Read()
	b := &boot{h: h, version: s.Running(), wake: make(chan struct{}, 1), resync: make(chan string, 1), link: newLink()}
	h.log.Info("boot", "version", b.version, "number", h.boots)
	change, err := h.associate(ctx)
	if err != nil {
		return err
	}
	h.cord.deaf.Store(false)
	h.cord.live.Store(true)
	var up context.Context
	up, b.stop = context.WithCancelCause(ctx)
	h.publish(b)
	b.task(func() { b.watchLink(up, change) }) // ends when up does
	reason, err := b.run(up, ctx)
	if owed, ok := errors.AsType[*reboot](err); ok {
		reason, err = owed.reason, nil
	}
	h.publish(nil)
	b.stop(errOver)
	b.stopServices()
	b.tasks.Wait()
	reset := b.factoryReset(ctx)
	if reset {
		reason = "factory reset"
	}
	if ctx.Err() == nil && (err == nil || reset) {
		h.log.Info("reboot", "reason", reason)
		err = h.pause(ctx, h.wait(model.ShutdownTime))
	}
	h.cord.live.Store(false)
	if b.net != nil {
		err = errors.Join(err, b.net.host.Close())
	}
	return quiet(ctx, err)
}

// pause waits while the host still runs.
func (*Handset) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Handset) publish(b *boot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current = b
	close(h.changed)
	h.changed = make(chan struct{})
}

// run is the guide's order; it returns why to reboot. The host lives as long as
// power does, all else as long as up.
func (b *boot) run(up, power context.Context) (reason string, err error) {
	if b.net, err = b.connect(up, power); err != nil {
		return "", err
	}
	b.cableToo(up)
	b.task(func() { // ends when up does, or the port fails
		select {
		case <-b.net.host.Done():
			b.stop(b.net.host.Err())
		case <-up.Done():
		}
	})
	b.task(func() { // ends when up does
		if err := b.net.maintain(up, b.nudge); err != nil {
			b.stop(err)
		}
	})
	if b.h.dead() { // single-bank: the boot loader has an address, and nothing to start
		<-up.Done()
		return "", context.Cause(up)
	}
	b.adjustWeb(up)

	b.h.mu.Lock()
	force := b.h.memory.force
	b.h.memory.force = false
	b.h.mu.Unlock()
	if reason = b.cycle(up, force); reason != "" {
		return reason, nil
	}
	return b.stay(up)
}

// reboot ends a boot from outside its own goroutine.
type reboot struct{ reason string }

func (r *reboot) Error() string { return "reboot: " + r.reason }

// cycle is one provisioning cycle. One in which the link was lost and a file
// was not had for that is run again when the link is back, as often as the facts
// say.
func (b *boot) cycle(ctx context.Context, force bool) (reason string) {
	h := b.h
	h.mu.Lock()
	sticks := h.memory.linkLost && h.cfg.Defects.Has(defect.LinkLossSticks)
	h.mu.Unlock()
	if sticks {
		h.log.Info("no cycle after the loss of the link (defect)")
		b.cycled = time.Now()
		return ""
	}
	b.cycling.Store(true)
	defer b.cycling.Store(false)
	b.failed = false
	_, before, _ := b.link.state()
	reason = b.provision(ctx, force)
	up, losses, _ := b.link.state()
	lost := b.failed && (losses != before || !up)
	switch {
	case !lost:
		b.broken, b.retries = false, 0
	case reason == "" && b.retries < h.cfg.Facts.Int(model.RetryCycle):
		b.broken, b.forcedAgain = true, force
		b.retries++
	default:
		b.broken = false
	}
	if h.cfg.Defects.Has(defect.AsksTimeLate) {
		b.net.askTimeNow(ctx)
	}
	return reason
}

// retry is closed when a cycle that was broken off may be run again; nil for
// none.
func (b *boot) retry() <-chan struct{} {
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

// task runs something that ends when the boot's context does.
func (b *boot) task(do func()) { b.tasks.Go(do) }

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
		b.adjustWeb(ctx)
		b.adjustVoice(ctx)
		var ready <-chan struct{}
		if pending != nil {
			ready = b.ready()
		}
		timer := time.NewTimer(min(b.untilSmartUpdate(), b.untilTime()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return "", context.Cause(ctx)
		case <-b.wake:
		case event := <-b.resync:
			b.h.log.Info("check-sync", "event", event, "in call", b.voice.busy())
			pending = &event
		case <-ready:
			event := *pending
			pending = nil
			if b.rebootsFirst(event) {
				b.h.mu.Lock()
				b.h.memory.force = b.forced()
				b.h.mu.Unlock()
				timer.Stop()
				return "check-sync", nil
			}
			b.resyncing.Store(true)
			reason = b.cycle(ctx, b.forced())
			b.resyncing.Store(false)
		case <-b.retry():
			if up, _, _ := b.link.state(); up {
				b.h.log.Info("cycle once more: the link had broken it off", "time", b.retries)
				reason = b.cycle(ctx, b.forcedAgain)
			}
		case <-timer.C:
			if b.untilTime() <= 0 {
				b.net.askAgain(ctx)
			}
			if b.untilSmartUpdate() <= 0 {
				b.h.log.Info("periodic re-sync")
				reason = b.cycle(ctx, false)
			}
		}
		timer.Stop()
		if reason != "" {
			return reason, nil
		}
	}
}

// ready is closed when a check-sync may be followed: when the handset is idle
// (8002).
func (b *boot) ready() <-chan struct{} {
	if b.h.cfg.Defects.Has(defect.ResyncsInCall) {
		now := make(chan struct{})
		close(now)
		return now
	}
	return b.voice.idle()
}

// forced tells whether a cycle after check-sync disregards the download flags (8002).
func (b *boot) forced() bool { return !b.h.cfg.Defects.Has(defect.ResyncHonoursFlags) }

// rebootsFirst tells whether this event reboots before the cycle: as the fact
// says, or as its reboot parameter does (assumed).
func (b *boot) rebootsFirst(event string) bool {
	for p := range strings.SplitSeq(event, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "reboot") {
			return strings.EqualFold(value, "true")
		}
	}
	return b.h.cfg.Facts.Yes(model.CheckSyncReboots)
}

// notified is what the SIP agent calls for a check-sync.
func (b *boot) notified(event string) {
	name, _, _ := strings.Cut(event, ";")
	known := strings.EqualFold(strings.TrimSpace(name), b.h.cfg.Facts.Text(model.CheckSyncEvent)) || b.h.cfg.Defects.Has(defect.AnyEventResyncs)
	if !known || b.h.cfg.Defects.Has(defect.IgnoresCheckSync) {
		return
	}
	if !b.registered.Load() && b.h.cfg.Defects.Has(defect.UnregisteredNotifyReboots) {
		b.stop(&reboot{"NOTIFY while unregistered (defect)"})
		return
	}
	if b.resyncing.Load() && b.h.cfg.Defects.Has(defect.FloodReboots) {
		b.stop(&reboot{"NOTIFY in a cycle (defect)"})
		return
	}
	select {
	case b.resync <- event:
	default: // one is waiting already, and covers this one
	}
}

// never is longer than any boot.
const never = 1000 * time.Hour

// untilSmartUpdate is the time to the periodic check (68). That of an interval
// is rounded up to the shortest one, and divided like every wait. The daily one
// is at an hour of the handset's clock, so nothing is divided, and it does not
// come while the time is not known (assumed). Nobody is asked to confirm.
func (b *boot) untilSmartUpdate() time.Duration {
	set := b.h.settings()
	if !set.enabled(smartUse) || b.h.cfg.Defects.Has(defect.NoPeriodicResync) {
		return never
	}
	if set.text(smartType) == "1" {
		every := max(time.Duration(set.number(smartEvery))*time.Second, b.h.cfg.Facts.Duration(model.SmartUpdateShortest))
		return time.Until(b.cycled.Add(time.Duration(float64(every) / b.h.cfg.Factor)))
	}
	now, timed := b.net.now()
	if !timed {
		return never
	}
	last := now.Add(-time.Since(b.cycled))
	return nextHour(last.In(b.net.zone(set)), set.number(smartTime)).Sub(now)
}

// nextHour is the next time after t that it is so many hours past midnight.
func nextHour(t time.Time, hour int) time.Time {
	next := time.Date(t.Year(), t.Month(), t.Day(), hour, 0, 0, 0, t.Location())
	if !next.After(t) {
		next = next.AddDate(0, 0, 1)
	}
	return next
}

// untilTime is the time to the next question for the time, as the field interval
// says in hours (68), divided like every wait.
func (b *boot) untilTime() time.Duration {
	every := time.Duration(b.h.settings().number(timeInterval)) * time.Hour
	last := b.net.lastAsked()
	if every <= 0 || last.IsZero() {
		return never
	}
	return time.Until(last.Add(time.Duration(float64(every) / b.h.cfg.Factor)))
}

// stopServices ends what has a context of its own.
func (b *boot) stopServices() {
	b.voice.end()
	b.web.end()
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
	if ctx.Err() != nil {
		answer(waiting, fmt.Errorf("factory reset: %w", errNoPower))
		return false
	}
	h := b.h
	err := h.flash.Update(func(s *flash.State) {
		s.Factory()
		if h.cfg.Defects.Has(defect.FactoryChecksOff) {
			for _, f := range h.cfg.Facts.Fields(model.MaskField) {
				s.Set(f, "0")
			}
		}
	})
	h.mu.Lock()
	h.memory.undo = map[model.Field]*string{}
	h.memory.uploaded = nil
	h.mu.Unlock()
	answer(waiting, err)
	return true
}

func answer(waiting []chan error, err error) {
	for _, w := range waiting {
		w <- err
	}
}

package virtual

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
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

	wake   chan struct{} // something changed by hand, or the address
	resync chan string   // a NOTIFY check-sync, by its event

	cycled time.Time // end of the last cycle
	agents uint64    // SIP agents so far

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
	b := &boot{h: h, version: s.Running(), wake: make(chan struct{}, 1), resync: make(chan string, 1)}
	h.log.Info("boot", "version", b.version, "number", h.boots)
	if h.cfg.Module != nil {
		if err := h.rest(ctx, h.wait(model.WiFiAssociationTime), nil); err != nil {
			return err
		}
	}
	h.cord.live.Store(true)
	var up context.Context
	up, b.stop = context.WithCancelCause(ctx)
	h.publish(b)
	reason, err := b.run(up, ctx)
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
	if reason = b.provision(up, force); reason != "" {
		return reason, nil
	}
	return b.stay(up)
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
		timer := time.NewTimer(b.untilSmartUpdate())
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
			reason = b.provision(ctx, b.forced())
		case <-timer.C:
			if b.untilSmartUpdate() <= 0 {
				b.h.log.Info("periodic re-sync")
				reason = b.provision(ctx, false)
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
	if !strings.EqualFold(strings.TrimSpace(name), b.h.cfg.Facts.Text(model.CheckSyncEvent)) || b.h.cfg.Defects.Has(defect.IgnoresCheckSync) {
		return
	}
	select {
	case b.resync <- event:
	default: // one is waiting already, and covers this one
	}
}

// untilSmartUpdate is the time to the periodic check (68) of an interval, which
// is rounded up to one hour and divided like every wait. The daily check at an
// hour of the clock is not simulated.
func (b *boot) untilSmartUpdate() time.Duration {
	const never = 1000 * time.Hour
	set := b.h.settings()
	if !set.enabled(smartUse) || set.text(smartType) != "1" {
		return never
	}
	every := max(time.Duration(set.number(smartEvery))*time.Second, time.Hour)
	return time.Until(b.cycled.Add(time.Duration(float64(every) / b.h.cfg.Factor)))
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

package virtual

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// outagesOf returns how often the power of a supply has gone, 0 where it does not
// count.
func outagesOf(s Supply) uint64 {
	if o, ok := s.(outages); ok {
		return o.Outages()
	}
	return 0
}

// awaitPower waits for power.
func awaitPower(ctx context.Context, d *device) error {
	for d.cfg.Supply != nil {
		change := d.cfg.Supply.Watch()
		if d.cfg.Supply.Power() {
			break
		}
		if err := d.rest(ctx, 0, change); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// watchPower takes the handset off the wire and calls cut when power goes, or has
// gone since seen outages.
func watchPower(ctx context.Context, d *device, seen uint64, cut context.CancelCauseFunc) {
	if d.cfg.Supply == nil {
		return
	}
	for {
		change := d.cfg.Supply.Watch()
		if !d.cfg.Supply.Power() || outagesOf(d.cfg.Supply) != seen {
			d.cord.live.Store(false)
			cut(errNoPower)
			return
		}
		select {
		case <-change:
		case <-ctx.Done():
			return
		}
	}
}

// rest lets a time pass, or waits for until if there is one; frames that come
// meanwhile are dropped. The error is ctx's or the port's.
func (d *device) rest(ctx context.Context, long time.Duration, until <-chan struct{}) error {
	deaf, stop := context.WithCancel(ctx)
	var failure error
	failed := make(chan struct{})
	go func() { // ends by stop, or when the port fails
		defer close(failed)
		for failure == nil {
			_, failure = d.cfg.Port.Receive(deaf)
		}
	}()
	var timer <-chan time.Time
	if until == nil {
		t := time.NewTimer(long)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case <-timer:
	case <-until:
	case <-failed:
		stop()
		if ctx.Err() == nil {
			return fmt.Errorf("virtual: handset %s: %w", d.MAC(), failure)
		}
		return ctx.Err()
	}
	stop()
	<-failed
	return ctx.Err()
}

var (
	errNoPower = errors.New("power is off")
	errOver    = errors.New("handset is no longer run")
)

// reboot ends a boot from outside its own goroutine.
type reboot struct{ reason string }

func (e *reboot) Error() string { return "reboot: " + e.reason }

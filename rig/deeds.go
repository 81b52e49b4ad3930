package rig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
)

// deeds are what faults do to the bench, as long as it lasts.
type deeds struct {
	// acting is held while a deed begins, so that what ends all knows of it.
	acting sync.Mutex

	mu    sync.Mutex
	batch *batch
	// closed says that no deed lasts from now on, and so does closing to who waits;
	// nil: nobody has.
	closed  bool
	closing chan struct{}
	// downs is how many hold the link down, and away how many hold the handset to
	// be away, be it for its link or for its access point.
	downs, away int
	failed      []string
}

// batch are the deeds that are undone together.
type batch struct {
	cancels []context.CancelFunc
	running sync.WaitGroup
}

// start runs a deed that lasts. It is over when do returns, and do returns, with
// everything as it was before, soon after its context has ended; an access point's
// in its own time, see ask.
func (d *deeds) start(ctx context.Context, do func(context.Context)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	if d.closed {
		cancel() // do has only to undo what was done
	}
	if d.batch == nil {
		d.batch = &batch{}
	}
	b := d.batch
	b.cancels = append(b.cancels, cancel)
	// Ends with ctx at the latest.
	b.running.Go(func() {
		defer cancel()
		do(ctx)
	})
}

// end has everything undone and waits for it.
func (d *deeds) end() {
	d.acting.Lock()
	defer d.acting.Unlock()
	d.mu.Lock()
	b := d.batch
	d.batch = nil
	d.mu.Unlock()
	if b == nil {
		return
	}
	for _, cancel := range b.cancels {
		cancel()
	}
	b.running.Wait()
}

// close is end, after which no deed lasts. What takes its time is in a hurry from
// now on.
func (d *deeds) close() {
	closing := d.closes()
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(closing)
	}
	d.mu.Unlock()
	d.end()
}

// closes is closed once close begins.
func (d *deeds) closes() chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing == nil {
		d.closing = make(chan struct{})
	}
	return d.closing
}

func (d *deeds) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

func (d *deeds) trouble(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = append(d.failed, text)
}

// troubles are the deeds that were not done as told, since forget.
func (d *deeds) troubles() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.failed)
}

func (d *deeds) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = nil
}

// pause waits; it is false if ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// act does what a fault does to the bench. It runs where the service stands that
// met the fault, which then goes on.
func (l *Lane) act(ctx context.Context, d fault.Deed, sentence string) {
	l.deeds.acting.Lock()
	defer l.deeds.acting.Unlock()
	l.Recorder.Record(timeline.Event{By: impair.By, Kind: timeline.FaultFired, Reason: sentence})
	switch d := d.(type) {
	case impair.LinkDown:
		l.dropLink(sentence, d.For)
		l.deeds.start(ctx, func(ctx context.Context) {
			pause(ctx, d.For)
			l.raiseLink()
		})
	case impair.PowerCut:
		cut := func(ctx context.Context) error {
			if !pause(ctx, d.After) {
				return nil
			}
			return l.Power.Off(ctx)
		}
		var done error
		prompt := d.After == 0 && l.promptPower()
		if prompt {
			done = cut(ctx) // so that the service does nothing more with a handset that is off
		}
		l.deeds.start(ctx, func(ctx context.Context) {
			if !prompt {
				done = cut(ctx)
			}
			l.returnPower(ctx, done, d.For)
		})
	case impair.Phase:
		l.bad.SetPhase(d.Name)
	case impair.Air:
		l.disturb(ctx, d, nil)
	case disturbance:
		l.disturb(ctx, d.Air, d.over)
	}
}

// promptPower tells a supply that is switched in no time.
func (l *Lane) promptPower() bool {
	return l.Handset.Simulated && l.Handset.Power.Kind != "command" && l.Handset.Power.Kind != "operator"
}

// returnPower gives the power back that was cut, after a while.
func (l *Lane) returnPower(ctx context.Context, cut error, after time.Duration) {
	var back error
	if cut == nil && pause(ctx, after) {
		if l.supply.off.Load() {
			back = l.Power.On(ctx)
		}
	}
	// Whatever came in between: no handset is left without power.
	if l.supply.off.Load() {
		back = errors.Join(back, l.restore())
	}
	if err := errors.Join(cut, back); err != nil && ctx.Err() == nil {
		l.deeds.trouble("a power cut that a fault asked for went wrong: " + strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// dropLink takes the link of the handset away: in memory its port's, elsewhere the
// rig neither sends nor hears.
func (l *Lane) dropLink(why string, d time.Duration) {
	l.deeds.mu.Lock()
	defer l.deeds.mu.Unlock()
	reason := fmt.Sprintf("for %v", d)
	if l.sw == nil {
		reason += ", emulated: the handset keeps its link, and the rig neither sends nor hears"
	}
	l.goesAway(reason)
	l.deeds.downs++
	if l.deeds.downs > 1 {
		return
	}
	l.bad.SetLink(false, why)
	if l.sw != nil {
		l.sw.SetLink(false)
		if l.air != nil {
			l.air.Off() // the access point is on this cable, and goes with it
		}
	}
}

// raiseLink undoes one dropLink; the last one brings the link back.
func (l *Lane) raiseLink() {
	l.deeds.mu.Lock()
	defer l.deeds.mu.Unlock()
	// Before it is done: the handset may be quicker than the journal.
	l.comesBack()
	l.deeds.downs--
	if l.deeds.downs > 0 {
		return
	}
	l.bad.SetLink(true, "")
	if l.sw != nil {
		l.sw.SetLink(true)
		if l.air != nil {
			l.air.On()
		}
	}
}

// goesAway notes that the handset is away because of the rig, so that what it
// does to come back is not taken for a reboot; the lock is held.
func (l *Lane) goesAway(reason string) {
	l.deeds.away++
	if l.deeds.away == 1 {
		l.Recorder.Record(timeline.Event{By: impair.By, Kind: timeline.LinkDown, Reason: reason})
	}
}

// comesBack undoes one goesAway; the lock is held.
func (l *Lane) comesBack() {
	l.deeds.away--
	if l.deeds.away == 0 {
		l.Recorder.Record(timeline.Event{By: impair.By, Kind: timeline.LinkUp})
	}
}

// WirePhase names the phase that the wire is in from now on, for faults that are
// bound to one by During; empty is none.
func (l *Lane) WirePhase(name string) {
	l.given("wire phase", name, name)
	l.bad.SetPhase(name)
}

// Calm takes every fault out of force and undoes what lasts: link and power are
// back, the wire has no phase, and what it, the name server or the time server held
// back is on its way. It returns how often each rule fired, and writes into the
// journal how often the wire's did.
func (l *Lane) Calm() []fault.Count {
	counts := l.Faults.Clear()
	l.mend()
	return counts
}

// mend makes the bench and the wire as good as they were.
func (l *Lane) mend() {
	l.deeds.end()
	if len(l.Faults.Ledger()) > 0 {
		l.bad.Sum() // there are rules that stay
		return
	}
	l.bad.Calm()
	for _, release := range l.late {
		release()
	}
	if l.impaired != nil {
		l.impaired.Release()
	}
}

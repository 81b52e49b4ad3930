// Package timeline holds what a run is judged from: the events of one lane in
// order, the facts that they prove about the handset, and windows on them.
//
// A timeline is a pure fold of its events: the same events in the same order
// give the same numbers and the same derived facts, live and offline, so that
// a judgement can be made again years later from the recording alone. Nothing
// here reads a clock. The package imports the standard library only.
package timeline

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says whose timeline it is.
type Config struct {
	// HandsetMACs are the handset's own addresses (phone and WiFi module),
	// lower case with colons. Only what they send or are sent derives facts.
	HandsetMACs []string
	// ServerMACs are the rig's own addresses on the same wire.
	ServerMACs []string
	// Now is the clock of a lane in virtual time, where an event is here at the very
	// instant of its stamp, or right after it: the watermark follows the clock by
	// itself, and wakes those that wait for the end of a window. Those that wait for
	// an event are woken soon after it, at an instant at which nothing else is done,
	// so that what they see then does not depend on the scheduler. Nil: Advance moves
	// the watermark, and events wake at once.
	Now func() time.Time
}

// Timeline holds the events of one recording in order. It is safe for use by
// several goroutines; Add is called by the recorder only, under its lock, which
// is what makes the order the recorded one.
type Timeline struct {
	handset []string
	now     func() time.Time // Config.Now

	mu        sync.Mutex
	events    Log
	watermark time.Time
	// changed is closed at the next event, notable at the next one that is not a block
	// in the middle of a transfer. Each is nil while nobody waits for it.
	changed, notable chan struct{}
	derive           *deriver
	// alarm wakes the waiters at the time of next; zero: no time is waited for.
	alarm *time.Timer
	next  time.Time
}

// New returns an empty timeline.
func New(cfg Config) *Timeline {
	macs := make([]string, 0, len(cfg.HandsetMACs))
	for _, m := range cfg.HandsetMACs {
		macs = append(macs, strings.ToLower(m))
	}
	return &Timeline{handset: macs, now: cfg.Now, derive: newDeriver(macs)}
}

// Add appends an event and, right after it, the facts that it proves, and
// wakes those that wait. It returns the event's Seq. An event with By Derived is
// kept as it is and proves nothing more. The event's Fields must not be changed
// afterwards.
func (t *Timeline) Add(e Event) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.At = e.At.Round(0) // the recording holds wall time only
	e.Seq = t.events.Len() + 1
	t.events.add(&e)
	notable := !onItsWay(&e)
	if e.By != Derived {
		for _, fact := range t.derive.fold(&e) {
			fact.Seq = t.events.Len() + 1
			fact.By = Derived
			fact.At, fact.Frame, fact.After = e.At, e.Frame, e.After
			t.events.add(&fact)
			notable = true
		}
	}
	if notable || t.changed != nil {
		t.wake()
	}
	return e.Seq
}

// Advance moves the watermark: no event with an earlier At comes any more. It
// never moves back and never adds an event, so that nothing derived depends on
// when it was called.
func (t *Timeline) Advance(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now = now.Round(0); now.After(t.watermark) {
		t.watermark = now
		t.wake()
	}
}

// wake wakes those that wait, in virtual time a little later; the lock is held.
func (t *Timeline) wake() {
	switch {
	case t.changed == nil && t.notable == nil:
	case t.now == nil:
		t.wakeNow()
	default:
		t.wakeAfter(t.now())
	}
}

// wakeNow wakes those that wait; the lock is held.
func (t *Timeline) wakeNow() {
	for _, c := range []*chan struct{}{&t.changed, &t.notable} {
		if *c != nil {
			close(*c)
			*c = nil
		}
	}
}

// follow moves the watermark to the time of the clock, if there is one: an event of
// this very instant may still come. The lock is held.
func (t *Timeline) follow() {
	if t.now == nil {
		return
	}
	if mark := t.now().Round(0).Add(-time.Nanosecond); mark.After(t.watermark) {
		t.watermark = mark
	}
}

// WakeAt wakes those that wait for a change once the watermark has passed a time,
// or before: a caller that has to wait longer calls it again. It is for virtual
// time: elsewhere the watermark wakes them whenever it moves.
func (t *Timeline) WakeAt(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now != nil {
		t.wakeAfter(at)
	}
}

// quiet is the instant in each turn of so many nanoseconds at which waiting is
// ended: on a switch in memory frames arrive at the first ones of a turn, and what
// hosts send leaves right after. A millisecond is a number of whole turns, so
// timers that begin at one of these do not end at another.
const (
	turn  = 64
	quiet = 32
)

// wakeAfter wakes the waiters at the first quiet instant by which the watermark
// has passed a time; the lock is held.
func (t *Timeline) wakeAfter(at time.Time) {
	// One nanosecond brings the watermark to the time, the second past it.
	at = at.Add(2)
	at = at.Add(time.Duration((quiet - at.UnixNano()%turn + turn) % turn))
	if !t.next.IsZero() && !at.Before(t.next) {
		return
	}
	t.next = at
	if t.alarm != nil {
		t.alarm.Reset(at.Sub(t.now()))
		return
	}
	// Ends once it has woken them.
	t.alarm = time.AfterFunc(at.Sub(t.now()), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.now().Before(t.next) { // else it was moved meanwhile
			t.next = time.Time{}
		}
		t.wakeNow()
	})
}

// Watermark is the time before which nothing comes any more.
func (t *Timeline) Watermark() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.follow()
	return t.watermark
}

// Changed returns a channel that is closed at the next Add or Advance. Take it
// before looking, so that nothing is missed in between.
func (t *Timeline) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return promise(&t.changed)
}

// changedFor returns a channel that is closed at the next event that may be the
// fact. A block in the middle of a transfer closes it only if the fact can be one.
func (t *Timeline) changedFor(f Fact) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.Contains(f.Kinds, TFTPData) || slices.Contains(f.Kinds, TFTPAck) {
		return promise(&t.changed)
	}
	return promise(&t.notable)
}

func promise(c *chan struct{}) <-chan struct{} {
	if *c == nil {
		*c = make(chan struct{})
	}
	return *c
}

// Log returns all events so far.
func (t *Timeline) Log() Log {
	events, _ := t.snapshot()
	return events
}

// Events returns a copy of all events so far.
func (t *Timeline) Events() []Event { return t.Log().List() }

// Len is the number of events so far, which is also the last Seq.
func (t *Timeline) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.events.Len()
}

// HandsetMACs are the addresses of Config, in lower case.
func (t *Timeline) HandsetMACs() []string { return slices.Clone(t.handset) }

// snapshot shares the backing arrays: events are only ever appended.
func (t *Timeline) snapshot() (Log, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.follow()
	return t.events, t.watermark
}

// Carry returns a CarriedState event that holds what has been derived so far:
// lease, registrations, transfers under way, power. Added to an empty timeline,
// it makes that one go on where this one is. It is stamped with the time of the
// last event, or the watermark when that is later.
func (t *Timeline) Carry() Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.follow()
	at := t.watermark
	if n := t.events.Len(); n > 0 && t.events.At(n-1).At.After(at) {
		at = t.events.At(n - 1).At
	}
	return Event{At: at, By: "recorder", Kind: CarriedState, Fields: map[string]string{stateField: t.derive.encode()}}
}

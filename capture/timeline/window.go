package timeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// WindowSpec describes a window so that it can be rebuilt offline.
type WindowSpec struct {
	// From is the Seq of the event that the first window is anchored at; 0 is
	// before the first event.
	From int `json:"from"`
	// Steps lead from there to the window's own anchor.
	Steps []Step `json:"steps,omitempty"`
	// Within is the window's bound from its anchor; 0 is no bound.
	Within time.Duration `json:"within,omitempty"`
}

// Step is one After: the fact is looked for Within the parent's bound.
type Step struct {
	Within time.Duration `json:"within,omitempty"`
	After  Fact          `json:"after"`
}

// Window is a stretch of the timeline: what lies after an anchor event, as far
// as a bound in timeline time. Windows are values of the scenario: Within and
// After return new ones and change nothing.
//
// An event belongs to a window if it comes after the anchor in the timeline
// and its time is not later than the anchor's plus the bound. The window is
// closed as soon as the watermark has passed that time.
type Window struct {
	timeline *Timeline
	spec     WindowSpec

	mu     sync.Mutex
	cursor cursor
}

// View is what a window shows at one moment. It is a value.
type View struct {
	// Events are those of the window, in order.
	Events Log
	// Brief are those of the window without the blocks of transfers that are on
	// their way (DATA, and ACK that completes nothing): what judging often reads.
	Brief Log
	// All is everything up to now.
	All Log
	// Spoilt says why nothing can be concluded from the absence of an event in
	// All: frames were lost, or the clock was stepped. Else it is empty.
	Spoilt string
	// From is the Seq of the anchor event.
	From int
	// Anchored reports whether the window has begun: every After was reached.
	Anchored bool
	// Closed reports that no further event can belong to the window.
	Closed bool
	// Upto is how many events the timeline had.
	Upto int
	// Watermark is that of the timeline.
	Watermark time.Time
	// Anchor is the time of the anchor event; Bound counts from it (0: none).
	Anchor time.Time
	Bound  time.Duration
	// Missing names the fact that an After waits for, or waited for in vain.
	Missing string
	// HandsetMACs are the handset's own addresses, lower case.
	HandsetMACs []string
}

// Mark returns a window from now on: anchored at the last event, whose time its
// bound counts from. Record the verb first, so that this is it; where others
// may record in between, give the Seq of the verb to Since.
func (t *Timeline) Mark() *Window { return t.Since(t.Len()) }

// Since returns the window after the event with that Seq.
func (t *Timeline) Since(seq int) *Window { return t.WindowAt(WindowSpec{From: seq}) }

// WindowAt rebuilds a window from its description.
func (t *Timeline) WindowAt(spec WindowSpec) *Window {
	spec.Steps = slices.Clone(spec.Steps)
	return &Window{timeline: t, spec: spec, cursor: cursor{spec: spec}}
}

// Spec describes the window.
func (w *Window) Spec() WindowSpec {
	s := w.spec
	s.Steps = slices.Clone(s.Steps)
	return s
}

// Within returns the window with a bound in timeline time from its anchor,
// which replaces a bound it had; 0 takes the bound away.
func (w *Window) Within(d time.Duration) *Window {
	s := w.Spec()
	s.Within = max(d, 0)
	return w.timeline.WindowAt(s)
}

// After returns the window after the first event of w that is f. The bound of
// w limits the search for f; the new window has no bound of its own yet. If w
// closes without f, the new window is closed and was never anchored.
func (w *Window) After(f Fact) *Window {
	s := w.Spec()
	s.Steps = append(s.Steps, Step{Within: s.Within, After: f})
	s.Within = 0
	return w.timeline.WindowAt(s)
}

// View returns what the window shows now.
func (w *Window) View() View {
	events, watermark := w.timeline.snapshot()
	w.mu.Lock()
	defer w.mu.Unlock()
	if events.Len() < w.cursor.scanned { // a snapshot older than that of another caller
		return w.viewAt(events, watermark)
	}
	v := w.cursor.view(events, watermark, w.timeline.handset)
	if bound := w.cursor.bound(); w.cursor.started && !v.Closed && bound > 0 {
		w.timeline.WakeAt(w.cursor.anchor.Add(bound))
	}
	return v
}

// ViewAt returns what View returned when the timeline had upto events and that
// watermark. Judgements record both, so that they can be made again.
func (w *Window) ViewAt(upto int, watermark time.Time) View {
	events, _ := w.timeline.snapshot()
	return w.viewAt(events.only(events.index[:min(max(upto, 0), events.Len())]), watermark)
}

func (w *Window) viewAt(events Log, watermark time.Time) View {
	c := cursor{spec: w.spec}
	return c.view(events, watermark, w.timeline.handset)
}

// Closed reports that no further event can belong to the window.
func (w *Window) Closed() bool { return w.View().Closed }

// Changed returns a channel that is closed at the timeline's next change.
func (w *Window) Changed() <-chan struct{} { return w.timeline.Changed() }

// Await waits until an event of the window is f and returns it. It ends with an
// error that names what is missing as soon as the window closes without it, or
// with the cause when ctx ends. It is notified, it does not poll.
func (w *Window) Await(ctx context.Context, f Fact) (Event, error) {
	var scratch Event
	for next := 0; ; { // next is the first event not looked at
		changed := w.timeline.changedFor(f)
		v := w.View()
		for ; v.Anchored && next < v.Upto; next++ {
			e := v.All.read(next, &scratch)
			if e.Seq > v.From && !past(v.Anchor, v.Bound, e.At) && f.Is(e) {
				return *e, nil
			}
		}
		if v.Closed {
			return Event{}, &MissingError{Fact: f, View: v}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, &MissingError{Fact: f, View: v, Cause: context.Cause(ctx)}
		}
	}
}

// MissingError says that a window closed, or the waiting ended, before a fact
// was seen.
type MissingError struct {
	Fact Fact
	View View
	// Cause is why the waiting ended; nil: the window closed.
	Cause error
}

// Error names what was missing, and shows what was seen instead.
func (e *MissingError) Error() string {
	what := "not seen: " + e.Fact.String()
	if !e.View.Anchored && e.View.Missing != "" {
		what += ", because " + e.View.Missing + " was not reached before"
	}
	switch {
	case e.Cause != nil:
		what += ": " + e.Cause.Error()
	case e.View.Bound > 0:
		what += fmt.Sprintf(" within %v", e.View.Bound)
	}
	seen := e.View.Events
	if !e.View.Anchored {
		seen = e.View.All
	}
	if ladder := Ladder(seen); ladder != "" {
		what += "\n" + ladder
	}
	return what
}

// Unwrap returns the cause.
func (e *MissingError) Unwrap() error { return e.Cause }

// cursor computes views of one window. It keeps how far it has looked, so that
// a view costs no more than the events since the last one; a fresh cursor gives
// the same views.
type cursor struct {
	spec    WindowSpec
	scanned int // events looked at
	step    int // steps reached
	from    int // Seq of the anchor of the current step
	started bool
	anchor  time.Time
	cut     int     // index of the first event after the bound, once anchored; 0: none
	strays  []int32 // places of the window's events that come after the cut
	brief   []int32 // places of those that View.Brief shows
	checked int     // events looked at for spoilt
	spoilt  string
}

// view looks at what is new in events and shows the window.
func (c *cursor) view(events Log, watermark time.Time, handset []string) View {
	for ; c.spoilt == "" && c.checked < events.Len(); c.checked++ {
		if n := events.index[c.checked]; n >= 0 {
			if k := events.whole[n].Kind; k == FramesLost || k == ClockStepped {
				c.spoilt = string(k)
			}
		}
	}
	c.begin(events)
	var scratch Event
	for ; c.started && c.scanned < events.Len(); c.scanned++ {
		c.look(events.read(c.scanned, &scratch), events.index[c.scanned])
	}
	v := View{
		All: events, Upto: events.Len(), Spoilt: c.spoilt, Watermark: watermark, HandsetMACs: handset,
		Anchored: c.started && c.step == len(c.spec.Steps), Bound: c.spec.Within,
	}
	if !c.started {
		v.Missing = "the event that the window begins at"
		return v
	}
	v.Closed = past(c.anchor, c.bound(), watermark)
	if !v.Anchored {
		v.Missing = c.spec.Steps[c.step].After.String()
		if d := c.spec.Steps[c.step].Within; d > 0 && v.Closed {
			v.Missing += fmt.Sprintf(" (within %v)", d)
		}
		return v
	}
	v.From, v.Anchor, v.Brief = c.from, c.anchor, events.only(c.brief)
	end := events.Len()
	if c.cut > 0 {
		end = c.cut
	}
	index := events.index[c.from:end]
	if len(c.strays) > 0 {
		index = slices.Concat(index, c.strays)
	}
	v.Events = events.only(index)
	return v
}

// begin anchors the first window once its event is there. A window from before
// the first event is anchored in time at the first event.
func (c *cursor) begin(events Log) {
	if c.started || events.Len() < max(c.spec.From, 1) || c.spec.From < 0 {
		return
	}
	c.started = true
	c.from, c.scanned = c.spec.From, c.spec.From
	c.anchor = events.At(max(c.from, 1) - 1).At
}

// bound is that of the current step.
func (c *cursor) bound() time.Duration {
	if c.step < len(c.spec.Steps) {
		return c.spec.Steps[c.step].Within
	}
	return c.spec.Within
}

// look takes the event at a place in.
func (c *cursor) look(e *Event, place int32) {
	inside := !past(c.anchor, c.bound(), e.At)
	if c.step < len(c.spec.Steps) {
		if inside && c.spec.Steps[c.step].After.Is(e) {
			c.step++
			c.from, c.anchor = e.Seq, e.At
		}
		return
	}
	if inside && !onItsWay(e) {
		c.brief = append(c.brief, place)
	}
	switch {
	case !inside && c.cut == 0:
		c.cut = c.scanned
	case inside && c.cut > 0:
		c.strays = append(c.strays, place)
	}
}

// past reports whether t lies after the bound; without a bound it never does.
func past(anchor time.Time, bound time.Duration, t time.Time) bool {
	return bound > 0 && t.After(anchor.Add(bound))
}

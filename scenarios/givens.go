package scenarios

import (
	"context"
	"strings"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/report"
)

// A given is proven, not hoped: what a handset did where the rig had not brought
// about what it said is held against nobody. Declared faults are no lapses, and
// what the handset never came to need is none: see timeline.Lapses.

// lapse is the first given that was not brought about by the time a view was
// taken; nil: all were, as far as the handset came to need them.
func lapse(all []timeline.Lapse, upto int) *timeline.Lapse {
	for i := range all {
		if all[i].Seq <= upto {
			return &all[i]
		}
	}
	return nil
}

// lapses are those of the recording at hand.
func (r *run) lapses() []timeline.Lapse {
	if tl := r.Lane.Recorder.Timeline(); tl != nil {
		return r.lapsing.Lapses(tl.Log(), tl.Watermark())
	}
	return nil
}

// excuse makes a judgement blocked by a given that had lapsed before it was made.
func excuse(j *report.Judgement, all []timeline.Lapse) bool {
	if j.Verdict == report.Inconclusive || j.Verdict == report.Blocked {
		return false
	}
	given := lapse(all, j.Upto)
	if given == nil {
		return false
	}
	j.Verdict, j.BlockedBy = report.Blocked, given.Given
	j.Reason = "blocked by " + given.String()
	return true
}

// decide waits until each question has had the time to be answered in.
func (r *run) decide(ctx context.Context) {
	tl := r.Lane.Recorder.Timeline()
	limit := time.After(2 * time.Second)
	for {
		changed := tl.Changed()
		if !timeline.Undecided(tl.Log(), tl.Watermark()) {
			return
		}
		tl.WakeAt(tl.Watermark().Add(10 * time.Millisecond))
		select {
		case <-changed:
		case <-limit:
			return
		case <-ctx.Done():
			return
		}
	}
}

// prove holds the givens of the whole spec against its recording, once that is
// complete: what an open question had left undecided is settled. The verdicts
// that change are written into the journal again.
func (r *run) prove(ctx context.Context) {
	r.decide(ctx)
	all := r.lapses()
	if len(all) == 0 {
		return
	}
	res := &r.spec.result
	for i := range res.Judgements {
		j := &res.Judgements[i]
		if !excuse(j, all) {
			continue
		}
		r.Lane.Note(j.Row + " is " + j.Reason)
	}
	r.known.spoil(all[0].String())
	if why := "blocked by " + all[0].String(); res.Verdict == report.Blocked && res.Reason != why {
		// What blocked it came of the given.
		res.BlockedBy, res.Reason = all[0].Given, why+"; then "+res.Reason
	}
}

// retract makes what was judged since the faults last ended inconclusive.
func (r *run) retract(why string) {
	js := r.spec.result.Judgements
	for i := range js[r.spec.calmed:] {
		j := &js[r.spec.calmed+i]
		j.Verdict, j.Reason, j.BlockedBy = report.Inconclusive, "inconclusive: "+why, ""
	}
}

// tellOutcome writes into the recording why nothing was judged in the end, where
// no judgement says so.
func (r *run) tellOutcome() {
	switch res := r.spec.result; {
	case len(r.spec.troubles) > 0:
		r.Lane.Note("this spec is inconclusive: " + strings.Join(r.spec.troubles, "; "))
	case res.Verdict != "":
		r.Lane.Note("this spec is " + string(res.Verdict) + ": " + res.Reason)
	}
}

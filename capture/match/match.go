// Package match holds what scenarios say of a handset: matchers on a window of
// the timeline.
//
// Every matcher is a plain value that can be written down as JSON, and judges a
// view of the timeline as a pure function, so that a judgement can be made
// again offline:
//
//	verdict := match.RebootOnce().Judge(window.ViewAt(upto, watermark))
//
// A matcher that says that something never happens, or that nothing else does,
// judges only once it can: when the window has closed, or when the handset has
// registered or rebooted behind its last request, which is how a download cycle
// is known to be over.
package match

import (
	"fmt"
	"strings"

	"ip88rig/capture/timeline"
)

// Matcher is one claim about the handset. Only this package makes them.
type Matcher interface {
	// Name is how Encode writes it: the name of its constructor.
	Name() string
	// Claim completes the sentence "the handset is expected to …".
	Claim() string
	// Judge is a pure function of the view.
	Judge(v timeline.View) Verdict

	sealed()
}

// Verdict is what a matcher makes of a view.
type Verdict struct {
	// OK tells whether the claim holds in the view.
	OK bool `json:"ok"`
	// Final tells that no later event can change OK.
	Final bool `json:"final"`
	// Expected and Seen are the two columns of the table, line by line.
	Expected []string `json:"expected,omitempty"`
	Seen     []string `json:"seen,omitempty"`
	// Line is the line of the table that differs, from 1; 0: none.
	Line int `json:"line,omitempty"`
	// Problem says in one sentence why the claim does not hold; empty if it does.
	Problem string `json:"problem,omitempty"`
	// Findings are things seen beside that the claim does not speak of.
	Findings []string `json:"findings,omitempty"`
	// Unfit says why the recording allows no verdict, "frames lost": nothing
	// that rests on absence can be judged from it.
	Unfit string `json:"unfit,omitempty"`
	// NotReached names the fact that the window should have begun at and that
	// never came: a claim about what follows fails, and its negation cannot be
	// judged.
	NotReached string `json:"notreached,omitempty"`

	// presence is set by matchers whose OK needs only something that was seen.
	presence bool
}

// conclude is what all matchers have in common: a window that has not begun, a
// window that has closed, a recording that is unfit.
func conclude(v timeline.View, judge func(v timeline.View) Verdict) Verdict {
	if !v.Anchored {
		vd := judge(timeline.View{HandsetMACs: v.HandsetMACs})
		vd = Verdict{Expected: vd.Expected, Final: v.Closed, Problem: "the window has not begun: waiting for " + v.Missing}
		if v.Closed {
			vd.NotReached = v.Missing
			vd.Problem = v.Missing + " was not reached"
		}
		return vd
	}
	vd := judge(v)
	if v.Closed {
		vd.Final = true
	}
	if vd.OK {
		vd.Problem, vd.Line = "", 0
	}
	if v.Spoilt != "" && (!vd.OK || !vd.presence) {
		vd.Unfit, vd.OK = v.Spoilt, false
		vd.Final = vd.Final || !vd.presence
	}
	return vd
}

// over tells whether the handset is known to have gone on behind the event with
// that Seq: the window has closed, or it registered or rebooted.
func over(v timeline.View, behind int) bool {
	if v.Closed {
		return true
	}
	for e := range v.Brief.Backward() {
		if e.Seq <= behind {
			return false
		}
		if e.Kind == timeline.Registered || e.Kind == timeline.Rebooted {
			return true
		}
	}
	return false
}

// all returns the events of the kinds.
func all(v timeline.View, kinds ...timeline.Kind) []*timeline.Event {
	var out []*timeline.Event
	for e := range v.Brief.All() {
		for _, k := range kinds {
			if e.Kind == k {
				out = append(out, e)
			}
		}
	}
	return out
}

// lines describes events for the table.
func lines(events []*timeline.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = line(e)
	}
	return out
}

// line describes one event with where to find it.
func line(e *timeline.Event) string {
	words := timeline.Words(*e)
	if frame := fmt.Sprintf("(frame %d)", e.Frame); e.Frame > 0 && !strings.HasSuffix(words, frame) {
		return words + "  " + frame
	}
	return words
}

// count writes a number of times in words.
func count(n int) string {
	switch n {
	case 0:
		return "not at all"
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

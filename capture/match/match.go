// Package match holds the matchers of the scenarios: claims about a handset that
// are judged on a window of the timeline.
//
// Every matcher is a plain value that can be written as JSON, and judges a view of
// the timeline as a pure function, so that a judgement can be made again offline:
//
//	verdict := match.RebootOnce().Judge(window.ViewAt(upto, watermark))
//
// A matcher that says that something never happens, or that nothing else does,
// judges only once it can: when the window has closed, or when the handset has
// registered or rebooted after its last request, which is how a download cycle
// is known to be over.
package match

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ip88rig/capture/timeline"
)

// Matcher is one claim about the handset. Only this package makes them.
type Matcher interface {
	// Claim completes the sentence "the handset is expected to …".
	Claim() string
	// Judge is a pure function of the view.
	Judge(v timeline.View) Verdict

	// made returns what the journal holds of the matcher.
	made() params
}

// params are what a matcher was made with: a struct that is written to the
// journal as JSON, the sentence it stands for, and the function that judges.
type params interface {
	says() string
	judge(v timeline.View) Verdict
}

// claim is the matcher of the parameters P. A new matcher is a type of params, a
// constructor that returns claims of it, and its name in the registry of its
// file.
type claim[P params] struct{ with P }

// claims makes the matcher of some parameters.
func claims[P params](with P) Matcher { return claim[P]{with} }

// Claim implements Matcher.
func (c claim[P]) Claim() string { return c.with.says() }

// Judge implements Matcher.
func (c claim[P]) Judge(v timeline.View) Verdict { return conclude(v, c.with.judge) }

func (c claim[P]) made() params { return c.with }

// registry holds, by its name in the journal, a value of the type of each
// matcher's parameters or of each observation.
type registry[T any] map[string]T

// Verdict is the result of a matcher on a view.
type Verdict struct {
	// OK reports whether the claim holds in the view.
	OK bool `json:"ok"`
	// Final reports that no later event can change OK.
	Final bool `json:"final"`
	// Expected and Seen are the two columns of the table, line by line.
	Expected []string `json:"expected,omitempty"`
	Seen     []string `json:"seen,omitempty"`
	// Line is the line of the table that differs, from 1; 0: none.
	Line int `json:"line,omitempty"`
	// Problem says in one sentence why the claim does not hold; empty if it does.
	Problem string `json:"problem,omitempty"`
	// Findings are other things that were seen and that the claim does not cover.
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

// conclude judges, and adds what all matchers have in common: a window that has not
// begun, a window that has closed, a recording that is unfit.
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

// over reports whether the handset is known to have gone on after the event with
// that Seq: the window has closed, or it registered or rebooted.
func over(v timeline.View, seq int) bool {
	if v.Closed {
		return true
	}
	for e := range v.Brief.Backward() {
		if e.Seq <= seq {
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

// at reports whether an end is the one that is written as an address, or as an
// address with a port.
func at(want string, end netip.AddrPort) bool {
	if ap, err := netip.ParseAddrPort(want); err == nil {
		return ap.Port() == end.Port() && ap.Addr().Unmap() == end.Addr().Unmap()
	}
	a, err := netip.ParseAddr(want)
	return err == nil && a.Unmap() == end.Addr().Unmap()
}

// fromHandset reports whether the handset sent the frame of the event.
func fromHandset(v timeline.View, e *timeline.Event) bool {
	return e.By == timeline.Wire && slices.Contains(v.HandsetMACs, strings.ToLower(e.SrcMAC))
}

// first claims one event of the window.
func first(v timeline.View, expected, problem string, is func(e *timeline.Event) bool) Verdict {
	vd := Verdict{Expected: []string{expected}, Line: 1, Problem: problem, presence: true}
	for e := range v.Brief.All() {
		if is(e) {
			vd.OK, vd.Final, vd.Seen = true, true, []string{line(e)}
			return vd
		}
	}
	return vd
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

package scenarios

import (
	"fmt"
	"strings"
)

// Outcome is what became of a handset under one fault.
type Outcome string

// The outcomes, from good to bad.
const (
	// Unharmed: the cycle did what it was to do.
	Unharmed Outcome = "unharmed"
	// RecoveredItself: it did so later, without anybody's help.
	RecoveredItself Outcome = "recovered by itself"
	// RecoveredByRig: the rig had to start another cycle.
	RecoveredByRig Outcome = "recovered by the rig"
	// Lost: not even that helped.
	Lost Outcome = "lost"
	// Untried: the sweep ended before.
	Untried Outcome = "not tried"
)

// outcomes are those of the points of a range; blank where there is none yet.
type outcomes []Outcome

// enter notes what became of the handset at a point, and tells whether a sweep
// goes on: a handset that is lost and did not come home ends it, and so does one
// that is lost at two points after one another, for each costs the longest waits
// that there are.
func (o outcomes) enter(at int, out Outcome, home bool) bool {
	o[at] = out
	return home && (out != Lost || at == 0 || o[at-1] != Lost)
}

// table is a line for each point that has an outcome.
func (o outcomes) table(points []point) string {
	var b strings.Builder
	for i, out := range o {
		if out != "" {
			fmt.Fprintf(&b, "%-44s %s\n", points[i].name, out)
		}
	}
	return b.String()
}

// Edge is where a range changes: Last is the highest point that is known to come
// out From, First the lowest above it that is known to come out To.
type Edge struct {
	From, To    Outcome
	Last, First int
}

// edges are those of the points that were tried, from the low end.
func (o outcomes) edges() []Edge {
	var out []Edge
	last := 0
	for i, is := range o {
		if is == "" {
			continue
		}
		if is != o[last] {
			out = append(out, Edge{From: o[last], To: is, Last: last, First: i})
		}
		last = i
	}
	return out
}

// Bisection is where a range changes what becomes of a handset.
type Bisection struct {
	// From is the outcome at the low end, To that at the high one; blank where it
	// was not tried any more.
	From, To Outcome
	// Edges are the changes between them, from the low end.
	Edges []Edge
	// Wide says that it ended before the points at each edge were next to each
	// other: by --points, or because a lost handset did not come home.
	Wide bool
	// high is the last point.
	high int
}

// Harmless is the highest point that is known to leave the handset unharmed, from
// the low end on, and the lowest that is known not to; -1 where there is none.
func (b Bisection) Harmless() (last, first int) {
	switch {
	case b.From != Unharmed:
		return -1, 0
	case len(b.Edges) == 0:
		return b.high, -1
	}
	return b.Edges[0].Last, b.Edges[0].First
}

// bisection tries points from both ends and then in the middle of each gap whose
// ends came out differently, until there is none left or so many were tried
// besides the ends; below 0 is no bound. try tells what became of the handset and
// whether more can be tried.
func bisection(out outcomes, tries int, try func(int) (Outcome, bool)) Bisection {
	high := len(out) - 1
	at := func(i int) (more bool) {
		out[i], more = try(i)
		return more
	}
	more := at(0)
	if more && high > 0 {
		more = at(high)
	}
	middle := out.gap()
	for ; more && tries != 0 && middle > 0; tries-- {
		more = at(middle)
		middle = out.gap()
	}
	return Bisection{From: out[0], To: out[high], Edges: out.edges(), Wide: middle > 0 || out[high] == "", high: high}
}

// gap is the middle of the first edge that has points between; 0: none.
func (o outcomes) gap() int {
	for _, e := range o.edges() {
		if e.First-e.Last > 1 {
			return e.Last + (e.First-e.Last)/2
		}
	}
	return 0
}

// middles is how many values between the two ends may be tried where Options
// bound the points; below 0 is no bound.
func middles(points int) int {
	if points <= 0 {
		return -1
	}
	return max(points-2, 0)
}

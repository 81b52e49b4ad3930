package scenarios

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

// stress is one thing that goes wrong on purpose, and what must come of it
// besides a handset that works.
type stress struct {
	name  string
	rules []fault.Rule
	// whole: the cycle must do what it was to do all the same. never: what comes
	// is not the file, and must not be applied.
	// in part: not even HTTP or TFTP can tell that the file is not whole.
	whole, never, part bool
	// fact must be seen, behind after if that is set.
	fact, after *timeline.Fact
	// once names a file of which no block may be acknowledged more often than it
	// came.
	once string
}

func rules(r ...fault.Rule) []fault.Rule { return r }

// Survive is what is common to most of the "safe" rows. In each case a new line
// name is served while the faults are in force: the handset must register, as it
// was or as the new line, so that a file was applied whole or not at all. At the
// end the cycle without faults must bring the new line.
func (p *Phone) Survive(ctx context.Context, row string, cases []stress) {
	GinkgoHelper()
	for _, s := range cases {
		old, fresh := p.held(), p.SetLine()
		for _, r := range s.rules {
			p.Inject(r)
		}

		boot := p.PowerCycle(ctx)

		switch {
		case s.whole:
			Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(ShowCase(row, s.name+": it has its files whole", fresh))
		case s.part:
			Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(ShowCase(row, s.name+": it comes up", Register()))
		case s.never:
			Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(ShowCase(row, s.name+": it comes up as it was", RegisterAsOneOf(old)))
		default:
			Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(ShowCase(row, s.name+": it comes up, its files whole or not at all", RegisterAsOneOf(old, fresh)))
		}
		if s.fact != nil {
			w := boot.Within(p.Patience.Upgrade)
			if s.after != nil {
				w = w.After(*s.after).Within(p.Patience.Boot)
			}
			Eventually(ctx, w).Should(ShowCase(row, s.name+": "+s.fact.Name, Fire(*s.fact)))
		}
		if s.once != "" {
			Eventually(ctx, p.Quiet(boot)).Should(ShowCase(row, s.name, AckOncePerBlock(s.once)))
		}
		p.Calm()
	}
	p.Good(ctx, row, "the next good cycle")
}

// Good is a cycle without faults that must bring a new line name.
func (p *Phone) Good(ctx context.Context, row, name string) {
	GinkgoHelper()
	fresh := p.SetLine()
	next := p.PowerCycle(ctx)
	Eventually(ctx, next.Within(p.Patience.Boot)).Should(ShowCase(row, name, fresh))
}

// SetLine serves a fresh line name and a fresh registration period in the
// phone-specific file, the period in its last line, so that a part of the file
// shows as such.
func (p *Phone) SetLine() RegisterWith {
	GinkgoHelper()
	p.fresh++
	fresh := RegisterWith{User: p.FreshUser(), Expires: p.FreshExpires()}
	p.served.files[Own].Set("VOIP", "line1_name", fresh.User)
	last := voip("timer_register_expires")
	p.served.files[Global].Remove(last.Section, last.Name)
	p.served.files[Own].Remove(last.Section, last.Name)
	p.Set(Own, last, strconv.Itoa(fresh.Expires))
	return fresh
}

// held is how the handset has registered last in this spec, as golden has it
// before that.
func (p *Phone) held() RegisterWith {
	line := RegisterWith{User: p.user()}
	for _, e := range p.run.events() {
		if e.Kind == timeline.Registered {
			expires, err := strconv.Atoi(e.Fields["sip.Expires"])
			if err != nil {
				expires = 0 // then any will do
			}
			line = RegisterWith{User: e.Fields["sip.From.user"], Expires: expires}
		}
	}
	return line
}

// scaled is a time on a real network, divided as all waits of a simulated
// handset are.
func (p *Phone) scaled(d time.Duration) time.Duration {
	if h := p.lane.Handset; h.Simulated && h.Factor > 1 {
		return max(time.Duration(float64(d)/h.Factor), time.Millisecond)
	}
	return d
}

// Calm ends all faults. One that never fired makes the spec inconclusive: it
// did not test what its name says.
func (p *Phone) Calm() {
	GinkgoHelper()
	p.run.verb("calm", nil)
	for _, c := range p.lane.Calm() {
		if c.Fired == 0 {
			why := "a declared fault never fired: " + c.Rule.String()
			p.run.retract(why)
			p.run.inconclusive(why)
		}
	}
	p.run.spec.calmed = len(p.run.spec.result.Judgements)
}

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
)

// point is one value of a sweep.
type point struct {
	name string
	rule fault.Rule
}

// tried are the points of a sweep that are run: all, or as many as Options say,
// from both ends.
func tried[T any](points []T, n int) []T {
	if n <= 0 || n >= len(points) {
		return points
	}
	out := points[:0:0]
	for i := range n {
		out = append(out, points[i*(len(points)-1)/max(n-1, 1)])
	}
	return out
}

// Sweep runs one fault over a range, as one scenario: for each point a line name
// is changed and the fault put in force, and what becomes of the handset is
// entered in a table. A handset that is lost fails the row, as does one that
// holds a file in part.
func (p *Phone) Sweep(ctx context.Context, row string, points []point) {
	GinkgoHelper()
	points = tried(points, p.run.points())
	out := make([]Outcome, 0, len(points))
	for _, pt := range points {
		out = append(out, p.try(ctx, row, pt))
	}
	p.table(row, points, out)
	p.Good(ctx, row, "the next good cycle")
}

// table writes a sweep's outcomes down.
func (p *Phone) table(row string, points []point, out []Outcome) {
	var b strings.Builder
	for i, pt := range points {
		fmt.Fprintf(&b, "%-44s %s\n", pt.name, out[i])
	}
	p.run.passPending()
	p.lane.Note("outcomes of the sweep of " + row + ":\n" + b.String())
	AddReportEntry("outcomes of "+row, b.String(), ReportEntryVisibilityAlways)
}

// try is one point of a sweep.
func (p *Phone) try(ctx context.Context, row string, pt point) Outcome {
	GinkgoHelper()
	old, fresh := p.held(), p.SetLine()
	p.Inject(pt.rule)
	boot := p.PowerCycle(ctx)
	up := boot.Within(p.Patience.Boot)
	if p.sees(ctx, up, timeline.FactRegistered()) {
		Eventually(ctx, up).Should(ShowCase(row, pt.name+": its files whole or not at all", RegisterAsOneOf(old, fresh)))
	}
	p.Calm()
	// The new line comes at once, on its own, or after one more cycle.
	if fresh.Judge(boot.View()).OK {
		return Unharmed
	}
	if p.awaits(ctx, p.Quiet(boot), fresh) {
		return RecoveredItself
	}
	again := p.PowerCycle(ctx).Within(p.Patience.Boot)
	Eventually(ctx, again).Should(ShowCase(row, pt.name+": it is not lost", fresh))
	return RecoveredByRig
}

// sees waits for a fact; a window that closes without it is no failure.
func (p *Phone) sees(ctx context.Context, w *timeline.Window, f timeline.Fact) bool {
	GinkgoHelper()
	p.run.passPending()
	_, err := w.Await(ctx, f)
	if ctx.Err() != nil {
		p.run.inconclusive("interrupted: " + context.Cause(ctx).Error())
	}
	return err == nil
}

// awaits is sees for what a matcher tells.
func (p *Phone) awaits(ctx context.Context, w *timeline.Window, m Matcher) bool {
	GinkgoHelper()
	p.run.passPending()
	for {
		changed := w.Changed()
		v := w.View()
		switch verdict := m.Judge(v); {
		case verdict.OK:
			return true
		case v.Closed:
			return false
		}
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			p.run.inconclusive("interrupted: " + context.Cause(ctx).Error())
		}
	}
}

// Bisection is how far a handset comes through a range unharmed.
type Bisection struct {
	// From is the outcome at the low end, To that at the high one.
	From, To Outcome
	// Last is the highest point that is known to leave it unharmed, First the lowest
	// that is known not to; -1 where there is none.
	Last, First int
	// Wide says that --points ended it before the two were next to each other.
	Wide bool
}

// Bisect finds the point up to which a handset comes through a range unharmed,
// trying no more of them than it must, nor than Options say. The points stand in
// order, from what does the least harm.
func (p *Phone) Bisect(ctx context.Context, row string, points []point) Bisection {
	GinkgoHelper()
	var names []point
	var out []Outcome
	try := func(i int) Outcome {
		o := p.try(ctx, row, points[i])
		names, out = append(names, points[i]), append(out, o)
		return o
	}
	b := bisection(len(points)-1, middles(p.run.Points), try)
	p.table(row, names, out)
	p.Good(ctx, row, "the next good cycle")
	return b
}

// bisection is Bisect of the points from 0 to high.
func bisection(high, tries int, try func(int) Outcome) Bisection {
	b := Bisection{Last: -1, First: -1}
	b.From, b.To = try(0), try(high)
	switch {
	case b.From != Unharmed:
		b.First = 0
	case b.To == Unharmed:
		b.Last = high
	default:
		b.Last, b.First = bisect(0, high, tries, func(i int) bool { return try(i) == Unharmed })
		b.Wide = b.First-b.Last > 1
	}
	return b
}

// middles is how many values between the two ends may be tried where Options
// bound the points; below 0 is no bound.
func middles(points int) int {
	if points <= 0 {
		return -1
	}
	return max(points-2, 0)
}

// bisect narrows low and high, of which low is like it and high is not, until
// they are next to each other or so many values were tried; below 0 is no bound.
func bisect(low, high, tries int, like func(int) bool) (last, first int) {
	for ; high-low > 1 && tries != 0; tries-- {
		if middle := low + (high-low)/2; like(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low, high
}

package scenarios

import (
	"context"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/firmware"
)

// One fault over a range of values.

// point is one value of a sweep.
type point struct {
	name string
	rule fault.Rule
	// lasts is how much longer than a good one a boot under the fault may take.
	lasts time.Duration
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
// entered in a table. At the end a handset that was lost fails the row, as does
// one that has held a file in part.
func (p *Phone) Sweep(ctx context.Context, row string, points []point) {
	GinkgoHelper()
	points = tried(points, p.run.points())
	out := slices.Repeat(outcomes{Untried}, len(points))
	defer p.table(row, points, out) // also where the spec breaks off
	begun := len(p.run.spec.result.Judgements)
	for i, pt := range points {
		outcome, home := p.try(ctx, row, pt)
		if !out.enter(i, outcome, home) {
			break
		}
	}
	p.endCells(len(p.run.spec.result.Judgements) - begun)
	p.Good(ctx, row, "the next good cycle")
}

// table writes outcomes down. What is being judged stays so: a spec that has
// failed comes by here too.
func (p *Phone) table(row string, points []point, out outcomes) {
	text := out.table(points)
	p.lane.Note("outcomes of the sweep of " + row + ":\n" + text)
	AddReportEntry("outcomes of "+row, text, ReportEntryVisibilityAlways)
}

// try is one point of a sweep. A handset that is lost is brought home; home tells
// whether another point can be tried.
func (p *Phone) try(ctx context.Context, row string, pt point) (out Outcome, home bool) {
	GinkgoHelper()
	old, fresh := p.held(), p.SetLine()
	whole := RegisterAsOneOf(old).Until(fresh)
	p.stand()
	p.Inject(pt.rule)
	boot := p.PowerCycle(ctx)
	unharmed := false
	if up := boot.Within(p.Patience.Boot + pt.lasts); p.sees(ctx, up, timeline.FactRegistered()) {
		unharmed = fresh.Judge(up.View()).OK
		p.awaits(ctx, p.Quiet(boot), whole)
	}
	p.letFire(ctx)
	p.Calm()
	// The new line comes at once, on its own, or after one more cycle. Until the
	// power is cut again a part of a file may show, also when it comes up late.
	cycle := p.Quiet(boot)
	itself := unharmed || p.awaits(ctx, cycle, fresh)
	if Register().Judge(cycle.View()).OK {
		p.cell(ctx, row, pt.name+": its files whole or not at all", cycle, whole)
	}
	switch {
	case unharmed:
		return Unharmed, true
	case itself:
		return RecoveredItself, true
	}
	again := p.PowerCycle(ctx).Within(p.Patience.Boot)
	if p.cell(ctx, row, pt.name+": it is not lost", again, fresh) {
		p.cell(ctx, row, pt.name+": no part of its files was left", again, whole)
		return RecoveredByRig, true
	}
	return Lost, p.comeBack(ctx, pt.name)
}

// stand settles what was judged before a point: that its fault may never fire
// takes nothing back of it.
func (p *Phone) stand() {
	p.run.passPending()
	p.run.spec.calmed = len(p.run.spec.result.Judgements)
}

// letFire gives a fault that has not fired the time of a handset that settles: what
// a service does last it may do when the handset has gone on already.
func (p *Phone) letFire(ctx context.Context) {
	tl, limit := p.lane.Recorder.Timeline(), time.After(p.Patience.Settle)
	for {
		changed := tl.Changed()
		if !slices.ContainsFunc(p.lane.Faults.Ledger(), func(c fault.Count) bool { return c.Fired == 0 }) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			return
		case <-ctx.Done():
			return
		}
	}
}

// comeBack brings a lost handset home, by a setting that it has to take, and
// serves again what was served before.
func (p *Phone) comeBack(ctx context.Context, name string) bool {
	GinkgoHelper()
	was, dirty := p.served, p.run.known.dirty
	p.run.verb("go home", "it was lost: "+name)
	p.run.known.doubt = true
	if err := p.home(ctx, false); err != nil {
		if ctx.Err() != nil {
			p.run.inconclusive("interrupted: " + context.Cause(ctx).Error())
		}
		p.run.known.astray(err)
		p.lane.Note("no more is tried: " + err.Error())
		return false
	}
	p.served, p.run.known.dirty = was, dirty // the next cycle stores them again
	if v := was.version; v != nil {
		p.Publish(*v)
	} else {
		p.mustPublish()
	}
	p.Offer(was.offer)
	return true
}

// SweepUpgrade is Sweep for faults in an upgrade: what becomes of the handset is
// seen from the version that it runs.
func (p *Phone) SweepUpgrade(ctx context.Context, row string, points []point, golden, next firmware.Version) {
	GinkgoHelper()
	points = tried(points, p.run.points())
	out := slices.Repeat(outcomes{Untried}, len(points))
	defer p.table(row, points, out) // also where the spec breaks off
	begun := len(p.run.spec.result.Judgements)
	for i, pt := range points {
		outcome, home := p.tryUpgrade(ctx, row, pt, golden, next)
		if !out.enter(i, outcome, home) {
			break
		}
	}
	p.endCells(len(p.run.spec.result.Judgements) - begun)
}

// tryUpgrade is one point of SweepUpgrade: up under the fault, and down again.
func (p *Phone) tryUpgrade(ctx context.Context, row string, pt point, golden, next firmware.Version) (out Outcome, home bool) {
	GinkgoHelper()
	lost := func() (Outcome, bool) {
		p.Publish(golden) // what the sweep is left with where it ends here
		return Lost, p.comeBack(ctx, pt.name)
	}
	p.stand()
	p.Publish(next)
	p.Inject(pt.rule)
	boot := p.PowerCycle(ctx)
	upgraded := p.Runs(next, golden)
	if p.sees(ctx, boot.Within(2*p.Patience.Upgrade), timeline.FactRegistered()) {
		// Under a fault the version file may be asked for in vain: without a
		// User-Agent that tells, the whole download has to be seen too.
		_, runs := p.runsAtLast(ctx, p.Quiet(boot), upgraded)
		if runs && (p.agentTells() || Download(p.Files(next)...).Judge(boot.View()).OK) {
			out = RecoveredItself
			if inOneCycle(boot.View(), timeline.FactAsked(p.Global().Files...)) {
				out = Unharmed
			}
		}
	}
	p.Calm()
	if out == "" {
		again, _ := p.runsAtLast(ctx, p.PowerCycle(ctx).Within(p.Patience.Upgrade), upgraded)
		if !p.cell(ctx, row, pt.name+": a later whole cycle upgrades", again, upgraded) {
			return lost()
		}
		out = RecoveredByRig
	}
	p.Publish(golden)
	restored := p.Runs(golden, next)
	back, _ := p.runsAtLast(ctx, p.PowerCycle(ctx).Within(p.Patience.Upgrade), restored)
	if !p.cell(ctx, row, pt.name+": it comes back", back, restored) {
		return lost()
	}
	p.RunsGolden()
	return out, true
}

// runsAtLast waits until the last boot in w shows the version, and returns the
// part of w behind its beginning: how often an upgrade boots is not known before.
// Where no User-Agent tells, a download may still follow: then it must have been
// quiet.
func (p *Phone) runsAtLast(ctx context.Context, w *timeline.Window, m Matcher) (*timeline.Window, bool) {
	GinkgoHelper()
	p.run.passPending()
	for {
		changed := w.Changed()
		closed := w.View().Closed
		last := p.lastBoot(w)
		verdict := m.Judge(last.View())
		if verdict.OK && !closed && !p.agentTells() {
			p.closed(ctx, p.Quiet(last))
			if again := p.lastBoot(w); again.Spec().From != last.Spec().From {
				continue // it has booted meanwhile
			}
			verdict = m.Judge(last.View())
		}
		if verdict.OK || closed {
			return last, verdict.OK
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.run.inconclusive("interrupted: " + context.Cause(ctx).Error())
		}
	}
}

// lastBoot is the part of a window behind the last beginning of a boot in it, the
// whole window where none is; it ends when that does.
func (p *Phone) lastBoot(w *timeline.Window) *timeline.Window {
	v := w.View()
	for e := range v.Events.Backward() {
		if e.Kind == timeline.PowerOn || e.Kind == timeline.Rebooted {
			return p.lane.Recorder.Timeline().Since(e.Seq).Within(max(v.Anchor.Add(v.Bound).Sub(e.At), time.Nanosecond))
		}
	}
	return w
}

// inOneCycle tells whether a handset whose power was not cut rebooted after its
// first cycle: it had begun one once.
func inOneCycle(v timeline.View, begins timeline.Fact) bool {
	cycles := 0
	for e := range v.Events.All() {
		switch {
		case e.Kind == timeline.PowerOff:
			return false
		case e.Kind == timeline.Rebooted:
			return cycles == 1
		case begins.Is(e):
			cycles++
		}
	}
	return false
}

// Bisect finds the points of a range at which it changes what becomes of a
// handset, trying no more of them than it must, nor than Options say. The points
// stand in order, from what does the least harm.
func (p *Phone) Bisect(ctx context.Context, row string, points []point) Bisection {
	GinkgoHelper()
	out := make(outcomes, len(points))
	defer p.table(row, points, out) // also where the spec breaks off
	begun := len(p.run.spec.result.Judgements)
	b := bisection(out, middles(p.run.points()), func(i int) (Outcome, bool) { return p.try(ctx, row, points[i]) })
	p.endCells(len(p.run.spec.result.Judgements) - begun)
	p.Good(ctx, row, "the next good cycle")
	return b
}

package scenarios

import (
	"context"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/vtime"
)

// stress is one thing that goes wrong on purpose, and what must come of it
// besides a handset that works.
type stress struct {
	name  string
	rules []fault.Rule
	// prepare is what makes a handset go the way on which the rules have their
	// occasion, where it does not go that way of itself.
	prepare []fault.Rule
	// needs is what a handset need not do and the rules have no occasion without:
	// the case says nothing of one that comes up and has not done it.
	needs *timeline.Fact
	// whole: the cycle must do what it was to do all the same. never: what comes
	// is not the file, and must not be applied.
	// in part: not even HTTP or TFTP can tell that the file is not whole.
	whole, never, part bool
	// fact must be seen, behind after if that is set.
	fact, after *timeline.Fact
	// once names a file of which no block may be acknowledged more often than it
	// came.
	once string
	// asked makes another case of it, by what the handset has asked for before in
	// this recording; nil: it stays as it is.
	asked func(s stress, before timeline.Log) stress
}

func rules(r ...fault.Rule) []fault.Rule { return r }

// Survive is what is common to most of the "safe" rows. In each case a new line
// name is served while the faults are in force: the handset must register, as it
// was or as the new line, so that a file was applied whole or not at all. At the
// end the cycle without faults must bring the new line.
func (p *Phone) Survive(ctx context.Context, row string, cases []stress) {
	GinkgoHelper()
	for _, s := range cases {
		if s.asked != nil {
			s = s.asked(s, p.run.events())
		}
		old, fresh := p.held(), p.SetLine()
		for _, r := range s.prepare {
			p.Prepare(r)
		}
		for _, r := range s.rules {
			p.Inject(r)
		}

		boot := p.PowerCycle(ctx)

		if s.needs != nil && p.without(ctx, boot.Within(p.Patience.Upgrade), *s.needs) {
			p.lane.Note(s.name + ": not judged, as the handset came up without " + s.needs.Name)
			for _, r := range s.rules {
				p.spare(r)
			}
			p.Calm()
			continue
		}
		switch {
		case s.whole:
			Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(ShowCase(row, s.name+": it has its files whole", fresh))
		case s.part:
			Eventually(ctx, boot.Within(p.Patience.Upgrade)).Should(ShowCase(row, s.name+": it comes up", Register()))
		case s.never:
			Eventually(ctx, p.settled(ctx, boot.Within(p.Patience.Upgrade))).Should(ShowCase(row, s.name+": it comes up as it was", RegisterAsOneOf(old)))
		default:
			Eventually(ctx, p.settled(ctx, boot.Within(p.Patience.Upgrade))).Should(ShowCase(row, s.name+": it comes up, its files whole or not at all", RegisterAsOneOf(old).Until(fresh)))
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
	for e := range p.run.events().All() {
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

// waitsForNothing tells whether hours pass in no time: in virtual time.
func (p *Phone) waitsForNothing() bool { return vtime.Virtual() }

// Calm ends all faults. One that never fired makes the spec inconclusive: it
// did not test what its name says.
func (p *Phone) Calm() {
	GinkgoHelper()
	p.run.verb("calm", nil)
	if why := idle(p.run.calm(), p.run.spec.spared); why != "" {
		p.run.retract(why)
		p.run.inconclusive(why)
	}
	p.run.spec.spared = nil
	p.run.spec.calmed = len(p.run.spec.result.Judgements)
}

// Prepare declares a fault that need not fire: a handset may go by itself where
// it leads to.
func (p *Phone) Prepare(rule fault.Rule) {
	GinkgoHelper()
	p.Inject(rule)
	p.spare(rule)
}

func (p *Phone) spare(rule fault.Rule) {
	p.run.spec.spared = append(p.run.spec.spared, rule.String())
}

// without tells that a handset has come up and been quiet and the fact was not
// seen.
func (p *Phone) without(ctx context.Context, w *timeline.Window, f timeline.Fact) bool {
	GinkgoHelper()
	return p.sees(ctx, w, timeline.FactRegistered()) && !p.sees(ctx, p.Quiet(w), f)
}

// settled waits until the handset registers, and returns the window in which it
// shows what it has applied: from the same anchor until it has been quiet. Where
// it does not register that is the window as it was, closed.
func (p *Phone) settled(ctx context.Context, w *timeline.Window) *timeline.Window {
	GinkgoHelper()
	if !p.sees(ctx, w, timeline.FactRegistered()) {
		return w
	}
	return p.Quiet(w)
}

// closed waits for the end of a window, and returns what it shows.
func (p *Phone) closed(ctx context.Context, w *timeline.Window) timeline.View {
	GinkgoHelper()
	p.sees(ctx, w, timeline.Fact{Name: "its end"}) // no event is that
	return w.View()
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
		case v.Closed, verdict.Final:
			return false
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.run.inconclusive("interrupted: " + context.Cause(ctx).Error())
		}
	}
}

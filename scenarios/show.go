package scenarios

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega/types"

	"ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/report"
)

// Show judges a row of the requirements by a matcher on a window:
//
//	Eventually(ctx, boot.Within(phone.Patience.Boot)).Should(Show("RBT-04", RebootOnce()))
//
// The verdict goes into the journal with all that is needed to make it again.
func Show(row string, m match.Matcher) types.GomegaMatcher { return ShowCase(row, "", m) }

// ShowCase is Show for one of several judgements of a row in one spec.
func ShowCase(row, name string, m match.Matcher) types.GomegaMatcher {
	session.passPending()
	return &show{run: session, row: row, name: name, matcher: m}
}

type show struct {
	run     *run
	row     string
	name    string
	matcher match.Matcher

	window  timeline.WindowSpec
	view    timeline.View
	verdict match.Verdict
}

var _ types.GomegaMatcher = (*show)(nil)

// Match implements types.GomegaMatcher. While nothing is decided it waits for
// the timeline's next change, so that Eventually does not judge in vain.
func (s *show) Match(actual any) (bool, error) {
	w, ok := actual.(*timeline.Window)
	if !ok {
		return false, fmt.Errorf("Show(%q) needs a *timeline.Window, got %T", s.row, actual)
	}
	changed := w.Changed()
	s.look(w)
	s.run.spec.pending = s
	if !s.verdict.OK && !s.verdict.Final && !s.view.Closed {
		select {
		case <-changed:
		case <-s.run.spec.done:
		}
		s.look(w)
	}
	if why := unjudged(s.verdict); why != "" {
		return false, fmt.Errorf("%s cannot be judged: %s\n%s", s.row, why, match.Explain(s.matcher, s.view, false))
	}
	return s.verdict.OK, nil
}

func (s *show) look(w *timeline.Window) {
	s.window, s.view = w.Spec(), w.View()
	s.verdict = s.matcher.Judge(s.view)
}

// MatchMayChangeInTheFuture ends the waiting as soon as no event can help.
func (s *show) MatchMayChangeInTheFuture(actual any) bool {
	w, ok := actual.(*timeline.Window)
	if !ok {
		return false
	}
	view := w.View()
	v := s.matcher.Judge(view)
	return !v.Final && !view.Closed
}

// unjudged says why a view allows no verdict of either polarity: the recording
// is unfit, or the window never began, and absence needs a positive event
// before it.
func unjudged(v match.Verdict) string {
	switch {
	case v.Unfit != "":
		return v.Unfit
	case v.NotReached != "":
		return "its window never began: not reached: " + v.NotReached
	}
	return ""
}

// FailureMessage implements types.GomegaMatcher.
func (s *show) FailureMessage(any) string { return s.text(false) }

// NegatedFailureMessage implements types.GomegaMatcher.
func (s *show) NegatedFailureMessage(any) string { return s.text(true) }

func (s *show) text(negated bool) string {
	head := s.row
	if s.name != "" {
		head += " (" + s.name + ")"
	}
	if r, err := Find(s.row); err == nil {
		head += " [" + r.From + "]: " + r.Statement
	}
	text := head + "\n" + match.Explain(s.matcher, s.view, negated)
	if s.run.spec != nil && s.run.spec.result.Rerun != "" {
		text += "\nagain: " + s.run.spec.result.Rerun
	}
	return text
}

// cell is a judgement that does not end its spec: each cell of a matrix has a
// verdict of its own. It tells whether the claim holds.
func (p *Phone) cell(ctx context.Context, row, name string, w *timeline.Window, m match.Matcher) bool {
	p.run.passPending()
	s := &show{run: p.run, row: row, name: name, matcher: m}
	for {
		changed := w.Changed()
		s.look(w)
		if s.verdict.OK || s.verdict.Final || s.view.Closed {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.run.inconclusive("interrupted: " + context.Cause(ctx).Error())
		}
	}
	if s.verdict.OK {
		p.run.judge(s, report.Pass, false, "")
		return true
	}
	p.run.judge(s, report.Fail, false, s.verdict.Problem)
	p.badCells = append(p.badCells, s.text(false))
	return false
}

// endCells ends the spec if a cell failed.
func (p *Phone) endCells(total int) {
	GinkgoHelper()
	p.run.passPending()
	p.run.spec.complete = true
	if len(p.badCells) > 0 {
		Fail(fmt.Sprintf("%d of %d cells failed\n%s", len(p.badCells), total, p.badCells[0]))
	}
}

package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"

	"ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig/golden"
	"ip88rig/rig/report"
)

// Observe measures a row that nobody promises, over a boot or another window:
// until the handset has registered and then been quiet, or the window's bound.
// What was measured goes into the journal and the report and is compared with
// the golden record of this model and firmware: a difference is drift, or known
// where a deviation says so. Where nothing is recorded yet the row is skipped with that reason, with its values.
func (p *Phone) Observe(ctx context.Context, row, name string, w *timeline.Window, o match.Observation) {
	GinkgoHelper()
	p.ObserveUntil(ctx, row, name, w, timeline.FactRegistered(), o)
}

// ObserveUntil is Observe for windows in which another fact ends what is to be
// seen.
func (p *Phone) ObserveUntil(ctx context.Context, row, name string, w *timeline.Window, end timeline.Fact, o match.Observation) {
	GinkgoHelper()
	p.ObserveAll(ctx, w, end, Measured{row, name, o})
}

// Measured is one thing that is measured: the row, the case, and what.
type Measured struct {
	Row, Name string
	What      match.Observation
}

// ObserveAll is ObserveUntil for several things that one window shows.
func (p *Phone) ObserveAll(ctx context.Context, w *timeline.Window, end timeline.Fact, list ...Measured) {
	GinkgoHelper()
	p.run.passPending()
	for _, m := range list {
		p.run.note("observe "+m.Row+" until "+end.String(), w)
	}
	if _, err := w.Await(ctx, end); err == nil {
		w = p.Quiet(w)
	}
	for {
		changed := w.Changed()
		view := w.View()
		if view.Closed {
			for _, m := range list {
				p.run.observe(m.Row, m.Name, w, view, m.What)
			}
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.run.inconclusive("interrupted: " + context.Cause(ctx).Error())
		}
	}
}

// observe writes down what is measured in a view, and holds it against the
// golden record.
func (r *run) observe(row, name string, w *timeline.Window, view timeline.View, o match.Observation) {
	values := valuesOf(o.Measure(view))
	j := report.Judgement{
		Row: row, Case: name, Transport: string(r.spec.over), Verdict: report.Pass,
		Upto: view.Upto, Watermark: view.Watermark, Measured: values,
	}
	j.Matcher, j.Args = match.EncodeObservation(o)
	if window, err := json.Marshal(w.Spec()); err == nil {
		j.Window = window
	}
	if n := view.Events.Len(); n > 0 {
		j.Frame = view.Events.At(n - 1).Frame
	}
	switch diff, known := r.Golden.Compare(row, j.Transport, name, values); {
	case view.Spoilt != "":
		j.Verdict, j.Reason = report.Inconclusive, "inconclusive: "+view.Spoilt
	case !view.Anchored:
		j.Verdict, j.Reason = report.Inconclusive, "inconclusive: its window never began: not reached: "+view.Missing
	case !known:
		j.Verdict, j.Reason = report.Skip, golden.Missing(r.Lane.Handset)
	case len(diff) > 0:
		j.Diff = diff
		h := r.Lane.Handset
		why, known := r.Deviations.Excuse(row, h.Model.String(), h.Software(), "drift: "+strings.Join(diff, "; "), r.today())
		if j.Verdict, j.Reason = report.Drift, why; known {
			j.Verdict = report.Known
		}
	}
	r.spec.result.Judgements = append(r.spec.result.Judgements, j)
	r.Lane.Judged(j)
}

func valuesOf(measured []match.Value) []report.Value {
	out := make([]report.Value, len(measured))
	for i, v := range measured {
		out[i] = report.Value(v)
	}
	return out
}

// measuredAgain measures once more offline. Where the values are the same, so is
// what the golden record made of them.
func measuredAgain(view timeline.View, e timeline.Event) (report.Verdict, string, error) {
	o, err := match.DecodeObservation(e.Fields["matcher"], json.RawMessage(e.Fields["args"]))
	if err != nil {
		return "", "", err
	}
	var was []report.Value
	if err := json.Unmarshal([]byte(e.Fields["measured"]), &was); err != nil {
		return "", "", fmt.Errorf("measured values: %w", err)
	}
	if is := valuesOf(o.Measure(view)); !slices.Equal(is, was) {
		return report.Inconclusive, fmt.Sprintf("measured %v, before %v", is, was), nil
	}
	return report.Verdict(e.Fields["verdict"]), e.Reason, nil
}

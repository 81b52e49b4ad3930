// Package selftest says what each defect of a simulated handset must do to the
// suite: the rows that it fails, and the rows that it blocks because they stand on
// what is broken. Any other failure, and a declared row that passes, is an error:
// either a scenario cannot fail, or it blames the wrong thing.
package selftest

import (
	"fmt"
	"slices"
	"strings"

	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios"
)

// Expectation is what one defect does to the suite, exactly: a run in virtual time
// is the same each time.
type Expectation struct {
	defect.Entry
	// Only, if any, are the declared rows that were tried: the others are not
	// asked for, and need not be blocked.
	Only []string
}

// Expectations returns those of all defects, in the order of their table.
func Expectations() []Expectation {
	var out []Expectation
	for _, e := range defect.Table() {
		out = append(out, Expectation{Entry: e})
	}
	return out
}

// Own is the expectation of the one row that the defect breaks.
func (e Expectation) Own() Expectation {
	e.Only = []string{e.Row}
	return e
}

// Rows are those that must turn red.
func (e Expectation) Rows() []string {
	if len(e.Only) > 0 {
		return e.Only
	}
	return slices.Concat(e.Fails, e.Drifts)
}

// Found is the defect's entry with what a run found of it.
func (e Expectation) Found(h report.Handset) defect.Entry {
	rows := map[report.Verdict][]string{}
	for _, s := range h.Specs {
		for _, j := range s.Judgements {
			rows[j.Verdict] = append(rows[j.Verdict], j.Row)
		}
	}
	sorted := func(v report.Verdict) []string {
		slices.Sort(rows[v])
		return slices.Compact(rows[v])
	}
	out := e.Entry
	out.Fails, out.Drifts, out.Unjudged = sorted(report.Fail), sorted(report.Drift), sorted(report.Inconclusive)
	out.Blocks = slices.DeleteFunc(sorted(report.Blocked), func(row string) bool { return slices.Contains(out.Fails, row) })
	return out
}

// Compare holds what a run found against the expectation. The result is empty
// when they agree.
func (e Expectation) Compare(h report.Handset) []string {
	var wrong []string
	found := e.Found(h)
	for _, c := range []struct {
		declared, found []string
		missing, more   string
	}{
		{e.Fails, found.Fails, "was to fail and did not", "failed and is not declared"},
		{e.Drifts, found.Drifts, "was to drift and did not", "drifted and is not declared"},
		{e.Blocks, found.Blocks, "was to be blocked and was not", "was blocked and is not declared"},
		{e.Unjudged, found.Unjudged, "was to be inconclusive and was not", "is inconclusive and is not declared"},
	} {
		for _, row := range c.declared {
			if !slices.Contains(c.found, row) && (len(e.Only) == 0 || slices.Contains(e.Only, row)) {
				wrong = append(wrong, row+" "+c.missing)
			}
		}
		for _, row := range c.found {
			if !slices.Contains(c.declared, row) {
				wrong = append(wrong, row+" "+c.more)
			}
		}
	}
	if h.Died != "" {
		wrong = append(wrong, "the lane died: "+h.Died)
	}
	slices.Sort(wrong)
	return wrong
}

// Matrix prints rows × defects: F a row failed, D it drifted, b it was blocked in part or
// whole, · it held.
func Matrix(found map[defect.Name]report.Handset) string {
	var names []defect.Name
	for _, e := range defect.Table() {
		if _, ok := found[e.Name]; ok {
			names = append(names, e.Name)
		}
	}
	var b strings.Builder
	b.WriteString("rows × defects: F failed, D drifted, b blocked, · held\n\n")
	for i, n := range names {
		fmt.Fprintf(&b, "%s%d %s\n", strings.Repeat("       ", 1), i+1, n)
	}
	b.WriteString("\n       ")
	for i := range names {
		fmt.Fprintf(&b, "%3d", i+1)
	}
	b.WriteString("\n")
	for _, r := range scenarios.Catalogue() {
		if len(scenarios.Covering(r.ID)) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s ", r.ID)
		for _, n := range names {
			mark := "·"
			for _, row := range found[n].Rows() {
				if row.ID != r.ID {
					continue
				}
				switch row.Verdict {
				case report.Fail:
					mark = "F"
				case report.Blocked:
					mark = "b"
				case report.Inconclusive:
					mark = "?"
				case report.Drift:
					mark = "D"
				case report.Pass, report.Skip, report.Known:
				}
			}
			fmt.Fprintf(&b, "  %s", mark)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Unproven lists the rows that no defect turns red: one that is judged must fail,
// one that is observed must drift. What a defect may do, or only on the way, does
// not count.
func Unproven() []string {
	var out []string
	for _, r := range scenarios.Catalogue() {
		if !slices.ContainsFunc(Expectations(), func(e Expectation) bool { return slices.Contains(e.proves(r.Kind), r.ID) }) {
			out = append(out, r.ID)
		}
	}
	return out
}

// proves are the rows of a kind that the defect turns red.
func (e Expectation) proves(kind string) []string {
	if kind == "observe" {
		return e.Drifts
	}
	return e.Fails
}

package selftest_test

import (
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios"
	"ip88rig/scenarios/selftest"
)

func TestWhatARunFoundIsHeldAgainstTheExpectation(t *testing.T) {
	e := selftest.Expectation{Entry: defect.Entry{Fails: []string{"RBT-01"}, Drifts: []string{"ORD-06"}, Blocks: []string{"FWU-01"}, Unjudged: []string{"RBT-05"}}}
	only := e
	only.Only = []string{"ORD-06"}
	const all = "RBT-01 fail, ORD-06 drift, FWU-01 blocked, RBT-05 inconclusive, TLS-01 pass"
	for _, tt := range []struct {
		name   string
		expect selftest.Expectation
		found  string // rows with their verdicts
		want   string
	}{
		{"as declared", e, all, ""},
		{"a row that failed may be blocked elsewhere", e, all + ", RBT-01 blocked", ""},
		{"only one row was tried", only, "ORD-06 drift", ""},
		{"it holds", e, "RBT-01 pass, ORD-06 pass, FWU-01 blocked, RBT-05 inconclusive", "ORD-06 was to drift and did not, RBT-01 was to fail and did not"},
		{"it is blocked where it was to fail", e, strings.Replace(all, "RBT-01 fail", "RBT-01 blocked", 1), "RBT-01 was blocked and is not declared, RBT-01 was to fail and did not"},
		{"what it was to block holds", e, strings.Replace(all, "FWU-01 blocked", "FWU-01 pass", 1), "FWU-01 was to be blocked and was not"},
		{"what nothing could be said of is judged", e, strings.Replace(all, "RBT-05 inconclusive", "RBT-05 pass", 1), "RBT-05 was to be inconclusive and was not"},
		{"another row fails", e, all + ", TLS-01 fail", "TLS-01 failed and is not declared"},
		{"another row drifts", e, all + ", TLS-11 drift", "TLS-11 drifted and is not declared"},
		{"another row is blocked", e, all + ", TLS-01 blocked", "TLS-01 was blocked and is not declared"},
		{"another row is inconclusive", e, all + ", TLS-01 inconclusive", "TLS-01 is inconclusive and is not declared"},
		{"another row, where only one was tried", only, "ORD-06 drift, TLS-01 fail", "TLS-01 failed and is not declared"},
		{"a lane that died", e, all + ", dead", "the lane died: of it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := report.Handset{Specs: []report.Spec{{Name: "a spec"}}}
			for f := range strings.SplitSeq(tt.found, ", ") {
				row, verdict, ok := strings.Cut(f, " ")
				if !ok {
					h.Died = "of it"
					continue
				}
				h.Specs[0].Judgements = append(h.Specs[0].Judgements, report.Judgement{Row: row, Verdict: report.Verdict(verdict), Reason: "why"})
			}
			if got := strings.Join(tt.expect.Compare(h), ", "); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestEachDefectTurnsItsOwnRowRed(t *testing.T) {
	for _, e := range selftest.Expectations() {
		if !slices.Contains(e.Rows(), e.Row) {
			t.Errorf("%s breaks %s and turns %q red", e.Name, e.Row, e.Rows())
		}
		for _, row := range slices.Concat(e.Rows(), e.Blocks, e.Unjudged) {
			if _, err := scenarios.Find(row); err != nil {
				t.Errorf("%s: %v", e.Name, err)
			}
		}
	}
	if un := selftest.Unproven(); len(un) > 0 {
		t.Errorf("no defect turns them red: %q", un)
	}
}

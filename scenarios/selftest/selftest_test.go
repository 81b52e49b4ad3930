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
	e := selftest.Expectation{
		Fails: []string{"RBT-01"}, Drifts: []string{"ORD-06"}, Blocks: []string{"FWU-01"}, May: []string{"RBT-05"},
	}
	every := e
	every.Blocks = []string{"*"}
	only := e
	only.Only = []string{"ORD-06"}
	for _, tt := range []struct {
		name   string
		expect selftest.Expectation
		found  string // rows with their verdicts
		want   string
	}{
		{"as declared", e, "RBT-01 fail, ORD-06 drift, FWU-01 blocked, TLS-01 pass", ""},
		{"a declared block need not be", e, "RBT-01 fail, ORD-06 drift", ""},
		{"a row that failed may be blocked elsewhere", e, "RBT-01 fail, RBT-01 blocked, ORD-06 drift", ""},
		{"what may fail too", e, "RBT-01 fail, ORD-06 drift, RBT-05 fail", ""},
		{"what may drift too", e, "RBT-01 fail, ORD-06 drift, RBT-05 drift", ""},
		{"any row may be blocked", every, "RBT-01 fail, ORD-06 drift, TLS-01 blocked", ""},
		{"only one row was tried", only, "ORD-06 drift", ""},
		{"it holds", e, "RBT-01 pass, ORD-06 pass", "ORD-06 was to drift and did not, RBT-01 was to fail and did not"},
		{"it is blocked where it was to fail", e, "RBT-01 blocked, ORD-06 drift", "RBT-01 was blocked and is not declared, RBT-01 was to fail and did not"},
		{"another row fails", e, "RBT-01 fail, ORD-06 drift, TLS-01 fail", "TLS-01 failed and is not declared"},
		{"another row drifts", e, "RBT-01 fail, ORD-06 drift, TLS-11 drift", "TLS-11 drifted and is not declared"},
		{"another row is blocked", e, "RBT-01 fail, ORD-06 drift, TLS-01 blocked", "TLS-01 was blocked and is not declared"},
		{"nobody knows", e, "RBT-01 fail, ORD-06 drift, TLS-01 inconclusive", `TLS-01 is inconclusive in "a spec": why`},
		{"it rebooted late where it may", e, "RBT-01 fail, ORD-06 drift, RBT-05 late-reboot", ""},
		{"it rebooted late elsewhere", e, "RBT-01 fail, ORD-06 drift, TLS-01 late-reboot", `TLS-01 is inconclusive in "a spec": inconclusive: it rebooted after the spec: why`},
		{"a lane that died", e, "RBT-01 fail, ORD-06 drift, dead", "the lane died: of it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := report.Handset{Specs: []report.Spec{{Name: "a spec"}}}
			for f := range strings.SplitSeq(tt.found, ", ") {
				row, verdict, ok := strings.Cut(f, " ")
				if !ok {
					h.Died = "of it"
					continue
				}
				j := report.Judgement{Row: row, Verdict: report.Verdict(verdict), Reason: "why"}
				switch verdict {
				case "late-reboot":
					j.Verdict, j.Reason = report.Inconclusive, "inconclusive: "+scenarios.RebootedAfter+": why"
				}
				h.Specs[0].Judgements = append(h.Specs[0].Judgements, j)
			}
			if got := strings.Join(tt.expect.Compare(h), ", "); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestEachDefectHasOneExpectationAndARowThatItTurnsRed(t *testing.T) {
	seen := map[defect.Name]int{}
	for _, e := range selftest.Expectations() {
		seen[e.Defect]++
		if len(e.Rows()) == 0 {
			t.Errorf("%s turns no row red", e.Defect)
		}
		if own := e.Own().Rows(); len(own) == 0 || slices.ContainsFunc(own, func(row string) bool { return !slices.Contains(e.Rows(), row) }) {
			t.Errorf("%s: own rows %q of %q", e.Defect, own, e.Rows())
		}
		if row := selftest.Documented(e.Defect); !slices.Contains(e.Rows(), row) {
			t.Errorf("%s is made for %q by its line of documentation, and declares %q", e.Defect, row, e.Rows())
		}
	}
	for _, d := range defect.All() {
		if seen[d] != 1 {
			t.Errorf("%s has %d expectations", d, seen[d])
		}
	}
	if un := selftest.Unproven(); len(un) > 0 {
		t.Errorf("no defect turns them red: %q", un)
	}
}

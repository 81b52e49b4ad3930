package selftest_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios/selftest"
)

func TestWhatARunFoundIsHeldAgainstTheExpectation(t *testing.T) {
	e := selftest.Expectation{Fails: []string{"RBT-01"}, Drifts: []string{"ORD-06"}, Blocks: []string{"FWU-01"}, Unjudged: []string{"RBT-05"}}
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

func TestTheTableIsReadAsItIsWritten(t *testing.T) {
	text := selftest.Format(selftest.Expectations())
	got, err := selftest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, selftest.Expectations()) {
		t.Error("written and read again it is another")
	}
	file, err := os.ReadFile("expectations.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(file) != text {
		t.Error("expectations.txt is not as Format writes it")
	}
}

func TestAnErrorInTheTableNamesItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"no-such\n":                                    `expectations.txt:1: no defect is called "no-such"`,
		"# c\n\n  fails XPT-01\n":                      "expectations.txt:3: rows without a defect",
		"newer-only\n  fails XPT-99\n":                 "expectations.txt:2: ",
		"newer-only\n  fails XPT-01\n  fails XPT-02\n": "expectations.txt:3: ",
		"newer-only\n  breaks XPT-01\n":                "expectations.txt:2: ",
		"newer-only\n  fails\n":                        "expectations.txt:2: ",
		strings.Repeat("newer-only\n", 2):              "expectations.txt:2: newer-only stands here twice",
		"newer-only (wired)\n":                         "expectations.txt:1: ",
	} {
		if got, err := selftest.Parse(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
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

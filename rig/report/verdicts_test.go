package report_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/deviation"
	"ip88rig/rig/report"
)

var update = flag.Bool("update", false, "write testdata anew")

// each is a run with every verdict there is, each with its reason.
func each() report.Run {
	at := time.Date(2026, 11, 20, 1, 2, 3, 0, time.UTC)
	made := func(v report.Verdict, row, reason string, js ...report.Judgement) report.Spec {
		return report.Spec{
			ID: strings.ToLower(row), Name: "does what " + row + " says, over tftp [" + row + "]", Rows: []string{row}, Transport: "tftp", Verdict: v,
			Reason: reason, Folder: "out/x/desk/" + strings.ToLower(row), Rerun: "ip88rig run --filter " + row, Start: at, Took: 1500 * time.Millisecond, Judgements: js,
		}
	}
	judged := func(v report.Verdict, row, name, reason string) report.Judgement {
		return report.Judgement{Row: row, Verdict: v, Transport: "tftp", Case: name, Reason: reason}
	}
	measured := judged(report.Pass, "NET-04", "quiet", "")
	measured.Measured = []report.Value{{Name: "power to registered", Value: "153", Unit: "ms"}}
	drift := judged(report.Drift, "CFG-06", "NULs", "differs from the golden record")
	drift.Measured = []report.Value{{Name: "lines applied", Value: "3"}}
	drift.Diff = []string{"lines applied: recorded 2, measured 3", `order: recorded "a <b>", not measured`}
	failed := made(report.Fail, "XPT-01", "it asked nobody", judged(report.Fail, "XPT-01", "", "it asked nobody"))
	failed.Failure = "XPT-01: it shall ask\n× asked"
	failed.Faults = report.Declare(failed.Faults, "drops the first OFFER", 1)
	failed.Faults = report.Declare(failed.Faults, "falls silent after 16 bytes of <image>", 2)
	failed.Faults = report.Declare(failed.Faults, "falls silent after 16 bytes of <image>", 0)
	blocked := made(report.Blocked, "XPT-03", "blocked by XPT-01: it asked nobody", judged(report.Blocked, "XPT-03", "", "blocked by XPT-01: it asked nobody"))
	blocked.BlockedBy, blocked.Judgements[0].BlockedBy = "XPT-01", "XPT-01"
	const why = "known deviation: refuses to go back (LAB-71, until 2027-03-31): it kept 1.3"
	desk := report.Handset{
		Name: "desk", Model: "IP8830", Link: "wired", MAC: "b4:0e:dc:00:53:07", Firmware: "1.3", Golden: "ip8830-wired-1.3.txt", Seed: 7,
		Unmet: []string{"ORD-11 | tftp | global file missing"},
		Specs: []report.Spec{
			made(report.Pass, "NET-04", "", measured, judged(report.Skip, "NET-04", "stress", "needs a golden record")),
			failed, blocked,
			made(report.Inconclusive, "XPT-05", "inconclusive: frames were lost on the way in", judged(report.Inconclusive, "XPT-05", "", "inconclusive: frames were lost on the way in")),
			made(report.Drift, "CFG-06", "differs from the golden record", judged(report.Pass, "CFG-06", "BOM", ""), drift),
			made(report.Known, "FWU-03", why, judged(report.Known, "FWU-03", "down", why), judged(report.Known, "FWU-03", "up", why),
				judged(report.Blocked, "FWU-12", "", "not judged to its end: the spec ended at FWU-03, which is known")),
			made(report.Skip, "TLS-15", "needs the verb menu", judged(report.Skip, "TLS-15", "", "needs the verb menu")),
		},
	}
	return report.Run{
		Version: "v", Bench: "lab", Started: at, Took: time.Minute, Seed: 7, Depth: "night", Handsets: []report.Handset{desk},
		Deviations: "known.yaml",
		Stale: []report.Stale{{
			Subject: "NET-04 of every model with any software", Grounds: "slow at night (LAB-72, until 2026-12-31)", Row: "NET-04", File: "known.yaml", Line: 8, Passed: []string{"desk"},
		}},
	}
}

func TestEveryVerdictIsToldWithItsReasonInEveryReport(t *testing.T) {
	dir := t.TempDir()
	r := each()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJUnit(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "summary.txt"), []byte(r.Summary()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"run.json", "junit.xml", "summary.txt"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		for _, reason := range []string{
			"it asked nobody", "blocked by XPT-01", "frames were lost", "lines applied: recorded 2, measured 3", "refuses to go back (LAB-71, until 2027-03-31)",
			"needs the verb menu", "needs a golden record", "slow at night (LAB-72, until 2026-12-31)", "ended at FWU-03, which is known",
			"drops the first OFFER",
		} {
			if !strings.Contains(string(got), reason) {
				t.Errorf("%s does not say %q", name, reason)
			}
		}
	}
}

func TestASummaryTellsOfManyFaultsThatThereAreMore(t *testing.T) {
	s := spec(report.Fail, row("A-01", report.Fail))
	for n := range 12 {
		s.Faults = report.Declare(s.Faults, strings.Repeat("x", n+1), n)
	}
	got := run(s).Summary()
	for _, want := range []string{"fault: x: never fired\n", "fault: xx: fired once\n", "fault: xxxxxxxx: fired 7 times\n", "and 4 faults more"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "xxxxxxxxx") {
		t.Errorf("it tells of all\n%s", got)
	}
}

func TestADeviationThatNobodyShowsAnyLongerTurnsTheRunRed(t *testing.T) {
	const text = `- {requirement: FWU-03, model: IP8830, firmware: ">=1.2 <1.4", reason: refuses, link: LAB-71, expires: 2020-01-01}
- {requirement: ORD-06, model: "*", firmware: "*", reason: looks elsewhere, link: LAB-72, expires: 2030-01-01}
`
	list, err := deviation.Parse("known.yaml", []byte(text), func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	handset := func(name, model, firmware string, vs ...report.Judgement) report.Handset {
		h := report.Handset{Name: name, Model: model, Firmware: firmware}
		for _, j := range vs {
			h.Specs = append(h.Specs, report.Spec{Rows: []string{j.Row}, Verdict: j.Verdict, Judgements: []report.Judgement{j}})
		}
		return h
	}
	passed := handset("desk", "IP8830", "1.3", row("FWU-03", report.Pass), row("FWU-03", report.Pass), row("XPT-01", report.Fail))
	with := func(change func(*report.Handset)) report.Handset {
		h := passed
		h.Specs = slices.Clone(h.Specs)
		change(&h)
		return h
	}
	also := func(v report.Verdict) report.Handset {
		return with(func(h *report.Handset) { h.Specs = append(h.Specs, handset("", "", "", row("FWU-03", v)).Specs...) })
	}
	for name, c := range map[string]struct {
		run  report.Run
		want []string
	}{
		"passed wherever it was judged": {report.Run{Handsets: []report.Handset{passed}}, []string{"FWU-03 of IP8830 with software >=1.2 <1.4"}},
		"passed on two, of any model": {
			report.Run{Handsets: []report.Handset{handset("a", "IP8820", "9", row("ORD-06", report.Pass)), handset("b", "IP8840", "", row("ORD-06", report.Pass))}},
			[]string{"ORD-06 of every model with any software"},
		},
		"still shown by one of two": {
			report.Run{Handsets: []report.Handset{handset("a", "IP8820", "9", row("ORD-06", report.Pass)), handset("b", "IP8840", "", row("ORD-06", report.Known))}}, nil,
		},
		"not judged on the other one": {
			report.Run{Handsets: []report.Handset{handset("a", "IP8820", "9", row("ORD-06", report.Pass)), handset("b", "IP8840", "")}},
			[]string{"ORD-06 of every model with any software"},
		},
		"known in one case":               {report.Run{Handsets: []report.Handset{also(report.Known)}}, nil},
		"failed, as it has expired":       {report.Run{Handsets: []report.Handset{also(report.Fail)}}, nil},
		"blocked over another transport":  {report.Run{Handsets: []report.Handset{also(report.Blocked)}}, nil},
		"skipped over another transport":  {report.Run{Handsets: []report.Handset{also(report.Skip)}}, nil},
		"inconclusive somewhere":          {report.Run{Handsets: []report.Handset{also(report.Inconclusive)}}, nil},
		"drifted somewhere":               {report.Run{Handsets: []report.Handset{also(report.Drift)}}, nil},
		"left out in part by the filter":  {report.Run{Handsets: []report.Handset{with(func(h *report.Handset) { h.Filtered = []string{"FWU-03"} })}}, nil},
		"the filter left out another row": {report.Run{Handsets: []report.Handset{with(func(h *report.Handset) { h.Filtered = []string{"ORD-06"} })}}, []string{"FWU-03 of IP8830 with software >=1.2 <1.4"}},
		"its lane died":                   {report.Run{Handsets: []report.Handset{with(func(h *report.Handset) { h.Died = "killed" })}}, nil},
		"a spec broke off before the row": {report.Run{Handsets: []report.Handset{with(func(h *report.Handset) {
			h.Specs = append(h.Specs, report.Spec{Rows: []string{"FWU-03"}, Verdict: report.Inconclusive})
		})}}, nil},
		"interrupted":                          {report.Run{Interrupted: true, Handsets: []report.Handset{passed}}, nil},
		"another handset of it was not chosen": {report.Run{Handsets: []report.Handset{passed}, Absent: []report.Absent{{Name: "b", Model: "IP8830", Firmware: "1.2.1"}}}, nil},
		"another version was not chosen":       {report.Run{Handsets: []report.Handset{passed}, Absent: []report.Absent{{Name: "b", Model: "IP8830", Firmware: "1.4"}}}, []string{"FWU-03 of IP8830 with software >=1.2 <1.4"}},
		"software that it is not about":        {report.Run{Handsets: []report.Handset{with(func(h *report.Handset) { h.Firmware = "1.4" })}}, nil},
		"a row that was judged nowhere":        {report.Run{Handsets: []report.Handset{handset("desk", "IP8830", "1.3", row("XPT-01", report.Pass))}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c.run.Deviations = "known.yaml"
			var got []string
			for _, s := range c.run.StaleDeviations(list) {
				got = append(got, s.Subject)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	r := run(spec(report.Pass, row("ORD-06", report.Pass)))
	r.Deviations = "known.yaml"
	if r.ExitCode() != report.ExitPass {
		t.Fatalf("exit code %d before", r.ExitCode())
	}
	r.Handsets[0].Model = "IP8830"
	r.Stale = r.StaleDeviations(list)
	if r.ExitCode() != report.ExitFailed {
		t.Errorf("exit code %d", r.ExitCode())
	}
	if got := r.Summary(); !strings.Contains(got, "the handset no longer fails: remove the line") || !strings.Contains(got, "known.yaml:2: ORD-06 of every model with any software: passed on h: looks elsewhere (LAB-72, until 2030-01-01)") {
		t.Errorf("got\n%s", got)
	}
}

func TestARunOfKnownDeviationsAloneHasJudged(t *testing.T) {
	if got := run(spec(report.Known, row("A-01", report.Known))).ExitCode(); got != report.ExitPass {
		t.Errorf("exit code %d", got)
	}
}

func TestJUnitTellsARedCellOfAGreenSpec(t *testing.T) {
	dir := t.TempDir()
	if err := run(spec(report.Pass, row("A-01", report.Pass), row("A-01", report.Drift))).WriteJUnit(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil || !strings.Contains(string(data), `<failure type="drift"`) {
		t.Errorf("got %v\n%s", err, data)
	}
}

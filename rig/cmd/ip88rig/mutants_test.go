package main

import (
	"slices"
	"testing"

	"ip88rig/rig/bench"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios/selftest"
)

func TestSpecsThatNoDefectTurnsRedAreListed(t *testing.T) {
	spec := func(name string, v report.Verdict) report.Spec { return report.Spec{Name: name, Verdict: v} }
	got := unmoved(map[defect.Name]report.Handset{
		"one":   {Specs: []report.Spec{spec("d", report.Blocked), spec("a", report.Pass), spec("b", report.Fail), spec("c", report.Skip)}},
		"other": {Specs: []report.Spec{spec("d", report.Pass), spec("a", report.Pass), spec("b", report.Pass), spec("c", report.Skip)}},
	})
	if want := []string{"a", "d"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestADefectWithoutAHandsetToShowOnIsAnError(t *testing.T) {
	if h, err := handsetFor(bench.Bench{Name: "empty"}, selftest.Expectation{WiFi: true}); err == nil {
		t.Errorf("it shows on %q", h.Name)
	}
}

func TestWhatTwoLanesFoundIsJoined(t *testing.T) {
	spec := func(name string, v report.Verdict) report.Spec { return report.Spec{Name: name, Verdict: v} }
	got := joined(
		report.Handset{Name: "ip8830", Died: "of hunger", MaxRSS: 7, CPU: 2, Specs: []report.Spec{spec("a", report.Fail)}},
		report.Handset{Name: "ip8830", MaxRSS: 5, CPU: 3, Specs: []report.Spec{spec("a", report.Pass), spec("b", report.Pass)}},
	)
	if len(got.Specs) != 3 || got.Specs[0].Verdict != report.Fail || got.Died != "of hunger" || got.MaxRSS != 7 || got.CPU != 5 {
		t.Errorf("got %+v", got)
	}
}

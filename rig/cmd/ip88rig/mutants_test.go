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
		"one":   {Specs: []report.Spec{spec("d", report.Blocked), spec("a", report.Pass), spec("b", report.Fail), spec("e", report.Drift), spec("c", report.Skip), spec("f, over tftp [X]", report.Pass), spec("f, over http [X]", report.Fail)}},
		"other": {Specs: []report.Spec{spec("d", report.Pass), spec("a", report.Pass), spec("b", report.Pass), spec("c", report.Skip)}},
	})
	if want := []string{"a", "d", "f, over tftp [X] (red over another transport)"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestADefectWithoutAHandsetToShowOnIsAnError(t *testing.T) {
	if h, err := handsetFor(bench.Bench{Name: "empty"}, selftest.Expectation{Entry: defect.Entry{WiFi: true}}); err == nil {
		t.Errorf("it shows on %q", h.Name)
	}
}

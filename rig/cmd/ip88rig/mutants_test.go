package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/bench"
	"ip88rig/rig/pipe"
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
	if h, err := handsetFor(bench.Bench{Name: "empty"}, selftest.Expectation{WiFi: true}); err == nil {
		t.Errorf("it shows on %q", h.Name)
	}
}

func TestWhatTheLanesOfAHandsetFoundIsJoined(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	spec := func(name string, after time.Duration) report.Spec {
		return report.Spec{Name: name, Start: at.Add(after)}
	}
	got := joined(
		report.Handset{Name: "ip8830", MaxRSS: 7, CPU: 2, Specs: []report.Spec{spec("a", 0), spec("c", 2)}},
		report.Handset{Name: "ip8830", Died: "of hunger", Left: "without golden", MaxRSS: 5, CPU: 3, Specs: []report.Spec{spec("b", 1)}},
	)
	names := ""
	for _, s := range got.Specs {
		names += s.Name
	}
	if names != "abc" || got.Died != "of hunger" || got.Left != "without golden" || got.MaxRSS != 12 || got.CPU != 5 {
		t.Errorf("got %+v", got)
	}
}

func TestASpecOfALaneThatDiedIsInconclusive(t *testing.T) {
	got := lost([]pipe.Take{{Spec: "ord-01-tftp", Name: "asks", Rows: []string{"ORD-01", "ORD-02"}}}, "signal: killed")
	if len(got) != 1 || got[0].Name != "asks" || got[0].Verdict != report.Inconclusive || len(got[0].Judgements) != 2 || !strings.Contains(got[0].Reason, "signal: killed") {
		t.Errorf("got %+v", got)
	}
}

func TestOnlySimulatedHandsetsOnAWireInMemoryHaveCopies(t *testing.T) {
	memory := bench.Bench{Wire: bench.Wire{Memory: true}}
	phone := bench.Handset{Simulated: true, Power: bench.Power{Kind: "simulated"}}
	byHand, iron := phone, phone
	byHand.Power.Kind, iron.Simulated = "operator", false
	for name, tt := range map[string]struct {
		bench   bench.Bench
		handset bench.Handset
		want    int
	}{
		"in memory":         {memory, phone, 3},
		"on an interface":   {bench.Bench{}, phone, 1},
		"a hand's power":    {memory, byHand, 1},
		"a handset of iron": {memory, iron, 1},
	} {
		if got := (&parent{cmd: &runCmd{Lanes: 3, OperatorMax: -1}, bench: tt.bench}).lanes(tt.handset); got != tt.want {
			t.Errorf("%s: %d lanes, want %d", name, got, tt.want)
		}
	}
}

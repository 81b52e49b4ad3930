package scenarios

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"

	"ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/model"
	"ip88rig/rig/report"
)

// failing judges a row as failed in a spec that stands on others, and ends it.
func failing(t *testing.T, h bench.Handset, row string, on ...string) (*run, report.Judgement) {
	t.Helper()
	r := newRun(Options{Lane: &rig.Lane{Config: rig.Config{Handset: h}}})
	r.spec = &specRun{story: &story{name: "a story", on: on}, over: timeline.TFTP, result: report.Spec{Rows: []string{row}, Transport: string(timeline.TFTP)}}
	view := timeline.View{Anchored: true, Closed: true, Watermark: time.Unix(0, 0)}
	s := &show{run: r, row: row, matcher: match.Register(), view: view}
	s.verdict = s.matcher.Judge(view)
	r.judge(s, report.Fail, false, s.verdict.Problem)
	j := r.spec.result.Judgements[0]
	r.finish(types.SpecReport{State: types.SpecStateFailed})
	return r, j
}

// unmeasured is a handset of which what is not named here was never measured.
func unmeasured(t *testing.T, measured map[string]string) bench.Handset {
	t.Helper()
	facts := model.Default(model.IP8830)
	for name, value := range measured {
		var err error
		if facts, err = facts.Override(name, value, "2026-11-22", "seen"); err != nil {
			t.Fatal(err)
		}
	}
	return bench.Handset{Name: "lab", Model: model.IP8830, Facts: facts}
}

func TestARealHandsetFailsNothingOnAnAssumption(t *testing.T) {
	on := func(name string) []string {
		for _, s := range registry {
			if strings.HasPrefix(s.name, name) {
				return s.on
			}
		}
		t.Fatalf("no scenario %q", name)
		return nil
	}
	never := map[string]string{}
	promised := map[string]string{"row-RSY-01": "measured"}
	both := map[string]string{"row-RSY-01": "measured", model.CheckSyncEvent: "check-sync"}
	for _, c := range []struct {
		name     string
		measured map[string]string
		row      string
		on       []string
		assumes  string
	}{
		{"a row of the guide", never, "ORD-01", nil, ""},
		{"a row of which only a sibling's manual speaks", never, "RSY-01", nil, "RSY-01 is promised by a sibling's manual only"},
		{"the event of it, once the row was measured", promised, "RSY-01", nil, model.CheckSyncEvent},
		{"both measured", both, "RSY-01", nil, ""},
		{"a spec that stands on that row", never, "NET-03", []string{"RSY-01"}, "RSY-01 is promised by a sibling's manual only"},
		{"a spec that stands on the event", promised, "WIF-02", []string{"CFG-11", "RSY-01"}, model.CheckSyncEvent},
		{"the same row in a spec that does not", never, "NET-03", nil, ""},
		{"a spec that stands on what was measured", both, "NET-03", []string{"RSY-01"}, ""},
		{"NOTIFY that is no check-sync", never, "RSY-04", on("bears unknown events"), ""},
		{"a flood of check-sync", promised, "RSY-04", on("bears floods"), model.CheckSyncEvent},
		{"a file that cannot be decrypted", map[string]string{model.WitnessFields: "VOIP/line1_name VOIP/timer_register_expires"}, "CFG-04", nil, model.DecryptKeyForm},
		{"a version file that is damaged", never, "FWU-11", nil, model.VersionSyntax},
		{"an authority that was copied to it", never, "TLS-08", nil, model.MaskField},
		{"what follows a refusal", never, "TLS-09", nil, model.MaskField},
		{"what follows a refusal, the mask measured", map[string]string{model.MaskField: "PROVISION/verifying_cert"}, "TLS-09", nil, ""},
	} {
		r, j := failing(t, unmeasured(t, c.measured), c.row, c.on...)
		want := report.Fail
		if c.assumes != "" {
			want = report.Inconclusive
		}
		if j.Verdict != want || !strings.Contains(j.Reason, c.assumes) {
			t.Errorf("%s: %s %q, want %s that names %q", c.name, j.Verdict, j.Reason, want, c.assumes)
		}
		if why, ok := r.broken[c.row+" tftp"]; !ok || why != j.Reason {
			t.Errorf("%s: what stands on %s is not blocked: %q", c.name, c.row, why)
		}
	}
}

func TestASimulatedHandsetFailsWhatItAssumes(t *testing.T) {
	h := unmeasured(t, nil)
	h.Simulated = true
	if _, j := failing(t, h, "NET-03", "RSY-01"); j.Verdict != report.Fail {
		t.Errorf("%s %q, want fail", j.Verdict, j.Reason)
	}
}

func TestWhatWasNotJudgedBreaksNothing(t *testing.T) {
	for v, want := range map[report.Verdict]bool{
		report.Fail: true, report.Known: true, report.Pass: false, report.Blocked: false, report.Skip: false, report.Drift: false,
	} {
		if got := breaks(report.Judgement{Verdict: v, Reason: "a reason"}); got != want {
			t.Errorf("%s: %v", v, got)
		}
	}
	if breaks(report.Judgement{Verdict: report.Inconclusive, Reason: "inconclusive: frames lost"}) {
		t.Error("frames lost: others are blocked by it")
	}
}

// Each row of which a document of another family is the only witness, and each
// spec that is set in motion by one, has a fact that settles it.
func TestEveryAssumptionHasAFactThatSettlesIt(t *testing.T) {
	var unsettled []string
	for _, s := range registry {
		for _, row := range slices.Concat(s.rows, s.on) {
			if promisedElsewhere(row) {
				if _, ok := model.Default(model.IP8830).Get("row-" + row); !ok {
					unsettled = append(unsettled, row)
				}
			}
			for _, name := range restsOn(row) {
				if _, ok := model.Default(model.IP8830).Get(name); !ok {
					unsettled = append(unsettled, row+": "+name)
				}
			}
		}
	}
	if len(unsettled) > 0 {
		t.Errorf("no fact settles %v", unsettled)
	}
}

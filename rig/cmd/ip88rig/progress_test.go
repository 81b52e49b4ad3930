package main

import (
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/report"
)

// everyVerdict is the seven of them with their reasons.
func everyVerdict() map[report.Verdict]string {
	return map[report.Verdict]string{
		report.Pass: "", report.Fail: "it asked nobody", report.Blocked: "blocked by offer: DHCP ACK lacks option 160 (frame 5)",
		report.Inconclusive: "inconclusive: tftpd died", report.Drift: "drift: retries: recorded 2, measured 3",
		report.Known: "known deviation: refuses (LAB-71, until 2027-03-31)", report.Skip: "needs the verb menu",
	}
}

func TestTheTerminalTellsEachVerdictWithItsReason(t *testing.T) {
	for v, reason := range everyVerdict() {
		got := progress(report.Spec{Name: "does it [XPT-01]", Verdict: v, Reason: reason + "\nand more", Took: 1500 * time.Millisecond})
		if !strings.HasPrefix(got, string(v)) || !strings.Contains(got, "does it [XPT-01]") || !strings.HasSuffix(got, reason) && reason != "" || strings.Contains(got, "\n") {
			t.Errorf("%s: got %q", v, got)
		}
	}
}

func TestTimelineAndLadderTellEachVerdictWithItsReason(t *testing.T) {
	for v, reason := range everyVerdict() {
		e := timeline.Event{
			Seq: 1, At: time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC), By: "scenario", Kind: timeline.Judgement, Message: "XPT-01", Reason: reason,
			Fields: map[string]string{"verdict": string(v), "matcher": "Ask"},
		}
		for name, text := range map[string]string{"timeline.txt": timeline.Text(timeline.LogOf(e)), "the ladder": timeline.Ladder(timeline.LogOf(e))} {
			if !strings.Contains(text, "XPT-01") || !strings.Contains(text, string(v)) || !strings.Contains(strings.Join(strings.Fields(text), " "), reason) {
				t.Errorf("%s does not tell %s with %q:\n%s", name, v, reason, text)
			}
		}
	}
}

package match

import (
	"testing"
	"time"

	"ip88rig/capture/timeline"
)

// BenchmarkJudgeLive judges again at every event of a long download, as the
// waiting of a scenario does at worst.
func BenchmarkJudgeLive(b *testing.B) {
	const events = 20000
	m := AskFor(global(), own(), version())
	for b.Loop() {
		tl, w := tell(routine()...)
		for i := range events {
			e := wire(rigMAC, timeline.TFTPData, "192.0.2.1:40000", "192.0.2.10:2001")
			e.At = start().Add(time.Duration(i) * time.Millisecond)
			tl.Add(e)
			if m.Judge(w.View()).OK {
				b.Fatal("the claim holds before the cycle is over")
			}
		}
	}
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "judgements/s")
}

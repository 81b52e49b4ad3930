package impair_test

import (
	"testing"
	"time"

	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
	"ip88rig/rig/wire"
)

func TestDelay(t *testing.T) {
	fare(t, []fated{
		{"late", []fault.Rule{toHandset().Do(impair.Delay{D: 20 * time.Millisecond}).Once()}, "[20ms].....", "......", "on frame to handset in wire: delays it by 20ms, once"},
		{"late twice over", []fault.Rule{toHandset().Do(impair.Delay{D: 1}), toHandset().Do(impair.Delay{D: 2}).From(5)}, "[1ns][1ns][1ns][1ns][3ns][3ns]", "......", ""},
	})
}

func TestADelayWithJitterStaysWithin(t *testing.T) {
	const d, jitter = 20 * time.Millisecond, 15 * time.Millisecond
	b := newBad(t, fault.On("*").Do(impair.Delay{D: d, Jitter: jitter, Seed: 1}))
	seen := map[time.Duration]bool{}
	for range 200 {
		v := b.Judge(true, wire.Frame{Data: data("x")})
		if v.Delay < d-jitter || v.Delay > d+jitter || !v.Ordered {
			t.Fatalf("%+v, want %v to %v, in order", v, d-jitter, d+jitter)
		}
		seen[v.Delay] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d different delays", len(seen))
	}
}

func TestDelaySaysWhatItDoes(t *testing.T) {
	const s = time.Second
	says(t, []said{
		{impair.Delay{D: s}, "delays it by 1s", ""},
		{impair.Delay{D: s, Jitter: s / 2, Seed: 1}, "delays it by 1s, up to 500ms more or less (seed 1)", ""},
		{impair.Delay{}, "", "needs more than 0"},
		{impair.Delay{D: s, Jitter: 2 * s}, "", "no more jitter than that"},
	})
}

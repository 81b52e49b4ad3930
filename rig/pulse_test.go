package rig

import (
	"testing"
	"time"
)

func TestARigThatStoodStillSaysSo(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name   string
		settle time.Duration
		gaps   []time.Duration // between beats that are due each 5 ms
		want   string
	}{
		{"a quiet machine", 150 * ms, []time.Duration{5 * ms, 6 * ms, 5 * ms}, ""},
		{"a loaded machine", 150 * ms, []time.Duration{30 * ms, 80 * ms, 140 * ms, 5 * ms}, ""},
		{"a stall", 150 * ms, []time.Duration{5 * ms, 305 * ms, 5 * ms}, "the rig was starved of CPU for 0.3 s"},
		{"two stalls", 150 * ms, []time.Duration{205 * ms, 5 * ms, 205 * ms, 100 * ms}, "the rig was starved of CPU for 0.4 s"},
		{"many short ones", 150 * ms, []time.Duration{100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms, 100 * ms}, ""},
		{"a real handset's quiet is longer, its retries are not", 45 * time.Second, []time.Duration{900 * ms, 1505 * ms}, "the rig was starved of CPU for 1.5 s"},
		{"a bench that settles at once", 0, []time.Duration{90 * ms, 5 * ms}, ""},
		{"nothing yet", 150 * ms, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPulse(5*ms, tt.settle)
			now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			p.beat(now)
			for _, gap := range tt.gaps {
				now = now.Add(gap)
				p.beat(now)
			}
			if got := p.trouble(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			p.forget()
			if got := p.trouble(); got != "" {
				t.Errorf("after forget: %q", got)
			}
		})
	}
}

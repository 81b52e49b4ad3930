package vtime_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/vtime"
)

func TestTheWishToEndComesInWithTheNextBeat(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := &vtime.Pulse{}
		from, ended := time.Now(), make(chan time.Duration, 100)
		go p.Beat(ctx, func() { ended <- time.Since(from) }) // ends with ctx
		sleep(12 * time.Second)
		if len(ended) > 0 || p.Ended() {
			t.Error("it ended without being asked to")
		}
		p.End()
		if got, want := <-ended, 15*time.Second; got != want || !p.Ended() {
			t.Errorf("it heard of the end after %v, want %v", got, want)
		}
	})
}

// held runs a bubble whose time moves on whenever something comes, and ends with end.
func held(t *testing.T, p *vtime.Pulse, on <-chan time.Time) (end func()) {
	t.Helper()
	over, left := make(chan struct{}), make(chan struct{})
	// Ends with over.
	go func() {
		defer close(left)
		vtime.Run(vtime.Start(1), func() {
			ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			defer cancel()
			go p.Beat(ctx, func() {}) // ends with ctx
			standsStillUntil(over, on)
		})
	}()
	return func() {
		close(over)
		<-left
	}
}

// standsStillUntil waits for what is outside, so that time stands still.
func standsStillUntil(over <-chan struct{}, on <-chan time.Time) {
	for {
		select {
		case <-over:
			return
		case <-on:
			sleep(time.Minute)
		}
	}
}

func TestAStandstillIsNoticed(t *testing.T) {
	const limit, every = 200 * time.Millisecond, 20 * time.Millisecond
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for _, tt := range []struct {
		name    string
		on      <-chan time.Time
		excused func(since time.Duration) bool
		stalls  bool
		least   time.Duration
	}{
		{"time stands still", nil, nil, true, limit},
		{"time moves", ticker.C, nil, false, 0},
		{"for a reason", nil, func(time.Duration) bool { return true }, false, 0},
		{"first for a reason", nil, func(since time.Duration) bool { return since < limit }, true, 2*limit - every},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &vtime.Pulse{}
			defer held(t, p, tt.on)()
			long := 3 * limit // when nothing is to come
			if tt.stalls {
				long = time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			from, told := time.Now(), []string(nil)
			w := vtime.Watchdog{Pulse: p, Limit: limit, Every: every, Stalled: func(goroutines string) { told = append(told, goroutines) }}
			if tt.excused != nil {
				w.Excused = func() bool { return tt.excused(time.Since(from)) }
			}
			w.Watch(ctx)
			took := time.Since(from)
			if !tt.stalls {
				if len(told) > 0 {
					t.Errorf("after %v it was told of\n%s", took, told)
				}
				return
			}
			if len(told) != 1 || took < tt.least {
				t.Fatalf("told %d times after %v, want once, after %v or more", len(told), took, tt.least)
			}
			if text := told[0]; !strings.HasPrefix(text, "virtual time has stood still for ") || !strings.Contains(text, "vtime_test.standsStillUntil(") {
				t.Errorf("it does not say who waits:\n%s", text)
			}
		})
	}
}

package vtime_test

import (
	"runtime"
	"testing"
	"time"

	"ip88rig/rig/vtime"
)

// sleep is what the bubbles of these tests do.
func sleep(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // time of the bubble
}

func TestRunBeginsAtTheStartThatIsAskedFor(t *testing.T) {
	for _, start := range []time.Time{vtime.Epoch, vtime.Epoch.Add(time.Nanosecond), vtime.Start(1), time.Date(2029, 12, 31, 23, 59, 59, 999, time.FixedZone("", 3600))} {
		var got time.Time
		vtime.Run(start, func() { got = time.Now() })
		if !got.Equal(start) {
			t.Errorf("began at %s, want %s", got, start)
		}
	}
}

func TestADayPassesInNoTime(t *testing.T) {
	const day = 24 * time.Hour
	began, took, ticks := time.Now(), time.Duration(0), 0
	vtime.Run(vtime.Start(1), func() {
		from := time.Now()
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for over := time.After(day); took == 0; {
			select {
			case <-tick.C:
				ticks++
			case <-over:
				took = time.Since(from)
			}
		}
	})
	if took != day || ticks < 24*60-1 || ticks > 24*60 {
		t.Errorf("%v passed with %d ticks, want %v with one a minute", took, ticks, day)
	}
	if outside := time.Since(began); outside > time.Minute {
		t.Errorf("it took %v of real time", outside)
	}
}

func TestRunEndsAfterAllThatItStarted(t *testing.T) {
	ended := false
	vtime.Run(vtime.Epoch, func() {
		over := make(chan struct{})
		defer close(over)
		go func() { // ends with over
			<-over
			for range 1000 {
				runtime.Gosched()
			}
			ended = true
		}()
	})
	if !ended {
		t.Error("it returned while a goroutine was at work")
	}
}

func TestVirtualTellsWhereTheCallerIs(t *testing.T) {
	if vtime.Virtual() {
		t.Error("outside of a bubble time is said to be virtual")
	}
	vtime.Run(vtime.Start(1), func() {
		if !vtime.Virtual() {
			t.Error("in a bubble time is said to be real")
		}
	})
}

func TestATestIsInVirtualTimeWithItsCleanups(t *testing.T) {
	var starts [2]time.Time
	var cleaned time.Duration
	for i := range starts {
		vtime.Test(t, func(t *testing.T) {
			starts[i] = time.Now()
			t.Cleanup(func() {
				sleep(time.Hour)
				cleaned += time.Since(starts[i])
			})
			if err := t.Context().Err(); err != nil {
				t.Error(err)
			}
		})
	}
	if !starts[0].Equal(starts[1]) || starts[0].Year() != 2026 {
		t.Errorf("they begin at %s", starts)
	}
	if cleaned != 2*time.Hour {
		t.Errorf("the cleanups took %v, want an hour each", cleaned)
	}
}

func TestTheStartIsTheSeeds(t *testing.T) {
	const seeds = 1000
	starts, years := map[time.Time]bool{}, map[int]bool{}
	for seed := range int64(seeds) {
		start := vtime.Start(seed - 10)
		if again := vtime.Start(seed - 10); again != start {
			t.Errorf("seed %d: %s, then %s", seed-10, start, again)
		}
		if y := start.Year(); y < 2026 || y > 2029 || start.Location() != time.UTC || start.Nanosecond() != 0 {
			t.Errorf("seed %d: %s is no second of 2026 to 2029", seed-10, start)
		}
		starts[start], years[start.Year()] = true, true
	}
	if len(starts) < seeds-5 || len(years) != 4 {
		t.Errorf("%d seeds have %d starts in %d years", seeds, len(starts), len(years))
	}
}

package rig_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/control"
	"ip88rig/rig/vtime"
)

// busy is a supply that has the machine do something else once it is on.
type busy struct {
	control.Power

	work func()
}

// On implements control.Power.
func (b busy) On(ctx context.Context) error {
	err := b.Power.On(ctx)
	b.work()
	return err
}

// spin does work of a length that the compiler leaves alone.
func spin(rounds int) {
	for range rounds {
		for range 1 << 16 {
		}
	}
}

// In real time, as serve has it on a wire in memory.
func TestARigThatIsKeptFromTheProcessorSaysSo(t *testing.T) {
	var others sync.WaitGroup
	starve := func() {
		was := runtime.GOMAXPROCS(1)
		until := time.Now().Add(1500 * time.Millisecond)
		for range 100 {
			// Ends by the time.
			others.Go(func() {
				for time.Now().Before(until) {
					spin(1)
				}
			})
		}
		t.Cleanup(func() {
			others.Wait()
			runtime.GOMAXPROCS(was)
		})
	}
	c := inMemory(t)
	c.Handset.Factor = 200
	c.Handset.Patience = c.Handset.Patience.Scale(c.Handset.Factor)
	c.Hooks.Power = func(p control.Power) control.Power { return busy{p, starve} }
	l := open(t, c)
	if err := l.OpenRecording(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	if _, err := poweredAgain(t, l, 1).Await(t.Context(), timeline.FactRegistered()); err != nil {
		t.Fatal(err)
	}
	l.Settle(t.Context())
	if got := l.Starved(); !strings.HasPrefix(got, rig.StarvedOfCPU) {
		t.Errorf("got %q, want it to say that %s", got, rig.StarvedOfCPU)
	}
}

// Virtual time stands still while there is other work.
func TestARigInVirtualTimeCannotBeStarved(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		took := -time.Second
		c := inMemory(t)
		c.Hooks.Power = func(p control.Power) control.Power {
			return busy{p, func() {
				start := time.Now()
				spin(1 << 12)
				took = time.Since(start)
			}}
		}
		l := open(t, c)
		if err := l.OpenRecording(t.TempDir()); err != nil {
			t.Fatal(err)
		}
		serve(t, l)
		if _, err := poweredAgain(t, l, 1).Await(t.Context(), timeline.FactRegistered()); err != nil {
			t.Fatal(err)
		}
		l.Settle(t.Context())
		if got := l.Starved(); got != "" || took != 0 {
			t.Errorf("it was kept busy for %v of virtual time, and says %q", took, got)
		}
	})
}

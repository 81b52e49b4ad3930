package rig_test

import (
	"strings"
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/vtime"
)

// In real time, as serve has it on a wire in memory.
func TestARigThatIsKeptFromTheProcessorSaysSo(t *testing.T) {
	c := inMemory(t)
	c.Sabotage, c.Handset.Factor = rig.Starved, 200
	c.Handset.Patience = c.Handset.Patience.Scale(c.Handset.Factor)
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

func TestARigInVirtualTimeCannotBeStarved(t *testing.T) {
	vtime.Test(t, func(t *testing.T) {
		c := inMemory(t)
		c.Sabotage = rig.Starved
		l, err := rig.Open(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), "sabotage starved: on a wire in memory time is virtual") {
			t.Errorf("got %v and %v, want it refused", l, err)
		}
	})
}

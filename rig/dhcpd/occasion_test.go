package dhcpd

import (
	"net/netip"
	"slices"
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

// TestAMessageWithItsAnswerIsOneOccasion hands over three DISCOVERs, and says
// behind how many of them each fault was.
func TestAMessageWithItsAnswerIsOneOccasion(t *testing.T) {
	twice := Duplicate{Copies: 1}
	for _, tt := range []struct {
		name  string
		rules []fault.Rule
		want  []int
	}{
		{"on anything", []fault.Rule{fault.On("*").Do(twice)}, []int{1, 2, 3}},
		{"on anything, from the second time on", []fault.Rule{fault.On("*").Do(twice).From(2)}, []int{2, 3}},
		{"on anything in a phase", []fault.Rule{fault.On("*").During(string(selecting)).Do(twice).From(2).Once()}, []int{2}},
		{"on the answer", []fault.Rule{fault.On("OFFER").Do(twice).From(3)}, []int{3}},
		{
			"on the message and on its answer, both fire",
			[]fault.Rule{fault.On("DISCOVER").Do(twice).Once(), fault.On("OFFER").Do(Duplicate{Copies: 2}).Once()},
			[]int{1, 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _, j, plan := bench(t, lease())
			for _, r := range tt.rules {
				plan.Add(r)
			}
			var fired []int
			for n := range 3 {
				s.handle(wire.Frame{Data: kind(1, phoneList()).frame(t), Number: n + 1})
				for _, e := range j.take() {
					if e.Kind == timeline.FaultFired {
						fired = append(fired, n+1)
					}
				}
			}
			if !slices.Equal(fired, tt.want) {
				t.Errorf("fired at %d, want %d", fired, tt.want)
			}
		})
	}
}

// TestAnAnswerThatAnEffectDoesNotFitIsNoOccasion hands over an INFORM, of which no
// address comes, and two DISCOVERs.
func TestAnAnswerThatAnEffectDoesNotFitIsNoOccasion(t *testing.T) {
	for _, e := range []fault.Effect{
		LeaseTimes{Lease: 7},
		WrongAddr{netip.MustParseAddr("198.51.100.1")},
		SecondServer{ID: netip.MustParseAddr("192.0.2.2"), Addr: netip.MustParseAddr("192.0.2.99")},
		WithoutOption{optLeaseTime},
		SplitOption{Code: optT1, At: 1},
		DoubleOption{Code: optT2},
	} {
		t.Run(e.String(), func(t *testing.T) {
			s, _, j, plan := bench(t, lease())
			plan.Add(fault.On("*").Do(e).From(2))
			for i, k := range []byte{8, 1, 1} {
				s.handle(wire.Frame{Data: kind(k, phoneList()).frame(t), Number: i + 1})
				fired := slices.ContainsFunc(j.take(), func(e timeline.Event) bool { return e.Kind == timeline.FaultFired })
				if want := i == 2; fired != want {
					t.Errorf("message %d: fired %t, want %t", i+1, fired, want)
				}
			}
		})
	}
}

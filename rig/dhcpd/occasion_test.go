package dhcpd

import (
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
			"the same on the message and on its answer, both fire",
			[]fault.Rule{fault.On("DISCOVER").Do(twice).Once(), fault.On("OFFER").Do(twice).Once()},
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

package impair_test

import (
	"strings"
	"testing"

	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
)

func TestDuplicate(t *testing.T) {
	fare(t, []fated{
		{"doubled", []fault.Rule{toHandset().Do(impair.Duplicate{Copies: 2}).Times(2)}, "(2)(2)....", "......", "on frame to handset in wire: sends it 3 times, 2 times"},
	})
	const n = 4000
	doubled := newBad(t, fault.On("*").Do(impair.Duplicate{Copies: 1, Percent: 20, Seed: 1})).fates(true, n)
	if got := strings.Count(doubled, "(1)"); got < n*17/100 || got > n*23/100 {
		t.Errorf("%d of %d are doubled, want about a fifth", got, n)
	}
}

func TestDuplicateSaysWhatItDoes(t *testing.T) {
	says(t, []said{
		{impair.Duplicate{Copies: 1}, "sends it 2 times", ""},
		{impair.Duplicate{Copies: 1, Percent: 5, Seed: 1}, "sends it 2 times with a chance of 5 % (seed 1)", ""},
		{impair.Duplicate{}, "", "needs 1 to 100"},
		{impair.Duplicate{Copies: 1, Percent: 500}, "", "not 0 to 100"},
		{impair.Duplicate{Copies: 1, Seed: 1}, "", "a chance of 0 % (seed 1) is never"},
	})
}

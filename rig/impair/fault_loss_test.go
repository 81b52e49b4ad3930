package impair_test

import (
	"math"
	"strings"
	"testing"

	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
	"ip88rig/rig/wire"
)

func TestLoss(t *testing.T) {
	fare(t, []fated{
		{"all are lost in one direction", []fault.Rule{toHandset().Do(impair.Lose{})}, "xxxxxx", "......", "on frame to handset in wire: loses it"},
		{
			"the third and the fourth from the handset are lost",
			[]fault.Rule{fault.On(impair.FromHandset).Do(impair.Lose{}).From(3).Times(2)},
			"......", "..xx..", "on frame from handset in wire from occasion 3: loses it, 2 times",
		},
		{
			"by a pattern, each direction by itself",
			[]fault.Rule{fault.On("*").Do(impair.Lose{Pattern: "..x"})},
			"..x..x", "..x..x", "on * in wire: loses it by the pattern ..x",
		},
		{
			"by chance",
			[]fault.Rule{toHandset().Do(impair.Lose{Percent: 50, Seed: 1})},
			".x.x.x", "......", "on frame to handset in wire: loses it with a chance of 50 % (seed 1)",
		},
		{"a pattern that is bounded", []fault.Rule{toHandset().Do(impair.Lose{Pattern: ".x"}).Times(2)}, ".x.x..", "......", ""},
		{"of one kind", []fault.Rule{fault.On("tftp").Do(impair.Lose{})}, "xxxxxx", "xxxxxx", ""},
		{"of another kind", []fault.Rule{fault.On("DHCP").Do(impair.Lose{})}, "......", "......", ""},
		{"of one kind in one direction", []fault.Rule{toHandset().Of("TFTP").Do(impair.Lose{})}, "xxxxxx", "......", "on frame to handset of TFTP in wire: loses it"},
		{"of another kind in one direction", []fault.Rule{toHandset().Of("DHCP").Do(impair.Lose{})}, "......", "......", ""},
		{"in another phase", []fault.Rule{toHandset().During("later").Do(impair.Lose{})}, "......", "......", ""},
		{"in another service", []fault.Rule{fault.On("block 1").Do(impair.Lose{})}, "......", "......", ""},
		{
			"in bursts",
			[]fault.Rule{toHandset().Do(impair.Burst{Enter: 30, Leave: 30, Bad: 100, Seed: 2})},
			"xxx...", "......", "on frame to handset in wire: loses it in bursts: turns bad with 30 %, good with 30 %, loses 0 % when good, 100 % when bad (seed 2)",
		},
	})
}

// Direction and kind bound a rule together: three of four frames are spared, and
// are no occasion.
func TestLossOfOneKindInOneDirection(t *testing.T) {
	b := newBad(t, fault.On(impair.FromHandset).Of("DHCP").Do(impair.Lose{}).From(2).Once())
	for round := 1; round <= 3; round++ {
		for _, f := range []struct {
			outbound, dhcp bool
			data           []byte
		}{
			{true, false, data("a block")},
			{true, true, packet(17, rig+":67", handset+":68", "an OFFER")},
			{false, false, packet(17, handset+":2001", rig+":40000", "\x00\x04\x00\x01")},
			{false, true, packet(17, handset+":68", rig+":67", "a REQUEST")},
		} {
			want := !f.outbound && f.dhcp && round == 2
			if v := b.Judge(f.outbound, wire.Frame{Data: f.data}); v.Drop != want {
				t.Errorf("round %d, %s, to the handset %t: lost %t, want %t", round, impair.Kind(f.data), f.outbound, v.Drop, want)
			}
		}
	}
}

// Chance comes near what it is called, and another seed gives other frames.
func TestChanceIsSeeded(t *testing.T) {
	const n = 4000
	fates := func(e fault.Effect) string { return newBad(t, fault.On("*").Do(e)).fates(true, n) }
	one := fates(impair.Lose{Percent: 20, Seed: 1})
	if lost := strings.Count(one, "x"); lost < n*17/100 || lost > n*23/100 {
		t.Errorf("lost %d of %d, want about a fifth", lost, n)
	}
	if fates(impair.Lose{Percent: 20, Seed: 1}) != one {
		t.Error("the same seed gave other frames")
	}
	if fates(impair.Lose{Percent: 20, Seed: 2}) == one {
		t.Error("another seed gave the same frames")
	}
	// On the average 1 in 11 frames meets a bad wire, for 10 frames each time.
	burst := fates(impair.Burst{Enter: 1, Leave: 10, Bad: 100, Seed: 1})
	lost, runs := strings.Count(burst, "x"), strings.Count("."+burst, ".x")
	if lost < n*5/100 || lost > n*14/100 || lost < 6*runs {
		t.Errorf("lost %d of %d in %d bursts, want about 9 %% in bursts of 10", lost, n, runs)
	}
}

// A wire that loses some frames when good and some when bad is held against what
// the model says: with the chance of the bad state, both chances of loss, and the
// mean length of a run of losses, that is P(loss) / P(loss behind none).
func TestBurstsAreThoseOfTheModel(t *testing.T) {
	const n = 40_000
	e := impair.Burst{Enter: 5, Leave: 20, Good: 5, Bad: 50, Seed: 7}
	enter, leave, good, bad := e.Enter/100, e.Leave/100, e.Good/100, e.Bad/100
	isBad := enter / (enter + leave)
	loss := isBad*bad + (1-isBad)*good
	twice := isBad*bad*((1-leave)*bad+leave*good) + (1-isBad)*good*(enter*bad+(1-enter)*good)
	run := loss / (loss - twice)

	got := newBad(t, fault.On("*").Do(e)).fates(true, n)
	lost, runs := strings.Count(got, "x"), strings.Count("."+got, ".x")
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > want/20 {
			t.Errorf("%s is %.4f, want %.4f within a twentieth", what, got, want)
		}
	}
	near("the share that is lost", float64(lost)/n, loss)
	near("the mean length of a burst", float64(lost)/float64(runs), run)
	if alone := 1 / (1 - loss); run < alone*1.2 {
		t.Fatalf("a burst of %.2f would be none: by chance alone it is %.2f", run, alone)
	}
	// The longest is far beyond what one chance for all frames comes to, and not
	// beyond what the bad state does.
	longest := 0
	for _, b := range strings.FieldsFunc(got, func(r rune) bool { return r == '.' }) {
		longest = max(longest, len(b))
	}
	if longest < 6 || longest > 20 {
		t.Errorf("the longest burst has %d frames, want 6 to 20", longest)
	}
}

func TestLossSaysWhatItDoes(t *testing.T) {
	says(t, []said{
		{impair.Lose{}, "loses it", ""},
		{impair.Lose{Pattern: "..x.x"}, "loses it by the pattern ..x.x", ""},
		{impair.Lose{Percent: 0.5, Seed: 3}, "loses it with a chance of 0.5 % (seed 3)", ""},
		{impair.Lose{Percent: 101}, "", "a chance of 101 % is not 0 to 100"},
		{impair.Lose{Percent: -1}, "", "not 0 to 100"},
		{impair.Lose{Percent: 0, Seed: 3}, "", "a chance of 0 % (seed 3) is never"},
		{impair.Lose{Percent: 10, Pattern: "x"}, "", "not both"},
		{impair.Lose{Pattern: "..o"}, "", "is not made of . and x"},
		{impair.Lose{Pattern: "..."}, "", "is not made of . and x"},
		{impair.Burst{Enter: 1, Leave: 10, Bad: 100}, "loses it in bursts: turns bad with 1 %, good with 10 %, loses 0 % when good, 100 % when bad (seed 0)", ""},
		{impair.Burst{Enter: 1, Leave: 10}, "", "there are none"},
		{impair.Burst{Enter: 1, Leave: 10, Bad: 1000}, "", "not 0 to 100"},
	})
}

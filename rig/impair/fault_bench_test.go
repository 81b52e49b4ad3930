package impair_test

import (
	"testing"
	"time"

	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
	"ip88rig/rig/wire"
)

func TestPhaseAndLinkAndCalm(t *testing.T) {
	later := fault.On(impair.ToHandset).During("later").Do(impair.Lose{}).From(2).Times(2)
	b := newBad(t, later)
	b.plan.Act(func(d fault.Deed, sentence string) {
		if phase, ok := d.(impair.Phase); ok {
			b.SetPhase(phase.Name)
			return
		}
		b.SetLink(false, sentence)
	})
	b.plan.Add(b.Bind(fault.On(impair.ToHandset).Do(impair.Phase{Name: "later"}).From(3).Once()))
	b.plan.Add(b.Bind(fault.On(impair.ToHandset).Do(impair.LinkDown{For: time.Second}).From(9).Once()))
	// The phase begins behind the third; the ninth frame goes with the link.
	if got, want := b.fates(true, 10), "....xx..xx"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := b.fates(false, 2); got != "xx" {
		t.Errorf("with the link down: %s", got)
	}
	if got := b.Judge(true, wire.Frame{Data: data("")}); got.Comment != "on frame to handset from occasion 9: takes the link down for 1s, once" {
		t.Errorf("%+v", got)
	}
	b.plan.Clear()
	b.Calm()
	if got := b.fates(true, 3) + b.fates(false, 3); got != "......" || b.Phase() != "" {
		t.Errorf("after calm: %s in phase %q", got, b.Phase())
	}
	// A rule declared again begins anew.
	pattern := fault.On("*").Do(impair.Lose{Pattern: "x.."})
	for range 2 {
		b.plan.Add(b.Bind(pattern))
		if got := b.fates(true, 2); got != "x." {
			t.Errorf("declared anew: %s", got)
		}
		b.plan.Clear()
		b.Calm()
	}
}

func TestDeedsSayWhatTheyDo(t *testing.T) {
	const s = time.Second
	says(t, []said{
		{impair.LinkDown{For: s}, "takes the link down for 1s", ""},
		{impair.LinkDown{}, "", "needs more than 0"},
		{impair.PowerCut{For: s}, "cuts the power for 1s", ""},
		{impair.PowerCut{After: s, For: s}, "cuts the power after 1s for 1s", ""},
		{impair.PowerCut{After: s}, "", "more than 0"},
		{impair.Phase{Name: "boot"}, `begins the wire's phase "boot"`, ""},
		{impair.Phase{}, "", "needs a name"},
	})
}

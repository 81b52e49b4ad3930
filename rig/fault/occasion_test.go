package fault_test

import (
	"slices"
	"testing"

	"ip88rig/rig/fault"
)

// on fits points of one message.
type on struct{ message string }

func (on) String() string { return "spoils it" }

// walk asks a plan at points one after the other, and returns for each rule the
// points, from 1, at which its effect acted.
func walk(p *fault.Plan, points []fault.Point, act func(n int) bool) map[fault.Effect][]int {
	out := map[fault.Effect][]int{}
	for i, pt := range points {
		e, _, ok := p.Try(pt, func(e fault.Effect) bool {
			only, ok := e.(on)
			return !ok || only.message == pt.Message
		}, func(fault.Effect) bool { return act == nil || act(i+1) })
		if ok {
			out[e] = append(out[e], i+1)
		}
	}
	return out
}

// transfers is two transfers of the same file, with a block sent twice.
func transfers() []fault.Point {
	first, second := &fault.Exchange{}, &fault.Exchange{}
	at := func(x *fault.Exchange, message, phase string, bytes int64) fault.Point {
		return fault.Point{Service: "tftpd", Message: message, File: "own", Phase: phase, Bytes: bytes, Exchange: x}
	}
	return []fault.Point{
		at(first, "RRQ", "", 0), at(first, "DATA", "block 1", 0), at(first, "DATA", "block 1", 0), at(first, "DATA", "block 2", 512),
		at(second, "RRQ", "", 0), at(second, "DATA", "block 1", 0), at(second, "DATA", "block 2", 512),
	}
}

type drop2 struct{ drop }

func TestAnOccasionIsWhatTheRuleNamesAndItsEffectFits(t *testing.T) {
	t.Parallel()
	data := on{"DATA"}
	for _, c := range []struct {
		name string
		rule fault.Rule
		want []int // of the points of transfers
	}{
		{"a file is an exchange", fault.On("own").Do(drop{}), []int{1, 5}},
		{"and so is anything", fault.On("*").Do(drop{}), []int{1, 5}},
		{"of one file", fault.On("*").Of("own").Do(drop{}), []int{1, 5}},
		{"the second time", fault.On("own").Do(drop{}).From(2), []int{5}},
		{"the third time, which never comes", fault.On("own").Do(drop{}).From(3), nil},
		{"at the first point that fits", fault.On("own").Do(data), []int{2, 6}},
		{"at the first point that fits, the second time", fault.On("own").Do(data).From(2).Once(), []int{6}},
		{"a message counts each time", fault.On("DATA").Do(drop{}).From(2), []int{3, 4, 6, 7}},
		{"a message that the effect does not fit is no occasion", fault.On("RRQ").Do(data), nil},
		{"a phase counts each time", fault.On("own").During("block 1").Do(drop{}).From(2), []int{3, 6}},
		{"bytes count each time", fault.On("own").Behind(512).Do(drop{}).From(2), []int{7}},
	} {
		var p fault.Plan
		p.Add(c.rule)
		if got := walk(&p, transfers(), nil)[c.rule.Effect()]; !slices.Equal(got, c.want) {
			t.Errorf("%s: %s: at %d, want %d", c.name, c.rule, got, c.want)
		}
	}
}

// TestRulesCountForThemselves has several rules in force: none hides an occasion
// from another.
func TestRulesCountForThemselves(t *testing.T) {
	t.Parallel()
	type fires map[fault.Effect][]int
	for _, c := range []struct {
		name  string
		rules []fault.Rule
		want  fires
	}{
		{
			"what was taken counts",
			[]fault.Rule{fault.On("DATA").Do(drop{}).Once(), fault.On("DATA").Do(drop2{}).From(2)},
			fires{drop{}: {2}, drop2{}: {3, 4, 6, 7}},
		},
		{
			"the next one is due where the first is used up",
			[]fault.Rule{fault.On("DATA").Do(drop{}).Times(2), fault.On("DATA").Do(on{"DATA"}).Times(2)},
			fires{drop{}: {2, 3}, on{"DATA"}: {4, 6}},
		},
		{
			"two on a file: the second one takes the next point of the exchange",
			[]fault.Rule{fault.On("own").Do(drop{}), fault.On("own").Do(drop2{})},
			fires{drop{}: {1, 5}, drop2{}: {2, 6}},
		},
		{
			"two on a file, the second time",
			[]fault.Rule{fault.On("own").Do(drop{}).Once(), fault.On("own").Do(drop2{}).From(2).Once()},
			fires{drop{}: {1}, drop2{}: {5}},
		},
		{
			"what does not fit hides nothing",
			[]fault.Rule{fault.On("own").Do(on{"ACK"}), fault.On("own").Do(drop{}).From(2)},
			fires{drop{}: {5}},
		},
	} {
		var p fault.Plan
		for _, r := range c.rules {
			p.Add(r)
		}
		got := walk(&p, transfers(), nil)
		for _, r := range c.rules {
			if want := c.want[r.Effect()]; !slices.Equal(got[r.Effect()], want) {
				t.Errorf("%s: %s: at %d, want %d", c.name, r, got[r.Effect()], want)
			}
		}
	}
}

func TestWhatChanceSparesIsAnOccasionAndNoFiring(t *testing.T) {
	t.Parallel()
	var p fault.Plan
	p.Add(fault.On("DATA").Do(drop{}).From(2).Times(2))
	p.Add(fault.On("own").Do(on{"DATA"}).Times(1))
	got := walk(&p, transfers(), func(n int) bool { return n != 3 })
	// Of DATA, 2 is passed over, 3 spared, 4 and 6 are hit.
	if want := []int{4, 6}; !slices.Equal(got[drop{}], want) {
		t.Errorf("at %d, want %d", got[drop{}], want)
	}
	if want := []int{2}; !slices.Equal(got[on{"DATA"}], want) {
		t.Errorf("the other one at %d, want %d", got[on{"DATA"}], want)
	}
	for i, want := range []int{2, 1} {
		if n := p.Ledger()[i].Fired; n != want {
			t.Errorf("rule %d fired %d times, want %d", i+1, n, want)
		}
	}
}

func TestAMessageAndItsAnswerAreOneOccasion(t *testing.T) {
	t.Parallel()
	var points []fault.Point
	for _, phase := range []string{"selecting", "selecting", "renewing"} {
		x := &fault.Exchange{Phase: phase}
		for _, m := range []string{"REQUEST", "ACK"} {
			points = append(points, fault.Point{Service: "dhcpd", Message: m, Phase: phase, Exchange: x})
		}
	}
	for _, c := range []struct {
		rule fault.Rule
		want []int
	}{
		{fault.On("*").Do(drop{}), []int{1, 3, 5}},
		{fault.On("*").Do(drop{}).From(2), []int{3, 5}},
		{fault.On("*").During("selecting").Do(drop{}).From(2), []int{3}},
		{fault.On("*").Do(on{"ACK"}).From(2), []int{4, 6}},
		{fault.On("ACK").During("selecting").Do(drop{}), []int{2, 4}},
	} {
		var p fault.Plan
		p.Add(c.rule)
		if got := walk(&p, points, nil)[c.rule.Effect()]; !slices.Equal(got, c.want) {
			t.Errorf("%s: at %d, want %d", c.rule, got, c.want)
		}
	}
}

func TestADeedIsDoneOnceInAnExchange(t *testing.T) {
	t.Parallel()
	var p fault.Plan
	at, done := 0, []int(nil)
	p.Act(func(fault.Deed, string) { done = append(done, at) })
	p.Add(fault.On("own").Do(drop{})) // hides no occasion
	p.Add(fault.On("own").Do(cut{}).From(2))
	for i, pt := range transfers() {
		at = i + 1
		p.At(pt)
	}
	if want := []int{5}; !slices.Equal(done, want) {
		t.Errorf("done at %d, want %d", done, want)
	}
}

// TestACopyOfARuleCountsForItself puts the same rule in force twice.
func TestACopyOfARuleCountsForItself(t *testing.T) {
	t.Parallel()
	var p fault.Plan
	p.Add(fault.On("own").Do(drop{}).Once())
	p.Add(fault.On("own").Do(drop{}).Once())
	if got, want := walk(&p, transfers(), nil)[drop{}], []int{1, 2}; !slices.Equal(got, want) {
		t.Errorf("at %d, want %d", got, want)
	}
}

package scenarios

import (
	"reflect"
	"slices"
	"testing"

	"ip88rig/capture/timeline"
)

// became is a handset that comes out of each point as it is written there.
func became(as func(int) Outcome, asked *[]int) func(int) (Outcome, bool) {
	return func(at int) (Outcome, bool) {
		*asked = append(*asked, at)
		return as(at), true
	}
}

func TestBisectionNarrowsToEachChange(t *testing.T) {
	for _, c := range []struct {
		name  string
		as    []Outcome // from the point of the same index in "at" on
		at    []int
		edges []Edge
		tries int // no more than these
	}{
		{"right at the low end", []Outcome{Unharmed, RecoveredByRig}, []int{0, 1}, []Edge{{Unharmed, RecoveredByRig, 0, 1}}, 9},
		{"in the middle", []Outcome{Unharmed, RecoveredItself}, []int{0, 37}, []Edge{{Unharmed, RecoveredItself, 36, 37}}, 9},
		{"right at the high end", []Outcome{Unharmed, Lost}, []int{0, 100}, []Edge{{Unharmed, Lost, 99, 100}}, 9},
		{"none of them unharmed", []Outcome{RecoveredItself, RecoveredByRig}, []int{0, 60}, []Edge{{RecoveredItself, RecoveredByRig, 59, 60}}, 9},
		{"from bad to worse", []Outcome{RecoveredByRig, Lost}, []int{0, 2}, []Edge{{RecoveredByRig, Lost, 1, 2}}, 9},
		{
			"several",
			[]Outcome{Unharmed, RecoveredItself, Lost},
			[]int{0, 30, 80},
			[]Edge{{Unharmed, RecoveredItself, 29, 30}, {RecoveredItself, Lost, 79, 80}},
			16,
		},
		{"no change", []Outcome{Lost}, []int{0}, nil, 2},
	} {
		var asked []int
		b := bisection(make(outcomes, 101), middles(0), became(func(at int) Outcome {
			i := len(c.at) - 1
			for c.at[i] > at {
				i--
			}
			return c.as[i]
		}, &asked))
		if !slices.Equal(b.Edges, c.edges) || b.Wide || b.From != c.as[0] || b.To != c.as[len(c.as)-1] {
			t.Errorf("%s: got %+v, want %v", c.name, b, c.edges)
		}
		if len(asked) > c.tries {
			t.Errorf("%s: tried %d of 101 points, want %d at most: %v", c.name, len(asked), c.tries, asked)
		}
	}
}

func TestBisectionKeepsToItsBound(t *testing.T) {
	for points, want := range map[int]int{1: 2, 2: 2, 3: 3, 5: 5} {
		var asked []int
		b := bisection(make(outcomes, 101), middles(points), became(func(at int) Outcome {
			if at < 60 {
				return Unharmed
			}
			return RecoveredByRig
		}, &asked))
		if len(asked) != want || !b.Wide || len(b.Edges) != 1 || b.Edges[0].Last >= 60 || b.Edges[0].First < 60 {
			t.Errorf("%d points: tried %v, want %d of them; got %+v", points, asked, want, b)
		}
	}
}

func TestBisectionSaysWhichPointsDoNoHarm(t *testing.T) {
	for _, c := range []struct {
		name        string
		harmed      int // from which point on it is not unharmed
		last, first int
	}{
		{"the first is too much", 0, -1, 0},
		{"the second is too much", 1, 0, 1},
		{"the last is too much", 4, 3, 4},
		{"none is too much", 5, 4, -1},
	} {
		var asked []int
		b := bisection(make(outcomes, 5), -1, became(func(at int) Outcome {
			if at < c.harmed {
				return Unharmed
			}
			return RecoveredItself
		}, &asked))
		if last, first := b.Harmless(); last != c.last || first != c.first {
			t.Errorf("%s: got %d and %d, want %d and %d", c.name, last, first, c.last, c.first)
		}
	}
}

func TestBisectionEndsWithAHandsetThatDoesNotComeHome(t *testing.T) {
	for _, c := range []struct {
		name  string
		stays int // from which point on it does not come home
		asked []int
		want  Bisection
	}{
		{"from the first", 0, []int{0}, Bisection{From: Lost, Wide: true, high: 100}},
		{"at the last", 100, []int{0, 100}, Bisection{From: Unharmed, To: Lost, Edges: []Edge{{Unharmed, Lost, 0, 100}}, Wide: true, high: 100}},
		{"on the way", 40, []int{0, 100, 50}, Bisection{From: Unharmed, To: RecoveredByRig, Edges: []Edge{{Unharmed, Lost, 0, 50}, {Lost, RecoveredByRig, 50, 100}}, Wide: true, high: 100}},
	} {
		var asked []int
		b := bisection(make(outcomes, 101), -1, func(at int) (Outcome, bool) {
			asked = append(asked, at)
			switch {
			case c.name == "on the way" && at == 100:
				return RecoveredByRig, true
			case at >= c.stays:
				return Lost, false
			}
			return Unharmed, true
		})
		if !reflect.DeepEqual(b, c.want) || !slices.Equal(asked, c.asked) {
			t.Errorf("%s: tried %v, want %v; got %+v, want %+v", c.name, asked, c.asked, b, c.want)
		}
	}
}

func TestASweepGoesOnBehindALostHandset(t *testing.T) {
	type at struct {
		out  Outcome
		home bool
	}
	for _, c := range []struct {
		name string
		come []at
		want outcomes
	}{
		{
			"that comes home",
			[]at{{Unharmed, true}, {Lost, true}, {RecoveredItself, true}, {Lost, true}},
			outcomes{Unharmed, Lost, RecoveredItself, Lost},
		},
		{
			"that does not come home",
			[]at{{RecoveredByRig, true}, {Lost, false}, {Unharmed, true}, {Unharmed, true}},
			outcomes{RecoveredByRig, Lost, Untried, Untried},
		},
		{
			"that is lost again at once",
			[]at{{Lost, true}, {Lost, true}, {Unharmed, true}, {Unharmed, true}},
			outcomes{Lost, Lost, Untried, Untried},
		},
		{"that was the last", []at{{Unharmed, true}, {Lost, false}}, outcomes{Unharmed, Lost}},
	} {
		out := slices.Repeat(outcomes{Untried}, len(c.come))
		for i, one := range c.come {
			if !out.enter(i, one.out, one.home) {
				break
			}
		}
		if !slices.Equal(out, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, out, c.want)
		}
	}
}

func TestTheTableTellsEachPointThatHasAnOutcome(t *testing.T) {
	points := []point{{name: "1 %"}, {name: "5 %"}, {name: "15 %"}, {name: "30 %"}}
	want := "1 %                                          unharmed\n" +
		"15 %                                         lost\n" +
		"30 %                                         not tried\n"
	if got := (outcomes{Unharmed, "", Lost, Untried}).table(points); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTriedTakesBothEnds(t *testing.T) {
	all := []int{1, 2, 3, 4, 5}
	for n, want := range map[int][]int{0: all, 1: {1}, 2: {1, 5}, 3: {1, 3, 5}, 9: all} {
		if got := tried(all, n); !slices.Equal(got, want) {
			t.Errorf("%d of them: got %v, want %v", n, got, want)
		}
	}
}

func TestAnUpgradeInOneCycleIsUnharmed(t *testing.T) {
	const global = "sysconf_8830_sip.cfg"
	asked := timeline.Event{Kind: timeline.Asked, File: global}
	image := timeline.Event{Kind: timeline.Asked, File: "image.rom"}
	registered := timeline.Event{Kind: timeline.Registered}
	rebooted := timeline.Event{Kind: timeline.Rebooted}
	off := timeline.Event{Kind: timeline.PowerOff}
	for _, c := range []struct {
		name   string
		events []timeline.Event
		want   bool
	}{
		{"at once", []timeline.Event{asked, image, rebooted, asked, registered}, true},
		{"the image asked for twice", []timeline.Event{asked, image, image, rebooted, asked, registered}, true},
		{"in the next cycle", []timeline.Event{asked, image, registered, asked, image, rebooted, asked, registered}, false},
		{"after a power cut", []timeline.Event{asked, image, off, asked, image, rebooted, asked, registered}, false},
		{"a power cut in the flash write", []timeline.Event{asked, image, off, asked, registered}, false},
		{"no reboot", []timeline.Event{asked, image, registered}, false},
	} {
		if got := inOneCycle(timeline.View{Events: timeline.LogOf(c.events...)}, timeline.FactAsked(global)); got != c.want {
			t.Errorf("%s: got %t", c.name, got)
		}
	}
}

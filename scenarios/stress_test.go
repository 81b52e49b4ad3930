package scenarios

import (
	"slices"
	"testing"
)

func TestBisectNarrowsToTheChange(t *testing.T) {
	for _, change := range []int{1, 37, 99, 100} {
		asked := 0
		last, first := bisect(0, 100, middles(0), func(v int) bool { asked++; return v < change })
		if last != change-1 || first != change {
			t.Errorf("change at %d: got %d and %d", change, last, first)
		}
		if asked > 7 {
			t.Errorf("change at %d: asked %d times of 100 values", change, asked)
		}
	}
	for points, want := range map[int]int{1: 0, 2: 0, 3: 1, 5: 3} {
		asked := 0
		last, first := bisect(0, 100, middles(points), func(v int) bool { asked++; return v < 60 })
		if asked != want || last >= 60 || first < 60 {
			t.Errorf("%d points: asked %d times, want %d; got %d and %d", points, asked, want, last, first)
		}
	}
}

func TestBisectionSaysWhichEndsThereAre(t *testing.T) {
	for _, c := range []struct {
		name        string
		lost        int // from which point on it is not unharmed
		tries       int
		last, first int
		wide        bool
	}{
		{"the first is too much", 0, -1, -1, 0, false},
		{"the second is too much", 1, -1, 0, 1, false},
		{"the last is too much", 4, -1, 3, 4, false},
		{"none is too much", 5, -1, 4, -1, false},
		{"too few are tried", 1, 0, 0, 4, true},
	} {
		b := bisection(4, c.tries, func(i int) Outcome {
			if i < c.lost {
				return Unharmed
			}
			return RecoveredByRig
		})
		if b.Last != c.last || b.First != c.first || b.Wide != c.wide {
			t.Errorf("%s: got %+v, want last %d, first %d, wide %t", c.name, b, c.last, c.first, c.wide)
		}
	}
}

func TestNoSilenceThatChangesNothingIsCalledNone(t *testing.T) {
	silences := []point{{name: "3 s"}, {name: "6 s"}}
	for at, want := range map[int][2]string{
		-1: {"none: registers as the file says after 3 s", "3 s"},
		0:  {"registers as the file says after 3 s", "3 s"},
		1:  {"registers as the file says after 6 s", "6 s"},
	} {
		if tells, silence := silentEnd(silences, at); tells != want[0] || silence.name != want[1] {
			t.Errorf("at %d: got %q under %q, want %q", at, tells, silence.name, want)
		}
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

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

func TestTriedTakesBothEnds(t *testing.T) {
	all := []int{1, 2, 3, 4, 5}
	for n, want := range map[int][]int{0: all, 1: {1}, 2: {1, 5}, 3: {1, 3, 5}, 9: all} {
		if got := tried(all, n); !slices.Equal(got, want) {
			t.Errorf("%d of them: got %v, want %v", n, got, want)
		}
	}
}

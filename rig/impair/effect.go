package impair

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"ip88rig/rig/fault"
)

// checked is an effect whose parameters can be wrong: check returns an error that
// names the parameter and its bounds.
type checked interface{ check() error }

// Kinds lists the effects, so that a file can name them: what the wire can do to a
// frame, or to the bench. Rules of several effects apply to one frame together;
// what is lost is lost. Each family has a file of its own, fault_*.go.
func Kinds() fault.Kinds {
	return fault.NewKinds("impair",
		Air{}, Burst{}, Corrupt{}, Delay{}, Duplicate{}, Limit{}, LinkDown{}, Lose{}, Phase{},
		PowerCut{}, Reorder{},
	)
}

// framed is an effect on frames; the others are deeds, which whoever opened the
// lane does.
type framed interface {
	fault.Effect
	// act does it to a frame, with what the rule remembers of its direction.
	act(j *judgement, st *state) outcome
	// rank says when the rule is tried.
	rank() int
	// seed is what chance is drawn from.
	seed() uint64
}

// The ranks: what is lost needs nothing else done to it, and whether a frame is
// overtaken shows when all else is done.
const (
	first = iota - 2
	early
	between
	last
)

// outcome is what an effect came to at a frame.
type outcome struct {
	// did is what became of the frame: Lost, Late, Doubled or Altered; blank:
	// nothing.
	did string
	// fired tells that the rule did what it says.
	fired bool
}

func did(what string) outcome { return outcome{did: what, fired: true} }

func percent(p float64) string { return strconv.FormatFloat(p, 'f', -1, 64) + " %" }

func byChance(p float64, seed uint64) string {
	if p == 0 {
		return ""
	}
	return fmt.Sprintf(" with a chance of %s (seed %d)", percent(p), seed)
}

// checkPercent wants 0 to 100.
func checkPercent(what string, values ...float64) error {
	for _, p := range values {
		if math.IsNaN(p) || p < 0 || p > 100 {
			return fmt.Errorf("%s: a chance of %v %% is not 0 to 100", what, p)
		}
	}
	return nil
}

// checkWhich holds the pattern, or the chance, by which frames are chosen against
// what they may be.
func checkWhich(what, pattern string, percent float64) error {
	switch {
	case pattern == "":
		return checkPercent(what, percent)
	case percent != 0:
		return fmt.Errorf("%s: by the pattern %q or by a chance of %v %%, not both", what, pattern, percent)
	case strings.Trim(pattern, ".x") != "" || !strings.Contains(pattern, "x"):
		return fmt.Errorf("%s: the pattern %q is not made of . and x", what, pattern)
	}
	return nil
}

// checkSeed refuses a chance of nothing: a seed tells that chance was meant, and
// without one every frame is.
func checkSeed(what string, every bool, percent float64, seed uint64) error {
	if every && percent == 0 && seed != 0 {
		return fmt.Errorf("%s: a chance of 0 %% (seed %d) is never; every frame is that without a seed", what, seed)
	}
	return nil
}

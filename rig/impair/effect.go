package impair

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"ip88rig/rig/fault"
)

// Effect is what the wire can do to a frame, or to the bench. Rules of several
// effects apply to one frame together; what is lost is lost.
//
//sumtype:decl
type Effect interface {
	fault.Effect
	sealed()
	check() error
}

// Lose loses the frame. With a Pattern, as "..x.x", it loses those under an x,
// and begins again behind the last; with Percent, so many by chance.
type Lose struct {
	Pattern string
	Percent float64
	Seed    uint64
}

// Burst loses frames in bursts (Gilbert and Elliott): before each frame the wire
// turns bad with a chance of Enter, or good again with a chance of Leave, and
// loses the frame with a chance of Good or Bad. All are in percent.
type Burst struct {
	Enter, Leave float64
	Good, Bad    float64
	Seed         uint64
}

// Delay holds the frame back, by D, up to Jitter more or less. The order of
// frames stays.
type Delay struct {
	D, Jitter time.Duration
	Seed      uint64
}

// Duplicate sends so many copies behind the frame; with Percent, of so many
// frames by chance.
type Duplicate struct {
	Copies  int
	Percent float64
	Seed    uint64
}

// Reorder holds each Every-th frame back by a time, so that those behind it
// overtake it.
type Reorder struct {
	Every int
	By    time.Duration
}

// Corrupt turns over one bit of an IPv4 packet; with a Pattern, as Lose has it, of
// those under an x; with Percent, of so many by chance. The checksums are wrong then, and whoever receives it throws it away,
// unless Mend makes them right again: then it is a bit of what UDP or TCP carries,
// and frames that carry nothing are spared.
type Corrupt struct {
	Mend    bool
	Pattern string
	Percent float64
	Seed    uint64
}

// Limit bounds how much goes through: in each direction of the rule so many
// bytes a second. What waits is bounded by Queue bytes (0 is 64 KiB); the rest is
// lost.
type Limit struct {
	BytesPerSecond int
	Queue          int
}

// LinkDown takes the handset's link away for a time.
type LinkDown struct{ For time.Duration }

// PowerCut takes the handset's power away for a time, at once or after a while.
type PowerCut struct{ After, For time.Duration }

// Phase begins a phase of the wire, for rules that are bound by During.
type Phase struct{ Name string }

func (Lose) sealed()      {}
func (Burst) sealed()     {}
func (Delay) sealed()     {}
func (Duplicate) sealed() {}
func (Reorder) sealed()   {}
func (Corrupt) sealed()   {}
func (Limit) sealed()     {}
func (LinkDown) sealed()  {}
func (PowerCut) sealed()  {}
func (Phase) sealed()     {}

// Deed marks what is done to the bench.
func (LinkDown) Deed() {}

// Deed marks what is done to the bench.
func (PowerCut) Deed() {}

// Deed marks what is done to the bench.
func (Phase) Deed() {}

// String is the predicate of a sentence.
func (e Lose) String() string {
	switch {
	case e.Pattern != "":
		return "loses it by the pattern " + e.Pattern
	case e.Percent > 0:
		return fmt.Sprintf("loses it with a chance of %s (seed %d)", percent(e.Percent), e.Seed)
	}
	return "loses it"
}

// String is the predicate of a sentence.
func (e Burst) String() string {
	return fmt.Sprintf("loses it in bursts: turns bad with %s, good with %s, loses %s when good, %s when bad (seed %d)",
		percent(e.Enter), percent(e.Leave), percent(e.Good), percent(e.Bad), e.Seed)
}

// String is the predicate of a sentence.
func (e Delay) String() string {
	if e.Jitter == 0 {
		return fmt.Sprintf("delays it by %v", e.D)
	}
	return fmt.Sprintf("delays it by %v, up to %v more or less (seed %d)", e.D, e.Jitter, e.Seed)
}

// String is the predicate of a sentence.
func (e Duplicate) String() string {
	return fmt.Sprintf("sends it %d times", e.Copies+1) + byChance(e.Percent, e.Seed)
}

// String is the predicate of a sentence.
func (e Reorder) String() string {
	return fmt.Sprintf("holds each %d. back by %v, past those behind it", e.Every, e.By)
}

// String is the predicate of a sentence.
func (e Corrupt) String() string {
	what := "turns over a bit of it"
	if e.Mend {
		what = "turns over a bit of its payload and mends the checksums"
	}
	switch {
	case e.Pattern != "":
		return fmt.Sprintf("%s by the pattern %s (seed %d)", what, e.Pattern, e.Seed)
	case e.Percent == 0:
		return fmt.Sprintf("%s (seed %d)", what, e.Seed)
	}
	return what + byChance(e.Percent, e.Seed)
}

// String is the predicate of a sentence.
func (e Limit) String() string {
	return fmt.Sprintf("lets %d bytes a second through, %d wait", e.BytesPerSecond, e.queue())
}

// String is the predicate of a sentence.
func (e LinkDown) String() string { return fmt.Sprintf("takes the link down for %v", e.For) }

// String is the predicate of a sentence.
func (e PowerCut) String() string {
	if e.After > 0 {
		return fmt.Sprintf("cuts the power after %v for %v", e.After, e.For)
	}
	return fmt.Sprintf("cuts the power for %v", e.For)
}

// String is the predicate of a sentence.
func (e Phase) String() string { return fmt.Sprintf("begins the wire's phase %q", e.Name) }

func percent(p float64) string { return strconv.FormatFloat(p, 'f', -1, 64) + " %" }

func byChance(p float64, seed uint64) string {
	if p == 0 {
		return ""
	}
	return fmt.Sprintf(" with a chance of %s (seed %d)", percent(p), seed)
}

func (e Limit) queue() int {
	if e.Queue == 0 {
		return 64 << 10
	}
	return e.Queue
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

func (e Lose) check() error { return checkWhich("lose", e.Pattern, e.Percent) }

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

func (e Burst) check() error {
	if err := checkPercent("burst", e.Enter, e.Leave, e.Good, e.Bad); err != nil {
		return err
	}
	if e.Enter == 0 || e.Leave == 0 || e.Bad == 0 {
		return fmt.Errorf("burst: with %v there are none", e)
	}
	return nil
}

func (e Delay) check() error {
	if e.D <= 0 || e.Jitter < 0 || e.Jitter > e.D {
		return fmt.Errorf("delay: %v with a jitter of %v: needs more than 0, and no more jitter than that", e.D, e.Jitter)
	}
	return nil
}

func (e Duplicate) check() error {
	if e.Copies < 1 || e.Copies > 100 {
		return fmt.Errorf("duplicate: %d copies: needs 1 to 100", e.Copies)
	}
	return checkPercent("duplicate", e.Percent)
}

func (e Reorder) check() error {
	if e.Every < 2 || e.By <= 0 {
		return fmt.Errorf("reorder: each %d. by %v: needs each second or less often, by more than 0", e.Every, e.By)
	}
	return nil
}

func (e Corrupt) check() error { return checkWhich("corrupt", e.Pattern, e.Percent) }

func (e Limit) check() error {
	if e.BytesPerSecond < 1 || e.Queue < 0 {
		return fmt.Errorf("limit: %d bytes a second, %d wait: needs at least 1 a second", e.BytesPerSecond, e.Queue)
	}
	return nil
}

func (e LinkDown) check() error {
	if e.For <= 0 {
		return fmt.Errorf("link down for %v: needs more than 0", e.For)
	}
	return nil
}

func (e PowerCut) check() error {
	if e.For <= 0 || e.After < 0 {
		return fmt.Errorf("power cut after %v for %v: needs to last more than 0", e.After, e.For)
	}
	return nil
}

func (e Phase) check() error {
	if e.Name == "" {
		return fmt.Errorf("phase: needs a name")
	}
	return nil
}

package impair

import (
	"fmt"
)

// Duplicate sends so many copies behind the frame; with Percent, of so many
// frames by chance.
type Duplicate struct {
	Copies  int
	Percent float64
	Seed    uint64
}

func (e Duplicate) String() string {
	return fmt.Sprintf("sends it %d times", e.Copies+1) + byChance(e.Percent, e.Seed)
}

func (e Duplicate) check() error {
	if e.Copies < 1 || e.Copies > 100 {
		return fmt.Errorf("duplicate: %d copies: needs 1 to 100", e.Copies)
	}
	if err := checkPercent("duplicate", e.Percent); err != nil {
		return err
	}
	return checkSeed("duplicate", true, e.Percent, e.Seed)
}

func (e Duplicate) seed() uint64 { return e.Seed }

func (Duplicate) rank() int { return between }

func (e Duplicate) act(j *judgement, st *state) outcome {
	if !st.chance(e.Percent) {
		return outcome{}
	}
	j.copies += e.Copies
	return did(Doubled)
}

package impair

import (
	"fmt"
)

// Lose loses the frame. With a Pattern, as "..x.x", it loses those under an x,
// and begins again behind the last; with Percent, so many by chance; with
// neither, every one.
type Lose struct {
	Pattern string
	Percent float64
	Seed    uint64
}

func (e Lose) String() string {
	switch {
	case e.Pattern != "":
		return "loses it by the pattern " + e.Pattern
	case e.Percent > 0:
		return fmt.Sprintf("loses it with a chance of %s (seed %d)", percent(e.Percent), e.Seed)
	}
	return "loses it"
}

func (e Lose) check() error {
	if err := checkWhich("lose", e.Pattern, e.Percent); err != nil {
		return err
	}
	return checkSeed("lose", e.Pattern == "", e.Percent, e.Seed)
}

func (e Lose) seed() uint64 { return e.Seed }

func (Lose) rank() int { return first }

func (e Lose) act(j *judgement, st *state) outcome {
	return j.lose(st.chosen(e.Pattern, e.Percent))
}

// Burst loses frames in bursts (Gilbert and Elliott): before each frame the wire
// turns bad with a chance of Enter, or good again with a chance of Leave, and
// loses the frame with a chance of Good or Bad. All are in percent.
type Burst struct {
	Enter, Leave float64
	Good, Bad    float64
	Seed         uint64
}

func (e Burst) String() string {
	return fmt.Sprintf("loses it in bursts: turns bad with %s, good with %s, loses %s when good, %s when bad (seed %d)",
		percent(e.Enter), percent(e.Leave), percent(e.Good), percent(e.Bad), e.Seed)
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

func (e Burst) seed() uint64 { return e.Seed }

func (Burst) rank() int { return first }

func (e Burst) act(j *judgement, st *state) outcome {
	if st.bad {
		st.bad = !st.draw(e.Leave)
	} else {
		st.bad = st.draw(e.Enter)
	}
	if st.bad {
		return j.lose(st.draw(e.Bad))
	}
	return j.lose(st.draw(e.Good))
}

func (j *judgement) lose(yes bool) outcome {
	if !yes {
		return outcome{}
	}
	j.drop = true
	return did(Lost)
}

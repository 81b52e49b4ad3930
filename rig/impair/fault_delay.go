package impair

import (
	"fmt"
	"time"
)

// Delay holds the frame back, by D, up to Jitter more or less. The order of
// frames stays.
type Delay struct {
	D, Jitter time.Duration
	Seed      uint64
}

func (e Delay) String() string {
	if e.Jitter == 0 {
		return fmt.Sprintf("delays it by %v", e.D)
	}
	return fmt.Sprintf("delays it by %v, up to %v more or less (seed %d)", e.D, e.Jitter, e.Seed)
}

func (e Delay) check() error {
	if e.D <= 0 || e.Jitter < 0 || e.Jitter > e.D {
		return fmt.Errorf("delay: %v with a jitter of %v: needs more than 0, and no more jitter than that", e.D, e.Jitter)
	}
	return nil
}

func (e Delay) seed() uint64 { return e.Seed }

func (Delay) rank() int { return between }

func (e Delay) act(j *judgement, st *state) outcome {
	late := e.D
	if e.Jitter > 0 {
		late += time.Duration(st.rng.Int64N(int64(2*e.Jitter)+1)) - e.Jitter
	}
	if late == 0 {
		return outcome{} // on time by chance
	}
	j.delay += late
	return did(Late)
}

package impair

import (
	"math/rand/v2"
	"time"

	"ip88rig/rig/fault"
)

// state is what a rule remembers of one direction.
type state struct {
	rng *rand.Rand
	n   int  // frames counted
	bad bool // of bursts
	// busy is until when a limited wire has something to send.
	busy time.Time
	// held is when a frame is due that nothing has overtaken yet.
	held time.Time
}

// state finds what a rule remembers of a direction.
func (s *Server) state(rule fault.Effect, e framed, outbound bool) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{rule, outbound}
	st := s.states[k]
	if st == nil {
		direction := uint64(1)
		if outbound {
			direction = 2
		}
		st = &state{rng: rand.New(rand.NewPCG(e.seed(), direction))} //nolint:gosec // chance that repeats is the point
		s.states[k] = st
	}
	return st
}

// draw is true with a chance in percent.
func (st *state) draw(percent float64) bool { return st.rng.Float64()*100 < percent }

// chance is draw, where 0 is always.
func (st *state) chance(percent float64) bool { return percent == 0 || st.draw(percent) }

// chosen tells whether the next frame is one of the pattern's, or of the chance
// where there is none.
func (st *state) chosen(pattern string, percent float64) bool {
	if pattern == "" {
		return st.chance(percent)
	}
	i := st.n % len(pattern)
	st.n++
	return pattern[i] == 'x'
}

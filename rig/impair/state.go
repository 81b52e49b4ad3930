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
}

// state finds what a rule remembers of a direction.
func (s *Server) state(rule fault.Effect, e Effect, outbound bool) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{rule, outbound}
	st := s.states[k]
	if st == nil {
		st = newState(e, outbound)
		s.states[k] = st
	}
	return st
}

func newState(e Effect, outbound bool) *state {
	direction := uint64(1)
	if outbound {
		direction = 2
	}
	return &state{rng: rand.New(rand.NewPCG(seed(e), direction))} //nolint:gosec // chance that repeats is the point
}

func seed(e Effect) uint64 {
	switch e := e.(type) {
	case Lose:
		return e.Seed
	case Burst:
		return e.Seed
	case Delay:
		return e.Seed
	case Duplicate:
		return e.Seed
	case Corrupt:
		return e.Seed
	case Reorder, Limit, LinkDown, PowerCut, Phase, Air: // nothing by chance
	}
	return 0
}

// draw is true with a chance in percent.
func (st *state) draw(percent float64) bool { return st.rng.Float64()*100 < percent }

// chance is draw, where 0 is always.
func (st *state) chance(percent float64) bool { return percent == 0 || st.draw(percent) }

func (st *state) loses(e Lose) bool { return st.chosen(e.Pattern, e.Percent) }

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

func (st *state) bursts(e Burst) bool {
	if st.bad {
		st.bad = !st.draw(e.Leave)
	} else {
		st.bad = st.draw(e.Enter)
	}
	if st.bad {
		return st.draw(e.Bad)
	}
	return st.draw(e.Good)
}

func (st *state) delay(e Delay) time.Duration {
	if e.Jitter == 0 {
		return e.D
	}
	return e.D - e.Jitter + time.Duration(st.rng.Int64N(int64(2*e.Jitter)+1))
}

// limit says when a frame of so many bytes has gone through, or that there is no
// room for it.
func (st *state) limit(e Limit, now time.Time, size int) (delay time.Duration, full bool) {
	if st.busy.Before(now) {
		st.busy = now
	}
	waiting := st.busy.Sub(now).Seconds() * float64(e.BytesPerSecond)
	if waiting+float64(size) > float64(e.queue()) && waiting > 0 {
		return 0, true
	}
	st.busy = st.busy.Add(time.Duration(float64(size) / float64(e.BytesPerSecond) * float64(time.Second)))
	return st.busy.Sub(now), false
}

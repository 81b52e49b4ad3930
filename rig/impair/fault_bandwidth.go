package impair

import (
	"fmt"
	"time"
)

// Limit bounds how much goes through: in each direction of the rule so many
// bytes a second. What waits is bounded by Queue bytes (0 is 64 KiB); the rest is
// lost.
type Limit struct {
	BytesPerSecond int
	Queue          int
}

func (e Limit) String() string {
	return fmt.Sprintf("lets %d bytes a second through, %d wait", e.BytesPerSecond, e.queue())
}

func (e Limit) check() error {
	if e.BytesPerSecond < 1 || e.Queue < 0 {
		return fmt.Errorf("limit: %d bytes a second, %d wait: needs at least 1 a second", e.BytesPerSecond, e.Queue)
	}
	return nil
}

func (Limit) seed() uint64 { return 0 }

func (Limit) rank() int { return early }

func (e Limit) queue() int {
	if e.Queue == 0 {
		return 64 << 10
	}
	return e.Queue
}

func (e Limit) act(j *judgement, st *state) outcome {
	delay, full := st.through(e, j.now, len(j.frame.Data))
	if full {
		return j.lose(true)
	}
	j.delay += delay
	return did(Late)
}

// through says when a frame of so many bytes has gone through, or that there is
// no room for it.
func (st *state) through(e Limit, now time.Time, size int) (delay time.Duration, full bool) {
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

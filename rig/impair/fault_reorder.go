package impair

import (
	"fmt"
	"time"
)

// Reorder holds each Every-th frame back by a time, so that those behind it
// overtake it. It has fired once one of them did: where none comes in that time,
// as on a wire in lock-step, the frame was late and nothing more.
type Reorder struct {
	Every int
	By    time.Duration
}

func (e Reorder) String() string {
	return fmt.Sprintf("holds each %d. back by %v, past those behind it", e.Every, e.By)
}

func (e Reorder) check() error {
	if e.Every < 2 || e.By <= 0 {
		return fmt.Errorf("reorder: each %d. by %v: needs each second or less often, by more than 0", e.Every, e.By)
	}
	return nil
}

func (Reorder) seed() uint64 { return 0 }

func (Reorder) rank() int { return last }

func (e Reorder) act(j *judgement, st *state) outcome {
	due := j.now.Add(j.delay)
	overtakes := due.Before(st.held)
	if st.n++; st.n%e.Every != 0 {
		if overtakes || !j.now.Before(st.held) {
			st.held = time.Time{}
		}
		return outcome{fired: overtakes}
	}
	j.delay += e.By
	j.reordered = true
	st.held = due.Add(e.By)
	return outcome{did: Late}
}

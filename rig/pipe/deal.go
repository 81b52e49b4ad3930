package pipe

import (
	"context"
	"errors"
	"maps"
	"sync"
)

// Take is a lane that asks whether it may run a spec, where several lanes share
// the specs of one handset.
type Take struct {
	// Number counts with a lane's questions.
	Number int `json:"number"`
	// Spec is its ID, Priority where it stands: those of a larger one come first.
	Spec     string `json:"spec"`
	Priority int    `json:"priority"`
	// Broken is what the lane's specs have failed so far: the reason by row and
	// transport.
	Broken map[string]string `json:"broken,omitempty"`
}

// Take asks the parent for a spec. It is false where another lane has it. What
// other lanes have failed so far comes with the answer.
func (l *Lane) Take(ctx context.Context, spec string, priority int, broken map[string]string) (mine bool, others map[string]string, err error) {
	number := l.number()
	d, err := l.answer(ctx, number, Up{Take: &Take{Number: number, Spec: spec, Priority: priority, Broken: broken}})
	if err != nil {
		return false, nil, err
	}
	return d.Taken, d.Broken, nil
}

// Dealer deals the specs of one handset to the lanes that ask for them, each to
// the first one. A spec waits until none of a larger priority runs, since what
// those fail may block it. It is safe for concurrent use.
type Dealer struct {
	mu     sync.Mutex
	taken  map[string]bool
	runs   map[int]int // priority by lane
	broken map[string]string
	// turned is closed, and made anew, whenever a lane has come to an end of a spec.
	turned chan struct{}
}

// NewDealer makes a dealer of which nothing is taken yet.
func NewDealer() *Dealer {
	return &Dealer{taken: map[string]bool{}, runs: map[int]int{}, broken: map[string]string{}, turned: make(chan struct{})}
}

// Deal answers one lane, once the spec's turn has come. By asking, the lane says
// that its spec before is over. An error is ctx's.
func (d *Dealer) Deal(ctx context.Context, lane int, t Take) (Down, error) {
	d.Over(lane)
	for {
		d.mu.Lock()
		maps.Copy(d.broken, t.Broken)
		answer := Down{Number: t.Number}
		if d.taken[t.Spec] {
			d.mu.Unlock()
			return answer, nil
		}
		if !d.waits(t.Priority) {
			d.taken[t.Spec], d.runs[lane] = true, t.Priority
			answer.Taken, answer.Broken = true, maps.Clone(d.broken)
			d.mu.Unlock()
			return answer, nil
		}
		turned := d.turned
		d.mu.Unlock()
		select {
		case <-turned:
		case <-ctx.Done():
			return Down{}, errors.Join(errors.New("no spec was dealt"), context.Cause(ctx))
		}
	}
}

// waits tells whether a spec of larger priority runs; the lock is held.
func (d *Dealer) waits(priority int) bool {
	for _, p := range d.runs {
		if p > priority {
			return true
		}
	}
	return false
}

// Over says that a lane runs no spec any more: it asks for another one, or it has
// ended.
func (d *Dealer) Over(lane int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.runs, lane)
	close(d.turned)
	d.turned = make(chan struct{})
}

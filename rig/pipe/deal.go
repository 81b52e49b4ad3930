package pipe

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// Take is a lane that asks whether it may run a spec, where several lanes share
// the specs of one handset.
type Take struct {
	// Number counts with a lane's questions.
	Number int `json:"number"`
	// Spec is its ID, Rows are those that it judges, Stands those that it takes for
	// given.
	Spec   string   `json:"spec"`
	Rows   []string `json:"rows,omitempty"`
	Stands []string `json:"stands,omitempty"`
	// Broken is what the lane's specs have failed so far: the reason by row and
	// transport.
	Broken map[string]string `json:"broken,omitempty"`
}

// Take asks the parent for a spec; the number is filled in. It is false where
// another lane has it. What other lanes have failed so far comes with the answer.
func (l *Lane) Take(ctx context.Context, t Take) (mine bool, others map[string]string, err error) {
	t.Number = l.number()
	d, err := l.answer(ctx, t.Number, Up{Take: &t})
	if err != nil {
		return false, nil, err
	}
	return d.Taken, d.Broken, nil
}

// Dealer deals the specs of one handset to the lanes that ask for them, each to
// the first one. A spec waits while one runs that judges a row it stands on: if
// that fails, it is blocked. It is safe for concurrent use.
type Dealer struct {
	mu     sync.Mutex
	taken  map[string]bool
	runs   map[int][]string // rows by lane
	broken map[string]string
	// turned is closed, and made anew, whenever a lane has come to an end of a spec.
	turned chan struct{}
}

// NewDealer makes a dealer of which nothing is taken yet.
func NewDealer() *Dealer {
	return &Dealer{taken: map[string]bool{}, runs: map[int][]string{}, broken: map[string]string{}, turned: make(chan struct{})}
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
		if !d.waits(t.Stands) {
			d.taken[t.Spec], d.runs[lane] = true, t.Rows
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

// waits tells whether a spec runs that judges one of the rows; the lock is held.
func (d *Dealer) waits(stands []string) bool {
	for _, rows := range d.runs {
		if slices.ContainsFunc(rows, func(row string) bool { return slices.Contains(stands, row) }) {
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

package pipe

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Take is a lane that asks whether it may run a spec, where several lanes share
// the specs of one handset.
type Take struct {
	// Number counts with a lane's questions.
	Number int `json:"number"`
	// Spec is its ID and Name its text, Rows are those that it judges, Stands those
	// that it takes for given.
	Spec   string   `json:"spec"`
	Name   string   `json:"name,omitempty"`
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
	taken  map[string]Take
	told   map[string]bool
	runs   map[int][]string // rows by lane
	broken map[string]string
	// turned is closed, and made anew, whenever a lane has come to an end of a spec.
	turned chan struct{}
}

// NewDealer makes a dealer of which nothing is taken yet.
func NewDealer() *Dealer {
	return &Dealer{taken: map[string]Take{}, told: map[string]bool{}, runs: map[int][]string{}, broken: map[string]string{}, turned: make(chan struct{})}
}

// Deal answers one lane, once the spec's turn has come. By asking, the lane says
// that its spec before is over. An error is ctx's.
func (d *Dealer) Deal(ctx context.Context, lane int, t Take) (Down, error) {
	d.over(lane, t.Broken)
	for {
		answer, turned := d.deal(lane, t)
		if turned == nil {
			return answer, nil
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return Down{}, errors.Join(errors.New("no spec was dealt"), context.Cause(ctx))
		}
	}
}

// deal answers if the spec's turn has come, else it returns what to wait for.
func (d *Dealer) deal(lane int, t Take) (Down, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	answer := Down{Number: t.Number}
	if _, ok := d.taken[t.Spec]; ok {
		return answer, nil
	}
	if d.waits(t.Stands) {
		return answer, d.turned
	}
	d.taken[t.Spec], d.runs[lane] = t, t.Rows
	answer.Taken, answer.Broken = true, maps.Clone(d.broken)
	return answer, nil
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

// Over says that a lane runs no spec any more, because it has ended.
func (d *Dealer) Over(lane int) { d.over(lane, nil) }

// over takes in what a lane has failed together with that its spec is over: who
// waited for that spec must hear of it.
func (d *Dealer) over(lane int, broken map[string]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.Copy(d.broken, broken)
	delete(d.runs, lane)
	close(d.turned)
	d.turned = make(chan struct{})
}

// Told says that the result of a spec has come.
func (d *Dealer) Told(spec string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told[spec] = true
}

// Lost are the specs that a lane has taken and never told of, in the order of
// their IDs. It is asked once all lanes have ended.
func (d *Dealer) Lost() []Take {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Take
	for spec, t := range d.taken {
		if !d.told[spec] {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b Take) int { return strings.Compare(a.Spec, b.Spec) })
	return out
}

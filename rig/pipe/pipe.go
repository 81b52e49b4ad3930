// Package pipe is how a lane, a process of its own, speaks with the parent that
// started it: progress and questions go up, answers come down, one JSON value a
// line. A lane ends when its parent is gone.
package pipe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"ip88rig/rig/control"
	"ip88rig/rig/report"
)

// Up is one message of a lane. Exactly one of its fields is set, but for Virtual.
type Up struct {
	// Plan comes first: how many specs, and what they cost.
	Plan *Plan `json:"plan,omitempty"`
	// Started and Done bracket a spec; Waiting says what it does now.
	Started *report.Spec `json:"started,omitempty"`
	Done    *report.Spec `json:"done,omitempty"`
	Waiting string       `json:"waiting,omitempty"`
	// Ask wants something done by hand; the answer comes down.
	Ask *Question `json:"ask,omitempty"`
	// Withdrawn is the number of a question that nobody waits for any more.
	Withdrawn int `json:"withdrawn,omitempty"`
	// Left says after the last spec why the handset is not at golden, Home that it
	// is. A lane that says neither has left it who knows how.
	Left string `json:"left,omitempty"`
	Home bool   `json:"home,omitempty"`
	// Virtual is how long the lane took by its own clock, where that is virtual; it
	// comes beside Left or Home.
	Virtual time.Duration `json:"virtual,omitempty"`
	// Died says why the lane could not go on.
	Died string `json:"died,omitempty"`
}

// Plan is what a lane is about to do.
type Plan struct {
	Specs   int `json:"specs"`
	Skipped int `json:"skipped"`
	Power   int `json:"power"`
	Hands   int `json:"hands"`
}

// Question is one that a person answers.
type Question struct {
	// Number counts a lane's questions from 1.
	Number int `json:"number"`
	control.Request
}

// Down is one answer of the parent.
type Down struct {
	// Number is the question's.
	Number int `json:"number"`
	// Error says why it was not done; blank: it was.
	Error string `json:"error,omitempty"`
	// End is no answer: the lane is to end, in order.
	End bool `json:"end,omitempty"`
}

// MaxLine bounds a message, in bytes: a spec's result with its failure text.
const MaxLine = 8 << 20

// Lane is the lane's end. It is safe for concurrent use.
type Lane struct {
	mu    sync.Mutex
	up    *json.Encoder
	asked int
	// answers holds the newest answer only: who no longer waits for one does not
	// take it away.
	answers chan Down
	gone    chan struct{}
	// asking is how many questions are open.
	asking atomic.Int32
}

// NewLane takes the two pipes. It reads down until that ends, or the parent says
// that the lane is to end, and then closes Gone.
func NewLane(up io.Writer, down io.Reader) *Lane {
	l := &Lane{up: json.NewEncoder(up), answers: make(chan Down, 1), gone: make(chan struct{})}
	// Ends when the parent closes its end, or dies, or says so.
	go func() {
		defer close(l.gone)
		dec := json.NewDecoder(down)
		for {
			var d Down
			if err := dec.Decode(&d); err != nil || d.End {
				return
			}
			select {
			case <-l.answers:
			default:
			}
			l.answers <- d
		}
	}()
	return l
}

// Gone is closed when the parent is gone, or wants the lane to end.
func (l *Lane) Gone() <-chan struct{} { return l.gone }

// Asking tells whether the parent has yet to answer a question.
func (l *Lane) Asking() bool { return l.asking.Load() > 0 }

// Send tells the parent; a parent that is gone hears nothing.
func (l *Lane) Send(u Up) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.up.Encode(u)
}

var _ control.Operator = (*Lane)(nil)

// Do implements control.Operator: the parent owns the terminal.
func (l *Lane) Do(ctx context.Context, r control.Request) error {
	number := l.number()
	d, err := l.answer(ctx, number, Up{Ask: &Question{Number: number, Request: r}})
	if err == nil && d.Error != "" {
		return errors.New(d.Error)
	}
	return err
}

// number is that of the next question.
func (l *Lane) number() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	return l.asked
}

// answer asks the parent and waits for what it says.
func (l *Lane) answer(ctx context.Context, number int, u Up) (Down, error) {
	l.asking.Add(1)
	defer l.asking.Add(-1)
	l.Send(u)
	for {
		select {
		case d := <-l.answers:
			if d.Number == number { // else of a question that was withdrawn
				return d, nil
			}
		case <-l.gone:
			return Down{}, errors.New("the run has ended, or its process is gone")
		case <-ctx.Done():
			l.Send(Up{Withdrawn: number})
			return Down{}, ctx.Err()
		}
	}
}

// Read calls fn for each message of a lane until its pipe ends.
func Read(r io.Reader, fn func(Up) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), MaxLine)
	for sc.Scan() {
		var u Up
		if err := json.Unmarshal(sc.Bytes(), &u); err != nil {
			return fmt.Errorf("message of a lane: %w", err)
		}
		if err := fn(u); err != nil {
			return err
		}
	}
	return sc.Err()
}

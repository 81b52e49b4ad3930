package rig

import (
	"fmt"
	"sync"
	"time"
)

// pulse notices that the rig did not get to run: then a handset that was left
// without an answer is not to blame. It beats with the recorder's clock. A nil one
// is that of a lane in virtual time, which stands still with its rig.
type pulse struct {
	every time.Duration
	// bound is by how much a beat may be late.
	bound time.Duration

	mu   sync.Mutex
	last time.Time
	late time.Duration
}

// StarvedOfCPU begins the reason of what is inconclusive because the rig did not
// get to run.
const StarvedOfCPU = "the rig was starved of CPU"

// What is the rig's own unrest, and what no handset waits for in vain.
const (
	leastStall = 100 * time.Millisecond
	mostStall  = time.Second
)

// newPulse makes a pulse for a lane that takes quiet of a length for quiet.
func newPulse(every, settle time.Duration) *pulse {
	return &pulse{every: every, bound: min(max(settle, leastStall), mostStall)}
}

// beat is called every so often, at a time that carries a monotonic reading.
func (p *pulse) beat(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() {
		if late := now.Sub(p.last) - p.every; late > p.bound {
			p.late += late
		}
	}
	p.last = now
}

// forget begins to count anew.
func (p *pulse) forget() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late = 0
}

// trouble says for how long the rig stood still since forget; empty: it did not.
func (p *pulse) trouble() string {
	if p == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.late == 0 {
		return ""
	}
	return fmt.Sprintf(StarvedOfCPU+" for %.1f s", p.late.Seconds())
}

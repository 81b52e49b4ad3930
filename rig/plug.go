package rig

import (
	"context"
	"sync"
)

// plug is the supply of a simulated handset that sits on an interface, where no
// switch of ours feeds it.
type plug struct {
	mu      sync.Mutex
	on      bool
	outages uint64
	changed chan struct{}
}

func newPlug() *plug { return &plug{changed: make(chan struct{})} }

// Power implements virtual.Supply.
func (p *plug) Power() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.on
}

// Watch implements virtual.Supply.
func (p *plug) Watch() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Outages tells the handset of a cut that was over before it looked.
func (p *plug) Outages() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.outages
}

// On implements control.Power.
func (p *plug) On(context.Context) error { return p.set(true) }

// Off implements control.Power.
func (p *plug) Off(context.Context) error { return p.set(false) }

func (p *plug) set(on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on != on {
		p.on = on
		if !on {
			p.outages++
		}
		close(p.changed)
		p.changed = make(chan struct{})
	}
	return nil
}

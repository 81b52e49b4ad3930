package virtual

import (
	"context"
	"sync"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/dhcpc"
)

// cable is what a wired.Port or a Supply may tell besides: whether there is a
// link. *wire.SwitchPort does. Of a WiFi module it is the access point's air
// (*air.Air, or else the port's link): without it the module is de-authenticated,
// and with it the module associates first.
type cable interface {
	Link() bool
	// Watch returns a channel that is closed at the next change of link or power.
	Watch() <-chan struct{}
}

func (h *Handset) cable() cable {
	if a := h.air(); a != nil {
		return a
	}
	if c, ok := h.cfg.Port.(cable); ok {
		return c
	}
	if c, ok := h.cfg.Supply.(cable); ok {
		return c
	}
	return nil
}

// link is the link of one boot as the handset sees it: up from the end of the
// association on.
type link struct {
	again chan dhcpc.Again // the lease is to be asked for

	mu     sync.Mutex
	up     bool
	losses int
	change chan struct{} // closed when up changes
}

func newLink() *link {
	return &link{again: make(chan dhcpc.Again, 1), up: true, change: make(chan struct{})}
}

func (l *link) set(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up == up {
		return
	}
	l.up = up
	if !up {
		l.losses++
	}
	close(l.change)
	l.change = make(chan struct{})
}

// state tells whether the link is up, how often it was lost in this boot, and
// hands out a channel that is closed at the next change.
func (l *link) state() (up bool, losses int, change <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up, l.losses, l.change
}

// associate waits for the access point and joins it, as a WiFi module must
// before its first frame. A wired handset has nothing to wait for. It returns
// the channel that tells of the next change of the link, nil without one.
func (h *Handset) associate(ctx context.Context) (change <-chan struct{}, err error) {
	c := h.cable()
	h.begin()
	if h.module() != nil && h.hung.Load() > 0 {
		h.log.Info("the module hangs (defect)")
		return nil, h.rest(ctx, 0, make(chan struct{})) // until power goes
	}
	for {
		if c != nil {
			change = c.Watch()
			if h.module() != nil && !c.Link() {
				if err := h.rest(ctx, 0, change); err != nil {
					return nil, err
				}
				continue
			}
		}
		if h.module() == nil {
			return change, ctx.Err()
		}
		if err := h.rest(ctx, h.associationTime(), nil); err != nil {
			return nil, err
		}
		select {
		case <-change: // lost meanwhile
			continue
		default:
		}
		if h.joins() {
			return change, nil
		}
		var until <-chan struct{}
		if h.givesUp() {
			until = make(chan struct{}) // never
		}
		if err := h.rest(ctx, h.wait(model.WiFiRetryTime), until); err != nil {
			return nil, err
		}
	}
}

func (h *Handset) associationTime() time.Duration {
	d := h.wait(model.WiFiAssociationTime)
	if h.cfg.Defects.Has(defect.AssociatesSlowly) {
		d *= 10
	}
	return d
}

// watchLink follows the link until ctx ends. Every change while it was up is a
// loss, however short; power that goes is none.
func (b *boot) watchLink(ctx context.Context, change <-chan struct{}) {
	h, c, up := b.h, b.h.cable(), true
	if c == nil || change == nil {
		return
	}
	for outages := h.outages(); ; {
		if up {
			select {
			case <-change:
			case <-ctx.Done():
				return
			}
			if h.cfg.Supply != nil && !h.cfg.Supply.Power() || h.outages() != outages {
				return
			}
			up = false
			b.linkLost()
			if h.module() != nil && (h.cfg.Defects.Has(defect.DeauthSticks) || h.staysBehind() || h.hangs(b.cycling.Load())) {
				return
			}
		}
		change = c.Watch()
		var joined <-chan time.Time
		if c.Link() {
			wait := time.Duration(0)
			if h.module() != nil {
				wait = h.joinTime()
			}
			joined = time.After(wait)
		}
		select {
		case <-joined:
			if !h.joins() {
				if h.givesUp() {
					return
				}
				continue
			}
			up = true
			b.linkBack(ctx)
		case <-change:
		case <-ctx.Done():
			return
		}
	}
}

func (b *boot) linkLost() {
	h := b.h
	h.log.Info("link lost")
	h.cord.deaf.Store(h.module() != nil)
	h.mu.Lock()
	h.memory.linkLost = true
	h.mu.Unlock()
	b.link.set(false)
}

// linkBack has everything that waits for the network look again. What becomes
// of the lease is a fact.
func (b *boot) linkBack(ctx context.Context) {
	h := b.h
	h.log.Info("link back")
	h.cord.deaf.Store(false)
	how := dhcpc.Renew
	switch h.cfg.Facts.Text(model.LinkUpDHCP) {
	case "init-reboot":
		how = dhcpc.Reboot
		fallthrough
	case "renew":
		select {
		case b.link.again <- how:
		default: // it is to be asked for anyway
		}
	}
	b.link.set(true)
	if agent := b.line(); agent != nil {
		_ = agent.Retry(ctx) // it has ended, and will register when it begins again
	}
	b.nudge()
}

package virtual

import (
	"context"
	"sync"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/dhcpc"
)

// cable is what a wire.Port or a Supply may report besides: whether there is a
// link. *wire.SwitchPort does. Of a WiFi module it is the access point's air
// (*air.Air, or else the port's link): without it the module is de-authenticated,
// and with it the module associates first.
type cable interface {
	Link() bool
	// Watch returns a channel that is closed at the next change of link or power.
	Watch() <-chan struct{}
}

// carrier follows the link of a boot: that of the cable, or of the module to its
// access point.
type carrier struct {
	*radio

	link *link
	// busy reports whether a provisioning cycle is under way.
	busy func() bool
	// back is called when the link is back.
	back func(context.Context)
}

func (c *carrier) cable() cable {
	if a := c.air(); a != nil {
		return a
	}
	if p, ok := c.cfg.Port.(cable); ok {
		return p
	}
	if s, ok := c.cfg.Supply.(cable); ok {
		return s
	}
	return nil
}

// link is the link of one boot as the handset sees it: up from the end of the
// association on.
type link struct {
	again chan dhcpc.Again // how the lease is to be asked for anew

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

// state reports whether the link is up, how often it was lost in this boot, and
// hands out a channel that is closed at the next change.
func (l *link) state() (up bool, losses int, change <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up, l.losses, l.change
}

// associate waits for the access point and joins it, as a WiFi module must
// before its first frame. A wired handset has nothing to wait for. It returns
// the channel that is closed at the next change of the link, nil without one.
func (c *carrier) associate(ctx context.Context) (change <-chan struct{}, err error) {
	cable := c.cable()
	c.begin()
	if c.module() != nil && c.hung.Load() > 0 {
		c.log.Info("the module hangs (defect)")
		return nil, c.rest(ctx, 0, make(chan struct{})) // until power goes
	}
	for {
		if cable != nil {
			change = cable.Watch()
			if c.module() != nil && !cable.Link() {
				if err := c.rest(ctx, 0, change); err != nil {
					return nil, err
				}
				continue
			}
		}
		if c.module() == nil {
			return change, ctx.Err()
		}
		if err := c.rest(ctx, c.associationTime(), nil); err != nil {
			return nil, err
		}
		select {
		case <-change: // lost meanwhile
			continue
		default:
		}
		if c.joins() {
			return change, nil
		}
		var until <-chan struct{}
		if c.givesUp() {
			until = make(chan struct{}) // never
		}
		if err := c.rest(ctx, c.wait(model.WiFiRetryTime), until); err != nil {
			return nil, err
		}
	}
}

// watch follows the link until ctx ends. Every change while it was up is a
// loss, however short; power that goes is none.
func (c *carrier) watch(ctx context.Context, change <-chan struct{}) {
	cable, up := c.cable(), true
	if cable == nil || change == nil {
		return
	}
	for outages := outagesOf(c.cfg.Supply); ; {
		if up {
			select {
			case <-change:
			case <-ctx.Done():
				return
			}
			if c.cfg.Supply != nil && !c.cfg.Supply.Power() || outagesOf(c.cfg.Supply) != outages {
				return
			}
			up = false
			c.lost()
			if c.module() != nil && (c.has(defect.DeauthSticks) || c.staysBehind() || c.hangs(c.busy())) {
				return
			}
		}
		change = cable.Watch()
		var joined <-chan time.Time
		if cable.Link() {
			wait := time.Duration(0)
			if c.module() != nil {
				wait = c.joinTime()
			}
			joined = time.After(wait)
		}
		select {
		case <-joined:
			if !c.joins() {
				if c.givesUp() {
					return
				}
				continue
			}
			up = true
			c.regained(ctx)
		case <-change:
		case <-ctx.Done():
			return
		}
	}
}

func (c *carrier) lost() {
	c.log.Info("link lost")
	c.cord.deaf.Store(c.module() != nil)
	c.memory.update(func(v *volatile) { v.linkLost = true })
	c.link.set(false)
}

// regained has everything that waits for the network look again. What becomes
// of the lease is a fact.
func (c *carrier) regained(ctx context.Context) {
	c.log.Info("link back")
	c.cord.deaf.Store(false)
	how := dhcpc.Renew
	switch c.cfg.Facts.Text(model.LinkUpDHCP) {
	case "init-reboot":
		how = dhcpc.Reboot
		fallthrough
	case "renew":
		select {
		case c.link.again <- how:
		default: // it is to be asked for anyway
		}
	}
	c.link.set(true)
	c.back(ctx)
}

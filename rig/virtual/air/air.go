// Package air is the radio network of a simulated bench: one network of two
// access points, of which one is within reach, each on a channel of its own. It
// is what a simulated WiFi module associates to, and it misbehaves when told.
package air

import (
	"errors"
	"sync"
	"sync/atomic"

	"ip88rig/rig/model"
)

// Errors of Join.
var (
	// ErrGone: no access point is on the air.
	ErrGone = errors.New("no access point is on the air")
	// ErrPassphrase: the access point wants another passphrase.
	ErrPassphrase = errors.New("wrong passphrase")
	// ErrSecurity: the access point wants another security mode.
	ErrSecurity = errors.New("wrong security mode")
)

// Beacon is what a scan finds.
type Beacon struct{ AccessPoint, Channel int }

// Air is the network. Its methods are safe for concurrent use.
type Air struct {
	// age grows with whatever ends every association.
	age atomic.Uint64

	mu         sync.Mutex
	security   model.Security
	passphrase string
	wrong      bool
	off        int // how many hold it off
	at         int // the access point within reach
	channels   [2]int
	changed    chan struct{}
}

// New returns a network with its passphrase, on the air, secured with WPA2-PSK.
// With 802.1X the passphrase stands for the identity.
func New(passphrase string) *Air {
	return &Air{security: model.WPA2, passphrase: passphrase, channels: [2]int{1, 6}, changed: make(chan struct{})}
}

// change makes a change that ends every association.
func (a *Air) change(do func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do()
	a.age.Add(1)
	close(a.changed)
	a.changed = make(chan struct{})
}

// Deauthenticate ends every association; whoever wants may come back at once.
func (a *Air) Deauthenticate() { a.change(func() {}) }

// Off takes the access point off the air, and On undoes one Off.
func (a *Air) Off() { a.change(func() { a.off++ }) }

// On undoes one Off.
func (a *Air) On() { a.change(func() { a.off-- }) }

// Wrong has the network want another passphrase, or the right one again.
func (a *Air) Wrong(yes bool) { a.change(func() { a.wrong = yes }) }

// Secure has the network want another security mode.
func (a *Air) Secure(s model.Security) { a.change(func() { a.security = s }) }

// Security is what the network wants.
func (a *Air) Security() model.Security {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.security
}

// Roam takes the access point out of reach and has the other one within.
func (a *Air) Roam() { a.change(func() { a.at = 1 - a.at }) }

// channelStep is how far apart channels are that do not disturb each other.
const channelStep = 5

// Retune moves the access point within reach to another channel: of 1, 6 and 11.
func (a *Air) Retune() {
	a.change(func() { a.channels[a.at] = (a.channels[a.at]+channelStep-1)%(3*channelStep) + 1 })
}

// Watch returns a channel that is closed at the next change. Take it before
// asking for the state, then no change is missed.
func (a *Air) Watch() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// Beacon is what is on the air, if anything is.
func (a *Air) Beacon() (b Beacon, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Beacon{a.at + 1, a.channels[a.at]}, a.off == 0
}

// Link reports whether an access point is on the air.
func (a *Air) Link() bool {
	_, ok := a.Beacon()
	return ok
}

// Join associates a module that is set to a security mode and holds a passphrase,
// which an open network does not ask for.
func (a *Air) Join(s model.Security, passphrase string) (*Association, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.off > 0:
		return nil, ErrGone
	case s != a.security:
		return nil, ErrSecurity
	case s != model.Open && (a.wrong || passphrase != a.passphrase):
		return nil, ErrPassphrase
	}
	return &Association{Beacon: Beacon{a.at + 1, a.channels[a.at]}, air: a, age: a.age.Load()}, nil
}

// Association is a module's at an access point.
type Association struct {
	Beacon

	air *Air
	age uint64
}

// Alive reports whether it still holds.
func (s *Association) Alive() bool { return s.air.age.Load() == s.age }

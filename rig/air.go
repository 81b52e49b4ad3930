package rig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ip88rig/rig/bench"
	"ip88rig/rig/control"
	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
	"ip88rig/rig/model"
	"ip88rig/rig/virtual/air"
)

// airPatience bounds each command that an access point is asked by: one that
// restarts may be waited for.
const airPatience = 5 * time.Minute

// airPassphrase is that of the network in memory.
const airPassphrase = "ip88rig, in memory" //nolint:gosec // nothing is kept behind it

// airSecurity is how that network is secured where nobody has changed it.
const airSecurity = model.WPA2

// errNoModule says that there is nothing at an access point.
var errNoModule = errors.New("needs link: wifi: the handset has no WiFi module")

// accessPoint is what the handset's WiFi module is at.
func (l *Lane) accessPoint() control.AccessPoint {
	if l.air != nil {
		return memoryAir{l.air}
	}
	return hookedAir(l.Handset)
}

func hookedAir(h bench.Handset) control.AirHook {
	return control.AirHook{Handset: h.Name, Module: h.Module, Timeout: airPatience, Commands: map[control.AirDeed]string{
		control.Deauth: h.AccessPoint.Deauth, control.Restart: h.AccessPoint.Restart,
		control.WrongPassphrase: h.AccessPoint.PassphraseWrong, control.RightPassphrase: h.AccessPoint.PassphraseRight,
		control.Roam: h.AccessPoint.Roam, control.Channel: h.AccessPoint.Channel,
	}}
}

// CanAir says whether the access point of this handset can be asked for a deed,
// and if not, what would enable it. The lane need not be open.
func (l *Lane) CanAir(deed impair.AirDeed) error {
	switch {
	case len(l.Handset.Module) == 0:
		return errNoModule
	case l.Handset.Simulated:
		return nil
	}
	return hookedAir(l.Handset).Can(control.AirDeed(deed))
}

// Disturb has the access point misbehave now, and waits until that is over.
func (l *Lane) Disturb(ctx context.Context, e impair.Air) error {
	if err := errors.Join(l.bad.Can(e), l.CanAir(e.Does)); err != nil {
		return fmt.Errorf("access point: %w", err)
	}
	over := make(chan struct{})
	l.act(ctx, disturbance{e, over}, "asked for: "+e.String())
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("access point, %s: %w", e.Does, ctx.Err())
	}
}

// disturbance is a deed of the access point that somebody waits for.
type disturbance struct {
	impair.Air

	over chan<- struct{}
}

var _ fault.Deed = disturbance{}

// disturb has the access point misbehave. One in memory does so at once, a
// command in its own time.
func (l *Lane) disturb(ctx context.Context, d impair.Air, over chan<- struct{}) {
	l.deeds.mu.Lock()
	l.goesAway("access point: " + string(d.Does))
	l.deeds.mu.Unlock()
	l.deeds.ask(ctx, request{
		Air: d, of: l.accessPoint(), prompt: l.air != nil,
		tell: func(trouble string) {
			l.deeds.trouble(trouble)
			l.Note(trouble) // who closes the lane reads no troubles any more
		},
		over: func() {
			l.deeds.mu.Lock()
			l.comesBack()
			l.deeds.mu.Unlock()
			if over != nil {
				close(over)
			}
		},
	})
}

// memoryAir is the access point of a simulated handset.
type memoryAir struct{ air *air.Air }

var _ control.AccessPoint = memoryAir{}

// Can implements control.AccessPoint.
func (memoryAir) Can(control.AirDeed) error { return nil }

// Do implements control.AccessPoint. A restart lasts until it is undone.
func (m memoryAir) Do(_ context.Context, deed control.AirDeed) error {
	switch deed {
	case control.Deauth:
		m.air.Deauthenticate()
	case control.Restart:
		m.air.Off()
	case control.WrongPassphrase:
		m.air.Wrong(true)
	case control.RightPassphrase:
		m.air.Wrong(false)
	case control.Roam:
		m.air.Roam()
	case control.Channel:
		m.air.Retune()
	default:
		return fmt.Errorf("access point: %s: %w", deed, control.ErrUnsupported)
	}
	return nil
}

// Undo implements control.AccessPoint.
func (m memoryAir) Undo(_ context.Context, deed control.AirDeed) error {
	switch deed {
	case control.Restart:
		m.air.On()
	case control.WrongPassphrase:
		m.air.Wrong(false)
	case control.Deauth, control.Roam, control.Channel, control.RightPassphrase: // over already
	}
	return nil
}

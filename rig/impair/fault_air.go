package impair

import (
	"fmt"
	"slices"
	"time"
)

// AirDeed is what the access point does to a WiFi module.
type AirDeed string

// lasts tells a deed that is to be undone.
func (d AirDeed) lasts() bool { return d == Restart || d == WrongPassphrase }

// The deeds, each called as the bench file calls its command.
const (
	Deauth          AirDeed = "deauth"
	Restart         AirDeed = "restart"
	WrongPassphrase AirDeed = "passphrase-wrong"
	Roam            AirDeed = "roam"
	Channel         AirDeed = "channel"
)

// AirDeeds lists them.
func AirDeeds() []AirDeed { return []AirDeed{Deauth, Restart, WrongPassphrase, Roam, Channel} }

// Air has the access point of a WiFi module misbehave. For is how long a deed
// lasts that does: the access point is gone, the passphrase is another one. Back
// is how long the module has to come back from there on. Until then what it does
// to come back is no reboot.
type Air struct {
	Does      AirDeed
	For, Back time.Duration
}

func (e Air) String() string {
	back := fmt.Sprintf(", and gives the module %v to come back", e.Back)
	switch e.Does {
	case Deauth:
		return "de-authenticates the module" + back
	case Restart:
		return fmt.Sprintf("takes the access point away for %v", e.For) + back
	case WrongPassphrase:
		return fmt.Sprintf("has the access point want another passphrase for %v", e.For) + back
	case Roam:
		return "leaves the module another access point" + back
	case Channel:
		return "moves the access point to another channel" + back
	}
	return fmt.Sprintf("has the access point do %q", string(e.Does)) + back
}

func (e Air) check() error {
	if !slices.Contains(AirDeeds(), e.Does) {
		return fmt.Errorf("an access point does no %q: want one of %v", string(e.Does), AirDeeds())
	}
	if e.Does.lasts() != (e.For > 0) || e.For < 0 || e.Back <= 0 {
		return fmt.Errorf("access point: %s for %v, and %v to come back: what lasts needs more than 0, what does not 0, and the module more than 0 to come back", e.Does, e.For, e.Back)
	}
	return nil
}

// Deed marks what is done to the bench.
func (Air) Deed() {}

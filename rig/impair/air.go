package impair

import (
	"fmt"
	"slices"
	"time"
)

// AirDeed is what the access point does to a WiFi module.
type AirDeed string

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

// Air has the access point of a WiFi module misbehave. For is how long that
// lasts, where it lasts: the access point is gone, the passphrase is another one.
// So long at least the module is held to be away, and what it does to come back
// is no reboot.
type Air struct {
	Does AirDeed
	For  time.Duration
}

func (Air) sealed() {}

// Deed marks what is done to the bench.
func (Air) Deed() {}

// String is the predicate of a sentence.
func (e Air) String() string {
	switch e.Does {
	case Deauth:
		return fmt.Sprintf("de-authenticates the module, held to be away for %v", e.For)
	case Restart:
		return fmt.Sprintf("restarts the access point, gone for %v", e.For)
	case WrongPassphrase:
		return fmt.Sprintf("has the access point want another passphrase for %v", e.For)
	case Roam:
		return fmt.Sprintf("leaves the module another access point, held to be away for %v", e.For)
	case Channel:
		return fmt.Sprintf("moves the access point to another channel, held to be away for %v", e.For)
	}
	return fmt.Sprintf("has the access point do %q for %v", string(e.Does), e.For)
}

func (e Air) check() error {
	if !slices.Contains(AirDeeds(), e.Does) {
		return fmt.Errorf("an access point does no %q: want one of %v", string(e.Does), AirDeeds())
	}
	if e.For <= 0 {
		return fmt.Errorf("access point, %s for %v: needs more than 0", e.Does, e.For)
	}
	return nil
}

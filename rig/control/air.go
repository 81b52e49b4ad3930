package control

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// AirDeed is something that an access point does to the WiFi modules at it. Its
// text is the key of the command in the bench file, below access-point.
type AirDeed string

// The deeds.
const (
	// Deauth de-authenticates the module; it may come back at once.
	Deauth AirDeed = "deauth"
	// Restart has the access point go and come back.
	Restart AirDeed = "restart"
	// WrongPassphrase has the network want another passphrase than the module
	// holds, RightPassphrase undoes it.
	WrongPassphrase AirDeed = "passphrase-wrong"
	RightPassphrase AirDeed = "passphrase-right"
	// Roam leaves the module only another access point of the network.
	Roam AirDeed = "roam"
	// Channel moves the access point to another channel.
	Channel AirDeed = "channel"
)

// AirDeeds lists the deeds.
func AirDeeds() []AirDeed {
	return []AirDeed{Deauth, Restart, WrongPassphrase, RightPassphrase, Roam, Channel}
}

// AccessPoint misbehaves as told. What is under way is broken off when its context
// ends, and may be left half-way: who only wants it undone waits for it first.
type AccessPoint interface {
	// Can says whether the access point is able to do a deed and to undo it.
	Can(deed AirDeed) error
	// Do does a deed and returns once it is done.
	Do(ctx context.Context, deed AirDeed) error
	// Undo ends a deed that lasts, and does nothing after others.
	Undo(ctx context.Context, deed AirDeed) error
}

// NoCommandError says that the bench file names no command for a deed. It is
// ErrUnsupported.
type NoCommandError struct{ Deed AirDeed }

// Error names the key that is missing.
func (e *NoCommandError) Error() string {
	return "needs access-point." + string(e.Deed) + " in the bench file: a command that has the lab's access point do it"
}

// Is tells that it is ErrUnsupported.
func (*NoCommandError) Is(target error) bool { return target == ErrUnsupported }

// AirHook is an AccessPoint made of shell commands of the bench file.
type AirHook struct {
	// Commands by deed; a blank one is not supported.
	Commands map[AirDeed]string
	// Handset and Module stand in the commands' environment, as IP88RIG_HANDSET
	// and IP88RIG_MODULE.
	Handset string
	Module  net.HardwareAddr
	// Timeout bounds each command.
	Timeout time.Duration
}

var _ AccessPoint = AirHook{}

// Can implements AccessPoint.
func (h AirHook) Can(deed AirDeed) error {
	for _, d := range []AirDeed{deed, undoes(deed)} {
		if d != "" && strings.TrimSpace(h.Commands[d]) == "" {
			return &NoCommandError{d}
		}
	}
	return nil
}

// undoes is the deed that ends another one; blank where nothing needs to.
func undoes(deed AirDeed) AirDeed {
	if deed == WrongPassphrase {
		return RightPassphrase
	}
	return ""
}

// Do implements AccessPoint.
func (h AirHook) Do(ctx context.Context, deed AirDeed) error {
	if err := h.Can(deed); err != nil {
		return fmt.Errorf("access point of %s: %s: %w", h.Handset, deed, err)
	}
	return run(ctx, h.Timeout, "access-point."+string(deed), h.Commands[deed],
		"IP88RIG_HANDSET="+h.Handset, "IP88RIG_MODULE="+h.Module.String())
}

// Undo implements AccessPoint. It tries twice, unless ctx ends: a network that
// nobody can join any more spoils the night.
func (h AirHook) Undo(ctx context.Context, deed AirDeed) error {
	end := undoes(deed)
	if end == "" {
		return nil
	}
	err := h.Do(ctx, end)
	if err != nil && ctx.Err() == nil {
		err = h.Do(ctx, end)
	}
	return err
}

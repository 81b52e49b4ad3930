// Package control acts on a handset from outside: its power, its access point,
// and the hands of a person at the phone or in its Web Manager. Each capability is a small
// interface with an implementation for the simulated bench, for a command hook
// and for the operator at the terminal.
package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"

	"ip88rig/rig/model"
)

// Power switches a handset's supply.
type Power interface {
	On(ctx context.Context) error
	Off(ctx context.Context) error
}

// Verb is something that only a hand at the phone can do.
type Verb string

// The verbs, with the page of the guide that knows them.
const (
	// FactoryReset returns the handset to factory state (TLS-07).
	FactoryReset Verb = "factory-reset"
	// UploadAuthority copies an authority to the handset with the Web Manager (guide F-2).
	UploadAuthority Verb = "upload-authority"
	// SetChecks sets the certificate checks by hand: "manual configuration" of guide F-2.
	SetChecks Verb = "menu"
	// RemoveModule and InstallModule take the WiFi module out and put it back.
	RemoveModule  Verb = "remove-module"
	InstallModule Verb = "install-module"
	// WiFiSecurity sets access point and WiFi module to a security mode.
	WiFiSecurity Verb = "wifi-security"
	// PlugCable and UnplugCable plug a cable in beside the WiFi module and out again.
	PlugCable   Verb = "plug-cable"
	UnplugCable Verb = "unplug-cable"
	// Answer takes a ringing call, HangUp ends it.
	Answer Verb = "answer"
	HangUp Verb = "hang-up"
	// Supply and Unplug are the operator's power.
	Supply Verb = "power-on"
	Unplug Verb = "power-off"
)

// Request is one action asked for.
type Request struct {
	Handset string
	Verb    Verb
	// Text tells a person what to do.
	Text string
	// PEM is the authority to upload, File where it lies.
	PEM  []byte
	File string
	// MAC is that of the module to install.
	MAC net.HardwareAddr
	// Security is the mode that access point and WiFi module are to be set to; blank:
	// the one that they had before.
	Security model.Security
	// Mask is the certificate checks to set: 1 authority, 2 name, 4 expiry.
	Mask int
	// ReadBack is what the handset's display or Web Manager shows once it is done;
	// blank: there is nothing to look at. Who does it looks again before he says so.
	ReadBack string
}

// Words are the text for a person, with the file and with what is to be looked at.
func (r Request) Words() string {
	text := r.Text
	if r.File != "" {
		text += ", from " + r.File
	}
	if r.ReadBack == "" {
		return text
	}
	return text + "; then look again: press Enter only if " + r.ReadBack + ", otherwise type what is shown"
}

// Operator does what only hands can do, and returns when it is done.
type Operator interface {
	Do(ctx context.Context, r Request) error
}

// Looker looks at a handset apart from the hands: whether its display or Web
// Manager shows what a request asks for. Otherwise it returns a ShowsError. A
// person who is asked does both at once, so that an Operator need not be one.
type Looker interface {
	Look(ctx context.Context, r Request) error
}

// ShowsError says that a handset shows something else than was asked for.
type ShowsError struct{ Shows string }

// Error implements error.
func (e ShowsError) Error() string { return "it shows " + e.Shows }

// ErrUnsupported says that this bench cannot do it; the spec is then skipped
// with that reason.
var ErrUnsupported = errors.New("this bench cannot do that")

// lastOn bounds giving the power back after an interrupt.
const lastOn = 30 * time.Second

// Cycle cuts the power, holds it off and gives it back. Interrupted, it gives it
// back at once, within half a minute.
func Cycle(ctx context.Context, p Power, off time.Duration) error {
	if err := p.Off(ctx); err != nil {
		return fmt.Errorf("power off: %w", err)
	}
	select {
	case <-time.After(off):
	case <-ctx.Done():
		// A handset is never left without power, and nobody waits for ever.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastOn)
		defer cancel()
		return errors.Join(ctx.Err(), p.On(last))
	}
	if err := p.On(ctx); err != nil {
		return fmt.Errorf("power on: %w", err)
	}
	return nil
}

// Hook is a Power made of two shell commands of the bench file.
type Hook struct {
	OnCommand, OffCommand string
	// Timeout bounds each command.
	Timeout time.Duration
}

var _ Power = Hook{}

// On runs the bench file's command.
func (h Hook) On(ctx context.Context) error { return run(ctx, h.Timeout, "power.on", h.OnCommand) }

// Off runs the bench file's command.
func (h Hook) Off(ctx context.Context) error { return run(ctx, h.Timeout, "power.off", h.OffCommand) }

// run runs a command of the bench file, with so much more in its environment.
func run(ctx context.Context, timeout time.Duration, what, command string, env ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command) //nolint:gosec // the user's own command, from his bench file
	cmd.WaitDelay = time.Second
	cmd.Env = append(cmd.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s: %q: %w: %s", what, command, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Hands is a Power that asks the operator.
type Hands struct {
	Operator Operator
	Handset  string
}

var _ Power = Hands{}

// On asks for the supply to be plugged in.
func (h Hands) On(ctx context.Context) error {
	return h.Operator.Do(ctx, Request{Handset: h.Handset, Verb: Supply, Text: "give " + h.Handset + " its power back"})
}

// Off asks for the supply to be unplugged.
func (h Hands) Off(ctx context.Context) error {
	return h.Operator.Do(ctx, Request{Handset: h.Handset, Verb: Unplug, Text: "take the power from " + h.Handset})
}

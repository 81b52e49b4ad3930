package virtual

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/air"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/wire"
)

// FactoryVersion runs on a handset whose Config names no Flash.
const FactoryVersion = "1.0.0"

// shortestRetry is what a retry timer is never scaled below, so that a busy
// machine breeds no false alarms.
const shortestRetry = 50 * time.Millisecond

// shortestHTTP is the same for HTTP, where either end may have to compute for a
// handshake first.
const shortestHTTP = 300 * time.Millisecond

// Supply is where the handset gets its power from. *wire.SwitchPort is one.
type Supply interface {
	// Power reports whether there is power.
	Power() bool
	// Watch returns a channel that is closed at the next change.
	Watch() <-chan struct{}
}

// outages is what a Supply may report besides: how often power has gone so far.
// With it a cut that was over before the handset looked is not missed.
type outages interface{ Outages() uint64 }

// Flash is the memory that outlives the cut of power.
type Flash = flash.Flash

// Config says what a handset is.
type Config struct {
	Model model.Model
	// Facts are what is held to be true of it; those of the model when zero.
	Facts model.Facts
	// MAC is the phone's. Module is the WiFi module's, nil when wired; its MAC
	// takes over for everything.
	MAC, Module net.HardwareAddr
	// Port is the cable. The handset never closes it.
	Port wire.Port
	// Supply switches it on and off; nil is always on.
	Supply Supply
	// Air is what a WiFi module associates to, with Passphrase and, until somebody
	// sets it to another security mode, WPA2-PSK; nil: the link of Port is all that
	// it knows of an access point.
	Air        *air.Air
	Passphrase string
	// Factor divides every wait; retry timers not below 50 ms. 0 is 1.
	Factor  float64
	Defects defect.Set
	// Seed makes what is random repeatable; 0 is different each time.
	Seed uint64
	// Flash is its memory; that of a handset from the factory when nil.
	Flash *Flash
	// PublicAuthorities are built in, as Verisign's is in a real one.
	PublicAuthorities []*x509.Certificate
	// Log tells what the handset does, for people; nil for silence.
	Log *slog.Logger
}

func (c Config) check() error {
	_, err := model.Parse(string(c.Model))
	switch {
	case err != nil:
		return fmt.Errorf("virtual: config: Model: %w", err)
	case len(c.MAC) != 6 || c.MAC[0]&1 == 1:
		return fmt.Errorf("virtual: config: MAC %q is not the address of one station", c.MAC)
	case c.Module != nil && (len(c.Module) != 6 || c.Module[0]&1 == 1):
		return fmt.Errorf("virtual: config: Module %q is not the address of one station", c.Module)
	case c.Port == nil:
		return errors.New("virtual: config: Port is nil")
	case c.Factor < 0:
		return fmt.Errorf("virtual: config: Factor %v is negative", c.Factor)
	}
	return nil
}

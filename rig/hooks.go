package rig

import (
	"ip88rig/capture"
	"ip88rig/rig/control"
	"ip88rig/rig/dhcpd"
)

// Hooks change or wrap what a lane is made of. A nil hook changes nothing. The two
// ends of the wire need no hook: see Config.Port and Config.Phone.
type Hooks struct {
	// Recorder is called once, while the lane opens, with the options that the
	// recorder is then made with. Their Now is the clock of the whole lane.
	Recorder func(capture.Options) capture.Options
	// Service is called while the lane opens, before each service is made, with a
	// pointer to its configuration: *dhcpd.Config, *tftpd.Config, *sntpd.Config,
	// *dnsd.Config, *sipd.Config, and *httpd.Config once for each of the four web
	// servers.
	Service func(config any)
	// Lease is called at each Offer, after the offer was written into the journal,
	// with the lease that the DHCP server then gets.
	Lease func(dhcpd.Lease) dhcpd.Lease
	// Power is called once, while the lane opens, with the handset's supply. The
	// journal has the lane's commands, not what becomes of them in here.
	Power func(control.Power) control.Power
	// Hands is called once, while the lane opens, with whoever does what must be done
	// by hand; nil where there is nobody.
	Hands func(control.Operator) control.Operator
}

// wrap returns v as the hook changes it.
func wrap[T any](hook func(T) T, v T) T {
	if hook == nil {
		return v
	}
	return hook(v)
}

// configured returns the configuration of a service as the hook changes it.
func configured[C any](l *Lane, c C) C {
	if l.Hooks.Service != nil {
		l.Hooks.Service(&c)
	}
	return c
}

// Package dhcpc is the DHCP client of the simulated handset: the state machine
// of RFC 2131 (INIT, SELECTING, REQUESTING, INIT-REBOOT, REBOOTING, BOUND,
// RENEWING, REBINDING) with the address probe of RFC 5227, on raw Ethernet
// frames. It is our own because the client of the DHCP library lacks INIT-REBOOT,
// REBINDING, the probe and DECLINE.
package dhcpc

import (
	"net"
	"time"

	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/wire"
)

// Config says how to ask. Durations that are 0 follow from Timeout in the
// ratios of RFC 2131 (whose Timeout is 4 s), so that a scaled handset keeps
// them.
type Config struct {
	// Port carries raw Ethernet frames; DHCP and ARP are read from it. While
	// Maintain runs, DHCP to the client's port is enough.
	Port wire.Port
	// MAC is the client's.
	MAC net.HardwareAddr
	// VendorClass (option 60), HostName (12) and ClientID (61) are left out when
	// empty.
	VendorClass, HostName string
	ClientID              []byte
	// RequestList is option 55, in its order.
	RequestList []uint8
	// MaxMessageSize is option 57, in bytes; left out when 0.
	MaxMessageSize uint16
	// Broadcast sets the flag that asks for answers by broadcast.
	Broadcast bool
	// Timeout is waited for the first answer; each further wait is twice the one
	// before, up to 16 times Timeout, plus or minus a quarter of Timeout. It must
	// be positive.
	Timeout time.Duration
	// Tries is how often a message is sent, at least once.
	Tries int
	// ProbeTime is how long an address is probed with ARP before it is used; 0
	// for not at all.
	ProbeTime time.Duration
	// DeclineWait is waited after a DECLINE; 0 is 10 s at a Timeout of 4 s.
	DeclineWait time.Duration
	// RenewWait is the least time between two requests in RENEWING and
	// REBINDING; 0 is 60 s at a Timeout of 4 s.
	RenewWait time.Duration
	// DefaultLease counts when a server names no lease time, or 0 seconds; 1 h
	// when it is 0.
	DefaultLease time.Duration
	// Again makes Maintain ask for the lease at once each time something comes
	// from it: the link was gone, and the network may be another one (RFC 2131,
	// 3.7). How it asks is what came. Nil for never.
	Again <-chan Again
	// Defects are the handset's.
	Defects defect.Set
	// Seed makes transaction ids and jitter repeatable; 0 is different each time.
	// Who calls Acquire again should hand in another one, so that late answers to
	// the calls before are not taken.
	Seed uint64
	// Now stamps leases; time.Now when nil.
	Now func() time.Time
}

// Again is how a lease is asked for that still holds.
type Again int

// Renew asks the server of the lease, as in RENEWING; Reboot asks any server for
// the address, as in INIT-REBOOT. Silence leaves the lease as it was.
const (
	Renew Again = iota
	Reboot
)

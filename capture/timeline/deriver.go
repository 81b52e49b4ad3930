package timeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// stateField is where a CarriedState event holds the state, as JSON.
	stateField = "state"
	// ExpectField is a field that, set to "boot" on any journal entry, says that
	// the rig asked for a boot without its power port (an operator pulls the plug):
	// the next sign of a boot is Booted, not Rebooted.
	ExpectField = "expect"
	expectBoot  = "boot"
	// forever is the DHCP lease time that never ends (RFC 2131, 3.3).
	forever = 0xffffffff
)

// deriver derives facts about the handset from events. It is a state
// machine without a clock: every time in it is the time of an event, so that
// the same events give the same facts whenever they are folded.
//
// A reboot is a contradiction to what the current boot has established:
//
//   - DISCOVER, or INIT-REBOOT, while a lease of this boot is held;
//   - REGISTER with a new Call-ID while a registration of this boot, of the
//     same user at the same registrar, stands (RFC 3261, 10.2: a Call-ID is
//     kept until reboot).
//
// A boot, seen or commanded, forgets lease and registrations. So the DISCOVER,
// its retransmissions and the REGISTER of one reboot count once, and a handset
// that has an address again before it boots once more has rebooted twice.
//
// DISCOVER or INIT-REBOOT is also a reboot after the handset gave up both lease and
// registration, as in an orderly shutdown.
//
// What the rig or the clock provoked is excused: NAK, DECLINE, RELEASE and the
// end of the lease take the lease away; a commanded loss of link excuses the
// next DISCOVER. An excused DISCOVER, and a link that was lost without a
// command, are kept as grounds that need a second one. A registration is gone
// when it was removed (Expires 0), has run out, or its refresh was turned down.
// NOTIFY check-sync and a command over telnet excuse nothing: where they make the
// handset reboot, that is a reboot.
type deriver struct {
	handset []string
	s       state
	out     []Event // reused
}

func newDeriver(handset []string) *deriver { return &deriver{handset: handset} }

// state is what survives from one recording to the next.
type state struct {
	// Power is "", "off", "starting" (switched on, no sign of life yet) or "on".
	Power string `json:"power,omitempty"`
	// Expect is set while a boot that was asked for otherwise is due.
	Expect bool `json:"expect,omitempty"`
	// LinkDown is set while the rig holds the link down; LinkExcuse from then
	// until the handset is seen at work again.
	LinkDown   bool `json:"linkdown,omitempty"`
	LinkExcuse bool `json:"linkexcuse,omitempty"`
	// Released and Removed are set once the handset gave up its lease, and its
	// registration, in this boot: both together are a shutdown.
	Released bool `json:"released,omitempty"`
	Removed  bool `json:"removed,omitempty"`
	// Weak are grounds that need a second one.
	Weak []string `json:"weak,omitempty"`
	// Leases by MAC.
	Leases map[string]lease `json:"leases,omitempty"`
	// Requests are the DHCP exchanges under way, by MAC.
	Requests map[string]exchange `json:"requests,omitempty"`
	// Addrs are the addresses that the handset has used.
	Addrs map[netip.Addr]bool `json:"addrs,omitempty"`
	// Registrations by user and registrar; Registers are requests by Call-ID.
	Registrations map[string]registration `json:"registrations,omitempty"`
	Registers     map[string]register     `json:"registers,omitempty"`
	// Transfers are TFTP transfers by the handset's end.
	Transfers map[netip.AddrPort]transfer `json:"transfers,omitempty"`
	// Challenged are requests answered 401, whose repetition is the same ask.
	Challenged map[string]bool `json:"challenged,omitempty"`
	// Refusals are connections whose refusal was reported.
	Refusals map[netip.AddrPort]bool `json:"refusals,omitempty"`
	// Hellos are connections of this boot on which a ClientHello was seen: a
	// handshake that ends otherwise is one of a boot before, cut off with it.
	Hellos map[netip.AddrPort]bool `json:"hellos,omitempty"`
}

type lease struct {
	Addr   string    `json:"addr"`
	Server string    `json:"server"`
	Until  time.Time `json:"until,omitzero"`
	XID    string    `json:"xid,omitempty"`
	// Used is set once the handset did anything but DHCP and ARP with it.
	Used bool `json:"used,omitempty"`
}

type exchange struct {
	XID string    `json:"xid"`
	At  time.Time `json:"at"`
}

type registration struct {
	CallID string    `json:"callid"`
	Until  time.Time `json:"until"`
}

type register struct {
	CSeq    string         `json:"cseq"`
	User    string         `json:"user"`
	Expires string         `json:"expires,omitempty"`
	Agent   string         `json:"agent,omitempty"`
	Contact string         `json:"contact,omitempty"`
	Src     netip.AddrPort `json:"src"`
	Dst     netip.AddrPort `json:"dst"`
	Done    bool           `json:"done,omitempty"`
}

type transfer struct {
	File string `json:"file"`
	// Moving is set once the handset acknowledged something, or an error was sent.
	Moving bool `json:"moving,omitempty"`
	Done   bool `json:"done,omitempty"`
}

func (d *deriver) encode() string {
	b, err := json.Marshal(d.s)
	if err != nil {
		return "{}" // cannot happen: the state holds strings, times and addresses only
	}
	return string(b)
}

// restore replaces the state; after one that cannot be read nothing is known.
func (d *deriver) restore(text string) {
	var s state
	if json.Unmarshal([]byte(text), &s) != nil {
		s = state{}
	}
	d.s = s
}

// remembered bounds each table of the state, so that a handset out of control does
// not fill the memory. The smallest key is forgotten first, so that it is the same
// one live and offline.
const remembered = 1024

// remember puts a value into a bounded table, which is made when it is missing.
func remember[K comparable, V any](table *map[K]V, key K, value V) {
	m := *table
	if m == nil {
		m = map[K]V{}
		*table = m
	}
	if _, ok := m[key]; !ok && len(m) >= remembered {
		delete(m, slices.MinFunc(slices.Collect(maps.Keys(m)), inOrder[K]))
	}
	m[key] = value
}

// inOrder compares two keys of a table.
func inOrder[K comparable](a, b K) int {
	switch x := any(a).(type) {
	case string:
		if y, ok := any(b).(string); ok {
			return strings.Compare(x, y)
		}
	case netip.AddrPort:
		if y, ok := any(b).(netip.AddrPort); ok {
			return x.Compare(y)
		}
	}
	return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

// isHandset reports whether a MAC is one of the handset's.
func (d *deriver) isHandset(mac string) bool {
	for _, m := range d.handset {
		if m == mac || strings.EqualFold(m, mac) {
			return true
		}
	}
	return false
}

func (d *deriver) emit(e Event) {
	if e.Kind == Fetched && e.Transport != HTTPS && !d.s.LinkDown {
		// The cable carried the whole file, so the link works again. For HTTPS only a
		// service reports it, and its last bytes may never have arrived.
		d.s.LinkExcuse = false
	}
	d.out = append(d.out, e)
}

func (d *deriver) booted(e *Event, reason string) {
	d.emit(Event{Kind: Booted, SrcMAC: e.SrcMAC, Src: e.Src, Reason: reason})
}

// forget begins a new boot: what was known of the old one no longer holds.
func (d *deriver) forget() {
	clear(d.s.Leases)
	clear(d.s.Requests)
	clear(d.s.Registrations)
	clear(d.s.Registers)
	clear(d.s.Transfers)
	clear(d.s.Challenged)
	clear(d.s.Refusals)
	clear(d.s.Hellos)
	d.s.LinkExcuse = d.s.LinkDown
	d.s.Released, d.s.Removed = false, false
	d.s.Weak = nil
}

// weak keeps a ground that does not suffice alone.
func (d *deriver) weak(ground string, e *Event) {
	if len(d.s.Weak) < 8 { // a flapping link says nothing more the ninth time
		d.s.Weak = append(d.s.Weak, withFrame(ground, e))
	}
}

// ground derives a reboot from a ground that suffices.
func (d *deriver) ground(ground string, e *Event) {
	grounds := append(slices.Clone(d.s.Weak), withFrame(ground, e))
	expected := d.s.Expect
	d.forget()
	d.s.Expect = false
	reason := strings.Join(grounds, "; ")
	if expected {
		d.booted(e, "asked for: "+reason)
		return
	}
	d.emit(Event{Kind: Rebooted, SrcMAC: e.SrcMAC, Src: e.Src, Reason: reason})
}

func withFrame(ground string, e *Event) string {
	if e.Frame > 0 {
		return ground + " (frame " + strconv.Itoa(e.Frame) + ")"
	}
	return ground
}

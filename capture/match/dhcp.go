package match

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ip88rig/capture/timeline"
)

func dhcpMatchers() registry[params] {
	return registry[params]{"Renew": renew{}, "Rebind": rebind{}, "BeginAnew": beginAnew{}, "RegisterFromLease": registerFromLease{}}
}

// What becomes of an address that DHCP gave (RFC 2131 section 4.4.5).

// leased is what the last ACK to the handset said.
type leased struct {
	// known: this recording has an answer of DHCP about an address.
	known        bool
	addr, server string
	at           time.Time
	// renew, rebind and ends count from at.
	renew, rebind, ends time.Duration
}

// fold takes an event of the wire: an ACK gives, NAK and DECLINE take away.
func (l *leased) fold(v timeline.View, e *timeline.Event) {
	if e.By != timeline.Wire || !slices.Contains(v.HandsetMACs, strings.ToLower(e.Fields["dhcp.hw.mac_addr"])) {
		return
	}
	switch e.Kind { //nolint:exhaustive // only these three matter
	case timeline.DHCPNak, timeline.DHCPDecline:
		*l = leased{known: true}
	case timeline.DHCPAck:
		if a := e.Fields["dhcp.ip.your"]; a != "" && a != "0.0.0.0" {
			*l = lease(a, e)
		}
	}
}

// lease reads an ACK. T1 and T2 are half and seven eighths of the lease where it
// names none, or none that make sense.
func lease(addr string, e *timeline.Event) leased {
	field := func(name string) time.Duration {
		n, err := strconv.ParseUint(e.Fields["dhcp.option."+name], 10, 32)
		if err != nil {
			return 0
		}
		return time.Duration(n) * time.Second
	}
	l := leased{known: true, addr: addr, server: e.Fields["dhcp.option.dhcp_server_id"], at: e.At, ends: field("ip_address_lease_time")}
	l.renew, l.rebind = l.ends/2, l.ends/8*7
	if t1, t2 := field("renewal_time_value"), field("rebinding_time_value"); 0 < t1 && t1 < t2 && t2 < l.ends {
		l.renew, l.rebind = t1, t2
	}
	return l
}

type extend struct {
	// Rebind is at T2, and Anew at the end; neither is at T1.
	Rebind bool `json:"rebind,omitempty"`
	Anew   bool `json:"anew,omitempty"`
}

type (
	renew     struct{ extend }
	rebind    struct{ extend }
	beginAnew struct{ extend }
)

// Renew claims that the handset asks for more of its lease at T1, of the server
// that gave it: a unicast REQUEST between T1 and T2. An eighth of the lease may be
// missing to T1, for the fuzz that RFC 2131 wants around it.
func Renew() Matcher { return claims(renew{}) }

// Rebind claims that the handset asks any server for more of its lease at T2: a
// broadcast REQUEST between T2, in the same way, and the end of the lease.
func Rebind() Matcher { return claims(rebind{extend{Rebind: true}}) }

// BeginAnew claims that the handset asks for another lease by DISCOVER, and not
// before the one that it was given last has ended. An eighth of the lease may be
// missing, or half of what is left of it at T2 if that is less: no standard has a
// handset be early here, but its clock is not ours.
func BeginAnew() Matcher { return claims(beginAnew{extend{Anew: true}}) }

func (m extend) says() string {
	switch {
	case m.Anew:
		return "ask for another lease once its own has ended"
	case m.Rebind:
		return "ask all servers for more of its lease between T2 and its end"
	}
	return "ask its server for more of its lease between T1 and T2"
}

func (m extend) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{m.says()}, Line: 1, Problem: "it did not", presence: true}
	var held leased
	for e := range v.All.All() {
		held.fold(v, e)
		switch {
		case e.Seq <= v.From || !fromHandset(v, e) || v.Bound > 0 && e.At.After(v.Anchor.Add(v.Bound)):
			continue
		case e.Kind == timeline.DHCPDiscover:
			vd.Problem = m.discovers(held, e)
		case e.Kind == timeline.DHCPRequest && !m.Anew && (!m.Rebind || !unicast(e)): // one by unicast renews still
			vd.Problem = m.asks(held, e)
		default:
			continue
		}
		vd.Seen, vd.Final, vd.OK = []string{line(e)}, true, vd.Problem == ""
		return vd
	}
	return vd
}

// discovers says what is wrong with a DISCOVER; blank: nothing.
func (m extend) discovers(held leased, e *timeline.Event) string {
	switch after := e.At.Sub(held.at); {
	case !m.Anew:
		return "it began anew"
	case held.addr != "" && after < held.ends-min(held.ends/8, (held.ends-held.rebind)/2):
		return fmt.Sprintf("it began anew %v into a lease of %v", after.Round(time.Millisecond), held.ends)
	}
	return ""
}

// asks says what is wrong with a REQUEST for more of a lease; blank: nothing.
func (m extend) asks(held leased, e *timeline.Event) string {
	after := e.At.Sub(held.at)
	from, to, name := held.renew, held.rebind, "T1"
	if m.Rebind {
		from, to, name = held.rebind, held.ends, "T2"
	}
	switch {
	case held.addr == "":
		return "it held no lease"
	case e.Fields["dhcp.ip.client"] != held.addr:
		return fmt.Sprintf("it gave %s for its own address, and holds %s", e.Fields["dhcp.ip.client"], held.addr)
	case !m.Rebind && !unicast(e):
		return "it asked by broadcast"
	case !m.Rebind && e.Dst.Addr().String() != held.server:
		return fmt.Sprintf("it asked %v, and %s gave the lease", e.Dst.Addr(), held.server)
	case after < from-held.ends/8:
		return fmt.Sprintf("it asked %v into a lease of %v, and %s is %v", after.Round(time.Millisecond), held.ends, name, from)
	case after > to:
		return fmt.Sprintf("it asked only %v into a lease of %v", after.Round(time.Millisecond), held.ends)
	}
	return ""
}

func unicast(e *timeline.Event) bool {
	return e.Dst.Addr() != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

type registerFromLease struct{}

// RegisterFromLease claims that the handset registers, and each time from the
// address that DHCP gave it last and neither took back nor was declined.
func RegisterFromLease() Matcher { return claims(registerFromLease{}) }

func (m registerFromLease) says() string {
	return "register from the address that it was given last, and from no other"
}

func (m registerFromLease) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{m.says()}, Line: 1, Problem: "it did not register", presence: true}
	var held leased
	for e := range v.All.All() {
		held.fold(v, e)
		if e.Kind != timeline.Registered || e.Seq <= v.From || !held.known {
			continue // one that it was given before the recording began is not known
		}
		if v.Bound > 0 && e.At.After(v.Anchor.Add(v.Bound)) {
			break
		}
		vd.Seen, vd.OK = []string{line(e)}, e.Src.Addr().String() == held.addr
		switch {
		case held.addr == "":
			vd.Problem = fmt.Sprintf("it registered from %v, which nobody gave it", e.Src.Addr())
		case !vd.OK:
			vd.Problem = fmt.Sprintf("it registered from %v, and was given %s", e.Src.Addr(), held.addr)
		}
		if !vd.OK {
			vd.Final = true
			return vd
		}
	}
	return vd
}

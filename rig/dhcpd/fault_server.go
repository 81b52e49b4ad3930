package dhcpd

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// SecondServerMAC is the source of what a SecondServer sends: locally
// administered, after the block that RFC 7042 section 2.1.2 sets aside for
// documentation.
const SecondServerMAC = "02:00:5e:00:53:fd"

// secondServerMAC is SecondServerMAC in bytes.
func secondServerMAC() net.HardwareAddr { return net.HardwareAddr{0x02, 0x00, 0x5e, 0x00, 0x53, 0xfd} }

// WrongServerID has the answer name another server than the one that sends it
// (option 54).
type WrongServerID struct{ ID netip.Addr }

func (e WrongServerID) String() string { return fmt.Sprintf("names the server %v in option 54", e.ID) }

func (e WrongServerID) check() error { return isAddr("ID", e.ID) }

func (e WrongServerID) fits(o *outgoing) bool {
	return o.find(optServerID) >= 0 && e.ID != o.from.ip
}

func (e WrongServerID) act(o *outgoing) bool {
	o.options[o.find(optServerID)].value = Addrs(e.ID)
	o.note("naming the server %v", e.ID)
	return true
}

// SecondServer has another server answer a DISCOVER too: one with the address
// ID and the MAC SecondServerMAC, which offers Addr, what Says says and otherwise
// what the handset's lease says. It keeps its word: a handset that selects it is given
// the address, and may have it again by INIT-REBOOT and REBINDING until its
// lease is set anew; only for RENEWING nobody answers at ID unless the lane's
// host has that address. Its own answers have points too, a REQUEST to it in
// the phase "selecting another server".
type SecondServer struct {
	ID, Addr netip.Addr
	// First sends its OFFER before the right one, not after.
	First bool
	// Bare has it offer an address, mask and router, and nothing to provision
	// from but what Says says.
	Bare bool
	// Says is where it disagrees: these options stand in its OFFER and its ACK
	// in place of those of the lease, where the handset asks for them.
	Says Options
}

func (e SecondServer) String() string {
	when, what := "after", ""
	if e.First {
		when = "before"
	}
	for _, o := range e.Says.all() {
		what += fmt.Sprintf(", option %d as %s", o.Code, show(o.Value))
	}
	if e.Bare {
		what += ", without anything else"
	}
	if what != "" {
		what += ","
	}
	return fmt.Sprintf("has another server, %v, offer %v%s %s it", e.ID, e.Addr, what, when)
}

func (e SecondServer) check() error {
	if err := isAddr("ID", e.ID); err != nil {
		return err
	}
	if err := isAddr("Addr", e.Addr); err != nil {
		return err
	}
	return e.Says.check()
}

func (e SecondServer) fits(o *outgoing) bool {
	return o.kind == dhcpv4.MessageTypeOffer && e.ID != o.from.ip
}

func (e SecondServer) act(o *outgoing) bool {
	other := &otherLease{from: identity{mac: secondServerMAC(), ip: e.ID}, lease: o.lease.clone()}
	other.lease.Addr, other.lease.Spare = netip.PrefixFrom(e.Addr, o.lease.Addr.Bits()), nil
	if e.Bare {
		other.lease.DNS, other.lease.NTP, other.lease.Options = nil, nil, map[uint8][]byte{}
	}
	for _, o := range e.Says.all() {
		other.lease.Options[o.Code] = []byte(o.Value)
	}
	o.enter(other)
	a := grant(o.m, o.kind, other.from, &other.lease, e.Addr)
	if e.First {
		o.before = append(o.before, a)
	} else {
		o.after = append(o.after, a)
	}
	return true
}

// Options are some options with their values; those without a number are none.
// It is an array, so that effects compare.
type Options [8]SetOption

func (o Options) check() error {
	seen := map[uint8]bool{}
	for _, s := range o.all() {
		switch {
		case slices.Contains([]uint8{optOverload, optMessageType, optServerID, optRelayAgent}, s.Code):
			return fmt.Errorf("option %d is the server's own", s.Code)
		case seen[s.Code]:
			return fmt.Errorf("option %d stands in Says twice", s.Code)
		}
		seen[s.Code] = true
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

// MarshalText writes the options as "66=192.0.2.1; 160=0x6874": code and value, in
// hexadecimal where it is not plain text.
func (o Options) MarshalText() ([]byte, error) {
	var out []string
	for _, one := range o {
		if one.Code == 0 {
			continue
		}
		value := one.Value
		if strings.HasPrefix(value, "0x") || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == ';' || r > '~' }) {
			value = "0x" + hex.EncodeToString([]byte(value))
		}
		out = append(out, fmt.Sprintf("%d=%s", one.Code, value))
	}
	return []byte(strings.Join(out, "; ")), nil
}

// UnmarshalText reads what MarshalText writes.
func (o *Options) UnmarshalText(text []byte) error {
	*o = Options{}
	if len(text) == 0 {
		return nil
	}
	all := strings.Split(string(text), ";")
	if len(all) > len(o) {
		return fmt.Errorf("%d options: at most %d", len(all), len(o))
	}
	for i, one := range all {
		code, value, ok := strings.Cut(strings.TrimSpace(one), "=")
		n, err := strconv.ParseUint(code, 10, 8)
		if !ok || err != nil {
			return fmt.Errorf("%q: want an option as 66=192.0.2.1", one)
		}
		if digits, ok := strings.CutPrefix(value, "0x"); ok {
			raw, err := hex.DecodeString(digits)
			if err != nil {
				return fmt.Errorf("option %d: %w", n, err)
			}
			value = string(raw)
		}
		o[i] = SetOption{Code: uint8(n), Value: value}
	}
	return nil
}

// all returns those that have a number.
func (o Options) all() []SetOption {
	return slices.DeleteFunc(o[:], func(s SetOption) bool { return s == SetOption{} })
}

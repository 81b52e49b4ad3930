package dhcpd

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// LeaseTimes puts these numbers of seconds into the options 51, 58 and 59,
// whatever sense they make: T1 past T2, T2 past the lease, 0, or 1<<32 - 1 for
// a time without end. It applies where an address is given.
type LeaseTimes struct{ Lease, T1, T2 uint32 }

func (e LeaseTimes) String() string {
	return fmt.Sprintf("gives a lease of %d s with T1 %d s and T2 %d s", e.Lease, e.T1, e.T2)
}

func (LeaseTimes) fits(o *outgoing) bool { return o.gives() }

func (e LeaseTimes) act(o *outgoing) bool {
	for _, t := range []struct {
		code    uint8
		seconds uint32
	}{{optLeaseTime, e.Lease}, {optT1, e.T1}, {optT2, e.T2}} {
		o.set(option{code: t.code, value: binary.BigEndian.AppendUint32(nil, t.seconds)})
	}
	o.note("lease %d s, T1 %d s, T2 %d s", e.Lease, e.T1, e.T2)
	return true
}

// WrongAddr gives another address (yiaddr) than the lease has, one outside of
// the subnet say. The server does not know it later on.
type WrongAddr struct{ Addr netip.Addr }

func (e WrongAddr) String() string { return fmt.Sprintf("gives the address %v", e.Addr) }

func (e WrongAddr) check() error { return isAddr("Addr", e.Addr) }

func (e WrongAddr) fits(o *outgoing) bool { return o.gives() && o.yiaddr != e.Addr }

func (e WrongAddr) act(o *outgoing) bool {
	o.yiaddr = e.Addr
	o.note("with the address %v", e.Addr)
	return true
}

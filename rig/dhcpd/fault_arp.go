package dhcpd

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/gopacket/layers"
)

// ConflictMAC is who has the address that InUse says is in use: locally
// administered, after the block that RFC 7042 section 2.1.2 sets aside for
// documentation.
const ConflictMAC = "02:00:5e:00:53:fe"

// conflictMAC is ConflictMAC in bytes.
func conflictMAC() net.HardwareAddr { return net.HardwareAddr{0x02, 0x00, 0x5e, 0x00, 0x53, 0xfe} }

// InUse has a host with ConflictMAC answer a handset that asks by ARP whether
// its address is in use (RFC 5227). It applies at the points
//
//	fault.Point{Service: "dhcpd", Message: "ARP probe"}
//	fault.Point{Service: "dhcpd", Message: "ARP announcement"}
//
// where the first asks in the name of nobody (sender 0.0.0.0) and the second in
// that of the address itself. It needs Config.ARP.
type InUse struct{}

func (InUse) String() string { return "says that the address is in use" }

// IsARPProbe reports whether a frame is an ARP request for an address that its sender does not have
// yet (RFC 5227 section 1.1), tagged or not.
func IsARPProbe(frame []byte) bool {
	q, ok := parseARP(frame)
	return ok && q.sender.IsUnspecified() && !q.target.IsUnspecified()
}

// IsARPAnnouncement reports whether a frame is an ARP request that names its sender's own address
// (RFC 5227 section 1.1), by which older hosts look for a conflict too.
func IsARPAnnouncement(frame []byte) bool {
	q, ok := parseARP(frame)
	return ok && q.sender == q.target && !q.target.IsUnspecified()
}

// ARPTarget is the address that an ARP request asks for.
func ARPTarget(frame []byte) (addr netip.Addr, ok bool) {
	q, ok := parseARP(frame)
	return q.target, ok
}

// arpQuestion is an ARP request.
type arpQuestion struct {
	from           net.HardwareAddr // who asks
	sender, target netip.Addr
	tag            []byte // as in packet
}

// reply writes the answer of the host that has the address.
func (q *arpQuestion) reply(has net.HardwareAddr) []byte {
	b := append(bytes.Clone(q.from), has...)
	if q.tag != nil {
		b = append(append(b, 0x81, 0x00), q.tag...)
	}
	b = append(b, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02"...)
	b = append(append(b, has...), q.target.AsSlice()...)
	b = append(append(b, q.from...), q.sender.AsSlice()...)
	return append(b, make([]byte, 18)...) // the shortest frame of Ethernet
}

// parseARP reads an ARP request of IPv4 over Ethernet (RFC 826).
func parseARP(b []byte) (q arpQuestion, ok bool) {
	if len(b) < ethernetLen {
		return q, false
	}
	etherType, rest := binary.BigEndian.Uint16(b[12:]), b[ethernetLen:]
	if etherType == uint16(layers.EthernetTypeDot1Q) {
		if len(rest) < tagLen {
			return q, false
		}
		q.tag = bytes.Clone(rest[:2])
		etherType, rest = binary.BigEndian.Uint16(rest[2:]), rest[tagLen:]
	}
	// Ethernet, IPv4, lengths 6 and 4, request.
	if etherType != uint16(layers.EthernetTypeARP) || len(rest) < 28 || string(rest[:8]) != "\x00\x01\x08\x00\x06\x04\x00\x01" {
		return q, false
	}
	q.from = bytes.Clone(rest[8:14])
	q.sender, q.target = netip.AddrFrom4([4]byte(rest[14:18])), netip.AddrFrom4([4]byte(rest[24:28]))
	return q, true
}

package decode

import (
	"encoding/binary"
	"net/netip"
)

// IP protocol numbers.
const (
	protocolICMP = 1
	protocolTCP  = 6
	protocolUDP  = 17
)

// intact verifies a UDP or TCP checksum. A sum over the pseudo header alone is
// what a kernel leaves to its network card; it counts as right, also without
// the length that the card is to put in.
func intact(src, dst netip.Addr, protocol byte, data []byte, got uint16) bool {
	s, t := src.As4(), dst.As4()
	pseudo := sum(t[:], sum(s[:], uint64(protocol)))
	withLength := pseudo + uint64(len(data))
	return fold(sum(data, withLength)) == 0xffff || got == fold(withLength) || got == fold(pseudo)
}

// sum adds up the words of b as RFC 1071 does; s is what was summed before. Words
// of eight bytes are added with their carry, which comes to the same.
func sum(b []byte, s uint64) uint64 {
	for len(b) >= 8 {
		v := binary.BigEndian.Uint64(b)
		s += v
		if s < v {
			s++
		}
		b = b[8:]
	}
	add := func(v uint64) {
		s += v
		if s < v {
			s++
		}
	}
	if len(b) >= 4 {
		add(uint64(binary.BigEndian.Uint32(b)))
		b = b[4:]
	}
	if len(b) >= 2 {
		add(uint64(binary.BigEndian.Uint16(b)))
		b = b[2:]
	}
	if len(b) == 1 {
		add(uint64(b[0]) << 8)
	}
	return s
}

func fold(s uint64) uint16 {
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// Intact verifies the checksums of an IPv4 header and, unless the payload is cut,
// of the UDP datagram or TCP segment in it. What is a fragment, or of another
// protocol, counts as right.
func Intact(header, payload []byte, cut bool) bool {
	if fold(sum(header, 0)) != 0xffff {
		return false
	}
	src, dst := netip.AddrFrom4([4]byte(header[12:16])), netip.AddrFrom4([4]byte(header[16:20]))
	switch {
	case cut || binary.BigEndian.Uint16(header[6:])&0x3fff != 0:
	case header[9] == protocolUDP && len(payload) >= 8:
		got := binary.BigEndian.Uint16(payload[6:])
		if length := int(binary.BigEndian.Uint16(payload[4:])); length >= 8 && length < len(payload) {
			payload = payload[:length]
		}
		return got == 0 || intact(src, dst, protocolUDP, payload, got)
	case header[9] == protocolTCP && len(payload) >= 20:
		return intact(src, dst, protocolTCP, payload, binary.BigEndian.Uint16(payload[16:]))
	}
	return true
}

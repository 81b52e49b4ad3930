package host

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// intact tells whether the checksums of an IPv4 packet may be believed. A
// kernel peer on veth leaves the transport checksum unfinished: the field holds
// the sum of the pseudo header alone, as a sending kernel prepares it for a
// network card that would finish it. That is accepted, and so is whatever stands
// in a super-frame, because it was put together after the wire. Packets that are
// too short or malformed are left to the stack, which drops them.
func intact(packet []byte) bool {
	ip := header.IPv4(packet)
	if !ip.IsValid(len(packet)) {
		return true
	}
	if checksum.Checksum(packet[:ip.HeaderLength()], 0) != 0xffff {
		return false
	}
	total := int(ip.TotalLength())
	if ip.FragmentOffset() != 0 || ip.More() || total > superFrame {
		return true
	}
	segment := packet[ip.HeaderLength():total]
	var at int // of the checksum within the segment
	switch ip.TransportProtocol() {
	case header.TCPProtocolNumber:
		at = header.TCPChecksumOffset
	case header.UDPProtocolNumber:
		at = 6
	default:
		return true // ICMP has no pseudo header; the stack verifies it
	}
	if len(segment) < at+2 {
		return true
	}
	stored := binary.BigEndian.Uint16(segment[at:])
	if stored == 0 && at == 6 {
		return true // UDP without a checksum (RFC 768)
	}
	pseudo := pseudoSum(ip, len(segment))
	return stored == pseudo || checksum.Checksum(segment, pseudo) == 0xffff
}

// superFrame is the longest packet that can have come in one piece over an
// Ethernet cable, in bytes; longer ones were merged behind it.
const superFrame = 1500

func pseudoSum(ip header.IPv4, length int) uint16 {
	return header.PseudoHeaderChecksum(tcpip.TransportProtocolNumber(ip.Protocol()),
		ip.SourceAddress(), ip.DestinationAddress(), uint16(length)) //nolint:gosec // part of an IPv4 packet
}

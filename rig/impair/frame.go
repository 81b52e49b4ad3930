package impair

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Ethernet, IPv4 (RFC 791), UDP (RFC 768) and TCP (RFC 9293).
const (
	ethernetLen = 14
	typeIPv4    = 0x0800
	typeARP     = 0x0806
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
)

// packet is an IPv4 packet within a frame.
type packet struct {
	ip       []byte // from its header to its end, without the frame's padding
	header   int    // length
	protocol byte
	piece    bool // of a fragmented packet
	first    bool // the first piece, or the whole
}

func parse(frame []byte) (packet, bool) {
	if len(frame) < ethernetLen+20 || binary.BigEndian.Uint16(frame[12:]) != typeIPv4 {
		return packet{}, false
	}
	ip := frame[ethernetLen:]
	header, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if ip[0]>>4 != 4 || header < 20 || total < header || total > len(ip) {
		return packet{}, false
	}
	pieces := binary.BigEndian.Uint16(ip[6:])
	return packet{ip: ip[:total], header: header, protocol: ip[9], piece: pieces&0x3fff != 0, first: pieces&0x1fff == 0}, true
}

// body is what IP carries.
func (p packet) body() []byte { return p.ip[p.header:] }

func (p packet) ports() (src, dst uint16, ok bool) {
	b := p.body()
	if !p.first || len(b) < 8 || p.protocol != protoUDP && p.protocol != protoTCP {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), true
}

// payload is what UDP or TCP carries, as a place in ip.
func (p packet) payload() (from, to int) {
	b := p.body()
	switch {
	case p.piece:
	case p.protocol == protoUDP && len(b) > 8:
		return p.header + 8, len(p.ip)
	case p.protocol == protoTCP && len(b) >= 20 && len(b) > int(b[12]>>4)*4 && b[12]>>4 >= 5:
		return p.header + int(b[12]>>4)*4, len(p.ip)
	}
	return 0, 0
}

// ends are those of a UDP or TCP flow.
func ends(frame []byte) (src, dst netip.AddrPort, ok bool) {
	p, ok := parse(frame)
	if !ok {
		return src, dst, false
	}
	from, to, ok := p.ports()
	if !ok {
		return src, dst, false
	}
	addr := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(p.ip[at:])) }
	return netip.AddrPortFrom(addr(12), from), netip.AddrPortFrom(addr(16), to), true
}

// Kind is what a frame carries, by its ports: "ARP", "DHCP", "TFTP", "HTTP",
// "HTTPS", "SIP", "SNTP", "DNS", "syslog", "ICMP", else "UDP", "TCP", "IPv4" or
// "other". TFTP between two chosen ports is known by its opcode. Pieces of a
// packet but the first are "IPv4".
func Kind(frame []byte) string {
	p, ok := parse(frame)
	if !ok {
		if len(frame) >= ethernetLen && binary.BigEndian.Uint16(frame[12:]) == typeARP {
			return "ARP"
		}
		return "other"
	}
	src, dst, ok := p.ports()
	switch {
	case p.protocol == protoICMP:
		return "ICMP"
	case !ok:
		return "IPv4"
	case p.protocol == protoTCP:
		return kindTCP(src, dst)
	}
	return kindUDP(src, dst, p.body()[8:])
}

func kindTCP(src, dst uint16) string {
	switch either := either(src, dst); {
	case either(443, 8443):
		return "HTTPS"
	case either(80, 8080):
		return "HTTP"
	case either(5060):
		return "SIP"
	case either(53):
		return "DNS"
	}
	return "TCP"
}

func kindUDP(src, dst uint16, payload []byte) string {
	switch either := either(src, dst); {
	case either(67, 68):
		return "DHCP"
	case either(69):
		return "TFTP"
	case either(53):
		return "DNS"
	case either(123):
		return "SNTP"
	case either(5060):
		return "SIP"
	case either(514):
		return "syslog"
	case len(payload) >= 4 && payload[0] == 0 && payload[1] >= 3 && payload[1] <= 6:
		return "TFTP"
	}
	return "UDP"
}

func either(src, dst uint16) func(ports ...uint16) bool {
	return func(ports ...uint16) bool { return slices.Contains(ports, src) || slices.Contains(ports, dst) }
}

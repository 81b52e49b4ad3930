package virtual

import "encoding/binary"

func etherType(f []byte) uint16 {
	if len(f) < 14 {
		return 0
	}
	return binary.BigEndian.Uint16(f[12:])
}

// dhcpFrame reports whether a frame is one for the DHCP client.
func dhcpFrame(f []byte) bool {
	const head, udp, client = 14, 17, 68
	if etherType(f) != 0x0800 || len(f) < head+20 || f[head+9] != udp {
		return false
	}
	port := head + int(f[head]&0x0f)*4 + 2
	return len(f) >= port+2 && binary.BigEndian.Uint16(f[port:]) == client
}

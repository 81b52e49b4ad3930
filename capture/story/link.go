package story

import (
	"encoding/binary"

	"ip88rig/capture/pcap"
)

// ethernet gives a frame the form that it has on Ethernet. Where the capture has no
// link layer, addresses are zero; a cooked capture keeps the sender's alone. The
// frame is in buffer unless it is the packet's own. It is not ok where the link
// type cannot be read.
func ethernet(p pcap.Packet, buffer []byte) (frame []byte, length int, ok bool) {
	var dst, src [6]byte
	var etherType uint16
	skip := 0
	switch p.Link {
	case pcap.Ethernet:
		return p.Data, p.Length, true
	case pcap.LinuxSLL:
		if skip = 16; len(p.Data) < skip {
			return nil, 0, false
		}
		etherType = binary.BigEndian.Uint16(p.Data[14:])
		if binary.BigEndian.Uint16(p.Data[4:]) == 6 {
			src = [6]byte(p.Data[6:12])
		}
		dst = sentTo(binary.BigEndian.Uint16(p.Data))
	case pcap.LinuxSLL2:
		if skip = 20; len(p.Data) < skip {
			return nil, 0, false
		}
		etherType = binary.BigEndian.Uint16(p.Data)
		if p.Data[11] == 6 {
			src = [6]byte(p.Data[12:18])
		}
		dst = sentTo(uint16(p.Data[10]))
	case pcap.Null, pcap.Loop:
		if skip = 4; len(p.Data) < skip {
			return nil, 0, false
		}
		family := binary.LittleEndian.Uint32(p.Data)
		if p.Link == pcap.Loop || p.BigEndian {
			family = binary.BigEndian.Uint32(p.Data)
		}
		etherType = typeIPv6 // the number differs between systems
		if family == 2 {
			etherType = typeIPv4
		}
	case pcap.Raw, pcap.IPv4, pcap.IPv6:
		if len(p.Data) < 1 {
			return nil, 0, false
		}
		etherType = typeIPv6
		if p.Data[0]>>4 == 4 {
			etherType = typeIPv4
		}
	default:
		return nil, 0, false
	}
	frame = append(buffer[:0], dst[:]...)
	frame = append(frame, src[:]...)
	frame = binary.BigEndian.AppendUint16(frame, etherType)
	frame = append(frame, p.Data[skip:]...)
	return frame, p.Length - skip + 14, true
}

const (
	typeIPv4 = 0x0800
	typeIPv6 = 0x86dd
)

// sentTo is the destination of a cooked frame: its packet type says only whether
// it went to all.
func sentTo(packetType uint16) [6]byte {
	if packetType == 1 {
		return [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	return [6]byte{}
}

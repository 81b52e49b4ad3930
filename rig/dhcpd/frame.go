package dhcpd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

const (
	clientPort = 68
	serverPort = 67

	ethernetLen = 14
	tagLen      = 4
	udpLen      = 8
	protoUDP    = 17
)

// packet is a UDP datagram with what carried it.
type packet struct {
	srcMAC, dstMAC net.HardwareAddr
	// tag is the 802.1Q tag that still stood in the frame, or nil. Answers
	// carry it again.
	tag      []byte
	src, dst netip.AddrPort
	payload  []byte
}

// parseFrame takes a frame apart. Its checksums were verified by the host that
// handed it over.
func parseFrame(b []byte) (packet, error) {
	var p packet
	if len(b) < ethernetLen {
		return p, fmt.Errorf("%d bytes are no Ethernet frame", len(b))
	}
	p.dstMAC, p.srcMAC = slices.Clone(b[0:6]), slices.Clone(b[6:12])
	etherType, rest := binary.BigEndian.Uint16(b[12:]), b[ethernetLen:]
	if etherType == uint16(layers.EthernetTypeDot1Q) {
		if len(rest) < tagLen {
			return p, errors.New("802.1Q tag is cut short")
		}
		p.tag = slices.Clone(rest[:2])
		etherType, rest = binary.BigEndian.Uint16(rest[2:]), rest[tagLen:]
	}
	if etherType != uint16(layers.EthernetTypeIPv4) {
		return p, fmt.Errorf("EtherType 0x%04x is not IPv4", etherType)
	}
	if len(rest) < 20 || rest[0]>>4 != 4 {
		return p, errors.New("no IPv4 header")
	}
	headerLen, totalLen := int(rest[0]&15)*4, int(binary.BigEndian.Uint16(rest[2:]))
	if headerLen < 20 || totalLen < headerLen || totalLen > len(rest) {
		return p, fmt.Errorf("IPv4 header of %d bytes, packet of %d, frame holds %d", headerLen, totalLen, len(rest))
	}
	if rest[9] != protoUDP {
		return p, fmt.Errorf("IP protocol %d is not UDP", rest[9])
	}
	if binary.BigEndian.Uint16(rest[6:])&0x3fff != 0 {
		return p, errors.New("a fragment")
	}
	src, dst := netip.AddrFrom4([4]byte(rest[12:16])), netip.AddrFrom4([4]byte(rest[16:20]))
	udp := rest[headerLen:totalLen]
	if len(udp) < udpLen {
		return p, errors.New("no UDP header")
	}
	p.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(udp))
	p.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(udp[2:]))
	n := int(binary.BigEndian.Uint16(udp[4:]))
	if n < udpLen || n > len(udp) {
		return p, fmt.Errorf("UDP length %d, packet holds %d", n, len(udp))
	}
	p.payload = slices.Clone(udp[udpLen:n])
	return p, nil
}

// frame puts a packet together, with its checksums.
func (p *packet) frame() ([]byte, error) {
	eth := &layers.Ethernet{SrcMAC: p.srcMAC, DstMAC: p.dstMAC, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{
		Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP,
		SrcIP: p.src.Addr().AsSlice(), DstIP: p.dst.Addr().AsSlice(),
	}
	udp := &layers.UDP{SrcPort: layers.UDPPort(p.src.Port()), DstPort: layers.UDPPort(p.dst.Port())}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, err
	}
	stack := []gopacket.SerializableLayer{eth}
	if p.tag != nil {
		tci := binary.BigEndian.Uint16(p.tag)
		eth.EthernetType = layers.EthernetTypeDot1Q
		stack = append(stack, &layers.Dot1Q{
			Priority: uint8(tci >> 13), DropEligible: tci>>12&1 == 1, VLANIdentifier: tci & 0xfff,
			Type: layers.EthernetTypeIPv4,
		})
	}
	stack = append(stack, ip, udp, gopacket.Payload(p.payload))
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, stack...); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

package decode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"ip88rig/capture/timeline"
)

// Decoder holds what must be known of earlier frames to read the next one. It
// is not safe for concurrent use.
type Decoder struct {
	reading

	unread map[string]int
	pieces defragmenter
	tftp   tftpDecoder
	tcp    tcpDecoder
}

// Values of the EtherType field.
const (
	typeIPv4      = 0x0800
	typeARP       = 0x0806
	typeIPv6      = 0x86dd
	typePPPoEDisc = 0x8863
	typePPPoE     = 0x8864
	typeEAPOL     = 0x888e
	typeLLDP      = 0x88cc
	typeLength    = 0x0600 // below it, the field is a length (IEEE 802.3)
)

// isTag says whether an EtherType begins a VLAN tag. 0x9100 and 0x9200 are what
// switches wrote as the outer tag before IEEE 802.1ad gave it 0x88a8.
func isTag(t uint16) bool { return t == 0x8100 || t == 0x88a8 || t == 0x9100 || t == 0x9200 }

// Untagged returns the EtherType of an Ethernet frame and what follows it, past
// all VLAN tags, and the ids of these from the outside to the inside. It is not ok
// where the frame ends before that.
func Untagged(frame []byte) (etherType uint16, payload []byte, vlans []uint16, ok bool) {
	if len(frame) < 14 {
		return 0, nil, nil, false
	}
	etherType, payload = binary.BigEndian.Uint16(frame[12:]), frame[14:]
	for isTag(etherType) {
		if len(payload) < 4 {
			return 0, nil, vlans, false
		}
		vlans = append(vlans, binary.BigEndian.Uint16(payload)&0xfff)
		etherType, payload = binary.BigEndian.Uint16(payload[2:]), payload[4:]
	}
	return etherType, payload, vlans, true
}

// Unread counts the frames so far that are of a protocol which is not read, by
// its name.
func (d *Decoder) Unread() map[string]int { return d.unread }

func (d *Decoder) frame(data []byte) {
	d.srcMAC, d.dstMAC, d.vlan = "", "", ""
	// A recording goes on whatever is in a frame.
	defer func() {
		if p := recover(); p != nil {
			d.malformed("decoder: " + fmt.Sprint(p))
		}
	}()
	if len(data) >= 12 {
		d.srcMAC, d.dstMAC = d.mac(data[6:12]), d.mac(data[:6])
	}
	etherType, rest, vlans, ok := Untagged(data)
	if !ok {
		d.short("Ethernet header")
		return
	}
	for i, id := range vlans {
		if i > 0 {
			d.vlan += ","
		}
		d.vlan += strconv.Itoa(int(id))
	}
	if etherType < typeLength {
		d.unread[llc(rest)]++
		return
	}
	switch etherType {
	case typeIPv4:
		d.decodeIPv4(rest)
	case typeARP:
		d.decodeARP(rest)
	case typeEAPOL:
		d.decodeEAPOL(rest)
	case typeIPv6:
		d.unread["IPv6"]++
	case typePPPoE, typePPPoEDisc:
		d.unread["PPPoE"]++
	case typeLLDP:
		d.unread["LLDP"]++
	default:
		d.unread[fmt.Sprintf("EtherType 0x%04x", etherType)]++
	}
}

// llc names what an IEEE 802.3 frame carries.
func llc(b []byte) string {
	switch {
	case len(b) >= 8 && string(b[:8]) == "\xaa\xaa\x03\x00\x00\x0c\x20\x00":
		return "CDP"
	case len(b) >= 3 && string(b[:3]) == "\x42\x42\x03":
		return "STP"
	}
	return "IEEE 802.3"
}

func (d *Decoder) decodeARP(b []byte) {
	if len(b) < 28 {
		d.short("ARP")
		return
	}
	if string(b[:6]) != "\x00\x01\x08\x00\x06\x04" { // Ethernet and IPv4
		return
	}
	from, to := netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	kind := timeline.ARPReply
	if binary.BigEndian.Uint16(b[6:]) == 1 {
		switch {
		case from.IsUnspecified():
			kind = timeline.ARPProbe
		case from == to:
			kind = timeline.ARPAnnouncement
		default:
			kind = timeline.ARPRequest
		}
	}
	d.src, d.dst = netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, 0)
	e := d.event(kind)
	e.Fields = map[string]string{
		"arp.src.proto_ipv4": from.String(),
		"arp.dst.proto_ipv4": to.String(),
		"arp.src.hw_mac":     d.mac(b[8:14]),
		"arp.dst.hw_mac":     d.mac(b[18:24]),
	}
	d.emit(e)
	// An ARP frame has no flow: nothing is answered over a socket.
	d.src, d.dst = netip.AddrPort{}, netip.AddrPort{}
}

// decodeEAPOL reads IEEE 802.1X-2020, section 11, and the code of RFC 3748,
// section 4.
func (d *Decoder) decodeEAPOL(b []byte) {
	if len(b) < 4 {
		d.short("EAPOL")
		return
	}
	e := d.event(timeline.EAPOL)
	packet := b[4:]
	switch b[1] {
	case 0:
		if len(packet) < 4 {
			d.short("EAP")
			return
		}
		e.Message = map[byte]string{1: "EAP request", 2: "EAP response", 3: "EAP success", 4: "EAP failure"}[packet[0]]
		if e.Message == "" {
			e.Message = fmt.Sprintf("EAP code %d", packet[0])
		}
		if packet[0] <= 2 && len(packet) > 4 {
			method := map[byte]string{1: "identity", 2: "notification", 3: "NAK", 4: "MD5", 13: "TLS", 21: "TTLS", 25: "PEAP", 43: "FAST"}[packet[4]]
			if method == "" {
				method = fmt.Sprintf("type %d", packet[4])
			}
			e.Message += " " + method
		}
	case 1:
		e.Message = "start"
	case 2:
		e.Message = "logoff"
	case 3:
		e.Message = "key"
	default:
		e.Message = fmt.Sprintf("packet type %d", b[1])
	}
	d.emit(e)
}

func (d *Decoder) decodeIPv4(b []byte) {
	if len(b) < 20 {
		d.short("IPv4 header")
		return
	}
	head := int(b[0]&0xf) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 {
		total = len(b) + d.missing // the sending card splits it (segmentation offload)
	}
	switch {
	case b[0]>>4 != 4 || head < 20 || total < head:
		d.malformed("IPv4 header without a usable version or length")
		return
	case head > len(b):
		d.short("IPv4 header")
		return
	}
	if fold(sum(b[:head], 0)) != 0xffff && !d.unfilled() {
		d.malformed("IPv4 header checksum wrong")
		return
	}
	if total > len(b)+d.missing {
		d.malformed("IPv4 packet cut short")
		return
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	// What was cut off may be padding.
	d.missing = max(total-len(b), 0)
	payload, protocol := b[head:min(total, len(b))], b[9]
	if fragment := binary.BigEndian.Uint16(b[6:]); fragment&0x3fff != 0 {
		if d.missing > 0 {
			d.cutShort("fragment")
			return
		}
		more, offset := fragment&0x2000 != 0, int(fragment&0x1fff)*8
		whole, err := d.pieces.add(pieceKey{src: src, dst: dst, protocol: protocol, id: binary.BigEndian.Uint16(b[4:])}, offset, more, payload, d.at)
		if err != nil {
			d.malformed(err.Error())
			return
		}
		if whole == nil {
			return
		}
		payload = whole
	}
	switch protocol {
	case protocolUDP:
		d.decodeUDP(src, dst, payload)
	case protocolTCP:
		d.tcp.decodeTCP(src, dst, payload)
	case protocolICMP:
		d.decodeICMP(src, dst, payload)
	default:
		d.unread[fmt.Sprintf("IP protocol %d", protocol)]++
	}
}

func (d *Decoder) decodeUDP(src, dst netip.Addr, data []byte) {
	if len(data) < 8 {
		d.short("UDP header")
		return
	}
	d.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(data))
	d.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(data[2:]))
	length, checksum := int(binary.BigEndian.Uint16(data[4:])), binary.BigEndian.Uint16(data[6:])
	switch {
	case length != 0 && length < 8:
		d.malformed("UDP length below 8")
		return
	case length > len(data)+d.missing:
		d.malformed("UDP datagram cut short")
		return
	case length >= 8 && length <= len(data):
		data, d.missing = data[:length], 0
	}
	if d.missing == 0 && checksum != 0 && !intact(src, dst, protocolUDP, data, checksum) && !d.unfilled() {
		d.malformed("UDP checksum wrong")
		return
	}
	d.datagram(data[8:])
}

// decodeICMP reads the messages of RFC 792 that say that a datagram did not
// arrive.
func (d *Decoder) decodeICMP(src, dst netip.Addr, b []byte) {
	const unreachable, exceeded = 3, 11
	if len(b) < 8 {
		d.short("ICMP")
		return
	}
	var what string
	switch b[0] {
	case unreachable:
		what = map[byte]string{0: "net unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable", 4: "fragmentation needed", 9: "network prohibited", 10: "host prohibited", 13: "prohibited"}[b[1]]
		if what == "" {
			what = fmt.Sprintf("unreachable, code %d", b[1])
		}
	case exceeded:
		what = "time exceeded"
	default:
		d.unread["ICMP"]++
		return
	}
	d.src, d.dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)
	e := d.event(timeline.ICMPUnreachable)
	e.Message = what
	// The header of the datagram, and at least eight bytes of what it carried.
	if inner := b[8:]; len(inner) >= 20 && inner[0]>>4 == 4 {
		head := int(inner[0]&0xf) * 4
		if len(inner) >= head+4 && head >= 20 && (inner[9] == protocolUDP || inner[9] == protocolTCP) {
			asker := netip.AddrPortFrom(netip.AddrFrom4([4]byte(inner[12:16])), binary.BigEndian.Uint16(inner[head:]))
			asked := netip.AddrPortFrom(netip.AddrFrom4([4]byte(inner[16:20])), binary.BigEndian.Uint16(inner[head+2:]))
			e.Src, e.Dst = asked, asker
			e.Fields = map[string]string{"icmp.about": map[byte]string{protocolUDP: "UDP", protocolTCP: "TCP"}[inner[9]] + " " + asked.String()}
			if t := d.tftp.live(asker); t != nil && inner[9] == protocolUDP && t.asked(asked) {
				e.File, e.Transport = t.file, timeline.TFTP
			}
		}
	}
	d.emit(e)
	d.src, d.dst = netip.AddrPort{}, netip.AddrPort{}
}

// datagram finds out what a UDP datagram carries.
func (d *Decoder) datagram(payload []byte) {
	from, to := d.src.Port(), d.dst.Port()
	either := func(ports []uint16) bool {
		return slices.Contains(ports, to) || slices.Contains(ports, from)
	}
	switch {
	case to == 67 || to == 68 && from == 67:
		d.decodeDHCP(payload)
	case d.tftp.decodeTFTP(payload):
	case either(d.ports.DNS):
		d.decodeDNS(payload)
	case either(d.ports.SNTP):
		d.decodeSNTP(payload)
	case either(d.ports.SIP) || looksLikeSIP(payload):
		d.decodeSIP(payload)
	}
}

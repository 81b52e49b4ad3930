// Package decode turns Ethernet frames into timeline events: DHCP, ARP, TFTP,
// HTTP, TLS in clear, SIP, SNTP and DNS, in the words and field names of
// Wireshark. Whole transfers are followed, so that an acknowledged last block
// or the end of an HTTP body carries the number of bytes and their digest.
//
// It is pure: the same frames in the same order always yield the same events.
// All state is bounded, and no frame, however damaged, makes it panic.
//
// What a receiver would drop is not decoded: a frame whose checksum is wrong
// yields a Malformed event only. Unfinished checksums, as kernel peers on veth
// send them, count as right.
package decode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ip88rig/capture/timeline"
)

// Cable is the interface of a recording that facts about the handset come
// from; frames of the others yield no events.
const Cable = 0

// Ports says where services listen. TLS, HTTP and SIP are also found by their
// content on other ports.
type Ports struct {
	TFTP  []uint16 `json:"tftp,omitempty"`
	HTTP  []uint16 `json:"http,omitempty"`
	HTTPS []uint16 `json:"https,omitempty"`
	SIP   []uint16 `json:"sip,omitempty"`
	SNTP  []uint16 `json:"sntp,omitempty"`
	DNS   []uint16 `json:"dns,omitempty"`
}

// Config says whose traffic is decoded.
type Config struct {
	// HandsetMACs are the handset's own addresses. With none given any host
	// may be the handset.
	HandsetMACs []string `json:"handset_macs,omitempty"`
	// Ports left empty are 69, 80 and 8080, 443 and 8443, 5060, 123, and 53.
	Ports Ports `json:"ports,omitzero"`
}

// Decoder holds what must be known of earlier frames to read the next one. It
// is not safe for concurrent use.
type Decoder struct {
	ports    Ports
	handsets map[string]bool

	parser *gopacket.DecodingLayerParser
	found  []gopacket.LayerType
	eth    layers.Ethernet
	tag    layers.Dot1Q
	arp    layers.ARP
	ip     layers.IPv4
	udp    layers.UDP
	tcp    layers.TCP

	macs map[[6]byte]string

	// of the frame at hand
	at             time.Time
	number         int
	srcMAC, dstMAC string
	src, dst       netip.AddrPort
	out            []timeline.Event
	turn           uint64

	pieces    defragmenter
	transfers map[netip.AddrPort]*transfer
	conns     map[flow]*conn
}

type flow struct{ src, dst netip.AddrPort }

// New makes a decoder that has seen nothing yet.
func New(cfg Config) *Decoder {
	d := &Decoder{
		ports: Ports{
			TFTP:  orElse(cfg.Ports.TFTP, 69),
			HTTP:  orElse(cfg.Ports.HTTP, 80, 8080),
			HTTPS: orElse(cfg.Ports.HTTPS, 443, 8443),
			SIP:   orElse(cfg.Ports.SIP, 5060),
			SNTP:  orElse(cfg.Ports.SNTP, 123),
			DNS:   orElse(cfg.Ports.DNS, 53),
		},
		handsets:  map[string]bool{},
		macs:      map[[6]byte]string{},
		transfers: map[netip.AddrPort]*transfer{},
		conns:     map[flow]*conn{},
	}
	for _, mac := range cfg.HandsetMACs {
		d.handsets[strings.ToLower(mac)] = true
	}
	d.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &d.eth, &d.tag, &d.arp, &d.ip)
	d.parser.IgnoreUnsupported = true
	return d
}

func orElse(given []uint16, usual ...uint16) []uint16 {
	if len(given) == 0 {
		return usual
	}
	return given
}

// Frame decodes the next frame of interface iface, whose number in the
// recording is number, and returns what it tells. The events are valid until
// the next call; the data is not kept.
func (d *Decoder) Frame(iface, number int, at time.Time, data []byte) []timeline.Event {
	d.out = d.out[:0]
	d.src, d.dst = netip.AddrPort{}, netip.AddrPort{}
	if iface != Cable {
		return nil
	}
	d.at, d.number = at, number
	d.turn++
	d.frame(data)
	return d.out
}

// Flow returns the ends of the UDP datagram or TCP segment that the last call
// of Frame decoded; ok is false when it was neither.
func (d *Decoder) Flow() (src, dst netip.AddrPort, ok bool) {
	return d.src, d.dst, d.src.IsValid()
}

func (d *Decoder) frame(data []byte) {
	d.srcMAC, d.dstMAC = "", ""
	// A recording goes on whatever is in a frame.
	defer func() {
		if p := recover(); p != nil {
			d.malformed("decoder: " + fmt.Sprint(p))
		}
	}()
	err := d.parser.DecodeLayers(data, &d.found)
	if len(d.found) > 0 {
		d.srcMAC, d.dstMAC = d.mac(d.eth.SrcMAC), d.mac(d.eth.DstMAC)
	}
	if err != nil {
		d.malformed(err.Error())
		return
	}
	switch d.found[len(d.found)-1] {
	case layers.LayerTypeARP:
		d.decodeARP()
	case layers.LayerTypeIPv4:
		d.decodeIPv4()
	}
}

// layer has the library read one layer. Damaged input has made it panic before.
func (d *Decoder) layer(l gopacket.DecodingLayer, data []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v cannot be read", l.CanDecode())
		}
	}()
	return l.DecodeFromBytes(data, d.parser)
}

func (d *Decoder) mac(b []byte) string {
	if len(b) != 6 {
		return ""
	}
	key := [6]byte(b)
	if s, ok := d.macs[key]; ok {
		return s
	}
	if len(d.macs) >= 4096 {
		clear(d.macs)
	}
	s := fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])
	d.macs[key] = s
	return s
}

// event starts an event of the frame at hand.
func (d *Decoder) event(kind timeline.Kind) timeline.Event {
	return timeline.Event{
		At: d.at, Frame: d.number, By: timeline.Wire, Kind: kind,
		SrcMAC: d.srcMAC, DstMAC: d.dstMAC, Src: d.src, Dst: d.dst,
	}
}

func (d *Decoder) emit(e timeline.Event) { d.out = append(d.out, e) }

func (d *Decoder) malformed(reason string) {
	e := d.event(timeline.Malformed)
	e.Reason = clip(reason)
	d.emit(e)
}

// ours tells whether the handset may be the one with this address.
func (d *Decoder) ours(mac string) bool { return len(d.handsets) == 0 || d.handsets[mac] }

func (d *Decoder) decodeARP() {
	if d.arp.AddrType != layers.LinkTypeEthernet || d.arp.Protocol != layers.EthernetTypeIPv4 ||
		len(d.arp.SourceProtAddress) != 4 || len(d.arp.DstProtAddress) != 4 {
		return
	}
	from := netip.AddrFrom4([4]byte(d.arp.SourceProtAddress))
	to := netip.AddrFrom4([4]byte(d.arp.DstProtAddress))
	kind := timeline.ARPReply
	if d.arp.Operation == layers.ARPRequest {
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
		"arp.src.hw_mac":     d.mac(d.arp.SourceHwAddress),
		"arp.dst.hw_mac":     d.mac(d.arp.DstHwAddress),
	}
	d.emit(e)
	// An ARP frame has no flow: nothing is answered over a socket.
	d.src, d.dst = netip.AddrPort{}, netip.AddrPort{}
}

func (d *Decoder) decodeIPv4() {
	src, ok1 := netip.AddrFromSlice(d.ip.SrcIP)
	dst, ok2 := netip.AddrFromSlice(d.ip.DstIP)
	if !ok1 || !ok2 {
		return
	}
	src, dst = src.Unmap(), dst.Unmap()
	if fold(sum(d.ip.Contents, 0)) != 0xffff {
		d.malformed("IPv4 header checksum wrong")
		return
	}
	if d.parser.Truncated {
		d.malformed("IPv4 packet cut short")
		return
	}
	payload, protocol := d.ip.Payload, d.ip.Protocol
	if d.ip.Flags&layers.IPv4MoreFragments != 0 || d.ip.FragOffset != 0 {
		whole, err := d.pieces.add(pieceKey{src: src, dst: dst, protocol: protocol, id: d.ip.Id},
			int(d.ip.FragOffset)*8, d.ip.Flags&layers.IPv4MoreFragments != 0, payload, d.at)
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
	case layers.IPProtocolUDP:
		d.decodeUDP(src, dst, payload)
	case layers.IPProtocolTCP:
		d.decodeTCP(src, dst, payload)
	default: // nothing of the handset's routine
	}
}

func (d *Decoder) decodeUDP(src, dst netip.Addr, data []byte) {
	if err := d.layer(&d.udp, data); err != nil {
		d.malformed(err.Error())
		return
	}
	d.src = netip.AddrPortFrom(src, uint16(d.udp.SrcPort))
	d.dst = netip.AddrPortFrom(dst, uint16(d.udp.DstPort))
	if d.parser.Truncated {
		d.malformed("UDP datagram cut short")
		return
	}
	if d.udp.Length >= 8 && int(d.udp.Length) <= len(data) {
		data = data[:d.udp.Length]
	}
	if d.udp.Checksum != 0 && !intact(src, dst, layers.IPProtocolUDP, data, d.udp.Checksum) {
		d.malformed("UDP checksum wrong")
		return
	}
	payload := d.udp.Payload
	from, to := d.src.Port(), d.dst.Port()
	either := func(ports []uint16) bool {
		return slices.Contains(ports, to) || slices.Contains(ports, from)
	}
	switch {
	case to == 67 || to == 68 && from == 67:
		d.decodeDHCP(payload)
	case d.decodeTFTP(payload):
	case either(d.ports.DNS):
		d.decodeDNS(payload)
	case either(d.ports.SNTP):
		d.decodeSNTP(payload)
	case either(d.ports.SIP) || looksLikeSIP(payload):
		d.decodeSIP(payload)
	}
}

// intact verifies a UDP or TCP checksum. A sum over the pseudo header alone is
// what a kernel leaves to its network card; it counts as right, also without
// the length that the card is to put in.
func intact(src, dst netip.Addr, protocol layers.IPProtocol, data []byte, got uint16) bool {
	s, t := src.As4(), dst.As4()
	pseudo := sum(t[:], sum(s[:], uint64(protocol)))
	withLength := pseudo + uint64(len(data))
	return fold(sum(data, withLength)) == 0xffff || got == fold(withLength) || got == fold(pseudo)
}

func sum(b []byte, s uint64) uint64 {
	for len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

func fold(s uint64) uint16 {
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// clip makes a text that came from the wire fit for a journal: valid, without
// control characters, not too long.
func clip(s string) string {
	const limit = 1024
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

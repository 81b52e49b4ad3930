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
	"net/netip"
	"strings"
	"time"

	"ip88rig/capture/timeline"
)

// Cable is the interface of a recording that facts about the handset come
// from; frames of the others yield no events.
const Cable = 0

// Config says whose traffic is decoded.
type Config struct {
	// HandsetMACs are the handset's own addresses. With none given any host
	// may be the handset.
	HandsetMACs []string `json:"handset_macs,omitempty"`
	// Ports left empty are 69, 80 and 8080, 443 and 8443, 5060, 123, and 53.
	Ports Ports `json:"ports,omitzero"`
	// UnfilledChecksums are the MACs of senders whose frames were captured before
	// their network card filled in the checksums: those are not verified.
	UnfilledChecksums []string `json:"-"`
}

// New makes a decoder that has seen nothing yet.
func New(cfg Config) *Decoder {
	d := &Decoder{reading: reading{
		ports: Ports{
			TFTP:  orElse(cfg.Ports.TFTP, 69),
			HTTP:  orElse(cfg.Ports.HTTP, 80, 8080),
			HTTPS: orElse(cfg.Ports.HTTPS, 443, 8443),
			SIP:   orElse(cfg.Ports.SIP, 5060),
			SNTP:  orElse(cfg.Ports.SNTP, 123),
			DNS:   orElse(cfg.Ports.DNS, 53),
		},
		handsets: map[string]bool{},
		sumless:  map[string]bool{},
		macs:     map[[6]byte]string{},
	}, unread: map[string]int{}}
	d.tftp = tftpDecoder{reading: &d.reading, transfers: map[netip.AddrPort]*transfer{}}
	d.tcp = tcpDecoder{reading: &d.reading, conns: map[flow]*conn{}}
	for _, mac := range cfg.HandsetMACs {
		d.handsets[strings.ToLower(mac)] = true
	}
	for _, mac := range cfg.UnfilledChecksums {
		d.sumless[strings.ToLower(mac)] = true
	}
	return d
}

func orElse(given []uint16, usual ...uint16) []uint16 {
	if len(given) == 0 {
		return usual
	}
	return given
}

// Frame decodes the next frame of interface iface, whose number in the
// recording is number, and returns its events. They are valid until
// the next call; the data is not kept.
func (d *Decoder) Frame(iface, number int, at time.Time, data []byte) []timeline.Event {
	if iface != Cable {
		d.out = d.out[:0]
		d.src, d.dst = netip.AddrPort{}, netip.AddrPort{}
		return nil
	}
	return d.Packet(number, at, data, len(data))
}

// Packet is Frame for any capture: length is that of the frame on the wire in
// bytes, more than len(data) where the capture cut it.
func (d *Decoder) Packet(number int, at time.Time, data []byte, length int) []timeline.Event {
	d.out = d.out[:0]
	d.src, d.dst = netip.AddrPort{}, netip.AddrPort{}
	d.at, d.number = at, number
	d.kept, d.missing = len(data), max(length-len(data), 0)
	d.turn++
	d.frame(data)
	return d.out
}

// Flow returns the ends of the UDP datagram or TCP segment that the last call
// of Frame decoded; ok is false when it was neither.
func (d *Decoder) Flow() (src, dst netip.AddrPort, ok bool) {
	return d.src, d.dst, d.src.IsValid()
}

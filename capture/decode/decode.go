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
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/gopacket"

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
	// UnfilledChecksums are the MACs of senders whose frames were captured before
	// their network card filled in the checksums: those are not verified.
	UnfilledChecksums []string `json:"-"`
}

// Decoder holds what must be known of earlier frames to read the next one. It
// is not safe for concurrent use.
type Decoder struct {
	ports    Ports
	handsets map[string]bool

	sumless map[string]bool

	macs   map[[6]byte]string
	unread map[string]int

	// of the frame at hand
	at             time.Time
	number         int
	srcMAC, dstMAC string
	vlan           string // ids of its tags
	src, dst       netip.AddrPort
	tcp            segmentHead
	kept           int // bytes of the frame that the capture has
	missing        int // bytes of it that the capture cut off
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
		sumless:   map[string]bool{},
		macs:      map[[6]byte]string{},
		unread:    map[string]int{},
		transfers: map[netip.AddrPort]*transfer{},
		conns:     map[flow]*conn{},
	}
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

// layer has the library read one layer. Damaged input has made it panic before.
func (d *Decoder) layer(l gopacket.DecodingLayer, data []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v cannot be read", l.CanDecode())
		}
	}()
	return l.DecodeFromBytes(data, gopacket.NilDecodeFeedback)
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

// unfilled says whether the sender's card fills in the checksums of the frame at
// hand.
func (d *Decoder) unfilled() bool { return d.sumless[d.srcMAC] }

// datagram finds out what a UDP datagram carries.
func (d *Decoder) datagram(payload []byte) {
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

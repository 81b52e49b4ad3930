package decode

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/gopacket"

	"ip88rig/capture/timeline"
)

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

// reading is the frame at hand, with what each protocol needs to read it and to
// report events.
type reading struct {
	ports    Ports
	handsets map[string]bool
	sumless  map[string]bool
	macs     map[[6]byte]string

	at             time.Time
	number         int
	srcMAC, dstMAC string
	vlan           string // ids of its tags
	src, dst       netip.AddrPort
	kept           int // bytes of the frame that the capture has
	missing        int // bytes of it that the capture cut off
	out            []timeline.Event
	turn           uint64
}

// pair are the two ends of a connection: 0 is the client's, 1 the server's.
type pair struct {
	ends [2]netip.AddrPort
	macs [2]string
}

// ours reports whether the handset may be the one with this address.
func (d *reading) ours(mac string) bool { return len(d.handsets) == 0 || d.handsets[mac] }

// unfilled says whether the sender's card fills in the checksums of the frame at
// hand.
func (d *reading) unfilled() bool { return d.sumless[d.srcMAC] }

// layer has the library read one layer. Damaged input has made it panic before.
func (d *reading) layer(l gopacket.DecodingLayer, data []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v cannot be read", l.CanDecode())
		}
	}()
	return l.DecodeFromBytes(data, gopacket.NilDecodeFeedback)
}

func (d *reading) mac(b []byte) string {
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
func (d *reading) event(kind timeline.Kind) timeline.Event {
	return timeline.Event{
		At: d.at, Frame: d.number, By: timeline.Wire, Kind: kind,
		SrcMAC: d.srcMAC, DstMAC: d.dstMAC, Src: d.src, Dst: d.dst,
	}
}

// of starts an event of direction i of a connection, whichever way the frame
// at hand goes.
func (d *reading) of(c *pair, i int, kind timeline.Kind) timeline.Event {
	e := d.event(kind)
	e.Src, e.Dst = c.ends[i], c.ends[1-i]
	e.SrcMAC, e.DstMAC = c.macs[i], c.macs[1-i]
	return e
}

func (d *reading) emit(e timeline.Event) { d.out = append(d.out, e) }

// within has fn decode for direction i of a connection, whichever way
// the frame at hand goes.
func (d *reading) within(c *pair, i int, fn func()) {
	srcMAC, dstMAC, src, dst := d.srcMAC, d.dstMAC, d.src, d.dst
	d.srcMAC, d.dstMAC, d.src, d.dst = c.macs[i], c.macs[1-i], c.ends[i], c.ends[1-i]
	fn()
	d.srcMAC, d.dstMAC, d.src, d.dst = srcMAC, dstMAC, src, dst
}

func (d *reading) malformed(reason string) {
	e := d.event(timeline.Malformed)
	e.Reason = clip(reason)
	d.emit(e)
}

// short says that the frame at hand ends within a part of it: the capture cut it,
// or its sender did.
func (d *reading) short(part string) {
	if d.missing > 0 {
		d.cutShort(part)
		return
	}
	d.malformed(part + " cut short")
}

// cutShort says that the capture did not keep all of a message.
func (d *reading) cutShort(what string) {
	e := d.event(timeline.CutShort)
	e.Message, e.Bytes = clip(what), int64(d.kept)
	d.emit(e)
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

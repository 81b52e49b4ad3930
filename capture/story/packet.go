package story

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"

	"ip88rig/capture/decode"
)

type mac [6]byte

func (m mac) isGroup() bool { return m[0]&1 != 0 }

// view is what the survey looks at in a frame.
type view struct {
	dst, src  mac
	etherType uint16
	ip        bool
	from, to  netip.AddrPort // port 0 where the protocol has none, or in a later fragment
	protocol  byte
	header    []byte // of IPv4
	transport []byte // what follows it
	payload   []byte // of UDP or TCP
	cut       bool   // the capture did not keep all of it
	flags     byte   // of TCP
}

const (
	protocolTCP = 6
	protocolUDP = 17
)

// look reads the headers of an Ethernet frame.
func look(frame []byte, length int) (v view, ok bool) {
	if len(frame) < 14 {
		return v, false
	}
	v.dst, v.src, v.cut = mac(frame[:6]), mac(frame[6:12]), length > len(frame)
	etherType, b, _, ok := decode.Untagged(frame)
	if !ok {
		return v, false
	}
	v.etherType = etherType
	if etherType != typeIPv4 || len(b) < 20 || b[0]>>4 != 4 {
		v.payload = b
		return v, true
	}
	head, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < 20 || head > len(b) {
		return v, true
	}
	v.ip, v.protocol, v.header = true, b[9], b[:head]
	if total >= head && total <= len(b) {
		b, v.cut = b[:total], false
	}
	v.transport = b[head:]
	from, to := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	v.from, v.to = netip.AddrPortFrom(from, 0), netip.AddrPortFrom(to, 0)
	if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 { // a fragment
		return v, true
	}
	t := v.transport
	switch {
	case v.protocol == protocolUDP && len(t) >= 8:
		v.payload = t[8:]
	case v.protocol == protocolTCP && len(t) >= 20 && int(t[12]>>4)*4 <= len(t):
		v.payload, v.flags = t[int(t[12]>>4)*4:], t[13]
	default:
		return v, true
	}
	v.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(t))
	v.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(t[2:]))
	return v, true
}

// sender is who sent a frame: its IPv4 address, or the MAC. A copy that was
// captured one hop further on has another MAC.
type sender struct {
	addr netip.Addr
	mac  mac
}

func (v view) sender() sender {
	if v.ip && !v.from.Addr().IsUnspecified() {
		return sender{addr: v.from.Addr()}
	}
	return sender{mac: v.src}
}

// kind is the protocol of a frame, as far as copies are counted apart by it.
func (v view) kind() uint32 {
	if !v.ip {
		return uint32(v.etherType)
	}
	service := min(v.from.Port(), v.to.Port())
	return uint32(v.protocol)<<16 | uint32(service)
}

// sum is a hash of all that stays the same in a copy of a frame: not the tags, nor
// what a router changes.
func (v view) sum(seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	if v.ip {
		_, _ = h.Write(v.header[4:8])
		_, _ = h.Write(v.header[12:])
		_, _ = h.Write(v.transport)
	} else {
		_, _ = h.Write(v.src[:])
		_, _ = h.Write(v.payload)
	}
	return h.Sum64()
}

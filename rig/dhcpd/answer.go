package dhcpd

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// option is one option of an answer, of any length. Answers are lists of these
// and not dhcpv4.Options, which is a map and can hold neither an order nor an
// option twice.
type option struct {
	code  uint8
	value []byte
}

// answer is a message to a client before it becomes bytes.
type answer struct {
	kind   dhcpv4.MessageType
	to     *message
	yiaddr netip.Addr
	siaddr netip.Addr
	// flags are the client's; a NAK through a relay sets the broadcast bit.
	flags   uint16
	options []option
	// relay is option 82, which comes back as it came and last (RFC 3046
	// section 2.2).
	relay []byte
	// room is how many bytes of BOOTP message may be sent.
	room int
}

// grant builds the answer that a lease gives: an OFFER, the ACK of a REQUEST,
// or that of an INFORM, which has no address and no times in it (RFC 2131
// section 4.3.5).
func (s *Server) grant(m *message, kind dhcpv4.MessageType, c *client) *answer {
	l := &c.lease
	a := &answer{kind: kind, to: m, siaddr: l.NextServer, flags: m.Flags, relay: m.Options[optRelayAgent], room: m.room}
	if l.Oversize {
		a.room = maxDatagram - ipUDPLen
	}
	parameters := l.parameters()
	always := []option{{optMessageType, []byte{byte(kind)}}, {optServerID, Addrs(s.ip)}}
	timers := map[uint8][]byte{}
	if m.kind != dhcpv4.MessageTypeInform {
		a.yiaddr = c.addr()
		timers = l.timers()
	}
	for code, value := range l.Options {
		switch code {
		case optServerID:
			always[1].value = value
		case optLeaseTime, optT1, optT2:
			if m.kind != dhcpv4.MessageTypeInform {
				timers[code] = value
			}
		default:
			parameters[code] = value
		}
	}
	a.options = always
	for _, code := range []uint8{optLeaseTime, optT1, optT2} {
		if value, ok := timers[code]; ok {
			a.options = append(a.options, option{code, value})
		}
	}
	for _, code := range wanted(m.list, l, parameters) {
		a.options = append(a.options, option{code, parameters[code]})
	}
	return a
}

// wanted lists which parameters go out, in which order: those that the client's
// list names, in its order (RFC 2131 section 4.3.1: the server tries to honour
// it), then the forced ones. Without a list everything goes out by number.
func wanted(list []byte, l *Lease, parameters map[uint8][]byte) []uint8 {
	var out []uint8
	add := func(codes ...uint8) {
		for _, code := range codes {
			if _, ok := parameters[code]; ok && !slices.Contains(out, code) {
				out = append(out, code)
			}
		}
	}
	if list == nil {
		var all []uint8
		for code := range parameters {
			all = append(all, code)
		}
		slices.Sort(all)
		add(all...)
	}
	add(list...)
	add(l.Force...)

	mask, router := slices.Index(out, optMask), slices.Index(out, optRouter)
	if router >= 0 && mask > router {
		out = slices.Insert(slices.Delete(out, mask, mask+1), router, optMask)
	}
	if len(l.Order) > 0 {
		rank := func(code uint8) int {
			if i := slices.Index(l.Order, code); i >= 0 {
				return i
			}
			return len(l.Order)
		}
		slices.SortStableFunc(out, func(a, b uint8) int { return rank(a) - rank(b) })
	}
	return out
}

// refuse builds a NAK, which holds nothing of a lease (RFC 2131 table 3).
func (s *Server) refuse(m *message, why string) *answer {
	a := &answer{
		kind: dhcpv4.MessageTypeNak, to: m, flags: m.Flags, relay: m.Options[optRelayAgent], room: m.room,
		options: []option{
			{optMessageType, []byte{byte(dhcpv4.MessageTypeNak)}},
			{optServerID, Addrs(s.ip)},
			{optMessage, Text(why)},
		},
	}
	if !m.giaddr.IsUnspecified() {
		// So that the relay broadcasts it: the client may have no address that
		// is right on its subnet (RFC 2131 section 4.3.2).
		a.flags |= 0x8000
	}
	return a
}

// without takes an option out.
func (a *answer) without(code uint8) {
	a.options = slices.DeleteFunc(a.options, func(o option) bool { return o.code == code })
	if code == optRelayAgent {
		a.relay = nil
	}
}

// bytes writes the message. Options that the client has no room for are left
// out whole, and listed: sent are the numbers of those that went out.
func (a *answer) bytes() (b, sent, leftOut []byte) {
	m := a.to
	b = make([]byte, cookieEnd, minBOOTP)
	b[0], b[1], b[2] = byte(dhcpv4.OpcodeBootReply), byte(iana.HWTypeEthernet), 6
	copy(b[4:8], m.TransactionID[:])
	binary.BigEndian.PutUint16(b[10:], a.flags)
	if a.kind == dhcpv4.MessageTypeAck {
		copy(b[12:16], m.ClientIPAddr)
	}
	copy(b[16:20], a.yiaddr.AsSlice())
	copy(b[20:24], a.siaddr.AsSlice())
	copy(b[24:28], m.GatewayIPAddr)
	copy(b[28:44], m.ClientHWAddr)
	copy(b[236:240], "\x63\x82\x53\x63")

	var last []byte
	if a.relay != nil {
		last = option{optRelayAgent, a.relay}.append(nil)
	}
	last = append(last, optEnd)
	for _, o := range a.options {
		piece := o.append(nil)
		if len(b)+len(piece)+len(last) > a.room {
			leftOut = append(leftOut, o.code)
			continue
		}
		b = append(b, piece...)
		sent = append(sent, o.code)
	}
	b = append(b, last...)
	if a.relay != nil {
		sent = append(sent, optRelayAgent)
	}
	if len(b) < minBOOTP {
		b = b[:minBOOTP]
	}
	return b, sent, leftOut
}

// append writes the option, a value over 255 bytes in pieces that follow each
// other (RFC 3396 section 5).
func (o option) append(b []byte) []byte {
	for first := true; first || len(o.value) > 0; first = false {
		n := min(len(o.value), 255)
		b = append(b, o.code, byte(n))
		b = append(b, o.value[:n]...)
		o.value = o.value[n:]
	}
	return b
}

// packet addresses an answer (RFC 2131 section 4.1).
func (s *Server) packet(a *answer, in *packet, payload []byte) *packet {
	m := a.to
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	out := &packet{
		srcMAC: s.mac, dstMAC: m.ClientHWAddr, tag: in.tag,
		src: netip.AddrPortFrom(s.ip, serverPort), payload: payload,
	}
	switch {
	case !m.giaddr.IsUnspecified():
		// The relay is reached through whatever sent its frame to us.
		out.dstMAC, out.dst = in.srcMAC, netip.AddrPortFrom(m.giaddr, serverPort)
	case a.kind == dhcpv4.MessageTypeNak:
		out.dst = netip.AddrPortFrom(broadcast, clientPort)
	case !m.ciaddr.IsUnspecified():
		out.dst = netip.AddrPortFrom(m.ciaddr, clientPort)
	case m.Flags&0x8000 != 0 || !a.yiaddr.IsValid():
		out.dst = netip.AddrPortFrom(broadcast, clientPort)
	default:
		// The client answers no ARP for yiaddr yet: the MAC comes from chaddr.
		out.dst = netip.AddrPortFrom(a.yiaddr, clientPort)
	}
	if out.dst.Addr() == broadcast {
		out.dstMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	return out
}

package dhcpd

import (
	"encoding/binary"
	"fmt"
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
	// raw, where it is not nil, is written in place of code, length and value.
	raw []byte
}

// answer is a message to a client before it becomes bytes.
type answer struct {
	from   identity
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

	damage
}

// damage is what faults do to a message as it is written.
type damage struct {
	// overload are the bits of option 52 that are set although there is room.
	overload byte
	// front and back are bytes before and after the options.
	front, back []byte
	noEnd       bool
	// edits are made to the message one after another; it has its header whole.
	edits []func([]byte) []byte
	// cut is one more than the length that is left of it at last; 0: all.
	cut int
}

// grant builds the answer that a lease gives: an OFFER, the ACK of a REQUEST,
// or that of an INFORM, which has no address and no times in it (RFC 2131
// section 4.3.5).
func grant(m *message, kind dhcpv4.MessageType, from identity, l *Lease, addr netip.Addr) *answer {
	a := &answer{from: from, kind: kind, to: m, siaddr: l.NextServer, flags: m.raw.Flags, relay: m.raw.Options[optRelayAgent], room: m.room}
	if l.Oversize {
		a.room = maxDatagram - ipUDPLen
	}
	parameters := l.parameters()
	always := []option{{code: optMessageType, value: []byte{byte(kind)}}, {code: optServerID, value: Addrs(from.ip)}}
	timers := map[uint8][]byte{}
	if m.kind != dhcpv4.MessageTypeInform {
		a.yiaddr = addr
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
			a.options = append(a.options, option{code: code, value: value})
		}
	}
	for _, code := range wanted(m.list, l, parameters) {
		a.options = append(a.options, option{code: code, value: parameters[code]})
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
func refuse(m *message, from identity, why string) *answer {
	a := &answer{
		from: from, kind: dhcpv4.MessageTypeNak, to: m, flags: m.raw.Flags, relay: m.raw.Options[optRelayAgent], room: m.room,
		options: []option{
			{code: optMessageType, value: []byte{byte(dhcpv4.MessageTypeNak)}},
			{code: optServerID, value: Addrs(from.ip)},
			{code: optMessage, value: Text(why)},
		},
	}
	if !m.giaddr.IsUnspecified() {
		// So that the relay broadcasts it: the client may have no address that
		// is right on its subnet (RFC 2131 section 4.3.2).
		a.flags |= 0x8000
	}
	return a
}

// bytes writes the message. What has no room among the options goes into the
// fields file and sname (option 52, RFC 2131 section 4.1); what has none there
// either is left out whole, and listed.
func (a *answer) bytes() (b, leftOut []byte) {
	m := a.to
	b = make([]byte, cookieEnd, minBOOTP)
	b[0], b[1], b[2] = byte(dhcpv4.OpcodeBootReply), byte(iana.HWTypeEthernet), 6
	copy(b[4:8], m.raw.TransactionID[:])
	binary.BigEndian.PutUint16(b[10:], a.flags)
	if a.kind == dhcpv4.MessageTypeAck {
		copy(b[12:16], m.raw.ClientIPAddr)
	}
	copy(b[16:20], a.yiaddr.AsSlice())
	copy(b[20:24], a.siaddr.AsSlice())
	copy(b[24:28], m.raw.GatewayIPAddr)
	copy(b[28:44], m.raw.ClientHWAddr)
	copy(b[cookieAt:cookieEnd], magicCookie)

	last := a.back
	if a.relay != nil {
		last = option{code: optRelayAgent, value: a.relay}.append(slices.Clip(last))
	}
	if !a.noEnd {
		last = append(slices.Clip(last), optEnd)
	}
	l := a.lay(a.room-cookieEnd-len(a.front)-len(last), 0)
	if a.overload != 0 || len(l.leftOut) > 0 {
		over := a.lay(a.room-cookieEnd-len(a.front)-len(last), inFile|inSname)
		if a.overload != 0 || len(over.leftOut) < len(l.leftOut) {
			l = over
		}
	}
	b = slices.Concat(b, a.front, l.options, last)
	copy(b[fileAt:cookieAt], l.file)
	copy(b[snameAt:fileAt], l.sname)
	if len(b) < minBOOTP {
		b = slices.Concat(b, make([]byte, minBOOTP-len(b)))
	}
	for _, edit := range a.edits {
		b = edit(b)
	}
	if a.cut > 0 {
		b = b[:min(len(b), a.cut-1)]
	}
	return b, l.leftOut
}

// layout is where the options of a message stand.
type layout struct {
	options, file, sname, leftOut []byte
	// first is the length of the first option.
	first int
}

// lay distributes the options over the fields that fields allows (the bits of
// option 52), of which options has that much room. What a.overload names is
// filled first, but for what every client must see among the options.
func (a *answer) lay(room int, fields byte) layout {
	var l layout
	if fields != 0 {
		room -= len(option{code: optOverload, value: []byte{0}}.append(nil))
	}
	put := func(field *[]byte, room int, piece []byte) bool {
		if len(*field)+len(piece) > room {
			return false
		}
		*field = append(*field, piece...)
		return true
	}
	for _, o := range a.options {
		piece := o.append(nil)
		movable := !slices.Contains([]uint8{optMessageType, optServerID, optLeaseTime, optT1, optT2}, o.code)
		file := func(bits byte) bool {
			return bits&inFile != 0 && put(&l.file, cookieAt-fileAt-1, piece) ||
				bits&inSname != 0 && put(&l.sname, fileAt-snameAt-1, piece)
		}
		switch {
		case movable && file(a.overload&fields):
		case put(&l.options, room, piece):
		case movable && file(fields):
		default:
			l.leftOut = append(l.leftOut, o.code)
		}
		if l.first == 0 {
			l.first = len(l.options)
		}
	}
	used := a.overload & fields
	if len(l.file) > 0 {
		used |= inFile
	}
	if len(l.sname) > 0 {
		used |= inSname
	}
	if used == 0 {
		return l
	}
	l.options = slices.Insert(l.options, l.first, optOverload, 1, used)
	if used&inFile != 0 {
		l.file = append(l.file, optEnd)
	}
	if used&inSname != 0 {
		l.sname = append(l.sname, optEnd)
	}
	return l
}

// carried lists what a client finds in a message: the numbers of the options in
// the order of their first occurrence, and the values put together (RFC 3396).
// It reads as far as the message can be read, and is what the journal says of a
// message that a fault spoilt.
func carried(b []byte) (codes []byte, values map[uint8][]byte) {
	values = make(map[uint8][]byte)
	if len(b) < cookieEnd || string(b[cookieAt:cookieEnd]) != magicCookie {
		return nil, values
	}
	read := func(b []byte) {
		for len(b) > 0 && b[0] != optEnd {
			if b[0] == optPad {
				b = b[1:]
				continue
			}
			if len(b) < 2 || len(b) < 2+int(b[1]) {
				return
			}
			if !slices.Contains(codes, b[0]) {
				codes = append(codes, b[0])
			}
			values[b[0]] = append(values[b[0]], b[2:2+int(b[1])]...)
			b = b[2+int(b[1]):]
		}
	}
	read(b[cookieEnd:])
	if over := values[optOverload]; len(over) == 1 {
		if over[0]&inFile != 0 {
			read(b[fileAt:cookieAt])
		}
		if over[0]&inSname != 0 {
			read(b[snameAt:fileAt])
		}
	}
	return codes, values
}

// append writes the option, a value over 255 bytes in pieces that follow each
// other (RFC 3396 section 5).
func (o option) append(b []byte) []byte {
	if o.raw != nil {
		return append(b, o.raw...)
	}
	for first := true; first || len(o.value) > 0; first = false {
		n := min(len(o.value), 255)
		b = append(b, o.code, byte(n))
		b = append(b, o.value[:n]...)
		o.value = o.value[n:]
	}
	return b
}

// packet addresses an answer (RFC 2131 section 4.1).
func (a *answer) packet(in *packet, payload []byte) *packet {
	m := a.to
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	out := &packet{
		srcMAC: a.from.mac, dstMAC: m.raw.ClientHWAddr, tag: in.tag,
		src: netip.AddrPortFrom(a.from.ip, serverPort), payload: payload,
	}
	switch {
	case !m.giaddr.IsUnspecified():
		// The relay is reached through whatever sent its frame to us.
		out.dstMAC, out.dst = in.srcMAC, netip.AddrPortFrom(m.giaddr, serverPort)
	case a.kind == dhcpv4.MessageTypeNak:
		out.dst = netip.AddrPortFrom(broadcast, clientPort)
	case !m.ciaddr.IsUnspecified():
		out.dst = netip.AddrPortFrom(m.ciaddr, clientPort)
	case m.raw.Flags&0x8000 != 0 || !a.yiaddr.IsValid():
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

// as says what a made-up server does.
func (a *answer) as() string {
	return fmt.Sprintf("DISCOVER: OFFER %v as another server, %v, by fault", a.yiaddr, a.from.ip)
}

// find returns where an option stands first, or -1.
func (a *answer) find(code uint8) int {
	return slices.IndexFunc(a.options, func(o option) bool { return o.code == code })
}

// set puts an option in the place of the one with its number, or behind all
// others.
func (a *answer) set(n option) {
	if i := a.find(n.code); i >= 0 {
		a.options[i] = n
		return
	}
	a.options = append(a.options, n)
}

// grow makes room up to the MTU for what a fault adds, whatever the client said
// that it takes.
func (a *answer) grow() { a.room = maxDatagram - ipUDPLen }

// setRaw is set for an option of which the length byte lies.
func (a *answer) setRaw(code, length byte, value []byte) {
	a.grow()
	a.set(option{code: code, value: value, raw: append([]byte{code, length}, value...)})
}

// edit adds a change to the written message.
func (a *answer) edit(f func([]byte) []byte) { a.edits = append(a.edits, f) }

func isAddr(field string, a netip.Addr) error {
	if !a.Is4() {
		return fmt.Errorf("%s %v is not an IPv4 address", field, a)
	}
	return nil
}

// maxValue bounds the bytes that an effect may put into a message, so that the
// message stays within one frame.
const maxValue = 1024

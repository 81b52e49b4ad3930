package dhcpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806

	etherLen = 14
	ipLen    = 20
	udpLen   = 8
	arpLen   = 28

	protoUDP   = 17
	serverPort = 67
	clientPort = 68

	opRequest = 1 // ARP operations (RFC 826)
)

// header lengths of a DHCP message, and where its two text fields stand (RFC
// 2131, 2).
const (
	snameAt, snameLen = 44, 64
	fileAt, fileLen   = 108, 128
	optionsAt         = 240
	minMessage        = 300 // BOOTP's least length, which some servers insist on

	optPad, optEnd = 0, 255
)

var errNotOurs = errors.New("not a message to us")

func etherHeader(dst, src net.HardwareAddr, kind uint16) []byte {
	b := make([]byte, 0, etherLen+ipLen+udpLen+minMessage)
	b = append(append(b, dst...), src...)
	return binary.BigEndian.AppendUint16(b, kind)
}

// udpFrame wraps a DHCP message.
func udpFrame(dstMAC, srcMAC net.HardwareAddr, src, dst netip.Addr, id uint16, payload []byte) []byte {
	for len(payload) < minMessage {
		payload = append(payload, 0)
	}
	f := etherHeader(dstMAC, srcMAC, etherIPv4)
	f = append(f, 0x45, 0)
	f = binary.BigEndian.AppendUint16(f, uint16(ipLen+udpLen+len(payload))) //nolint:gosec // messages fit a frame
	f = binary.BigEndian.AppendUint16(f, id)
	f = append(f, 0, 0, 64, protoUDP, 0, 0)
	f = append(f, src.AsSlice()...)
	f = append(f, dst.AsSlice()...)
	binary.BigEndian.PutUint16(f[etherLen+10:], ^sum(0, f[etherLen:etherLen+ipLen]))
	f = binary.BigEndian.AppendUint16(f, clientPort)
	f = binary.BigEndian.AppendUint16(f, serverPort)
	f = binary.BigEndian.AppendUint16(f, uint16(udpLen+len(payload))) //nolint:gosec // as above
	f = append(f, 0, 0)
	f = append(f, payload...)
	check := ^sum(pseudo(f[etherLen:]), f[etherLen+ipLen:])
	if check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(f[etherLen+ipLen+6:], check)
	return f
}

// sum is the ones' complement sum of RFC 1071, not complemented.
func sum(start uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		start += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		start += uint32(b[0]) << 8
	}
	for start > 0xffff {
		start = start>>16 + start&0xffff
	}
	return uint16(start)
}

// pseudo sums UDP's pseudo header for an IP packet without IP options.
func pseudo(ip []byte) uint32 {
	head := int(ip[0]&0x0f) * 4
	length := binary.BigEndian.Uint16(ip[head+4:])
	return uint32(sum(0, ip[12:20])) + protoUDP + uint32(length)
}

// reply is a DHCP message to us.
type reply struct {
	kind    dhcpv4.MessageType
	message *dhcpv4.DHCPv4
	options map[uint8][]byte
	from    net.HardwareAddr // the server's, or the relay's or router's in between
	server  netip.Addr       // option 54, else where it came from; invalid without either
}

// parseReply takes a frame for the DHCP answer to the exchange xid of mac.
func parseReply(frame []byte, mac net.HardwareAddr, xid dhcpv4.TransactionID) (*reply, error) {
	if len(frame) < etherLen+ipLen+udpLen || binary.BigEndian.Uint16(frame[12:]) != etherIPv4 {
		return nil, errNotOurs
	}
	dst := net.HardwareAddr(frame[:6])
	if !bytes.Equal(dst, mac) && !bytes.Equal(dst, broadcastMAC()) {
		return nil, errNotOurs
	}
	payload, err := udpPayload(frame[etherLen:])
	if err != nil {
		return nil, err
	}
	if len(payload) < optionsAt {
		return nil, errNotOurs
	}
	// Options are read by allOptions: the codec drops the whole message when one
	// of them cannot be read.
	m, err := dhcpv4.FromBytes(append(bytes.Clone(payload[:optionsAt]), optEnd))
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	if m.OpCode != dhcpv4.OpcodeBootReply || m.TransactionID != xid || !bytes.Equal(m.ClientHWAddr, mac) {
		return nil, errNotOurs
	}
	r := &reply{message: m, options: allOptions(payload), from: bytes.Clone(frame[6:12])}
	if kind := r.options[dhcpv4.OptionDHCPMessageType.Code()]; len(kind) > 0 {
		r.kind = dhcpv4.MessageType(kind[0])
	}
	if from := netip.AddrFrom4([4]byte(frame[etherLen+12:])); usable(from) {
		r.server = from
	}
	if id, ok := r.four(dhcpv4.OptionServerIdentifier); ok && usable(netip.AddrFrom4(id)) {
		r.server = netip.AddrFrom4(id)
	}
	return r, nil
}

// four returns an option of four bytes. One that came twice was put together
// (RFC 3396), and its first four bytes count; one of any other length is
// disregarded.
func (r *reply) four(o dhcpv4.OptionCode) (value [4]byte, ok bool) {
	b := r.options[o.Code()]
	if len(b) == 0 || len(b)%4 != 0 {
		return value, false
	}
	return [4]byte(b), true
}

// udpPayload checks an IPv4 packet to the client's port. A UDP checksum that
// covers the pseudo header alone is unfinished, not wrong: a kernel peer on
// veth leaves the rest to the hardware.
func udpPayload(ip []byte) ([]byte, error) {
	head := int(ip[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(ip[2:]))
	switch {
	case ip[0]>>4 != 4 || head < ipLen || ip[9] != protoUDP || total < head+udpLen || total > len(ip):
		return nil, errNotOurs
	case binary.BigEndian.Uint16(ip[6:])&0x3fff != 0:
		return nil, errNotOurs // a fragment
	case sum(0, ip[:head]) != 0xffff:
		return nil, errors.New("ip: checksum wrong")
	}
	udp := ip[head:total]
	length := int(binary.BigEndian.Uint16(udp[4:]))
	if binary.BigEndian.Uint16(udp) != serverPort || binary.BigEndian.Uint16(udp[2:]) != clientPort {
		return nil, errNotOurs
	}
	if length < udpLen || length > len(udp) {
		return nil, errors.New("udp: length wrong")
	}
	udp = udp[:length]
	check := binary.BigEndian.Uint16(udp[6:])
	unfinished := check == sum(pseudo(ip), nil)
	if check != 0 && !unfinished && sum(pseudo(ip), udp) != 0xffff {
		return nil, errors.New("udp: checksum wrong")
	}
	return udp[udpLen:], nil
}

// allOptions returns the options by number, split ones put together (RFC 3396):
// those of the option field, then with overload (option 52) those of the file
// and the sname field. A field ends at its end option, where an option does not
// fit into it any more, or with its last byte; what stands before is good.
func allOptions(payload []byte) map[uint8][]byte {
	options := map[uint8][]byte{}
	readOptions(options, payload[optionsAt:])
	overload := options[dhcpv4.OptionOptionOverload.Code()]
	if len(overload) != 1 {
		return options
	}
	if overload[0]&1 != 0 {
		readOptions(options, payload[fileAt:fileAt+fileLen])
	}
	if overload[0]&2 != 0 {
		readOptions(options, payload[snameAt:snameAt+snameLen])
	}
	return options
}

func readOptions(into map[uint8][]byte, b []byte) {
	for len(b) > 0 {
		code := b[0]
		b = b[1:]
		switch {
		case code == optPad:
			continue
		case code == optEnd || len(b) == 0 || len(b) <= int(b[0]):
			return
		}
		length := int(b[0])
		into[code] = append(into[code], b[1:1+length]...)
		b = b[1+length:]
	}
}

// arpFrame is a probe (sender 0.0.0.0) or an announcement (sender and target
// the same) of RFC 5227: a broadcast request.
func arpFrame(mac net.HardwareAddr, sender, target netip.Addr) []byte {
	f := etherHeader(broadcastMAC(), mac, etherARP)
	f = append(f, 0, 1, 8, 0, 6, 4, 0, opRequest)
	f = append(append(f, mac...), sender.AsSlice()...)
	f = append(append(f, 0, 0, 0, 0, 0, 0), target.AsSlice()...)
	return append(f, make([]byte, 60-len(f))...)
}

// conflict tells from an ARP frame who else has the address, or probes for it as
// we do (RFC 5227, 2.1.1); nil for nobody.
func conflict(frame []byte, mac net.HardwareAddr, addr netip.Addr) (by net.HardwareAddr) {
	if len(frame) < etherLen+arpLen || binary.BigEndian.Uint16(frame[12:]) != etherARP {
		return nil
	}
	arp := frame[etherLen:]
	if !bytes.Equal(arp[:6], []byte{0, 1, 8, 0, 6, 4}) {
		return nil
	}
	sender := net.HardwareAddr(arp[8:14])
	senderIP, targetIP := netip.AddrFrom4([4]byte(arp[14:18])), netip.AddrFrom4([4]byte(arp[24:28]))
	if bytes.Equal(sender, mac) {
		return nil
	}
	probe := senderIP.IsUnspecified() && targetIP == addr && binary.BigEndian.Uint16(arp[6:]) == opRequest
	if senderIP != addr && !probe {
		return nil
	}
	return bytes.Clone(sender)
}

func broadcastMAC() net.HardwareAddr {
	return net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
}

// usable leaves out what cannot be a host's address.
func usable(a netip.Addr) bool {
	return a.Is4() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a != broadcast()
}

func offered(r *reply) netip.Addr {
	a, _ := netip.AddrFromSlice(bytes.Clone(r.message.YourIPAddr.To4()))
	return a
}

func asIP(a netip.Addr) net.IP {
	if !a.IsValid() {
		return net.IPv4zero
	}
	return a.AsSlice()
}

func broadcast() netip.Addr { return netip.AddrFrom4([4]byte{255, 255, 255, 255}) }

// seconds reads a time of whole seconds.
func (r *reply) seconds(o dhcpv4.OptionCode) (time.Duration, bool) {
	b, ok := r.four(o)
	return time.Duration(binary.BigEndian.Uint32(b[:])) * time.Second, ok
}

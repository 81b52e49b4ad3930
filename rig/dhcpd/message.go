package dhcpd

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"ip88rig/capture/timeline"
)

// phase is the state of the client that a message comes from, as RFC 2131
// tells them apart; it is the Phase of fault points.
type phase string

const (
	selecting phase = "selecting"
	rebooting phase = "rebooting"
	renewing  phase = "renewing"
	rebinding phase = "rebinding"
	informing phase = "informing"
	// straying is selecting the other server that a fault made up.
	straying phase = "selecting another server"
)

// field is what RFC 2131 calls the message of a client in that state.
func (p phase) field() string {
	switch p {
	case rebooting:
		return "INIT-REBOOT"
	default:
		return strings.ToUpper(string(p))
	}
}

// message is one message of a client, checked.
type message struct {
	raw *dhcpv4.DHCPv4

	mac       string
	kind      dhcpv4.MessageType
	ciaddr    netip.Addr
	giaddr    netip.Addr
	requested netip.Addr // option 50; invalid: absent
	serverID  netip.Addr // option 54; invalid: absent
	// list is the parameter request list; nil: absent.
	list []byte
	// room is how many bytes of BOOTP message the client takes.
	room int
	// odd is what the message does against the RFC and is forgiven.
	odd string
}

const (
	// Where the fields of a BOOTP message begin (RFC 2131 figure 1).
	snameAt   = 44
	fileAt    = 108
	cookieAt  = 236
	cookieEnd = 240

	magicCookie = "\x63\x82\x53\x63"

	// The bits of option 52 (RFC 2132 section 9.3).
	inFile, inSname = 1, 2

	// ipUDPLen is the headers that option 57 counts in (RFC 2132 section 9.10:
	// the length of a message; implementations and RFC 2131's 576 are about the
	// IP datagram).
	ipUDPLen = 28
	// minDatagram is what every client takes (RFC 2131 section 2).
	minDatagram = 576
	// maxDatagram is the MTU of Ethernet.
	maxDatagram = 1500
	// minBOOTP is the shortest BOOTP message (RFC 951 section 3, RFC 1542
	// section 2.1); old clients and relays throw shorter ones away.
	minBOOTP = 300
)

// parseMessage reads a BOOTP message of either direction and checks what every
// message must have.
func parseMessage(b []byte) (*message, error) {
	d, err := dhcpv4.FromBytes(b)
	if err != nil {
		return nil, err
	}
	// Options may go on in file and then sname (RFC 2131 section 4.1, option 52).
	if over := d.Options[optOverload]; len(over) == 1 {
		if over[0]&inFile != 0 {
			if err := d.Options.FromBytes(b[fileAt:cookieAt]); err != nil {
				return nil, fmt.Errorf("options in file: %w", err)
			}
		}
		if over[0]&inSname != 0 {
			if err := d.Options.FromBytes(b[snameAt:fileAt]); err != nil {
				return nil, fmt.Errorf("options in sname: %w", err)
			}
		}
	}
	m := &message{raw: d}
	if d.HWType != iana.HWTypeEthernet || len(d.ClientHWAddr) != 6 {
		return nil, fmt.Errorf("hardware type %d, address of %d bytes: not Ethernet", d.HWType, len(d.ClientHWAddr))
	}
	m.mac = d.ClientHWAddr.String()
	kind := d.Options[optMessageType]
	if len(kind) == 0 {
		return nil, errors.New("plain BOOTP, no message type (option 53)")
	}
	if len(kind) != 1 {
		return nil, fmt.Errorf("message type (option 53) of %d bytes", len(kind))
	}
	m.kind = dhcpv4.MessageType(kind[0])
	m.ciaddr = netip.AddrFrom4([4]byte(d.ClientIPAddr))
	m.giaddr = netip.AddrFrom4([4]byte(d.GatewayIPAddr))
	if m.requested, err = m.addr(optRequested); err != nil {
		return nil, err
	}
	if m.serverID, err = m.addr(optServerID); err != nil {
		return nil, err
	}
	m.list = d.Options[optRequestList]
	m.room = minDatagram - ipUDPLen
	switch size := d.Options[optMaxSize]; {
	case size == nil:
	case len(size) != 2:
		m.odd = fmt.Sprintf("maximum message size (option 57) of %d bytes", len(size))
	default:
		n := int(binary.BigEndian.Uint16(size))
		if n < minDatagram {
			m.odd = fmt.Sprintf("maximum message size (option 57) of %d is under %d", n, minDatagram)
		}
		m.room = max(minDatagram, min(n, maxDatagram)) - ipUDPLen
	}
	return m, nil
}

func (m *message) addr(code uint8) (netip.Addr, error) {
	value, ok := m.raw.Options[code]
	if !ok {
		return netip.Addr{}, nil
	}
	if len(value) != 4 {
		return netip.Addr{}, fmt.Errorf("option %d of %d bytes is not an address", code, len(value))
	}
	return netip.AddrFrom4([4]byte(value)), nil
}

// state tells the four REQUESTs apart (RFC 2131 section 4.3.2 and table 4). in
// is what carried the message.
func (m *message) state(in *packet) (phase, error) {
	hasCiaddr := !m.ciaddr.IsUnspecified()
	switch {
	case m.serverID.IsValid():
		if !m.requested.IsValid() {
			return "", errors.New("REQUEST selects a server (option 54) but no address (option 50)")
		}
		if hasCiaddr {
			m.odd = fmt.Sprintf("SELECTING with ciaddr %v", m.ciaddr)
		}
		return selecting, nil
	case hasCiaddr:
		if m.requested.IsValid() {
			m.odd = fmt.Sprintf("ciaddr %v and requested address %v in one REQUEST", m.ciaddr, m.requested)
		}
		// A relay only ever passes on what was broadcast.
		if in.dstMAC[0]&1 == 1 || !m.giaddr.IsUnspecified() {
			return rebinding, nil
		}
		return renewing, nil
	case m.requested.IsValid():
		return rebooting, nil
	}
	return "", errors.New("REQUEST with neither ciaddr nor requested address (option 50)")
}

// fields are the parts of a client's message that a reader wants to see, under
// Wireshark's names.
func (m *message) fields() map[string]string {
	f := map[string]string{"dhcp.id": "0x" + fmt.Sprintf("%08x", binary.BigEndian.Uint32(m.raw.TransactionID[:]))}
	if v, ok := m.raw.Options[optVendorClass]; ok {
		f["dhcp.option.vendor_class_id"] = string(v)
	}
	if v, ok := m.raw.Options[optHostName]; ok {
		f["dhcp.option.hostname"] = string(v)
	}
	if m.list != nil {
		f["dhcp.option.request_list"] = codes(m.list)
	}
	return f
}

// codes prints option numbers: "1,3,6".
func codes(list []byte) string {
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = strconv.Itoa(int(c))
	}
	return strings.Join(out, ",")
}

// kindOf is the event of a message type.
func kindOf(t dhcpv4.MessageType) timeline.Kind {
	kinds := map[dhcpv4.MessageType]timeline.Kind{
		dhcpv4.MessageTypeDiscover: timeline.DHCPDiscover,
		dhcpv4.MessageTypeOffer:    timeline.DHCPOffer,
		dhcpv4.MessageTypeRequest:  timeline.DHCPRequest,
		dhcpv4.MessageTypeDecline:  timeline.DHCPDecline,
		dhcpv4.MessageTypeAck:      timeline.DHCPAck,
		dhcpv4.MessageTypeNak:      timeline.DHCPNak,
		dhcpv4.MessageTypeRelease:  timeline.DHCPRelease,
		dhcpv4.MessageTypeInform:   timeline.DHCPInform,
	}
	return cmp.Or(kinds[t], timeline.Kind(fmt.Sprintf("DHCP message type %d", byte(t))))
}

// word is a message type in the field's word, as fault points name it.
func word(t dhcpv4.MessageType) string {
	if t == dhcpv4.MessageTypeAck {
		return "ACK" // the event's Kind says more, to differ from TFTP's
	}
	return string(kindOf(t))
}

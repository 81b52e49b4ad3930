package decode

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/gopacket/layers"

	"ip88rig/capture/timeline"
)

// decodeDHCP reads RFC 2131 and 2132. Values of an option that occurs several
// times are joined (RFC 3396); sname and file are read for options when option
// 52 says so.
func (d *reading) decodeDHCP(data []byte) {
	if d.missing > 0 {
		d.cutDHCP(data)
		return
	}
	if len(data) > 2 && data[2] > 16 {
		d.malformed("DHCP hardware address too long")
		return
	}
	var m layers.DHCPv4
	if err := d.layer(&m, data); err != nil {
		d.malformed(err.Error())
		return
	}
	options := map[byte][]byte{}
	var order []string
	add := func(o layers.DHCPOption) {
		if o.Type == layers.DHCPOptPad || o.Type == layers.DHCPOptEnd {
			return
		}
		if _, again := options[byte(o.Type)]; !again {
			order = append(order, strconv.Itoa(int(o.Type)))
		}
		options[byte(o.Type)] = append(options[byte(o.Type)], o.Data...)
	}
	for _, o := range m.Options {
		add(o)
	}
	overload := byte(0)
	if v := options[52]; len(v) == 1 {
		overload = v[0]
	}
	if overload&1 != 0 {
		plainOptions(m.File, add)
	}
	if overload&2 != 0 {
		plainOptions(m.ServerName, add)
	}

	kind := timeline.BOOTP // RFC 951: no message type
	if v := options[53]; len(v) == 1 {
		kind = messageType(v[0])
	}
	e := d.event(kind)
	switch kind {
	case timeline.BOOTP:
		e.Message = map[layers.DHCPOp]string{layers.DHCPOpRequest: "request", layers.DHCPOpReply: "reply"}[m.Operation]
	case timeline.DHCPLeaseQuery, timeline.DHCPOther:
		e.Number = int(options[53][0])
	default: // the kind says all
	}
	f := map[string]string{
		"dhcp.id":          fmt.Sprintf("0x%08x", m.Xid),
		"dhcp.hw.mac_addr": d.mac(m.ClientHWAddr),
		"dhcp.ip.client":   addr4(m.ClientIP),
		"dhcp.ip.your":     addr4(m.YourClientIP),
		"dhcp.ip.server":   addr4(m.NextServerIP),
		"dhcp.ip.relay":    addr4(m.RelayAgentIP),
		"dhcp.flags.bc":    strconv.Itoa(int(m.Flags >> 15)),
		"dhcp.secs":        strconv.Itoa(int(m.Secs)),
		"dhcp.option.type": strings.Join(order, ","),
	}
	if overload&1 == 0 {
		setText(f, "dhcp.file", m.File)
	}
	if overload&2 == 0 {
		setText(f, "dhcp.server", m.ServerName)
	}
	for code, value := range options {
		name, text := option(code, value)
		f[name] = text
	}
	if kind == timeline.DHCPNak {
		e.Reason = f["dhcp.option.message"]
	}
	if d.vlan != "" {
		f["vlan.id"] = d.vlan
	}
	e.Fields = f
	d.emit(e)
}

// cutDHCP reports a message that the capture cut: the fields before the options
// say whose it is.
func (d *reading) cutDHCP(data []byte) {
	e := d.event(timeline.CutShort)
	e.Message, e.Bytes = "DHCP", int64(d.kept)
	if len(data) >= 34 {
		e.Fields = map[string]string{"dhcp.hw.mac_addr": d.mac(data[28:34]), "dhcp.type": strconv.Itoa(int(data[0])), "dhcp.ip.your": addr4(data[16:20])}
	}
	d.emit(e)
}

func plainOptions(b []byte, add func(layers.DHCPOption)) {
	for len(b) > 0 && b[0] != byte(layers.DHCPOptEnd) {
		if b[0] == byte(layers.DHCPOptPad) {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return
		}
		add(layers.DHCPOption{Type: layers.DHCPOpt(b[0]), Length: b[1], Data: b[2 : 2+b[1]]})
		b = b[2+int(b[1]):]
	}
}

func messageType(b byte) timeline.Kind {
	switch layers.DHCPMsgType(b) {
	case layers.DHCPMsgTypeDiscover:
		return timeline.DHCPDiscover
	case layers.DHCPMsgTypeOffer:
		return timeline.DHCPOffer
	case layers.DHCPMsgTypeRequest:
		return timeline.DHCPRequest
	case layers.DHCPMsgTypeDecline:
		return timeline.DHCPDecline
	case layers.DHCPMsgTypeAck:
		return timeline.DHCPAck
	case layers.DHCPMsgTypeNak:
		return timeline.DHCPNak
	case layers.DHCPMsgTypeRelease:
		return timeline.DHCPRelease
	case layers.DHCPMsgTypeInform:
		return timeline.DHCPInform
	default:
	}
	// RFC 3203, 4388, 6926 and 7724; layers has no names for them.
	switch b {
	case 9:
		return timeline.DHCPForceRenew
	case 10, 11, 12, 13, 14, 15:
		return timeline.DHCPLeaseQuery
	}
	return timeline.DHCPOther
}

func addr4(b []byte) string {
	if len(b) != 4 {
		return "0.0.0.0"
	}
	return netip.AddrFrom4([4]byte(b)).String()
}

func setText(f map[string]string, name string, b []byte) {
	if s, _, _ := strings.Cut(string(b), "\x00"); s != "" {
		f[name] = clip(s)
	}
}

// option names an option as Wireshark does and prints its value. An option without
// a name of its own there is "dhcp.option.value.<code>", in hexadecimal.
func option(code byte, v []byte) (name, text string) {
	switch code {
	case 53:
		return "dhcp.option.dhcp", numbers(v)
	case 55:
		return "dhcp.option.request_list", numbers(v)
	case 1:
		return "dhcp.option.subnet_mask", addresses(v)
	case 3:
		return "dhcp.option.router", addresses(v)
	case 6:
		return "dhcp.option.domain_name_server", addresses(v)
	case 42:
		return "dhcp.option.ntp_server", addresses(v)
	case 50:
		return "dhcp.option.requested_ip_address", addresses(v)
	case 54:
		return "dhcp.option.dhcp_server_id", addresses(v)
	case 150:
		return "dhcp.option.tftp_server_address", addresses(v)
	case 51:
		return "dhcp.option.ip_address_lease_time", seconds(v)
	case 58:
		return "dhcp.option.renewal_time_value", seconds(v)
	case 59:
		return "dhcp.option.rebinding_time_value", seconds(v)
	case 12:
		return "dhcp.option.hostname", clip(string(v))
	case 15:
		return "dhcp.option.domain_name", clip(string(v))
	case 56:
		return "dhcp.option.message", clip(string(v))
	case 60:
		return "dhcp.option.vendor_class_id", clip(string(v))
	case 61:
		return "dhcp.client_id", hex.EncodeToString(v)
	case 66:
		return "dhcp.option.tftp_server_name", clip(string(v))
	case 67:
		return "dhcp.option.bootfile_name", clip(string(v))
	case 160:
		return "dhcp.option.160", clip(string(v))
	}
	return "dhcp.option.value." + strconv.Itoa(int(code)), hex.EncodeToString(v)
}

func numbers(v []byte) string {
	var b strings.Builder
	for i, n := range v {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(int(n)))
	}
	return b.String()
}

func addresses(v []byte) string {
	if len(v) == 0 || len(v)%4 != 0 {
		return hex.EncodeToString(v)
	}
	var b strings.Builder
	for i := 0; i < len(v); i += 4 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(addr4(v[i : i+4]))
	}
	return b.String()
}

func seconds(v []byte) string {
	if len(v) != 4 {
		return hex.EncodeToString(v)
	}
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(v)), 10)
}

package decode_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ip88rig/capture/decode"
	"ip88rig/capture/timeline"
)

// What a receiver drops is not believed; what a network card is yet to finish is.
func TestChecksums(t *testing.T) {
	good := udpFrame(t, phone1, tftpPort, []byte(rrq("a.cfg")))
	change := func(f func(b []byte)) []byte {
		b := slices.Clone(good)
		f(b)
		return b
	}
	// The sum over the pseudo header alone.
	var partial uint32
	for _, b := range [][]byte{good[26:34], {0, 17}, good[38:40]} {
		for i := 0; i < len(b); i += 2 {
			partial += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	partial = partial>>16 + partial&0xffff
	for _, test := range []struct {
		name   string
		frame  []byte
		kind   timeline.Kind
		reason string
	}{
		{"right", good, timeline.TFTPRead, ""},
		{"none", change(func(b []byte) { b[40], b[41] = 0, 0 }), timeline.TFTPRead, ""},
		{"unfinished", change(func(b []byte) { binary.BigEndian.PutUint16(b[40:], uint16(partial)) }), timeline.TFTPRead, ""},
		{"a bit flipped in the name", change(func(b []byte) { b[45] ^= 1 }), timeline.Malformed, "UDP checksum wrong"},
		{"a bit flipped in the address", change(func(b []byte) { b[30] ^= 1 }), timeline.Malformed, "IPv4 header checksum wrong"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t)
			s.frame(test.frame)
			if len(s.events) != 1 || s.events[0].Kind != test.kind || s.events[0].Reason != test.reason {
				t.Errorf("got %+v, want %s %q", s.events, test.kind, test.reason)
			}
		})
	}
}

func TestOnlyTheCableYieldsEvents(t *testing.T) {
	d := decode.New(decode.Config{})
	frame := udpFrame(t, phone1, tftpPort, []byte(rrq("a.cfg")))
	for iface, want := range []int{1, 0, 0} {
		if got := len(d.Frame(iface, 1, noon, frame)); got != want {
			t.Errorf("interface %d: %d events, want %d", iface, got, want)
		}
		if _, _, ok := d.Flow(); ok != (want == 1) {
			t.Errorf("interface %d: flow %v", iface, ok)
		}
	}
}

// fragments cuts a UDP datagram into IPv4 fragments of size bytes.
func fragments(tb testing.TB, id uint16, size int, payload string) [][]byte {
	tb.Helper()
	whole := udpFrame(tb, phone1, tftpPort, []byte(payload))[34:]
	var all [][]byte
	for offset := 0; offset < len(whole); offset += size {
		part := whole[offset:min(offset+size, len(whole))]
		ip := &layers.IPv4{Version: 4, TTL: 64, Id: id, Protocol: layers.IPProtocolUDP, SrcIP: phone.AsSlice(), DstIP: rig.AsSlice(), FragOffset: uint16(offset / 8)}
		if offset+len(part) < len(whole) {
			ip.Flags = layers.IPv4MoreFragments
		}
		all = append(all, serialize(tb, ethernet(tb, phone), ip, gopacket.Payload(part)))
	}
	return all
}

func TestFragments(t *testing.T) {
	name := strings.Repeat("n", 300)
	for _, test := range []struct {
		name  string
		play  func(s *script)
		kinds []timeline.Kind
	}{
		{"in order", func(s *script) {
			for _, f := range fragments(t, 1, 64, rrq(name)) {
				s.frame(f)
			}
		}, []timeline.Kind{timeline.TFTPRead}},
		{"backwards and twice", func(s *script) {
			all := fragments(t, 1, 64, rrq(name))
			slices.Reverse(all)
			for _, f := range all[:len(all)-1] {
				s.frame(f)
				s.frame(f)
			}
			s.frame(all[len(all)-1])
		}, []timeline.Kind{timeline.TFTPRead}},
		{"two datagrams at once", func(s *script) {
			a, b := fragments(t, 1, 64, rrq(name)), fragments(t, 2, 64, rrq(name+"2"))
			for i := range a {
				s.frame(a[i])
				s.frame(b[i])
			}
		}, []timeline.Kind{timeline.TFTPRead, timeline.TFTPRead}},
		{"a missing one", func(s *script) {
			for _, f := range fragments(t, 1, 64, rrq(name))[1:] {
				s.frame(f)
			}
		}, nil},
		{"a late one", func(s *script) {
			all := fragments(t, 1, 64, rrq(name))
			s.frame(all[0])
			s.at = s.at.Add(31 * time.Second)
			for _, f := range all[1:] {
				s.frame(f)
			}
		}, nil},
		{"overlapping ones", func(s *script) {
			a, b := fragments(t, 1, 64, rrq(name)), fragments(t, 1, 40, rrq(name))
			s.frame(a[0])
			s.frame(b[1])
		}, []timeline.Kind{timeline.Malformed}},
		{"a thousand that never end", func(s *script) {
			for id := range uint16(1000) {
				s.frame(fragments(t, id, 64, rrq(name))[0])
			}
			for _, f := range fragments(t, 2000, 64, rrq(name)) {
				s.frame(f)
			}
		}, []timeline.Kind{timeline.TFTPRead}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t)
			test.play(s)
			if got := s.kinds(); !slices.Equal(got, test.kinds) {
				t.Errorf("got %q, want %q", got, test.kinds)
			}
		})
	}
}

func dhcp(tb testing.TB, options ...layers.DHCPOption) []byte {
	tb.Helper()
	m := &layers.DHCPv4{Operation: layers.DHCPOpRequest, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: 7, Flags: 0x8000, ClientHWAddr: mac(tb, handset), Options: options}
	return serialize(tb, m)
}

func TestDHCP(t *testing.T) {
	client := netip.AddrPortFrom(netip.IPv4Unspecified(), 68)
	all := netip.MustParseAddrPort("255.255.255.255:67")
	kind := func(k layers.DHCPMsgType) layers.DHCPOption {
		return layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(k)})
	}
	for _, test := range []struct {
		name   string
		data   []byte
		kind   timeline.Kind
		fields map[string]string
	}{
		{
			"DISCOVER with what it asks for",
			dhcp(t, kind(layers.DHCPMsgTypeDiscover), layers.NewDHCPOption(55, []byte{1, 3, 66, 150, 160}), layers.NewDHCPOption(60, []byte("LGE"))),
			timeline.DHCPDiscover,
			map[string]string{"dhcp.option.request_list": "1,3,66,150,160", "dhcp.option.vendor_class_id": "LGE", "dhcp.id": "0x00000007", "dhcp.flags.bc": "1", "dhcp.hw.mac_addr": handset},
		},
		{
			"an option in two parts (RFC 3396)",
			dhcp(t, kind(layers.DHCPMsgTypeOffer), layers.NewDHCPOption(160, []byte("http://192.")), layers.NewDHCPOption(160, []byte("0.2.1/"))),
			timeline.DHCPOffer,
			map[string]string{"dhcp.option.160": "http://192.0.2.1/"},
		},
		{
			"INIT-REBOOT",
			dhcp(t, kind(layers.DHCPMsgTypeRequest), layers.NewDHCPOption(50, []byte{192, 0, 2, 10})),
			timeline.DHCPRequest,
			map[string]string{"dhcp.option.requested_ip_address": "192.0.2.10", "dhcp.option.dhcp_server_id": "", "dhcp.ip.client": "0.0.0.0"},
		},
		{"BOOTP", dhcp(t, layers.NewDHCPOption(60, []byte("LGE"))), timeline.BOOTP, nil},
		{"no cookie", make([]byte, 300), timeline.Malformed, nil},
		{"an option past the end", append(dhcp(t, kind(layers.DHCPMsgTypeInform))[:243], 60, 200, 1), timeline.Malformed, nil},
		{"an unknown message type", dhcp(t, kind(200)), timeline.DHCPOther, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t)
			s.frame(udpFrame(t, client, all, test.data))
			if len(s.events) != 1 || s.events[0].Kind != test.kind {
				t.Fatalf("got %+v, want %s", s.events, test.kind)
			}
			if s.events[0].SrcMAC != handset || s.events[0].Src != client {
				t.Errorf("from %s %s", s.events[0].SrcMAC, s.events[0].Src)
			}
			for name, want := range test.fields {
				if got := s.events[0].Fields[name]; got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestARP(t *testing.T) {
	for _, test := range []struct {
		name         string
		op           uint16
		from, target netip.Addr
		kind         timeline.Kind
	}{
		{"a request", layers.ARPRequest, phone, rig, timeline.ARPRequest},
		{"a reply", layers.ARPReply, rig, phone, timeline.ARPReply},
		{"a probe", layers.ARPRequest, netip.IPv4Unspecified(), phone, timeline.ARPProbe},
		{"an announcement", layers.ARPRequest, phone, phone, timeline.ARPAnnouncement},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t)
			eth := ethernet(t, phone)
			eth.EthernetType = layers.EthernetTypeARP
			s.frame(serialize(t, eth, &layers.ARP{
				AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: test.op,
				SourceHwAddress: mac(t, handset), SourceProtAddress: test.from.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: test.target.AsSlice(),
			}))
			if len(s.events) != 1 || s.events[0].Kind != test.kind || s.events[0].Src.Addr() != test.from {
				t.Errorf("got %+v, want %s", s.events, test.kind)
			}
		})
	}
}

func TestSIP(t *testing.T) {
	const head = "f: Alice <sip:alice@example.org>;tag=9\r\nt: <sip:alice@example.org>\r\ni: abc\r\nCSeq: 5 REGISTER\r\n"
	for _, test := range []struct {
		name   string
		data   string
		kind   timeline.Kind
		fields map[string]string
	}{
		{
			"compact and folded fields", "REGISTER sip:example.org SIP/2.0\r\n" + head + "m: <sip:alice@192.0.2.10:5062>\r\n ;expires=90\r\n\r\n",
			timeline.SIPRequest,
			map[string]string{"sip.Call-ID": "abc", "sip.From.user": "alice", "sip.Expires": "90", "sip.contact.host": "192.0.2.10:5062", "sip.CSeq.seq": "5"},
		},
		{
			"of several contacts the handset's own counts",
			"SIP/2.0 200 OK\r\n" + head + "Contact: <sip:alice@198.51.100.7>;expires=3600, <sip:alice@192.0.2.10:4001>;expires=60\r\n\r\n",
			timeline.SIPResponse,
			map[string]string{"sip.Expires": "60", "sip.CSeq.method": "REGISTER"},
		},
		{
			"a NOTIFY to an odd port", "NOTIFY sip:alice@192.0.2.10 SIP/2.0\r\n" + head + "o: check-sync;reboot=true\r\n\r\n",
			timeline.SIPRequest,
			map[string]string{"sip.Event": "check-sync;reboot=true"},
		},
		{"no status", "SIP/2.0 OK\r\n\r\n", timeline.Malformed, nil},
		{"a field without a name", "OPTIONS sip:x SIP/2.0\r\nnonsense\r\n\r\n", timeline.Malformed, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t)
			s.udp(netip.AddrPortFrom(rig, 5099), phone1, test.data)
			if len(s.events) != 1 || s.events[0].Kind != test.kind {
				t.Fatalf("got %+v, want %s", s.events, test.kind)
			}
			for name, want := range test.fields {
				if got := s.events[0].Fields[name]; got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
	s := newScript(t)
	for _, ping := range []string{"\r\n\r\n", "\r\n", "\x00\x00\x00\x00", ""} {
		s.udp(phone1, netip.AddrPortFrom(rig, 5060), ping)
	}
	if len(s.events) != 0 {
		t.Errorf("keep-alives yield %q", s.kinds())
	}
}

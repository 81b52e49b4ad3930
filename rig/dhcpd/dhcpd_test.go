package dhcpd

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

const (
	phone    = "00:00:5e:00:53:10"
	unknown  = "00:00:5e:00:53:66"
	relay    = "00:00:5e:00:53:77"
	everyone = "ff:ff:ff:ff:ff:ff"
	rogue    = "00:00:5e:00:53:99"
	server   = "00:00:5e:00:53:01"
)

// journal keeps what a server records.
type journal struct {
	mu     sync.Mutex
	events []timeline.Event
}

func (j *journal) record(e timeline.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

// take returns what was recorded since the last take.
func (j *journal) take() []timeline.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.events
	j.events = nil
	return out
}

func kinds(events []timeline.Event) []timeline.Kind {
	var out []timeline.Kind
	for _, e := range events {
		out = append(out, e.Kind)
	}
	return out
}

// cable is the end of a cable that a test holds.
type cable struct {
	in, out chan wire.Frame
	closed  chan struct{}
	once    sync.Once
}

func newCable() *cable {
	return &cable{in: make(chan wire.Frame), out: make(chan wire.Frame, 16), closed: make(chan struct{})}
}

func (c *cable) Receive(ctx context.Context) (wire.Frame, error) {
	select {
	case f := <-c.in:
		return f, nil
	case <-ctx.Done():
		return wire.Frame{}, ctx.Err()
	case <-c.closed:
		return wire.Frame{}, net.ErrClosed
	}
}

func (c *cable) Send(f wire.Frame) error {
	c.out <- wire.Frame{Data: slices.Clone(f.Data), At: f.At}
	return nil
}

func (c *cable) Close() error { c.once.Do(func() { close(c.closed) }); return nil }

// sent returns the one frame that went out, or nil.
func (c *cable) sent(t *testing.T) []byte {
	t.Helper()
	select {
	case f := <-c.out:
		if len(c.out) > 0 {
			t.Errorf("%d more answers", len(c.out))
		}
		return f.Data
	default:
		return nil
	}
}

func lease() Lease {
	return Lease{
		Addr:     netip.MustParsePrefix("192.0.2.10/24"),
		Router:   netip.MustParseAddr("192.0.2.254"),
		DNS:      []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")},
		NTP:      []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Duration: time.Hour,
		Options: map[uint8][]byte{
			2:   {0xff, 0xff, 0xf1, 0xf0}, // -3600 s from UTC
			66:  Text("192.0.2.1"),
			150: Addrs(netip.MustParseAddr("192.0.2.1")),
			160: Text("https://prov.example/"),
		},
	}
}

// client message as a test writes it: every field is plain, options are bytes
// in the order given.
type msg struct {
	op, htype, hlen byte
	flags           uint16
	ciaddr, giaddr  string
	chaddr          string
	options         []option
	// frame
	src, dst       string // MACs
	srcIP, dstIP   string
	sport, dport   uint16
	tag            []byte
	noEnd, noMagic bool
}

func opt(code uint8, value ...byte) option { return option{code: code, value: value} }

func ip(s string) []byte { a := netip.MustParseAddr(s).As4(); return a[:] }

// kind is a message of that type with sane defaults.
func kind(t byte, options ...option) msg {
	return msg{
		op: 1, htype: 1, hlen: 6, ciaddr: "0.0.0.0", giaddr: "0.0.0.0", chaddr: phone,
		options: append([]option{opt(53, t)}, options...),
		src:     phone, dst: everyone, srcIP: "0.0.0.0", dstIP: "255.255.255.255", sport: 68, dport: 67,
	}
}

func (m msg) with(f func(*msg)) msg { f(&m); return m }

// phoneList is what the handsets are expected to ask for.
func phoneList() option { return opt(55, 1, 2, 3, 6, 42, 66, 150, 160) }

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func (m msg) bootp() []byte {
	b := make([]byte, 240)
	b[0], b[1], b[2] = m.op, m.htype, m.hlen
	copy(b[4:], "\x01\x02\x03\x04")
	binary.BigEndian.PutUint16(b[10:], m.flags)
	copy(b[12:], ip(m.ciaddr))
	copy(b[24:], ip(m.giaddr))
	copy(b[28:], mac(m.chaddr))
	if !m.noMagic {
		copy(b[236:], "\x63\x82\x53\x63")
	}
	var options []byte
	for _, o := range m.options {
		options = slices.Concat(options, []byte{o.code, byte(len(o.value))}, o.value)
	}
	if !m.noEnd {
		options = append(options, 255)
	}
	return slices.Concat(b, options)
}

func (m msg) frame(tb testing.TB) []byte {
	tb.Helper()
	p := packet{
		srcMAC: mac(m.src), dstMAC: mac(m.dst), tag: m.tag,
		src:     netip.AddrPortFrom(netip.MustParseAddr(m.srcIP), m.sport),
		dst:     netip.AddrPortFrom(netip.MustParseAddr(m.dstIP), m.dport),
		payload: m.bootp(),
	}
	b, err := p.frame()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// bench is a server on a cable, whose messages a test hands over one by one.
func bench(t *testing.T, l Lease) (*Server, *cable, *journal, *fault.Plan) {
	t.Helper()
	c, j, plan := newCable(), &journal{}, &fault.Plan{}
	s, err := New(Config{
		Port: c, ServerMAC: mac(server), ServerIP: netip.MustParseAddr("192.0.2.1"),
		Clients: map[string]Lease{strings.ToUpper(phone): l}, Record: j.record, Faults: plan,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, c, j, plan
}

// reading is what gopacket, which had no part in writing it, makes of an answer.
type reading struct {
	dstMAC, src, dst      string
	ciaddr, yiaddr        string
	siaddr, giaddr        string
	flags                 uint16
	options               []option
	bootp                 []byte
	list                  []byte // numbers of the options, as often as they occur
	checksumIP, checksumU uint16
}

func read(t *testing.T, frame []byte) reading {
	t.Helper()
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		t.Fatalf("gopacket: %v\n%s", e.Error(), hex.Dump(frame))
	}
	d, ok := p.Layer(layers.LayerTypeDHCPv4).(*layers.DHCPv4)
	if !ok {
		t.Fatalf("no DHCP in\n%s", p.Dump())
	}
	eth := p.LinkLayer().(*layers.Ethernet)
	ip4 := p.NetworkLayer().(*layers.IPv4)
	udp := p.TransportLayer().(*layers.UDP)
	if d.Operation != layers.DHCPOpReply || d.Xid != 0x01020304 || d.ClientHWAddr.String() != phone {
		t.Errorf("op %v, xid %x, chaddr %v", d.Operation, d.Xid, d.ClientHWAddr)
	}
	if eth.SrcMAC.String() != server {
		t.Errorf("from %v, want %s", eth.SrcMAC, server)
	}
	if len(udp.Payload) < 300 {
		t.Errorf("%d bytes of BOOTP, want 300 at least", len(udp.Payload))
	}
	if sum(nil, ip4.Contents) != 0xffff {
		t.Errorf("IP checksum %04x is wrong", ip4.Checksum)
	}
	pseudo := slices.Concat([]byte(ip4.SrcIP.To4()), ip4.DstIP.To4(), []byte{0, 17}, ip4.Payload[4:6])
	if sum(pseudo, ip4.Payload) != 0xffff {
		t.Errorf("UDP checksum %04x is wrong", udp.Checksum)
	}
	r := reading{
		dstMAC: eth.DstMAC.String(),
		src:    fmt.Sprintf("%v:%d", ip4.SrcIP, udp.SrcPort), dst: fmt.Sprintf("%v:%d", ip4.DstIP, udp.DstPort),
		ciaddr: d.ClientIP.String(), yiaddr: d.YourClientIP.String(), siaddr: d.NextServerIP.String(), giaddr: d.RelayAgentIP.String(),
		flags: d.Flags, bootp: udp.Payload, checksumIP: ip4.Checksum, checksumU: udp.Checksum,
	}
	for _, o := range d.Options {
		if o.Type == layers.DHCPOptEnd || o.Type == layers.DHCPOptPad {
			continue
		}
		r.options = append(r.options, option{code: byte(o.Type), value: o.Data})
		r.list = append(r.list, byte(o.Type))
	}
	return r
}

// sum is the Internet checksum (RFC 1071) of two pieces, written anew here.
func sum(pieces ...[]byte) uint16 {
	var n uint32
	b := slices.Concat(pieces...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	for i := 0; i < len(b); i += 2 {
		n += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}

// value is that of an option with its pieces put together, in hexadecimal;
// "-" where it is absent.
func (r *reading) value(code uint8) string {
	var v []byte
	found := false
	for _, o := range r.options {
		if o.code == code {
			v, found = append(v, o.value...), true
		}
	}
	if !found {
		return "-"
	}
	return hex.EncodeToString(v)
}

// TestExchanges hands over single messages and compares the answer's address,
// head and options, and what the journal says of it.
func TestExchanges(t *testing.T) {
	sid := func(s string) option { return opt(54, ip(s)...) }
	want50 := func(s string) option { return opt(50, ip(s)...) }
	unicast := func(m *msg) { m.srcIP, m.dst, m.dstIP = m.ciaddr, server, "192.0.2.1" }
	from := func(ciaddr string) func(*msg) {
		return func(m *msg) { m.ciaddr, m.srcIP = ciaddr, ciaddr }
	}
	relayed := func(m *msg) {
		m.giaddr, m.src, m.dst, m.srcIP, m.dstIP, m.sport = "198.51.100.1", relay, server, "198.51.100.1", "192.0.2.1", 67
	}
	const (
		offer, ack, nak = "02", "05", "06"
		direct          = phone + " 192.0.2.10:68"
		broadcast       = everyone + " 255.255.255.255:68"
		toRelay         = relay + " 198.51.100.1:67"
	)
	for _, tt := range []struct {
		name   string
		m      msg
		lease  func(*Lease)
		effect fault.Rule
		// type is option 53; empty: no answer. to is the MAC, address and port.
		typ, to string
		yiaddr  string
		ciaddr  string
		list    []byte
		values  map[uint8]string
		flags   uint16
		kinds   []timeline.Kind
		reason  string
	}{
		{
			name: "DISCOVER without broadcast flag is answered to yiaddr and chaddr",
			m:    kind(1, phoneList()), typ: offer, to: direct, yiaddr: "192.0.2.10",
			list: []byte{53, 54, 51, 58, 59, 1, 2, 3, 6, 42, 66, 150, 160},
			values: map[uint8]string{
				54: "c0000201", 51: "00000e10", 58: "00000708", 59: "00000c4e", 1: "ffffff00", 2: "fffff1f0", 3: "c00002fe",
				6: "c0000201c0000202", 42: "c0000201", 66: hex.EncodeToString([]byte("192.0.2.1")), 150: "c0000201",
				160: hex.EncodeToString([]byte("https://prov.example/")),
			},
			kinds: []timeline.Kind{timeline.DHCPOffer}, reason: "DISCOVER: OFFER 192.0.2.10",
		},
		{
			name: "DISCOVER with broadcast flag is answered by broadcast",
			m:    kind(1, phoneList()).with(func(m *msg) { m.flags = 0x8000 }), typ: offer, to: broadcast, yiaddr: "192.0.2.10", flags: 0x8000,
			kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "DISCOVER through a relay is answered to the relay, with its option 82 at the end",
			m:    kind(1, opt(82, 1, 2, 0xaa, 0xbb), opt(55, 3)).with(relayed), typ: offer, to: toRelay, yiaddr: "192.0.2.10",
			list: []byte{53, 54, 51, 58, 59, 3, 82}, values: map[uint8]string{82: "0102aabb"},
			kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "options go out in the order of the parameter request list, but the mask before the router",
			m:    kind(1, opt(55, 160, 66, 3, 6, 1, 99)), typ: offer, to: direct, yiaddr: "192.0.2.10",
			list: []byte{53, 54, 51, 58, 59, 160, 66, 1, 3, 6}, kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "an option listed twice goes out once",
			m:    kind(1, opt(55, 66, 66, 51)), typ: offer, to: direct, yiaddr: "192.0.2.10",
			list: []byte{53, 54, 51, 58, 59, 66}, kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "without a list everything goes out",
			m:    kind(1), typ: offer, to: direct, yiaddr: "192.0.2.10",
			list: []byte{53, 54, 51, 58, 59, 1, 2, 3, 6, 42, 66, 150, 160}, kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "a forced option goes out unasked",
			m:    kind(1, opt(55, 1)), lease: func(l *Lease) { l.Force = []uint8{160, 43} }, typ: offer, to: direct, yiaddr: "192.0.2.10",
			list: []byte{53, 54, 51, 58, 59, 1, 160}, kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "the lease may set the order",
			m:    kind(1, phoneList()), lease: func(l *Lease) { l.Order = []uint8{160, 3, 1} }, typ: offer, to: direct, yiaddr: "192.0.2.10",
			list: []byte{53, 54, 51, 58, 59, 160, 3, 1, 2, 6, 42, 66, 150}, kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "raw options win over fields",
			m:    kind(1, opt(55, 3, 6)),
			lease: func(l *Lease) {
				l.Options = map[uint8][]byte{3: Addrs(netip.MustParseAddr("192.0.2.253")), 51: {0, 0, 0, 1}, 6: {}}
			},
			typ: offer, to: direct, yiaddr: "192.0.2.10", list: []byte{53, 54, 51, 58, 59, 3, 6},
			values: map[uint8]string{3: "c00002fd", 51: "00000001", 6: ""}, kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "a lease for ever has no T1 and T2",
			m:    kind(1, opt(55, 1)), lease: func(l *Lease) { l.Duration = Forever }, typ: offer, to: direct, yiaddr: "192.0.2.10",
			list: []byte{53, 54, 51, 1}, values: map[uint8]string{51: "ffffffff"}, kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "T1 and T2 as the lease says",
			m:    kind(1, opt(55, 1)), lease: func(l *Lease) { l.T1, l.T2 = 10*time.Second, 20*time.Second }, typ: offer, to: direct, yiaddr: "192.0.2.10",
			values: map[uint8]string{58: "0000000a", 59: "00000014"}, kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "an option over 255 bytes travels in pieces (RFC 3396)",
			m:    kind(1, opt(55, 160), opt(57, 0x05, 0xdc)), lease: func(l *Lease) { l.Options[160] = bytes.Repeat([]byte{'x'}, 400) },
			typ: offer, to: direct, yiaddr: "192.0.2.10", list: []byte{53, 54, 51, 58, 59, 160, 160},
			values: map[uint8]string{160: strings.Repeat("78", 400)}, kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "an option that the client has no room for is left out whole",
			m:    kind(1, opt(55, 160, 66)), lease: func(l *Lease) { l.Options[160] = bytes.Repeat([]byte{'x'}, 400) },
			typ: offer, to: direct, yiaddr: "192.0.2.10", list: []byte{53, 54, 51, 58, 59, 66},
			kinds: []timeline.Kind{timeline.DHCPOffer}, reason: "DISCOVER: OFFER 192.0.2.10; 548 bytes have no room for 160",
		},
		{
			name: "a maximum message size under the minimum is forgiven",
			m:    kind(1, opt(55, 160), opt(57, 0, 100)), typ: offer, to: direct, yiaddr: "192.0.2.10", list: []byte{53, 54, 51, 58, 59, 160},
			kinds: []timeline.Kind{timeline.ServiceOddity, timeline.DHCPOffer},
		},
		{
			name: "an oversize lease is sent up to the MTU",
			m:    kind(1, opt(55, 160, 66)), lease: func(l *Lease) {
				l.Options[160], l.Options[66], l.Oversize = bytes.Repeat([]byte{'x'}, 900), bytes.Repeat([]byte{'y'}, 900), true
			},
			typ: offer, to: direct, yiaddr: "192.0.2.10", list: []byte{53, 54, 51, 58, 59, 160, 160, 160, 160},
			kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "SELECTING our offer",
			m:    kind(3, sid("192.0.2.1"), want50("192.0.2.10"), opt(55, 1)), typ: ack, to: direct, yiaddr: "192.0.2.10",
			list: []byte{53, 54, 51, 58, 59, 1}, kinds: []timeline.Kind{timeline.DHCPAck}, reason: "SELECTING 192.0.2.10: ACK",
		},
		{
			name: "SELECTING our offer with another address",
			m:    kind(3, sid("192.0.2.1"), want50("192.0.2.99")), typ: nak, to: broadcast, yiaddr: "0.0.0.0",
			list: []byte{53, 54, 56}, kinds: []timeline.Kind{timeline.DHCPNak}, reason: "SELECTING 192.0.2.99, but 192.0.2.10 is the lease: NAK",
		},
		{
			name: "SELECTING another server",
			m:    kind(3, sid("192.0.2.7"), want50("192.0.2.10")), kinds: []timeline.Kind{timeline.ServiceOddity},
		},
		{
			name: "SELECTING without an address",
			m:    kind(3, sid("192.0.2.1")), kinds: []timeline.Kind{timeline.ServiceOddity},
		},
		{
			name: "INIT-REBOOT with the right address",
			m:    kind(3, want50("192.0.2.10"), opt(55, 1)), typ: ack, to: direct, yiaddr: "192.0.2.10",
			kinds: []timeline.Kind{timeline.DHCPAck}, reason: "INIT-REBOOT 192.0.2.10: ACK",
		},
		{
			name: "INIT-REBOOT with the address of another lease",
			m:    kind(3, want50("192.0.2.11")), typ: nak, to: broadcast, yiaddr: "0.0.0.0", list: []byte{53, 54, 56},
			kinds: []timeline.Kind{timeline.DHCPNak}, reason: "INIT-REBOOT 192.0.2.11, but 192.0.2.10 is the lease: NAK",
		},
		{
			name: "INIT-REBOOT with the address of another lease, through a relay",
			m:    kind(3, want50("192.0.2.11")).with(relayed), typ: nak, to: toRelay, yiaddr: "0.0.0.0", flags: 0x8000,
			kinds: []timeline.Kind{timeline.DHCPNak},
		},
		{
			name: "RENEWING is answered to ciaddr",
			m:    kind(3).with(from("192.0.2.10")).with(unicast), typ: ack, to: direct, yiaddr: "192.0.2.10", ciaddr: "192.0.2.10",
			kinds: []timeline.Kind{timeline.DHCPAck}, reason: "RENEWING 192.0.2.10: ACK",
		},
		{
			name: "RENEWING an address that is not the lease any more is refused by broadcast",
			m:    kind(3).with(from("192.0.2.55")).with(unicast), typ: nak, to: broadcast, yiaddr: "0.0.0.0",
			kinds: []timeline.Kind{timeline.DHCPNak}, reason: "RENEWING 192.0.2.55, but 192.0.2.10 is the lease: NAK",
		},
		{
			name: "REBINDING is answered to ciaddr, broadcast flag or not",
			m:    kind(3).with(from("192.0.2.10")).with(func(m *msg) { m.flags = 0x8000 }), typ: ack, to: direct,
			yiaddr: "192.0.2.10", ciaddr: "192.0.2.10", flags: 0x8000,
			kinds: []timeline.Kind{timeline.DHCPAck}, reason: "REBINDING 192.0.2.10: ACK",
		},
		{
			name: "REBINDING through a relay",
			m:    kind(3).with(relayed).with(func(m *msg) { m.ciaddr = "192.0.2.10" }), typ: ack, to: toRelay,
			yiaddr: "192.0.2.10", ciaddr: "192.0.2.10",
			kinds: []timeline.Kind{timeline.DHCPAck}, reason: "REBINDING 192.0.2.10: ACK",
		},
		{
			name: "RENEWING with a requested address is forgiven",
			m:    kind(3, want50("192.0.2.10")).with(from("192.0.2.10")).with(unicast), typ: ack, to: direct, yiaddr: "192.0.2.10", ciaddr: "192.0.2.10",
			kinds: []timeline.Kind{timeline.ServiceOddity, timeline.DHCPAck},
		},
		{name: "REQUEST for nothing", m: kind(3), kinds: []timeline.Kind{timeline.ServiceOddity}},
		{
			name: "INFORM is answered without address and times",
			m:    kind(8, opt(55, 6, 51)).with(from("192.0.2.200")).with(unicast), typ: ack, to: phone + " 192.0.2.200:68", yiaddr: "0.0.0.0",
			ciaddr: "192.0.2.200", list: []byte{53, 54, 6}, kinds: []timeline.Kind{timeline.DHCPAck},
		},
		{
			name: "INFORM without ciaddr is forgiven",
			m:    kind(8), typ: ack, to: broadcast, yiaddr: "0.0.0.0", kinds: []timeline.Kind{timeline.ServiceOddity, timeline.DHCPAck},
		},
		{
			name: "RELEASE has no answer", m: kind(7, sid("192.0.2.1")).with(from("192.0.2.10")).with(unicast),
			kinds: []timeline.Kind{timeline.DHCPRelease},
		},
		{
			name: "RELEASE of another address", m: kind(7).with(from("192.0.2.99")).with(unicast),
			kinds: []timeline.Kind{timeline.ServiceOddity},
		},
		{
			name: "DECLINE has no answer", m: kind(4, sid("192.0.2.1"), want50("192.0.2.10")),
			kinds: []timeline.Kind{timeline.DHCPDecline},
		},
		{
			name: "DECLINE of another address", m: kind(4, sid("192.0.2.1"), want50("192.0.2.99")),
			kinds: []timeline.Kind{timeline.ServiceOddity},
		},
		{
			name: "an unknown MAC is a stranger", m: kind(1).with(func(m *msg) { m.src, m.chaddr = unknown, unknown }),
			kinds: []timeline.Kind{timeline.Stranger},
		},
		{
			name: "an INFORM of an unknown MAC is nothing", m: kind(8).with(func(m *msg) { m.src, m.chaddr = unknown, unknown }),
		},
		{
			name: "another server's OFFER is a stranger", m: kind(2, sid("192.0.2.99")).with(func(m *msg) { m.op, m.src, m.sport, m.dport = 2, rogue, 67, 68 }),
			kinds: []timeline.Kind{timeline.Stranger}, reason: "another DHCP server answers OFFER to " + phone,
		},
		{
			name: "our own frame, come back, is nothing", m: kind(2).with(func(m *msg) { m.op, m.src, m.sport = 2, server, 67 }),
		},
		{name: "no message type", m: kind(1).with(func(m *msg) { m.options = nil }), kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "a client that sends an ACK", m: kind(5), kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "an unknown message type", m: kind(77), kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "no magic cookie", m: kind(1).with(func(m *msg) { m.noMagic = true }), kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "no end option", m: kind(1).with(func(m *msg) { m.noEnd = true }), kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "not Ethernet", m: kind(1).with(func(m *msg) { m.htype = 6 }), kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "an address of three bytes", m: kind(3, opt(50, 1, 2, 3)), kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "neither request nor reply", m: kind(1).with(func(m *msg) { m.op = 3 }), kinds: []timeline.Kind{timeline.ServiceOddity}},
		{name: "not for port 67", m: kind(1).with(func(m *msg) { m.dport = 68 }), kinds: []timeline.Kind{timeline.ServiceOddity}},
		{
			name: "a tag that still stands comes back", m: kind(1).with(func(m *msg) { m.tag = []byte{0xa0, 0x64} }), typ: offer, to: direct, yiaddr: "192.0.2.10",
			kinds: []timeline.Kind{timeline.DHCPOffer},
		},
		{
			name: "a dropped OFFER", m: kind(1), effect: fault.On("OFFER").During("selecting").Do(Drop{}),
			kinds: []timeline.Kind{timeline.FaultFired},
		},
		{
			name: "a fault on the ACK of a rebooting client leaves a selecting one alone",
			m:    kind(3, sid("192.0.2.1"), want50("192.0.2.10")), effect: fault.On("ACK").During("rebooting").Do(Drop{}),
			typ: ack, to: direct, yiaddr: "192.0.2.10", kinds: []timeline.Kind{timeline.DHCPAck},
		},
		{
			name: "NAK in place of ACK", m: kind(3, want50("192.0.2.10")), effect: fault.On("ACK").During("rebooting").Do(Nak{}),
			typ: nak, to: broadcast, yiaddr: "0.0.0.0", list: []byte{53, 54, 56}, kinds: []timeline.Kind{timeline.FaultFired, timeline.DHCPNak},
		},
		{
			name: "an OFFER without its server identifier", m: kind(1, opt(55, 1)), effect: fault.On("*").Do(WithoutOption{Code: 54}),
			typ: offer, to: direct, yiaddr: "192.0.2.10", list: []byte{53, 51, 58, 59, 1}, kinds: []timeline.Kind{timeline.FaultFired, timeline.DHCPOffer},
		},
		{
			name: "a fault of another service is ignored and told", m: kind(1), effect: fault.On("*").Do(foreign{}),
			typ: offer, to: direct, yiaddr: "192.0.2.10", kinds: []timeline.Kind{timeline.ServiceOddity, timeline.DHCPOffer},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lease()
			if tt.lease != nil {
				tt.lease(&l)
			}
			s, c, j, plan := bench(t, l)
			plan.Add(tt.effect)

			s.handle(wire.Frame{Data: tt.m.frame(t), Number: 7})

			events := j.take()
			if got := kinds(events); !slices.Equal(got, tt.kinds) {
				t.Errorf("recorded %v, want %v: %v", got, tt.kinds, events)
			}
			for _, e := range events {
				if e.By != "dhcpd" || e.Frame != 7 || e.SrcMAC == "" || e.Src.Port() != tt.m.sport {
					t.Errorf("recorded By %q Frame %d SrcMAC %q Src %v", e.By, e.Frame, e.SrcMAC, e.Src)
				}
			}
			if tt.reason != "" && (len(events) == 0 || events[len(events)-1].Reason != tt.reason) {
				t.Errorf("recorded %v, want the reason %q", events, tt.reason)
			}
			frame := c.sent(t)
			if tt.typ == "" {
				if frame != nil {
					t.Errorf("answered\n%s", hex.Dump(frame))
				}
				return
			}
			if frame == nil {
				t.Fatal("no answer")
			}
			if tt.m.tag != nil && !bytes.Equal(frame[12:16], append([]byte{0x81, 0}, tt.m.tag...)) {
				t.Errorf("tag %x, want %x", frame[12:16], tt.m.tag)
			}
			r := read(t, frame)
			ciaddr := tt.ciaddr
			if ciaddr == "" {
				ciaddr = "0.0.0.0"
			}
			if got := r.dstMAC + " " + r.dst; got != tt.to || r.src != "192.0.2.1:67" {
				t.Errorf("sent from %s to %s, want %s", r.src, got, tt.to)
			}
			if r.yiaddr != tt.yiaddr || r.ciaddr != ciaddr || r.siaddr != "0.0.0.0" || r.giaddr != tt.m.giaddr || r.flags != tt.flags {
				t.Errorf("yiaddr %s ciaddr %s siaddr %s giaddr %s flags %04x", r.yiaddr, r.ciaddr, r.siaddr, r.giaddr, r.flags)
			}
			if got := r.value(53); got != tt.typ {
				t.Errorf("message type %s, want %s", got, tt.typ)
			}
			if tt.list != nil && !slices.Equal(r.list, tt.list) {
				t.Errorf("options %v, want %v", r.list, tt.list)
			}
			for code, want := range tt.values {
				if got := r.value(code); got != want {
					t.Errorf("option %d: %s, want %s", code, got, want)
				}
			}
		})
	}
}

type foreign struct{}

func (foreign) String() string { return "is not ours" }

func TestARequestInFileAndSnameIsRead(t *testing.T) {
	s, c, _, _ := bench(t, lease())
	m := kind(3, opt(52, 3))
	b := m.bootp()
	copy(b[108:], "\x32\x04\xc0\x00\x02\x0a\xff") // option 50 in file
	copy(b[44:], "\x37\x01\x42\xff")              // option 55 in sname
	p := packet{
		srcMAC: mac(phone), dstMAC: mac(everyone), payload: b,
		src: netip.MustParseAddrPort("0.0.0.0:68"), dst: netip.MustParseAddrPort("255.255.255.255:67"),
	}
	frame, err := p.frame()
	if err != nil {
		t.Fatal(err)
	}
	s.handle(wire.Frame{Data: frame})
	r := read(t, c.sent(t))
	if want := []byte{53, 54, 51, 58, 59, 66}; !slices.Equal(r.list, want) || r.value(53) != "05" {
		t.Errorf("options %v, want %v", r.list, want)
	}
}

func TestAStrangerIsRecordedOncePerMessageWithWhatItIs(t *testing.T) {
	s, c, j, _ := bench(t, lease())
	stranger := func(typ byte) []byte {
		return kind(typ, opt(50, 192, 0, 2, 9), opt(60, []byte("LG-Ericsson")...), opt(12, []byte("lab")...), opt(55, 1, 3, 160)).
			with(func(m *msg) { m.src, m.chaddr = unknown, unknown }).frame(t)
	}
	for _, typ := range []byte{1, 1, 3, 3, 1} {
		s.handle(wire.Frame{Data: stranger(typ)})
	}
	events := j.take()
	if len(events) != 2 || events[0].Message != "DISCOVER" || events[1].Message != "REQUEST" {
		t.Fatalf("recorded %v", events)
	}
	e := events[0]
	if e.Kind != timeline.Stranger || e.SrcMAC != unknown || e.Fields["dhcp.option.vendor_class_id"] != "LG-Ericsson" ||
		e.Fields["dhcp.option.hostname"] != "lab" || e.Fields["dhcp.option.request_list"] != "1,3,160" {
		t.Errorf("recorded %+v", e)
	}
	if f := c.sent(t); f != nil {
		t.Errorf("answered\n%s", hex.Dump(f))
	}
	if err := s.SetLease(unknown, lease()); err != nil {
		t.Fatal(err)
	}
	s.handle(wire.Frame{Data: stranger(1)})
	if c.sent(t) == nil {
		t.Error("not answered once it had a lease")
	}
	s.Remove(unknown)
	s.handle(wire.Frame{Data: stranger(1)})
	if c.sent(t) != nil {
		t.Error("answered once its lease was taken away")
	}
}

func TestAFloodOfStrangersIsBounded(t *testing.T) {
	s, _, j, _ := bench(t, lease())
	for i := range maxStrangers + 100 {
		m := kind(1)
		m.chaddr = fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255)
		s.handle(wire.Frame{Data: m.frame(t)})
	}
	if n := len(j.take()); n != maxStrangers {
		t.Errorf("%d events, want %d", n, maxStrangers)
	}
}

func TestALeaseIsReplacedWhileAClientHoldsTheOldOne(t *testing.T) {
	s, c, j, _ := bench(t, lease())
	next := lease()
	next.Addr = netip.MustParsePrefix("192.0.2.20/25")
	if err := s.SetLease(phone, next); err != nil {
		t.Fatal(err)
	}
	next.Options[160][0] = '!' // the server has its own copy
	renew := kind(3).with(func(m *msg) { m.ciaddr, m.srcIP, m.dst, m.dstIP = "192.0.2.10", "192.0.2.10", server, "192.0.2.1" })
	s.handle(wire.Frame{Data: renew.frame(t)})
	if r := read(t, c.sent(t)); r.value(53) != "06" {
		t.Errorf("renewing the old lease is answered %s", r.value(53))
	}
	s.handle(wire.Frame{Data: kind(1, opt(55, 1, 160)).frame(t)})
	r := read(t, c.sent(t))
	if r.yiaddr != "192.0.2.20" || r.value(1) != "ffffff80" || r.value(160) != hex.EncodeToString([]byte("https://prov.example/")) {
		t.Errorf("offered %s, mask %s, option 160 %s", r.yiaddr, r.value(1), r.value(160))
	}
	if got, want := kinds(j.take()), []timeline.Kind{timeline.DHCPNak, timeline.DHCPOffer}; !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
}

func TestADeclinedAddressIsNotOfferedWhileASpareIsLeft(t *testing.T) {
	l := lease()
	l.Spare = []netip.Addr{netip.MustParseAddr("192.0.2.30"), netip.MustParseAddr("192.0.2.31")}
	s, c, j, _ := bench(t, l)
	for _, want := range []string{"192.0.2.10", "192.0.2.30", "192.0.2.31", "192.0.2.31"} {
		s.handle(wire.Frame{Data: kind(1).frame(t)})
		r := read(t, c.sent(t))
		if r.yiaddr != want {
			t.Errorf("offered %s, want %s", r.yiaddr, want)
		}
		s.handle(wire.Frame{Data: kind(3, opt(54, ip("192.0.2.1")...), opt(50, ip(want)...)).frame(t)})
		if r := read(t, c.sent(t)); r.value(53) != "05" || r.yiaddr != want {
			t.Errorf("REQUEST of %s is answered %s %s", want, r.value(53), r.yiaddr)
		}
		s.handle(wire.Frame{Data: kind(4, opt(54, ip("192.0.2.1")...), opt(50, ip(want)...)).frame(t)})
	}
	var reasons []string
	for _, e := range j.take() {
		if e.Kind == timeline.DHCPOffer {
			reasons = append(reasons, e.Reason)
		}
	}
	if want := "DISCOVER: OFFER 192.0.2.31, declined before, no other is left"; reasons[3] != want {
		t.Errorf("got %q, want %q", reasons[3], want)
	}
}

func TestServeRecordsBeforeItAnswersAndEndsWithItsContext(t *testing.T) {
	s, c, j, _ := bench(t, lease())
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }() // ends with ctx
	c.in <- wire.Frame{Data: kind(1).frame(t)}
	<-c.out
	if got, want := kinds(j.take()), []timeline.Kind{timeline.ServiceUp, timeline.DHCPOffer}; !slices.Equal(got, want) {
		t.Errorf("when the answer was out, %v was recorded, want %v", got, want)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if got, want := kinds(j.take()), []timeline.Kind{timeline.ServiceDown}; !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
}

func TestServeFailsWithItsPort(t *testing.T) {
	s, c, j, _ := bench(t, lease())
	_ = c.Close()
	if err := s.Serve(t.Context()); err == nil {
		t.Error("Serve on a closed port returned nil")
	}
	events := j.take()
	if e := events[len(events)-1]; e.Kind != timeline.ServiceDown || e.Reason == "" {
		t.Errorf("recorded %q %q, want the reason of %q", e.Kind, e.Reason, timeline.ServiceDown)
	}
}

func TestADelayedAnswerIsLateAndHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, j, plan := bench(t, lease())
		plan.Add(fault.On("OFFER").Do(Delay{D: 3 * time.Second}).Once())
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx) }() // ends with ctx

		start := time.Now()
		c.in <- wire.Frame{Data: kind(1).frame(t)}
		c.in <- wire.Frame{Data: kind(3, opt(50, ip("192.0.2.10")...)).frame(t)}
		if f := <-c.out; read(t, f.Data).list[0] != 53 || time.Since(start) != 0 {
			t.Errorf("the second message was answered after %v", time.Since(start))
		}
		f := <-c.out
		if r := read(t, f.Data); r.value(53) != "02" {
			t.Errorf("late answer is %s", r.value(53))
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("late by %v, want 3s", got)
		}
		want := []timeline.Kind{timeline.ServiceUp, timeline.FaultFired, timeline.DHCPAck, timeline.DHCPOffer}
		if got := kinds(j.take()); !slices.Equal(got, want) {
			t.Errorf("recorded %v, want %v", got, want)
		}
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestADelayedAnswerIsGivenUpWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, j, plan := bench(t, lease())
		plan.Add(fault.On("OFFER").Do(Delay{D: time.Minute}))
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx) }() // ends with ctx
		c.in <- wire.Frame{Data: kind(1).frame(t)}
		synctest.Wait()
		cancel()
		start := time.Now()
		if err := <-served; err != nil || time.Since(start) != 0 {
			t.Errorf("Serve: %v after %v", err, time.Since(start))
		}
		want := []timeline.Kind{timeline.ServiceUp, timeline.FaultFired, timeline.ServiceDown}
		if got := kinds(j.take()); !slices.Equal(got, want) || len(c.out) != 0 {
			t.Errorf("recorded %v, want %v; %d answers", got, want, len(c.out))
		}
	})
}

func TestNewNamesTheFieldThatIsWrong(t *testing.T) {
	good := func() Config {
		return Config{
			Port: newCable(), ServerMAC: mac(server), ServerIP: netip.MustParseAddr("192.0.2.1"),
			Clients: map[string]Lease{phone: lease()}, Record: func(timeline.Event) {},
		}
	}
	if _, err := New(good()); err != nil {
		t.Fatal(err)
	}
	leaseWith := func(f func(*Lease)) func(*Config) {
		return func(c *Config) { l := lease(); f(&l); c.Clients = map[string]Lease{phone: l} }
	}
	for field, spoil := range map[string]func(*Config){
		"Port":                    func(c *Config) { c.Port = nil },
		"ServerMAC":               func(c *Config) { c.ServerMAC = nil },
		"ServerIP":                func(c *Config) { c.ServerIP = netip.MustParseAddr("2001:db8::1") },
		"Record":                  func(c *Config) { c.Record = nil },
		`"phone"`:                 func(c *Config) { c.Clients = map[string]Lease{"phone": lease()} },
		"Addr":                    leaseWith(func(l *Lease) { l.Addr = netip.Prefix{} }),
		"Spare":                   leaseWith(func(l *Lease) { l.Spare = []netip.Addr{netip.MustParseAddr("198.51.100.1")} }),
		"Router":                  leaseWith(func(l *Lease) { l.Router = netip.MustParseAddr("2001:db8::1") }),
		"NextServer":              leaseWith(func(l *Lease) { l.NextServer = netip.MustParseAddr("2001:db8::1") }),
		"2001:db8::2":             leaseWith(func(l *Lease) { l.DNS = []netip.Addr{netip.MustParseAddr("2001:db8::2")} }),
		"Duration 0s":             leaseWith(func(l *Lease) { l.Duration = 0 }),
		"T1 or T2 -1s":            leaseWith(func(l *Lease) { l.T2 = -time.Second }),
		"option 53 is the server": leaseWith(func(l *Lease) { l.Options[53] = []byte{2} }),
	} {
		cfg := good()
		spoil(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want an error about %s", err, field)
		}
	}
}

func TestCanRefusesWhatItCannotDo(t *testing.T) {
	s := &Server{}
	for _, e := range []fault.Effect{Drop{}, Nak{}, Delay{D: 1}, WithoutOption{Code: 53}} {
		if err := s.Can(e); err != nil {
			t.Errorf("%v: %v", e, err)
		}
	}
	for _, e := range []fault.Effect{foreign{}, Delay{}, WithoutOption{}, WithoutOption{Code: 255}} {
		if err := s.Can(e); err == nil {
			t.Errorf("%v: not refused", e)
		}
	}
}

func TestMalformedFramesAreOddities(t *testing.T) {
	whole := kind(1).frame(t)
	edit := func(f func(b []byte) []byte) []byte { return f(slices.Clone(whole)) }
	for name, frame := range map[string][]byte{
		"cut within Ethernet":       whole[:10],
		"cut within IP":             whole[:30],
		"cut within BOOTP":          whole[:200],
		"IPv6":                      edit(func(b []byte) []byte { b[12], b[13] = 0x86, 0xdd; return b }),
		"cut within the tag":        edit(func(b []byte) []byte { b[12], b[13] = 0x81, 0; return b[:15] }),
		"a header of four bytes":    edit(func(b []byte) []byte { b[14] = 0x41; return b }),
		"TCP":                       edit(func(b []byte) []byte { b[23] = 6; return b }),
		"a fragment":                edit(func(b []byte) []byte { b[20] = 0x20; return b }),
		"UDP longer than its IP":    edit(func(b []byte) []byte { b[38] = 0xff; return b }),
		"UDP shorter than its head": edit(func(b []byte) []byte { b[38], b[39] = 0, 7; return b }),
	} {
		t.Run(name, func(t *testing.T) {
			s, c, j, _ := bench(t, lease())
			s.handle(wire.Frame{Data: frame})
			if got, want := kinds(j.take()), []timeline.Kind{timeline.ServiceOddity}; !slices.Equal(got, want) {
				t.Errorf("recorded %v, want %v", got, want)
			}
			if f := c.sent(t); f != nil {
				t.Errorf("answered\n%s", hex.Dump(f))
			}
		})
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(kind(1, phoneList()).frame(f))
	f.Add(kind(3, opt(54, 192, 0, 2, 1), opt(50, 192, 0, 2, 10)).frame(f))
	f.Add(kind(3, opt(50, 192, 0, 2, 11), opt(82, 1, 1, 1)).with(func(m *msg) { m.giaddr = "198.51.100.1" }).frame(f))
	f.Add(kind(1, opt(57, 2, 64), opt(52, 3)).with(func(m *msg) { m.tag = []byte{0, 5} }).frame(f))
	f.Add(kind(8).with(func(m *msg) { m.ciaddr = "192.0.2.10" }).frame(f))
	f.Add(kind(2).with(func(m *msg) { m.op = 2 }).frame(f))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := lease()
		l.Options[43] = bytes.Repeat([]byte{1}, 300)
		s, c, j, _ := bench(t, l)
		s.handle(wire.Frame{Data: b})
		out := c.sent(t)
		if out == nil {
			return
		}
		in, err := parseFrame(b)
		if err != nil {
			t.Fatalf("answered what does not parse: %v", err)
		}
		answer, err := parseFrame(out)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseMessage(answer.payload)
		if err != nil {
			t.Fatalf("answer %x to %x: %v", answer.payload, in.payload, err)
		}
		if m.mac != phone || !bytes.Equal(m.raw.TransactionID[:], in.payload[4:8]) || len(answer.payload) < 300 || len(answer.payload) > maxDatagram-ipUDPLen {
			t.Errorf("answered %d bytes to %s", len(answer.payload), m.mac)
		}
		if len(j.take()) == 0 {
			t.Error("answered without an event")
		}
	})
}

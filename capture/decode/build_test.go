package decode_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"ip88rig/capture/decode"
	"ip88rig/capture/timeline"
)

const server = "00:00:5e:00:53:01"

var (
	phone  = netip.MustParseAddr("192.0.2.10")
	rig    = netip.MustParseAddr("192.0.2.1")
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	phone1 = netip.AddrPortFrom(phone, 4001)
)

// script is a decoder that is fed frame by frame, a millisecond apart.
type script struct {
	tb     testing.TB
	d      *decode.Decoder
	number int
	at     time.Time
	events []timeline.Event
}

func newScript(tb testing.TB) *script {
	tb.Helper()
	return &script{tb: tb, d: decode.New(decode.Config{HandsetMACs: []string{handset}}), at: noon}
}

func (s *script) frame(data []byte) {
	s.number++
	s.at = s.at.Add(time.Millisecond)
	s.events = append(s.events, s.d.Frame(decode.Cable, s.number, s.at, data)...)
}

// kinds leaves the ends of connections out, and the tries to open one: those have
// tests of their own.
func (s *script) kinds() []timeline.Kind {
	kinds := []timeline.Kind{}
	for _, e := range s.events {
		if e.Kind != timeline.TCPClosed && e.Kind != timeline.TCPTry {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

// of returns the events of one kind.
func (s *script) of(kind timeline.Kind) []timeline.Event {
	var some []timeline.Event
	for _, e := range s.events {
		if e.Kind == kind {
			some = append(some, e)
		}
	}
	return some
}

func serialize(tb testing.TB, parts ...gopacket.SerializableLayer) []byte {
	tb.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func mac(tb testing.TB, s string) net.HardwareAddr {
	tb.Helper()
	a, err := net.ParseMAC(s)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func ethernet(tb testing.TB, src netip.Addr) *layers.Ethernet {
	tb.Helper()
	from, to := server, handset
	if src == phone || src.IsUnspecified() {
		from, to = handset, server
	}
	return &layers.Ethernet{SrcMAC: mac(tb, from), DstMAC: mac(tb, to), EthernetType: layers.EthernetTypeIPv4}
}

func udpFrame(tb testing.TB, src, dst netip.AddrPort, payload []byte) []byte {
	tb.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
	udp := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		tb.Fatal(err)
	}
	return serialize(tb, ethernet(tb, src.Addr()), ip, udp, gopacket.Payload(payload))
}

func (s *script) udp(src, dst netip.AddrPort, payload string) {
	s.tb.Helper()
	s.frame(udpFrame(s.tb, src, dst, []byte(payload)))
}

// talk is one TCP connection of the phone.
type talk struct {
	s    *script
	ends [2]netip.AddrPort
	seq  [2]uint32 // next to send
}

const (
	fin = 1 << iota
	syn
	rst
	_
	ackFlag
)

func (s *script) connect(port uint16) *talk {
	s.tb.Helper()
	c := &talk{s: s, ends: [2]netip.AddrPort{phone1, netip.AddrPortFrom(rig, port)}, seq: [2]uint32{0xfffffff0, 77}}
	c.raw(0, syn, c.seq[0], 0, "")
	c.seq[0]++
	c.raw(1, syn|ackFlag, c.seq[1], c.seq[0], "")
	c.seq[1]++
	c.raw(0, ackFlag, c.seq[0], c.seq[1], "")
	return c
}

func (c *talk) raw(i, flags int, seq, ack uint32, payload string) {
	c.s.tb.Helper()
	c.s.frame(tcpFrame(c.s.tb, c.ends[i], c.ends[1-i], flags, seq, ack, []byte(payload)))
}

func tcpFrame(tb testing.TB, src, dst netip.AddrPort, flags int, seq, ack uint32, payload []byte) []byte {
	tb.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
	tcp := &layers.TCP{
		SrcPort: layers.TCPPort(src.Port()), DstPort: layers.TCPPort(dst.Port()), Seq: seq, Ack: ack, Window: 65535,
		FIN: flags&fin != 0, SYN: flags&syn != 0, RST: flags&rst != 0, ACK: flags&ackFlag != 0, PSH: len(payload) > 0,
	}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		tb.Fatal(err)
	}
	return serialize(tb, ethernet(tb, src.Addr()), ip, tcp, gopacket.Payload(payload))
}

// say sends in order and has it acknowledged.
func (c *talk) say(i int, payload string) {
	c.s.tb.Helper()
	c.raw(i, ackFlag, c.seq[i], c.seq[1-i], payload)
	c.seq[i] += uint32(len(payload))
	c.heard(1 - i)
}

// heard acknowledges all that the other end sent so far.
func (c *talk) heard(i int) {
	c.s.tb.Helper()
	c.raw(i, ackFlag, c.seq[i], c.seq[1-i], "")
}

func (c *talk) close(i int) {
	c.s.tb.Helper()
	c.raw(i, fin|ackFlag, c.seq[i], c.seq[1-i], "")
	c.seq[i]++
	c.heard(1 - i)
}

package host

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ip88rig/rig/wire"
)

var (
	here  = tcpip.AddrFrom4([4]byte{192, 0, 2, 1})
	there = tcpip.AddrFrom4([4]byte{192, 0, 2, 2})
)

// ipv4Packet is a packet with a payload.
func ipv4Packet(proto tcpip.TransportProtocolNumber, payload []byte) []byte {
	b := make([]byte, header.IPv4MinimumSize, header.IPv4MinimumSize+len(payload))
	ip := header.IPv4(b)
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(b) + len(payload)), TTL: 64, Protocol: uint8(proto), SrcAddr: there, DstAddr: here,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	return append(b, payload...)
}

// udpPacket is a datagram to port 69 whose checksum is made from the right one
// and that of its pseudo header alone.
func udpPacket(payload []byte, sum func(right, pseudo uint16) uint16) []byte {
	segment := append(make([]byte, header.UDPMinimumSize), payload...)
	encodeUDP(segment, payload, there, here, 68, 69)
	u := header.UDP(segment)
	u.SetChecksum(sum(u.Checksum(), header.PseudoHeaderChecksum(header.UDPProtocolNumber, there, here, uint16(len(segment)))))
	return ipv4Packet(header.UDPProtocolNumber, segment)
}

// tcpPacket is a SYN to port 80, likewise.
func tcpPacket(payload []byte, sum func(right, pseudo uint16) uint16) []byte {
	segment := append(make([]byte, header.TCPMinimumSize), payload...)
	tcp := header.TCP(segment)
	tcp.Encode(&header.TCPFields{SrcPort: 1024, DstPort: 80, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn})
	pseudo := header.PseudoHeaderChecksum(header.TCPProtocolNumber, there, here, uint16(len(segment)))
	tcp.SetChecksum(sum(^checksum.Checksum(segment, pseudo), pseudo))
	return ipv4Packet(header.TCPProtocolNumber, segment)
}

func right(right, _ uint16) uint16       { return right }
func unfinished(_, pseudo uint16) uint16 { return pseudo }
func wrong(right, _ uint16) uint16       { return right ^ 0x0101 }
func none(uint16, uint16) uint16         { return 0 }

// with is packet with one byte changed and its header checksum made right.
func with(packet []byte, at int, value byte) []byte {
	packet[at] = value
	ip := header.IPv4(packet)
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	return packet
}

func TestChecksums(t *testing.T) {
	payload := []byte("payload")
	long := make([]byte, 3000)
	broken := udpPacket(payload, right)
	broken[8]++ // time to live, behind the header checksum's back
	for _, tt := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"UDP", udpPacket(payload, right), true},
		{"UDP, unfinished as by a kernel on veth", udpPacket(payload, unfinished), true},
		{"UDP, wrong", udpPacket(payload, wrong), false},
		{"UDP without", udpPacket(payload, none), true},
		{"TCP", tcpPacket(payload, right), true},
		{"TCP, unfinished", tcpPacket(payload, unfinished), true},
		{"TCP, wrong", tcpPacket(payload, wrong), false},
		{"TCP without", tcpPacket(payload, none), false},
		{"TCP, wrong in a super-frame", tcpPacket(long, wrong), true},
		{"UDP, wrong in a fragment", with(udpPacket(payload, wrong), 6, 0x20), true},
		{"IPv4 header, wrong", broken, false},
		{"a protocol without a pseudo header", ipv4Packet(header.ICMPv4ProtocolNumber, payload), true},
		{"too short for a checksum", ipv4Packet(header.UDPProtocolNumber, payload[:3]), true},
		{"no packet at all", payload, true},
		{"padded to the shortest frame", append(udpPacket(nil, right), make([]byte, 18)...), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := intact(tt.packet); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// alone is a host with a cable that nobody else is on.
func alone(tb testing.TB) *Host {
	tb.Helper()
	h, err := New(tb.Context(), Config{
		Port: wire.NewSwitch().Access("alone", 1), MAC: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, 1},
		Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}, Seed: 1,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = h.Close() })
	return h
}

// toHost is a frame for alone's host.
func toHost(kind uint16, payload []byte) []byte {
	b := []byte{0, 0, 0x5e, 0, 0x53, 1, 0, 0, 0x5e, 0, 0x53, 2, byte(kind >> 8), byte(kind)}
	return append(b, payload...)
}

func TestHostTakesFramesOfItsOwnOnly(t *testing.T) {
	h := alone(t)
	c, err := h.ListenUDP(netip.MustParseAddrPort("0.0.0.0:69"))
	if err != nil {
		t.Fatal(err)
	}
	packet := func(s string) []byte { return udpPacket([]byte(s), right) }
	edit := func(frame []byte, at int, value byte) []byte {
		frame[at] = value
		return frame
	}
	for _, f := range [][]byte{
		edit(toHost(0x0800, packet("to another station")), 5, 9),
		edit(toHost(0x0800, packet("to another address")), 33, 9),
		toHost(0x0800, udpPacket([]byte("corrupt"), wrong)),
		toHost(0x8100, append([]byte{0, 88, 8, 0}, packet("of a VLAN")...)),
		toHost(0x88b5, packet("of another protocol")),
		toHost(0x0800, packet("plain")),
		edit(toHost(0x0800, packet("to a group")), 0, 1),
		bytes.Repeat([]byte{255}, 6),
		toHost(0x8100, append([]byte{0xa0, 0, 8, 0}, packet("with a priority")...)),
		toHost(0x0800, append(packet("padded"), 0, 0, 0)),
	} {
		h.link.take(wire.Frame{Data: f})
	}
	var got []string
	b := make([]byte, 100)
	for len(got) == 0 || got[len(got)-1] != "padded" {
		n, _, err := c.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b[:n]))
	}
	if want := "plain to a group with a priority padded"; strings.Join(got, " ") != want {
		t.Errorf("received %q, want %q", got, want)
	}
	if n := h.Corrupt(); n != 2 { // the frame to another address was changed without its checksum
		t.Errorf("counted %d corrupt packets, want 2", n)
	}
}

func TestAClaimTakesNothingCorrupt(t *testing.T) {
	h := alone(t)
	claim := h.Claim(func([]byte) bool { return true })
	header := udpPacket([]byte("x"), right)
	header[8]++ // TTL
	for _, packet := range [][]byte{udpPacket([]byte("x"), wrong), header, udpPacket([]byte("y"), unfinished)} {
		h.link.take(wire.Frame{Data: toHost(0x0800, packet)})
	}
	f, err := claim.Receive(t.Context())
	if err != nil || !bytes.HasSuffix(f.Data, []byte("y")) {
		t.Errorf("claimed %x, %v, want the packet that is only unfinished", f.Data, err)
	}
	if n := h.Corrupt(); n != 2 {
		t.Errorf("counted %d corrupt packets, want 2", n)
	}
}

func FuzzHost(f *testing.F) {
	f.Add([]byte{})
	f.Add(toHost(0x0800, udpPacket([]byte("x"), right)))
	f.Add(toHost(0x0800, tcpPacket([]byte("x"), unfinished)))
	f.Add(toHost(0x0800, tcpPacket([]byte("x"), right)[:30]))
	f.Add(toHost(0x0800, with(udpPacket([]byte("fragment"), right), 6, 0x20)))
	f.Add(toHost(0x0800, with(udpPacket([]byte("fragment"), right), 7, 1)))
	f.Add(toHost(0x0800, with(udpPacket(make([]byte, 60), right), 0, 0x4f)))
	f.Add(toHost(0x0800, ipv4Packet(header.ICMPv4ProtocolNumber, []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0})))
	f.Add(toHost(0x0806, []byte{0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0x5e, 0, 0x53, 2, 192, 0, 2, 2, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1}))
	f.Add(toHost(0x8100, []byte{0, 0, 8}))
	h := alone(f)
	udp, err := h.ListenUDP(netip.MustParseAddrPort("0.0.0.0:69"))
	if err != nil {
		f.Fatal(err)
	}
	tcp, err := h.ListenTCP(netip.MustParseAddrPort("0.0.0.0:80"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		_ = udp.Close()
		_ = tcp.Close()
	})
	f.Fuzz(func(_ *testing.T, data []byte) {
		h.link.take(wire.Frame{Data: bytes.Clone(data)})
		if len(data) < headerLen+header.IPv4MinimumSize {
			return
		}
		// Once more past the checksums, which no fuzzer guesses.
		data = bytes.Clone(data)
		copy(data, h.mac)
		ip := header.IPv4(data[headerLen:])
		ip.SetChecksum(0)
		if n := int(ip.HeaderLength()); n >= header.IPv4MinimumSize && n <= len(ip) {
			ip.SetChecksum(^checksum.Checksum(ip[:n], 0))
		}
		h.link.take(wire.Frame{Data: data})
	})
}

func TestHostEndsWithItsPort(t *testing.T) {
	port := wire.NewSwitch().Access("p", 1)
	h, err := New(t.Context(), Config{Port: port})
	if err != nil {
		t.Fatal(err)
	}
	l, err := h.ListenTCP(netip.MustParseAddrPort("0.0.0.0:80"))
	if err != nil {
		t.Fatal(err)
	}
	claim := h.Claim(func([]byte) bool { return true })
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	<-h.Done()
	if h.Err() == nil {
		t.Error("Err is nil although the port was closed")
	}
	if _, err := l.Accept(); err == nil {
		t.Error("accept succeeds on a host that has ended")
	}
	if _, err := claim.Receive(t.Context()); err == nil {
		t.Error("a claim goes on after the host has ended")
	}
	if _, err := h.Claim(func([]byte) bool { return true }).Receive(t.Context()); err == nil {
		t.Error("a claim can be made after the host has ended")
	}
	if err := h.Close(); err == nil {
		t.Error("Close does not tell that the port was closed")
	}
}

func TestHostEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h, err := New(ctx, Config{Port: wire.NewSwitch().Access("p", 1)})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-h.Done()
	if err := h.Close(); err != nil {
		t.Errorf("close after the context's end: %v", err)
	}
}

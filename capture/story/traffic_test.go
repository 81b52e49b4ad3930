package story_test

import (
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"ip88rig/capture/pcap"
)

// The ends of the traffic that tests make.
var (
	serverMAC  = [6]byte{2, 0, 0, 0, 0, 1}
	serverAddr = netip.MustParseAddr("192.0.2.1")
)

// maker makes captures.
type maker struct {
	w      io.Writer
	buf    []byte
	at     time.Time
	id     uint16
	frames int
	err    error
}

func newMaker(w io.Writer) *maker {
	m := &maker{w: w, at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	m.buf = pcap.AppendSection(nil, "a test", pcap.Interface{Name: "eth0", Link: pcap.Ethernet})
	return m
}

func (m *maker) frame(data []byte) {
	m.frames++
	m.at = m.at.Add(100 * time.Microsecond)
	m.buf = pcap.AppendPacket(m.buf, pcap.Packet{At: m.at, Data: data, Length: len(data)})
	if len(m.buf) > 1<<20 {
		m.flush()
	}
}

func (m *maker) flush() {
	if m.err == nil {
		_, m.err = m.w.Write(m.buf)
	}
	m.buf = m.buf[:0]
}

func sum16(b []byte, s uint32) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}

// ipv4 makes a frame with a transport header whose checksum stands at offset sumAt.
func (m *maker) ipv4(srcMAC, dstMAC [6]byte, src, dst netip.Addr, protocol byte, transport []byte, sumAt int) []byte {
	m.id++
	b := append(append(append([]byte{}, dstMAC[:]...), srcMAC[:]...), 8, 0)
	h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0}
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(transport)))
	binary.BigEndian.PutUint16(h[4:], m.id)
	s, d := src.As4(), dst.As4()
	h = append(append(h, s[:]...), d[:]...)
	binary.BigEndian.PutUint16(h[10:], sum16(h, 0))
	pseudo := append(append(append([]byte{}, s[:]...), d[:]...), 0, protocol, byte(len(transport)>>8), byte(len(transport)))
	var start uint32
	for i := 0; i < len(pseudo); i += 2 {
		start += uint32(pseudo[i])<<8 | uint32(pseudo[i+1])
	}
	binary.BigEndian.PutUint16(transport[sumAt:], sum16(transport, start))
	return append(append(b, h...), transport...)
}

func (m *maker) udp(srcMAC, dstMAC [6]byte, src, dst netip.AddrPort, payload []byte) {
	t := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	binary.BigEndian.PutUint16(t[4:], uint16(8+len(payload)))
	m.frame(m.ipv4(srcMAC, dstMAC, src.Addr(), dst.Addr(), 17, append(t, payload...), 6))
}

func (m *maker) tcp(srcMAC, dstMAC [6]byte, src, dst netip.AddrPort, seq, ack uint32, flags byte, payload []byte) {
	t := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	binary.BigEndian.PutUint32(t[4:], seq)
	binary.BigEndian.PutUint32(t[8:], ack)
	t[12], t[13] = 5<<4, flags
	m.frame(m.ipv4(srcMAC, dstMAC, src.Addr(), dst.Addr(), 6, append(t, payload...), 16))
}

// discover makes the DISCOVER of a client.
func (m *maker) discover(client [6]byte) {
	b := make([]byte, 300)
	b[0], b[1], b[2] = 1, 1, 6
	copy(b[4:], client[2:])
	copy(b[28:], client[:])
	copy(b[236:], "\x63\x82\x53\x63\x35\x01\x01\xff")
	any4, all := netip.AddrPortFrom(netip.IPv4Unspecified(), 68), netip.MustParseAddrPort("255.255.255.255:67")
	m.udp(client, [6]byte{255, 255, 255, 255, 255, 255}, any4, all, b)
}

func writeClients(w io.Writer, n int) error {
	m := newMaker(w)
	for i := range n {
		m.discover([6]byte{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	m.flush()
	return m.err
}

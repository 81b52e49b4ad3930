package virtual

import (
	"net"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"ip88rig/rig/virtual/httpc"
)

// tooManyGaps is how many gaps of one answer the defect gaps-end-file does not
// get over.
const tooManyGaps = 2

// gaps follows what comes over the connections that the handset has opened, for
// the defect gaps-end-file. It goes by the frames, before the host has them: what
// comes after a gap cannot have been read by then.
type gaps struct {
	mu      sync.Mutex
	streams map[uint16]*stream // by the handset's port
}

// stream is what has come to one connection, in sequence numbers.
type stream struct {
	first, top uint32 // the first byte, and the one after the last that came
	gaps       int    // since something was last sent
	over       bool   // nothing from top on is taken any more
}

// see takes a frame as it comes from the wire. A gap is seen when a segment
// begins after what has come so far: what comes again, or late, makes none.
func (g *gaps) see(frame []byte) {
	if etherType(frame) != uint16(header.IPv4ProtocolNumber) {
		return
	}
	ip := header.IPv4(frame[header.EthernetMinimumSize:])
	if !ip.IsValid(len(ip)) || !ip.IsChecksumValid() || ip.TransportProtocol() != header.TCPProtocolNumber {
		return
	}
	tcp := header.TCP(ip.Payload())
	if len(tcp) < header.TCPMinimumSize || int(tcp.DataOffset()) > len(tcp) || int(tcp.DataOffset()) < header.TCPMinimumSize {
		return
	}
	data := tcp.Payload()
	if !tcp.IsChecksumValid(ip.SourceAddress(), ip.DestinationAddress(), checksum.Checksum(data, 0), uint16(len(data))) { //nolint:gosec // part of an IPv4 packet
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s, from := g.streams[tcp.DestinationPort()], tcp.SequenceNumber()
	if tcp.Flags().Contains(header.TCPFlagSyn | header.TCPFlagAck) {
		if from++; s == nil || s.first != from {
			g.streams[tcp.DestinationPort()] = &stream{first: from, top: from}
		}
		return
	}
	if s == nil || s.over || len(data) == 0 {
		return
	}
	if after(from, s.top) {
		s.gaps++
		s.over = s.gaps == tooManyGaps
	}
	if end := from + uint32(len(data)); !s.over && after(end, s.top) { //nolint:gosec // as above
		s.top = end
	}
}

// after compares sequence numbers (RFC 9293, 3.4).
func after(a, b uint32) bool { return int32(a-b) > 0 } //nolint:gosec // modulo 2^32

// sent begins a new answer.
func (g *gaps) sent(port uint16) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.streams[port]; s != nil {
		s.gaps = 0
	}
}

// left is how many of the next n bytes of a connection are taken, after those that
// were read.
func (g *gaps) left(port uint16, read uint32, n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.streams[port]
	if s == nil || !s.over {
		return n
	}
	return min(n, int(s.top-s.first-read))
}

func (g *gaps) forget(port uint16) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.streams, port)
}

// gapped is a connection that is over where there were too many gaps.
type gapped struct {
	net.Conn
	gaps *gaps
	port uint16
	read uint32
}

// watch takes care of a connection that was just opened.
func (g *gaps) watch(c net.Conn) net.Conn {
	local, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return c
	}
	return &gapped{Conn: c, gaps: g, port: local.AddrPort().Port()}
}

// Read reads what came before the gap that was one too many.
func (g *gapped) Read(b []byte) (int, error) {
	if g.gaps.left(g.port, g.read, 1) == 0 {
		return 0, httpc.ErrGap
	}
	n, err := g.Conn.Read(b)
	if left := g.gaps.left(g.port, g.read, n); left < n {
		n, err = left, httpc.ErrGap
	}
	g.read += uint32(n) //nolint:gosec // modulo 2^32
	return n, err
}

func (g *gapped) Write(b []byte) (int, error) {
	g.gaps.sent(g.port)
	return g.Conn.Write(b)
}

func (g *gapped) Close() error {
	g.gaps.forget(g.port)
	return g.Conn.Close()
}

package decode

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"ip88rig/capture/timeline"
)

// Bounds of what is held of TCP connections.
const (
	maxConns     = 1024
	maxAhead     = 1 << 20  // bytes held of one direction, out of order
	maxSegments  = 2048     // segments held of one direction, out of order
	maxPlausible = 64 << 20 // bytes that a segment or ACK may be ahead
)

// protocol is what a connection carries.
type protocol int

const (
	unknown protocol = iota
	plainHTTP
	tlsRecords
	sipMessages
	foreign // something else, or no longer readable
)

// conn is one TCP connection. Direction 0 is from the client to the server.
type conn struct {
	pair
	dir    [2]stream
	synced bool   // the client's SYN was seen
	isn    uint32 // its sequence number
	opened bool
	over   bool
	turn   uint64

	protocol protocol
	begin    [2][]byte // what came before the protocol was known
	content  content
}

// content reads what a connection carries.
type content interface {
	data(d *reading, i int, b []byte)
	// gap is called where bytes are missing, end at the end of a direction.
	gap(d *reading, i int, size int64)
	end(d *reading, i int, reset bool)
}

// tcpDecoder puts segments in order and finds out what connections carry.
type tcpDecoder struct {
	*reading
	tcp   segmentHead
	conns map[flow]*conn
}

type flow struct{ src, dst netip.AddrPort }

// stream is one direction of a connection, in order.
type stream struct {
	started bool
	begun   bool   // its SYN was seen
	torn    bool   // bytes of it were never seen
	count   int64  // bytes handed over
	next    uint32 // the sequence number to come
	ahead   []segment
	held    int
	finSeen bool
	fin     uint32
	ended   bool
}

type segment struct {
	seq  uint32
	data []byte
	cut  int // bytes after data that the capture cut off
}

// distance is how far sequence number a comes after b; they wrap (RFC 9293,
// section 3.4).
func distance(a, b uint32) int {
	return int(int32(a - b)) //nolint:gosec // G115: to wrap is the point
}

func length(b []byte) uint32 {
	return uint32(len(b)) //nolint:gosec // G115: no frame is that long
}

// segmentHead is what is needed of a TCP header (RFC 9293, section 3.1).
type segmentHead struct {
	Seq, Ack           uint32
	SYN, ACK, FIN, RST bool
	Payload            []byte
}

func (d *tcpDecoder) decodeTCP(src, dst netip.Addr, data []byte) {
	if len(data) < 20 {
		d.short("TCP header")
		return
	}
	d.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(data))
	d.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(data[2:]))
	head := int(data[12]>>4) * 4
	switch {
	case head < 20:
		d.malformed("TCP header without a usable length")
		return
	case head > len(data):
		d.short("TCP header")
		return
	}
	if d.missing == 0 && !intact(src, dst, protocolTCP, data, binary.BigEndian.Uint16(data[16:])) && !d.unfilled() {
		d.malformed("TCP checksum wrong")
		return
	}
	flags := data[13]
	d.tcp = segmentHead{
		Seq: binary.BigEndian.Uint32(data[4:]), Ack: binary.BigEndian.Uint32(data[8:]),
		FIN: flags&1 != 0, SYN: flags&2 != 0, RST: flags&4 != 0, ACK: flags&16 != 0, Payload: data[head:],
	}
	c, i := d.conn()
	if c == nil {
		return
	}
	c.turn = d.turn
	s, other := &c.dir[i], &c.dir[1-i]
	seq, payload := d.tcp.Seq, d.tcp.Payload
	if d.tcp.SYN {
		seq++ // data in a SYN comes after it
		if !s.started {
			s.started, s.begun, s.next = true, true, seq
		}
		if i == 0 {
			switch {
			case len(d.handsets) == 0 || !d.ours(d.srcMAC):
			case !c.synced:
				d.emit(d.of(&c.pair, 0, timeline.TCPTry))
			case !c.opened:
				d.emit(d.of(&c.pair, 0, timeline.TCPTryAgain))
			}
			c.synced, c.isn = true, d.tcp.Seq
		}
		if i == 1 && d.tcp.ACK && c.synced && !c.opened {
			c.opened = true
			d.emit(d.of(&c.pair, 0, timeline.TCPOpen))
		}
	}
	if !s.started {
		s.started, s.next = true, seq
	}
	if d.tcp.ACK {
		if !other.started {
			other.started, other.next = true, d.tcp.Ack
		}
		d.acknowledged(c, 1-i, d.tcp.Ack)
	}
	if d.tcp.FIN && !s.finSeen {
		s.finSeen, s.fin = true, seq+length(payload)+uint32(d.missing) //nolint:gosec // G115: below the size of a frame
	}
	if len(payload)+d.missing > 0 && c.protocol != foreign {
		d.arrived(c, i, seq, payload)
	}
	d.finish(c, i, false)
	if d.tcp.RST && !c.over {
		c.over = true
		for j := range c.dir {
			d.finish(c, j, true)
		}
		switch {
		case c.opened:
			d.emit(d.of(&c.pair, i, timeline.TCPReset))
		case c.synced && i == 1:
			d.emit(d.of(&c.pair, 1, timeline.TCPRefused))
		}
	}
}

// conn finds or opens the connection of the segment at hand and returns its
// direction.
func (d *tcpDecoder) conn() (c *conn, i int) {
	key, back := flow{d.src, d.dst}, flow{d.dst, d.src}
	if c, i = d.conns[key], 0; c == nil {
		c, i = d.conns[back], 1
	}
	syn := d.tcp.SYN && !d.tcp.ACK
	if c != nil && syn && (i == 1 || c.over || !c.synced || c.isn != d.tcp.Seq) {
		// The ports are used again; the same SYN twice is one sent again.
		delete(d.conns, flow{c.ends[0], c.ends[1]})
		c = nil
	}
	if c != nil {
		return c, i
	}
	if d.tcp.RST || !syn && !d.tcp.SYN && len(d.tcp.Payload) == 0 {
		return nil, 0
	}
	i = 0
	switch {
	case syn:
	case d.tcp.SYN:
		i = 1
	default:
		// Joined in the middle: the service's port shows the server, else the
		// handset is the client.
		switch from, to := d.service(d.src.Port()), d.service(d.dst.Port()); {
		case from && !to:
			i = 1
		case !from && !to && !d.ours(d.srcMAC):
			i = 1
		}
	}
	c = &conn{}
	c.ends[i], c.ends[1-i] = d.src, d.dst
	c.macs[i], c.macs[1-i] = d.srcMAC, d.dstMAC
	if len(d.conns) >= maxConns {
		d.dropConn()
	}
	d.conns[flow{c.ends[0], c.ends[1]}] = c
	return c, i
}

func (d *tcpDecoder) service(port uint16) bool {
	return slices.Contains(d.ports.HTTP, port) || slices.Contains(d.ports.HTTPS, port)
}

func (d *tcpDecoder) dropConn() {
	var oldest flow
	least := d.turn
	for k, c := range d.conns {
		if c.turn < least {
			oldest, least = k, c.turn
		}
	}
	delete(d.conns, oldest)
}

// arrived puts a segment's data in its place.
func (d *tcpDecoder) arrived(c *conn, i int, seq uint32, data []byte) {
	s := &c.dir[i]
	ahead := distance(seq, s.next)
	switch {
	case s.ended:
	case ahead <= 0:
		if skip := -ahead; skip < len(data)+d.missing {
			d.deliver(c, i, data[min(skip, len(data)):])
			d.skip(c, i, seq+length(data)+uint32(d.missing)) //nolint:gosec // G115: below the size of a frame
			d.drain(c, i)
		}
	case ahead > maxPlausible:
	default:
		at, found := slices.BinarySearchFunc(s.ahead, seq, func(h segment, seq uint32) int { return distance(h.seq, seq) })
		if found && len(s.ahead[at].data) >= len(data) {
			return
		}
		s.ahead = slices.Insert(s.ahead, at, segment{seq, slices.Clone(data), d.missing})
		s.held += len(data)
		for s.held > maxAhead || len(s.ahead) > maxSegments {
			d.gap(c, i, s.ahead[0].seq-s.next)
			d.drain(c, i)
		}
	}
}

// acknowledged looks for bytes that the receiver has and the recording has not.
func (d *tcpDecoder) acknowledged(c *conn, i int, ack uint32) {
	s := &c.dir[i]
	for !s.ended && c.protocol != foreign {
		missing := distance(ack, s.next)
		if s.finSeen && s.next == s.fin {
			return
		}
		if missing <= 0 || missing > maxPlausible {
			return
		}
		size := ack - s.next
		if len(s.ahead) > 0 {
			size = min(size, s.ahead[0].seq-s.next)
		} else if s.finSeen && ack == s.fin+1 {
			size--
		}
		d.gap(c, i, size)
		d.drain(c, i)
	}
}

func (d *tcpDecoder) drain(c *conn, i int) {
	s := &c.dir[i]
	for len(s.ahead) > 0 {
		h := s.ahead[0]
		ahead := distance(h.seq, s.next)
		if ahead > 0 {
			return
		}
		s.ahead = slices.Delete(s.ahead, 0, 1)
		s.held -= len(h.data)
		if skip := -ahead; skip < len(h.data)+h.cut {
			d.deliver(c, i, h.data[min(skip, len(h.data)):])
			d.skip(c, i, h.seq+length(h.data)+uint32(h.cut)) //nolint:gosec // G115: below the size of a frame
		}
	}
}

// skip passes over the bytes up to sequence number end that the capture cut off a
// segment.
func (d *tcpDecoder) skip(c *conn, i int, end uint32) {
	s := &c.dir[i]
	n := distance(end, s.next)
	if n <= 0 {
		return
	}
	s.next, s.torn = end, true
	d.lose(c, i, int64(n))
}

// lose has the protocol of a stream go on after bytes that are not in the capture.
func (d *tcpDecoder) lose(c *conn, i int, size int64) {
	if c.content == nil {
		// What the other direction says can still be read.
		c.begin[i] = nil
		return
	}
	c.content.gap(d.reading, i, size)
}

func (d *tcpDecoder) gap(c *conn, i int, size uint32) {
	s := &c.dir[i]
	s.next, s.torn = s.next+size, true
	e := d.of(&c.pair, i, timeline.TCPGap)
	e.Bytes = int64(size)
	e.Reason = fmt.Sprintf("%d bytes were never seen", size)
	d.emit(e)
	d.lose(c, i, int64(size))
}

func (d *tcpDecoder) finish(c *conn, i int, reset bool) {
	s := &c.dir[i]
	if s.ended || !reset && (!s.finSeen || s.next != s.fin) {
		return
	}
	s.ended, s.ahead, s.held = true, nil, 0
	if c.content != nil {
		c.content.end(d.reading, i, reset)
	}
	if !reset && s.begun && !s.torn {
		e := d.of(&c.pair, i, timeline.TCPClosed)
		e.Bytes = s.count
		d.emit(e)
	}
	if c.dir[1-i].ended {
		c.over = true
	}
}

// deliver hands over data in order, and finds out what it is.
func (d *tcpDecoder) deliver(c *conn, i int, data []byte) {
	c.dir[i].next += length(data)
	c.dir[i].count += int64(len(data))
	if c.protocol == unknown {
		d.recognise(c, i, data)
		return
	}
	d.hand(c, i, data)
}

func (d *tcpDecoder) hand(c *conn, i int, data []byte) {
	if c.content != nil {
		c.content.data(d.reading, i, data)
	}
}

func (d *tcpDecoder) recognise(c *conn, i int, data []byte) {
	if c.dir[i].torn {
		return // it does not begin with the beginning
	}
	c.begin[i] = append(c.begin[i], data...)
	first := c.begin[i]
	server := c.ends[1].Port()
	service := d.service(server)
	if d.speaksSIP(&c.pair, first) {
		d.becomes(c, sipMessages)
		return
	}
	if !service && !d.ours(c.macs[0]) {
		c.protocol = foreign
		c.begin = [2][]byte{}
		return
	}
	p := sniff(first, i == 0)
	if p == foreign && service {
		// What comes to a service port is read, if only to report that it is
		// garbage.
		p = plainHTTP
		if slices.Contains(d.ports.HTTPS, server) {
			p = tlsRecords
		}
	}
	if p != unknown {
		d.becomes(c, p)
	}
}

// becomes settles what a connection carries, and hands over what came before that
// was known.
func (d *tcpDecoder) becomes(c *conn, p protocol) {
	c.protocol = p
	switch p {
	case plainHTTP:
		c.content = &httpConn{c: &c.pair}
	case tlsRecords:
		c.content = &tlsConn{c: &c.pair}
	case sipMessages:
		c.content = &sipConn{c: &c.pair}
	case unknown, foreign:
	}
	begin := c.begin
	c.begin = [2][]byte{}
	for j := range c.dir {
		if c.dir[j].torn {
			d.lose(c, j, 0)
		}
	}
	for j := range begin {
		if len(begin[j]) > 0 {
			d.hand(c, j, begin[j])
		}
	}
}

// sniff recognises a protocol by the first bytes of one direction; unknown means
// that more are needed.
func sniff(b []byte, client bool) protocol {
	const enough = 16
	switch {
	case len(b) == 0:
		return unknown
	case b[0] >= 20 && b[0] <= 23:
		if len(b) < 2 {
			return unknown
		}
		if b[1] == 3 {
			return tlsRecords
		}
		return foreign
	case b[0]&0x80 != 0 && client:
		if len(b) < 5 {
			return unknown
		}
		if isSSLv2Hello(b) {
			return tlsRecords
		}
		return foreign
	case client:
		for k, ch := range b {
			if ch == ' ' && k >= 3 {
				return plainHTTP
			}
			if (ch < 'A' || ch > 'Z') && ch != '-' || k >= enough {
				return foreign
			}
		}
		return unknown
	}
	const start = "HTTP/"
	n := min(len(b), len(start))
	switch {
	case string(b[:n]) != start[:n]:
		return foreign
	case n < len(start):
		return unknown
	}
	return plainHTTP
}

package tftpd

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// packet is an OACK (number 0) or a DATA packet.
type packet struct {
	n       int
	b       []byte
	changed bool // the data is not the file's
}

// latePacket is one whose time has not come.
type latePacket struct {
	packet
	at time.Time
}

func (p packet) message() string {
	if p.n == 0 {
		return "OACK"
	}
	return "DATA"
}

// payload is the data, or the options.
func (p packet) payload() []byte {
	if p.n == 0 {
		return p.b[2:]
	}
	return p.b[4:]
}

// clone is a packet to keep or to change: the one it was made of lives in the
// transfer's buffer.
func (p packet) clone() packet {
	p.b = bytes.Clone(p.b)
	return p
}

// packet builds packet n in the transfer's buffer.
func (t *transfer) packet(n int) packet {
	if n == 0 {
		return packet{b: t.oack}
	}
	from := (n - 1) * t.terms.blockSize
	size := min(t.terms.blockSize, max(len(t.content)-from, 0))
	if t.whole > 0 {
		size = t.terms.blockSize
	}
	b := t.buf[:4+size]
	b[0], b[1] = 0, opData
	binary.BigEndian.PutUint16(b[2:], t.number(n))
	t.read(b[4:], from)
	return packet{n: n, b: b}
}

// read copies the content from an offset on, from its beginning again where it
// is to have no end.
func (t *transfer) read(b []byte, from int) {
	if from < len(t.content) {
		b = b[copy(b, t.content[from:]):]
		from = len(t.content)
	}
	if len(t.content) == 0 {
		clear(b)
		return
	}
	for len(b) > 0 {
		k := copy(b, t.content[from%len(t.content):])
		b, from = b[k:], from+k
	}
}

// number is that of block n on the wire.
func (t *transfer) number(n int) uint16 {
	if t.toOne && n > 65535 {
		return uint16((n-1)%65535 + 1)
	}
	return uint16(n) //nolint:gosec // wraps to 0 past 65535, as clients expect
}

// dispatch sends a packet from the transfer's own port, and after it those of
// other numbers that were held back until then.
func (t *transfer) dispatch(p packet) {
	t.goesOut(p)
	if len(t.swapped) == 0 {
		return
	}
	held := t.swapped
	t.swapped = nil
	for _, q := range held {
		if q.n == p.n {
			t.swapped = append(t.swapped, q)
			continue
		}
		t.goesOut(q)
	}
}

// goesOut sends a packet and keeps account of what is not the file's: the first
// of a block counts, as it does for a client that gets it.
func (t *transfer) goesOut(p packet) {
	if p.n > t.highest {
		t.highest = p.n
		if p.changed {
			if t.altered == nil {
				t.altered = map[int][]byte{}
			}
			t.altered[p.n] = p.payload()
		}
	}
	t.write(p.b, t.peer)
}

// postpone keeps a packet until its time has come.
func (t *transfer) postpone(p packet, at time.Time) {
	t.late = append(t.late, latePacket{p.clone(), at})
	slices.SortStableFunc(t.late, func(a, b latePacket) int { return a.at.Compare(b.at) })
}

// due sends the late packets whose time has come, and returns when the next one
// is due, or the deadline if that is sooner.
func (t *transfer) due(deadline time.Time) time.Time {
	for len(t.late) > 0 {
		next := t.late[0]
		if time.Now().Before(next.at) {
			if deadline.IsZero() || next.at.Before(deadline) {
				return next.at
			}
			break
		}
		t.late = t.late[1:]
		t.dispatch(next.packet)
	}
	return deadline
}

// write sends a packet. One that cannot be sent is like one lost on the way (a
// cable that is out for a second is not the end): it is sent again in time.
func (t *transfer) write(pkt []byte, to netip.AddrPort) {
	if _, t.lastWrite = t.sock.WriteFromTo(pkt, netip.AddrPort{}, to); t.lastWrite != nil {
		t.odd(to, opName(binary.BigEndian.Uint16(pkt)), "not sent: "+t.lastWrite.Error())
	}
}

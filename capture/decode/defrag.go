package decode

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Bounds of what is held of datagrams that are not complete (RFC 791 advises a
// timer of 15 s at least; Linux takes 30 s).
const (
	maxDatagrams = 64
	maxPieces    = 64 << 10 / 8
	maxHeld      = 4 << 20
	pieceTimeout = 30 * time.Second
	maxDatagram  = 64<<10 - 1
)

type pieceKey struct {
	src, dst netip.Addr
	protocol byte
	id       uint16
}

type datagram struct {
	began  time.Time
	order  uint64
	pieces []piece // by offset, not overlapping
	total  int     // -1 until the last piece is there
	bytes  int
}

type piece struct {
	offset int
	data   []byte
}

// defragmenter puts IPv4 datagrams together.
type defragmenter struct {
	open  map[pieceKey]*datagram
	held  int
	order uint64
}

// add takes a piece and returns the whole datagram's payload once it is there.
// Where pieces overlap with other data the datagram is given up.
func (f *defragmenter) add(key pieceKey, offset int, more bool, data []byte, at time.Time) ([]byte, error) {
	if offset+len(data) > maxDatagram {
		return nil, errors.New("IPv4 fragment past the end of a datagram")
	}
	if more && (len(data)%8 != 0 || len(data) == 0) {
		return nil, errors.New("IPv4 fragment of odd length")
	}
	if f.open == nil {
		f.open = map[pieceKey]*datagram{}
	}
	for k, g := range f.open {
		if at.Sub(g.began) > pieceTimeout {
			f.drop(k)
		}
	}
	g := f.open[key]
	if g == nil {
		f.order++
		g = &datagram{began: at, order: f.order, total: -1}
		f.open[key] = g
	}
	end := offset + len(data)
	if !more {
		if g.total >= 0 && g.total != end {
			f.drop(key)
			return nil, errors.New("IPv4 fragments disagree on the length")
		}
		g.total = end
	}
	i, dup := slices.BinarySearchFunc(g.pieces, offset, func(p piece, o int) int { return p.offset - o })
	if dup && len(g.pieces[i].data) == len(data) {
		return nil, nil // sent twice
	}
	if i > 0 && g.pieces[i-1].offset+len(g.pieces[i-1].data) > offset ||
		i < len(g.pieces) && end > g.pieces[i].offset {
		f.drop(key)
		return nil, errors.New("IPv4 fragments overlap")
	}
	g.pieces = slices.Insert(g.pieces, i, piece{offset, slices.Clone(data)})
	g.bytes += len(data)
	f.held += len(data)
	if g.total >= 0 && g.bytes == g.total {
		whole := make([]byte, 0, g.total)
		for _, p := range g.pieces {
			whole = append(whole, p.data...)
		}
		f.drop(key)
		return whole, nil
	}
	for len(f.open) > maxDatagrams || f.held > maxHeld || len(g.pieces) > maxPieces {
		f.dropOldest()
		if f.open[key] == nil {
			break
		}
	}
	return nil, nil
}

func (f *defragmenter) drop(key pieceKey) {
	f.held -= f.open[key].bytes
	delete(f.open, key)
}

func (f *defragmenter) dropOldest() {
	var oldest pieceKey
	least := uint64(1<<64 - 1)
	for k, g := range f.open {
		if g.order < least {
			oldest, least = k, g.order
		}
	}
	f.drop(oldest)
}

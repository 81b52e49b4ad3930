package tftpd

import (
	"encoding/binary"
	"fmt"
)

// BlockNumber sends a DATA packet with the number of another block: By later,
// or earlier if By is negative. It wraps.
type BlockNumber struct{ By int }

func (e BlockNumber) String() string {
	if e.By < 0 {
		return fmt.Sprintf("numbers it %d too low", -e.By)
	}
	return fmt.Sprintf("numbers it %d too high", e.By)
}

func (e BlockNumber) check() error {
	if e.By == 0 || e.By < -65535 || e.By > 65535 {
		return fmt.Errorf("tftpd cannot misnumber a block by %d: 1 to 65535, or below 0", e.By)
	}
	return nil
}

func (BlockNumber) fits(at stand) bool { return at.message == "DATA" }

func (e BlockNumber) act(t *transfer, p packet) {
	p = p.clone()
	binary.BigEndian.PutUint16(p.b[2:], binary.BigEndian.Uint16(p.b[2:])+uint16(e.By)) //nolint:gosec // wraps as told
	t.write(p.b, t.peer)
}

// WrapToOne counts on from block 65535 to 1 instead of 0, as some servers do
// (no RFC says which). It fires before block 65536 and holds to the end of the
// transfer.
type WrapToOne struct{}

func (WrapToOne) String() string { return "counts on from block 65535 to 1" }

func (WrapToOne) fits(at stand) bool { return at.message == "DATA" && at.n > 65535 && !at.wrapped }

func (WrapToOne) act(t *transfer, p packet) {
	t.toOne = true
	binary.BigEndian.PutUint16(p.b[2:], t.number(p.n))
	t.dispatch(p)
}

// OmitLast never sends the last block, which tells the client that the file is
// at its end: the short one, or the empty one after a whole block. The
// transfer falls silent there.
type OmitLast struct{}

func (OmitLast) String() string { return "never sends the last block" }

func (OmitLast) fits(at stand) bool { return at.message == "DATA" && at.last }

func (OmitLast) end(t *transfer, p packet) *ending {
	return &ending{reason: t.name(p.n) + ": not sent, as told", silent: true}
}

// Endless does not let the file end: where its last block should come, whole
// ones go on with its content from the beginning (zeros for an empty file).
// After Bytes more than the file has, rounded up to a whole block, the
// transfer falls silent.
type Endless struct{ Bytes int64 }

func (e Endless) String() string { return fmt.Sprintf("does not end for %d bytes more", e.Bytes) }

func (e Endless) check() error {
	if e.Bytes < 1 || e.Bytes > maxEndless {
		return fmt.Errorf("tftpd cannot go on for %d bytes: 1 to %d", e.Bytes, int64(maxEndless))
	}
	return nil
}

func (Endless) fits(at stand) bool { return at.message == "DATA" && at.last }

func (e Endless) end(t *transfer, p packet) *ending {
	size := int64(t.terms.blockSize)
	t.whole = int((int64(len(t.content)) + e.Bytes + size - 1) / size)
	t.blocks = t.whole + 1
	t.buf = make([]byte, 4+t.terms.blockSize)
	return t.emit(p.n)
}

// Careless makes the server of this transfer answer each ACK, also one that it
// had before, by sending the next block: the sorcerer's apprentice of RFC 1123
// section 4.2.3.1. With a client that acknowledges a block twice, every packet
// is doubled from there on; see Duplicate for something to begin with.
type Careless struct{}

func (Careless) String() string {
	return "answers each ACK with the next block, however often it comes"
}

func (Careless) fits(at stand) bool { return at.begins() }

func (Careless) begin(t *transfer) { t.careless = true }

// maxEndless bounds Endless, in bytes.
const maxEndless = 1 << 32

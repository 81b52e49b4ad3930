package tftpd

import (
	"fmt"
)

// FlipBit turns over one bit of a packet: of a DATA packet's data, or of an
// OACK's options. Byte counts from their beginning, from 0; in a shorter packet
// it is the last one. Bit is 0 (lowest) to 7. The UDP checksum is right.
type FlipBit struct {
	Byte int
	Bit  int
}

func (e FlipBit) String() string { return fmt.Sprintf("flips bit %d of byte %d", e.Bit, e.Byte) }

func (e FlipBit) check() error {
	if e.Byte < 0 || e.Bit < 0 || e.Bit > 7 {
		return fmt.Errorf("tftpd cannot flip bit %d of byte %d", e.Bit, e.Byte)
	}
	return nil
}

func (FlipBit) fits(at stand) bool { return at.packet() && at.payload > 0 }

func (e FlipBit) act(t *transfer, p packet) {
	p = p.clone()
	data := p.payload()
	data[min(e.Byte, len(data)-1)] ^= 1 << e.Bit
	p.changed = true
	t.dispatch(p)
}

// Resize cuts the data of a DATA packet, or the options of an OACK, to so many
// bytes, or fills them up with zeros. A block cut so and acknowledged is the
// last one of the file that was sent, as it is for the client. A last block
// filled up to a whole one leaves the client waiting.
type Resize struct{ To int }

func (e Resize) String() string { return fmt.Sprintf("makes it %d bytes long", e.To) }

func (e Resize) check() error {
	if e.To < 0 || e.To > maxBlockSize {
		return fmt.Errorf("tftpd cannot send %d bytes in a packet: 0 to %d", e.To, maxBlockSize)
	}
	return nil
}

func (e Resize) fits(at stand) bool { return at.packet() && at.payload != e.To }

func (e Resize) act(t *transfer, p packet) {
	head := len(p.b) - len(p.payload())
	b := make([]byte, head+e.To)
	copy(b, p.b)
	t.dispatch(packet{n: p.n, b: b, changed: true})
}

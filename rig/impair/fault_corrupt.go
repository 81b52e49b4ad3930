package impair

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Corrupt turns over one bit of an IPv4 packet; with a Pattern, as Lose has it, of
// those under an x; with Percent, of so many by chance. The checksums are wrong
// then, and whoever receives it throws it away, unless Mend makes them right
// again: then it is a bit of what UDP or TCP carries, and frames that carry
// nothing are spared.
type Corrupt struct {
	Mend    bool
	Pattern string
	Percent float64
	Seed    uint64
}

func (e Corrupt) String() string {
	what := "turns over a bit of it"
	if e.Mend {
		what = "turns over a bit of its payload and mends the checksums"
	}
	switch {
	case e.Pattern != "":
		return fmt.Sprintf("%s by the pattern %s (seed %d)", what, e.Pattern, e.Seed)
	case e.Percent == 0:
		return fmt.Sprintf("%s (seed %d)", what, e.Seed)
	}
	return what + byChance(e.Percent, e.Seed)
}

func (e Corrupt) check() error { return checkWhich("corrupt", e.Pattern, e.Percent) }

func (e Corrupt) seed() uint64 { return e.Seed }

func (Corrupt) rank() int { return between }

// fits spares what has no bit to turn.
func (e Corrupt) fits(frame []byte) bool {
	from, to := e.room(frame)
	return from < to
}

func (e Corrupt) act(j *judgement, st *state) outcome {
	data := j.data
	if data == nil {
		data = j.frame.Data
	}
	// Another rule may have left nothing that can be read.
	if !e.fits(data) || !st.chosen(e.Pattern, e.Percent) {
		return outcome{}
	}
	j.data = e.spoil(st, data)
	return did(Altered)
}

// room is the part of an IPv4 packet in which a bit may be turned over.
func (e Corrupt) room(frame []byte) (from, to int) {
	p, ok := parse(frame)
	switch {
	case !ok:
		return 0, 0
	case e.Mend:
		return p.payload()
	}
	return 0, len(p.ip)
}

// spoil returns the frame with one bit turned over.
func (e Corrupt) spoil(st *state, frame []byte) []byte {
	from, to := e.room(frame)
	out := slices.Clone(frame)
	bit := st.rng.IntN((to - from) * 8)
	out[ethernetLen+from+bit/8] ^= 1 << (bit % 8)
	if p, ok := parse(out); ok && e.Mend { // its header is as it was
		p.mend()
	}
	return out
}

// mend makes the checksum of UDP or TCP right; one that UDP does without stays
// away.
func (p packet) mend() {
	b := p.body()
	at := 16
	if p.protocol == protoUDP {
		if at = 6; binary.BigEndian.Uint16(b[at:]) == 0 {
			return
		}
	}
	binary.BigEndian.PutUint16(b[at:], 0)
	sum := uint32(p.protocol) + uint32(len(b)) //nolint:gosec // an IP packet has at most 65535 bytes
	for _, part := range [][]byte{p.ip[12:20], b} {
		for len(part) > 1 {
			sum += uint32(binary.BigEndian.Uint16(part))
			part = part[2:]
		}
		if len(part) == 1 {
			sum += uint32(part[0]) << 8
		}
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	got := ^uint16(sum)
	if got == 0 && p.protocol == protoUDP {
		got = 0xffff // RFC 768: 0 is none
	}
	binary.BigEndian.PutUint16(b[at:], got)
}

package pcap

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"
)

// Reader reads the frames of a capture file.
type Reader struct {
	in    *bufio.Reader
	order binary.ByteOrder
	// next reads one frame of the format that the file has.
	next func() (Packet, error)

	number      int
	last        time.Time
	application string
	snap        int // the longest part of a frame that the file keeps; 0: unknown

	// Of pcap.
	link  LinkType
	nano  bool
	extra int // bytes of a record's header beyond the usual 16

	// Of pcapng.
	body       []byte
	offset     int64 // of the block being read, in bytes from the start of the file
	interfaces []description
}

// description is what an Interface Description Block says.
type description struct {
	link    LinkType
	snap    uint32
	perSec  uint64 // ticks a second
	seconds int64  // to add
}

// NewReader reads the head of a capture. A format that is known but not read is
// an error that names it, and the command that converts it.
func NewReader(r io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	magic, err := in.Peek(4)
	if err != nil {
		return nil, ended(err)
	}
	if magic[0] == 0x1f && magic[1] == 0x8b {
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", ended(err))
		}
		in = bufio.NewReaderSize(unzipped, 64<<10)
		if magic, err = in.Peek(4); err != nil {
			return nil, ended(err)
		}
	}
	rd := &Reader{in: in}
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		rd.next = rd.nextBlock
		return rd, rd.section()
	}
	rd.next = rd.nextRecord
	return rd, rd.pcapHeader(magic)
}

// Next returns the next frame; its data and comments are valid until the call
// after it. The error is io.EOF at the end, ErrTruncated where the file is cut
// off, or says what is wrong with the file and after which frame.
func (r *Reader) Next() (Packet, error) {
	p, err := r.next()
	switch {
	case err == nil:
		r.number++
		p.Number = r.number
		r.last = p.At
		return p, nil
	case errors.Is(err, io.EOF):
		return p, err
	}
	return p, fmt.Errorf("after frame %d: %w", r.number, err)
}

// Application is the program that wrote the section being read, as its header
// names it; empty in pcap.
func (r *Reader) Application() string { return r.application }

// foreign names formats that are known and not read.
func foreign(magic []byte) error {
	const convert = "convert it: editcap -F pcapng FILE FILE.pcapng"
	for _, f := range []struct{ begins, what string }{
		{"snoo", "a Sun snoop file; " + convert},
		{"GMBU", "a Microsoft Network Monitor file; " + convert},
		{"RTSS", "a Microsoft Network Monitor file; " + convert},
		{"TRSN", "a Sniffer file; " + convert},
		{"\x28\xb5\x2f\xfd", "compressed with zstd; decompress it: zstd -d FILE"},
		{"\x04\x22\x4d\x18", "compressed with lz4; decompress it: lz4 -d FILE"},
		{"\xfd7zX", "compressed with xz; decompress it: xz -d FILE"},
		{"BZh", "compressed with bzip2; decompress it: bzip2 -d FILE"},
		{"PK\x03\x04", "a zip archive; unpack it: unzip FILE"},
	} {
		if bytes.HasPrefix(magic, []byte(f.begins)) {
			return fmt.Errorf("it is %s", f.what)
		}
	}
	return fmt.Errorf("it is no capture: it begins with % x, as neither pcap nor pcapng does", magic)
}

// full reads len(b) bytes; a file that ends before them is cut off.
func (r *Reader) full(b []byte) error {
	_, err := io.ReadFull(r.in, b)
	return ended(err)
}

func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

// The magic numbers of pcap as the writer's byte order gives them: microseconds,
// nanoseconds, and microseconds with the longer record header that old Linux
// distributions wrote.
const (
	magicMicro = 0xa1b2c3d4
	magicNano  = 0xa1b23c4d
	magicLong  = 0xa1b2cd34
)

func (r *Reader) pcapHeader(magic []byte) error {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(magic) {
		case magicMicro:
		case magicNano:
			r.nano = true
		case magicLong:
			r.extra = 8
		default:
			continue
		}
		r.order = order
	}
	if r.order == nil {
		return foreign(magic)
	}
	var h [24]byte
	if err := r.full(h[:]); err != nil {
		return err
	}
	if major := r.order.Uint16(h[4:]); major != 2 {
		return fmt.Errorf("pcap version %d.%d is not read, only 2.x", major, r.order.Uint16(h[6:]))
	}
	r.snap = int(r.order.Uint32(h[16:]))
	// The upper half holds the length of a frame check sequence.
	r.link = LinkType(r.order.Uint32(h[20:])) //nolint:gosec // G115: the lower half is meant
	return nil
}

func (r *Reader) nextRecord() (Packet, error) {
	var h [24]byte
	if _, err := io.ReadFull(r.in, h[:16+r.extra]); err != nil {
		if errors.Is(err, io.EOF) {
			return Packet{}, io.EOF
		}
		return Packet{}, ended(err)
	}
	fraction := int64(r.order.Uint32(h[4:]))
	if !r.nano {
		fraction *= int64(time.Microsecond)
	}
	n := r.order.Uint32(h[8:])
	data, err := r.frame(n)
	if err != nil {
		return Packet{}, err
	}
	return Packet{
		Link: r.link, At: time.Unix(int64(r.order.Uint32(h[0:])), fraction).UTC(), Data: data,
		Length: max(int(r.order.Uint32(h[12:])), len(data)), BigEndian: r.order == binary.BigEndian,
	}, nil
}

// frame reads n bytes.
func (r *Reader) frame(n uint32) ([]byte, error) {
	if n > maxFrame {
		return nil, fmt.Errorf("the next frame claims %d bytes: the file is damaged there", n)
	}
	return r.bytes(int(n))
}

// bytes reads n bytes into the reader's buffer.
func (r *Reader) bytes(n int) ([]byte, error) {
	if cap(r.body) < n {
		r.body = make([]byte, n, max(n, 4<<10))
	}
	r.body = r.body[:n]
	return r.body, r.full(r.body)
}

// The block types of pcapng.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6
	blockSecrets   = 10

	byteOrderMagic = 0x1a2b3c4d
	// maxBlock is the longest block that is believed, in bytes: room for a frame
	// with its comments. A longer block of another type is skipped.
	maxBlock = 16 << 20
)

// Options of pcapng blocks.
const (
	optEnd         = 0
	optComment     = 1
	optApplication = 4  // of a section
	optResolution  = 9  // of an interface
	optOffset      = 14 // of an interface
	optFlags       = 2  // of a frame
)

// nextBlock reads blocks up to the next frame.
func (r *Reader) nextBlock() (Packet, error) {
	for {
		var h [8]byte
		if magic, err := r.in.Peek(4); err == nil && binary.LittleEndian.Uint32(magic) == blockSection {
			if err := r.section(); err != nil {
				return Packet{}, err
			}
			continue
		}
		if n, err := io.ReadFull(r.in, h[:]); err != nil {
			if n == 0 && errors.Is(err, io.EOF) {
				return Packet{}, io.EOF
			}
			return Packet{}, ended(err)
		}
		kind, total := r.order.Uint32(h[0:]), r.order.Uint32(h[4:])
		body, err := r.block(kind, total, 8)
		if err != nil {
			return Packet{}, err
		}
		if body == nil {
			continue
		}
		switch kind {
		case blockInterface:
			if err := r.describe(body); err != nil {
				return Packet{}, err
			}
		case blockEnhanced:
			return r.enhanced(body)
		case blockPacket:
			return r.obsolete(body)
		case blockSimple:
			return r.simple(body)
		}
	}
}

// block reads the rest of a block of which read bytes were, and checks the length
// at its end. It is nil for a block that needs not be read.
func (r *Reader) block(kind, total uint32, read int) ([]byte, error) {
	at := r.offset
	r.offset += int64(total)
	if total < uint32(read)+4 || total%4 != 0 { //nolint:gosec // G115: a small constant
		return nil, fmt.Errorf("the block at byte %d claims a length of %d bytes: the file is damaged there", at, total)
	}
	rest := int(total) - read
	var trailer []byte
	var body []byte
	switch kind {
	case blockSection, blockInterface, blockEnhanced, blockPacket, blockSimple:
		if rest > maxBlock {
			return nil, fmt.Errorf("the block at byte %d claims a length of %d bytes: the file is damaged there", at, total)
		}
		b, err := r.bytes(rest)
		if err != nil {
			return nil, err
		}
		body, trailer = b[:rest-4:rest-4], b[rest-4:]
	default:
		if _, err := io.CopyN(io.Discard, r.in, int64(rest-4)); err != nil {
			return nil, ended(err)
		}
		var end [4]byte
		if err := r.full(end[:]); err != nil {
			return nil, err
		}
		trailer = end[:]
	}
	if got := r.order.Uint32(trailer); got != total {
		return nil, fmt.Errorf("the block at byte %d has two lengths, %d and %d: the file is damaged there", at, total, got)
	}
	return body, nil
}

// section reads a Section Header Block; from there on its byte order and its
// interfaces hold.
func (r *Reader) section() error {
	var h [12]byte
	if err := r.full(h[:]); err != nil {
		return err
	}
	switch {
	case binary.LittleEndian.Uint32(h[8:]) == byteOrderMagic:
		r.order = binary.LittleEndian
	case binary.BigEndian.Uint32(h[8:]) == byteOrderMagic:
		r.order = binary.BigEndian
	default:
		return fmt.Errorf("the section at byte %d has no byte order: the file is damaged there", r.offset)
	}
	body, err := r.block(blockSection, r.order.Uint32(h[4:]), len(h))
	if err != nil {
		return err
	}
	if len(body) < 12 {
		return errors.New("a section header is too short: the file is damaged there")
	}
	if major := r.order.Uint16(body); major != 1 {
		return fmt.Errorf("pcapng version %d is not read, only 1", major)
	}
	r.interfaces, r.application = nil, ""
	return r.options(body[12:], func(code uint16, v []byte) {
		if code == optApplication {
			r.application = string(v)
		}
	})
}

// options calls fn for each option of a block.
func (r *Reader) options(b []byte, fn func(code uint16, value []byte)) error {
	for len(b) >= 4 {
		code, n := r.order.Uint16(b), int(r.order.Uint16(b[2:]))
		if code == optEnd {
			return nil
		}
		b = b[4:]
		padded := (n + 3) &^ 3
		if padded > len(b) {
			return fmt.Errorf("option %d of a block is longer than the block: the file is damaged there", code)
		}
		fn(code, b[:n])
		b = b[padded:]
	}
	return nil
}

func (r *Reader) describe(b []byte) error {
	if len(b) < 8 {
		return errors.New("the description of an interface is too short: the file is damaged there")
	}
	d := description{link: LinkType(r.order.Uint16(b)), snap: r.order.Uint32(b[4:]), perSec: 1e6}
	err := r.options(b[8:], func(code uint16, v []byte) {
		switch {
		case code == optResolution && len(v) > 0:
			d.perSec = ticks(v[0])
		case code == optOffset && len(v) == 8:
			d.seconds = int64(r.order.Uint64(v)) //nolint:gosec // G115: signed in the format
		}
	})
	if err == nil && d.perSec == 0 {
		err = errors.New("an interface counts time in units that are finer than 64 bits can hold")
	}
	r.interfaces = append(r.interfaces, d)
	return err
}

// ticks is how many units of time a second has: the option says a power of ten,
// or of two where its highest bit is set. It is 0 where 64 bits do not hold it.
func ticks(resolution byte) uint64 {
	exponent := resolution & 0x7f
	if resolution&0x80 != 0 {
		if exponent > 63 {
			return 0
		}
		return 1 << exponent
	}
	if exponent > 19 {
		return 0
	}
	n := uint64(1)
	for range exponent {
		n *= 10
	}
	return n
}

// time is the moment of a stamp in the interface's units.
func (d description) time(high, low uint32) time.Time {
	stamp := uint64(high)<<32 | uint64(low)
	whole, part := stamp/d.perSec, stamp%d.perSec
	hi, lo := bits.Mul64(part, 1e9)
	nanos, _ := bits.Div64(hi, lo, d.perSec)
	return time.Unix(int64(whole)+d.seconds, int64(nanos)).UTC() //nolint:gosec // G115: nanoseconds of a second; a senseless time stays one
}

func (r *Reader) enhanced(b []byte) (Packet, error) {
	if len(b) < 20 {
		return Packet{}, errors.New("a packet block is too short: the file is damaged there")
	}
	return r.packet(b[20:], r.order.Uint32(b), r.order.Uint32(b[4:]), r.order.Uint32(b[8:]), r.order.Uint32(b[12:]), r.order.Uint32(b[16:]))
}

// obsolete reads a Packet Block of the first drafts: the interface has 16 bits,
// and a count of drops stands beside it.
func (r *Reader) obsolete(b []byte) (Packet, error) {
	if len(b) < 20 {
		return Packet{}, errors.New("a packet block is too short: the file is damaged there")
	}
	return r.packet(b[20:], uint32(r.order.Uint16(b)), r.order.Uint32(b[4:]), r.order.Uint32(b[8:]), r.order.Uint32(b[12:]), r.order.Uint32(b[16:]))
}

func (r *Reader) packet(b []byte, number, high, low, kept, length uint32) (Packet, error) {
	if int64(number) >= int64(len(r.interfaces)) {
		return Packet{}, fmt.Errorf("the next frame names interface %d, and the section describes %d: the file is damaged there", number, len(r.interfaces))
	}
	if int64(kept) > int64(len(b)) || kept > maxFrame {
		return Packet{}, fmt.Errorf("the next frame claims %d bytes: the file is damaged there", kept)
	}
	d := r.interfaces[number]
	p := Packet{
		Interface: int(number), Link: d.link, At: d.time(high, low), Data: b[:kept:kept], Length: max(int(length), int(kept)),
		BigEndian: r.order == binary.BigEndian,
	}
	options := b[min((int(kept)+3)&^3, len(b)):]
	if len(options) == 0 {
		return p, nil
	}
	return p, r.options(options, func(code uint16, v []byte) {
		switch {
		case code == optComment:
			p.Comments = append(p.Comments, string(v))
		case code == optFlags && len(v) == 4:
			p.Direction = Direction(r.order.Uint32(v) & 3)
		}
	})
}

func (r *Reader) simple(b []byte) (Packet, error) {
	if len(b) < 4 || len(r.interfaces) == 0 {
		return Packet{}, errors.New("a simple packet block has no interface or no length: the file is damaged there")
	}
	d, length := r.interfaces[0], int(r.order.Uint32(b))
	kept := min(length, len(b)-4)
	if d.snap > 0 {
		kept = min(kept, int(d.snap))
	}
	if kept > maxFrame {
		return Packet{}, fmt.Errorf("the next frame claims %d bytes: the file is damaged there", kept)
	}
	return Packet{Link: d.link, At: r.last, Data: b[4 : 4+kept], Length: max(length, kept), BigEndian: r.order == binary.BigEndian}, nil
}

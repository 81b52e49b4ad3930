package pcap

import (
	"encoding/binary"
)

// Interface is one interface of a capture that is written. Stamps are in
// nanoseconds.
type Interface struct {
	Name string
	Link LinkType
}

// AppendSection appends a Section Header Block that names the application, and the
// description of each interface, in little-endian order.
func AppendSection(b []byte, application string, interfaces ...Interface) []byte {
	b, begin := open(b, blockSection)
	b = binary.LittleEndian.AppendUint32(b, byteOrderMagic)
	b = binary.LittleEndian.AppendUint16(b, 1) // version 1.0
	b = binary.LittleEndian.AppendUint16(b, 0)
	b = binary.LittleEndian.AppendUint64(b, 1<<64-1) // the section's length is not known
	b = appendOption(b, optApplication, application)
	b = shut(binary.LittleEndian.AppendUint32(b, optEnd), begin)
	for _, i := range interfaces {
		b, begin = open(b, blockInterface)
		b = binary.LittleEndian.AppendUint16(b, uint16(i.Link))
		b = binary.LittleEndian.AppendUint16(b, 0)
		b = binary.LittleEndian.AppendUint32(b, 0) // no snap length
		b = appendOption(b, optName, i.Name)
		b = appendOption(b, optResolution, "\x09") // 10^-9 s
		b = shut(binary.LittleEndian.AppendUint32(b, optEnd), begin)
	}
	return b
}

// AppendTLSSecrets appends a Decryption Secrets Block with lines of an SSLKEYLOGFILE.
func AppendTLSSecrets(b, lines []byte) []byte {
	const tlsKeyLog = 0x544c534b
	b, begin := open(b, blockSecrets)
	b = binary.LittleEndian.AppendUint32(b, tlsKeyLog)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(lines))) //nolint:gosec // G115: a key log of 4 GiB is none
	return shut(pad(append(b, lines...)), begin)
}

// AppendPacket appends an Enhanced Packet Block. Its number and link type do not
// stand in it: a reader counts, and the interface says the type. A comment must be
// shorter than 64 KiB.
func AppendPacket(b []byte, p Packet) []byte {
	b, begin := open(b, blockEnhanced)
	stamp := uint64(p.At.UnixNano())
	b = binary.LittleEndian.AppendUint32(b, uint32(p.Interface)) //nolint:gosec // G115: a small number
	b = binary.LittleEndian.AppendUint32(b, uint32(stamp>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(stamp))                      //nolint:gosec // G115: the lower half is meant
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Data)))                //nolint:gosec // G115: a frame
	b = binary.LittleEndian.AppendUint32(b, uint32(max(p.Length, len(p.Data)))) //nolint:gosec // G115: a frame
	b = pad(append(b, p.Data...))
	if p.Direction == Unknown && len(p.Comments) == 0 {
		return shut(b, begin)
	}
	for _, c := range p.Comments {
		b = appendOption(b, optComment, c)
	}
	if p.Direction != Unknown {
		b = appendOption(b, optFlags, string([]byte{byte(p.Direction), 0, 0, 0}))
	}
	return shut(binary.LittleEndian.AppendUint32(b, optEnd), begin)
}

// optName is if_name.
const optName = 2

// open appends the head of a block; begin is where it stands in b.
func open(b []byte, kind uint32) (_ []byte, begin int) {
	begin = len(b)
	b = binary.LittleEndian.AppendUint32(b, kind)
	return binary.LittleEndian.AppendUint32(b, 0), begin
}

// shut puts the length of a block in its head and at its end.
func shut(b []byte, begin int) []byte {
	n := uint32(len(b) - begin + 4) //nolint:gosec // G115: a block in memory
	binary.LittleEndian.PutUint32(b[begin+4:], n)
	return binary.LittleEndian.AppendUint32(b, n)
}

func appendOption(b []byte, code uint16, value string) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value))) //nolint:gosec // G115: the caller's promise
	return pad(append(b, value...))
}

// pad appends zeros up to a multiple of four. All blocks are such multiples, so
// that the length of b says where the next one begins.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

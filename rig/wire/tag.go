package wire

import "encoding/binary"

// Sizes and types of Ethernet headers, in bytes (IEEE 802.3, 802.1Q).
const (
	addrLen   = 6
	headerLen = 2*addrLen + 2
	tagLen    = 4
	vlanType  = 0x8100
	vlanMask  = 0x0fff // the VLAN identifier within a tag's control information
	maxVLAN   = 4094
)

// mac is a MAC address as a map key.
type mac [addrLen]byte

func dstOf(data []byte) mac { return mac(data[:addrLen]) }
func srcOf(data []byte) mac { return mac(data[addrLen : 2*addrLen]) }

// group tells broadcast and multicast addresses.
func (m mac) group() bool { return m[0]&1 == 1 }

// tagOf returns the tag control information of data's outermost 802.1Q tag.
// data is at least headerLen long.
func tagOf(data []byte) (tci uint16, tagged bool) {
	if len(data) < headerLen+tagLen || binary.BigEndian.Uint16(data[2*addrLen:]) != vlanType {
		return 0, false
	}
	return binary.BigEndian.Uint16(data[2*addrLen+2:]), true
}

// appendTagged appends the untagged frame data with a tag to buf.
func appendTagged(buf, data []byte, tci uint16) []byte {
	buf = append(buf, data[:2*addrLen]...)
	buf = binary.BigEndian.AppendUint16(buf, vlanType)
	buf = binary.BigEndian.AppendUint16(buf, tci)
	return append(buf, data[2*addrLen:]...)
}

// appendUntagged appends the tagged frame data without its outermost tag.
func appendUntagged(buf, data []byte) []byte {
	buf = append(buf, data[:2*addrLen]...)
	return append(buf, data[2*addrLen+tagLen:]...)
}

// stripTag removes the outermost tag of data, which it owns, by moving the
// addresses: the payload stays where it is.
func stripTag(data []byte) []byte {
	copy(data[tagLen:], data[:2*addrLen])
	return data[tagLen:]
}

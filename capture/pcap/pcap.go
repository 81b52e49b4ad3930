// Package pcap reads capture files of any program (pcapng and pcap, compressed
// with gzip or not) and writes the pcapng files of this one. It is a codec of its
// own because the ones that exist give up a file at the first interface, section
// or block that they do not know, and a capture from the field has all of these.
//
// The formats: draft-ietf-opsawg-pcapng and draft-ietf-opsawg-pcap. Numbers of
// frames are Wireshark's: they count from 1 over all sections and interfaces.
package pcap

import (
	"errors"
	"fmt"
	"time"
)

// LinkType says what a frame begins with: a value of the LINKTYPE_ registry of
// the tcpdump group.
type LinkType uint16

// The link types that can be read, and the one of the rig's own notes.
const (
	Null      LinkType = 0   // BSD loopback, the family in the writer's byte order
	Ethernet  LinkType = 1   // IEEE 802.3
	Raw       LinkType = 101 // IPv4 or IPv6 without a link layer
	Loop      LinkType = 108 // OpenBSD loopback, the family in network byte order
	LinuxSLL  LinkType = 113 // Linux cooked capture
	User0     LinkType = 147 // private use: the notes of older recordings
	IPv4      LinkType = 228 // IPv4 without a link layer
	IPv6      LinkType = 229 // IPv6 without a link layer
	LinuxSLL2 LinkType = 276 // Linux cooked capture, version 2
)

// String is the name in the registry, without LINKTYPE_.
func (l LinkType) String() string {
	names := map[LinkType]string{
		Null: "NULL", Ethernet: "ETHERNET", Raw: "RAW", Loop: "LOOP", LinuxSLL: "LINUX_SLL", User0: "USER0",
		IPv4: "IPV4", IPv6: "IPV6", LinuxSLL2: "LINUX_SLL2",
		9: "PPP", 105: "IEEE802_11", 127: "IEEE802_11_RADIOTAP", 187: "BLUETOOTH_HCI_H4", 220: "USB_LINUX_MMAPPED", 189: "USB_LINUX",
		195: "IEEE802_15_4_WITHFCS", 253: "NETLINK",
	}
	if name, ok := names[l]; ok {
		return name
	}
	return fmt.Sprintf("type %d", uint16(l))
}

// Direction is which way a frame crossed its interface, where the file says so.
type Direction uint8

// The directions of the pcapng flags word.
const (
	Unknown  Direction = 0
	Inbound  Direction = 1
	Outbound Direction = 2
)

// Packet is one frame of a capture.
type Packet struct {
	Number    int // from 1, as Wireshark's frame.number
	Interface int // within its section, from 0
	Link      LinkType
	// At is when the frame was captured, in UTC. A simple packet block has no time:
	// it gets that of the frame before it.
	At time.Time
	// Data is what was kept of the frame.
	Data []byte
	// Length is the frame's on the wire in bytes, more than len(Data) where the
	// snap length cut it.
	Length    int
	Direction Direction
	Comments  []string
	// BigEndian: the section was written on a big-endian machine, which matters to
	// the link type Null alone.
	BigEndian bool
}

// ErrTruncated says that a file ends within a block or record: its writer
// was stopped. Everything before that was read.
var ErrTruncated = errors.New("cut off within a block or line")

// maxFrame is the longest frame that is believed, in bytes: the largest snap
// length of tcpdump, and of Wireshark for Ethernet.
const maxFrame = 256 << 10

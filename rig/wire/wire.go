// Package wire carries Ethernet frames between the rig and the handset under
// test. Everything the rig sends or receives is a Frame on a Port, so that the
// services cannot tell a switch in memory from a lab interface, and what is
// tested without hardware is what runs with it.
package wire

import (
	"context"
	"time"
)

// MaxFrame is the longest frame a Port may deliver, in bytes. It is far past
// the MTU because a kernel peer on veth, and GRO on a lab interface, hand over
// super-frames.
const MaxFrame = 64<<10 + 22

// Frame is one Ethernet frame without its check sequence. 802.1Q tags stand in
// place, exactly once, whatever the kernel did with them.
type Frame struct {
	// Data starts at the destination MAC. It belongs to whoever received it.
	Data []byte
	// At is when the frame was on the wire: the kernel's or the switch's stamp
	// of a received frame, a stamp taken just before the write of a sent one.
	At time.Time
	// Number is the frame's number in the recording, from 1; 0 when the frame
	// was not recorded.
	Number int
}

// Port is one end of a cable.
type Port interface {
	// Receive waits for the next frame. It returns ctx's error when ctx ends
	// and net.ErrClosed once the port is closed.
	Receive(ctx context.Context) (Frame, error)
	// Send puts a frame on the wire and does not keep its data. Sending into a
	// cable without link loses the frame silently, as Ethernet does.
	Send(f Frame) error
	// Close is idempotent and wakes a blocked Receive.
	Close() error
}

// Interface numbers of a recording (design: evidence).
const (
	// Cable is what the handset sent and what was really handed to it.
	Cable = 0
	// Host is what the rig's host sent or received wherever an impairment
	// changed that.
	Host = 1
	// Notes holds faults and control actions, as comments; faults of the wire that
	// have a frame are comments on that.
	Notes = 2
)

// Record takes one frame into the recording and returns its number there (from
// 1). iface is Cable, Host or Notes; outbound tells frames that the rig sent
// from those it received. A comment is written with its frame, never later.
// It is safe for concurrent use.
type Record func(iface int, outbound bool, at time.Time, data []byte, comments ...string) (number int)

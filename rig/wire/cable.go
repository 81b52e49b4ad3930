package wire

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// A cable of 100BASE-TX, as desk phones have: what a frame takes on it, and what
// the way and the switch take besides (the latter a guess).
const (
	bytePeriod  = 80 * time.Nanosecond
	leastFrame  = 60 // without its check sequence
	overhead    = 24 // preamble, check sequence, gap between frames, in bytes
	propagation = 5 * time.Microsecond
	// slots are how many ports of a switch have arrival times of their own.
	slots = 64
)

// cable is what a port's frames travel on to a timed switch, one behind the other.
type cable struct {
	slot int

	mu    sync.Mutex
	free  time.Time  // from when on the next frame may begin
	way   []underway // the frames on it, the first to arrive first
	timer *time.Timer
}

// underway is a frame on a cable.
type underway struct {
	data  []byte
	downs uint64
	due   time.Time
}

// send puts a frame on the cable, which is the cable's from now on; arrive gets it
// when it is due.
func (c *cable) send(data []byte, downs uint64, arrive func(data []byte, downs uint64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.way = append(c.way, underway{data, downs, c.due(now, len(data))})
	switch {
	case c.timer == nil:
		// Ends once the frame has arrived.
		c.timer = time.AfterFunc(c.way[0].due.Sub(now), func() { c.deliver(arrive) })
	case len(c.way) == 1:
		c.timer.Reset(c.way[0].due.Sub(now))
	}
}

// deliver hands the frame over that is due.
func (c *cable) deliver(arrive func(data []byte, downs uint64)) {
	c.mu.Lock()
	f := c.way[0]
	if c.way = slices.Delete(c.way, 0, 1); len(c.way) > 0 {
		c.timer.Reset(time.Until(c.way[0].due))
	}
	c.mu.Unlock()
	arrive(f.data, f.downs)
}

// due is when a frame of a length arrives that is sent now. No two frames of a
// cable are due at one instant, nor are those of two ports of one switch: so the
// order in which frames arrive does not hang on the scheduler. The lock is held.
func (c *cable) due(now time.Time, length int) time.Time {
	if c.free.Before(now) {
		c.free = now
	}
	c.free = c.free.Add(time.Duration(max(length, leastFrame)+overhead) * bytePeriod)
	at := c.free.Add(propagation)
	return at.Add(slots - time.Duration(at.UnixNano()%slots) + time.Duration(c.slot))
}

// InOrder returns the port with an order among the frames that are sent at one
// instant: by what they are, TCP segments of one flow by their place in its stream,
// and what is equal in that as it was sent. Two goroutines of a host that send at
// one instant so give the same sequence of frames each time.
// It is for virtual time, in which an instant ends when all goroutines wait; a
// frame leaves a nanosecond later. Closing it closes the port.
func InOrder(p Port) Port { return &ordered{Port: p} }

type ordered struct {
	Port

	mu     sync.Mutex
	frames []Frame
	timer  *time.Timer
	err    error // of the last frame that left
}

// Send implements Port. An error is that of a frame before.
func (o *ordered) Send(f Frame) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(f.Data) < headerLen || len(f.Data) > MaxFrame {
		return sizeError(len(f.Data))
	}
	switch {
	case o.timer == nil:
		// Ends once the frames are handed over.
		o.timer = time.AfterFunc(time.Nanosecond, o.flush)
	case len(o.frames) == 0:
		o.timer.Reset(time.Nanosecond)
	}
	f.Data = slices.Clone(f.Data)
	o.frames = append(o.frames, f)
	err := o.err
	o.err = nil
	return err
}

func (o *ordered) flush() {
	o.mu.Lock()
	frames := o.frames
	o.frames = nil
	o.mu.Unlock()
	if len(frames) > 1 {
		slices.SortStableFunc(frames, func(a, b Frame) int {
			return cmp.Or(bytes.Compare(flow(a.Data), flow(b.Data)), inStream(a.Data, b.Data))
		})
	}
	for _, f := range frames {
		if err := o.Port.Send(f); err != nil {
			o.mu.Lock()
			o.err = err
			o.mu.Unlock()
		}
	}
}

// Receive implements Port.
func (o *ordered) Receive(ctx context.Context) (Frame, error) { return o.Port.Receive(ctx) }

// flow is the part of a frame that all frames of one flow share and that tells
// flows apart: addresses, protocol and ports of IPv4, of anything else all of it.
func flow(data []byte) []byte {
	const ip, etherIPv4 = headerLen, "\x08\x00"
	if len(data) < ip+20 || string(data[2*addrLen:headerLen]) != etherIPv4 {
		return data
	}
	key := append([]byte(etherIPv4), data[ip+9])
	key = append(key, data[ip+12:ip+20]...)
	if end := ip + int(data[ip]&15)*4 + 4; len(data) >= end {
		key = append(key, data[end-4:end]...)
	}
	return key
}

// inStream compares two frames of one flow: TCP segments by sequence number, with
// what only acknowledges before what brings data. Of other protocols all are equal.
func inStream(a, b []byte) int {
	const ip, protoTCP = headerLen, 6
	tcp := ip + 20 // one flow, so it is IPv4 as flow tells; gVisor sends no IP options
	if len(a) < tcp+8 || len(b) < tcp+8 || a[ip] != 0x45 || b[ip] != 0x45 || a[ip+9] != protoTCP {
		return 0
	}
	before := int32(binary.BigEndian.Uint32(a[tcp+4:]) - binary.BigEndian.Uint32(b[tcp+4:])) //nolint:gosec // sequence numbers wrap around (RFC 9293, 3.4)
	return cmp.Or(cmp.Compare(before, 0), cmp.Compare(len(a), len(b)))
}

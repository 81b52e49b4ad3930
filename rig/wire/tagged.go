package wire

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// Tagged is p as a member of one VLAN: frames sent get an 802.1Q tag with vlan
// and priority (0 to 7), frames received lose theirs. Frames of another VLAN,
// and untagged ones, are dropped; the dynamic type is *TaggedPort, which counts
// them. With vlan 0 frames go priority-tagged, and only such are received. It
// panics on a VLAN beyond 4094 and a priority beyond 7.
func Tagged(p Port, vlan uint16, priority uint8) Port {
	if vlan > maxVLAN || priority > 7 {
		panic(fmt.Sprintf("wire: tag with vlan %d and priority %d: must be at most %d and 7", vlan, priority, maxVLAN))
	}
	return &TaggedPort{port: p, tci: uint16(priority)<<13 | vlan}
}

// TaggedPort is a Port that Tagged has made.
type TaggedPort struct {
	port    Port
	tci     uint16
	foreign atomic.Uint64
	buffers sync.Pool // of *[]byte, for frames being sent
}

var _ Port = (*TaggedPort)(nil)

// Receive implements Port.
func (p *TaggedPort) Receive(ctx context.Context) (Frame, error) {
	for {
		f, err := p.port.Receive(ctx)
		if err != nil {
			return Frame{}, err
		}
		if len(f.Data) >= headerLen {
			if tci, tagged := tagOf(f.Data); tagged && tci&vlanMask == p.tci&vlanMask {
				f.Data = stripTag(f.Data)
				return f, nil
			}
		}
		p.foreign.Add(1)
		if err := ctx.Err(); err != nil {
			return Frame{}, err
		}
	}
}

// Send implements Port.
func (p *TaggedPort) Send(f Frame) error {
	if len(f.Data) < headerLen || len(f.Data) > MaxFrame-tagLen {
		return sizeError(len(f.Data))
	}
	buf, ok := p.buffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	defer p.buffers.Put(buf)
	*buf = appendTagged((*buf)[:0], f.Data, p.tci)
	f.Data = *buf
	return p.port.Send(f)
}

// Close implements Port.
func (p *TaggedPort) Close() error { return p.port.Close() }

// Foreign returns how many received frames were dropped because they were not
// of the port's VLAN.
func (p *TaggedPort) Foreign() uint64 { return p.foreign.Load() }

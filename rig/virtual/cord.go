package virtual

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"ip88rig/rig/virtual/air"
	"ip88rig/rig/wire"
)

// cord is the handset's end of the cable: nothing is sent while the handset
// does not run, whoever still tries.
type cord struct {
	wire.Port
	live atomic.Bool
	// deaf is set while a WiFi module has no access point: nothing is heard or sent.
	deaf atomic.Bool
	// joined is a module's association, nil where the link is all that is known.
	joined atomic.Pointer[air.Association]
	// lan takes what comes for the phone's own MAC beside the module; nil: nothing does.
	lan atomic.Pointer[lan]
	// sender replaces the source of downloads' frames (module-sends-as-phone).
	sender net.HardwareAddr
	// gaps, if any, sees all that comes (gaps-end-file).
	gaps *gaps
	// transfers are the UDP ports that TFTP has used since New.
	transfers sync.Map
}

var (
	_ wire.Port = (*cord)(nil)
	_ wire.Port = (*lan)(nil)
)

// Send implements wire.Port.
func (c *cord) Send(f wire.Frame) error {
	if !c.live.Load() || c.cut() {
		return nil
	}
	if c.sender != nil && c.download(f.Data) {
		f.Data = bytes.Clone(f.Data)
		copy(f.Data[6:12], c.sender)
	}
	if f.At.IsZero() {
		f.At = time.Now()
	}
	return c.Port.Send(f)
}

// Receive implements wire.Port.
func (c *cord) Receive(ctx context.Context) (wire.Frame, error) {
	for {
		f, err := c.Port.Receive(ctx)
		if err != nil {
			return f, err
		}
		if l := c.lan.Load(); l != nil && l.takes(f) {
			l.Put(f)
			continue
		}
		if c.cut() {
			continue
		}
		if c.gaps != nil {
			c.gaps.see(f.Data)
		}
		return f, nil
	}
}

// cut reports whether a module has no access point, from the moment that it has none.
func (c *cord) cut() bool {
	joined := c.joined.Load()
	return c.deaf.Load() || joined != nil && !joined.Alive()
}

// Close implements wire.Port; the cable belongs to whoever gave it.
func (*cord) Close() error { return nil }

// transfer notes that TFTP uses a port of the handset.
func (c *cord) transfer(port uint16) { c.transfers.Store(port, true) }

// download reports whether a frame is one of HTTP, which is all TCP, or of TFTP.
func (c *cord) download(b []byte) bool {
	const head, tcp, udp = 14, 6, 17
	if len(b) < head+20 || binary.BigEndian.Uint16(b[12:]) != 0x0800 {
		return false
	}
	ip := b[head:]
	length := int(ip[0]&0x0f) * 4
	switch {
	case ip[9] == tcp:
		return true
	case ip[9] != udp || len(ip) < length+4:
		return false
	}
	_, ok := c.transfers.Load(binary.BigEndian.Uint16(ip[length:]))
	return ok
}

// lan is the phone's own socket beside the module: what comes for the phone's MAC.
type lan struct {
	*wire.Queue

	cord *cord
	mac  net.HardwareAddr
}

// openLAN has what comes for a MAC go another way than to the handset's host.
func (c *cord) openLAN(mac net.HardwareAddr) *lan {
	l := &lan{Queue: wire.NewQueue(), cord: c, mac: mac}
	c.lan.Store(l)
	return l
}

func (l *lan) takes(f wire.Frame) bool { return len(f.Data) >= 6 && bytes.Equal(f.Data[:6], l.mac) }

// Send implements wire.Port. Whether the module has an access point is nothing to
// it.
func (l *lan) Send(f wire.Frame) error {
	if !l.cord.live.Load() {
		return nil
	}
	return l.cord.Port.Send(f)
}

// Close implements wire.Port.
func (l *lan) Close() error {
	l.cord.lan.CompareAndSwap(l, nil)
	return l.Queue.Close()
}

package host

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"ip88rig/rig/wire"
)

// headerLen is the length of an Ethernet header without a tag, in bytes.
const headerLen = header.EthernetMinimumSize

// link is the stack's interface to the wire.
type link struct {
	port    wire.Port
	mac     tcpip.LinkAddress
	mtu     atomic.Uint32
	buffers sync.Pool // of *[]byte, for frames being sent
	corrupt atomic.Uint64

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
	claims     []*claim
	all        []*wire.Queue // of every claim there ever was, for their counters
	down       bool          // no more claims
}

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
)

func newLink(port wire.Port, mac net.HardwareAddr, mtu int) *link {
	l := &link{port: port, mac: tcpip.LinkAddress(mac)}
	l.mtu.Store(uint32(mtu)) //nolint:gosec // checked to be below 64 KiB
	l.buffers.New = func() any {
		b := make([]byte, 0, headerLen+mtu)
		return &b
	}
	return l
}

// take hands a received frame to who claimed it or to the stack. It ignores
// frames for other stations, which a promiscuous port delivers too.
func (l *link) take(f wire.Frame) {
	data := f.Data
	if len(data) < headerLen {
		return
	}
	l.mu.RLock()
	dispatcher, claims := l.dispatcher, l.claims
	l.mu.RUnlock()

	kind := tcpip.PacketHost
	switch dst := tcpip.LinkAddress(data[:6]); {
	case dst == header.EthernetBroadcastAddress:
		kind = tcpip.PacketBroadcast
	case header.IsMulticastEthernetAddress(dst):
		kind = tcpip.PacketMulticast
	case dst != l.mac:
		return
	}
	plain := withoutPriority(data)
	eth := header.Ethernet(plain)
	if eth.Type() == header.IPv4ProtocolNumber && !intact(plain[headerLen:]) {
		l.corrupt.Add(1) // nobody's: who claims frames goes by what is in them
		return
	}
	for _, c := range claims {
		if c.match(data) {
			c.Put(f)
			return
		}
	}
	if dispatcher == nil {
		return
	}
	data = plain
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(data)})
	defer pkt.DecRef()
	if _, ok := pkt.LinkHeader().Consume(headerLen); !ok {
		return
	}
	pkt.PktType = kind
	dispatcher.DeliverNetworkPacket(eth.Type(), pkt)
}

// withoutPriority takes a priority tag (802.1Q with VLAN 0) off data, as every
// host does. Frames of a VLAN are left alone: the stack ignores them.
func withoutPriority(data []byte) []byte {
	if len(data) < headerLen+4 || binary.BigEndian.Uint16(data[12:]) != 0x8100 ||
		binary.BigEndian.Uint16(data[14:])&0x0fff != 0 {
		return data
	}
	return append(data[:12:12], data[16:]...)
}

// WritePackets implements stack.LinkWriter. A frame that the port does not take
// is lost, as on a cable: TCP repeats it.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	buf, ok := l.buffers.Get().(*[]byte)
	if !ok {
		return 0, &tcpip.ErrNoBufferSpace{}
	}
	defer l.buffers.Put(buf)
	n := 0
	for _, pkt := range list.AsSlice() {
		b := (*buf)[:0]
		for _, s := range pkt.AsSlices() {
			b = append(b, s...)
		}
		*buf = b
		if err := l.port.Send(wire.Frame{Data: b}); err != nil {
			return n, &tcpip.ErrHostDown{}
		}
		n++
	}
	return n, nil
}

// MTU implements stack.NetworkLinkEndpoint.
func (l *link) MTU() uint32 { return l.mtu.Load() }

// SetMTU implements stack.NetworkLinkEndpoint.
func (l *link) SetMTU(mtu uint32) { l.mtu.Store(mtu) }

// MaxHeaderLength implements stack.NetworkLinkEndpoint.
func (*link) MaxHeaderLength() uint16 { return headerLen }

// LinkAddress implements stack.NetworkLinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress { return l.mac }

// SetLinkAddress implements stack.NetworkLinkEndpoint; nobody calls it here.
func (*link) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities implements stack.NetworkLinkEndpoint. Checksums are verified by
// take, which knows unfinished ones.
func (*link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload | stack.CapabilityResolutionRequired
}

// GSOMaxSize implements stack.GSOEndpoint.
func (*link) GSOMaxSize() uint32 { return stack.GVisorGSOMaxSize }

// SupportedGSO implements stack.GSOEndpoint: the stack cuts big segments itself
// and hands them over together.
func (*link) SupportedGSO() stack.SupportedGSO { return stack.GVisorGSOSupported }

// Attach implements stack.NetworkLinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatcher = d
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (l *link) IsAttached() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.dispatcher != nil
}

// Wait implements stack.NetworkLinkEndpoint. The host waits for its receiver.
func (*link) Wait() {}

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (*link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// AddHeader implements stack.NetworkLinkEndpoint.
func (*link) AddHeader(pkt *stack.PacketBuffer) {
	header.Ethernet(pkt.LinkHeader().Push(headerLen)).Encode(&header.EthernetFields{
		SrcAddr: pkt.EgressRoute.LocalLinkAddress,
		DstAddr: pkt.EgressRoute.RemoteLinkAddress,
		Type:    pkt.NetworkProtocolNumber,
	})
}

// ParseHeader implements stack.NetworkLinkEndpoint.
func (*link) ParseHeader(pkt *stack.PacketBuffer) bool {
	_, ok := pkt.LinkHeader().Consume(headerLen)
	return ok
}

// Close implements stack.NetworkLinkEndpoint.
func (*link) Close() {}

// SetOnCloseAction implements stack.NetworkLinkEndpoint.
func (*link) SetOnCloseAction(func()) {}

// claim is a consumer of frames beside the stack.
type claim struct {
	*wire.Queue
	link  *link
	match func([]byte) bool
}

var _ wire.Port = (*claim)(nil)

// Claim hands the frames for which match says true to the returned port instead
// of the stack: the first claim that matches gets a frame. match sees every
// frame for the host's address or a group address; it is called from one
// goroutine and must neither change nor keep the frame. What is sent to the port
// goes out as it is. Closing the port ends the claim, and so does the end of the
// host.
func (h *Host) Claim(match func(frame []byte) bool) wire.Port {
	l := h.link
	c := &claim{Queue: wire.NewQueue(), link: l, match: match}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, c.Queue)
	if l.down {
		_ = c.Queue.Close() // always nil
		return c
	}
	l.claims = append(slices.Clip(l.claims), c) // take iterates without the lock
	return c
}

// Send implements wire.Port.
func (c *claim) Send(f wire.Frame) error { return c.link.port.Send(f) }

// Close implements wire.Port.
func (c *claim) Close() error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.link.claims = slices.DeleteFunc(slices.Clone(c.link.claims), func(o *claim) bool { return o == c })
	return c.Queue.Close()
}

// closeClaims ends every claim, and those that are still to come.
func (l *link) closeClaims() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.claims {
		_ = c.Queue.Close() // always nil
	}
	l.claims, l.down = nil, true
}

// dropped counts the frames that claims lost because nobody read them.
func (l *link) dropped() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var n uint64
	for _, q := range l.all {
		n += q.Dropped()
	}
	return n
}

package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/afpacket"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The ring the kernel writes received frames into. A block holds the longest
// frame, and is handed over when it is full or blockTimeout old, whichever is
// first; so ringBlocks times blockTimeout is how long the reader may be away.
const (
	blockSize    = 128 << 10 // bytes
	ringBlocks   = 256
	ringFrame    = 2048 // bytes; the kernel ignores it but wants it to divide a block
	blockTimeout = time.Millisecond
	pollTimeout  = 20 * time.Millisecond // Close is seen by then
	readAhead    = 4096                  // frames out of the ring that nobody has received yet
)

// PacketPort is a lab interface, by a packet socket of the kernel. It hears
// whatever comes in there for any station, and nothing that this computer sends
// there. The interface itself, its addresses and its routes stay as they are.
type PacketPort struct {
	ifname string
	ring   *afpacket.TPacket
	frames chan Frame
	cut    atomic.Uint64 // frames longer than a block

	mu     sync.RWMutex  // held to write while the ring is used
	closed chan struct{} // closed by Close
	read   chan struct{} // closed when the reader has ended
	err    error         // why it has; set before
	once   sync.Once

	received, dropped uint64 // at Close
}

var _ Port = (*PacketPort)(nil)

// OpenPacket opens the interface ifname, which must be up, in promiscuous mode.
// It needs CAP_NET_RAW.
func OpenPacket(ifname string, opts PacketOptions) (*PacketPort, error) {
	p, err := openPacket(ifname, opts)
	if err != nil {
		return nil, fmt.Errorf("wire: interface %s: %w", ifname, err)
	}
	return p, nil
}

func openPacket(ifname string, opts PacketOptions) (*PacketPort, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	// Without a name the socket would hear every interface of this computer.
	nic, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	if nic.Flags&net.FlagUp == 0 {
		return nil, errors.New("it is down")
	}
	filter, err := bpf.Assemble(slices.Concat([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipFalse: 1},
		bpf.RetConstant{Val: 0},
	}, opts.program()))
	if err != nil {
		return nil, fmt.Errorf("assemble filter: %w", err)
	}

	ring, err := afpacket.NewTPacket(
		afpacket.OptInterface(ifname),
		afpacket.TPacketVersion3,
		afpacket.OptBlockSize(blockSize),
		afpacket.OptNumBlocks(ringBlocks),
		afpacket.OptFrameSize(ringFrame),
		afpacket.OptBlockTimeout(blockTimeout),
		afpacket.OptPollTimeout(pollTimeout),
		afpacket.OptAddVLANHeader(true),
	)
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("open packet socket: %w: this needs root or CAP_NET_RAW", err)
	case err != nil:
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	if err := ring.SetBPF(filter); err != nil {
		ring.Close()
		return nil, fmt.Errorf("set filter: %w", err)
	}
	if err := ring.SetPromiscuous(true); err != nil {
		ring.Close()
		return nil, fmt.Errorf("set promiscuous mode: %w", err)
	}
	p := &PacketPort{
		ifname: ifname, ring: ring,
		frames: make(chan Frame, readAhead), closed: make(chan struct{}), read: make(chan struct{}),
	}
	// What came in before the filter was set is older than this.
	go p.run(time.Now()) // ends within pollTimeout of Close, or when the interface fails
	return p, nil
}

// run takes frames out of the ring. It waits while nobody receives them: then
// the ring fills and the kernel counts what it drops.
func (p *PacketPort) run(since time.Time) {
	defer close(p.read)
	for {
		select {
		case <-p.closed:
			return
		default:
		}
		data, info, err := p.ring.ZeroCopyReadPacketData()
		switch {
		case errors.Is(err, afpacket.ErrTimeout) || errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, afpacket.ErrPoll):
			p.err = fmt.Errorf("wire: interface %s: it went down or was removed", p.ifname)
			return
		case err != nil:
			p.err = fmt.Errorf("wire: interface %s: read: %w", p.ifname, err)
			return
		}
		if info.Timestamp.Before(since) {
			continue
		}
		if info.CaptureLength < info.Length {
			p.cut.Add(1)
			continue
		}
		f := Frame{Data: withTag(data, info), At: info.Timestamp}
		select {
		case p.frames <- f:
		case <-p.closed:
			return
		}
	}
}

// withTag returns a copy of data with its 802.1Q tag in place. The library has
// put back what the kernel took off, except for a tag that is all zeros, which
// it takes for none.
func withTag(data []byte, info gopacket.CaptureInfo) []byte {
	for _, a := range info.AncillaryData {
		vlan, ok := a.(afpacket.AncillaryVLAN)
		if !ok || vlan.VLAN != 0 || len(data) < headerLen {
			continue
		}
		if tci, tagged := tagOf(data); !tagged || tci&vlanMask != 0 || tci == 0 {
			return appendTagged(make([]byte, 0, len(data)+tagLen), data, 0)
		}
	}
	return append(make([]byte, 0, len(data)), data...)
}

// Receive implements Port.
func (p *PacketPort) Receive(ctx context.Context) (Frame, error) {
	if err := ctx.Err(); err != nil {
		return Frame{}, err
	}
	select {
	case <-p.closed:
		return Frame{}, net.ErrClosed
	default:
	}
	select {
	case f := <-p.frames:
		return f, nil
	case <-ctx.Done():
		return Frame{}, ctx.Err()
	case <-p.closed:
		return Frame{}, net.ErrClosed
	case <-p.read:
		select {
		case f := <-p.frames:
			return f, nil
		case <-p.closed:
			return Frame{}, net.ErrClosed
		default:
			return Frame{}, p.err
		}
	}
}

// Send implements Port. The kernel refuses a frame that is longer than the
// interface's MTU and an Ethernet header.
func (p *PacketPort) Send(f Frame) error {
	if len(f.Data) < headerLen || len(f.Data) > MaxFrame {
		return sizeError(len(f.Data))
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	select {
	case <-p.closed:
		return net.ErrClosed
	default:
	}
	if err := p.ring.WritePacketData(f.Data); err != nil {
		return fmt.Errorf("wire: interface %s: send %d bytes: %w", p.ifname, len(f.Data), err)
	}
	return nil
}

// Close implements Port. It wakes a blocked Receive at once and waits for the
// reader of the ring, for 20 ms at most.
func (p *PacketPort) Close() error {
	p.once.Do(func() {
		close(p.closed)
		<-p.read
		p.mu.Lock()
		defer p.mu.Unlock()
		p.received, p.dropped = p.count()
		p.ring.Close()
		p.ring = nil
	})
	return nil
}

// Stats returns how many frames passed the filter since the port was opened and
// how many of them were lost because nobody received them, or because they were
// longer than MaxFrame.
func (p *PacketPort) Stats() (received, dropped uint64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.ring == nil {
		return p.received, p.dropped
	}
	return p.count()
}

func (p *PacketPort) count() (received, dropped uint64) {
	_, stats, err := p.ring.SocketStats()
	if err != nil {
		return p.received, p.dropped
	}
	return uint64(stats.Packets()), uint64(stats.Drops()) + p.cut.Load()
}

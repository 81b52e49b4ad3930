package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer is how much the kernel keeps for a reader that is away, in bytes
	// with its own of some hundred for each frame. At 300,000 frames a second this is
	// a tenth of a second.
	receiveBuffer = 64 << 20
	// atOnce is how many frames are read before they are handed on.
	atOnce    = 64
	readAhead = 4096 // frames out of the kernel that nobody has received yet
)

// PacketPort is a lab interface, by a packet socket of the kernel. It hears
// whatever comes in there for any station, and nothing that this computer sends
// there. The interface itself, its addresses and its routes stay as they are.
//
// It is a plain socket and not a ring: a ring hands its frames over in blocks, which
// makes each exchange a millisecond longer, and a ring of slots takes no frame that
// is longer than a slot, as those are that the kernel has put together.
type PacketPort struct {
	ifname string
	file   *os.File
	conn   syscall.RawConn
	frames chan Frame
	cut    atomic.Uint64 // frames longer than MaxFrame

	mu     sync.RWMutex  // held to write while the socket is closed
	closed chan struct{} // closed by Close
	read   chan struct{} // closed when the reader has ended
	err    error         // why it has; set before
	once   sync.Once

	stats             sync.Mutex // guards what follows
	received, dropped uint64     // the kernel forgets what it was asked for once
}

var _ Port = (*PacketPort)(nil)

// OpenPacket opens the interface ifname, which must be up, in promiscuous mode.
// It needs CAP_NET_RAW; without CAP_NET_ADMIN the kernel keeps fewer frames for a
// reader that is away (the sysctl net.core.rmem_max).
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
	// Without a protocol it hears nothing until it is bound.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("open packet socket: %w: this needs root or CAP_NET_RAW", err)
	case err != nil:
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	if err := prepare(fd, nic.Index, filter); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	p := &PacketPort{
		ifname: ifname, file: os.NewFile(uintptr(fd), "packet socket of "+ifname),
		frames: make(chan Frame, readAhead), closed: make(chan struct{}), read: make(chan struct{}),
	}
	if p.conn, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	go p.run() // ends with Close, or when the interface fails
	return p, nil
}

// prepare sets the socket's options and binds it.
func prepare(fd, index int, filter []bpf.RawInstruction) error {
	program := make([]unix.SockFilter, len(filter))
	for i, f := range filter {
		program[i] = unix.SockFilter{Code: f.Op, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}); err != nil { //nolint:gosec // G115: some dozen
		return fmt.Errorf("set filter: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
			return fmt.Errorf("set receive buffer: %w", err)
		}
	}
	// The kernel takes VLAN tags off frames and says beside them what they were.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return fmt.Errorf("ask for VLAN tags: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("ask for time stamps: %w", err)
	}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}); err != nil { //nolint:gosec // G115: an index
		return fmt.Errorf("set promiscuous mode: %w", err)
	}
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xff00 // in network order
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// run takes frames from the kernel. It waits while nobody receives them: then the
// kernel's buffer fills, and it counts what it drops.
func (p *PacketPort) run() {
	defer close(p.read)
	data := make([]byte, MaxFrame)
	aux := make([]byte, unix.CmsgSpace(auxLen)+unix.CmsgSpace(timeLen))
	batch := make([]Frame, 0, atOnce)
	for {
		var failure error
		err := p.conn.Read(func(fd uintptr) bool {
			for len(batch) < atOnce {
				n, auxn, _, _, err := unix.Recvmsg(int(fd), data, aux, unix.MSG_TRUNC)
				switch {
				case errors.Is(err, unix.EINTR):
					continue
				case errors.Is(err, unix.EAGAIN):
					return len(batch) > 0
				case err != nil:
					failure = err
					return true
				case n > len(data):
					p.cut.Add(1)
					continue
				}
				batch = append(batch, received(data[:n], aux[:auxn]))
			}
			return true
		})
		for i, f := range batch {
			select {
			case p.frames <- f:
			case <-p.closed:
				return
			}
			batch[i] = Frame{}
		}
		batch = batch[:0]
		switch {
		case err != nil: // it was closed
			return
		case errors.Is(failure, unix.ENETDOWN) || errors.Is(failure, unix.ENODEV):
			p.err = fmt.Errorf("wire: interface %s: it went down or was removed", p.ifname)
			return
		case failure != nil:
			p.err = fmt.Errorf("wire: interface %s: read: %w", p.ifname, failure)
			return
		}
	}
}

// Sizes of what the kernel says beside a frame, in bytes: struct tpacket_auxdata
// and struct timespec.
const (
	auxLen  = 20
	timeLen = 16
)

// received is a copy of what was read, with its VLAN tag in place and the kernel's
// time stamp.
func received(data, aux []byte) Frame {
	var f Frame
	tagged, tci, tpid := false, uint16(0), uint16(vlanType)
	for len(aux) > 0 {
		header, value, rest, err := unix.ParseOneSocketControlMessage(aux)
		if err != nil {
			break
		}
		aux = rest
		switch {
		case header.Level == unix.SOL_PACKET && header.Type == unix.PACKET_AUXDATA && len(value) >= auxLen:
			status := binary.NativeEndian.Uint32(value)
			tagged, tci = status&unix.TP_STATUS_VLAN_VALID != 0, binary.NativeEndian.Uint16(value[16:])
			if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
				tpid = binary.NativeEndian.Uint16(value[18:])
			}
		case header.Level == unix.SOL_SOCKET && header.Type == unix.SCM_TIMESTAMPNS && len(value) >= timeLen:
			f.At = time.Unix(int64(binary.NativeEndian.Uint64(value)), int64(binary.NativeEndian.Uint64(value[8:]))) //nolint:gosec // G115: signed in the kernel
		}
	}
	if f.At.IsZero() {
		f.At = time.Now()
	}
	if tagged && len(data) >= headerLen {
		f.Data = appendTagged(make([]byte, 0, len(data)+tagLen), data, tci)
		binary.BigEndian.PutUint16(f.Data[2*addrLen:], tpid)
		return f
	}
	f.Data = append(make([]byte, 0, len(data)), data...)
	return f
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
	if _, err := p.file.Write(f.Data); err != nil {
		if pathError, ok := errors.AsType[*os.PathError](err); ok {
			err = pathError.Err
		}
		return fmt.Errorf("wire: interface %s: send %d bytes: %w", p.ifname, len(f.Data), err)
	}
	return nil
}

// Close implements Port. It wakes a blocked Receive at once, and waits for the
// reader.
func (p *PacketPort) Close() error {
	var err error
	p.once.Do(func() {
		p.count()
		close(p.closed)
		p.mu.Lock()
		defer p.mu.Unlock()
		err = p.file.Close()
		<-p.read
	})
	return err
}

// Stats returns how many frames passed the filter since the port was opened and
// how many of them were lost because nobody received them, or because they were
// longer than MaxFrame.
func (p *PacketPort) Stats() (received, dropped uint64) {
	p.count()
	p.stats.Lock()
	defer p.stats.Unlock()
	return p.received, p.dropped + p.cut.Load()
}

// count adds what the kernel has counted since it was asked last.
func (p *PacketPort) count() {
	p.stats.Lock()
	defer p.stats.Unlock()
	// A closed socket has no more to say.
	_ = p.conn.Control(func(fd uintptr) {
		if s, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			p.received += uint64(s.Packets)
			p.dropped += uint64(s.Drops)
		}
	})
}

package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"ip88rig/rig/wire"
)

// UDPConn is a UDP socket. It implements net.PacketConn and net.Conn; bound to
// no particular address it also tells which of the host's addresses a datagram
// came to, and sends from the one it is told to.
type UDPConn struct {
	host   *Host
	ep     tcpip.Endpoint
	ready  chan struct{} // holds a token when there may be something to read
	local  netip.AddrPort
	remote netip.AddrPort // of a dialled socket

	read, write *deadline
	once        sync.Once
	done        chan struct{}

	mu   sync.Mutex
	last way // that of the datagram before: most go where it went
}

// way is how datagrams get to an address. It stands as long as the host's addresses
// and its gateway, whose number is table.
type way struct {
	from, to netip.Addr
	table    uint64
	route    *stack.Route
}

var (
	_ net.PacketConn = (*UDPConn)(nil)
	_ net.Conn       = (*UDPConn)(nil)
)

// ListenUDP opens a UDP socket on one of the host's addresses, or on all that it
// has or will have, and on broadcast, when addr is unspecified. Port 0 takes a
// free one. The result is a *UDPConn.
func (h *Host) ListenUDP(addr netip.AddrPort) (*UDPConn, error) {
	return h.openUDP("listen on udp", addr, netip.AddrPort{})
}

// DialUDP opens a UDP socket that sends to and hears from remote only. An
// unspecified local address or port is chosen by the host. Nothing is sent yet.
func (h *Host) DialUDP(ctx context.Context, local, remote netip.AddrPort) (*UDPConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("host %s: dial udp %s: %w", h.mac, remote, err)
	}
	if err := h.checkRemote("dial udp", remote); err != nil {
		return nil, err
	}
	return h.openUDP("dial udp from", local, remote)
}

func (h *Host) openUDP(verb string, local, remote netip.AddrPort) (*UDPConn, error) {
	if err := h.checkLocal(verb, local); err != nil {
		return nil, err
	}
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	c := &UDPConn{host: h, ready: ready, remote: remote, read: newDeadline(), write: newDeadline(), done: make(chan struct{})}
	wq := new(waiter.Queue)
	wq.EventRegister(&entry)
	ep, err := h.stack.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, wq)
	if err != nil {
		return nil, fmt.Errorf("host %s: %s %s: %s", h.mac, verb, local, err)
	}
	c.ep = ep
	so := ep.SocketOptions()
	so.SetBroadcast(true)
	so.SetReceivePacketInfo(true)
	so.SetReceiveBufferSize(udpBuffer, false)
	err = ep.Bind(full(local))
	if err == nil && remote.IsValid() {
		err = ep.Connect(full(remote))
	}
	if err != nil {
		ep.Close()
		return nil, fmt.Errorf("host %s: %s %s: %s", h.mac, verb, local, err)
	}
	bound, err := ep.GetLocalAddress()
	if err != nil {
		ep.Close()
		return nil, fmt.Errorf("host %s: %s %s: %s", h.mac, verb, local, err)
	}
	c.local = addrPort(bound)
	return c, nil
}

// ReadFromTo reads a datagram into b, cutting off what does not fit. to is the
// address in the datagram's IP header, which for broadcast is none of the
// host's.
func (c *UDPConn) ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error) {
	res, err := c.wait(b)
	if err != nil {
		return 0, netip.AddrPort{}, netip.AddrPort{}, c.opError("read", c.remote, err)
	}
	to = c.local
	if info := res.ControlMessages.PacketInfo; res.ControlMessages.HasIPPacketInfo && info.DestinationAddr.Len() == 4 {
		to = netip.AddrPortFrom(netip.AddrFrom4(info.DestinationAddr.As4()), c.local.Port())
	}
	return res.Count, addrPort(res.RemoteAddr), to, nil
}

// wait reads the next datagram as soon as there is one.
func (c *UDPConn) wait(b []byte) (tcpip.ReadResult, error) {
	select {
	case <-c.done:
		return tcpip.ReadResult{}, net.ErrClosed
	case <-c.read.wait():
		return tcpip.ReadResult{}, os.ErrDeadlineExceeded
	default:
	}
	for {
		res, again, err := c.try(b)
		if !again {
			// There is one token for all that read, and maybe more than one datagram.
			if c.ep.Readiness(waiter.ReadableEvents) != 0 {
				select {
				case c.ready <- struct{}{}:
				default:
				}
			}
			return res, err
		}
		select {
		case <-c.ready:
		case <-c.done:
			return tcpip.ReadResult{}, net.ErrClosed
		case <-c.host.stopped:
			return tcpip.ReadResult{}, net.ErrClosed
		case <-c.read.wait():
			return tcpip.ReadResult{}, os.ErrDeadlineExceeded
		}
	}
}

// try reads a datagram if there is one; again says that there was none.
func (c *UDPConn) try(b []byte) (res tcpip.ReadResult, again bool, err error) {
	w := tcpip.SliceWriter(b)
	res, terr := c.ep.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: true})
	switch terr.(type) {
	case nil:
		return res, false, nil
	case *tcpip.ErrWouldBlock:
		return res, true, nil
	case *tcpip.ErrClosedForReceive:
		return res, false, net.ErrClosed
	}
	if _, ok := terr.(*tcpip.ErrBadBuffer); ok { // the datagram did not fit: cut off, as everywhere
		return res, false, nil
	}
	return res, false, errors.New(terr.String())
}

// WriteFromTo sends a datagram to to, from the address from, which must be the
// host's. An unspecified or group address stands for the one the host prefers
// for to, port 0 and any other for the socket's own. Broadcast goes out even
// while the host has no address, then from 0.0.0.0.
func (c *UDPConn) WriteFromTo(b []byte, from, to netip.AddrPort) (int, error) {
	select {
	case <-c.done:
		return 0, c.opError("write", to, net.ErrClosed)
	case <-c.host.stopped:
		return 0, c.opError("write", to, net.ErrClosed)
	case <-c.write.wait():
		return 0, c.opError("write", to, os.ErrDeadlineExceeded)
	default:
	}
	if err := c.send(b, from.Addr(), to); err != nil {
		return 0, c.opError("write", to, err)
	}
	return len(b), nil
}

// ReadFrom implements net.PacketConn; the address is a *net.UDPAddr.
func (c *UDPConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, _, err := c.ReadFromTo(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteTo implements net.PacketConn. A dialled socket sends to other addresses
// than its own remote one, too.
func (c *UDPConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	u, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.opError("write", c.remote, fmt.Errorf("%v is not a UDP address", addr))
	}
	a := u.AddrPort()
	return c.WriteFromTo(b, netip.AddrPort{}, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
}

// Read implements net.Conn.
func (c *UDPConn) Read(b []byte) (int, error) {
	n, _, _, err := c.ReadFromTo(b)
	return n, err
}

// Write implements net.Conn. It is an error on a socket that was not dialled.
func (c *UDPConn) Write(b []byte) (int, error) {
	return c.WriteFromTo(b, netip.AddrPort{}, c.remote)
}

// Close implements net.PacketConn and wakes a blocked read.
func (c *UDPConn) Close() error {
	c.once.Do(func() {
		close(c.done)
		c.ep.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last.release()
	})
	return nil
}

// LocalAddr implements net.PacketConn; it is a *net.UDPAddr.
func (c *UDPConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// RemoteAddr implements net.Conn; it is nil for a socket that was not dialled.
func (c *UDPConn) RemoteAddr() net.Addr {
	if !c.remote.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.remote)
}

// SetDeadline implements net.PacketConn.
func (c *UDPConn) SetDeadline(t time.Time) error {
	c.read.set(t)
	c.write.set(t)
	return nil
}

// SetReadDeadline implements net.PacketConn.
func (c *UDPConn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

// SetWriteDeadline implements net.PacketConn.
func (c *UDPConn) SetWriteDeadline(t time.Time) error {
	c.write.set(t)
	return nil
}

func (c *UDPConn) opError(op string, remote netip.AddrPort, err error) error {
	e := &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Err: err}
	if remote.IsValid() {
		e.Addr = net.UDPAddrFromAddrPort(remote)
	}
	return e
}

// ttl is the time to live of what the host sends, as the stack has it.
const ttl = ipv4.DefaultTTL

// send sends a datagram past the stack's sockets, which can only send from the
// address they are bound to.
func (c *UDPConn) send(payload []byte, from netip.Addr, to netip.AddrPort) error {
	h, local := c.host, c.local
	if err := h.checkRemote("send to", to); err != nil {
		return err
	}
	if len(payload) > header.UDPMaximumSize-header.IPv4MinimumSize-header.UDPMinimumSize {
		return fmt.Errorf("datagram of %d bytes is too long", len(payload))
	}
	from = from.Unmap()
	if bound := local.Addr(); !bound.IsUnspecified() {
		from = bound
	}
	if to.Addr().Unmap() == broadcast {
		return h.broadcastUDP(payload, h.sender(from), local.Port(), to.Port())
	}
	route, err := c.route(from, to.Addr())
	if err != nil {
		return err
	}
	defer route.Release()
	dest := full(to).Addr
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: header.UDPMinimumSize + int(route.MaxHeaderLength()),
		Payload:            buffer.MakeWithData(payload),
	})
	defer pkt.DecRef()
	pkt.TransportProtocolNumber = udp.ProtocolNumber
	encodeUDP(pkt.TransportHeader().Push(header.UDPMinimumSize), payload, route.LocalAddress(), dest, local.Port(), to.Port())
	if terr := route.WritePacket(stack.NetworkHeaderParams{Protocol: udp.ProtocolNumber, TTL: ttl}, pkt); terr != nil {
		return errors.New(terr.String())
	}
	return nil
}

// route finds the way from and to an address; who is done with it releases it.
func (c *UDPConn) route(from, to netip.Addr) (*stack.Route, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	table := c.host.table.Load()
	if w := c.last; w.route == nil || w.from != from || w.to != to || w.table != table {
		source, dest := full(netip.AddrPortFrom(c.host.sender(from), 0)).Addr, full(netip.AddrPortFrom(to, 0)).Addr
		route, err := c.host.stack.FindRoute(nicID, source, dest, ipv4.ProtocolNumber, false)
		if err != nil {
			return nil, errors.New(err.String())
		}
		c.last.release()
		c.last = way{from: from, to: to, table: table, route: route}
		select {
		case <-c.done: // nobody would release it
			c.last.route = nil
			return route, nil
		default:
		}
	}
	c.last.route.Acquire()
	return c.last.route, nil
}

func (w *way) release() {
	if w.route != nil {
		w.route.Release()
		w.route = nil
	}
}

// sender is the address that a datagram is sent from; the zero Addr leaves it to the
// stack, as where no host can have it.
func (h *Host) sender(from netip.Addr) netip.Addr {
	if !from.Is4() || from.IsUnspecified() || from.IsMulticast() || from == broadcast || h.subnetBroadcast(from) {
		return netip.Addr{}
	}
	return from
}

// broadcast is the limited broadcast address.
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255}) //nolint:gochecknoglobals // a constant in all but name

// subnetBroadcast tells whether a is the broadcast address of a subnet of the
// host.
func (h *Host) subnetBroadcast(a netip.Addr) bool {
	return h.stack.IsSubnetBroadcast(nicID, ipv4.ProtocolNumber, tcpip.AddrFrom4(a.As4()))
}

// broadcastUDP sends a datagram to everyone on the wire. The stack cannot while
// it has no address.
func (h *Host) broadcastUDP(payload []byte, from netip.Addr, sourcePort, destPort uint16) error {
	if !from.IsValid() {
		from = h.Addr()
	}
	if !from.IsValid() {
		from = netip.IPv4Unspecified()
	}
	source, dest := tcpip.AddrFrom4(from.As4()), tcpip.AddrFrom4(broadcast.As4())
	total := header.IPv4MinimumSize + header.UDPMinimumSize + len(payload)
	if total > int(h.link.MTU()) {
		return fmt.Errorf("broadcast of %d bytes does not fit the MTU of %d", total, h.link.MTU())
	}
	frame := make([]byte, headerLen+total)
	header.Ethernet(frame).Encode(&header.EthernetFields{
		SrcAddr: h.link.mac, DstAddr: header.EthernetBroadcastAddress, Type: ipv4.ProtocolNumber,
	})
	ip := header.IPv4(frame[headerLen:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(total), //nolint:gosec // not beyond the MTU
		TTL:         ttl, Protocol: uint8(udp.ProtocolNumber), SrcAddr: source, DstAddr: dest,
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	segment := ip[header.IPv4MinimumSize:]
	copy(segment[header.UDPMinimumSize:], payload)
	encodeUDP(segment, payload, source, dest, sourcePort, destPort)
	return h.link.port.Send(wire.Frame{Data: frame})
}

// encodeUDP writes the header of a datagram with payload to b.
func encodeUDP(b, payload []byte, source, dest tcpip.Address, sourcePort, destPort uint16) {
	length := uint16(header.UDPMinimumSize + len(payload)) //nolint:gosec // checked by sendUDP
	u := header.UDP(b)
	u.Encode(&header.UDPFields{SrcPort: sourcePort, DstPort: destPort, Length: length})
	pseudo := header.PseudoHeaderChecksum(udp.ProtocolNumber, source, dest, length)
	sum := ^u.CalculateChecksum(checksum.Checksum(payload, pseudo))
	if sum == 0 {
		sum = 0xffff // 0 says that there is none (RFC 768)
	}
	u.SetChecksum(sum)
}

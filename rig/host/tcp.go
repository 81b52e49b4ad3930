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

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// full is a as the stack has it. An address that is unspecified or not valid
// stands for any.
func full(a netip.AddrPort) tcpip.FullAddress {
	f := tcpip.FullAddress{NIC: nicID, Port: a.Port()}
	if ip := a.Addr().Unmap(); ip.Is4() && !ip.IsUnspecified() {
		f.Addr = tcpip.AddrFrom4(ip.As4())
	}
	return f
}

// addrPort is full the other way round; no address is 0.0.0.0.
func addrPort(f tcpip.FullAddress) netip.AddrPort {
	ip := netip.IPv4Unspecified()
	if f.Addr.Len() == 4 {
		ip = netip.AddrFrom4(f.Addr.As4())
	}
	return netip.AddrPortFrom(ip, f.Port)
}

// checkLocal refuses IPv6, which the host does not have.
func (h *Host) checkLocal(verb string, a netip.AddrPort) error {
	if ip := a.Addr(); ip.IsValid() && !ip.Unmap().Is4() {
		return fmt.Errorf("host %s: %s %s: not an IPv4 address", h.mac, verb, a)
	}
	return nil
}

// checkRemote refuses what nothing can be sent to.
func (h *Host) checkRemote(verb string, a netip.AddrPort) error {
	if ip := a.Addr().Unmap(); !ip.Is4() || ip.IsUnspecified() || a.Port() == 0 {
		return fmt.Errorf("host %s: %s %s: not an IPv4 address and port", h.mac, verb, a)
	}
	return nil
}

// ListenTCP opens a listener on one of the host's addresses, or on all that it
// has or will have when addr is unspecified. Port 0 takes a free one. After
// Close its Accept returns net.ErrClosed.
func (h *Host) ListenTCP(addr netip.AddrPort) (net.Listener, error) {
	if err := h.checkLocal("listen on tcp", addr); err != nil {
		return nil, err
	}
	wq := new(waiter.Queue)
	ep, err := h.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, wq)
	if err != nil {
		return nil, fmt.Errorf("host %s: listen on tcp %s: %s", h.mac, addr, err)
	}
	// A service that starts anew finds connections of the old one on its port.
	ep.SocketOptions().SetReuseAddress(true)
	err = ep.Bind(full(addr))
	if err == nil {
		err = ep.Listen(backlog)
	}
	if err != nil {
		ep.Close()
		return nil, fmt.Errorf("host %s: listen on tcp %s: %s", h.mac, addr, err)
	}
	local, err := ep.GetLocalAddress()
	if err != nil {
		ep.Close()
		return nil, fmt.Errorf("host %s: listen on tcp %s: %s", h.mac, addr, err)
	}
	return &listener{
		ep: ep, wq: wq, host: h, addr: net.TCPAddrFromAddrPort(addrPort(local)), done: make(chan struct{}),
	}, nil
}

// backlog is how many connections may wait to be accepted.
const backlog = 4096

// listener is not gonet's because that one keeps the endpoints of what it
// accepts to itself.
type listener struct {
	ep   tcpip.Endpoint
	wq   *waiter.Queue
	host *Host
	addr net.Addr // the stack forgets it at Close
	once sync.Once
	done chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	l.wq.EventRegister(&entry)
	defer l.wq.EventUnregister(&entry)
	for {
		ep, wq, err := l.ep.Accept(nil)
		if err == nil {
			return &conn{TCPConn: gonet.NewTCPConn(wq, ep), ep: ep}, nil
		}
		if _, wait := err.(*tcpip.ErrWouldBlock); wait {
			select {
			case <-l.done:
				return nil, l.failed(net.ErrClosed)
			case <-l.host.stopped:
				return nil, l.failed(net.ErrClosed)
			case <-ready:
				continue
			}
		}
		select {
		case <-l.done:
			return nil, l.failed(net.ErrClosed)
		case <-l.host.stopped:
			return nil, l.failed(net.ErrClosed)
		default:
			return nil, l.failed(errors.New(err.String()))
		}
	}
}

func (l *listener) failed(err error) error {
	return &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: err}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.ep.Close()
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// conn is a TCP connection that can also be broken.
type conn struct {
	*gonet.TCPConn
	ep tcpip.Endpoint
}

// SetLinger says what Close does with the connection, as net.TCPConn's does: 0
// seconds reset it and throw away what was not sent yet, fewer than 0 end it in
// order.
func (c *conn) SetLinger(sec int) error {
	c.ep.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: sec >= 0, Timeout: time.Duration(max(sec, 0)) * time.Second})
	return nil
}

// Drain waits until the other side has acknowledged all that was written, so
// that a reset cuts nothing off which was said to be sent. The error is
// os.ErrDeadlineExceeded when it is not so at the deadline, net.ErrClosed when
// the connection was broken, or closed at this end, and nobody knows any more.
// Nothing may be written meanwhile.
func (c *conn) Drain(until time.Time) error {
	// The stack tells nobody how much is left, but whether there is room: with a
	// buffer of one byte there is room when nothing is left.
	options := c.ep.SocketOptions()
	defer options.SetSendBufferSize(options.GetSendBufferSize(), false)
	left := time.NewTimer(time.Until(until))
	defer left.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		options.SetSendBufferSize(1, false)
		// An ACK may give the buffer its size back at any moment: then there is room
		// that says nothing.
		if c.ep.Readiness(waiter.WritableEvents) != 0 && options.GetSendBufferSize() == 1 {
			// There is room in one that is broken or closed, too.
			switch c.ep.State() {
			case uint32(tcp.StateEstablished), uint32(tcp.StateCloseWait):
				return nil
			default:
				return net.ErrClosed
			}
		}
		select {
		case <-left.C:
			return os.ErrDeadlineExceeded
		case <-again.C:
		}
	}
}

// DialTCP connects to remote. An unspecified local address or port is chosen by
// the host; the zero AddrPort leaves both to it.
func (h *Host) DialTCP(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	if err := h.checkLocal("dial tcp from", local); err != nil {
		return nil, err
	}
	if err := h.checkRemote("dial tcp", remote); err != nil {
		return nil, err
	}
	c, err := h.dial(ctx, full(local), full(remote))
	if err != nil {
		return nil, fmt.Errorf("host %s: dial tcp %s: %w", h.mac, remote, err)
	}
	return c, nil
}

// dial is gonet.DialTCPWithBind, which keeps the endpoint to itself.
func (h *Host) dial(ctx context.Context, local, remote tcpip.FullAddress) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	wq := new(waiter.Queue)
	ep, err := h.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, wq)
	if err != nil {
		return nil, errors.New(err.String())
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	if err := ep.Bind(local); err != nil {
		ep.Close()
		return nil, fmt.Errorf("from %s: %s", addrPort(local), err)
	}
	err = ep.Connect(remote)
	if _, started := err.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ctx.Done():
			ep.Close()
			return nil, ctx.Err()
		case <-ready:
		}
		err = ep.LastError()
	}
	if err != nil {
		ep.Close()
		return nil, &net.OpError{Op: "connect", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addrPort(remote)), Err: errors.New(err.String())}
	}
	return &conn{TCPConn: gonet.NewTCPConn(wq, ep), ep: ep}, nil
}

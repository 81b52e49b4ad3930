package host

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

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
	l := gonet.NewTCPListener(h.stack, wq, ep)
	return &listener{TCPListener: l, host: h, addr: l.Addr(), done: make(chan struct{})}, nil
}

// backlog is how many connections may wait to be accepted.
const backlog = 4096

// listener says net.ErrClosed where the stack says that an endpoint is in the
// wrong state.
type listener struct {
	*gonet.TCPListener
	host *Host
	addr net.Addr // the stack forgets it at Close
	once sync.Once
	done chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if err == nil {
		return c, nil
	}
	select {
	case <-l.done:
		err = net.ErrClosed
	case <-l.host.stopped:
		err = net.ErrClosed
	default:
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: err}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.Shutdown()
		_ = l.TCPListener.Close() // always nil
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// DialTCP connects to remote. An unspecified local address or port is chosen by
// the host; the zero AddrPort leaves both to it.
func (h *Host) DialTCP(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	if err := h.checkLocal("dial tcp from", local); err != nil {
		return nil, err
	}
	if err := h.checkRemote("dial tcp", remote); err != nil {
		return nil, err
	}
	c, err := gonet.DialTCPWithBind(ctx, h.stack, full(local), full(remote), ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("host %s: dial tcp %s: %w", h.mac, remote, err)
	}
	return c, nil
}

package sipd_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// network carries datagrams between ports in memory.
type network struct {
	// through says what becomes of a datagram; nil: it is delivered once.
	through func(from, to netip.AddrPort, b []byte) [][]byte

	mu    sync.Mutex
	ports map[netip.AddrPort]*port
	next  uint16
}

type datagram struct {
	from, to netip.AddrPort
	data     []byte
}

// port is one end; it is a net.PacketConn.
type port struct {
	net   *network
	addr  netip.AddrPort
	in    chan datagram
	done  chan struct{}
	close func()

	mu       sync.Mutex
	deadline time.Time
}

func newNetwork() *network {
	return &network{ports: map[netip.AddrPort]*port{}, next: 49152}
}

func (n *network) listen(addr netip.AddrPort) (*port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if addr.Port() == 0 {
		n.next++
		addr = netip.AddrPortFrom(addr.Addr(), n.next)
	}
	if n.ports[addr] != nil {
		return nil, errors.New("address in use")
	}
	p := &port{net: n, addr: addr, in: make(chan datagram, 4096), done: make(chan struct{})}
	p.close = sync.OnceFunc(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.ports, addr)
		close(p.done)
	})
	n.ports[addr] = p
	return p, nil
}

func (p *port) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.addr) }

func (p *port) Close() error {
	p.close()
	return nil
}

func (p *port) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

func (p *port) SetWriteDeadline(time.Time) error { return nil }

func (p *port) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	return nil
}

func (p *port) receive() (datagram, error) {
	p.mu.Lock()
	deadline := p.deadline
	p.mu.Unlock()
	select {
	case d := <-p.in:
		return d, nil
	case <-p.done:
		return datagram{}, net.ErrClosed
	default:
	}
	var late <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case d := <-p.in:
		return d, nil
	case <-p.done:
		return datagram{}, net.ErrClosed
	case <-late:
		return datagram{}, os.ErrDeadlineExceeded
	}
}

func (p *port) ReadFrom(b []byte) (int, net.Addr, error) {
	d, err := p.receive()
	if err != nil {
		return 0, nil, err
	}
	return copy(b, d.data), net.UDPAddrFromAddrPort(d.from), nil
}

func (p *port) WriteTo(b []byte, to net.Addr) (int, error) {
	return p.send(b, to.(*net.UDPAddr).AddrPort())
}

func (p *port) send(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-p.done:
		return 0, net.ErrClosed
	default:
	}
	copies := [][]byte{b}
	if p.net.through != nil {
		copies = p.net.through(p.addr, to, b)
	}
	p.net.mu.Lock()
	dst := p.net.ports[to]
	if dst == nil { // a port bound to any address
		dst = p.net.ports[netip.AddrPortFrom(netip.IPv4Unspecified(), to.Port())]
	}
	p.net.mu.Unlock()
	if dst == nil {
		return len(b), nil
	}
	for _, c := range copies {
		select {
		case dst.in <- datagram{p.addr, to, append([]byte(nil), c...)}:
		case <-dst.done:
		}
	}
	return len(b), nil
}

// anyPort is a port bound to any address that knows which one was meant, and
// answers from it.
type anyPort struct{ *port }

func (p anyPort) ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error) {
	d, err := p.receive()
	return copy(b, d.data), d.from, d.to, err
}

func (p anyPort) WriteFromTo(b []byte, from, to netip.AddrPort) (int, error) {
	return (&port{net: p.net, addr: from, done: p.done}).send(b, to)
}

func mustListen(tb testing.TB, n *network, addr string) *port {
	tb.Helper()
	p, err := n.listen(netip.MustParseAddrPort(addr))
	if err != nil {
		tb.Fatalf("listen on %s: %v", addr, err)
	}
	tb.Cleanup(p.close)
	return p
}

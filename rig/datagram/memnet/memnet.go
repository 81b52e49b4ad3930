// Package memnet carries datagrams between ports in memory, for the tests of
// what speaks UDP: nothing is lost unless a test says so, and in a bubble of
// testing/synctest time passes at once.
package memnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// room is how many datagrams a port keeps for its reader.
const room = 4096

// Network is a network in memory, made by New.
type Network struct {
	// Through says what becomes of a datagram: what is delivered in its place.
	// Nil delivers it once. It is set before the first datagram is sent.
	Through func(from, to netip.AddrPort, b []byte) [][]byte

	mu    sync.Mutex
	ports map[netip.AddrPort]*Port
	next  uint16
}

// Datagram is what a port receives.
type Datagram struct {
	From, To netip.AddrPort
	Data     []byte
}

// Port is one end of a network; it is a net.PacketConn.
type Port struct {
	net   *Network
	addr  netip.AddrPort
	in    chan Datagram
	done  chan struct{}
	close func()

	mu       sync.Mutex
	deadline time.Time
}

var _ net.PacketConn = (*Port)(nil)

// New returns a network without ports.
func New() *Network {
	return &Network{ports: map[netip.AddrPort]*Port{}, next: 49152}
}

// Listen opens a port; number 0 takes a free one. One of an unspecified address
// hears what is sent to any IPv4 address that has no port of its own. It is an
// error if somebody has the port.
func (n *Network) Listen(addr netip.AddrPort) (*Port, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if addr.Port() == 0 {
		n.next++
		addr = netip.AddrPortFrom(addr.Addr(), n.next)
	}
	if n.ports[addr] != nil {
		return nil, fmt.Errorf("listen on %v: address in use", addr)
	}
	p := &Port{net: n, addr: addr, in: make(chan Datagram, room), done: make(chan struct{})}
	p.close = sync.OnceFunc(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.ports, addr)
		close(p.done)
	})
	n.ports[addr] = p
	return p, nil
}

// MustListen opens a port until the test ends, and fails the test if it cannot.
func (n *Network) MustListen(tb testing.TB, addr string) *Port {
	tb.Helper()
	p, err := n.Listen(netip.MustParseAddrPort(addr))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.close)
	return p
}

// Open tells whether somebody has the port.
func (n *Network) Open(addr netip.AddrPort) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ports[addr] != nil
}

// Ports is how many ports are open.
func (n *Network) Ports() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.ports)
}

// send carries a datagram of a port that is open until done.
func (n *Network) send(b []byte, from, to netip.AddrPort, done <-chan struct{}) (int, error) {
	select {
	case <-done:
		return 0, net.ErrClosed
	default:
	}
	copies := [][]byte{b}
	if n.Through != nil {
		copies = n.Through(from, to, b)
	}
	n.mu.Lock()
	dst := n.ports[to]
	if dst == nil { // a port bound to any address
		dst = n.ports[netip.AddrPortFrom(netip.IPv4Unspecified(), to.Port())]
	}
	n.mu.Unlock()
	if dst == nil {
		return len(b), nil
	}
	for _, c := range copies {
		select {
		case dst.in <- Datagram{from, to, append([]byte(nil), c...)}:
		case <-dst.done:
		}
	}
	return len(b), nil
}

// LocalAddr implements net.PacketConn; it is a *net.UDPAddr.
func (p *Port) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.addr) }

// Close implements net.PacketConn and wakes a blocked read.
func (p *Port) Close() error {
	p.close()
	return nil
}

// SetDeadline implements net.PacketConn. A write never waits for long.
func (p *Port) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn and does nothing.
func (*Port) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn, for reads that begin after it.
func (p *Port) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	return nil
}

// Receive waits for the next datagram. The error is net.ErrClosed or
// os.ErrDeadlineExceeded.
func (p *Port) Receive() (Datagram, error) {
	p.mu.Lock()
	deadline := p.deadline
	p.mu.Unlock()
	select {
	case d := <-p.in:
		return d, nil
	case <-p.done:
		return Datagram{}, net.ErrClosed
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
		return Datagram{}, net.ErrClosed
	case <-late:
		return Datagram{}, os.ErrDeadlineExceeded
	}
}

// Send sends b to to. What nobody hears is no error, what a closed port sends
// is net.ErrClosed.
func (p *Port) Send(b []byte, to netip.AddrPort) (int, error) {
	return p.net.send(b, p.addr, to, p.done)
}

// ReadFrom implements net.PacketConn; the address is a *net.UDPAddr.
func (p *Port) ReadFrom(b []byte) (int, net.Addr, error) {
	d, err := p.Receive()
	if err != nil {
		return 0, nil, err
	}
	return copy(b, d.Data), net.UDPAddrFromAddrPort(d.From), nil
}

// WriteTo implements net.PacketConn; the address must be a *net.UDPAddr.
func (p *Port) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, errors.New("not a UDP address")
	}
	return p.Send(b, u.AddrPort())
}

// AnyPort is a port bound to any address that knows which one was meant, and
// answers from it.
type AnyPort struct{ *Port }

// ReadFromTo reads a datagram into b, and tells where it came from and to.
func (p AnyPort) ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error) {
	d, err := p.Receive()
	return copy(b, d.Data), d.From, d.To, err
}

// WriteFromTo sends b from the address from.
func (p AnyPort) WriteFromTo(b []byte, from, to netip.AddrPort) (int, error) {
	return p.net.send(b, from, to, p.done)
}

// Package packetpipe is a datagram network in memory for the tests of the
// handset's clients: sockets that need neither a kernel nor a user-space host,
// so that the tests can run in a synctest bubble.
package packetpipe

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// queue is how many datagrams a socket holds unread; further ones are lost.
const queue = 256

// Net hands datagrams from socket to socket by their addresses.
type Net struct {
	mu    sync.Mutex
	socks map[netip.AddrPort]*Conn
	next  uint16
}

// New returns an empty network.
func New() *Net { return &Net{socks: map[netip.AddrPort]*Conn{}, next: 40000} }

// Listen opens a socket; port 0 takes a free one.
func (n *Net) Listen(at netip.AddrPort) (*Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at.Port() == 0 {
		n.next++
		at = netip.AddrPortFrom(at.Addr(), n.next)
	}
	if _, ok := n.socks[at]; ok {
		return nil, fmt.Errorf("udp %v: in use", at)
	}
	c := &Conn{net: n, at: at, in: make(chan datagram, queue), closed: make(chan struct{}), moved: make(chan struct{})}
	n.socks[at] = c
	return c, nil
}

type datagram struct {
	data []byte
	from netip.AddrPort
}

// Conn is one socket.
type Conn struct {
	net    *Net
	at     netip.AddrPort
	in     chan datagram
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	deadline time.Time
	moved    chan struct{} // closed when the deadline changes
}

var _ net.PacketConn = (*Conn)(nil)

// ReadFrom waits for a datagram.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		c.mu.Lock()
		deadline, moved := c.deadline, c.moved
		c.mu.Unlock()
		var expired <-chan time.Time
		if !deadline.IsZero() {
			left := time.Until(deadline)
			if left <= 0 {
				return 0, nil, os.ErrDeadlineExceeded
			}
			timer := time.NewTimer(left)
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case d := <-c.in:
			return copy(b, d.data), net.UDPAddrFromAddrPort(d.from), nil
		case <-c.closed:
			return 0, nil, net.ErrClosed
		case <-expired:
			return 0, nil, os.ErrDeadlineExceeded
		case <-moved:
		}
	}
}

// WriteTo hands a datagram over; without a receiver it is lost.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("udp: %v is no address", to)
	}
	c.net.mu.Lock()
	peer := c.net.socks[netip.AddrPortFrom(udp.AddrPort().Addr().Unmap(), udp.AddrPort().Port())]
	c.net.mu.Unlock()
	if peer != nil {
		select {
		case peer.in <- datagram{append([]byte(nil), b...), c.at}:
		default:
		}
	}
	return len(b), nil
}

// Close wakes a reader.
func (c *Conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		delete(c.net.socks, c.at)
		c.net.mu.Unlock()
	})
	return nil
}

// LocalAddr returns the socket's address.
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.at) }

// Addr returns the socket's address.
func (c *Conn) Addr() netip.AddrPort { return c.at }

// SetDeadline sets the read deadline; writing never waits.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline bounds the reads that run and those to come.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.moved)
	c.moved = make(chan struct{})
	return nil
}

// SetWriteDeadline does nothing: writing never waits.
func (*Conn) SetWriteDeadline(time.Time) error { return nil }

// Package datagram makes one kind of UDP socket of all those that a service
// may be handed: it reads and writes by netip addresses, tells the local
// address that a datagram came to, and answers from it. A service on a host
// with several addresses needs that, because a handset takes no answer from an
// address that it did not ask.
package datagram

import (
	"net"
	"net/netip"
	"sync"
)

type fromToReader interface {
	ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error)
}

type fromToWriter interface {
	WriteFromTo(b []byte, from, to netip.AddrPort) (int, error)
}

// kernelSocket is what a *net.UDPConn can do without allocating an address.
type kernelSocket interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// Socket is a net.PacketConn with its local address told and chosen, as well as
// the connection beneath can do that. Its addresses are never IPv4 mapped into
// IPv6. It is as safe for concurrent use as the connection.
type Socket struct {
	net.PacketConn

	reads  fromToReader
	writes fromToWriter
	kernel kernelSocket
	local  netip.AddrPort

	mu sync.Mutex
	// release is closed when delays end, and another one then stands here.
	release chan struct{}
}

// Upgrade returns a socket on conn, which it uses through
//
//	ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error)
//	WriteFromTo(b []byte, from, to netip.AddrPort) (int, error)
//
// if conn has them, else through the methods of a *net.UDPConn, else through
// those of net.PacketConn.
func Upgrade(conn net.PacketConn) *Socket {
	s := &Socket{PacketConn: conn, local: addrPort(conn.LocalAddr()), release: make(chan struct{})}
	s.reads, _ = conn.(fromToReader)
	s.writes, _ = conn.(fromToWriter)
	s.kernel, _ = conn.(kernelSocket)
	return s
}

// Local is the address that the socket is bound to, which may be unspecified.
// It is invalid if the connection's is no IP address.
func (s *Socket) Local() netip.AddrPort { return s.local }

// ReadFromTo reads a datagram into b and tells its source and the address it
// was sent to; that is Local where the connection does not know better. Errors
// are the connection's.
func (s *Socket) ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error) {
	switch {
	case s.reads != nil:
		n, from, to, err = s.reads.ReadFromTo(b)
	case s.kernel != nil:
		n, from, err = s.kernel.ReadFromUDPAddrPort(b)
	default:
		var addr net.Addr
		n, addr, err = s.ReadFrom(b)
		from = addrPort(addr)
	}
	if !to.IsValid() {
		to = s.local
	}
	return n, unmap(from), unmap(to), err
}

// WriteFromTo sends b to to, from the address from if the connection can do
// that. From an invalid or unspecified address it is left to the connection.
// Errors are the connection's.
func (s *Socket) WriteFromTo(b []byte, from, to netip.AddrPort) (int, error) {
	switch {
	case s.writes != nil && from.IsValid() && !from.Addr().IsUnspecified():
		return s.writes.WriteFromTo(b, from, to)
	case s.kernel != nil:
		return s.kernel.WriteToUDPAddrPort(b, to)
	default:
		return s.WriteTo(b, net.UDPAddrFromAddrPort(to))
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case nil:
		return netip.AddrPort{}
	case *net.UDPAddr:
		return unmap(a.AddrPort())
	default:
		ap, _ := netip.ParseAddrPort(a.String())
		return unmap(ap)
	}
}

func unmap(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

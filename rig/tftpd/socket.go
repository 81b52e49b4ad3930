package tftpd

import (
	"net"
	"net/netip"
)

// socket reads and writes a net.PacketConn by netip addresses, and uses what
// more the connection can do.
type socket struct {
	net.PacketConn

	fromTo interface {
		ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error)
	}
	udp interface {
		ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
		WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	}
	local netip.AddrPort
}

func socketOf(conn net.PacketConn) socket {
	s := socket{PacketConn: conn, local: addrPort(conn.LocalAddr())}
	s.fromTo, _ = conn.(interface {
		ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error)
	})
	s.udp, _ = conn.(interface {
		ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
		WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	})
	return s
}

// read returns a datagram with its source and, as well as it is known, the
// address it was sent to.
func (s socket) read(b []byte) (n int, from, to netip.AddrPort, err error) {
	switch {
	case s.fromTo != nil:
		n, from, to, err = s.fromTo.ReadFromTo(b)
		if !to.IsValid() {
			to = s.local
		}
	case s.udp != nil:
		n, from, err = s.udp.ReadFromUDPAddrPort(b)
		to = s.local
	default:
		var addr net.Addr
		n, addr, err = s.ReadFrom(b)
		from, to = addrPort(addr), s.local
	}
	return n, unmap(from), unmap(to), err
}

func (s socket) write(b []byte, to netip.AddrPort) error {
	var err error
	if s.udp != nil {
		_, err = s.udp.WriteToUDPAddrPort(b, to)
	} else {
		_, err = s.WriteTo(b, net.UDPAddrFromAddrPort(to))
	}
	return err
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

package sipd

import (
	"net"
	"net/netip"
)

// hop is a handset's end and the end of ours that it talks to.
type hop struct{ peer, local netip.AddrPort }

// socket reads and writes a net.PacketConn by netip addresses, and answers from
// the address that was asked if the connection can.
type socket struct {
	net.PacketConn

	reads interface {
		ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error)
	}
	writes interface {
		WriteFromTo(b []byte, from, to netip.AddrPort) (int, error)
	}
	local netip.AddrPort
}

func socketOf(conn net.PacketConn) socket {
	s := socket{PacketConn: conn, local: addrPort(conn.LocalAddr())}
	s.reads, _ = conn.(interface {
		ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error)
	})
	s.writes, _ = conn.(interface {
		WriteFromTo(b []byte, from, to netip.AddrPort) (int, error)
	})
	return s
}

func (s socket) read(b []byte) (n int, h hop, err error) {
	if s.reads != nil {
		n, from, to, err := s.reads.ReadFromTo(b)
		if !to.IsValid() {
			to = s.local
		}
		return n, hop{unmap(from), unmap(to)}, err
	}
	n, addr, err := s.ReadFrom(b)
	return n, hop{addrPort(addr), s.local}, err
}

func (s socket) write(b []byte, h hop) error {
	var err error
	if s.writes != nil && h.local.IsValid() && !h.local.Addr().IsUnspecified() {
		_, err = s.writes.WriteFromTo(b, h.local, h.peer)
	} else {
		_, err = s.WriteTo(b, net.UDPAddrFromAddrPort(h.peer))
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

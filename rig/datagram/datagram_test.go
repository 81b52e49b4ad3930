package datagram_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"ip88rig/rig/datagram"
	"ip88rig/rig/datagram/memnet"
)

const (
	handset = "192.0.2.7:2001"
	asked   = "192.0.2.1:69"
	nobody  = "invalid AddrPort"
)

// onlyReads is a port that tells the address a datagram came to, and no more.
type onlyReads struct{ *memnet.Port }

func (p onlyReads) ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error) {
	return memnet.AnyPort{Port: p.Port}.ReadFromTo(b)
}

// blind is a port that has the methods but does not know the address.
type blind struct{ memnet.AnyPort }

func (p blind) ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error) {
	n, from, _, err = p.AnyPort.ReadFromTo(b)
	return n, from, netip.AddrPort{}, err
}

// mapped is a port with the methods of a kernel's IPv6 socket.
type mapped struct{ *memnet.Port }

func (p mapped) ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error) {
	d, err := p.Receive()
	return copy(b, d.Data), netip.AddrPortFrom(netip.AddrFrom16(d.From.Addr().As16()), d.From.Port()), err
}

func (p mapped) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) { return p.Send(b, to) }

// named is a port whose local address is a word.
type named struct{ *memnet.Port }

func (named) LocalAddr() net.Addr { return &net.UnixAddr{Name: "own", Net: "unixgram"} }

func TestTellsAndChoosesItsLocalAddressAsWellAsTheConnectionCan(t *testing.T) {
	for _, c := range []struct {
		name, bound string
		conn        func(*memnet.Port) net.PacketConn
		local       string
		// to is what the read tells, from where the answer comes from.
		to, from string
	}{
		{
			"a connection of one address", asked, func(p *memnet.Port) net.PacketConn { return p },
			asked, asked, asked,
		},
		{
			"one of any address that knows no better", "0.0.0.0:69", func(p *memnet.Port) net.PacketConn { return p },
			"0.0.0.0:69", "0.0.0.0:69", "0.0.0.0:69",
		},
		{
			"one of any address that does", "0.0.0.0:69", func(p *memnet.Port) net.PacketConn { return memnet.AnyPort{Port: p} },
			"0.0.0.0:69", asked, asked,
		},
		{
			"one that can only tell", "0.0.0.0:69", func(p *memnet.Port) net.PacketConn { return onlyReads{p} },
			"0.0.0.0:69", asked, "0.0.0.0:69",
		},
		{
			"one that does not know the address of this datagram", "0.0.0.0:69", func(p *memnet.Port) net.PacketConn { return blind{memnet.AnyPort{Port: p}} },
			"0.0.0.0:69", "0.0.0.0:69", "0.0.0.0:69",
		},
		{
			"a socket of the kernel", asked, func(p *memnet.Port) net.PacketConn { return mapped{p} },
			asked, asked, asked,
		},
		{
			"one whose address is none", asked, func(p *memnet.Port) net.PacketConn { return named{p} },
			nobody, nobody, asked,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			network := memnet.New()
			client := network.MustListen(t, handset)
			s := datagram.Upgrade(c.conn(network.MustListen(t, c.bound)))
			if got := s.Local().String(); got != c.local {
				t.Errorf("local %s, want %s", got, c.local)
			}
			if _, err := client.Send([]byte("question"), netip.MustParseAddrPort(asked)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			n, from, to, err := s.ReadFromTo(b)
			if err != nil || string(b[:n]) != "question" || from.String() != handset || to.String() != c.to {
				t.Errorf("read %q from %v to %v, %v; want from %s to %s", b[:n], from, to, err, handset, c.to)
			}
			if n, err := s.WriteFromTo([]byte("answer"), to, from); n != 6 || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			d, err := client.Receive()
			if err != nil || string(d.Data) != "answer" || d.From.String() != c.from {
				t.Errorf("answer %q from %v, %v; want from %s", d.Data, d.From, err, c.from)
			}
		})
	}
}

func TestErrorsAreTheConnections(t *testing.T) {
	for name, conn := range map[string]func(*memnet.Port) net.PacketConn{
		"plain": func(p *memnet.Port) net.PacketConn { return p }, "any": func(p *memnet.Port) net.PacketConn { return memnet.AnyPort{Port: p} },
		"kernel": func(p *memnet.Port) net.PacketConn { return mapped{p} },
	} {
		s := datagram.Upgrade(conn(memnet.New().MustListen(t, asked)))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := s.ReadFromTo(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: read: got %v", name, err)
		}
		if _, err := s.WriteFromTo(nil, s.Local(), netip.MustParseAddrPort(handset)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: write: got %v", name, err)
		}
	}
}

func TestWorksOnASocketOfTheKernel(t *testing.T) {
	open := func() *datagram.Socket {
		conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return datagram.Upgrade(conn)
	}
	a, b := open(), open()
	if _, err := a.WriteFromTo([]byte("x"), a.Local(), b.Local()); err != nil {
		t.Fatal(err)
	}
	if n, from, to, err := b.ReadFromTo(make([]byte, 2)); n != 1 || from != a.Local() || to != b.Local() || err != nil {
		t.Errorf("read %d bytes from %v to %v, %v; want from %v to %v", n, from, to, err, a.Local(), b.Local())
	}
}

package memnet_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/datagram/memnet"
)

const handset, server = "192.0.2.7:2001", "192.0.2.1:69"

func TestADatagramArrivesAsOftenAsTheTestSays(t *testing.T) {
	for _, c := range []struct {
		name    string
		through func(from, to netip.AddrPort, b []byte) [][]byte
		want    int
	}{
		{"once if it says nothing", nil, 1},
		{"never", func(_, _ netip.AddrPort, _ []byte) [][]byte { return nil }, 0},
		{"twice", func(_, _ netip.AddrPort, b []byte) [][]byte { return [][]byte{b, b} }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				n.Through = c.through
				from, to := n.MustListen(t, handset), n.MustListen(t, server)
				if _, err := from.WriteTo([]byte("x"), to.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				if err := to.SetDeadline(time.Now().Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
				for got := 0; ; got++ {
					d, err := to.Receive()
					if errors.Is(err, os.ErrDeadlineExceeded) {
						if got != c.want {
							t.Errorf("%d came, want %d", got, c.want)
						}
						return
					}
					if err != nil || d.From.String() != handset || d.To.String() != server || string(d.Data) != "x" {
						t.Fatalf("got %+v, %v", d, err)
					}
				}
			})
		})
	}
}

func TestAPortIsOneUsersUntilItIsClosed(t *testing.T) {
	n := memnet.New()
	p := n.MustListen(t, server)
	addr := netip.MustParseAddrPort(server)
	if _, err := n.Listen(addr); err == nil {
		t.Error("the port was given out twice")
	}
	free, err := n.Listen(netip.MustParseAddrPort("192.0.2.1:0"))
	if err != nil || free.LocalAddr().String() == p.LocalAddr().String() || n.Ports() != 2 {
		t.Errorf("a free port: %v, %v, %d open", free, err, n.Ports())
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed port: %v", err)
	}
	if _, err := p.Send(nil, addr); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write of a closed port: %v", err)
	}
	if n.Open(addr) || n.Ports() != 1 {
		t.Errorf("open %t, %d ports, want the free one alone", n.Open(addr), n.Ports())
	}
	n.MustListen(t, server)
}

package sntpd

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"ip88rig/rig/host"
	"ip88rig/rig/wire"
)

// TestTheRigsHostAnswersFromTheAddressAsked has the server on a host with two
// addresses behind the switch in memory, as a lane has it.
func TestTheRigsHostAnswersFromTheAddressAsked(t *testing.T) {
	sw := wire.NewSwitch()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	start := func(name string, n byte, addrs ...string) *host.Host {
		cfg := host.Config{Port: sw.Access(name, 1), MAC: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, n}}
		for _, a := range addrs {
			cfg.Addrs = append(cfg.Addrs, netip.MustParsePrefix(a))
		}
		h, err := host.New(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
		return h
	}
	rig, phone := start("rig", 1, "192.0.2.1/24", "192.0.2.2/24"), start("phone", 0x10, "192.0.2.10/24")
	conn, err := rig.ListenUDP(netip.MustParseAddrPort("0.0.0.0:123"))
	if err != nil {
		t.Fatal(err)
	}
	var j journal
	s, err := New(Config{Conn: conn, Record: j.record})
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- s.Serve(serving) }() // ends with serving

	ask, err := phone.ListenUDP(netip.MustParseAddrPort("192.0.2.10:123"))
	if err != nil {
		t.Fatal(err)
	}
	if err := ask.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"192.0.2.1:123", "192.0.2.2:123"} {
		if _, err := ask.WriteFromTo(request(4<<3|3), netip.AddrPort{}, netip.MustParseAddrPort(to)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, from, _, err := ask.ReadFromTo(b)
		if err != nil || n != packetLen || from.String() != to {
			t.Errorf("asked %s: %d bytes from %v (%v)", to, n, from, err)
		}
		if e := j.last(); e.Dst.String() != to || e.Src != handset {
			t.Errorf("recorded Src %v Dst %v, want %v and %s", e.Src, e.Dst, handset, to)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

package tftpd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/host"
	"ip88rig/rig/tftpd"
	"ip88rig/rig/wire"
)

// TestOverTheHost fetches over Ethernet frames, from a server that is bound to
// no particular address of the rig's TCP/IP host.
func TestOverTheHost(t *testing.T) {
	t.Parallel()
	sw := wire.NewSwitch()
	station := func(n byte) *host.Host {
		h, err := host.New(t.Context(), host.Config{
			Port: sw.Access(fmt.Sprint(n), 1), MAC: net.HardwareAddr{0, 0, 0x5e, 0, 0x53, n}, Seed: uint64(n),
			Addrs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, n}), 24)},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		return h
	}
	rig, phone := station(1), station(7)
	second := netip.MustParseAddr("192.0.2.2")
	if err := rig.AddAddr(netip.PrefixFrom(second, 24)); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.files["image.rom"] = content(1<<20 + 7)
	conn, err := rig.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 69))
	if err != nil {
		t.Fatal(err)
	}
	_, end := b.start(func(c *tftpd.Config) {
		c.Conn = conn
		c.Transfer = func(local netip.Addr) (net.PacketConn, error) {
			return rig.ListenUDP(netip.AddrPortFrom(local, 0))
		}
	})
	sock, err := phone.ListenUDP(netip.AddrPortFrom(phone.Addr(), 2001))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sock.Close() }()
	if err := sock.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for i, block := range []int{1428, 65464} { // the larger one in fragments
		request := rrq("image.rom", "octet", "blksize", fmt.Sprint(block))
		if _, err := sock.WriteTo(request, net.UDPAddrFromAddrPort(netip.AddrPortFrom(second, 69))); err != nil {
			t.Fatal(err)
		}
		var got []byte
		buf := make([]byte, 70<<10)
		for last := -1; ; {
			n, from, _, err := sock.ReadFromTo(buf)
			if err != nil {
				t.Fatal(err)
			}
			if from.Addr() != second {
				t.Fatalf("answer from %v, asked %v", from, second)
			}
			now := 0
			if buf[1] == 3 {
				now = int(binary.BigEndian.Uint16(buf[2:]))
			}
			if now == last+1 {
				last = now
				if now > 0 {
					got = append(got, buf[4:n]...)
				}
			}
			if _, err := sock.WriteTo(ack(last), net.UDPAddrFromAddrPort(from)); err != nil {
				t.Fatal(err)
			}
			if buf[1] == 3 && n-4 < block {
				break
			}
		}
		if !bytes.Equal(got, b.files["image.rom"]) {
			t.Errorf("blksize %d: got %d bytes that differ from the %d of the file", block, len(got), len(b.files["image.rom"]))
		}
		b.awaitN(timeline.Served, i+1)
	}
	end()
	for _, e := range b.of(timeline.Served) {
		if !e.Complete || e.Dst.Addr() != second || e.Fields["retransmissions"] != "0" {
			t.Errorf("journal has %+v", e)
		}
	}
}

package tftpd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"ip88rig/rig/datagram/memnet"
)

// end is what both an in-memory port and a kernel socket can do for pull.
type end interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// memEnd gives an in-memory port the methods of a kernel socket.
type memEnd struct{ *memnet.Port }

func (p memEnd) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	d, err := p.Receive()
	return copy(b, d.Data), d.From, err
}

func (p memEnd) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) { return p.Send(b, to) }

// pull fetches a file over a wire that loses nothing, as fast as it can.
func pull(b *testing.B, e end, server netip.AddrPort, name string, block, window int) (total int) {
	b.Helper()
	var opts []string
	if block != 512 {
		opts = append(opts, "blksize", strconv.Itoa(block))
	}
	if window != 1 {
		opts = append(opts, "windowsize", strconv.Itoa(window))
	}
	if _, err := e.WriteToUDPAddrPort(rrq(name, "octet", opts...), server); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	for blocks := 0; ; {
		n, from, err := e.ReadFromUDPAddrPort(buf)
		if err != nil {
			b.Fatal(err)
		}
		switch buf[1] {
		case 6:
		case 3:
			if got := int(binary.BigEndian.Uint16(buf[2:])); got != (blocks+1)&0xffff {
				continue // an old one; a lost one ends in the read's deadline
			}
			blocks++
			total += n - 4
		default:
			b.Fatalf("got %s", show(buf[:n]))
		}
		done := buf[1] == 3 && n-4 < block
		if buf[1] == 6 || done || blocks%window == 0 {
			if _, err := e.WriteToUDPAddrPort(ack(blocks), from); err != nil {
				b.Fatal(err)
			}
		}
		if done {
			return total
		}
	}
}

func BenchmarkInMemory(b *testing.B) {
	for _, c := range []struct {
		name          string
		block, window int
	}{{"512", 512, 1}, {"1428", 1428, 1}, {"1428x8", 1428, 8}} {
		b.Run(c.name, func(b *testing.B) {
			r := newBench(b)
			r.files["image.rom"] = content(16 << 20)
			r.start()
			server := netip.MustParseAddrPort(wellKnown)
			b.SetBytes(16 << 20)
			b.ReportAllocs()
			port := 2000
			for b.Loop() {
				port++
				p, err := r.net.Listen(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), uint16(port)))
				if err != nil {
					b.Fatal(err)
				}
				if got := pull(b, memEnd{p}, server, "image.rom", c.block, c.window); got != 16<<20 {
					b.Fatalf("%d bytes", got)
				}
				_ = p.Close()
			}
		})
	}
}

// timePull is how long one file takes over loopback.
func timePull(b *testing.B, conn *net.UDPConn, server netip.AddrPort, name string, block int) time.Duration {
	b.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if got := pull(b, conn, server, name, block, 1); got != 16<<20 {
		b.Fatalf("%d bytes", got)
	}
	return time.Since(began)
}

// BenchmarkAgainstDnsmasq fetches 16 MiB from both servers in turn. An
// "x-dnsmasq" below 1 means that ours is the faster one.
func BenchmarkAgainstDnsmasq(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	image := bytes.Repeat(content(1<<20), 16)
	theirs := netip.MustParseAddrPort("127.0.0.1:69")
	there := startDnsmasq(ctx, b, "image.rom", image)
	for _, block := range []int{512, 1428} {
		b.Run(strconv.Itoa(block), func(b *testing.B) {
			r := newBench(b)
			r.files["image.rom"] = image
			port, stop := r.onLoopback()
			defer stop()
			ours := netip.AddrPortFrom(theirs.Addr(), uint16(port))
			var mine, other time.Duration
			for b.Loop() {
				here, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					b.Fatal(err)
				}
				mine += timePull(b, here, ours, "image.rom", block)
				_ = here.Close()
				other += timePull(b, there, theirs, "image.rom", block)
			}
			megabytes := float64(b.N) * (16 << 20) / 1e6
			b.ReportMetric(float64(mine)/float64(other), "x-dnsmasq")
			b.ReportMetric(megabytes/mine.Seconds(), "MB/s-ours")
			b.ReportMetric(megabytes/other.Seconds(), "MB/s-dnsmasq")
		})
	}
}

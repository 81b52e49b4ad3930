package host_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"ip88rig/rig/wire"
)

// BenchmarkTCP moves n bytes over a new connection of a switch in memory.
func BenchmarkTCP(b *testing.B) {
	for _, n := range []int{256 << 10, 16 << 20} {
		b.Run(fmt.Sprintf("%d KiB", n>>10), func(b *testing.B) { transfer(b, n, nil) })
		b.Run(fmt.Sprintf("%d KiB TLS", n>>10), func(b *testing.B) { transfer(b, n, certificate(b)) })
	}
}

func transfer(b *testing.B, n int, cert *tls.Certificate) {
	b.Helper()
	sw := wire.NewSwitch()
	server, handset := start(b, sw, 1), start(b, sw, 2)
	to := netip.AddrPortFrom(at(1), 443)
	l, err := server.ListenTCP(to)
	if err != nil {
		b.Fatal(err)
	}
	if cert != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12})
	}
	body := image(n)
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					b.Error(err)
				}
				return
			}
			if _, err := c.Write(body); err != nil {
				b.Error(err)
			}
			_ = c.Close()
		}
	}()
	b.Cleanup(func() { _ = l.Close() })
	ctx := b.Context()
	b.SetBytes(int64(n))
	for b.Loop() {
		c, err := handset.DialTCP(ctx, netip.AddrPort{}, to)
		if err != nil {
			b.Fatal(err)
		}
		if cert != nil {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
		}
		if got, err := io.Copy(io.Discard, c); got != int64(n) || err != nil {
			b.Fatalf("read %d bytes, %v, want %d", got, err, n)
		}
		_ = c.Close()
	}
	if d := sw.Dropped(); d != 0 {
		b.Errorf("the switch dropped %d frames", d)
	}
}

func certificate(b *testing.B) *tls.Certificate {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
	}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// BenchmarkUDP sends a datagram and waits for its echo.
func BenchmarkUDP(b *testing.B) {
	sw := wire.NewSwitch()
	server, handset := start(b, sw, 1), start(b, sw, 2)
	s, err := server.ListenUDP(netip.AddrPortFrom(at(1), 69))
	if err != nil {
		b.Fatal(err)
	}
	go func() { // ends with the socket
		buf := make([]byte, 2000)
		for {
			n, from, to, err := s.ReadFromTo(buf)
			if err != nil {
				return
			}
			if _, err := s.WriteFromTo(buf[:n], to, from); err != nil {
				b.Error(err)
			}
		}
	}()
	b.Cleanup(func() { _ = s.Close() })
	c, err := handset.DialUDP(b.Context(), netip.AddrPort{}, netip.AddrPortFrom(at(1), 69))
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

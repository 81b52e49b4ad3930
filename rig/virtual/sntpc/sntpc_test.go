package sntpc

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/virtual/internal/packetpipe"
)

var (
	server   = netip.MustParseAddrPort("192.0.2.1:123")
	stranger = netip.MustParseAddrPort("192.0.2.9:123")
	client   = netip.MustParseAddr("192.0.2.100")
)

// stamp is a time of NTP era 0 or 1 (RFC 4330, 3).
func stamp(t time.Time) []byte {
	seconds := t.Unix() + 2208988800
	return binary.BigEndian.AppendUint64(nil, uint64(seconds)<<32|uint64(t.Nanosecond())<<32/1e9)
}

// answer is what a good server says to a question at a time.
func answer(question []byte, at time.Time) []byte {
	p := make([]byte, packet)
	p[0], p[1], p[2], p[3] = 4<<3|modeServer, 2, 6, 0xec
	copy(p[16:], stamp(at.Add(-time.Second)))
	copy(p[24:], question[40:48])
	copy(p[32:], stamp(at))
	copy(p[40:], stamp(at))
	return p
}

func TestQuery(t *testing.T) {
	year := 365 * 24 * time.Hour
	for _, test := range []struct {
		name   string
		edit   func(n int, p []byte) []byte // of the n-th answer; nil for none
		ahead  time.Duration                // of the server's clock
		delay  time.Duration
		want   error
		asked  int
		prefix func(question []byte) []byte // sent by a stranger before
	}{
		{name: "takes the time", ahead: time.Hour, asked: 1},
		{name: "takes a time far behind", ahead: -20 * year, asked: 1},
		{name: "takes a time past the rollover of 2036", ahead: 40 * year, asked: 1},
		{name: "gives up on silence", edit: func(int, []byte) []byte { return nil }, want: ErrTimeout, asked: 3},
		{name: "asks again", edit: func(n int, p []byte) []byte {
			if n == 1 {
				return nil
			}
			return p
		}, asked: 2},
		{name: "stops at a kiss of death", edit: func(_ int, p []byte) []byte {
			p[1] = 0
			copy(p[12:], "DENY")
			return p
		}, want: ErrKissOfDeath, asked: 1},
		{name: "refuses a server without time", edit: func(_ int, p []byte) []byte { p[0] |= 3 << 6; return p }, want: ErrUnusable, asked: 3},
		{name: "refuses stratum 16", edit: func(_ int, p []byte) []byte { p[1] = 16; return p }, want: ErrUnusable, asked: 3},
		{name: "refuses a transmit stamp of zero", edit: func(_ int, p []byte) []byte { clear(p[40:48]); return p }, want: ErrUnusable, asked: 3},
		{name: "passes over a wrong mode", edit: func(_ int, p []byte) []byte { p[0] = 4<<3 | 3; return p }, want: ErrTimeout, asked: 3},
		{name: "passes over a wrong origin stamp", edit: func(_ int, p []byte) []byte { p[24]++; return p }, want: ErrTimeout, asked: 3},
		{name: "passes over half a packet", edit: func(_ int, p []byte) []byte { return p[:40] }, want: ErrTimeout, asked: 3},
		{name: "passes over a stranger", prefix: func(q []byte) []byte { return answer(q, time.Now().Add(9*time.Hour)) }, ahead: time.Hour, asked: 1},
		{name: "passes over an answer that comes too late", delay: 5 * time.Second, want: ErrTimeout, asked: 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := packetpipe.New()
				sock, err := network.Listen(server)
				if err != nil {
					t.Fatal(err)
				}
				other, err := network.Listen(stranger)
				if err != nil {
					t.Fatal(err)
				}
				asked := 0
				done := make(chan struct{})
				go func() { // ends when the socket is closed
					defer close(done)
					buf := make([]byte, 512)
					for {
						n, from, err := sock.ReadFrom(buf)
						if err != nil {
							return
						}
						asked++
						p := answer(buf[:n], time.Now().Add(test.ahead))
						if test.edit != nil {
							p = test.edit(asked, p)
						}
						if test.prefix != nil {
							_, _ = other.WriteTo(test.prefix(buf[:n]), from)
						}
						<-time.After(test.delay)
						if p != nil {
							_, _ = sock.WriteTo(p, from)
						}
					}
				}()
				got, err := Query(t.Context(), func(context.Context) (net.PacketConn, error) {
					return network.Listen(netip.AddrPortFrom(client, 0))
				}, server, 4*time.Second, 3)
				if !errors.Is(err, test.want) {
					t.Errorf("got error %v, want %v", err, test.want)
				}
				if off := got - test.ahead; test.want == nil && off.Abs() > time.Millisecond {
					t.Errorf("got offset %v, want %v", got, test.ahead)
				}
				<-time.After(time.Minute)
				_, _ = sock.Close(), other.Close()
				<-done
				if asked != test.asked {
					t.Errorf("asked %d times, want %d", asked, test.asked)
				}
			})
		})
	}
}

func TestChrony(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("chronyd"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "chrony.conf")
	text := "local stratum 3\nallow 127.0.0.1\nport 20123\nbindaddress 127.0.0.1\ncmdport 0\nbindcmdaddress /\npidfile " + dir + "/pid\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "chronyd", "-x", "-d", "-u", "root", "-f", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	got, err := Query(t.Context(), func(ctx context.Context) (net.PacketConn, error) {
		return new(net.ListenConfig).ListenPacket(ctx, "udp4", "127.0.0.1:0")
	}, netip.MustParseAddrPort("127.0.0.1:20123"), 300*time.Millisecond, 30)
	if err != nil || got.Abs() > time.Second {
		t.Errorf("got %v %v, want about 0", got, err)
	}
}

func FuzzAnswers(f *testing.F) {
	q := make([]byte, packet)
	f.Add(answer(q, time.Unix(1e9, 0)), make([]byte, 8))
	f.Fuzz(func(t *testing.T, p, origin []byte) {
		if answers(p, origin) && len(p) < packet {
			t.Errorf("took %d bytes", len(p))
		}
	})
}

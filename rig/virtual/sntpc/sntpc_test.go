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

	"ip88rig/rig/virtual/defect"
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
	believes := defect.Set{defect.BelievesUnsynchronised}
	for _, test := range []struct {
		name   string
		edit   func(n int, p []byte) []byte // of the n-th answer; nil for none
		ahead  time.Duration                // of the server's clock
		delay  time.Duration
		want   error
		asked  int
		prefix func(question []byte) []byte // sent by a stranger before

		late    time.Duration
		gaveUp  bool
		defects defect.Set
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
		{name: "takes the answer to the request before", delay: 5 * time.Second, asked: 2},
		{name: "takes an answer after it has given up", delay: time.Minute, asked: 3, gaveUp: true, late: time.Hour},
		{name: "passes over an answer that comes too late", delay: time.Minute, want: ErrTimeout, asked: 3},
		{name: "passes over an unusable answer for a good one", edit: func(n int, p []byte) []byte {
			if n == 1 {
				p[0] |= 3 << 6
			}
			return p
		}, asked: 2},
		{name: "stops at a kiss of death that comes late", delay: time.Minute, edit: func(_ int, p []byte) []byte {
			p[1] = 0
			copy(p[12:], "RATE")
			return p
		}, asked: 3, gaveUp: true, late: time.Hour, want: ErrKissOfDeath},
		{name: "takes the time of a server without time, with the defect", edit: func(_ int, p []byte) []byte { p[0] |= 3 << 6; return p }, ahead: year, asked: 1, defects: believes},
		{name: "takes the time of stratum 16, with the defect", edit: func(_ int, p []byte) []byte { p[1] = 16; return p }, ahead: year, asked: 1, defects: believes},
		{name: "refuses a transmit stamp of zero with the defect, too", edit: func(_ int, p []byte) []byte { clear(p[40:48]); return p }, want: ErrUnusable, asked: 3, defects: believes},
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
				gaveUp := false
				got, err := Ask(t.Context(), Config{
					Listen: func(context.Context) (net.PacketConn, error) {
						return network.Listen(netip.AddrPortFrom(client, 0))
					},
					Server: server, Timeout: 4 * time.Second, Tries: 3, Late: test.late, Defects: test.defects,
					GaveUp: func(error) { gaveUp = true },
				})
				if gaveUp != test.gaveUp {
					t.Errorf("gave up: %t, want %t", gaveUp, test.gaveUp)
				}
				if !errors.Is(err, test.want) {
					t.Errorf("got error %v, want %v", err, test.want)
				}
				if off := got.Offset - test.ahead; test.want == nil && off.Abs() > test.delay/2+time.Millisecond {
					t.Errorf("got offset %v, want %v", got.Offset, test.ahead)
				}
				if want := test.want == nil && len(test.defects) > 0; got.Unsynchronised != want {
					t.Errorf("unsynchronised: %t, want %t", got.Unsynchronised, want)
				}
				<-time.After(time.Hour)
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
	got, err := Ask(t.Context(), Config{
		Listen: func(ctx context.Context) (net.PacketConn, error) {
			return new(net.ListenConfig).ListenPacket(ctx, "udp4", "127.0.0.1:0")
		},
		Server: netip.MustParseAddrPort("127.0.0.1:20123"), Timeout: 300 * time.Millisecond, Tries: 30,
	})
	if err != nil || got.Offset.Abs() > time.Second {
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

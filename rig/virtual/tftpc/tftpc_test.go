package tftpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/virtual/internal/packetpipe"
)

var (
	server = netip.MustParseAddrPort("192.0.2.1:69")
	tid    = netip.MustParseAddrPort("192.0.2.1:2001")
	client = netip.MustParseAddr("192.0.2.100")
)

// step is one packet of the server: sent as soon as the client has sent its
// n-th packet, from the transfer id unless told otherwise.
type step struct {
	after  int
	from   netip.AddrPort
	packet []byte
}

func dataPacket(block uint16, data string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0, opDATA}, block), data...)
}

func oack(pairs ...string) []byte {
	return append([]byte{0, opOACK}, strings.Join(pairs, "\x00")+"\x00"...)
}

func words(p []byte) string {
	switch binary.BigEndian.Uint16(p) {
	case opRRQ:
		return "RRQ " + strings.TrimRight(strings.ReplaceAll(string(p[2:]), "\x00", " "), " ")
	case opACK:
		return fmt.Sprintf("ACK %d", binary.BigEndian.Uint16(p[2:]))
	case opERROR:
		return fmt.Sprintf("ERROR %d", binary.BigEndian.Uint16(p[2:]))
	}
	return fmt.Sprintf("% x", p)
}

func TestGet(t *testing.T) {
	full := strings.Repeat("x", 512)
	other := netip.MustParseAddrPort("192.0.2.1:2002")
	stranger := netip.MustParseAddrPort("192.0.2.9:2001")
	for _, test := range []struct {
		name    string
		options string
		limit   int
		steps   []step
		want    string // packets of the client
		body    string
		fails   string // part of the error
		is      error
	}{
		{
			name:  "reads a file of one short block",
			steps: []step{{1, tid, dataPacket(1, "hello")}},
			want:  "RRQ f octet, ACK 1", body: "hello",
		},
		{
			name:  "reads an empty file",
			steps: []step{{1, tid, dataPacket(1, "")}},
			want:  "RRQ f octet, ACK 1",
		},
		{
			name:  "ends a file of a whole block with an empty one",
			steps: []step{{1, tid, dataPacket(1, full)}, {2, tid, dataPacket(2, "")}},
			want:  "RRQ f octet, ACK 1, ACK 2", body: full,
		},
		{
			name: "negotiates", options: "tsize blksize=8",
			steps: []step{{1, tid, oack("TSIZE", "10", "blksize", "8")}, {2, tid, dataPacket(1, "12345678")}, {3, tid, dataPacket(2, "90")}},
			want:  "RRQ f octet tsize 0 blksize 8, ACK 0, ACK 1, ACK 2", body: "1234567890",
		},
		{
			name: "takes plain data for an answer to options", options: "blksize=1428",
			steps: []step{{1, tid, dataPacket(1, full)}, {2, tid, dataPacket(2, "y")}},
			want:  "RRQ f octet blksize 1428, ACK 1, ACK 2", body: full + "y",
		},
		{
			name: "asks without options when they are refused", options: "tsize",
			steps: []step{{1, tid, errorPacket(RefusedOption, "no")}, {2, tid, dataPacket(1, "hello")}},
			want:  "RRQ f octet tsize 0, RRQ f octet, ACK 1", body: "hello",
		},
		{
			name: "refuses a larger block than it asked for", options: "blksize=512",
			steps: []step{{1, tid, oack("blksize", "1024")}},
			want:  "RRQ f octet blksize 512, ERROR 8", fails: "blksize",
		},
		{
			name: "refuses an option it did not ask for", options: "tsize",
			steps: []step{{1, tid, oack("windowsize", "4")}},
			want:  "RRQ f octet tsize 0, ERROR 8", fails: "windowsize",
		},
		{
			name:  "answers a wrong transfer id with error 5 and goes on",
			steps: []step{{1, tid, dataPacket(1, full)}, {2, other, dataPacket(2, "bad")}, {2, stranger, dataPacket(2, "bad")}, {4, tid, dataPacket(2, "good")}},
			want:  "RRQ f octet, ACK 1, ERROR 5, ERROR 5, ACK 2", body: full + "good",
		},
		{
			name:  "does not let a stranger start the transfer",
			steps: []step{{1, stranger, dataPacket(1, "bad")}, {2, tid, dataPacket(1, "good")}},
			want:  "RRQ f octet, ERROR 5, ACK 1", body: "good",
		},
		{
			name:  "answers a block that comes twice with one more ACK, an old one not at all",
			steps: []step{{1, tid, dataPacket(1, full)}, {2, tid, dataPacket(1, full)}, {3, tid, dataPacket(2, full)}, {4, tid, dataPacket(1, full)}, {4, tid, dataPacket(3, "y")}},
			want:  "RRQ f octet, ACK 1, ACK 1, ACK 2, ACK 3", body: full + full + "y",
		},
		{
			name:  "passes over a block from the future and garbage",
			steps: []step{{1, tid, dataPacket(7, "no")}, {1, tid, []byte{0}}, {1, tid, []byte{0, 9, 0, 1}}, {1, tid, dataPacket(1, "good")}},
			want:  "RRQ f octet, ACK 1", body: "good",
		},
		{
			name: "repeats the ACK of the options when they come again", options: "tsize",
			steps: []step{{1, tid, oack("tsize", "2")}, {2, tid, oack("tsize", "2")}, {3, tid, dataPacket(1, "ab")}},
			want:  "RRQ f octet tsize 0, ACK 0, ACK 0, ACK 1", body: "ab",
		},
		{
			name:  "sends the last ACK again on silence",
			steps: []step{{1, tid, dataPacket(1, full)}, {3, tid, dataPacket(2, "y")}},
			want:  "RRQ f octet, ACK 1, ACK 1, ACK 2", body: full + "y",
		},
		{
			name:  "gives up on silence",
			steps: []step{{1, tid, dataPacket(1, full)}},
			want:  "RRQ f octet, ACK 1, ACK 1, ACK 1", is: ErrTimeout,
		},
		{
			name:  "hands on the server's error",
			steps: []step{{1, tid, errorPacket(FileNotFound, "gone")}},
			want:  "RRQ f octet", fails: `error 1 "gone"`,
		},
		{
			name: "refuses a file past its limit", limit: 600,
			steps: []step{{1, tid, dataPacket(1, full)}, {2, tid, dataPacket(2, full)}},
			want:  "RRQ f octet, ACK 1, ERROR 3", fails: "longer than 600",
		},
		{
			name: "refuses a file that is not as long as announced", options: "tsize",
			steps: []step{{1, tid, oack("tsize", "9")}, {2, tid, dataPacket(1, "ab")}},
			want:  "RRQ f octet tsize 0, ACK 0, ACK 1", fails: "tsize 9",
		},
		{
			name:  "refuses a block that is too long",
			steps: []step{{1, tid, dataPacket(1, full+"x")}},
			want:  "RRQ f octet, ERROR 4", fails: "513 bytes",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := packetpipe.New()
				var got []string
				steps := test.steps
				fire := func(socks map[netip.AddrPort]*packetpipe.Conn, to net.Addr) {
					for len(steps) > 0 && steps[0].after <= len(got) {
						if _, err := socks[steps[0].from].WriteTo(steps[0].packet, to); err != nil {
							t.Error(err)
						}
						steps = steps[1:]
					}
				}
				socks := map[netip.AddrPort]*packetpipe.Conn{}
				in := make(chan struct{}, 1)
				in <- struct{}{}
				for _, at := range []netip.AddrPort{server, tid, other, stranger} {
					c, err := network.Listen(at)
					if err != nil {
						t.Fatal(err)
					}
					socks[at] = c
					defer c.Close() //nolint:errcheck // in memory
				}
				for _, c := range socks {
					go func() { // ends when its socket is closed
						buf := make([]byte, 2048)
						for {
							n, from, err := c.ReadFrom(buf)
							if err != nil {
								return
							}
							<-in
							got = append(got, words(buf[:n]))
							fire(socks, from)
							in <- struct{}{}
						}
					}()
				}
				options, err := ParseOptions(test.options)
				if err != nil {
					t.Fatal(err)
				}
				body, err := Get(t.Context(), Config{
					Listen: func(context.Context) (net.PacketConn, error) {
						return network.Listen(netip.AddrPortFrom(client, 0))
					},
					Server: server, Options: options, Timeout: 4 * time.Second, Tries: 3, Limit: test.limit,
				}, "f")
				synctest.Wait()
				<-in
				if s := strings.Join(got, ", "); s != test.want {
					t.Errorf("client sent %s\nwant %s", s, test.want)
				}
				switch {
				case test.is != nil && !errors.Is(err, test.is), test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)):
					t.Errorf("got error %v, want %v%s", err, test.is, test.fails)
				case test.is == nil && test.fails == "" && err != nil:
					t.Error(err)
				}
				if string(body) != test.body {
					t.Errorf("got body %q, want %q", body, test.body)
				}
				in <- struct{}{}
			})
		})
	}
}

func TestBlockNumbersWrap(t *testing.T) {
	network := packetpipe.New()
	sock, err := network.Listen(server)
	if err != nil {
		t.Fatal(err)
	}
	const blocks = 65540
	want := bytes.Repeat([]byte("12345678"), blocks)
	go func() { // ends when the socket is closed
		buf := make([]byte, 2048)
		for block := 0; ; block++ {
			_, from, err := sock.ReadFrom(buf)
			if err != nil {
				return
			}
			switch {
			case block == 0:
				_, _ = sock.WriteTo(oack("blksize", "8"), from)
			case block <= blocks:
				_, _ = sock.WriteTo(dataPacket(uint16(block), "12345678"), from)
			default:
				_, _ = sock.WriteTo(dataPacket(uint16(block), ""), from)
			}
		}
	}()
	defer sock.Close() //nolint:errcheck // in memory
	got, err := Get(t.Context(), Config{
		Listen: func(context.Context) (net.PacketConn, error) {
			return network.Listen(netip.AddrPortFrom(client, 0))
		},
		Server: server, Options: []Option{{"blksize", "8"}}, Timeout: 10 * time.Second, Tries: 1,
	}, "f")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes and %v, want %d", len(got), err, len(want))
	}
}

func TestServerErrorIsTyped(t *testing.T) {
	err := fmt.Errorf("a: %w", &ServerError{FileNotFound, "gone"})
	if got, ok := errors.AsType[*ServerError](err); !ok || got.Code != FileNotFound {
		t.Errorf("got %v", got)
	}
}

func FuzzTransfer(f *testing.F) {
	f.Add(dataPacket(1, "x"), dataPacket(2, "x"))
	f.Add(oack("tsize", "3", "blksize", "9"), dataPacket(1, "abc"))
	f.Add(errorPacket(FileNotFound, "gone"), []byte{0, opOACK, 0})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		network := packetpipe.New()
		conn, err := network.Listen(netip.AddrPortFrom(client, 0))
		if err != nil {
			t.Fatal(err)
		}
		tr := transfer{cfg: Config{Limit: 1000, Server: server, Options: []Option{{"tsize", "0"}, {"blksize", "16"}}}, conn: conn, block: plainBlock, size: -1}
		for _, p := range [][]byte{first, second} {
			if _, finished, err := tr.take(p, tid); err != nil || finished {
				break
			}
		}
		if len(tr.body) > 1000 {
			t.Errorf("took %d bytes", len(tr.body))
		}
	})
}

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

	"ip88rig/rig/virtual/defect"
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
		defects defect.Set
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
			steps: []step{{1, tid, oack("blksize", "1024")}, {3, tid, dataPacket(1, "hello")}},
			want:  "RRQ f octet blksize 512, ERROR 8, RRQ f octet, ACK 1", body: "hello",
		},
		{
			name: "refuses an option it did not ask for", options: "tsize",
			steps: []step{{1, tid, oack("windowsize", "4")}, {3, tid, dataPacket(1, "hello")}},
			want:  "RRQ f octet tsize 0, ERROR 8, RRQ f octet, ACK 1", body: "hello",
		},
		{
			name: "refuses a block size of nothing, and a size that is no number", options: "tsize blksize=512",
			steps: []step{{1, tid, oack("blksize", "0")}, {3, tid, errorPacket(NotDefined, "no")}},
			want:  "RRQ f octet tsize 0 blksize 512, ERROR 8, RRQ f octet", fails: `error 0 "no"`,
		},
		{
			name: "gives up on a server that refuses options without being asked for any", options: "tsize",
			steps: []step{{1, tid, errorPacket(RefusedOption, "no")}, {2, tid, errorPacket(RefusedOption, "no")}},
			want:  "RRQ f octet tsize 0, RRQ f octet", fails: "error 8",
		},
		{
			name: "refuses a size that is no number", options: "tsize",
			steps: []step{{1, tid, oack("tsize", "99999999999999999999")}, {3, tid, dataPacket(1, "hello")}},
			want:  "RRQ f octet tsize 0, ERROR 8, RRQ f octet, ACK 1", body: "hello",
		},
		{
			name:  "does not answer an error of a stranger with one",
			steps: []step{{1, tid, dataPacket(1, full)}, {2, other, errorPacket(DiskFull, "bad")}, {2, tid, dataPacket(2, "good")}},
			want:  "RRQ f octet, ACK 1, ACK 2", body: full + "good",
		},
		{
			name:  "refuses what ended in an error",
			steps: []step{{1, tid, dataPacket(1, full)}, {2, tid, errorPacket(DiskFull, "full")}},
			want:  "RRQ f octet, ACK 1", fails: `error 3 "full"`,
		},
		{
			name: "never retries: a lost block ends the transfer", defects: defect.Set{defect.NeverRetries},
			steps: []step{{1, tid, dataPacket(1, full)}, {3, tid, dataPacket(2, "y")}},
			want:  "RRQ f octet, ACK 1", is: ErrTimeout,
		},
		{
			name: "never retries: nor is an ACK sent twice", defects: defect.Set{defect.NeverRetries},
			steps: []step{{1, tid, dataPacket(1, full)}, {2, tid, dataPacket(1, full)}, {2, tid, dataPacket(2, "y")}},
			want:  "RRQ f octet, ACK 1, ACK 2", body: full + "y",
		},
		{
			name: "takes what it has for whole at the fifth repeat", defects: defect.Set{defect.TiresOfRepeats},
			steps: []step{{1, tid, dataPacket(1, full)}, {4, tid, dataPacket(2, full)}, {7, tid, dataPacket(3, full)}},
			want:  "RRQ f octet, ACK 1, ACK 1, ACK 1, ACK 2, ACK 2, ACK 2, ACK 3", body: full + full + full,
		},
		{
			name: "goes on before that", defects: defect.Set{defect.TiresOfRepeats},
			steps: []step{{1, tid, dataPacket(1, full)}, {4, tid, dataPacket(2, full)}, {7, tid, dataPacket(3, "y")}},
			want:  "RRQ f octet, ACK 1, ACK 1, ACK 1, ACK 2, ACK 2, ACK 2, ACK 3", body: full + full + "y",
		},
		{
			name:  "answers a block that comes four times with one more ACK",
			steps: []step{{1, tid, dataPacket(1, full)}, {2, tid, dataPacket(1, full)}, {3, tid, dataPacket(1, full)}, {3, tid, dataPacket(1, full)}, {3, tid, dataPacket(2, "y")}},
			want:  "RRQ f octet, ACK 1, ACK 1, ACK 2", body: full + "y",
		},
		{
			name: "doubles the ACK of each duplicate", defects: defect.Set{defect.DoublesAcks},
			steps: []step{{1, tid, dataPacket(1, full)}, {2, tid, dataPacket(1, full)}, {4, tid, dataPacket(1, full)}, {6, tid, dataPacket(2, "y")}},
			want:  "RRQ f octet, ACK 1, ACK 1, ACK 1, ACK 1, ACK 1, ACK 2", body: full + "y",
		},
		{
			name: "doubles the ACK of a duplicate", defects: defect.Set{defect.DoublesAcks},
			steps: []step{{1, tid, dataPacket(1, full)}, {2, tid, dataPacket(1, full)}, {4, tid, dataPacket(2, "y")}},
			want:  "RRQ f octet, ACK 1, ACK 1, ACK 1, ACK 2", body: full + "y",
		},
		{
			name: "asks for ever where nobody answers", defects: defect.Set{defect.RetriesForever},
			steps: []step{{11, tid, dataPacket(1, "hello")}},
			want:  strings.Repeat("RRQ f octet, ", 11) + "ACK 1", body: "hello",
		},
		{
			name: "asks for ever, but not for what was refused", defects: defect.Set{defect.RetriesForever},
			steps: []step{{1, tid, errorPacket(FileNotFound, "gone")}},
			want:  "RRQ f octet", fails: "gone",
		},
		{
			name: "starts what broke off from the first block again", defects: defect.Set{defect.RestartsTransfer},
			steps: []step{
				{1, tid, dataPacket(1, full)},
				{2, tid, errorPacket(DiskFull, "full")},
				{3, tid, dataPacket(1, full)}, // then silence
				{7, tid, dataPacket(1, "hello")},
			},
			want: "RRQ f octet, ACK 1, RRQ f octet, ACK 1, ACK 1, ACK 1, RRQ f octet, ACK 1", body: "hello",
		},
		{
			name: "does not start again what never began", defects: defect.Set{defect.RestartsTransfer},
			want: "RRQ f octet, RRQ f octet, RRQ f octet", is: ErrTimeout,
		},
		{
			name: "takes data from any transfer id", defects: defect.Set{defect.AnyTransferID},
			steps: []step{{1, tid, dataPacket(1, full)}, {2, other, dataPacket(2, full)}, {3, stranger, dataPacket(3, "bad")}},
			want:  "RRQ f octet, ACK 1, ACK 2, ACK 3", body: full + full + "bad",
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
				socks := map[netip.AddrPort]*packetpipe.Conn{}
				for _, at := range []netip.AddrPort{server, tid, other, stranger} {
					c, err := network.Listen(at)
					if err != nil {
						t.Fatal(err)
					}
					socks[at] = c
					defer c.Close() //nolint:errcheck // in memory
				}
				heard := func(p []byte, from net.Addr) {
					got = append(got, words(p))
					for len(steps) > 0 && steps[0].after <= len(got) {
						if _, err := socks[steps[0].from].WriteTo(steps[0].packet, from); err != nil {
							t.Error(err)
						}
						steps = steps[1:]
					}
				}
				options, err := ParseOptions(test.options)
				if err != nil {
					t.Fatal(err)
				}
				body, err := Get(t.Context(), Config{
					Listen: func(context.Context) (net.PacketConn, error) {
						c, err := network.Listen(netip.AddrPortFrom(client, 0))
						return overheard{c, heard}, err
					},
					Server: server, Options: options, Timeout: 4 * time.Second, Tries: 3, Limit: test.limit, Defects: test.defects,
				}, "f")
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
			})
		})
	}
}

// overheard tells of each packet before it goes, so that their order is that of
// the client whatever socket of the server they go to.
type overheard struct {
	*packetpipe.Conn
	heard func(p []byte, from net.Addr)
}

func (o overheard) WriteTo(p []byte, to net.Addr) (int, error) {
	o.heard(p, o.LocalAddr())
	return o.Conn.WriteTo(p, to)
}

func TestBlockNumbersWrap(t *testing.T) {
	const blocks = 65540
	want := bytes.Repeat([]byte("12345678"), blocks)
	got, err := long(t, blocks, nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes and %v, want %d", len(got), err, len(want))
	}
}

func TestBlockWrapStops(t *testing.T) {
	if _, err := long(t, 65540, defect.Set{defect.BlockWrapStops}); err == nil || !strings.Contains(err.Error(), "block 0 after 65535") {
		t.Errorf("got %v, want it to end at the wrap", err)
	}
	if _, err := long(t, 65535, defect.Set{defect.BlockWrapStops}); err == nil {
		t.Error("the last, empty block has number 0 and was taken")
	}
	if got, err := long(t, 65534, defect.Set{defect.BlockWrapStops}); err != nil || len(got) != 65534*8 {
		t.Errorf("got %d bytes and %v from a file that does not wrap", len(got), err)
	}
}

// long reads a file of so many blocks of 8 bytes, and an empty one.
func long(t *testing.T, blocks int, defects defect.Set) ([]byte, error) {
	t.Helper()
	network := packetpipe.New()
	sock, err := network.Listen(server)
	if err != nil {
		t.Fatal(err)
	}
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
	return Get(t.Context(), Config{
		Listen: func(context.Context) (net.PacketConn, error) {
			return network.Listen(netip.AddrPortFrom(client, 0))
		},
		Server: server, Options: []Option{{"blksize", "8"}}, Timeout: 10 * time.Second, Tries: 1, Defects: defects,
	}, "f")
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

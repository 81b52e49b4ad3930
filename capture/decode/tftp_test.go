package decode_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"ip88rig/capture/decode"
	"ip88rig/capture/timeline"
)

var (
	tftpPort = netip.AddrPortFrom(rig, 69)
	tid      = netip.AddrPortFrom(rig, 50001)
)

func rrq(name string, options ...string) string {
	s := "\x00\x01" + name + "\x00octet\x00"
	for _, o := range options {
		s += o + "\x00"
	}
	return s
}

func oack(options ...string) string {
	s := "\x00\x06"
	for _, o := range options {
		s += o + "\x00"
	}
	return s
}

func block(op byte, n int, payload string) string {
	return string(append([]byte{0, op, byte(n >> 8), byte(n)}, payload...))
}

func content(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return string(b)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func complete(events []timeline.Event) []timeline.Event {
	return slices.DeleteFunc(slices.Clone(events), func(e timeline.Event) bool { return !e.Complete })
}

func (s *script) data(n int, payload string) { s.tb.Helper(); s.udp(tid, phone1, block(3, n, payload)) }
func (s *script) ack(n int)                  { s.tb.Helper(); s.udp(phone1, tid, block(4, n, "")) }

func TestTFTP(t *testing.T) {
	file := content(1100)
	for _, test := range []struct {
		name  string
		play  func(s *script)
		whole bool
		// files are the names of all events, kinds how many of each.
		kinds  map[timeline.Kind]int
		reason string
	}{
		{
			name: "a plain transfer is whole at the last ACK", whole: true,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				for n := 1; n <= 3; n++ {
					s.data(n, file[(n-1)*512:min(n*512, len(file))])
					s.ack(n)
				}
			},
			kinds: map[timeline.Kind]int{timeline.TFTPRead: 1, timeline.TFTPData: 3, timeline.TFTPAck: 3},
		},
		{
			name: "a request sent again before an answer belongs to the same transfer", whole: true,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("/a.cfg"))
				s.udp(phone1, tftpPort, rrq("/a.cfg"))
				for n := 1; n <= 3; n++ {
					s.data(n, file[(n-1)*512:min(n*512, len(file))])
					s.ack(n)
				}
			},
			kinds: map[timeline.Kind]int{timeline.TFTPRead: 2, timeline.TFTPData: 3, timeline.TFTPAck: 3},
		},
		{
			name: "a request sent again that crosses the first answer belongs to the same transfer", whole: true,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg", "blksize", "1000"))
				s.udp(tid, phone1, oack("blksize", "1000"))
				s.udp(phone1, tftpPort, rrq("a.cfg", "blksize", "1000"))
				s.ack(0)
				s.data(1, file[:1000])
				s.ack(1)
				s.data(2, file[1000:])
				s.ack(2)
			},
			kinds: map[timeline.Kind]int{timeline.TFTPRead: 2, timeline.TFTPOAck: 1, timeline.TFTPData: 2, timeline.TFTPAck: 3},
		},
		{
			name: "blocks and ACKs sent again count once, and the first block counts", whole: true,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg", "blksize", "1000"))
				s.udp(tid, phone1, oack("blksize", "1000"))
				s.udp(tid, phone1, oack("blksize", "1000"))
				s.ack(0)
				s.data(1, file[:1000])
				s.data(1, content(1000)[1:]+"x")
				s.ack(1)
				s.ack(1)
				s.data(1, file[:1000])
				s.data(2, file[1000:])
				s.ack(2)
				s.data(2, file[1000:])
				s.ack(2)
			},
			kinds: map[timeline.Kind]int{timeline.TFTPOAck: 2, timeline.TFTPData: 5, timeline.TFTPAck: 5},
		},
		{
			name: "a window with a lost and a reordered block", whole: true,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg", "blksize", "100", "windowsize", "4"))
				s.udp(tid, phone1, oack("blksize", "100", "windowsize", "4"))
				s.ack(0)
				part := func(n int) string { return file[(n-1)*100 : min(n*100, len(file))] }
				s.data(1, part(1))
				s.data(3, part(3)) // 2 is lost
				s.data(4, part(4))
				s.ack(1)
				for _, n := range []int{2, 4, 3, 5} {
					s.data(n, part(n))
				}
				s.ack(5)
				for n := 6; n <= 9; n++ {
					s.data(n, part(n))
				}
				s.ack(9)
				s.data(10, part(10))
				s.data(11, part(11))
				s.data(12, "")
				s.ack(12)
			},
			kinds: map[timeline.Kind]int{timeline.TFTPData: 14},
		},
		{
			name: "a block that was never seen leaves the digest unknown", reason: "block 2 was acknowledged and never seen",
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.data(1, file[:512])
				s.ack(1)
				s.ack(2)
				s.data(3, file[1024:])
				s.ack(3)
			},
		},
		{
			name: "the last block without its ACK is not whole",
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.data(1, "short")
			},
			kinds: map[timeline.Kind]int{timeline.TFTPData: 1},
		},
		{
			name: "a stranger's transfer identifier does not disturb", whole: true,
			play: func(s *script) {
				other := netip.AddrPortFrom(rig, 50002)
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.data(1, file[:512])
				s.udp(other, phone1, block(3, 2, "wrong"))
				s.udp(phone1, other, "\x00\x05\x00\x05Unknown transfer ID\x00")
				s.ack(1)
				s.data(2, file[512:1024])
				s.ack(2)
				s.data(3, file[1024:])
				s.ack(3)
			},
			kinds: map[timeline.Kind]int{timeline.TFTPError: 1, timeline.TFTPData: 4},
		},
		{
			name: "a server that stays on port 69", whole: true,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg", "blksize", "1428"))
				s.udp(tftpPort, phone1, oack("blksize", "1428"))
				s.udp(phone1, tftpPort, block(4, 0, ""))
				s.udp(tftpPort, phone1, block(3, 1, file))
				s.udp(phone1, tftpPort, block(4, 1, ""))
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t)
			test.play(s)
			whole := complete(s.events)
			if test.whole {
				if len(whole) != 1 || whole[0].Kind != timeline.TFTPAck || whole[0].Bytes != int64(len(file)) || whole[0].SHA256 != digest(file) {
					t.Errorf("complete events: %+v; want one ACK with the digest of the file", whole)
				}
			} else if len(whole) != 0 {
				t.Errorf("complete events: %+v; want none", whole)
			}
			for kind, n := range test.kinds {
				if got := len(s.of(kind)); got != n {
					t.Errorf("%d × %s, want %d", got, kind, n)
				}
			}
			last := s.events[len(s.events)-1]
			if last.Reason != test.reason {
				t.Errorf("reason %q, want %q", last.Reason, test.reason)
			}
			for _, e := range s.events {
				if e.File != "a.cfg" || e.Transport != timeline.TFTP {
					t.Errorf("%s of file %q over %q, want a.cfg over tftp", e.Kind, e.File, e.Transport)
				}
			}
		})
	}
}

// A transfer past block 65,535, from a server that goes on with 0 and from one
// that goes on with 1.
func TestTFTPWrap(t *testing.T) {
	if testing.Short() {
		t.Skip("more than 65,535 blocks")
	}
	for _, skip := range []bool{false, true} {
		t.Run(fmt.Sprintf("zero left out: %v", skip), func(t *testing.T) {
			s := newScript(t)
			s.udp(phone1, tftpPort, rrq("big", "blksize", "8"))
			s.udp(tid, phone1, oack("blksize", "8"))
			s.ack(0)
			const blocks = 140_000
			sum := sha256.New()
			period, first := 65536, 0
			if skip {
				period, first = 65535, 1
			}
			data := udpFrame(t, tid, phone1, []byte(block(3, 1, "12345678")))
			short := udpFrame(t, tid, phone1, []byte(block(3, 1, "end")))
			ack := udpFrame(t, phone1, tid, []byte(block(4, 1, "")))
			number := func(frame []byte, n int) []byte {
				wire := n
				if n > 65535 {
					wire = first + (n-65536)%period
				}
				frame = slices.Clone(frame)
				binary.BigEndian.PutUint16(frame[44:], uint16(wire))
				frame[40], frame[41] = 0, 0 // no checksum
				return frame
			}
			for n := 1; n < blocks; n++ {
				s.frame(number(data, n))
				s.frame(number(ack, n))
				sum.Write([]byte("12345678"))
				if e := s.events[len(s.events)-1]; e.Number != n {
					t.Fatalf("ACK of block %d is shown as %d", n, e.Number)
				}
			}
			s.frame(number(short, blocks))
			s.frame(number(ack, blocks))
			sum.Write([]byte("end"))
			last := s.events[len(s.events)-1]
			if !last.Complete || last.Number != blocks || last.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
				t.Errorf("last event is %+v", last)
			}
		})
	}
}

func TestTFTPRefusals(t *testing.T) {
	for _, test := range []struct{ name, payload, reason string }{
		{"no name", "\x00\x01\x00octet\x00", "TFTP: request without name and mode"},
		{"no mode", "\x00\x01file\x00", "TFTP: request without name and mode"},
		{"no end", "\x00\x01file\x00octet", "TFTP: request without name and mode"},
		{"an ACK that nobody waits for", "\x00\x04\x00\x01", "TFTP: no request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t)
			s.udp(phone1, tftpPort, test.payload)
			if len(s.events) != 1 || s.events[0].Kind != timeline.Malformed || s.events[0].Reason != test.reason {
				t.Errorf("got %+v, want malformed: %s", s.events, test.reason)
			}
		})
	}
}

// A fixed source port is used again for the next file.
func TestTFTPFixedPort(t *testing.T) {
	s := newScript(t)
	for i, name := range []string{"first", "second", "second"} {
		s.udp(phone1, tftpPort, rrq(name))
		s.udp(netip.AddrPortFrom(rig, uint16(50001+i)), phone1, block(3, 1, name))
		s.udp(phone1, netip.AddrPortFrom(rig, uint16(50001+i)), block(4, 1, ""))
	}
	whole := complete(s.events)
	if len(whole) != 3 || whole[0].SHA256 != digest("first") || whole[2].SHA256 != digest("second") {
		t.Errorf("got %+v", whole)
	}
}

// A client with a fixed source port asks for the next file before its last ACK of
// the previous file is on the wire.
func TestTFTPFixedPortInAHurry(t *testing.T) {
	for name, port := range map[string]func(i int) uint16{
		"a server with a TID for each transfer":               func(i int) uint16 { return uint16(50001 + i) },
		"a server that answers from its well-known port only": func(int) uint16 { return 69 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			server := func(i int) netip.AddrPort { return netip.AddrPortFrom(rig, port(i)) }
			names := []string{"first", "second", "third"}
			for i, name := range names {
				s.udp(phone1, tftpPort, rrq(name, "tsize", "0"))
				if i > 0 {
					s.udp(phone1, server(i-1), block(4, 1, ""))
				}
				s.udp(server(i), phone1, oack("tsize", "5"))
				s.udp(phone1, server(i), block(4, 0, ""))
				s.udp(server(i), phone1, block(3, 1, name))
				if i == 1 && server(0) != server(1) { // comes again, and is acknowledged again
					s.udp(server(0), phone1, block(3, 1, "first"))
					s.udp(phone1, server(0), block(4, 1, ""))
				}
			}
			s.udp(phone1, server(2), block(4, 1, ""))
			var got, want []string
			for _, e := range complete(s.events) {
				got = append(got, e.File+" "+e.SHA256)
			}
			for _, name := range names {
				want = append(want, name+" "+digest(name))
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			for _, e := range s.events {
				if e.Fields["tftp.unknown_tid"] != "" {
					t.Errorf("a stray: %+v", e)
				}
			}
		})
	}
}

func BenchmarkTFTP(b *testing.B) {
	const frames = 20_000

	all := [][]byte{
		udpFrame(b, phone1, tftpPort, []byte(rrq("image", "blksize", "1428"))),
		udpFrame(b, tid, phone1, []byte(oack("blksize", "1428"))),
		udpFrame(b, phone1, tid, []byte(block(4, 0, ""))),
	}
	payload := string(bytes.Repeat([]byte{0xa5}, 1428))
	for n := 1; len(all) < frames; n++ {
		all = append(all, udpFrame(b, tid, phone1, []byte(block(3, n, payload))), udpFrame(b, phone1, tid, []byte(block(4, n, ""))))
	}
	b.ReportAllocs()
	for b.Loop() {
		d := decode.New(decode.Config{HandsetMACs: []string{handset}})
		events := 0
		for i, f := range all {
			events += len(d.Frame(decode.Cable, i+1, noon.Add(time.Duration(i)*time.Millisecond), f))
		}
		if events != len(all) {
			b.Fatalf("%d events of %d frames", events, len(all))
		}
	}
	b.ReportMetric(float64(len(all))*float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}

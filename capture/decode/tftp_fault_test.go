package decode_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ip88rig/capture/timeline"
)

const unknownTID = "\x00\x05\x00\x05Unknown transfer ID\x00"

// TestTFTPUnderFaults has servers and clients that do what they should not, and
// what the client takes all the same.
func TestTFTPUnderFaults(t *testing.T) {
	file := content(1100)
	lied := strings.ToUpper(content(2000))
	part := func(n int) string { return file[(n-1)*512 : min(n*512, len(file))] }
	small := func(n int) string { return file[(n-1)*100 : min(n*100, len(file))] }
	elsewhere := netip.MustParseAddrPort("192.0.2.2:50001")
	third := netip.MustParseAddrPort("192.0.2.3:50001")
	second := netip.AddrPortFrom(rig, 50002)
	windows := func(s *script, size string) {
		s.udp(phone1, tftpPort, rrq("a.cfg", "blksize", "100", "windowsize", size))
		s.udp(tid, phone1, oack("blksize", "100", "windowsize", size))
		s.ack(0)
	}
	rest := func(s *script, from int) {
		for n := from; n <= 3; n++ {
			s.data(n, part(n))
			s.ack(n)
		}
	}
	for _, test := range []struct {
		name string
		play func(s *script)
		// whole is how many transfers are, each with the file.
		whole int
		// strays is how many packets have an unknown transfer identifier.
		strays int
		reason string // of the last event
	}{
		{
			name: "answered from another address, with its own blocks only", whole: 1, strays: 4,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.udp(elsewhere, phone1, block(3, 1, part(1)))
				s.udp(phone1, elsewhere, block(4, 1, ""))
				s.udp(third, phone1, block(3, 2, lied[:512]))
				s.udp(phone1, third, unknownTID)
				s.udp(tid, phone1, block(3, 2, lied[:512]))
				s.udp(phone1, tid, unknownTID)
				for n := 2; n <= 3; n++ {
					s.udp(elsewhere, phone1, block(3, n, part(n)))
					s.udp(phone1, elsewhere, block(4, n, ""))
				}
			},
		},
		{
			name: "options agreed from another address", whole: 1,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg", "blksize", "1428"))
				s.udp(elsewhere, phone1, oack("blksize", "1428"))
				s.udp(phone1, elsewhere, block(4, 0, ""))
				s.udp(elsewhere, phone1, block(3, 1, file))
				s.udp(phone1, elsewhere, block(4, 1, ""))
			},
		},
		{
			name: "refused from another address", reason: "no",
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.udp(elsewhere, phone1, "\x00\x05\x00\x01no\x00")
			},
		},
		{
			name: "a block from the right port of another address is a stranger's", whole: 1, strays: 2,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.data(1, part(1))
				s.ack(1)
				s.udp(elsewhere, phone1, block(3, 2, lied[:512]))
				s.udp(phone1, elsewhere, unknownTID)
				rest(s, 2)
			},
		},
		{
			name: "asked again without options after ERROR 8", whole: 1,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg", "blksize", "1428"))
				s.udp(tid, phone1, "\x00\x05\x00\x08options refused\x00")
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				for n := 1; n <= 3; n++ {
					s.udp(second, phone1, block(3, n, part(n)))
					s.udp(phone1, second, block(4, n, ""))
				}
			},
		},
		{
			name: "refused, and asked of another server", whole: 1,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.udp(tid, phone1, "\x00\x05\x00\x01no\x00")
				s.udp(phone1, netip.AddrPortFrom(elsewhere.Addr(), 69), rrq("a.cfg"))
				for n := 1; n <= 3; n++ {
					s.udp(elsewhere, phone1, block(3, n, part(n)))
					s.udp(phone1, elsewhere, block(4, n, ""))
				}
			},
		},
		{
			name: "what a stranger says before the answer", whole: 1, strays: 2,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.udp(third, phone1, block(3, 2, lied[:512]))
				s.udp(phone1, third, unknownTID)
				rest(s, 1)
			},
		},
		{
			name: "asked again after the client broke off a window, whose rest comes late", whole: 1,
			play: func(s *script) {
				windows(s, "4")
				s.data(1, small(1))
				s.udp(phone1, tid, "\x00\x05\x00\x00no memory\x00")
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.data(2, small(2))
				for n := 1; n <= 3; n++ {
					s.udp(second, phone1, block(3, n, part(n)))
					s.udp(phone1, second, block(4, n, ""))
				}
			},
		},
		{
			name: "an ERROR of the server asked before does not bind the next request", whole: 1,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.data(1, part(1))
				s.udp(phone1, tid, "\x00\x05\x00\x00no memory\x00")
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.udp(tid, phone1, "\x00\x05\x00\x00the client broke off\x00")
				for n := 1; n <= 3; n++ {
					s.udp(second, phone1, block(3, n, part(n)))
					s.udp(phone1, second, block(4, n, ""))
				}
			},
		},
		{
			name: "ACKs of what was not sent change nothing", whole: 1,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.acks(65535, 7)
				s.data(1, part(1))
				s.acks(2, 3, 40000, 65535)
				s.ack(1)
				s.acks(5)
				rest(s, 2)
			},
		},
		{
			name: "an ACK ahead of a window whose blocks change places changes nothing", whole: 1,
			play: func(s *script) {
				windows(s, "12")
				s.data(1, small(1))
				s.acks(2)
				for _, n := range []int{3, 2, 4, 5, 6, 7, 8, 9, 10, 11} {
					s.data(n, small(n))
				}
				s.data(12, "")
				s.ack(12)
			},
		},
		{
			name: "an ACK that the sender believed leaves the digest unknown", reason: "block 2 was acknowledged and never seen",
			play: func(s *script) {
				windows(s, "2")
				s.data(1, small(1))
				s.ack(2)
				for n := 3; n <= 11; n++ {
					s.data(n, small(n))
					s.ack(n)
				}
				s.data(12, "")
				s.ack(12)
			},
		},
		{
			name: "an ACK ahead is over once blocks come in their turn", whole: 1,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.data(1, part(1))
				s.acks(3)
				s.data(2, part(2))
				s.data(4, lied[:512])
				s.ack(2)
				rest(s, 3)
			},
		},
		{
			name: "a last ACK over a block that was not seen says so", reason: "block 2 was acknowledged and never seen",
			play: func(s *script) {
				windows(s, "12")
				for n := 1; n <= 11; n++ {
					if n != 2 {
						s.data(n, small(n))
					}
				}
				s.data(12, "")
				s.ack(12)
			},
		},
		{
			name: "options that come behind the first block are none", whole: 1,
			play: func(s *script) {
				windows(s, "12")
				s.data(1, small(1))
				s.udp(tid, phone1, oack("blksize", "1428"))
				for n := 2; n <= 11; n++ {
					s.data(n, small(n))
				}
				s.data(12, "")
				s.ack(12)
			},
		},
		{
			name: "of a block ahead that is acknowledged the first counts", whole: 1,
			play: func(s *script) {
				windows(s, "12")
				for _, n := range []int{1, 3, 2, 4, 5, 6, 7, 8, 9, 10, 11} {
					s.data(n, small(n))
				}
				s.data(3, small(3)) // in its turn, so that 4 is awaited
				s.data(11, lied[:100])
				s.data(12, "")
				s.ack(12)
			},
		},
		{
			name: "in lock-step a block of the next one's number is not taken", whole: 1,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.data(2, lied[:512])
				rest(s, 1)
			},
		},
		{
			name: "nor is one of the last one's number, though it is short and acknowledged", whole: 1,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.data(3, "short")
				s.ack(3)
				rest(s, 1)
			},
		},
		{
			name: "one numbered too low wraps, and is not taken", whole: 1,
			play: func(s *script) {
				s.udp(phone1, tftpPort, rrq("a.cfg"))
				s.data(65535, lied[:512])
				s.ack(65535)
				rest(s, 1)
			},
		},
		{
			name: "in a window a block ahead gives way to the one in its turn", whole: 1,
			play: func(s *script) {
				windows(s, "12")
				for _, n := range []int{3, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11} {
					if s.number < 5 {
						s.data(n, lied[:100])
						continue
					}
					s.data(n, small(n))
				}
				s.data(12, "")
				s.ack(12)
			},
		},
		{
			name: "a block beyond the window is not kept, however often", whole: 1,
			play: func(s *script) {
				windows(s, "2")
				huge := content(60_000)
				for n := 30_000; n > 100; n -= 150 {
					s.data(n, huge)
				}
				for n := 1; n <= 11; n++ {
					s.data(n, small(n))
					if n%2 == 0 {
						s.ack(n)
					}
				}
				s.data(12, "")
				s.ack(12)
			},
		},
		{
			name: "a window sent again behind a gap counts once", whole: 1,
			play: func(s *script) {
				windows(s, "4")
				for _, w := range [][]int{{1, 2, 4}, {3, 4, 5, 6}, {5, 6, 7, 8}, {9, 10, 11}} {
					for _, n := range w {
						s.data(n, small(n))
					}
					s.ack(map[int]int{4: 2, 6: 4, 8: 8, 11: 11}[w[len(w)-1]])
				}
				s.data(12, "")
				s.ack(12)
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t)
			test.play(s)
			whole := complete(s.events)
			if len(whole) != test.whole {
				t.Errorf("%d transfers are whole, want %d", len(whole), test.whole)
			}
			for _, e := range whole {
				if e.Bytes != int64(len(file)) || e.SHA256 != digest(file) {
					t.Errorf("%d bytes with digest %s; want %d, %s", e.Bytes, e.SHA256, len(file), digest(file))
				}
			}
			strays := 0
			for _, e := range s.events {
				if e.Fields["tftp.unknown_tid"] == "true" {
					strays++
				}
				if e.File != "a.cfg" || e.Transport != timeline.TFTP {
					t.Errorf("%s of file %q over %q, want a.cfg over tftp", e.Kind, e.File, e.Transport)
				}
			}
			if strays != test.strays || len(s.events) != s.number {
				t.Errorf("%d strays in %d events of %d frames, want %d in as many", strays, len(s.events), s.number, test.strays)
			}
			if last := s.events[len(s.events)-1]; last.Reason != test.reason {
				t.Errorf("reason %q, want %q", last.Reason, test.reason)
			}
		})
	}
}

// acks has the client acknowledge blocks that it may never have had.
func (s *script) acks(blocks ...int) {
	s.tb.Helper()
	for _, n := range blocks {
		s.udp(phone1, tid, block(4, n, ""))
	}
}

// TestTFTPWrapInWindows goes past block 65535 in windows of 16 blocks.
func TestTFTPWrapInWindows(t *testing.T) {
	if testing.Short() {
		t.Skip("more than 65,535 blocks")
	}
	payload := func(n int) string { return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), 4, 5, 6, 7, 8}) }
	// The window of 65521 to 65536 has the wrap at its end, so that one from
	// 65529 on has it within.
	for i, test := range []struct {
		name  string
		toOne bool
		// around is what is sent and acknowledged (negative) between the
		// blocks up to 65528 and those behind 65544.
		around []int
	}{
		{"to 0", false, steps(65529, 65544, -65544)},
		{"to 1", true, steps(65529, 65544, -65544)},
		{"to 0 with a gap at it", false, slices.Concat(steps(65529, 65535), steps(65537, 65544, -65535), steps(65536, 65544, -65544))},
		{"to 1 with a gap at it", true, slices.Concat(steps(65529, 65535), steps(65537, 65544, -65535), steps(65536, 65544, -65544))},
		{"to 0 with a gap before it", false, slices.Concat(steps(65529, 65533), steps(65535, 65544, -65533), steps(65534, 65544, -65544))},
		{"to 1 with a gap before it", true, slices.Concat(steps(65529, 65533), steps(65535, 65544, -65533), steps(65534, 65544, -65544))},
		{"to 0 with places changed", false, slices.Concat(steps(65529, 65535), []int{65537, 65536}, steps(65538, 65544, -65544))},
		{"to 1 with places changed", true, slices.Concat(steps(65529, 65535), []int{65537, 65536}, steps(65538, 65544, -65544))},
		{"to 0 with the 0 too early", false, slices.Concat(steps(65529, 65534), []int{65536, 65535}, steps(65537, 65544, -65544))},
		{"to 0, acknowledged up to the last one before it", false, slices.Concat(steps(65529, 65544, -65535), steps(65536, 65544, -65544))},
		{"to 1, acknowledged up to the last one before it", true, slices.Concat(steps(65529, 65544, -65535), steps(65536, 65544, -65544))},
	} {
		t.Run(test.name, func(t *testing.T) {
			blocks := 65600
			if i < 2 {
				blocks = 65535*2 + 20 // once more around
			}
			sum := sha256.New()
			for n := 1; n < blocks; n++ {
				sum.Write([]byte(payload(n)))
			}
			want := hex.EncodeToString(sum.Sum(nil))
			s := newScript(t)
			s.udp(phone1, tftpPort, rrq("big", "blksize", "8", "windowsize", "16"))
			s.udp(tid, phone1, oack("blksize", "8", "windowsize", "16"))
			s.ack(0)
			number := func(n int) int {
				if test.toOne {
					return (n-1)%65535 + 1
				}
				return n % 65536
			}
			do := func(what ...int) {
				for _, n := range what {
					s.events = s.events[:0]
					switch {
					case n < 0:
						s.ack(number(-n))
					case n == blocks:
						s.data(number(n), "")
					default:
						s.data(number(n), payload(n))
					}
				}
			}
			for n := 1; n < 65529; n += 8 {
				do(steps(n, n+7, -n-7)...)
			}
			do(test.around...)
			for n := 65545; n <= blocks; n += 16 {
				end := min(n+15, blocks)
				do(steps(n, end, -end)...)
			}
			last := s.events[len(s.events)-1]
			if !last.Complete || last.Number != blocks || last.SHA256 != want {
				t.Errorf("last event is %+v, want the digest %s at block %d", last, want, blocks)
			}
		})
	}
}

// steps are the blocks from one to another, and what comes then.
func steps(from, to int, then ...int) []int {
	var all []int
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return append(all, then...)
}

// TestTFTPHoldsWhatIsNotAcknowledged has more blocks ahead, one by one, than are
// held at a time.
func TestTFTPHoldsWhatIsNotAcknowledged(t *testing.T) {
	s := newScript(t)
	huge := content(60_000)
	s.udp(phone1, tftpPort, rrq("big", "blksize", "60000", "windowsize", "2"))
	s.udp(tid, phone1, oack("blksize", "60000", "windowsize", "2"))
	s.ack(0)
	for n := 1; n <= 300; n += 2 {
		s.data(n+1, huge)
		s.data(n, huge)
		s.data(n+1, huge)
		s.ack(n + 1)
	}
	s.data(301, "")
	s.ack(301)
	if last := s.events[len(s.events)-1]; !last.Complete || last.Bytes != 300*60_000 {
		t.Errorf("last event is %+v, want it complete with all bytes", last)
	}
}

// TestTFTPOnlyLooksLikeIt has other datagrams at the port of a transfer.
func TestTFTPOnlyLooksLikeIt(t *testing.T) {
	s := newScript(t)
	s.udp(phone1, tftpPort, rrq("a.cfg"))
	resolver := netip.MustParseAddrPort("192.0.2.3:53")
	s.udp(phone1, resolver, "\x00\x03\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03rig\x07example\x00\x00\x01\x00\x01")
	s.udp(netip.MustParseAddrPort("192.0.2.3:3478"), phone1, "\x00\x01\x00\x00\x21\x12\xa4\x42")
	s.data(1, "short")
	s.ack(1)
	want := []timeline.Kind{timeline.TFTPRead, timeline.DNSQuery, timeline.TFTPData, timeline.TFTPAck}
	if got := s.kinds(); !slices.Equal(got, want) || !s.events[3].Complete {
		t.Errorf("got %v, want %v and the last one complete", got, want)
	}
}

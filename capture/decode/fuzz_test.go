package decode_test

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/gopacket/layers"

	"ip88rig/capture/decode"
	"ip88rig/capture/timeline"
)

// sound checks what holds of all events of a decoder, whatever it was fed.
func sound(t *testing.T, events []timeline.Event, number int) {
	t.Helper()
	for _, e := range events {
		if e.Kind == "" || e.By != timeline.Wire || e.Frame != number {
			t.Errorf("kind %q by %q of frame %d, want a kind by wire of frame %d", e.Kind, e.By, e.Frame, number)
		}
		if strings.HasPrefix(e.Reason, "decoder: ") {
			t.Errorf("it panicked: %s", e.Reason)
		}
		for _, s := range []string{e.File, e.Message, e.Reason} {
			if !utf8.ValidString(s) {
				t.Errorf("%s holds %q", e.Kind, s)
			}
		}
		if e.Complete != (e.SHA256 != "") && e.Kind != timeline.TLSCertificate {
			t.Errorf("%s: complete %v, digest %q", e.Kind, e.Complete, e.SHA256)
		}
		if _, err := json.Marshal(e); err != nil {
			t.Error(err)
		}
	}
}

// FuzzFrame feeds frames, each with two bytes of length before it.
func FuzzFrame(f *testing.F) {
	for _, path := range goldenCaptures(f) {
		var seed []byte
		for _, p := range packets(f, path) {
			if len(seed)+len(p.data) > 4<<10 {
				break
			}
			seed = binary.BigEndian.AppendUint16(seed, uint16(len(p.data)))
			seed = append(seed, p.data...)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := decode.New(decode.Config{})
		var all, again []timeline.Event
		frames := func(yield func(number int, frame []byte)) {
			rest := data
			for number := 1; len(rest) >= 2; number++ {
				n := min(int(binary.BigEndian.Uint16(rest)), len(rest)-2)
				yield(number, rest[2:2+n])
				rest = rest[2+n:]
			}
		}
		frames(func(number int, frame []byte) {
			events := d.Frame(decode.Cable, number, noon.Add(time.Duration(number)*time.Second), frame)
			sound(t, events, number)
			all = append(all, events...)
		})
		d = decode.New(decode.Config{})
		frames(func(number int, frame []byte) {
			again = append(again, d.Frame(decode.Cable, number, noon.Add(time.Duration(number)*time.Second), frame)...)
		})
		if a, b := text(all), text(again); a != b {
			t.Errorf("the same frames yield other events: %s", diff(a, b))
		}
	})
}

// fuzzUDP feeds one payload in both directions between two ports.
func fuzzUDP(f *testing.F, client, service uint16, seeds ...[]byte) {
	f.Helper()
	for _, s := range seeds {
		f.Add(s)
	}
	from, to := netip.AddrPortFrom(phone, client), netip.AddrPortFrom(rig, service)
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > 60000 {
			return
		}
		s := newScript(t)
		for _, ends := range [][2]netip.AddrPort{{from, to}, {to, from}} {
			s.frame(udpFrame(t, ends[0], ends[1], payload))
			sound(t, s.events, s.number)
			s.events = nil
		}
	})
}

func FuzzDHCP(f *testing.F) {
	fuzzUDP(f, 68, 67,
		dhcp(f, layers.NewDHCPOption(53, []byte{1}), layers.NewDHCPOption(55, []byte{1, 3, 160})),
		dhcp(f, layers.NewDHCPOption(53, []byte{5}), layers.NewDHCPOption(52, []byte{3}), layers.NewDHCPOption(51, []byte{0, 0, 0, 9})))
}

func FuzzSIP(f *testing.F) {
	fuzzUDP(f, 5060, 5060,
		[]byte("REGISTER sip:x SIP/2.0\r\nf: \"a\" <sip:a:b@c>;tag=1\r\nm: *\r\nCSeq: 1 REGISTER\r\nAuthorization: Digest username=\"a\\\"b\"\r\n\r\n"),
		[]byte("SIP/2.0 200 OK\r\nContact: <sip:a@b>;expires=1,\r\n <sip:c>\r\n\r\n"))
}

func FuzzDNS(f *testing.F) {
	fuzzUDP(f, 4000, 53,
		[]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03rig\x07example\x00\x00\x01\x00\x01"),
		[]byte("\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03rig\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\xc0\x00\x02\x01"))
}

func FuzzSNTP(f *testing.F) {
	fuzzUDP(f, 123, 123, append([]byte{0x23}, make([]byte, 47)...), append([]byte{0x24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'R', 'A', 'T', 'E'}, make([]byte, 32)...))
}

// FuzzTFTP feeds a request and then packets, each with a byte for its length
// and direction before it.
func FuzzTFTP(f *testing.F) {
	f.Add([]byte(rrq("a", "blksize", "8")), []byte("\x1a\x00\x06blksize\x008\x00\x84\x00\x04\x00\x00\x0c\x00\x03\x00\x0112345678\x84\x00\x04\x00\x01\x05\x00\x03\x00\x02x\x84\x00\x04\x00\x02"))
	f.Add([]byte(rrq("a", "windowsize", "4")), []byte("\x0f\x00\x06windowsize\x004\x00\x05\x00\x03\x00\x03c\x05\x00\x03\xff\xffx\x84\x00\x04\x00\x02\x05\x00\x03\x00\x01a\x07\x00\x05\x00\x08no\x00\x05\x00\x03\x00\x00z\x84\x00\x04\x00\x01"))
	f.Add([]byte("\x00\x02put\x00octet\x00"), []byte("\x04\x00\x04\x00\x00\x85\x00\x03\x00\x01x\x04\x00\x04\x00\x01"))
	f.Fuzz(func(t *testing.T, request, rest []byte) {
		if len(request) > 60000 {
			return
		}
		s := newScript(t)
		s.frame(udpFrame(t, phone1, tftpPort, request))
		sound(t, s.events, s.number)
		for len(rest) > 0 {
			n, from, to := min(int(rest[0]&0x7f), len(rest)-1), tid, phone1
			if rest[0]&0x80 != 0 {
				from, to = phone1, tid
			}
			s.events = nil
			s.frame(udpFrame(t, from, to, rest[1:1+n]))
			sound(t, s.events, s.number)
			rest = rest[1+n:]
		}
	})
}

// fuzzTCP feeds what both ends say, once at a stretch and once in pieces: the
// same must be seen.
func fuzzTCP(f *testing.F, port uint16) {
	f.Helper()
	f.Fuzz(func(t *testing.T, request, response []byte, size uint8) {
		if len(request)+len(response) > 32<<10 {
			return
		}
		var told [2]string
		for i, step := range []int{1400, int(size)%100 + 1} {
			s := newScript(t)
			c := s.connect(port)
			for end, all := range [][]byte{request, response} {
				for len(all) > 0 {
					n := min(step, len(all))
					c.say(end, string(all[:n]))
					all = all[n:]
				}
			}
			c.close(1)
			c.close(0)
			for j := range s.events {
				sound(t, s.events[j:j+1], s.events[j].Frame)
				s.events[j].Frame = 0
			}
			told[i] = text(s.events)
		}
		if told[0] != told[1] {
			t.Errorf("in pieces other things are seen: %s", diff(told[0], told[1]))
		}
	})
}

func FuzzHTTP(f *testing.F) {
	f.Add([]byte(get), []byte(answer("hello")), uint8(7))
	f.Add([]byte("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"+get), []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\n\r\nHTTP/1.0 404 No\r\n\r\nrest"), uint8(1))
	fuzzTCP(f, 80)
}

func FuzzTLS(f *testing.F) {
	for _, path := range []string{"testdata/golden/tls.pcapng"} {
		var said [2][]byte
		for _, p := range packets(f, path)[:12] {
			if b := p.data[66:]; p.data[6+5] == 0x10 {
				said[0] = append(said[0], b...)
			} else {
				said[1] = append(said[1], b...)
			}
		}
		f.Add(said[0], said[1], uint8(5))
	}
	f.Add([]byte("\x80\x19\x01\x03\x01\x00\x06\x00\x00\x00\x10\x01\x00\x80\x00\x00\x2f0123456789abcdef"), []byte("\x15\x03\x01\x00\x02\x02\x28"), uint8(2))
	fuzzTCP(f, 443)
}

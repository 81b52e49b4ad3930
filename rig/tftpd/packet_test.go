package tftpd

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestNegotiate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		opts string // name=value, blank-separated
		want string // OACK in the same form
		odd  int
		t    terms
	}{
		{"no options", "", "", 0, terms{blockSize: 512, window: 1}},
		{"all of them, in the client's order", "timeout=3 tsize=0 windowsize=16 blksize=1428", "timeout=3 tsize=777 windowsize=16 blksize=1428", 0, terms{blockSize: 1428, window: 16, timeout: 3}},
		{"the smallest", "blksize=8 windowsize=1 timeout=1", "blksize=8 windowsize=1 timeout=1", 0, terms{blockSize: 8, window: 1, timeout: 1}},
		{"the largest", "blksize=65464 timeout=255", "blksize=65464 timeout=255", 0, terms{blockSize: 65464, window: 1, timeout: 255}},
		{"a window larger than is granted", "windowsize=65535", "windowsize=64", 0, terms{blockSize: 512, window: 64}},
		{"below and above", "blksize=7 windowsize=0 timeout=0", "", 3, terms{blockSize: 512, window: 1}},
		{"above", "blksize=65465 windowsize=65536 timeout=256", "", 3, terms{blockSize: 512, window: 1}},
		{"no numbers", "blksize=big windowsize=-1 timeout=+1 tsize=0x10", "", 4, terms{blockSize: 512, window: 1}},
		{"numbers past 64 bits", "blksize=99999999999999999999 tsize=99999999999999999999", "", 2, terms{blockSize: 512, window: 1}},
		{"given twice", "blksize=600 BLKSIZE=700", "blksize=600", 1, terms{blockSize: 600, window: 1}},
		{"unknown ones", "multicast= rollover=1", "", 0, terms{blockSize: 512, window: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var opts []option
			for o := range strings.FieldsSeq(c.opts) {
				name, value, _ := strings.Cut(o, "=")
				opts = append(opts, option{name, value})
			}
			got, odd := negotiate(opts, 777)
			var accepted []string
			for _, o := range got.accepted {
				accepted = append(accepted, o.name+"="+o.value)
			}
			if s := strings.Join(accepted, " "); s != c.want {
				t.Errorf("accepted %q, want %q", s, c.want)
			}
			if len(odd) != c.odd {
				t.Errorf("oddities %q, want %d", odd, c.odd)
			}
			got.accepted = nil
			if fmt.Sprint(got) != fmt.Sprint(c.t) {
				t.Errorf("terms %+v, want %+v", got, c.t)
			}
		})
	}
}

func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"\x00\x01sysconf_8830_sip.cfg\x00octet\x00",
		"\x00\x01IP_8830_VER_SIP2\x00octet\x00tsize\x000\x00blksize\x001428\x00timeout\x002\x00windowsize\x008\x00",
		"\x00\x02x\x00netascii\x00", "\x00\x01\x00\x00", "\x00\x01a\x00octet\x00blksize\x00", "\x00", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		req, err := parseRequest(b)
		if err != nil {
			return
		}
		if strings.Contains(req.file+req.mode, "\x00") {
			t.Errorf("a NUL in file %q or mode %q", req.file, req.mode)
		}
		got, _ := negotiate(req.opts, 1000)
		if got.blockSize < minBlockSize || got.blockSize > maxBlockSize || got.window < 1 || got.window > maxWindow || got.timeout < 0 || got.timeout > maxTimeout {
			t.Errorf("terms out of range: %+v", got)
		}
		if len(got.accepted) > 4 || len(got.accepted) > len(req.opts) {
			t.Errorf("accepted %+v of %+v", got.accepted, req.opts)
		}
		if code, why := checkName(fileOf(req.file)); why == "" {
			for _, bad := range []string{"\\", "\n", "\x00"} {
				if strings.Contains(req.file, bad) {
					t.Errorf("took file name %q", req.file)
				}
			}
			if code != 0 || strings.HasPrefix(req.file, "../") || strings.HasPrefix(req.file, "//") || strings.Contains(req.file, "/../") || strings.HasSuffix(req.file, "/..") {
				t.Errorf("took file name %q", req.file)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{"\x00\x04\x00\x01", "\x00\x05\x00\x08no\x00", "\x00\x05\x00\x00", "\x00\x03\x00\x01x", "\x00\x04\x00", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseAnswer(b)
		if err != nil {
			return
		}
		switch {
		case a.op == opAck && bytes.Equal(b[:4], []byte{0, opAck, byte(a.block >> 8), byte(a.block)}):
		case a.op == opError && bytes.HasPrefix(b, bytes.TrimSuffix(errorPacket(a.code, a.text), []byte{0})):
		default:
			t.Errorf("%q was read as %+v", b, a)
		}
	})
}

// undo is a receiver's side of netascii (RFC 764).
func undo(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(b, []byte("\r\x00"), []byte("\r"))
}

func FuzzNetascii(f *testing.F) {
	for _, seed := range []string{"", "a\nb", "a\r\nb", "\r\r\n\r", "a\x00\r\x00b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sent := netascii(b)
		for i, c := range sent {
			if c == '\r' && (i+1 == len(sent) || sent[i+1] != '\n' && sent[i+1] != 0) || c == '\n' && (i == 0 || sent[i-1] != '\r') {
				t.Fatalf("%q is sent as %q", b, sent)
			}
		}
		if got := undo(sent); !bytes.Equal(got, b) {
			t.Errorf("%q arrives as %q", b, got)
		}
	})
}

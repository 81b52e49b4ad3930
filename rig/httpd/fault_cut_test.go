package httpd

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/pki"
)

func TestAnswersThatAreCut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		effect fault.Effect
		head   int // bytes of it; -1: whole
		body   int
		reset  bool
		code   int // of curl
	}{
		"reset at once":             {Reset{}, 0, 0, true, 56},
		"reset in the head":         {Reset{HeadBytes: 20}, 20, 0, true, 56},
		"reset behind the head":     {Reset{HeadBytes: 1 << 20}, -1, 0, true, 56},
		"reset in the body":         {Reset{AfterBytes: 70_000}, -1, 70_000, true, 56},
		"closed at once":            {Close{}, 0, 0, false, 52}, // CURLE_GOT_NOTHING
		"closed in the head":        {Close{HeadBytes: 20}, 20, 0, false, 0},
		"closed behind the head":    {Close{HeadBytes: 1 << 20}, -1, 0, false, 18},
		"closed in the body":        {Close{AfterBytes: 1}, -1, 1, false, 18},
		"closed behind the body":    {Close{AfterBytes: int64(len(image))}, -1, len(image), false, 0},
		"silence in the head":       {FallSilent{HeadBytes: 20}, 20, 0, false, timedOut},
		"silence behind the head":   {FallSilent{HeadBytes: 1 << 20}, -1, 0, false, timedOut},
		"silence in the body":       {FallSilent{AfterBytes: 100_000}, -1, 100_000, false, timedOut},
		"silence instead of an end": {FallSilent{AfterBytes: int64(len(image))}, -1, len(image), false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := faulty(t, Config{}, fault.On("image.rom").Do(c.effect))
			client := dial(t, addr)
			if _, err := io.WriteString(client, "GET /image.rom HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(name, "silence") {
				if err := client.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			all, err := io.ReadAll(client)
			if (err != nil) != c.reset {
				t.Errorf("ended with %v", err)
			}
			head, body, whole := strings.Cut(string(all), "\r\n\r\n")
			if whole != (c.head < 0) || !whole && len(head) != c.head || body != string(image[:c.body]) {
				t.Errorf("got %d bytes of head and %d of body", len(head), len(body))
			}
			told(t, j, string(image[:c.body]), c.body == len(image) && !c.reset)
			args := []string{"-o", "/dev/null", "http://" + addr + "/image.rom"}
			if c.code == timedOut {
				args = append(args, "--max-time", "1")
			}
			if _, code := curl(t, args...); code != c.code {
				t.Errorf("curl: %d, want %d", code, c.code)
			}
		})
	}
}

func TestTheEndOfTLSIsLeftOutWhenTold(t *testing.T) {
	t.Parallel()
	for _, mute := range []bool{false, true} {
		addr, j := faulty(t, Config{Certificate: shows(leaf(t, pki.Good))}, fault.On("image.rom").Do(Close{AfterBytes: 1000, Mute: mute}))
		raw := &heard{Conn: dial(t, addr)}
		client := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		if _, err := io.WriteString(client, "GET /image.rom HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(client); err != nil {
			t.Error(err)
		}
		if got := raw.last(); (got == recordAlert) == mute {
			t.Errorf("mute %t: the last record is of type %d", mute, got)
		}
		told(t, j, string(image[:1000]), false)
		if closed := j.wait(t, timeline.ConnClosed, 1)[0]; closed.Reason != "closed as told" {
			t.Errorf("closed %+v", closed)
		}
	}
}

// heard keeps what was read.
type heard struct {
	net.Conn
	all []byte
}

func (h *heard) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	h.all = append(h.all, b[:n]...)
	return n, err
}

// last is the type of the last TLS record.
func (h *heard) last() (kind byte) {
	for b := h.all; len(b) >= 5; b = b[min(len(b), 5+int(b[3])<<8+int(b[4])):] {
		kind = b[0]
	}
	return kind
}

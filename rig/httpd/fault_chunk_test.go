package httpd

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

func TestChunks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		effect Chunked
		body   string // as it is on the wire
		whole  bool
		code   int // of curl
	}{
		"right, one chunk":        {Chunked{}, "6\r\n[LAN]\n\r\n0\r\n\r\n", true, 0},
		"right, of four":          {Chunked{Size: 4}, "4\r\n[LAN\r\n2\r\n]\n\r\n0\r\n\r\n", true, 0},
		"a bad size line":         {Chunked{Size: 4, Flaw: ChunkBadSize}, "4\r\n[LAN\r\nxyz\r\n]\n\r\n0\r\n\r\n", false, 56},
		"a bad size line at last": {Chunked{Flaw: ChunkBadSize}, "6\r\n[LAN]\n\r\nxyz\r\n\r\n", false, 56},
		"no last chunk":           {Chunked{Flaw: ChunkNoLast}, "6\r\n[LAN]\n\r\n", false, 18},
		"too short a chunk":       {Chunked{Flaw: ChunkTooShort}, "7\r\n[LAN]\n\r\n0\r\n\r\n", false, 0},
		"too long a chunk":        {Chunked{Flaw: ChunkTooLong}, "5\r\n[LAN]\n\r\n0\r\n\r\n", false, 56},
		"a huge chunk":            {Chunked{Flaw: ChunkHuge}, "10000000000000000\r\n[LAN]\n\r\n0\r\n\r\n", false, 56},
		"a length besides":        {Chunked{Flaw: ChunkAndLength}, "6\r\n[LAN]\n\r\n0\r\n\r\n", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := faulty(t, Config{}, fault.On("sysconf_8830_sip.cfg").Do(c.effect))
			out, err := get(t, addr, "sysconf_8830_sip.cfg")
			head, body, _ := strings.Cut(out, "\r\n\r\n")
			if err != nil || body != c.body || !strings.Contains(head, "\r\nTransfer-Encoding: chunked") {
				t.Errorf("answered %q, %v, want %q", out, err, c.body)
			}
			if got := strings.Contains(head, "Content-Length: 6"); got != (c.effect.Flaw == ChunkAndLength) {
				t.Errorf("a Content-Length: %t", got)
			}
			told(t, j, config, c.whole)
			if out, code := curl(t, "http://"+addr+"/sysconf_8830_sip.cfg"); code != c.code || code == 0 && strings.TrimSuffix(out, "\r") != config {
				t.Errorf("curl: %q, %d, want %d", out, code, c.code)
			}
			if err := fetchWithGo(t, addr); (err == nil) != c.whole {
				t.Errorf("Go's client: %v", err)
			}
		})
	}
}

func TestAnImageInChunksOfAnySize(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1000, 16 << 10, 20_000, 1 << 20} {
		addr, j := faulty(t, Config{}, fault.On("image.rom").Do(Chunked{Size: size}), fault.On("empty").Do(Chunked{}).Once())
		if out, code := curl(t, "http://"+addr+"/image.rom"); code != 0 || out != string(image) {
			t.Errorf("%d: %d bytes, %d", size, len(out), code)
		}
		told(t, j, string(image), true)
		client := dial(t, addr)
		if _, err := io.WriteString(client, "GET /image.rom HTTP/1.1\r\nHost: a\r\n\r\nGET /missing HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(client)
		for _, want := range []int{200, 404} {
			resp, err := http.ReadResponse(br, nil)
			if err != nil || resp.StatusCode != want {
				t.Fatalf("%d: %v, %v, want %d", size, resp, err, want)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Error(err)
			}
			_ = resp.Body.Close()
		}
		if out, err := get(t, addr, "empty"); err != nil || !strings.HasSuffix(out, "\r\n\r\n0\r\n\r\n") {
			t.Errorf("an empty file: %q, %v", out, err)
		}
		j.wait(t, timeline.Served, 3)
	}
}

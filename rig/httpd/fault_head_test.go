package httpd

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"ip88rig/rig/fault"
)

func TestFaultsOfTheHead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		effect fault.Effect
		starts string
		holds  string
		not    string
		whole  bool
		code   int // of curl
		goErr  bool
	}{
		"HTTP/1.0":           {effect: Version{Name: "HTTP/1.0"}, starts: "HTTP/1.0 200 OK\r\n", not: "Connection:", whole: true},
		"an unknown version": {effect: Version{Name: "ICY"}, starts: "ICY 200 OK\r\n", whole: true, code: 1, goErr: true}, // CURLE_UNSUPPORTED_PROTOCOL: HTTP/0.9
		"no head":            {effect: BareBody{}, starts: config, not: "HTTP", code: 1, goErr: true},
		"a silly first line": {effect: StatusLine{Line: "HTTP/1.1 abc"}, starts: "HTTP/1.1 abc\r\n", code: 1, goErr: true},
		"an empty one":       {effect: StatusLine{}, starts: "\r\n", code: 1, goErr: true},
		"a long line":        {effect: LongHeader{Bytes: 200_000}, starts: "HTTP/1.1 200 OK\r\n", holds: "\r\nX-Filler: " + strings.Repeat("x", 200_000) + "\r\n", whole: true, code: 27}, // CURLE_OUT_OF_MEMORY: more than 100 KiB
		"many lines":         {effect: ManyHeaders{Count: 100}, starts: "HTTP/1.1 200 OK\r\n", holds: "\r\nX-Filler-99: x\r\n", whole: true},
		"a folded line":      {effect: FoldedHeader{Name: "content-length"}, starts: "HTTP/1.1 200 OK\r\n", holds: "\r\nContent-Length:\r\n\t6\r\n", whole: true, code: 8},
		"all lines folded":   {effect: FoldedHeader{}, starts: "HTTP/1.1 200 OK\r\n", holds: "\r\nServer:\r\n\tip88rig\r\n", whole: true, code: 8},
		"a NUL":              {effect: NULHeader{}, starts: "HTTP/1.1 200 OK\r\n", holds: "\r\nX-Filler: a\x00b\r\n", whole: true, code: 8, goErr: true}, // CURLE_WEIRD_SERVER_REPLY
		"raw bytes":          {effect: RawHeader{Text: ": x\r\n"}, starts: "HTTP/1.1 200 OK\r\n", holds: "\r\n: x\r\n\r\n" + config, whole: true, goErr: true},
		"bare line feeds":    {effect: BareLF{}, starts: "HTTP/1.1 200 OK\n", not: "\r", whole: true},
		"said to be closed":  {effect: Persistence{Say: "close", Close: true}, starts: "HTTP/1.1 200 OK\r\n", holds: "\r\nConnection: close\r\n", whole: true},
		"said to be kept":    {effect: Persistence{Say: "keep-alive", Close: true}, starts: "HTTP/1.1 200 OK\r\n", holds: "\r\nConnection: keep-alive\r\n", whole: true},
		"nothing said":       {effect: Persistence{Close: true}, starts: "HTTP/1.1 200 OK\r\n", not: "Connection", whole: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := faulty(t, Config{}, fault.On("sysconf_8830_sip.cfg").Do(c.effect))
			out, err := get(t, addr, "sysconf_8830_sip.cfg")
			if err != nil || !strings.HasPrefix(out, c.starts) || !strings.Contains(out, c.holds) || c.not != "" && strings.Contains(out, c.not) || !strings.HasSuffix(out, config) {
				t.Errorf("answered %.300q, %v", out, err)
			}
			told(t, j, config, c.whole)
			if got := j.wait(t, "served", 1)[0].Reason; got != c.effect.String() {
				t.Errorf("reason %q", got)
			}
			if out, code := curl(t, "http://"+addr+"/sysconf_8830_sip.cfg"); code != c.code || code == 0 && out != config {
				t.Errorf("curl: %.200q, %d, want %d", out, code, c.code)
			}
			if err := fetchWithGo(t, addr); (err != nil) != c.goErr {
				t.Errorf("Go's client: %v", err)
			}
		})
	}
}

// fetchWithGo fetches the configuration with net/http.
func fetchWithGo(t *testing.T, addr string) error {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/sysconf_8830_sip.cfg", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); closeErr != nil {
		t.Error(closeErr)
	}
	if err == nil && string(body) != config {
		return errors.New("another body: " + string(body))
	}
	return err
}

func TestTheChallengeIsFolded(t *testing.T) {
	t.Parallel()
	addr, _ := faulty(t, Config{Auth: func(string) Auth { return basic() }}, fault.On("401").Do(FoldedHeader{Name: "www-authenticate"}))
	if out, err := get(t, addr, "empty"); err != nil || !strings.Contains(out, "\r\nWWW-Authenticate:\r\n\tBasic realm=\"r\"\r\n") {
		t.Errorf("answered %q, %v", out, err)
	}
}

func TestAConnectionThatIsSaidToCloseStaysOpen(t *testing.T) {
	t.Parallel()
	addr, _ := faulty(t, Config{}, fault.On("empty").Do(Persistence{Say: "close"}))
	client := dial(t, addr)
	for range 2 {
		if _, err := io.WriteString(client, "GET /empty HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 400)
		n, err := client.Read(b)
		if err != nil || !strings.Contains(string(b[:n]), "\r\nConnection: close\r\n") {
			t.Errorf("got %q, %v", b[:n], err)
		}
	}
}

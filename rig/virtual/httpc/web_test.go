package httpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/trust"
)

func TestStatusesThatAskForPatience(t *testing.T) {
	for _, test := range []struct {
		name   string
		script []string
		status int
		asked  int
		takes  time.Duration
	}{
		{"waits as long as Retry-After says", []string{status("503 Service Unavailable", "Retry-After: 2"), ok("x")}, 200, 2, 2 * time.Second},
		{"waits after 429, too", []string{status("429 Too Many Requests", "Retry-After: 1"), ok("x")}, 200, 2, time.Second},
		{"asks no more often than its tries", []string{status("503 Service Unavailable", "Retry-After: 1"), status("503 Service Unavailable", "Retry-After: 1"), ok("x")}, 503, 2, time.Second},
		{"does not wait longer than its limit", []string{status("503 Service Unavailable", "Retry-After: 3600"), ok("x")}, 503, 1, 0},
		{"does not ask again without Retry-After", []string{status("503 Service Unavailable"), ok("x")}, 503, 1, 0},
		{"does not understand a date", []string{status("503 Service Unavailable", "Retry-After: Fri, 31 Dec 2100 23:59:59 GMT"), ok("x")}, 503, 1, 0},
		{"does not understand a negative wait", []string{status("503 Service Unavailable", "Retry-After: -1"), ok("x")}, 503, 1, 0},
		{"asks again at once after 408", []string{status("408 Request Timeout", "Connection: close"), ok("x")}, 200, 2, 0},
		{"takes other statuses as they are", []string{status("500 Internal Server Error", "Retry-After: 1"), ok("x")}, 500, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &site{script: test.script}
			bubble(t, s, func(ctx context.Context, c *Client) {
				c.RetryStatuses, c.RetryAfterLimit = []int{408, 429, 503}, 2*time.Second
				start := time.Now()
				_, code, err := c.Get(ctx, "http://rig.example/f")
				if code != test.status || err != nil {
					t.Errorf("got %d %v, want %d", code, err, test.status)
				}
				if took := time.Since(start); took != test.takes {
					t.Errorf("took %v, want %v", took, test.takes)
				}
			})
			if len(s.heads) != test.asked {
				t.Errorf("asked %q, want %d times", s.heads, test.asked)
			}
		})
	}
}

// drip serves an answer piece by piece.
func drip(text string, piece int, every time.Duration) func(context.Context, netip.AddrPort) (net.Conn, error) {
	return func(context.Context, netip.AddrPort) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { // ends with the text, or the pipe
			defer server.Close() //nolint:errcheck // in memory
			if _, err := http.ReadRequest(bufio.NewReader(server)); err != nil {
				return
			}
			for rest := text; rest != ""; rest = rest[min(piece, len(rest)):] {
				if _, err := io.WriteString(server, rest[:min(piece, len(rest))]); err != nil {
					return
				}
				time.Sleep(every) //nolint:forbidigo // in a bubble
			}
		}()
		return client, nil
	}
}

func TestAnAnswerThatComesTooSlowlyIsGivenUp(t *testing.T) {
	long := ok(strings.Repeat("x", 10_000))
	for _, test := range []struct {
		name     string
		piece    int
		every    time.Duration
		fileTime time.Duration
		fails    string
		takes    time.Duration
	}{
		{"one byte a second", 1, time.Second, 0, "too slowly", 40 * time.Second},
		{"one byte in 19 s", 1, 19 * time.Second, 0, "too slowly", 76 * time.Second},
		{"fast enough, but not done in time", 10, time.Second, 30 * time.Second, "not done after 30s", 30 * time.Second},
		{"fast enough", 1000, time.Second, 30 * time.Second, "", 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := client(&site{})
				c.Dial, c.Slowest, c.FileTime = drip(long, test.piece, test.every), 64, test.fileTime
				start := time.Now()
				body, _, err := c.Get(t.Context(), "http://rig.example/f")
				if (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got %d bytes, error %v, want %q", len(body), err, test.fails)
				}
				if took := time.Since(start); took != test.takes {
					t.Errorf("took %v, want %v", took, test.takes)
				}
				_ = c.Close()
				time.Sleep(time.Minute) //nolint:forbidigo // in a bubble, for the drips to end
			})
		})
	}
}

func TestASlowHandshakeIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(&site{})
		c.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }() // ends with the pipe
			go func() {                                     // ends with the pipe
				record := append([]byte{22, 3, 1, 0x3f, 0}, make([]byte, 1000)...)
				for i := range record {
					if _, err := far.Write(record[i : i+1]); err != nil {
						return
					}
					time.Sleep(time.Second) //nolint:forbidigo // in a bubble
				}
			}()
			return near, nil
		}
		start := time.Now()
		if _, _, err := c.Get(t.Context(), "https://rig.example/f"); err == nil || time.Since(start) != 40*time.Second {
			t.Errorf("got %v after %v, want an error after 40 s", err, time.Since(start))
		}
		_ = c.Close()
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble, for the drips to end
	})
}

// TestAFileIsTakenWholeOrNotAtAll cuts a good answer at every byte.
func TestAFileIsTakenWholeOrNotAtAll(t *testing.T) {
	const body = "[VOIP]\nline1_name 201\n"
	for name, whole := range map[string]string{
		"of known length": ok(body),
		"chunked":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n[VOIP]\n\r\nf\r\nline1_name 201\n\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for n := range len(whole) + 1 {
				s := &site{script: []string{whole[:n], "close"}}
				if n == 0 {
					s.script[0] = "close"
				}
				synctest.Test(t, func(t *testing.T) {
					c := client(s)
					c.Dial = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
						conn, err := s.dial(ctx, a)
						return &once{Conn: conn}, err
					}
					got, _, err := c.Get(t.Context(), "http://rig.example/f")
					if n == len(whole) != (string(got) == body) || (len(got) > 0) != (err == nil) {
						t.Errorf("cut at %d of %d: got %q %v", n, len(whole), got, err)
					}
					_ = c.Close()
					for _, d := range s.done {
						<-d
					}
				})
			}
		})
	}
}

// once is a connection whose server goes after its first answer.
type once struct {
	net.Conn
	written bool
}

func (o *once) Write(b []byte) (int, error) {
	if o.written {
		return 0, io.ErrClosedPipe
	}
	o.written = true
	return o.Conn.Write(b)
}

func (o *once) Read(b []byte) (int, error) {
	_ = o.SetReadDeadline(time.Now().Add(time.Second))
	n, err := o.Conn.Read(b)
	var silent net.Error
	if errors.As(err, &silent) && silent.Timeout() {
		err = io.EOF
	}
	return n, err
}

func TestWrongFraming(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
	for _, test := range []struct {
		name, answer, body string
	}{
		{"Content-Length too large", head + "Content-Length: 9\r\n\r\nabc", ""},
		{"Content-Length too small: the body is what was said", head + "Content-Length: 2\r\n\r\nabc", "ab"},
		{"no Content-Length: the body ends with the connection", head + "\r\nabc", "abc"},
		{"two that differ", head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", ""},
		{"negative", head + "Content-Length: -1\r\n\r\nabc", ""},
		{"no number", head + "Content-Length: x\r\n\r\nabc", ""},
		{"chunk longer than said", head + "Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", ""},
		{"chunk size that is no number", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", ""},
		{"last chunk missing", head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", ""},
		{"chunked and Content-Length: chunked counts", head + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc"},
		{"coding that nobody knows", head + "Transfer-Encoding: xyz\r\n\r\nabc", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &site{always: test.answer}
			bubble(t, s, func(ctx context.Context, c *Client) {
				body, _, err := c.Get(ctx, "http://rig.example/f")
				if string(body) != test.body || (err == nil) != (test.body != "") {
					t.Errorf("got %q %v, want %q", body, err, test.body)
				}
			})
		})
	}
}

func TestEncodedBodyIsTakenAsItIsWhereToldSo(t *testing.T) {
	s := &site{script: []string{"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b"}}
	bubble(t, s, func(ctx context.Context, c *Client) {
		c.TakeEncoded = true
		if body, _, err := c.Get(ctx, "http://rig.example/f"); string(body) != "\x1f\x8b" || err != nil {
			t.Errorf("got %q %v", body, err)
		}
	})
}

func TestSchemesAndQualities(t *testing.T) {
	digest := func(params string) string {
		return status("401 Unauthorized", `WWW-Authenticate: Digest realm="rig", nonce="n", `+params)
	}
	both := status("401 Unauthorized", `WWW-Authenticate: Digest realm="rig", nonce="n"`, `WWW-Authenticate: Basic realm="rig"`)
	for _, test := range []struct {
		name   string
		change func(*Client)
		script []string
		want   []string // of each request after the first
	}{
		{"auth-int alone is not answered", nil, []string{digest(`qop="auth-int"`)}, nil},
		{"auth-int alone is answered where it is known", func(c *Client) { c.Digest = []string{"MD5", "auth-int"} }, []string{digest(`qop="auth-int"`), ok("")}, []string{"qop=auth-int"}},
		{"auth is picked from both", nil, []string{digest(`qop="auth-int,auth"`), ok("")}, []string{"qop=auth,"}},
		{"SHA-256 is not answered", nil, []string{digest(`algorithm=SHA-256, qop="auth"`)}, nil},
		{"SHA-256 is answered where it is known", func(c *Client) { c.Digest = []string{"MD5", "SHA-256", "auth"} }, []string{digest(`algorithm=SHA-256, qop="auth"`), ok("")}, []string{"algorithm=SHA-256"}},
		{"MD5 is picked from two", nil, []string{status("401 Unauthorized", `WWW-Authenticate: Digest realm="rig", nonce="s", algorithm=SHA-256`, `WWW-Authenticate: Digest realm="rig", nonce="m", algorithm=MD5`), ok("")}, []string{`nonce="m"`}},
		{"Digest is picked from both schemes", nil, []string{both, ok("")}, []string{"Digest"}},
		{"Basic is picked from both where it is preferred", func(c *Client) { c.PreferBasic = true }, []string{both, ok("")}, []string{"Basic"}},
		{"a realm keeps its quotes", nil, []string{status("401 Unauthorized", `WWW-Authenticate: Digest realm="a \"b\"", nonce="n"`), ok("")}, []string{`realm="a \"b\""`}},
		{"blank credentials are not sent", func(c *Client) { c.ID, c.Password = "", "" }, []string{both}, nil},
		{"blank credentials are sent where told so", func(c *Client) { c.ID, c.Password, c.AnswerBlank = "", "", true }, []string{both, ok("")}, []string{`username=""`}},
		{"an ID without password is sent", func(c *Client) { c.Password = "" }, []string{both, ok("")}, []string{`username="201"`}},
		{"wrong credentials are sent as often as told", func(c *Client) { c.AuthTries = 2 }, []string{both, both, both, both}, []string{"Digest", "Digest"}},
		{"a stale nonce costs no try", nil, []string{both, stale, ok("")}, []string{"Digest", "Digest"}},
		{"defect: a stale nonce is the end", func(c *Client) { c.Defects = defect.Set{defect.IgnoresStale} }, []string{both, stale, ok("")}, []string{"Digest"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &site{script: test.script}
			bubble(t, s, func(ctx context.Context, c *Client) {
				if test.change != nil {
					test.change(c)
				}
				if _, _, err := c.Get(ctx, "http://rig.example/f"); err != nil {
					t.Error(err)
				}
			})
			if len(s.heads) != len(test.want)+1 {
				t.Fatalf("sent %q, want %d requests", s.heads, len(test.want)+1)
			}
			for i, want := range test.want {
				if !strings.Contains(s.heads[i+1], want) {
					t.Errorf("request %d is %q, want %q", i+2, s.heads[i+1], want)
				}
			}
		})
	}
}

func TestANonceCountsARequestThatIsSentAgain(t *testing.T) {
	s := &site{script: []string{status("401 Unauthorized", digestChallenge), ok("1"), "close", ok("2")}}
	bubble(t, s, func(ctx context.Context, c *Client) {
		for range 2 {
			if _, _, err := c.Get(ctx, "http://rig.example/f"); err != nil {
				t.Error(err)
			}
		}
	})
	if len(s.heads) != 4 || !strings.Contains(s.heads[2], "nc=00000002") || !strings.Contains(s.heads[3], "nc=00000003") {
		t.Errorf("sent %q", s.heads)
	}
}

func TestRedirections(t *testing.T) {
	to := func(location string) string { return status("302 Found", "Location: "+location) }
	digest := status("401 Unauthorized", digestChallenge)
	other := defect.Set{defect.CredentialsToOtherHost}
	for _, test := range []struct {
		name    string
		defects defect.Set
		script  []string
		status  int
		want    []string // what each request is, or holds
	}{
		{"are followed", nil, []string{to("/a"), to("b"), to("http://other.example/c"), ok("")}, 200, []string{"GET /f ", "GET /a ", "GET /b ", "GET /c "}},
		{"are followed up to the bound", nil, []string{to("/1"), to("/2"), to("/3"), to("/4"), ok("")}, 302, []string{"GET /f ", "GET /1 ", "GET /2 ", "GET /3 "}},
		{"without a place are not followed", nil, []string{status("302 Found"), ok("")}, 302, []string{"GET /f "}},
		{"another host's challenge is not answered", nil, []string{to("http://other.example/c"), digest}, 401, []string{"GET /f ", "GET /c "}},
		{"another host is not given what was known", nil, []string{digest, to("http://other.example/c"), digest}, 401, []string{"GET /f ", "Digest", "GET /c "}},
		{"another port of the host is answered, once it asks", nil, []string{to("http://rig.example:8080/c"), digest, ok("")}, 200, []string{"GET /f ", "GET /c ", "GET /c Digest"}},
		{"defect: what was known goes along", other, []string{digest, to("http://other.example/c"), ok("")}, 200, []string{"GET /f ", "Digest", "GET /c Digest"}},
		{"defect: and goes unasked", other, []string{to("http://other.example/c"), ok("")}, 200, []string{"GET /f ", "GET /c Basic"}},
		{"defect: nothing goes to the host itself", other, []string{ok("")}, 200, []string{"GET /f "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &site{script: test.script}
			bubble(t, s, func(ctx context.Context, c *Client) {
				c.Redirects, c.Defects = 3, test.defects
				if _, code, err := c.Get(ctx, "http://rig.example/f"); code != test.status || err != nil {
					t.Errorf("got %d %v, want %d", code, err, test.status)
				}
			})
			if len(s.heads) != len(test.want) {
				t.Fatalf("sent %q, want %d requests", s.heads, len(test.want))
			}
			for i, want := range test.want {
				if got := s.heads[i]; !strings.Contains(got, want) || strings.HasSuffix(want, " ") && got != want {
					t.Errorf("request %d is %q, want %q", i+1, got, want)
				}
			}
		})
	}
}

func TestDefectsWithoutEnd(t *testing.T) {
	for _, test := range []struct {
		defect  defect.Name
		always  string
		healthy int // requests
	}{
		{defect.FollowsRedirectsForever, status("302 Found", "Location: /f"), 4},
		{defect.AuthenticatesForever, status("401 Unauthorized", digestChallenge), 2},
		{defect.AuthenticatesForever, status("401 Unauthorized", `WWW-Authenticate: Basic realm="rig"`), 2},
	} {
		for want, defects := range map[string]defect.Set{"healthy": nil, "sick": {test.defect}} {
			t.Run(string(test.defect)+" "+want, func(t *testing.T) {
				s := &site{always: test.always}
				bubble(t, s, func(ctx context.Context, c *Client) {
					c.Redirects, c.Defects, c.FileTime = 3, defects, 10*time.Minute
					ctx, cancel := context.WithTimeout(ctx, time.Hour)
					defer cancel()
					_, _, err := c.Get(ctx, "http://rig.example/f")
					if (err != nil) != (defects != nil) {
						t.Errorf("got %v", err)
					}
				})
				if defects == nil && len(s.heads) != test.healthy || defects != nil && len(s.heads) < 1000 {
					t.Errorf("sent %d requests", len(s.heads))
				}
			})
		}
	}
}

func TestDefectTakesShortBody(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		want         string
	}{
		{"short of its Content-Length", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nabc", "abc"},
		{"chunks that break off are no concern of it", "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &site{always: test.answer}
			bubble(t, s, func(ctx context.Context, c *Client) {
				c.Defects = defect.Set{defect.TakesShortBody}
				if body, _, err := c.Get(ctx, "http://rig.example/f"); string(body) != test.want || (err == nil) != (test.want != "") {
					t.Errorf("got %q %v, want %q", body, err, test.want)
				}
			})
		})
	}
}

func TestDefectHandshakeHangs(t *testing.T) {
	for want, defects := range map[string]defect.Set{"healthy": nil, "sick": {defect.HandshakeHangs}} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := client(&site{})
				c.Defects, c.FileTime = defects, 10*time.Minute
				c.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
					near, far := net.Pipe()
					go func() { _, _ = io.Copy(io.Discard, far) }() // ends with the pipe
					return near, nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				start := time.Now()
				_, _, err := c.Get(ctx, "https://rig.example/f")
				took, limit := time.Since(start), 40*time.Second
				if defects != nil {
					limit = time.Hour
				}
				if err == nil || took != limit {
					t.Errorf("got %v after %v, want an error after %v", err, took, limit)
				}
			})
		})
	}
}

func TestDefectsOfTheHandshake(t *testing.T) {
	a := authority(t, "A")
	good := issue(t, a, &x509.Certificate{DNSNames: []string{"rig.example"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}})
	wrong := issue(t, a, &x509.Certificate{DNSNames: []string{"other.example"}})
	for _, test := range []struct {
		name    string
		leaf    *pair
		url     string
		defects defect.Set
		blank   bool // credentials
		sni     string
		alert   byte
		heads   []string
		refused bool
		twice   bool // it comes again
	}{
		{name: "a name is told", leaf: good, url: "https://rig.example/f", sni: "rig.example", heads: []string{"GET /f "}},
		{name: "an address is not", leaf: good, url: "https://192.0.2.1/f", heads: []string{"GET /f "}},
		{name: "a refusal has its alert", leaf: wrong, url: "https://rig.example/f", sni: "rig.example", alert: 42, refused: true},
		{name: "defect: a name is not told", leaf: good, url: "https://rig.example/f", defects: defect.Set{defect.NoServerName}, heads: []string{"GET /f "}},
		{name: "defect: a wrong name is refused all the same", leaf: wrong, url: "https://rig.example/f", defects: defect.Set{defect.NoServerName}, alert: 42, refused: true},
		{name: "defect: wrong alert", leaf: wrong, url: "https://rig.example/f", sni: "rig.example", defects: defect.Set{defect.WrongAlert}, alert: 46, refused: true},
		{name: "defect: credentials to whom was refused", leaf: wrong, url: "https://rig.example/f", sni: "rig.example", defects: defect.Set{defect.CredentialsToRefused}, alert: 42, heads: []string{"GET /f Basic MjAxOnNlY3JldA=="}, refused: true, twice: true},
		{name: "defect: no credentials, no request", leaf: wrong, url: "https://rig.example/f", sni: "rig.example", defects: defect.Set{defect.CredentialsToRefused}, blank: true, alert: 42, refused: true},
		{name: "defect: a good server is asked as ever", leaf: good, url: "https://rig.example/f", sni: "rig.example", defects: defect.Set{defect.CredentialsToRefused}, heads: []string{"GET /f "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var sni []string
			cert := tls.Certificate{Certificate: [][]byte{test.leaf.cert.Raw}, PrivateKey: test.leaf.key}
			s := &site{always: ok("x"), tls: &tls.Config{MinVersion: tls.VersionTLS10, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
				sni = append(sni, h.ServerName)
				return &cert, nil
			}}}
			bubble(t, s, func(ctx context.Context, c *Client) {
				c.Defects = test.defects
				if test.blank {
					c.ID, c.Password = "", ""
				}
				c.Policy = trust.Policy{Mask: 7, Authorities: []*x509.Certificate{a.cert}}
				body, _, err := c.Get(ctx, test.url)
				_, refused := errors.AsType[*trust.Refusal](err)
				if refused != test.refused || refused == (string(body) == "x") {
					t.Errorf("got %q %v", body, err)
				}
			})
			if (len(sni) != 1) != test.twice || sni[0] != test.sni {
				t.Errorf("told the name %q, want %q", sni, test.sni)
			}
			got := byte(0)
			if len(s.alerts) > 0 && test.refused {
				got = s.alerts[0]
			}
			if test.alert != 0 && got != test.alert {
				t.Errorf("got alert %d, want %d", got, test.alert)
			}
			if strings.Join(s.heads, "|") != strings.Join(test.heads, "|") {
				t.Errorf("sent %q, want %q", s.heads, test.heads)
			}
		})
	}
}

func TestHandshakesThatGoWrongEndAndAreTriedAgain(t *testing.T) {
	a := authority(t, "A")
	good := issue(t, a, &x509.Certificate{DNSNames: []string{"rig.example"}})
	for name, misdeed := range map[string]func(net.Conn){
		"garbage": func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\n")) },
		"alert":   func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 1, 0, 2, 2, 40}) },
		"close":   func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{always: ok("x"), tls: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{good.cert.Raw}, PrivateKey: good.key}}, MinVersion: tls.VersionTLS10}}
			first := true
			bubble(t, s, func(ctx context.Context, c *Client) {
				c.Policy = trust.Policy{Mask: 7, Authorities: []*x509.Certificate{a.cert}}
				c.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
					if !first {
						return s.dial(ctx, to)
					}
					first = false
					near, far := net.Pipe()
					go func() { // ends with the pipe
						defer far.Close() //nolint:errcheck // in memory
						_, _ = far.Read(make([]byte, 4096))
						misdeed(far)
					}()
					return near, nil
				}
				if body, _, err := c.Get(ctx, "https://rig.example/f"); string(body) != "x" || err != nil {
					t.Errorf("got %q %v", body, err)
				}
			})
		})
	}
}

func TestACertificateOf64KiBIsReadWhole(t *testing.T) {
	a := authority(t, "A")
	large := &x509.Certificate{DNSNames: []string{"rig.example"}}
	for range 1000 {
		large.DNSNames = append(large.DNSNames, strings.Repeat("x", 60)+".example")
	}
	leaf := issue(t, a, large)
	if n := len(leaf.cert.Raw); n < 64<<10 {
		t.Fatalf("the certificate has %d bytes", n)
	}
	for limit, want := range map[int]uint8{100 << 10: 0, 16 << 10: trust.Authority} {
		s := &site{always: ok("x"), tls: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.cert.Raw}, PrivateKey: leaf.key}}, MinVersion: tls.VersionTLS10}}
		bubble(t, s, func(ctx context.Context, c *Client) {
			c.Policy = trust.Policy{Mask: 7, Authorities: []*x509.Certificate{a.cert}, MaxBytes: limit}
			body, _, err := c.Get(ctx, "https://rig.example/f")
			refusal, refused := errors.AsType[*trust.Refusal](err)
			if refused != (want != 0) || refused && refusal.Failed != want || refused == (string(body) == "x") {
				t.Errorf("limit %d: got %q %v", limit, body, err)
			}
		})
	}
}

func TestAServerThatCannotBeReachedIsToldApart(t *testing.T) {
	c := client(&site{})
	c.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("refused") }
	if _, _, err := c.Get(t.Context(), "http://rig.example/f"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	s := &site{always: "close"}
	bubble(t, s, func(ctx context.Context, c *Client) {
		if _, _, err := c.Get(ctx, "http://rig.example/f"); err == nil || errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v", err)
		}
	})
}

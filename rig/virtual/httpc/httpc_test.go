package httpc

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/trust"
)

// site is a scripted server: each connection is a pipe, each request is
// answered by the next line of the script.
type site struct {
	mu     sync.Mutex // two connections may overlap: the old one ends while the new one is served
	dials  []string
	heads  []string // request line and Authorization of each request
	script []string // raw answers; "close" ends the connection, "silence" says nothing
	always string   // the answer when the script is at its end
	tls    *tls.Config
	alerts []byte   // descriptions of alerts that came in clear
	errs   []string // of handshakes
	done   []chan struct{}
}

func (s *site) dial(_ context.Context, addr netip.AddrPort) (net.Conn, error) {
	s.dials = append(s.dials, addr.String())
	client, server := net.Pipe()
	done := make(chan struct{})
	s.done = append(s.done, done)
	go func() { // ends with the connection
		defer close(done)
		defer server.Close() //nolint:errcheck // in memory
		var c io.ReadWriter = server
		if s.tls != nil {
			t := tls.Server(&listening{Conn: server, s: s}, s.tls)
			if err := t.Handshake(); err != nil { //nolint:noctx // ends with the pipe
				s.mu.Lock()
				s.errs = append(s.errs, err.Error())
				s.mu.Unlock()
				return
			}
			c = t
		}
		s.serve(c)
	}()
	return client, nil
}

func (s *site) serve(c io.ReadWriter) {
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		answer := s.next(req)
		switch answer {
		case "", "close":
			return
		case "silence":
			_, _ = io.Copy(io.Discard, r)
			return
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
		if strings.Contains(answer, "Connection: close") || strings.Contains(answer, "HTTP/1.0") {
			return
		}
	}
}

// next notes a request and returns the line of the script for it.
func (s *site) next(req *http.Request) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads = append(s.heads, req.Method+" "+req.RequestURI+" "+req.Header.Get("Authorization"))
	if len(s.script) == 0 {
		return s.always
	}
	answer := s.script[0]
	s.script = s.script[1:]
	return answer
}

// listening notes alerts in clear.
type listening struct {
	net.Conn
	s *site
}

func (l *listening) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if n >= 2 && b[0] == 21 && n >= 7 {
		l.s.alerts = append(l.s.alerts, b[6])
	} else if n == 2 && b[0] == 2 {
		l.s.alerts = append(l.s.alerts, b[1])
	}
	return n, err
}

func ok(body string) string {
	return "HTTP/1.1 200 OK\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body
}

func itoa(n int) string { return big.NewInt(int64(n)).String() }

func status(line string, headers ...string) string {
	return "HTTP/1.1 " + line + "\r\nContent-Length: 0\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
}

func client(s *site) *Client {
	return &Client{
		Dial: s.dial, Resolve: func(context.Context, string) (netip.Addr, error) { return netip.MustParseAddr("192.0.2.1"), nil },
		ID: "201", Password: "secret", UserAgent: "handset", Timeout: 20 * time.Second, Tries: 2,
	}
}

// bubble runs a test with time of its own, and waits for the site.
func bubble(t *testing.T, s *site, f func(ctx context.Context, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := client(s)
		f(t.Context(), c)
		_ = c.Close()
		for _, d := range s.done {
			<-d
		}
	})
}

func TestGet(t *testing.T) {
	for _, test := range []struct {
		name   string
		script []string
		body   string
		status int
		dials  int
		fails  string
		takes  time.Duration
	}{
		{"takes a body of known length", []string{ok("hello")}, "hello", 200, 1, "", 0},
		{"takes a chunked body", []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"}, "abc", 200, 1, "", 0},
		{"takes a body that ends with the connection", []string{"HTTP/1.0 200 OK\r\n\r\nabc"}, "abc", 200, 1, "", 0},
		{"passes over an interim answer", []string{"HTTP/1.1 100 Continue\r\n\r\n" + ok("x")}, "x", 200, 1, "", 0},
		{"returns a status that is no success", []string{status("404 Not Found")}, "", 404, 1, "", 0},
		{"returns a redirection", []string{status("302 Found", "Location: http://other.example/")}, "", 302, 1, "", 0},
		{"takes no body in an encoding that it did not ask for, and does not ask again", []string{"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b"}, "", 0, 1, "content encoding", 0},
		{"tries a broken connection again", []string{"close", ok("x")}, "x", 200, 2, "", 0},
		{"gives up after its tries", []string{"close", "close", ok("x")}, "", 0, 2, "without an answer", 0},
		{"gives a silent server up", []string{"silence", "silence"}, "", 0, 2, "timeout", 40 * time.Second},
		{"takes no body that is cut off", []string{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nabc", "close"}, "", 0, 2, "unexpected EOF", 0},
		{"takes no garbage", []string{"SSH-2.0-x\r\n\r\n", "SSH-2.0-x\r\n\r\n"}, "", 0, 2, "malformed", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &site{script: test.script}
			bubble(t, s, func(ctx context.Context, c *Client) {
				start := time.Now()
				body, code, err := c.Get(ctx, "http://rig.example/f")
				if string(body) != test.body || code != test.status {
					t.Errorf("got %d %q %v, want %d %q", code, body, err, test.status, test.body)
				}
				if (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got error %v, want %q", err, test.fails)
				}
				if len(s.dials) != test.dials {
					t.Errorf("dialled %v, want %d times", s.dials, test.dials)
				}
				if took := time.Since(start); test.takes != 0 && took != test.takes {
					t.Errorf("took %v, want %v", took, test.takes)
				}
			})
		})
	}
}

func TestKeepsOneConnectionAndReplacesAClosedOne(t *testing.T) {
	s := &site{script: []string{ok("1"), ok("2"), "close", ok("3")}}
	bubble(t, s, func(ctx context.Context, c *Client) {
		c.Tries = 1
		for _, want := range []string{"1", "2", "3"} {
			if got, _, err := c.Get(ctx, "http://rig.example/f"); string(got) != want || err != nil {
				t.Errorf("got %q %v, want %q", got, err, want)
			}
		}
	})
	if len(s.dials) != 2 {
		t.Errorf("dialled %v, want twice", s.dials)
	}
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"http://rig.example":            "192.0.2.1:80 /",
		"http://rig.example:8080/a?b#c": "192.0.2.1:8080 /a?b",
		"http://192.0.2.7/x":            "192.0.2.7:80 /x",
		"HTTP://user:pw@192.0.2.7/":     "192.0.2.7:80 /",
		"tftp://192.0.2.7/":             "",
		"192.0.2.7/x":                   "",
		"http://":                       "",
		"http://rig.example:0/":         "",
		"http://rig.example\x00/":       "",
	} {
		s := &site{script: []string{ok("")}}
		bubble(t, s, func(ctx context.Context, c *Client) {
			_, _, err := c.Get(ctx, url)
			got := ""
			if len(s.dials) > 0 {
				got = s.dials[0] + " " + strings.Fields(s.heads[0])[1]
				if len(strings.Fields(s.heads[0])) > 2 {
					t.Errorf("%q: user information was sent: %s", url, s.heads[0])
				}
			}
			if got != want || (want == "") != errors.Is(err, ErrURL) {
				t.Errorf("%q: asked %q %v, want %q", url, got, err, want)
			}
		})
	}
}

const digestChallenge = `WWW-Authenticate: Digest realm="rig", nonce="n1", qop="auth, auth-int", opaque="o"`

func TestAuthentication(t *testing.T) {
	basic := status("401 Unauthorized", `WWW-Authenticate: Basic realm="rig"`)
	digest := status("401 Unauthorized", digestChallenge)
	bare := status("401 Unauthorized", `WWW-Authenticate: Digest realm="rig", nonce="n"`)
	bareAndBasic := status("401 Unauthorized", `WWW-Authenticate: Digest realm="rig", nonce="n"`, `WWW-Authenticate: Basic realm="rig"`)
	get := []string{"/dir/a", "/dir/b", "/c"}
	for _, test := range []struct {
		name    string
		defects defect.Set
		ask     []string
		script  []string
		want    []string // what each request must contain
		status  int      // of the last
	}{
		{
			"answers Basic, keeps to the folder, and is asked again outside of it", nil, get,
			[]string{basic, ok(""), ok(""), basic, ok("")},
			[]string{"GET /dir/a ", "GET /dir/a Basic MjAxOnNlY3JldA==", "GET /dir/b Basic MjAxOnNlY3JldA==", "GET /c ", "GET /c Basic"},
			200,
		},
		{
			"answers Digest and counts up over the whole server", nil, get,
			[]string{digest, ok(""), ok(""), ok("")},
			[]string{"GET /dir/a ", "nc=00000001", "nc=00000002", "nc=00000003"},
			200,
		},
		{
			"answers Digest without qop", nil, get[:1],
			[]string{bare, ok("")},
			// H(H(201:rig:secret):n:H(GET:/dir/a)), by md5sum
			[]string{"GET /dir/a ", `response="` + plainResponse + `"`},
			200,
		},
		{
			"prefers Digest, in one header or in two", nil, get[:1],
			[]string{status("401 Unauthorized", `WWW-Authenticate: Basic realm="a,b", Digest realm="rig", nonce="n", qop="auth"`), ok("")},
			[]string{"GET /dir/a ", `Digest username="201", realm="rig"`},
			200,
		},
		{
			"falls back to Basic for a digest it does not know", nil, get[:1],
			[]string{status("401 Unauthorized", `WWW-Authenticate: Digest realm="rig", nonce="n", algorithm=SHA-256`, `WWW-Authenticate: Basic realm="rig"`), ok("")},
			[]string{"GET /dir/a ", "Basic"},
			200,
		},
		{
			"takes a stale nonce for a new challenge", nil, get[:1],
			[]string{digest, status("401 Unauthorized", `WWW-Authenticate: Digest realm="rig", nonce="n2", qop="auth", stale=true`), ok("")},
			[]string{"GET /dir/a ", `nonce="n1"`, `nonce="n2"`},
			200,
		},
		{
			"takes a new nonce for a later file", nil, get[:2],
			[]string{digest, ok(""), status("401 Unauthorized", `WWW-Authenticate: Digest realm="rig", nonce="n2", qop="auth"`), ok("")},
			[]string{"GET /dir/a ", "nc=00000001", "nc=00000002", `nonce="n2"`},
			200,
		},
		{
			"tries wrong credentials once per file", nil, get[:2],
			[]string{basic, basic, basic, basic},
			[]string{"GET /dir/a ", "Basic", "GET /dir/b ", "Basic"},
			401,
		},
		{
			"gives up a server that calls every nonce stale", nil, get[:1],
			[]string{digest, stale, stale, stale, stale},
			[]string{"GET /dir/a ", "Digest", "Digest", "Digest"},
			401,
		},
		{
			"leaves a scheme it does not know unanswered", nil, get[:1],
			[]string{status("401 Unauthorized", "WWW-Authenticate: Bearer")},
			[]string{"GET /dir/a "},
			401,
		},
		{
			"defect: Basic without password",
			defect.Set{defect.BasicWithoutPassword},
			get[:1],
			[]string{basic, ok("")},
			[]string{"GET /dir/a ", "Basic MjAxOg=="},
			200,
		},
		{
			"defect: count stuck",
			defect.Set{defect.DigestCountStuck},
			get,
			[]string{digest, ok(""), ok(""), ok("")},
			[]string{"GET /dir/a ", "nc=00000001", "nc=00000001", "nc=00000001"},
			200,
		},
		{
			"defect: Digest without qop not answered",
			defect.Set{defect.DigestNeedsQOP},
			get[:1],
			[]string{bare},
			[]string{"GET /dir/a "},
			401,
		},
		{
			"defect: Digest without qop not answered, but Basic",
			defect.Set{defect.DigestNeedsQOP},
			get[:1],
			[]string{bareAndBasic, ok("")},
			[]string{"GET /dir/a ", "Basic"},
			200,
		},
		{
			"defect: Digest with qop answered all the same",
			defect.Set{defect.DigestNeedsQOP},
			get[:1],
			[]string{digest, ok("")},
			[]string{"GET /dir/a ", "qop=auth"},
			200,
		},
		{
			"defect: credentials unasked",
			defect.Set{defect.PreemptiveBasic},
			get[:1],
			[]string{ok("")},
			[]string{"GET /dir/a Basic MjAxOnNlY3JldA=="},
			200,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &site{script: test.script}
			bubble(t, s, func(ctx context.Context, c *Client) {
				c.Defects = test.defects
				last := 0
				for _, path := range test.ask {
					_, code, err := c.Get(ctx, "http://rig.example"+path)
					if err != nil {
						t.Fatal(err)
					}
					last = code
				}
				if last != test.status {
					t.Errorf("got status %d, want %d", last, test.status)
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

const (
	// printf '%s:n:%s' "$(printf 201:rig:secret|md5sum)" "$(printf GET:/dir/a|md5sum)" | md5sum, blanks and dashes cut.
	plainResponse = "fc70d0782b07ae30b2297013a4b08d9f"
	stale         = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n" + `WWW-Authenticate: Digest realm="rig", nonce="n", qop="auth", stale=true` + "\r\n\r\n"
)

func TestCredentialsStayWithTheServerThatAsked(t *testing.T) {
	s := &site{script: []string{status("401 Unauthorized", digestChallenge), status("302 Found", "Location: http://other.example/x"), ok("x")}}
	bubble(t, s, func(ctx context.Context, c *Client) {
		c.Redirects = 1
		if body, _, err := c.Get(ctx, "http://rig.example/a"); string(body) != "x" || err != nil {
			t.Errorf("got %q %v", body, err)
		}
	})
	if len(s.heads) != 3 || !strings.Contains(s.heads[1], "Digest") || s.heads[2] != "GET /x " {
		t.Errorf("sent %q", s.heads)
	}
}

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func issue(t *testing.T, issuer *pair, c *x509.Certificate) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotAfter = big.NewInt(1), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	self := &pair{c, key}
	if issuer == nil {
		issuer = self
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer.cert, key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{cert, key}
}

func authority(t *testing.T, name string) *pair {
	t.Helper()
	return issue(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true})
}

func TestTLS(t *testing.T) {
	a, b := authority(t, "A"), authority(t, "B")
	good := issue(t, a, &x509.Certificate{DNSNames: []string{"rig.example"}})
	unknown := issue(t, b, &x509.Certificate{DNSNames: []string{"rig.example"}})
	name := issue(t, a, &x509.Certificate{DNSNames: []string{"other.example"}})
	for _, test := range []struct {
		name    string
		leaf    *pair
		mask    uint8
		expired bool
		defects defect.Set
		max     uint16
		refused uint8
		alert   byte
	}{
		{name: "takes a good certificate", leaf: good, mask: 7},
		{name: "takes a good certificate over TLS 1.0", leaf: good, mask: 7, max: tls.VersionTLS10},
		{name: "refuses an unknown authority", leaf: unknown, mask: 7, refused: 1, alert: 48},
		{name: "refuses an unknown authority over TLS 1.0", leaf: unknown, mask: 7, max: tls.VersionTLS10, refused: 1, alert: 48},
		{name: "refuses a wrong name", leaf: name, mask: 7, refused: 2, alert: 42},
		{name: "refuses an expired certificate", leaf: good, mask: 7, expired: true, refused: 4, alert: 45},
		{name: "takes all of them unchecked", leaf: unknown, mask: 0, expired: true},
		{name: "defect: sends its request all the same", leaf: unknown, mask: 7, defects: defect.Set{defect.RequestsAfterRefusal}},
		{name: "defect: knows every authority", leaf: unknown, mask: 7, defects: defect.Set{defect.AcceptsUnknownAuthority}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &site{script: []string{ok("x"), ok("x")}, tls: &tls.Config{
				Certificates: []tls.Certificate{{Certificate: [][]byte{test.leaf.cert.Raw}, PrivateKey: test.leaf.key}},
				MinVersion:   tls.VersionTLS10, MaxVersion: test.max,
			}}
			bubble(t, s, func(ctx context.Context, c *Client) {
				c.Defects = test.defects
				c.Policy = trust.Policy{Mask: test.mask, Authorities: []*x509.Certificate{a.cert}, Now: func() (time.Time, bool) {
					if test.expired {
						return time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC), true
					}
					return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), true
				}}
				body, _, err := c.Get(ctx, "https://rig.example/f")
				refusal, refused := errors.AsType[*trust.Refusal](err)
				switch {
				case test.refused == 0 && (err != nil || string(body) != "x"):
					t.Errorf("got %q %v", body, err)
				case test.refused != 0 && (!refused || refusal.Failed != test.refused):
					t.Errorf("got %v, want checks %d failed", err, test.refused)
				}
			})
			if test.refused != 0 && (len(s.heads) != 0 || len(s.dials) != 1) {
				t.Errorf("after the refusal: requests %q, connections %v", s.heads, s.dials)
			}
			got := byte(0)
			if len(s.alerts) > 0 && test.refused != 0 {
				got = s.alerts[0]
			}
			if got != test.alert {
				t.Errorf("got alert %d (server: %q), want %d", got, s.errs, test.alert)
			}
		})
	}
}

func TestDefectSpeaksInClear(t *testing.T) {
	s := &site{script: []string{ok("x")}}
	bubble(t, s, func(ctx context.Context, c *Client) {
		c.Defects = defect.Set{defect.ClearForHTTPS}
		if body, _, err := c.Get(ctx, "https://rig.example/f"); string(body) != "x" || err != nil || s.dials[0] != "192.0.2.1:443" {
			t.Errorf("got %q %v, dialled %v", body, err, s.dials)
		}
	})
}

func TestGivesUpASilentHandshake(t *testing.T) {
	s := &site{script: []string{"silence", "silence"}}
	bubble(t, s, func(ctx context.Context, c *Client) {
		start := time.Now()
		c.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }() // ends with the pipe
			return near, nil
		}
		if _, _, err := c.Get(ctx, "https://rig.example/f"); err == nil || time.Since(start) != 40*time.Second {
			t.Errorf("got %v after %v, want an error after 40 s", err, time.Since(start))
		}
	})
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Basic realm="a,b", Digest realm="rig", nonce="n", qop="auth"`)
	f.Add(`Digest realm="\"", domain="/a http://other/b", nonce=,`)
	f.Add(`Bearer, Negotiate abc==, Basic`)
	f.Fuzz(func(t *testing.T, header string) {
		c := &Client{ID: "201", Password: "secret"}
		u, err := parse("http://rig.example/f")
		if err != nil {
			t.Fatal(err)
		}
		if s := c.challenged(u, []string{header}); s != nil {
			if _, err := c.authorize(s, u); err != nil {
				t.Errorf("%q: kept a challenge that cannot be answered: %v", header, err)
			}
		}
	})
}

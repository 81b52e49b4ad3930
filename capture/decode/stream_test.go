package decode_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
)

const get = "GET /a.cfg HTTP/1.1\r\nHost: 192.0.2.1\r\nUser-Agent: IP8830\r\n\r\n"

func answer(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func TestHTTP(t *testing.T) {
	body := content(3000)
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8;x=y\r\n" + body[:1000] + "\r\n7d0\r\n" + body[1000:] + "\r\n0\r\nTrailer: x\r\n\r\n"
	for _, test := range []struct {
		name   string
		play   func(c *talk)
		kinds  []timeline.Kind
		whole  bool
		bytes  int64
		reason string
	}{
		{
			name: "Content-Length", whole: true, bytes: 3000,
			play:  func(c *talk) { c.say(0, get); c.say(1, answer(body)) },
			kinds: []timeline.Kind{"TCP open", "HTTP request", "HTTP response"},
		},
		{
			name: "byte by byte", whole: true, bytes: 3000,
			play: func(c *talk) {
				for i := range get {
					c.say(0, get[i:i+1])
				}
				for part := range slices.Chunk([]byte(chunked), 1) {
					c.say(1, string(part))
				}
			},
			kinds: []timeline.Kind{"TCP open", "HTTP request", "HTTP response"},
		},
		{
			name: "chunked", whole: true, bytes: 3000,
			play:  func(c *talk) { c.say(0, get); c.say(1, chunked) },
			kinds: []timeline.Kind{"TCP open", "HTTP request", "HTTP response"},
		},
		{
			name: "until close", whole: true, bytes: 3000,
			play: func(c *talk) {
				c.say(0, get)
				c.say(1, "HTTP/1.0 200 OK\r\n\r\n"+body)
				c.close(1)
				c.close(0)
			},
			kinds: []timeline.Kind{"TCP open", "HTTP request", "HTTP response"},
		},
		{
			name: "until close, but reset", bytes: 3000, reason: "reset by the server's end",
			play: func(c *talk) {
				c.say(0, get)
				c.say(1, "HTTP/1.0 200 OK\r\n\r\n"+body)
				c.raw(1, rst, c.seq[1], 0, "")
			},
			kinds: []timeline.Kind{"TCP open", "HTTP request", "HTTP response", "TCP reset"},
		},
		{
			name: "closed within the body", bytes: 1000, reason: "closed after 1000 of 3000 bytes",
			play: func(c *talk) {
				c.say(0, get)
				c.say(1, "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"+body[:1000])
				c.close(1)
			},
			kinds: []timeline.Kind{"TCP open", "HTTP request", "HTTP response"},
		},
		{
			name: "the handset resets within the body", bytes: 1000, reason: "reset after 1000 of 3000 bytes",
			play: func(c *talk) {
				c.say(0, get)
				c.say(1, "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"+body[:1000])
				c.raw(0, rst|ackFlag, c.seq[0], c.seq[1], "")
			},
			kinds: []timeline.Kind{"TCP open", "HTTP request", "HTTP response", "TCP reset"},
		},
		{
			name: "reordered, repeated and overlapping segments", whole: true, bytes: 3000,
			play: func(c *talk) {
				c.say(0, get)
				a, start := answer(body), c.seq[1]
				piece := func(from, to int) { c.raw(1, ackFlag, start+uint32(from), c.seq[0], a[from:to]) }
				piece(2000, 2500)
				piece(0, 700)
				piece(1500, 2100)
				piece(0, 700)
				piece(400, 900)
				piece(2400, len(a))
				piece(800, 1600)
				piece(100, 200)
				c.seq[1] += uint32(len(a))
				c.heard(0)
			},
			kinds: []timeline.Kind{"TCP open", "HTTP request", "HTTP response"},
		},
		{
			name: "a gap within the body", bytes: 2500, reason: "bytes of the body are missing in the recording",
			play: func(c *talk) {
				c.say(0, get)
				a, start := answer(body), c.seq[1]
				cut := len(a) - 2000
				c.raw(1, ackFlag, start, c.seq[0], a[:cut])
				c.raw(1, ackFlag, start+uint32(cut)+500, c.seq[0], a[cut+500:])
				c.seq[1] += uint32(len(a))
				c.heard(0)
				c.say(0, get)
				c.say(1, "HTTP/1.1 204 No Content\r\n\r\n")
			},
			kinds: []timeline.Kind{"TCP open", "HTTP request", "TCP gap", "HTTP response", "HTTP request", "HTTP response"},
		},
		{
			name: "garbage to the HTTP port", reason: "HTTP: no request line",
			play:  func(c *talk) { c.say(0, "\x00\x01\x02\x03 hello there, is anybody?\n") },
			kinds: []timeline.Kind{"TCP open", "malformed"},
		},
		{
			name: "a request answered twice informationally", whole: true, bytes: 3000,
			play:  func(c *talk) { c.say(0, get); c.say(1, "HTTP/1.1 100 Continue\r\n\r\n"+answer(body)) },
			kinds: []timeline.Kind{"TCP open", "HTTP request", "HTTP response", "HTTP response"},
		},
		{
			name: "lengths that contradict", reason: "HTTP: no usable Content-Length",
			play: func(c *talk) {
				c.say(0, get)
				c.say(1, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello")
			},
			kinds: []timeline.Kind{"TCP open", "HTTP request", "malformed"},
		},
		{
			name: "closed within a head", reason: "HTTP: closed within a head",
			play: func(c *talk) {
				c.say(0, get)
				c.say(1, "HTTP/1.1 200 OK\r\nContent-")
				c.close(1)
			},
			kinds: []timeline.Kind{"TCP open", "HTTP request", "malformed"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t)
			test.play(s.connect(80))
			if got := s.kinds(); !slices.Equal(got, test.kinds) {
				t.Fatalf("got %q, want %q", got, test.kinds)
			}
			var at timeline.Event
			for _, e := range s.events {
				if e.Kind == timeline.HTTPResponse && e.Status == 200 || e.Kind == timeline.Malformed {
					at = e
				}
			}
			if at.Complete != test.whole || at.Bytes != test.bytes || at.Reason != test.reason {
				t.Errorf("complete %v, %d bytes, reason %q; want %v, %d, %q", at.Complete, at.Bytes, at.Reason, test.whole, test.bytes, test.reason)
			}
			if test.whole && (at.SHA256 != digest(body) || at.File != "a.cfg" || at.Message != "GET") {
				t.Errorf("got %+v", at)
			}
			if !test.whole && at.SHA256 != "" {
				t.Errorf("a digest of what is not whole: %s", at.SHA256)
			}
		})
	}
}

// A response is told of in the frame that brought its last byte.
func TestHTTPFrameNumbers(t *testing.T) {
	s := newScript(t)
	c := s.connect(8080)
	c.say(0, get)
	a := answer("0123456789")
	c.say(1, a[:20])
	c.say(1, a[20:])
	if e := s.events[len(s.events)-1]; e.Kind != timeline.HTTPResponse || e.Frame != 8 {
		t.Errorf("got %s of frame %d, want the response of frame 8", e.Kind, e.Frame)
	}
	if e := s.of(timeline.TCPOpen)[0]; e.Frame != 2 || e.Src != phone1 || e.SrcMAC != handset {
		t.Errorf("got %+v, want TCP open of the handset, frame 2", e)
	}
}

func TestHTTPOnOddPort(t *testing.T) {
	s := newScript(t)
	c := s.connect(12345)
	c.say(0, get)
	c.say(1, answer("x"))
	if n := len(s.of(timeline.HTTPResponse)); n != 1 {
		t.Errorf("%d responses, want 1: %q", n, s.kinds())
	}
	s = newScript(t)
	c = s.connect(12345)
	c.say(0, "hello\r\n")
	c.say(1, "login: ")
	if got := s.kinds(); len(got) != 1 {
		t.Errorf("got %q of a foreign protocol, want its opening only", got)
	}
}

// Ports are used again; the new connection starts afresh.
func TestTCPPortsUsedAgain(t *testing.T) {
	s := newScript(t)
	for i := range 2 {
		c := s.connect(80)
		if i == 1 {
			c.seq[0], c.seq[1] = 5000, 6000
			c.raw(0, syn, 4999, 0, "")
			c.raw(1, syn|ackFlag, 5999, 5000, "")
		}
		c.say(0, get)
		c.say(1, answer("x")[:20])
	}
	if got := len(s.of(timeline.HTTPRequest)); got != 2 {
		t.Errorf("%d requests, want 2: %q", got, s.kinds())
	}
}

func TestCredentialsStayInTheFrames(t *testing.T) {
	s := newScript(t)
	c := s.connect(80)
	c.say(0, "GET http://bob:hunter2@192.0.2.1/a.cfg HTTP/1.1\r\nAuthorization: Basic YWxpY2U6aHVudGVyMg==\r\n\r\n")
	c.say(1, "HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"hunter2\"\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\n\r\n")
	c.say(0, "GET /a.cfg HTTP/1.1\r\nAuthorization: Digest username=\"al\\\"ice\", realm=\"r\", response=\"hunter2\", nonce=\"hunter2\"\r\n\r\n")
	sip := "REGISTER sip:bob:hunter2@192.0.2.1 SIP/2.0\r\nFrom: <sip:bob:hunter2@192.0.2.1>;tag=1\r\nTo: sip:bob:hunter2@192.0.2.1\r\n" +
		"Call-ID: 1\r\nCSeq: 1 REGISTER\r\nContact: \"B, ob\" <sip:bob:hunter2@192.0.2.10>;expires=60, sip:bob:hunter2@192.0.2.11\r\n" +
		"Authorization: Digest username=\"bob\", response=\"hunter2\"\r\n\r\n"
	s.udp(phone1, phone1, sip)
	if got := text(s.events); strings.Contains(got, "hunter2") || strings.Contains(got, "aHVudGVyM") {
		t.Errorf("a secret in the events:\n%s", got)
	}
	requests := s.of(timeline.HTTPRequest)
	if len(requests) != 2 || requests[0].File != "a.cfg" {
		t.Fatalf("got %s", text(s.events))
	}
	for i, want := range []struct{ scheme, user string }{{"Basic", "alice"}, {"Digest", `al"ice`}} {
		f := requests[i].Fields
		if f["http.authorization.scheme"] != want.scheme || f["http.authorization.username"] != want.user {
			t.Errorf("request %d: got %v, want %v", i, f, want)
		}
	}
	if got := s.of(timeline.HTTPResponse)[0].Fields["http.www_authenticate"]; got != "Digest,Basic" {
		t.Errorf("challenges %q, want Digest,Basic", got)
	}
	if got := s.of(timeline.SIPRequest)[0].Fields; got["sip.From.user"] != "bob" || got["sip.auth.username"] != "bob" || got["sip.Expires"] != "60" {
		t.Errorf("got %v", got)
	}
}

// handshake runs Go's TLS on both ends and returns what each wrote.
func handshake(t *testing.T, client *tls.Config) (lines []line) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "server.example"}, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"server.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	out := make(chan line, 256)
	var peers [2]net.Conn
	peers[0], peers[1] = &tapped{a, 0, out}, &tapped{b, 1, out}
	done := make(chan struct{})
	go func() { // ends when the client closes its end
		defer close(done)
		srv := tls.Server(peers[1], &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS10})
		if srv.HandshakeContext(context.WithoutCancel(t.Context())) == nil {
			_, _ = bufio.NewReader(srv).ReadString('\n')
			_, _ = io.WriteString(srv, answer("hello"))
		}
		_ = b.Close()
	}()
	c := tls.Client(peers[0], client)
	if c.HandshakeContext(t.Context()) == nil {
		_, _ = io.WriteString(c, get)
		_, _ = io.Copy(io.Discard, c)
	}
	_ = a.Close()
	<-done
	close(out)
	for l := range out {
		lines = append(lines, l)
	}
	return lines
}

type line struct {
	end  int
	text string
}

type tapped struct {
	net.Conn
	end int
	out chan line
}

func (c *tapped) Write(b []byte) (int, error) {
	c.out <- line{c.end, string(bytes.Clone(b))}
	return c.Conn.Write(b)
}

func TestTLS(t *testing.T) {
	for _, test := range []struct {
		name    string
		client  *tls.Config
		segment int
		kinds   []timeline.Kind
	}{
		{
			name:   "TLS 1.2 accepted",
			client: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, ServerName: "server.example"},
			kinds:  []timeline.Kind{"TCP open", "ClientHello", "ServerHello", "Certificate", "application data", "application data"},
		},
		{
			name: "TLS 1.2 accepted, in segments of 7 bytes", segment: 7,
			client: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, ServerName: "server.example"},
			kinds:  []timeline.Kind{"TCP open", "ClientHello", "ServerHello", "Certificate", "application data", "application data"},
		},
		{
			name:   "TLS 1.2 refused in clear",
			client: &tls.Config{RootCAs: x509.NewCertPool(), MaxVersion: tls.VersionTLS12, ServerName: "server.example"},
			kinds:  []timeline.Kind{"TCP open", "ClientHello", "ServerHello", "Certificate", "alert"},
		},
		{
			name:   "TLS 1.3 hides the alert",
			client: &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "server.example"},
			kinds:  []timeline.Kind{"TCP open", "ClientHello", "ServerHello", "application data", "application data"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t)
			c := s.connect(443)
			for _, l := range handshake(t, test.client) {
				size := test.segment
				if size == 0 {
					size = 1400
				}
				for part := range slices.Chunk([]byte(l.text), size) {
					c.say(l.end, string(part))
				}
			}
			if got := s.kinds(); !slices.Equal(got, test.kinds) {
				t.Fatalf("got %q, want %q", got, test.kinds)
			}
			if got := s.of(timeline.TLSClientHello)[0].Fields["tls.handshake.extensions_server_name"]; got != "server.example" {
				t.Errorf("server name %q", got)
			}
			for _, e := range s.of(timeline.TLSAlert) {
				if e.Reason != "bad_certificate" || e.Status != 42 || e.Fields["tls.alert_message.level"] != "fatal" || e.SrcMAC != handset {
					t.Errorf("alert %+v", e)
				}
			}
			for _, e := range s.of(timeline.TLSCertificate) {
				if e.Number != 1 || len(e.SHA256) != 64 {
					t.Errorf("certificate %+v", e)
				}
			}
		})
	}
}

func TestSSLv2ClientHello(t *testing.T) {
	hello := "\x01\x03\x01\x00\x06\x00\x00\x00\x10\x01\x00\x80\x00\x00\x2f" + strings.Repeat("c", 16)
	for _, port := range []uint16{443, 9999} {
		s := newScript(t)
		s.connect(port).say(0, string([]byte{0x80, byte(len(hello))})+hello)
		got := s.of(timeline.TLSClientHello)
		if len(got) != 1 || got[0].Message != "SSLv2" || got[0].Fields["tls.handshake.version"] != "0x0301" || got[0].Fields["tls.handshake.cipherspec"] != "0x010080,0x00002f" {
			t.Errorf("port %d: got %s", port, text(s.events))
		}
	}
}

// A ClientHello in two records, cut within its header.
func TestFragmentedClientHello(t *testing.T) {
	lines := handshake(t, &tls.Config{InsecureSkipVerify: true, ServerName: "server.example"})
	hello := lines[0].text[5:]
	var s string
	for part := range slices.Chunk([]byte(hello), 3) {
		s += "\x16\x03\x01" + string([]byte{0, byte(len(part))}) + string(part)
	}
	sc := newScript(t)
	sc.connect(443).say(0, s)
	got := sc.of(timeline.TLSClientHello)
	if len(got) != 1 || got[0].Fields["tls.handshake.extensions_server_name"] != "server.example" || !strings.Contains(got[0].Fields["tls.handshake.extensions.supported_version"], "0x0304") {
		t.Errorf("got %s", text(sc.events))
	}
}

// A damaged segment is dropped by its receiver; what is sent again counts.
func TestDamagedSegmentIsSentAgain(t *testing.T) {
	s := newScript(t)
	c := s.connect(80)
	c.say(0, get)
	a := answer("hello")
	damaged := tcpFrame(t, c.ends[1], c.ends[0], ackFlag, c.seq[1], c.seq[0], []byte(a))
	damaged[len(damaged)-1] ^= 0x20
	s.frame(damaged)
	if e := s.events[len(s.events)-1]; e.Kind != timeline.Malformed || e.Reason != "TCP checksum wrong" {
		t.Errorf("got %s %q", e.Kind, e.Reason)
	}
	c.say(1, a)
	if e := s.events[len(s.events)-1]; e.SHA256 != digest("hello") {
		t.Errorf("got %+v", e)
	}
}

func TestTheEndOfAConnectionTellsItsBytes(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(c *talk)
		want string
	}{
		{"both ends", func(c *talk) { c.say(0, "abc"); c.say(1, "defgh"); c.close(1); c.close(0) }, "80: 5, 4001: 3"},
		{"one end", func(c *talk) { c.say(0, get); c.say(1, answer("x")); c.close(1) }, fmt.Sprintf("80: %d", len(answer("x")))},
		{"nothing said", func(c *talk) { c.close(0) }, "4001: 0"},
		{"sent again, and the end as well", func(c *talk) {
			c.say(0, "abc")
			c.raw(0, ackFlag, c.seq[0]-3, c.seq[1], "abc")
			c.raw(0, ackFlag, c.seq[0]-1, c.seq[1], "cdef")
			c.seq[0] += 3
			c.close(0)
			c.raw(0, fin|ackFlag, c.seq[0]-1, c.seq[1], "")
		}, "4001: 6"},
		{"the end before the rest", func(c *talk) {
			c.raw(1, fin|ackFlag, c.seq[1]+5, c.seq[0], "")
			c.raw(1, ackFlag, c.seq[1], c.seq[0], "hello")
		}, "80: 5"},
		{"bytes that were never seen", func(c *talk) {
			c.seq[1] += 7
			c.heard(0)
			c.close(1)
		}, ""},
		{"a reset", func(c *talk) { c.say(1, "abc"); c.raw(1, rst, c.seq[1], 0, "") }, ""},
	} {
		s := newScript(t)
		tt.play(s.connect(80))
		var got []string
		for _, e := range s.of(timeline.TCPClosed) {
			got = append(got, fmt.Sprintf("%d: %d", e.Src.Port(), e.Bytes))
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	s := newScript(t)
	c := &talk{s: s, ends: s.connect(80).ends}
	s = newScript(t)
	c.s = s
	c.say(0, get)
	c.close(0)
	if got := s.of(timeline.TCPClosed); len(got) > 0 {
		t.Errorf("joined in the middle: %+v", got)
	}
}

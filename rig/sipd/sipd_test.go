package sipd_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram/memnet"
	"ip88rig/rig/fault"
	"ip88rig/rig/sipd"
)

const (
	registrar = "192.0.2.1:5060"
	handset   = "192.0.2.7:5060"
)

// bench is a server in memory with what it journalled.
type bench struct {
	t      testing.TB
	net    *memnet.Network
	faults *fault.Plan

	mu     sync.Mutex
	events []timeline.Event
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	return &bench{t: tb, net: memnet.New(), faults: &fault.Plan{}}
}

func (b *bench) record(e timeline.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
}

// of returns the reasons of the journal's entries of a kind.
func (b *bench) of(kind timeline.Kind) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, e := range b.events {
		if e.Kind == kind {
			out = append(out, e.Reason)
		}
	}
	return out
}

func (b *bench) start(edit ...func(*sipd.Config)) (s *sipd.Server, end func()) {
	b.t.Helper()
	cfg := sipd.Config{Record: b.record, Faults: b.faults}
	for _, e := range edit {
		e(&cfg)
	}
	if cfg.Conn == nil {
		cfg.Conn = b.net.MustListen(b.t, registrar)
	}
	s, err := sipd.New(cfg)
	if err != nil {
		b.t.Fatalf("New: %v", err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }() // ends with ctx
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Serve: %v", err)
		}
	})
	b.t.Cleanup(end)
	return s, end
}

// phone speaks SIP line by line, without a library.
type phone struct {
	t    testing.TB
	port *memnet.Port
	peer netip.AddrPort
}

func (b *bench) phone(addr string) *phone {
	b.t.Helper()
	return &phone{t: b.t, port: b.net.MustListen(b.t, addr), peer: netip.MustParseAddrPort(registrar)}
}

func (p *phone) send(msg message) {
	p.t.Helper()
	if _, err := p.port.Send([]byte(msg), p.peer); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

// next returns the next message that comes within a while, empty if none.
func (p *phone) next(within time.Duration) message {
	p.t.Helper()
	if err := p.port.SetReadDeadline(time.Now().Add(within)); err != nil {
		p.t.Fatal(err)
	}
	d, err := p.port.Receive()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ""
	}
	if err != nil {
		p.t.Fatalf("receive: %v", err)
	}
	return message(d.Data)
}

// expect wants a message that begins so.
func (p *phone) expect(start string) message {
	p.t.Helper()
	got := p.next(time.Millisecond)
	if !strings.HasPrefix(string(got), start) {
		p.t.Fatalf("got %q, want %s", got, start)
	}
	return got
}

func (p *phone) expectNothing(within time.Duration) {
	p.t.Helper()
	if got := p.next(within); got != "" {
		p.t.Fatalf("got %q, want nothing", got)
	}
}

// ask sends a request and returns the answer.
func (p *phone) ask(msg message, start string) message {
	p.t.Helper()
	p.send(msg)
	return p.expect(start)
}

type message string

// all returns the values of a header.
func (m message) all(name string) []string {
	var out []string
	for line := range strings.SplitSeq(string(m), "\r\n") {
		if n, v, ok := strings.Cut(line, ": "); ok && n == name {
			out = append(out, v)
		}
	}
	return out
}

func (m message) header(name string) string { return strings.Join(m.all(name), "\n") }

func (m message) body() string {
	_, body, _ := strings.Cut(string(m), "\r\n\r\n")
	return body
}

// request builds one with the usual headers; a line in more replaces the usual
// one of its name, and "-Name" takes it away.
func request(method, uri, callID string, seq int, more ...string) message {
	lines := []string{
		"Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK-" + callID + "-" + strconv.Itoa(seq) + method + ";rport",
		"Max-Forwards: 70",
		"From: <sip:201@192.0.2.1>;tag=1",
		"To: <sip:201@192.0.2.1>",
		"Call-ID: " + callID,
		"CSeq: " + strconv.Itoa(seq) + " " + method,
		"User-Agent: LG-Ericsson IP8830 v1.0 SN/00005E005307",
	}
	body := ""
	for _, l := range more {
		if text, ok := strings.CutPrefix(l, "body="); ok {
			body = text
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(l, "-"), ":")
		if name != "Contact" {
			lines = slices.DeleteFunc(lines, func(have string) bool { return strings.HasPrefix(have, name+":") })
		}
		if !strings.HasPrefix(l, "-") {
			lines = append(lines, l)
		}
	}
	return message(method + " " + uri + " SIP/2.0\r\n" + strings.Join(lines, "\r\n") + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

func register(callID string, seq int, more ...string) message {
	return request("REGISTER", "sip:192.0.2.1", callID, seq, more...)
}

// answer builds an answer to a request of the server.
func answer(req message, status string, more ...string) message {
	to := req.header("To")
	if !strings.HasPrefix(status, "100") && !strings.Contains(to, "tag=") {
		to += ";tag=phone"
	}
	lines := []string{"Via: " + req.header("Via"), "From: " + req.header("From"), "To: " + to, "Call-ID: " + req.header("Call-ID"), "CSeq: " + req.header("CSeq")}
	return message("SIP/2.0 " + status + "\r\n" + strings.Join(append(lines, more...), "\r\n") + "\r\nContent-Length: 0\r\n\r\n")
}

const own = "Contact: <sip:201@192.0.2.7:5060>"

func TestRegister(t *testing.T) {
	for _, c := range []struct {
		name   string
		cfg    sipd.Config
		more   []string
		status string
		want   []string // contacts of the answer
	}{
		{"the time in the header", sipd.Config{}, []string{own, "Expires: 600"}, "200", []string{"<sip:201@192.0.2.7:5060>;expires=600"}},
		{"the time in the contact goes first", sipd.Config{}, []string{own + ";expires=60", "Expires: 600"}, "200", []string{"<sip:201@192.0.2.7:5060>;expires=60"}},
		{"no time", sipd.Config{}, []string{own}, "200", []string{"<sip:201@192.0.2.7:5060>;expires=3600"}},
		{"no time, another default", sipd.Config{Expires: 90 * time.Second}, []string{own}, "200", []string{"<sip:201@192.0.2.7:5060>;expires=90"}},
		{"a time that is no number", sipd.Config{}, []string{own, "Expires: soon"}, "200", []string{"<sip:201@192.0.2.7:5060>;expires=3600"}},
		{"too long is cut", sipd.Config{MaxExpires: time.Minute}, []string{own}, "200", []string{"<sip:201@192.0.2.7:5060>;expires=60"}},
		{"too short is refused", sipd.Config{MinExpires: time.Minute}, []string{own, "Expires: 59"}, "423", nil},
		{"two contacts", sipd.Config{}, []string{own + ";expires=60, <sip:201@192.0.2.8:5060>"}, "200", []string{"<sip:201@192.0.2.7:5060>;expires=60", "<sip:201@192.0.2.8:5060>;expires=3600"}},
		{"a contact without brackets", sipd.Config{}, []string{"Contact: sip:201@192.0.2.7:5060;expires=60"}, "200", []string{"<sip:201@192.0.2.7:5060>;expires=60"}},
		{"a question", sipd.Config{}, nil, "200", nil},
		{"nothing to take away", sipd.Config{}, []string{"Contact: *", "Expires: 0"}, "200", nil},
		{"a star with a time", sipd.Config{}, []string{"Contact: *", "Expires: 60"}, "400", nil},
		{"nobody", sipd.Config{}, []string{own, "To: <sip:192.0.2.1>"}, "404", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				s, _ := b.start(func(cfg *sipd.Config) {
					cfg.Expires, cfg.MinExpires, cfg.MaxExpires = c.cfg.Expires, c.cfg.MinExpires, c.cfg.MaxExpires
				})
				p := b.phone(handset)
				got := p.ask(register("a", 1, c.more...), "SIP/2.0 "+c.status)
				if contacts := got.all("Contact"); !slices.Equal(contacts, c.want) {
					t.Errorf("answered with contacts %q, want %q", contacts, c.want)
				}
				if len(s.Bindings()) != len(c.want) {
					t.Errorf("bindings %+v, want %d", s.Bindings(), len(c.want))
				}
				if c.status == "423" && got.header("Min-Expires") != "60" {
					t.Errorf("423 with Min-Expires %q, want 60", got.header("Min-Expires"))
				}
			})
		})
	}
}

func TestBindings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		s, _ := b.start()
		p := b.phone(handset)
		waited := make(chan error, 1)
		go func() { // ends with the REGISTER
			got, err := s.Await(t.Context(), "201")
			if err == nil && got.CallID != "a" {
				err = fmt.Errorf("binding %+v", got)
			}
			waited <- err
		}()
		synctest.Wait()
		p.ask(register("a", 1, own, "Expires: 60"), "SIP/2.0 200")
		if err := <-waited; err != nil {
			t.Error(err)
		}
		want := sipd.Binding{
			User: "201", AOR: "sip:201@192.0.2.1", Contact: "sip:201@192.0.2.7:5060",
			Src: netip.MustParseAddrPort(handset), Dst: netip.MustParseAddrPort(registrar),
			Expires: time.Now().Add(time.Minute), CallID: "a", CSeq: 1, UserAgent: "LG-Ericsson IP8830 v1.0 SN/00005E005307",
		}
		if got := s.Bindings(); len(got) != 1 || got[0].Contact != want.Contact || !got[0].Expires.Equal(want.Expires) || got[0].Src != want.Src || got[0].Dst != want.Dst || got[0].UserAgent != want.UserAgent || got[0].AOR != want.AOR || got[0].CSeq != 1 {
			t.Errorf("bindings %+v, want %+v", got, want)
		}
		time.Sleep(30 * time.Second) //nolint:forbidigo // time of the bubble
		if got := p.ask(register("a", 2), "SIP/2.0 200").header("Contact"); got != "<sip:201@192.0.2.7:5060>;expires=30" {
			t.Errorf("after 30 s the contact is %q, want 30 s left", got)
		}
		p.ask(register("a", 3, own, "Expires: 60"), "SIP/2.0 200")
		p.ask(register("b", 1, "Contact: <sip:201@192.0.2.9>", "Expires: 600"), "SIP/2.0 200")
		p.ask(register("c", 1, "To: <sip:202@192.0.2.1>", "Contact: <sip:202@192.0.2.7>"), "SIP/2.0 200")
		if got, err := s.Await(t.Context(), "201"); err != nil || got.CallID != "b" {
			t.Errorf("latest binding is %+v, %v, want b's", got, err)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // time of the bubble
		if got := s.Bindings(); len(got) != 2 || got[0].CallID != "b" || got[1].User != "202" {
			t.Errorf("bindings %+v, want those of b and 202", got)
		}
		p.ask(register("b", 2, "Contact: <sip:201@192.0.2.9>;expires=0"), "SIP/2.0 200")
		if got := s.Bindings(); len(got) != 1 || got[0].User != "202" {
			t.Errorf("bindings %+v, want that of 202", got)
		}
		p.ask(register("c", 1, "To: <sip:202@192.0.2.1>", "Contact: *", "Expires: 0", "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKnew"), "SIP/2.0 200")
		if got := s.Bindings(); len(got) != 0 {
			t.Errorf("bindings %+v, want none", got)
		}
		p.ask(register("d", 7, own), "SIP/2.0 200")
		p.ask(register("d", 6, own), "SIP/2.0 200")
		if got := b.of(timeline.ServiceOddity); !slices.Equal(got, []string{"CSeq 6 after 7 with the same Call-ID"}) {
			t.Errorf("oddities %q, want the CSeq that fell", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Await(ctx, "203"); !errors.Is(err, sipd.ErrNotRegistered) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for a user who never comes: %v", err)
		}
	})
}

const secret = "do-not-print-me"

func md5hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// authorization answers a challenge as RFC 2617 says.
func authorization(user, password, realm, nonce, uri string, count int) string {
	a1, a2 := md5hex(user+":"+realm+":"+password), md5hex("REGISTER:"+uri)
	line := fmt.Sprintf(`Authorization: Digest username="%s", realm="%s", nonce="%s", uri="%s", algorithm=MD5`, user, realm, nonce, uri)
	if count == 0 {
		return line + fmt.Sprintf(`, response="%s"`, md5hex(a1+":"+nonce+":"+a2))
	}
	nc := fmt.Sprintf("%08x", count)
	return line + fmt.Sprintf(`, qop=auth, nc=%s, cnonce="c0", response="%s"`, nc, md5hex(a1+":"+nonce+":"+nc+":c0:auth:"+a2))
}

func TestDigest(t *testing.T) {
	for _, c := range []struct {
		name   string
		auth   func(nonce string) string
		status string
		odd    string
	}{
		{"with qop", func(n string) string { return authorization("u1", secret, "lab", n, "sip:192.0.2.1", 1) }, "200", ""},
		{"without qop", func(n string) string { return authorization("u1", secret, "lab", n, "sip:192.0.2.1", 0) }, "200", ""},
		{"another URI than asked", func(n string) string { return authorization("u1", secret, "lab", n, "sip:lab", 1) }, "200", `digest for URI "sip:lab", asked for "sip:192.0.2.1"`},
		{"a wrong password", func(n string) string { return authorization("u1", "hm", "lab", n, "sip:192.0.2.1", 1) }, "403", `credentials of "u1" refused: wrong digest`},
		{"an unknown name", func(n string) string { return authorization("u2", secret, "lab", n, "sip:192.0.2.1", 1) }, "403", `credentials of "u2" refused: unknown name`},
		{"another algorithm", func(n string) string {
			return strings.Replace(authorization("u1", secret, "lab", n, "sip:192.0.2.1", 1), "=MD5", "=SHA-256", 1)
		}, "403", `credentials of "u1" refused: algorithm "SHA-256"`},
		{"another qop", func(n string) string {
			return strings.Replace(authorization("u1", secret, "lab", n, "sip:192.0.2.1", 1), "qop=auth", "qop=auth-int", 1)
		}, "403", `credentials of "u1" refused: qop "auth-int"`},
		{"another realm", func(n string) string { return authorization("u1", secret, "office", n, "sip:192.0.2.1", 1) }, "401", ""},
		{"a nonce that is not ours", func(string) string { return authorization("u1", secret, "lab", "old", "sip:192.0.2.1", 1) }, "401", ""},
		{"basic", func(string) string { return "Authorization: Basic dTE6cA==" }, "401", `user "201": Authorization that cannot be read`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				s, _ := b.start(func(cfg *sipd.Config) {
					cfg.Realm = "lab"
					cfg.Password = func(name string) (string, bool) { return secret, name == "u1" }
				})
				p := b.phone(handset)
				challenge := p.ask(register("a", 1, own), "SIP/2.0 401 Unauthorized").header("WWW-Authenticate")
				_, nonce, _ := strings.Cut(challenge, `nonce="`)
				nonce, _, _ = strings.Cut(nonce, `"`)
				if want := `Digest realm="lab", nonce="` + nonce + `", algorithm=MD5, qop="auth"`; challenge != want || nonce == "" {
					t.Errorf("challenge %q, want %q", challenge, want)
				}
				got := p.ask(register("a", 2, own, c.auth(nonce)), "SIP/2.0 "+c.status)
				if (len(s.Bindings()) == 1) != (c.status == "200") {
					t.Errorf("bindings %+v after %s", s.Bindings(), c.status)
				}
				if stale := strings.Contains(got.header("WWW-Authenticate"), "stale=true"); stale != (c.name == "a nonce that is not ours") {
					t.Errorf("answered %q", got.header("WWW-Authenticate"))
				}
				if odd := strings.Join(b.of(timeline.ServiceOddity), "; "); odd != c.odd {
					t.Errorf("oddities %q, want %q", odd, c.odd)
				}
				if c.name == "with qop" {
					again := p.ask(register("a", 3, own, authorization("u1", secret, "lab", nonce, "sip:192.0.2.1", 1)), "SIP/2.0 401")
					if !strings.Contains(again.header("WWW-Authenticate"), "stale=true") {
						t.Errorf("the same nonce count again was answered %q", again)
					}
					p.ask(register("a", 4, own, authorization("u1", secret, "lab", nonce, "sip:192.0.2.1", 2)), "SIP/2.0 200")
					p.ask(register("a", 5, own, authorization("u1", secret, "lab", nonce, "sip:192.0.2.1", 0x1a)), "SIP/2.0 200")
				}
				for _, e := range b.events {
					if strings.Contains(fmt.Sprint(e), secret) {
						t.Errorf("the password is in the journal: %+v", e)
					}
				}
			})
		})
	}
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		name   string
		msg    message
		status string // empty: no answer
		header [2]string
		odd    string
	}{
		{"OPTIONS", request("OPTIONS", "sip:192.0.2.1", "a", 1), "200 OK", [2]string{"Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, SUBSCRIBE, INFO, UPDATE"}, ""},
		{"SUBSCRIBE", request("SUBSCRIBE", "sip:201@192.0.2.1", "a", 1, "Event: message-summary", "Expires: 60"), "200 OK", [2]string{"Expires", "60"}, ""},
		{"SUBSCRIBE in short form", request("SUBSCRIBE", "sip:201@192.0.2.1", "a", 1, "o: message-summary"), "200 OK", [2]string{"Expires", "3600"}, ""},
		{"SUBSCRIBE to nothing", request("SUBSCRIBE", "sip:201@192.0.2.1", "a", 1), "489 Bad Event", [2]string{}, ""},
		{"PUBLISH", request("PUBLISH", "sip:201@192.0.2.1", "a", 1), "405 Method Not Allowed", [2]string{}, ""},
		{"a method nobody knows", request("DANCE", "sip:201@192.0.2.1", "a", 1), "405 Method Not Allowed", [2]string{}, ""},
		{"BYE of no call", request("BYE", "sip:201@192.0.2.1", "a", 1), "481 Call/Transaction Does Not Exist", [2]string{}, ""},
		{"CANCEL of no call", request("CANCEL", "sip:201@192.0.2.1", "a", 1), "481 Call/Transaction Does Not Exist", [2]string{}, ""},
		{"INFO of no call", request("INFO", "sip:201@192.0.2.1", "a", 1), "481 Call/Transaction Does Not Exist", [2]string{}, ""},
		{"ACK of no call", request("ACK", "sip:201@192.0.2.1", "a", 1), "", [2]string{}, ""},
		{"an answer to nothing", answer(request("NOTIFY", "sip:x@192.0.2.1", "a", 1), "200 OK"), "", [2]string{}, "answer 200 to nothing that was asked"},
		{"the Via names the server's view", request("OPTIONS", "sip:192.0.2.1", "a", 1, "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx;rport"), "200 OK", [2]string{"Via", "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKx;rport=5060;received=192.0.2.7"}, ""},
		{"a line end keeps the path open", "\r\n\r\n", "", [2]string{}, ""},
		{"zero bytes keep the path open", "\x00\x00\x00\x00", "", [2]string{}, ""},
		{"no SIP", "GET / HTTP/1.0\r\n\r\n", "", [2]string{}, "malformed message: "},
		{"no Call-ID", register("a", 1, "-Call-ID"), "", [2]string{}, "malformed request: no Call-ID"},
		{"no Via", register("a", 1, "-Via"), "", [2]string{}, "malformed request: no Via"},
		{"no From", register("a", 1, "-From"), "", [2]string{}, "malformed request: no From"},
		{"another method in CSeq", register("a", 1, "CSeq: 1 INVITE"), "", [2]string{}, "malformed request: method REGISTER with CSeq of INVITE"},
		{"a body that is cut", message(strings.Replace(string(register("a", 1)), "Content-Length: 0", "Content-Length: 10", 1)), "400 Bad Request", [2]string{}, "malformed message: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.start()
				p := b.phone(handset)
				p.send(c.msg)
				if c.status == "" {
					p.expectNothing(time.Minute)
				} else {
					got := p.expect("SIP/2.0 " + c.status + "\r\n")
					for _, name := range []string{"Call-ID", "CSeq", "From"} {
						if got.header(name) != c.msg.header(name) {
							t.Errorf("answered with %s %q, want %q", name, got.header(name), c.msg.header(name))
						}
					}
					if !strings.Contains(got.header("To"), "tag=") {
						t.Errorf("answered without a tag: To is %q", got.header("To"))
					}
					if c.header[0] != "" && got.header(c.header[0]) != c.header[1] {
						t.Errorf("answered with %s %q, want %q", c.header[0], got.header(c.header[0]), c.header[1])
					}
				}
				odd := b.of(timeline.ServiceOddity)
				if (c.odd == "" && odd != nil) || (c.odd != "" && (len(odd) != 1 || !strings.HasPrefix(odd[0], c.odd))) {
					t.Errorf("oddities %q, want %q", odd, c.odd)
				}
			})
		})
	}
}

func TestWhereAnswersGo(t *testing.T) {
	for _, c := range []struct {
		name, via, to string
	}{
		{"to the source port if it asks so", "192.0.2.7:5060;rport", "192.0.2.7:40000"},
		{"to the port in Via else", "192.0.2.7:5062", "192.0.2.7:5062"},
		{"to 5060 if there is none", "192.0.2.7", "192.0.2.7:5060"},
		{"never to the address in Via", "192.0.2.9:5060", "192.0.2.7:5060"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.start()
				from := b.phone("192.0.2.7:40000")
				to := from
				if c.to != "192.0.2.7:40000" {
					to = b.phone(c.to)
				}
				from.send(request("OPTIONS", "sip:192.0.2.1", "a", 1, "Via: SIP/2.0/UDP "+c.via+";branch=z9hG4bKx"))
				to.expect("SIP/2.0 200")
			})
		})
	}
}

func TestRetransmittedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		s, _ := b.start()
		p := b.phone(handset)
		first := p.ask(register("a", 1, own, "Expires: 60"), "SIP/2.0 200")
		time.Sleep(10 * time.Second) //nolint:forbidigo // time of the bubble
		if again := p.ask(register("a", 1, own, "Expires: 60"), "SIP/2.0 200"); again != first {
			t.Errorf("sent again it was answered\n%s, want\n%s", again, first)
		}
		if left := time.Until(s.Bindings()[0].Expires); left != 50*time.Second {
			t.Errorf("%v left, want 50 s: a retransmission is not a new request", left)
		}
		time.Sleep(30 * time.Second) //nolint:forbidigo // time of the bubble
		if again := p.ask(register("a", 1, own, "Expires: 60"), "SIP/2.0 200"); again == first {
			t.Error("40 s later it was still taken for a retransmission")
		}
	})
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.faults.Add(fault.On("REGISTER").Do(sipd.Drop{}).Times(2))
		b.faults.Add(fault.On("REGISTER").Do(sipd.Respond{Code: 503, RetryAfter: 7}).Once())
		b.faults.Add(fault.On("NOTIFY").During("request").Do(sipd.Drop{}).Once())
		s, _ := b.start()
		p := b.phone(handset)
		p.send(register("a", 1, own))
		p.send(register("a", 1, own))
		p.expectNothing(time.Minute)
		if got := p.ask(register("a", 1, own), "SIP/2.0 503 Service Unavailable"); got.header("Retry-After") != "7" {
			t.Errorf("answered %q, want Retry-After 7", got)
		}
		p.ask(register("a", 1, own), "SIP/2.0 503")
		p.ask(register("a", 2, own), "SIP/2.0 200")
		done := make(chan error, 1)
		go func() { done <- s.Notify(t.Context(), "201", "check-sync") }() // ends with the answer
		p.expectNothing(499 * time.Millisecond)
		p.send(answer(p.next(2*time.Millisecond), "200 OK"))
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := []string{
			"on REGISTER: drops it, 2 times", "on REGISTER: drops it, 2 times",
			"on REGISTER: answers 503 with Retry-After 7, once", "on NOTIFY during request: drops it, once",
		}
		if got := b.of(timeline.FaultFired); !slices.Equal(got, want) {
			t.Errorf("fired %q, want %q", got, want)
		}
	})
}

func TestNotify(t *testing.T) {
	// online starts a server with a registered phone and sends a NOTIFY.
	online := func(t *testing.T, event string) (b *bench, p *phone, done chan error) {
		t.Helper()
		b = newBench(t)
		s, _ := b.start()
		p = b.phone(handset)
		p.ask(register("a", 1, own), "SIP/2.0 200")
		done = make(chan error, 1)
		go func() { done <- s.Notify(t.Context(), "201", event) }() // ends with the answer or T1
		return b, p, done
	}
	t.Run("is addressed to the user and carries what the phones want", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, p, done := online(t, "check-sync;reboot=true")
			got := p.expect("NOTIFY sip:201@192.0.2.7:5060 SIP/2.0\r\n")
			for name, want := range map[string]string{
				"To": "<sip:201@192.0.2.1>", "Event": "check-sync;reboot=true", "Subscription-State": "active",
				"Content-Length": "0", "CSeq": "1 NOTIFY", "Max-Forwards": "70", "Contact": "<sip:ip88rig@192.0.2.1:5060>",
			} {
				if got.header(name) != want {
					t.Errorf("%s is %q, want %q", name, got.header(name), want)
				}
			}
			for name, want := range map[string]string{"Via": "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK", "From": "<sip:ip88rig@192.0.2.1>;tag="} {
				if !strings.HasPrefix(got.header(name), want) {
					t.Errorf("%s is %q, want %q", name, got.header(name), want)
				}
			}
			p.send(answer(got, "200 OK"))
			if err := <-done; err != nil {
				t.Error(err)
			}
			p.send(answer(got, "200 OK")) // the answer comes twice
			p.expectNothing(time.Minute)
			if got := b.of(timeline.Note); !slices.Equal(got, []string{"NOTIFY answered 200 OK"}) {
				t.Errorf("notes %q", got)
			}
			if got := b.of(timeline.ServiceOddity); got != nil {
				t.Errorf("oddities %q", got)
			}
		})
	})
	t.Run("is sent again until it is given up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, p, done := online(t, "check-sync")
			began := time.Now()
			var first message
			for i, ms := range []int{0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500} {
				got, want := p.next(time.Minute), time.Duration(ms)*time.Millisecond
				if i == 0 {
					first = got
				}
				if got != first || time.Since(began) != want {
					t.Errorf("%d: after %v, want after %v the same", i, time.Since(began), want)
				}
			}
			if err := <-done; !errors.Is(err, sipd.ErrNoAnswer) {
				t.Errorf("got %v, want no answer", err)
			}
			if d := time.Since(began); d != 32*time.Second {
				t.Errorf("given up after %v, want 64 T1", d)
			}
			if got := b.of(timeline.Note); len(got) != 1 || !strings.Contains(got[0], "sent 11 times") {
				t.Errorf("notes %q", got)
			}
		})
	})
	t.Run("a provisional answer slows it down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, p, done := online(t, "check-sync")
			got := p.expect("NOTIFY")
			p.send(answer(got, "100 Trying"))
			p.expectNothing(3999 * time.Millisecond)
			if p.next(2*time.Millisecond) != got {
				t.Error("not sent again after T2")
			}
			p.send(answer(got, "202 Accepted"))
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("a refusal is an error with its status", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, p, done := online(t, "check-sync")
			p.send(answer(p.expect("NOTIFY"), "489 Bad Event"))
			var refused *sipd.AnswerError
			if err := <-done; !errors.As(err, &refused) || refused.Status != 489 || err.Error() != "NOTIFY answered 489 Bad Event" {
				t.Errorf("got %v, want 489", err)
			}
		})
	})
	t.Run("an unregistered user can only be reached by address", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			s, end := b.start()
			if err := s.Notify(t.Context(), "201", "check-sync"); !errors.Is(err, sipd.ErrNotRegistered) {
				t.Errorf("got %v, want not registered", err)
			}
			p := b.phone(handset)
			done := make(chan error, 1)
			go func() { // ends with the server
				done <- s.NotifyAt(t.Context(), "201", "check-sync", netip.MustParseAddrPort(handset), netip.AddrPort{})
			}()
			synctest.Wait()
			p.expect("NOTIFY sip:201@192.0.2.7:5060 SIP/2.0")
			end()
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want closed", err)
			}
			if err := s.NotifyAt(t.Context(), "201", "a\r\nb", netip.MustParseAddrPort(handset), netip.AddrPort{}); err == nil {
				t.Error("took an event with a line end")
			}
		})
	})
	t.Run("a context that ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			s, _ := b.start()
			b.phone(handset).ask(register("a", 1, own), "SIP/2.0 200")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := s.Notify(ctx, "201", "check-sync"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestCan(t *testing.T) {
	b := newBench(t)
	s, _ := b.start()
	for _, c := range []struct {
		effect fault.Effect
		want   string
	}{
		{sipd.Drop{}, ""},
		{sipd.Respond{Code: 503, RetryAfter: 7}, ""},
		{sipd.Respond{Code: 100}, "sipd cannot answer 100: a final status is 200 to 699"},
		{sipd.Respond{Code: 503, RetryAfter: -1}, "sipd cannot send Retry-After -1: 0 to a day"},
		{nil, "sipd cannot do <nil>"},
	} {
		got := ""
		if err := s.Can(c.effect); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("Can(%v): got %q, want %q", c.effect, got, c.want)
		}
	}
}

func TestNewNamesTheFieldThatIsWrong(t *testing.T) {
	conn := memnet.New().MustListen(t, registrar)
	for _, c := range []struct {
		field string
		cfg   sipd.Config
	}{
		{"Conn", sipd.Config{}},
		{"Expires", sipd.Config{Conn: conn, Expires: -time.Second}},
		{"MaxExpires", sipd.Config{Conn: conn, MaxExpires: time.Millisecond}},
		{"MinExpires", sipd.Config{Conn: conn, MinExpires: time.Minute, MaxExpires: time.Second}},
		{"T1", sipd.Config{Conn: conn, T1: -1}},
	} {
		if _, err := sipd.New(c.cfg); err == nil || !strings.Contains(err.Error(), c.field) {
			t.Errorf("got %v, want an error that names %s", err, c.field)
		}
	}
}

func TestServeSaysWhenItsPortFails(t *testing.T) {
	p := memnet.New().MustListen(t, registrar)
	s, err := sipd.New(sipd.Config{Conn: p})
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	if err := s.Serve(t.Context()); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), registrar) {
		t.Errorf("got %v, want the port and its error", err)
	}
}

func TestAnswersFromTheAddressThatWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		well := memnet.AnyPort{Port: b.net.MustListen(t, "0.0.0.0:5060")}
		s, _ := b.start(func(c *sipd.Config) { c.Conn = well })
		p := b.phone(handset)
		p.peer = netip.MustParseAddrPort("198.51.100.9:5060")
		p.send(register("a", 1, own))
		d, err := p.port.Receive()
		if err != nil || d.From != p.peer {
			t.Errorf("answer from %v, %v, want %v", d.From, err, p.peer)
		}
		go func() { _ = s.Notify(t.Context(), "201", "check-sync") }() // ends with the test
		if d, err = p.port.Receive(); err != nil || d.From != p.peer || !strings.Contains(string(d.Data), "Via: SIP/2.0/UDP 198.51.100.9:5060;") {
			t.Errorf("NOTIFY from %v, %v: %s, want from %v", d.From, err, d.Data, p.peer)
		}
		p.send(answer(message(d.Data), "200 OK"))
		synctest.Wait()
	})
}

package sipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/internal/packetpipe"
)

var (
	proxy   = netip.MustParseAddrPort("192.0.2.1:5060")
	handset = netip.MustParseAddrPort("192.0.2.100:5060")
)

// sent is one message of the agent.
type sent struct {
	at   time.Duration
	what string // "REGISTER 1" or "200 INVITE"
	text string
	m    sip.Message
}

// peer is a scripted registrar and caller.
type peer struct {
	sock   *packetpipe.Conn
	start  time.Time
	sent   []sent
	answer func(n int, req *sip.Request) string // to requests; blank for silence
	hooks  []string
}

func (p *peer) run() {
	buf := make([]byte, 65536)
	for {
		n, from, err := p.sock.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := sip.ParseMessage(buf[:n])
		if err != nil {
			panic(fmt.Sprintf("%v: %s", err, buf[:n]))
		}
		s := sent{at: time.Since(p.start), text: string(buf[:n]), m: m}
		switch m := m.(type) {
		case *sip.Request:
			s.what = fmt.Sprintf("%s %d", m.Method, m.CSeq().SeqNo)
		case *sip.Response:
			s.what = fmt.Sprintf("%d %s", m.StatusCode, m.CSeq().MethodName)
		}
		p.sent = append(p.sent, s)
		if req, ok := m.(*sip.Request); ok && p.answer != nil {
			if a := p.answer(len(p.sent), req); a != "" {
				_, _ = p.sock.WriteTo([]byte(a), from)
			}
		}
	}
}

func (p *peer) words() []string {
	var out []string
	for _, s := range p.sent {
		out = append(out, s.what)
	}
	return out
}

// to sends the agent a message, and lets it settle.
func (p *peer) to(text string) {
	_, _ = p.sock.WriteTo([]byte(strings.ReplaceAll(strings.TrimLeft(text, "\n"), "\n", "\r\n")), net.UDPAddrFromAddrPort(handset))
	synctest.Wait()
}

// since returns what the agent sent from a message on, in words.
func (p *peer) since(n int) string { return strings.Join(p.words()[n:], ", ") }

// reply answers a request of the agent.
func reply(req *sip.Request, status string, headers ...string) string {
	m := &strings.Builder{}
	m.WriteString("SIP/2.0 " + status + "\r\n")
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		line(m, name, value(req, name))
	}
	for _, h := range headers {
		m.WriteString(h + "\r\n")
	}
	m.WriteString("Content-Length: 0\r\n\r\n")
	return m.String()
}

// welcome grants what is asked for.
func welcome(_ int, req *sip.Request) string {
	return reply(req, "200 OK", "Contact: "+value(req, "Contact")+";expires="+value(req, "Expires"))
}

func config() Config {
	return Config{
		Local: handset, Proxy: proxy, User: "201", AuthUser: "auth201", Password: "secret", DisplayName: `Rig "phone" 1`,
		UserAgent: "handset", Expires: 600, CallID: "boot-1@192.0.2.100", Seed: 3,
	}
}

// play runs an agent against a peer in a bubble.
func play(t *testing.T, p *peer, cfg Config, f func(ctx context.Context, a *Agent)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := packetpipe.New()
		var err error
		if p.sock, err = network.Listen(proxy); err != nil {
			t.Fatal(err)
		}
		conn, err := network.Listen(handset)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Conn, p.start = conn, time.Now()
		cfg.OnNotify = func(event string) { p.hooks = append(p.hooks, event) }
		a, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		served, ended := make(chan struct{}), make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { defer close(served); p.run() }() // ends when its socket is closed
		go func() { ended <- a.Run(ctx) }()          // ends with ctx
		synctest.Wait()
		f(ctx, a)
		synctest.Wait()
		before := len(p.sent)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		synctest.Wait()
		if len(p.sent) != before {
			t.Errorf("sent %s at power loss", p.since(before))
		}
		_ = p.sock.Close()
		<-served
	})
}

func TestRegister(t *testing.T) {
	challenge := func(nonce, more string) string {
		return `WWW-Authenticate: Digest realm="rig", nonce="` + nonce + `", qop="auth"` + more
	}
	for _, test := range []struct {
		name   string
		answer func(n int, req *sip.Request) string
		during time.Duration
		want   string
		at     []time.Duration // nil: not compared
		holds  map[int]string  // text in a message, from 1
		lacks  map[int]string
	}{
		{
			name: "registers and refreshes before the expiry", answer: welcome, during: 1200 * time.Second,
			want: "REGISTER 1, REGISTER 2, REGISTER 3", at: []time.Duration{0, 568 * time.Second, 1136 * time.Second},
			holds: map[int]string{1: "From: \"Rig \\\"phone\\\" 1\" <sip:201@192.0.2.1>;tag=", 2: "Call-ID: boot-1@192.0.2.100"},
		},
		{
			name: "takes the expiry that is granted",
			answer: func(_ int, req *sip.Request) string {
				return reply(req, "200 OK", "Contact: <sip:9@192.0.2.9>;expires=9, "+value(req, "Contact")+`;q=1;expires=60`, "Expires: 8")
			},
			during: 40 * time.Second, want: "REGISTER 1, REGISTER 2", at: []time.Duration{0, 30 * time.Second},
		},
		{
			name: "answers a challenge, and offers the credentials with the next",
			answer: func(n int, req *sip.Request) string {
				if n == 1 {
					return reply(req, "401 Unauthorized", challenge("n1", ""))
				}
				return welcome(n, req)
			},
			during: 600 * time.Second, want: "REGISTER 1, REGISTER 2, REGISTER 3",
			holds: map[int]string{2: "nc=00000001", 3: "nc=00000002"}, lacks: map[int]string{1: "Authorization"},
		},
		{
			name: "answers a proxy's challenge in the proxy's header",
			answer: func(n int, req *sip.Request) string {
				if n == 1 {
					return reply(req, "407 Proxy Authentication Required", `Proxy-Authenticate: Digest realm="rig", nonce="n"`)
				}
				return welcome(n, req)
			},
			during: time.Second, want: "REGISTER 1, REGISTER 2",
			holds: map[int]string{2: `Proxy-Authorization: Digest username="auth201"`},
		},
		{
			name: "does not repeat credentials that were refused",
			answer: func(_ int, req *sip.Request) string {
				return reply(req, "401 Unauthorized", challenge("n1", ""))
			},
			during: 14 * time.Second, want: "REGISTER 1, REGISTER 2",
		},
		{
			name: "answers a stale nonce, though not for ever",
			answer: func(_ int, req *sip.Request) string {
				return reply(req, "401 Unauthorized", challenge("n1", ", stale=true"))
			},
			during: 14 * time.Second, want: "REGISTER 1, REGISTER 2, REGISTER 3, REGISTER 4",
		},
		{
			name: "raises an expiry that is too brief",
			answer: func(n int, req *sip.Request) string {
				if n == 1 {
					return reply(req, "423 Interval Too Brief", "Min-Expires: 900")
				}
				return welcome(n, req)
			},
			during: time.Second, want: "REGISTER 1, REGISTER 2", holds: map[int]string{2: "Expires: 900"},
		},
		{
			name: "waits as long as it is told",
			answer: func(n int, req *sip.Request) string {
				if n == 1 {
					return reply(req, "503 Service Unavailable", "Retry-After: 7 (soon)")
				}
				return welcome(n, req)
			},
			during: 8 * time.Second, want: "REGISTER 1, REGISTER 2", at: []time.Duration{0, 7 * time.Second},
		},
		{
			name:   "repeats a request in a wider and wider rhythm until it gives up",
			during: 32 * time.Second, want: strings.TrimSuffix(strings.Repeat("REGISTER 1, ", 11), ", "),
			at: []time.Duration{
				0, 500 * time.Millisecond, 1500 * time.Millisecond, 3500 * time.Millisecond, 7500 * time.Millisecond, 11500 * time.Millisecond,
				15500 * time.Millisecond, 19500 * time.Millisecond, 23500 * time.Millisecond, 27500 * time.Millisecond, 31500 * time.Millisecond,
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &peer{answer: test.answer}
			play(t, p, config(), func(context.Context, *Agent) { <-time.After(test.during) })
			if got := p.since(0); got != test.want {
				t.Fatalf("got %s, want %s", got, test.want)
			}
			for i, at := range test.at {
				if p.sent[i].at != at {
					t.Errorf("%s at %v, want %v", p.sent[i].what, p.sent[i].at, at)
				}
			}
			for n, text := range test.holds {
				if !strings.Contains(p.sent[n-1].text, text) {
					t.Errorf("message %d lacks %q:\n%s", n, text, p.sent[n-1].text)
				}
			}
			for n, text := range test.lacks {
				if strings.Contains(p.sent[n-1].text, text) {
					t.Errorf("message %d holds %q:\n%s", n, text, p.sent[n-1].text)
				}
			}
		})
	}
}

func TestBacksOffFromAServerThatRefuses(t *testing.T) {
	p := &peer{answer: func(_ int, req *sip.Request) string { return reply(req, "403 Forbidden") }}
	play(t, p, config(), func(_ context.Context, a *Agent) {
		<-time.After(2 * time.Hour)
		select {
		case <-a.Registered():
			t.Error("registered")
		default:
		}
	})
	for i := range p.sent[1:] {
		longest := min(30*time.Second<<i, 30*time.Minute)
		if gap := p.sent[i+1].at - p.sent[i].at; gap < longest/2 || gap > longest {
			t.Errorf("waited %v before try %d, want %v to %v", gap, i+2, longest/2, longest)
		}
	}
}

func request(method, branch, more string) string {
	return requestTo("201", method, branch, more)
}

func requestTo(user, method, branch, more string) string {
	if !strings.Contains(more, "\n\n") {
		more += "Content-Length: 0\n\n"
	}
	return method + " sip:" + user + "@192.0.2.100 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK" + branch +
		"\nMax-Forwards: 70\nFrom: <sip:9@192.0.2.1>;tag=far\nTo: <sip:201@192.0.2.100>\nCall-ID: call-" + branch[:1] + "\nCSeq: 1 " + method + "\n" + more
}

func TestNotify(t *testing.T) {
	for _, test := range []struct {
		name    string
		message string
		defects defect.Set
		want    string
		hooks   []string
	}{
		{name: "takes check-sync", message: request("NOTIFY", "a", "Event: check-sync;reboot=true\n"), want: "200 NOTIFY", hooks: []string{"check-sync;reboot=true"}},
		{name: "takes the compact form", message: request("NOTIFY", "a", "o: check-sync\n"), want: "200 NOTIFY", hooks: []string{"check-sync"}},
		{name: "does not know other events", message: request("NOTIFY", "a", "Event: talk\n"), want: "489 NOTIFY"},
		{name: "refuses a NOTIFY without event", message: request("NOTIFY", "a", ""), want: "400 NOTIFY"},
		{name: "refuses a NOTIFY with two events", message: request("NOTIFY", "a", "Event: check-sync\nEvent: talk\n"), want: "400 NOTIFY"},
		{name: "defect: any event", message: request("NOTIFY", "a", "Event: talk\n"), defects: defect.Set{defect.AnyEventResyncs}, want: "200 NOTIFY", hooks: []string{"talk"}},
		{name: "is not somebody else", message: requestTo("0000", "NOTIFY", "a", "Event: check-sync\n"), want: "404 NOTIFY"},
		{name: "defect: ignores check-sync", message: request("NOTIFY", "a", "Event: check-sync\n"), defects: defect.Set{defect.IgnoresCheckSync}, want: "200 NOTIFY"},
		{name: "answers OPTIONS", message: request("OPTIONS", "a", ""), want: "200 OPTIONS"},
		{name: "refuses what it does not know", message: request("SUBSCRIBE", "a", ""), want: "405 SUBSCRIBE"},
		{name: "refuses extensions it does not know", message: request("OPTIONS", "a", "Require: path\n"), want: "420 OPTIONS"},
		{name: "drops garbage", message: "NOTIFY sip:201@192.0.2.100 SIP/2.0\nEvent: check-sync\n\n", want: ""},
		{name: "drops keep-alives", message: "\n\n\n\n", want: ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &peer{answer: welcome}
			cfg := config()
			cfg.Defects = test.defects
			play(t, p, cfg, func(context.Context, *Agent) { p.to(test.message); p.to(test.message) })
			want := test.want
			if want != "" {
				want += ", " + want // the second is a repetition: the same answer again
			}
			if got := p.since(1); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			if want != "" && p.sent[1].text != p.sent[2].text {
				t.Error("the repetition was answered otherwise")
			}
			if !slices.Equal(p.hooks, test.hooks) {
				t.Errorf("hooks %q, want %q", p.hooks, test.hooks)
			}
		})
	}
}

func TestNotifyFloodIsBounded(t *testing.T) {
	p := &peer{answer: welcome}
	play(t, p, config(), func(_ context.Context, a *Agent) {
		for i := range 3 * maxServerTx {
			p.to(request("NOTIFY", fmt.Sprintf("a%d", i), "Event: talk\n"))
		}
		if n := len(a.servers.known); n > maxServerTx {
			t.Errorf("remembers %d requests", n)
		}
	})
}

const offer = "Contact: <sip:9@192.0.2.1:5060>\nContent-Type: application/sdp\nContent-Length: 32\n\nv=0\nm=audio 4000 RTP/AVP 18 8\n"

func tag(t *testing.T, p *peer, n int) string {
	t.Helper()
	synctest.Wait()
	tag := tagOf(p.sent[n].m.To().Params)
	if tag == "" {
		t.Fatalf("no tag in %s", p.sent[n].text)
	}
	return tag
}

// within gives a request of the dialog: our tag, another method and number.
func within(method, branch, tag string, number int) string {
	r := strings.Replace(request(method, branch, ""), "To: <sip:201@192.0.2.100>", "To: <sip:201@192.0.2.100>;tag="+tag, 1)
	return strings.Replace(r, "CSeq: 1", fmt.Sprintf("CSeq: %d", number), 1)
}

// The codecs of the settings are what both can do, in the settings' order.
func TestCodecs(t *testing.T) {
	for _, test := range []struct {
		own     []string
		offered string // "" is an INVITE without a session
		want    string
	}{
		{nil, "18 8 0", "8 0"},
		{nil, "", "0 8"},
		{[]string{"0", "8", "18"}, "18 8", "8 18"},
		{[]string{"0", "8"}, "", "0 8"},
		{[]string{"8", "0"}, "", "8 0"},
		{[]string{"0"}, "18 8", ""},
	} {
		body := ""
		if test.offered != "" {
			body = "v=0\nm=audio 4000 RTP/AVP " + test.offered + "\n"
			body = fmt.Sprintf("Content-Type: application/sdp\nContent-Length: %d\n\n%s", len(body), body)
		}
		p, cfg := &peer{answer: welcome}, config()
		cfg.AutoAnswer, cfg.Formats = true, func() []string { return test.own }
		play(t, p, cfg, func(_ context.Context, _ *Agent) {
			p.to(request("INVITE", "a", "Contact: <sip:9@192.0.2.1:5060>\n"+body))
			synctest.Wait()
			last := p.sent[len(p.sent)-1].text
			_, got, _ := strings.Cut(last, "RTP/AVP ")
			if strings.TrimSpace(got) != test.want || (test.want == "") != strings.HasPrefix(last, "SIP/2.0 488") {
				t.Errorf("%v, offered %q: answered %q, want %q", test.own, test.offered, last, test.want)
			}
			p.to(request("ACK", "a", ""))
		})
	}
}

func TestCall(t *testing.T) {
	invite := request("INVITE", "a", offer)
	for _, test := range []struct {
		name string
		auto bool
		do   func(ctx context.Context, p *peer, a *Agent)
		want string
		busy bool // at the end
	}{
		{name: "rings", do: func(_ context.Context, p *peer, _ *Agent) { p.to(invite); p.to(invite) }, want: "180 INVITE, 180 INVITE", busy: true},
		{name: "answers by itself and ends with BYE", auto: true, do: func(_ context.Context, p *peer, _ *Agent) {
			p.to(invite)
			tag := tag(t, p, 2)
			p.to(within("ACK", "a2", tag, 1))
			<-time.After(time.Minute)
			p.to(within("BYE", "a3", tag, 2))
		}, want: "180 INVITE, 200 INVITE, 200 BYE"},
		{name: "answers when told, and hangs up", do: func(ctx context.Context, p *peer, a *Agent) {
			p.to(invite)
			if err := a.Answer(ctx); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			p.to(within("ACK", "a2", tag(t, p, 2), 1))
			if err := a.HangUp(ctx); err != nil {
				t.Error(err)
			}
		}, want: "180 INVITE, 200 INVITE, BYE 1"},
		{name: "repeats its answer until it is acknowledged, then ends the call", auto: true, do: func(_ context.Context, p *peer, _ *Agent) {
			p.to(invite)
			<-time.After(33 * time.Second)
		}, want: "180 INVITE" + strings.Repeat(", 200 INVITE", 11) + ", BYE 1"},
		{name: "is cancelled", do: func(_ context.Context, p *peer, _ *Agent) {
			p.to(invite)
			p.to(request("CANCEL", "a", ""))
			p.to(within("ACK", "a", tag(t, p, 3), 1))
			<-time.After(time.Minute)
		}, want: "180 INVITE, 200 CANCEL, 487 INVITE"},
		{name: "repeats a refusal until it is acknowledged", do: func(ctx context.Context, p *peer, a *Agent) {
			p.to(invite)
			if err := a.HangUp(ctx); err != nil {
				t.Error(err)
			}
			<-time.After(2 * time.Second)
			p.to(within("ACK", "a", tag(t, p, 2), 1))
			<-time.After(time.Minute)
		}, want: "180 INVITE, 603 INVITE, 603 INVITE, 603 INVITE"},
		{name: "stops ringing when nobody cares", do: func(_ context.Context, p *peer, _ *Agent) {
			p.to(invite)
			<-time.After(180*time.Second + 100*time.Millisecond)
		}, want: "180 INVITE, 480 INVITE"},
		{name: "is busy for a second caller", do: func(_ context.Context, p *peer, _ *Agent) {
			p.to(invite)
			p.to(request("INVITE", "b", offer))
			p.to(request("ACK", "b", ""))
		}, want: "180 INVITE, 486 INVITE", busy: true},
		{name: "takes no call without common audio", do: func(_ context.Context, p *peer, _ *Agent) {
			p.to(strings.ReplaceAll(invite, "18 8", "18 9"))
			p.to(request("ACK", "a", ""))
		}, want: "488 INVITE"},
		{name: "knows no other dialog", do: func(_ context.Context, p *peer, _ *Agent) {
			p.to(within("BYE", "a", "strange", 1))
			p.to(request("CANCEL", "b", ""))
		}, want: "481 BYE, 481 CANCEL"},
		{name: "takes a new offer within the call", auto: true, do: func(_ context.Context, p *peer, _ *Agent) {
			p.to(invite)
			tag := tag(t, p, 2)
			p.to(within("ACK", "a2", tag, 1))
			p.to(within("INVITE", "a3", tag, 2))
			p.to(within("ACK", "a4", tag, 2))
			p.to(within("BYE", "a5", tag, 3))
		}, want: "180 INVITE, 200 INVITE, 200 INVITE, 200 BYE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &peer{answer: func(n int, req *sip.Request) string {
				if req.Method == sip.BYE {
					return reply(req, "200 OK")
				}
				return welcome(n, req)
			}}
			cfg := config()
			cfg.AutoAnswer = test.auto
			play(t, p, cfg, func(ctx context.Context, a *Agent) {
				test.do(ctx, p, a)
				synctest.Wait()
				if a.Busy() != test.busy {
					t.Errorf("busy %v, want %v", a.Busy(), test.busy)
				}
				select {
				case <-a.Idle():
					if test.busy {
						t.Error("idle in a call")
					}
				default:
					if !test.busy {
						t.Error("not idle")
					}
				}
			})
			if got := p.since(1); got != test.want {
				t.Errorf("got %s\nwant %s", got, test.want)
			}
			for _, s := range p.sent {
				if s.what == "200 INVITE" && !strings.Contains(s.text, "m=audio 23000 RTP/AVP ") {
					t.Errorf("no audio in\n%s", s.text)
				}
			}
		})
	}
}

func TestAnswerWithoutCallAndAfterTheEnd(t *testing.T) {
	p := &peer{answer: welcome}
	play(t, p, config(), func(ctx context.Context, a *Agent) {
		if err := a.Answer(ctx); !errors.Is(err, ErrNoCall) {
			t.Errorf("answered nothing: %v", err)
		}
		if err := a.HangUp(ctx); !errors.Is(err, ErrNoCall) {
			t.Errorf("hung up nothing: %v", err)
		}
	})
	cfg := config()
	cfg.Conn = closed{}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ran without a socket: %v", err)
	}
	if err := a.Answer(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("answered after the end: %v", err)
	}
}

// closed is a socket that was closed.
type closed struct{ net.PacketConn }

func (closed) SetReadDeadline(time.Time) error        { return nil }
func (closed) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, net.ErrClosed }
func (closed) WriteTo([]byte, net.Addr) (int, error)  { return 0, net.ErrClosed }

func TestNewRefuses(t *testing.T) {
	good := config()
	good.Conn, _ = packetpipe.New().Listen(handset)
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Config){
		"no socket":      func(c *Config) { c.Conn = nil },
		"no user":        func(c *Config) { c.User = "" },
		"no Call-ID":     func(c *Config) { c.CallID = "" },
		"no proxy":       func(c *Config) { c.Proxy = netip.AddrPort{} },
		"smuggled lines": func(c *Config) { c.DisplayName = "a\r\nVia: b" },
	} {
		cfg := good
		edit(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// void is a socket that leads nowhere.
type void struct{ net.PacketConn }

func (void) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

func FuzzReceive(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(request("INVITE", "a", offer), "\n", "\r\n")), []byte(strings.ReplaceAll(request("CANCEL", "a", ""), "\n", "\r\n")))
	f.Add([]byte(strings.ReplaceAll(request("NOTIFY", "a", "Event: check-sync\n"), "\n", "\r\n")), []byte("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nFrom: <sip:a@b>\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n\r\n"))
	f.Add([]byte("OPTIONS tel:1 SIP/2.0\r\n\r\n"), []byte{})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		cfg := config()
		cfg.Conn, cfg.AutoAnswer = void{}, true
		a, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		a.now = time.Now()
		a.reg.register()
		for _, data := range [][]byte{first, second} {
			a.receive(packet{data, proxy})
			a.now = a.now.Add(time.Second)
			a.ring()
		}
	})
}

func FuzzRegisterAnswer(f *testing.F) {
	f.Add(`<sip:201@192.0.2.100:5060>;expires=60`, `Digest realm="rig", nonce="n", qop="auth, auth-int"`, "200")
	f.Add(`"a,<b" <sip:x>;expires="5", *`, `Basic realm="x"`, "401")
	f.Fuzz(func(t *testing.T, contact, challenge, status string) {
		cfg := config()
		cfg.Conn = void{}
		a, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		a.now = time.Now()
		a.reg.register()
		for branch := range a.clients.open {
			text := "SIP/2.0 " + status + " x\r\nVia: SIP/2.0/UDP 192.0.2.100;branch=" + branch + "\r\nFrom: <sip:201@192.0.2.1>\r\nTo: <sip:201@192.0.2.1>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nContact: " +
				contact + "\r\nWWW-Authenticate: " + challenge + "\r\nContent-Length: 0\r\n\r\n"
			a.receive(packet{[]byte(text), proxy})
		}
		if len(a.set) == 0 {
			t.Error("no registration is to come")
		}
	})
}

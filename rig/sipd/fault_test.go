package sipd_test

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/sipd"
)

// under runs a server with rules in force and lets a phone play.
func under(t *testing.T, name string, play func(b *bench, s *sipd.Server, p *phone), rules ...fault.Rule) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			s, _ := b.start(func(c *sipd.Config) {
				c.Password = func(name string) (string, bool) { return secret, name == "201" }
			})
			for _, r := range rules {
				if err := s.Can(r.Effect()); err != nil {
					t.Fatal(err)
				}
				b.faults.Add(r)
			}
			play(b, s, b.phone(handset))
			for _, c := range b.faults.Ledger() {
				if c.Fired == 0 {
					t.Errorf("%q never fired", c.Rule)
				}
			}
		})
	})
}

// param is a parameter of a challenge.
func param(challenge, name string) string {
	for part := range strings.SplitSeq(strings.TrimPrefix(challenge, "Digest "), ", ") {
		if n, v, _ := strings.Cut(part, "="); n == name {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

func TestChallengesWithoutEnd(t *testing.T) {
	under(t, "right credentials are challenged again and again", func(_ *bench, s *sipd.Server, p *phone) {
		auth := "Max-Forwards: 70"
		seen := map[string]bool{}
		for seq := 1; seq <= 5; seq++ {
			got := p.ask(register("a", seq, own, auth), "SIP/2.0 401").header("WWW-Authenticate")
			n := param(got, "nonce")
			if seen[n] || param(got, "realm") != "ip88rig" || param(got, "stale") != "" {
				p.t.Errorf("challenged with %s", got)
			}
			seen[n] = true
			auth = authorization("201", secret, "ip88rig", n, "sip:192.0.2.1", seq)
		}
		if got := s.Bindings(); len(got) != 0 {
			p.t.Errorf("bindings %+v", got)
		}
	}, fault.On("REGISTER").Do(sipd.Challenge{}))
	under(t, "a stale nonce, once", func(_ *bench, s *sipd.Server, p *phone) {
		got := p.ask(register("a", 1, own), "SIP/2.0 401").header("WWW-Authenticate")
		if param(got, "stale") != "true" {
			p.t.Errorf("challenged with %s", got)
		}
		p.ask(register("a", 2, own, authorization("201", secret, "ip88rig", param(got, "nonce"), "sip:192.0.2.1", 1)), "SIP/2.0 200")
		if len(s.Bindings()) != 1 {
			p.t.Error("not registered")
		}
	}, fault.On("REGISTER").Do(sipd.Challenge{Stale: true}).Once())
	under(t, "a nonce that never counts, another realm and algorithm", func(_ *bench, _ *sipd.Server, p *phone) {
		got := p.ask(register("a", 1, own), "SIP/2.0 401").header("WWW-Authenticate")
		if got != `Digest realm="nowhere", nonce="same", algorithm=SHA-256, qop="auth"` {
			p.t.Errorf("challenged with %s", got)
		}
		again := p.ask(register("a", 2, own, authorization("201", secret, "ip88rig", "same", "sip:192.0.2.1", 1)), "SIP/2.0 401").header("WWW-Authenticate")
		if param(again, "stale") != "true" || param(again, "nonce") == "same" {
			p.t.Errorf("challenged with %s, want a fresh nonce", again)
		}
	}, fault.On("REGISTER").Do(sipd.Challenge{Nonce: "same", Realm: "nowhere", Algorithm: "SHA-256"}).Once())
}

func TestDamagedAnswers(t *testing.T) {
	good := func(p *phone) {
		p.t.Helper()
		p.ask(request("OPTIONS", "sip:192.0.2.1", "a", 1), "SIP/2.0 200 OK\r\n")
	}
	for _, c := range []struct {
		name   string
		effect sipd.Effect
		damage func(good, got message) bool
	}{
		{"cut", sipd.Cut{To: 20}, func(good, got message) bool { return got == good[:20] }},
		{"another Call-ID", sipd.SetHeader{Name: "call-id", Value: "nobody"}, func(good, got message) bool {
			return got == message(strings.Replace(string(good), "Call-ID: a\r\n", "call-id: nobody\r\n", 1))
		}},
		{"no CSeq", sipd.SetHeader{Name: "CSeq"}, func(good, got message) bool {
			return got == message(strings.Replace(string(good), "CSeq: 1 OPTIONS\r\n", "", 1))
		}},
		{"a header more", sipd.SetHeader{Name: "Warning", Value: "399 ip88rig"}, func(good, got message) bool {
			return got == message(strings.Replace(string(good), "\r\n\r\n", "\r\nWarning: 399 ip88rig\r\n\r\n", 1))
		}},
		{"garbage", sipd.Garbage{Bytes: 300, Seed: 7}, func(_, got message) bool {
			return len(got) == 300 && !strings.Contains(string(got), "SIP")
		}},
	} {
		under(t, c.name+", once", func(_ *bench, _ *sipd.Server, p *phone) {
			msg := request("OPTIONS", "sip:192.0.2.1", "a", 1)
			p.send(msg)
			got := p.next(time.Millisecond)
			whole := p.ask(msg, "SIP/2.0 200 OK\r\n") // sent again it is answered as it should be
			if !c.damage(whole, got) {
				p.t.Errorf("got %q, of %q", got, whole)
			}
		}, fault.On("OPTIONS").Do(c.effect).Once())
		under(t, c.name+", always", func(b *bench, _ *sipd.Server, p *phone) {
			var last message
			for i := range 3 {
				p.send(request("OPTIONS", "sip:192.0.2.1", "a", 1))
				got := p.next(time.Millisecond)
				if i > 0 && got != last || got == "" {
					p.t.Errorf("got %q, before that %q", got, last)
				}
				last = got
			}
			if got := len(b.of(timeline.FaultFired)); got != 3 {
				p.t.Errorf("fired %d times", got)
			}
			b.faults.Clear()
			good(p)
		}, fault.On("OPTIONS").Do(c.effect))
	}
}

func TestOfSeveralHeadersTheFirstIsSet(t *testing.T) {
	under(t, "Via", func(_ *bench, _ *sipd.Server, p *phone) {
		second := "SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK-far"
		msg := request("OPTIONS", "sip:192.0.2.1", "a", 1)
		p.send(message(strings.Replace(string(msg), "\r\nMax-Forwards", "\r\nVia: "+second+"\r\nMax-Forwards", 1)))
		if got := p.expect("SIP/2.0 200").all("Via"); !slices.Equal(got, []string{"none", second}) {
			p.t.Errorf("answered with %q", got)
		}
	}, fault.On("OPTIONS").Do(sipd.SetHeader{Name: "Via", Value: "none"}).Once())
}

func TestAnswersThatComeLateOrTwice(t *testing.T) {
	under(t, "late, and not sooner when asked again", func(_ *bench, _ *sipd.Server, p *phone) {
		msg := request("OPTIONS", "sip:192.0.2.1", "a", 1)
		p.send(msg)
		p.expectNothing(500 * time.Millisecond)
		p.send(msg)
		p.expectNothing(499 * time.Millisecond)
		if got := p.next(2 * time.Millisecond); !strings.HasPrefix(string(got), "SIP/2.0 200") {
			p.t.Errorf("got %q after a second", got)
		}
		p.ask(msg, "SIP/2.0 200")
		p.ask(request("OPTIONS", "sip:192.0.2.1", "b", 1), "SIP/2.0 200")
	}, fault.On("OPTIONS").Do(sipd.Delay{By: time.Second}).Once())
	under(t, "the answer to a call is late, and sent again until its ACK", func(_ *bench, _ *sipd.Server, p *phone) {
		p.send(request("INVITE", "sip:202@192.0.2.1", "a", 1, own))
		p.expectNothing(2999 * time.Millisecond)
		for _, wait := range []time.Duration{2 * time.Millisecond, 501 * time.Millisecond, 1001 * time.Millisecond} {
			if got := p.next(wait); !strings.HasPrefix(string(got), "SIP/2.0 200") {
				p.t.Fatalf("got %q", got)
			}
		}
		p.send(request("ACK", "sip:202@192.0.2.1", "a", 1))
		p.expectNothing(time.Minute)
	}, fault.On("INVITE").Do(sipd.Delay{By: 3 * time.Second}).Once())
	under(t, "three times", func(_ *bench, _ *sipd.Server, p *phone) {
		first := p.ask(request("OPTIONS", "sip:192.0.2.1", "a", 1), "SIP/2.0 200")
		for range 2 {
			if got := p.next(time.Millisecond); got != first {
				p.t.Errorf("got %q, want the same again", got)
			}
		}
		p.expectNothing(time.Minute)
	}, fault.On("OPTIONS").Do(sipd.Duplicate{Copies: 2}).Once())
	under(t, "a server that ends answers nobody late", func(_ *bench, _ *sipd.Server, p *phone) {
		p.send(request("OPTIONS", "sip:192.0.2.1", "a", 1))
		p.expectNothing(time.Second)
	}, fault.On("OPTIONS").Do(sipd.Delay{By: time.Hour}))
}

func TestRequestsOfOursUnderFaults(t *testing.T) {
	under(t, "a NOTIFY twice, then without its event", func(_ *bench, s *sipd.Server, p *phone) {
		done := make(chan error, 1)
		go func() { done <- s.NotifyAt(p.t.Context(), "201", "check-sync", p.addr(), p.peer) }() // ends with the answer
		first := p.expect("NOTIFY ")
		if again := p.next(time.Millisecond); again != first {
			p.t.Errorf("got %q, want the same again", again)
		}
		got := p.next(501 * time.Millisecond)
		if got.header("Event") != "" || got.header("Call-ID") != first.header("Call-ID") || first.header("Event") != "check-sync" {
			p.t.Errorf("got %q after %q", got, first)
		}
		p.send(answer(got, "489 Bad Event"))
		if err := <-done; err == nil || err.Error() != "NOTIFY answered 489 Bad Event" {
			p.t.Error(err)
		}
	}, fault.On("NOTIFY").During("request").Do(sipd.Duplicate{Copies: 1}).Once(), fault.On("NOTIFY").Do(sipd.SetHeader{Name: "Event"}))
}

func TestEffectsSayWhatTheyDoAndAreChecked(t *testing.T) {
	s, _ := newBench(t).start()
	for _, c := range []struct {
		effect      sipd.Effect
		text, wrong string
	}{
		{sipd.Respond{Code: 403}, "answers 403", ""},
		{sipd.Challenge{}, "challenges it again", ""},
		{sipd.Challenge{Stale: true, Nonce: "x", Realm: "y", Algorithm: "MD5-sess"}, `challenges it again with stale=true, nonce "x", realm "y", algorithm "MD5-sess"`, ""},
		{sipd.Challenge{Realm: `a"b`}, `challenges it again with realm "a\"b"`, `sipd cannot put "a\"b" into a challenge`},
		{sipd.Garbage{Bytes: 10, Seed: 3}, "sends 10 bytes of garbage, seed 3", ""},
		{sipd.Garbage{}, "sends 0 bytes of garbage, seed 0", "sipd cannot send 0 bytes of garbage: 1 to 65000"},
		{sipd.Cut{To: 9}, "cuts it to 9 bytes", ""},
		{sipd.Cut{To: -1}, "cuts it to -1 bytes", "sipd cannot cut a message to -1 bytes: 0 to 65000"},
		{sipd.SetHeader{Name: "CSeq", Value: "x"}, "sends it with CSeq: x", ""},
		{sipd.SetHeader{Name: "CSeq"}, "sends it without CSeq", ""},
		{sipd.SetHeader{Name: "a:b"}, "sends it without a:b", `sipd cannot send a header "a:b": ""`},
		{sipd.SetHeader{Name: "a", Value: "b\r\nc"}, "sends it with a: b\r\nc", `sipd cannot send a header "a": "b\r\nc"`},
		{sipd.Delay{By: time.Second}, "answers 1s late", ""},
		{sipd.Delay{}, "answers 0s late", "sipd cannot answer 0s late: up to an hour"},
		{sipd.Duplicate{Copies: 1}, "sends it twice", ""},
		{sipd.Duplicate{Copies: 2}, "sends it 3 times", ""},
		{sipd.Duplicate{}, "sends it 1 times", "sipd cannot send 0 copies: 1 to 1000"},
	} {
		if got := c.effect.String(); got != c.text {
			t.Errorf("got %q, want %q", got, c.text)
		}
		got := ""
		if err := s.Can(c.effect); err != nil {
			got = err.Error()
		}
		if got != c.wrong {
			t.Errorf("%s: got %q, want %q", c.text, got, c.wrong)
		}
	}
}

func TestSipsakUnderFaults(t *testing.T) {
	need(t, "sipsak")
	t.Run("a lost answer and one of three copies", func(t *testing.T) {
		b := newBench(t)
		b.faults.Add(fault.On("OPTIONS").Do(sipd.Drop{}).Once())
		b.faults.Add(fault.On("OPTIONS").Do(sipd.Duplicate{Copies: 2}).Once())
		_, addr := b.onLoopback()
		if out := run(t, "sipsak", "-vv", "-s", "sip:201@"+addr); !strings.Contains(out, "SIP/2.0 200 OK") {
			t.Errorf("sipsak says %s", out)
		}
		want := []string{"on OPTIONS: drops it, once", "on OPTIONS: sends it 3 times, once"}
		if got := b.of(timeline.FaultFired); !slices.Equal(got, want) {
			t.Errorf("fired %q, want %q", got, want)
		}
	})
	t.Run("a second challenge is the end for it", func(t *testing.T) {
		b := newBench(t)
		b.faults.Add(fault.On("REGISTER").Do(sipd.Challenge{Nonce: "never-given-out"}).Once())
		s, addr := b.onLoopback(func(c *sipd.Config) {
			c.Password = func(name string) (string, bool) { return secret, name == "201" }
		})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, "sipsak", "-U", "-C", "sip:201@127.0.0.1:5099", "-x", "60", "-u", "201", "-a", secret, "-s", "sip:201@"+addr).CombinedOutput()
		if err == nil || !strings.Contains(string(out), `nonce="never-given-out"`) || !strings.Contains(string(out), "stale=true") {
			t.Errorf("sipsak says (%v) %s", err, out)
		}
		if got := s.Bindings(); len(got) != 0 {
			t.Errorf("bindings %+v", got)
		}
	})
}

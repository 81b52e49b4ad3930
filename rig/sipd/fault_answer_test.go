package sipd_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/sipd"
)

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

// A nonce that was called stale is spent: whoever tries it again, with the right
// password and a higher count, is told so until it takes the new one.
func TestAStaleNonceIsSpent(t *testing.T) {
	under(t, "once", func(_ *bench, s *sipd.Server, p *phone) {
		with := func(nonce string, count int) string {
			return authorization("201", secret, "ip88rig", nonce, "sip:192.0.2.1", count)
		}
		first := param(p.ask(register("a", 1, own), "SIP/2.0 401").header("WWW-Authenticate"), "nonce")
		p.ask(register("a", 2, own, with(first, 1)), "SIP/2.0 200")
		fresh := ""
		for seq := 3; seq <= 5; seq++ {
			got := p.ask(register("a", seq, own, with(first, seq)), "SIP/2.0 401").header("WWW-Authenticate")
			if fresh = param(got, "nonce"); param(got, "stale") != "true" || fresh == first {
				p.t.Errorf("challenged with %s, want a fresh nonce", got)
			}
		}
		p.ask(register("a", 6, own, with(fresh, 1)), "SIP/2.0 200")
		if len(s.Bindings()) != 1 {
			p.t.Error("not registered")
		}
	}, fault.On("REGISTER").Do(sipd.Challenge{Stale: true}).From(3).Once())
}

func TestAnswersOfOtherKindsSayWhatTheyAre(t *testing.T) {
	says(t, []said{
		{sipd.Respond{Code: 403}, "answers 403", ""},
		{sipd.Respond{Code: 503, RetryAfter: 7}, "answers 503 with Retry-After 7", ""},
		{sipd.Respond{Code: 100}, "answers 100", "sipd cannot answer 100: a final status is 200 to 699"},
		{sipd.Challenge{}, "challenges it again", ""},
		{sipd.Challenge{Stale: true, Nonce: "x", Realm: "y", Algorithm: "MD5-sess"}, `challenges it again with stale=true, nonce "x", realm "y", algorithm "MD5-sess"`, ""},
		{sipd.Challenge{Realm: `a"b`}, `challenges it again with realm "a\"b"`, `sipd cannot put "a\"b" into a challenge`},
	})
}

func TestASecondChallengeIsTheEndForSipsak(t *testing.T) {
	need(t, "sipsak")
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
}

// What the handset is not told has not happened: a rule on the bytes of the
// answer, which is shown it and spares it, changes nothing of that.
func TestAnAnswerThatIsNotGivenHasNoEffect(t *testing.T) {
	longer := fault.On("REGISTER").Do(sipd.Cut{To: 65000}) // than any answer: spares it
	for name, e := range map[string]sipd.Effect{"another answer": sipd.Respond{Code: 503}, "a challenge": sipd.Challenge{Nonce: "same"}, "none": sipd.Drop{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				s, _ := b.start(func(c *sipd.Config) {
					c.Password = func(string) (string, bool) {
						b.faults.Empty() // asks back: the plan is not held
						return secret, true
					}
				})
				p := b.phone(handset)
				nonce := param(p.ask(register("a", 1, own), "SIP/2.0 401").header("WWW-Authenticate"), "nonce")
				with := func(count int) string {
					return authorization("201", secret, "ip88rig", nonce, "sip:192.0.2.1", count)
				}
				b.faults.Add(longer)
				b.faults.Add(fault.On("REGISTER").Do(e).Times(2))
				p.send(register("a", 2, own, with(1)))
				p.next(time.Millisecond)
				p.send(register("a", 3, own, authorization("201", "wrong", "ip88rig", nonce, "sip:192.0.2.1", 1)))
				p.next(time.Millisecond)
				if got := s.Bindings(); len(got) != 0 {
					t.Errorf("bindings %+v", got)
				}
				if odd := b.of(timeline.ServiceOddity); len(odd) != 0 {
					t.Errorf("oddities %q of answers that were not given", odd)
				}
				if l := b.faults.Ledger(); l[0].Fired != 0 || l[1].Fired != 2 {
					t.Errorf("ledger %+v", l)
				}
				got := p.ask(register("a", 4, own, with(1)), "SIP/2.0 200") // the count was not used
				if len(s.Bindings()) != 1 || len(got.all("Contact")) != 1 {
					t.Errorf("bindings %+v, told %q", s.Bindings(), got.all("Contact"))
				}
			})
		})
	}
}

// A call that the handset is refused is none, and one whose BYE it hears nothing of
// is still on.
func TestACallThatIsNotAnsweredIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		s, _ := b.start()
		p := b.phone(handset)
		b.faults.Add(fault.On("*").Do(sipd.Cut{To: 65000}))
		b.faults.Add(fault.On("INVITE").Do(sipd.Respond{Code: 503}).Once())
		b.faults.Add(fault.On("BYE").Do(sipd.Drop{}).Once())
		p.ask(request("INVITE", "sip:202@192.0.2.1", "c", 1), "SIP/2.0 503")
		p.send(request("ACK", "sip:202@192.0.2.1", "c", 1))
		if got := s.Dialogs(); len(got) != 0 {
			t.Errorf("%d calls, want none", len(got))
		}
		ok := p.ask(request("INVITE", "sip:202@192.0.2.1", "d", 1), "SIP/2.0 200")
		p.send(request("ACK", "sip:202@192.0.2.1", "d", 1))
		p.send(request("BYE", "sip:202@192.0.2.1", "d", 2, "To: "+ok.header("To")))
		p.expectNothing(time.Millisecond)
		if got := s.Dialogs(); len(got) != 1 {
			t.Errorf("%d calls, want the one that nobody ended", len(got))
		}
		p.ask(request("BYE", "sip:202@192.0.2.1", "d", 3, "To: "+ok.header("To")), "SIP/2.0 200")
		if got := s.Dialogs(); len(got) != 0 {
			t.Errorf("%d calls, want none", len(got))
		}
	})
}

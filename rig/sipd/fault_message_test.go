package sipd_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/sipd"
)

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

// What leaves a message as it is has not fired, at any point, and the next rule
// has its turn.
func TestAnEditThatChangesNothingIsSpared(t *testing.T) {
	for name, e := range map[string]sipd.Effect{
		"a header that it has not is left out": sipd.SetHeader{Name: "Warning"},
		"a header is what it is":               sipd.SetHeader{Name: "CSeq", Value: "1 OPTIONS"},
		"it is no longer than that":            sipd.Cut{To: 65000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.start()
				b.faults.Add(fault.On("OPTIONS").Do(e))
				p := b.phone(handset)
				msg := request("OPTIONS", "sip:192.0.2.1", "a", 1)
				first := p.ask(msg, "SIP/2.0 200 OK\r\n")
				if again := p.ask(msg, "SIP/2.0 200 OK\r\n"); again != first {
					t.Errorf("answered again %q, want %q", again, first)
				}
				if got := b.of(timeline.FaultFired); b.faults.Ledger()[0].Fired != 0 || len(got) > 0 {
					t.Errorf("fired %d times, recorded %q", b.faults.Ledger()[0].Fired, got)
				}
				b.faults.Add(fault.On("OPTIONS").Do(sipd.Cut{To: 9}))
				p.send(request("OPTIONS", "sip:192.0.2.1", "b", 1))
				if got := p.next(time.Millisecond); got != "SIP/2.0 2" {
					t.Errorf("the rule behind it: got %q", got)
				}
			})
		})
	}
	under(t, "a request of ours that has no such header", func(b *bench, s *sipd.Server, p *phone) {
		done := make(chan error, 1)
		go func() { done <- s.NotifyAt(p.t.Context(), "201", "check-sync", p.addr(), p.peer) }() // ends with the answer
		p.send(answer(p.expect("NOTIFY "), "200 OK"))
		if err := <-done; err != nil {
			p.t.Error(err)
		}
		if got := b.faults.Ledger()[0].Fired; got != 0 {
			p.t.Errorf("fired %d times", got)
		}
		b.faults.Clear()
	}, fault.On("NOTIFY").Do(sipd.SetHeader{Name: "Warning"}))
}

// TestAnAnswerIsMadeOnce shows the answer to two rules, of which one spares it.
func TestAnAnswerIsMadeOnce(t *testing.T) {
	under(t, "a registration", func(_ *bench, s *sipd.Server, p *phone) {
		first := param(p.ask(register("a", 1, own), "SIP/2.0 401").header("WWW-Authenticate"), "nonce")
		p.ask(register("a", 2, own, authorization("201", secret, "ip88rig", first, "sip:192.0.2.1", 1)), "SIP/2.0 200")
		if len(s.Bindings()) != 1 {
			p.t.Errorf("bindings %+v", s.Bindings())
		}
	}, fault.On("REGISTER").Do(sipd.SetHeader{Name: "Date"}), fault.On("REGISTER").Do(sipd.SetHeader{Name: "User-Agent", Value: "other"}))
}

func TestDamageSaysWhatItIs(t *testing.T) {
	says(t, []said{
		{sipd.Garbage{Bytes: 10, Seed: 3}, "sends 10 bytes of garbage, seed 3", ""},
		{sipd.Garbage{}, "sends 0 bytes of garbage, seed 0", "sipd cannot send 0 bytes of garbage: 1 to 65000"},
		{sipd.Cut{To: 9}, "cuts it to 9 bytes", ""},
		{sipd.Cut{To: -1}, "cuts it to -1 bytes", "sipd cannot cut a message to -1 bytes: 0 to 65000"},
		{sipd.SetHeader{Name: "CSeq", Value: "x"}, "sends it with CSeq: x", ""},
		{sipd.SetHeader{Name: "CSeq"}, "sends it without CSeq", ""},
		{sipd.SetHeader{Name: "a:b"}, "sends it without a:b", `sipd cannot send a header "a:b": ""`},
		{sipd.SetHeader{Name: "a", Value: "b\r\nc"}, "sends it with a: b\r\nc", `sipd cannot send a header "a": "b\r\nc"`},
	})
}

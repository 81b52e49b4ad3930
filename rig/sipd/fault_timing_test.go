package sipd_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/sipd"
)

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

func TestTimingSaysWhatItIs(t *testing.T) {
	says(t, []said{
		{sipd.Drop{}, "drops it", ""},
		{sipd.Delay{By: time.Second}, "answers 1s late", ""},
		{sipd.Delay{}, "answers 0s late", "sipd cannot answer 0s late: up to an hour"},
		{sipd.Duplicate{Copies: 1}, "sends it twice", ""},
		{sipd.Duplicate{Copies: 2}, "sends it 3 times", ""},
		{sipd.Duplicate{}, "sends it 1 times", "sipd cannot send 0 copies: 1 to 1000"},
	})
}

func TestSipsakGetsOverALostAnswerAndCopies(t *testing.T) {
	need(t, "sipsak")
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
}

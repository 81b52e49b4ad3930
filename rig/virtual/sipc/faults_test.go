package sipc

import (
	"context"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

func TestSurvivesABadRegistrar(t *testing.T) {
	const challenge = `WWW-Authenticate: Digest realm="rig", nonce="n"`
	for _, test := range []struct {
		name   string
		answer func(n int, req *sip.Request) string
		during time.Duration
		most   int // messages
		at     []time.Duration
	}{
		{"401 without end", func(_ int, req *sip.Request) string { return reply(req, "401 Unauthorized", challenge) }, time.Minute, 6, nil},
		{"a nonce that is always stale", func(_ int, req *sip.Request) string {
			return reply(req, "401 Unauthorized", challenge+", stale=true")
		}, time.Minute, 12, nil},
		{"503 with Retry-After", func(n int, req *sip.Request) string {
			if n == 1 {
				return reply(req, "503 Service Unavailable", "Retry-After: 90 (busy)")
			}
			return welcome(n, req)
		}, 5 * time.Minute, 2, []time.Duration{0, 90 * time.Second}},
		{"503 with a Retry-After of nothing", func(n int, req *sip.Request) string {
			if n == 1 {
				return reply(req, "503 Service Unavailable", "Retry-After: 0")
			}
			return welcome(n, req)
		}, 5 * time.Minute, 2, []time.Duration{0, 500 * time.Millisecond}},
		{"503 with a Retry-After that is no number", func(_ int, req *sip.Request) string {
			return reply(req, "503 Service Unavailable", "Retry-After: soon")
		}, time.Minute, 5, nil},
		{"a grant of nothing", func(_ int, req *sip.Request) string { return reply(req, "200 OK", "Expires: 0") }, time.Minute, 5, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &peer{answer: test.answer}
			play(t, p, config(), func(context.Context, *Agent) { <-time.After(test.during) })
			if len(p.sent) > test.most || len(p.sent) < 2 {
				t.Errorf("sent %d messages, want 2 to %d: %s", len(p.sent), test.most, p.since(0))
			}
			for i, want := range test.at {
				if p.sent[i].at != want {
					t.Errorf("message %d at %v, want %v", i+1, p.sent[i].at, want)
				}
			}
		})
	}
}

func TestRetryDoesNotWaitForThePause(t *testing.T) {
	p := &peer{answer: func(n int, req *sip.Request) string {
		if n == 1 {
			return reply(req, "503 Service Unavailable", "Retry-After: 900")
		}
		return welcome(n, req)
	}}
	play(t, p, config(), func(ctx context.Context, a *Agent) {
		<-time.After(time.Minute)
		for range 2 { // the second finds it registered
			if err := a.Retry(ctx); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Minute)
		}
		<-a.Registered()
	})
	if len(p.sent) != 2 || p.sent[1].at != time.Minute {
		t.Errorf("sent %s", p.since(0))
	}
}

func TestEventIsWhatItIsToldToBe(t *testing.T) {
	p := &peer{answer: welcome}
	cfg := config()
	cfg.Event = "resync"
	play(t, p, cfg, func(context.Context, *Agent) {
		p.to(request("NOTIFY", "a", "Event: check-sync\n"))
		p.to(request("NOTIFY", "b", "Event: resync\n"))
	})
	if got := p.since(1); got != "489 NOTIFY, 200 NOTIFY" || len(p.hooks) != 1 {
		t.Errorf("got %s, hooks %v", got, p.hooks)
	}
}

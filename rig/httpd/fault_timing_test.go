package httpd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

func TestSlowAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		rule fault.Rule
		file string
		head time.Duration // until it is whole
		all  time.Duration
	}{
		"one byte a second":             {fault.On("GET").Do(Trickle{}), "sysconf_8830_sip.cfg", 0, 6 * time.Second},
		"two bytes every minute":        {fault.On("GET").Do(Trickle{Bytes: 2, Every: time.Minute}), "sysconf_8830_sip.cfg", 0, 3 * time.Minute},
		"the head so, too":              {fault.On("GET").Do(Trickle{Bytes: 1000, Head: true}), "sysconf_8830_sip.cfg", time.Second, 2 * time.Second},
		"a wait before the answer":      {fault.On("GET").Do(Delay{For: time.Hour}), "image.rom", time.Hour, time.Hour},
		"a wait in the body":            {fault.On("GET").Do(Delay{For: time.Hour, AfterBytes: 5}), "sysconf_8830_sip.cfg", 0, time.Hour},
		"slow from 64 KiB on":           {fault.On("image.rom").Behind(64 << 10).Do(Trickle{Bytes: 16 << 10}).Once(), "image.rom", 0, 18 * time.Second},
		"a wait at 64 KiB":              {fault.On("image.rom").Behind(64 << 10).Do(Delay{For: time.Hour}).Once(), "image.rom", 0, time.Hour},
		"a wait at each point but four": {fault.On("body").From(5).Do(Delay{For: time.Minute}), "image.rom", 0, 17 * time.Minute},
		"slow chunks, framing and all":  {fault.On("GET").Do(Trickle{Bytes: 100_000}), "image.rom", 0, 22 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plan := &fault.Plan{}
				plan.Add(c.rule)
				p := newPipe()
				j := serveOn(t, p, Config{Faults: plan})
				client := p.dial()
				defer func() { _ = client.Close() }()
				start := time.Now()
				if _, err := io.WriteString(client, "GET /"+c.file+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				resp, err := http.ReadResponse(bufio.NewReader(client), nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(start); got != c.head {
					t.Errorf("the head took %s, want %s", got, c.head)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				if err := resp.Body.Close(); err != nil {
					t.Error(err)
				}
				if got := time.Since(start); got != c.all {
					t.Errorf("all took %s, want %s", got, c.all)
				}
				told(t, j, string(body), true)
			})
		})
	}
}

func TestASlowAnswerEndsWithTheService(t *testing.T) {
	for _, e := range []fault.Effect{Trickle{Every: time.Hour}, Delay{For: time.Hour}, Delay{For: time.Hour, AfterBytes: 1}} {
		synctest.Test(t, func(t *testing.T) {
			plan := &fault.Plan{}
			plan.Add(fault.On("*").Do(e))
			p, j := newPipe(), &journal{}
			s, err := New(Config{Listener: p, Lookup: lookup, Record: j.record, Faults: plan})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			// Ends when ctx does.
			go func() { done <- s.Serve(ctx) }()
			client := p.dial()
			// Ends with the connection.
			go func() { _, _ = io.Copy(io.Discard, client) }()
			if _, err := io.WriteString(client, "GET /image.rom HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			start := time.Now()
			cancel()
			if err := <-done; err != nil || time.Since(start) > 0 {
				t.Errorf("%s: Serve: %v after %s", e, err, time.Since(start))
			}
			if closed := j.of(timeline.ConnClosed); len(closed) != 1 || closed[0].Reason != "the service ends" {
				t.Errorf("%s: closed %v", e, closed)
			}
		})
	}
}

func TestCurlGivesUpASlowAnswer(t *testing.T) {
	t.Parallel()
	addr, j := faulty(t, Config{}, fault.On("image.rom").Do(Trickle{Every: 10 * time.Millisecond}))
	if _, code := curl(t, "--max-time", "0.5", "-o", "/dev/null", "http://"+addr+"/image.rom"); code != 28 { // CURLE_OPERATION_TIMEDOUT
		t.Errorf("curl: %d", code)
	}
	if served := j.wait(t, timeline.Served, 1)[0]; served.Complete || served.Bytes == 0 || served.Bytes > 100 || served.Reason != "reset by the handset" {
		t.Errorf("served %+v", served)
	}
}

func TestWhatIsDelayedGoesOnAfterRelease(t *testing.T) {
	for name, rule := range map[string]fault.Rule{
		"before the answer": fault.On("GET").Do(Delay{For: time.Hour}),
		"in its middle":     fault.On("GET").Do(Delay{For: time.Hour, AfterBytes: 5}),
		"byte by byte":      fault.On("GET").Do(Trickle{Every: time.Hour}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plan := &fault.Plan{}
				plan.Add(rule)
				p := newPipe()
				s, err := New(Config{Faults: plan, Listener: p, Lookup: lookup, Record: func(timeline.Event) {}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- s.Serve(ctx) }()
				client := p.dial()
				start := time.Now()
				if _, err := io.WriteString(client, "GET /sysconf_8830_sip.cfg HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(time.Minute, s.Release)
				if body, err := io.ReadAll(client); err != nil || len(body) == 0 {
					t.Errorf("read %q, %v", body, err)
				}
				// What ends the connection in order is waited for besides.
				if took := time.Since(start); took < time.Minute || took > 2*time.Minute {
					t.Errorf("took %s, want a minute", took)
				}
				cancel()
				if err := errors.Join(client.Close(), <-ended); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

package sipd_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/sipd"
)

func (p *phone) addr() netip.AddrPort { return netip.MustParseAddrPort(handset) }

func TestAFloodOfNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		s, _ := b.start()
		p := b.phone(handset)
		p.ask(register("a", 1, own), "SIP/2.0 200")
		type outcome struct {
			flood sipd.Flood
			err   error
		}
		done := make(chan outcome, 1)
		began := time.Now()
		go func() { // ends when the wait is over
			f, err := s.NotifyFlood(t.Context(), sipd.Notice{User: "201", Event: "check-sync"}, 50, 10*time.Millisecond, 5*time.Second)
			done <- outcome{f, err}
		}()
		ids, at := map[string]bool{}, time.Duration(0)
		for i := range 50 {
			got := p.next(11 * time.Millisecond)
			if !strings.HasPrefix(string(got), "NOTIFY sip:201@192.0.2.7:5060 SIP/2.0\r\n") || got.header("Event") != "check-sync" {
				t.Fatalf("notice %d: got %q", i, got)
			}
			ids[got.header("Call-ID")+got.header("Via")] = true
			if want := time.Duration(i) * 10 * time.Millisecond; time.Since(began) != want {
				t.Errorf("notice %d after %v, want %v", i, time.Since(began), want)
			}
			at = time.Since(began)
			switch {
			case i == 7: // ignored
			case i%10 == 0:
				p.send(answer(got, "100 Trying"))
				p.send(answer(got, "500 Busy"))
				p.send(answer(got, "500 Busy")) // twice is once
			default:
				p.send(answer(got, "200 OK"))
			}
		}
		if len(ids) != 50 {
			t.Errorf("%d transactions, want 50", len(ids))
		}
		p.expectNothing(time.Minute) // nothing is sent again
		got := <-done
		if got.err != nil || got.flood.String() != "50 sent, 49 answered, 44 with 200, 5 with 500" {
			t.Errorf("got %v, %v", got.flood, got.err)
		}
		if at != 490*time.Millisecond {
			t.Errorf("the last notice came after %v", at)
		}
		want := []string{`sends NOTIFY with event "check-sync"`, "NOTIFY: 50 sent, 49 answered, 44 with 200, 5 with 500"}
		if notes := b.of(timeline.Note); !slices.Equal(notes, want) {
			t.Errorf("journal has %q, want %q", notes, want)
		}
		if odd := b.of(timeline.ServiceOddity); odd != nil {
			t.Errorf("oddities %q", odd)
		}
	})
}

// TestNotices holds what is sent against what is asked for.
func TestNotices(t *testing.T) {
	at := func(n sipd.Notice) sipd.Notice {
		n.User, n.To, n.Local = "999", netip.MustParseAddrPort(handset), netip.MustParseAddrPort(registrar)
		return n
	}
	for _, c := range []struct {
		name   string
		notice sipd.Notice
		sound  func(got message) bool
		note   string
	}{
		{"no event", sipd.Notice{}, func(m message) bool { return m.header("Event") == "" }, "sends NOTIFY with no event"},
		{"an unknown event", sipd.Notice{Event: "x-nobody-knows;a=b"}, func(m message) bool { return m.header("Event") == "x-nobody-knows;a=b" }, `sends NOTIFY with event "x-nobody-knows;a=b"`},
		{
			"a bad CSeq and no Call-ID",
			sipd.Notice{Event: "check-sync", Headers: []sipd.SetHeader{{Name: "CSeq", Value: "99999999999 INVITE"}, {Name: "Call-ID"}}},
			func(m message) bool { return m.header("CSeq") == "99999999999 INVITE" && m.header("Call-ID") == "" },
			`sends NOTIFY with event "check-sync", sends it with CSeq: 99999999999 INVITE, sends it without Call-ID`,
		},
		{"cut off", sipd.Notice{Event: "check-sync", CutTo: 60}, func(m message) bool { return len(m) == 60 }, `sends NOTIFY with event "check-sync", cuts it to 60 bytes`},
		{
			"a body that is shorter than it says",
			sipd.Notice{Event: "check-sync", ContentType: "text/plain", Body: "hello", Headers: []sipd.SetHeader{{Name: "Content-Length", Value: "5000"}}},
			func(m message) bool {
				return m.body() == "hello" && m.header("Content-Length") == "5000" && m.header("Content-Type") == "text/plain"
			},
			`sends NOTIFY with event "check-sync", sends it with Content-Length: 5000, with 5 bytes of text/plain`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				s, _ := b.start()
				p := b.phone(handset)
				done := make(chan error, 1)
				go func() { // ends with the wait
					status, err := s.NotifyRaw(t.Context(), at(c.notice), time.Second)
					if status != 0 {
						t.Errorf("status %d", status)
					}
					done <- err
				}()
				got := p.expect("NOTIFY sip:999@192.0.2.7:5060 SIP/2.0\r\n")
				if !c.sound(got) {
					t.Errorf("got %q", got)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				if notes := b.of(timeline.Note); !slices.Equal(notes, []string{c.note, "NOTIFY: 1 sent, 0 answered"}) {
					t.Errorf("journal has %q", notes)
				}
			})
		})
	}
}

func TestANoticeIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		s, end := b.start()
		p := b.phone(handset)
		n := sipd.Notice{User: "201", To: p.addr()}
		go func() { // ends with the answer
			time.Sleep(time.Millisecond) //nolint:forbidigo // time of the bubble
			p.send(answer(p.expect("NOTIFY"), "400 Bad Request"))
		}()
		if status, err := s.NotifyRaw(t.Context(), n, time.Second); status != 400 || err != nil {
			t.Errorf("got %d, %v", status, err)
		}
		b.faults.Add(fault.On("NOTIFY").Do(sipd.Drop{}).Once())
		if f, err := s.NotifyFlood(t.Context(), n, 2, 0, time.Second); f.Sent != 2 || err != nil {
			t.Errorf("got %v, %v", f, err)
		}
		p.expect("NOTIFY")
		p.expectNothing(time.Millisecond)

		if _, err := s.NotifyRaw(t.Context(), sipd.Notice{User: "999"}, time.Second); !errors.Is(err, sipd.ErrNotRegistered) {
			t.Errorf("got %v, want not registered", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Millisecond)
		defer cancel()
		if f, err := s.NotifyFlood(ctx, n, 100, 10*time.Millisecond, time.Second); f.Sent != 3 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, %v, want 3 and the end of the context", f, err)
		}
		for _, wrong := range []sipd.Notice{
			{To: p.addr()},
			{User: "201", To: p.addr(), Event: "a\r\nb"},
			{User: "201", To: p.addr(), CutTo: -1},
			{User: "201", To: p.addr(), Headers: []sipd.SetHeader{{}}},
		} {
			if _, err := s.NotifyRaw(t.Context(), wrong, 0); err == nil {
				t.Errorf("%+v was sent", wrong)
			}
		}
		if _, err := s.NotifyFlood(t.Context(), n, 0, 0, 0); err == nil {
			t.Error("a flood of none")
		}
		end()
		if _, err := s.NotifyRaw(t.Context(), n, time.Hour); err == nil {
			t.Error("a server that ended sent a notice")
		}
	})
}

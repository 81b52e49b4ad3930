package sipd_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/sipd"
)

type outcome struct {
	d   *sipd.Dialog
	err error
}

// calling starts a server with a registered phone and calls it.
func calling(t *testing.T, call func(*sipd.Server, context.Context, string) (*sipd.Dialog, error)) (s *sipd.Server, p *phone, invite message, done chan outcome) {
	t.Helper()
	b := newBench(t)
	s, _ = b.start()
	p = b.phone(handset)
	p.ask(register("a", 1, own), "SIP/2.0 200")
	done = make(chan outcome, 1)
	go func() { // ends with the call's answer, or the test
		d, err := call(s, t.Context(), "201")
		done <- outcome{d, err}
	}()
	synctest.Wait()
	return s, p, p.expect("INVITE sip:201@192.0.2.7:5060 SIP/2.0\r\n"), done
}

// hangUp starts to hang up.
func hangUp(t *testing.T, d *sipd.Dialog) chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- d.Hangup(t.Context()) }() // ends with the answer
	synctest.Wait()
	return done
}

const desk = "Contact: <sip:desk@192.0.2.7:5060;line=1>"

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, invite, done := calling(t, (*sipd.Server).Call)
		if got := invite.header("To"); got != "<sip:201@192.0.2.1>" {
			t.Errorf("the INVITE goes to %q", got)
		}
		if body := invite.body(); !strings.HasPrefix(body, "v=0\r\n") || !strings.Contains(body, "c=IN IP4 192.0.2.1\r\n") || invite.header("Content-Type") != "application/sdp" {
			t.Errorf("the INVITE offers %q", body)
		}
		if p.next(501*time.Millisecond) != invite || p.next(1001*time.Millisecond) != invite {
			t.Error("the INVITE was not sent again after T1 and 2 T1")
		}
		p.send(answer(invite, "100 Trying"))
		p.expectNothing(time.Minute)
		p.send(answer(invite, "180 Ringing"))
		synctest.Wait()
		if d := s.Dialogs(); len(d) != 1 || d[0].State() != sipd.Ringing || d[0].User() != "201" {
			t.Fatalf("dialogs %v, want one that rings", d)
		}
		p.expectNothing(time.Minute)
		p.send(answer(invite, "200 OK", desk, "Record-Route: <sip:p1>", "Record-Route: <sip:p2>"))
		ack := p.expect("ACK sip:desk@192.0.2.7:5060;line=1 SIP/2.0\r\n")
		if ack.header("CSeq") != "1 ACK" || ack.header("To") != "<sip:201@192.0.2.1>;tag=phone" || ack.header("Via") == invite.header("Via") || !slices.Equal(ack.all("Route"), []string{"<sip:p2>", "<sip:p1>"}) {
			t.Errorf("the ACK is %q", ack)
		}
		got := <-done
		if got.err != nil || got.d.State() != sipd.Talking {
			t.Fatalf("call: %v", got.err)
		}
		p.send(answer(invite, "200 OK", desk)) // our ACK was lost
		if again := p.expect("ACK "); again != ack {
			t.Errorf("the second ACK is %q, want the first", again)
		}
		hung := hangUp(t, got.d)
		bye := p.expect("BYE sip:desk@192.0.2.7:5060;line=1 SIP/2.0\r\n")
		if bye.header("CSeq") != "2 BYE" || bye.header("From") != invite.header("From") || bye.header("To") != ack.header("To") || bye.header("Call-ID") != invite.header("Call-ID") {
			t.Errorf("the BYE is %q", bye)
		}
		p.send(answer(bye, "200 OK"))
		if err := <-hung; err != nil || got.d.State() != sipd.Over || len(s.Dialogs()) != 0 {
			t.Errorf("hung up: %v, state %s", err, got.d.State())
		}
		if err := got.d.Hangup(t.Context()); err != nil {
			t.Errorf("hung up twice: %v", err)
		}
	})
}

func TestCallThatOnlyRingsIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, invite, done := calling(t, (*sipd.Server).Ring)
		p.send(answer(invite, "180 Ringing"))
		got := <-done
		if got.err != nil || got.d.State() != sipd.Ringing {
			t.Fatalf("ring: %v", got.err)
		}
		hung := hangUp(t, got.d)
		cancel := p.expect("CANCEL sip:201@192.0.2.7:5060 SIP/2.0\r\n")
		if cancel.header("Via") != invite.header("Via") || cancel.header("CSeq") != "1 CANCEL" || cancel.header("To") != invite.header("To") {
			t.Errorf("the CANCEL is %q", cancel)
		}
		p.send(answer(cancel, "200 OK"))
		p.send(answer(invite, "487 Request Terminated"))
		ack := p.expect("ACK sip:201@192.0.2.7:5060 SIP/2.0\r\n")
		if ack.header("Via") != invite.header("Via") || ack.header("To") != "<sip:201@192.0.2.1>;tag=phone" {
			t.Errorf("the ACK is %q", ack)
		}
		if err := <-hung; err != nil || got.d.State() != sipd.Over {
			t.Errorf("hung up: %v, state %s", err, got.d.State())
		}
	})
}

func TestCallAnsweredWhileItIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, invite, done := calling(t, (*sipd.Server).Ring)
		p.send(answer(invite, "180 Ringing"))
		hung := hangUp(t, (<-done).d)
		cancel := p.expect("CANCEL ")
		p.send(answer(invite, "200 OK", desk))
		p.expect("ACK ")
		p.send(answer(cancel, "481 Call/Transaction Does Not Exist"))
		synctest.Wait()
		p.send(answer(p.expect("BYE "), "200 OK"))
		if err := <-hung; err != nil {
			t.Error(err)
		}
	})
}

func TestCallThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, invite, done := calling(t, (*sipd.Server).Call)
		p.send(answer(invite, "486 Busy Here"))
		p.expect("ACK ")
		var refused *sipd.AnswerError
		if got := <-done; !errors.As(got.err, &refused) || refused.Status != 486 {
			t.Errorf("got %v, want 486", got.err)
		}
		p.send(answer(invite, "486 Busy Here"))
		p.expect("ACK ")
		if len(s.Dialogs()) != 0 {
			t.Errorf("dialogs %v", s.Dialogs())
		}
	})
}

func TestCallThatNobodyHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, invite, done := calling(t, (*sipd.Server).Call)
		began, n := time.Now(), 1
		for p.next(31*time.Second) == invite {
			n++
		}
		if got := <-done; !errors.Is(got.err, sipd.ErrNoAnswer) || n != 7 || time.Since(began) < 32*time.Second {
			t.Errorf("sent %d times, %v", n, got.err)
		}
	})
}

func TestCallWhoseContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, invite, done := calling(t, func(s *sipd.Server, ctx context.Context, user string) (*sipd.Dialog, error) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			return s.Call(ctx, user)
		})
		p.send(answer(invite, "180 Ringing"))
		cancel := p.next(11 * time.Second)
		if !strings.HasPrefix(string(cancel), "CANCEL ") {
			t.Fatalf("got %q, want a CANCEL", cancel)
		}
		p.send(answer(cancel, "200 OK"))
		p.send(answer(invite, "487 Request Terminated"))
		if got := <-done; !errors.Is(got.err, context.DeadlineExceeded) || len(s.Dialogs()) != 0 {
			t.Errorf("got %v, dialogs %v", got.err, s.Dialogs())
		}
	})
}

func TestHandsetHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, invite, done := calling(t, (*sipd.Server).Call)
		p.send(answer(invite, "200 OK", desk))
		p.expect("ACK ")
		d := (<-done).d
		bye := request("BYE", "sip:ip88rig@192.0.2.1:5060", invite.header("Call-ID"), 1, "To: "+invite.header("From"), "From: "+invite.header("To")+";tag=phone")
		p.ask(bye, "SIP/2.0 200")
		if d.State() != sipd.Over {
			t.Errorf("state %s after BYE", d.State())
		}
		p.ask(bye, "SIP/2.0 200")
		p.ask(request("BYE", "sip:ip88rig@192.0.2.1:5060", invite.header("Call-ID"), 2), "SIP/2.0 481")
	})
}

func TestHandsetCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		s, _ := b.start()
		p := b.phone(handset)
		invite := request("INVITE", "sip:202@192.0.2.1", "c", 1, desk, "To: <sip:202@192.0.2.1>", "Content-Type: application/sdp", "body=v=0\r\n")
		ok := p.ask(invite, "SIP/2.0 200")
		if !strings.Contains(ok.body(), "m=audio ") || ok.header("Contact") != "<sip:ip88rig@192.0.2.1:5060>" {
			t.Errorf("answered %q", ok)
		}
		if p.next(501*time.Millisecond) != ok || p.next(1001*time.Millisecond) != ok {
			t.Error("the 200 was not sent again after T1 and 2 T1")
		}
		p.send(request("ACK", "sip:ip88rig@192.0.2.1:5060", "c", 1, "To: "+ok.header("To")))
		p.expectNothing(time.Minute)
		all := s.Dialogs()
		if len(all) != 1 || all[0].User() != "201" || all[0].State() != sipd.Talking {
			t.Fatalf("dialogs %v", all)
		}
		again := p.ask(request("INVITE", "sip:ip88rig@192.0.2.1:5060", "c", 2, desk, "To: "+ok.header("To")), "SIP/2.0 200")
		p.send(request("ACK", "sip:ip88rig@192.0.2.1:5060", "c", 2))
		if again.header("To") != ok.header("To") || len(s.Dialogs()) != 1 {
			t.Errorf("the change was answered %q", again)
		}
		hung := hangUp(t, all[0])
		bye := p.expect("BYE sip:desk@192.0.2.7:5060;line=1 SIP/2.0")
		if bye.header("From") != ok.header("To") || bye.header("To") != invite.header("From") {
			t.Errorf("the BYE is %q", bye)
		}
		p.send(answer(bye, "200 OK"))
		if err := <-hung; err != nil {
			t.Error(err)
		}
		p.send(request("INVITE", "sip:202@192.0.2.1", "d", 1, desk))
		for p.next(time.Minute) != "" { // until the rig gives up
		}
		if got := b.of(timeline.ServiceOddity); !slices.Equal(got, []string{"no ACK of 200"}) {
			t.Errorf("oddities %q", got)
		}
	})
}

func TestCallToNobody(t *testing.T) {
	b := newBench(t)
	s, _ := b.start()
	if _, err := s.Call(t.Context(), "201"); !errors.Is(err, sipd.ErrNotRegistered) {
		t.Errorf("got %v, want not registered", err)
	}
}

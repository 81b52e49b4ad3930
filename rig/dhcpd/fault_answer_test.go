package dhcpd

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

func TestADuplicatedAnswerIsTheSameEveryTime(t *testing.T) {
	frames, events, ledger := spoilt(t, selects(), fault.On("ACK").Do(Duplicate{Copies: 2}))
	fires(t, events, ledger)
	if len(frames) != 3 || !bytes.Equal(frames[0], frames[1]) || !bytes.Equal(frames[0], frames[2]) {
		t.Errorf("sent %x", frames)
	}
	want := []timeline.Kind{timeline.FaultFired, timeline.DHCPAck, timeline.DHCPAck, timeline.DHCPAck}
	if got := kinds(events); !slices.Equal(got, want) {
		t.Errorf("recorded %v, want %v", got, want)
	}
	if got := events[3].Reason; got != "SELECTING 192.0.2.10: ACK, copy 2" {
		t.Errorf("recorded %q", got)
	}
}

func TestCopiesAreApartAndLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _, plan := bench(t, lease())
		plan.Add(fault.On("REQUEST").Do(Delay{D: 2 * time.Second}))
		plan.Add(fault.On("ACK").Do(Duplicate{Copies: 2, Gap: 3 * time.Second}))
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx) }() // ends with ctx
		start := time.Now()
		c.in <- frameOf(t, selects())
		for _, want := range []time.Duration{2 * time.Second, 5 * time.Second, 8 * time.Second} {
			f := <-c.out
			if r := read(t, f.Data); r.value(53) != "05" || time.Since(start) != want {
				t.Errorf("%s after %v, want an ACK after %v", r.value(53), time.Since(start), want)
			}
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestASilenceIsForOneHandsetAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, j, plan := bench(t, lease())
		if err := s.SetLease(unknown, lease()); err != nil {
			t.Fatal(err)
		}
		plan.Add(fault.On("DISCOVER").Do(Silence{For: time.Minute}).Once())
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx) }() // ends with ctx
		other := kind(1).with(func(m *msg) { m.src, m.chaddr = unknown, unknown })
		ask := func(m msg) int {
			c.in <- frameOf(t, m)
			synctest.Wait()
			return len(c.all())
		}
		if ask(kind(1)) != 0 || ask(reboots()) != 0 || ask(kind(1)) != 0 {
			t.Error("answered at once")
		}
		if ask(other) != 1 {
			t.Error("another handset is not answered")
		}
		<-time.After(time.Minute - time.Nanosecond)
		if err := s.SetLease(phone, lease()); err != nil {
			t.Fatal(err)
		}
		if ask(kind(1)) != 0 {
			t.Error("answered before the minute was over")
		}
		<-time.After(time.Nanosecond)
		synctest.Wait()
		if ask(kind(1)) != 1 {
			t.Error("not answered when the minute was over")
		}
		want := []timeline.Kind{timeline.ServiceUp, timeline.FaultFired, timeline.Note, timeline.Note, timeline.DHCPOffer, timeline.Note, timeline.DHCPOffer}
		if got := kinds(j.take()); !slices.Equal(got, want) {
			t.Errorf("recorded %v, want %v", got, want)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestASilenceEndsWithItsRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _, plan := bench(t, lease())
		plan.Add(fault.On("DISCOVER").Do(Silence{For: time.Hour}).Once())
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx) }() // ends with ctx
		ask := func() int {
			c.in <- frameOf(t, kind(1))
			synctest.Wait()
			return len(c.all())
		}
		for range 2 {
			if ask() != 0 {
				t.Error("answered at once")
			}
		}
		plan.Clear()
		plan.Add(fault.On("DISCOVER").Do(Silence{For: time.Hour}).From(9))
		if ask() != 1 {
			t.Error("not answered when the rule was no longer in force")
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func TestASilenceEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _, plan := bench(t, lease())
		plan.Add(fault.On("DISCOVER").Do(Silence{For: time.Hour}))
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx) }() // ends with ctx
		c.in <- frameOf(t, kind(1))
		synctest.Wait()
		cancel()
		start := time.Now()
		if err := <-served; err != nil || time.Since(start) != 0 {
			t.Errorf("Serve: %v after %v", err, time.Since(start))
		}
	})
}

func TestANakKeepsWhatAnotherRuleSpoils(t *testing.T) {
	frames, events, ledger := spoilt(t, reboots(), fault.On("REQUEST").Do(WrongXID{}), fault.On("ACK").Do(Nak{}))
	fires(t, events, ledger)
	if b := bootp(t, frames[0]); string(b[4:8]) != "\xfe\xfd\xfc\xfb" || string(b[240:243]) != "\x35\x01\x06" {
		t.Errorf("sent %x", b)
	}
}

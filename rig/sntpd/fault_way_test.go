package sntpd

import (
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram/memnet"
	"ip88rig/rig/fault"
)

func TestALateAnswerHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, j := serving(t, fault.On("SNTP").Do(Delay{By: time.Hour}).Once())
		began := time.Now()
		if _, ok := ask(t, phone); ok {
			t.Fatal("answered at once")
		}
		if got := len(j.kinds()); got != 2 {
			t.Errorf("%d entries before anything was sent, want those of start and fault", got)
		}
		if _, ok := ask(t, phone); !ok {
			t.Error("the next request is not answered")
		}
		d, ok := hear(t, phone, 2*time.Hour)
		if took := time.Since(began); !ok || took != time.Hour {
			t.Fatalf("answer after %v, want an hour", took)
		}
		if got := hex.EncodeToString(d.Data[40:48]); got != "bc17c20000000000" {
			t.Errorf("transmit stamp %s, want that of an hour ago", got)
		}
		if got := j.kinds(); got[len(got)-1] != timeline.SNTPResponse {
			t.Errorf("recorded %v", got)
		}
	})
}

func TestALateAnswerEndsWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, j := serving(t, fault.On("SNTP").Do(Delay{By: time.Hour}))
		if _, ok := ask(t, phone); ok {
			t.Fatal("answered at once")
		}
		t.Cleanup(func() { // runs before the server is waited for
			if got := j.kinds(); slices.Contains(got, timeline.SNTPResponse) {
				t.Errorf("recorded %v", got)
			}
		})
	})
}

func TestAnAnswerFromAnotherPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, _ := serving(t, fault.On("SNTP").Do(FromOtherPort{}).Once())
		d, ok := ask(t, phone)
		if !ok || len(d.Data) != 48 || d.From.Addr() != own.Addr() || d.From.Port() == 123 {
			t.Errorf("got %d bytes from %v, want another port of %v", len(d.Data), d.From, own)
		}
	})
}

func TestNoOtherPortIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		var plan fault.Plan
		plan.Add(fault.On("SNTP").Do(FromOtherPort{}).Once())
		n := memnet.New()
		phone := n.MustListen(t, handset.String())
		s, err := New(Config{
			Conn: socket(t, n), Record: j.record, Faults: &plan,
			Open: func(netip.Addr) (net.PacketConn, error) { return nil, net.ErrClosed },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx) }() // ends with ctx
		if d, ok := ask(t, phone); ok {
			t.Errorf("answered %x", d.Data)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		told := slices.ContainsFunc(j.events, func(e timeline.Event) bool {
			return e.Kind == timeline.ServiceOddity && e.Fields[timeline.FaultUndone] == "answers from another port"
		})
		if !told {
			t.Errorf("recorded %v, want that the fault was not done", j.events)
		}
	})
}

func TestARequestWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, j := serving(t, fault.On("SNTP").Do(Drop{}).Once())
		if d, ok := ask(t, phone); ok {
			t.Errorf("answered %x", d.Data)
		}
		if _, ok := ask(t, phone); !ok {
			t.Error("the next request is not answered")
		}
		if got := j.kinds(); !slices.Equal(got, []timeline.Kind{timeline.ServiceUp, timeline.FaultFired, timeline.SNTPResponse}) {
			t.Errorf("recorded %v", got)
		}
	})
}

func TestTheWayIsChecked(t *testing.T) {
	wrongs{
		Delay{}:                   "delay of 0s",
		Delay{By: 25 * time.Hour}: "delay of 25h",
		FromOtherPort{}:           "Open is nil",
	}.check(t)
	if err := (&Server{}).Can(Delay{By: time.Second}); err != nil {
		t.Error(err)
	}
	for effect, text := range map[Effect]string{
		Drop{}: "does not answer", Delay{By: time.Hour}: "answers 1h0m0s late", FromOtherPort{}: "answers from another port",
	} {
		if got := effect.String(); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}

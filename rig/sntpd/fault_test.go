package sntpd

import (
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram/memnet"
	"ip88rig/rig/fault"
)

// serving is a server in memory under faults, with a client of it.
func serving(t *testing.T, rules ...fault.Rule) (phone *memnet.Port, j *journal) {
	t.Helper()
	j = &journal{}
	var plan fault.Plan
	n := memnet.New()
	phone = n.MustListen(t, handset.String())
	s, err := New(Config{
		Conn: socket(t, n), Record: j.record, Faults: &plan,
		Open: func(local netip.Addr) (net.PacketConn, error) { return n.Listen(netip.AddrPortFrom(local, 0)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if err := s.Can(r.Effect()); err != nil {
			t.Fatal(err)
		}
		plan.Add(r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return phone, j
}

// ask sends a request and returns the answer that comes within a second.
func ask(t *testing.T, phone *memnet.Port) (memnet.Datagram, bool) {
	t.Helper()
	if _, err := phone.Send(request(4<<3|3), own); err != nil {
		t.Fatal(err)
	}
	return hear(t, phone, time.Second)
}

func hear(t *testing.T, phone *memnet.Port, within time.Duration) (memnet.Datagram, bool) {
	t.Helper()
	if err := phone.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	d, err := phone.Receive()
	return d, err == nil
}

// What is right, in hexadecimal: version 4, mode 4, stratum 1, poll 6; the stamp
// of a request; the time. That of the bubble begins at 2000-01-01 00:00:00 UTC,
// 0xbc17c200 seconds after 1900.
const (
	right  = "240106ec"
	origin = "e801020304050607"
	now    = "bc17c20000000000"
)

// told is what a client is told under a fault; at is both stamps.
type told struct {
	name                 string
	effect               Effect
	head, origin, at     string
	refid, why, sentence string
}

// tells holds answers against bytes written down here.
func tells(t *testing.T, cases []told) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				phone, j := serving(t, fault.On("SNTP").Do(c.effect).Once())
				d, ok := ask(t, phone)
				if !ok || len(d.Data) != 48 || d.From != own {
					t.Fatalf("got %d bytes from %v", len(d.Data), d.From)
				}
				for _, part := range []struct {
					name, want string
					got        []byte
				}{
					{"head", c.head, d.Data[:4]},
					{"origin", c.origin, d.Data[24:32]},
					{"receive", c.at, d.Data[32:40]},
					{"transmit", c.at, d.Data[40:]},
					{"reference", hex.EncodeToString([]byte(c.refid)), d.Data[12:16]},
				} {
					if got := hex.EncodeToString(part.got); got != part.want {
						t.Errorf("%s is %s, want %s", part.name, got, part.want)
					}
				}
				if e := j.last(); e.Kind != timeline.SNTPResponse || e.Reason != c.why || e.Bytes != 48 {
					t.Errorf("journal ends with %+v", e)
				}
				if got := c.effect.String(); got != c.sentence {
					t.Errorf("got %q, want %q", got, c.sentence)
				}
				if d, _ := ask(t, phone); hex.EncodeToString(d.Data[40:]) != now || hex.EncodeToString(d.Data[:4]) != right {
					t.Errorf("the next answer is %x", d.Data)
				}
			})
		})
	}
}

// wrongs are parameters that make no sense, with a part of what is said of them.
type wrongs map[fault.Effect]string

func (w wrongs) check(t *testing.T) {
	t.Helper()
	for effect, wrong := range w {
		if err := (&Server{}).Can(effect); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%v: got %v, want an error about %q", effect, err, wrong)
		}
	}
}

// spares fails unless an effect leaves an answer as it is and has not fired.
func spares(t *testing.T, effect Effect, request []byte) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		phone, j := serving(t, fault.On("SNTP").Do(effect))
		if _, err := phone.Send(request, own); err != nil {
			t.Fatal(err)
		}
		if _, ok := hear(t, phone, time.Second); !ok {
			t.Fatal("no answer")
		}
		if got := j.kinds(); !slices.Equal(got, []timeline.Kind{timeline.ServiceUp, timeline.SNTPResponse}) {
			t.Errorf("%s: recorded %v", effect, got)
		}
	})
}

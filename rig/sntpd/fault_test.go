package sntpd

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/beevik/ntp"

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

// TestFaultsOnTheWire holds answers against bytes written down here. Time in
// the bubble begins at 2000-01-01 00:00:00 UTC, 0xbc17c200 seconds after 1900.
func TestFaultsOnTheWire(t *testing.T) {
	const (
		right  = "240106ec" // version 4, mode 4, stratum 1, poll 6
		now    = "bc17c20000000000"
		origin = "e801020304050607"
	)
	utc := func(year int, month time.Month, day, hour, minute, second int) SetTo {
		return SetTo{At: time.Date(year, month, day, hour, minute, second, 0, time.UTC)}
	}
	for _, c := range []struct {
		name                 string
		effect               Effect
		head, origin, at     string // at is both stamps
		refid, why, sentence string
	}{
		{"1900", utc(1900, 1, 1, 0, 0, 0), right, origin, "0000000000000000", "LOCL", "", "tells that it is 1900-01-01T00:00:00Z"},
		{"1970", utc(1970, 1, 1, 0, 0, 0), right, origin, "83aa7e8000000000", "LOCL", "", "tells that it is 1970-01-01T00:00:00Z"},
		{"the last second of era 0", utc(2036, 2, 7, 6, 28, 15), right, origin, "ffffffff00000000", "LOCL", "", "tells that it is 2036-02-07T06:28:15Z"},
		{"one second into era 1", utc(2036, 2, 7, 6, 28, 17), right, origin, "0000000100000000", "LOCL", "", "tells that it is 2036-02-07T06:28:17Z"},
		{"years off", Offset{D: 10 * 366 * 24 * time.Hour}, right, origin, "cef0f40000000000", "LOCL", "", "tells a time that is off by 87840h0m0s"},
		{"leap indicator 3", Unsynchronised{Leap: 3, Stratum: 1}, "e40106ec", origin, now, "LOCL", "not synchronised", "says that it is not synchronised: leap indicator 3, stratum 1"},
		{"stratum 16", Unsynchronised{Stratum: 16}, "241006ec", origin, now, "LOCL", "not synchronised", "says that it is not synchronised: leap indicator 0, stratum 16"},
		{"stratum 0", Unsynchronised{Leap: 3}, "e40006ec", origin, now, "INIT", "not synchronised", "says that it is not synchronised: leap indicator 3, stratum 0"},
		{"kiss-of-death", KissOfDeath{Code: "DENY"}, "e40006ec", origin, now, "DENY", "kiss-of-death DENY", "answers kiss-of-death DENY"},
		{"a client's mode", WrongMode{Mode: 3}, "230106ec", origin, now, "LOCL", "", "answers in mode 3"},
		{"a broadcast", WrongMode{Mode: 5}, "250106ec", origin, now, "LOCL", "", "answers in mode 5"},
		{"version 7", WrongVersion{Version: 7}, "3c0106ec", origin, now, "LOCL", "", "answers with version 7"},
		{"the stamp of another request", WrongOrigin{}, right, "e801020204050607", now, "LOCL", "", "answers with the origin stamp of another request"},
		{"no origin stamp", WrongOrigin{Zero: true}, right, "0000000000000000", now, "LOCL", "", "answers with an origin stamp of zero"},
	} {
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

func TestTimeGoesOnFromWhatWasSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, j := serving(t, fault.On("SNTP").Do(StepBack{By: time.Hour}).Once())
		stamp := func() uint32 {
			d, ok := ask(t, phone)
			if !ok {
				t.Fatal("no answer")
			}
			return binary.BigEndian.Uint32(d.Data[40:])
		}
		first := stamp()
		time.Sleep(10 * time.Minute) //nolint:forbidigo // time of the bubble
		if got := stamp(); got != first-3600 {
			t.Errorf("told %d, want an hour before %d", got, first)
		}
		if got := stamp(); got != first+600 {
			t.Errorf("told %d, want the right time again, %d", got, first+600)
		}
		if got := j.kinds(); !slices.Equal(got, []timeline.Kind{timeline.ServiceUp, timeline.SNTPResponse, timeline.FaultFired, timeline.SNTPResponse, timeline.SNTPResponse}) {
			t.Errorf("recorded %v", got)
		}
	})
}

func TestAStepBackWaitsForAnAnswerBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, j := serving(t, fault.On("SNTP").Do(StepBack{By: time.Hour}).Once())
		for range 3 {
			if _, ok := ask(t, phone); !ok {
				t.Fatal("no answer")
			}
		}
		if got := j.kinds(); len(got) != 5 || got[2] != timeline.FaultFired {
			t.Errorf("recorded %v, want the fault before the second answer", got)
		}
	})
}

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

func TestACutAnswerAndOneFromAnotherPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		phone, j := serving(t, fault.On("SNTP").Do(Truncated{To: 47}).Once(), fault.On("SNTP").Do(FromOtherPort{}).Once())
		whole := []byte{0x24, 1, 6, 0xec}
		d, ok := ask(t, phone)
		if !ok || len(d.Data) != 47 || !bytes.HasPrefix(d.Data, whole) {
			t.Errorf("got %x, want 47 bytes", d.Data)
		}
		if e := j.last(); e.Bytes != 47 {
			t.Errorf("journal has %d bytes", e.Bytes)
		}
		d, ok = ask(t, phone)
		if !ok || len(d.Data) != 48 || d.From.Addr() != own.Addr() || d.From.Port() == 123 {
			t.Errorf("got %d bytes from %v, want another port of %v", len(d.Data), d.From, own)
		}
	})
}

func TestEffectsAreChecked(t *testing.T) {
	s := &Server{}
	for _, c := range []struct {
		effect fault.Effect
		wrong  string
	}{
		{SetTo{}, "needs a time"},
		{StepBack{}, "step back of 0s"},
		{StepBack{By: maxStep + 1}, "step back of"},
		{Unsynchronised{Leap: 4, Stratum: 16}, "leap indicator 4"},
		{Unsynchronised{Stratum: 256}, "stratum 256"},
		{Unsynchronised{Leap: 1, Stratum: 3}, "is that of a synchronised server"},
		{WrongMode{Mode: 4}, "mode 4"},
		{WrongMode{Mode: 8}, "mode 8"},
		{WrongVersion{Version: -1}, "version -1"},
		{Truncated{To: 48}, "48 bytes"},
		{Delay{}, "delay of 0s"},
		{Delay{By: 25 * time.Hour}, "delay of 25h"},
		{FromOtherPort{}, "Open is nil"},
	} {
		if err := s.Can(c.effect); err == nil || !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%v: got %v, want an error about %q", c.effect, err, c.wrong)
		}
	}
	for _, e := range []fault.Effect{Delay{By: time.Second}, WrongMode{Mode: 0}, Truncated{}, Unsynchronised{Stratum: 255}, StepBack{By: time.Hour}} {
		if err := s.Can(e); err != nil {
			t.Errorf("%v: %v", e, err)
		}
	}
	for effect, text := range map[Effect]string{
		Delay{By: time.Hour}: "answers 1h0m0s late", FromOtherPort{}: "answers from another port",
		Truncated{To: 7}: "cuts the answer to 7 bytes", StepBack{By: time.Hour}: "tells a time 1h0m0s before the last one",
	} {
		if got := effect.String(); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}

// TestAForeignClientRefusesTheAnswer has beevik/ntp, which nobody here wrote,
// ask over loopback and judge.
func TestAForeignClientRefusesTheAnswer(t *testing.T) {
	for _, c := range []struct {
		effect Effect
		query  error // of the exchange
		valid  error // of what was told
	}{
		{Offset{D: time.Hour}, nil, nil},
		{KissOfDeath{Code: "RATE"}, nil, ntp.ErrKissOfDeath},
		{Unsynchronised{Leap: 3, Stratum: 1}, nil, ntp.ErrInvalidLeapSecond},
		{Unsynchronised{Stratum: 16}, nil, ntp.ErrInvalidStratum},
		{WrongMode{Mode: 5}, ntp.ErrInvalidMode, nil},
		{WrongOrigin{}, ntp.ErrServerResponseMismatch, nil},
		{SetTo{At: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)}, ntp.ErrInvalidTransmitTime, nil},
	} {
		t.Run(c.effect.String(), func(t *testing.T) {
			conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var j journal
			var plan fault.Plan
			plan.Add(fault.On("SNTP").Do(c.effect))
			base := time.Now().Truncate(time.Second)
			s, err := New(Config{Conn: conn, Record: j.record, Faults: &plan, Now: func() time.Time { return base }})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- s.Serve(ctx) }() // ends with ctx
			got, err := ntp.QueryWithOptions(conn.LocalAddr().String(), ntp.QueryOptions{Timeout: 5 * time.Second})
			cancel()
			if e := <-served; e != nil {
				t.Errorf("Serve: %v", e)
			}
			if !errors.Is(err, c.query) || (err == nil) != (c.query == nil) {
				t.Fatalf("the client says %v, want %v", err, c.query)
			}
			if c.query != nil {
				return
			}
			if err := got.Validate(); !errors.Is(err, c.valid) {
				t.Errorf("the client says %v, want %v", err, c.valid)
			}
		})
	}
}

package sntpd

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/beevik/ntp"

	"ip88rig/rig/fault"
)

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

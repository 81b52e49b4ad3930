package rig

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/control"
	"ip88rig/rig/impair"
)

// slow is an access point whose commands take their time, unless they are cut off.
type slow struct {
	do, undo time.Duration
	fails    error
	did      []string
}

var _ control.AccessPoint = (*slow)(nil)

func (*slow) Can(control.AirDeed) error { return nil }

func (s *slow) Do(ctx context.Context, deed control.AirDeed) error {
	return errors.Join(s.run(ctx, s.do, string(deed)), s.fails)
}

func (s *slow) Undo(ctx context.Context, deed control.AirDeed) error {
	return s.run(ctx, s.undo, "undo "+string(deed))
}

func (s *slow) run(ctx context.Context, takes time.Duration, what string) error {
	if !pause(ctx, takes) {
		s.did = append(s.did, what+", killed")
		return ctx.Err()
	}
	s.did = append(s.did, what)
	return nil
}

// never is a command that hangs.
const never = 24 * time.Hour

func TestADeedOfTheAccessPointThatIsBrokenOff(t *testing.T) {
	t.Parallel()
	const (
		late    = "the access point had not yet done restart when the cycle was over"
		wrong   = "what the access point was asked for went wrong: "
		killed  = "cut off, because the deed was broken off and it took too long: context canceled"
		undone  = "restart is not undone: " + killed
		refused = "no radio"
	)
	calm := func(d *deeds, _ context.CancelFunc) { d.end() }
	closes := func(d *deeds, _ context.CancelFunc) { d.close() }
	interrupt := func(d *deeds, cancel context.CancelFunc) { cancel(); d.end() }
	for _, tt := range []struct {
		name string
		ap   slow
		// after is when it ends, takes how long it does.
		after  time.Duration
		by     func(d *deeds, cancel context.CancelFunc)
		takes  time.Duration
		prompt bool
		did    []string
		told   []string
	}{
		{"done in time", slow{do: time.Second, undo: time.Second}, 2 * time.Second, calm, time.Second, false, []string{"restart", "undo restart"}, nil},
		{"in memory", slow{}, 2 * time.Second, calm, 0, true, []string{"restart", "undo restart"}, nil},
		{"over by itself", slow{do: 4 * time.Minute, undo: 4 * time.Minute}, time.Hour, calm, 0, false, []string{"restart", "undo restart"}, nil},
		{"too late, and let run", slow{do: 4 * time.Minute, undo: time.Second}, time.Minute, calm, 3*time.Minute + time.Second, false, []string{"restart", "undo restart"}, []string{late}},
		{"too late, and fails", slow{do: 4 * time.Minute, fails: errors.New(refused)}, time.Minute, calm, 3 * time.Minute, false, []string{"restart", "undo restart"}, []string{late, wrong + refused}},
		{"not undone", slow{undo: never}, 2 * time.Second, calm, time.Minute, false, []string{"restart", "undo restart, killed"}, []string{wrong + undone}},
		{"broken off while undone", slow{undo: never}, 2 * time.Minute, calm, time.Minute, false, []string{"restart", "undo restart, killed"}, []string{wrong + undone}},
		{"late at close", slow{do: never}, time.Second, closes, 30 * time.Second, false, []string{"restart, killed", "undo restart"}, []string{wrong + killed}},
		{"hung at close", slow{do: never, undo: never}, time.Second, closes, time.Minute, false, []string{"restart, killed", "undo restart, killed"}, []string{wrong + killed + "; " + undone}},
		{"hung at an interrupt", slow{do: never, undo: never}, time.Second, interrupt, time.Minute, false, []string{"restart, killed", "undo restart, killed"}, []string{late, wrong + killed + "; " + undone}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var d deeds
				var told []string
				over := 0
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				d.ask(ctx, request{
					Air: impair.Air{Does: impair.Restart, For: time.Minute, Back: 20 * time.Second},
					of:  &tt.ap, prompt: tt.prompt,
					tell: func(s string) { told = append(told, s) },
					over: func() { over++ },
				})
				pause(t.Context(), tt.after)
				began := time.Now()
				tt.by(&d, cancel)
				if took := time.Since(began); took != tt.takes {
					t.Errorf("it took %v, want %v", took, tt.takes)
				}
				if !slices.Equal(tt.ap.did, tt.did) {
					t.Errorf("did %q, want %q", tt.ap.did, tt.did)
				}
				if !slices.Equal(told, tt.told) {
					t.Errorf("told %q, want %q", told, tt.told)
				}
				if over != 1 {
					t.Errorf("it was over %d times", over)
				}
			})
		})
	}
}

func TestNoDeedOfTheAccessPointBeginsOnceAllAreClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d deeds
		var told []string
		ap := &slow{}
		d.close()
		d.close() // again, as who opens a lane in vain may
		d.ask(t.Context(), request{Air: impair.Air{Does: impair.Roam, Back: time.Second}, of: ap, tell: func(s string) { told = append(told, s) }, over: func() {}})
		d.end()
		if want := []string{"undo roam"}; !slices.Equal(ap.did, want) {
			t.Errorf("did %q, want %q", ap.did, want)
		}
		if len(told) > 0 {
			t.Errorf("told %q of a lane that is closed", told)
		}
	})
}

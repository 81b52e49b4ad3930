package pipe_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/pipe"
)

func TestEachSpecIsDealtOnce(t *testing.T) {
	d := pipe.NewDealer()
	var mu sync.Mutex
	var got []string
	var wg sync.WaitGroup
	for lane := range 3 {
		wg.Go(func() {
			for n := range 50 {
				spec := fmt.Sprintf("spec %02d", n)
				a, err := d.Deal(t.Context(), lane, pipe.Take{Number: n + 1, Spec: spec, Rows: []string{"ORD-01"}})
				if err != nil || a.Number != n+1 {
					t.Errorf("lane %d: %+v, %v", lane, a, err)
				}
				if a.Taken {
					mu.Lock()
					got = append(got, spec)
					mu.Unlock()
				}
			}
			d.Over(lane)
		})
	}
	wg.Wait()
	slices.Sort(got)
	if len(got) != 50 || len(slices.Compact(got)) != 50 {
		t.Errorf("dealt %d of 50 specs: %q", len(got), got)
	}
}

// deal asks for a spec and says when it was dealt.
func deal(ctx context.Context, d *pipe.Dealer, lane int, t pipe.Take) <-chan pipe.Down {
	out := make(chan pipe.Down, 1)
	go func() { // ends with the answer
		if a, err := d.Deal(ctx, lane, t); err == nil {
			out <- a
		}
		close(out)
	}()
	return out
}

func TestASpecWaitsWhileARowThatItStandsOnIsJudged(t *testing.T) {
	for name, over := range map[string]func(d *pipe.Dealer){
		"until that lane asks for another": func(d *pipe.Dealer) {
			deal(t.Context(), d, 1, pipe.Take{Spec: "next", Broken: map[string]string{"XPT-05 https": "no TLS"}})
		},
		"until that lane has ended": func(d *pipe.Dealer) { d.Over(1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := pipe.NewDealer()
				if a := <-deal(t.Context(), d, 1, pipe.Take{Spec: "first", Rows: []string{"ORD-01", "XPT-05"}}); !a.Taken {
					t.Fatal("the first one was not dealt")
				}
				same := deal(t.Context(), d, 2, pipe.Take{Spec: "beside it", Stands: []string{"TLS-08"}})
				if a := <-same; !a.Taken {
					t.Error("one that stands on other rows was not dealt beside it")
				}
				later := deal(t.Context(), d, 2, pipe.Take{Spec: "later", Stands: []string{"XPT-05"}})
				synctest.Wait()
				select {
				case a := <-later:
					t.Fatalf("dealt while the row is judged: %+v", a)
				default:
				}
				over(d)
				a := <-later
				if !a.Taken {
					t.Errorf("not dealt: %+v", a)
				}
				if name == "until that lane asks for another" && a.Broken["XPT-05 https"] != "no TLS" {
					t.Errorf("what the other lane has failed is not told: %+v", a)
				}
			})
		})
	}
}

func TestASpecThatWasTakenAndNeverToldIsLost(t *testing.T) {
	d := pipe.NewDealer()
	for _, spec := range []string{"b", "told", "a"} {
		if a, err := d.Deal(t.Context(), 1, pipe.Take{Spec: spec, Rows: []string{"ORD-01"}}); err != nil || !a.Taken {
			t.Fatalf("%s: %+v, %v", spec, a, err)
		}
	}
	d.Told("told")
	d.Over(1)
	got := d.Lost()
	if len(got) != 2 || got[0].Spec != "a" || got[1].Spec != "b" || !slices.Equal(got[0].Rows, []string{"ORD-01"}) {
		t.Errorf("lost %+v, want a and b", got)
	}
}

func TestADealEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pipe.NewDealer()
		<-deal(t.Context(), d, 1, pipe.Take{Spec: "first", Rows: []string{"ORD-01", "XPT-05"}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if a, err := d.Deal(ctx, 2, pipe.Take{Spec: "second", Stands: []string{"ORD-01"}}); !errors.Is(err, context.DeadlineExceeded) || a.Taken {
			t.Errorf("%+v, %v", a, err)
		}
		d.Over(1)
		if a := <-deal(t.Context(), d, 3, pipe.Take{Spec: "second"}); !a.Taken {
			t.Error("what was not dealt is gone")
		}
	})
}

func TestALaneTakesASpec(t *testing.T) {
	upR, upW := io.Pipe()
	downR, downW := io.Pipe()
	defer func() { _ = downW.Close() }()
	lane := pipe.NewLane(upW, downR)
	d := pipe.NewDealer()
	read := make(chan error, 1)
	go func() { // ends with its pipe
		answers := json.NewEncoder(downW)
		read <- pipe.Read(upR, func(u pipe.Up) error {
			a, err := d.Deal(t.Context(), 1, *u.Take)
			return errors.Join(err, answers.Encode(a))
		})
	}()
	for n, want := range []bool{true, false} {
		mine, others, err := lane.Take(t.Context(), pipe.Take{Spec: "a spec", Broken: map[string]string{"ORD-01 tftp": "why"}})
		if err != nil || mine != want || want && others["ORD-01 tftp"] != "why" {
			t.Errorf("time %d: %t, %v, %v", n+1, mine, others, err)
		}
	}
	if err := errors.Join(upW.Close(), <-read); err != nil {
		t.Error(err)
	}
}

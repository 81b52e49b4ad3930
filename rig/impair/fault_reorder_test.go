package impair_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
	"ip88rig/rig/wire"
)

// A frame that is held back counts once another of its direction went past it,
// and is told in any case: it was late.
func TestReorderCountsWhatWasOvertaken(t *testing.T) {
	const ms = time.Millisecond
	reorder := toHandset().Do(impair.Reorder{Every: 3, By: ms})
	for _, tt := range []struct {
		name  string
		rules []fault.Rule
		apart time.Duration
		out   string
		fired int
		sum   string // of the journal, when all is over
	}{
		{"those behind it come at once", []fault.Rule{reorder}, 0, "..[1ms]..[1ms]..", 2, "2 times in all"},
		{"nothing comes behind the last", []fault.Rule{reorder}, 0, "..[1ms]..[1ms]", 1, ""},
		{"in lock-step, each comes when the one before has arrived", []fault.Rule{reorder}, ms, "..[1ms]..[1ms]..", 0, "0 times in all"},
		{"just in time", []fault.Rule{reorder}, ms - 1, "..[1ms]..[1ms]..", 2, "2 times in all"},
		{"once", []fault.Rule{reorder.Once()}, 0, "..[1ms].....", 1, ""},
		{"once, and none is overtaken", []fault.Rule{reorder.Once()}, ms, "..[1ms]..[1ms]..", 0, "0 times in all"},
		{"all behind it are lost", []fault.Rule{reorder, toHandset().Do(impair.Lose{}).From(4)}, 0, "..[1ms]xxxxx", 0, "0 times in all"},
		{"all behind it are as late", []fault.Rule{reorder, toHandset().Do(impair.Delay{D: ms}).From(4)}, 0, "..[1ms][1ms][1ms][2ms]", 0, "0 times in all"},
		{"all are as late", []fault.Rule{reorder, toHandset().Do(impair.Delay{D: ms})}, 0, "[1ms][1ms][2ms][1ms]", 1, ""},
		{"frames of another direction", []fault.Rule{fault.On(impair.FromHandset).Do(impair.Reorder{Every: 3, By: ms})}, 0, "......", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBad(t, tt.rules...)
				got := ""
				for len(got) < len(tt.out) {
					got += b.fates(true, 1)
					<-time.After(tt.apart)
				}
				if got != tt.out {
					t.Errorf("%s, want %s", got, tt.out)
				}
				for _, c := range b.plan.Ledger() {
					if _, is := strings.CutPrefix(c.Rule.Effect().String(), "holds each 3."); is && c.Fired != tt.fired {
						t.Errorf("%s: fired %d times, want %d", c.Rule, c.Fired, tt.fired)
					}
				}
				b.Sum()
				late, sum := 0, ""
				for _, e := range b.journal {
					if !strings.Contains(e.Reason, "holds each 3.") {
						continue
					}
					if e.Fields[impair.Did] == impair.Late {
						late++
						continue
					}
					sum = e.Reason[strings.LastIndex(e.Reason, ": ")+2:]
				}
				if want := min(1, strings.Count(tt.out, "[")); late != want || sum != tt.sum {
					t.Errorf("the journal tells of %d flows and sums up %q, want %d and %q: %+v", late, sum, want, tt.sum, b.journal)
				}
			})
		})
	}
}

// What counts as overtaken arrives so, and what does not arrives as it was sent.
func TestReorderOnASwitch(t *testing.T) {
	for _, tt := range []struct {
		name  string
		apart time.Duration
		want  []string
		fired int
	}{
		{"at once", 0, []string{"0", "2", "4", "1", "3"}, 2},
		{"in lock-step", time.Minute, []string{"0", "1", "2", "3", "4"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sw := wire.NewSwitch()
				b := newBad(t, toHandset().Do(impair.Reorder{Every: 2, By: time.Second}))
				port := wire.Impair(sw.Access("rig", 1), func(int, bool, time.Time, []byte, ...string) int { return 0 }, b.Judge)
				phone := sw.Access("handset", 1)
				for i := range len(tt.want) {
					if err := port.Send(wire.Frame{Data: data(fmt.Sprint(i))}); err != nil {
						t.Fatal(err)
					}
					<-time.After(tt.apart)
				}
				var got []string
				for range tt.want {
					f, err := phone.Receive(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(f.Data[len(f.Data)-1]))
				}
				if fired := b.plan.Ledger()[0].Fired; !slices.Equal(got, tt.want) || fired != tt.fired {
					t.Errorf("got %q, fired %d times, want %q, %d times", got, fired, tt.want, tt.fired)
				}
				if err := port.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestReorderSaysWhatItDoes(t *testing.T) {
	says(t, []said{
		{impair.Reorder{Every: 2, By: time.Second}, "holds each 2. back by 1s, past those behind it", ""},
		{impair.Reorder{Every: 1, By: time.Second}, "", "each second or less often"},
		{impair.Reorder{Every: 2}, "", "by more than 0"},
	})
}

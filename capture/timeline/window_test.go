package timeline

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// at makes a note at so many seconds after the start.
func at(seconds int, k Kind) Event {
	return Event{At: start().Add(time.Duration(seconds) * time.Second), By: "test", Kind: k}
}

func seqs(v View) []int {
	out := []int{}
	for e := range v.Events.All() {
		out = append(out, e.Seq)
	}
	return out
}

func sec(n int) time.Duration { return time.Duration(n) * time.Second }

func TestWindows(t *testing.T) {
	const x, y, z Kind = "x", "y", "z"
	for name, c := range map[string]struct {
		events    []Event
		spec      WindowSpec
		watermark int // seconds
		want      []int
		anchored  bool
		closed    bool
		missing   string
		from      int
	}{
		"everything behind the anchor belongs": {
			events: []Event{at(0, x), at(1, x), at(2, y)}, spec: WindowSpec{From: 1}, watermark: 100, want: []int{2, 3}, anchored: true, from: 1,
		},
		"an event at the bound belongs, one behind does not": {
			events: []Event{at(0, x), at(5, y), at(6, y)}, spec: WindowSpec{From: 1, Within: sec(5)}, watermark: 5, want: []int{2}, anchored: true, from: 1,
		},
		"a watermark at the bound does not close": {
			events: []Event{at(0, x)}, spec: WindowSpec{From: 1, Within: sec(5)}, watermark: 5, want: []int{}, anchored: true, from: 1,
		},
		"a watermark behind the bound closes": {
			events: []Event{at(0, x)}, spec: WindowSpec{From: 1, Within: sec(5)}, watermark: 6, want: []int{}, anchored: true, closed: true, from: 1,
		},
		"an event that stands behind a later one still belongs": {
			events: []Event{at(0, x), at(3, x), at(9, x), at(4, y), at(10, x), at(5, y)}, spec: WindowSpec{From: 1, Within: sec(5)}, watermark: 5,
			want: []int{2, 4, 6}, anchored: true, from: 1,
		},
		"an event that stands behind the anchor belongs although it is stamped before": {
			events: []Event{at(3, x), at(2, y)}, spec: WindowSpec{From: 1, Within: sec(5)}, want: []int{2}, anchored: true, from: 1,
		},
		"from the beginning counts from the first event": {
			events: []Event{at(3, x), at(7, x), at(9, x)}, spec: WindowSpec{Within: sec(4)}, watermark: 8, want: []int{1, 2}, anchored: true, closed: true,
		},
		"the beginning of nothing has not come": {
			spec: WindowSpec{Within: sec(4)}, watermark: 100, want: []int{}, missing: "the event that the window begins at",
		},
		"an anchor yet to come": {
			events: []Event{at(0, x)}, spec: WindowSpec{From: 2, Within: sec(1)}, watermark: 100, want: []int{}, missing: "the event that the window begins at",
		},
		"behind a fact": {
			events: []Event{at(0, x), at(1, y), at(2, z), at(3, y)}, spec: WindowSpec{From: 1, Steps: []Step{{After: FactKind(y)}}}, watermark: 9,
			want: []int{3, 4}, anchored: true, from: 2,
		},
		"the fact itself may not be the anchor before": {
			events: []Event{at(0, y), at(1, y), at(2, z)}, spec: WindowSpec{From: 1, Steps: []Step{{After: FactKind(y)}}},
			want: []int{3}, anchored: true, from: 2,
		},
		"the bound counts from the fact": {
			events: []Event{at(0, x), at(4, y), at(9, x), at(10, x)}, spec: WindowSpec{From: 1, Steps: []Step{{Within: sec(5), After: FactKind(y)}}, Within: sec(5)}, watermark: 10,
			want: []int{3}, anchored: true, closed: true, from: 2,
		},
		"a fact behind the parent's bound does not count": {
			events: []Event{at(0, x), at(6, y), at(7, x)}, spec: WindowSpec{From: 1, Steps: []Step{{Within: sec(5), After: FactKind(y)}}}, watermark: 5,
			want: []int{}, missing: "y",
		},
		"a parent that closed without the fact closes the child": {
			events: []Event{at(0, x)}, spec: WindowSpec{From: 1, Steps: []Step{{Within: sec(5), After: FactKind(y)}}}, watermark: 6,
			want: []int{}, closed: true, missing: "y (within 5s)",
		},
		"steps are taken one by one": {
			events: []Event{at(0, x), at(1, z), at(2, y), at(3, z), at(4, x)}, spec: WindowSpec{From: 1, Steps: []Step{{After: FactKind(y)}, {After: FactKind(z)}}},
			want: []int{5}, anchored: true, from: 4,
		},
		"the second fact is missing": {
			events: []Event{at(0, x), at(2, y), at(9, x)}, spec: WindowSpec{From: 1, Steps: []Step{{Within: sec(5), After: FactKind(y)}, {Within: sec(5), After: FactKind(z)}}}, watermark: 8,
			want: []int{}, closed: true, missing: "z (within 5s)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tl := New(Config{})
			w := tl.WindowAt(c.spec)
			for _, e := range c.events {
				tl.Add(e)
				w.View() // the answer does not depend on having looked before
			}
			tl.Advance(start().Add(sec(c.watermark)))
			for how, v := range map[string]View{"live": w.View(), "again": w.ViewAt(tl.Len(), tl.Watermark()), "rebuilt": tl.WindowAt(w.Spec()).View()} {
				if got := seqs(v); !slices.Equal(got, c.want) {
					t.Errorf("%s: events %v, want %v", how, got, c.want)
				}
				if v.Anchored != c.anchored || v.Closed != c.closed || v.Missing != c.missing || v.From != c.from {
					t.Errorf("%s: anchored %v, closed %v, missing %q, from %d; want %v, %v, %q, %d", how, v.Anchored, v.Closed, v.Missing, v.From, c.anchored, c.closed, c.missing, c.from)
				}
			}
		})
	}
}

func TestWindowsAreMadeOfWindows(t *testing.T) {
	tl := New(Config{})
	tl.Add(at(0, Verb))
	boot := tl.Mark()
	up := boot.Within(sec(10)).After(FactRebooted()).Within(sec(20)).After(FactRegistered()).Within(sec(30))
	want := WindowSpec{From: 1, Within: sec(30), Steps: []Step{{Within: sec(10), After: FactRebooted()}, {Within: sec(20), After: FactRegistered()}}}
	if got := up.Spec(); !reflect.DeepEqual(got, want) {
		t.Errorf("spec %+v, want %+v", got, want)
	}
	if got := boot.Spec(); !reflect.DeepEqual(got, WindowSpec{From: 1}) {
		t.Errorf("the parent was changed into %+v", got)
	}
	if got := boot.Within(sec(5)).Within(sec(7)).Spec().Within; got != sec(7) {
		t.Errorf("the bound is %v, want the last one told, 7s", got)
	}
	b, err := json.Marshal(up.Spec())
	if err != nil {
		t.Fatal(err)
	}
	var back WindowSpec
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("through JSON: %+v, %v, want %+v", back, err, want)
	}
}

func TestAViewIsNotChangedByWhatComesLater(t *testing.T) {
	tl := New(Config{})
	tl.Add(at(0, "x"))
	w := tl.WindowAt(WindowSpec{})
	tl.Add(at(1, "y"))
	v := w.View()
	for i := range 100 {
		tl.Add(at(i, "z"))
	}
	if v.Events.Len() != 2 || v.Events.At(1).Kind != "y" || v.Upto != 2 || tl.Events()[2].Kind != "z" {
		t.Errorf("the view now shows %v", v.Events.List())
	}
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := New(Config{})
		tl.Add(at(0, Verb))
		w := tl.Mark().Within(sec(10))

		var got Event
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { got, err = w.Await(t.Context(), FactKind("y")) }) // ends with the event
		synctest.Wait()
		tl.Add(at(1, "x"))
		synctest.Wait()
		tl.Add(at(2, "y"))
		wg.Wait()
		if err != nil || got.Seq != 3 {
			t.Errorf("awaited event %d, %v; want event 3", got.Seq, err)
		}

		wg.Go(func() { _, err = w.Await(t.Context(), FactAsked("a.cfg")) }) // ends as the window closes
		synctest.Wait()
		tl.Advance(start().Add(sec(10)))
		synctest.Wait()
		if !strings.Contains(describe(tl.Events()), "y") || err != nil {
			t.Errorf("ended before the window closed: %v", err)
		}
		tl.Advance(start().Add(sec(11)))
		wg.Wait()
		if want := "not seen: asked a.cfg within 10s\n"; err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "handset") {
			t.Errorf("error %q, want one that begins %q and holds a ladder", err, want)
		}

		_, err = w.After(FactRebooted()).Await(t.Context(), FactRegistered())
		if want := "not seen: registered, because rebooted (within 10s) was not reached before"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %q, want one that begins %q", err, want)
		}

		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped by hand")
		wg.Go(func() { _, err = tl.Mark().Await(ctx, FactKind(Bound)) }) // ends with ctx
		synctest.Wait()
		cancel(stopped)
		wg.Wait()
		if !errors.Is(err, stopped) || !strings.Contains(err.Error(), "not seen: bound: stopped by hand") {
			t.Errorf("error %q, want one that wraps %q", err, stopped)
		}
	})
}

func TestBriefLeavesBlocksOut(t *testing.T) {
	s := newScript(func(s *script) {
		s.journal("test", Verb)
		s.fetch("a", 2001)
		s.rrq("b", 2002)
		s.data("b", 2002, 1)
		s.tftpAck("b", 2002, 1, false)
		s.journal("test", FramesLost)
	})
	v := s.fold().Since(1).View()
	var got []Kind
	for e := range v.Brief.All() {
		got = append(got, e.Kind)
	}
	if want := []Kind{TFTPRead, Asked, TFTPAck, Fetched, TFTPRead, Asked, FramesLost}; !slices.Equal(got, want) {
		t.Errorf("brief %q, want %q", got, want)
	}
	if v.Spoilt != "frames lost" {
		t.Errorf("spoilt %q, want %q", v.Spoilt, "frames lost")
	}
}

func TestTheWatermarkNeverMovesBackAndAddsNothing(t *testing.T) {
	tl := New(Config{})
	tl.Add(at(0, "x"))
	changed := tl.Changed()
	tl.Advance(start().Add(sec(5)))
	select {
	case <-changed:
	default:
		t.Error("Advance woke nobody")
	}
	changed = tl.Changed()
	tl.Advance(start().Add(sec(4)))
	select {
	case <-changed:
		t.Error("an Advance backwards woke somebody")
	default:
	}
	if got := tl.Watermark(); !got.Equal(start().Add(sec(5))) || tl.Len() != 1 {
		t.Errorf("watermark %v with %d events, want %v with 1", got, tl.Len(), start().Add(sec(5)))
	}
}

func TestViewsAreTheSameLiveAndAgain(t *testing.T) {
	s := goodBoot()
	tl := New(Config{HandsetMACs: []string{phone}})
	spec := WindowSpec{From: 1, Steps: []Step{{Within: sec(30), After: FactBooted()}, {Within: sec(40), After: FactFetched("b")}}, Within: sec(6)}
	w := tl.WindowAt(spec)
	type look struct {
		upto      int
		watermark time.Time
		view      View
	}
	var looks []look
	for i, e := range s.events {
		tl.Add(e)
		if i%2 == 0 {
			tl.Advance(e.At)
		}
		looks = append(looks, look{tl.Len(), tl.Watermark(), w.View()})
	}
	offline := New(Config{HandsetMACs: []string{phone}})
	for _, e := range s.events {
		offline.Add(e)
	}
	// A log may share more than it shows.
	plain := func(v View) View {
		v.Events, v.Brief, v.All = LogOf(v.Events.List()...), LogOf(v.Brief.List()...), LogOf(v.All.List()...)
		return v
	}
	for _, l := range looks {
		if again := plain(offline.WindowAt(spec).ViewAt(l.upto, l.watermark)); !reflect.DeepEqual(again, plain(l.view)) {
			t.Fatalf("with %d events: again\n%+v\nlive\n%+v", l.upto, again, l.view)
		}
	}
}

func TestFactsMatch(t *testing.T) {
	for name, c := range map[string]struct {
		fact Fact
		e    Event
		want bool
	}{
		"by kind":            {FactKind(SNTPResponse), Event{Kind: SNTPResponse}, true},
		"not by another":     {FactKind(SNTPResponse), Event{Kind: SNTPRequest}, false},
		"any file":           {FactAsked(), Event{Kind: Asked, File: "a"}, true},
		"one of the files":   {FactFetched("a", "b"), Event{Kind: Fetched, File: "b"}, true},
		"none of the files":  {FactFetched("a", "b"), Event{Kind: Fetched, File: "c"}, false},
		"by reason":          {Fact{Kinds: []Kind{Refused}, Reason: "unknown"}, Event{Kind: Refused, Reason: "unknown_ca"}, true},
		"not by reason":      {Fact{Kinds: []Kind{Refused}, Reason: "expired"}, Event{Kind: Refused, Reason: "unknown_ca"}, false},
		"by status":          {Fact{Kinds: []Kind{HTTPResponse}, Status: 401}, Event{Kind: HTTPResponse, Status: 404}, false},
		"by transport":       {Fact{Kinds: []Kind{Asked}, Transport: TFTP}, Event{Kind: Asked, Transport: HTTP}, false},
		"nothing is no fact": {Fact{}, Event{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.fact.Is(&c.e); got != c.want {
				t.Errorf("%+v is %v: %v, want %v", c.e, c.fact, got, c.want)
			}
		})
	}
}

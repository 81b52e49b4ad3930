package sntpd

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/datagram/memnet"
	"ip88rig/rig/fault"
)

func TestAnotherTime(t *testing.T) {
	utc := func(year int, month time.Month, day, hour, minute, second int) SetTo {
		return SetTo{At: time.Date(year, month, day, hour, minute, second, 0, time.UTC)}
	}
	tells(t, []told{
		{"1900", utc(1900, 1, 1, 0, 0, 0), right, origin, "0000000000000000", "LOCL", "", "tells that it is 1900-01-01T00:00:00Z"},
		{"1970", utc(1970, 1, 1, 0, 0, 0), right, origin, "83aa7e8000000000", "LOCL", "", "tells that it is 1970-01-01T00:00:00Z"},
		{"the last second of era 0", utc(2036, 2, 7, 6, 28, 15), right, origin, "ffffffff00000000", "LOCL", "", "tells that it is 2036-02-07T06:28:15Z"},
		{"one second into era 1", utc(2036, 2, 7, 6, 28, 17), right, origin, "0000000100000000", "LOCL", "", "tells that it is 2036-02-07T06:28:17Z"},
		{"years off", Offset{D: 10 * 366 * 24 * time.Hour}, right, origin, "cef0f40000000000", "LOCL", "", "tells a time that is off by 87840h0m0s"},
		{"leap indicator 3", Unsynchronised{Leap: 3, Stratum: 1}, "e40106ec", origin, now, "LOCL", "not synchronised", "says that it is not synchronised: leap indicator 3, stratum 1"},
		{"stratum 16", Unsynchronised{Stratum: 16}, "241006ec", origin, now, "LOCL", "not synchronised", "says that it is not synchronised: leap indicator 0, stratum 16"},
		{"stratum 0", Unsynchronised{Leap: 3}, "e40006ec", origin, now, "INIT", "not synchronised", "says that it is not synchronised: leap indicator 3, stratum 0"},
		{"kiss-of-death", KissOfDeath{Code: "DENY"}, "e40006ec", origin, now, "DENY", "kiss-of-death DENY", "answers kiss-of-death DENY"},
	})
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

func TestAStateThatIsSoIsSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var plan fault.Plan
		j := &journal{}
		n := memnet.New()
		s, err := New(Config{Conn: socket(t, n), Record: j.record, Faults: &plan, Clock: func(_ netip.Addr, now time.Time) (time.Time, bool) {
			return now, false
		}})
		if err != nil {
			t.Fatal(err)
		}
		plan.Add(fault.On("SNTP").Do(Unsynchronised{Leap: 3}))
		plan.Add(fault.On("SNTP").Do(KissOfDeath{Code: "INIT"}))
		if a := s.answer(request(4<<3|3), handset, own, time.Now()); a == nil || len(j.kinds()) > 0 {
			t.Errorf("answered %+v, recorded %v", a, j.kinds())
		}
	})
}

func TestAnotherTimeIsChecked(t *testing.T) {
	wrongs{
		Offset{}:                             "an offset of 0",
		SetTo{}:                              "needs a time",
		StepBack{}:                           "step back of 0s",
		StepBack{By: maxStep + 1}:            "step back of",
		Unsynchronised{Leap: 4, Stratum: 16}: "leap indicator 4",
		Unsynchronised{Stratum: 256}:         "stratum 256",
		Unsynchronised{Leap: 1, Stratum: 3}:  "is that of a synchronised server",
	}.check(t)
	for _, e := range []Effect{Unsynchronised{Stratum: 255}, StepBack{By: time.Hour}, Offset{D: -1}} {
		if err := (&Server{}).Can(e); err != nil {
			t.Errorf("%v: %v", e, err)
		}
	}
	if got, want := (StepBack{By: time.Hour}).String(), "tells a time 1h0m0s before the last one"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

package impair_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
	"ip88rig/rig/wire"
)

func TestALimitedWireSendsOneFrameAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size := len(data("x"))
		b := newBad(t, fault.On("*").Do(impair.Limit{BytesPerSecond: size * 10, Queue: size * 3}))
		if got, want := b.limited(4), "100ms 200ms 300ms lost"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		<-time.After(250 * time.Millisecond) // half of the third is left
		if got, want := b.limited(3), "150ms 250ms lost"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		<-time.After(time.Hour)
		if got, want := b.limited(1), "100ms"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		// The other direction is as idle as it was.
		if v := b.Judge(false, wire.Frame{Data: data("x")}); v.Delay != 100*time.Millisecond {
			t.Errorf("the other direction: %+v", v)
		}
	})
}

func (b *bad) limited(n int) string {
	var out []string
	for range n {
		v := b.Judge(true, wire.Frame{Data: data("x")})
		if v.Drop {
			out = append(out, "lost")
		} else {
			out = append(out, v.Delay.String())
		}
	}
	return strings.Join(out, " ")
}

func TestLimitSaysWhatItDoes(t *testing.T) {
	says(t, []said{
		{impair.Limit{BytesPerSecond: 1000}, "lets 1000 bytes a second through, 65536 wait", ""},
		{impair.Limit{}, "", "at least 1 a second"},
		{impair.Limit{BytesPerSecond: 1, Queue: -1}, "", "at least 1 a second"},
	})
}

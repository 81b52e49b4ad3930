package tftpd_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

func TestAnERRORComesInstead(t *testing.T) {
	for _, c := range []struct {
		name string
		on   fault.Rule
		acks []int
		want []byte
	}{
		{"an ERROR instead of the first answer", fault.On("own"), nil, failure(3, "full")},
		{"an ERROR instead of the OACK", fault.On("OACK"), nil, failure(3, "full")},
		{"an ERROR in the middle", fault.On("DATA").During("block 2"), []int{0, 1}, failure(3, "full")},
		{"another ERROR than the right one", fault.On("ERROR"), []int{-1}, failure(3, "full")},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["own"] = content(2000)
				b.faults.Add(c.on.Do(tftpd.Fail{Code: 3, Text: "full"}))
				b.start()
				cl := b.client(handset)
				name := "own"
				if slices.Contains(c.acks, -1) {
					name, c.acks = "nothing", nil
				}
				cl.ask(rrq(name, "octet", "blksize", "1000"))
				for _, n := range c.acks {
					cl.next(time.Millisecond)
					cl.send(ack(n))
				}
				cl.expect("ERROR", c.want)
				cl.expectNothing(time.Hour)
				if e := b.served(); e.Complete || e.Status != 3 {
					t.Errorf("journal has %+v, want it broken with ERROR 3", e)
				}
				if got := b.faults.Ledger()[0].Fired; got != 1 || len(b.of(timeline.FaultFired)) != 1 {
					t.Errorf("fired %d times, journalled %d times, want once", got, len(b.of(timeline.FaultFired)))
				}
			})
		})
	}
}

package tftpd_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

func TestWhatIsDroppedIsAsIfLost(t *testing.T) {
	t.Run("a dropped request is answered when it is sent again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.files["own"] = []byte("x")
			b.faults.Add(fault.On("own").Do(tftpd.Drop{}).Once())
			b.start()
			c := b.client(handset)
			c.ask(rrq("own", "octet"))
			c.expectNothing(time.Minute)
			c.ask(rrq("own", "octet"))
			c.expect("block 1", data(1, []byte("x")))
			if got := b.of(timeline.FaultFired); len(got) != 1 || got[0].Reason != "on own: drops it, once" || got[0].Message != "RRQ" {
				t.Errorf("journal has %+v, want the fault once", got)
			}
		})
	})
	t.Run("a dropped OACK and block come again after the timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.files["own"] = content(600)
			b.faults.Add(fault.On("OACK").Do(tftpd.Drop{}).Times(2))
			b.faults.Add(fault.On("own").During("block 2").In("tftpd").Do(tftpd.Drop{}).Once())
			b.start()
			c := b.client(handset)
			c.ask(rrq("own", "octet", "tsize", "0"))
			c.expectNothing(1999 * time.Millisecond)
			c.next(2 * time.Millisecond)
			c.send(ack(0))
			c.expect("block 1", data(1, content(512)))
			c.send(ack(1))
			c.expectNothing(999 * time.Millisecond)
			if got := c.next(2 * time.Millisecond); !bytes.Equal(got, data(2, content(600)[512:])) {
				t.Fatalf("got %s, want block 2", show(got))
			}
			c.send(ack(2))
			synctest.Wait()
			b.wantComplete("own", content(600))
			if got := b.of(timeline.FaultFired); len(got) != 3 || got[2].Fields["phase"] != "block 2" {
				t.Errorf("journal has %+v, want three faults", got)
			}
		})
	})
	t.Run("an ERROR that is not sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.faults.Add(fault.On("ERROR").Do(tftpd.Drop{}))
			b.start()
			c := b.client(handset)
			c.ask(rrq("nothing", "octet"))
			c.expectNothing(time.Hour)
			if e := b.served(); e.Reason != "refused: file not found; ERROR not sent, as told" {
				t.Errorf("journal has %+v", e)
			}
		})
	})
}

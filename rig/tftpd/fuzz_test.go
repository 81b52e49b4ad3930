package tftpd_test

import (
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
)

// FuzzServer throws datagrams at the well-known port and at a transfer, and
// then expects the server to serve as if nothing had been.
func FuzzServer(f *testing.F) {
	f.Add(rrq("own", "octet", "blksize", "8", "windowsize", "3"), ack(0), ack(1))
	f.Add(rrq("own", "netascii"), failure(8, "no"), ack(65535))
	f.Add([]byte{0, 2}, []byte{0, 1, 0}, []byte{})
	f.Add(oack("tsize", "1"), data(1, nil), []byte{0})
	f.Add(rrq("own", "octet"), rrq("own", "octet"), rrq("other", "octet"))
	f.Fuzz(func(t *testing.T, first, second, third []byte) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.files["own"] = content(40)
			_, end := b.start()
			c := b.client(handset)
			c.send(first)
			for _, pkt := range [][]byte{second, third} {
				c.next(time.Millisecond) // c.peer is the transfer's end, if one began
				c.send(pkt)
			}
			for c.next(2*time.Second) != nil { // until the transfer gives up
			}
			got, err := b.client("192.0.2.8:1").fetch("own", "blksize", "8")
			if err != nil || len(got) != 40 {
				t.Errorf("afterwards %d bytes, %v", len(got), err)
			}
			synctest.Wait()
			end()
			served := b.of(timeline.Served)
			if len(served) == 0 || !served[len(served)-1].Complete {
				t.Errorf("journal has %+v", served)
			}
		})
	})
}

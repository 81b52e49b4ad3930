package tftpd_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

// TestADeedWaitsForAnACK lets deeds write down what had gone over the wire.
func TestADeedWaitsForAnACK(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int
		window string
		rule   fault.Rule
		// acked is the last ACK that had come and sent the last block that had gone
		// out when it was done; over says that the journal had the end already.
		acked, sent int
		over        bool
	}{
		{"of the OACK", 1100, "1", fault.On("ACK").Of("own").During("block 0"), 0, 0, false},
		{"of a block, before the next one", 1100, "1", fault.On("ACK").Of("own").During("block 2"), 2, 2, false},
		{"of the last block, before the end", 1100, "1", fault.On("ACK").During("block 3"), 3, 3, false},
		{"of all bytes", 1100, "1", fault.On("ACK").Behind(1100), 3, 3, false},
		{"from occasion 3, the OACK's among them", 1100, "1", fault.On("ACK").From(3), 2, 2, false},
		{"of a window, before the next one", 10 * 512, "4", fault.On("ACK").During("block 8"), 8, 8, false},
		{"of so many bytes, which a window's has", 10 * 512, "4", fault.On("ACK").Behind(5 * 512), 8, 8, false},
		{"of the rest of a file, less than a window", 10 * 512, "4", fault.On("ACK").During("block 11"), 11, 11, false},
		{"and a DATA block of the same number does not", 10 * 512, "4", fault.On("own").During("block 8"), 4, 7, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["own"] = content(c.size)
				acked, sent := -1, 0
				b.net.Through = func(_, _ netip.AddrPort, pkt []byte) [][]byte {
					switch n := int(binary.BigEndian.Uint16(pkt[2:])); pkt[1] {
					case 3:
						sent = n
					case 4:
						acked = n
					}
					return [][]byte{pkt}
				}
				done := 0
				b.faults.Act(func(fault.Deed, string) {
					done++
					if over := len(b.of(timeline.Served)) > 0; acked != c.acked || sent != c.sent || over != c.over {
						t.Errorf("done behind ACK %d and DATA %d, transfer over %t; want %d, %d, %t", acked, sent, over, c.acked, c.sent, c.over)
					}
				})
				b.faults.Add(c.rule.Do(deed{}).Once())
				b.start()
				if _, err := b.client(handset).fetch("own", "tsize", "0", "windowsize", c.window); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if done != 1 {
					t.Errorf("done %d times, want once", done)
				}
			})
		})
	}
}

// TestNoACKOfAWindowHasThisNumber is what its message says: such a rule is for
// clients in lock-step.
func TestNoACKOfAWindowHasThisNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.files["own"] = content(10 * 512)
		b.faults.Add(fault.On("ACK").During("block 5").Do(tftpd.Drop{}))
		b.start()
		if _, err := b.client(handset).fetch("own", "windowsize", "4"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := b.faults.Ledger()[0].Fired; n != 0 {
			t.Errorf("fired %d times", n)
		}
	})
}

func TestAnACKNeverCame(t *testing.T) {
	whole := content(10 * 512)
	windows := func(c *client, from, to int) {
		for n := from; n <= to; n++ {
			c.expect(fmt.Sprintf("block %d", n), block(len(whole), n))
		}
	}
	for _, c := range []tale{
		{
			name: "of a block: it comes again after the timeout", size: 600,
			rules: []fault.Rule{fault.On("ACK").Of("own").During("block 1").Do(tftpd.Drop{}).Once()},
			play: func(c *client) {
				c.begin()
				c.take(600, 1)
				c.after(time.Second, "block 1 again", block(600, 1))
				c.send(ack(1))
				c.take(600, 2)
			},
			served: content(600), complete: true,
		},
		{
			name: "one after the other, and one that comes twice counts twice", size: 600,
			rules: []fault.Rule{fault.On("ACK").During("block 1").Do(tftpd.Drop{}).Times(2)}, fired: 2,
			play: func(c *client) {
				c.begin()
				c.take(600, 1)
				c.send(ack(1))
				c.expectNothing(time.Millisecond)
				c.send(ack(1))
				c.take(600, 2)
			},
			served: content(600), complete: true,
		},
		{
			name: "of the OACK: it comes again", size: 600,
			rules: []fault.Rule{fault.On("ACK").During("block 0").Do(tftpd.Drop{}).Once()},
			play: func(c *client) {
				c.begin("tsize", "0")
				c.expect("OACK", oack("tsize", "600"))
				c.send(ack(0))
				c.after(time.Second, "OACK again", oack("tsize", "600"))
				c.send(ack(0))
				c.take(600, 1)
				c.take(600, 2)
			},
			served: content(600), complete: true,
		},
		{
			name: "of the last block, for ever: the file is not whole for the server", size: 600,
			rules: []fault.Rule{fault.On("ACK").During("block 2").Do(tftpd.Drop{})}, fired: 5,
			play: func(c *client) {
				c.begin()
				c.take(600, 1)
				c.take(600, 2)
				for range 4 {
					c.after(time.Second, "block 2 again", block(600, 2))
					c.send(ack(2))
				}
				c.expectNothing(time.Hour)
			},
			served: content(512), reason: "block 2: timeout after 5 tries",
		},
		{
			name: "of a window: all of it comes again", size: 10 * 512,
			rules: []fault.Rule{fault.On("ACK").During("block 4").Do(tftpd.Drop{}).Once()},
			play: func(c *client) {
				c.begin("windowsize", "4")
				c.expect("OACK", oack("windowsize", "4"))
				c.send(ack(0))
				windows(c, 1, 4)
				c.send(ack(4))
				c.after(time.Second, "the window again", block(len(whole), 1))
				windows(c, 2, 4)
				c.send(ack(4))
				windows(c, 5, 8)
				c.send(ack(8))
				windows(c, 9, 10)
				c.expect("the empty block", data(11, nil))
				c.send(ack(11))
			},
			served: whole, complete: true,
		},
		{
			name: "of a part of a window, which another one makes good", size: 10 * 512,
			rules: []fault.Rule{fault.On("ACK").During("block 2").Do(tftpd.Drop{}).Once()},
			play: func(c *client) {
				c.begin("windowsize", "4")
				c.next(time.Millisecond)
				c.send(ack(0))
				windows(c, 1, 4)
				c.send(ack(2))
				c.expectNothing(time.Millisecond)
				c.send(ack(3))
				windows(c, 4, 7)
				c.send(ack(7))
				windows(c, 8, 10)
				c.expect("the empty block", data(11, nil))
				c.send(ack(11))
			},
			served: whole, complete: true,
		},
	} {
		c.run(t)
	}
}

// TestADroppedACKIsNothingHeard holds a packet from another port back as long as
// the client has not answered the right one, see FromOtherPort.
func TestADroppedACKIsNothingHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.files["own"] = content(600)
		b.faults.Add(fault.On("ACK").During("block 0").Do(tftpd.Drop{}).Once())
		b.faults.Add(fault.On("own").Do(tftpd.FromOtherPort{}).Once())
		b.start()
		c := b.client(handset)
		c.begin("tsize", "0")
		c.expect("OACK", oack("tsize", "600"))
		right := c.peer
		c.send(ack(0))
		c.after(time.Second, "OACK again", oack("tsize", "600"))
		if c.peer != right {
			t.Fatal("the OACK came from another port before an ACK was heard")
		}
		c.send(ack(0))
		c.expect("block 1", block(600, 1))
		if c.peer == right {
			t.Error("block 1 came from the right port")
		}
		fired := b.of(timeline.FaultFired)
		i := slices.IndexFunc(fired, func(e timeline.Event) bool { return e.Message == "ACK" })
		if i != 0 || fired[i].Fields["phase"] != "block 0" || fired[i].Reason != "on ACK during block 0: drops it, once" || fired[i].Src.String() != handset {
			t.Errorf("journal has %+v, want the ACK first, from the handset", fired)
		}
	})
}

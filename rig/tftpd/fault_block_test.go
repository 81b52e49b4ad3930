package tftpd_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

func TestBlocksThatAreNotWhatTheyShouldBe(t *testing.T) {
	for _, c := range []tale{
		{
			name: "numbered too high", size: 600, rules: []fault.Rule{fault.On("DATA").During("block 1").Do(tftpd.BlockNumber{By: 7}).Once()},
			play: func(c *client) {
				c.begin()
				c.expect("block 1", data(8, content(600)[:512]))
				c.after(time.Second, "block 1 as it should be", block(600, 1))
				c.send(ack(1))
				c.take(600, 2)
			},
			served: content(600), complete: true,
		},
		{
			name: "numbered too low, which wraps", size: 600, rules: []fault.Rule{fault.On("DATA").During("block 1").Do(tftpd.BlockNumber{By: -2}).Once()},
			play: func(c *client) {
				c.begin()
				c.expect("block 1", data(65535, content(600)[:512]))
				c.send(ack(65535))
				c.expectNothing(999 * time.Millisecond)
				c.next(2 * time.Millisecond)
				c.send(ack(1))
				c.take(600, 2)
			},
			served: content(600), complete: true,
		},
		{
			name: "the short last one never comes", size: 600, rules: []fault.Rule{fault.On("own").Do(tftpd.OmitLast{})},
			play: func(c *client) {
				c.begin()
				c.take(600, 1)
				c.expectNothing(time.Minute)
				c.send(ack(1))
				c.expectNothing(time.Hour)
			},
			served: content(600)[:512], reason: "block 2: not sent, as told",
		},
		{
			name: "the empty last one never comes", size: 1024, rules: []fault.Rule{fault.On("DATA").Do(tftpd.OmitLast{}).Once()},
			play: func(c *client) {
				c.begin()
				c.take(1024, 1)
				c.take(1024, 2)
				c.expectNothing(time.Hour)
			},
			served: content(1024), reason: "block 3: not sent, as told",
		},
		{
			name: "the file goes on without an end, up to a bound", size: 600, rules: []fault.Rule{fault.On("own").Do(tftpd.Endless{Bytes: 1000}).Once()},
			play: func(c *client) {
				all := slices.Concat(content(600), content(600), content(600), content(600))
				c.begin()
				for n := 1; n <= 4; n++ {
					c.expect("whole block", data(n, all[(n-1)*512:n*512]))
					c.send(ack(n))
				}
				c.expectNothing(time.Hour)
			},
			served: slices.Concat(content(600), content(600), content(600), content(600))[:2048], reason: "block 5: fell silent, as told",
		},
		{
			name: "an empty file goes on with zeros", size: 0, rules: []fault.Rule{fault.On("own").Do(tftpd.Endless{Bytes: 1024}).Once()},
			play: func(c *client) {
				c.begin()
				for n := 1; n <= 2; n++ {
					c.expect("whole block", data(n, make([]byte, 512)))
					c.send(ack(n))
				}
				c.expectNothing(time.Hour)
			},
			served: make([]byte, 1024), reason: "block 3: fell silent, as told",
		},
		{
			name: "it goes on within its last block", size: 1023, rules: []fault.Rule{fault.On("own").Do(tftpd.Endless{Bytes: 1}).Once()},
			play: func(c *client) {
				c.begin()
				c.take(1023, 1)
				c.expect("block 2, whole", data(2, append(content(1023)[512:], content(1)...)))
				c.send(ack(2))
				c.expectNothing(time.Hour)
			},
			served: append(content(1023), content(1)...), reason: "block 3: fell silent, as told",
		},
		{
			name: "a careless server doubles what is acknowledged twice", size: 2000, fired: 2,
			rules: []fault.Rule{
				fault.On("own").Do(tftpd.Careless{}).Once(),
				fault.On("DATA").During("block 1").Do(tftpd.Duplicate{Copies: 1}).Once(),
			},
			play: func(c *client) {
				c.begin()
				for n := 1; n <= 3; n++ {
					c.expect("block", block(2000, n))
					c.expect("block, doubled", block(2000, n))
					c.send(ack(n))
					c.send(ack(n))
				}
				c.expect("block 4", block(2000, 4))
				c.expect("block 4, doubled", block(2000, 4))
				c.send(ack(4))
			},
			served: content(2000), complete: true,
		},
		{
			name: "a careless server is right with a client that is", size: 2000, rules: []fault.Rule{fault.On("own").Do(tftpd.Careless{}).Once()},
			play: func(c *client) {
				c.begin("tsize", "0")
				c.expect("OACK", oack("tsize", "2000"))
				c.send(ack(0))
				for n := 1; n <= 4; n++ {
					c.take(2000, n)
				}
				c.expectNothing(time.Hour)
			},
			served: content(2000), complete: true,
		},
	} {
		c.run(t)
	}
}

// TestWrapToOne goes past block 65535 twice, in lock-step and in windows.
func TestWrapToOne(t *testing.T) {
	if testing.Short() {
		t.Skip("two transfers of 131,000 blocks")
	}
	const size = 8*(65535*2+3) + 5
	for name, window := range map[string]string{"in lock-step": "1", "in windows": "7"} {
		tale{
			name: name, size: size, rules: []fault.Rule{fault.On("own").Do(tftpd.WrapToOne{})},
			play: func(c *client) {
				c.begin("blksize", "8", "windowsize", window)
				c.next(time.Millisecond)
				c.send(ack(0))
				per, last := int(window[0]-'0'), 65535*2+4
				for n := 1; n <= last; n++ {
					pkt := c.next(time.Millisecond)
					want := (n-1)%65535 + 1
					if pkt == nil || int(binary.BigEndian.Uint16(pkt[2:])) != want {
						c.t.Fatalf("block %d: got %s, want number %d", n, show(pkt), want)
					}
					if n%per == 0 || n == last {
						c.send(ack(want))
					}
				}
				c.expectNothing(time.Minute)
			},
			served: content(size), complete: true,
		}.run(t)
	}
	tale{
		name: "a gap behind the wrap", size: 8*65540 + 1, rules: []fault.Rule{fault.On("DATA").Do(tftpd.WrapToOne{}).Once()},
		play: func(c *client) {
			c.begin("blksize", "8", "windowsize", "16")
			c.next(time.Millisecond)
			c.send(ack(0))
			for n := 1; n <= 65536; n++ {
				c.next(time.Millisecond)
				if n%16 == 0 && n < 65536 {
					c.send(ack(n))
				}
			}
			c.send(ack(65534)) // the last two of the window were lost
			for _, n := range []int{65535, 1, 2, 3, 4, 5, 6} {
				if pkt := c.next(time.Millisecond); pkt == nil || int(binary.BigEndian.Uint16(pkt[2:])) != n {
					c.t.Fatalf("got %s, want number %d", show(pkt), n)
				}
			}
			c.send(ack(2)) // of block 65537
			c.expect("what follows it", data(3, content(8 * 65540)[65537*8:65538*8]))
			c.next(time.Millisecond)
			c.next(time.Millisecond)
			c.next(time.Millisecond)
			c.send(ack(6))
		},
		served: content(8*65540 + 1), complete: true,
	}.run(t)
}

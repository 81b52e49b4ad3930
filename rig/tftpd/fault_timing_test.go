package tftpd_test

import (
	"bytes"
	"testing"
	"time"

	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

func TestPacketsComeLateTwiceOrInAnotherOrder(t *testing.T) {
	for _, c := range []tale{
		{
			name: "a block comes late, within the timeout", size: 600,
			rules: []fault.Rule{fault.On("DATA").During("block 1").Do(tftpd.Delay{By: 900 * time.Millisecond}).Once()},
			play: func(c *client) {
				c.begin()
				c.after(900*time.Millisecond, "block 1", block(600, 1))
				c.send(ack(1))
				c.take(600, 2)
				c.expectNothing(time.Hour)
			},
			served: content(600), complete: true,
		},
		{
			name: "a block comes so late that it comes twice", size: 600,
			rules: []fault.Rule{fault.On("DATA").During("block 1").Do(tftpd.Delay{By: 1500 * time.Millisecond}).Once()},
			play: func(c *client) {
				c.begin()
				c.after(time.Second, "block 1 again", block(600, 1))
				c.send(ack(1))
				c.expect("block 2", block(600, 2))
				c.after(500*time.Millisecond, "block 1, late", block(600, 1))
				c.send(ack(1)) // the client may say so: nothing comes of it
				c.after(500*time.Millisecond, "block 2 in its own time", block(600, 2))
				c.send(ack(2))
			},
			served: content(600), complete: true,
		},
		{
			name: "the last block comes once more behind the end", size: 100,
			rules: []fault.Rule{fault.On("DATA").Do(tftpd.Delay{By: 30 * time.Second}).Once()},
			play: func(c *client) {
				c.begin()
				c.after(time.Second, "block 1 again", block(100, 1))
				c.send(ack(1))
				c.after(29*time.Second, "block 1, late", block(100, 1))
				c.begin()
				c.take(100, 1)
			},
		},
		{
			name: "a request of the same port while a block is late", size: 100,
			rules: []fault.Rule{fault.On("DATA").Do(tftpd.Delay{By: 30 * time.Second}).Once()},
			play: func(c *client) {
				c.begin()
				c.after(time.Second, "block 1 again", block(100, 1))
				c.send(ack(1))
				c.expectNothing(time.Second)
				c.begin()
				c.take(100, 1)
				c.after(28*time.Second, "block 1, late", block(100, 1))
			},
		},
		{
			name: "the OACK comes late", size: 100,
			rules: []fault.Rule{fault.On("OACK").Do(tftpd.Delay{By: 2500 * time.Millisecond}).Once()},
			play: func(c *client) {
				c.begin("tsize", "0")
				c.after(time.Second, "OACK again", oack("tsize", "100"))
				c.send(ack(0))
				c.take(100, 1)
				c.after(1500*time.Millisecond, "OACK, late", oack("tsize", "100"))
			},
			served: content(100), complete: true,
		},
		{
			name: "a block comes three times", size: 600,
			rules: []fault.Rule{fault.On("own").During("block 1").Do(tftpd.Duplicate{Copies: 2}).Once()},
			play: func(c *client) {
				c.begin()
				for range 3 {
					c.expect("block 1", block(600, 1))
				}
				for range 3 {
					c.send(ack(1))
				}
				c.take(600, 2)
				c.expectNothing(time.Hour) // three ACKs are one
			},
			served: content(600), complete: true,
		},
		{
			name: "the OACK comes twice", size: 100,
			rules: []fault.Rule{fault.On("OACK").Do(tftpd.Duplicate{Copies: 1}).Once()},
			play: func(c *client) {
				c.begin("tsize", "0")
				c.expect("OACK", oack("tsize", "100"))
				c.expect("OACK", oack("tsize", "100"))
				c.send(ack(0))
				c.send(ack(0))
				c.take(100, 1)
			},
			served: content(100), complete: true,
		},
		{
			name: "two blocks of a window change places", size: 2000,
			rules: []fault.Rule{fault.On("DATA").During("block 2").Do(tftpd.Swap{}).Once()},
			play: func(c *client) {
				c.begin("windowsize", "4")
				c.expect("OACK", oack("windowsize", "4"))
				c.send(ack(0))
				for _, n := range []int{1, 3, 2, 4} {
					c.expect("window", block(2000, n))
				}
				c.send(ack(4))
			},
			served: content(2000), complete: true,
		},
		{
			name: "in lock-step a block comes again behind the next", size: 600,
			rules: []fault.Rule{fault.On("DATA").During("block 1").Do(tftpd.Swap{}).Once()},
			play: func(c *client) {
				c.begin()
				c.after(time.Second, "block 1 again", block(600, 1))
				c.send(ack(1))
				c.expect("block 2", block(600, 2))
				c.expect("block 1 behind it", block(600, 1))
				c.send(ack(1))
				c.send(ack(2))
			},
			served: content(600), complete: true,
		},
		{
			name: "the last block changes places with the end", size: 600,
			rules: []fault.Rule{fault.On("DATA").During("block 2").Do(tftpd.Swap{}).Once()},
			play: func(c *client) {
				c.begin()
				c.take(600, 1)
				c.after(time.Second, "block 2 again", block(600, 2))
				c.send(ack(2))
				c.expect("block 2 behind the end", block(600, 2))
			},
			served: content(600), complete: true,
		},
	} {
		c.run(t)
	}
}

func TestAPlainClientSurvivesBadTiming(t *testing.T) {
	for name, effect := range map[string]tftpd.Effect{
		"late": tftpd.Delay{By: 1700 * time.Millisecond}, "twice": tftpd.Duplicate{Copies: 1}, "swapped": tftpd.Swap{},
		"lost": tftpd.Drop{}, "from another port besides": tftpd.FromOtherPort{Besides: true},
	} {
		tale{
			name: name, size: 9000, rules: []fault.Rule{fault.On("DATA").From(4).Do(effect).Times(3)}, fired: 3,
			play: func(c *client) {
				if got, err := c.fetch("own", "windowsize", "3"); err != nil || !bytes.Equal(got, content(9000)) {
					c.t.Errorf("%d bytes, %v", len(got), err)
				}
			},
		}.run(t)
	}
}

package tftpd_test

import (
	"slices"
	"testing"
	"time"

	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

// changed is content with one byte changed.
func changed(size, at int, mask byte) []byte {
	b := content(size)
	b[at] ^= mask
	return b
}

func TestDamagedPackets(t *testing.T) {
	for _, c := range []tale{
		{
			name: "a bit of a block", size: 600, rules: []fault.Rule{fault.On("DATA").During("block 2").Do(tftpd.FlipBit{Byte: 3, Bit: 7}).Once()},
			play: func(c *client) {
				c.begin()
				c.take(600, 1)
				c.expect("block 2", data(2, changed(600, 515, 0x80)[512:]))
				c.send(ack(2))
			},
			served: changed(600, 515, 0x80), complete: true,
		},
		{
			name: "the last byte where there are fewer", size: 600, rules: []fault.Rule{fault.On("DATA").During("block 2").Do(tftpd.FlipBit{Byte: 4000}).Once()},
			play: func(c *client) {
				c.begin()
				c.take(600, 1)
				c.expect("block 2", data(2, changed(600, 599, 1)[512:]))
				c.send(ack(2))
			},
			served: changed(600, 599, 1), complete: true,
		},
		{
			name: "an empty block has no bit, the one before has", size: 512, rules: []fault.Rule{fault.On("DATA").Do(tftpd.FlipBit{Bit: 1})},
			play: func(c *client) {
				c.begin()
				c.expect("block 1", data(1, changed(512, 0, 2)))
				c.send(ack(1))
				c.take(512, 2)
			},
			served: changed(512, 0, 2), complete: true,
		},
		{
			name: "what is sent again is whole, and the first one counts", size: 600,
			rules: []fault.Rule{fault.On("DATA").During("block 1").Do(tftpd.FlipBit{}).Once()},
			play: func(c *client) {
				c.begin()
				c.expect("block 1", data(1, changed(600, 0, 1)[:512]))
				c.after(time.Second, "block 1 again", block(600, 1))
				c.send(ack(1))
				c.take(600, 2)
			},
			served: changed(600, 0, 1), complete: true,
		},
		{
			name: "a block that was lost first is damaged when it comes", size: 600, fired: 2,
			rules: []fault.Rule{
				fault.On("DATA").During("block 1").Do(tftpd.Drop{}).Once(),
				fault.On("DATA").During("block 1").Do(tftpd.FlipBit{}).Once().From(1),
			},
			play: func(c *client) {
				c.begin()
				c.after(time.Second, "block 1", data(1, changed(600, 0, 1)[:512]))
				c.send(ack(1))
				c.take(600, 2)
			},
			served: changed(600, 0, 1), complete: true,
		},
		{
			name: "a bit of the OACK", size: 600, rules: []fault.Rule{fault.On("OACK").Do(tftpd.FlipBit{Byte: 0, Bit: 5}).Once()},
			play: func(c *client) {
				c.begin("tsize", "0")
				c.expect("OACK", oack("Tsize", "600"))
			},
		},
		{
			name: "a block cut short is the last one", size: 2000, rules: []fault.Rule{fault.On("DATA").During("block 2").Do(tftpd.Resize{To: 100}).Once()},
			play: func(c *client) {
				c.begin()
				c.take(2000, 1)
				c.expect("block 2", data(2, content(2000)[512:612]))
				c.send(ack(2))
				c.expectNothing(time.Hour)
			},
			served: content(2000)[:612], complete: true, reason: "block 2: sent short, as told: the last for the client",
		},
		{
			name: "a block cut to nothing", size: 2000, rules: []fault.Rule{fault.On("DATA").During("block 1").Do(tftpd.Resize{}).Once()},
			play: func(c *client) {
				c.begin()
				c.expect("block 1", data(1, nil))
				c.send(ack(1))
				c.expectNothing(time.Hour)
			},
			served: []byte{}, complete: true, reason: "block 1: sent short, as told: the last for the client",
		},
		{
			name: "a block longer than agreed", size: 600, rules: []fault.Rule{fault.On("DATA").During("block 1").Do(tftpd.Resize{To: 520}).Once()},
			play: func(c *client) {
				c.begin()
				c.expect("block 1", data(1, slices.Concat(content(600)[:512], make([]byte, 8))))
				c.send(ack(1))
				c.take(600, 2)
			},
			served: slices.Concat(content(600)[:512], make([]byte, 8), content(600)[512:]), complete: true,
		},
		{
			name: "a last block filled up is not the last for the client", size: 600,
			rules: []fault.Rule{fault.On("DATA").During("block 2").Do(tftpd.Resize{To: 512}).Once()},
			play: func(c *client) {
				c.begin()
				c.take(600, 1)
				c.expect("block 2", data(2, slices.Concat(content(600)[512:], make([]byte, 424))))
				c.send(ack(2))
				c.expectNothing(time.Hour)
			},
			served: slices.Concat(content(600), make([]byte, 424)), reason: "block 2: sent with 512 bytes, as told: not the last for the client",
		},
		{
			name: "an OACK cut off in an option", size: 600, rules: []fault.Rule{fault.On("OACK").Do(tftpd.Resize{To: 7}).Once()},
			play: func(c *client) {
				c.begin("tsize", "0")
				c.expect("OACK", []byte("\x00\x06tsize\x006"))
				c.after(time.Second, "OACK", oack("tsize", "600"))
			},
		},
	} {
		c.run(t)
	}
}

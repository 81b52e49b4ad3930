package tftpd_test

import (
	"testing"
	"time"

	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

func TestOptionsThatTheServerIsTold(t *testing.T) {
	for _, c := range []tale{
		{
			name: "refused, until the client asks without", size: 600, rules: []fault.Rule{fault.On("own").Do(tftpd.RefuseOptions{})},
			play: func(c *client) {
				c.begin("blksize", "1428")
				c.expect("ERROR 8", failure(8, "options refused"))
				c.begin()
				c.take(600, 1)
				c.take(600, 2)
			},
		},
		{
			name: "refused in place of the OACK", size: 600, rules: []fault.Rule{fault.On("OACK").Do(tftpd.RefuseOptions{}).Once()},
			play: func(c *client) {
				c.begin("blksize", "1428")
				c.expect("ERROR 8", failure(8, "options refused"))
				c.expectNothing(time.Hour)
			},
			served: []byte{}, reason: `OACK, as told: ERROR 8 "options refused"`,
		},
		{
			name: "ignored", size: 600, rules: []fault.Rule{fault.On("RRQ").Do(tftpd.IgnoreOptions{}).Once()},
			play: func(c *client) {
				c.begin("blksize", "1428", "tsize", "0", "timeout", "9")
				c.expect("block 1", block(600, 1))
				c.after(time.Second, "block 1 after the server's own timeout", block(600, 1))
				c.send(ack(1))
				c.take(600, 2)
			},
			served: content(600), complete: true,
		},
		{
			name: "unasked", size: 600, rules: []fault.Rule{fault.On("RRQ").Do(tftpd.Offer{Options: "blksize=8 multicast=198.51.100.1,1758,1"}).Once()},
			play: func(c *client) {
				c.begin()
				c.expect("OACK", oack("blksize", "8", "multicast", "198.51.100.1,1758,1"))
				c.send(ack(0))
				c.expect("block 1", data(1, content(600)[:8]))
			},
		},
		{
			name: "a larger blksize than asked, and kept to", size: 2000, rules: []fault.Rule{fault.On("OACK").Do(tftpd.Offer{Options: "BLKSIZE=1600"}).Once()},
			play: func(c *client) {
				c.begin("tsize", "0", "blksize", "1000")
				c.expect("OACK", oack("tsize", "2000", "blksize", "1600"))
				c.send(ack(0))
				c.expect("block 1", data(1, content(2000)[:1600]))
				c.send(ack(1))
				c.expect("block 2", data(2, content(2000)[1600:]))
				c.send(ack(2))
			},
			served: content(2000), complete: true,
		},
		{
			name: "blksize 0 is as none", size: 600, rules: []fault.Rule{fault.On("own").Do(tftpd.Offer{Options: "blksize=0"}).Once()},
			play: func(c *client) {
				c.begin("blksize", "1000")
				c.expect("OACK", oack("blksize", "0"))
				c.send(ack(0))
				c.take(600, 1)
				c.take(600, 2)
			},
			served: content(600), complete: true,
		},
		{
			name: "windowsize 0 and timeout 0", size: 600, rules: []fault.Rule{fault.On("own").Do(tftpd.Offer{Options: "windowsize=0 timeout=0"}).Once()},
			play: func(c *client) {
				c.begin("windowsize", "4", "timeout", "7")
				c.expect("OACK", oack("windowsize", "0", "timeout", "0"))
				c.send(ack(0))
				c.expect("block 1", block(600, 1))
				c.after(time.Second, "block 1 again, alone", block(600, 1))
				c.send(ack(1))
				c.take(600, 2)
			},
			served: content(600), complete: true,
		},
		{
			name: "a larger window than asked, and kept to", size: 2000, rules: []fault.Rule{fault.On("own").Do(tftpd.Offer{Options: "windowsize=4"}).Once()},
			play: func(c *client) {
				c.begin("windowsize", "2")
				c.expect("OACK", oack("windowsize", "4"))
				c.send(ack(0))
				for n := 1; n <= 4; n++ {
					c.expect("window", block(2000, n))
				}
				c.send(ack(4))
			},
			served: content(2000), complete: true,
		},
		{
			name: "no size and a huge one", size: 600, rules: []fault.Rule{fault.On("own").Do(tftpd.Offer{Options: "tsize=-1 tsize=99999999999999999999"}).Once()},
			play: func(c *client) {
				c.begin("TSize", "0")
				c.expect("OACK", oack("TSize", "99999999999999999999"))
			},
		},
		{
			name: "a size that is a lie", size: 600, rules: []fault.Rule{fault.On("own").Do(tftpd.LieAboutSize{By: -599}).Once()},
			play: func(c *client) {
				c.begin("tsize", "0", "blksize", "600")
				c.expect("OACK", oack("tsize", "1", "blksize", "600"))
				c.send(ack(0))
				c.expect("block 1", data(1, content(600)))
				c.send(ack(1))
				c.expect("block 2", data(2, nil))
				c.send(ack(2))
			},
			served: content(600), complete: true,
		},
		{
			name: "a lie waits for a client that asks the size", size: 600, rules: []fault.Rule{fault.On("OACK").Do(tftpd.LieAboutSize{By: 1})},
			play: func(c *client) {
				c.begin("blksize", "600")
				c.expect("OACK", oack("blksize", "600"))
				c.begin("tsize", "0")
				c.expect("OACK", oack("tsize", "601"))
				c.send(ack(0))
				c.take(600, 1)
				c.take(600, 2)
			},
		},
	} {
		c.run(t)
	}
}

package tftpd_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

// TestARuleOnAFileCountsTransfers fetches a file of three blocks three times.
func TestARuleOnAFileCountsTransfers(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules []fault.Rule
		// fired is where, as "transfer:message phase".
		fired []string
	}{
		{
			"an effect on the request, the second time",
			[]fault.Rule{fault.On("own").Do(tftpd.FallSilent{AfterBytes: 600}).From(2).Once()},
			[]string{"2:RRQ"},
		},
		{
			"an effect on any packet, the second time",
			[]fault.Rule{fault.On("own").Do(tftpd.FlipBit{}).From(2).Once()},
			[]string{"2:OACK"},
		},
		{
			"an effect on DATA only, the third time",
			[]fault.Rule{fault.On("own").Do(tftpd.BlockNumber{By: 1}).From(3)},
			[]string{"3:DATA block 1"},
		},
		{
			"an effect on the last block, each time but the first",
			[]fault.Rule{fault.On("own").Do(tftpd.OmitLast{}).From(2)},
			[]string{"2:DATA block 3", "3:DATA block 3"},
		},
		{
			"anything is a transfer too",
			[]fault.Rule{fault.On("*").Do(tftpd.Fail{Code: 3}).From(2).Times(2)},
			[]string{"2:RRQ", "3:RRQ"},
		},
		{
			"a message counts packets",
			[]fault.Rule{fault.On("DATA").Do(tftpd.Duplicate{Copies: 1}).From(4).Times(2)},
			[]string{"2:DATA block 1", "2:DATA block 2"},
		},
		{
			"one rule hides no transfer from another",
			[]fault.Rule{
				fault.On("own").Do(tftpd.IgnoreOptions{}).Once(), fault.On("own").Do(tftpd.Careless{}).From(2).Once(),
			},
			[]string{"1:RRQ", "2:RRQ"},
		},
		{
			"where one stands in the way, the next point will do",
			[]fault.Rule{
				fault.On("own").Do(tftpd.LieAboutSize{By: 1}).Once(), fault.On("own").Do(tftpd.Duplicate{Copies: 1}).Once(), fault.On("own").Do(tftpd.FlipBit{}).Once(),
			},
			[]string{"1:RRQ", "1:OACK", "1:DATA block 1"},
		},
		{
			"of two that are the same each takes a packet",
			[]fault.Rule{
				fault.On("DATA").Do(tftpd.Duplicate{Copies: 1}).Once(), fault.On("DATA").Do(tftpd.Duplicate{Copies: 1}).Once(),
			},
			[]string{"1:DATA block 1", "1:DATA block 2"},
		},
		{
			"a silence that is declared hides nothing before it",
			[]fault.Rule{
				fault.On("own").Do(tftpd.FallSilent{AfterBytes: 600}).Once(), fault.On("DATA").During("block 1").Do(tftpd.Duplicate{Copies: 1}).Once(),
			},
			[]string{"1:RRQ", "1:DATA block 1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["own"] = content(1100)
				for _, r := range c.rules {
					b.faults.Add(r)
				}
				b.start()
				var fired []string
				for n := range 3 {
					already := len(b.of(timeline.FaultFired))
					cl := b.client(fmt.Sprintf("192.0.2.7:%d", 2001+n))
					cl.once("own")
					synctest.Wait()
					for _, e := range b.of(timeline.FaultFired)[already:] {
						fired = append(fired, strings.TrimSpace(fmt.Sprintf("%d:%s %s", n+1, e.Message, e.Fields["phase"])))
					}
				}
				if !slices.Equal(fired, c.fired) {
					t.Errorf("fired at %q, want %q", fired, c.fired)
				}
			})
		})
	}
}

// once asks for a file, answers what comes as long as something comes in time,
// and asks for nothing again.
func (c *client) once(name string) {
	c.t.Helper()
	c.ask(rrq(name, "octet", "tsize", "0"))
	for pkt := c.next(time.Millisecond); pkt != nil; pkt = c.next(time.Millisecond) {
		switch pkt[1] {
		case 3:
			c.send([]byte{0, 4, pkt[2], pkt[3]})
		case 6:
			c.send(ack(0))
		default:
			return
		}
	}
	c.send(failure(0, "enough"))
}

// TestEffectsOnATransferNeedOne has a request that no transfer comes of.
func TestEffectsOnATransferNeedOne(t *testing.T) {
	for _, e := range []tftpd.Effect{
		tftpd.IgnoreOptions{}, tftpd.Offer{Options: "blksize=8"}, tftpd.LieAboutSize{By: 1}, tftpd.Careless{}, tftpd.FallSilent{AfterBytes: 1},
	} {
		t.Run(e.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.faults.Add(fault.On("*").Do(e))
				b.start()
				if _, err := b.client(handset).fetch("nothing", "tsize", "0"); err == nil {
					t.Fatal(errors.New("no ERROR came"))
				}
				synctest.Wait()
				if n := b.faults.Ledger()[0].Fired; n != 0 {
					t.Errorf("fired %d times", n)
				}
			})
		})
	}
}

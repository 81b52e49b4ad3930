package tftpd_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

// from expects a packet from another end than the transfer's, and answers it
// with ERROR 5 (RFC 1350 section 4).
func (c *client) from(addr string, samePort bool, want []byte) {
	c.t.Helper()
	transfer := c.peer
	c.expect("stray packet", want)
	if c.peer.Addr() != netip.MustParseAddr(addr) || (c.peer.Port() == transfer.Port()) != samePort {
		c.t.Errorf("came from %v, the transfer is at %v", c.peer, transfer)
	}
	c.send(failure(5, "unknown transfer id"))
	c.peer = transfer
}

func TestPacketsFromAnotherEnd(t *testing.T) {
	const here = "192.0.2.1"
	for _, c := range []tale{
		{
			name: "a block from another port besides", size: 600,
			rules: []fault.Rule{fault.On("DATA").During("block 1").Do(tftpd.FromOtherPort{Besides: true}).Once()},
			play: func(c *client) {
				c.begin()
				c.expect("block 1", block(600, 1))
				c.from(here, false, block(600, 1))
				c.send(ack(1))
				c.take(600, 2)
			},
			served: content(600), complete: true,
		},
		{
			name: "a block from another port instead waits until the transfer has one", size: 600,
			rules: []fault.Rule{fault.On("own").Do(tftpd.FromOtherPort{}).Once()},
			play: func(c *client) {
				c.begin()
				c.take(600, 1)
				c.from(here, false, block(600, 2))
				c.after(time.Second, "block 2 from where it should", block(600, 2))
				c.send(ack(2))
			},
			served: content(600), complete: true,
		},
		{
			name: "the OACK from another port besides", size: 600, rules: []fault.Rule{fault.On("OACK").Do(tftpd.FromOtherPort{Besides: true}).Once()},
			play: func(c *client) {
				c.begin("tsize", "0")
				c.expect("OACK", oack("tsize", "600"))
				c.from(here, false, oack("tsize", "600"))
				c.send(ack(0))
				c.take(600, 1)
				c.take(600, 2)
			},
			served: content(600), complete: true,
		},
		{
			name: "a block from another address with the same port", size: 600,
			rules: []fault.Rule{fault.On("DATA").During("block 2").Do(tftpd.FromOtherAddress{}).Once()},
			play: func(c *client) {
				c.begin()
				c.take(600, 1)
				c.from(elsewhere, true, block(600, 2))
				c.after(time.Second, "block 2 from where it should", block(600, 2))
				c.send(ack(2))
			},
			served: content(600), complete: true,
		},
		{
			name: "two blocks from one other address", size: 600, fired: 2,
			rules: []fault.Rule{fault.On("DATA").Do(tftpd.FromOtherAddress{Besides: true}).Times(2)},
			play: func(c *client) {
				c.begin()
				for n := 1; n <= 2; n++ {
					c.expect("block", block(600, n))
					c.from(elsewhere, true, block(600, n))
					c.send(ack(n))
				}
			},
			served: content(600), complete: true,
		},
		{
			name: "everything from another address", size: 600, rules: []fault.Rule{fault.On("RRQ").Do(tftpd.AnswerElsewhere{}).Once()},
			play: func(c *client) {
				c.begin()
				c.expect("block 1", block(600, 1))
				if c.peer.Addr() != netip.MustParseAddr(elsewhere) || c.peer.Port() == 69 {
					c.t.Errorf("came from %v", c.peer)
				}
				c.send(ack(1))
				c.take(600, 2)
			},
			served: content(600), complete: true,
		},
	} {
		c.run(t)
	}
}

func TestSocketsOfStrayPacketsAreClosed(t *testing.T) {
	var b *bench
	tale{
		name: "both kinds", size: 600, fired: 2,
		rules: []fault.Rule{
			fault.On("DATA").During("block 1").Do(tftpd.FromOtherAddress{Besides: true}).Once(),
			fault.On("DATA").During("block 2").Do(tftpd.FromOtherPort{Besides: true}).Once(),
		},
		edit: func(in *bench, _ *tftpd.Config) { b = in },
		play: func(c *client) {
			c.begin()
			c.expect("block 1", block(600, 1))
			c.from(elsewhere, true, block(600, 1))
			c.send(ack(1))
			c.expect("block 2", block(600, 2))
			c.from("192.0.2.1", false, block(600, 2))
			if n := b.net.Ports(); n != 5 {
				c.t.Errorf("%d ports are open, want those of client, server, transfer and two astray", n)
			}
			c.send(ack(2))
			c.expectNothing(time.Second)
			if n := b.net.Ports(); n != 2 {
				c.t.Errorf("%d ports are open, want those of client and server", n)
			}
		},
		served: content(600), complete: true,
	}.run(t)
}

// TestWhatCannotGoAstrayIsTold has no socket where the fault needs one: it counts
// as fired, and the run knows that nothing was done.
func TestWhatCannotGoAstrayIsTold(t *testing.T) {
	for _, c := range []struct {
		name    string
		rule    fault.Rule
		ports   int // that the server may open
		message string
		why     string
	}{
		{"from another port", fault.On("DATA").During("block 1").Do(tftpd.FromOtherPort{Besides: true}).Once(), 1, "DATA", "no socket to go astray: no more"},
		{"from another address", fault.On("DATA").During("block 1").Do(tftpd.FromOtherAddress{Besides: true}).Once(), 1, "DATA", "no socket to go astray: no more"},
		{"all from another address", fault.On("RRQ").Do(tftpd.AnswerElsewhere{}).Once(), 0, "RRQ", "no socket for the transfer: no more"},
		{"a closed one", fault.On("DATA").During("block 1").Do(tftpd.FromOtherPort{Besides: true}).Once(), -1, "DATA", "not sent: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["own"] = content(600)
				b.faults.Add(c.rule)
				opened := 0
				open := func(at netip.AddrPort) (net.PacketConn, error) {
					opened++
					if c.ports >= 0 && opened > c.ports {
						return nil, errors.New("no more")
					}
					conn, err := b.net.Listen(at)
					if opened > 1 {
						_ = conn.Close()
					}
					return conn, err
				}
				b.start(func(cfg *tftpd.Config) {
					cfg.Transfer = func(a netip.Addr) (net.PacketConn, error) { return open(netip.AddrPortFrom(a, 0)) }
					cfg.Elsewhere = func(port uint16) (net.PacketConn, error) {
						return open(netip.AddrPortFrom(netip.MustParseAddr(elsewhere), port))
					}
				})
				b.client(handset).begin()
				synctest.Wait()
				odd := b.of(timeline.ServiceOddity)
				if len(odd) != 1 || odd[0].Message != c.message || !strings.HasPrefix(odd[0].Reason, c.why) || odd[0].Fields[timeline.FaultUndone] != c.rule.Effect().String() {
					t.Errorf("oddities %+v, want that of %s", odd, c.rule)
				}
			})
		})
	}
	t.Run("without a fault it is no more than odd", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.files["own"] = content(600)
			b.start(func(cfg *tftpd.Config) {
				cfg.Transfer = func(netip.Addr) (net.PacketConn, error) { return nil, errors.New("no more") }
			})
			b.client(handset).begin()
			synctest.Wait()
			if odd := b.of(timeline.ServiceOddity); len(odd) != 1 || odd[0].Fields[timeline.FaultUndone] != "" {
				t.Errorf("oddities %+v, want one that no fault told", odd)
			}
		})
	})
}

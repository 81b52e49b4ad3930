package tftpd_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/tftpd"
)

// tale is one client's transfer of the file "own" under faults.
type tale struct {
	name  string
	size  int // of the file
	rules []fault.Rule
	play  func(*client)
	// fired is how often the rules fire together, 0: once.
	fired int
	// Of the journal's entry, where it has one: what went out and was
	// acknowledged, whether it was whole.
	served   []byte
	complete bool
	reason   string
	edit     func(*bench, *tftpd.Config)
}

func (c tale) run(t *testing.T) {
	t.Helper()
	t.Run(c.name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.files["own"] = content(c.size)
			w := newWitness(t)
			b.net.Through = w.through
			s, _ := b.start(func(cfg *tftpd.Config) {
				cfg.Elsewhere = func(port uint16) (net.PacketConn, error) {
					return b.net.Listen(netip.AddrPortFrom(netip.MustParseAddr(elsewhere), port))
				}
				if c.edit != nil {
					c.edit(b, cfg)
				}
			})
			for _, r := range c.rules {
				if err := s.Can(r.Effect()); err != nil {
					t.Fatal(err)
				}
				b.faults.Add(r)
			}
			c.play(b.client(handset))
			synctest.Wait()
			want, fired := max(c.fired, 1), 0
			for _, n := range b.faults.Ledger() {
				fired += n.Fired
			}
			if entries := len(b.of(timeline.FaultFired)); fired != want || entries != want {
				t.Errorf("fired %d times, journalled %d times, want %d", fired, entries, want)
			}
			b.mu.Lock()
			events := slices.Clone(b.events)
			b.mu.Unlock()
			w.agrees(events)
			if c.served == nil {
				return
			}
			e := b.served()
			if e.Bytes != int64(len(c.served)) || e.SHA256 != hashOf(c.served) || e.Complete != c.complete || e.Reason != c.reason {
				t.Errorf("journal has %d bytes, hash %s, complete %t, %q; want %d, %s, %t, %q", e.Bytes, e.SHA256, e.Complete, e.Reason,
					len(c.served), hashOf(c.served), c.complete, c.reason)
			}
		})
	})
}

const elsewhere = "192.0.2.2"

// block is DATA packet n of the file of a tale in blocks of 512 bytes.
func block(size, n int) []byte {
	return data(n, content(size)[(n-1)*512:min(n*512, size)])
}

// take expects block n and acknowledges it.
func (c *client) take(size, n int) {
	c.t.Helper()
	c.expect(fmt.Sprintf("block %d", n), block(size, n))
	c.send(ack(n))
}

// begin asks for the file.
func (c *client) begin(opts ...string) {
	c.t.Helper()
	c.ask(rrq("own", "octet", opts...))
}

// after expects a packet not sooner than in so long.
func (c *client) after(wait time.Duration, what string, want []byte) {
	c.t.Helper()
	c.expectNothing(wait - time.Millisecond)
	got := c.next(2 * time.Millisecond)
	if string(got) != string(want) {
		c.t.Fatalf("%s: got %s, want %s", what, show(got), show(want))
	}
}

// deed is something done on the bench.
type deed struct{}

func (deed) String() string { return "cuts the power" }
func (deed) Deed()          {}

// TestThePlanIsAskedAtEachPoint lets deeds write down where the server stood.
func TestThePlanIsAskedAtEachPoint(t *testing.T) {
	for _, c := range []struct {
		name string
		rule fault.Rule
		// acked is how much of the 1100 bytes the client had acknowledged, and
		// over whether the journal had the end of the transfer.
		acked int
		over  bool
	}{
		{"the request", fault.On("RRQ"), -1, false},
		{"the OACK", fault.On("OACK"), -1, false},
		{"a block", fault.On("own").During("block 3"), 2, false},
		{"so many bytes", fault.On("DATA").Behind(1000), 2, false},
		{"the end", fault.On("done"), 3, true},
		{"the end of this file, with all its bytes", fault.On("done").Behind(1100), 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.files["own"] = content(1100)
				acked := -1
				b.net.Through = func(_, _ netip.AddrPort, pkt []byte) [][]byte {
					if pkt[1] == 4 {
						acked = int(binary.BigEndian.Uint16(pkt[2:]))
					}
					return [][]byte{pkt}
				}
				done := 0
				b.faults.Act(func(fault.Deed, string) {
					done++
					if over := len(b.of(timeline.Served)) > 0; acked != c.acked || over != c.over {
						t.Errorf("done after ACK %d, transfer over %t; want %d, %t", acked, over, c.acked, c.over)
					}
				})
				b.faults.Add(c.rule.Do(deed{}).Once())
				b.start()
				if _, err := b.client(handset).fetch("own", "tsize", "0"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if done != 1 {
					t.Errorf("done %d times, want once", done)
				}
			})
		})
	}
	t.Run("a transfer that breaks off is not done", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.files["own"] = content(1100)
			b.faults.Act(func(fault.Deed, string) { t.Error("done") })
			b.faults.Add(fault.On("done").Do(deed{}))
			b.faults.Add(fault.On("DATA").Do(tftpd.Fail{}).From(3))
			b.start()
			if _, err := b.client(handset).fetch("own"); err == nil {
				t.Error("no ERROR came")
			}
			synctest.Wait()
		})
	})
}

// TestARuleOnAFileWaitsForAPointThatItsEffectFits has an effect on DATA only.
func TestARuleOnAFileWaitsForAPointThatItsEffectFits(t *testing.T) {
	tale{
		name: "a bit of the first block", size: 600, rules: []fault.Rule{fault.On("own").Do(tftpd.BlockNumber{By: 1}).Once()},
		play: func(c *client) {
			c.begin("tsize", "0")
			c.expect("OACK", oack("tsize", "600"))
			c.send(ack(0))
			c.expect("block 1, misnumbered", data(2, content(600)[:512]))
		},
	}.run(t)
	tale{
		name: "another service's effect does not count", size: 600,
		rules: []fault.Rule{fault.On("own").Do(tftpd.Drop{}).During("block 2").Once()},
		play: func(c *client) {
			c.begin()
			c.take(600, 1)
			c.after(time.Second, "block 2", block(600, 2))
			c.send(ack(2))
		},
		served: content(600), complete: true,
		edit: func(b *bench, _ *tftpd.Config) { b.faults.Add(fault.On("*").Do(foreignEffect{})) },
	}.run(t)
}

func TestEffectsSayWhatTheyDoAndAreChecked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bare, _ := b.start()
	with, _ := newBench(t).start(func(c *tftpd.Config) {
		c.Elsewhere = func(uint16) (net.PacketConn, error) { return nil, net.ErrClosed }
	})
	for _, c := range []struct {
		effect tftpd.Effect
		text   string
		wrong  string // what Can says
	}{
		{tftpd.Drop{}, "drops it", ""},
		{tftpd.Fail{Code: 3, Text: "full"}, `answers ERROR 3 "full"`, ""},
		{tftpd.Fail{Text: "a\x00b"}, `answers ERROR 0 "a\x00b"`, `tftpd cannot send a NUL in the text of an ERROR: "a\x00b"`},
		{tftpd.FallSilent{AfterBytes: 7}, "falls silent after 7 bytes", ""},
		{tftpd.FallSilent{AfterBytes: -1}, "falls silent after -1 bytes", "tftpd cannot fall silent after -1 bytes"},
		{tftpd.Delay{By: 3 * time.Second}, "sends it 3s late", ""},
		{tftpd.Delay{}, "sends it 0s late", "tftpd cannot send 0s late: up to an hour"},
		{tftpd.Delay{By: 2 * time.Hour}, "sends it 2h0m0s late", "tftpd cannot send 2h0m0s late: up to an hour"},
		{tftpd.Duplicate{Copies: 1}, "sends it twice", ""},
		{tftpd.Duplicate{Copies: 4}, "sends it 5 times", ""},
		{tftpd.Duplicate{}, "sends it 1 times", "tftpd cannot send 0 copies: 1 to 1000"},
		{tftpd.Duplicate{Copies: 1001}, "sends it 1002 times", "tftpd cannot send 1001 copies: 1 to 1000"},
		{tftpd.Swap{}, "sends it behind the next one", ""},
		{tftpd.FlipBit{Byte: 17, Bit: 7}, "flips bit 7 of byte 17", ""},
		{tftpd.FlipBit{Byte: -1}, "flips bit 0 of byte -1", "tftpd cannot flip bit 0 of byte -1"},
		{tftpd.FlipBit{Bit: 8}, "flips bit 8 of byte 0", "tftpd cannot flip bit 8 of byte 0"},
		{tftpd.Resize{To: 100}, "makes it 100 bytes long", ""},
		{tftpd.Resize{To: -1}, "makes it -1 bytes long", "tftpd cannot send -1 bytes in a packet: 0 to 65464"},
		{tftpd.Resize{To: 65465}, "makes it 65465 bytes long", "tftpd cannot send 65465 bytes in a packet: 0 to 65464"},
		{tftpd.FromOtherPort{}, "sends it from another port", ""},
		{tftpd.FromOtherPort{Besides: true}, "sends it from another port besides", ""},
		{tftpd.BlockNumber{By: 2}, "numbers it 2 too high", ""},
		{tftpd.BlockNumber{By: -2}, "numbers it 2 too low", ""},
		{tftpd.BlockNumber{}, "numbers it 0 too high", "tftpd cannot misnumber a block by 0: 1 to 65535, or below 0"},
		{tftpd.BlockNumber{By: 65536}, "numbers it 65536 too high", "tftpd cannot misnumber a block by 65536: 1 to 65535, or below 0"},
		{tftpd.WrapToOne{}, "counts on from block 65535 to 1", ""},
		{tftpd.OmitLast{}, "never sends the last block", ""},
		{tftpd.Endless{Bytes: 1 << 20}, "does not end for 1048576 bytes more", ""},
		{tftpd.Endless{}, "does not end for 0 bytes more", "tftpd cannot go on for 0 bytes: 1 to 4294967296"},
		{tftpd.Careless{}, "answers each ACK with the next block, however often it comes", ""},
		{tftpd.RefuseOptions{}, "refuses options with ERROR 8", ""},
		{tftpd.IgnoreOptions{}, "ignores the options", ""},
		{tftpd.Offer{Options: "blksize=0 tsize=-1"}, "offers blksize=0 tsize=-1", ""},
		{tftpd.Offer{Options: "blksize="}, "offers blksize=", ""},
		{tftpd.Offer{}, "offers ", "tftpd cannot offer nothing; see IgnoreOptions"},
		{tftpd.Offer{Options: "blksize"}, "offers blksize", `tftpd cannot offer "blksize": "blksize" is no name=value`},
		{tftpd.Offer{Options: "a=\x00"}, "offers a=\x00", `tftpd cannot offer "a=\x00": up to 512 bytes without NUL`},
		{tftpd.LieAboutSize{By: -7}, "tells a tsize that is off by -7", ""},
		{tftpd.LieAboutSize{}, "tells a tsize that is off by +0", "tftpd cannot lie about a size by 0 bytes"},
	} {
		if got := c.effect.String(); got != c.text {
			t.Errorf("got %q, want %q", got, c.text)
		}
		got := ""
		if err := bare.Can(c.effect); err != nil {
			got = err.Error()
		}
		if got != c.wrong {
			t.Errorf("%s: got %q, want %q", c.text, got, c.wrong)
		}
	}
	for effect, text := range map[tftpd.Effect]string{
		tftpd.FromOtherAddress{}:              "sends it from another address",
		tftpd.FromOtherAddress{Besides: true}: "sends it from another address besides",
		tftpd.AnswerElsewhere{}:               "answers from another address",
	} {
		if got := effect.String(); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
		if err := bare.Can(effect); err == nil {
			t.Errorf("%v: not refused without another address", effect)
		}
		if err := with.Can(effect); err != nil {
			t.Errorf("%v: %v", effect, err)
		}
	}
}

package impair_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/impair"
	"ip88rig/rig/wire"
)

const (
	handset = "192.0.2.7"
	rig     = "192.0.2.1"
)

// sum is the Internet checksum (RFC 1071) as a receiver verifies it: 0xffff is
// right.
func sum(parts ...[]byte) uint16 {
	var s uint32
	for _, b := range parts {
		for i, c := range b {
			if i%2 == 0 {
				s += uint32(c) << 8
			} else {
				s += uint32(c)
			}
		}
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// packet is an Ethernet frame with an IPv4 packet of UDP (17) or TCP (6) with
// right checksums.
func packet(protocol byte, src, dst, payload string) []byte {
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	head := 8
	if protocol == 6 {
		head = 20
	}
	body := append(make([]byte, head), payload...)
	binary.BigEndian.PutUint16(body, from.Port())
	binary.BigEndian.PutUint16(body[2:], to.Port())
	at := 6
	if protocol == 6 {
		body[12], at = 5<<4, 16
	} else {
		binary.BigEndian.PutUint16(body[4:], uint16(len(body)))
	}
	ip := make([]byte, 20)
	ip[0], ip[8], ip[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(body)))
	copy(ip[12:], from.Addr().AsSlice())
	copy(ip[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip))
	binary.BigEndian.PutUint16(body[at:], ^sum(ip[12:20], []byte{0, protocol, 0, byte(len(body))}, body))
	return slices.Concat([]byte{0, 0, 0x5e, 0, 0x53, 1, 0, 0, 0x5e, 0, 0x53, 2, 8, 0}, ip, body)
}

// intact tells whether every checksum of a frame is right.
func intact(f []byte) bool {
	ip := f[14:34]
	body := f[34:]
	return sum(ip) == 0xffff && sum(ip[12:20], []byte{0, ip[9], 0, byte(len(body))}, body) == 0xffff
}

func data(payload string) []byte {
	return packet(17, rig+":40000", handset+":2001", "\x00\x03\x00\x01"+payload)
}

// bad is a wire with the rules in force.
type bad struct {
	*impair.Server
	plan    fault.Plan
	journal []timeline.Event
}

func newBad(t *testing.T, rules ...fault.Rule) *bad {
	t.Helper()
	b := &bad{}
	var mu sync.Mutex
	b.Server = impair.New(impair.Config{Faults: &b.plan, Record: func(e timeline.Event) {
		mu.Lock()
		defer mu.Unlock()
		b.journal = append(b.journal, e)
	}})
	for _, r := range rules {
		if err := b.Can(r.Effect()); err != nil {
			t.Fatal(err)
		}
		b.plan.Add(b.Bind(r))
	}
	return b
}

// fates judges n frames of one direction: x is lost, . passes, else what is done.
func (b *bad) fates(outbound bool, n int) string {
	var s strings.Builder
	for range n {
		v := b.Judge(outbound, wire.Frame{Data: data("some payload"), Number: 3})
		switch {
		case v.Drop:
			s.WriteString("x")
		case v.Delay > 0:
			fmt.Fprintf(&s, "[%v]", v.Delay)
		case v.Copies > 0:
			fmt.Fprintf(&s, "(%d)", v.Copies)
		case v.Data != nil:
			s.WriteString("!")
		default:
			s.WriteString(".")
		}
	}
	return s.String()
}

func TestWhatBecomesOfFrames(t *testing.T) {
	const ms = time.Millisecond
	to := fault.On(impair.ToHandset)
	for _, tt := range []struct {
		name     string
		rules    []fault.Rule
		out, in  string
		sentence string
	}{
		{"nothing is declared", nil, "......", "......", ""},
		{"all are lost in one direction", []fault.Rule{to.Do(impair.Lose{})}, "xxxxxx", "......", "on frame to handset in wire: loses it"},
		{
			"the third and the fourth from the handset are lost",
			[]fault.Rule{fault.On(impair.FromHandset).Do(impair.Lose{}).From(3).Times(2)},
			"......", "..xx..", "on frame from handset in wire from occasion 3: loses it, 2 times",
		},
		{
			"by a pattern, each direction by itself",
			[]fault.Rule{fault.On("*").Do(impair.Lose{Pattern: "..x"})},
			"..x..x", "..x..x", "on * in wire: loses it by the pattern ..x",
		},
		{
			"by chance",
			[]fault.Rule{to.Do(impair.Lose{Percent: 50, Seed: 1})},
			".x.x.x", "......", "on frame to handset in wire: loses it with a chance of 50 % (seed 1)",
		},
		{"a pattern that is bounded", []fault.Rule{to.Do(impair.Lose{Pattern: ".x"}).Times(2)}, ".x.x..", "......", ""},
		{"of one kind", []fault.Rule{fault.On("tftp").Do(impair.Lose{})}, "xxxxxx", "xxxxxx", ""},
		{"of another kind", []fault.Rule{fault.On("DHCP").Do(impair.Lose{})}, "......", "......", ""},
		{"in another phase", []fault.Rule{to.During("later").Do(impair.Lose{})}, "......", "......", ""},
		{"in another service", []fault.Rule{fault.On("block 1").Do(impair.Lose{})}, "......", "......", ""},
		{
			"in bursts",
			[]fault.Rule{to.Do(impair.Burst{Enter: 30, Leave: 30, Bad: 100, Seed: 2})},
			"xxx...", "......", "on frame to handset in wire: loses it in bursts: turns bad with 30 %, good with 30 %, loses 0 % when good, 100 % when bad (seed 2)",
		},
		{"late", []fault.Rule{to.Do(impair.Delay{D: 20 * ms}).Once()}, "[20ms].....", "......", "on frame to handset in wire: delays it by 20ms, once"},
		{"each third goes out of order", []fault.Rule{to.Do(impair.Reorder{Every: 3, By: ms})}, "..[1ms]..[1ms]", "......", "on frame to handset in wire: holds each 3. back by 1ms, past those behind it"},
		{"doubled", []fault.Rule{to.Do(impair.Duplicate{Copies: 2}).Times(2)}, "(2)(2)....", "......", "on frame to handset in wire: sends it 3 times, 2 times"},
		{"damaged by a pattern", []fault.Rule{to.Do(impair.Corrupt{Pattern: "..x"})}, "..!..!", "......", ""},
		{"damaged", []fault.Rule{to.Do(impair.Corrupt{}).From(6)}, ".....!", "......", "on frame to handset in wire from occasion 6: turns over a bit of it (seed 0)"},
		{
			"rules add up, and what is lost is lost",
			[]fault.Rule{to.Do(impair.Delay{D: ms}), to.Do(impair.Lose{Pattern: "x."}), to.Do(impair.Delay{D: ms})},
			"x[2ms]x[2ms]x[2ms]", "......", "",
		},
		{
			"two rules alike have each a pattern of its own",
			[]fault.Rule{to.Do(impair.Lose{Pattern: "x.."}), to.Do(impair.Lose{Pattern: "x.."})},
			"xx.x.x", "......", "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // the same again
				b := newBad(t, tt.rules...)
				if got := b.fates(true, 6); got != tt.out {
					t.Errorf("to the handset: %s, want %s", got, tt.out)
				}
				if got := b.fates(false, 6); got != tt.in {
					t.Errorf("from the handset: %s, want %s", got, tt.in)
				}
				if tt.sentence != "" && (len(b.journal) == 0 || b.journal[0].Reason != tt.sentence) {
					t.Errorf("journal %+v, want %q", b.journal, tt.sentence)
				}
				if len(tt.rules) == 1 {
					fired := b.plan.Ledger()[0].Fired
					if want := 12 - strings.Count(tt.out+tt.in, "."); !strings.ContainsAny(tt.out, "[(") && fired != want {
						t.Errorf("the ledger says %d, want %d", fired, want)
					}
				}
			}
		})
	}
}

// Chance comes near what it is called, and another seed gives other frames.
func TestChanceIsSeeded(t *testing.T) {
	const n = 4000
	fates := func(e fault.Effect) string { return newBad(t, fault.On("*").Do(e)).fates(true, n) }
	one := fates(impair.Lose{Percent: 20, Seed: 1})
	if lost := strings.Count(one, "x"); lost < n*17/100 || lost > n*23/100 {
		t.Errorf("lost %d of %d, want about a fifth", lost, n)
	}
	if fates(impair.Lose{Percent: 20, Seed: 1}) != one {
		t.Error("the same seed gave other frames")
	}
	if fates(impair.Lose{Percent: 20, Seed: 2}) == one {
		t.Error("another seed gave the same frames")
	}
	// On the average 1 in 11 frames meets a bad wire, for 10 frames each time.
	burst := fates(impair.Burst{Enter: 1, Leave: 10, Bad: 100, Seed: 1})
	lost, runs := strings.Count(burst, "x"), strings.Count("."+burst, ".x")
	if lost < n*5/100 || lost > n*14/100 || lost < 6*runs {
		t.Errorf("lost %d of %d in %d bursts, want about 9 %% in bursts of 10", lost, n, runs)
	}
	if fates(impair.Duplicate{Copies: 1, Percent: 20, Seed: 1}) == strings.Repeat(".", n) {
		t.Error("no frame was doubled")
	}
}

func TestADelayWithJitterStaysWithin(t *testing.T) {
	const d, jitter = 20 * time.Millisecond, 15 * time.Millisecond
	b := newBad(t, fault.On("*").Do(impair.Delay{D: d, Jitter: jitter, Seed: 1}))
	seen := map[time.Duration]bool{}
	for range 200 {
		v := b.Judge(true, wire.Frame{Data: data("x")})
		if v.Delay < d-jitter || v.Delay > d+jitter || !v.Ordered {
			t.Fatalf("%+v, want %v to %v, in order", v, d-jitter, d+jitter)
		}
		seen[v.Delay] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d different delays", len(seen))
	}
}

func TestALimitedWireSendsOneFrameAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		size := len(data("x"))
		b := newBad(t, fault.On("*").Do(impair.Limit{BytesPerSecond: size * 10, Queue: size * 3}))
		if got, want := b.limited(4), "100ms 200ms 300ms lost"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		<-time.After(250 * time.Millisecond) // half of the third is left
		if got, want := b.limited(3), "150ms 250ms lost"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		<-time.After(time.Hour)
		if got, want := b.limited(1), "100ms"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		// The other direction is as idle as it was.
		if v := b.Judge(false, wire.Frame{Data: data("x")}); v.Delay != 100*time.Millisecond {
			t.Errorf("the other direction: %+v", v)
		}
	})
}

func (b *bad) limited(n int) string {
	var out []string
	for range n {
		v := b.Judge(true, wire.Frame{Data: data("x")})
		if v.Drop {
			out = append(out, "lost")
		} else {
			out = append(out, v.Delay.String())
		}
	}
	return strings.Join(out, " ")
}

func TestOneBitIsTurnedOver(t *testing.T) {
	fragment := data("a piece")
	binary.BigEndian.PutUint16(fragment[20:], 0x2000)
	for _, tt := range []struct {
		name  string
		mend  bool
		frame []byte
		bits  int // that differ in the payload; -1: the frame is spared
		fine  bool
	}{
		{"of UDP", false, data("hello"), 1, false},
		{"of UDP, mended", true, data("hello"), 1, true},
		{"of TCP", false, packet(6, rig+":80", handset+":2001", "hello"), 1, false},
		{"of TCP, mended", true, packet(6, rig+":80", handset+":2001", "hello"), 1, true},
		{"of TCP without payload, mended", true, packet(6, rig+":80", handset+":2001", ""), -1, true},
		{"of UDP without payload, mended", true, packet(17, rig+":80", handset+":2001", ""), -1, true},
		{"of a piece, mended", true, fragment, -1, true},
		{"of ARP", false, slices.Concat(make([]byte, 12), []byte{8, 6}, make([]byte, 28)), -1, true},
		{"of nothing", false, nil, -1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBad(t, fault.On("*").Do(impair.Corrupt{Mend: tt.mend, Seed: 5}))
			before := bytes.Clone(tt.frame)
			for range 300 {
				v := b.Judge(true, wire.Frame{Data: tt.frame})
				if !bytes.Equal(tt.frame, before) {
					t.Fatal("the frame itself was changed")
				}
				if tt.bits < 0 {
					if v.Data != nil || b.plan.Ledger()[0].Fired != 0 {
						t.Fatalf("it was damaged: % x", v.Data)
					}
					continue
				}
				turned, checksum := 0, 40
				if tt.frame[23] == 6 {
					checksum = 50
				}
				for i := range before {
					if tt.mend && (i == checksum || i == checksum+1) {
						continue
					}
					for x := before[i] ^ v.Data[i]; x != 0; x &= x - 1 {
						turned++
					}
				}
				if turned != tt.bits || !bytes.Equal(v.Data[:14], before[:14]) {
					t.Fatalf("%d bits differ, want %d:\n% x\n% x", turned, tt.bits, before, v.Data)
				}
				if got := wellFormed(v.Data) && intact(v.Data); got != tt.fine {
					t.Fatalf("checksums right: %t, want %t: % x", got, tt.fine, v.Data)
				}
			}
			if tt.bits > 0 && b.plan.Ledger()[0].Fired != 300 {
				t.Errorf("fired %d times, want 300", b.plan.Ledger()[0].Fired)
			}
		})
	}
}

// wellFormed tells whether intact may look at a frame.
func wellFormed(f []byte) bool {
	return f[14] == 0x45 && int(binary.BigEndian.Uint16(f[16:])) == len(f)-14 && (f[23] == 17 || f[23] == 6)
}

func TestEveryEffectPrintsAndIsChecked(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		effect fault.Effect
		text   string
		err    string // part of; blank: the wire can do it
	}{
		{impair.Lose{}, "loses it", ""},
		{impair.Lose{Pattern: "..x.x"}, "loses it by the pattern ..x.x", ""},
		{impair.Lose{Percent: 0.5, Seed: 3}, "loses it with a chance of 0.5 % (seed 3)", ""},
		{impair.Lose{Percent: 101}, "", "a chance of 101 % is not 0 to 100"},
		{impair.Lose{Percent: -1}, "", "not 0 to 100"},
		{impair.Lose{Percent: 10, Pattern: "x"}, "", "not both"},
		{impair.Lose{Pattern: "..o"}, "", "is not made of . and x"},
		{impair.Lose{Pattern: "..."}, "", "is not made of . and x"},
		{impair.Burst{Enter: 1, Leave: 10, Bad: 100}, "loses it in bursts: turns bad with 1 %, good with 10 %, loses 0 % when good, 100 % when bad (seed 0)", ""},
		{impair.Burst{Enter: 1, Leave: 10}, "", "there are none"},
		{impair.Burst{Enter: 1, Leave: 10, Bad: 1000}, "", "not 0 to 100"},
		{impair.Delay{D: s}, "delays it by 1s", ""},
		{impair.Delay{D: s, Jitter: s / 2, Seed: 1}, "delays it by 1s, up to 500ms more or less (seed 1)", ""},
		{impair.Delay{}, "", "needs more than 0"},
		{impair.Delay{D: s, Jitter: 2 * s}, "", "no more jitter than that"},
		{impair.Duplicate{Copies: 1}, "sends it 2 times", ""},
		{impair.Duplicate{Copies: 1, Percent: 5, Seed: 1}, "sends it 2 times with a chance of 5 % (seed 1)", ""},
		{impair.Duplicate{}, "", "needs 1 to 100"},
		{impair.Duplicate{Copies: 1, Percent: 500}, "", "not 0 to 100"},
		{impair.Reorder{Every: 2, By: s}, "holds each 2. back by 1s, past those behind it", ""},
		{impair.Reorder{Every: 1, By: s}, "", "each second or less often"},
		{impair.Reorder{Every: 2}, "", "by more than 0"},
		{impair.Corrupt{Mend: true}, "turns over a bit of its payload and mends the checksums (seed 0)", ""},
		{impair.Corrupt{Percent: 5, Seed: 1}, "turns over a bit of it with a chance of 5 % (seed 1)", ""},
		{impair.Corrupt{Pattern: ".x"}, "turns over a bit of it by the pattern .x (seed 0)", ""},
		{impair.Corrupt{Pattern: "xyz"}, "", "is not made of . and x"},
		{impair.Corrupt{Percent: 5, Pattern: "x"}, "", "not both"},
		{impair.Corrupt{Percent: 500}, "", "not 0 to 100"},
		{impair.Limit{BytesPerSecond: 1000}, "lets 1000 bytes a second through, 65536 wait", ""},
		{impair.Limit{}, "", "at least 1 a second"},
		{impair.LinkDown{For: s}, "takes the link down for 1s", ""},
		{impair.LinkDown{}, "", "needs more than 0"},
		{impair.PowerCut{For: s}, "cuts the power for 1s", ""},
		{impair.PowerCut{After: s, For: s}, "cuts the power after 1s for 1s", ""},
		{impair.PowerCut{After: s}, "", "more than 0"},
		{impair.Phase{Name: "boot"}, `begins the wire's phase "boot"`, ""},
		{impair.Phase{}, "", "needs a name"},
		{impair.Air{Does: impair.Deauth, Back: s}, "de-authenticates the module, and gives the module 1s to come back", ""},
		{impair.Air{Does: impair.Restart, For: s, Back: s}, "takes the access point away for 1s, and gives the module 1s to come back", ""},
		{impair.Air{Does: impair.WrongPassphrase, For: s, Back: s}, "has the access point want another passphrase for 1s, and gives the module 1s to come back", ""},
		{impair.Air{Does: impair.Roam, Back: s}, "leaves the module another access point, and gives the module 1s to come back", ""},
		{impair.Air{Does: impair.Channel, Back: s}, "moves the access point to another channel, and gives the module 1s to come back", ""},
		{impair.Air{Does: impair.Roam}, "", "more than 0 to come back"},
		{impair.Air{Does: impair.Roam, For: s, Back: s}, "", "what does not 0"},
		{impair.Air{Does: impair.Restart, Back: s}, "", "what lasts needs more than 0"},
		{impair.Air{Does: "passphrase-right", For: s, Back: s}, "", "an access point does no"},
		{foreign{}, "", "the wire cannot do impair_test.foreign"},
	} {
		err := newBad(t).Can(tt.effect)
		switch {
		case tt.err == "" && err != nil, tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%#v: got %v, want %q", tt.effect, err, tt.err)
		case tt.err == "" && tt.effect.String() != tt.text:
			t.Errorf("%#v prints %q, want %q", tt.effect, tt.effect, tt.text)
		}
	}
}

type foreign struct{}

func (foreign) String() string { return "does something else" }

// The journal holds the first frame of each flow that a rule did something to,
// and how often it did so in all.
func TestTheJournalTellsOncePerFlowAndSumsUp(t *testing.T) {
	b := newBad(t, fault.On("*").Do(impair.Lose{}))
	rrq := packet(17, handset+":2001", rig+":69", "\x00\x01a\x00octet\x00")
	arp := slices.Concat(make([]byte, 12), []byte{8, 6}, make([]byte, 28))
	for range 3 {
		b.Judge(false, wire.Frame{Data: rrq, Number: 7})
		b.Judge(true, wire.Frame{Data: data("hello")})
		b.Judge(false, wire.Frame{Data: arp, Number: 9})
	}
	const sentence = "on * in wire: loses it"
	told := func(src, dst, message, kind string, frame int) timeline.Event {
		e := timeline.Event{
			By: impair.By, Kind: timeline.FaultFired, Message: message, Reason: sentence, Frame: frame,
			Fields: map[string]string{impair.Did: impair.Lost, "impair.kind": kind},
		}
		if src != "" {
			e.Src, e.Dst = netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
		}
		return e
	}
	want := []timeline.Event{
		told(handset+":2001", rig+":69", impair.FromHandset, "TFTP", 7),
		told(handset+":2001", rig+":40000", impair.ToHandset, "TFTP", 0),
		told("", "", impair.FromHandset, "ARP", 9),
	}
	compare(t, b.journal, want)
	b.Sum()
	want = append(want, timeline.Event{By: impair.By, Kind: timeline.Note, Message: "faults in all", Number: 9, Reason: sentence + ": 9 times in all"})
	compare(t, b.journal, want)
	b.Sum() // nothing since
	compare(t, b.journal, want)
	b.Judge(false, wire.Frame{Data: rrq, Number: 8}) // in the next recording it is told again
	b.Sum()                                          // once, as the journal shows
	compare(t, b.journal, append(want, told(handset+":2001", rig+":69", impair.FromHandset, "TFTP", 8)))
}

func compare(t *testing.T, got, want []timeline.Event) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("journal\n%s\nwant\n%s", g, w)
	}
}

func TestPhaseAndLinkAndCalm(t *testing.T) {
	later := fault.On(impair.ToHandset).During("later").Do(impair.Lose{}).From(2).Times(2)
	b := newBad(t, later)
	b.plan.Act(func(d fault.Deed, sentence string) {
		if phase, ok := d.(impair.Phase); ok {
			b.SetPhase(phase.Name)
			return
		}
		b.SetLink(false, sentence)
	})
	b.plan.Add(b.Bind(fault.On(impair.ToHandset).Do(impair.Phase{Name: "later"}).From(3).Once()))
	b.plan.Add(b.Bind(fault.On(impair.ToHandset).Do(impair.LinkDown{For: time.Second}).From(9).Once()))
	// The phase begins behind the third; the ninth frame goes with the link.
	if got, want := b.fates(true, 10), "....xx..xx"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := b.fates(false, 2); got != "xx" {
		t.Errorf("with the link down: %s", got)
	}
	if got := b.Judge(true, wire.Frame{Data: data("")}); got.Comment != "on frame to handset from occasion 9: takes the link down for 1s, once" {
		t.Errorf("%+v", got)
	}
	b.plan.Clear()
	b.Calm()
	if got := b.fates(true, 3) + b.fates(false, 3); got != "......" || b.Phase() != "" {
		t.Errorf("after calm: %s in phase %q", got, b.Phase())
	}
	// A rule declared again begins anew.
	pattern := fault.On("*").Do(impair.Lose{Pattern: "x.."})
	for range 2 {
		b.plan.Add(b.Bind(pattern))
		if got := b.fates(true, 2); got != "x." {
			t.Errorf("declared anew: %s", got)
		}
		b.plan.Clear()
		b.Calm()
	}
}

func TestKindsAreKnownByTheirPorts(t *testing.T) {
	udp := func(src, dst, payload string) []byte { return packet(17, handset+":"+src, rig+":"+dst, payload) }
	tcp := func(port string) []byte { return packet(6, rig+":"+port, handset+":2001", "") }
	piece := udp("2001", "69", "x")
	binary.BigEndian.PutUint16(piece[20:], 185)
	for name, tt := range map[string]struct {
		frame []byte
		want  string
	}{
		"ARP":                    {slices.Concat(make([]byte, 12), []byte{8, 6}, make([]byte, 28)), "ARP"},
		"DISCOVER":               {packet(17, "0.0.0.0:68", "255.255.255.255:67", "x"), "DHCP"},
		"RRQ":                    {udp("2001", "69", "x"), "TFTP"},
		"DATA":                   {data("x"), "TFTP"},
		"ACK":                    {udp("2001", "40000", "\x00\x04\x00\x01"), "TFTP"},
		"voice":                  {udp("2001", "40000", "\x80\x00\x00\x01"), "UDP"},
		"name":                   {udp("2001", "53", "x"), "DNS"},
		"time":                   {udp("123", "123", "x"), "SNTP"},
		"REGISTER":               {udp("5060", "5060", "x"), "SIP"},
		"log":                    {udp("2001", "514", "x"), "syslog"},
		"GET":                    {tcp("80"), "HTTP"},
		"ClientHello":            {tcp("443"), "HTTPS"},
		"telnet":                 {tcp("23"), "TCP"},
		"ping":                   {packet(1, rig+":2048", handset+":1", ""), "ICMP"},
		"a later piece":          {piece, "IPv4"},
		"another protocol":       {packet(2, rig+":1", handset+":1", ""), "IPv4"},
		"IPv6":                   {slices.Concat(make([]byte, 12), []byte{0x86, 0xdd}, make([]byte, 40)), "other"},
		"a header that lies":     {udp("2001", "69", "x")[:40], "other"},
		"nothing":                {nil, "other"},
		"an Ethernet head alone": {make([]byte, 14), "other"},
	} {
		if got := impair.Kind(tt.frame); got != tt.want {
			t.Errorf("%s is %q, want %q", name, got, tt.want)
		}
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(data("hello"), uint64(1))
	f.Add(packet(6, rig+":80", handset+":2001", "hello"), uint64(2))
	f.Add([]byte{}, uint64(3))
	f.Fuzz(func(t *testing.T, frame []byte, seed uint64) {
		b := newBad(t, fault.On("*").Do(impair.Corrupt{Mend: seed%2 == 0, Seed: seed}))
		before := bytes.Clone(frame)
		v := b.Judge(seed%3 == 0, wire.Frame{Data: frame})
		if !bytes.Equal(frame, before) {
			t.Fatal("the frame was changed")
		}
		if v.Data != nil && (len(v.Data) != len(frame) || bytes.Equal(v.Data, frame)) {
			t.Fatalf("damaged % x into % x", frame, v.Data)
		}
	})
}

// What it costs where nothing is declared.
func BenchmarkNoRule(b *testing.B) {
	s := impair.New(impair.Config{Faults: &fault.Plan{}})
	f := wire.Frame{Data: data("hello")}
	b.ReportAllocs()
	for b.Loop() {
		if v := s.Judge(true, f); v.Drop {
			b.Fatal("lost")
		}
	}
}

// On a switch, with both hosts' ends in place: what is lost does not arrive, and
// what arrives is what the rules left.
func TestOnASwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := wire.NewSwitch()
		b := newBad(t, fault.On(impair.ToHandset).Do(impair.Lose{Pattern: ".x"}), fault.On(impair.ToHandset).Do(impair.Delay{D: time.Second}))
		port := wire.Impair(sw.Access("rig", 1), func(int, bool, time.Time, []byte, ...string) int { return 0 }, b.Judge)
		phone := sw.Access("handset", 1)
		for i := range 6 {
			if err := port.Send(wire.Frame{Data: data(fmt.Sprint(i))}); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		var got []string
		for range 3 {
			f, err := phone.Receive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(f.Data[len(f.Data)-1]))
		}
		if want := []string{"0", "2", "4"}; !slices.Equal(got, want) || time.Since(began) != time.Second {
			t.Errorf("got %q after %v, want %q after 1s", got, time.Since(began), want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if f, err := phone.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a frame too many: % x, %v", f.Data, err)
		}
		if err := port.Close(); err != nil {
			t.Error(err)
		}
	})
}

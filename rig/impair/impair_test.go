package impair_test

import (
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
		if want := []string{"0", "2", "4"}; !slices.Equal(got, want) || time.Since(began).Truncate(time.Microsecond) != time.Second {
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

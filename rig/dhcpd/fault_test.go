package dhcpd

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

// all returns every frame that went out.
func (c *cable) all() [][]byte {
	var out [][]byte
	for len(c.out) > 0 {
		out = append(out, (<-c.out).Data)
	}
	return out
}

// bootp is the message in a frame without a tag, by the lengths that its IP
// and UDP headers say.
func bootp(t *testing.T, frame []byte) []byte {
	t.Helper()
	if frame[14] != 0x45 || frame[23] != 17 {
		t.Fatalf("not UDP: %x", frame[:42])
	}
	n := int(binary.BigEndian.Uint16(frame[38:]))
	if total := int(binary.BigEndian.Uint16(frame[16:])); total != 20+n || len(frame) < 14+total {
		t.Fatalf("IP of %d bytes, UDP of %d, frame of %d", total, n, len(frame))
	}
	return frame[42 : 34+n]
}

func selects() msg { return kind(3, opt(54, 192, 0, 2, 1), opt(50, 192, 0, 2, 10), phoneList()) }

func reboots() msg { return kind(3, opt(50, 192, 0, 2, 10), phoneList()) }

func renews() msg {
	return kind(3, phoneList()).with(func(m *msg) { m.ciaddr, m.srcIP, m.dst, m.dstIP = "192.0.2.10", "192.0.2.10", server, "192.0.2.1" })
}

func rebinds() msg {
	return kind(3, phoneList()).with(func(m *msg) { m.ciaddr, m.srcIP = "192.0.2.10", "192.0.2.10" })
}

// spoilt hands over one message with one rule in force and returns what was
// sent and what was recorded.
func spoilt(t *testing.T, m msg, rules ...fault.Rule) (frames [][]byte, events []timeline.Event, ledger []fault.Count) {
	t.Helper()
	s, c, j, plan := bench(t, lease())
	for _, r := range rules {
		if err := s.Can(r.Effect()); err != nil {
			t.Fatal(err)
		}
		plan.Add(r)
	}
	s.handle(wire.Frame{Data: m.frame(t), Number: 7})
	return c.all(), j.take(), plan.Ledger()
}

// fires fails unless each rule fired once and is in the journal, before its
// answer.
func fires(t *testing.T, events []timeline.Event, ledger []fault.Count) {
	t.Helper()
	for i, c := range ledger {
		if c.Fired != 1 {
			t.Errorf("%s: fired %d times", c.Rule, c.Fired)
		}
		if len(events) <= i || events[i].Kind != timeline.FaultFired || events[i].Reason != c.Rule.String() || events[i].Frame != 7 {
			t.Errorf("%s: recorded %v", c.Rule, events)
		}
	}
}

// TestAFaultMayStandAtTheMessageOrAtItsAnswer has the same rules at all points
// of all exchanges, and says at which they fire.
func TestAFaultMayStandAtTheMessageOrAtItsAnswer(t *testing.T) {
	inform := kind(8, phoneList()).with(func(m *msg) { m.ciaddr, m.srcIP = "192.0.2.10", "192.0.2.10" })
	for _, tt := range []struct {
		name string
		m    msg
		rule fault.Rule
		want bool
	}{
		{"a DISCOVER", kind(1), fault.On("DISCOVER"), true},
		{"a DISCOVER while selecting", kind(1), fault.On("DISCOVER").During("selecting"), true},
		{"its OFFER", kind(1), fault.On("OFFER").During("selecting"), true},
		{"a DISCOVER, which is no REQUEST", kind(1), fault.On("REQUEST"), false},
		{"a REQUEST while selecting", selects(), fault.On("REQUEST").During("selecting"), true},
		{"its ACK", selects(), fault.On("ACK").During("selecting").In("dhcpd"), true},
		{"a REQUEST while rebooting", reboots(), fault.On("REQUEST").During("rebooting"), true},
		{"its ACK", reboots(), fault.On("ACK").During("rebooting"), true},
		{"a REQUEST while renewing", renews(), fault.On("REQUEST").During("renewing"), true},
		{"its ACK", renews(), fault.On("ACK").During("renewing"), true},
		{"a REQUEST while renewing, which is no rebinding", renews(), fault.On("REQUEST").During("rebinding"), false},
		{"a REQUEST while rebinding", rebinds(), fault.On("REQUEST").During("rebinding"), true},
		{"its ACK", rebinds(), fault.On("ACK").During("rebinding"), true},
		{"an INFORM", inform, fault.On("INFORM").During("informing"), true},
		{"its ACK", inform, fault.On("ACK").During("informing"), true},
		{"the NAK of a wrong address", kind(3, opt(50, 192, 0, 2, 99)), fault.On("NAK").During("rebooting"), true},
		{"a DECLINE", kind(4, opt(50, 192, 0, 2, 10)), fault.On("DECLINE"), true},
		{"a RELEASE", kind(7).with(func(m *msg) { m.ciaddr = "192.0.2.10" }), fault.On("RELEASE"), true},
		{"a message of another handset", kind(1).with(func(m *msg) { m.chaddr = unknown }), fault.On("*"), false},
	} {
		t.Run(tt.name+" is dropped", func(t *testing.T) {
			frames, events, ledger := spoilt(t, tt.m, tt.rule.Do(Drop{}))
			if got := ledger[0].Fired == 1; got != tt.want {
				t.Errorf("fired %t, want %t", got, tt.want)
			}
			if !tt.want {
				return
			}
			fires(t, events, ledger)
			if len(frames) > 0 || len(events) > 1 {
				t.Errorf("%d answers, recorded %v", len(frames), events)
			}
		})
	}
}

func TestADeclineThatIsDroppedIsNotHeard(t *testing.T) {
	l := lease()
	l.Spare = append(l.Spare, l.Addr.Addr().Next())
	s, c, _, plan := bench(t, l)
	plan.Add(fault.On("DECLINE").Do(Drop{}).Once())
	for _, want := range []string{"192.0.2.10", "192.0.2.11"} {
		s.handle(wire.Frame{Data: kind(4, opt(50, 192, 0, 2, 10)).frame(t)})
		s.handle(wire.Frame{Data: kind(1).frame(t)})
		if r := read(t, c.sent(t)); r.yiaddr != want {
			t.Errorf("offered %s, want %s", r.yiaddr, want)
		}
	}
}

func TestTwoRulesActOnOneAnswer(t *testing.T) {
	frames, events, ledger := spoilt(t, kind(1, phoneList()),
		fault.On("DISCOVER").Do(SetOption{Code: 66, Value: "x"}), fault.On("OFFER").Do(SetOption{Code: 150, Value: "\x01"}))
	fires(t, events, ledger)
	r := read(t, frames[0])
	if r.value(66) != "78" || r.value(150) != "01" {
		t.Errorf("option 66 %s, option 150 %s", r.value(66), r.value(150))
	}
}

func TestARuleForAnythingActsOncePerAnswer(t *testing.T) {
	frames, events, ledger := spoilt(t, kind(1, phoneList()), fault.On("*").Do(DoubleOption{Code: 66}))
	fires(t, events, ledger)
	r := read(t, frames[0])
	if n := bytes.Count(r.list, []byte{66}); n != 2 {
		t.Errorf("option 66 stands %d times in %v", n, r.list)
	}
}

func TestAnEffectThatHasNothingToActOnIsSpared(t *testing.T) {
	nak := kind(3, opt(50, 192, 0, 2, 99))
	for _, tt := range []struct {
		name   string
		m      msg
		effect fault.Effect
	}{
		{"an option left out that is not there", kind(1, phoneList()), WithoutOption{Code: 43}},
		{"an option of a relay left out where there is none", kind(1, phoneList()), WithoutOption{Code: 82}},
		{"an option doubled that is not there", kind(1, phoneList()), DoubleOption{Code: 43}},
		{"an option split that is not there", kind(1, phoneList()), SplitOption{Code: 43, At: 1}},
		{"an option split behind its end", kind(1, phoneList()), SplitOption{Code: 150, At: 5}},
		{"an option set to what it is", kind(1, phoneList()), SetOption{Code: 66, Value: string(lease().Options[66])}},
		{"bytes over the same", kind(1, phoneList()), Overwrite{At: 0, Bytes: "\x02"}},
		{"a wrong length that is right", kind(1, phoneList()), WrongLength{Code: 150, Len: 4}},
		{"a NAK in place of a NAK", nak, Nak{}},
		{"the times of a NAK", nak, LeaseTimes{Lease: 1}},
		{"the address of a NAK", nak, WrongAddr{Addr: lease().Router}},
		{"the address that it is", kind(1), WrongAddr{Addr: lease().Addr.Addr()}},
		{"the server that it is", kind(1), WrongServerID{ID: lease().DNS[0]}},
		{"the client that it is", kind(1), WrongChaddr{MAC: phone}},
		{"a second server at an ACK", selects(), SecondServer{ID: lease().Router, Addr: lease().Router}},
		{"a cut behind the end", kind(1), Truncate{Len: 1400}},
		{"an address in use, which is for ARP", kind(1), InUse{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frames, events, ledger := spoilt(t, tt.m, fault.On("*").Do(tt.effect))
			if ledger[0].Fired != 0 || len(events) != 1 {
				t.Errorf("fired %d times, recorded %v", ledger[0].Fired, events)
			}
			whole, _, _ := spoilt(t, tt.m)
			if len(frames) != 1 || !bytes.Equal(frames[0], whole[0]) {
				t.Errorf("sent %x, want %x", frames, whole)
			}
		})
	}
}

// TestAnEffectWithoutRoomIsSparedAndTold has an option that fits into the message
// only without others.
func TestAnEffectWithoutRoomIsSparedAndTold(t *testing.T) {
	l := lease()
	l.Options[43], l.Options[12] = bytes.Repeat([]byte{7}, 300), bytes.Repeat([]byte{8}, 200)
	list := opt(55, 43, 12, 66, 150, 160)
	room := opt(57, 5, 192) // 1472
	long := strings.Repeat("x", 1000)
	for _, tt := range []struct {
		name   string
		effect fault.Effect
		want   string // what has no room; blank: all has
	}{
		{"an option that is as long as can be", SetOption{Code: 160, Value: strings.Repeat("x", maxValue)}, "160"},
		{"one that pushes out another", SetOption{Code: 43, Value: long}, "12"},
		{"an option in one piece", UnsplitOption{Code: 12, Value: long}, "12"},
		{"unknown options", UnknownOptions{Len: maxUnknown}, "248,249,250,251,252,253,254"},
		{"garbage before all", Garbage{Len: maxGarbage, First: true}, ""},
		{"a long option twice", DoubleOption{Code: 43}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c, j, plan := bench(t, l)
			plan.Add(fault.On("OFFER").Do(tt.effect))
			s.handle(frameOf(t, kind(1, list, room)))
			spoilt, events := c.all(), j.take()
			plan.Clear()
			s.handle(frameOf(t, kind(1, list, room)))
			whole := c.all()
			odd := slices.IndexFunc(events, func(e timeline.Event) bool { return e.Kind == timeline.ServiceOddity })
			fired := slices.ContainsFunc(events, func(e timeline.Event) bool { return e.Kind == timeline.FaultFired })
			if spared := bytes.Equal(spoilt[0], whole[0]); spared != (tt.want != "") || fired == spared || (odd >= 0) != spared {
				t.Fatalf("spared %t, fired %t, recorded %+v", spared, fired, events)
			}
			if want := tt.effect.String() + ": spared, there would be no room for " + tt.want; odd >= 0 && events[odd].Reason != want {
				t.Errorf("it says %q, want %q", events[odd].Reason, want)
			}
		})
	}
}

// effects are one of each, with sane parameters.
func effects() []fault.Effect {
	a := lease().Router
	return []fault.Effect{
		Drop{},
		Silence{For: 1},
		Delay{D: 1},
		Duplicate{Copies: 1},
		Nak{},
		WrongServerID{ID: a},
		SecondServer{ID: a, Addr: a},
		SecondServer{ID: a, Addr: a, First: true, Bare: true},
		LeaseTimes{},
		WrongAddr{Addr: a},
		WrongXID{},
		WrongChaddr{MAC: rogue},
		WrongHlen{Len: 16},
		WrongCookie{},
		Truncate{Len: 240},
		Truncate{},
		Overwrite{At: 3, Bytes: "\x01"},
		WithoutOption{Code: 53},
		SetOption{Code: 160},
		DoubleOption{Code: 54},
		SplitOption{Code: 160, At: 3},
		WrongLength{Code: 160, Len: 99},
		UnsplitOption{Code: 160, Value: strings.Repeat("x", 300)},
		UnknownOptions{Len: 4},
		Garbage{Len: 500, Seed: 3},
		Garbage{Len: 500, First: true},
		NoEnd{},
		Overload{File: true, Sname: true},
		InUse{},
	}
}

func TestCanTakesEveryEffectOfThisService(t *testing.T) {
	s := &Server{}
	seen := map[string]bool{}
	for _, e := range effects() {
		if err := s.Can(e); err != nil {
			t.Error(err)
		}
		if text := e.String(); text == "" || seen[text] {
			t.Errorf("%T says %q, as another does", e, text)
		}
		seen[e.String()] = true
	}
}

func TestCanRefusesParametersThatMakeNoSense(t *testing.T) {
	s := &Server{}
	for _, e := range []fault.Effect{
		Silence{},
		Delay{D: -1},
		Duplicate{},
		Duplicate{Copies: 101},
		Duplicate{Copies: 1, Gap: -1},
		WrongServerID{},
		SecondServer{ID: lease().Router},
		SecondServer{Addr: lease().Router},
		WrongAddr{},
		WrongChaddr{MAC: "phone"},
		WrongHlen{Len: 6},
		WrongCookie{Cookie: 0x63825363},
		Truncate{Len: -1},
		Truncate{Len: 1472},
		Overwrite{At: -1, Bytes: "x"},
		Overwrite{At: 1472, Bytes: "x"},
		Overwrite{At: 3},
		WithoutOption{},
		SetOption{Code: 255},
		SetOption{Code: 160, Value: strings.Repeat("x", 1025)},
		DoubleOption{Code: 0},
		SplitOption{Code: 160, At: -1},
		WrongLength{Code: 0},
		UnsplitOption{Code: 160, Value: "short"},
		UnknownOptions{Len: 31},
		UnknownOptions{Len: -1},
		Garbage{},
		Garbage{Len: 501},
		Overload{},
	} {
		if err := s.Can(e); err == nil {
			t.Errorf("%T %v: not refused", e, e)
		} else if !strings.Contains(err.Error(), e.String()) {
			t.Errorf("%T: %v does not say which", e, err)
		}
	}
}

// TestWhatTheJournalSaysIsWhatWasSent has each effect at each answer, and reads
// the option numbers with a reader of its own.
func TestWhatTheJournalSaysIsWhatWasSent(t *testing.T) {
	for _, e := range effects() {
		t.Run(e.String(), func(t *testing.T) {
			frames, events, _ := spoilt(t, kind(1, phoneList()), fault.On("OFFER").Do(e))
			var sent []timeline.Event
			for _, e := range events {
				if e.Kind == timeline.DHCPOffer || e.Kind == timeline.DHCPNak {
					sent = append(sent, e)
				}
			}
			switch e.(type) {
			case Delay: // a test of its own
				return
			}
			if len(sent) != len(frames) {
				t.Fatalf("%d answers in the journal, %d on the wire", len(sent), len(frames))
			}
			for i, f := range frames {
				if want := codes(numbersIn(bootp(t, f))); sent[i].Fields["dhcp.option.type"] != want {
					t.Errorf("options %s in the journal, %s on the wire", sent[i].Fields["dhcp.option.type"], want)
				}
			}
		})
	}
}

// numbersIn lists the options of a message, read by plain offsets.
func numbersIn(b []byte) []byte {
	var list []byte
	if len(b) < 240 || binary.BigEndian.Uint32(b[236:]) != 0x63825363 {
		return nil
	}
	var over byte
	area := func(from, to int) {
		for i := from; i < to && b[i] != 255; {
			if b[i] == 0 {
				i++
				continue
			}
			if i+1 >= to || i+2+int(b[i+1]) > to {
				return
			}
			if b[i] == 52 && b[i+1] == 1 {
				over = b[i+2]
			}
			if !slices.Contains(list, b[i]) {
				list = append(list, b[i])
			}
			i += 2 + int(b[i+1])
		}
	}
	area(240, len(b))
	if over&1 != 0 {
		area(108, 236)
	}
	if over&2 != 0 {
		area(44, 108)
	}
	return list
}

// FuzzCarried has the reader for the journal read what a fault may have made.
func FuzzCarried(f *testing.F) {
	f.Add(kind(2, opt(53, 2), opt(160, 'x'), opt(160, 'y')).bootp())
	f.Add(kind(2, opt(52, 3)).bootp())
	f.Add(append(kind(2).bootp(), 1, 200, 3))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, values := carried(b)
		if len(list) != len(values) {
			t.Fatalf("%d numbers, %d values", len(list), len(values))
		}
		n := 0
		for _, v := range values {
			n += len(v)
		}
		if n > len(b) {
			t.Fatalf("values of %d bytes in a message of %d", n, len(b))
		}
	})
}

// FuzzTwoEffects has two effects spoil one answer, each at its point: nothing
// may fall over, and what is sent must fit into a frame.
func FuzzTwoEffects(f *testing.F) {
	n := len(effects())
	for i := range n {
		f.Add(uint8(i), uint8(n-1-i), uint8(1))
		f.Add(uint8(i), uint8(14), uint8(3))
	}
	f.Fuzz(func(t *testing.T, first, second, typ uint8) {
		all := effects()
		s, c, _, plan := bench(t, lease())
		plan.Add(fault.On("*").Do(all[int(first)%len(all)]).Once())
		plan.Add(fault.On("*").Do(all[int(second)%len(all)]).Once())
		m := kind(typ, phoneList(), opt(50, 192, 0, 2, 10), opt(82, 1, 2, 3, 4))
		s.handle(wire.Frame{Data: m.frame(t)})
		for _, frame := range c.all() {
			if b := bootp(t, frame); len(b) > 1472 {
				t.Errorf("a message of %d bytes", len(b))
			}
		}
		for _, timer := range s.delayed {
			timer.Stop()
		}
	})
}

// frameOf is a client's message on the wire.
func frameOf(t *testing.T, m msg) wire.Frame {
	t.Helper()
	return wire.Frame{Data: m.frame(t), Number: 7}
}

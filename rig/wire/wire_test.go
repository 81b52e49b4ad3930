package wire_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/rig/wire"
)

// frame is an untagged frame from station src to station dst (RFC 7042
// documentation addresses; 255 is broadcast).
func frame(dst, src byte, payload string) []byte {
	b := append(addr(dst), addr(src)...)
	b = append(b, 0x88, 0xb5) // IEEE 802 local experimental
	return append(b, payload...)
}

func addr(n byte) []byte {
	if n == 255 {
		return bytes.Repeat([]byte{255}, 6)
	}
	return []byte{0, 0, 0x5e, 0, 0x53, n}
}

// tagged is frame with an 802.1Q tag.
func tagged(tci uint16, dst, src byte, payload string) []byte {
	plain := frame(dst, src, payload)
	b := append(bytes.Clone(plain[:12]), 0x81, 0)
	b = binary.BigEndian.AppendUint16(b, tci)
	return append(b, plain[12:]...)
}

func send(tb testing.TB, p wire.Port, data []byte) {
	tb.Helper()
	if err := p.Send(wire.Frame{Data: data}); err != nil {
		tb.Fatalf("send % x: %v", data, err)
	}
}

// waiting returns what p has received until now, as text. Frames of a Switch are
// there when Send returns.
func waiting(tb testing.TB, p wire.Port) []string {
	tb.Helper()
	var got []string
	for {
		f, ok := poll(tb, p)
		if !ok {
			return got
		}
		got = append(got, hex.EncodeToString(f.Data))
	}
}

// poll receives a frame that is there already. It belongs into a synctest bubble,
// where the time passes only when there is none.
func poll(tb testing.TB, p wire.Port) (wire.Frame, bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Millisecond)
	defer cancel()
	f, err := p.Receive(ctx)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		tb.Fatalf("receive: %v", err)
	}
	return f, err == nil
}

func TestSwitchCarriesFramesAcrossVLANs(t *testing.T) {
	const prio = 5 << 13
	access := func(vlan uint16) func(*wire.Switch) *wire.SwitchPort {
		return func(s *wire.Switch) *wire.SwitchPort { return s.Access("access", vlan) }
	}
	trunk := func(native uint16, vlans ...uint16) func(*wire.Switch) *wire.SwitchPort {
		return func(s *wire.Switch) *wire.SwitchPort { return s.Trunk("trunk", native, vlans...) }
	}
	plain := frame(255, 1, "x")
	for _, tt := range []struct {
		name     string
		from, to func(*wire.Switch) *wire.SwitchPort
		send     []byte
		want     []byte // nil: nothing arrives
	}{
		{"access to access of one VLAN", access(88), access(88), plain, plain},
		{"access to access of another VLAN", access(88), access(89), plain, nil},
		{"VLAN 0 of an access port is VLAN 1", access(0), access(1), plain, plain},
		{"access to trunk is tagged", access(88), trunk(0, 88), plain, tagged(88, 255, 1, "x")},
		{"access to a trunk that carries other VLANs", access(88), trunk(0, 89), plain, nil},
		{"access to a trunk that carries all VLANs", access(88), trunk(0), plain, tagged(88, 255, 1, "x")},
		{"access to the native VLAN of a trunk is untagged", access(88), trunk(88, 89), plain, plain},
		{"trunk to access is untagged", trunk(0, 88), access(88), tagged(prio|88, 255, 1, "x"), plain},
		{"trunk to trunk keeps tag and priority", trunk(0, 88), trunk(0, 88), tagged(prio|88, 255, 1, "x"), tagged(prio|88, 255, 1, "x")},
		{"trunk to the native VLAN of another trunk", trunk(0, 88), trunk(88), tagged(prio|88, 255, 1, "x"), plain},
		{"untagged on a trunk belongs to the native VLAN", trunk(7, 88), trunk(0, 7), plain, tagged(7, 255, 1, "x")},
		{"untagged on a trunk without native VLAN", trunk(0, 88), trunk(0), plain, nil},
		{"tagged with the native VLAN is taken in", trunk(7, 88), access(7), tagged(7, 255, 1, "x"), plain},
		{"VLAN that the trunk does not carry", trunk(0, 88), access(89), tagged(89, 255, 1, "x"), nil},
		{"priority tag on an access port", access(88), access(88), tagged(prio, 255, 1, "x"), plain},
		{"priority tag keeps its priority on a trunk", access(88), trunk(0, 88), tagged(prio, 255, 1, "x"), tagged(prio|88, 255, 1, "x")},
		{"own tag on an access port", access(88), access(88), tagged(88, 255, 1, "x"), plain},
		{"other tag on an access port", access(88), access(89), tagged(89, 255, 1, "x"), nil},
		{"VLAN 4095 is reserved", trunk(0), trunk(0), tagged(4095, 255, 1, "x"), nil},
		{"nothing behind the tag", trunk(0, 88), access(88), tagged(88, 255, 1, "")[:16], nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sw := wire.NewSwitch()
				from, to := tt.from(sw), tt.to(sw)
				before := bytes.Clone(tt.send)
				send(t, from, tt.send)
				var want []string
				if tt.want != nil {
					want = []string{hex.EncodeToString(tt.want)}
				}
				if got := waiting(t, to); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("got %v, want %v", got, want)
				}
				if !bytes.Equal(tt.send, before) {
					t.Errorf("the sent frame was changed to % x", tt.send)
				}
			})
		})
	}
}

func TestSwitchLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := wire.NewSwitch()
		a, b, c := sw.Access("a", 1), sw.Access("b", 1), sw.Access("c", 1)
		all := func() string {
			return fmt.Sprint(len(waiting(t, a)), len(waiting(t, b)), len(waiting(t, c)))
		}
		for _, step := range []struct {
			name string
			do   func()
			want string // frames at a, b, c
		}{
			{"unknown address is flooded, but not back", func() { send(t, a, frame(2, 1, "")) }, "0 1 1"},
			{"the answer goes to who asked", func() { send(t, b, frame(1, 2, "")) }, "1 0 0"},
			{"and now both are known", func() { send(t, a, frame(2, 1, "")) }, "0 1 0"},
			{"a station that hears itself", func() { send(t, a, frame(1, 9, "")) }, "0 0 0"},
			{"broadcast", func() { send(t, b, frame(255, 2, "")) }, "1 0 1"},
			{"a station moves", func() { send(t, c, frame(255, 1, "")) }, "1 1 0"},
			{"and is found", func() { send(t, b, frame(1, 2, "")) }, "0 0 1"},
			{"a port without link hears nothing", func() { c.SetLink(false); send(t, b, frame(255, 2, "")) }, "1 0 0"},
			{"and says nothing", func() { send(t, c, frame(255, 1, "")) }, "0 0 0"},
			{"and its stations are forgotten", func() { c.SetLink(true); send(t, b, frame(1, 2, "")) }, "1 0 1"},
			{"a port without power hears nothing", func() { c.SetPower(false); send(t, b, frame(255, 2, "")) }, "1 0 0"},
			{"nor with a link then", func() { c.SetLink(false); c.SetLink(true); send(t, b, frame(255, 2, "")) }, "1 0 0"},
			{"until it has both", func() { c.SetPower(true); send(t, b, frame(255, 2, "")) }, "1 0 1"},
			{"what was not read is lost with the link", func() { send(t, b, frame(255, 2, "")); c.SetLink(false); c.SetLink(true) }, "1 0 0"},
		} {
			step.do()
			if got := all(); got != step.want {
				t.Errorf("%s: got %s, want %s", step.name, got, step.want)
			}
		}
	})
}

func TestSwitchPortTellsOfLinkAndPower(t *testing.T) {
	p := wire.NewSwitch().Access("phone", 1)
	if p.Name() != "phone" || !p.Link() || !p.Power() {
		t.Errorf("a new port: name %q, link %v, power %v, want phone, true, true", p.Name(), p.Link(), p.Power())
	}
	changed := func(w <-chan struct{}) bool {
		select {
		case <-w:
			return true
		default:
			return false
		}
	}
	w := p.Watch()
	p.SetLink(true)
	if changed(w) {
		t.Error("a link that stays up is told as a change")
	}
	p.SetPower(false)
	if !changed(w) || p.Power() || !p.Link() {
		t.Errorf("power off: changed %v, power %v, link %v, want true, false, true", changed(w), p.Power(), p.Link())
	}
	w = p.Watch()
	p.SetLink(false)
	if !changed(w) || p.Link() {
		t.Errorf("link down: changed %v, link %v, want true, false", changed(w), p.Link())
	}
}

func TestSwitchCountsWhatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := wire.NewSwitch()
		a, b := sw.Access("a", 1), sw.Access("b", 1)
		const sent = 10_000
		data := frame(255, 1, "")
		for range sent {
			send(t, a, data)
		}
		got := 0
		for {
			if _, ok := poll(t, b); !ok {
				break
			}
			got++
		}
		if got < 4096 || uint64(got)+b.Dropped() != sent || sw.Dropped() != b.Dropped() {
			t.Errorf("received %d, dropped %d (switch: %d), want at least 4096 and together %d", got, b.Dropped(), sw.Dropped(), sent)
		}
	})
}

func TestSwitchStampsInOrder(t *testing.T) {
	sw := wire.NewSwitch()
	to := sw.Access("to", 1)
	before := time.Now()
	var wg sync.WaitGroup
	for n := range byte(4) {
		p := sw.Access("from", 1)
		wg.Go(func() {
			for range 200 {
				_ = p.Send(wire.Frame{Data: frame(255, n, "")})
			}
		})
	}
	wg.Wait()
	last := before
	for i := range 800 {
		f, err := to.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if f.At.Before(last) {
			t.Fatalf("frame %d is stamped %v before its predecessor", i, last.Sub(f.At))
		}
		last = f.At
	}
	if time.Since(last) < 0 {
		t.Errorf("the last stamp lies %v ahead", -time.Since(last))
	}
}

func TestPortsOfASwitchEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := wire.NewSwitch()
		p := sw.Access("p", 1)
		got := make(chan error, 2)
		go func() {
			_, err := p.Receive(t.Context())
			got <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("receive until the deadline: got %v, want context.DeadlineExceeded", err)
		}
		for range 2 {
			if err := p.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if err := <-got; !errors.Is(err, net.ErrClosed) {
			t.Errorf("receive from a closed port: got %v, want net.ErrClosed", err)
		}
		if err := p.Send(wire.Frame{Data: frame(255, 1, "")}); err != nil {
			t.Errorf("send into a closed port: got %v, want nil as without link", err)
		}
	})
}

func TestPortsRefuseWhatIsNoFrame(t *testing.T) {
	sw := wire.NewSwitch()
	sw.Access("other", 1)
	for name, p := range map[string]wire.Port{
		"switch port": sw.Access("p", 1),
		"tagged port": wire.Tagged(sw.Access("p", 1), 88, 0),
	} {
		for _, n := range []int{0, 13, wire.MaxFrame + 1} {
			if err := p.Send(wire.Frame{Data: make([]byte, n)}); err == nil || !strings.Contains(err.Error(), fmt.Sprint(n, " bytes")) {
				t.Errorf("%s: send %d bytes: got %v, want an error with the size", name, n, err)
			}
		}
	}
}

func TestTaggedPort(t *testing.T) {
	const prio = 6
	for _, tt := range []struct {
		name    string
		receive []byte
		want    []byte // nil: dropped
	}{
		{"own VLAN", tagged(88, 255, 2, "x"), frame(255, 2, "x")},
		{"own VLAN with a priority", tagged(3<<13|88, 255, 2, "x"), frame(255, 2, "x")},
		{"another VLAN", tagged(89, 255, 2, "x"), nil},
		{"untagged", frame(255, 2, "x"), nil},
		{"a second tag stays", append(tagged(88, 255, 2, "")[:16], 0x81, 0, 0, 7, 8, 0), append(frame(255, 2, "")[:12], 0x81, 0, 0, 7, 8, 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cable := newCable()
				p := wire.Tagged(cable, 88, prio)
				cable.in.Put(wire.Frame{Data: bytes.Clone(tt.receive), Number: 3})
				f, ok := poll(t, p)
				counter, _ := p.(*wire.TaggedPort)
				if tt.want == nil {
					if ok || counter.Foreign() != 1 {
						t.Errorf("received %v, counted %d, want nothing and 1", ok, counter.Foreign())
					}
					return
				}
				if !bytes.Equal(f.Data, tt.want) || f.Number != 3 || counter.Foreign() != 0 {
					t.Errorf("got % x, number %d, want % x, number 3", f.Data, f.Number, tt.want)
				}
			})
		})
	}
	cable := newCable()
	p := wire.Tagged(cable, 88, prio)
	sent := frame(2, 1, "payload")
	send(t, p, sent)
	if got, want := cable.sent[0].data, tagged(prio<<13|88, 2, 1, "payload"); got != string(want) {
		t.Errorf("sent % x, want % x", got, want)
	}
}

func TestFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cable := newCable()
		p := wire.Filter(cable, func(f wire.Frame) bool { return f.Data[5] == 2 })
		cable.in.Put(wire.Frame{Data: frame(1, 9, "")})
		cable.in.Put(wire.Frame{Data: frame(2, 9, "")})
		send(t, p, frame(1, 9, ""))
		if got, want := fmt.Sprint(waiting(t, p)), fmt.Sprint([]string{hex.EncodeToString(frame(2, 9, ""))}); got != want {
			t.Errorf("received %s, want %s", got, want)
		}
		if len(cable.sent) != 1 {
			t.Errorf("sent %d frames, want 1: what is sent is not filtered", len(cable.sent))
		}
	})
}

// cable is a Port that is fed by the test and notes what is sent.
type cable struct {
	in *wire.Queue
	mu sync.Mutex
	// sent frames, with when they were.
	sent []sentFrame
	book *book
}

type sentFrame struct {
	data string
	at   time.Time
}

func newCable() *cable { return &cable{in: wire.NewQueue(), book: new(book)} }

func (c *cable) Receive(ctx context.Context) (wire.Frame, error) { return c.in.Receive(ctx) }
func (c *cable) Close() error                                    { return c.in.Close() }
func (c *cable) Send(f wire.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, sentFrame{string(f.Data), time.Now()})
	c.book.add("written")
	return nil
}

// book is a recording as text.
type book struct {
	mu      sync.Mutex
	began   time.Time
	entries []string
	number  int
}

func (b *book) add(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = append(b.entries, s)
}

// record implements wire.Record.
func (b *book) record(iface int, outbound bool, at time.Time, data []byte, comments ...string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.number++
	way := "in"
	if outbound {
		way = "out"
	}
	s := fmt.Sprintf("%d if%d %s %v %s", b.number, iface, way, at.Sub(b.began).Truncate(time.Microsecond), data[14:])
	if len(comments) > 0 {
		s += ": " + strings.Join(comments, "; ")
	}
	b.entries = append(b.entries, s)
	return b.number
}

func TestTapAndImpairRecordBothViews(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name    string
		verdict wire.Verdict // of frame a; b passes
		out     []string     // recorded when a and b are sent
		sent    string
		in      []string // recorded when a and b arrive
		got     string
	}{
		{
			"nothing",
			wire.Verdict{Comment: "no matter"},
			[]string{"1 if0 out 0s a", "written", "2 if0 out 0s b", "written"},
			"a@0s|b@0s",
			[]string{"1 if0 in 0s a", "2 if0 in 0s b"},
			"a#1@0s|b#2@0s",
		},
		{
			"dropped",
			wire.Verdict{Drop: true, Comment: "loss"},
			[]string{"1 if1 out 0s a: loss; dropped", "2 if0 out 0s b", "written"},
			"b@0s",
			[]string{"1 if0 in 0s a", "2 if1 in 0s a: loss; dropped; partner frame 1", "3 if0 in 0s b"},
			"b#3@0s",
		},
		{
			"delayed past its successor",
			wire.Verdict{Delay: 20 * ms},
			[]string{"1 if1 out 0s a: delayed by 20ms", "2 if0 out 0s b", "written", "3 if0 out 20ms a: partner frame 1", "written"},
			"b@0s|a@20ms",
			[]string{"1 if0 in 0s a", "2 if0 in 0s b", "3 if1 in 20ms a: delayed by 20ms; partner frame 1"},
			"b#2@0s|a#1@20ms",
		},
		{
			"altered",
			wire.Verdict{Data: frame(2, 1, "X")},
			[]string{"1 if1 out 0s a: altered", "2 if0 out 0s X: partner frame 1", "written", "3 if0 out 0s b", "written"},
			"X@0s|b@0s",
			[]string{"1 if0 in 0s a", "2 if1 in 0s X: altered; partner frame 1", "3 if0 in 0s b"},
			"X#1@0s|b#3@0s",
		},
		{
			"three times",
			wire.Verdict{Copies: 2},
			[]string{
				"1 if1 out 0s a: sent 3 times", "2 if0 out 0s a: partner frame 1", "written",
				"3 if0 out 0s a: partner frame 1", "written", "4 if0 out 0s a: partner frame 1", "written",
				"5 if0 out 0s b", "written",
			},
			"a@0s|a@0s|a@0s|b@0s",
			[]string{
				"1 if0 in 0s a", "2 if0 in 0s b", "3 if1 in 0s a: copy 1 of 2; partner frame 1",
				"4 if1 in 0s a: copy 2 of 2; partner frame 1",
			},
			"a#1@0s|b#2@0s|a#1@0s|a#1@0s",
		},
		{
			"twice and later",
			wire.Verdict{Copies: 1, Delay: ms, Comment: "echo"},
			[]string{
				"1 if1 out 0s a: echo; delayed by 1ms; sent 2 times", "2 if0 out 0s b", "written",
				"3 if0 out 1ms a: partner frame 1", "written", "4 if0 out 1ms a: partner frame 1", "written",
			},
			"b@0s|a@1ms|a@1ms",
			[]string{
				"1 if0 in 0s a", "2 if0 in 0s b", "3 if1 in 1ms a: echo; delayed by 1ms; partner frame 1",
				"4 if1 in 1ms a: echo; delayed by 1ms; copy 1 of 1; partner frame 1",
			},
			"b#2@0s|a#1@1ms|a#1@1ms",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := func(want bool) func(bool, wire.Frame) wire.Verdict {
				return func(outbound bool, f wire.Frame) wire.Verdict {
					if outbound != want {
						t.Errorf("plan was asked with outbound %v, want %v", outbound, want)
					}
					if string(f.Data[14:]) == "a" {
						return tt.verdict
					}
					return wire.Verdict{}
				}
			}
			synctest.Test(t, func(t *testing.T) {
				c := newCable()
				c.book.began = time.Now()
				p := wire.Impair(wire.Tap(c, c.book.record), c.book.record, plan(true))
				data := frame(2, 1, "a")
				send(t, p, data)
				copy(data, "overwritten by its owner") // Send keeps nothing
				send(t, p, frame(2, 1, "b"))
				<-time.After(time.Second)
				if err := p.Close(); err != nil {
					t.Error(err)
				}
				var sent []string
				for _, s := range c.sent {
					sent = append(sent, fmt.Sprintf("%s@%v", s.data[14:], s.at.Sub(c.book.began).Truncate(time.Microsecond)))
				}
				compare(t, "recorded", c.book.entries, tt.out)
				compare(t, "sent", sent, strings.Split(tt.sent, "|"))
			})
			synctest.Test(t, func(t *testing.T) {
				c := newCable()
				c.book.began = time.Now()
				p := wire.Impair(wire.Tap(c, c.book.record), c.book.record, plan(false))
				for _, s := range []string{"a", "b"} {
					c.in.Put(wire.Frame{Data: frame(2, 1, s), At: time.Now()})
				}
				var got []string
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				for {
					f, err := p.Receive(ctx)
					if err != nil {
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Error(err)
						}
						break
					}
					got = append(got, fmt.Sprintf("%s#%d@%v", f.Data[14:], f.Number, time.Since(c.book.began).Truncate(time.Microsecond)))
				}
				compare(t, "recorded", c.book.entries, tt.in)
				compare(t, "received", got, strings.Split(tt.got, "|"))
			})
		})
	}
}

func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("%s\n%s\nwant\n%s", what, g, w)
	}
}

func TestImpairClosesWithFramesHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCable()
		p := wire.Impair(c, c.book.record, func(bool, wire.Frame) wire.Verdict { return wire.Verdict{Delay: time.Hour} })
		send(t, p, frame(2, 1, "a"))
		c.in.Put(wire.Frame{Data: frame(1, 2, "b")})
		got := make(chan error)
		go func() {
			_, err := p.Receive(t.Context())
			got <- err
		}()
		synctest.Wait()
		for range 2 {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-got; !errors.Is(err, net.ErrClosed) {
			t.Errorf("receive: got %v, want net.ErrClosed", err)
		}
		if err := p.Send(wire.Frame{Data: frame(2, 1, "c")}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("send: got %v, want net.ErrClosed", err)
		}
		<-time.After(2 * time.Hour)
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.sent) != 0 {
			t.Errorf("%d frames were sent after close, want none", len(c.sent))
		}
	})
}

func FuzzSwitchAndTag(f *testing.F) {
	f.Add(frame(255, 1, "hello"), uint16(88))
	f.Add(tagged(88, 2, 1, "hello"), uint16(88))
	f.Add(tagged(88, 2, 1, "")[:16], uint16(88))
	f.Add([]byte{}, uint16(1))
	f.Fuzz(func(t *testing.T, data []byte, vlan uint16) {
		vlan = vlan%4094 + 1
		sw := wire.NewSwitch()
		in := []*wire.SwitchPort{sw.Access("in", vlan), sw.Trunk("in", vlan), sw.Trunk("in", 0, vlan)}
		out := wire.Tagged(sw.Trunk("out", 0), vlan, 7)
		plain := sw.Access("out", vlan)
		before := bytes.Clone(data)
		for _, p := range in {
			_ = p.Send(wire.Frame{Data: data})
		}
		if !bytes.Equal(data, before) {
			t.Fatalf("the switch changed % x to % x", before, data)
		}
		if len(data) > 0 {
			_ = wire.Tagged(in[2], vlan, 1).Send(wire.Frame{Data: data})
		}
		// A last frame that always arrives ends each side.
		last := sw.Access("last", vlan)
		send(t, last, frame(255, 9, "last"))
		for _, p := range []wire.Port{out, plain} {
			for {
				f, err := p.Receive(t.Context())
				if err != nil || len(f.Data) < 14 {
					t.Fatalf("received % x, %v", f.Data, err)
				}
				if string(f.Data[14:]) == "last" {
					break
				}
			}
		}
	})
}

func BenchmarkSwitch(b *testing.B) {
	for _, size := range []int{64, 1514} {
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			sw := wire.NewSwitch()
			from, to := sw.Access("from", 1), sw.Access("to", 1)
			send(b, to, frame(255, 2, "")) // so that the switch knows where 2 is
			if _, err := from.Receive(b.Context()); err != nil {
				b.Fatal(err)
			}
			data := append(frame(2, 1, ""), make([]byte, size-14)...)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				send(b, from, data)
				if _, err := to.Receive(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
		})
	}
}

// delays is a plan that holds frames back for as long as their data says.
func delays(ordered bool) func(bool, wire.Frame) wire.Verdict {
	return func(_ bool, f wire.Frame) wire.Verdict {
		d, err := time.ParseDuration(string(f.Data[14:]))
		if err != nil {
			return wire.Verdict{}
		}
		return wire.Verdict{Delay: d, Ordered: ordered}
	}
}

func TestOrderedFramesDoNotOvertakeEachOther(t *testing.T) {
	for _, tt := range []struct {
		name    string
		ordered bool
		want    string
	}{
		{"ordered", true, "30ms@30ms|10ms@30ms|40ms@40ms"},
		{"as they are due", false, "10ms@10ms|30ms@30ms|40ms@40ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			frames := []string{"30ms", "10ms", "40ms"}
			synctest.Test(t, func(t *testing.T) {
				c := newCable()
				began := time.Now()
				p := wire.Impair(c, c.book.record, delays(tt.ordered))
				for _, s := range frames {
					send(t, p, frame(2, 1, s))
				}
				<-time.After(time.Second)
				if err := p.Close(); err != nil {
					t.Error(err)
				}
				var sent []string
				for _, s := range c.sent {
					sent = append(sent, fmt.Sprintf("%s@%v", s.data[14:], s.at.Sub(began).Truncate(time.Microsecond)))
				}
				compare(t, "sent", sent, strings.Split(tt.want, "|"))
			})
			synctest.Test(t, func(t *testing.T) {
				c := newCable()
				p := wire.Impair(c, c.book.record, delays(tt.ordered))
				for _, s := range frames {
					c.in.Put(wire.Frame{Data: frame(1, 2, s)})
				}
				compare(t, "received", arrivals(t, p, len(frames)), strings.Split(tt.want, "|"))
			})
		})
	}
}

// arrivals receives n frames, with when they came.
func arrivals(t *testing.T, p wire.Port, n int) []string {
	t.Helper()
	began := time.Now()
	var got []string
	for range n {
		f, err := p.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s@%v", f.Data[14:], time.Since(began).Truncate(time.Microsecond)))
	}
	return got
}

func TestReleaseLetsGoOfWhatIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCable()
		p := wire.Impair(c, c.book.record, delays(true))
		for _, s := range []string{"2h", "1h"} {
			send(t, p, frame(2, 1, s))
			c.in.Put(wire.Frame{Data: frame(1, 2, s)})
		}
		// The one waits for a held frame, the other has none yet.
		released := make(chan struct{})
		go func() { // ends with the release
			defer close(released)
			<-time.After(time.Minute)
			p.Release()
		}()
		compare(t, "received", arrivals(t, p, 2), []string{"2h@1m0s", "1h@1m0s"})
		<-released
		<-time.After(time.Microsecond)
		synctest.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.sent) != 2 || c.sent[0].data[14:] != "2h" || c.sent[1].data[14:] != "1h" {
			t.Errorf("sent %+v, want 2h and 1h", c.sent)
		}
		p.Release() // nothing is held
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

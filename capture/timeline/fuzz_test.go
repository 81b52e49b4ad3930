package timeline

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// eventsOf turns bytes into events: two bytes each, one for what happens and
// one for its details.
func eventsOf(data []byte) []Event {
	s := newScript()
	for i := 0; i+1 < len(data) && i < 400; i += 2 {
		what, how := data[i], int(data[i+1])
		if what&0x80 != 0 {
			s.mac = module
		} else {
			s.mac = phone
		}
		xid, file, port := fmt.Sprint("x", how%3), fmt.Sprint("f", how%3), 2000+how%4
		over := []Transport{HTTP, HTTPS}[how&1]
		switch what & 0x1f {
		case 0:
			s.discover(xid)
		case 1:
			s.selecting(xid)
		case 2:
			s.initReboot(xid)
		case 3:
			s.renew(xid)
		case 4:
			s.ack(xid, how*how)
		case 5:
			s.dhcp(DHCPNak, xid)
		case 6:
			s.dhcp(DHCPRelease, xid)
		case 7:
			s.dhcp(DHCPDecline, xid)
		case 8:
			s.rrq(file, port)
		case 9:
			s.tftpAck(file, port, how, how&1 == 0)
		case 10:
			s.notFound(file, port)
		case 11:
			s.get(over, file, port)
		case 12:
			s.get(over, file, port, "http.authorization.scheme", "Basic")
		case 13:
			s.answer(over, file, port, 200, how&2 == 0)
		case 14:
			s.answer(over, file, port, 401, true)
		case 15:
			s.hello(port)
		case 16:
			s.alert(port, []string{"unknown_ca", "close_notify"}[how&1])
		case 17:
			s.handshake(port, how&1 == 0, []string{"unknown_ca", "closed by the handset", "no answer in time"}[how%3])
		case 18:
			s.registerSent(fmt.Sprint("u", how&1), fmt.Sprint("c", how%3), how)
		case 19:
			s.registerAnswer(fmt.Sprint("u", how&1), fmt.Sprint("c", how%3), []int{100, 200, 401, 403}[how%4], how-1)
		case 20:
			s.journal("power", PowerOff)
		case 21:
			s.journal("power", PowerOn)
		case 22:
			s.journal("switch", LinkDown)
		case 23:
			s.journal("switch", LinkUp)
		case 24:
			s.journal("switch", LinkLost)
		case 25:
			s.add(Event{By: "control", Kind: OperatorAsked, Fields: map[string]string{ExpectField: "boot"}})
		case 26:
			s.wait(time.Duration(how) * time.Minute)
		case 27:
			s.wait(-time.Duration(how) * time.Second)
		case 28:
			s.add(Event{By: "recorder", Kind: CarriedState, Fields: map[string]string{stateField: fmt.Sprintf(`{"power":%q,"leases":{%q:{"addr":"192.0.2.10"}}}`, file, phone)}})
		default:
			s.sent(Event{Kind: Kind(fmt.Sprint("kind ", how))})
		}
	}
	return s.events
}

// FuzzFold checks on arbitrary sequences of events that folding never panics,
// is the same twice, and goes on from a carried state as if it had not been
// interrupted; and that views are the same live and again.
func FuzzFold(f *testing.F) {
	f.Add([]byte{21, 0, 0, 1, 1, 1, 4, 60, 8, 1, 9, 2, 18, 9, 19, 9, 0, 2, 18, 10}, uint8(5))
	f.Add([]byte{0, 0, 1, 0, 4, 9, 5, 0, 0, 1, 1, 1, 4, 9, 18, 9, 19, 9, 18, 10, 27, 3, 18, 11}, uint8(3))
	f.Add([]byte{15, 0, 16, 0, 17, 1, 11, 0, 14, 0, 12, 0, 13, 0, 11, 1, 14, 1, 12, 1, 13, 1, 28, 1, 0, 0}, uint8(8))
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		events := eventsOf(data)
		cfg := Config{HandsetMACs: []string{phone, module}}
		whole, twice := New(cfg), New(cfg)
		n := min(int(cut), len(events))
		spec := WindowSpec{From: n, Steps: []Step{{Within: 90 * time.Second, After: FactBooted()}}, Within: time.Minute}
		w := whole.WindowAt(spec)
		var carried Event
		behind := 0
		for i, e := range events {
			if i == n {
				carried, behind = whole.Carry(), whole.Len()
			}
			whole.Add(e)
			if i%3 == 0 {
				whole.Advance(e.At)
			}
			live := w.View()
			if again := w.ViewAt(whole.Len(), whole.Watermark()); !slices.Equal(seqs(again), seqs(live)) || again.Closed != live.Closed || again.Missing != live.Missing {
				t.Fatalf("after %d events the view is %v live and %v again", whole.Len(), seqs(live), seqs(again))
			}
		}
		for _, e := range events {
			twice.Add(e)
		}
		if a, b := describe(whole.Events()), describe(twice.Events()); a != b {
			t.Fatalf("folded twice:\n%s\nand\n%s", a, b)
		}
		if n == len(events) {
			return
		}
		rest := New(cfg)
		rest.Add(carried)
		for _, e := range events[n:] {
			rest.Add(e)
		}
		if got, want := describe(rest.Events()[1:]), describe(whole.Events()[behind:]); got != want {
			t.Fatalf("from a carried state:\n%s\nwithout interruption:\n%s", got, want)
		}
		Text(whole.Log())
		Ladder(whole.Log())
	})
}

func BenchmarkFold(b *testing.B) {
	s := newScript(func(s *script) {
		s.bind("x1")
		for i := 0; len(s.events) < 20000; i++ {
			s.rrq("image", 2000+i%50)
			for block := range 500 {
				s.data("image", 2000+i%50, block+1)
				s.tftpAck("image", 2000+i%50, block+1, block == 499)
			}
			s.register("2001", "call-1")
		}
	})
	for b.Loop() {
		s.fold()
	}
	b.ReportMetric(float64(len(s.events))*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkView(b *testing.B) {
	tl := newScript(func(s *script) {
		for range 5000 {
			s.fetch("image", 2000)
		}
	}).fold()
	w := tl.WindowAt(WindowSpec{From: 1, Within: time.Hour})
	for b.Loop() {
		w.View()
	}
}

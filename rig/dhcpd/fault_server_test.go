package dhcpd

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
)

// second is another server with a lease of its own.
func second() SecondServer {
	return SecondServer{ID: netip.MustParseAddr("192.0.2.7"), Addr: netip.MustParseAddr("192.0.2.77")}
}

// sender is who an answer is from, and what it says, read by offsets.
func sender(t *testing.T, frame []byte) string {
	t.Helper()
	var eth layers.Ethernet
	var d layers.DHCPv4
	if err := eth.DecodeFromBytes(frame, noFeedback{}); err != nil {
		t.Fatal(err)
	}
	if err := d.DecodeFromBytes(bootp(t, frame), noFeedback{}); err != nil {
		t.Fatal(err)
	}
	out := []string{eth.SrcMAC.String(), netip.AddrFrom4([4]byte(frame[26:30])).String()}
	for _, o := range d.Options {
		switch o.Type {
		case layers.DHCPOptMessageType:
			out = append(out, layers.DHCPMsgType(o.Data[0]).String())
		case layers.DHCPOptServerID:
			out = append(out, "id "+netip.AddrFrom4([4]byte(o.Data)).String())
		default:
		}
	}
	return strings.Join(append(out, d.YourClientIP.String()), " ")
}

const (
	ownOffer    = server + " 192.0.2.1 Offer id 192.0.2.1 192.0.2.10"
	ownAck      = server + " 192.0.2.1 Ack id 192.0.2.1 192.0.2.10"
	secondOffer = SecondServerMAC + " 192.0.2.7 Offer id 192.0.2.7 192.0.2.77"
	secondAck   = SecondServerMAC + " 192.0.2.7 Ack id 192.0.2.7 192.0.2.77"
	secondNak   = SecondServerMAC + " 192.0.2.7 Nak id 192.0.2.7 0.0.0.0"
	ownNak      = server + " 192.0.2.1 Nak id 192.0.2.1 0.0.0.0"
)

func TestTwoServersOffer(t *testing.T) {
	first := second()
	first.First = true
	for _, tt := range []struct {
		effect SecondServer
		want   []string
	}{
		{second(), []string{ownOffer, secondOffer}},
		{first, []string{secondOffer, ownOffer}},
	} {
		frames, events, ledger := spoilt(t, kind(1, phoneList()), fault.On("OFFER").Do(tt.effect))
		fires(t, events, ledger)
		if len(frames) != 2 || len(events) != 3 {
			t.Fatalf("%d answers, recorded %v", len(frames), events)
		}
		for i, f := range frames {
			if got := sender(t, f); got != tt.want[i] {
				t.Errorf("answer %d is %s, want %s", i+1, got, tt.want[i])
			}
			e := events[i+1]
			if other := tt.want[i] == secondOffer; other != (e.Fields["dhcp.option.dhcp_server_id"] == "192.0.2.7") || e.Kind != timeline.DHCPOffer ||
				other != (e.Reason == "DISCOVER: OFFER 192.0.2.77 as another server, 192.0.2.7, by fault") {
				t.Errorf("recorded %+v", e)
			}
		}
	}
}

func TestASecondServerMayHaveNothingToProvisionFrom(t *testing.T) {
	bare := second()
	bare.Bare = true
	frames, _, _ := spoilt(t, kind(1, phoneList()), fault.On("OFFER").Do(bare))
	if got, want := codes(numbersIn(bootp(t, frames[1]))), "53,54,51,58,59,1,3"; got != want {
		t.Errorf("it sends the options %s, want %s", got, want)
	}
	if got, want := codes(numbersIn(bootp(t, frames[0]))), "53,54,51,58,59,1,2,3,6,42,66,150,160"; got != want {
		t.Errorf("the right one sends the options %s, want %s", got, want)
	}
}

// TestTheSecondServerDisagrees has each server say in OFFER and ACK where it would
// have the handset provision from.
func TestTheSecondServerDisagrees(t *testing.T) {
	says := Options{{Code: 66, Value: "198.51.100.9"}, {Code: 150, Value: "\xc6\x33\x64\x09"}, {Code: 160, Value: "http://198.51.100.9/"}, {Code: 12, Value: "unasked"}}
	disagrees, bare := second(), second()
	disagrees.Says = says
	bare.Says, bare.Bare, bare.First = says, true, true
	for _, tt := range []struct {
		effect SecondServer
		want   string // numbers of the options of its OFFER
	}{
		{disagrees, "53,54,51,58,59,1,2,3,6,42,66,150,160"},
		{bare, "53,54,51,58,59,1,3,66,150,160"},
	} {
		s, c, j, plan := bench(t, lease())
		if err := s.Can(tt.effect); err != nil {
			t.Fatal(err)
		}
		plan.Add(fault.On("OFFER").Do(tt.effect).Once())
		s.handle(frameOf(t, kind(1, phoneList())))
		frames := c.all()
		s.handle(frameOf(t, kind(3, opt(54, 192, 0, 2, 7), opt(50, 192, 0, 2, 77), phoneList())))
		frames = append(frames, c.all()...)
		s.handle(frameOf(t, selects()))
		frames = append(frames, c.all()...)
		if len(frames) != 4 {
			t.Fatalf("%d answers, want 2 OFFER and 2 ACK: %v", len(frames), j.take())
		}
		seconds := 0
		for _, f := range frames {
			_, got := carried(bootp(t, f))
			_, want := carried(bootp(t, frames[3])) // the right one's
			if strings.HasPrefix(sender(t, f), SecondServerMAC) {
				seconds++
				for _, o := range says[:3] {
					want[o.Code] = []byte(o.Value)
				}
				if n := codes(numbersIn(bootp(t, f))); n != tt.want {
					t.Errorf("%s: it sends the options %s, want %s", sender(t, f), n, tt.want)
				}
			}
			for _, code := range []uint8{66, 150, 160} {
				if string(got[code]) != string(want[code]) {
					t.Errorf("%s: option %d is %q, want %q", sender(t, f), code, got[code], want[code])
				}
			}
		}
		if _, own := carried(bootp(t, frames[3])); string(own[66]) == says[0].Value || string(own[160]) == says[2].Value {
			t.Error("the right server says the same: they do not disagree")
		}
		if seconds != 2 {
			t.Errorf("%d answers of the second server, want OFFER and ACK", seconds)
		}
	}
}

func TestTheSecondServerSaysWhatItSays(t *testing.T) {
	e := second()
	e.Says, e.Bare = Options{{Code: 66, Value: "198.51.100.9"}, {}, {Code: 160}}, true
	if got, want := e.String(), `has another server, 192.0.2.7, offer 192.0.2.77, option 66 as "198.51.100.9", option 160 as nothing, without anything else, after it`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for want, says := range map[string]Options{
		"option 54 is the server's own":  {{Code: 54, Value: "abcd"}},
		"option 66 stands in Says twice": {{Code: 66, Value: "a"}, {Code: 66, Value: "b"}},
		"0 is not an option":             {{Value: "no number"}},
	} {
		e.Says = says
		if err := e.check(); err == nil || err.Error() != want {
			t.Errorf("%v: %v, want %s", says, err, want)
		}
	}
}

// TestTheSecondServerKeepsItsWord is one exchange after another with one server.
func TestTheSecondServerKeepsItsWord(t *testing.T) {
	s, c, j, plan := bench(t, lease())
	plan.Add(fault.On("DISCOVER").Do(second()).Once())
	at := func(ciaddr string) func(*msg) {
		return func(m *msg) { m.ciaddr, m.srcIP = ciaddr, ciaddr }
	}
	other := opt(54, 192, 0, 2, 7)
	for _, step := range []struct {
		name string
		m    msg
		want []string
	}{
		{"an address before it is offered", kind(3, opt(50, 192, 0, 2, 77)), []string{ownNak}},
		{"DISCOVER", kind(1), []string{ownOffer, secondOffer}},
		{"an address that was offered and not taken", kind(3, opt(50, 192, 0, 2, 77)), []string{ownNak}},
		{"selecting the first", selects(), []string{ownAck}},
		{"selecting the second with an address that it never offered", kind(3, other, opt(50, 192, 0, 2, 10)), []string{secondNak}},
		{"selecting the second", kind(3, other, opt(50, 192, 0, 2, 77)), []string{secondAck}},
		{"selecting a third", kind(3, opt(54, 192, 0, 2, 8), opt(50, 192, 0, 2, 77)), nil},
		{"rebinding what the second gave", kind(3).with(at("192.0.2.77")), []string{secondAck}},
		{"rebooting with what the second gave", kind(3, opt(50, 192, 0, 2, 77)), []string{secondAck}},
		{"rebinding what the first gave", rebinds(), []string{ownAck}},
		{"DISCOVER, the fault being over", kind(1), []string{ownOffer}},
		{"releasing what the second gave", kind(7, other).with(at("192.0.2.77")), nil},
		{"declining what the second gave", kind(4, other, opt(50, 192, 0, 2, 77)), nil},
		{"rebooting with what was declined", kind(3, opt(50, 192, 0, 2, 77)), []string{ownNak}},
		{"selecting the second, which has nothing any more", kind(3, other, opt(50, 192, 0, 2, 77)), nil},
	} {
		s.handle(wire.Frame{Data: step.m.frame(t)})
		frames := c.all()
		if len(frames) != len(step.want) {
			t.Errorf("%s: %d answers, want %d", step.name, len(frames), len(step.want))
			continue
		}
		for i, f := range frames {
			if got := sender(t, f); got != step.want[i] {
				t.Errorf("%s: %s, want %s", step.name, got, step.want[i])
			}
		}
	}
	released, declined := 0, 0
	for _, e := range j.take() {
		switch e.Kind {
		case timeline.DHCPRelease:
			released++
		case timeline.DHCPDecline:
			declined++
		default:
		}
	}
	if released != 1 || declined != 1 {
		t.Errorf("%d RELEASE and %d DECLINE recorded, want one each", released, declined)
	}
}

func TestTheSecondServersAnswersHavePointsToo(t *testing.T) {
	s, c, _, plan := bench(t, lease())
	plan.Add(fault.On("DISCOVER").Do(second()))
	plan.Add(fault.On("ACK").During("selecting another server").Do(Drop{}))
	s.handle(frameOf(t, kind(1)))
	c.all()
	s.handle(frameOf(t, kind(3, opt(54, 192, 0, 2, 7), opt(50, 192, 0, 2, 77))))
	if frames := c.all(); len(frames) > 0 {
		t.Errorf("answered %s", sender(t, frames[0]))
	}
	s.handle(frameOf(t, selects()))
	if got := sender(t, c.sent(t)); got != ownAck {
		t.Errorf("answered %s", got)
	}
}

func TestANewLeaseForgetsTheSecondServer(t *testing.T) {
	s, c, _, plan := bench(t, lease())
	plan.Add(fault.On("DISCOVER").Do(second()))
	s.handle(frameOf(t, kind(1)))
	c.all()
	if err := s.SetLease(phone, lease()); err != nil {
		t.Fatal(err)
	}
	s.handle(frameOf(t, kind(3, opt(54, 192, 0, 2, 7), opt(50, 192, 0, 2, 77))))
	if f := c.sent(t); f != nil {
		t.Errorf("answered %s", sender(t, f))
	}
}

func TestAWrongServerIDIsInTheJournal(t *testing.T) {
	frames, events, ledger := spoilt(t, kind(1), fault.On("OFFER").Do(WrongServerID{ID: netip.MustParseAddr("192.0.2.7")}))
	fires(t, events, ledger)
	if got, want := sender(t, frames[0]), server+" 192.0.2.1 Offer id 192.0.2.7 192.0.2.10"; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	if e := events[1]; e.Fields["dhcp.option.dhcp_server_id"] != "192.0.2.7" {
		t.Errorf("recorded %v", e.Fields)
	}
}

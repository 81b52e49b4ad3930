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

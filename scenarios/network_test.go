package scenarios

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/fault"
	"ip88rig/rig/model"
	"ip88rig/rig/sysconf"
)

// written is a view of events, a second apart, anchored at second 0.
func written(events ...timeline.Event) timeline.View {
	start := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for i := range events {
		events[i].Seq, events[i].At = i+1, start.Add(time.Duration(i+1)*time.Second)
	}
	log := timeline.LogOf(events...)
	return timeline.View{All: log, Events: log, Brief: log, Anchored: true, Anchor: start, Bound: time.Minute}
}

func TestToldBeforeItsHandshake(t *testing.T) {
	first, second := netip.MustParseAddrPort("192.0.2.10:40001"), netip.MustParseAddrPort("192.0.2.10:40002")
	asks := func(from netip.AddrPort, sent string) timeline.Event {
		return timeline.Event{Kind: timeline.SNTPRequest, By: timeline.Wire, Src: from, Fields: map[string]string{"ntp.xmt": sent}}
	}
	answer := func(to netip.AddrPort, origin string) timeline.Event {
		return timeline.Event{Kind: timeline.SNTPResponse, By: timeline.Wire, Dst: to, Fields: map[string]string{"ntp.org": origin}}
	}
	hello := timeline.Event{Kind: timeline.TLSClientHello, By: timeline.Wire}
	booted := timeline.Event{Kind: timeline.Booted}
	const none = "0x0000000000000000"
	for _, c := range []struct {
		name       string
		events     []timeline.Event
		told, seen bool
	}{
		{"told", []timeline.Event{booted, asks(first, "0x01"), answer(first, "0x01"), hello}, true, true},
		{"told late, and no handshake", []timeline.Event{booted, asks(first, "0x01"), answer(first, "0x01")}, true, false},
		{"never told, and no handshake", []timeline.Event{booted, asks(first, "0x01")}, false, false},
		{"told behind its handshake", []timeline.Event{booted, asks(first, "0x01"), hello, answer(first, "0x01")}, false, true},
		{"told what it had given up", []timeline.Event{booted, asks(first, "0x01"), asks(first, "0x02"), answer(first, "0x01"), hello}, false, true},
		{"asked twice, told twice", []timeline.Event{booted, asks(first, "0x01"), asks(first, "0x02"), answer(first, "0x01"), answer(first, "0x02"), hello}, true, true},
		{"told, and asks again", []timeline.Event{booted, asks(first, "0x01"), answer(first, "0x01"), asks(first, "0x02"), hello}, true, true},
		{"no stamp, told where it had asked before", []timeline.Event{booted, asks(first, none), asks(second, none), answer(first, none), hello}, false, true},
		{"no stamp, told", []timeline.Event{booted, asks(first, none), asks(second, none), answer(second, none), hello}, true, true},
		{"told before it booted", []timeline.Event{asks(first, "0x01"), answer(first, "0x01"), booted, hello}, false, true},
		{"told what it asked before it booted", []timeline.Event{asks(first, "0x01"), booted, answer(first, "0x01"), hello}, false, true},
	} {
		if is, seen := told(written(c.events...)); is != c.told || seen != c.seen {
			t.Errorf("%s: told %t, handshake %t; want %t, %t", c.name, is, seen, c.told, c.seen)
		}
	}
}

func TestToldWhenItIsUp(t *testing.T) {
	answered := timeline.Event{Kind: timeline.SNTPResponse, By: timeline.Wire}
	served := timeline.Event{Kind: timeline.SNTPResponse, By: "sntpd"}
	registered := timeline.Event{Kind: timeline.Registered}
	for _, c := range []struct {
		name   string
		events []timeline.Event
		want   bool
	}{
		{"while it was coming up", []timeline.Event{answered, registered}, false},
		{"never", []timeline.Event{registered}, false},
		{"on its way only", []timeline.Event{registered, served}, false},
		{"both times", []timeline.Event{answered, registered, answered}, true},
	} {
		if got := toldWhenUp(written(c.events...)); got != c.want {
			t.Errorf("%s: got %t", c.name, got)
		}
	}
}

func TestAnewRegistrationAtTheEndOfALeaseIsNoReboot(t *testing.T) {
	discover := timeline.Event{Kind: timeline.DHCPDiscover, By: timeline.Wire}
	registered := timeline.Event{Kind: timeline.Registered}
	rebooted := timeline.Event{Kind: timeline.Rebooted}
	global := match.Step{Name: "global file", Files: []string{"sysconf_8830_sip.cfg"}}
	asked := timeline.Event{Kind: timeline.Asked, File: global.Files[0]}
	other := timeline.Event{Kind: timeline.Asked, File: "sysconf_8840_sip.cfg"}
	for _, c := range []struct {
		name   string
		events []timeline.Event
		want   bool // it tells of a reboot
	}{
		{"nothing", []timeline.Event{discover, asked, registered}, false},
		{"at a renewal", []timeline.Event{discover, asked, registered, rebooted, discover, registered}, true},
		{"a registration anew at the end", []timeline.Event{discover, asked, registered, discover, rebooted, registered}, false},
		{"a cycle anew at the end", []timeline.Event{discover, asked, registered, discover, asked, rebooted, registered}, true},
		{"another file", []timeline.Event{discover, asked, registered, discover, other, rebooted, registered}, false},
	} {
		v := written(c.events...)
		bound := rebootTells(v, global)
		got := slices.ContainsFunc(v.Events.List(), func(e timeline.Event) bool {
			return e.Kind == timeline.Rebooted && !e.At.After(v.Anchor.Add(bound))
		})
		if got != c.want {
			t.Errorf("%s: got %t within %v", c.name, got, bound)
		}
	}
	// A DISCOVER while the address is leased is a reboot of the same moment.
	v := written(registered, discover, rebooted)
	v.Events.At(2).At = v.Events.At(1).At
	if bound := rebootTells(v, global); v.Events.At(2).At.After(v.Anchor.Add(bound)) {
		t.Errorf("at a DISCOVER: not within %v", bound)
	}
}

func TestWhatNeedNotFireIsNotMissed(t *testing.T) {
	prepare := fault.On("REQUEST").In("dhcpd").During("rebooting").Do(dhcpd.Nak{}).Once()
	rule := fault.On("OFFER").In("dhcpd").Do(dhcpd.Drop{}).Once()
	spared := []string{prepare.String()}
	for _, c := range []struct {
		name            string
		prepared, fired int
		want            string
	}{
		{"it begins at DISCOVER by itself", 0, 1, ""},
		{"it is made to", 1, 1, ""},
		{"nothing came of it", 1, 0, rule.String()},
		{"neither", 0, 0, rule.String()},
	} {
		got := idle([]fault.Count{{Rule: prepare, Fired: c.prepared}, {Rule: rule, Fired: c.fired}}, spared)
		if (got == "") != (c.want == "") || !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A handset may keep to RFC 2131 and do neither of what that only
// recommends: the cases of DHC-02 must not count on them.
func TestCasesOfDHCPDoNotCountOnWhatIsOnlyRecommended(t *testing.T) {
	p := &Phone{lane: &rig.Lane{Config: rig.Config{Handset: bench.Handset{Simulated: true}}}}
	for _, s := range p.dhcpFaults() {
		for _, r := range s.rules {
			text := r.String()
			if strings.Contains(text, "rebooting") {
				t.Errorf("%s: must fire: %s", s.name, text)
			}
			if strings.Contains(text, "ARP probe") && (s.needs == nil || !slices.Equal(s.needs.Kinds, []timeline.Kind{timeline.ARPProbe})) {
				t.Errorf("%s: must fire though it does not probe: %s", s.name, text)
			}
		}
	}
}

func TestASpecMayRestOnMoreThanItsRows(t *testing.T) {
	h := unmeasured(t, map[string]string{model.MaskField: "PROVISION/verifying_cert"})
	r := &run{Options: Options{Lane: &rig.Lane{Config: rig.Config{Handset: h}}}, spec: &specRun{story: &story{}}}
	p := &Phone{run: r}
	if why := r.assumption("TLS-04"); why != "" {
		t.Errorf("before: rests on %s", why)
	}
	p.RestsOn(model.SNTPTimeout)
	if why := r.assumption("TLS-04"); !strings.Contains(why, model.SNTPTimeout) {
		t.Errorf("after: rests on %q", why)
	}
}

func TestWhatWasStoredIsRestoredWhereGoldenIsSilent(t *testing.T) {
	for _, c := range []struct {
		name, golden string
		field        model.Field
		dirty        bool
		want         string
	}{
		{"not stored", "", nettime("timezone"), false, ""},
		{"stored, golden is silent", "", nettime("timezone"), true, "[NETTIME]\ntimezone 3\n"},
		{"stored, golden has its own", "[NETTIME]\ntimezone 28\n", nettime("timezone"), true, "[NETTIME]\ntimezone 28\n"},
		{"a list", "", voip("preferred_codec"), true, "[VOIP]\npreferred_codec pcma pcmu g729\n"},
	} {
		global, err := sysconf.Parse("global", []byte(c.golden))
		if err != nil {
			t.Fatal(err)
		}
		own, err := sysconf.Parse("own", nil)
		if err != nil {
			t.Fatal(err)
		}
		p := &Phone{run: &run{}, served: served{files: [2]*sysconf.File{global, own}}}
		if c.dirty {
			p.run.known.store(c.field)
		}
		p.restoreDefaults()
		if got := string(global.Bytes()); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestURLsThatLeadHome(t *testing.T) {
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	l := rig.Unopened(b, b.Handsets[0])
	p, a, raw := &Phone{lane: l}, l.Addrs, "tftp://x/"
	for _, c := range []struct {
		offer rig.Offer
		want  bool
	}{
		{rig.Offer{TFTP: true}, true},
		{rig.Offer{URL: p.URL(timeline.HTTP)}, true},
		{rig.Offer{URL: p.OtherURL(timeline.HTTPS)}, true},
		{rig.Offer{URL: "https://" + a.Server.String() + "/"}, true},
		{rig.Offer{URL: "https://" + l.PublicName()}, true},
		{rig.Offer{URL: "http://" + a.Name + ":" + otherPort + "/"}, false},
		{rig.Offer{URL: "http://" + a.Name + "/phones/"}, false},
		{rig.Offer{URL: "http://lab:secret@" + a.Name + "/"}, false},
		{rig.Offer{URL: "http://" + unusedHost + "/"}, false},
		{rig.Offer{URL: "http://%"}, false},
		{rig.Offer{Raw: &raw}, false},
	} {
		if got := p.leadsHome(c.offer); got != c.want {
			t.Errorf("%+v: %v", c.offer, got)
		}
	}
}

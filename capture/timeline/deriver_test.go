package timeline

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDerivedFacts(t *testing.T) {
	const (
		bound = "bound to 192.0.2.10"
		reg   = `registered as 2001 at 192.0.2.1:5060 from port 5060, expires 300, "LG 1.2.3"`
		alive = "booted: first DISCOVER after power on"
	)
	asked := func(file string) string { return "asked for " + file + " over tftp at 192.0.2.1:69" }
	took := func(file string) string { return "fetched " + file + " over tftp, 512 bytes, sha256 01234567" }
	running := func(s *script) { // a handset that has started
		s.bind("x1")
		s.register("2001", "call-1")
	}
	for name, c := range map[string]struct {
		build func(s *script)
		want  []string
	}{
		"nothing is derived from nothing":            {func(*script) {}, nil},
		"an address handed over is held":             {func(s *script) { s.bind("x1") }, []string{bound}},
		"a first DISCOVER is no reboot":              {func(s *script) { s.discover("x1"); s.discover("x1") }, nil},
		"the answer to INFORM gives no address":      {func(s *script) { s.dhcp(DHCPInform, "x1"); s.dhcp(DHCPAck, "x1") }, nil},
		"an address given to another host is not":    {func(s *script) { s.mac = "00:00:5e:00:53:77"; s.bind("x1"); s.bind("x2") }, nil},
		"a power cycle that was commanded is a boot": {func(s *script) { running(s); s.powerCycle(); running(s) }, []string{bound, reg, alive, bound, reg}},
		"a port told twice to give power has not cut it": {
			func(s *script) { s.powerCycle(); s.bind("x1"); s.journal("power", PowerOn); s.rrq("a", 2001) },
			[]string{alive, bound, asked("a")},
		},
		"frames between power off and on prove no boot": {
			func(s *script) { s.bind("x1"); s.journal("power", PowerOff); s.rrq("a", 2001) },
			[]string{bound, asked("a")},
		},
		"DISCOVER while a lease is held is a reboot": {
			func(s *script) { running(s); s.bind("x2") },
			[]string{bound, reg, "rebooted: DISCOVER while 192.0.2.10 was leased (frame 7)", bound},
		},
		"INIT-REBOOT while a lease is held is a reboot": {
			func(s *script) { running(s); s.initReboot("x2"); s.ack("x2", 3600) },
			[]string{bound, reg, "rebooted: INIT-REBOOT while 192.0.2.10 was leased (frame 7)", bound},
		},
		"renewing and rebinding are no reboot": {
			func(s *script) {
				running(s)
				s.renew("x2")
				s.ack("x2", 3600)
				s.renew("x3")
				s.renew("x3")
				s.ack("x3", 3600)
			},
			[]string{bound, reg},
		},
		"all grounds of one reboot are one reboot": {
			func(s *script) {
				running(s)
				s.discover("x2")
				s.discover("x2")
				s.discover("x3")
				s.bind("x3")
				s.register("2001", "call-2")
			},
			[]string{bound, reg, "rebooted: DISCOVER while 192.0.2.10 was leased (frame 7)", bound, reg},
		},
		"two boots in a row before any registration are two reboots": {
			func(s *script) {
				running(s)
				s.bind("x2")
				s.fetch("a", 2001)
				s.bind("x3")
				s.fetch("a", 2001)
			},
			[]string{
				bound, reg,
				"rebooted: DISCOVER while 192.0.2.10 was leased (frame 7)", bound, asked("a"), took("a"),
				"rebooted: DISCOVER while 192.0.2.10 was leased (frame 14)", bound, asked("a"), took("a"),
			},
		},
		"the DISCOVER that gave the lease, sent again, is no reboot": {
			func(s *script) { s.bind("x1"); s.discover("x1") }, []string{bound},
		},
		"the same transaction number after some work is a reboot": {
			func(s *script) { s.bind("x1"); s.rrq("a", 2001); s.discover("x1") },
			[]string{bound, asked("a"), "rebooted: DISCOVER while 192.0.2.10 was leased (frame 6)"},
		},
		"NAK excuses": {
			func(s *script) {
				running(s)
				s.renew("x2")
				s.dhcp(DHCPNak, "x2")
				s.bind("x3")
				s.register("2001", "call-1")
			},
			[]string{bound, reg, bound, reg},
		},
		"NAK does not excuse a new Call-ID": {
			func(s *script) {
				running(s)
				s.renew("x2")
				s.dhcp(DHCPNak, "x2")
				s.bind("x3")
				s.register("2001", "call-2")
			},
			[]string{bound, reg, bound, "rebooted: NAK (frame 8); REGISTER with a new Call-ID (frame 13)", reg},
		},
		"a lease that has ended excuses": {
			func(s *script) { running(s); s.wait(time.Hour); s.bind("x2") }, []string{bound, reg, bound},
		},
		"a lease that never ends does not": {
			func(s *script) {
				s.discover("x1")
				s.selecting("x1")
				s.ack("x1", forever)
				s.wait(1e6 * time.Hour)
				s.discover("x2")
			},
			[]string{bound, "rebooted: DISCOVER while 192.0.2.10 was leased (frame 4)"},
		},
		"a renewed lease holds on": {
			func(s *script) {
				running(s)
				s.wait(50 * time.Minute)
				s.renew("x2")
				s.ack("x2", 3600)
				s.wait(50 * time.Minute)
				s.discover("x3")
			},
			[]string{bound, reg, "rebooted: DISCOVER while 192.0.2.10 was leased (frame 9)"},
		},
		"RELEASE excuses": {
			func(s *script) { running(s); s.dhcp(DHCPRelease, "x2"); s.bind("x3") }, []string{bound, reg, bound},
		},
		"giving up lease and registration is a shutdown": {
			func(s *script) {
				running(s)
				s.registerSent("2001", "call-1", 0)
				s.registerAnswer("2001", "call-1", 200, 0)
				s.dhcp(DHCPRelease, "x2")
				s.bind("x3")
				s.register("2001", "call-2")
			},
			[]string{bound, reg, "rebooted: registration removed (frame 8); RELEASE (frame 9); DISCOVER (frame 10)", bound, reg},
		},
		"a registration removed and made again is none": {
			func(s *script) {
				running(s)
				s.registerSent("2001", "call-1", 0)
				s.registerAnswer("2001", "call-1", 200, 0)
				s.register("2001", "call-2")
				s.dhcp(DHCPRelease, "x2")
				s.bind("x3")
			},
			[]string{bound, reg, reg, bound},
		},
		"DECLINE excuses": {
			func(s *script) { s.bind("x1"); s.dhcp(DHCPDecline, "x1"); s.bind("x2") }, []string{bound, bound},
		},
		"a link taken down by the rig excuses": {
			func(s *script) { running(s); s.journal("switch", LinkDown); s.journal("switch", LinkUp); s.bind("x2") },
			[]string{bound, reg, bound},
		},
		"a link taken down by the rig excuses INIT-REBOOT": {
			func(s *script) {
				running(s)
				s.journal("switch", LinkDown)
				s.journal("switch", LinkUp)
				s.initReboot("x2")
				s.ack("x2", 3600)
			},
			[]string{bound, reg, bound},
		},
		"a link taken down does not excuse a new Call-ID": {
			func(s *script) {
				running(s)
				s.journal("switch", LinkDown)
				s.journal("switch", LinkUp)
				s.bind("x2")
				s.register("2001", "call-2")
			},
			[]string{bound, reg, bound, "rebooted: DISCOVER after link down (frame 7); REGISTER with a new Call-ID (frame 11)", reg},
		},
		"a link that was down long ago does not excuse": {
			func(s *script) {
				running(s)
				s.journal("switch", LinkDown)
				s.journal("switch", LinkUp)
				s.register("2001", "call-1")
				s.bind("x2")
			},
			[]string{bound, reg, reg, "rebooted: DISCOVER while 192.0.2.10 was leased (frame 9)", bound},
		},
		"a file whole after the link came back ends the excuse": {
			func(s *script) {
				s.bind("x1")
				s.rrq("image.rom", 2001)
				s.data("image.rom", 2001, 1)
				s.journal("switch", LinkDown)
				s.journal("switch", LinkUp)
				s.tftpAck("image.rom", 2001, 1, true)
				s.bind("x2")
			},
			[]string{
				bound, "asked for image.rom over tftp at 192.0.2.1:69", "fetched image.rom over tftp, 512 bytes, sha256 01234567",
				"rebooted: DISCOVER while 192.0.2.10 was leased (frame 8)", bound,
			},
		},
		"a transfer that goes on after the link came back does not": {
			func(s *script) {
				s.bind("x1")
				s.rrq("image.rom", 2001)
				s.data("image.rom", 2001, 1)
				s.journal("switch", LinkDown)
				s.journal("switch", LinkUp)
				s.tftpAck("image.rom", 2001, 1, false)
				s.bind("x2")
			},
			[]string{bound, "asked for image.rom over tftp at 192.0.2.1:69", bound},
		},
		"a link lost by itself is told with the reboot": {
			func(s *script) { running(s); s.journal("switch", LinkLost); s.bind("x2") },
			[]string{bound, reg, "rebooted: link lost; DISCOVER while 192.0.2.10 was leased (frame 7)", bound},
		},
		"a link lost by itself is no reboot": {
			func(s *script) { running(s); s.journal("switch", LinkLost) }, []string{bound, reg},
		},
		"a boot that the operator was asked for is a boot": {
			func(s *script) {
				running(s)
				s.add(Event{By: "control", Kind: OperatorAsked, Fields: map[string]string{ExpectField: "boot"}})
				s.bind("x2")
				s.register("2001", "call-2")
				s.bind("x3")
			},
			[]string{
				bound, reg, "booted: asked for: DISCOVER while 192.0.2.10 was leased (frame 7)", bound, reg,
				"rebooted: DISCOVER while 192.0.2.10 was leased (frame 13)", bound,
			},
		},
		"a new Call-ID is a reboot": {
			func(s *script) { s.register("2001", "call-1"); s.register("2001", "call-2") },
			[]string{reg, "rebooted: REGISTER with a new Call-ID (frame 3)", reg},
		},
		"a challenge is no reboot": {
			func(s *script) {
				s.registerSent("2001", "call-1", 300)
				s.registerAnswer("2001", "call-1", 401, -1)
				s.register("2001", "call-1")
				s.registerSent("2001", "call-1", 300)
				s.registerAnswer("2001", "call-1", 401, -1)
				s.register("2001", "call-1")
			},
			[]string{reg, reg},
		},
		"an answer sent again registers once": {
			func(s *script) { s.register("2001", "call-1"); s.registerAnswer("2001", "call-1", 200, 300) }, []string{reg},
		},
		"a provisional answer registers nothing": {
			func(s *script) { s.registerSent("2001", "call-1", 300); s.registerAnswer("2001", "call-1", 100, -1) }, nil,
		},
		"a registration that was removed excuses a new Call-ID": {
			func(s *script) {
				s.register("2001", "call-1")
				s.registerSent("2001", "call-1", 0)
				s.registerAnswer("2001", "call-1", 200, 0)
				s.register("2001", "call-2")
			},
			[]string{reg, reg},
		},
		"a registration that has run out excuses a new Call-ID": {
			func(s *script) { s.register("2001", "call-1"); s.wait(time.Hour); s.register("2001", "call-2") },
			[]string{reg, reg},
		},
		"a registration that was turned down excuses a new Call-ID": {
			func(s *script) {
				s.register("2001", "call-1")
				s.registerSent("2001", "call-1", 300)
				s.registerAnswer("2001", "call-1", 403, -1)
				s.register("2001", "call-2")
			},
			[]string{reg, reg},
		},
		"another line has a Call-ID of its own": {
			func(s *script) {
				s.register("2001", "call-1")
				s.register("2002", "call-2")
				s.register("2001", "call-1")
			},
			[]string{reg, strings.ReplaceAll(reg, "2001", "2002"), reg},
		},
		"a registration whose request was not seen counts": {
			func(s *script) { s.cseq = 7; s.registerAnswer("2001", "call-9", 200, 60) },
			[]string{"registered as 2001 at 192.0.2.1:5060 from port 5060, expires 60"},
		},
		"a request sent again from its port is one ask": {
			func(s *script) { s.rrq("a", 2001); s.rrq("a", 2001); s.data("a", 2001, 1); s.rrq("a", 2001) }, []string{asked("a")},
		},
		"a request from another port is another ask": {
			func(s *script) { s.rrq("a", 2001); s.rrq("a", 2002) }, []string{asked("a"), asked("a")},
		},
		"a request after an error is another ask": {
			func(s *script) { s.notFound("a", 2001); s.notFound("a", 2001) }, []string{asked("a"), asked("a")},
		},
		"an error of a stranger ends no transfer": {
			func(s *script) {
				s.rrq("a", 2001)
				s.sent(Event{Kind: TFTPError, File: "a", Status: 5, Src: s.own(2001), Dst: s.rig(40001), Fields: map[string]string{"tftp.unknown_tid": "true"}})
				s.rrq("a", 2001)
			},
			[]string{asked("a")},
		},
		"another file from a fixed port is another ask": {
			func(s *script) { s.fetch("a", 2001); s.fetch("b", 2001); s.fetch("b", 2001) },
			[]string{asked("a"), took("a"), asked("b"), took("b"), asked("b"), took("b")},
		},
		"the last acknowledgement sent again fetches once": {
			func(s *script) { s.fetch("a", 2001); s.tftpAck("a", 2001, 1, true) }, []string{asked("a"), took("a")},
		},
		"the last acknowledgement may come behind the next request from the same port": {
			func(s *script) {
				s.rrq("a", 2001)
				s.data("a", 2001, 1)
				s.rrq("b", 2001)
				s.tftpAck("a", 2001, 1, true)
				s.data("b", 2001, 1)
				s.tftpAck("b", 2001, 1, true)
			},
			[]string{asked("a"), asked("b"), took("a"), took("b")},
		},
		"a transfer without its end is not fetched": {
			func(s *script) { s.rrq("a", 2001); s.data("a", 2001, 1); s.tftpAck("a", 2001, 1, false) }, []string{asked("a")},
		},
		"HTTP is asked and fetched as the wire tells": {
			func(s *script) { s.get(HTTP, "a", 3001); s.answer(HTTP, "a", 3001, 200, true) },
			[]string{"asked for a over http at 192.0.2.1:80", "fetched a over http, 1000 bytes, sha256 fedcba98"},
		},
		"what the service says of HTTP counts no second time": {
			func(s *script) {
				s.get(HTTP, "a", 3001)
				s.add(Event{By: "httpd", Kind: HTTPRequest, Message: "GET", Transport: HTTP, File: "a", Src: s.own(3001), Dst: s.rig(80)})
				s.add(Event{By: "httpd", Kind: Served, Transport: HTTP, File: "a", Complete: true, Status: 200, Src: s.own(3001), Dst: s.rig(80)})
			},
			[]string{"asked for a over http at 192.0.2.1:80"},
		},
		"a missing or cut file is asked and not fetched": {
			func(s *script) {
				s.get(HTTP, "a", 3001)
				s.answer(HTTP, "a", 3001, 404, true)
				s.get(HTTP, "b", 3001)
				s.answer(HTTP, "b", 3001, 200, false)
			},
			[]string{"asked for a over http at 192.0.2.1:80", "asked for b over http at 192.0.2.1:80"},
		},
		"a request repeated with credentials is the same ask": {
			func(s *script) {
				s.get(HTTP, "a", 3001)
				s.answer(HTTP, "a", 3001, 401, true)
				s.get(HTTP, "a", 3002, "http.authorization.scheme", "Digest")
				s.answer(HTTP, "a", 3002, 401, true)
				s.get(HTTP, "a", 3002, "http.authorization.scheme", "Digest")
				s.answer(HTTP, "a", 3002, 200, true)
				s.get(HTTP, "a", 3002, "http.authorization.scheme", "Digest")
			},
			[]string{
				"asked for a over http at 192.0.2.1:80", "fetched a over http, 1000 bytes, sha256 fedcba98",
				"asked for a over http at 192.0.2.1:80",
			},
		},
		"HTTPS is asked and fetched as the service tells": {
			func(s *script) {
				s.bind("x1")
				s.handshake(3001, true, "")
				s.get(HTTPS, "a", 3001)
				s.answer(HTTPS, "a", 3001, 401, true)
				s.get(HTTPS, "a", 3001, "auth.scheme", "Basic")
				s.answer(HTTPS, "a", 3001, 200, true)
			},
			[]string{bound, "asked for a over https at 192.0.2.1:443", "fetched a over https, 1000 bytes, sha256 fedcba98"},
		},
		"HTTPS of an address that is not the handset's derives nothing": {
			func(s *script) {
				s.get(HTTPS, "a", 3001)
				s.answer(HTTPS, "a", 3001, 200, true)
				s.handshake(3001, false, "unknown_ca")
			}, nil,
		},
		"HTTPS not handed over whole is not fetched": {
			func(s *script) { s.hello(3001); s.get(HTTPS, "a", 3001); s.answer(HTTPS, "a", 3001, 200, false) },
			[]string{"asked for a over https at 192.0.2.1:443"},
		},
		"a refusal that wire and service see is one": {
			func(s *script) { s.hello(3001); s.alert(3001, "unknown_ca"); s.handshake(3001, false, "unknown_ca") },
			[]string{"refused the certificate: unknown_ca"},
		},
		"a refusal that only the service sees counts": {
			func(s *script) { s.hello(3001); s.handshake(3001, false, "remote error: tls: expired certificate") },
			[]string{"refused the certificate expired: certificate_expired"},
		},
		"each connection is refused by itself": {
			func(s *script) {
				s.hello(3001)
				s.alert(3001, "bad_certificate")
				s.hello(3002)
				s.alert(3002, "bad_certificate")
				s.hello(3001)
				s.alert(3001, "bad_certificate")
			},
			[]string{"refused the certificate: bad_certificate", "refused the certificate: bad_certificate", "refused the certificate: bad_certificate"},
		},
		"an alert of another cause is no refusal": {
			func(s *script) {
				s.hello(3001)
				s.alert(3001, "protocol_version")
				s.handshake(3001, false, "protocol_version")
				s.handshake(3001, false, "no answer in time")
			},
			nil,
		},
		"an alert of the rig is no refusal": {
			func(s *script) {
				s.got(Event{Kind: TLSAlert, Reason: "unknown_ca", Src: s.rig(443), Dst: s.own(3001)})
			},
			nil,
		},
		"going away at the sight of the certificate is a refusal": {
			func(s *script) { s.hello(3001); s.handshake(3001, false, "handshake: closed by the handset") },
			[]string{"refused the certificate expired: without an alert: handshake: closed by the handset"},
		},
		"the module's address is the handset's": {
			func(s *script) { s.mac = module; s.bind("x1"); s.rrq("a", 2001); s.discover("x2") },
			[]string{bound, asked("a"), "rebooted: DISCOVER while 192.0.2.10 was leased (frame 6)"},
		},
		"a lease of the phone is not one of the module": {
			func(s *script) { s.bind("x1"); s.mac = module; s.discover("x2") }, []string{bound},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tl := newScript(c.build).fold()
			if got := facts(tl.Events()); !slices.Equal(got, c.want) {
				t.Errorf("derived\n  %s\nwant\n  %s\nof\n%s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "), describe(tl.Events()))
			}
		})
	}
}

func TestAFactStandsBehindItsCauseAndCarriesItsPlace(t *testing.T) {
	tl := newScript(func(s *script) { s.bind("x1"); s.rrq("a", 2001) }).fold()
	events := tl.Events()
	for i := range events {
		e := &events[i]
		if e.Seq != i+1 {
			t.Errorf("event %d has Seq %d", i+1, e.Seq)
		}
		if e.By != Derived {
			continue
		}
		cause := &events[i-1]
		if !e.At.Equal(cause.At) || e.Frame != cause.Frame || e.After != cause.After {
			t.Errorf("%s is at %v, frame %d; its cause %s at %v, frame %d", e.Kind, e.At, e.Frame, cause.Kind, cause.At, cause.Frame)
		}
	}
}

func TestWhatTheDeriverRemembersIsBounded(t *testing.T) {
	s := newScript(func(s *script) {
		for i := range 3 * remembered {
			s.rrq("a", i+1)
		}
	})
	tl := s.fold()
	if n := len(tl.derive.s.Transfers); n > remembered {
		t.Errorf("%d transfers are remembered, want %d at most", n, remembered)
	}
}

func TestARestoredStateGoesOn(t *testing.T) {
	before := newScript(func(s *script) { s.bind("x1"); s.register("2001", "call-1"); s.rrq("a", 2001) })
	carried := before.fold().Carry()
	if carried.Kind != CarriedState || !carried.At.Equal(before.at) {
		t.Fatalf("Carry gave a %q at %v, want a %q at %v", carried.Kind, carried.At, CarriedState, before.at)
	}
	next := newScript(func(s *script) { s.add(carried); s.rrq("a", 2001); s.discover("x2") })
	want := []string{"rebooted: DISCOVER while 192.0.2.10 was leased (frame 2)"}
	if got := facts(next.fold().Events()); !slices.Equal(got, want) {
		t.Errorf("derived %q, want %q", got, want)
	}
}

func TestAStateThatCannotBeReadLeavesNothingKnown(t *testing.T) {
	for _, text := range []string{"", "{", "null", `{"leases":null,"transfers":null}`, `{"addrs":{"x":true}}`, `[]`} {
		tl := newScript(func(s *script) {
			s.bind("x1")
			s.add(Event{By: "recorder", Kind: CarriedState, Fields: map[string]string{stateField: text}})
			s.bind("x2")
		}).fold()
		if got, want := facts(tl.Events()), []string{"bound to 192.0.2.10", "bound to 192.0.2.10"}; !slices.Equal(got, want) {
			t.Errorf("after state %q: derived %q, want %q", text, got, want)
		}
	}
}

// The question to an operator may stand for hours before the plug is in, and a
// handset may begin with anything.
func TestTheFirstFrameAfterPowerOnIsTheBoot(t *testing.T) {
	for _, kind := range []Kind{
		DHCPDiscover, DHCPRequest, DHCPInform, DHCPDecline, DHCPRelease, ARPRequest, ARPReply, ARPProbe, ARPAnnouncement,
		TFTPRead, TFTPWrite, TFTPAck, TFTPError, TCPOpen, TCPGap, TLSClientHello, TLSAlert, TLSData, HTTPRequest,
		SIPRequest, SIPResponse, SNTPRequest, DNSQuery, Malformed, "a kind of tomorrow",
	} {
		for _, wait := range []time.Duration{0, 26 * time.Hour} {
			for _, mac := range []string{phone, module} {
				t.Run(string(kind)+" after "+wait.String()+" from "+mac, func(t *testing.T) {
					s := newScript()
					s.bind("x1")
					s.register("2001", "call-1")
					s.powerCycle()
					s.got(Event{Kind: ARPRequest, Src: s.rig(0), Dst: s.own(0)}) // no sign of the handset's life
					s.wait(wait)
					s.mac = mac
					s.sent(Event{Kind: kind, Src: s.own(68), Dst: s.rig(67)})
					first := s.at
					s.sent(Event{Kind: kind, Src: s.own(68), Dst: s.rig(67)})
					tl := New(Config{HandsetMACs: []string{phone, module}})
					var boots []Event
					for _, e := range s.events {
						tl.Add(e)
					}
					for _, e := range tl.Events() {
						if e.Kind == Booted || e.Kind == Rebooted {
							boots = append(boots, e)
						}
					}
					if len(boots) != 1 || boots[0].Kind != Booted || !boots[0].At.Equal(first) || boots[0].SrcMAC != mac {
						t.Errorf("got %+v, want Booted at %v alone", boots, first)
					}
				})
			}
		}
	}
}

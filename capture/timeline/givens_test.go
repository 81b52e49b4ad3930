package timeline_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"ip88rig/capture/timeline"
)

// script of what a rig said it would do, and of what came of it.
type givenScript struct {
	events []timeline.Event
	at     time.Time
}

func (s *givenScript) add(es ...timeline.Event) {
	for _, e := range es {
		s.at = s.at.Add(time.Millisecond)
		e.Seq, e.At, e.Frame = len(s.events)+1, s.at, len(s.events)+1
		s.events = append(s.events, e)
	}
}

func TestAGivenThatWasNotBroughtAboutIsALapse(t *testing.T) {
	const rig, sum, other = "192.0.2.1", "aa", "bb"
	phone := netip.MustParseAddrPort("192.0.2.9:2001")
	end := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(rig), port) }
	type fields = map[string]string
	given := func(name string, f fields) timeline.Event {
		return timeline.Event{By: "scenario", Kind: timeline.Given, Message: name, Fields: f}
	}
	// from and to are frames of the handset and towards it, says is an entry.
	from := func(k timeline.Kind, port uint16, f fields) timeline.Event {
		return timeline.Event{By: timeline.Wire, Kind: k, Src: phone, Dst: end(port), Fields: f}
	}
	to := func(k timeline.Kind, port uint16, f fields) timeline.Event {
		return timeline.Event{By: timeline.Wire, Kind: k, Src: end(port), Dst: phone, Fields: f}
	}
	says := func(by string, k timeline.Kind, port uint16, f fields) timeline.Event {
		return timeline.Event{By: by, Kind: k, Src: phone, Dst: end(port), Fields: f}
	}
	with := func(e timeline.Event, change func(*timeline.Event)) timeline.Event { change(&e); return e }
	file := func(e timeline.Event, sha string, status int) timeline.Event {
		e.File, e.SHA256, e.Status, e.Complete = "own.cfg", sha, status, sha != ""
		return e
	}
	published := func(sha string) timeline.Event {
		return timeline.Event{By: "publish", Kind: timeline.Published, File: "OWN.cfg", SHA256: sha}
	}
	fired := func(by string) timeline.Event {
		return timeline.Event{By: by, Kind: timeline.FaultFired, Reason: "as told"}
	}
	ask := fields{"dhcp.id": "1", "dhcp.option.request_list": "1,42,66"}
	offer := given("offer", fields{timeline.GivenOption + "66": rig, timeline.GivenOption + "42": rig})
	ack := func(types, name string) timeline.Event {
		return to(timeline.DHCPAck, 68, fields{"dhcp.id": "1", "dhcp.option.type": types, "dhcp.option.tftp_server_name": name, "dhcp.option.ntp_server": rig})
	}
	rrq := file(from(timeline.TFTPRead, 69, nil), "", 0)
	data := to(timeline.TFTPData, 4000, nil)
	hello := from(timeline.TLSClientHello, 443, nil)
	shook := func(label string) timeline.Event {
		return says("httpd", timeline.Handshake, 443, fields{"tls.cert": label})
	}
	get, answer := says("httpd", timeline.HTTPRequest, 80, nil), says("httpd", timeline.HTTPResponse, 80, nil)
	registered := timeline.Event{By: timeline.Derived, Kind: timeline.Registered}
	register := with(from(timeline.SIPRequest, 5060, fields{"sip.Call-ID": "c", "sip.CSeq": "1 REGISTER"}), func(e *timeline.Event) { e.Message = "REGISTER" })
	ok := func(status int) timeline.Event {
		return with(to(timeline.SIPResponse, 5060, fields{"sip.Call-ID": "c", "sip.CSeq": "1 REGISTER"}), func(e *timeline.Event) { e.Status = status })
	}
	notify := timeline.Event{By: "scenario", Kind: timeline.Verb, Message: "NOTIFY check-sync"}
	query := with(from(timeline.DNSQuery, 53, fields{"dns.id": "7", "dns.qry.type": "A"}), func(e *timeline.Event) { e.Message = "prov.test" })
	resolved := func(a string) timeline.Event {
		return with(to(timeline.DNSResponse, 53, fields{"dns.id": "7", "dns.a": a}), func(e *timeline.Event) { e.Message = "prov.test" })
	}
	power := timeline.Event{By: "power", Kind: timeline.PowerOff}

	for name, c := range map[string]struct {
		events []timeline.Event
		want   []string
	}{
		"DHCP says what is offered":                       {[]timeline.Event{offer, from(timeline.DHCPRequest, 67, ask), ack("42,66", rig)}, nil},
		"DHCP leaves out what is asked for":               {[]timeline.Event{offer, from(timeline.DHCPRequest, 67, ask), ack("42", "")}, []string{"offer"}},
		"DHCP leaves out what is not asked for":           {[]timeline.Event{offer, from(timeline.DHCPRequest, 67, fields{"dhcp.id": "1", "dhcp.option.request_list": "42"}), ack("42", "")}, nil},
		"DHCP leaves out as told":                         {[]timeline.Event{offer, from(timeline.DHCPRequest, 67, ask), fired("dhcpd"), ack("42", "")}, nil},
		"what another service was told is no excuse":      {[]timeline.Event{offer, from(timeline.DHCPRequest, 67, ask), fired("tftpd"), ack("42", "")}, []string{"offer"}},
		"what it was told before the power cut is none":   {[]timeline.Event{offer, fired("dhcpd"), power, from(timeline.DHCPRequest, 67, ask), ack("42", "")}, []string{"offer"}},
		"what the wire was told is one":                   {[]timeline.Event{offer, from(timeline.DHCPRequest, 67, ask), fired(timeline.Impair)}, nil},
		"DHCP names another server":                       {[]timeline.Event{offer, from(timeline.DHCPRequest, 67, ask), ack("42,66", "192.0.2.77")}, []string{"offer"}},
		"DHCP sends what is not offered":                  {[]timeline.Event{offer, from(timeline.DHCPRequest, 67, ask), ack("42,66,160", rig)}, []string{"offer"}},
		"DHCP says nothing":                               {[]timeline.Event{offer, from(timeline.DHCPDiscover, 67, ask)}, []string{"offer"}},
		"DHCP says why it says nothing":                   {[]timeline.Event{offer, from(timeline.DHCPRequest, 67, ask), says("dhcpd", timeline.ServiceOddity, 67, fields{"dhcp.id": "1"})}, nil},
		"a REQUEST to another server is not answered":     {[]timeline.Event{offer, from(timeline.DHCPRequest, 67, fields{"dhcp.id": "1", "dhcp.option.dhcp_server_id": "203.0.113.1"})}, nil},
		"an offer of after the question":                  {[]timeline.Event{from(timeline.DHCPRequest, 67, ask), offer, ack("42", "")}, nil},
		"the file is what is published":                   {[]timeline.Event{published(sum), rrq, data, file(says("tftpd", timeline.Served, 69, nil), sum, 0)}, nil},
		"the file is what was published before":           {[]timeline.Event{published(sum), rrq, data, file(says("tftpd", timeline.Served, 69, nil), other, 0)}, []string{"publish"}},
		"the file changes while it is taken":              {[]timeline.Event{published(other), rrq, data, published(sum), file(says("tftpd", timeline.Served, 69, nil), other, 0)}, nil},
		"the file is there and is not found":              {[]timeline.Event{published(sum), rrq, to(timeline.TFTPError, 69, nil), file(says("tftpd", timeline.Served, 69, nil), "", 1)}, []string{"publish"}},
		"the file is not there and is not found":          {[]timeline.Event{published(sum), published(""), rrq, to(timeline.TFTPError, 69, nil), file(says("tftpd", timeline.Served, 69, nil), "", 1)}, nil},
		"the file is withdrawn and served":                {[]timeline.Event{published(sum), published(""), rrq, data, file(says("tftpd", timeline.Served, 69, nil), sum, 0)}, []string{"publish"}},
		"the file is not found over HTTP":                 {[]timeline.Event{published(sum), get, file(answer, "", 404)}, []string{"publish"}},
		"the file is asked for in vain":                   {[]timeline.Event{published(sum), rrq}, []string{"publish"}},
		"the file is asked for and the power is cut":      {[]timeline.Event{published(sum), rrq, power}, nil},
		"the file is asked for and the link goes away":    {[]timeline.Event{published(sum), rrq, {By: "rig", Kind: timeline.LinkDown}}, nil},
		"the certificate that is presented":               {[]timeline.Event{hello, to(timeline.TLSServerHello, 443, nil), shook("good")}, nil},
		"another certificate":                             {[]timeline.Event{hello, to(timeline.TLSServerHello, 443, nil), shook("expired")}, []string{"present"}},
		"another certificate under its name":              {[]timeline.Event{hello, to(timeline.TLSServerHello, 443, nil), file(to(timeline.TLSCertificate, 443, nil), other, 0), shook("good")}, []string{"present"}},
		"the time":                                        {[]timeline.Event{from(timeline.SNTPRequest, 123, nil), to(timeline.SNTPResponse, 123, fields{"ntp.xmt": "0xea59ebc000000000"})}, nil},
		"another time":                                    {[]timeline.Event{from(timeline.SNTPRequest, 123, nil), to(timeline.SNTPResponse, 123, fields{"ntp.xmt": "0xea59f9d000000000"})}, []string{"clock"}},
		"no time":                                         {[]timeline.Event{from(timeline.SNTPRequest, 123, nil)}, []string{"clock"}},
		"a name":                                          {[]timeline.Event{query, resolved(rig)}, nil},
		"another address of a name":                       {[]timeline.Event{query, resolved("203.0.113.1")}, []string{"names"}},
		"no address of a name":                            {[]timeline.Event{query}, []string{"names"}},
		"asked for credentials as told":                   {[]timeline.Event{given("challenge", fields{timeline.GivenChallenged: rig}), get, file(answer, "", 401)}, nil},
		"not asked for credentials":                       {[]timeline.Event{given("challenge", fields{timeline.GivenChallenged: rig}), get, file(answer, "", 200)}, []string{"challenge"}},
		"asked for credentials untold":                    {[]timeline.Event{get, file(answer, "", 401)}, []string{"challenge"}},
		"the registrar answers":                           {[]timeline.Event{register, ok(200)}, nil},
		"the registrar does not answer":                   {[]timeline.Event{register}, []string{"registrar"}},
		"the registrar does not challenge":                {[]timeline.Event{given("challenge SIP", fields{timeline.GivenRegistrar: "challenge"}), register, ok(200)}, []string{"registrar"}},
		"the registrar challenges untold":                 {[]timeline.Event{register, ok(401)}, []string{"registrar"}},
		"NOTIFY is sent":                                  {[]timeline.Event{registered, notify, with(to(timeline.SIPRequest, 5060, nil), func(e *timeline.Event) { e.Message = "NOTIFY" })}, nil},
		"NOTIFY is not sent":                              {[]timeline.Event{registered, notify}, []string{"notify"}},
		"NOTIFY has nowhere to go: it never registered":   {[]timeline.Event{notify}, nil},
		"the handset asks for nothing: that is its fault": {[]timeline.Event{offer, published(sum)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := givenScript{at: time.Date(2024, 8, 4, 12, 0, 0, 0, time.UTC)}
			s.add(given("reset", fields{
				timeline.GivenServers: rig, timeline.GivenCertificate: "good", timeline.GivenCertificateSHA256: sum, timeline.GivenChallenged: "",
				timeline.GivenRegistrar: "", timeline.GivenSkew: "0s", timeline.GivenName + "prov.test": rig,
			}))
			s.add(c.events...)
			// A power cut right behind a question leaves it no time.
			late := s.at.Add(time.Second)
			var got []string
			for _, l := range timeline.Lapses(timeline.LogOf(s.events...), late) {
				got = append(got, l.Given)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if now := timeline.Lapses(timeline.LogOf(s.events...), s.at); len(now) > len(c.want) {
				t.Errorf("before there was time to answer: %v", now)
			}
			var growing timeline.Lapsing
			for n := range len(s.events) + 1 {
				events := timeline.LogOf(s.events[:n]...)
				for _, at := range []time.Time{s.at, late} {
					if got, want := growing.Lapses(events, at), timeline.Lapses(events, at); !slices.Equal(got, want) {
						t.Errorf("after %d events: got %v of a recording that grew, want %v", n, got, want)
					}
				}
			}
		})
	}
}

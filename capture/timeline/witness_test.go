package timeline_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/capture/timeline"
)

func TestTwoWitnessesAreHeldAgainstEachOther(t *testing.T) {
	phone, other := netip.MustParseAddrPort("192.0.2.7:2001"), netip.MustParseAddrPort("192.0.2.7:2002")
	begun := timeline.Event{By: "recorder", Kind: timeline.CarriedState, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	rrq := timeline.Event{By: timeline.Wire, Kind: timeline.TFTPRead, Src: phone, File: "a", Frame: 1}
	last := timeline.Event{By: timeline.Wire, Kind: timeline.TFTPAck, Src: phone, File: "a", Complete: true, Bytes: 700, Frame: 4}
	served := timeline.Event{By: "tftpd", Kind: timeline.Served, Src: phone, File: "a", Complete: true, Bytes: 700, Frame: 4}
	open := timeline.Event{By: timeline.Wire, Kind: timeline.TCPOpen, Src: other, Frame: 5}
	try := timeline.Event{By: timeline.Wire, Kind: timeline.TCPTry, Src: other, Frame: 5}
	get := timeline.Event{By: timeline.Wire, Kind: timeline.HTTPRequest, Src: other, File: "b", Transport: timeline.HTTP, Frame: 6}
	said := timeline.Event{By: "httpd", Kind: timeline.HTTPRequest, Src: other, File: "b", Transport: timeline.HTTP, Frame: 6}
	hello := timeline.Event{By: timeline.Wire, Kind: timeline.TLSClientHello, Src: other, Frame: 6}
	heard := timeline.Event{By: "httpd", Kind: timeline.TLSClientHello, Src: other, Transport: timeline.HTTPS, Frame: 6}
	lossy := func(src netip.AddrPort, did string) timeline.Event {
		return timeline.Event{By: timeline.Impair, Kind: timeline.FaultFired, Src: src, Frame: 2, Fields: map[string]string{timeline.ImpairDid: did}}
	}
	unheard := func(message string) timeline.Event {
		return timeline.Event{By: "tftpd", Kind: timeline.FaultFired, Src: phone, File: "a", Message: message, Frame: 4}
	}
	with := func(e timeline.Event, change func(*timeline.Event)) timeline.Event { change(&e); return e }
	tests := map[string]struct {
		events []timeline.Event
		want   string // part of the one disagreement; blank: they agree
	}{
		"all agree":                            {[]timeline.Event{rrq, last, served, try, open, get, said, hello, heard}, ""},
		"a transfer still runs":                {[]timeline.Event{rrq}, ""},
		"a transfer that broke off":            {[]timeline.Event{rrq, with(served, func(e *timeline.Event) { e.Complete = false })}, ""},
		"the service is silent":                {[]timeline.Event{rrq, last}, "the wire shows 1, the journal 0"},
		"the wire is silent":                   {[]timeline.Event{rrq, served}, "the journal speaks of 1, the wire of none"},
		"other bytes":                          {[]timeline.Event{rrq, last, with(served, func(e *timeline.Event) { e.Bytes = 699 })}, "700 bytes on the wire, 699 in the journal"},
		"a flow nobody recorded":               {[]timeline.Event{begun, with(served, func(e *timeline.Event) { e.Frame, e.At = 0, begun.At.Add(2*time.Second) })}, "no frame of that flow is recorded"},
		"an entry of the recording before":     {[]timeline.Event{begun, with(served, func(e *timeline.Event) { e.Frame, e.At = 0, begun.At.Add(time.Millisecond) })}, ""},
		"given up after the recording changed": {[]timeline.Event{with(served, func(e *timeline.Event) { e.Frame, e.Complete = 0, false })}, ""},
		"a connection nobody speaks of":        {[]timeline.Event{try, open, with(hello, func(e *timeline.Event) { e.Kind = timeline.TLSData })}, "no service speaks of it"},
		"gone between SYN and ACK":             {[]timeline.Event{try, open}, ""},
		"gone so, and closed":                  {[]timeline.Event{try, open, with(open, func(e *timeline.Event) { e.Kind = timeline.TCPClosed })}, ""},
		"a request more on the wire":           {[]timeline.Event{try, open, get, get, said}, "the wire shows 2, the journal 1"},
		"a request more in the journal":        {[]timeline.Event{try, open, get, said, said}, "the wire shows 1, the journal 2"},
		"a ClientHello nobody heard":           {[]timeline.Event{try, open, said, get, hello}, "the wire shows 1, the journal 0"},
		"an oddity counts for nothing":         {[]timeline.Event{try, open, get, {By: "httpd", Kind: timeline.ServiceOddity, Src: other, Frame: 6}}, ""},
		"a connection from the time past":      {[]timeline.Event{heard}, ""},
		"a last ACK that the rig lost":         {[]timeline.Event{rrq, lossy(phone, "lost"), last}, ""},
		"a last ACK, and another flow's loss":  {[]timeline.Event{rrq, lossy(other, "lost"), last}, "the wire shows 1, the journal 0"},
		"a last ACK told not to be heard":      {[]timeline.Event{rrq, unheard("ACK"), last}, ""},
		"a last ACK, and a fault of the DATA":  {[]timeline.Event{rrq, unheard("DATA"), last}, "the wire shows 1, the journal 0"},
		"unheard, and other bytes":             {[]timeline.Event{rrq, unheard("ACK"), last, with(served, func(e *timeline.Event) { e.Bytes = 699 })}, "700 bytes on the wire, 699 in the journal"},
		"a loss and an invented transfer":      {[]timeline.Event{rrq, lossy(phone, "lost"), served}, "the journal speaks of 1, the wire of none"},
		"a loss and a request too many":        {[]timeline.Event{try, open, lossy(other, "lost"), get, said, said}, "the wire shows 1, the journal 2"},
		"a connection that the rig lost":       {[]timeline.Event{try, open, lossy(other, "lost"), get}, ""},
		"a loss and other bytes":               {[]timeline.Event{rrq, lossy(phone, "lost"), last, with(served, func(e *timeline.Event) { e.Bytes = 699 })}, "700 bytes on the wire, 699 in the journal"},
		"other bytes of altered frames":        {[]timeline.Event{rrq, lossy(phone, timeline.ImpairAltered), last, with(served, func(e *timeline.Event) { e.Bytes = 699 })}, ""},
		"a request made of an altered frame":   {[]timeline.Event{try, open, lossy(other, timeline.ImpairAltered), said}, ""},
		"a request doubled by altered frames":  {[]timeline.Event{try, open, lossy(other, timeline.ImpairAltered), get, said, said}, ""},
	}
	for name, tt := range tests {
		got := timeline.Disagreements(timeline.LogOf(tt.events...))
		switch {
		case tt.want == "" && len(got) > 0:
			t.Errorf("%s: %q", name, got)
		case tt.want != "" && !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, tt.want) }):
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestWebServersAreHeldAgainstTheBytesOfTheWire(t *testing.T) {
	phone, other := netip.MustParseAddrPort("192.0.2.7:2001"), netip.MustParseAddrPort("192.0.2.7:2002")
	server := netip.MustParseAddrPort("192.0.2.1:80")
	open := timeline.Event{By: timeline.Wire, Kind: timeline.TCPOpen, Src: phone, Dst: server, Frame: 1}
	try := timeline.Event{By: timeline.Wire, Kind: timeline.TCPTry, Src: phone, Dst: server, Frame: 1}
	get := timeline.Event{By: timeline.Wire, Kind: timeline.HTTPRequest, Src: phone, Dst: server, File: "a", Message: "GET", Transport: timeline.HTTP, Frame: 2}
	asked := timeline.Event{By: "httpd", Kind: timeline.HTTPRequest, Src: phone, File: "a", Message: "GET", Transport: timeline.HTTP, Frame: 2}
	told := timeline.Event{By: "httpd", Kind: timeline.HTTPResponse, Src: phone, File: "a", Message: "GET", Status: 200, Bytes: 700, Transport: timeline.HTTP, Frame: 2}
	shown := timeline.Event{By: timeline.Wire, Kind: timeline.HTTPResponse, Src: server, Dst: phone, File: "a", Message: "GET", Status: 200, Bytes: 700, Complete: true, Transport: timeline.HTTP, Frame: 5}
	served := timeline.Event{By: "httpd", Kind: timeline.Served, Src: phone, File: "a", Status: 200, Bytes: 700, Complete: true, Transport: timeline.HTTP, Frame: 5}
	fin := timeline.Event{By: timeline.Wire, Kind: timeline.TCPClosed, Src: server, Dst: phone, Bytes: 900, Frame: 6}
	bye := timeline.Event{By: timeline.Wire, Kind: timeline.TCPClosed, Src: phone, Dst: server, Bytes: 80, Frame: 7}
	closed := timeline.Event{By: "httpd", Kind: timeline.ConnClosed, Src: phone, Frame: 7, Fields: map[string]string{"bytes.in": "80", "bytes.out": "900"}}
	ends := func(in, out string) timeline.Event {
		e := closed
		e.Fields = map[string]string{"bytes.in": in, "bytes.out": out}
		return e
	}
	fault := timeline.Event{By: "httpd", Kind: timeline.FaultFired, Src: phone, Frame: 2}
	altered := timeline.Event{By: timeline.Impair, Kind: timeline.FaultFired, Src: phone, Frame: 2, Fields: map[string]string{timeline.ImpairDid: timeline.ImpairAltered}}
	with := func(e timeline.Event, change func(*timeline.Event)) timeline.Event { change(&e); return e }
	less := func(e timeline.Event) timeline.Event {
		return with(e, func(e *timeline.Event) { e.Bytes = 699 })
	}
	broken := with(shown, func(e *timeline.Event) { e.Bytes, e.Complete = 300, false })
	secure := []timeline.Event{try, open, with(get, func(e *timeline.Event) { e.Kind = timeline.TLSClientHello }), with(asked, func(e *timeline.Event) { e.Kind = timeline.TLSClientHello })}
	for name, tt := range map[string]struct {
		events []timeline.Event
		want   string // part of the one disagreement; blank: they agree
	}{
		"all agree":                               {[]timeline.Event{try, open, get, asked, told, shown, served, fin, bye, closed}, ""},
		"a file of other bytes":                   {[]timeline.Event{try, open, get, asked, told, shown, less(served)}, `"a": 700 bytes on the wire, 699 in the journal`},
		"an answer of other bytes":                {[]timeline.Event{try, open, get, asked, less(told), shown}, "200 with 700 bytes on the wire, 200 with 699 in the journal"},
		"another status":                          {[]timeline.Event{try, open, get, asked, with(told, func(e *timeline.Event) { e.Status = 404 }), shown}, "404 with 700 in the journal"},
		"an answer that nobody gave":              {[]timeline.Event{try, open, get, asked, shown}, "1 answers on the wire, 0 in the journal"},
		"the second of two files":                 {[]timeline.Event{try, open, get, asked, told, shown, served, get, asked, told, shown, less(served)}, `"a": 700 bytes on the wire, 699 in the journal`},
		"an answer that is still on its way":      {[]timeline.Event{try, open, get, asked, told}, ""},
		"one that the handset broke off":          {[]timeline.Event{try, open, get, asked, told, broken, served, closed}, ""},
		"one that the service broke off":          {[]timeline.Event{try, open, get, asked, told, shown, with(served, func(e *timeline.Event) { e.Bytes, e.Complete = 0, false })}, ""},
		"what a fault made of it":                 {[]timeline.Event{try, open, get, asked, fault, told, less(shown), served}, ""},
		"what altered frames made of it":          {[]timeline.Event{try, open, altered, get, asked, told, less(shown), served, fin, ends("80", "901")}, ""},
		"a connection of other bytes":             {[]timeline.Event{try, open, get, asked, told, shown, served, fin, bye, ends("80", "901")}, "900 bytes on the wire to the handset, 901 in the journal"},
		"and in spite of a fault":                 {[]timeline.Event{try, open, get, asked, fault, told, fin, ends("80", "901")}, "900 bytes on the wire to the handset, 901 in the journal"},
		"written, and the handset was gone":       {[]timeline.Event{try, open, get, asked, told, ends("80", "1900")}, ""},
		"read what was not sent":                  {[]timeline.Event{try, open, get, asked, told, shown, fin, bye, ends("81", "900")}, "80 bytes on the wire from the handset, 81 in the journal"},
		"not all was read":                        {[]timeline.Event{try, open, get, asked, told, shown, fin, bye, ends("60", "900")}, ""},
		"over TLS":                                {append(slices.Clone(secure), with(asked, func(e *timeline.Event) { e.Transport = timeline.HTTPS }), with(told, func(e *timeline.Event) { e.Transport = timeline.HTTPS }), served, fin, closed), ""},
		"over TLS more than the connection":       {append(slices.Clone(secure), with(served, func(e *timeline.Event) { e.Bytes = 901 }), fin, closed), "files of 901 bytes in the journal, and 900 were sent"},
		"an end that serves twice":                {[]timeline.Event{try, open, get, asked, told, shown, served, fin, bye, closed, try, open, get, asked, told, shown, served, fin, bye, closed}, ""},
		"the first of an end's two":               {[]timeline.Event{try, open, get, asked, told, shown, served, fin, bye, ends("80", "901"), try, open, get, asked, told, shown, served, fin, bye, closed}, "900 bytes on the wire to the handset, 901 in the journal"},
		"the second of an end's two":              {[]timeline.Event{try, open, get, asked, told, shown, served, fin, bye, closed, try, open, get, asked, told, shown, served, fin, bye, ends("81", "900")}, "80 bytes on the wire from the handset, 81 in the journal"},
		"a file of the second":                    {[]timeline.Event{try, open, get, asked, told, shown, served, fin, bye, closed, try, open, get, asked, told, shown, less(served)}, `"a": 700 bytes on the wire, 699 in the journal`},
		"the first, and the second ends too late": {[]timeline.Event{try, open, get, asked, told, shown, served, fin, bye, ends("80", "901"), try, open, try, open, ends("80", "700")}, "900 bytes on the wire to the handset, 901 in the journal"},
		"the end of one that began before":        {[]timeline.Event{ends("1", "1"), try, open, get, asked, told, shown, served, fin, bye, closed}, ""},
		"and that comes after the next began":     {[]timeline.Event{try, open, ends("1", "1"), get, asked, told, shown, served, fin, bye, closed}, ""},
		"one that no service got, and the next":   {[]timeline.Event{try, open, try, open, get, asked, told, shown, served, fin, bye, closed}, ""},
		"entries of two that mix":                 {[]timeline.Event{try, open, get, asked, told, shown, fin, try, open, get, asked, told, shown, ends("80", "100"), closed}, ""},
		"a connection that began before":          {[]timeline.Event{get, asked, shown, fin, ends("1", "1")}, ""},
		"a connection of the rig's to the phone":  {[]timeline.Event{with(open, func(e *timeline.Event) { e.Src, e.Dst = server, other }), with(fin, func(e *timeline.Event) { e.Dst = other })}, ""},
		"a connection on which nothing was asked": {[]timeline.Event{try, open, with(bye, func(e *timeline.Event) { e.Bytes = 0 })}, ""},
	} {
		got := timeline.Disagreements(timeline.LogOf(tt.events...))
		switch {
		case tt.want == "" && len(got) > 0:
			t.Errorf("%s: %q", name, got)
		case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestTheRegistrarIsHeldAgainstTheAnswersOfTheWire(t *testing.T) {
	const phoneMAC, rigMAC = "00:00:5e:00:53:10", "00:00:5e:00:53:01"
	phone, server := netip.MustParseAddrPort("192.0.2.7:5060"), netip.MustParseAddrPort("192.0.2.1:5060")
	sip := func(kind timeline.Kind, mac, message, cseq string) timeline.Event {
		e := timeline.Event{By: timeline.Wire, Kind: kind, SrcMAC: mac, Message: message, Src: phone, Dst: server, Frame: 3, Fields: map[string]string{"sip.Call-ID": "a", "sip.CSeq": cseq}}
		if mac == rigMAC {
			e.Src, e.Dst = server, phone
		}
		return e
	}
	on := timeline.Event{Kind: timeline.PowerOn}
	ask, answer := sip(timeline.SIPRequest, phoneMAC, "REGISTER", "007 REGISTER"), sip(timeline.SIPResponse, rigMAC, "REGISTER", "7 REGISTER")
	said := timeline.Event{By: "sipd", Kind: timeline.SIPResponse, Src: phone, Message: "REGISTER", Frame: 3, Fields: map[string]string{"sip.Call-ID": "a", "sip.CSeq": "7 REGISTER"}}
	again := said
	again.Reason = "sent again"
	lost := timeline.Event{By: timeline.Impair, Kind: timeline.FaultFired, Src: phone, Frame: 2}
	spoilt := timeline.Event{By: timeline.Wire, Kind: timeline.Malformed, SrcMAC: phoneMAC, Src: phone, Dst: server, Frame: 2}
	elsewhere := func(e timeline.Event) timeline.Event {
		e.Src = netip.MustParseAddrPort("192.0.2.8:5060")
		return e
	}
	notify, ok := sip(timeline.SIPRequest, rigMAC, "NOTIFY", "1 NOTIFY"), sip(timeline.SIPResponse, phoneMAC, "NOTIFY", "1 NOTIFY")
	for name, tt := range map[string]struct {
		events []timeline.Event
		want   string
	}{
		"they agree":                       {[]timeline.Event{on, ask, said, answer}, ""},
		"the handset's own answers":        {[]timeline.Event{on, ask, said, answer, notify, ok}, ""},
		"an answer that nobody gave":       {[]timeline.Event{on, ask, answer}, "sipd does not speak of it"},
		"an answer to nothing":             {[]timeline.Event{on, said}, "sipd speaks of an answer to REGISTER of 192.0.2.7:5060, and the wire shows no request"},
		"an answer that was lost":          {[]timeline.Event{on, ask, said}, ""},
		"a request that nobody got":        {[]timeline.Event{on, ask}, ""},
		"to a request of long ago":         {[]timeline.Event{on, again}, ""},
		"a request of the time past":       {[]timeline.Event{answer, on}, ""},
		"of the time past, and sent again": {[]timeline.Event{ask, again, answer}, ""},
		"a request that the rig spoilt":    {[]timeline.Event{on, lost, said}, ""},
		"one that nobody can read":         {[]timeline.Event{on, spoilt, said}, ""},
		"and of another that is asked":     {[]timeline.Event{on, elsewhere(spoilt), said}, "sipd speaks of an answer to REGISTER of 192.0.2.7:5060, and the wire shows no request"},
		"a tab in the field":               {[]timeline.Event{on, sip(timeline.SIPRequest, phoneMAC, "REGISTER", "7\tREGISTER"), said, answer}, ""},
		"one of another number":            {[]timeline.Event{on, sip(timeline.SIPRequest, phoneMAC, "REGISTER", "70\tREGISTER"), said}, "sipd speaks of an answer to REGISTER of 192.0.2.7:5060, and the wire shows no request"},
	} {
		got := timeline.Disagreements(timeline.LogOf(tt.events...))
		switch {
		case tt.want == "" && len(got) > 0:
			t.Errorf("%s: %q", name, got)
		case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

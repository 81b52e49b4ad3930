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
		"all agree":                            {[]timeline.Event{rrq, last, served, open, get, said, hello, heard}, ""},
		"a transfer still runs":                {[]timeline.Event{rrq}, ""},
		"a transfer that broke off":            {[]timeline.Event{rrq, with(served, func(e *timeline.Event) { e.Complete = false })}, ""},
		"the service is silent":                {[]timeline.Event{rrq, last}, "the wire shows 1, the journal 0"},
		"the wire is silent":                   {[]timeline.Event{rrq, served}, "the journal speaks of 1, the wire of none"},
		"other bytes":                          {[]timeline.Event{rrq, last, with(served, func(e *timeline.Event) { e.Bytes = 699 })}, "700 bytes on the wire, 699 in the journal"},
		"a flow nobody recorded":               {[]timeline.Event{begun, with(served, func(e *timeline.Event) { e.Frame, e.At = 0, begun.At.Add(2*time.Second) })}, "no frame of that flow is recorded"},
		"an entry of the recording before":     {[]timeline.Event{begun, with(served, func(e *timeline.Event) { e.Frame, e.At = 0, begun.At.Add(time.Millisecond) })}, ""},
		"given up after the recording changed": {[]timeline.Event{with(served, func(e *timeline.Event) { e.Frame, e.Complete = 0, false })}, ""},
		"a connection nobody speaks of":        {[]timeline.Event{open, with(hello, func(e *timeline.Event) { e.Kind = timeline.TLSData })}, "no service speaks of it"},
		"gone between SYN and ACK":             {[]timeline.Event{open}, ""},
		"a request more on the wire":           {[]timeline.Event{open, get, get, said}, "the wire shows 2, the journal 1"},
		"a request more in the journal":        {[]timeline.Event{open, get, said, said}, "the wire shows 1, the journal 2"},
		"a ClientHello nobody heard":           {[]timeline.Event{open, said, get, hello}, "the wire shows 1, the journal 0"},
		"an oddity counts for nothing":         {[]timeline.Event{open, get, {By: "httpd", Kind: timeline.ServiceOddity, Src: other, Frame: 6}}, ""},
		"a connection from the time past":      {[]timeline.Event{heard}, ""},
		"a last ACK that the rig lost":         {[]timeline.Event{rrq, lossy(phone, "lost"), last}, ""},
		"a last ACK, and another flow's loss":  {[]timeline.Event{rrq, lossy(other, "lost"), last}, "the wire shows 1, the journal 0"},
		"a last ACK told not to be heard":      {[]timeline.Event{rrq, unheard("ACK"), last}, ""},
		"a last ACK, and a fault of the DATA":  {[]timeline.Event{rrq, unheard("DATA"), last}, "the wire shows 1, the journal 0"},
		"unheard, and other bytes":             {[]timeline.Event{rrq, unheard("ACK"), last, with(served, func(e *timeline.Event) { e.Bytes = 699 })}, "700 bytes on the wire, 699 in the journal"},
		"a loss and an invented transfer":      {[]timeline.Event{rrq, lossy(phone, "lost"), served}, "the journal speaks of 1, the wire of none"},
		"a loss and a request too many":        {[]timeline.Event{open, lossy(other, "lost"), get, said, said}, "the wire shows 1, the journal 2"},
		"a connection that the rig lost":       {[]timeline.Event{open, lossy(other, "lost"), get}, ""},
		"a loss and other bytes":               {[]timeline.Event{rrq, lossy(phone, "lost"), last, with(served, func(e *timeline.Event) { e.Bytes = 699 })}, "700 bytes on the wire, 699 in the journal"},
		"other bytes of altered frames":        {[]timeline.Event{rrq, lossy(phone, timeline.ImpairAltered), last, with(served, func(e *timeline.Event) { e.Bytes = 699 })}, ""},
		"a request made of an altered frame":   {[]timeline.Event{open, lossy(other, timeline.ImpairAltered), said}, ""},
		"a request doubled by altered frames":  {[]timeline.Event{open, lossy(other, timeline.ImpairAltered), get, said, said}, ""},
	}
	for name, tt := range tests {
		got := timeline.Disagreements(tt.events)
		switch {
		case tt.want == "" && len(got) > 0:
			t.Errorf("%s: %q", name, got)
		case tt.want != "" && !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, tt.want) }):
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

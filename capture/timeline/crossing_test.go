package timeline_test

import (
	"net/netip"
	"testing"
	"time"

	"ip88rig/capture/timeline"
)

// A handshake that the cut of power broke off ends a boot later, by the reset of
// a handset that knows nothing of it: that refuses no certificate.
func TestAHandshakeOfTheBootBeforeRefusesNothing(t *testing.T) {
	const mac = "00:00:5e:00:53:01"
	phone, rig := netip.MustParseAddrPort("192.0.2.7:40001"), netip.MustParseAddrPort("192.0.2.1:443")
	hello := timeline.Event{By: timeline.Wire, Kind: timeline.TLSClientHello, SrcMAC: mac, Src: phone, Dst: rig, Frame: 3}
	reset := timeline.Event{By: "httpd", Kind: timeline.Handshake, Src: phone, Dst: rig, Reason: "handshake: closed by the handset", Frame: 9, Fields: map[string]string{"tls.finished": "true", "tls.cert": "good"}}
	cut := []timeline.Event{{By: "power", Kind: timeline.PowerOff}, {By: "power", Kind: timeline.PowerOn}}
	address := timeline.Event{By: timeline.Wire, Kind: timeline.ARPRequest, SrcMAC: mac, Src: phone, Frame: 1}
	for name, tt := range map[string]struct {
		events []timeline.Event
		want   int
	}{
		"in one boot":                {[]timeline.Event{address, hello, reset}, 1},
		"with a cut of power before": {append([]timeline.Event{address, hello}, append(cut, address, reset)...), 0},
		"never begun here":           {[]timeline.Event{address, reset}, 0},
	} {
		tl := timeline.New(timeline.Config{HandsetMACs: []string{mac}})
		for i, e := range tt.events {
			e.At = time.Date(2026, 1, 2, 3, 4, 5, i*1000, time.UTC)
			tl.Add(e)
		}
		refused := 0
		for _, e := range tl.Events() {
			if e.Kind == timeline.Refused {
				refused++
			}
		}
		if refused != tt.want {
			t.Errorf("%s: %d refusals, want %d\n%s", name, refused, tt.want, timeline.Text(tl.Log()))
		}
	}
}

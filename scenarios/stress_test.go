package scenarios

import (
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/httpd"
)

func TestWhoTakesGzipIsNotServedItUnasked(t *testing.T) {
	const unasked, told = "gzip, unasked", "said to be gzip, and is not"
	for accept, want := range map[string]string{"": unasked, "gzip": told, "deflate, gzip;q=0.5": told, "gzip;q=0": unasked} {
		ask := timeline.Event{By: "httpd", Kind: timeline.HTTPRequest, Fields: map[string]string{"http.accept_encoding": accept}}
		s := unaskedGzip(fault.On("a.cfg"))
		s = s.asked(s, timeline.LogOf(timeline.Event{Kind: timeline.PowerOn}, ask, timeline.Event{By: "httpd", Kind: timeline.Served}))
		effect := httpd.Compressed{HeaderOnly: want == told}
		if s.name != want || len(s.rules) != 1 || s.rules[0].Effect() != effect {
			t.Errorf("%q: %s by %v, want %s", accept, s.name, s.rules, want)
		}
	}
}

func TestNoSilenceThatChangesNothingIsCalledNone(t *testing.T) {
	silences := []point{{name: "3 s"}, {name: "6 s"}}
	for at, want := range map[int][2]string{
		-1: {"none: registers as the file says after 3 s", "3 s"},
		0:  {"registers as the file says after 3 s", "3 s"},
		1:  {"registers as the file says after 6 s", "6 s"},
	} {
		if tells, silence := silentEnd(silences, at); tells != want[0] || silence.name != want[1] {
			t.Errorf("at %d: got %q under %q, want %q", at, tells, silence.name, want)
		}
	}
}

package httpd

import (
	"strings"
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

func TestWrongLengths(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		effect fault.Effect
		lines  []string // of Content-Length
		whole  bool
		code   int // of curl
		out    string
		goErr  bool
	}{
		"more than there is":  {Length{By: 4}, []string{"10"}, false, 18, config, true}, // CURLE_PARTIAL_FILE
		"less than there is":  {Length{By: -2}, []string{"4"}, false, 0, config[:4], true},
		"none":                {NoLength{}, nil, true, 0, config, false},
		"below nothing":       {LengthAs{"-1"}, []string{"-1"}, false, 8, "", true}, // CURLE_WEIRD_SERVER_REPLY
		"no number":           {LengthAs{"six"}, []string{"six"}, false, 8, "", true},
		"more than 64 bits":   {LengthAs{"99999999999999999999"}, []string{"99999999999999999999"}, false, 0, config, true},
		"two that contradict": {LengthTwice{By: 2}, []string{"6", "8"}, false, 18, config, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := faulty(t, Config{}, fault.On("sysconf_8830_sip.cfg").Do(c.effect))
			out, err := get(t, addr, "sysconf_8830_sip.cfg")
			head, body, _ := strings.Cut(out, "\r\n\r\n")
			var lines []string
			for l := range strings.Lines(head + "\r\n") {
				if v, ok := strings.CutPrefix(l, "Content-Length: "); ok {
					lines = append(lines, strings.TrimSpace(v))
				}
			}
			if err != nil || body != config || strings.Join(lines, " ") != strings.Join(c.lines, " ") {
				t.Errorf("lengths %q, body %q, %v", lines, body, err)
			}
			told(t, j, config, c.whole)
			if out, code := curl(t, "http://"+addr+"/sysconf_8830_sip.cfg"); code != c.code || code == 0 && out != c.out || code == 18 && !strings.Contains(out, c.out) {
				t.Errorf("curl: %q, %d, want %q, %d", out, code, c.out, c.code)
			}
			if err := fetchWithGo(t, addr); (err != nil) != c.goErr {
				t.Errorf("Go's client: %v", err)
			}
		})
	}
}

func TestTheConnectionAfterAWrongLength(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		effect fault.Effect
		why    string
	}{
		{Length{By: 5}, "closed by the rig"},
		{Length{By: 5, Hold: true}, "closed by the handset"},
		{Length{By: -5}, "closed by the handset"},
		{NoLength{}, "closed by the rig"},
	} {
		addr, j := faulty(t, Config{}, fault.On("sysconf_8830_sip.cfg").Do(c.effect))
		kept(t, addr, "sysconf_8830_sip.cfg")
		if closed := j.wait(t, timeline.ConnClosed, 1)[0]; closed.Reason != c.why {
			t.Errorf("%s: %q, want %q", c.effect, closed.Reason, c.why)
		}
	}
}

package httpd

import (
	"strings"
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
)

func TestRedirections(t *testing.T) {
	t.Parallel()
	other, _ := serve(t, Config{})
	addr, j := faulty(t, Config{},
		fault.On("a").Do(Redirect{Code: 301, To: "http://" + other + "/sysconf_8830_sip.cfg"}),
		fault.On("dir/b").Do(Redirect{Code: 307, To: "c"}),
		fault.On("dir/c").Do(Redirect{Code: 308, To: "/sysconf_8830_sip.cfg"}),
		fault.On("loop").Do(Redirect{Code: 302}),
		fault.On("x").Do(Redirect{Code: 302, To: "y"}),
		fault.On("y").Do(Redirect{Code: 302, To: "x"}))
	for file, want := range map[string]int{"a": 0, "dir/b": 0, "loop": 47, "x": 47} { // 47: CURLE_TOO_MANY_REDIRECTS
		out, code := curl(t, "-L", "--max-redirs", "5", "http://"+addr+"/"+file)
		if code != want || want == 0 && out != config {
			t.Errorf("%s: %q, %d, want %d", file, out, code, want)
		}
	}
	if out, _ := get(t, addr, "loop?a=b"); !strings.HasPrefix(out, "HTTP/1.1 302 Found\r\n") || !strings.Contains(out, "\r\nLocation: /loop?a=b\r\n") {
		t.Errorf("answered %q", out)
	}
	for _, served := range j.of(timeline.Served) {
		if served.File != "sysconf_8830_sip.cfg" {
			t.Errorf("served %q", served.File)
		}
	}
}

func TestInterimAnswersUnasked(t *testing.T) {
	t.Parallel()
	addr, j := faulty(t, Config{}, fault.On("empty").Do(Interim{Count: 2}), fault.On("sysconf_8830_sip.cfg").Do(Interim{Code: 103}))
	out, err := get(t, addr, "empty")
	if !strings.HasPrefix(out, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n") || err != nil {
		t.Errorf("answered %q, %v", out, err)
	}
	if out, code := curl(t, "http://"+addr+"/sysconf_8830_sip.cfg"); out != config || code != 0 {
		t.Errorf("curl: %q, %d", out, code)
	}
	if served := j.wait(t, timeline.Served, 2); !served[0].Complete || !served[1].Complete {
		t.Errorf("served %v", served)
	}
}

func TestTheFileUnderAnotherStatus(t *testing.T) {
	t.Parallel()
	for code, whole := range map[int]bool{204: false, 304: false, 206: true, 404: true, 500: true} {
		addr, j := faulty(t, Config{}, fault.On("sysconf_8830_sip.cfg").Do(FileUnder{Code: code}))
		if out, err := get(t, addr, "sysconf_8830_sip.cfg"); !strings.HasPrefix(out, "HTTP/1.1 "+string(rune('0'+code/100))) || !strings.HasSuffix(out, "\r\nContent-Length: 6\r\nConnection: close\r\n\r\n"+config) || err != nil {
			t.Errorf("%d: answered %q, %v", code, out, err)
		}
		told(t, j, config, whole)
		if got := j.of(timeline.Served)[0].Status; got != code {
			t.Errorf("status %d in the journal, want %d", got, code)
		}
	}
}

func TestTwoAnswersToOneRequest(t *testing.T) {
	t.Parallel()
	addr, j := faulty(t, Config{}, fault.On("sysconf_8830_sip.cfg").Do(Twice{}))
	out, err := get(t, addr, "sysconf_8830_sip.cfg")
	if strings.Count(out, "HTTP/1.1 200 OK\r\n") != 2 || strings.Count(out, "\r\n\r\n"+config) != 2 || err != nil {
		t.Errorf("answered %q, %v", out, err)
	}
	j.wait(t, timeline.ConnClosed, 1)
	if n := len(j.of(timeline.HTTPResponse)); n != 2 {
		t.Errorf("%d answers in the journal", n)
	}
}

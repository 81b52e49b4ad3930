package match

import (
	"net/netip"
	"strconv"
	"time"

	"ip88rig/capture/timeline"
)

const (
	phoneMAC  = "00:00:5e:00:53:01"
	moduleMAC = "00:00:5e:00:53:02"
	rigMAC    = "00:00:5e:00:53:fe"
)

func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func derived(k timeline.Kind) timeline.Event {
	return timeline.Event{By: timeline.Derived, Kind: k, SrcMAC: phoneMAC, Src: addr("192.0.2.10:2001")}
}

func asked(file string) timeline.Event { return askedOver(timeline.TFTP, file) }

func askedOver(over timeline.Transport, file string) timeline.Event {
	e := derived(timeline.Asked)
	e.File, e.Transport, e.Dst = file, over, addr("192.0.2.1:69")
	return e
}

func fetchedFile(file, sha string, size int64) timeline.Event {
	e := derived(timeline.Fetched)
	e.File, e.SHA256, e.Bytes, e.Transport, e.Complete = file, sha, size, timeline.TFTP, true
	return e
}

func rebooted() timeline.Event {
	e := derived(timeline.Rebooted)
	e.Reason = "DISCOVER while 192.0.2.10 was leased"
	return e
}

func booted() timeline.Event { return derived(timeline.Booted) }

func registered(user string) timeline.Event { return registeredWith(user, 300, "LG 1.2.3") }

func registeredWith(user string, expires int, agent string) timeline.Event {
	e := derived(timeline.Registered)
	e.Src, e.Dst = addr("192.0.2.10:5060"), addr("192.0.2.1:5060")
	e.Fields = map[string]string{"sip.From.user": user, "sip.Expires": strconv.Itoa(expires), "sip.User-Agent": agent}
	return e
}

func refused(port string) timeline.Event {
	e := derived(timeline.Refused)
	e.Src, e.Dst, e.Reason = addr("192.0.2.10:"+port), addr("192.0.2.1:443"), "unknown_ca"
	return e
}

func handshake(port, cert string, complete bool) timeline.Event {
	e := timeline.Event{By: "httpd", Kind: timeline.Handshake, Transport: timeline.HTTPS, Src: addr("192.0.2.10:" + port), Dst: addr("192.0.2.1:443"), Complete: complete, Fields: map[string]string{"tls.cert": cert}}
	if !complete {
		e.Reason = "no answer in time"
	}
	return e
}

// request is an HTTPS request as the service tells it.
func request(port, file string, fields ...string) timeline.Event {
	e := timeline.Event{By: "httpd", Kind: timeline.HTTPRequest, Transport: timeline.HTTPS, Message: "GET", File: file, Src: addr("192.0.2.10:" + port), Dst: addr("192.0.2.1:443"), Fields: map[string]string{}}
	for i := 0; i+1 < len(fields); i += 2 {
		e.Fields[fields[i]] = fields[i+1]
	}
	return e
}

func challenge() timeline.Event {
	e := request("3001", "a")
	e.Kind, e.Status = timeline.HTTPResponse, 401
	return e
}

func right(scheme, user string, more ...string) []string {
	return append([]string{"auth.scheme", scheme, "auth.user", user, "auth.ok", "true"}, more...)
}

func wire(mac string, k timeline.Kind, src, dst string) timeline.Event {
	e := timeline.Event{By: timeline.Wire, Kind: k, SrcMAC: mac, DstMAC: rigMAC, Src: addr(src), Dst: addr(dst)}
	if mac == rigMAC {
		e.DstMAC = phoneMAC
	}
	return e
}

func lost() timeline.Event { return timeline.Event{By: "recorder", Kind: timeline.FramesLost} }

// tell makes a timeline of a verb and the events, one second and one frame
// apart, and a window of a minute behind the verb.
func tell(events ...timeline.Event) (*timeline.Timeline, *timeline.Window) {
	tl := timeline.New(timeline.Config{HandsetMACs: []string{phoneMAC, moduleMAC}, ServerMACs: []string{rigMAC}})
	tl.Add(timeline.Event{At: start(), By: "scenario", Kind: timeline.Verb, Message: "PowerCycle"})
	w := tl.Mark().Within(time.Minute)
	for i, e := range events {
		e.At = start().Add(time.Duration(i+1) * time.Second)
		if e.By != "httpd" {
			e.Frame = i + 1
		}
		tl.Add(e)
	}
	return tl, w
}

// shut lets the minute pass.
func shut(tl *timeline.Timeline) { tl.Advance(start().Add(time.Minute + time.Second)) }

func global() Step { return Step{Name: "global file", Files: []string{"sysconf_8830_sip.cfg"}} }
func own() Step    { return Step{Name: "own file", Files: []string{"00005e005301", "00005E005301"}} }

func version() Step { return Step{Name: "version file", Files: []string{"00005e005301/VER", "VER"}} }

// routine are the asks of a good cycle, with a look-up and a retry.
func routine() []timeline.Event {
	return []timeline.Event{
		asked("sysconf_8830_sip.cfg"), asked("00005e005301"), asked("00005e005301"), asked("00005e005301/VER"), asked("VER"),
	}
}

func more(events []timeline.Event, then ...timeline.Event) []timeline.Event {
	return append(events, then...)
}

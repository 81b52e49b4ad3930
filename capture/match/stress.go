package match

import (
	"fmt"
	"slices"
	"strings"

	"ip88rig/capture/timeline"
)

func stressMatchers() registry[params] {
	return registry[params]{"RegisterAsOneOf": registerAsOneOf{}, "RebootAtMost": rebootAtMost{}, "AskAtMost": askAtMost{}, "AckOncePerBlock": ackOncePerBlock{}}
}

// What a handset must do under stress: it goes on, and it does not try for ever.

type registerAsOneOf struct {
	Lines []RegisterWith `json:"lines"`
	End   *RegisterWith  `json:"end,omitempty"`
}

// RegisterAsOneOf claims that the handset registers in one of these ways and in
// no other: a file was applied whole or not at all. What is applied late shows
// late, so it holds once the window has closed.
func RegisterAsOneOf(lines ...RegisterWith) OneOf {
	return OneOf{claim[registerAsOneOf]{registerAsOneOf{Lines: lines}}}
}

// OneOf is the matcher of RegisterAsOneOf.
type OneOf struct{ claim[registerAsOneOf] }

// Until adds the registration that ends the claim: a handset that registers so has
// applied everything.
func (m OneOf) Until(end RegisterWith) OneOf {
	m.with.End = &end
	return m
}

func (m registerAsOneOf) says() string {
	lines := m.Lines
	if m.End != nil {
		lines = append(slices.Clone(lines), *m.End)
	}
	ways := make([]string, len(lines))
	for i, l := range lines {
		ways[i] = strings.Join(l.parts(), " ")
	}
	return "register " + strings.Join(ways, ", or ")
}

func (m registerAsOneOf) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{m.says()}, Line: 1, Problem: "it did not register"}
	for _, e := range all(v, timeline.Registered) {
		vd.Seen = append(vd.Seen, line(e))
		switch {
		case m.End != nil && m.End.is(e):
			vd.OK, vd.Final = true, true
			return vd
		case !slices.ContainsFunc(m.Lines, func(l RegisterWith) bool { return l.is(e) }):
			vd.OK, vd.Final = false, true
			vd.Line, vd.Problem = len(vd.Seen), fmt.Sprintf("it registered as %s for %s s", e.Fields["sip.From.user"], e.Fields["sip.Expires"])
			return vd
		}
		vd.OK, vd.Problem = v.Closed, "it is not yet known whether it registers otherwise"
	}
	return vd
}

type rebootAtMost struct {
	Times int `json:"times"`
}

// RebootAtMost claims that there are no more reboots than so many. It holds
// once the window has closed.
func RebootAtMost(times int) Matcher { return claims(rebootAtMost{Times: times}) }

func (m rebootAtMost) says() string {
	if m.Times == 0 {
		return "not reboot"
	}
	return "reboot no more than " + count(m.Times)
}

func (m rebootAtMost) judge(v timeline.View) Verdict {
	seen := all(v, timeline.Rebooted)
	vd := Verdict{Expected: []string{m.says()}, Seen: lines(seen), Problem: "it is not yet known whether it reboots again"}
	switch {
	case len(seen) > m.Times:
		vd.Final, vd.Line, vd.Problem = true, m.Times+1, "it rebooted "+count(len(seen))
	case v.Closed:
		vd.OK = true
	}
	return vd
}

type askAtMost struct {
	Step  Step `json:"step"`
	Times int  `json:"times"`
}

// AskAtMost claims that a step is asked for, and on the wire no more often than
// so many times, repetitions counted. It holds once the window has closed.
func AskAtMost(s Step, times int) Matcher { return claims(askAtMost{Step: s, Times: times}) }

func (m askAtMost) says() string {
	return fmt.Sprintf("ask for the %s, and no more than %s", m.Step.Name, count(m.Times))
}

func (m askAtMost) judge(v timeline.View) Verdict {
	var seen []*timeline.Event
	for e := range v.Brief.All() {
		if requested(e) && m.Step.has(e.File) {
			seen = append(seen, e)
		}
	}
	vd := Verdict{Expected: []string{m.says()}, Seen: lines(seen), Line: 1, Problem: "it is not yet known whether it asks again"}
	switch {
	case len(seen) > m.Times:
		vd.Final, vd.Line, vd.Problem = true, m.Times+1, "it asked "+count(len(seen))
	case len(seen) == 0:
		vd.Problem = "it did not ask"
	case v.Closed:
		vd.OK = true
	}
	return vd
}

// requested recognises a request on the wire, also a repeated one; of HTTPS only
// the service sees it.
func requested(e *timeline.Event) bool {
	return e.Kind == timeline.TFTPRead || e.Kind == timeline.HTTPRequest && (e.By == timeline.Wire || e.Transport == timeline.HTTPS)
}

type ackOncePerBlock struct {
	File string `json:"file"`
}

// AckOncePerBlock claims that no block of the file is acknowledged more often
// than it came: a receiver that answers a duplicate twice makes a sender double every block
// from there on (RFC 1123 section 4.2.3.1). It holds once the file was
// downloaded, or the window has closed.
func AckOncePerBlock(file string) Matcher { return claims(ackOncePerBlock{File: file}) }

func (m ackOncePerBlock) says() string {
	return "acknowledge no block of " + m.File + " more often than it came"
}

func (m ackOncePerBlock) judge(v timeline.View) Verdict {
	type block struct {
		end    string
		number int
	}
	vd := Verdict{Expected: []string{m.says()}, Line: 1, Problem: m.File + " was not sent"}
	came := map[block]int{}
	for e := range v.Events.All() {
		if e.By != timeline.Wire && e.Kind != timeline.Fetched || e.File != m.File {
			continue
		}
		switch e.Kind { //nolint:exhaustive // only these three matter
		case timeline.TFTPData:
			came[block{e.Dst.String(), e.Number}]++
			vd.Problem = m.File + " is not yet known to be over"
		case timeline.TFTPAck:
			b := block{e.Src.String(), e.Number}
			came[b]--
			if came[b] < 0 && e.Number > 0 {
				vd.OK, vd.Final = false, true
				vd.Seen = append(vd.Seen, line(e))
				vd.Line, vd.Problem = len(vd.Seen), fmt.Sprintf("block %d was acknowledged once more than it came", e.Number)
				return vd
			}
		case timeline.Fetched:
			vd.Seen = append(vd.Seen, line(e))
		}
	}
	vd.OK = len(came) > 0 && v.Closed
	return vd
}

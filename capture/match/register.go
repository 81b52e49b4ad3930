package match

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ip88rig/capture/timeline"
)

func registerMatchers() registry[params] {
	return registry[params]{"RegisterWith": RegisterWith{}, "Run": run{}}
}

// RegisterWith claims an accepted registration in which every field that is set
// here is so.
type RegisterWith struct {
	// User is the user of From.
	User string `json:"user,omitempty"`
	// Expires is what the REGISTER asked for, in seconds.
	Expires int `json:"expires,omitempty"`
	// Agent is a part of the User-Agent.
	Agent string `json:"agent,omitempty"`
	// Port is the handset's source port.
	Port int `json:"port,omitempty"`
	// Proxy is where REGISTER went: an address, or an address with a port.
	Proxy string `json:"proxy,omitempty"`
}

// Register claims that the handset registers.
func Register() Matcher { return RegisterWith{} }

// RegisterAs claims that the handset registers as this user.
func RegisterAs(user string) Matcher { return RegisterWith{User: user} }

// Claim implements Matcher.
func (m RegisterWith) Claim() string { return m.says() }

// Judge implements Matcher.
func (m RegisterWith) Judge(v timeline.View) Verdict { return conclude(v, m.judge) }

func (m RegisterWith) made() params { return m }

func (m RegisterWith) says() string {
	return strings.Join(append([]string{"register"}, m.parts()...), " ")
}

func (m RegisterWith) parts() []string {
	var parts []string
	add := func(set bool, format string, value any) {
		if set {
			parts = append(parts, fmt.Sprintf(format, value))
		}
	}
	add(m.User != "", "as %s", m.User)
	add(m.Expires != 0, "for %d s", m.Expires)
	add(m.Agent != "", "with a User-Agent that holds %q", m.Agent)
	add(m.Port != 0, "from port %d", m.Port)
	add(m.Proxy != "", "at %s", m.Proxy)
	return parts
}

func (m RegisterWith) judge(v timeline.View) Verdict {
	vd := Verdict{Expected: []string{m.says()}, Line: 1, Problem: "it did not register", presence: true}
	for _, e := range all(v, timeline.Registered) {
		if m.is(e) {
			vd.OK, vd.Final, vd.Seen = true, true, []string{line(e)}
			return vd
		}
		vd.Problem = "it registered otherwise"
		if s := line(e); !slices.Contains(vd.Seen, s) {
			vd.Seen = append(vd.Seen, s)
		}
	}
	return vd
}

func (m RegisterWith) is(e *timeline.Event) bool {
	return (m.User == "" || e.Fields["sip.From.user"] == m.User) &&
		(m.Expires == 0 || e.Fields["sip.Expires"] == strconv.Itoa(m.Expires)) &&
		(m.Agent == "" || strings.Contains(e.Fields["sip.User-Agent"], m.Agent)) &&
		(m.Port == 0 || int(e.Src.Port()) == m.Port) &&
		(m.Proxy == "" || at(m.Proxy, e.Dst))
}

type run struct {
	Version string `json:"version"`
	// AnyAgent leaves the User-Agent out, where it is not known to hold the version.
	AnyAgent bool     `json:"anyagent,omitempty"`
	Step     *Step    `json:"step,omitempty"`
	Listed   []string `json:"listed,omitempty"`
}

// Run claims that the handset runs this version: it registers with a User-Agent
// that holds it.
func Run(version string) Running { return Running{claim[run]{run{Version: version}}} }

// Running is the matcher of Run.
type Running struct{ claim[run] }

// Asking adds the other witness: in the window the version file, which names
// this version, is asked for and none of the files listed in it is, and the
// handset registers after that.
func (m Running) Asking(version Step, listed ...string) Running {
	m.with.Step, m.with.Listed = &version, listed
	return m
}

// WhateverAgent takes no notice of the User-Agent, for a model of which it is
// not known to hold the version. Use it with Asking.
func (m Running) WhateverAgent() Running {
	m.with.AnyAgent = true
	return m
}

func (m run) says() string { return "run version " + m.Version }

func (m run) judge(v timeline.View) Verdict {
	vd := Verdict{presence: m.Step == nil}
	due := 0
	expect := func(s string) { vd.Expected = append(vd.Expected, s) }
	if m.Step != nil {
		expect("asked for " + m.Step.Name)
	}
	if m.AnyAgent {
		expect("registered")
	} else {
		expect("registered, User-Agent with " + m.Version)
	}
	asked := m.Step == nil
	vd.Problem = "it did not register"
	if !asked {
		vd.Problem = "it did not ask for " + m.Step.Name
	}
	var others []string
	for _, e := range all(v, timeline.Asked, timeline.Registered) {
		switch {
		case m.Step != nil && e.Kind == timeline.Asked && slices.Contains(m.Listed, e.File):
			vd.OK, vd.Final, vd.Line = false, true, due+1
			vd.Seen = append(vd.Seen[:due], line(e))
			vd.Problem = "it downloads software: it asked for " + e.File
			return vd
		case e.Kind == timeline.Asked:
			if !asked && m.Step.has(e.File) {
				asked, vd.Problem = true, "it did not register after that"
				vd.Seen = append(vd.Seen, line(e))
				due++
			}
		case !asked || vd.OK:
		case m.AnyAgent || holdsVersion(e.Fields["sip.User-Agent"], m.Version):
			vd.Seen = append(vd.Seen[:due:due], line(e))
			vd.OK, vd.Final = true, m.Step == nil
		default:
			vd.Problem = fmt.Sprintf("its User-Agent is %q", e.Fields["sip.User-Agent"])
			if s := line(e); !slices.Contains(others, s) {
				others = append(others, s)
			}
		}
	}
	if !vd.OK {
		vd.Line = due + 1
		vd.Seen = append(vd.Seen, others...)
	}
	return vd
}

// holdsVersion reports whether the version stands in the text as a whole: 1.2
// does not stand in 1.2.3 nor in 11.2.
func holdsVersion(text, version string) bool {
	if version == "" {
		return false
	}
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	letter := func(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
	for from := 0; ; {
		i := strings.Index(text[from:], version)
		if i < 0 {
			return false
		}
		i += from
		before, after := text[:i], text[i+len(version):]
		from = i + 1
		if n := len(before); n > 0 && (digit(before[n-1]) || n > 1 && before[n-1] == '.' && digit(before[n-2])) {
			continue
		}
		if len(after) > 0 && (digit(after[0]) || letter(after[0]) || len(after) > 1 && after[0] == '.' && (digit(after[1]) || letter(after[1]))) {
			continue
		}
		return true
	}
}

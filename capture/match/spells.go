package match

import (
	"cmp"
	"slices"
	"strings"

	"ip88rig/capture/timeline"
)

func observedSpelling() registry[Observation] {
	return registry[Observation]{"Spells": spells{}, "AnswersAs": answersAs{}, "Displays": displays{}, "AnswersWith": answersWith{}, "AsksOf": asksOf{}}
}

type spells struct {
	Step Step `json:"step"`
}

// Spells measures how the handset writes a file's name that is a MAC: in which
// letter case, and with what between the digits. Several forms stand in the
// order in which they were first seen.
func Spells(s Step) Observation { return spells{Step: s} }

func (m spells) Measure(v timeline.View) []Value {
	var cases, marks []string
	note := func(list *[]string, s string) {
		if !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	for _, e := range all(v, timeline.Asked) {
		if !m.Step.has(e.File) {
			continue
		}
		note(&cases, letterCase(e.File))
		note(&marks, separator(e.File))
	}
	return []Value{{Name: "letter case", Value: list(cases)}, {Name: "separators", Value: list(marks)}}
}

func letterCase(name string) string {
	lower, upper := strings.ToLower(name) == name, strings.ToUpper(name) == name
	switch {
	case lower && upper:
		return "digits only"
	case lower:
		return "lower"
	case upper:
		return "upper"
	}
	return "mixed"
}

func separator(name string) string {
	switch at := strings.IndexAny(name, "-:."); {
	case at < 0:
		return "without"
	case name[at] == '-':
		return "dashes"
	case name[at] == ':':
		return "colons"
	}
	return "dots"
}

type answersAs struct {
	Step  Step    `json:"step"`
	Users Aliases `json:"users"`
}

// AnswersAs measures as which users, by their labels, the handset authenticates
// itself where it asks for a step.
func AnswersAs(s Step, users Aliases) Observation { return answersAs{Step: s, Users: users} }

func (m answersAs) Measure(v timeline.View) []Value {
	var users []string
	for e := range v.Brief.All() {
		if e.Kind != timeline.HTTPRequest || !requested(e) || !m.Step.has(e.File) {
			continue
		}
		user, ok := e.Fields["http.authorization.username"]
		if !ok {
			user, ok = e.Fields["auth.user"]
		}
		if name := label(m.Users, user); ok && !slices.Contains(users, name) {
			users = append(users, name)
		}
	}
	return []Value{{Name: "user", Value: list(users)}}
}

type displays struct {
	Names Aliases `json:"names"`
}

// Displays measures the display name, by its label, with which the handset
// registers last.
func Displays(names Aliases) Observation { return displays{Names: names} }

func (m displays) Measure(v timeline.View) []Value {
	name := none
	for e := range v.Events.All() {
		if e.Kind == timeline.SIPRequest && e.By == timeline.Wire && e.Message == "REGISTER" {
			name = label(m.Names, e.Fields["sip.from.display.info"])
		}
	}
	return []Value{{Name: "display name", Value: name}}
}

type answersWith struct{}

// AnswersWith measures the codecs with which the handset answers its last call, in
// its order: names of static RTP payload types (RFC 3551, table 4), else numbers.
// A handset that keeps the order of the offer, as RFC 3264, section 6.1,
// recommends, does not show the order of its settings.
func AnswersWith() Observation { return answersWith{} }

func (m answersWith) Measure(v timeline.View) []Value {
	names := map[string]string{"0": "pcmu", "4": "g723", "8": "pcma", "9": "g722", "18": "g729"}
	var codecs []string
	for e := range v.Events.All() {
		if e.Kind != timeline.SIPResponse || e.Message != "INVITE" || e.Status != 200 || !fromHandset(v, e) {
			continue
		}
		codecs = nil
		// Port 0 refuses the medium (RFC 3264, section 6).
		if media := strings.Fields(e.Fields["sdp.media"]); len(media) > 3 && media[0] == "audio" && media[1] != "0" {
			for _, format := range media[3:] {
				codecs = append(codecs, cmp.Or(names[format], format))
			}
		}
	}
	return []Value{{Name: "codecs", Value: list(codecs)}}
}

type asksOf struct {
	Step  Step    `json:"step"`
	Hosts Aliases `json:"hosts"`
}

// AsksOf measures which hosts, by their labels, are asked for one step, in order,
// each once in a row.
func AsksOf(s Step, hosts Aliases) Observation { return asksOf{Step: s, Hosts: hosts} }

func (m asksOf) Measure(v timeline.View) []Value {
	var out []string
	for _, e := range all(v, timeline.Asked) {
		if host := m.Hosts.of(e.Dst.Addr().String()); m.Step.has(e.File) && (len(out) == 0 || out[len(out)-1] != host) {
			out = append(out, host)
		}
	}
	return []Value{{Name: "of whom", Value: list(out)}}
}

package report

import (
	"fmt"
	"slices"
	"strings"

	"ip88rig/rig/deviation"
)

// staleMessage is what to do about a stale deviation.
const staleMessage = "the handset no longer fails: remove the line"

// Stale is a registered deviation that no handset shows any longer.
type Stale struct {
	// Subject is whom it is about, Grounds its reason, link and expiry.
	Subject string `json:"subject"`
	Grounds string `json:"grounds"`
	Row     string `json:"row"`
	// File and Line are where it stands.
	File string `json:"file,omitempty"`
	Line int    `json:"line"`
	// Passed are the handsets that passed the row.
	Passed []string `json:"passed"`
}

// String is one line for a person.
func (s Stale) String() string {
	file := s.File
	if file == "" {
		file = "line"
	}
	return fmt.Sprintf("%s:%d: %s: passed on %s: %s", file, s.Line, s.Subject, strings.Join(s.Passed, ", "), s.Grounds)
}

// StaleDeviations returns the deviations of a list that have nothing to excuse:
// each handset that one is about has passed the row in all that the row is judged
// by, and one at least was judged. A run that did not see all of it proves
// nothing: what was filtered out, skipped, blocked or inconclusive, a handset
// that one is about and that was not chosen or whose lane died, an interrupt.
// Whether it has expired does not matter.
func (r Run) StaleDeviations(list deviation.List) []Stale {
	if r.Interrupted {
		return nil
	}
	var out []Stale
	for _, d := range list {
		var passed []string
		seen := !slices.ContainsFunc(r.Absent, func(a Absent) bool { return d.Applies(a.Model, a.Firmware) })
		for _, h := range r.Handsets {
			if !d.Applies(h.Model, h.Firmware) {
				continue
			}
			judged, whole := h.passed(d.Requirement)
			seen = seen && whole
			if judged {
				passed = append(passed, h.Name)
			}
		}
		if seen && len(passed) > 0 {
			out = append(out, Stale{Subject: d.Subject(), Grounds: d.Grounds(), Row: d.Requirement, File: r.Deviations, Line: d.Line, Passed: passed})
		}
	}
	return out
}

// passed tells whether a row was judged on a handset at all, and whether nothing
// but passes is known of it.
func (h Handset) passed(row string) (judged, whole bool) {
	whole = h.Died == "" && !slices.Contains(h.Filtered, row)
	for _, s := range h.Specs {
		if slices.Contains(s.Rows, row) && s.Verdict != Pass && !slices.ContainsFunc(s.Judgements, func(j Judgement) bool { return j.Row == row }) {
			whole = false // it broke off before the row
		}
		for _, j := range s.Judgements {
			if j.Row == row {
				judged = true
				whole = whole && j.Verdict == Pass
			}
		}
	}
	return judged, whole
}

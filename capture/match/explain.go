package match

import (
	"fmt"
	"strings"

	"ip88rig/capture/timeline"
)

// Explain is the text of a failed assertion on a view: what was claimed and why it
// does not hold, the table of expected and seen with a mark where they differ, the
// findings, and a short ladder.
func Explain(m Matcher, v timeline.View, negated bool) string {
	vd := m.Judge(v)
	var b strings.Builder
	if negated {
		fmt.Fprintf(&b, "Expected the handset not to %s, but it did%s.\n\n", m.Claim(), window(v))
		for _, s := range vd.Seen {
			fmt.Fprintf(&b, "  × %s\n", s)
		}
	} else {
		fmt.Fprintf(&b, "Expected the handset to %s%s, but %s.\n\n", m.Claim(), window(v), strings.TrimSuffix(vd.Problem, "."))
		writeTable(&b, vd)
	}
	if len(vd.Findings) > 0 {
		fmt.Fprintf(&b, "\nBesides:\n  %s\n", strings.Join(vd.Findings, "\n  "))
	}
	writeLadder(&b, v)
	return strings.TrimRight(b.String(), "\n")
}

// window says how far the claim reaches.
func window(v timeline.View) string {
	var s string
	if v.Bound > 0 {
		s = fmt.Sprintf(" within %v", v.Bound)
	}
	if i := v.From - 1; v.Anchored && i >= 0 && i < v.All.Len() {
		s += " of " + strings.ReplaceAll(line(v.All.At(i)), "  (", " (")
	}
	return s
}

// writeTable writes expected and seen side by side.
func writeTable(b *strings.Builder, vd Verdict) {
	width := len("expected")
	for _, s := range vd.Expected {
		width = max(width, len([]rune(s)))
	}
	cell := func(column []string, i int) string {
		if i < len(column) {
			return column[i]
		}
		return "-"
	}
	row := func(mark, left, right string) {
		fmt.Fprintf(b, "%s %s%s  %s\n", mark, left, strings.Repeat(" ", max(0, width-len([]rune(left)))), right)
	}
	row("   ", "expected", "seen")
	for i := range max(len(vd.Expected), len(vd.Seen), vd.Line) {
		mark := "   "
		if i+1 == vd.Line {
			mark = "  ×"
		}
		row(mark, cell(vd.Expected, i), cell(vd.Seen, i))
	}
}

// writeLadder writes what happened in the window, or, if it never began, all.
func writeLadder(b *strings.Builder, v timeline.View) {
	events := v.Events
	if !v.Anchored {
		events = v.All
	}
	if ladder := timeline.Ladder(events); ladder != "" {
		fmt.Fprintf(b, "\n%s\n", strings.TrimRight(ladder, "\n"))
	}
}

package report

import (
	"fmt"
	"strings"
	"time"
)

// Summary returns what a person wants to know in the morning: a line per
// handset, then each spec that did not pass with its reason and the command
// that runs it again, then what drifted and how, what is known and until when,
// which deviation is stale, and what was skipped and why.
func (r Run) Summary() string {
	var w strings.Builder
	specs, judgements := r.Counts()
	fmt.Fprintf(&w, "\n%s: %d handsets, %d specs, %d judgements in %s", r.Bench, len(r.Handsets), total(specs), total(judgements), r.Took.Round(100*time.Millisecond))
	var virtual time.Duration
	for _, h := range r.Handsets {
		virtual += h.VirtualTook
	}
	if virtual > 0 {
		fmt.Fprintf(&w, ", %s of virtual time", virtual.Round(time.Second))
	}
	w.WriteString("\n")
	for _, h := range r.Handsets {
		rows := h.Rows()
		by := map[Verdict]int{}
		for _, row := range rows {
			by[row.Verdict]++
		}
		kind := "real"
		if h.Simulated {
			kind = "simulated: a pass proves the rig, not a phone"
		}
		fmt.Fprintf(&w, "  %-14s %s %-5s %2d rows: %s (%s)\n", h.Name, h.Model, h.Link, len(rows), verdicts(by), kind)
		if h.Died != "" {
			fmt.Fprintf(&w, "    THE LANE DIED: %s\n", h.Died)
		}
		if len(h.Defects) > 0 {
			fmt.Fprintf(&w, "    defects: %s\n", strings.Join(h.Defects, ", "))
		}
	}
	r.troubles(&w)
	r.drifted(&w)
	r.unmet(&w)
	r.known(&w)
	r.stale(&w)
	r.skipped(&w)
	if open := r.UnexplainedBlocks(); len(open) > 0 {
		fmt.Fprintf(&w, "\nblocked by rows that no spec judged as failed, so the run is inconclusive as a whole:\n  %s\n", strings.Join(open, "\n  "))
	}
	// Specs, too: one that broke off before it judged anything has no judgement.
	fmt.Fprintf(&w, "\n%d specs: %s; %d judgements: %s; exit code %d\n", total(specs), verdicts(specs), total(judgements), verdicts(judgements), r.ExitCode())
	return w.String()
}

func (r Run) troubles(w *strings.Builder) {
	for _, h := range r.Handsets {
		// A cause that stops everything is told once, not a hundred times.
		told := map[string]int{}
		for _, s := range h.Specs {
			switch s.Verdict {
			case Pass, Skip, Known, Drift:
				s.otherwise(w, h.Name) // all else is told below
				continue
			case Blocked:
				told[s.BlockedBy+"\x00"+s.Reason]++
				if told[s.BlockedBy+"\x00"+s.Reason] > 1 {
					continue
				}
			case Fail, Inconclusive:
			}
			fmt.Fprintf(w, "\n%s  %s: %s\n", strings.ToUpper(string(s.Verdict)), h.Name, s.Name)
			for _, j := range s.Judgements {
				if j.Verdict != Pass {
					fmt.Fprintf(w, "  %s %s", j.Row, j.Verdict)
					if j.Case != "" {
						fmt.Fprintf(w, " (%s)", j.Case)
					}
					if j.Reason != "" && j.Reason != s.Reason {
						fmt.Fprintf(w, ": %s", j.Reason)
					}
					fmt.Fprintln(w)
				}
			}
			if s.Reason != "" {
				fmt.Fprintf(w, "  %s\n", s.Reason)
			}
			if text := s.failure(); text != "" {
				fmt.Fprintf(w, "%s\n", indent(text, "    "))
			}
			s.faults(w)
			fmt.Fprintf(w, "  evidence: %s\n  again:    %s\n", s.Folder, s.Rerun)
		}
		for key, n := range told {
			if n > 1 {
				row, reason, _ := strings.Cut(key, "\x00")
				fmt.Fprintf(w, "\nBLOCKED  %s: %d more specs by %s: %s\n", h.Name, n-1, row, reason)
			}
		}
	}
}

// otherwise tells the judgements of a spec that came out worse than, or otherwise
// than, what is told of it as a whole: those that were not made, and why.
func (s Spec) otherwise(w *strings.Builder, handset string) {
	told := false
	for _, j := range s.Judgements {
		if j.Verdict != Blocked && j.Verdict != Inconclusive && j.Verdict != Fail {
			continue
		}
		if !told {
			fmt.Fprintf(w, "\n%s  %s: %s, but\n", strings.ToUpper(string(s.Verdict)), handset, s.Name)
			told = true
		}
		fmt.Fprintf(w, "  %s %s", j.Row, j.Verdict)
		if j.Case != "" {
			fmt.Fprintf(w, " (%s)", j.Case)
		}
		if j.Reason != "" {
			fmt.Fprintf(w, ": %s", j.Reason)
		}
		fmt.Fprintln(w)
	}
	if told {
		fmt.Fprintf(w, "  evidence: %s\n  again:    %s\n", s.Folder, s.Rerun)
	}
}

// manyFaults is how many of a spec are told: a sweep has dozens.
const manyFaults = 8

// faults tells what was made to go wrong.
func (s Spec) faults(w *strings.Builder) {
	for i, f := range s.Faults {
		if i == manyFaults {
			fmt.Fprintf(w, "  and %d faults more: see run.json\n", len(s.Faults)-i)
			return
		}
		fmt.Fprintf(w, "  %s\n", f)
	}
}

// subject names a judgement: "CFG-06 over tftp (NULs)".
func (j Judgement) subject() string {
	s := j.Row
	if j.Transport != "" {
		s += " over " + j.Transport
	}
	if j.Case != "" {
		s += " (" + j.Case + ")"
	}
	return s
}

// drifted tells each difference from the golden record.
func (r Run) drifted(w *strings.Builder) {
	head := "\ndrifted from the golden record (what is meant to be so, \"ip88rig run --update-golden\" takes over):\n"
	for _, h := range r.Handsets {
		for _, s := range h.Specs {
			told := false
			for _, j := range s.Judgements {
				if j.Verdict != Drift {
					continue
				}
				w.WriteString(head)
				head, told = "", true
				fmt.Fprintf(w, "  %s: %s\n", h.Name, j.subject())
				if j.Reason != "" && len(j.Diff) == 0 {
					fmt.Fprintf(w, "    %s\n", j.Reason)
				}
				for _, line := range j.Diff {
					fmt.Fprintf(w, "    %s\n", line)
				}
			}
			if !told && s.Verdict == Drift {
				w.WriteString(head)
				head, told = "", true
				fmt.Fprintf(w, "  %s: %s\n    %s\n", h.Name, s.Name, s.Reason)
			}
			if told {
				fmt.Fprintf(w, "    record:   %s\n    evidence: %s\n    again:    %s\n", h.Golden, s.Folder, s.Rerun)
			}
		}
	}
}

// unmet tells what a golden record holds and nothing measures any more.
func (r Run) unmet(w *strings.Builder) {
	head := "\nin the golden record, and not measured (renamed, or no longer looked at: mend the record):\n"
	for _, h := range r.Handsets {
		for _, line := range h.Unmet {
			fmt.Fprintf(w, "%s  %s: %s: %s\n", head, h.Name, h.Golden, line)
			head = ""
		}
	}
}

// known tells each deviation once a handset, with what is known of it.
func (r Run) known(w *strings.Builder) {
	var order []string
	subjects := map[string][]string{}
	for _, h := range r.Handsets {
		for _, s := range h.Specs {
			for _, j := range s.Judgements {
				if j.Verdict != Known {
					continue
				}
				key := h.Name + ": " + j.Row + ": " + j.Reason
				if subjects[key] == nil {
					order = append(order, key)
				}
				subjects[key] = append(subjects[key], j.subject())
			}
		}
	}
	if len(order) > 0 {
		w.WriteString("\nknown, and put up with for now:\n")
	}
	for _, key := range order {
		fmt.Fprintf(w, "  %s", key)
		if n := len(subjects[key]); n > 1 {
			fmt.Fprintf(w, " (%d judgements, e.g. %s)", n, subjects[key][0])
		}
		w.WriteByte('\n')
	}
}

func (r Run) stale(w *strings.Builder) {
	if len(r.Stale) > 0 {
		fmt.Fprintf(w, "\nstale deviations: %s:\n", staleMessage)
	}
	for _, s := range r.Stale {
		fmt.Fprintf(w, "  %s\n", s)
	}
}

// failure is the failure's text without what Gomega says of its own waiting, and
// without the command that runs the spec again: that is told beside it.
func (s Spec) failure() string {
	var out strings.Builder
	for line := range strings.Lines(strings.TrimRight(s.Failure, "\n")) {
		if out.Len() == 0 && strings.HasPrefix(line, "No future change is possible.") || s.Rerun != "" && strings.TrimSpace(line) == "again: "+s.Rerun {
			continue
		}
		out.WriteString(line)
	}
	return strings.TrimRight(out.String(), "\n")
}

// skipped tells each reason once: of specs that did not run, and of judgements
// in specs that did, as those of observed rows without a golden record.
func (r Run) skipped(w *strings.Builder) {
	type key struct{ reason, of string }
	order := []key{}
	lists := map[key][]string{}
	add := func(k key, what string) {
		if _, ok := lists[k]; !ok {
			order = append(order, k)
		}
		lists[k] = append(lists[k], what)
	}
	for _, h := range r.Handsets {
		for _, s := range h.Specs {
			if s.Verdict == Skip {
				add(key{s.Reason, "specs"}, h.Name+": "+s.Name)
				continue
			}
			for _, j := range s.Judgements {
				if j.Verdict == Skip {
					add(key{j.Reason, "judgements"}, h.Name+": "+j.subject())
				}
			}
		}
	}
	if len(order) > 0 {
		fmt.Fprintf(w, "\nskipped:\n")
	}
	for _, k := range order {
		fmt.Fprintf(w, "  %s (%d %s, e.g. %s)\n", k.reason, len(lists[k]), k.of, lists[k][0])
	}
}

func verdicts(by map[Verdict]int) string {
	var parts []string
	for _, v := range []Verdict{Pass, Fail, Drift, Inconclusive, Blocked, Known, Skip} {
		if by[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", by[v], v))
		}
	}
	if len(parts) == 0 {
		return "nothing judged"
	}
	return strings.Join(parts, ", ")
}

func total(by map[Verdict]int) int {
	n := 0
	for _, v := range by {
		n += v
	}
	return n
}

func indent(s, with string) string {
	return with + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n"+with)
}

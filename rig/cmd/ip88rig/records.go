package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/deviation"
	"ip88rig/rig/golden"
	"ip88rig/rig/report"
	"ip88rig/scenarios"
)

// loadBenchWith is loadBench with what the command line puts in the place of the
// bench file's own.
func loadBenchWith(path, goldenRecords, deviations string) (bench.Bench, error) {
	b, err := loadBench(path)
	if err != nil {
		return b, err
	}
	if goldenRecords != "" {
		b.GoldenRecords = goldenRecords
	}
	if deviations != "" {
		b.Deviations = deviations
	}
	return b, nil
}

// loadDeviations reads the bench's known deviations; none is named: none.
func loadDeviations(b bench.Bench) (deviation.List, error) {
	if b.Deviations == "" {
		return nil, nil
	}
	list, err := deviation.Load(b.Deviations, func(row string) bool {
		_, err := scenarios.Find(row)
		return err == nil
	})
	if err != nil {
		return nil, exitError{report.ExitUsage, err}
	}
	return list, nil
}

// loadRecord reads the golden record of a handset; nil: there is none.
func loadRecord(b bench.Bench, h bench.Handset) (*golden.Record, error) {
	record, err := golden.LoadFor(b, h)
	if err != nil {
		return nil, exitError{report.ExitUsage, err}
	}
	return record, nil
}

// records reads deviations and records before anything runs: a mistake in them
// is one of the command line, not of a handset in the middle of the night.
func (c *runCmd) records(b bench.Bench, handsets []bench.Handset) (deviation.List, error) {
	if c.UpdateGolden && b.GoldenRecords == "" {
		return nil, usage("--update-golden: the embedded bench's own records are in this program; say where with --golden-records (fixtures/golden)")
	}
	if c.UpdateGolden && c.Defect != "" {
		return nil, usage("--update-golden: what a handset with a defect does is not golden")
	}
	for _, h := range handsets {
		if _, err := loadRecord(b, h); err != nil {
			return nil, err
		}
	}
	return loadDeviations(b)
}

// filteredRows are rows of which a filter leaves specs out. Where only some
// values of each sweep are tried, any row may be one of them.
func filteredRows(o scenarios.Options) []string {
	in := map[string]bool{}
	for _, d := range scenarios.Declarations(o) {
		in[d.Name] = o.Points == 0
	}
	var out []string
	for _, d := range scenarios.Declarations(scenarios.Options{Lane: o.Lane}) {
		if !in[d.Name] {
			out = append(out, d.Rows...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// selects are the options that choose specs, for a handset that nobody drives.
func (c *runCmd) selects(b bench.Bench, h bench.Handset) scenarios.Options {
	return scenarios.Options{Lane: rig.Unopened(b, h), Filter: c.Filter, LabelFilter: c.LabelFilter, Points: c.Points}
}

// leavesNothingOut tells a run that tries all there is of healthy handsets.
func (c *runCmd) leavesNothingOut() bool {
	return c.Filter == "" && c.LabelFilter == "" && c.Points == 0 && c.Depth != string(scenarios.Night) && c.Defect == ""
}

// unmet fills in what the golden records hold and no handset that shares them
// measured.
func unmet(b bench.Bench, handsets []bench.Handset, found []report.Handset) {
	specs, died := map[string][]report.Spec{}, map[string]bool{}
	for _, h := range found {
		specs[h.Golden] = append(specs[h.Golden], h.Specs...)
		died[h.Golden] = died[h.Golden] || h.Died != ""
	}
	for i := range found {
		h := &found[i]
		if h.Golden == "" || died[h.Golden] {
			continue
		}
		if record, err := golden.LoadFor(b, handsets[i]); err == nil {
			h.Unmet = record.Unmet(specs[h.Golden])
		}
	}
}

// absent are the handsets of the bench that were not chosen.
func absent(b bench.Bench, chosen []bench.Handset) []report.Absent {
	var out []report.Absent
	for _, h := range b.Handsets {
		if !slices.ContainsFunc(chosen, func(c bench.Handset) bool { return c.Name == h.Name }) {
			out = append(out, report.Absent{Name: h.Name, Model: h.Model.String(), Firmware: h.Software()})
		}
	}
	return out
}

// updateGolden writes what the run has measured into the records, and says what
// that changes. Handsets of one kind with one software share a record.
func (p *parent) updateGolden(handsets []bench.Handset, run report.Run) error {
	dir := p.bench.GoldenRecords
	if run.Interrupted {
		p.terminal.print("golden records: left as they were, because the run was interrupted\n")
		return nil
	}
	measured := map[golden.Key][]golden.Measurement{}
	var order []golden.Key
	for i, h := range handsets {
		ms := golden.Measurements(run.Handsets[i])
		key, ok := golden.KeyOf(h)
		switch {
		case len(ms) == 0:
		case !ok:
			p.terminal.print(fmt.Sprintf("golden records: %s: %s\n", h.Name, golden.Missing(h)))
		default:
			if _, ok := measured[key]; !ok {
				order = append(order, key)
			}
			measured[key] = append(measured[key], ms...)
		}
	}
	if len(order) == 0 {
		p.terminal.print("golden records: nothing was measured, nothing changes\n")
	}
	for _, key := range order {
		changes, err := golden.Update(dir, key, measured[key])
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%d lines change", len(changes))
		if len(changes) == 0 {
			what = "nothing changes"
		}
		p.terminal.print(fmt.Sprintf("golden record %s in %s: %s\n", key.File(), dir, what))
		for _, c := range changes {
			p.terminal.print("  " + c + "\n")
		}
	}
	return nil
}

// expired lists the deviations of a bench that no longer excuse a failure.
func expired(b bench.Bench, list deviation.List, today time.Time) string {
	var out strings.Builder
	for _, d := range list {
		if d.Expired(today) {
			fmt.Fprintf(&out, "%s:%d: %s: expired on %s: %s\n", b.Deviations, d.Line, d.Subject(), d.Expires.Format(deviation.Day), d.Grounds())
		}
	}
	return out.String()
}

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ip88rig/rig/bench"
	"ip88rig/rig/deviation"
	"ip88rig/rig/golden"
	"ip88rig/rig/report"
	"ip88rig/scenarios"
)

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

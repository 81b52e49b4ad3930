package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ip88rig/rig/bench"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios"
)

// Run is the parent: it starts a lane for each handset, shows what they do, and
// alone writes run.json.
func (c *runCmd) Run(ctx context.Context) error {
	b, err := loadBenchWith(c.Bench, c.GoldenRecords, c.Deviations)
	if err != nil {
		return err
	}
	handsets, err := chosen(b, c.Handset)
	if err != nil {
		return err
	}
	deviations, err := c.records(b, handsets)
	if err != nil {
		return err
	}
	if err := (scenarios.Options{Filter: c.Filter, LabelFilter: c.LabelFilter, Whole: c.Whole}).Check(); err != nil {
		return usage("--%v", err)
	}
	if c.Points < 0 {
		return usage("--points %d: want 0 for all, or how many", c.Points)
	}
	if _, err := defect.Parse(c.Defect); err != nil {
		return usage("--defect: %v", err)
	}
	if c.Defect != "" && slices.ContainsFunc(handsets, func(h bench.Handset) bool { return !h.Simulated }) {
		return usage("--defect: only simulated handsets have defects to choose from")
	}
	specs := 0
	for _, h := range handsets {
		specs += len(scenarios.Declarations(c.selects(b, h)))
	}
	if specs == 0 && c.LabelFilter == "" {
		return usage("--filter %q: no spec has that in its text; \"ip88rig requirements\" lists rows and specs", c.Filter)
	}
	if specs == 0 {
		return usage("--filter %q --label-filter %q: they let no spec through; \"ip88rig requirements\" lists rows and specs", c.Filter, c.LabelFilter)
	}
	if c.Seed == 0 {
		c.Seed = time.Now().UnixNano() % 1_000_000_000
	}
	if err := timeIsVirtual(ctx, b); err != nil {
		return err
	}
	p := &parent{cmd: c, bench: b, started: time.Now(), terminal: &terminal{out: os.Stdout, in: os.Stdin}}
	if err := c.preflight(ctx, p.terminal, b, handsets); err != nil {
		return err
	}
	if c.Rig != "" && c.Rig != version() {
		p.terminal.print(fmt.Sprintf("the run before was made by rig %s, this is %s: with the same seed it may differ\n", c.Rig, version()))
	}
	p.dir = filepath.Join(c.Out, p.started.Format("20060102-150405"))
	for n := 2; ; n++ {
		if _, err := os.Stat(p.dir); errors.Is(err, os.ErrNotExist) {
			break
		}
		p.dir = fmt.Sprintf("%s-%d", filepath.Join(c.Out, p.started.Format("20060102-150405")), n)
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil { //nolint:gosec // evidence is for everybody on the lab machine
		return fmt.Errorf("run folder: %w", err)
	}
	p.state = b.StateDir(c.Out)
	if _, err := loadAuthorities(b, p.state); err != nil {
		return err
	}
	kept := readState(p.state)
	p.kept = maps.Clone(kept)
	for _, h := range handsets {
		if left := kept[h.Name]; left != "" {
			p.say(h, "was not left at golden by the run before (%s): it goes home first", left)
		}
	}
	heard := hearStrangers(ctx, p.terminal, b)
	run := p.run(ctx, handsets)
	heard()
	run.Absent, run.Deviations = absent(b, handsets), b.Deviations
	run.Stale = run.StaleDeviations(deviations)
	if !run.Interrupted && c.leavesNothingOut() {
		unmet(b, handsets, run.Handsets)
	}
	for _, h := range run.Handsets {
		kept[h.Name] = h.Left
	}
	if err := writeState(p.state, kept); err != nil {
		return err
	}
	var sealErr error
	run.Files, sealErr = report.HashFiles(p.dir)
	if err := errors.Join(sealErr, run.Write(p.dir), run.WriteJUnit(p.dir)); err != nil {
		return err
	}
	latest := filepath.Join(c.Out, "latest")
	_ = os.Remove(latest)
	_ = os.Symlink(filepath.Base(p.dir), latest)
	p.terminal.print(run.Summary())
	p.terminal.print(fmt.Sprintf("evidence: %s (run.json, junit.xml, a folder for each handset and spec)\n", p.dir))
	if c.UpdateGolden {
		if err := p.updateGolden(handsets, run); err != nil {
			return err
		}
	}
	if code := run.ExitCode(); code != 0 {
		return exitError{code: code}
	}
	return nil
}

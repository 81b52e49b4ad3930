package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"ip88rig/rig/bench"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios/selftest"
)

type mutantsCmd struct {
	Only     []string `help:"Only these defects." sep:","`
	Shard    string   `help:"The n-th of m parts, as 3/10: a rotating sample." default:"1/1"`
	Own      bool     `help:"Only the specs of the row that the defect is made for: quick, but blind to what else it breaks."`
	Changed  string   `help:"Only the defects whose code or expectation changed since this git revision, with --own." placeholder:"REVISION"`
	Points   int      `help:"How many values of each sweep and table are tried in rows that the defect does not declare; 0 is all of them." default:"2"`
	Out      string   `help:"Folder for the evidence." default:"out/mutants" type:"path"`
	Seed     int64    `help:"Seed of names, versions and orders." default:"1"`
	Declare  bool     `help:"Write what each defect did into scenarios/selftest/expectations.txt, below this folder. Read the diff before you commit it."`
	Parallel int      `help:"How many defects at once; 0: one for each CPU." default:"0"`
}

// Help is what "ip88rig mutants --help" shows beside the flags.
func (*mutantsCmd) Help() string {
	return `Each defect must fail, drift and block just the rows that it declares. Exit code 1
otherwise. The models take turns. A
whole run also lists the specs that no defect turned red.

Examples:
  ip88rig mutants
  ip88rig mutants --only accepts-expired
  ip88rig mutants --only accepts-expired --own
  ip88rig mutants --changed HEAD~5
  ip88rig mutants --shard 3/10`
}

// Run runs the suite against each defect.
func (c *mutantsCmd) Run(ctx context.Context) error {
	list, err := c.list(ctx)
	if err != nil {
		return err
	}
	if c.Points < 0 || c.Parallel < 0 {
		return usage("--points %d --parallel %d: want 0 or more", c.Points, c.Parallel)
	}
	if c.Parallel == 0 {
		c.Parallel = runtime.NumCPU()
	}
	if len(list) == 0 {
		fmt.Printf("no defect has changed since %s\n", c.Changed)
		return nil
	}
	b, err := bench.Embedded()
	if err != nil {
		return err
	}
	if err := timeIsVirtual(ctx, b); err != nil {
		return err
	}
	if err := os.RemoveAll(c.Out); err != nil {
		return fmt.Errorf("mutants: %w", err)
	}
	state := filepath.Join(c.Out, "state")
	if _, err := loadAuthorities(b, state); err != nil {
		return err
	}
	started, own := time.Now(), c.Own || c.Changed != ""
	if own && c.Declare {
		return usage("--declare needs the whole suite: leave --own and --changed out")
	}
	found := map[defect.Name]report.Handset{}
	var wrong []string
	var mu sync.Mutex
	slots := make(chan struct{}, c.Parallel)
	var wg sync.WaitGroup
	term := &terminal{out: os.Stdout, in: os.Stdin}
	for _, e := range list {
		// Ends with its lane.
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			h, err := handsetFor(b, e)
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				wrong = append(wrong, string(e.Defect)+": "+err.Error())
				return
			}
			from := time.Now()
			run := &runCmd{Defect: string(e.Defect), Seed: c.seed(e.Defect), Points: c.Points, Out: c.Out, Quiet: true, OperatorMax: -1}
			// Its own rows are tried whole: only one value of a sweep may show it.
			if own {
				e = e.Own()
				run.Filter = ownRows(e)
			}
			run.Whole = ownRows(e)
			p := &parent{cmd: run, bench: b, started: time.Now(), dir: filepath.Join(c.Out, string(e.Defect)), state: state, terminal: term}
			got := p.lane(ctx, h)
			if ctx.Err() != nil {
				return // broken off, it says nothing
			}
			bad := slices.Compact(e.Compare(got)) // what spoils a spec stands at each of its judgements
			mu.Lock()
			defer mu.Unlock()
			found[e.Defect] = got
			verdict := "as declared"
			if len(bad) > 0 {
				verdict = "NOT AS DECLARED:\n    " + strings.Join(bad, "\n    ")
				wrong = append(wrong, string(e.Defect))
			}
			term.print(fmt.Sprintf("%6.1fs  %-26s %s: %s\n", time.Since(from).Seconds(), e.Defect, declared(e), verdict))
			if err := (report.Run{Bench: b.Name, Started: from, Took: time.Since(from), Seed: run.Seed, Handsets: []report.Handset{got}}).Write(filepath.Join(c.Out, string(e.Defect))); err != nil {
				wrong = append(wrong, err.Error())
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return exitError{code: report.ExitInterrupted}
	}
	if !own { // of rows that were left out it would say that they held
		term.print("\n" + selftest.Matrix(found) + "\n")
	}
	for _, row := range selftest.Unproven() {
		wrong = append(wrong, row+": no defect turns it red")
	}
	if c.Declare {
		if err := declare(found); err != nil {
			return err
		}
	}
	if c.Shard == "1/1" && len(c.Only) == 0 && !own {
		if green := unmoved(found); len(green) > 0 {
			term.print(fmt.Sprintf("specs that no defect turned red:\n  %s\n\n", strings.Join(green, "\n  ")))
		}
	}
	term.print(fmt.Sprintf("%d defects in %s, %d not as declared\n", len(list), time.Since(started).Round(time.Second), len(wrong)))
	if len(wrong) > 0 {
		return exitError{report.ExitFailed, errors.New(strings.Join(wrong, ", "))}
	}
	return nil
}

// declarations is where the expectations stand, in a checkout.
const declarations = "scenarios/selftest/expectations.txt"

// declare takes what was found into the table of expectations.
func declare(found map[defect.Name]report.Handset) error {
	text, err := os.ReadFile(declarations)
	if err != nil {
		return usage("--declare: %v; run it in the project's own folder", err)
	}
	list, err := selftest.Parse(string(text))
	if err != nil {
		return usage("--declare: %v", err)
	}
	for i, e := range list {
		if h, ok := found[e.Defect]; ok && h.Died == "" {
			list[i] = e.Found(h)
		}
	}
	if err := os.WriteFile(declarations, []byte(selftest.Format(list)), 0o644); err != nil { //nolint:gosec // a file of the checkout
		return fmt.Errorf("--declare: %w", err)
	}
	return nil
}

// seed is one for each defect: so the orders of specs differ.
func (c *mutantsCmd) seed(n defect.Name) int64 {
	sum := fnv.New32a()
	_, _ = fmt.Fprintf(sum, "%d/%s", c.Seed, n)
	return int64(sum.Sum32())
}

// ownRows is the filter that lets the specs of a defect's own rows through.
func ownRows(e selftest.Expectation) string {
	if slices.ContainsFunc(e.Rows(), func(row string) bool { return strings.HasPrefix(row, "TLS-") }) {
		// Certificates change without a power cycle only where NOTIFY was seen to work.
		return `\[.*(` + strings.Join(e.Rows(), "|") + `|RSY-01).*\]$`
	}
	return `\[.*(` + strings.Join(e.Rows(), "|") + `).*\]$`
}

// declared is the rows that a defect declares, as they are told.
func declared(e selftest.Expectation) string {
	rows := slices.Clone(e.Fails)
	for _, row := range e.Drifts {
		rows = append(rows, row+" (drifts)")
	}
	return strings.Join(rows, " ")
}

func (c *mutantsCmd) list(ctx context.Context) ([]selftest.Expectation, error) {
	var n, m int
	if _, err := fmt.Sscanf(c.Shard, "%d/%d", &n, &m); err != nil || n < 1 || m < 1 || n > m {
		return nil, usage("--shard %q: want n/m with 1 ≤ n ≤ m", c.Shard)
	}
	var out []selftest.Expectation
	if len(c.Only) > 0 {
		for _, name := range c.Only {
			e, ok := selftest.Expected(defect.Name(name))
			if !ok {
				return nil, usage("--only %q: no such defect; \"ip88rig defects\" lists them", name)
			}
			out = append(out, e)
		}
		return out, nil
	}
	all := selftest.Expectations()
	if c.Changed != "" {
		names, err := changedDefects(ctx, c.Changed)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(e selftest.Expectation) bool { return !names[e.Defect] })
	}
	for i, e := range all {
		if i%m == n-1 {
			out = append(out, e)
		}
	}
	return out, nil
}

// unmoved lists the specs that ran against some defect and that none turned red:
// whether they can fail is not proven. A defect after which nothing works shows
// in the first of a scenario's transports that runs; then that is told, too.
func unmoved(found map[defect.Name]report.Handset) []string {
	red := map[string]bool{}
	for _, h := range found {
		for _, s := range h.Specs {
			if s.Verdict != report.Skip {
				red[s.Name] = red[s.Name] || s.Verdict == report.Fail || s.Verdict == report.Drift
			}
		}
	}
	scenario := func(name string) string {
		text, _, _ := strings.Cut(name, ", over ")
		return text
	}
	elsewhere := map[string]bool{}
	for name, is := range red {
		if is {
			elsewhere[scenario(name)] = true
		}
	}
	var out []string
	for name, is := range red {
		switch {
		case !is && elsewhere[scenario(name)]:
			out = append(out, name+" (red over another transport)")
		case !is:
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

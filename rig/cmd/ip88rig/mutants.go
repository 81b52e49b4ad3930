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
	Points   int      `help:"How many values of each sweep and table are tried in rows that the defect does not declare; 0 is all of them." default:"2"`
	Out      string   `help:"Folder for the evidence." default:"out/mutants" type:"path"`
	Seed     int64    `help:"Seed of names, versions and orders." default:"1"`
	Update   bool     `help:"Write what each defect did into the table rig/virtual/defect/defects.txt, below this folder. Read the diff before you commit it."`
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
  ip88rig mutants --shard 3/10`
}

// Run runs the suite against each defect.
func (c *mutantsCmd) Run(ctx context.Context) error {
	list, err := c.list()
	if err != nil {
		return err
	}
	if c.Points < 0 || c.Parallel < 0 {
		return usage("--points %d --parallel %d: want 0 or more", c.Points, c.Parallel)
	}
	if c.Parallel == 0 {
		c.Parallel = runtime.NumCPU()
	}
	switch {
	case c.Update && c.Own:
		return usage("--update needs the whole suite: leave --own out")
	case c.Update && os.Getenv("CI") != "":
		return usage("--update is refused because CI is set: a person must read its diff")
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
	started := time.Now()
	found := map[defect.Name]report.Handset{}
	var wrong []string // errors
	var moved []string // defects that are not as declared
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
				wrong = append(wrong, string(e.Name)+": "+err.Error())
				return
			}
			from := time.Now()
			run := &runCmd{Defect: string(e.Name), Seed: c.seed(e.Name), Points: c.Points, Out: c.Out, Quiet: true, OperatorMax: -1}
			// Its own rows are tried whole: only one value of a sweep may show it.
			if c.Own {
				e = e.Own()
				run.Filter = ownRows(e)
			}
			run.Whole = ownRows(e)
			p := &parent{cmd: run, bench: b, started: time.Now(), dir: filepath.Join(c.Out, string(e.Name)), state: state, terminal: term}
			got := p.lane(ctx, h)
			if ctx.Err() != nil {
				return // broken off, it says nothing
			}
			bad := slices.Compact(e.Compare(got)) // what spoils a spec stands at each of its judgements
			mu.Lock()
			defer mu.Unlock()
			found[e.Name] = got
			verdict := "as declared"
			if len(bad) > 0 {
				verdict = "NOT AS DECLARED:\n    " + strings.Join(bad, "\n    ")
				moved = append(moved, string(e.Name))
			}
			term.print(fmt.Sprintf("%6.1fs  %-26s %s: %s\n", time.Since(from).Seconds(), e.Name, declared(e), verdict))
			if err := (report.Run{Bench: b.Name, Started: from, Took: time.Since(from), Seed: run.Seed, Handsets: []report.Handset{got}}).Write(filepath.Join(c.Out, string(e.Name))); err != nil {
				wrong = append(wrong, err.Error())
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return exitError{code: report.ExitInterrupted}
	}
	if !c.Own { // of rows that were left out it would say that they held
		term.print("\n" + selftest.Matrix(found) + "\n")
	}
	for _, row := range selftest.Unproven() {
		wrong = append(wrong, row+": no defect turns it red")
	}
	if c.Update {
		if err := update(found); err != nil {
			return err
		}
		term.print(fmt.Sprintf("entries changed in %s: %d; read the diff before you commit it\n", defect.TableFile, len(moved)))
	}
	if c.Shard == "1/1" && len(c.Only) == 0 && !c.Own {
		if green := unmoved(found); len(green) > 0 {
			term.print(fmt.Sprintf("specs that no defect turned red:\n  %s\n\n", strings.Join(green, "\n  ")))
		}
	}
	term.print(fmt.Sprintf("%d defects in %s, %d not as declared\n", len(list), time.Since(started).Round(time.Second), len(moved)))
	if !c.Update { // which has declared them
		wrong = append(wrong, moved...)
	}
	if len(wrong) > 0 {
		return exitError{report.ExitFailed, errors.New(strings.Join(wrong, ", "))}
	}
	return nil
}

// update takes what was found into the table of defects. A defect that does not
// turn its own row red proves nothing: it is refused, and nothing is written.
func update(found map[defect.Name]report.Handset) error {
	text, err := os.ReadFile(defect.TableFile)
	if err != nil {
		return usage("--update: %v; run it in the project's own folder", err)
	}
	list, err := defect.ParseTable(string(text))
	if err != nil {
		return usage("--update: %v", err)
	}
	for i, e := range list {
		h, ok := found[e.Name]
		if !ok {
			continue
		}
		got := selftest.Expectation{Entry: e}.Found(h)
		switch {
		case h.Died != "":
			return fmt.Errorf("--update: the lane of %s died: %s; nothing is written", e.Name, h.Died)
		case !slices.Contains(slices.Concat(got.Fails, got.Drifts), e.Row):
			return fmt.Errorf("--update: %s does not turn its own row %s red; nothing is written", e.Name, e.Row)
		}
		list[i] = got
	}
	if err := os.WriteFile(defect.TableFile, []byte(defect.FormatTable(list)), 0o644); err != nil { //nolint:gosec // a file of the checkout
		return fmt.Errorf("--update: %w", err)
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

func (c *mutantsCmd) list() ([]selftest.Expectation, error) {
	var n, m int
	if _, err := fmt.Sscanf(c.Shard, "%d/%d", &n, &m); err != nil || n < 1 || m < 1 || n > m {
		return nil, usage("--shard %q: want n/m with 1 ≤ n ≤ m", c.Shard)
	}
	var out []selftest.Expectation
	if len(c.Only) > 0 {
		for _, name := range c.Only {
			e, ok := defect.Find(defect.Name(name))
			if !ok {
				return nil, usage("--only %q: no such defect; \"ip88rig defects\" lists them", name)
			}
			out = append(out, selftest.Expectation{Entry: e})
		}
		return out, nil
	}
	all := selftest.Expectations()
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

// handsetFor picks the handset of the embedded bench that a defect shows on. The
// models take turns by the defect's place in the list, so that none of them is
// the only one whose scenarios are proven.
func handsetFor(b bench.Bench, e selftest.Expectation) (bench.Handset, error) {
	place := slices.IndexFunc(selftest.Expectations(), func(x selftest.Expectation) bool { return x.Name == e.Name })
	names := []string{"ip8820", "ip8830", "ip8840"}
	name := names[max(place, 0)%len(names)]
	if e.WiFi {
		name += "-wifi"
	}
	h, ok := b.Handset(name)
	if !ok {
		return h, fmt.Errorf("bench %s has no handset %q", b.Name, name)
	}
	return h, nil
}

package main

import (
	"slices"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/scenarios"
)

type runCmd struct {
	Bench       string   `help:"Bench file; without it the embedded bench of six simulated handsets." type:"path"`
	Handset     []string `help:"Only these handsets (names of the bench file)." sep:","`
	Filter      string   `help:"Only specs whose text matches this regular expression; the text holds the rows, as in 'RBT-04'."`
	LabelFilter string   `help:"Only specs whose labels match, in Ginkgo's language: 'RBT-04 && transport:http'. A spec is labelled with its rows, its transport and its id."`
	Defect      string   `help:"Defects of simulated handsets, comma-separated; 'ip88rig defects' lists them."`
	Depth       string   `help:"How much of a large matrix: full or night (default: full when simulated, night when real)." enum:",full,night" default:""`
	Points      int      `help:"How many values of each sweep and table are tried; 0 is all of them." default:"0"`
	Whole       string   `help:"In specs whose text matches this regular expression all values are tried, whatever --points says." placeholder:"REGEX"`
	Out         string   `help:"Folder for runs; each run gets a folder of its own in it." default:"out" type:"path"`
	Seed        int64    `help:"Seed of names, versions and orders; 0 is a new one." default:"0"`
	Strict      bool     `help:"What is skipped counts too: exit code 3."`
	AllowRisk   []string `help:"Admit specs on real handsets that can lock the rig out (lockout) or kill the handset (brick)." enum:"lockout,brick" sep:","`
	OperatorMax int      `help:"How often a person may be asked to act, at most; -1 is no bound." default:"-1"`
	Yes         bool     `help:"Do not ask before the first firmware install on a handset that does not run golden's version."`
	Quiet       bool     `help:"Only the summary."`
	Rig         string   `help:"Version of the rig whose run this repeats: another one says that the run may differ." placeholder:"VERSION"`

	UpdateGolden  bool   `help:"When the run ends, write what was measured into the golden records. The run itself is judged by the records as they were."`
	GoldenRecords string `help:"Folder of golden records, in place of the bench's (the bench file's name with .golden)." type:"path"`
	Deviations    string `help:"File of known deviations, in place of the bench's." type:"path"`
}

// Help is what "ip88rig run --help" shows beside the flags.
func (*runCmd) Help() string {
	return `Examples:
  ip88rig run                                     the embedded bench, all of it
  ip88rig run --handset ip8830 --filter RBT-04    one row on one handset
  ip88rig run --label-filter 'TLS-01 || RBT-04 && transport:http'
  ip88rig run --handset ip8830 --defect accepts-expired
  ip88rig run --filter NET-03 --points 3          three values of each sweep, both ends among them
  ip88rig run --bench lab.yaml --operator-max 20  real handsets, a bounded amount of hand work
  ip88rig run --bench lab.yaml --update-golden    what was measured is what is compared with from now on

Exit codes: 0 everything passed, 1 a row failed or drifted or a known deviation is
not shown any more, 2 usage, bench file, golden records or deviations,
3 something is inconclusive or blocked (with --strict also skipped), 130 interrupted.`
}

// selects are the options that choose specs, for a handset that nobody drives.
func (c *runCmd) selects(b bench.Bench, h bench.Handset) scenarios.Options {
	return scenarios.Options{Lane: rig.Unopened(b, h), Filter: c.Filter, LabelFilter: c.LabelFilter, Points: c.Points}
}

// leavesNothingOut reports whether a run tries all there is of healthy handsets.
func (c *runCmd) leavesNothingOut() bool {
	return c.Filter == "" && c.LabelFilter == "" && c.Points == 0 && c.Depth != string(scenarios.Night) && c.Defect == ""
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

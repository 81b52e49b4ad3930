package scenarios_test

import (
	"cmp"
	"context"
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/deviation"
	"ip88rig/rig/golden"
	"ip88rig/rig/preflight"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/vtime"
	"ip88rig/scenarios"
)

var (
	benchFile = flag.String("bench", "", "bench file; blank is the embedded bench")
	handset   = flag.String("handset", "", "handset of the bench; blank is the only one, or ip8830 of the embedded bench")
	filter    = flag.String("filter", "", "regular expression on a spec's text, as of ip88rig run; see also -ginkgo.focus and -ginkgo.label-filter")
	defects   = flag.String("defect", "", "defects of a simulated handset, comma-separated")
	points    = flag.Int("points", 2, "how many values of each range are tried; 0 is all of them")
	risk      = flag.String("allow-risk", "", "what a real handset may be exposed to: lockout, brick or both, comma-separated")
	seed      = flag.Int64("rig-seed", 1, "seed of names, versions and orders")
	out       = flag.String("out", "", "folder for the evidence; blank is one below out/, which is removed again when all passed")
)

// TestScenarios runs the suite on one handset of a bench, as ip88rig run does: a
// simulated one on a wire in memory in virtual time, a real one in real time. Nobody
// is asked to act by hand. Ginkgo's own flags choose and report.
func TestScenarios(t *testing.T) {
	suite, _ := GinkgoConfiguration()
	if suite.ParallelTotal > 1 {
		t.Fatal("ginkgo -p is refused: all specs share one handset; \"ip88rig run\" runs several handsets side by side")
	}
	b, h := chosen(t)
	o := options(t, b, h)
	if suite.DryRun {
		o.Lane = rig.Unopened(b, h)
		if err := scenarios.Configure(o); err != nil {
			t.Fatal(err)
		}
		RegisterFailHandler(Fail)
		RunSpecs(t, "ip88rig on "+h.Name)
		return
	}
	set, err := defect.Parse(*defects)
	if err != nil {
		t.Fatal(err)
	}
	dir := *out
	if dir == "" {
		dir = folder(t)
	}
	o.Folder = filepath.Join(dir, h.Name)
	load, run := rig.MemoryAuthorities, inVirtualTime
	state := filepath.Join(dir, "state")
	if !b.Wire.Memory {
		load, run = rig.LoadAuthorities, func(f func()) { f() }
		state = b.StateDir(root("out"))
		ready(t, b, h, dir)
	}
	authorities, err := load(state)
	if err != nil {
		t.Fatal(err)
	}
	result, err := runSuite(context.WithoutCancel(t.Context()), run, rig.Config{Bench: b, Handset: h, Seed: *seed, Authorities: authorities, Defects: set}, &o, none)
	if err != nil {
		t.Fatal(err)
	}
	r := report.Run{Bench: b.Name, Seed: *seed, Handsets: []report.Handset{result}}
	if err := r.Write(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stdout.WriteString(r.Summary()); err != nil {
		t.Error(err)
	}
	everySpecIsReported(t, suite, o, result)
	if code := r.ExitCode(); code != 0 {
		t.Errorf("exit code %d; evidence: %s", code, dir)
	}
}

// chosen returns the bench and the handset that the flags name.
func chosen(t *testing.T) (bench.Bench, bench.Handset) {
	t.Helper()
	if *benchFile == "" {
		b, err := bench.Embedded()
		if err != nil {
			t.Fatal(err)
		}
		return b, handsetOf(t, b, cmp.Or(*handset, "ip8830"))
	}
	path := *benchFile
	if _, err := os.Stat(path); err != nil && !filepath.IsAbs(path) {
		path = root(path) // go test and ginkgo run this in the folder of the package
	}
	b, err := bench.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	name := *handset
	if name == "" && len(b.Handsets) == 1 {
		name = b.Handsets[0].Name
	}
	return b, handsetOf(t, b, name)
}

func handsetOf(t *testing.T, b bench.Bench, name string) bench.Handset {
	t.Helper()
	h, ok := b.Handset(name)
	if !ok {
		var have []string
		for _, h := range b.Handsets {
			have = append(have, h.Name)
		}
		t.Fatalf("-handset %q: bench %s has %s", name, b.Name, strings.Join(have, ", "))
	}
	return h
}

// root is the path of a file of the project.
func root(path string) string { return filepath.Join("..", path) }

// options are what the flags say, with the records of the bench.
func options(t *testing.T, b bench.Bench, h bench.Handset) scenarios.Options {
	t.Helper()
	o := scenarios.Options{Filter: *filter, Seed: *seed, OperatorMax: -1, Points: *points}
	if !h.Simulated {
		o.OperatorMax = 0
	}
	for one := range strings.SplitSeq(*risk, ",") {
		switch one {
		case "":
		case "lockout":
			o.AllowLockout = true
		case "brick":
			o.AllowBrick = true
		default:
			t.Fatalf("-allow-risk %q: want lockout, brick or both", one)
		}
	}
	if !testing.Short() { // it is too much for the race detector
		o.Whole = "more than 65,535 blocks"
	}
	again := "go test ./scenarios -args -handset " + h.Name
	for name, value := range map[string]string{"bench": *benchFile, "defect": *defects, "allow-risk": *risk} {
		if value != "" {
			again += " -" + name + " '" + value + "'"
		}
	}
	o.Rerun = strings.ReplaceAll(again, "%", "%%") + " -ginkgo.focus '%s'"
	var err error
	if o.Golden, err = golden.LoadFor(b, h); err != nil {
		t.Fatal(err)
	}
	if b.Deviations != "" {
		o.Deviations, err = deviation.Load(b.Deviations, func(row string) bool {
			_, err := scenarios.Find(row)
			return err == nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// folder is one for the evidence, which stays when the test fails.
func folder(t *testing.T) string {
	t.Helper()
	if err := os.MkdirAll(root("out"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := filepath.Abs(root("out"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(out, "suite-") //nolint:usetesting // it stays when the test fails
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// ready looks at what a run on an interface needs.
func ready(t *testing.T, b bench.Bench, h bench.Handset, dir string) {
	t.Helper()
	findings := preflight.Check(t.Context(), preflight.Config{Bench: b, Handsets: []bench.Handset{h}, Out: dir, System: preflight.Local()})
	if preflight.Failed(findings) {
		for _, f := range findings {
			t.Log(f)
		}
		t.Fatal("the suite cannot start: see the lines marked FAIL")
	}
}

// everySpecIsReported holds the report against the specs that there are, where
// Ginkgo's flags leave none out.
func everySpecIsReported(t *testing.T, suite types.SuiteConfig, o scenarios.Options, result report.Handset) {
	t.Helper()
	if suite.LabelFilter != "" || len(suite.FocusStrings)+len(suite.SkipStrings)+len(suite.FocusFiles)+len(suite.SkipFiles) > 0 {
		return
	}
	reported := map[string]bool{}
	for _, s := range result.Specs {
		reported[s.ID] = true
	}
	for _, d := range scenarios.Declarations(o) {
		if !reported[d.ID] {
			t.Errorf("nothing is reported of %q", d.Name)
		}
	}
}

// runSuite opens a lane, broken or not, runs the suite on it, and closes it, as run
// has it. ctx never ends: its end would be another bubble's.
func runSuite(ctx context.Context, run func(func()), c rig.Config, o *scenarios.Options, how sabotage) (report.Handset, error) {
	h := report.Handset{Name: c.Handset.Name, Model: c.Handset.Model.String(), Link: string(c.Handset.Link), Simulated: true}
	o.Done = func(s report.Spec) { h.Specs = append(h.Specs, s) }
	o.Ended = func(left string) { h.Left = left }
	var err error
	run(func() {
		if err = how.spoil(&c, o); err != nil {
			return
		}
		if o.Lane, err = rig.Open(ctx, c); err != nil {
			return
		}
		if err = scenarios.Configure(*o); err != nil {
			return
		}
		RegisterFailHandler(Fail)
		suite, reporter := scenarios.Configuration(*o)
		RunSpecs(&verdictsElsewhere{}, "ip88rig on "+h.Name, suite, reporter)
		err = o.Lane.Close()
	})
	return h, err
}

// verdictsElsewhere is a test that does not mind a red suite: the report tells.
type verdictsElsewhere struct{}

func (*verdictsElsewhere) Fail() {}

// inVirtualTime runs f in a bubble of its own. Ginkgo leaves goroutines behind, so
// the bubble is left as it is, and time in it stands still: what it holds ends with
// the process.
func inVirtualTime(f func()) {
	// The goroutine that hears signals must not be made inside.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGUSR2)
	over, never := make(chan struct{}), make(chan struct{})
	// Ends with the process.
	go vtime.Run(vtime.Start(*seed), func() {
		f()
		close(over)
		<-never
	})
	<-over
}

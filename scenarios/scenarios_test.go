package scenarios_test

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/golden"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/vtime"
	"ip88rig/scenarios"
)

var (
	handset = flag.String("handset", "ip8830", "handset of the embedded bench")
	filter  = flag.String("filter", "", "regular expression on a spec's text, which holds its rows")
	defects = flag.String("defect", "", "defects of the handset, comma-separated")
	points  = flag.Int("points", 2, "how many values of each range are tried; 0 is all of them")
	seed    = flag.Int64("rig-seed", 1, "seed of names, versions and orders")
	out     = flag.String("out", "", "folder for the evidence; blank is a temporary one")
)

// TestScenarios runs the suite on one simulated handset in virtual time, as
// ip88rig run does.
func TestScenarios(t *testing.T) {
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	h, ok := b.Handset(*handset)
	if !ok {
		t.Fatalf("no handset %q on the embedded bench", *handset)
	}
	set, err := defect.Parse(*defects)
	if err != nil {
		t.Fatal(err)
	}
	dir := *out
	if dir == "" {
		dir = t.TempDir()
	}
	record, err := golden.LoadFor(b, h)
	if err != nil {
		t.Fatal(err)
	}
	whole := "more than 65,535 blocks"
	if testing.Short() {
		whole = "" // too much for the race detector
	}
	authorities, err := rig.LoadAuthorities(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	o := scenarios.Options{
		Folder: filepath.Join(dir, h.Name), Filter: *filter, Seed: *seed, OperatorMax: -1, Points: *points, Whole: whole, Golden: record,
		Rerun: "go test ./scenarios -args -handset " + h.Name + " -filter '%s'",
	}
	result, err := runSuite(context.WithoutCancel(t.Context()), inVirtualTime, rig.Config{Bench: b, Handset: h, Seed: *seed, Authorities: authorities, Defects: set}, &o)
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
	told := map[string]bool{}
	for _, s := range result.Specs {
		told[s.ID] = true
	}
	for _, d := range scenarios.Declarations(o) {
		if !told[d.ID] {
			t.Errorf("nothing is told of %q", d.Name)
		}
	}
	if code := r.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// runSuite opens a lane, runs the suite on it, and closes it, as run has it. ctx
// never ends: its end would be another bubble's.
func runSuite(ctx context.Context, run func(func()), c rig.Config, o *scenarios.Options) (report.Handset, error) {
	h := report.Handset{Name: c.Handset.Name, Model: c.Handset.Model.String(), Link: string(c.Handset.Link), Simulated: true}
	o.Done = func(s report.Spec) { h.Specs = append(h.Specs, s) }
	o.Ended = func(left string) { h.Left = left }
	var err error
	run(func() {
		if o.Lane, err = rig.Open(ctx, c); err != nil {
			return
		}
		if err = scenarios.Configure(*o); err != nil {
			return
		}
		RegisterFailHandler(Fail)
		RunSpecs(&verdictsElsewhere{}, "ip88rig on "+h.Name, scenarios.Arguments(*o, filepath.Join(o.Folder, "ginkgo.json"))...)
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

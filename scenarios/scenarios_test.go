package scenarios_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/golden"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
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

// TestScenarios runs the suite on one simulated handset, as ip88rig run does in
// each lane.
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
	only := *filter
	if only == "" && testing.Short() {
		only = "over tftp" // what differs over HTTP is the transport's own tests'
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	authorities, err := rig.LoadAuthorities(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	lane, err := rig.Open(ctx, rig.Config{Bench: b, Handset: h, Seed: *seed, Authorities: authorities, Defects: set})
	if err != nil {
		t.Fatal(err)
	}
	var specs []report.Spec
	o := scenarios.Options{
		Lane: lane, Folder: filepath.Join(dir, h.Name), Filter: only, Seed: *seed, OperatorMax: -1, Points: *points, Golden: record,
		Rerun: "go test ./scenarios -args -handset " + h.Name + " -filter '%s'",
		Done:  func(s report.Spec) { specs = append(specs, s) },
	}
	if err := scenarios.Configure(o); err != nil {
		t.Fatal(err)
	}
	RegisterFailHandler(Fail)
	RunSpecs(t, "ip88rig on "+h.Name, scenarios.Arguments(o, filepath.Join(dir, "ginkgo.json"))...)
	if err := lane.Close(); err != nil {
		t.Error(err)
	}
	r := report.Run{Bench: b.Name, Seed: *seed, Handsets: []report.Handset{{Name: h.Name, Model: h.Model.String(), Link: string(h.Link), Simulated: true, Specs: specs}}}
	if err := r.Write(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stdout.WriteString(r.Summary()); err != nil {
		t.Error(err)
	}
	if code := r.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

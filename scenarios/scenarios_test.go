package scenarios_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/golden"
	"ip88rig/rig/pipe"
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
	lanes   = flag.Int("lanes", 4, "how many copies of the handset share the specs, each in a process")
	part    = flag.Int("part", 0, "which of them this process is: set by the first one for the others")
)

// TestScenarios runs the suite on one simulated handset, in lanes that share the
// specs, as ip88rig run does.
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
	only, whole := *filter, "more than 65,535 blocks"
	if testing.Short() {
		whole = ""
		if only == "" {
			only = "over tftp" // what differs over HTTP is the transport's own tests'
		}
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
	deal := dealt(t, dir)
	o := scenarios.Options{
		Lane: lane, Folder: filepath.Join(dir, h.Name), Filter: only, Seed: *seed, OperatorMax: -1, Points: *points, Whole: whole, Golden: record,
		Rerun: "go test ./scenarios -args -handset " + h.Name + " -filter '%s'",
		Done:  deal.done,
		Take:  deal.take,
		Part:  max(*part, 1),
	}
	if err := scenarios.Configure(o); err != nil {
		t.Fatal(err)
	}
	deal.start()
	RegisterFailHandler(Fail)
	RunSpecs(t, "ip88rig on "+h.Name, scenarios.Arguments(o, filepath.Join(dir, fmt.Sprintf("ginkgo-%d.json", o.Part)))...)
	if err := lane.Close(); err != nil {
		t.Error(err)
	}
	if *part > 1 {
		return // the first one has heard of all specs
	}
	r := report.Run{Bench: b.Name, Seed: *seed, Handsets: []report.Handset{{Name: h.Name, Model: h.Model.String(), Link: string(h.Link), Simulated: true, Specs: deal.specs()}}}
	if err := r.Write(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stdout.WriteString(r.Summary()); err != nil {
		t.Error(err)
	}
	told := map[string]bool{}
	for _, s := range r.Handsets[0].Specs {
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

// dealing is how this process comes to its specs and what it does with them.
type dealing struct {
	take  func(ctx context.Context, t pipe.Take) (bool, map[string]string, error)
	done  func(s report.Spec)
	start func()
	specs func() []report.Spec
}

// dealt makes this process one of the lanes. The first one starts the others and
// hears of their specs, and ends after them.
func dealt(t *testing.T, dir string) dealing {
	t.Helper()
	if *part > 1 {
		up := pipe.NewLane(os.NewFile(3, "up"), os.NewFile(4, "down"))
		return dealing{take: up.Take, done: func(s report.Spec) { up.Send(pipe.Up{Done: &s}) }, start: func() {}}
	}
	var (
		mu     sync.Mutex
		specs  []report.Spec
		wg     sync.WaitGroup
		dealer = pipe.NewDealer()
	)
	done := func(s report.Spec) {
		mu.Lock()
		defer mu.Unlock()
		specs = append(specs, s)
	}
	return dealing{
		take: func(ctx context.Context, t pipe.Take) (bool, map[string]string, error) {
			a, err := dealer.Deal(ctx, 1, t)
			return a.Taken, a.Broken, err
		},
		done: done,
		start: func() {
			for n := 2; n <= *lanes; n++ {
				// Ends with its process.
				wg.Go(func() {
					defer dealer.Over(n)
					if err := follow(t.Context(), n, dir, dealer, done); err != nil {
						t.Errorf("lane %d: %v", n, err)
					}
				})
			}
		},
		specs: func() []report.Spec {
			dealer.Over(1)
			wg.Wait()
			mu.Lock()
			defer mu.Unlock()
			return specs
		},
	}
}

// follow runs this test in another process, as one more lane.
func follow(ctx context.Context, n int, dir string, dealer *pipe.Dealer, done func(report.Spec)) error {
	args := []string{
		"-test.run=^TestScenarios$", "-test.timeout=0", fmt.Sprintf("-test.short=%t", testing.Short()),
		"-handset", *handset, "-filter", *filter, "-defect", *defects, "-points", fmt.Sprint(*points), "-rig-seed", fmt.Sprint(*seed), "-out", dir, "-part", fmt.Sprint(n),
	}
	log, err := os.Create(filepath.Join(dir, fmt.Sprintf("lane-%d.log", n)))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	upR, upW, err := os.Pipe()
	if err != nil {
		return err
	}
	downR, downW, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{upW, downR}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, _ = upW.Close(), downR.Close()
	answers := json.NewEncoder(downW)
	heard := pipe.Read(upR, func(u pipe.Up) error {
		switch {
		case u.Done != nil:
			done(*u.Done)
		case u.Take != nil:
			a, err := dealer.Deal(ctx, n, *u.Take)
			return errors.Join(err, answers.Encode(a))
		}
		return nil
	})
	_, _ = upR.Close(), downW.Close()
	err = errors.Join(heard, cmd.Wait())
	if err != nil {
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%w\n%s", err, said)
	}
	return nil
}

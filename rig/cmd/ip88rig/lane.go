package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"ip88rig/rig"
	"ip88rig/rig/pipe"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios"
)

// laneCmd is one handset of a run. Ginkgo runs one suite per process, so a lane
// is a process; file descriptors 3 and 4 are the pipes up and down.
type laneCmd struct {
	Bench       string
	Handset     string
	Out         string
	State       string
	Filter      string
	Defect      string
	Sabotage    string
	Depth       string
	Points      int
	Whole       string
	Part        int
	Seed        int64
	OperatorMax int `default:"-1"`
	AllowRisk   []string
	Rerun       string

	GoldenRecords string
	Deviations    string
}

// goTest stands in for *testing.T where there is none.
type goTest struct{ failed bool }

func (t *goTest) Fail() { t.failed = true }

// Run runs the suite on the lane's handset. Verdicts go up the pipe: the exit
// code says only whether the lane itself came through.
func (c *laneCmd) Run() error {
	l := pipe.NewLane(os.NewFile(3, "up"), os.NewFile(4, "down"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Ends with the process: without its parent a lane has no business.
	go func() {
		<-l.Gone()
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	if err := c.run(ctx, l); err != nil {
		l.Send(pipe.Up{Died: err.Error()})
		return exitError{code: report.ExitInconclusive}
	}
	return nil
}

func (c *laneCmd) run(ctx context.Context, l *pipe.Lane) error {
	b, err := loadBenchWith(c.Bench, c.GoldenRecords, c.Deviations)
	if err != nil {
		return err
	}
	h, ok := b.Handset(c.Handset)
	if !ok {
		return fmt.Errorf("no handset %q on this bench", c.Handset)
	}
	defects, err := defect.Parse(c.Defect)
	if err != nil {
		return err
	}
	record, err := loadRecord(b, h)
	if err != nil {
		return err
	}
	deviations, err := loadDeviations(b)
	if err != nil {
		return err
	}
	authorities, err := rig.LoadAuthorities(c.State)
	if err != nil {
		return err
	}
	cfg := rig.Config{Bench: b, Handset: h, Seed: c.Seed, Authorities: authorities, Defects: defects, Sabotage: rig.Sabotage(c.Sabotage)}
	if !h.Simulated || h.Power.Kind == "operator" {
		cfg.Operator = l
	}
	lane, err := rig.Open(ctx, cfg)
	if err != nil {
		return err
	}
	o := scenarios.Options{
		Lane: lane, Folder: filepath.Join(c.Out, h.Name), Filter: c.Filter, Depth: scenarios.Depth(c.Depth), Points: c.Points, Whole: c.Whole, Part: c.Part, Seed: c.Seed,
		OperatorMax: c.OperatorMax, Rerun: c.Rerun, Golden: record, Deviations: deviations,
		Started: func(s report.Spec) { l.Send(pipe.Up{Started: &s}) },
		Waiting: func(text string) { l.Send(pipe.Up{Waiting: text}) },
		Done:    func(s report.Spec) { l.Send(pipe.Up{Done: &s}) },
		Ended:   func(left string) { l.Send(pipe.Up{Left: left, Home: left == ""}) },
	}
	if c.Part > 0 {
		o.Take = l.Take
	}
	for _, risk := range c.AllowRisk {
		o.AllowLockout = o.AllowLockout || risk == "lockout"
		o.AllowBrick = o.AllowBrick || risk == "brick"
	}
	if err := scenarios.Configure(o); err != nil {
		return err
	}
	var plan pipe.Plan
	for _, d := range scenarios.Declarations(o) {
		if d.Skip != "" {
			plan.Skipped++
			continue
		}
		plan.Specs++
		plan.Power += d.Power
		plan.Hands += d.Hands
	}
	l.Send(pipe.Up{Plan: &plan})
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.RunSpecs(&goTest{}, "ip88rig on "+h.Name, scenarios.Arguments(o, filepath.Join(c.Out, h.Name, partName("ginkgo", c.Part)+".json"))...)
	return lane.Close()
}

// partName is the name of a file of one lane: those of a handset's further lanes
// are numbered.
func partName(name string, part int) string {
	if part > 1 {
		return fmt.Sprintf("%s-%d", name, part)
	}
	return name
}

func (c *laneCmd) args() []string {
	args := []string{
		"lane", "--bench=" + c.Bench, "--handset=" + c.Handset, "--out=" + c.Out, "--state=" + c.State, "--filter=" + c.Filter,
		"--defect=" + c.Defect, "--sabotage=" + c.Sabotage, "--depth=" + c.Depth, fmt.Sprintf("--points=%d", c.Points), "--whole=" + c.Whole, fmt.Sprintf("--part=%d", c.Part),
		fmt.Sprintf("--seed=%d", c.Seed), fmt.Sprintf("--operator-max=%d", c.OperatorMax),
		"--rerun=" + c.Rerun, "--golden-records=" + c.GoldenRecords, "--deviations=" + c.Deviations,
	}
	if len(c.AllowRisk) > 0 {
		args = append(args, "--allow-risk="+strings.Join(c.AllowRisk, ","))
	}
	return args
}

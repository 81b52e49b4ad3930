package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/pipe"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/vtime"
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
	LabelFilter string
	Defect      string
	Depth       string
	Points      int
	Whole       string
	Seed        int64
	OperatorMax int `default:"-1"`
	AllowRisk   []string
	Rerun       string

	GoldenRecords string
	Deviations    string

	// StallLimit is how long virtual time may stand still, in real time.
	StallLimit time.Duration `default:"1m"`
}

// goTest stands in for *testing.T where there is none.
type goTest struct{ failed bool }

func (t *goTest) Fail() { t.failed = true }

// Run runs the suite on the lane's handset. Verdicts go up the pipe: the exit
// code says only whether the lane itself came through.
func (c *laneCmd) Run() error {
	for _, pipe := range []int{3, 4} {
		// A power command that leaves a process behind must not keep them open.
		syscall.CloseOnExec(pipe)
	}
	l := pipe.NewLane(os.NewFile(3, "up"), os.NewFile(4, "down"))
	b, err := loadBenchWith(c.Bench, c.GoldenRecords, c.Deviations)
	if err == nil && b.Wire.Memory {
		c.inVirtualTime(l, b)
		return nil
	}
	// Ends with the process: without its parent a lane has no business.
	go func() {
		<-l.Gone()
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	if err == nil {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		err = c.run(ctx, l, b, hooks{})
	}
	if err != nil {
		l.Send(pipe.Up{Died: err.Error()})
		return exitError{code: report.ExitInconclusive}
	}
	return nil
}

// A lane holds little, and each collection looks through 10 MB of tables that the
// decoders have: it is collected rarely, as long as that keeps it below 70 MB.
const (
	collectAt   = 400      // percent
	memoryLimit = 30 << 20 // bytes, without those of the program itself
)

// inVirtualTime runs the lane in a bubble of its own and ends the process. What
// comes from outside, signals and the parent's word, only sets what is looked at
// inside now and then.
func (c *laneCmd) inVirtualTime(l *pipe.Lane, b bench.Bench) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1) // there are as many lanes, and one thread is quicker than two
	}
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(collectAt)
		debug.SetMemoryLimit(memoryLimit)
	}
	pulse := &vtime.Pulse{}
	// Made before the bubble: so is the goroutine that hears signals.
	signals := make(chan os.Signal, 1)
	listen := func() {
		signal.Reset(os.Interrupt, syscall.SIGTERM, syscall.SIGUSR1)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	}
	listen()
	// Both end with the process.
	go func() {
		select {
		case <-signals:
		case <-l.Gone():
		}
		pulse.End()
	}()
	go vtime.Watchdog{Pulse: pulse, Limit: c.StallLimit, Excused: l.Asking, Stalled: func(goroutines string) {
		fmt.Fprintln(os.Stderr, goroutines)
		why, _, _ := strings.Cut(goroutines, "\n")
		l.Send(pipe.Up{Died: why + "; its lane.log lists all goroutines"})
		os.Exit(report.ExitInconclusive)
	}}.Watch(context.Background())
	today, start := time.Now().Round(0), vtime.Start(c.Seed)
	vtime.Run(start, func() {
		ctx, interrupt := context.WithCancel(context.Background())
		// Ends with the process, as all that a lane leaves behind does.
		go pulse.Beat(context.Background(), interrupt)
		// Ginkgo has asked for signals at a channel that is inside: whoever sends there
		// dies. From its first spec on they come here again.
		if err := c.run(context.WithoutCancel(ctx), l, b, hooks{begun: listen, interrupted: ctx.Done(), ending: pulse.Ended, began: start, today: today}); err != nil {
			l.Send(pipe.Up{Died: err.Error()})
			os.Exit(report.ExitInconclusive)
		}
		os.Exit(0)
	})
}

// hooks are what a lane in virtual time needs besides.
type hooks struct {
	// begun is called once the suite has begun.
	begun func()
	// interrupted is closed when somebody wants it to end, and ending says so at once.
	interrupted <-chan struct{}
	ending      func() bool
	// began is when virtual time began, today what day it is outside.
	began, today time.Time
}

func (c *laneCmd) run(ctx context.Context, l *pipe.Lane, b bench.Bench, on hooks) error {
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
	authorities, err := loadAuthorities(b, c.State)
	if err != nil {
		return err
	}
	cfg := rig.Config{Bench: b, Handset: h, Seed: c.Seed, Authorities: authorities, Defects: defects}
	if !h.Simulated || h.Power.Kind == "operator" {
		cfg.Operator = l
	}
	lane, err := rig.Open(ctx, cfg)
	if err != nil {
		return err
	}
	o := scenarios.Options{
		Lane: lane, Folder: filepath.Join(c.Out, h.Name), Filter: c.Filter, LabelFilter: c.LabelFilter, Depth: scenarios.Depth(c.Depth), Points: c.Points, Whole: c.Whole, Seed: c.Seed,
		OperatorMax: c.OperatorMax, Rerun: c.Rerun, Golden: record, Deviations: deviations,
		Done: func(s report.Spec) { l.Send(pipe.Up{Done: &s}) },
		Ended: func(left string) {
			up := pipe.Up{Left: left, Home: left == ""}
			if !on.began.IsZero() {
				up.Virtual = time.Since(on.began)
			}
			l.Send(up)
		},
		Begun: on.begun, Interrupted: on.interrupted, Ending: on.ending, Today: on.today,
	}
	if !h.Simulated { // at which nobody waits
		o.Started = func(s report.Spec) { l.Send(pipe.Up{Started: &s}) }
		o.Waiting = func(text string) { l.Send(pipe.Up{Waiting: text}) }
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
	suite, reporter := scenarios.Configuration(o)
	reporter.NoColor, reporter.JSONReport = true, filepath.Join(c.Out, h.Name, "ginkgo.json")
	ginkgo.RunSpecs(&goTest{}, "ip88rig on "+h.Name, suite, reporter)
	return lane.Close()
}

func (c *laneCmd) args() []string {
	args := []string{
		"lane", "--bench=" + c.Bench, "--handset=" + c.Handset, "--out=" + c.Out, "--state=" + c.State, "--filter=" + c.Filter, "--label-filter=" + c.LabelFilter,
		"--defect=" + c.Defect, "--depth=" + c.Depth, fmt.Sprintf("--points=%d", c.Points), "--whole=" + c.Whole,
		fmt.Sprintf("--seed=%d", c.Seed), fmt.Sprintf("--operator-max=%d", c.OperatorMax),
		"--rerun=" + c.Rerun, "--golden-records=" + c.GoldenRecords, "--deviations=" + c.Deviations,
	}
	if len(c.AllowRisk) > 0 {
		args = append(args, "--allow-risk="+strings.Join(c.AllowRisk, ","))
	}
	return args
}

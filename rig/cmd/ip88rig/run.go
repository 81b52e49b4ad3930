package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/control"
	"ip88rig/rig/golden"
	"ip88rig/rig/host"
	"ip88rig/rig/pipe"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/vtime"
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

func loadBench(path string) (bench.Bench, error) {
	var b bench.Bench
	var err error
	if path == "" {
		b, err = bench.Embedded()
	} else {
		b, err = bench.Load(path)
	}
	if err != nil {
		return b, exitError{report.ExitUsage, err}
	}
	return b, nil
}

// loadAuthorities are the bench's own, whose keys somebody may hold against the
// rig on an interface only.
func loadAuthorities(b bench.Bench, state string) (rig.Authorities, error) {
	if b.Wire.Memory {
		return rig.MemoryAuthorities(state)
	}
	return rig.LoadAuthorities(state)
}

// chosen returns the handsets that are named, all for none.
func chosen(b bench.Bench, names []string) ([]bench.Handset, error) {
	if len(names) == 0 {
		return b.Handsets, nil
	}
	var out []bench.Handset
	for _, n := range names {
		h, ok := b.Handset(n)
		if !ok {
			var have []string
			for _, h := range b.Handsets {
				have = append(have, h.Name)
			}
			return nil, usage("no handset %q on bench %s; there are %s", n, b.Name, strings.Join(have, ", "))
		}
		out = append(out, h)
	}
	return out, nil
}

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
	if err := errors.Join(run.HashFiles(p.dir), run.Write(p.dir), run.WriteJUnit(p.dir)); err != nil {
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

// timeIsVirtual says why nothing can run on a bench whose wire is in memory: there is
// no other way to run there.
func timeIsVirtual(ctx context.Context, b bench.Bench) error {
	if !b.Wire.Memory {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := host.CheckVirtualTime(ctx); err != nil {
		return exitError{report.ExitUsage, err}
	}
	return nil
}

// terminal is one screen for many lanes: one question at a time.
type terminal struct {
	mu  sync.Mutex
	out io.Writer
	// in is where answers are typed; nil: nobody is there.
	in    io.Reader
	ask   sync.Mutex
	once  sync.Once
	lines chan string
}

func (t *terminal) print(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = io.WriteString(t.out, s)
}

// errNobody says that no question will ever be answered.
var errNobody = errors.New("nobody answers at the terminal")

// errInterrupted says that the person wants to end it rather than to answer.
var errInterrupted = errors.New("interrupted")

// question asks the operator and waits for Enter, or for ctx.
func (t *terminal) question(ctx context.Context, text string) error {
	t.ask.Lock()
	defer t.ask.Unlock()
	if ctx.Err() != nil {
		return errInterrupted
	}
	t.print("\n>>> " + text + "\n>>> press Enter when it is done, or type what went wrong: ")
	if t.in == nil {
		return errNobody
	}
	t.once.Do(func() {
		t.lines = make(chan string)
		// Ends with the input; a read from a terminal cannot be broken off, so it
		// may well end with the process.
		go t.read()
	})
	select {
	case line, ok := <-t.lines:
		if line = strings.TrimSpace(line); line != "" {
			return errors.New(line)
		}
		if !ok {
			return errNobody
		}
		return nil
	case <-ctx.Done():
		t.print("(no longer asked)\n")
		return errInterrupted
	}
}

func (t *terminal) read() {
	defer close(t.lines)
	in := bufio.NewReader(t.in)
	for {
		line, err := in.ReadString('\n')
		if err == nil || line != "" {
			t.lines <- line
		}
		if err != nil {
			return
		}
	}
}

type parent struct {
	cmd      *runCmd
	bench    bench.Bench
	started  time.Time
	dir      string
	state    string
	terminal *terminal
	// kept is how the run before has left each handset.
	kept map[string]string
}

func (p *parent) run(ctx context.Context, handsets []bench.Handset) report.Run {
	run := report.Run{
		Version: version(), Bench: p.bench.Name, Started: p.started, Seed: p.cmd.Seed, Depth: p.cmd.Depth,
		Filter: p.cmd.Filter, LabelFilter: p.cmd.LabelFilter, Strict: p.cmd.Strict, Handsets: make([]report.Handset, len(handsets)), Patience: map[string]string{},
	}
	if p.bench.Wire.Memory {
		run.VirtualStart = vtime.Start(p.cmd.Seed)
	}
	for _, h := range handsets {
		run.Patience[h.Name] = fmt.Sprintf("%+v", h.Patience)
	}
	// Entries of one phone never run at the same time, nor do modules at one access
	// point that the rig asks to misbehave: it does to all of them.
	phones, airs := map[string]*sync.Mutex{}, map[bench.AccessPoint]*sync.Mutex{{}: nil}
	for _, h := range handsets {
		if phones[h.Phone] == nil {
			phones[h.Phone] = &sync.Mutex{}
		}
		if _, ok := airs[h.AccessPoint]; !ok {
			airs[h.AccessPoint] = &sync.Mutex{}
		}
	}
	var wg sync.WaitGroup
	for i, h := range handsets {
		// Ends with its lane.
		wg.Go(func() {
			phones[h.Phone].Lock()
			defer phones[h.Phone].Unlock()
			if air := airs[h.AccessPoint]; air != nil && h.Link == bench.WiFi {
				air.Lock()
				defer air.Unlock()
			}
			run.Handsets[i] = p.lane(ctx, h)
		})
	}
	wg.Wait()
	run.Took = time.Since(p.started)
	run.Interrupted = ctx.Err() != nil
	return run
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
}

// lane starts a handset's lane and follows it to its end.
func (p *parent) lane(ctx context.Context, h bench.Handset) report.Handset {
	result := report.Handset{
		Name: h.Name, Model: h.Model.String(), Link: string(h.Link), MAC: h.Active().String(), Simulated: h.Simulated,
		Firmware: h.Software(), Seed: p.cmd.Seed, Specs: []report.Spec{}, Filtered: filteredRows(p.cmd.selects(p.bench, h)),
	}
	if record, err := golden.LoadFor(p.bench, h); err == nil && record != nil {
		result.Golden = record.Name
	}
	if p.cmd.Defect != "" {
		result.Defects = strings.Split(p.cmd.Defect, ",")
	}
	if ctx.Err() != nil {
		result.Died, result.Left = "interrupted before it began", p.kept[h.Name]
		return result
	}
	result.Left = "its lane did not say how"
	if err := p.follow(ctx, h, &result); err != nil && result.Died == "" {
		result.Died = err.Error()
	}
	interrupted := ctx.Err() != nil
	switch {
	case result.Left == "":
	case result.Died != "":
		result.Left = "the lane died: " + result.Died
	case interrupted:
		result.Left = "the run was interrupted: " + result.Left
	}
	if result.Died != "" || interrupted {
		p.powerBack(context.WithoutCancel(ctx), h)
	}
	return result
}

// powerBack gives a handset its power after a lane that may have ended between
// off and on; where it has power already, that changes nothing.
func (p *parent) powerBack(ctx context.Context, h bench.Handset) {
	switch h.Power.Kind {
	case "command":
		hook := control.Hook{OnCommand: h.Power.On, OffCommand: h.Power.Off, Timeout: time.Minute}
		if err := hook.On(ctx); err != nil {
			p.terminal.print(fmt.Sprintf("\n!!! %s may be without power: %v\n", h.Name, err))
		}
	case "operator":
		p.terminal.print(fmt.Sprintf("\n!!! see that %s has its power: its lane ended early, and may have asked to take it\n", h.Name))
	}
}

func (p *parent) follow(ctx context.Context, h bench.Handset, result *report.Handset) (err error) {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("lane: %w", err)
	}
	folder := filepath.Join(p.dir, h.Name)
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // evidence is for everybody on the lab machine
		return fmt.Errorf("lane: %w", err)
	}
	logFile, err := os.Create(filepath.Join(folder, "lane.log")) //nolint:gosec // the lane's own folder
	if err != nil {
		return fmt.Errorf("lane: %w", err)
	}
	defer func() { err = errors.Join(err, logFile.Close()) }()
	upR, upW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("lane: %w", err)
	}
	downR, downW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("lane: %w", err)
	}
	lane := laneCmd{
		Bench: p.cmd.Bench, Handset: h.Name, Out: p.dir, State: p.state, Filter: p.cmd.Filter, LabelFilter: p.cmd.LabelFilter, Defect: p.cmd.Defect,
		Depth: p.cmd.Depth, Points: p.cmd.Points, Whole: p.cmd.Whole, Seed: p.cmd.Seed, OperatorMax: p.cmd.OperatorMax, AllowRisk: p.cmd.AllowRisk, Rerun: p.rerun(h),
		GoldenRecords: p.cmd.GoldenRecords, Deviations: p.cmd.Deviations,
	}
	cmd := exec.Command(exe, lane.args()...) //nolint:gosec,noctx // this program itself; it is ended by SIGINT below, so that evidence stays whole
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{upW, downR}
	// Ctrl-C reaches the parent alone, which forwards it once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("lane: %w", err)
	}
	_ = upW.Close()
	_ = downR.Close()
	l := &follower{parent: p, handset: h, result: result, answers: &answers{to: json.NewEncoder(downW)}}
	l.interrupt = sync.OnceFunc(func() { l.answers.send(pipe.Down{End: true}) })
	stop := context.AfterFunc(ctx, l.interrupt)
	defer stop()
	readErr := pipe.Read(upR, func(u pipe.Up) error { return l.heard(ctx, u) })
	_ = upR.Close()
	l.withdraw()
	_ = downW.Close()
	waitErr := cmd.Wait()
	if state := cmd.ProcessState; state != nil {
		result.CPU = state.UserTime() + state.SystemTime()
		if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
			result.MaxRSS = ru.Maxrss << 10
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if l.nobody != nil {
		result.Died = l.nobody.Error()
		return nil
	}
	if err := errors.Join(readErr, waitErr); err != nil && result.Died == "" {
		return fmt.Errorf("%w; see %s", err, logFile.Name())
	}
	return nil
}

// answers go down to a lane. It is safe for concurrent use.
type answers struct {
	mu sync.Mutex
	to *json.Encoder
}

// send tells the lane; one that has ended hears nothing.
func (a *answers) send(d pipe.Down) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.to.Encode(d)
}

// follower hears one lane.
type follower struct {
	*parent
	handset bench.Handset
	result  *report.Handset
	answers *answers
	// interrupt ends the lane in good order, once.
	interrupt func()

	// withdrawn ends the question that is asked now, answered waits for its end.
	withdrawn context.CancelFunc
	answered  sync.WaitGroup
	// nobody says that no question will be answered; it is read after withdraw.
	nobody error
}

func (l *follower) heard(ctx context.Context, u pipe.Up) error {
	h, result := l.handset, l.result
	switch {
	case u.Plan != nil:
		l.say(h, "%s", planText(l.bench, h, *u.Plan))
	case u.Started != nil && !h.Simulated:
		l.say(h, "begins   %s", u.Started.Name)
	case u.Waiting != "" && !h.Simulated:
		l.say(h, "now      %s", u.Waiting)
	case u.Done != nil:
		result.Specs = append(result.Specs, *u.Done)
		l.say(h, "%s", progress(*u.Done))
	case u.Ask != nil:
		l.withdraw()
		if why := l.nobody; why != nil {
			// The lane is about to end: what it still asks is not shown.
			l.answers.send(pipe.Down{Number: u.Ask.Number, Error: why.Error()})
			break
		}
		ctx, l.withdrawn = context.WithCancel(ctx)
		// Ends with its answer, with the lane, or when the lane waits no more: who
		// does not answer keeps nobody from hearing what the lane says meanwhile.
		l.answered.Go(func() { l.question(ctx, *u.Ask) })
	case u.Withdrawn != 0:
		l.withdraw()
	case u.Left != "" || u.Home:
		result.Left, result.VirtualTook = u.Left, u.Virtual
	case u.Died != "":
		result.Died = u.Died
	}
	return nil
}

// progress is the line of a spec that is over: its verdict, and what for.
func progress(s report.Spec) string {
	line := fmt.Sprintf("%-12s %9s  %s", s.Verdict, took(s.Took), s.Name)
	if reason, _, _ := strings.Cut(s.Reason, "\n"); reason != "" {
		line += ": " + reason
	}
	return line
}

// took is how long a spec took, which in virtual time may be hours.
func took(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.2fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// withdraw takes the question back that the person has not answered.
func (l *follower) withdraw() {
	if l.withdrawn != nil {
		l.withdrawn()
	}
	l.answered.Wait()
}

// question has one answered. Where nobody ever will, the lane ends: each of its
// specs would only wait in vain.
func (l *follower) question(ctx context.Context, ask pipe.Question) {
	err := l.terminal.question(ctx, l.handset.Name+": "+ask.Text)
	if errors.Is(err, errNobody) {
		l.nobody = fmt.Errorf("%w; asked to: %s", err, ask.Text)
		// The interrupt is the answer: with another one the lane would go on until
		// it hears of the interrupt.
		l.interrupt()
		return
	}
	d := pipe.Down{Number: ask.Number}
	if err != nil {
		d.Error = err.Error()
	}
	l.answers.send(d)
}

func (p *parent) say(h bench.Handset, format string, args ...any) {
	if p.cmd.Quiet {
		return
	}
	p.terminal.print(fmt.Sprintf("%7.1fs  %-12s  ", time.Since(p.started).Seconds(), h.Name) + fmt.Sprintf(format, args...) + "\n")
}

// action is how long a person takes to do one thing at a phone (a guess).
const action = time.Minute

// planText says how long it will take and how often a person must act.
func planText(b bench.Bench, h bench.Handset, plan pipe.Plan) string {
	pt := h.Patience
	each := pt.Off + pt.Boot/3
	settle := pt.Settle
	if h.Simulated {
		each = 200 * time.Millisecond
	}
	about := time.Duration(plan.Power)*each + time.Duration(plan.Specs)*settle
	// A script does what hands would at a simulated handset, all but its power.
	hands := plan.Hands
	if h.Simulated {
		hands = 0
	}
	if h.Power.Kind == "operator" {
		hands += 2 * plan.Power
	}
	who := ""
	if hands > 0 {
		about += time.Duration(hands) * min(action, pt.Operator)
		who = fmt.Sprintf("; a person must act about %d times", hands)
	}
	when := "about " + about.Round(time.Second).String()
	if b.Wire.Memory {
		when = "in virtual time"
	}
	return fmt.Sprintf("%d specs (%d skipped), %s%s", plan.Specs, plan.Skipped, when, who)
}

func (p *parent) rerun(h bench.Handset) string {
	parts := []string{"ip88rig run"}
	if p.cmd.Bench != "" {
		parts = append(parts, "--bench "+shellQuoted(p.cmd.Bench))
	}
	parts = append(parts, "--handset "+shellWord(h.Name), fmt.Sprintf("--seed %d", p.cmd.Seed))
	if p.bench.Wire.Memory {
		parts = append(parts, "--rig "+shellQuoted(version()))
	}
	if p.cmd.Defect != "" {
		parts = append(parts, "--defect "+shellWord(p.cmd.Defect))
	}
	if p.cmd.Points > 0 {
		parts = append(parts, fmt.Sprintf("--points %d", p.cmd.Points))
	}
	if p.cmd.Whole != "" {
		parts = append(parts, "--whole "+shellQuoted(p.cmd.Whole))
	}
	if len(p.cmd.AllowRisk) > 0 {
		parts = append(parts, "--allow-risk "+strings.Join(p.cmd.AllowRisk, ","))
	}
	if p.cmd.GoldenRecords != "" {
		parts = append(parts, "--golden-records "+shellQuoted(p.cmd.GoldenRecords))
	}
	if p.cmd.Deviations != "" {
		parts = append(parts, "--deviations "+shellQuoted(p.cmd.Deviations))
	}
	return strings.ReplaceAll(strings.Join(parts, " "), "%", "%%") + " --filter '%s'"
}

// shellQuoted is a text as one word for a POSIX shell, whatever is in it.
func shellQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// shellWord is shellQuoted where that is needed.
func shellWord(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.,:/+@", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return shellQuoted(text)
}

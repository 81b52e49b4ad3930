package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"ip88rig/rig/bench"
	"ip88rig/rig/control"
	"ip88rig/rig/golden"
	"ip88rig/rig/pipe"
	"ip88rig/rig/report"
	"ip88rig/rig/vtime"
)

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

func (p *parent) say(h bench.Handset, format string, args ...any) {
	if p.cmd.Quiet {
		return
	}
	p.terminal.print(fmt.Sprintf("%7.1fs  %-12s  ", time.Since(p.started).Seconds(), h.Name) + fmt.Sprintf(format, args...) + "\n")
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

// updateGolden writes what the run has measured into the records, and says what
// that changes. Handsets of one kind with one software share a record.
func (p *parent) updateGolden(handsets []bench.Handset, run report.Run) error {
	dir := p.bench.GoldenRecords
	if run.Interrupted {
		p.terminal.print("golden records: left as they were, because the run was interrupted\n")
		return nil
	}
	measured := map[golden.Key][]golden.Measurement{}
	var order []golden.Key
	for i, h := range handsets {
		ms := golden.Measurements(run.Handsets[i])
		key, ok := golden.KeyOf(h)
		switch {
		case len(ms) == 0:
		case !ok:
			p.terminal.print(fmt.Sprintf("golden records: %s: %s\n", h.Name, golden.Missing(h)))
		default:
			if _, ok := measured[key]; !ok {
				order = append(order, key)
			}
			measured[key] = append(measured[key], ms...)
		}
	}
	if len(order) == 0 {
		p.terminal.print("golden records: nothing was measured, nothing changes\n")
	}
	for _, key := range order {
		changes, err := golden.Update(dir, key, measured[key])
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%d lines change", len(changes))
		if len(changes) == 0 {
			what = "nothing changes"
		}
		p.terminal.print(fmt.Sprintf("golden record %s in %s: %s\n", key.File(), dir, what))
		for _, c := range changes {
			p.terminal.print("  " + c + "\n")
		}
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

package scenarios

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ip88rig/capture"
	"ip88rig/capture/match"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/report"
)

// Again is one judgement of a recording, made anew.
type Again struct {
	Folder  string
	Row     string
	Case    string
	Was, Is report.Verdict
	Why     string
}

// Same tells whether the verdict is what it was.
func (a Again) Same() bool { return a.Was == a.Is }

// rejudge rebuilds the timeline of a recording from capture.pcapng and
// journal.jsonl alone, and judges every window and matcher of its journal again.
func rejudge(dir string) ([]Again, capture.Recording, error) {
	loaded, err := capture.LoadRecording(dir)
	if err != nil {
		return nil, loaded, fmt.Errorf("%s: %w", dir, err)
	}
	var out []Again
	var lapsing timeline.Lapsing // reads each event once
	tl, events := loaded.Timeline, loaded.Log()
	for e := range events.All() {
		if e.Kind != timeline.Judgement {
			continue
		}
		a := Again{Folder: dir, Row: e.Message, Case: e.Fields["case"], Was: report.Verdict(e.Fields["verdict"])}
		a.Is, a.Why, err = again(tl, &lapsing, *e)
		if err != nil {
			return out, loaded, fmt.Errorf("%s: judgement of %s cannot be made again: %w", dir, e.Message, err)
		}
		out = append(out, a)
	}
	return out, loaded, nil
}

func again(tl *timeline.Timeline, lapsing *timeline.Lapsing, e timeline.Event) (report.Verdict, string, error) {
	var spec timeline.WindowSpec
	if err := json.Unmarshal([]byte(e.Fields["window"]), &spec); err != nil {
		return "", "", fmt.Errorf("window: %w", err)
	}
	watermark, err := time.Parse(time.RFC3339Nano, e.Fields["watermark"])
	if err != nil {
		return "", "", fmt.Errorf("watermark: %w", err)
	}
	negated, err := strconv.ParseBool(e.Fields["negated"])
	if err != nil {
		return "", "", fmt.Errorf("polarity: %w", err)
	}
	view := tl.WindowAt(spec).ViewAt(e.Number, watermark)
	if e.Fields["measured"] != "" {
		return measuredAgain(view, e)
	}
	m, err := match.Decode(e.Fields["matcher"], json.RawMessage(e.Fields["args"]))
	if err != nil {
		return "", "", err
	}
	v := m.Judge(view)
	if given := lapse(lapsing.Lapses(view.All, view.Watermark), e.Number); given != nil && v.Unfit == "" {
		return report.Blocked, "blocked by " + given.String(), nil
	}
	switch {
	case unjudged(v) != "":
		return report.Inconclusive, unjudged(v), nil
	case v.OK != negated && (v.OK || v.Final || view.Closed):
		return report.Pass, "", nil
	case !v.Final && !view.Closed:
		return report.Inconclusive, "the window was still open", nil
	}
	if was := report.Verdict(e.Fields["verdict"]); was == report.Inconclusive || was == report.Known {
		// A real handset is not failed on an assumption; the facts are the bench's.
		return was, e.Reason, nil
	}
	return report.Fail, v.Problem, nil
}

// Rejudged is what comes of judging a run again.
type Rejudged struct {
	Judgements []Again
	// Recordings counts the folders that were read.
	Recordings int
	// Problems are what is missing, cannot be read, or is not what run.json says.
	Problems []string
	// Unsealed: the run is one of before, whose bytes are not sealed.
	Unsealed bool
}

// RejudgeRun judges every recording below a folder again: a run's, a handset's or
// a spec's. Where run.json stands in it or in the folders above, each of its
// judgements by a matcher must be in its spec's recording with the same verdict,
// each spec that was recorded must be there, and no other judgement; what it says
// of specs and handsets must follow from the judgements and the recordings; and the
// bytes of all files must be those that it seals.
func RejudgeRun(dir string) (Rejudged, error) {
	var got Rejudged
	// out/latest is a symbolic link, which WalkDir does not follow.
	dir, err := filepath.EvalSymlinks(dir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return got, fmt.Errorf("no run: %w", err)
	}
	var folders []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() == capture.JournalFile {
			folders = append(folders, filepath.Dir(path))
		}
		return err
	})
	if err != nil {
		return got, fmt.Errorf("run: %w", err)
	}
	home, run, err := runOf(dir)
	if err != nil {
		got.Problems = append(got.Problems, err.Error())
	}
	if home != "" && err == nil {
		below, err := filepath.Rel(home, dir)
		if err != nil {
			return got, fmt.Errorf("run: %w", err)
		}
		if below == "." {
			below = ""
		}
		problems, sealed, err := run.Broken(home, below)
		if err != nil {
			return got, fmt.Errorf("run: %w", err)
		}
		got.Problems, got.Unsealed = append(got.Problems, problems...), !sealed
	}
	said := map[string]claimed{}
	// A lane that was cut off could not say what it did last.
	cutOff := map[string]bool{}
	for _, h := range run.Handsets {
		cutOff[filepath.Join(home, h.Name)] = run.Interrupted || h.Died != ""
		for _, s := range h.Specs {
			if recorded(s) {
				said[filepath.Join(home, h.Name, filepath.Base(s.Folder))] = claimed{&h, &s}
			}
		}
	}
	// Each recording by itself: a run has thousands.
	results := make([]recording, len(folders))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, folder := range folders {
		g.Go(func() error {
			results[i] = judgeFolder(folder, said[folder], run.Interrupted, home != "" && !cutOff[filepath.Dir(folder)])
			return nil
		})
	}
	_ = g.Wait() // what is wrong with one stands in its result
	there := map[string]bool{}
	for i, folder := range folders {
		there[folder] = true
		got.Recordings++
		got.Problems = append(got.Problems, results[i].problems...)
		got.Judgements = append(got.Judgements, results[i].again...)
	}
	for folder := range said {
		if below, err := filepath.Rel(dir, folder); err == nil && !strings.HasPrefix(below, "..") && !there[folder] {
			got.Problems = append(got.Problems, folder+": run.json names this recording, and it is not there")
		}
	}
	if !got.Unsealed {
		got.Problems = append(got.Problems, follows(run)...)
	}
	if got.Unsealed && slices.ContainsFunc(results, func(r recording) bool { return r.described }) {
		got.Unsealed = false
		got.Problems = append(got.Problems, filepath.Join(home, "run.json")+": it has no seal, and its recordings are of a rig that seals")
	}
	slices.Sort(got.Problems)
	return got, nil
}

// claimed is what run.json says of a recording; the zero value: nothing.
type claimed struct {
	handset *report.Handset
	spec    *report.Spec
}

// judgeFolder judges one recording and compares it with what run.json says, which is
// all that was recorded where the run is whole.
func judgeFolder(folder string, said claimed, interrupted, whole bool) recording {
	again, loaded, err := rejudge(folder)
	rec := recording{again: again, events: loaded.Log(), watermark: last(loaded.Log()), described: len(loaded.About) > 0}
	switch {
	case err != nil:
		rec.problems = append(rec.problems, err.Error())
	case said.spec != nil:
		rec.again = rec.join(folder, *said.spec, interrupted)
		rec.problems = append(rec.problems, said.differs(folder, loaded)...)
	case whole && filepath.Base(filepath.Dir(folder)) != "between" && len(again) > 0:
		for i := range rec.again {
			if rec.again[i].Same() {
				rec.again[i].Was, rec.again[i].Why = "missing", "run.json does not name this recording"
			}
		}
	}
	rec.events = timeline.Log{}
	return rec
}

// differs compares what run.json says of a spec and its handset, besides verdicts,
// with the recording.
func (c claimed) differs(folder string, loaded capture.Recording) []string {
	var problems []string
	is := func(what, recorded, said string) {
		if recorded != said {
			problems = append(problems, fmt.Sprintf("%s: run.json says %s %q, the recording %q", folder, what, said, recorded))
		}
	}
	if c.spec.Frames > 0 { // 0: the spec ended before that was counted
		is("frames", strconv.Itoa(loaded.Frames), strconv.Itoa(c.spec.Frames))
	}
	if macs := loaded.Timeline.HandsetMACs(); len(macs) > 0 && !slices.Contains(macs, c.handset.MAC) {
		is("MAC", strings.Join(macs, ", "), c.handset.MAC)
	}
	for name, value := range about(*c.handset, *c.spec) {
		if recorded, ok := loaded.About[name]; ok {
			is(name, recorded, value)
		}
	}
	return problems
}

// about is what a recording says of itself, for whoever has it alone.
func about(h report.Handset, s report.Spec) map[string]string {
	return map[string]string{
		"handset": h.Name, "model": h.Model, "link": h.Link, "simulated": strconv.FormatBool(h.Simulated), "firmware": h.Firmware,
		"seed": strconv.FormatInt(h.Seed, 10), "defects": strings.Join(h.Defects, ","),
		"spec": s.ID, "name": s.Name, "rows": strings.Join(s.Rows, ","), "transport": s.Transport,
	}
}

// follows compares what run.json says of specs with what follows from the judgements
// that it holds.
func follows(run report.Run) []string {
	var problems []string
	for _, h := range run.Handsets {
		for _, s := range h.Specs {
			want := report.Conclude(s.Judgements)
			early := s.Verdict == report.Blocked || s.Verdict == report.Inconclusive // it ended before its rows were judged
			if want != s.Verdict && (!early || !has(s.Judgements, s.Verdict)) {
				problems = append(problems, fmt.Sprintf("run.json: %s: spec %s is %q, its judgements make it %q", h.Name, s.ID, s.Verdict, want))
			}
		}
	}
	return problems
}

// last is the time of the last event: by then a closed recording is complete.
func last(events timeline.Log) time.Time {
	if events.Len() == 0 {
		return time.Time{}
	}
	return events.At(events.Len() - 1).At
}

// runOf reads the run.json of a run's folder or of one below it, however far a
// handset's or a spec's is; without one there is nothing to compare with.
func runOf(dir string) (home string, run report.Run, err error) {
	for range 3 {
		path := filepath.Join(dir, "run.json")
		if _, err := os.Stat(path); err == nil {
			run, err := report.Read(path)
			return dir, run, err
		}
		dir = filepath.Dir(dir)
	}
	return "", report.Run{}, nil
}

// recorded tells whether a spec has come as far as its recording.
func recorded(s report.Spec) bool {
	return s.Folder != "" && (s.Frames > 0 || slices.ContainsFunc(s.Judgements, func(j report.Judgement) bool { return j.Matcher != "" }))
}

// recording is one folder, judged again.
type recording struct {
	again     []Again
	events    timeline.Log
	watermark time.Time
	problems  []string
	// described: it says what it is of, as no recording of before does.
	described bool
}

// join compares what was judged again with what run.json says of the spec.
func (r recording) join(folder string, s report.Spec, interrupted bool) []Again {
	out := slices.Clone(r.again)
	taken := map[int]bool{}
	for _, j := range s.Judgements {
		if j.Matcher == "" {
			continue // not made from the recording: blocked, not reached
		}
		i := slices.IndexFunc(out, func(a Again) bool { return a.Row == j.Row && a.Case == j.Case })
		for ; i >= 0 && i < len(out) && (taken[i] || out[i].Row != j.Row || out[i].Case != j.Case); i++ {
		}
		if i < 0 || i >= len(out) {
			taken[len(out)] = true
			out = append(out, Again{Folder: folder, Row: j.Row, Case: j.Case, Was: j.Verdict, Is: "missing", Why: "the recording holds no such judgement"})
			continue
		}
		taken[i] = true
		a := &out[i]
		if !a.Same() || j.Verdict == a.Is {
			continue
		}
		a.Was = j.Verdict
		a.Why = strings.TrimSpace("run.json says so, not the recording. " + a.Why)
		if given := lapse(timeline.Lapses(r.events, r.watermark), j.Upto); given != nil && j.Verdict == report.Blocked {
			a.Is, a.Why = report.Blocked, "blocked by "+given.String()
		}
		if j.Verdict == report.Inconclusive {
			if why := r.trouble(j.Reason, interrupted); why != "" {
				a.Is, a.Why = report.Inconclusive, why
			}
		}
	}
	for i := range out {
		if !taken[i] && out[i].Same() {
			out[i].Was, out[i].Why = "missing", "run.json holds no such judgement"
		}
	}
	return out
}

// trouble says why nothing of a recording was judged in the end: what the
// recording itself tells, or what only the rig could know. It is blank when
// neither bears out the reason that is given.
func (r recording) trouble(reason string, interrupted bool) string {
	for e := range r.events.All() {
		switch e.Kind {
		case timeline.FramesLost, timeline.ClockStepped, timeline.Stranger:
			return strings.TrimSpace(string(e.Kind) + " " + e.Reason)
		case timeline.DHCPRequest:
			// Which server is the lane's own, its bench says.
			server := e.Fields["dhcp.option.dhcp_server_id"]
			if server != "" && strings.Contains(reason, fmt.Sprintf("another DHCP server, %s (frame %d)", server, e.Frame)) {
				return reason
			}
		default:
		}
	}
	if quarrel := timeline.Disagreements(r.events); len(quarrel) > 0 {
		return "the witnesses disagree: " + strings.Join(quarrel, "; ")
	}
	// The rig's own parts, the kernel's counters, its faults; the time after the
	// spec has a recording of its own.
	known := []string{
		" died: ", "frames were lost on the way in", "the recording is not whole", "a declared fault never fired", RebootedAfter, rig.StarvedOfCPU,
	}
	if interrupted {
		// Then it was not waited for both of them.
		known = append(known, "the witnesses disagree")
	}
	for _, k := range known {
		if strings.Contains(reason, k) {
			return reason
		}
	}
	return ""
}

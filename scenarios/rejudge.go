package scenarios

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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
func rejudge(dir string) ([]Again, timeline.Log, error) {
	tl, err := capture.Load(dir)
	if err != nil {
		return nil, timeline.Log{}, fmt.Errorf("%s: %w", dir, err)
	}
	var out []Again
	events := tl.Log()
	for e := range events.All() {
		if e.Kind != timeline.Judgement {
			continue
		}
		a := Again{Folder: dir, Row: e.Message, Case: e.Fields["case"], Was: report.Verdict(e.Fields["verdict"])}
		a.Is, a.Why, err = again(tl, *e)
		if err != nil {
			return out, events, fmt.Errorf("%s: judgement of %s cannot be made again: %w", dir, e.Message, err)
		}
		out = append(out, a)
	}
	return out, events, nil
}

func again(tl *timeline.Timeline, e timeline.Event) (report.Verdict, string, error) {
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
	if given := lapse(timeline.Lapses(view.All, view.Watermark), e.Number); given != nil && v.Unfit == "" {
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
	// Problems are what is missing or cannot be read.
	Problems []string
}

// RejudgeRun judges every recording below a folder again: a run's, a handset's or
// a spec's. Where run.json stands in it or in the folders above, each of its
// judgements by a matcher must be in its spec's recording with the same verdict,
// each spec that was recorded must be there, and no other judgement.
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
	all := map[string]recording{}
	var folders []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || d.Name() != capture.JournalFile {
			return nil
		}
		got.Recordings++
		folder := filepath.Dir(path)
		again, events, err := rejudge(folder)
		if err != nil {
			got.Problems = append(got.Problems, err.Error())
		}
		folders = append(folders, folder)
		all[folder] = recording{again, events, last(events), err == nil}
		return nil
	})
	if err != nil {
		return got, fmt.Errorf("run: %w", err)
	}
	home, run, err := runOf(dir)
	if err != nil {
		got.Problems = append(got.Problems, err.Error())
	}
	for _, h := range run.Handsets {
		for _, s := range h.Specs {
			folder := filepath.Join(home, h.Name, filepath.Base(s.Folder))
			below, err := filepath.Rel(dir, folder)
			if !recorded(s) || err != nil || strings.HasPrefix(below, "..") {
				continue
			}
			rec, ok := all[folder]
			if !ok {
				got.Problems = append(got.Problems, folder+": run.json names this recording, and it is not there")
				continue
			}
			if rec.whole {
				rec.again = rec.join(folder, s, run.Interrupted)
				all[folder] = rec
			}
		}
	}
	for _, f := range folders {
		got.Judgements = append(got.Judgements, all[f].again...)
	}
	return got, nil
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
	// whole: all of it could be judged again.
	whole bool
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

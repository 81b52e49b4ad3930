package scenarios

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"time"

	"ip88rig/capture"
	"ip88rig/capture/match"
	"ip88rig/capture/timeline"
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

// Rejudge rebuilds the timeline of a recording from capture.pcapng and
// journal.jsonl alone, and judges every window and matcher of its journal again.
func Rejudge(dir string) ([]Again, error) {
	tl, err := capture.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	var out []Again
	for _, e := range tl.Events() {
		if e.Kind != timeline.Judgement {
			continue
		}
		a := Again{Folder: dir, Row: e.Message, Case: e.Fields["case"], Was: report.Verdict(e.Fields["verdict"])}
		a.Is, a.Why, err = again(tl, e)
		if err != nil {
			return out, fmt.Errorf("%s: judgement of %s cannot be made again: %w", dir, e.Message, err)
		}
		out = append(out, a)
	}
	return out, nil
}

func again(tl *timeline.Timeline, e timeline.Event) (report.Verdict, string, error) {
	m, err := match.Decode(e.Fields["matcher"], json.RawMessage(e.Fields["args"]))
	if err != nil {
		return "", "", err
	}
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
	v := m.Judge(view)
	switch {
	case unjudged(v) != "":
		return report.Inconclusive, unjudged(v), nil
	case v.OK != negated && (v.OK || v.Final || view.Closed):
		return report.Pass, "", nil
	case !v.Final && !view.Closed:
		return report.Inconclusive, "the window was still open", nil
	}
	if was := report.Verdict(e.Fields["verdict"]); was == report.Inconclusive {
		// A real handset is not failed on an assumption; the facts are the bench's.
		return was, e.Reason, nil
	}
	return report.Fail, v.Problem, nil
}

// RejudgeRun judges every recording below a run's folder again.
func RejudgeRun(dir string) (all []Again, recordings int, err error) {
	// out/latest is a symbolic link, which WalkDir does not follow.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, 0, fmt.Errorf("no run: %w", err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || d.Name() != capture.JournalFile {
			return nil
		}
		recordings++
		got, err := Rejudge(filepath.Dir(path))
		all = append(all, got...)
		return err
	})
	return all, recordings, err
}

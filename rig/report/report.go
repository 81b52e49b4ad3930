// Package report is what a run leaves for people and machines: the verdict of
// each judgement, spec and row, run.json (the truth), JUnit written from it and
// the summary at the terminal.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Verdict says how a row came out and whose fault it was.
type Verdict string

// The verdicts.
const (
	Pass Verdict = "pass"
	// Fail is the handset's.
	Fail Verdict = "fail"
	// Blocked: a given was not reached; the reason names the row that blocked it.
	Blocked Verdict = "blocked"
	// Inconclusive is the rig's or the lab's, or an assumption nobody measured.
	Inconclusive Verdict = "inconclusive"
	// Drift: an observed behaviour differs from the golden record.
	Drift Verdict = "drift"
	// Known: a registered deviation that has not expired.
	Known Verdict = "known"
	// Skip carries a typed reason that names what would enable it.
	Skip Verdict = "skip"
)

// Weight orders verdicts from good to bad, for the worst of several.
func (v Verdict) Weight() int {
	return slices.Index([]Verdict{Pass, Skip, Known, Blocked, Inconclusive, Drift, Fail}, v)
}

// Worst returns the worst of verdicts, Skip for none.
func Worst(vs ...Verdict) Verdict {
	if len(vs) == 0 {
		return Skip
	}
	return slices.MaxFunc(vs, func(a, b Verdict) int { return a.Weight() - b.Weight() })
}

// Conclude is the verdict of a spec with these judgements: a failure comes before a
// drift, that before a known deviation, and what was skipped is none of them.
func Conclude(js []Judgement) Verdict {
	has := func(v Verdict) bool { return slices.ContainsFunc(js, func(j Judgement) bool { return j.Verdict == v }) }
	for _, v := range []Verdict{Fail, Drift, Known, Inconclusive, Blocked} {
		if has(v) {
			return v
		}
	}
	if has(Skip) && !has(Pass) {
		// All was measured, and there is nothing yet to hold it against.
		return Skip
	}
	return Pass
}

// Judgement is one verdict on one row of the requirements, with what is needed
// to judge it again from the recording.
type Judgement struct {
	Row     string  `json:"row"`
	Verdict Verdict `json:"verdict"`
	// Case tells judgements of one row in one spec apart ("mask 5, wrong name").
	Case      string `json:"case,omitempty"`
	Transport string `json:"transport,omitempty"`
	Reason    string `json:"reason,omitempty"`
	// BlockedBy is the row that was not reached.
	BlockedBy string `json:"blocked_by,omitempty"`

	// Measured is what an observed row was seen to do; nil for rows that are
	// judged. Diff says, one line a value, how a drifted one differs from the
	// golden record.
	Measured []Value  `json:"measured,omitempty"`
	Diff     []string `json:"diff,omitempty"`

	Matcher   string          `json:"matcher,omitempty"`
	Args      json.RawMessage `json:"args,omitempty"`
	Window    json.RawMessage `json:"window,omitempty"`
	Negated   bool            `json:"negated,omitempty"`
	Upto      int             `json:"upto,omitempty"`
	Watermark time.Time       `json:"watermark,omitzero"`
	Frame     int             `json:"frame,omitempty"`
}

// Value is one thing measured: "retries", "4", ""; "power to registered", "153",
// "ms". Times are in ms, and are the only values that may vary between healthy
// runs.
type Value struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Unit  string `json:"unit,omitempty"`
}

// Spec is one spec on one handset.
type Spec struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	Rows       []string      `json:"rows"`
	Transport  string        `json:"transport,omitempty"`
	Verdict    Verdict       `json:"verdict"`
	Reason     string        `json:"reason,omitempty"`
	BlockedBy  string        `json:"blocked_by,omitempty"`
	Folder     string        `json:"folder,omitempty"`
	Rerun      string        `json:"rerun,omitempty"`
	Failure    string        `json:"failure,omitempty"`
	Location   string        `json:"location,omitempty"`
	Start      time.Time     `json:"start"`
	Took       time.Duration `json:"took_ns"`
	Cycles     int           `json:"cycles"`
	Frames     int           `json:"frames"`
	Judgements []Judgement   `json:"judgements"`
	// Faults are those that the spec declared, in the order in which they ended.
	Faults []Fault `json:"faults,omitempty"`
}

// Fault is one rule of what went wrong on purpose: its sentence, how many rules of
// the spec read so, and how often they fired.
type Fault struct {
	Sentence string `json:"sentence"`
	Rules    int    `json:"rules,omitempty"`
	Fired    int    `json:"fired"`
}

// String is one line for a person.
func (f Fault) String() string {
	times := fmt.Sprintf("fired %d times", f.Fired)
	switch f.Fired {
	case 0:
		times = "never fired"
	case 1:
		times = "fired once"
	}
	if f.Rules > 1 {
		times += fmt.Sprintf(" in %d rules", f.Rules)
	}
	return "fault: " + f.Sentence + ": " + times
}

// Declare adds a fault that has ended. Rules of one sentence are told as one.
func Declare(faults []Fault, sentence string, fired int) []Fault {
	i := slices.IndexFunc(faults, func(f Fault) bool { return f.Sentence == sentence })
	if i < 0 {
		return append(faults, Fault{Sentence: sentence, Rules: 1, Fired: fired})
	}
	faults[i].Rules++
	faults[i].Fired += fired
	return faults
}

// Handset is what one lane found.
type Handset struct {
	Name      string   `json:"name"`
	Model     string   `json:"model"`
	Link      string   `json:"link"`
	MAC       string   `json:"mac"`
	Simulated bool     `json:"simulated"`
	Defects   []string `json:"defects,omitempty"`
	Firmware  string   `json:"firmware,omitempty"`
	// Golden is the golden record that it was compared with; blank: there is none.
	Golden string `json:"golden_record,omitempty"`
	// Unmet are cases of that record that a run which left nothing out did not measure.
	Unmet []string `json:"golden_unmet,omitempty"`
	Seed  int64    `json:"seed"`
	Specs []Spec   `json:"specs"`
	// Filtered are rows of which the run's filter left specs out.
	Filtered []string `json:"filtered_rows,omitempty"`
	Died     string   `json:"died,omitempty"`
	// Left says why the handset was not left at golden; the next run begins with that.
	Left   string        `json:"left,omitempty"`
	MaxRSS int64         `json:"max_rss_bytes,omitempty"`
	CPU    time.Duration `json:"cpu_ns,omitempty"`
	// VirtualTook is how long its lane took by its own clock; 0 where time was real.
	VirtualTook time.Duration `json:"virtual_took_ns,omitempty"`
}

// Run is the whole of a run: run.json.
type Run struct {
	Version string        `json:"rig_version"`
	Bench   string        `json:"bench"`
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took_ns"`
	// VirtualStart is when virtual time began, in each lane; zero where time was real.
	// Started and Took are real, Start and Took of a spec by the clock of its lane.
	VirtualStart time.Time         `json:"virtual_start,omitzero"`
	Seed         int64             `json:"seed"`
	Depth        string            `json:"depth"`
	Filter       string            `json:"filter,omitempty"`
	LabelFilter  string            `json:"label_filter,omitempty"`
	Strict       bool              `json:"strict,omitempty"`
	Interrupted  bool              `json:"interrupted,omitempty"`
	Patience     map[string]string `json:"patience,omitempty"`
	Handsets     []Handset         `json:"handsets"`
	// Absent are the bench's handsets that were not chosen.
	Absent []Absent `json:"absent,omitempty"`
	// Deviations is the file of known deviations; Stale are those of them that
	// the handsets no longer show, which turns the run red.
	Deviations string  `json:"deviations,omitempty"`
	Stale      []Stale `json:"stale_deviations,omitempty"`
	// Files has the SHA-256 of each recorded file by its path from the run's folder,
	// Seal that of run.json itself with a seal of zeros: see HashFiles. Both are blank
	// in a run of before.
	Files map[string]string `json:"sha256,omitempty"`
	Seal  string            `json:"seal,omitempty"`
}

// Absent is a handset of the bench that a run left out.
type Absent struct {
	Name     string `json:"name"`
	Model    string `json:"model"`
	Firmware string `json:"firmware,omitempty"`
}

// Row is the verdict on one row for one handset.
type Row struct {
	ID         string
	Verdict    Verdict
	Judgements int
	Reasons    []string
}

// Rows sums the judgements of a handset up by row, in the order of their ids.
func (h Handset) Rows() []Row {
	at := map[string]int{}
	var rows []Row
	for _, s := range h.Specs {
		for _, j := range s.Judgements {
			i, ok := at[j.Row]
			if !ok {
				i = len(rows)
				at[j.Row] = i
				rows = append(rows, Row{ID: j.Row, Verdict: j.Verdict})
			}
			rows[i].Judgements++
			rows[i].Verdict = Worst(rows[i].Verdict, j.Verdict)
			if j.Verdict != Pass && j.Reason != "" && !slices.Contains(rows[i].Reasons, j.Reason) {
				rows[i].Reasons = append(rows[i].Reasons, j.Reason)
			}
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.ID, b.ID) })
	return rows
}

// Counts counts specs and judgements by verdict.
func (r Run) Counts() (specs, judgements map[Verdict]int) {
	specs, judgements = map[Verdict]int{}, map[Verdict]int{}
	for _, h := range r.Handsets {
		for _, s := range h.Specs {
			specs[s.Verdict]++
			for _, j := range s.Judgements {
				judgements[j.Verdict]++
			}
		}
	}
	return specs, judgements
}

// UnexplainedBlocks lists rows that blocked a spec although no spec judged them
// as failed: such a run is inconclusive as a whole.
func (r Run) UnexplainedBlocks() []string {
	var out []string
	for _, h := range r.Handsets {
		failed := map[string]bool{}
		for _, s := range h.Specs {
			for _, j := range s.Judgements {
				if j.Verdict == Fail || j.Verdict == Known {
					failed[j.Row] = true
				}
			}
		}
		for _, s := range h.Specs {
			if s.BlockedBy != "" && !failed[s.BlockedBy] {
				line := fmt.Sprintf("%s: %s", h.Name, s.BlockedBy)
				if !slices.Contains(out, line) {
					out = append(out, line)
				}
			}
		}
	}
	return out
}

// Exit codes of the command.
const (
	ExitPass         = 0
	ExitFailed       = 1
	ExitUsage        = 2
	ExitInconclusive = 3
	// ExitEvidence is of judge alone: the evidence does not hold.
	ExitEvidence    = 4
	ExitInterrupted = 130
)

// ExitCode is 1 if a row failed or drifted or a deviation is stale; else 3 if
// anything is inconclusive or blocked, a lane died or nothing was judged
// (strict: also if skipped); else 0; 130 when interrupted. A known deviation is
// no failure.
func (r Run) ExitCode() int {
	if r.Interrupted {
		return ExitInterrupted
	}
	specs, judgements := r.Counts()
	switch {
	case specs[Fail]+specs[Drift]+judgements[Fail]+judgements[Drift]+len(r.Stale) > 0:
		return ExitFailed
	case specs[Inconclusive]+specs[Blocked]+judgements[Inconclusive]+judgements[Blocked] > 0,
		len(r.UnexplainedBlocks()) > 0,
		judgements[Pass]+judgements[Known] == 0,
		r.Strict && specs[Skip]+judgements[Skip] > 0,
		slices.ContainsFunc(r.Handsets, func(h Handset) bool { return h.Died != "" }):
		return ExitInconclusive
	}
	return ExitPass
}

// Write writes run.json into a folder, sealed, whole or not at all.
func (r Run) Write(dir string) error {
	r.Seal = unsealed
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("run.json: %w", err)
	}
	return writeWhole(filepath.Join(dir, "run.json"), seal(append(data, '\n')))
}

// Read reads a run.json.
func Read(path string) (Run, error) {
	var r Run
	data, err := os.ReadFile(path) //nolint:gosec // the user's own run folder
	if err != nil {
		return r, fmt.Errorf("run.json: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func writeWhole(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil { //nolint:gosec // reports are for everybody; they hold no secrets
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

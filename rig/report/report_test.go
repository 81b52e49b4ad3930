package report_test

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ip88rig/rig/report"
)

func run(specs ...report.Spec) report.Run {
	return report.Run{Bench: "b", Handsets: []report.Handset{{Name: "h", Specs: specs}}}
}

func spec(v report.Verdict, rows ...report.Judgement) report.Spec {
	return report.Spec{Name: "s", Verdict: v, Judgements: rows, Reason: "because", Rerun: "ip88rig run --handset h"}
}

func row(id string, v report.Verdict) report.Judgement { return report.Judgement{Row: id, Verdict: v} }

func TestTheExitCodeSaysTheWorstThing(t *testing.T) {
	passed := spec(report.Pass, row("A-01", report.Pass))
	blocked := spec(report.Blocked, row("A-02", report.Blocked))
	blocked.BlockedBy = "A-03"
	dead := run(passed)
	dead.Handsets[0].Died = "killed"
	strict := run(passed, spec(report.Skip))
	strict.Strict = true
	interrupted := run(spec(report.Fail))
	interrupted.Interrupted = true
	tests := map[string]struct {
		run  report.Run
		want int
	}{
		"all passed":                       {run(passed), 0},
		"one failed":                       {run(passed, blocked, spec(report.Fail, row("A-04", report.Fail))), 1},
		"a failed cell in a passed spec":   {run(spec(report.Pass, row("A-01", report.Fail))), 1},
		"drifted":                          {run(passed, spec(report.Drift)), 1},
		"blocked":                          {run(passed, blocked), 3},
		"inconclusive":                     {run(passed, spec(report.Inconclusive)), 3},
		"skipped":                          {run(passed, spec(report.Skip)), 0},
		"skipped, strictly":                {strict, 3},
		"nothing judged":                   {run(spec(report.Skip)), 3},
		"no spec at all":                   {run(), 3},
		"a lane died":                      {dead, 3},
		"interrupted, whatever it found":   {interrupted, 130},
		"a known deviation is not failure": {run(passed, spec(report.Known, row("A-05", report.Known))), 0},
	}
	for name, tt := range tests {
		if got := tt.run.ExitCode(); got != tt.want {
			t.Errorf("%s: exit code %d, want %d", name, got, tt.want)
		}
	}
	if got := run(passed, blocked).UnexplainedBlocks(); len(got) != 1 || got[0] != "h: A-03" {
		t.Errorf("unexplained %v", got)
	}
	if got := run(blocked, spec(report.Fail, row("A-03", report.Fail))).UnexplainedBlocks(); len(got) != 0 {
		t.Errorf("a block with its failure is called unexplained: %v", got)
	}
}

func TestJUnitCallsBlockedAndInconclusiveErrorsNeverSkips(t *testing.T) {
	dir := t.TempDir()
	r := run(spec(report.Pass), spec(report.Fail), spec(report.Blocked), spec(report.Inconclusive), spec(report.Skip), spec(report.Drift))
	if err := r.WriteJUnit(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Suites []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Errors   int `xml:"errors,attr"`
			Skipped  int `xml:"skipped,attr"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if s := got.Suites[0]; s.Tests != 6 || s.Failures != 2 || s.Errors != 2 || s.Skipped != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestRunJSONComesBackAsItWasWritten(t *testing.T) {
	dir := t.TempDir()
	r := run(spec(report.Fail, row("A-01", report.Fail), row("A-01", report.Pass)))
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	got, err := report.Read(filepath.Join(dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	rows := got.Handsets[0].Rows()
	if len(rows) != 1 || rows[0].Verdict != report.Fail || rows[0].Judgements != 2 {
		t.Errorf("rows %+v", rows)
	}
	if _, err := report.Read(filepath.Join(dir, "nothing")); err == nil {
		t.Error("read a file that is not there")
	}
}

func TestTheSummaryNamesEachTroubleAndHowToRunItAgain(t *testing.T) {
	blocked := spec(report.Blocked)
	blocked.BlockedBy = "XPT-01"
	text := run(spec(report.Fail, row("A-01", report.Fail)), blocked, blocked, spec(report.Skip)).Summary()
	for _, want := range []string{"FAIL  h: s", "A-01 fail", "again:    ip88rig run --handset h", "1 more specs by XPT-01", "skipped:", "exit code 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestTheLastLineCountsSpecsAndJudgements(t *testing.T) {
	for _, tt := range []struct {
		run  report.Run
		want string
	}{
		{run(spec(report.Pass, row("A-01", report.Pass), row("A-02", report.Pass))), "1 specs: 1 pass; 2 judgements: 2 pass; exit code 0\n"},
		{run(spec(report.Pass, row("A-01", report.Pass)), spec(report.Inconclusive)), "2 specs: 1 pass, 1 inconclusive; 1 judgements: 1 pass; exit code 3\n"},
		{run(), "0 specs: nothing judged; 0 judgements: nothing judged; exit code 3\n"},
	} {
		if got := tt.run.Summary(); !strings.HasSuffix(got, "\n"+tt.want) {
			t.Errorf("want %q at the end of\n%s", tt.want, got)
		}
	}
}

func TestAFailureIsToldWithoutTheLibrarysWords(t *testing.T) {
	s := spec(report.Fail, row("A-01", report.Fail))
	s.Failure = "No future change is possible.  Bailing out early after 0.083s.\nA-01: it shall\nNo future change is possible. (of the handset)\nagain: " + s.Rerun
	r := run(s)
	dir := t.TempDir()
	if err := r.WriteJUnit(dir); err != nil {
		t.Fatal(err)
	}
	junit, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"summary": r.Summary(), "junit": string(junit)} {
		if strings.Contains(text, "Bailing out") || strings.Count(text, s.Rerun) != 1 || !strings.Contains(text, "A-01: it shall") || !strings.Contains(text, "(of the handset)") {
			t.Errorf("%s: got\n%s", name, text)
		}
	}
}

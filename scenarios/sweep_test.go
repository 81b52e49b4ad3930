package scenarios_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ip88rig/capture"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
)

func TestASweepTellsOfEachPointAndIsJudgedAtItsEnd(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a lane for each sweep")
	}
	for name, c := range map[string]struct {
		how    sabotage
		defect defect.Name
		only   string
		points string
		// want is the outcomes of the table in a row, fails how many judgements failed.
		want    string
		verdict report.Verdict
		fails   int
	}{
		"lost, brought home, and lost again": {
			how: none, defect: defect.ModuleHangs, only: "gets over a restart of its access point.*over tftp", points: "0",
			want: "^(unharmed, )*lost, lost(, not tried)+$", verdict: report.Fail, fails: 2,
		},
		"an upgrade, lost and brought home": {
			how: none, defect: defect.ModuleHangs, only: "comes through a link that goes down during the download, over tftp", points: "2",
			want: "^lost, lost$", verdict: report.Fail, fails: 2,
		},
		"broken off by the rig at its first point": {
			how: "faults-unheard", only: "gets over a silence of its server.*over http ", points: "0",
			want: "^$", verdict: report.Inconclusive,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			specs, err := under(t.Context(), dir, c.how, c.only, c.defect, "-handset=ip8830-wifi", "-points="+c.points)
			if err != nil || len(specs) != 1 {
				t.Fatalf("%d specs, %v", len(specs), err)
			}
			s := specs[0]
			fails := 0
			for _, j := range s.Judgements {
				if j.Verdict == report.Fail {
					fails++
				}
			}
			if s.Verdict != c.verdict || fails != c.fails {
				t.Errorf("%s: %s, with %d judgements that failed; want %s with %d", s.Verdict, s.Reason, fails, c.verdict, c.fails)
			}
			table := tableOf(t, filepath.Join(dir, "ip8830-wifi", filepath.Base(s.Folder), capture.JournalFile))
			var row []string
			for line := range strings.Lines(table) {
				row = append(row, strings.TrimSpace(line[44:])) // behind the point's name
			}
			if got := strings.Join(row, ", "); !regexp.MustCompile(c.want).MatchString(got) {
				t.Errorf("the table is\n%s\nwant %s", table, c.want)
			}
		})
	}
}

// tableOf is the table of outcomes in a journal.
func tableOf(t *testing.T, path string) string {
	t.Helper()
	journal, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`"(outcomes of the sweep of (?:[^"\\]|\\.)*)"`).FindSubmatch(journal)
	if found == nil {
		t.Fatalf("%s holds no table of outcomes", path)
	}
	var text string
	if err := json.Unmarshal([]byte(`"`+string(found[1])+`"`), &text); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(text, ":\n")
	return table
}

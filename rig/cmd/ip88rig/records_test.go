package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/bench"
	"ip88rig/rig/report"
	"ip88rig/scenarios"
)

const known = `- requirement: XPT-01
  model: "*"
  firmware: "*"
  reason: it looks elsewhere
  link: LAB-1
  expires: 2020-01-31
`

// usageOf is the error with which "ip88rig run" refuses its arguments.
func usageOf(t *testing.T, c *runCmd) string {
	t.Helper()
	c.Out, c.Filter = filepath.Join(t.TempDir(), "out"), "no spec has this in its text"
	err := c.Run(t.Context())
	var exit exitError
	if !errors.As(err, &exit) || exit.code != report.ExitUsage {
		t.Fatalf("got %v, want exit code 2", err)
	}
	return exit.Error()
}

func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAMistakeInRecordsOrDeviationsStopsTheRunBeforeItBegins(t *testing.T) {
	dir := t.TempDir()
	damaged := t.TempDir()
	put(t, damaged, "simulated-ip8830-wired-1.2.38.txt", "# fine\nXPT-07 | tftp | server\n")
	for name, c := range map[string]struct {
		cmd  runCmd
		want string
	}{
		"no such file of deviations":       {runCmd{Deviations: filepath.Join(dir, "none.yaml")}, "none.yaml"},
		"a row that there is not":          {runCmd{Deviations: put(t, dir, "bad.yaml", strings.Replace(known, "XPT-01", "XPT-99", 1))}, `bad.yaml:1: requirement: there is no row "XPT-99"`},
		"a record that cannot be read":     {runCmd{GoldenRecords: damaged}, "simulated-ip8830-wired-1.2.38.txt:2: 3 fields"},
		"the program's own to be written":  {runCmd{UpdateGolden: true}, "say where with --golden-records"},
		"a defect to be taken for golden":  {runCmd{UpdateGolden: true, GoldenRecords: dir, Defect: "reboots-at-once"}, "is not golden"},
		"nothing wrong but for the filter": {runCmd{GoldenRecords: dir, UpdateGolden: true, Deviations: put(t, dir, "known.yaml", known)}, "no spec has that in its text"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := usageOf(t, &c.cmd); !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestALaneIsToldOfRecordsAndDeviations(t *testing.T) {
	args := (&laneCmd{GoldenRecords: "/lab/golden", Deviations: "/lab/known.yaml"}).args()
	for _, want := range []string{"--golden-records=/lab/golden", "--deviations=/lab/known.yaml"} {
		if !slices.Contains(args, want) {
			t.Errorf("%s is missing in %q", want, args)
		}
	}
	dir := t.TempDir()
	put(t, dir, "simulated-ip8830-wired-1.2.38.txt", "XPT-07 | tftp | - | server | 150\n")
	b, err := loadBenchWith("", dir, put(t, dir, "known.yaml", known))
	if err != nil {
		t.Fatal(err)
	}
	h, _ := b.Handset("ip8830")
	record, err := loadRecord(b, h)
	if err != nil || record == nil {
		t.Errorf("got record %v, %v", record, err)
	}
	list, err := loadDeviations(b)
	if err != nil || len(list) != 1 {
		t.Errorf("got deviations %v, %v", list, err)
	}
}

func TestARunWritesWhatItHasMeasuredIntoTheRecords(t *testing.T) {
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	b.GoldenRecords = t.TempDir()
	var out bytes.Buffer
	p := &parent{bench: b, terminal: &terminal{out: &out}}
	measured := func(v string) report.Handset {
		return report.Handset{Specs: []report.Spec{{Judgements: []report.Judgement{{
			Row: "XPT-07", Transport: "tftp", Verdict: report.Skip, Measured: []report.Value{{Name: "server", Value: v}},
		}}}}}
	}
	handsets := b.Handsets[:3]
	run := report.Run{Interrupted: true, Handsets: []report.Handset{measured("150"), measured("66"), {}}}
	if err := p.updateGolden(handsets, run); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(b.GoldenRecords); err != nil || len(entries) != 0 || !strings.Contains(out.String(), "interrupted") {
		t.Errorf("an interrupted run wrote %v (%v)\n%s", entries, err, &out)
	}
	run.Interrupted = false
	out.Reset()
	if err := p.updateGolden(handsets, run); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"simulated-ip8820-wired-1.2.38.txt": "XPT-07 | tftp | - | server | 150\n", "simulated-ip8830-wired-1.2.38.txt": "XPT-07 | tftp | - | server | 66\n"} {
		data, err := os.ReadFile(filepath.Join(b.GoldenRecords, name))
		if err != nil || !strings.HasSuffix(string(data), want) {
			t.Errorf("%s: %v\n%s", name, err, data)
		}
		if !strings.Contains(out.String(), "golden record "+name) || !strings.Contains(out.String(), "\n  + "+want) {
			t.Errorf("not said: %s %s in\n%s", name, want, &out)
		}
	}
	if entries, err := os.ReadDir(b.GoldenRecords); err != nil || len(entries) != 2 {
		t.Errorf("got %v, %v", entries, err)
	}
	out.Reset()
	if err := p.updateGolden(handsets, run); err != nil || strings.Count(out.String(), "nothing changes") != 2 {
		t.Errorf("the second time: %v\n%s", err, &out)
	}
}

func TestAFilterIsRememberedByTheRowsThatItLeavesOut(t *testing.T) {
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	h := b.Handsets[0]
	rows := func(filter, labels string) []string {
		c := runCmd{Filter: filter, LabelFilter: labels}
		return filteredRows(c.selects(b, h))
	}
	if got := rows("", ""); got != nil {
		t.Errorf("no filter leaves out %v", got)
	}
	if got := rows("CFG-11", ""); slices.Contains(got, "CFG-11") || !slices.Contains(got, "CFG-01") {
		t.Errorf("CFG-11 leaves out %v", got)
	}
	if got := rows("CFG-11.*tftp|tftp.*CFG-11", ""); !slices.Contains(got, "CFG-11") {
		t.Errorf("CFG-11 over TFTP alone leaves out %v", got)
	}
	if got := rows("", "CFG-11 && transport: isSubsetOf {tftp, http, https}"); slices.Contains(got, "CFG-11") || !slices.Contains(got, "CFG-01") {
		t.Errorf("the label CFG-11 leaves out %v", got)
	}
	if got := rows("", "CFG-11 && transport:tftp"); !slices.Contains(got, "CFG-11") {
		t.Errorf("the labels CFG-11 and transport:tftp leave out %v", got)
	}
	err = (scenarios.Options{LabelFilter: "RBT-04 &&"}).Check()
	if err == nil || err.Error() != `label-filter "RBT-04 &&": unexpected eof` {
		t.Errorf("half a label filter: %v", err)
	}
}

func TestACheckTellsWhatHasExpired(t *testing.T) {
	dir := t.TempDir()
	path := put(t, dir, "lab.yaml", "wire: {memory: true}\ndeviations: known.yaml\nhandsets: [{name: desk, model: IP8830, mac: '00:00:5e:00:53:01', simulated: true}]\n")
	if _, err := bench.Load(path); err == nil {
		t.Error("a file of deviations that is not there was taken")
	}
	put(t, dir, "known.yaml", known)
	b, err := bench.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	list, err := loadDeviations(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := expired(b, list, list[0].Expires); got != "" {
		t.Errorf("on its last day: %q", got)
	}
	if got, want := expired(b, list, list[0].Expires.AddDate(0, 0, 1)), filepath.Join(dir, "known.yaml")+":1: XPT-01 of every model with any software: expired on 2020-01-31"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheFullestRunLeavesNothingOut(t *testing.T) {
	for _, c := range []struct {
		name string
		cmd  runCmd
		want bool
	}{
		{"as it is", runCmd{}, true},
		{"to the full", runCmd{Depth: "full"}, true},
		{"for a night", runCmd{Depth: "night"}, false},
		{"some rows", runCmd{Filter: "XPT"}, false},
		{"some values of each sweep", runCmd{Depth: "full", Points: 3}, false},
		{"with a defect", runCmd{Defect: "reboots-at-once"}, false},
	} {
		if got := c.cmd.leavesNothingOut(); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

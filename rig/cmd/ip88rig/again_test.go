package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/bench"
)

// TestTheCommandThatRunsAgainSurvivesAnyName has a shell read the command.
func TestTheCommandThatRunsAgainSurvivesAnyName(t *testing.T) {
	const nasty = `it's $(a) "lab"; & %s` + "`x`"
	p := &parent{cmd: &runCmd{Bench: nasty, Whole: nasty, GoldenRecords: nasty, Deviations: nasty, Defect: nasty, Seed: 1}}
	line := fmt.Sprintf(p.rerun(bench.Handset{Name: nasty}), "x")
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "printf '%s\\n' "+line).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	want := []string{
		"ip88rig", "run", "--bench", nasty, "--handset", nasty, "--seed", "1", "--defect", nasty, "--whole", nasty,
		"--golden-records", nasty, "--deviations", nasty, "--filter", "x",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the shell reads\n%q, want\n%q", got, want)
	}
}

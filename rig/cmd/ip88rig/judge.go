package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"ip88rig/rig/report"
	"ip88rig/scenarios"
)

type judgeCmd struct {
	Folder string `arg:"" name:"run" help:"Folder of a run, a handset or one spec (out/latest)." type:"existingdir"`
}

// Help is what "ip88rig judge --help" shows beside the flags.
func (*judgeCmd) Help() string {
	return `Rebuilds each timeline from capture.pcapng and journal.jsonl alone and judges
every window and matcher again. Where run.json is there, it must say the same of
each recording, and all files must have the bytes that it seals.

Example:
  ip88rig judge out/latest

Exit codes: 0, 2 the folder cannot be read, 3 it holds no judgement, 4 the evidence
does not hold: a verdict differs, something is missing or was changed.`
}

// Run judges again, offline.
func (c *judgeCmd) Run() error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200) // it holds little at a time
	}
	got, err := scenarios.RejudgeRun(c.Folder)
	if err != nil {
		return exitError{report.ExitUsage, fmt.Errorf("judge: %w", err)}
	}
	different := 0
	for _, a := range got.Judgements {
		if !a.Same() {
			different++
			fmt.Printf("%s: %s %s was %s, is %s: %s\n", a.Folder, a.Row, a.Case, a.Was, a.Is, a.Why)
		}
	}
	for _, p := range got.Problems {
		fmt.Println(p)
	}
	if got.Unsealed {
		fmt.Println("bytes not sealed: the run is one of before")
	}
	fmt.Printf("%d recordings, %d judgements made again, %d different\n", got.Recordings, len(got.Judgements), different)
	switch {
	case different > 0 || len(got.Problems) > 0:
		return exitError{code: report.ExitEvidence}
	case len(got.Judgements) == 0:
		return exitError{report.ExitInconclusive, fmt.Errorf("%s holds no judgement", c.Folder)}
	}
	return nil
}

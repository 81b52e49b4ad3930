package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
	"ip88rig/rig/bench"
	"ip88rig/rig/model"
	"ip88rig/rig/pipe"
	"ip88rig/rig/report"
	"ip88rig/rig/vtime"
	"ip88rig/scenarios"
)

// operated is a bench whose one handset is powered by the person at the terminal.
const operated = "wire: {memory: true}\nhandsets:\n  - {name: desk, model: IP8830, simulated: true, mac: 00:00:5e:00:53:30, power: {kind: operator}}\n"

// left is run.json of the one run below a folder.
func left(t *testing.T, out string) report.Run {
	t.Helper()
	run, err := report.Read(filepath.Join(out, "latest", "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Handsets) != 1 {
		t.Fatalf("%d handsets", len(run.Handsets))
	}
	return run
}

// TestHowARunEnds is one test, so that the command is built once.
func TestHowARunEnds(t *testing.T) {
	path := binary(t)
	t.Run("an interrupt ends a question that nobody answers", func(t *testing.T) { interruptedQuestion(t, path) })
	t.Run("a second interrupt kills", func(t *testing.T) { secondInterrupt(t, path) })
	t.Run("a lane that is killed leaves nothing without power", func(t *testing.T) { killedLane(t, path) })
	t.Run("judging again holds run.json against the recordings", func(t *testing.T) { judgedAgain(t, path) })
	t.Run("every edit of the evidence is found", func(t *testing.T) { editsAreFound(t, path) })
	t.Run("a run of another rig may differ, and real time is not virtual time", func(t *testing.T) { anotherRig(t, path) })
	t.Run("a lane ends where nobody can answer", func(t *testing.T) { nobodyThere(t, path) })
}

func interruptedQuestion(t *testing.T, path string) {
	t.Helper()
	out := t.TempDir()
	p := start(t, bare, path, "run", "--bench", write(t, "lab.yaml", operated), "--out", out)
	p.out.await(t, "press Enter when it is done")
	from := time.Now()
	if code := p.stop(); code != report.ExitInterrupted {
		t.Errorf("exit code %d, want %d\n%s", code, report.ExitInterrupted, p.out)
	}
	if took := time.Since(from); took > 15*time.Second {
		t.Errorf("it took %s to end", took)
	}
	if run := left(t, out); !run.Interrupted || run.Handsets[0].Left == "" {
		t.Errorf("run.json says interrupted %t, left at golden unless %q", run.Interrupted, run.Handsets[0].Left)
	}
	if !strings.Contains(p.out.String(), "see that desk has its power") {
		t.Errorf("nobody is told to give the power back:\n%s", p.out)
	}
}

func anotherRig(t *testing.T, path string) {
	t.Helper()
	out := t.TempDir()
	said, err := exec.CommandContext(t.Context(), path, "run", "--handset", "ip8830", "--filter", "XPT-01", "--seed", "7", "--rig", "0123abc", "--out", out).CombinedOutput()
	if code := exitCode(err); code != 0 {
		t.Errorf("exit code %d\n%s", code, said)
	}
	if !strings.Contains(string(said), "made by rig 0123abc") || !strings.Contains(string(said), "may differ") {
		t.Errorf("nobody is told that the rig is another:\n%s", said)
	}
	run := left(t, out)
	if !run.VirtualStart.Equal(vtime.Start(7)) || time.Since(run.Started) > time.Hour || time.Since(run.Started) < 0 {
		t.Errorf("started %s, virtual time began %s", run.Started, run.VirtualStart)
	}
	if h := run.Handsets[0]; h.VirtualTook < 10*time.Second || run.Took <= 0 || !strings.Contains(h.Specs[0].Rerun, "--seed 7 --rig '") {
		t.Errorf("took %s, %s of virtual time; again: %s", run.Took, h.VirtualTook, h.Specs[0].Rerun)
	}
}

func nobodyThere(t *testing.T, path string) {
	t.Helper()
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), path, "run", "--bench", write(t, "lab.yaml", operated), "--out", out)
	said, err := cmd.CombinedOutput() // its input is /dev/null
	if code := exitCode(err); code != report.ExitInconclusive {
		t.Errorf("exit code %d, want %d\n%s", code, report.ExitInconclusive, said)
	}
	h := left(t, out).Handsets[0]
	if !strings.Contains(h.Died, "nobody answers at the terminal") {
		t.Errorf("died of %q", h.Died)
	}
	if n := strings.Count(string(said), ">>> press Enter"); n != 1 || len(h.Specs) > 1 {
		t.Errorf("%d questions to nobody, %d specs", n, len(h.Specs))
	}
}

func secondInterrupt(t *testing.T, path string) {
	t.Helper()
	// The parent waits for a lane that does not end: it is stopped.
	p := start(t, bare, path, "run", "--bench", write(t, "lab.yaml", operated), "--out", t.TempDir())
	p.out.await(t, "press Enter when it is done")
	lane := p.child(t)
	if err := syscall.Kill(lane, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(lane, syscall.SIGKILL) }()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.out.await(t, "(no longer asked)")
	from := time.Now()
	// Again and again: how soon the program has heard the first one is its own affair.
	// Ends with the program.
	go func() {
		for p.cmd.Process.Signal(os.Interrupt) == nil {
			<-time.After(100 * time.Millisecond)
		}
	}()
	p.stop()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("%s after %s, want it killed by the second interrupt", p.cmd.ProcessState, time.Since(from))
	}
}

func killedLane(t *testing.T, path string) {
	t.Helper()
	out := t.TempDir()
	did := filepath.Join(out, "did")
	// The hook of a slow outlet: the lane dies while it is off.
	lab := write(t, "lab.yaml", "wire: {memory: true}\nhandsets:\n  - name: desk\n    model: IP8830\n    simulated: true\n    mac: 00:00:5e:00:53:30\n"+
		"    power: {kind: command, on: 'echo on >> "+did+"', off: 'echo off >> "+did+"; exec sleep 3'}\n")
	p := start(t, bare, path, "run", "--bench", lab, "--out", out)
	p.out.await(t, "in virtual time")
	state := func() string {
		data, err := os.ReadFile(did)
		lines := strings.Fields(string(data))
		if err != nil || len(lines) == 0 {
			return ""
		}
		return lines[len(lines)-1]
	}
	limit := time.Now().Add(30 * time.Second)
	for state() != "off" {
		if time.Now().After(limit) {
			t.Fatalf("no power was cut:\n%s", p.out)
		}
		<-time.After(5 * time.Millisecond)
	}
	if err := syscall.Kill(p.child(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); exitCode(err) != report.ExitInconclusive {
		t.Errorf("it ends with %v, want exit code %d\n%s", err, report.ExitInconclusive, p.out)
	}
	if got := state(); got != "on" {
		t.Errorf("the handset is left %s", got)
	}
	h := left(t, out).Handsets[0]
	if h.Died == "" || !strings.Contains(h.Left, "the lane died") {
		t.Errorf("died of %q, left at golden unless %q", h.Died, h.Left)
	}
	if kept := readState(strings.TrimSuffix(lab, ".yaml") + ".state"); kept["desk"] != h.Left {
		t.Errorf("the next run is told %q, want %q", kept["desk"], h.Left)
	}
}

func TestThePlanCountsWhatHandsDo(t *testing.T) {
	phone := bench.Handset{Power: bench.Power{Kind: "command"}, Patience: model.DefaultPatience()}
	byHand, simulated := phone, phone
	byHand.Power.Kind, simulated.Simulated = "operator", true
	plan := pipe.Plan{Specs: 0, Power: 2, Hands: 3}
	for _, tt := range []struct {
		name    string
		handset bench.Handset
		want    string
	}{
		{"hands at a phone", phone, "about 5m50s; a person must act about 3 times"},
		{"hands and power", byHand, "about 9m50s; a person must act about 7 times"},
		{"a script", simulated, "about 0s"},
	} {
		if got := planText(bench.Bench{}, tt.handset, plan); !strings.HasSuffix(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := planText(bench.Bench{Wire: bench.Wire{Memory: true}}, simulated, plan); !strings.HasSuffix(got, "in virtual time") {
		t.Errorf("in memory: %q", got)
	}
}

func judgedAgain(t *testing.T, path string) {
	t.Helper()
	out := t.TempDir()
	said, err := exec.CommandContext(t.Context(), path, "run", "--handset", "ip8830", "--filter", "ORD-01.*over tftp|over tftp.*ORD-01", "--out", out, "--seed", "1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	whole, err := filepath.EvalSymlinks(filepath.Join(out, "latest"))
	if err != nil {
		t.Fatal(err)
	}
	first := func(r *report.Run) *report.Spec {
		for i := range r.Handsets[0].Specs {
			if s := &r.Handsets[0].Specs[i]; s.Verdict == report.Pass {
				return s
			}
		}
		t.Fatalf("nothing passed:\n%s", said)
		return nil
	}
	doubt := func(reason string) func(*report.Run, string) {
		return func(r *report.Run, _ string) {
			s := first(r)
			s.Verdict = report.Inconclusive
			for i := range s.Judgements {
				s.Judgements[i].Verdict, s.Judgements[i].Reason = report.Inconclusive, "inconclusive: "+reason
			}
		}
	}
	journal := func(t *testing.T, folder string, change func(string) string) {
		t.Helper()
		file := filepath.Join(folder, capture.JournalFile)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(change(string(data))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		change    func(r *report.Run, folder string)
		different bool
		problem   string
	}{
		"nothing":                 {change: func(*report.Run, string) {}},
		"a verdict":               {change: func(r *report.Run, _ string) { first(r).Judgements[0].Verdict = report.Fail }, different: true},
		"a row":                   {change: func(r *report.Run, _ string) { first(r).Judgements[0].Row = "ORD-99" }, different: true},
		"a case":                  {change: func(r *report.Run, _ string) { first(r).Judgements[0].Case = "another" }, different: true},
		"a judgement is not told": {change: func(r *report.Run, _ string) { first(r).Judgements = first(r).Judgements[1:] }, different: true},
		"a judgement is told twice": {change: func(r *report.Run, _ string) {
			first(r).Judgements = append(first(r).Judgements, first(r).Judgements[0])
		}, different: true},
		"a recording is gone": {change: func(_ *report.Run, folder string) {
			if err := os.RemoveAll(folder); err != nil {
				t.Fatal(err)
			}
		}, problem: "it is not there"},
		"the recording does not bear out that it is inconclusive": {change: doubt("the witnesses disagree: so they say"), different: true},
		"inconclusive, for what only the rig could know":          {change: doubt("tftpd died: of it")},
		"inconclusive, as the recording tells": {change: func(r *report.Run, folder string) {
			doubt("stranger 00:00:5e:00:53:99")(r, folder)
			journal(t, folder, func(text string) string {
				end := strings.LastIndex(strings.TrimSpace(text), "\n") + 1
				at := regexp.MustCompile(`"at":"[^"]*","after":[0-9]+`).FindString(text[end:])
				return text[:end] + "{" + at + `,"by":"dhcpd","kind":"stranger"}` + "\n" + text[end:]
			})
		}},
		"inconclusive, for a server that the handset asked": {change: func(r *report.Run, folder string) {
			tl, err := capture.Load(folder)
			if err != nil {
				t.Fatal(err)
			}
			asked := ""
			for _, e := range tl.Events() {
				if server := e.Fields["dhcp.option.dhcp_server_id"]; server != "" && e.Kind == timeline.DHCPRequest {
					asked = fmt.Sprintf("the handset takes the offer of another DHCP server, %s (frame %d)", server, e.Frame)
				}
			}
			if asked == "" {
				t.Fatal("the handset selects no server")
			}
			doubt(asked)(r, folder)
		}},
		"inconclusive for a server that it never asked": {change: doubt("the handset takes the offer of another DHCP server, 192.0.2.9 (frame 3)"), different: true},
		"inconclusive for a stranger that is nowhere":   {change: doubt("stranger 00:00:5e:00:53:99"), different: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			r, err := report.Read(filepath.Join(dir, "run.json"))
			if err != nil {
				t.Fatal(err)
			}
			folder := filepath.Join(dir, "ip8830", filepath.Base(first(&r).Folder))
			tt.change(&r, folder)
			// Whoever forges evidence makes its seals anew.
			if r.Files, err = report.HashFiles(dir); err != nil {
				t.Fatal(err)
			}
			if err := r.Write(dir); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(t.TempDir(), "latest")
			if err := os.Symlink(dir, link); err != nil {
				t.Fatal(err)
			}
			for _, given := range []string{dir, link, filepath.Dir(folder), folder} {
				if given == folder && tt.problem != "" {
					continue
				}
				got, err := scenarios.RejudgeRun(given)
				if err != nil || got.Recordings == 0 {
					t.Fatalf("%s: %d recordings, %v", given, got.Recordings, err)
				}
				different := 0
				for _, a := range got.Judgements {
					if !a.Same() {
						different++
					}
				}
				if (different > 0) != tt.different || strings.Contains(strings.Join(got.Problems, " "), "it is not there") != (tt.problem != "") {
					t.Errorf("%s: %d different of %+v, problems %q", given, different, got.Judgements, got.Problems)
				}
				if given == folder {
					continue
				}
				code := exitCode(exec.CommandContext(t.Context(), path, "judge", given).Run())
				if bad := tt.different || tt.problem != ""; bad != (code == report.ExitEvidence) || !bad != (code == 0) {
					t.Errorf("judge %s: exit code %d", given, code)
				}
			}
		})
	}
}

//go:build linux && interop

package interop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
	"ip88rig/rig/report"
)

// judge runs ip88rig judge and returns what it counted and its exit code.
func judge(t *testing.T, bin, dir string) (recordings, again, different, code int, text string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), bin, "judge", dir).CombinedOutput()
	code = exitCode(t, err)
	text = string(out)
	for line := range strings.Lines(text) {
		if n, _ := fmt.Sscanf(line, "%d recordings, %d judgements made again, %d different", &recordings, &again, &different); n == 3 {
			return recordings, again, different, code, text
		}
	}
	t.Fatalf("ip88rig judge %s: exit code %d, and no count in\n%s", dir, code, text)
	return 0, 0, 0, 0, ""
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// judgeRun has a second process judge a run: it must come to what run.json says,
// for as many judgements.
func judgeRun(t *testing.T, bin, dir string) {
	t.Helper()
	run, err := report.Read(filepath.Join(dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	recorded, again, different, code, text := judge(t, bin, dir)
	if code != 0 || different != 0 {
		t.Errorf("judge: exit code %d\n%s", code, text)
	}
	var made, settled, total int
	for _, h := range run.Handsets {
		for _, s := range h.Specs {
			if s.Folder == "" || s.Verdict == report.Skip {
				continue
			}
			folder := filepath.Join(dir, h.Name, filepath.Base(s.Folder))
			made += len(s.Judgements)
			total++
			settled += sameAsJournal(t, folder, s)
		}
	}
	if total == 0 || settled == 0 {
		t.Errorf("%d recordings with %d verdicts: nothing was judged", total, settled)
	}
	if again != settled {
		t.Errorf("%d judgements made again, run.json holds %d that a matcher made", again, settled)
	}
	// A run is named by its link, as in the help: "ip88rig judge out/latest".
	link := filepath.Join(t.TempDir(), "latest")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if _, n, _, code, _ := judge(t, bin, link); n != again || code != 0 {
		t.Errorf("judge of a link to the run: exit code %d, %d judgements made again, want 0, %d", code, n, again)
	}
	t.Logf("%d recordings: %d judgements made again, %d different; run.json holds %d, %d of them by a matcher", recorded, again, different, made, settled)
}

// sameAsJournal checks that run.json says what the journal of a spec says, and
// returns how many judgements of it a matcher made.
func sameAsJournal(t *testing.T, folder string, s report.Spec) (settled int) {
	t.Helper()
	var journal, summary []string
	err := capture.LoadEvents(folder, func(e timeline.Event) error {
		if e.Kind == timeline.Judgement {
			journal = append(journal, strings.Join([]string{e.Message, e.Fields["case"], e.Fields["matcher"], e.Fields["verdict"]}, "|"))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, j := range s.Judgements {
		if j.Matcher != "" {
			settled++
			summary = append(summary, strings.Join([]string{j.Row, j.Case, j.Matcher, string(j.Verdict)}, "|"))
		}
	}
	// The rig's own trouble makes a whole spec inconclusive afterwards.
	if s.Verdict != report.Inconclusive && !slices.Equal(journal, summary) {
		t.Errorf("%s: the journal holds %q, run.json %q", folder, journal, summary)
	}
	return settled
}

// judgeChanged changes one thing at a time in the evidence of one spec.
func judgeChanged(t *testing.T, bin, dir string) {
	t.Helper()
	run, err := report.Read(filepath.Join(dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range run.Handsets {
		for _, s := range h.Specs {
			if slices.Contains(s.Rows, "ORD-01") && s.Transport == string(timeline.TFTP) && s.Verdict == report.Pass {
				changeOne(t, bin, filepath.Join(dir, h.Name, filepath.Base(s.Folder)))
				return
			}
		}
	}
	if run.Filter != "" {
		t.Skip("part of a run, without ORD-01 over TFTP")
	}
	t.Fatal("no spec over TFTP passed ORD-01")
}

func changeOne(t *testing.T, bin, folder string) {
	t.Helper()
	global := regexp.MustCompile(`\x00\x01sysconf_88[234]0_sip\.cfg\x00`)
	edit := func(name string, change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			path := filepath.Join(dir, name)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			after := change(slices.Clone(before))
			if bytes.Equal(before, after) {
				t.Fatalf("%s holds nothing to change", name)
			}
			if err := os.WriteFile(path, after, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*testing.T, string)
		code   int
		says   string
	}{
		"nothing": {change: func(*testing.T, string) {}},
		"the RRQ asks for another file": {
			change: edit(capture.CaptureFile, func(b []byte) []byte {
				return global.ReplaceAll(b, []byte("\x00\x01sysconf_9999_sip.cfg\x00"))
			}),
			code: report.ExitEvidence, says: "ORD-01  was pass, is ",
		},
		"the frame of the RRQ is gone": {
			change: dropRRQ, code: report.ExitEvidence, says: "ORD-01  was pass, is ",
		},
		"the verdict is another": {
			change: edit(capture.JournalFile, func(b []byte) []byte {
				return bytes.Replace(b, []byte(`"verdict":"pass"`), []byte(`"verdict":"fail"`), 1)
			}),
			code: report.ExitEvidence, says: "ORD-01  was fail, is pass",
		},
	} {
		t.Run("changed "+name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spec")
			if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
				t.Fatal(err)
			}
			c.change(t, dir)
			_, again, _, code, text := judge(t, bin, dir)
			if code != c.code || again == 0 || !strings.Contains(text, c.says) {
				t.Errorf("exit code %d with %d judgements, want %d and %q in\n%s", code, again, c.code, c.says, text)
			}
		})
	}
	// The comparison with tshark notices one frame, too.
	t.Run("changed the capture alone", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "spec")
		if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
			t.Fatal(err)
		}
		dropRRQ(t, dir)
		our, err := ours(folder)
		if err != nil {
			t.Fatal(err)
		}
		their, err := theirs(t.Context(), filepath.Join(dir, capture.CaptureFile))
		if err != nil {
			t.Fatal(err)
		}
		if difference(tftpPackets, their[tftpPackets], our[tftpPackets]) == "" {
			t.Error("a capture without its first RRQ lists the same")
		}
	})
}

// dropRRQ takes the first RRQ's frame out of a recording's capture.
func dropRRQ(t *testing.T, dir string) {
	t.Helper()
	frame := 0
	err := capture.LoadEvents(dir, func(e timeline.Event) error {
		if e.Kind == timeline.TFTPRead && frame == 0 {
			frame = e.Frame
		}
		return nil
	})
	if err != nil || frame == 0 {
		t.Fatalf("%s: no RRQ, %v", dir, err)
	}
	path := filepath.Join(dir, capture.CaptureFile)
	if out, err := exec.CommandContext(t.Context(), "editcap", path, path+".new", strconv.Itoa(frame)).CombinedOutput(); err != nil {
		t.Fatalf("editcap: %v: %s", err, out)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// judgeDefective runs specs against a handset with a defect: what failed fails
// again.
func judgeDefective(t *testing.T, bin string) {
	t.Helper()
	out := t.TempDir()
	text, err := exec.CommandContext(t.Context(), bin, "run", "--handset", "ip8830", "--defect", "accepts-expired", "--filter", "TLS-04", "--out", out, "--seed", "1").CombinedOutput()
	if code := exitCode(t, err); code != report.ExitFailed {
		t.Fatalf("exit code %d, want %d\n%s", code, report.ExitFailed, text)
	}
	run, err := report.Read(filepath.Join(out, "latest", "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, judgements := run.Counts(); judgements[report.Fail] == 0 {
		t.Errorf("nothing failed:\n%s", text)
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(out, "latest"))
	if err != nil {
		t.Fatal(err)
	}
	judgeRun(t, bin, dir)
}

// broken is a run that will be broken off.
type broken struct {
	t    *testing.T
	cmd  *exec.Cmd
	dir  string
	out  *bufio.Reader
	text strings.Builder
}

// begin starts a run of handsets, among them an IP8830, and returns when some specs
// are done.
func begin(ctx context.Context, t *testing.T, bin, handsets string, specs int) *broken {
	t.Helper()
	folder := t.TempDir()
	b := &broken{t: t, cmd: exec.CommandContext(ctx, bin, "run", "--handset", handsets, "--out", folder, "--seed", "1")}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	b.out = bufio.NewReader(pipe)
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for done := 0; done < specs; {
		line, err := b.out.ReadString('\n')
		b.text.WriteString(line)
		if err != nil {
			t.Fatalf("ip88rig run: %v after\n%s", err, &b.text)
		}
		if strings.Contains(line, "  pass  ") {
			done++
		}
	}
	all, err := filepath.Glob(filepath.Join(folder, "*", "ip8830"))
	if err != nil || len(all) != 1 {
		t.Fatalf("run folders %q, %v", all, err)
	}
	b.dir = filepath.Dir(all[0])
	return b
}

// end waits for the run and returns its exit code and run.json.
func (b *broken) end() (int, report.Run) {
	b.t.Helper()
	rest, err := io.ReadAll(b.out)
	if err != nil {
		b.t.Fatal(err)
	}
	b.text.Write(rest)
	code := exitCode(b.t, b.cmd.Wait())
	run, err := report.Read(filepath.Join(b.dir, "run.json"))
	if err != nil {
		b.t.Fatal(err)
	}
	return code, run
}

// lanes are the processes of the run's handsets.
func (b *broken) lanes(want int) []int {
	b.t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", b.cmd.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	var lanes []int
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // a thread that has ended
		}
		for word := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				b.t.Fatal(err)
			}
			lanes = append(lanes, pid)
		}
	}
	if len(lanes) != want {
		b.t.Fatalf("the run has the processes %v, want %d lanes", lanes, want)
	}
	return lanes
}

// open returns the folder of a spec whose recording is open and holds something,
// blank without one.
func (b *broken) open() string {
	captures, err := filepath.Glob(filepath.Join(b.dir, "ip8830", "*", capture.CaptureFile))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, path := range captures {
		dir := filepath.Dir(path)
		_, err := os.Stat(filepath.Join(dir, "timeline.txt"))
		const something = 4 << 10
		if info, statErr := os.Stat(path); errors.Is(err, os.ErrNotExist) && statErr == nil && info.Size() > something {
			return dir
		}
	}
	return ""
}

// killed stops a lane with SIGKILL in the middle of a recording.
func killed(t *testing.T, bin string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := begin(ctx, t, bin, "ip8830", 3)
	lane := b.lanes(1)[0]
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(lane, s); err != nil {
			t.Fatalf("lane %d: %v: %v", lane, s, err)
		}
	}
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	victim := ""
	for victim == "" {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no recording was open for long enough")
		}
		if b.open() == "" {
			continue
		}
		signal(syscall.SIGSTOP)
		if victim = b.open(); victim == "" { // it was closed meanwhile
			signal(syscall.SIGCONT)
		}
	}
	signal(syscall.SIGKILL)
	code, run := b.end()
	if code != report.ExitInconclusive || run.Handsets[0].Died == "" {
		t.Errorf("exit code %d, want %d; died of %q", code, report.ExitInconclusive, run.Handsets[0].Died)
	}
	cable, all, err := frames(filepath.Join(victim, capture.CaptureFile))
	if err != nil && !errors.Is(err, capture.ErrTruncated) {
		t.Error(err)
	}
	if cable == 0 {
		t.Error("no frame in the recording that was open")
	}
	var last int
	tl, err := capture.Load(victim)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range tl.Events() {
		last = max(last, e.Frame)
		if e.Kind == timeline.FramesLost {
			t.Logf("the recording says: %s", e.Reason)
		}
	}
	if last == 0 || last > all {
		t.Errorf("events up to frame %d, the capture holds %d", last, all)
	}
	t.Logf("killed in %s after frame %d: events up to frame %d", filepath.Base(victim), all, last)
	b.readable(bin, victim)
}

// interrupted sends SIGINT to a run, as Ctrl-C does.
func interrupted(t *testing.T, bin string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b := begin(ctx, t, bin, "ip8830,ip8840", 3)
	lanes := b.lanes(2)
	began := time.Now()
	if err := b.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	code, run := b.end()
	t.Logf("ended %s after the interrupt", time.Since(began).Round(10*time.Millisecond))
	if code != report.ExitInterrupted || !run.Interrupted {
		t.Errorf("exit code %d, interrupted %v in run.json; want %d, true", code, run.Interrupted, report.ExitInterrupted)
	}
	for _, lane := range lanes {
		if err := syscall.Kill(lane, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("lane %d is still there (%v)", lane, err)
		}
	}
	b.readable(bin, "")
}

// readable checks every recording of a run that was broken off, and judges it
// again. In victim the secrets still stand beside the capture.
func (b *broken) readable(bin, victim string) {
	b.t.Helper()
	folders := recordings(b.t, b.dir)
	listed := 0
	for _, folder := range folders {
		var more []string
		if keys := filepath.Join(folder, "keys.log"); folder == victim {
			if _, err := os.Stat(keys); err == nil {
				more = []string{"-o", "tls.keylog_file:" + keys}
			}
		}
		their, _, problems := compare(b.t.Context(), folder, more...)
		for _, p := range problems {
			b.t.Errorf("%s: %v", filepath.Base(folder), p)
		}
		for _, family := range families() {
			listed += len(their[family])
		}
		if _, err := capture.Load(folder); err != nil {
			b.t.Error(err)
		}
	}
	_, again, different, code, text := judge(b.t, bin, b.dir)
	if code != 0 || again == 0 || different != 0 || listed == 0 {
		b.t.Errorf("judge: exit code %d; tshark lists %d entries\n%s", code, listed, text)
	}
	b.t.Logf("%d recordings are readable, %d entries in them; %d judgements made again", len(folders), listed, again)
}

package scenarios_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/model"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios"
)

var (
	brokenBy = flag.String("sabotage", "", "a way to break the rig; set by TestABrokenRigFailsNoHandset for the processes that it starts")
	waits    = flag.String("waits", "", "the simulated handset's http-timeout; set by TestTheLongestSilenceIsTheHandsets for the processes that it starts")
)

// TestUnderSabotage is one lane of TestABrokenRigFailsNoHandset: Ginkgo runs one
// suite per process.
func TestUnderSabotage(t *testing.T) {
	if *brokenBy == "" || *out == "" {
		t.Skip("run by TestABrokenRigFailsNoHandset")
	}
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	h := handsetOf(t, b, cmp.Or(*handset, "ip8830"))
	set, err := defect.Parse(*defects)
	if err != nil {
		t.Fatal(err)
	}
	if *waits != "" {
		if h.Facts, err = h.Facts.Override(model.HTTPTimeout, *waits, "2026-11-22", "a test"); err != nil {
			t.Fatal(err)
		}
	}
	known, record := knownHere(t, b, h)
	how := sabotage(*brokenBy)
	authorities, err := rig.LoadAuthorities(filepath.Join(*out, "state"))
	if err != nil {
		t.Fatal(err)
	}
	run := inVirtualTime
	if how == starved { // as serve has it, where time does not wait for the rig
		run = func(f func()) { f() }
		h.Factor = 200
		h.Patience = h.Patience.Scale(h.Factor)
	}
	got, err := runSuite(context.WithoutCancel(t.Context()), run, rig.Config{Bench: b, Handset: h, Seed: *seed, Authorities: authorities, Defects: set}, &scenarios.Options{
		Folder: filepath.Join(*out, h.Name), Filter: *filter, Seed: *seed, OperatorMax: -1, Points: *points, Deviations: known, Golden: record,
	}, how)
	switch {
	case err != nil && len(got.Specs) == 0:
		t.Fatal(err)
	case err != nil:
		t.Log(err) // a broken rig may say so
	}
	if err := (report.Run{Bench: b.Name, Handsets: []report.Handset{got}}).Write(*out); err != nil {
		t.Fatal(err)
	}
}

// Quick specs, each of which stands on something of its own.
const (
	baseline = "provisions over TFTP"
	byURL    = "uses the URL of option 160.*over https"
	inClear  = "uses the URL of option 160.*over http \\["
	notified = "starts a cycle at NOTIFY check-sync when it is idle, over tftp"
	digest   = "with qop=auth, over http \\["
	changed  = "lets the phone-specific file overwrite the global one, over tftp"
	called   = "waits with the cycle until its call is over, over tftp"
	sealed   = "applies unencrypted files although a key is stored, over tftp"
	factory  = "has all three checks on from factory state"
	uploaded = "accepts an authority copied to it"
	byMenu   = "can have each check switched off by hand"
	faulty   = "takes no credentials along to another host, over http \\["
)

func TestABrokenRigFailsNoHandset(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a lane for each way to break the rig")
	}
	type outcome struct {
		specs []report.Spec
		err   error
	}
	var checks []func()
	type broken struct {
		how    sabotage
		filter string
		// want is the verdict, why a part of its reason.
		want   report.Verdict
		why    string
		defect defect.Name
		// before is a case that is judged before the given is taken away.
		before string
	}
	const inconclusive, blocked = report.Inconclusive, report.Blocked
	slots := make(chan struct{}, runtime.NumCPU())
	untried := sabotages()
	for _, c := range []broken{
		{how: "dhcpd-dies", filter: baseline, want: inconclusive, why: "dhcpd died"},
		{how: "tftpd-dies", filter: baseline, want: inconclusive, why: "tftpd died"},
		{how: "tftpd-dies", filter: baseline, want: inconclusive, why: "tftpd died", defect: defect.HTTPAtTFTPServer},
		{how: "httpd-dies", filter: inClear, want: inconclusive, why: "died: httpd"},
		{how: "httpsd-dies", filter: byURL, want: inconclusive, why: "died: httpd"},
		{how: "sntpd-dies", filter: baseline, want: inconclusive, why: "sntpd died"},
		{how: "dnsd-dies", filter: byURL, want: inconclusive, why: "dnsd died"},
		{how: "sipd-dies", filter: notified, want: inconclusive, why: "sipd died"},
		{how: "dhcpd-unsaid", filter: baseline, want: inconclusive, why: "dhcpd does not speak of it"},
		{how: "tftpd-unsaid", filter: baseline, want: inconclusive, why: "the witnesses disagree: TFTP transfer"},
		{how: "sntpd-unsaid", filter: baseline, want: inconclusive, why: "sntpd does not speak of it"},
		{how: "dnsd-unsaid", filter: byURL, want: inconclusive, why: "dnsd does not speak of it"},
		{how: "sipd-unsaid", filter: notified, want: inconclusive, why: "sipd does not speak of it"},
		{how: "httpd-request-unsaid", filter: byURL, want: inconclusive, why: "and not of the request"},
		{how: "httpd-request-unsaid", filter: inClear, want: inconclusive, why: "the witnesses disagree: HTTP request"},
		{how: "httpd-handshake-unsaid", filter: byURL, want: inconclusive, why: "the witnesses disagree: ClientHello"},
		{how: "tftpd-bytes-invented", filter: baseline, want: inconclusive, why: "bytes on the wire"},
		{how: "httpd-bytes-invented", filter: inClear, want: inconclusive, why: "bytes on the wire, "},
		{how: "httpd-bytes-invented", filter: byURL, want: inconclusive, why: "bytes on the wire to the handset"},
		{how: "httpd-request-invented", filter: inClear, want: inconclusive, why: "the witnesses disagree: HTTP request"},
		{how: "sntpd-answer-invented", filter: baseline, want: inconclusive, why: "the wire shows no request"},
		{how: "frames-dropped", filter: baseline, want: inconclusive, why: "frames were lost on the way in"},
		{how: "frames-dropped", filter: baseline, want: inconclusive, why: "frames were lost on the way in", defect: defect.HTTPAtTFTPServer},
		{how: "disk-full", filter: baseline, want: inconclusive, why: "the recording is not whole"},
		{how: "clock-stepped", filter: baseline, want: inconclusive, why: "the wall clock was set by"},
		{how: "clock-stepped", filter: baseline, want: inconclusive, why: "the wall clock was set by", defect: defect.HTTPAtTFTPServer},
		{how: "strange-dhcp-server", filter: baseline, want: inconclusive, why: "another DHCP server"},
		// What a handset did right it did although the rig was starved.
		{how: starved, filter: baseline, want: inconclusive, why: "starved of CPU", defect: defect.HTTPAtTFTPServer},
		{how: "faults-unheard", filter: faulty, want: inconclusive, why: "a declared fault never fired"},
		// What was judged as failed before the handset restarted stays so.
		{how: "restarted-between", filter: baseline, want: inconclusive, why: "it rebooted after the spec"},
		{how: "power-silent", filter: baseline, want: inconclusive, why: "the power port does not answer"},
		{how: "power-silent", filter: baseline, want: inconclusive, why: "the power port does not answer", defect: defect.HTTPAtTFTPServer},
		{how: "impatient-wait", filter: baseline, want: inconclusive, why: "the wait ended before its window closed"},
		{how: "call-silent", filter: called, want: inconclusive, why: "the call did not ring"},

		{how: "offer-withheld", filter: baseline, want: blocked, why: "lacks option"},
		{how: "offer-withheld", filter: baseline, want: blocked, why: "lacks option", defect: defect.HTTPAtTFTPServer},
		{how: "offer-wrong", filter: baseline, want: blocked, why: "option 66"},
		{how: "offer-silent", filter: baseline, want: blocked, why: "DISCOVER was never answered"},
		{how: "publish-missing", filter: baseline, want: blocked, why: "is published and was answered TFTP error 1"},
		{how: "publish-missing", filter: byURL, want: blocked, why: "is published and was answered 404"},
		{how: "publish-old", filter: changed, want: blocked, why: "other content than is published"},
		{how: "publish-silent", filter: baseline, want: blocked, why: "the request for sysconf_8830_sip.cfg was never answered"},
		{how: "present-other", filter: byURL, want: blocked, why: "certificate"},
		{how: "present-lies", filter: byURL, want: blocked, why: "is not the one called \"good\""},
		{how: "present-lies", filter: byURL, want: blocked, why: "is not the one called \"good\"", defect: defect.AcceptsExpired},
		{how: "clock-silent", filter: baseline, want: blocked, why: "the request for the time was never answered"},
		{how: "clock-wrong", filter: baseline, want: blocked, why: "off by 48h"},
		{how: "names-silent", filter: byURL, want: blocked, why: "was never answered"},
		{how: "names-wrong", filter: byURL, want: blocked, why: "was answered with 203.0.113.9"},
		{how: "challenge-none", filter: digest, want: blocked, why: "without a challenge"},
		{how: "challenge-unasked", filter: byURL, want: blocked, why: "was challenged"},
		{how: "registrar-silent", filter: notified, want: blocked, why: "REGISTER was never answered"},
		{how: "registrar-open", filter: sealed, want: blocked, why: "without a challenge"},
		{how: "notify-unsent", filter: notified, want: blocked, why: "was never sent"},
		{how: "hands-idle", filter: factory, want: blocked, why: "blocked by"},
		// The handset does not show what was to be done: nobody knows whose fault that is.
		{how: "hands-idle", filter: uploaded, want: inconclusive, why: "upload-authority: it shows the authorities", before: "refused before"},
		{how: "hands-idle", filter: byMenu, want: inconclusive, why: "menu: it shows checks 7"},
	} {
		delete(untried, c.how)
		name := string(c.how) + " while it " + strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(c.filter), " "), " ")
		if c.defect != "" {
			name += ", with a handset that " + string(c.defect)
		}
		result := make(chan outcome, 1)
		dir := t.TempDir()
		// Ends with its process.
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			specs, err := under(t.Context(), dir, c.how, c.filter, c.defect)
			result <- outcome{specs, err}
		}()
		checks = append(checks, func() {
			t.Run(name, func(t *testing.T) {
				got := <-result
				if got.err != nil || len(got.specs) == 0 {
					t.Fatalf("%q: %d specs, %v", c.filter, len(got.specs), got.err)
				}
				for _, s := range got.specs {
					if s.Verdict != c.want || !strings.Contains(s.Reason, c.why) {
						t.Errorf("%s: %s: %s; want %s with %q", s.Name, s.Verdict, s.Reason, c.want, c.why)
					}
					for _, j := range s.Judgements {
						if j.Verdict == report.Fail || j.Verdict == report.Pass && (c.before == "" || j.Case != c.before) {
							t.Errorf("%s: %s %s: %s", s.Name, j.Row, j.Verdict, j.Reason)
						}
					}
				}
			})
		})
	}
	for _, check := range checks {
		check()
	}
	for how := range untried {
		t.Errorf("nothing is tried with %s", how)
	}
}

func TestTheLongestSilenceIsTheHandsets(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a lane for each handset")
	}
	type ends struct{ longest, shortest string }
	const after = "registers as the file says after a silence of "
	for waits, want := range map[string]ends{
		"20s":  {after + "12 s = 1", after + "25 s = 0"},
		"400s": {after + "180 s = 1", ""},
	} {
		t.Run(waits, func(t *testing.T) {
			t.Parallel()
			specs, err := under(t.Context(), t.TempDir(), none, "gets over a silence of its server.*over http ", "", "-waits="+waits, "-points=0")
			if err != nil || len(specs) != 1 {
				t.Fatalf("%d specs, %v", len(specs), err)
			}
			var got ends
			for _, j := range specs[0].Judgements {
				switch {
				case j.Verdict == report.Fail:
					t.Errorf("%s %s: %s", j.Row, j.Case, j.Reason)
				case strings.HasPrefix(j.Case, "the longest silence"):
					got.longest = j.Measured[0].Name + " = " + j.Measured[0].Value
				case strings.HasPrefix(j.Case, "the shortest silence"):
					got.shortest = j.Measured[0].Name + " = " + j.Measured[0].Value
				}
			}
			if got != want {
				t.Errorf("it waits %s: got %+v, want %+v: %s %s", waits, got, want, specs[0].Verdict, specs[0].Reason)
			}
		})
	}
}

// A reset that was said to be done and was not seen leaves in doubt whether the
// handset still holds authority A.
func TestTheWayHomeGivesBackWhatAResetMayHaveTaken(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a lane")
	}
	dir := t.TempDir()
	if _, err := under(t.Context(), dir, "hands-idle", factory, ""); err != nil {
		t.Fatal(err)
	}
	r, err := report.Read(filepath.Join(dir, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	if left := r.Handsets[0].Left; left != "" {
		t.Errorf("left with %q", left)
	}
	journals, err := filepath.Glob(filepath.Join(dir, "*", "between*", "*", "journal.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range journals {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`"operator done","message":"upload-authority","reason":"its Web Manager lists [^}]*authority A`).Match(text) {
			return
		}
	}
	t.Errorf("no upload of authority A was looked at in %d journals after the spec", len(journals))
}

// Whether a handset remembers the URL it was offered is measured (XPT-11), not
// promised: where that URL led to nobody, the next spec does not fail by it.
func TestWhoRemembersADeadURLComesHomeByAGoodOne(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a lane")
	}
	const unreached, next = "HTTP server cannot be reached, over http \\[", "changes although its own file is missing, over tftp"
	specs, err := under(t.Context(), t.TempDir(), none, unreached+"|"+next, defect.RemembersOfferedURL, "-rig-seed=2") // which has XPT-09 first
	if err != nil {
		t.Fatal(err)
	}
	if len(specs) != 2 || specs[0].Rows[0] != "XPT-09" {
		t.Fatalf("%d specs, or XPT-09 was not the first", len(specs))
	}
	for _, s := range specs[1:] {
		if s.Verdict != report.Pass {
			t.Errorf("%s: %s %s", s.ID, s.Verdict, s.Reason)
		}
	}
}

// under runs one lane of a broken rig in a process of its own.
func under(ctx context.Context, dir string, how sabotage, only string, broken defect.Name, more ...string) ([]report.Spec, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, append([]string{
		"-test.run=^TestUnderSabotage$", "-test.timeout=2m",
		"-sabotage=" + string(how), "-filter=" + only, "-defect=" + string(broken), "-out=" + dir,
	}, more...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // there are as many lanes as processors
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	r, err := report.Read(filepath.Join(dir, "run.json"))
	if err != nil {
		return nil, err
	}
	return r.Handsets[0].Specs, nil
}

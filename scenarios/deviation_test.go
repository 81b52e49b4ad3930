package scenarios_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/bench"
	"ip88rig/rig/deviation"
	"ip88rig/rig/golden"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios"
)

var deviations = flag.String("deviations", "", "file of known deviations; set by TestAKnownDeviationIsKnownUntilItExpires for the processes that it starts")

func isRow(row string) bool {
	_, err := scenarios.Find(row)
	return err == nil
}

// knownHere reads the deviations of a lane, and with them the golden record of
// its handset; nothing without them.
func knownHere(t *testing.T, b bench.Bench, h bench.Handset) (deviation.List, *golden.Record) {
	t.Helper()
	if *deviations == "" {
		return nil, nil
	}
	list, err := deviation.Load(*deviations, isRow)
	if err != nil {
		t.Fatal(err)
	}
	record, err := golden.LoadFor(b, h)
	if err != nil {
		t.Fatal(err)
	}
	return list, record
}

func TestAKnownDeviationIsKnownUntilItExpires(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a lane for each case")
	}
	const asks = "says of itself to DHCP what it is"
	line := func(row, model, expires string) string {
		return "- {requirement: " + row + ", model: " + model + `, firmware: "*", reason: it is being mended, link: LAB-71, expires: ` + expires + "}\n"
	}
	for name, c := range map[string]struct {
		text, filter string
		defect       defect.Name
		row          string
		want         report.Verdict
		reason       string
		exit         int
		stale        bool
	}{
		"it fails, and is known":              {line("XPT-01", "IP8830", "2999-12-31"), baseline, defect.HTTPAtTFTPServer, "XPT-01", report.Known, "known deviation: it is being mended (LAB-71, until 2999-12-31): ", report.ExitPass, false},
		"it fails, and it has expired":        {line("XPT-01", "IP8830", "2020-01-31"), baseline, defect.HTTPAtTFTPServer, "XPT-01", report.Fail, "the deviation expired on 2020-01-31: it is being mended (LAB-71)", report.ExitFailed, false},
		"it fails, and another one is known":  {line("XPT-01", "IP8820", "2999-12-31"), baseline, defect.HTTPAtTFTPServer, "XPT-01", report.Fail, "", report.ExitFailed, false},
		"it no longer fails":                  {line("XPT-01", "IP8830", "2999-12-31"), baseline, "", "XPT-01", report.Pass, "", report.ExitFailed, true},
		"it drifts, and is known":             {line("DHC-01", "IP8830", "2999-12-31"), asks, defect.NoVendorClass, "DHC-01", report.Known, "known deviation: it is being mended (LAB-71, until 2999-12-31): drift: ", report.ExitPass, false},
		"it drifts, and it has expired":       {line("DHC-01", "IP8830", "2020-01-31"), asks, defect.NoVendorClass, "DHC-01", report.Drift, "the deviation expired on 2020-01-31", report.ExitFailed, false},
		"it drifts, and another row is known": {line("ORD-06", "IP8830", "2999-12-31"), asks, defect.NoVendorClass, "DHC-01", report.Drift, "drift: ", report.ExitFailed, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "known.yaml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			specs, err := under(t.Context(), t.TempDir(), none, c.filter, c.defect, "-deviations="+file)
			if err != nil || len(specs) != 1 {
				t.Fatalf("%d specs, %v", len(specs), err)
			}
			s := specs[0]
			if !slices.ContainsFunc(s.Judgements, func(j report.Judgement) bool {
				return j.Row == c.row && j.Verdict == c.want && strings.Contains(j.Reason, c.reason)
			}) || s.Verdict != c.want {
				t.Errorf("%s: %s: %+v; want %s with %q", s.Verdict, s.Reason, s.Judgements, c.want, c.reason)
			}
			list, err := deviation.Load(file, isRow)
			if err != nil {
				t.Fatal(err)
			}
			r := report.Run{Handsets: []report.Handset{{Name: "desk", Model: "IP8830", Simulated: true, Specs: specs}}}
			r.Stale = r.StaleDeviations(list)
			if code := r.ExitCode(); code != c.exit || (len(r.Stale) > 0) != c.stale {
				t.Errorf("exit code %d with %d stale deviations, want %d, stale %t\n%s", code, len(r.Stale), c.exit, c.stale, r.Summary())
			}
		})
	}
}

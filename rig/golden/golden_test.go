package golden_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"ip88rig/rig/bench"
	"ip88rig/rig/golden"
	"ip88rig/rig/report"
)

const record = `# Head.
# More of it.

# Asked twice at once, see LAB-71.
CFG-06 | http | NULs | lines applied | 3
CFG-06 | tftp | NULs | lines applied | 2

NET-04 | tftp | - | power to registered | 150 | ms within x3
ORD-11 | tftp | "a | b" | order | "-"
ORD-11 | tftp | "a | b" | retries | 4 | times
# The end.
`

func parse(t *testing.T, text string) *golden.Record {
	t.Helper()
	r, err := golden.Parse("r.txt", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func value(name, v, unit string) report.Value { return report.Value{Name: name, Value: v, Unit: unit} }

func TestARecordIsWrittenAsItWasRead(t *testing.T) {
	if got := parse(t, record).String(); got != record {
		t.Errorf("got\n%s\nwant\n%s", got, record)
	}
}

func TestARecordThatSomebodyTypedIsSortedWithItsComments(t *testing.T) {
	got := parse(t, "ORD-11|tftp|-|retries|4\n# why\nCFG-06|tftp|-|b|1  \nCFG-06|tftp|-|a|1\n").String()
	want := "CFG-06 | tftp | - | a | 1\n# why\nCFG-06 | tftp | - | b | 1\nORD-11 | tftp | - | retries | 4\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestEachMistakeIsToldWithFileAndLine(t *testing.T) {
	const ok = "ORD-11 | tftp | - | retries | 4\n"
	for name, c := range map[string]struct{ text, want string }{
		"too few fields":                {ok + "ORD-11 | tftp | - | retries\n", "r.txt:2: 4 fields"},
		"too many fields":               {"ORD-11 | tftp | - | retries | 4 | x | y\n", "r.txt:1: 7 fields"},
		"no row":                        {"# c\n\nord-11 | tftp | - | retries | 4\n", `r.txt:3: "ord-11" is not a row`},
		"no name":                       {"ORD-11 | tftp | - | - | 4\n", "the name of the value is missing"},
		"an empty field":                {"ORD-11 | tftp |  | retries | 4\n", "field 3 is empty: want - for nothing"},
		"a value twice":                 {ok + "\n" + ok, "r.txt:3: ORD-11 | tftp | - | retries stands in line 1 already"},
		"a quote without end":           {`ORD-11 | tftp | "x | retries | 4`, "field 3: the quote is not ended"},
		"text behind a quote":           {`ORD-11 | tftp | "x"y | retries | 4`, "stands behind the quote"},
		"a quote in the middle":         {`ORD-11 | tftp | x"y | retries | 4`, "needs quotes"},
		"a carriage return":             {"ORD-11 | tftp | - | retries | 4\r\n", "needs quotes"},
		"bytes that are no text":        {"ORD-11 | tftp | - | retries | \xff\n", "needs quotes"},
		"a time without its factor":     {"NET-04 | tftp | - | time | 4 | ms\n", `unit "ms": a time is in "ms within x3"`},
		"a factor on what is no time":   {"NET-04 | tftp | - | time | 4 | tries within x3\n", "nothing else is within"},
		"a factor under one":            {"NET-04 | tftp | - | time | 4 | ms within x0.5\n", "is not a factor"},
		"a factor that is not a number": {"NET-04 | tftp | - | time | 4 | ms within xNaN\n", "is not a factor"},
		"a time that is not a number":   {"NET-04 | tftp | - | time | soon | ms within x3\n", `"soon" is not a time in ms`},
		"a negative time":               {"NET-04 | tftp | - | time | -1 | ms within x3\n", "is not a time"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := golden.Parse("r.txt", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "r.txt:") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestATimeIsTheSameWithinItsFactorAndAllElseToTheLetter(t *testing.T) {
	r := parse(t, record+"NET-04 | tftp | fast | time | 0.2 | ms within x2\n")
	for name, c := range map[string]struct {
		row, transport, cell string
		got                  []report.Value
		diff                 []string
		unknown              bool
	}{
		"the same time":             {row: "NET-04", got: []report.Value{value("power to registered", "150", "ms")}},
		"three times as long":       {row: "NET-04", got: []report.Value{value("power to registered", "450", "ms")}},
		"a third":                   {row: "NET-04", got: []report.Value{value("power to registered", "50", "ms")}},
		"longer":                    {row: "NET-04", got: []report.Value{value("power to registered", "451", "ms")}, diff: []string{"power to registered: recorded 150 ms within x3, measured 451 ms"}},
		"shorter":                   {row: "NET-04", got: []report.Value{value("power to registered", "49", "ms")}, diff: []string{"power to registered: recorded 150 ms within x3, measured 49 ms"}},
		"in another unit":           {row: "NET-04", got: []report.Value{value("power to registered", "150", "s")}, diff: []string{"power to registered: recorded 150 ms within x3, measured 150 s"}},
		"no number":                 {row: "NET-04", got: []report.Value{value("power to registered", "never", "ms")}, diff: []string{"power to registered: recorded 150 ms within x3, measured never ms"}},
		"under a millisecond":       {row: "NET-04", cell: "fast", got: []report.Value{value("time", "2", "ms")}},
		"over it":                   {row: "NET-04", cell: "fast", got: []report.Value{value("time", "2.1", "ms")}, diff: []string{"time: recorded 0.2 ms within x2, measured 2.1 ms"}},
		"the same count":            {row: "CFG-06", cell: "NULs", got: []report.Value{value("lines applied", "2", "")}},
		"another count":             {row: "CFG-06", cell: "NULs", got: []report.Value{value("lines applied", "3", "")}, diff: []string{"lines applied: recorded 2, measured 3"}},
		"in any order":              {row: "ORD-11", cell: "a | b", got: []report.Value{value("retries", "4", "times"), value("order", "-", "")}},
		"a value that is missing":   {row: "ORD-11", cell: "a | b", got: []report.Value{value("retries", "4", "times")}, diff: []string{`order: recorded "-", not measured`}},
		"a value that is new":       {row: "CFG-06", cell: "NULs", got: []report.Value{value("lines applied", "2", ""), value("asked", "a b", "")}, diff: []string{`asked: not recorded, measured "a b"`}},
		"a value measured twice":    {row: "CFG-06", cell: "NULs", got: []report.Value{value("lines applied", "1", ""), value("lines applied", "2", "")}, diff: []string{"lines applied: measured 1 and 2 at once"}},
		"nothing measured at all":   {row: "CFG-06", cell: "NULs", diff: []string{"lines applied: recorded 2, not measured"}},
		"another case":              {row: "CFG-06", cell: "BOM", got: []report.Value{value("lines applied", "2", "")}, unknown: true},
		"another transport":         {row: "CFG-06", transport: "https", cell: "NULs", unknown: true},
		"a row that is not in it":   {row: "TLS-10", unknown: true},
		"an unknown case, measured": {row: "TLS-10", got: []report.Value{value("x", "1", ""), value("x", "2", "")}, unknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.transport == "" {
				c.transport = "tftp"
			}
			diff, known := r.Compare(c.row, c.transport, c.cell, c.got)
			if known == c.unknown || !slices.Equal(diff, c.diff) {
				t.Errorf("got %q, known %t; want %q, known %t", diff, known, c.diff, !c.unknown)
			}
		})
	}
	if diff, known := (*golden.Record)(nil).Compare("CFG-06", "tftp", "NULs", nil); known || diff != nil {
		t.Errorf("no record knows of %v", diff)
	}
}

func TestAnUpdateKeepsWhatWasNotMeasuredAndSaysEachChange(t *testing.T) {
	r := parse(t, record)
	changes, err := r.Update([]golden.Measurement{
		{"CFG-06", "tftp", "NULs", []report.Value{value("lines applied", "5", "")}},
		{"NET-04", "tftp", "", []report.Value{value("power to registered", "200", "ms"), value("frames | all", "12", "")}},
		{"ORD-11", "tftp", "a | b", []report.Value{value("order", "-", "")}},
		{"NET-04", "http", "quiet", []report.Value{value("power to registered", "90", "ms")}},
	}, 7)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"- CFG-06 | tftp | NULs | lines applied | 2", "+ CFG-06 | tftp | NULs | lines applied | 5",
		`+ NET-04 | tftp | - | "frames | all" | 12`,
		`- ORD-11 | tftp | "a | b" | retries | 4 | times`,
		"+ NET-04 | http | quiet | power to registered | 90 | ms within x7",
	}
	if !slices.Equal(changes, want) {
		t.Errorf("said\n%s\nwant\n%s", strings.Join(changes, "\n"), strings.Join(want, "\n"))
	}
	const after = `# Head.
# More of it.

# Asked twice at once, see LAB-71.
CFG-06 | http | NULs | lines applied | 3
CFG-06 | tftp | NULs | lines applied | 5
NET-04 | http | quiet | power to registered | 90 | ms within x7
NET-04 | tftp | - | "frames | all" | 12

NET-04 | tftp | - | power to registered | 150 | ms within x3
ORD-11 | tftp | "a | b" | order | "-"
# The end.
`
	if got := r.String(); got != after {
		t.Errorf("got\n%s\nwant\n%s", got, after)
	}
	for _, c := range []struct{ row, transport, cell string }{{"CFG-06", "tftp", "NULs"}, {"NET-04", "http", "quiet"}} {
		if _, known := r.Compare(c.row, c.transport, c.cell, nil); !known {
			t.Errorf("%v is not in it", c)
		}
	}
}

func TestATimeOutOfItsFactorIsReplacedAndItsFactorStays(t *testing.T) {
	r := parse(t, record)
	changes, err := r.Update([]golden.Measurement{{"NET-04", "tftp", "", []report.Value{value("power to registered", "1000", "ms")}}}, 7)
	want := []string{"- NET-04 | tftp | - | power to registered | 150 | ms within x3", "+ NET-04 | tftp | - | power to registered | 1000 | ms within x3"}
	if err != nil || !slices.Equal(changes, want) {
		t.Errorf("got %q, %v; want %q", changes, err, want)
	}
}

func TestACommentOutlivesTheLineBelowIt(t *testing.T) {
	r := parse(t, "# why one\nCFG-06 | tftp | - | a | 1\n# why two\nCFG-06 | tftp | - | b | 1\n")
	if _, err := r.Update([]golden.Measurement{{"CFG-06", "tftp", "", []report.Value{value("c", "1", "")}}}, 3); err != nil {
		t.Fatal(err)
	}
	if got := r.String(); !strings.Contains(got, "# why one\n# why two\n") || strings.Contains(got, "| a |") {
		t.Errorf("got\n%s", got)
	}
}

func TestWhatWasMeasuredTwiceAndDifferentlyIsLeftAlone(t *testing.T) {
	r := parse(t, record)
	m := func(v string) golden.Measurement {
		return golden.Measurement{Row: "CFG-06", Transport: "tftp", Case: "NULs", Values: []report.Value{value("lines applied", v, "")}}
	}
	changes, err := r.Update([]golden.Measurement{m("7"), m("8"), m("9")}, 3)
	if err != nil || len(changes) != 1 || !strings.Contains(changes[0], "measured twice, and differently: left as it was") {
		t.Errorf("got %q, %v", changes, err)
	}
	if got := r.String(); got != record {
		t.Errorf("changed:\n%s", got)
	}
	if changes, err := r.Update([]golden.Measurement{m("7"), m("7")}, 3); err != nil || len(changes) != 2 {
		t.Errorf("twice the same: %q, %v", changes, err)
	}
}

func TestWhatCannotBeReadBackIsNotRecorded(t *testing.T) {
	for name, m := range map[string]golden.Measurement{
		"no row":               {"", "tftp", "", []report.Value{value("a", "1", "")}},
		"no name":              {"CFG-06", "tftp", "", []report.Value{value("", "1", "")}},
		"a time in words":      {"CFG-06", "tftp", "", []report.Value{value("a", "soon", "ms")}},
		"one name twice":       {"CFG-06", "tftp", "", []report.Value{value("a", "1", ""), value("a", "1", "")}},
		"a unit with a factor": {"CFG-06", "tftp", "", []report.Value{value("a", "1", "x within x3")}},
	} {
		if changes, err := new(golden.Record).Update([]golden.Measurement{m}, 3); err == nil {
			t.Errorf("%s: recorded as %q", name, changes)
		}
	}
}

func key() golden.Key {
	return golden.Key{Model: "IP8830", Link: "wired", Firmware: "1.2.38 (beta)/../x", Simulated: true}
}

func TestTheFileIsCalledAfterTheHandset(t *testing.T) {
	for want, k := range map[string]golden.Key{
		"ip8830-wired-1.2.3.txt":                                  {Model: "IP8830", Link: "wired", Firmware: "1.2.3"},
		"simulated-ip8840-wifi-1.2.38.txt":                        {Model: "IP8840", Link: "wifi", Firmware: "1.2.38", Simulated: true},
		"simulated-ip8830-wired-1.2.38%20%28beta%29%2f..%2fx.txt": key(),
	} {
		if got := k.File(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestAFolderIsUpdatedWholeOrNotAtAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	ms := []golden.Measurement{{"CFG-06", "tftp", "NULs", []report.Value{value("lines applied", "5", ""), value("time", "12", "ms")}}}
	changes, err := golden.Update(dir, key(), ms)
	if err != nil || len(changes) != 2 {
		t.Fatalf("got %q, %v", changes, err)
	}
	path := filepath.Join(dir, key().File())
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# What was measured of the simulated IP8830 wired, software 1.2.38 (beta)", "\n\nCFG-06 | tftp | NULs | lines applied | 5\n", "ms within x3\n"} {
		if !strings.Contains(string(first), want) {
			t.Errorf("%q is missing in\n%s", want, first)
		}
	}
	r, err := golden.Load(os.DirFS(dir), key())
	if err != nil {
		t.Fatal(err)
	}
	if diff, known := r.Compare("CFG-06", "tftp", "NULs", ms[0].Values); !known || diff != nil {
		t.Errorf("what was recorded differs: %q, known %t", diff, known)
	}

	// Measured again with the same outcome: not a byte changes, nor the file.
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if changes, err := golden.Update(dir, key(), ms); err != nil || len(changes) != 0 {
		t.Errorf("got %q, %v", changes, err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was written anew (%v)", err)
	}

	// One bad value: nothing of the run is recorded.
	bad := append([]golden.Measurement{{"CFG-06", "http", "", []report.Value{value("a", "1", "")}}}, golden.Measurement{Row: "x", Values: []report.Value{value("a", "1", "")}})
	if _, err := golden.Update(dir, key(), bad); err == nil {
		t.Error("a bad value was recorded")
	}
	// A record that cannot be read is not replaced.
	if err := os.WriteFile(path, []byte("rubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := golden.Update(dir, key(), ms); err == nil || !strings.Contains(err.Error(), key().File()+":1:") {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "rubbish\n" {
		t.Errorf("the file was changed: %q, %v", data, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestARecordThatIsNotThereIsNoError(t *testing.T) {
	if _, err := golden.Load(fstest.MapFS{}, key()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	b.GoldenRecords = filepath.Join(dir, "none")
	h := b.Handsets[0]
	if r, err := golden.LoadFor(b, h); r != nil || err != nil {
		t.Errorf("got %v, %v", r, err)
	}
	b.GoldenRecords = dir
	if err := os.WriteFile(filepath.Join(dir, "simulated-ip8820-wired-1.2.38.txt"), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := golden.LoadFor(b, h); err != nil || r.String() != record {
		t.Errorf("got %v, %v", r, err)
	}
	if got := golden.Missing(h); got != "needs a golden record of the simulated IP8820 wired, software 1.2.38 (run --update-golden writes one)" {
		t.Errorf("got %q", got)
	}
	h.Running = ""
	if r, err := golden.LoadFor(b, h); r != nil || err != nil || !strings.Contains(golden.Missing(h), "running:") {
		t.Errorf("got %v, %v, %q", r, err, golden.Missing(h))
	}
	h.GoldenFirmware = &bench.Bundle{Version: "1.2.38"}
	if r, err := golden.LoadFor(b, h); r == nil || err != nil {
		t.Errorf("golden's software: got %v, %v", r, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "simulated-ip8820-wired-1.2.38.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := golden.LoadFor(b, h); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a damaged record: got %v", err)
	}
}

func TestEachEmbeddedRecordIsReadAndOfAHandsetThatThereIs(t *testing.T) {
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"README.md": true}
	for _, h := range b.Handsets {
		k, ok := golden.KeyOf(h)
		if !ok {
			t.Errorf("%s has no record to be", h.Name)
		}
		names[k.File()] = true
		r, err := golden.LoadFor(b, h)
		if err != nil {
			t.Error(err)
		}
		if r == nil {
			continue
		}
		data, err := fs.ReadFile(b.GoldenFS(), k.File())
		if err != nil || r.String() != string(data) {
			t.Errorf("%s is not as ip88rig would write it (%v)", k.File(), err)
		}
	}
	entries, err := fs.ReadDir(b.GoldenFS(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !names[e.Name()] {
			t.Errorf("%s is of no handset of the embedded bench", e.Name())
		}
	}
}

func TestOnlyWhatWasMeasuredWholeIsRecorded(t *testing.T) {
	v := []report.Value{value("a", "1", "")}
	var js []report.Judgement
	for i, verdict := range []report.Verdict{report.Pass, report.Drift, report.Skip, report.Fail, report.Blocked, report.Inconclusive, report.Known} {
		js = append(js, report.Judgement{Row: "CFG-0" + string(rune('0'+i)), Verdict: verdict, Measured: v})
	}
	js = append(js, report.Judgement{Row: "CFG-09", Verdict: report.Pass})
	got := golden.Measurements(report.Handset{Specs: []report.Spec{{Judgements: js}}})
	if len(got) != 3 || got[0].Row != "CFG-00" || got[2].Row != "CFG-02" {
		t.Errorf("got %+v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(record))
	f.Add([]byte("ORD-11 | tftp | \"\\x00\" | retries | 4 | ms within x1.5\n"))
	f.Add([]byte("\n\n# x\nORD-11|-|-|\"\"|-|\"-\"\n\n"))
	f.Add([]byte("ORD-11|-|-|a|1|\"ms within x3\""))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := golden.Parse("fuzz.txt", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz.txt:") {
				t.Errorf("an error without its place: %v", err)
			}
			return
		}
		text := r.String()
		again, err := golden.Parse("again.txt", []byte(text))
		if err != nil {
			t.Fatalf("cannot read what it wrote: %v\n%s", err, text)
		}
		if again.String() != text {
			t.Errorf("written twice, it differs:\n%q\n%q", text, again.String())
		}
	})
}

func TestCasesOfARecordThatNobodyMeasuresAreUnmet(t *testing.T) {
	r, err := golden.Parse("x.txt", []byte(`NET-04 | tftp | quiet | power to registered | 153 | ms within x3
ORD-11 | tftp | global file missing | apart | 4
ORD-11 | tftp | global file missing | retries | 4
ORD-11 | http | global file missing | retries | 4
`))
	if err != nil {
		t.Fatal(err)
	}
	measured := func(over, name string, v report.Verdict) report.Spec {
		return report.Spec{Rows: []string{"ORD-11"}, Transport: over, Verdict: v, Judgements: []report.Judgement{
			{Row: "ORD-11", Transport: over, Case: name, Verdict: v, Measured: []report.Value{{Name: "retries", Value: "9"}}},
		}}
	}
	quiet := report.Spec{Rows: []string{"NET-04"}, Transport: "tftp", Verdict: report.Pass, Judgements: []report.Judgement{
		{Row: "NET-04", Transport: "tftp", Case: "quiet", Verdict: report.Pass, Measured: []report.Value{{Name: "power to registered", Value: "1", Unit: "ms"}}},
	}}
	const missing, overTFTP, overHTTP = "global file missing", "ORD-11 | tftp | global file missing", "ORD-11 | http | global file missing"
	broke := measured("tftp", "another", report.Known)
	broke.Failure = "it broke off"
	for name, c := range map[string]struct {
		specs []report.Spec
		want  []string
	}{
		"all measured":             {[]report.Spec{quiet, measured("tftp", missing, report.Drift), measured("http", missing, report.Known)}, nil},
		"renamed":                  {[]report.Spec{quiet, measured("tftp", "no global file", report.Pass), measured("http", missing, report.Pass)}, []string{overTFTP}},
		"no spec looks at it":      {[]report.Spec{quiet, measured("tftp", missing, report.Pass)}, []string{overHTTP}},
		"its spec was blocked":     {[]report.Spec{quiet, measured("tftp", missing, report.Pass), {Rows: []string{"ORD-11"}, Transport: "http", Verdict: report.Blocked}}, nil},
		"its spec was left out":    {[]report.Spec{quiet, measured("tftp", missing, report.Pass), {Rows: []string{"ORD-11"}, Transport: "http", Verdict: report.Skip}}, nil},
		"its spec broke off":       {[]report.Spec{quiet, broke, measured("http", missing, report.Pass)}, nil},
		"another row was left out": {[]report.Spec{quiet, measured("tftp", missing, report.Pass), {Rows: []string{"XPT-09"}, Transport: "http", Verdict: report.Skip}}, []string{overHTTP}},
	} {
		if got := r.Unmet(c.specs); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	var none *golden.Record
	if got := none.Unmet([]report.Spec{quiet}); got != nil {
		t.Errorf("without a record: %q", got)
	}
}

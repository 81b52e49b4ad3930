package deviation_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/deviation"
)

const file = `# Known to the lab.
- requirement: FWU-03
  model: ip8830
  firmware: ">=1.2  <1.4"
  reason: refuses to go back
  link: https://tracker.example.com/LAB-71
  expires: 2027-03-31
- requirement: ORD-06
  model: "*"
  firmware: "*"
  reason: looks below its MAC
  link: LAB-72
  expires: 2026-01-01
`

func row(id string) bool { return id == "FWU-03" || id == "ORD-06" }

func day(s string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", s, time.FixedZone("lab", 9*3600))
	if err != nil {
		panic(err)
	}
	return t
}

func list(t *testing.T, text string) deviation.List {
	t.Helper()
	l, err := deviation.Parse("known.yaml", []byte(text), row)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestADeviationIsOfARowAModelAndSomeVersionsUntilADay(t *testing.T) {
	l := list(t, file)
	for name, c := range map[string]struct {
		row, model, firmware, at string
		ok, expired              bool
	}{
		"in the middle":                   {"FWU-03", "IP8830", "1.3.9", "2026-11-20 08:00", true, false},
		"at the lower end":                {"FWU-03", "IP8830", "1.2", "2026-11-20 08:00", true, false},
		"at the lower end, written long":  {"FWU-03", "IP8830", "1.2.0", "2026-11-20 08:00", true, false},
		"below":                           {"FWU-03", "IP8830", "1.1.99", "2026-11-20 08:00", false, false},
		"at the upper end":                {"FWU-03", "IP8830", "1.4", "2026-11-20 08:00", false, false},
		"numbers are not text":            {"FWU-03", "IP8830", "1.10", "2026-11-20 08:00", false, false},
		"a version that nobody knows":     {"FWU-03", "IP8830", "", "2026-11-20 08:00", false, false},
		"another model":                   {"FWU-03", "IP8840", "1.3", "2026-11-20 08:00", false, false},
		"another row":                     {"FWU-01", "IP8830", "1.3", "2026-11-20 08:00", false, false},
		"on its last day, to its end":     {"FWU-03", "IP8830", "1.3", "2027-03-31 23:59", true, false},
		"on the day after":                {"FWU-03", "IP8830", "1.3", "2027-04-01 00:00", true, true},
		"any model, any version, expired": {"ORD-06", "IP8820", "", "2026-11-20 08:00", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			d, expired, ok := l.Match(c.row, c.model, c.firmware, day(c.at))
			if ok != c.ok || expired != c.expired || ok && d.Requirement != c.row {
				t.Errorf("got %+v, expired %t, ok %t", d, expired, ok)
			}
		})
	}
}

func TestWhatHoldsComesBeforeWhatHasExpired(t *testing.T) {
	_, second, _ := strings.Cut(file, "expires: 2027-03-31\n")
	later := strings.NewReplacer(`model: "*"`, "model: IP8830", "2026-01-01", "2027-06-30", "LAB-72", "LAB-73").Replace(second)
	for _, text := range []string{file + later, later + file} {
		l := list(t, text)
		if d, expired, ok := l.Match("ORD-06", "IP8830", "1", day("2027-01-01 00:00")); !ok || expired || d.Link != "LAB-73" {
			t.Errorf("got %+v, expired %t, ok %t", d, expired, ok)
		}
		if d, expired, ok := l.Match("ORD-06", "IP8830", "1", day("2028-01-01 00:00")); !ok || !expired || d.Link != "LAB-73" {
			t.Errorf("both expired: got %+v, expired %t, ok %t", d, expired, ok)
		}
	}
}

func TestAFailureIsExcusedWithItsGrounds(t *testing.T) {
	l := list(t, file)
	for name, c := range map[string]struct {
		row, seen, at, want string
		known               bool
	}{
		"known":   {"FWU-03", "it kept 1.3", "2026-11-20 08:00", "known deviation: refuses to go back (https://tracker.example.com/LAB-71, until 2027-03-31): it kept 1.3", true},
		"expired": {"FWU-03", "it kept 1.3", "2027-04-01 00:00", "it kept 1.3; the deviation expired on 2027-03-31: refuses to go back (https://tracker.example.com/LAB-71)", false},
		"nothing": {"FWU-01", "it kept 1.3", "2026-11-20 08:00", "it kept 1.3", false},
	} {
		if got, known := l.Excuse(c.row, "IP8830", "1.3", c.seen, day(c.at)); got != c.want || known != c.known {
			t.Errorf("%s: got %q, known %t", name, got, known)
		}
	}
	if got, known := deviation.List(nil).Excuse("FWU-03", "IP8830", "1.3", "x", day("2026-11-20 08:00")); known || got != "x" {
		t.Errorf("no list excuses %q", got)
	}
}

func TestItSaysWhomItIsAbout(t *testing.T) {
	l := list(t, file)
	for i, want := range []string{"FWU-03 of IP8830 with software >=1.2 <1.4", "ORD-06 of every model with any software"} {
		if got := l[i].Subject(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if l[0].Line != 2 || l[1].Line != 8 {
		t.Errorf("lines %d and %d", l[0].Line, l[1].Line)
	}
}

func TestEachMistakeIsToldWithItsLine(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"no YAML":                    {"- requirement: FWU-03", "- [", "known.yaml: ["},
		"no list":                    {file, "deviations: none\n", "known.yaml: "},
		"a key that is not known":    {"link: LAB-72", "url: LAB-72", `unknown field "url"`},
		"a row that there is not":    {"FWU-03", "FWU-99", `known.yaml:2: requirement: there is no row "FWU-99"`},
		"no row":                     {"requirement: ORD-06", "requirement: ''", "known.yaml:8: requirement: is missing"},
		"no model":                   {"  model: ip8830\n", "", "known.yaml:2: model: is missing"},
		"no firmware":                {"  firmware: \"*\"\n", "", "firmware: is missing"},
		"no reason":                  {"  reason: refuses to go back\n", "", "reason: is missing"},
		"no link":                    {"  link: LAB-72\n", "", "link: is missing"},
		"no expiry":                  {"  expires: 2027-03-31\n", "", "expires: is missing"},
		"a model that there is not":  {"ip8830", "IP8831", `known.yaml:3: model: unknown model "IP8831"`},
		"a day that there is not":    {"2027-03-31", "2027-02-30", `known.yaml:7: expires: "2027-02-30" is not a day`},
		"a version that is none":     {"<1.4", "<1..4", `known.yaml:4: firmware: "1..4"`},
		"a version of words":         {"<1.4", "<next", `"next" in`},
		"a range that is none":       {">=1.2", "=>1.2", `"=>" in`},
		"a range with a blank in it": {">=1.2", ">= 1.2", `"" in`},
		"one deviation twice":        {"- requirement: ORD-06", file[strings.Index(file, "- req"):strings.Index(file, "- requirement: ORD")] + "- requirement: ORD-06", "FWU-03 of IP8830 with software >=1.2 <1.4 stands in line 2 already"},
		"a key twice":                {"  link: LAB-72\n", "  link: LAB-72\n  link: LAB-73\n", "known.yaml: "},
		"a comma instead of a blank": {">=1.2  <1.4", ">=1.2,<1.4", "is not a version"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(file, c.from, c.to, 1)
			if text == file {
				t.Fatalf("%q does not stand in the good file", c.from)
			}
			_, err := deviation.Parse("known.yaml", []byte(text), row)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "known.yaml") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAFileWithoutDeviationsIsOne(t *testing.T) {
	for _, text := range []string{"", "\n", "# none yet\n", "[]\n"} {
		if got := list(t, text); len(got) != 0 {
			t.Errorf("%q: got %v", text, got)
		}
	}
	path := filepath.Join(t.TempDir(), "known.yaml")
	if _, err := deviation.Load(path, row); err == nil {
		t.Error("a file that is not there was read")
	}
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := deviation.Load(path, row); err != nil || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestVersionsAreOrderedByTheirNumbers(t *testing.T) {
	sorted := []string{"0.9", "1", "1.0.1", "1.2", "1.2.3", "1.2.3b", "1.2.10", "1.10", "2", "99999999999999999999", "100000000000000000000"}
	for i, a := range sorted {
		for j, b := range sorted {
			got := deviation.Compare(a, b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
	for _, same := range [][2]string{{"1.2", "1.2.0"}, {"1.02", "1.2"}, {"", "0"}} {
		if got := deviation.Compare(same[0], same[1]); got != 0 {
			t.Errorf("%s against %s: %d", same[0], same[1], got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(file))
	f.Add([]byte("- {requirement: ORD-06, model: '*', firmware: '<=1.2b', reason: a, link: b, expires: 2027-01-01}"))
	f.Add([]byte("- &a {requirement: *a}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := deviation.Parse("fuzz.yaml", data, row)
		if err != nil {
			return
		}
		for _, d := range l {
			if !row(d.Requirement) || d.Reason == "" || d.Link == "" || d.Expires.IsZero() || d.Model != "*" && !strings.HasPrefix(d.Model, "IP88") {
				t.Errorf("accepted %+v", d)
			}
			_ = d.Applies("IP8830", "1.2.3")
		}
	})
}

package scenarios_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ip88rig/scenarios"
	"ip88rig/scenarios/selftest"
)

var update = flag.Bool("update", false, "write the test plan and README's table of what is covered anew")

// The test plan is made from the catalogue and from what the scenarios declare, so
// that it cannot list a scenario that is not there.

func TestThePlanListsTheScenarios(t *testing.T) {
	keep(t, "README.md", "", plan())
}

func TestREADMETellsWhatIsCovered(t *testing.T) {
	keep(t, filepath.Join("..", "README.md"), "coverage", coverage())
}

func TestEveryPromisedRowIsCovered(t *testing.T) {
	for _, r := range scenarios.Catalogue() {
		if (r.Kind == "shall" || r.ID == "AUT-04") && len(scenarios.Covering(r.ID)) == 0 {
			t.Errorf("%s: no scenario judges it: %s", r.ID, r.Statement)
		}
	}
}

// keep compares a file with what it should hold, or writes it with -update. With
// a name it is the part between <!-- name --> and <!-- /name -->.
func keep(t *testing.T, path, name, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	if name != "" {
		before, rest, ok1 := strings.Cut(string(data), "<!-- "+name+" -->\n")
		_, after, ok2 := strings.Cut(rest, "<!-- /"+name+" -->\n")
		if !ok1 || !ok2 {
			t.Fatalf("%s has no part %q", path, name)
		}
		want = before + "<!-- " + name + " -->\n" + want + "<!-- /" + name + " -->\n" + after
	}
	if string(data) == want {
		return
	}
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, should := strings.Split(string(data), "\n"), strings.Split(want, "\n")
	for i := range min(len(have), len(should)) {
		if have[i] != should[i] {
			t.Fatalf("%s:%d is\n  %s\nand should be\n  %s\n\"make plan\" writes it", path, i+1, have[i], should[i])
		}
	}
	t.Fatalf("%s has %d lines and should have %d; \"make plan\" writes it", path, len(have), len(should))
}

type family struct {
	title string
	rows  []scenarios.Requirement
}

// families are the sections of the catalogue.
func families() []family {
	titles := map[string]string{
		"XPT": "which transport", "ORD": "what is asked for, in which order", "CFG": "configuration data", "RBT": "when it reboots",
		"FWU": "firmware", "TLS": "certificates", "AUT": "HTTP authentication", "DHC": "address", "TIM": "time", "RSY": "re-sync",
		"NET": "transports under stress", "WIF": "WiFi module",
	}
	var out []family
	for _, r := range scenarios.Catalogue() {
		title := r.ID[:3] + ": " + titles[r.ID[:3]]
		if len(out) == 0 || out[len(out)-1].title != title {
			out = append(out, family{title: title})
		}
		out[len(out)-1].rows = append(out[len(out)-1].rows, r)
	}
	return out
}

// coverage is the table of README.
func coverage() string {
	var b strings.Builder
	b.WriteString("| rows | shall | safe | observe | not judged yet |\n| --- | --- | --- | --- | --- |\n")
	total, judged := map[string]int{}, map[string]int{}
	for _, f := range families() {
		of, done := map[string]int{}, map[string]int{}
		var missing []string
		for _, r := range f.rows {
			of[r.Kind]++
			total[r.Kind]++
			if len(scenarios.Covering(r.ID)) == 0 {
				missing = append(missing, strings.TrimPrefix(r.ID, r.ID[:4]))
				continue
			}
			done[r.Kind]++
			judged[r.Kind]++
		}
		fmt.Fprintf(&b, "| %s |", f.title)
		for _, kind := range []string{"shall", "safe", "observe"} {
			fmt.Fprintf(&b, " %s |", share(done[kind], of[kind]))
		}
		fmt.Fprintf(&b, " %s |\n", strings.Join(missing, " "))
	}
	fmt.Fprintf(&b, "| **all** | %s | %s | %s | |\n", share(judged["shall"], total["shall"]), share(judged["safe"], total["safe"]), share(judged["observe"], total["observe"]))
	return b.String()
}

func share(n, of int) string {
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", n, of)
}

// plan is scenarios/README.md.
func plan() string {
	var b strings.Builder
	b.WriteString(`# Test plan

Made from requirements.md and from what the scenarios declare, by "make plan"; a
test fails where it is out of date. Each scenario runs once over each of its
transports. What it does is read in its own file: given, when, then.

`)
	stories := scenarios.Stories()
	for _, f := range families() {
		fmt.Fprintf(&b, "## %s\n\n| row | kind | from | sentence | defects that turn it red |\n| --- | --- | --- | --- | --- |\n", f.title)
		for _, r := range f.rows {
			var red []string
			for _, e := range selftest.Expectations() {
				if slices.Contains(slices.Concat(e.Fails, e.Drifts), r.ID) {
					red = append(red, string(e.Name))
				}
			}
			if len(scenarios.Covering(r.ID)) == 0 {
				red = append(red, "*not judged yet*")
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.ID, r.Kind, r.From, r.Statement, strings.Join(red, ", "))
		}
		b.WriteString("\n| rows | scenario | over | power cycles | needs | file |\n| --- | --- | --- | --- | --- | --- |\n")
		for _, s := range stories {
			if s.Rows[0][:3] != f.title[:3] {
				continue
			}
			var over []string
			for _, t := range s.Over {
				over = append(over, string(t))
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %d | %s | [%[6]s](%[6]s) |\n", strings.Join(s.Rows, " "), s.Name, strings.Join(over, ", "), s.Power, strings.Join(s.Needs, "; "), s.File)
		}
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

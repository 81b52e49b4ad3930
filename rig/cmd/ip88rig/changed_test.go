package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/bench"
	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios/selftest"
)

func TestEveryConstantOfADefectIsFound(t *testing.T) {
	constants, err := defectConstants(top + defectFolder)
	if err != nil {
		t.Fatal(err)
	}
	found := map[defect.Name]bool{}
	for _, name := range constants {
		found[name] = true
	}
	for _, name := range defect.All() {
		if !found[name] {
			t.Errorf("no constant of %s found", name)
		}
	}
}

// checkout is a repository with one commit, which the test is in.
func checkout(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	t.Chdir(t.TempDir())
	store(t, defectFolder+"/defect.go", "package defect\n\ntype Name string\n\nconst (\n\tOne Name = \"skips-own-file\"\n\tTwo Name = \"newer-only\"\n\tThree Name = \"late-key\"\n)\n")
	store(t, virtualFolder+"/a.go", "package virtual\n\n// 1\n// 2\n// 3\n// 4\nvar _ = has(defect.One)\n// 5\n// 6\n// 7\n// 8\n// 9\n// 10\n// 11\nvar _ = has(defect.Two)\n")
	store(t, virtualFolder+"/a_test.go", "package virtual\n\nvar _ = defect.Two\n")
	store(t, declarations, "# a table\n\nskips-own-file\n  fails    ORD-02\n\nnewer-only\n  fails    FWU-03\n\nlate-key\n  drifts   CFG-10\n")
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=n", "-c", "user.email=n@example.com", "commit", "-q", "-m", "all"}} {
		if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
}

func store(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("%s holds no %q", path, from)
	}
	store(t, path, strings.Replace(string(text), from, to, 1))
}

func TestTheDefectsThatAChangeTouchesAreFound(t *testing.T) {
	for _, test := range []struct {
		name, path, from, to string
		want                 []string
	}{
		{"nothing changed", virtualFolder + "/a.go", "// 9", "// 9", nil},
		{"beside the first", virtualFolder + "/a.go", "// 4", "// four", []string{"skips-own-file"}},
		{"the line itself", virtualFolder + "/a.go", "has(defect.Two)", "!has(defect.Two)", []string{"newer-only"}},
		{"taken away", virtualFolder + "/a.go", "var _ = has(defect.Two)\n", "", []string{"newer-only"}},
		{"far from both", virtualFolder + "/a.go", "// 8", "// eight", nil},
		{"in a test", virtualFolder + "/a_test.go", "defect.Two", "defect.One", nil},
		{"one expectation between two", declarations, "  fails    FWU-03\n", "  fails    FWU-03 FWU-04\n", []string{"newer-only"}},
		{"a comment of the table", declarations, "# a table", "# the table", nil},
		{"elsewhere", "README.md", "", "defect.One", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkout(t)
			if test.path == "README.md" {
				store(t, test.path, test.to)
			} else {
				edit(t, test.path, test.from, test.to)
			}
			got, err := (&mutantsCmd{Shard: "1/1", Changed: "HEAD"}).list(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range got {
				names = append(names, string(e.Defect))
			}
			if !slices.Equal(names, test.want) {
				t.Errorf("got %q, want %q", names, test.want)
			}
		})
	}
}

func TestWithoutTheRevisionOrGitTheErrorSaysSo(t *testing.T) {
	checkout(t)
	list := func(ctx context.Context) string {
		_, err := (&mutantsCmd{Shard: "1/1", Changed: "HEAD~7"}).list(ctx)
		if err == nil {
			return "no error"
		}
		return err.Error()
	}
	if got := list(t.Context()); !strings.Contains(got, "--changed HEAD~7: git knows no such revision") {
		t.Error(got)
	}
	t.Chdir(t.TempDir())
	t.Setenv("GIT_CEILING_DIRECTORIES", "/")
	if got := list(t.Context()); !strings.Contains(got, "git rev-parse: ") {
		t.Error(got)
	}
	t.Setenv("PATH", t.TempDir())
	if got := list(t.Context()); !strings.Contains(got, "there is no git here") {
		t.Error(got)
	}
}

func TestOwnRowsLetTheSpecsOfThoseRowsThrough(t *testing.T) {
	filter := regexp.MustCompile(ownRows(selftest.Expectation{Fails: []string{"ORD-01", "XPT-06"}, Drifts: []string{"NET-04"}}))
	for text, want := range map[string]bool{
		"asks first, over tftp [ORD-01 ORD-02]": true,
		"follows, over http [XPT-06]":           true,
		"takes its time, over https [NET-04]":   true,
		"says ORD-01, over https [ORD-03]":      false,
	} {
		if got := filter.MatchString(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

func TestTheModelsTakeTurns(t *testing.T) {
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, e := range selftest.Expectations() {
		h, err := handsetFor(b, e)
		if err != nil {
			t.Fatal(err)
		}
		if wifi := h.Link == bench.WiFi; wifi != e.WiFi {
			t.Errorf("%s shows on %s", e.Defect, h.Name)
		}
		seen[h.Model.String()]++
	}
	if n := len(selftest.Expectations()) / 3; seen["IP8820"] < n || seen["IP8830"] < n || seen["IP8840"] < n {
		t.Errorf("got %v", seen)
	}
}

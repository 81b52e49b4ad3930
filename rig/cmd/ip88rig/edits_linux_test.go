package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ip88rig/capture"
	"ip88rig/rig/report"
	"ip88rig/scenarios"
)

// places lists every kind of place in a run.json, with a change of what is there: a
// field of a handset, a spec or a judgement is one kind, however many there are.
func places(v any, at string, found map[string]func()) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			name := at + "." + key
			if strings.HasPrefix(at, ".sha256") {
				name = at // a file as another
			}
			if _, again := found[name]; !again {
				if other, ok := changed(v[key]); ok {
					found[name] = func() { v[key] = other }
				}
			}
			if _, again := found[name+" left out"]; !again {
				found[name+" left out"] = func() { delete(v, key) }
			}
			places(v[key], name, found)
		}
	case []any:
		for _, e := range v {
			places(e, at+"[]", found)
		}
	}
}

func changed(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		return v + "0", true
	case float64:
		return v + 1, true
	case bool:
		return !v, true
	case []any:
		if len(v) > 0 {
			return v[1:], true
		}
	}
	return nil, false
}

// found is what judge says of a run; blank: that its evidence holds.
func foundBy(t *testing.T, dir string) string {
	t.Helper()
	got, err := scenarios.RejudgeRun(dir)
	if err != nil {
		return err.Error()
	}
	said := got.Problems
	for _, a := range got.Judgements {
		if !a.Same() {
			said = append(said, fmt.Sprintf("%s %s was %s, is %s: %s", a.Folder, a.Row, a.Was, a.Is, a.Why))
		}
	}
	return strings.Join(said, "\n")
}

// editsAreFound changes the evidence of a run in every way there is, one at a time.
func editsAreFound(t *testing.T, path string) {
	t.Helper()
	out := t.TempDir()
	said, err := exec.CommandContext(t.Context(), path, "run", "--handset", "ip8830", "--filter", "(ORD-01|XPT-01).*over tftp|over tftp.*(ORD-01|XPT-01)", "--out", out, "--seed", "1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(out, "latest"))
	if err != nil {
		t.Fatal(err)
	}
	if said := foundBy(t, dir); said != "" {
		t.Fatalf("judge finds fault with a run that nobody touched:\n%s", said)
	}
	runFile := filepath.Join(dir, "run.json")
	whole, err := os.ReadFile(runFile)
	if err != nil {
		t.Fatal(err)
	}
	put := func(t *testing.T, file string, data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := map[string]func(){}
	var shape any
	if err := json.Unmarshal(whole, &shape); err != nil {
		t.Fatal(err)
	}
	places(shape, "", names)
	t.Logf("%d edits of run.json", len(names))
	if len(names) < 40 {
		t.Fatalf("%d edits of run.json, want 40 at least: %v", len(names), slices.Sorted(maps.Keys(names)))
	}
	for name := range names {
		var v any
		if err := json.Unmarshal(whole, &v); err != nil {
			t.Fatal(err)
		}
		again := map[string]func(){}
		places(v, "", again)
		again[name]()
		data, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		put(t, runFile, data)
		if foundBy(t, dir) == "" {
			t.Errorf("run.json: %s: not found", name)
		}
	}
	put(t, runFile, whole)

	files, err := filepath.Glob(filepath.Join(dir, "ip8830", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || len(data) == 0 {
			continue
		}
		middle := len(data) / 2
		for what, edit := range map[string][]byte{
			"a bit":     slices.Concat(data[:middle], []byte{data[middle] ^ 1}, data[middle+1:]),
			"its end":   data[:len(data)-1],
			"a byte on": slices.Concat(data, []byte{'\n'}),
		} {
			put(t, file, edit)
			if said := foundBy(t, dir); !strings.Contains(said, filepath.Base(file)) {
				t.Errorf("%s: %s: found %q", file, what, said)
			}
		}
		put(t, file, data)
	}
	stranger := filepath.Join(dir, "ip8830", "another", capture.JournalFile)
	if err := os.Mkdir(filepath.Dir(stranger), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, stranger, nil)
	if said := foundBy(t, dir); !strings.Contains(said, "another") {
		t.Errorf("a recording more: found %q", said)
	}
	if err := os.RemoveAll(filepath.Dir(stranger)); err != nil {
		t.Fatal(err)
	}

	// Whoever makes the seals anew has the recordings against him.
	for what, edit := range map[string]func(*report.Handset, *report.Spec){
		"the verdict of a judgement": func(_ *report.Handset, s *report.Spec) { s.Judgements[0].Verdict = report.Fail },
		"the verdict of a spec":      func(_ *report.Handset, s *report.Spec) { s.Verdict = report.Fail },
		"a judgement":                func(_ *report.Handset, s *report.Spec) { s.Judgements = s.Judgements[1:] },
		"a row":                      func(_ *report.Handset, s *report.Spec) { s.Judgements[0].Row = "RBT-99" },
		"rows":                       func(_ *report.Handset, s *report.Spec) { s.Rows = s.Rows[1:] },
		"the name of a spec":         func(_ *report.Handset, s *report.Spec) { s.Name = "another" },
		"the id of a spec":           func(_ *report.Handset, s *report.Spec) { s.ID = "another" },
		"the transport":              func(_ *report.Handset, s *report.Spec) { s.Transport = "https" },
		"frames":                     func(_ *report.Handset, s *report.Spec) { s.Frames++ },
		"the folder":                 func(_ *report.Handset, s *report.Spec) { s.Folder = "elsewhere" },
		"a spec":                     func(h *report.Handset, _ *report.Spec) { h.Specs = h.Specs[1:] },
		"the firmware":               func(h *report.Handset, _ *report.Spec) { h.Firmware = "9.9.9" },
		"the MAC":                    func(h *report.Handset, _ *report.Spec) { h.MAC = "00:00:5e:00:53:99" },
		"the model":                  func(h *report.Handset, _ *report.Spec) { h.Model = "IP8840" },
		"the link":                   func(h *report.Handset, _ *report.Spec) { h.Link = "wifi" },
		"that it is simulated":       func(h *report.Handset, _ *report.Spec) { h.Simulated = false },
		"the seed":                   func(h *report.Handset, _ *report.Spec) { h.Seed++ },
		"defects":                    func(h *report.Handset, _ *report.Spec) { h.Defects = []string{"reboot-twice"} },
	} {
		var r report.Run
		if err := json.Unmarshal(whole, &r); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(r.Handsets[0].Specs, func(s report.Spec) bool {
			return len(s.Judgements) > 0 && s.Judgements[0].Matcher != "" && s.Frames > 0
		})
		edit(&r.Handsets[0], &r.Handsets[0].Specs[i])
		var err error
		if r.Files, err = report.HashFiles(dir); err != nil {
			t.Fatal(err)
		}
		if err := r.Write(dir); err != nil {
			t.Fatal(err)
		}
		if foundBy(t, dir) == "" {
			t.Errorf("sealed anew: %s: not found", what)
		}
	}
	put(t, runFile, bytes.Replace(whole, []byte("pass"), []byte("fail"), 1))
	if code := exitCode(exec.CommandContext(t.Context(), path, "judge", dir).Run()); code != report.ExitEvidence {
		t.Errorf("judge: exit code %d, want %d", code, report.ExitEvidence)
	}
}

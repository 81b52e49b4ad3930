package defect_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"ip88rig/rig/virtual/defect"
)

func TestTheTableIsReadAsItIsWritten(t *testing.T) {
	text := defect.FormatTable(defect.Table())
	got, err := defect.ParseTable(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, defect.Table()) {
		t.Error("written and read again it is another")
	}
	file, err := os.ReadFile("defects.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(file) != text {
		t.Error("defects.txt is not as FormatTable writes it")
	}
	for _, e := range defect.Table() {
		if e.Row == "" || e.Does == "" || strings.HasSuffix(e.Does, ".") {
			t.Errorf("%s: row %q, does %q", e.Name, e.Row, e.Does)
		}
	}
}

func TestEachNameIsInTheTable(t *testing.T) {
	source, err := os.ReadFile("defect.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t\w+ +Name = "([^"]+)"$`).FindAllStringSubmatch(string(source), -1) {
		names[m[1]] = true
		if _, ok := defect.Find(defect.Name(m[1])); !ok {
			t.Errorf("%s is not in defects.txt", m[1])
		}
	}
	for _, e := range defect.Table() {
		if !names[string(e.Name)] {
			t.Errorf("defects.txt: %s has no name in defect.go, so no handset can have it", e.Name)
		}
	}
}

func TestAnErrorInTheTableNamesItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"# c\n\n  fails XPT-01\n":                      "defects.txt:3: a line without a defect",
		"newer-only\n  fails XPT\n":                    "defects.txt:2: ",
		"newer-only\n  fails XPT-01\n  fails XPT-02\n": "defects.txt:3: ",
		"newer-only\n  row XPT-01 XPT-02\n":            "defects.txt:2: ",
		"newer-only\n  does a\n  does b\n":             "defects.txt:3: ",
		"newer-only\n  breaks XPT-01\n":                "defects.txt:2: ",
		"newer-only\n  fails\n":                        "defects.txt:2: ",
		strings.Repeat("newer-only\n", 2):              "defects.txt:2: newer-only stands here twice",
		"newer-only (wired)\n":                         "defects.txt:1: ",
	} {
		if got, err := defect.ParseTable(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}

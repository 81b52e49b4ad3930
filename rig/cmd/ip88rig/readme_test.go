package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/fault"
	"ip88rig/rig/golden"
	"ip88rig/rig/httpd"
	"ip88rig/rig/impair"
	"ip88rig/rig/model"
	"ip88rig/rig/tftpd"
	"ip88rig/scenarios"
)

// README is held true: every bench file in it is read, every command parsed,
// every output compared with what the command says today.

const top = "../../../"

func readme(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(top + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// part is what stands between <!-- name --> and <!-- /name -->, without its fence.
func part(t *testing.T, name string) string {
	t.Helper()
	_, rest, ok1 := strings.Cut(readme(t), "<!-- "+name+" -->\n")
	text, _, ok2 := strings.Cut(rest, "<!-- /"+name+" -->")
	if !ok1 || !ok2 {
		t.Fatalf("README.md has no part %q", name)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[1:len(lines)-1], "\n") + "\n"
}

// blocks are the fenced blocks of a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(readme(t), -1) {
		out = append(out, m[1])
	}
	if len(out) == 0 {
		t.Fatalf("README.md has no %s", language)
	}
	return out
}

func TestEveryBenchFileInREADMEIsRead(t *testing.T) {
	for i, text := range blocks(t, "yaml") {
		if _, err := bench.Parse(fmt.Sprintf("README.md, block %d", i+1), []byte(text), t.TempDir()); err != nil {
			t.Error(err)
		}
	}
}

func TestTheReferenceOfTheBenchFileTellsEveryKeyWithItsDefault(t *testing.T) {
	text := part(t, "bench")
	for _, key := range benchKeys(t) {
		if !regexp.MustCompile(`(?m)[\s{-]` + key + `:`).MatchString(text) {
			t.Errorf("the reference does not tell of %q", key)
		}
	}
	b, err := bench.Parse("reference", []byte(text), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	last := b.Handsets[len(b.Handsets)-1]
	if last.Patience != model.DefaultPatience() {
		t.Errorf("the reference says patience %+v, default is %+v", last.Patience, model.DefaultPatience())
	}
	if b.Subnet.String() != bench.DefaultSubnet {
		t.Errorf("the reference says subnet %s, default is %s", b.Subnet, bench.DefaultSubnet)
	}
	if want := "# factor: " + strconv.Itoa(bench.DefaultFactor) + " "; !strings.Contains(text, want) {
		t.Errorf("the reference does not say %q", want)
	}
	if want := strings.Join(bench.Verbs(), ", "); !strings.Contains(text, want) {
		t.Errorf("the reference does not list the verbs %s", want)
	}

	// What is commented out is right, too, once the files are there.
	dir := t.TempDir()
	for _, name := range []string{"chain.pem", "key.pem", "known.yaml", "golden/desk/x", "fw/1.2.38/x", "fw/1.3.1/x"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole := regexp.MustCompile(`(?m)^( *)# (public-authority:|deviations:|golden:|firmware:|  \w+: )`).ReplaceAllString(text, "$1$2")
	b, err = bench.Parse("reference, nothing commented out", []byte(whole), dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "lab.golden"); b.GoldenRecords != want || b.Deviations != filepath.Join(dir, "known.yaml") {
		t.Errorf("golden records %s, deviations %s; want them beside the file", b.GoldenRecords, b.Deviations)
	}
	if h := b.Handsets[0]; b.PublicChain == nil || h.Golden == "" || h.GoldenFirmware == nil || h.NextFirmware == nil {
		t.Errorf("not all of it was commented in:\n%s", whole)
	}
}

func TestTheRecordAndTheDeviationInREADMEAreOnes(t *testing.T) {
	text := part(t, "record")
	if r, err := golden.Parse("README.md", []byte(text)); err != nil || r.String() != text {
		t.Errorf("the golden record is not as ip88rig writes it: %v", err)
	}
	path := filepath.Join(t.TempDir(), "known.yaml")
	if err := os.WriteFile(path, []byte(part(t, "deviations")), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := loadDeviations(bench.Bench{Deviations: path}); err != nil || len(list) != 1 {
		t.Errorf("got %v, %v", list, err)
	}
}

// benchKeys are the keys that the bench file has, read from its source.
func benchKeys(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), top+"rig/bench/bench.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	ast.Inspect(file, func(n ast.Node) bool {
		if f, ok := n.(*ast.Field); ok && f.Tag != nil {
			tag, err := strconv.Unquote(f.Tag.Value)
			if err != nil {
				t.Fatal(err)
			}
			if key := reflect.StructTag(tag).Get("yaml"); key != "" && key != "embedded" {
				keys = append(keys, key)
			}
		}
		return true
	})
	if len(keys) < 30 {
		t.Fatalf("found the keys %v only", keys)
	}
	return keys
}

func TestEveryCommandInREADMEIsOne(t *testing.T) {
	text := readme(t)
	makefile, err := os.ReadFile(top + "Makefile")
	if err != nil {
		t.Fatal(err)
	}
	commands := strings.Split(strings.Join(blocks(t, "sh"), ""), "\n")
	for _, m := range regexp.MustCompile("`((?:ip88rig|make) [^`]*)`").FindAllStringSubmatch(text, -1) {
		commands = append(commands, m[1])
	}
	root, err := filepath.Abs(top)
	if err != nil {
		t.Fatal(err)
	}
	// Arguments that must be there are looked for from here.
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("out/latest", 0o755); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, line := range commands {
		words := split(strings.TrimPrefix(line, "sudo "))
		if len(words) == 0 {
			continue
		}
		seen++
		switch filepath.Base(words[0]) {
		case "make":
			if len(words) > 1 && !regexp.MustCompile(`(?m)^`+words[1]+`:.*## `).Match(makefile) {
				t.Errorf("%q: the Makefile has no such target", line)
			}
		case "ip88rig":
			k, err := kong.New(&cli{}, kong.Name("ip88rig"), kong.Exit(func(int) {}))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.Parse(words[1:]); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		case "go", "ginkgo":
			suiteRuns(t, root, line, words)
		default:
			t.Errorf("%q: neither make, go test nor ip88rig", line)
		}
	}
	if seen < 15 {
		t.Errorf("%d commands found", seen)
	}
}

// suiteRuns looks at a command line of go test or ginkgo: its package is there, and
// so is each flag that it hands to the package's tests.
func suiteRuns(t *testing.T, root, line string, words []string) {
	t.Helper()
	own := len(words)
	if i := slices.IndexFunc(words, func(w string) bool { return w == "-args" || w == "--" }); i > 0 {
		own = i
	}
	folder := filepath.Join(root, words[own-1])
	if _, err := os.Stat(folder); err != nil || words[0] == "go" && words[1] != "test" {
		t.Errorf("%q: not a test of a package: %v", line, err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var flags strings.Builder
	for _, f := range files {
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		flags.Write(source)
	}
	for _, w := range words[own:] {
		name, is := strings.CutPrefix(w, "-")
		if is && name != "args" && name != "-" && !strings.HasPrefix(name, "ginkgo.") && !regexp.MustCompile(`flag\.\w+\("`+name+`"`).MatchString(flags.String()) {
			t.Errorf("%q: the tests of %s have no flag -%s", line, words[own-1], name)
		}
	}
}

// split breaks a command line at blanks outside of quotes.
func split(line string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?:[^\s'"]|'[^']*'|"[^"]*")+`).FindAllString(line, -1) {
		out = append(out, strings.NewReplacer("'", "", `"`, "").Replace(m))
	}
	return out
}

func TestTheScenarioInREADMEIsOne(t *testing.T) {
	source, err := os.ReadFile(top + "scenarios/reboot.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(source), part(t, "scenario")) {
		t.Error("the scenario in README.md is not in scenarios/reboot.go as it stands there")
	}
}

func TestTheFaultsInREADMEPrintAsItSays(t *testing.T) {
	var want strings.Builder
	for _, f := range []struct {
		code string
		rule fault.Rule
	}{
		{`fault.On("ACK").In("dhcpd").Do(dhcpd.Drop{}).Once()`, fault.On("ACK").In("dhcpd").Do(dhcpd.Drop{}).Once()},
		{`fault.On("DATA").Of("image.rom").During("block 17").Do(tftpd.Drop{}).Once()`, fault.On("DATA").Of("image.rom").During("block 17").Do(tftpd.Drop{}).Once()},
		{`fault.On("sysconf_8830_sip.cfg").In("httpd").Do(httpd.FallSilent{AfterBytes: 4096})`, fault.On("sysconf_8830_sip.cfg").In("httpd").Do(httpd.FallSilent{AfterBytes: 4096})},
		{`fault.On("*").In("wire").From(8).Do(impair.Lose{}).Times(3)`, fault.On("*").In("wire").From(8).Do(impair.Lose{}).Times(3)},
		{`fault.On("image.rom").Behind(65536).Do(impair.LinkDown{For: time.Minute}).Once()`, fault.On("image.rom").Behind(65536).Do(impair.LinkDown{For: time.Minute}).Once()},
		{`fault.On("done").Of("image.rom").Do(impair.PowerCut{After: 2 * time.Second, For: 5 * time.Second}).Once()`, fault.On("done").Of("image.rom").Do(impair.PowerCut{After: 2 * time.Second, For: 5 * time.Second}).Once()},
	} {
		want.WriteString(f.code + "\n// " + f.rule.String() + "\n")
	}
	if got := part(t, "faults"); got != want.String() {
		t.Errorf("README.md has\n%s\nand the code prints\n%s", got, want.String())
	}
}

func TestTheRunInREADMEHasAsManySpecsAsThereAre(t *testing.T) {
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	specs := 0
	for _, h := range b.Handsets {
		for _, d := range scenarios.Declarations(scenarios.Options{Lane: rig.Unopened(b, h)}) {
			if d.Skip == "" {
				specs++
			}
		}
	}
	if want := fmt.Sprintf("%d handsets, %d specs", len(b.Handsets), specs); !strings.Contains(part(t, "run"), want) {
		t.Errorf("the end of \"make run\" in README.md is not of today, with %s: run it and paste", want)
	}
}

func TestTheFailureInREADMEIsWhatTheCommandSays(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the command")
	}
	dir := t.TempDir()
	exe := filepath.Join(dir, "ip88rig")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var line string
	for l := range strings.Lines(strings.Join(blocks(t, "sh"), "")) {
		if strings.Contains(l, "--defect") {
			line = strings.TrimSpace(l)
		}
	}
	run := exec.CommandContext(t.Context(), exe, split(line)[1:]...)
	run.Dir = dir
	out, err := run.CombinedOutput()
	if code := run.ProcessState.ExitCode(); code != 1 {
		t.Fatalf("%s: exit code %d, want 1: %v\n%s", line, code, err, out)
	}
	// Numbers differ from run to run; the ladder's packets may differ in order.
	number := regexp.MustCompile(`--rig '[^']*'|[0-9.]+m?s?`)
	has := map[string]bool{}
	for l := range strings.Lines(string(out)) {
		has[number.ReplaceAllString(strings.TrimSpace(l), "#")] = true
	}
	compared := 0
	for l := range strings.Lines(part(t, "failure")) {
		if regexp.MustCompile(`[0-9]\.[0-9]{6}|evidence:`).MatchString(l) {
			continue
		}
		compared++
		if want := number.ReplaceAllString(strings.TrimSpace(l), "#"); !has[want] {
			t.Errorf("README.md has a line that the command does not say any more:\n%s", l)
		}
	}
	if compared < 10 || t.Failed() {
		t.Errorf("%d lines compared with\n%s", compared, out)
	}

	judge := exec.CommandContext(t.Context(), exe, "judge", "out/latest")
	judge.Dir = dir
	if out, err := judge.CombinedOutput(); err != nil || !strings.Contains(string(out), " 1 judgements made again, 0 different") {
		t.Errorf("judge out/latest: %v\n%s", err, out)
	}
}

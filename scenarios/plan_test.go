package scenarios_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios"
	"ip88rig/scenarios/selftest"
)

var update = flag.Bool("update", false, "write the test plan and README's table of what is covered anew")

// The test plan is made from the catalogue and from the scenarios' own text, so
// that it cannot tell of a scenario that is not there.

func TestThePlanTellsWhatTheScenariosDo(t *testing.T) {
	stories := readStories(t)
	for _, s := range stories {
		if len(s.rows) == 0 || len(s.steps) == 0 {
			t.Errorf("%s: the plan cannot tell what %q does: rows %v, steps %v", s.place, s.name, s.rows, s.steps)
		}
		judged := map[string]bool{}
		for _, step := range s.steps {
			if step.kind == "then" {
				judged[step.row] = true
			}
		}
		for _, row := range s.rows {
			// A row that is handed over in a variable cannot be read here.
			if !judged[row] && !judged[""] {
				t.Errorf("%s: %q names %s and no assertion of it does", s.place, s.name, row)
			}
		}
	}
	// What is declared and what was read are the same stories.
	for _, r := range scenarios.Catalogue() {
		declared := len(scenarios.Covering(r.ID))
		read := 0
		for _, s := range stories {
			if slices.Contains(s.rows, r.ID) {
				read += s.times
			}
		}
		if declared != read {
			t.Errorf("%s is covered by %d stories, and %d were read", r.ID, declared, read)
		}
	}
	keep(t, "README.md", "", plan(stories))
}

func TestREADMETellsWhatIsCovered(t *testing.T) {
	keep(t, filepath.Join("..", "README.md"), "coverage", coverage())
}

func TestEveryPromisedRowIsCoveredAndProven(t *testing.T) {
	for _, r := range scenarios.Catalogue() {
		if (r.Kind == "shall" || r.ID == "AUT-04") && len(scenarios.Covering(r.ID)) == 0 {
			t.Errorf("%s: no scenario judges it: %s", r.ID, r.Statement)
		}
	}
	for _, row := range selftest.Unproven() {
		t.Errorf("%s: no defect turns it red, so its scenarios may not be able to fail", row)
	}
	for _, name := range defect.All() {
		if e, ok := selftest.Expected(name); !ok || len(e.Fails)+len(e.Drifts) == 0 {
			t.Errorf("defect %s declares no row that it turns red", name)
		}
	}
	for _, e := range selftest.Expectations() {
		for _, row := range slices.Concat(e.Fails, e.Drifts, e.Blocks) {
			if _, err := scenarios.Find(row); err != nil && row != "*" {
				t.Errorf("defect %s: %v", e.Defect, err)
			}
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
func plan(stories []story) string {
	var b strings.Builder
	b.WriteString(`# Test plan

Made from requirements.md and from the scenarios by "make plan"; a test fails
where it is not what they say.

A scenario is read as *given* (what the rig serves, and what the handset must
have reached before), *when* (the verb that opens a window on the timeline) and
*then* (which row is judged by which matcher, within which bound; "never" for as
long as quiet must last; "measures" what is compared with the golden record).
What stands below *each* is done for each case of that table, *fresh* is the line
that SetLine serves and *old* the one before. Each scenario runs once for each of
its transports; over some of them a part of a table is enough.

`)
	for _, f := range families() {
		fmt.Fprintf(&b, "## %s\n\n| row | kind | from | sentence | defects that turn it red |\n| --- | --- | --- | --- | --- |\n", f.title)
		for _, r := range f.rows {
			var red []string
			for _, e := range selftest.Expectations() {
				if slices.Contains(slices.Concat(e.Fails, e.Drifts), r.ID) {
					red = append(red, string(e.Defect))
				}
			}
			if len(scenarios.Covering(r.ID)) == 0 {
				red = append(red, "*not judged yet*")
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.ID, r.Kind, r.From, r.Statement, strings.Join(red, ", "))
		}
		b.WriteString("\n")
		for _, s := range stories {
			if s.rows[0][:3] == f.title[:3] {
				s.write(&b)
			}
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// story is a scenario as its source tells it.
type story struct {
	name, place string
	rows, over  []string
	terms       []string
	steps       []step
	// times is how many stories this one declaration makes.
	times int
}

// step is a line of the plan; kind is given, when, then, each (a table's cases)
// or and. level is how many tables it is in.
type step struct {
	kind, row, text string
	level           int
}

func (s story) write(b *strings.Builder) {
	fmt.Fprintf(b, "**%s** (%s over %s", s.name, strings.Join(s.rows, " "), strings.Join(s.over, ", "))
	for _, t := range s.terms {
		fmt.Fprintf(b, "; %s", t)
	}
	b.WriteString(")\n\n")
	var last step
	for i, st := range s.steps {
		if st.kind == last.kind && st.level == last.level && (st.kind == "given" || st.kind == "when") {
			fmt.Fprintf(b, ", %s", st.text)
		} else {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(b, "%s- %s %s", strings.Repeat("  ", st.level), st.kind, strings.TrimLeft(st.row+" "+st.text, " "))
		}
		last = st
	}
	b.WriteString("\n\n")
}

// source is the parsed package.
type source struct {
	t    *testing.T
	fset *token.FileSet
	// funcs are the package's functions, methods those of Phone.
	funcs, methods map[string]*ast.FuncDecl
}

// readStories finds every call of scenario in the package's files.
func readStories(t *testing.T) []story {
	t.Helper()
	src := source{t: t, fset: token.NewFileSet(), funcs: map[string]*ast.FuncDecl{}, methods: map[string]*ast.FuncDecl{}}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(src.fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			switch {
			case !ok:
			case fn.Recv == nil:
				src.funcs[fn.Name.Name] = fn
			case src.text(fn.Recv.List[0].Type) == "*Phone":
				src.methods[fn.Name.Name] = fn
			}
		}
	}
	var out []story
	for _, f := range files {
		// A loop around a declaration makes it several times.
		times := 1
		ast.Inspect(f, func(n ast.Node) bool {
			if loop, ok := n.(*ast.RangeStmt); ok {
				if lit, ok := loop.X.(*ast.BasicLit); ok {
					times, _ = strconv.Atoi(lit.Value)
				}
			}
			if call, ok := n.(*ast.CallExpr); ok && src.text(call.Fun) == "scenario" && len(call.Args) > 2 {
				s := src.story(call)
				s.times = times
				out = append(out, s)
				times = 1
			}
			return true
		})
	}
	return out
}

func (s source) text(n ast.Node) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, s.fset, n); err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// plain is an expression as a reader wants it, without the receiver.
func (s source) plain(n ast.Node) string {
	text := regexp.MustCompile(`\b(phone|p)\.(lane\.|Patience\.)?`).ReplaceAllString(s.text(n), "")
	text = regexp.MustCompile(`\b(timeline|model|rig|pki|control|firmware|match|sipd)\.`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`\bover\b`).ReplaceAllString(text, "transport")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "ctx, ", ""), "(ctx)", "")
	return strings.ReplaceAll(text, "()", "")
}

func literal(n ast.Expr) string {
	if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		text, err := strconv.Unquote(lit.Value)
		if err == nil {
			return text
		}
	}
	return ""
}

func (s source) story(call *ast.CallExpr) story {
	out := story{name: literal(call.Args[0]), place: s.fset.Position(call.Pos()).String()}
	if format, ok := call.Args[0].(*ast.CallExpr); ok {
		out.name = regexp.MustCompile(`%[a-z]`).ReplaceAllString(literal(format.Args[0]), "N")
	}
	for _, arg := range call.Args[1:] {
		switch a := arg.(type) {
		case *ast.FuncLit:
			s.read(&out, a.Body)
		case *ast.CallExpr:
			s.option(&out, a)
		}
	}
	return out
}

func (s source) option(out *story, a *ast.CallExpr) {
	var texts, words []string
	for _, x := range a.Args {
		texts = append(texts, literal(x))
		words = append(words, s.plain(x))
	}
	switch name := s.text(a.Fun); name {
	case "covers":
		out.rows = texts
	case "anyTransport":
		out.over = []string{"TFTP", "HTTP", "HTTPS"}
	case "over":
		out.over = words
	case "takes":
		cycles := " power cycles"
		if words[0] == "1" {
			cycles = " power cycle"
		}
		out.terms = append(out.terms, words[0]+cycles)
	case "standsOn":
		out.terms = append(out.terms, "stands on "+strings.Join(texts, " "))
	case "byHand":
		out.terms = append(out.terms, "by hand: "+strings.Join(texts, ", "))
	case "onWiFi":
		out.terms = append(out.terms, "with a WiFi module only")
	case "needsField":
		out.terms = append(out.terms, "needs the fact "+words[0])
	case "needsFirmware":
		out.terms = append(out.terms, "needs firmware bundles on a real handset")
	case "needsPublicChain":
		out.terms = append(out.terms, "needs public-authority")
	case "riskLockout":
		out.terms = append(out.terms, "risk: lockout")
	case "riskBrick":
		out.terms = append(out.terms, "risk: brick")
	case "needsAir":
		deeds := strings.NewReplacer("impair.WrongPassphrase", "passphrase-wrong, passphrase-right", "impair.", "").Replace(strings.Join(words, ", "))
		out.terms = append(out.terms, "needs of a real handset's access-point: "+strings.ToLower(deeds))
	case "heavy":
		out.terms = append(out.terms, "only where all values are tried")
	case "fullDepth":
		out.terms = append(out.terms, "full depth only")
	case "first":
	default:
		// A function that returns the body, with the row that it is called for.
		fn := s.funcs[name]
		if fn == nil || fn.Type.Results != nil && s.text(fn.Type.Results.List[0].Type) == "option" {
			s.t.Errorf("%s: the plan does not know the option %s of %q", out.place, name, out.name)
			return
		}
		var lit *ast.FuncLit
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			if l, ok := n.(*ast.FuncLit); ok && lit == nil {
				lit = l
			}
			return lit == nil
		})
		if lit != nil {
			s.read(out, lit.Body)
			s.fill(out, fn, a)
		}
	}
}

// fill puts the arguments of the call in the place of a body's parameters.
func (s source) fill(out *story, fn *ast.FuncDecl, call *ast.CallExpr) {
	i := 0
	for _, field := range fn.Type.Params.List {
		for _, name := range field.Names {
			value, plain := literal(call.Args[i]), s.plain(call.Args[i])
			i++
			word := regexp.MustCompile(`\b` + name.Name + `\b`)
			for j := range out.steps {
				if out.steps[j].row == name.Name {
					out.steps[j].row = value
				}
				out.steps[j].text = word.ReplaceAllLiteralString(out.steps[j].text, plain)
			}
		}
	}
}

package scenarios_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// How the plan reads the body of a scenario: statement by statement, into the
// helpers of Phone that judge, with the arguments that they are called with.

// scope is where an expression stands: a body, and what its parameters are.
type scope struct {
	body   *ast.BlockStmt
	params map[string]argument
}

type argument struct {
	expr ast.Expr
	in   *scope
}

// reader reads one story.
type reader struct {
	source
	out *story
	*scope
	// level is the number of tables around, cond what must hold for a step.
	level int
	cond  string
}

// read adds the steps of a scenario's body.
func (s source) read(out *story, body *ast.BlockStmt) {
	r := reader{source: s, out: out, scope: &scope{body: body}}
	r.walk(body)
}

func (r reader) add(kind, row, text string) {
	if kind != "each" && r.cond != "" {
		text += " " + r.cond
	}
	r.out.steps = append(r.out.steps, step{kind: kind, row: row, text: text, level: r.level})
}

// verbs open a window; everything else that is asked of the phone is a given.
func verbs() []string {
	return []string{"PowerCycle", "CheckSync", "notify", "ByHand", "trigger", "UploadAuthority", "Call", "HomeByCheckSync", "Notices", "Disturb"}
}

// silent are methods of Phone that only tell something; so are those with a
// small letter.
func silent(name string) bool {
	return unicode.IsLower(rune(name[0])) || slices.Contains([]string{
		"Field", "Global", "Own", "Version", "Files", "ListedNames", "Listed", "Firmware", "Quiet", "OtherURL", "RegisteredAs", "AskedOver",
		"RunsGolden", "Text", "Sealed", "AnySoftware", "FreshUser", "FreshExpires",
	}, name)
}

// walk reads a statement or an expression, in order; what is deferred comes last.
func (r reader) walk(n ast.Node) {
	var deferred []*ast.CallExpr
	defer func() {
		for _, call := range slices.Backward(deferred) {
			r.walk(call)
		}
	}()
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.DeferStmt:
			deferred = append(deferred, n.Call)
			return false
		case *ast.RangeStmt:
			r.table(n)
			return false
		case *ast.IfStmt:
			r.branch(n)
			return false
		case *ast.SwitchStmt:
			r.cases(n)
			return false
		case *ast.CallExpr:
			return r.call(n)
		}
		return true
	})
}

// table reads a loop: its cases, then what is done for each.
func (r reader) table(loop *ast.RangeStmt) {
	if regexp.MustCompile(`^[a-z]\.`).MatchString(r.text(loop.X)) {
		r.walk(loop.Body) // what a case brings along
		return
	}
	names := r.names(loop.X, r.scope, nil)
	if len(names) == 0 {
		names = []string{"`" + r.words(loop.X) + "`"}
	}
	before := len(r.out.steps)
	r.add("each", "", "of: "+strings.Join(names, "; "))
	inner := r
	inner.level++
	inner.walk(loop.Body)
	if len(r.out.steps) == before+1 {
		r.out.steps = r.out.steps[:before]
	}
}

func (r reader) branch(n *ast.IfStmt) {
	if n.Init != nil {
		r.walk(n.Init)
	}
	r.walk(n.Cond)
	inner := r
	inner.cond = r.when(n.Cond)
	inner.walk(n.Body)
	if n.Else != nil {
		inner.cond = "otherwise"
		inner.walk(n.Else)
	}
}

func (r reader) cases(n *ast.SwitchStmt) {
	for _, stmt := range n.Body.List {
		clause, ok := stmt.(*ast.CaseClause)
		if !ok {
			continue
		}
		inner := r
		inner.cond = "otherwise"
		for _, x := range clause.List {
			r.walk(x)
			inner.cond = r.when(x)
		}
		for _, s := range clause.Body {
			inner.walk(s)
		}
	}
}

// when is a condition, as the plan tells it.
func (r reader) when(x ast.Expr) string {
	return "if `" + regexp.MustCompile(`\b[a-z]\.`).ReplaceAllString(r.words(x), "") + "`"
}

// call reads a call; true: go on into its parts.
func (r reader) call(call *ast.CallExpr) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return true
	}
	name := sel.Sel.Name
	receiver, _ := sel.X.(*ast.Ident)
	switch {
	case name == "Should" || name == "ShouldNot":
		r.verbsIn(sel.X)
		r.then(call, sel)
		return false
	case name == "cell":
		r.cell(call)
		return true
	case receiver != nil && receiver.Name == "c" && len(call.Args) == 0 && unicode.IsLower(rune(name[0])):
		r.add("given", "", "`"+r.text(call.Fun)+"`") // a case brings its own given
		return true
	case receiver == nil || receiver.Name != "phone" && receiver.Name != "p":
		return true
	case slices.Contains(verbs(), name):
		r.add("when", "", "`"+r.short(call)+"`")
		return true
	case name == "Observe" || name == "ObserveUntil":
		r.verbsIn(call)
		r.observe(call)
		return false
	case name == "ObserveAll":
		r.verbsIn(call)
		r.observeAll(call)
		return false
	case name == "table":
		r.add("and", "", "what became of it in each case is in the report: unharmed, recovered by itself, recovered by the rig, lost")
		return false
	case r.judges(name):
		r.verbsIn(call)
		r.enter(r.methods[name], call)
		return false
	case name == "Reach" || name == "Finish" || name == "Accepts":
		// Arguments first: a verb may stand among them.
		r.verbsIn(call)
		what := "FactRegistered"
		if name == "Reach" {
			what = r.words(call.Args[2])
		}
		r.add("given", "", "reached `"+what+"`")
		return false
	case silent(name):
		return true
	}
	r.add("given", "", "`"+r.short(call)+"`")
	return false
}

// verbsIn reads the verbs among the arguments of a call.
func (r reader) verbsIn(n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		if c, ok := n.(*ast.CallExpr); ok {
			if x, ok := c.Fun.(*ast.SelectorExpr); ok && slices.Contains(verbs(), x.Sel.Name) {
				r.add("when", "", "`"+r.short(c)+"`")
			}
		}
		return true
	})
}

// judges tells methods of Phone that hold judgements, or call such a method.
func (s source) judges(name string) bool {
	return s.holds(name, nil)
}

func (s source) holds(name string, seen []string) bool {
	fn := s.methods[name]
	if fn == nil || slices.Contains([]string{"Observe", "ObserveUntil", "ObserveAll", "cell"}, name) || slices.Contains(seen, name) {
		return false
	}
	found := false
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || found {
			return !found
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		of, _ := sel.X.(*ast.Ident)
		switch {
		case slices.Contains([]string{"Should", "ShouldNot", "cell", "Observe", "ObserveUntil", "ObserveAll"}, sel.Sel.Name):
			found = true
		case of != nil && (of.Name == "p" || of.Name == "phone"):
			found = s.holds(sel.Sel.Name, append(seen, name))
		}
		return !found
	})
	return found
}

// enter reads the body of a method with the arguments of a call.
func (r reader) enter(fn *ast.FuncDecl, call *ast.CallExpr) {
	in := &scope{body: fn.Body, params: map[string]argument{}}
	i := 0
	for _, field := range fn.Type.Params.List {
		for _, name := range field.Names {
			if i < len(call.Args) {
				in.params[name.Name] = argument{call.Args[i], r.scope}
			}
			i++
		}
	}
	r.scope = in
	r.walk(fn.Body)
}

// literal is the string that an expression is, where that can be known here.
func (r reader) literal(x ast.Expr, in *scope) string {
	if id, ok := x.(*ast.Ident); ok {
		if arg, ok := in.params[id.Name]; ok {
			return r.literal(arg.expr, arg.in)
		}
	}
	return literal(x)
}

// row is the row that is judged; the name of a parameter where a function
// returns the body.
func (r reader) row(x ast.Expr) string {
	if row := r.literal(x, r.scope); row != "" {
		return row
	}
	if id, ok := x.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// words is an expression in plain words, with arguments in the place of
// parameters where they are short.
func (r reader) words(n ast.Node) string {
	text := r.plain(n)
	for name, arg := range r.params {
		value := reader{source: r.source, scope: arg.in}.plain(arg.expr)
		if len(value) <= 40 {
			text = regexp.MustCompile(`\b`+name+`\b`).ReplaceAllLiteralString(text, value)
		}
	}
	return text
}

// short is a call without what only the rig needs to know.
func (r reader) short(call *ast.CallExpr) string {
	text := r.words(call)
	if m := regexp.MustCompile(`Request\{.*?Verb: (\w+)`).FindStringSubmatch(text); m != nil {
		return "ByHand(" + m[1] + ")"
	}
	return text
}

// then reads Eventually(ctx, window).Should(Show(row, matcher)).
func (r reader) then(call *ast.CallExpr, sel *ast.SelectorExpr) {
	show, ok := call.Args[0].(*ast.CallExpr)
	if !ok {
		return
	}
	text := "`" + r.words(show.Args[len(show.Args)-1]) + "`"
	if sel.Sel.Name == "ShouldNot" {
		text = "never " + text
	}
	if async, ok := sel.X.(*ast.CallExpr); ok && len(async.Args) > 1 {
		text += r.within(async.Args[1])
	}
	if len(show.Args) == 3 {
		text += r.label(show.Args[1])
	}
	r.add("then", r.row(show.Args[0]), text)
}

// cell reads cell(ctx, row, name, window, matcher).
func (r reader) cell(call *ast.CallExpr) {
	text := "`" + r.words(call.Args[4]) + "`"
	row := r.literal(call.Args[1], r.scope)
	if row == "" { // each cell has its own
		r.add("then", "", text+", for each cell")
		return
	}
	r.add("then", row, text+r.within(call.Args[3])+r.label(call.Args[2]))
}

// observe reads Observe(ctx, row, case, window, observation).
func (r reader) observe(call *ast.CallExpr) {
	text := "measures `" + r.words(call.Args[len(call.Args)-1]) + "`" + r.within(call.Args[3])
	if len(call.Args) == 6 {
		text += " until `" + r.words(call.Args[4]) + "`"
	}
	r.add("then", r.row(call.Args[1]), text+r.label(call.Args[2]))
}

// observeAll reads ObserveAll(ctx, window, until, Measured{row, case, observation}, …).
func (r reader) observeAll(call *ast.CallExpr) {
	for _, x := range call.Args[3:] {
		m, ok := x.(*ast.CompositeLit)
		if !ok || len(m.Elts) != 3 {
			continue
		}
		text := "measures `" + r.words(m.Elts[2]) + "`" + r.within(call.Args[1]) + " until `" + r.words(call.Args[2]) + "`"
		r.add("then", r.row(m.Elts[0]), text+r.label(m.Elts[1]))
	}
}

// within is the bound of a window.
func (r reader) within(window ast.Expr) string {
	if id, ok := window.(*ast.Ident); ok {
		for _, x := range assigned(r.body, id.Name) {
			window = x
		}
	}
	if m := regexp.MustCompile(`Within\(([^()]*)\)\)*$`).FindStringSubmatch(r.plain(window)); m != nil {
		return " within " + m[1]
	}
	return ""
}

// label is the name of a case, without the part that the table has already told.
func (r reader) label(x ast.Expr) string {
	text := strings.TrimLeft(r.phrase(x, r.scope), "… ,:")
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// phrase is a text, "…" for each part of it that is not known here.
func (r reader) phrase(x ast.Expr, in *scope) string {
	if text := r.literal(x, in); text != "" {
		return text
	}
	switch x := x.(type) {
	case *ast.BinaryExpr:
		return r.phrase(x.X, in) + r.phrase(x.Y, in)
	case *ast.CallExpr:
		if r.text(x.Fun) == "fmt.Sprintf" {
			return strings.ReplaceAll(regexp.MustCompile(`%[a-z]`).ReplaceAllString(literal(x.Args[0]), "…"), "%%", "%")
		}
	case *ast.Ident:
		if arg, ok := in.params[x.Name]; ok {
			return r.phrase(arg.expr, arg.in)
		}
		for _, value := range assigned(in.body, x.Name) {
			if _, again := value.(*ast.Ident); !again {
				return r.phrase(value, in)
			}
		}
	case *ast.BasicLit: // the empty text
		return ""
	}
	return "…"
}

// names are the cases of a table; none where they are not known here.
func (r reader) names(x ast.Expr, in *scope, seen []string) []string {
	var out []string
	switch x := x.(type) {
	case *ast.CompositeLit:
		for _, elt := range x.Elts {
			out = append(out, r.name(elt, in))
		}
	case *ast.CallExpr:
		switch name := r.text(x.Fun); name {
		case "append":
			out = r.names(x.Args[0], in, seen)
			for _, elt := range x.Args[1:] {
				out = append(out, r.name(elt, in))
			}
		case "every", "tried", "slices.Clone":
			return r.names(x.Args[0], in, seen)
		default:
			_, method, _ := strings.Cut(name, ".")
			fn := r.methods[method]
			if fn == nil {
				fn = r.funcs[name]
			}
			if fn != nil {
				return r.returned(fn)
			}
		}
	case *ast.Ident:
		if arg, ok := in.params[x.Name]; ok {
			return r.names(arg.expr, arg.in, nil)
		}
		if slices.Contains(seen, x.Name) {
			return nil
		}
		for _, value := range assigned(in.body, x.Name) {
			out = append(out, r.names(value, in, append(seen, x.Name))...)
		}
		out = append(out, keys(in.body, x.Name)...)
	}
	return out
}

// returned are the cases that a function returns.
func (r reader) returned(fn *ast.FuncDecl) []string {
	var out []string
	in := &scope{body: fn.Body}
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		if ret, ok := n.(*ast.ReturnStmt); ok && len(ret.Results) > 0 {
			out = append(out, r.names(ret.Results[0], in, nil)...)
		}
		_, inner := n.(*ast.FuncLit)
		return !inner
	})
	return out
}

// name is that of one case: its field "name", its key, its first field, or the
// value itself.
func (r reader) name(elt ast.Expr, in *scope) string {
	switch e := elt.(type) {
	case *ast.KeyValueExpr:
		return r.name(e.Key, in)
	case *ast.CompositeLit:
		for i, field := range e.Elts {
			kv, ok := field.(*ast.KeyValueExpr)
			switch {
			case !ok && i == 0:
				return r.name(field, in)
			case ok && r.text(kv.Key) == "name":
				return r.name(kv.Value, in)
			}
		}
	}
	if text := r.phrase(elt, in); strings.Trim(text, "… ") != "" {
		return text
	}
	return "`" + r.plain(elt) + "`"
}

// assigned are the values that a variable gets within a body, in order.
func assigned(body *ast.BlockStmt, name string) []ast.Expr {
	var out []ast.Expr
	ast.Inspect(body, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == len(a.Rhs) && a.Tok != token.ADD_ASSIGN {
			for i, x := range a.Lhs {
				if id, ok := x.(*ast.Ident); ok && id.Name == name {
					out = append(out, a.Rhs[i])
				}
			}
		}
		return true
	})
	return out
}

// keys are the literal keys that a map variable gets within a body.
func keys(body *ast.BlockStmt, name string) []string {
	var out []string
	ast.Inspect(body, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == 1 {
			if x, ok := a.Lhs[0].(*ast.IndexExpr); ok {
				if id, ok := x.X.(*ast.Ident); ok && id.Name == name && literal(x.Index) != "" {
					out = append(out, literal(x.Index))
				}
			}
		}
		return true
	})
	return out
}

package selftest

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ip88rig/rig/virtual/defect"
	"ip88rig/scenarios"
)

//go:embed expectations.txt
var table string

// parsed is the table, read once.
var parsed = sync.OnceValue(func() []Expectation {
	list, err := Parse(table)
	if err != nil {
		panic(err) // a test reads the table
	}
	return list
})

// Expectations returns the table of defects, in its order.
func Expectations() []Expectation { return slices.Clone(parsed()) }

// list is one of an expectation's, by its name in the table.
type list struct {
	name string
	rows *[]string
}

// lists are an expectation's, in the order of the table.
func lists(e *Expectation) []list {
	return []list{{"fails", &e.Fails}, {"drifts", &e.Drifts}, {"blocks", &e.Blocks}, {"unjudged", &e.Unjudged}}
}

// Parse reads a table of expectations: a line with the defect's name, " (wifi)"
// behind it where it shows on a handset with a WiFi module only, and below it,
// indented, a line for each list of rows that is not empty. Lines that begin with #
// are comments.
func Parse(text string) ([]Expectation, error) {
	var out []Expectation
	for i, line := range strings.Split(text, "\n") {
		wrong := func(format string, args ...any) error {
			return fmt.Errorf("expectations.txt:%d: "+format, append([]any{i + 1}, args...)...)
		}
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0][0] == '#':
		case !strings.HasPrefix(line, " "):
			e := Expectation{Defect: defect.Name(words[0])}
			switch rest := words[1:]; {
			case slices.Equal(rest, []string{"(wifi)"}):
				e.WiFi = true
			case len(rest) > 0:
				return nil, wrong("%q behind the name of a defect", rest)
			}
			if !slices.Contains(defect.All(), e.Defect) {
				return nil, wrong("no defect is called %q", words[0])
			}
			if slices.ContainsFunc(out, func(o Expectation) bool { return o.Defect == e.Defect }) {
				return nil, wrong("%s stands here twice", e.Defect)
			}
			out = append(out, e)
		case len(out) == 0:
			return nil, wrong("rows without a defect")
		default:
			lists := lists(&out[len(out)-1])
			n := slices.IndexFunc(lists, func(l list) bool { return l.name == words[0] })
			if n < 0 || len(*lists[n].rows) > 0 || len(words) == 1 {
				return nil, wrong("%q: want fails, drifts, blocks or unjudged, each once, with rows", line)
			}
			for _, row := range words[1:] {
				if _, err := scenarios.Find(row); err != nil {
					return nil, wrong("%v", err)
				}
			}
			*lists[n].rows = words[1:]
		}
	}
	return out, nil
}

// Format writes a table as Parse reads it.
func Format(table []Expectation) string {
	var b strings.Builder
	b.WriteString(head)
	for _, e := range table {
		b.WriteString("\n" + string(e.Defect))
		if e.WiFi {
			b.WriteString(" (wifi)")
		}
		b.WriteString("\n")
		for _, l := range lists(&e) {
			if len(*l.rows) > 0 {
				fmt.Fprintf(&b, "  %-8s %s\n", l.name, strings.Join(*l.rows, " "))
			}
		}
	}
	return b.String()
}

const head = `# What each defect does to the suite: the rows that it fails and drifts, those that
# it blocks, and those that nothing can be said of. A run in virtual time is the same
# each time, so the lists are exact. "make mutants ARGS=--declare" writes them anew:
# read the diff, row by row, before you commit it.
`

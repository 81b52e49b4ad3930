package scenarios

import (
	_ "embed" // the catalogue is compiled in, so that every report can quote it
	"fmt"
	"regexp"
	"strings"
)

//go:embed requirements.md
var catalogueText string

// Requirement is one row of the catalogue.
type Requirement struct {
	ID string
	// Kind is "shall", "safe" or "observe".
	Kind string
	// From says which documents promise it: "F-2", "8002, 68", "RFC", "inf".
	From      string
	Statement string
}

// PromisedBySiblingOnly tells a row that no document of the handset's own
// family promises: on a real handset a failure of it is inconclusive until the
// row was measured for that model.
func (r Requirement) PromisedBySiblingOnly() bool {
	for _, own := range []string{"F-2", "E5K", "88", "RFC"} {
		for part := range strings.SplitSeq(r.From, ",") {
			if strings.TrimSpace(part) == own {
				return false
			}
		}
	}
	return r.Kind == "shall"
}

// Lockout and Brick tell rows whose statement marks that risk.
func (r Requirement) Lockout() bool { return strings.Contains(r.Statement, "`risk: lockout`") }

// Brick tells rows whose scenarios can kill a handset.
func (r Requirement) Brick() bool { return strings.Contains(r.Statement, "`risk: brick`") }

// Catalogue returns every row in the order of the document.
func Catalogue() []Requirement {
	row := regexp.MustCompile(`^\| ([A-Z]{3}-[0-9]{2}) \| (\w+) \| ([^|]*) \| (.*) \|$`)
	var out []Requirement
	for line := range strings.SplitSeq(catalogueText, "\n") {
		if m := row.FindStringSubmatch(line); m != nil {
			out = append(out, Requirement{ID: m[1], Kind: m[2], From: strings.TrimSpace(m[3]), Statement: m[4]})
		}
	}
	return out
}

// Find returns the row of that id.
func Find(id string) (Requirement, error) {
	for _, r := range Catalogue() {
		if r.ID == id {
			return r, nil
		}
	}
	return Requirement{}, fmt.Errorf("no requirement %q; \"ip88rig requirements\" lists them", id)
}

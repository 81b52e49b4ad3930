package scenarios

import (
	_ "embed" // the catalogue is compiled in, so that every report can quote it
	"fmt"
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

// Catalogue returns every row in the order of the document.
func Catalogue() []Requirement {
	var out []Requirement
	for line := range strings.SplitSeq(catalogueText, "\n") {
		if r, ok := parseRow(line); ok {
			out = append(out, r)
		}
	}
	return out
}

// parseRow reads a line of the table: "| XPT-01 | guide | F-1 | statement |".
func parseRow(line string) (Requirement, bool) {
	line, ok := strings.CutSuffix(line, " |")
	cells := strings.SplitN(line, " | ", 4)
	id, begins := strings.CutPrefix(cells[0], "| ")
	if !ok || !begins || len(cells) < 4 || len(id) != len("XPT-01") || id[3] != '-' || strings.Trim(id[4:], "0123456789") != "" {
		return Requirement{}, false
	}
	return Requirement{ID: id, Kind: cells[1], From: strings.TrimSpace(cells[2]), Statement: cells[3]}, true
}

// Find returns the row of that id.
func Find(id string) (Requirement, error) {
	for line := range strings.SplitSeq(catalogueText, "\n") {
		if !strings.HasPrefix(line, "| "+id+" ") {
			continue
		}
		if r, ok := parseRow(line); ok {
			return r, nil
		}
	}
	return Requirement{}, fmt.Errorf("no requirement %q; \"ip88rig requirements\" lists them", id)
}

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"ip88rig/scenarios"
	"ip88rig/scenarios/selftest"
)

type requirementsCmd struct {
	Row string `arg:"" optional:"" help:"Only this row, or rows that begin like this: RBT, RBT-04."`
}

// Run lists the rows with the specs that judge them and the defects that turn
// them red.
func (c *requirementsCmd) Run() error {
	found := false
	for _, r := range scenarios.Catalogue() {
		if !strings.HasPrefix(r.ID, strings.ToUpper(c.Row)) {
			continue
		}
		found = true
		fmt.Printf("%s  %-7s  [%s]  %s\n", r.ID, r.Kind, r.From, r.Statement)
		specs := scenarios.Covering(r.ID)
		for _, s := range specs {
			fmt.Printf("          spec    %s\n", s)
		}
		for _, d := range selftest.Expectations() {
			if slices.Contains(slices.Concat(d.Fails, d.Drifts), r.ID) {
				fmt.Printf("          defect  %s\n", d.Name)
			}
		}
		if len(specs) == 0 {
			fmt.Printf("          no spec judges it yet\n")
		}
	}
	if !found {
		return usage("no requirement begins with %q", c.Row)
	}
	return nil
}

type defectsCmd struct{}

// Run lists the defects with the rows that each breaks.
func (c *defectsCmd) Run() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, e := range selftest.Expectations() {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s (%s)\n", e.Name, declared(e), e.Does, e.Row)
	}
	return w.Flush()
}

package virtual

import (
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/air"
	"ip88rig/rig/virtual/defect"
)

// boots are the stations that have asked for an address.
func boots(notes []string) string {
	var out []string
	for _, n := range notes {
		if mac, ok := strings.CutPrefix(n, "boot "); ok && !slices.Contains(out, mac) {
			out = append(out, mac)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestACableBesideTheModule plugs a cable in beside the module of a handset, and
// pulls it out again: both count from the next power on.
func TestACableBesideTheModule(t *testing.T) {
	t.Parallel()
	const viaModule, viaCable = "B G W E V R100", "B G O F V R100"
	phone, module := phoneMAC.String(), moduleMAC.String()
	for _, tc := range []struct {
		name, fact string
		defects    defect.Set
		wired      bool
		as         string // who has an address with the cable in
		first, by  string // the cycle without it, and with it
	}{
		{name: "is not used", fact: "module", as: module, first: viaModule, by: viaModule},
		{name: "is used in its place", fact: "cable", as: phone, first: viaModule, by: viaCable},
		{name: "is used too", fact: "both", as: phone + " " + module, first: viaModule, by: viaModule},
		{name: "is used too, with the defect", fact: "module", defects: defect.Set{defect.BothLinksUp}, as: phone + " " + module, first: viaModule, by: viaModule},
		{name: "is the only one", fact: "module", defects: defect.Set{defect.BothLinksUp}, wired: true, as: phone, first: viaCable, by: viaCable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			const addressed = "log address of the cable"
			l, a := newLab(t), air.New(labPassphrase)
			h := registered(t, l, onAir(l, a, func(c *Config) {
				withFact(t, c, model.WiredBesideWiFi, tc.fact)
				c.Defects = tc.defects
				if tc.wired {
					c.Module = nil
				}
			}))
			without := phone
			if !tc.wired {
				without = module
			}
			check := func(what string, notes []string, as, by string) {
				t.Helper()
				if got := boots(notes); got != as {
					t.Errorf("%s: addresses for %q, want %q", what, got, as)
				}
				notes = slices.DeleteFunc(notes, func(s string) bool { return s == "boot "+phone && as != phone })
				if got := short(notes); got != by {
					t.Errorf("%s: got %s, want %s", what, got, by)
				}
			}
			check("before", l.since(0), without, tc.first)
			h.PlugCable(true)
			l.quiet(0, addressed)
			n := l.cycle(h)
			l.until(n, "register ")
			if strings.Contains(tc.as, " ") {
				l.until(n, addressed)
			} else {
				l.quiet(n, addressed)
			}
			check("with the cable", l.since(n), tc.as, tc.by)
			h.PlugCable(false)
			n = l.cycle(h)
			l.until(n, "register ")
			l.quiet(n, addressed)
			check("without it again", l.since(n), without, tc.first)
		})
	}
}

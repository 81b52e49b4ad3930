package virtual

import (
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/air"
	"ip88rig/rig/virtual/defect"
)

const labPassphrase = "right"

var (
	home  = air.Beacon{AccessPoint: 1, Channel: 1}
	moved = air.Beacon{AccessPoint: 1, Channel: 6}
	other = air.Beacon{AccessPoint: 2, Channel: 6}
)

// onAir gives a handset a module, a network that it knows the passphrase of, and
// a time server to be asked once a boot.
func onAir(l *lab, a *air.Air, change func(*Config)) func(*Config) {
	l.clockAt(labServer)
	return func(c *Config) {
		logged(l, c)
		c.Module, c.Air, c.Passphrase = moduleMAC, a, labPassphrase
		if change != nil {
			change(c)
		}
	}
}

// deed is what an access point does to a handset in operation.
type deed struct {
	do func(*air.Air)
	// seen is what the handset notes of it, after which it is undone.
	seen string
	undo func(*air.Air)
	// at is where the handset is to be found afterwards.
	at air.Beacon
}

func deeds() map[string]deed {
	return map[string]deed{
		"de-authentication": {(*air.Air).Deauthenticate, "log link lost", nil, home},
		"restart":           {(*air.Air).Off, "log link lost", (*air.Air).On, home},
		"wrong passphrase":  {func(a *air.Air) { a.Wrong(true) }, "log not associated", func(a *air.Air) { a.Wrong(false) }, home},
		"roam":              {(*air.Air).Roam, "log link lost", nil, other},
		"channel":           {(*air.Air).Retune, "log link lost", nil, moved},
	}
}

// undergo has the deed done to a handset, and undone. Meanwhile the handset hears
// nothing. It returns where the notes of that begin.
func (l *lab) undergo(a *air.Air, d deed) (from int) {
	l.t.Helper()
	from = l.count()
	d.do(a)
	l.until(from, d.seen)
	if d.undo != nil {
		l.lost(from)
		d.undo(a)
	}
	return from
}

// lost fails when the handset hears or says something.
func (l *lab) lost(from int) {
	l.t.Helper()
	l.notify("check-sync")
	l.quiet(from, "sip ")
	l.none(from, "renew ", "boot ", "tftp ")
}

func (l *lab) none(from int, prefixes ...string) {
	l.t.Helper()
	notes := l.since(from)
	for _, prefix := range prefixes {
		if slices.ContainsFunc(notes, func(s string) bool { return strings.HasPrefix(s, prefix) }) {
			l.t.Errorf("%q among\n%s", prefix, strings.Join(notes, "\n"))
		}
	}
}

// associated fails unless the handset is at an access point, by an association
// that holds.
func associated(t *testing.T, h *Handset, want air.Beacon) {
	t.Helper()
	if joined := h.cord.joined.Load(); joined == nil || !joined.Alive() || joined.Beacon != want {
		t.Errorf("associated as %+v, want an association that holds with %+v", joined, want)
	}
}

// TestComesBackOnTheAir has an access point do all that it can to handsets of
// every defect. One that does not come back does when it is powered again.
func TestComesBackOnTheAir(t *testing.T) {
	t.Parallel()
	for name, d := range deeds() {
		for _, tc := range []struct {
			defect defect.Name
			sticks bool
		}{
			{"", false},
			{defect.DeauthSticks, true},
			{defect.RoamSticks, name == "roam"},
			{defect.WrongPassphraseSticks, name == "wrong passphrase"},
		} {
			d := d
			if tc.defect == defect.DeauthSticks {
				d.seen = "log link lost" // and it does not try
			}
			t.Run(name+" "+string(tc.defect), func(t *testing.T) {
				t.Parallel()
				l, a := newLab(t), air.New(labPassphrase)
				h := registered(t, l, onAir(l, a, with(tc.defect)))
				l.until(0, "sntp")
				associated(t, h, home)
				n := l.undergo(a, d)
				if tc.sticks {
					l.lost(n)
					n = l.cycle(h)
					if got, want := short(l.until(n, "register ")), "B G W E V R100"; got != want {
						t.Errorf("powered again: got %s, want %s", got, want)
					}
					associated(t, h, d.at)
					return
				}
				l.until(n, "renew ")
				associated(t, h, d.at)
				l.quiet(n, "tftp ") // no cycle
				l.none(n, "boot ", "sntp", "log boot", "log reboot")
				n = l.count()
				l.notify("check-sync")
				if got, want := short(l.until(n, "tftp "+verFile)), "G W E V"; strings.ReplaceAll(got, "R100 ", "") != want {
					t.Errorf("check-sync: got %s, want %s", got, want)
				}
			})
		}
	}
}

func TestTheLeaseAfterAnAssociation(t *testing.T) {
	t.Parallel()
	for fact, wants := range map[string]string{"renew": "renew ", "init-reboot": "boot ", "nothing": ""} {
		for name, d := range deeds() {
			t.Run(fact+" "+name, func(t *testing.T) {
				t.Parallel()
				l, a := newLab(t), air.New(labPassphrase)
				registered(t, l, onAir(l, a, func(c *Config) { withFact(t, c, model.LinkUpDHCP, fact) }))
				n := l.undergo(a, d)
				l.until(n, "log link back")
				for _, asked := range []string{"renew ", "boot "} {
					if asked == wants {
						l.until(n, asked)
					}
				}
				l.quiet(n, "tftp ")
				for _, asked := range []string{"renew ", "boot "} {
					if asked != wants {
						l.none(n, asked)
					}
				}
				l.none(n, "sntp", "log boot", "log reboot")
			})
		}
	}
}

// TestHowLongTheModuleStaysAway has what a module may have to wait for last
// longer than any test: who waits for it does not come back.
func TestHowLongTheModuleStaysAway(t *testing.T) {
	t.Parallel()
	waits := map[string]string{"roam": model.WiFiScanTime, "channel": model.WiFiScanTime, "wrong passphrase": model.WiFiRetryTime}
	for _, fact := range []string{model.WiFiScanTime, model.WiFiRetryTime} {
		for name, d := range deeds() {
			t.Run(fact+" "+name, func(t *testing.T) {
				t.Parallel()
				l, a := newLab(t), air.New(labPassphrase)
				h := registered(t, l, onAir(l, a, func(c *Config) { withFact(t, c, fact, "10h") }))
				n := l.undergo(a, d)
				if waits[name] != fact {
					l.until(n, "renew ")
					return
				}
				l.lost(n)
				l.cycle(h) // neither scan nor passphrase outlives power
				associated(t, h, d.at)
			})
		}
	}
}

func TestAWrongPassphraseIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, defects := range []defect.Set{nil, {defect.WrongPassphraseSticks}} {
		l, a := newLab(t), air.New(labPassphrase)
		registered(t, l, onAir(l, a, with(defects...)))
		n := l.count()
		a.Wrong(true)
		n += len(l.until(n, "log not associated"))
		if len(defects) > 0 {
			l.quiet(n, "log not associated")
			continue
		}
		l.until(n, "log not associated")
	}
}

func TestBootsOnceItMayAssociate(t *testing.T) {
	t.Parallel()
	const waits, tries = "log boot", "log not associated"
	right := func(a *air.Air) { a.Wrong(false) }
	for _, tc := range []struct {
		name       string
		before     func(*air.Air)
		passphrase string
		seen       string
		after      func(*air.Air)
		defects    defect.Set
		boots      bool
	}{
		{"no access point", (*air.Air).Off, labPassphrase, waits, (*air.Air).On, nil, true},
		{"it stays away", (*air.Air).Off, labPassphrase, waits, (*air.Air).Roam, nil, false},
		{"wrong passphrase, right again", func(a *air.Air) { a.Wrong(true) }, labPassphrase, tries, right, nil, true},
		{"wrong passphrase, with the defect", func(a *air.Air) { a.Wrong(true) }, labPassphrase, tries, right, defect.Set{defect.WrongPassphraseSticks}, false},
		{"another passphrase", right, "another", tries, right, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l, a := newLab(t), air.New(labPassphrase)
			tc.before(a)
			h := l.handset(onAir(l, a, func(c *Config) { c.Passphrase, c.Defects = tc.passphrase, tc.defects }))
			l.until(0, tc.seen)
			l.quiet(0, "boot ")
			tc.after(a)
			if tc.boots {
				l.until(0, "tftp "+verFile)
				return
			}
			l.quiet(0, "boot ")
			if len(tc.defects) > 0 {
				l.cycle(h)
				associated(t, h, home)
			}
		})
	}
}

// TestJoinsUnderItsSecurityMode has the network secured otherwise than a module is
// set to from the factory, then sets the module to the same mode.
func TestJoinsUnderItsSecurityMode(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		mode    model.Security
		has     string // modes that the module has a setting for; blank: all
		defects defect.Set
		joins   bool
	}{
		{"open", model.Open, "", nil, true},
		{"WPA", model.WPA, "", nil, true},
		{"802.1X", model.Enterprise, "", nil, true},
		{"no such setting", model.Enterprise, "open WPA-PSK WPA2-PSK", nil, false},
		{"refuses-802.1x", model.Enterprise, "", defect.Set{defect.Refuses8021X}, false},
		{"refuses-802.1x, another mode", model.Open, "", defect.Set{defect.Refuses8021X}, true},
		{"wrong-passphrase-sticks", model.Open, "", defect.Set{defect.WrongPassphraseSticks}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l, a := newLab(t), air.New(labPassphrase)
			a.Secure(tc.mode)
			h := l.handset(onAir(l, a, func(c *Config) {
				c.Defects = tc.defects
				if tc.has != "" {
					withFact(t, c, model.WiFiSecurities, tc.has)
				}
			}))
			l.until(0, "log not associated")
			l.quiet(0, "boot ")
			h.SetSecurity(tc.mode)
			if tc.joins {
				l.until(0, "tftp "+verFile)
				associated(t, h, home)
				n := l.cycle(h) // the setting outlives the power
				l.until(n, "tftp "+verFile)
				return
			}
			l.quiet(0, "boot ")
			a.Secure(model.WPA2)
			h.SetSecurity(model.WPA2)
			l.until(0, "tftp "+verFile)
		})
	}
}

// TestANetworkThatIsSecuredOtherwiseIsTriedAgain has the next try of a module that
// was not let in last longer than any test.
func TestANetworkThatIsSecuredOtherwiseIsTriedAgain(t *testing.T) {
	t.Parallel()
	l, a := newLab(t), air.New(labPassphrase)
	h := registered(t, l, onAir(l, a, func(c *Config) { withFact(t, c, model.WiFiRetryTime, "10h") }))
	n := l.count()
	a.Secure(model.Open)
	n += len(l.until(n, "log not associated"))
	h.SetSecurity(model.Open)
	l.quiet(n, "log link back")
	n = l.cycle(h)
	l.until(n, "tftp "+verFile)
}

func TestAWireNeedsNoAir(t *testing.T) {
	t.Parallel()
	l, a := newLab(t), air.New("another")
	a.Off()
	registered(t, l, onAir(l, a, func(c *Config) { c.Module = nil }))
	n := l.count()
	a.Deauthenticate()
	l.quiet(n, "log link lost")
	l.notify("check-sync")
	l.until(n, "sip 200")
}

func TestAModuleThatIsGoneNeedsNoAir(t *testing.T) {
	t.Parallel()
	l, a := newLab(t), air.New(labPassphrase)
	h := registered(t, l, onAir(l, a, nil))
	h.RemoveModule()
	a.Off()
	n := l.cycle(h)
	if got, want := short(l.until(n, "register ")), "B G O F V R100"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestHearsAnAccessPointAtOnce has the next try of a refused module last longer
// than any test: one that waits for an access point has not been refused.
func TestHearsAnAccessPointAtOnce(t *testing.T) {
	t.Parallel()
	l, a := newLab(t), air.New(labPassphrase)
	a.Off()
	l.handset(onAir(l, a, func(c *Config) { withFact(t, c, model.WiFiRetryTime, "10h") }))
	l.quiet(0, "boot ")
	a.On()
	l.until(0, "boot ")
}

// TestTheModuleHangs takes the access point, or the link where there is none,
// from handsets in the middle of a cycle, of which the own file breaks off, and
// outside of one.
func TestTheModuleHangs(t *testing.T) {
	t.Parallel()
	const whole = "B G W E V R100"
	for _, tc := range []struct {
		name           string
		defects        defect.Set
		noAir, resync  bool
		wired, outside bool
		hangs          bool
	}{
		{name: "healthy"},
		{name: "healthy, the link", noAir: true},
		{name: "defect", defects: defect.Set{defect.ModuleHangs}, hangs: true},
		{name: "defect, the link", defects: defect.Set{defect.ModuleHangs}, noAir: true, hangs: true},
		{name: "defect, in a cycle by check-sync", defects: defect.Set{defect.ModuleHangs}, resync: true, hangs: true},
		{name: "defect, outside of a cycle", defects: defect.Set{defect.ModuleHangs}, outside: true},
		{name: "defect, wired", defects: defect.Set{defect.ModuleHangs}, noAir: true, wired: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l, a := newLab(t), air.New(labPassphrase)
			name := ownWiFi
			if tc.wired {
				name = own
			}
			breaks := func() { l.publish(name, breakOff) }
			if !tc.resync && !tc.outside {
				breaks()
			}
			h := l.handset(onAir(l, a, func(c *Config) {
				c.Defects = tc.defects
				c.Flash = newFlash(t, c.Model, map[string]string{"VOIP/line1_name": "100", "VOIP/line1_proxy_address": labServer})
				if tc.noAir {
					c.Air = nil
				}
				if tc.wired {
					c.Module = nil
				}
			}))
			n := 0
			if tc.resync || tc.outside {
				n += len(l.until(0, "register "))
			}
			if tc.resync {
				breaks()
				l.notify("check-sync")
			}
			if !tc.outside {
				n += len(l.until(n, "tftp "+name))
			}
			if tc.noAir {
				l.flap()
			} else {
				a.Deauthenticate()
			}
			n += len(l.until(n, "log link lost"))
			l.publish(name, "")
			if !tc.hangs {
				l.until(n, "log link back")
				l.until(n, "renew ")
				n = l.cycle(h)
				if got := short(l.until(n, "register ")); !tc.wired && got != whole {
					t.Errorf("powered again: got %s, want %s", got, whole)
				}
				return
			}
			l.quiet(n, "log link back")
			l.none(n, "renew ", "boot ", "register ")
			n = l.count()
			l.port.SetPower(false)
			n += len(l.until(n, "log power off"))
			l.port.SetPower(true)
			n += len(l.until(n, "log the module hangs"))
			l.quiet(n, "boot ")
			l.port.SetPower(false)
			n += len(l.until(n, "log power off"))
			l.port.SetPower(true)
			if got := short(l.until(n, "register ")); got != whole {
				t.Errorf("powered twice: got %s, want %s", got, whole)
			}
		})
	}
}

package virtual

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/dhcpc"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/wire"
)

// told notes what the handset logs.
type told struct {
	l *lab
	slog.Handler
}

func (h told) Enabled(context.Context, slog.Level) bool { return true }

func (h told) Handle(_ context.Context, r slog.Record) error {
	h.l.note("log %s", r.Message)
	return nil
}

func logged(l *lab, c *Config) {
	c.Log = slog.New(told{l, slog.DiscardHandler})
}

// quiet lets a while pass and fails when something comes meanwhile.
func (l *lab) quiet(from int, prefix string) {
	l.t.Helper()
	<-time.After(300 * time.Millisecond)
	if notes := l.since(from); slices.ContainsFunc(notes, func(s string) bool { return strings.HasPrefix(s, prefix) }) {
		l.t.Errorf("%q among\n%s", prefix, strings.Join(notes, "\n"))
	}
}

func (l *lab) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *lab) clockAt(address string) { l.options[42] = net.ParseIP(address).To4() }

func withFact(t *testing.T, c *Config, name, value string) {
	t.Helper()
	facts := c.Facts
	if len(facts.All()) == 0 {
		facts = model.Default(c.Model)
	}
	facts, err := facts.Override(name, value, "2026-01-02", "test")
	if err != nil {
		t.Fatal(err)
	}
	c.Facts = facts
}

func TestTheEndOfALeaseIsNoReboot(t *testing.T) {
	t.Parallel()
	for _, defects := range []defect.Set{nil, {defect.LeaseEndReboots}} {
		l := newLab(t)
		l.lease = time.Second
		registered(t, l, with(defects...))
		l.set(func() { l.silent = true })
		n := l.count()
		l.until(n, "boot ") // asks for another address
		l.set(func() { l.silent = false })
		n = l.count()
		if len(defects) > 0 {
			l.until(n, "tftp "+global)
			continue
		}
		l.quiet(n, "tftp ")
	}
}

func TestAsksTheTimeFirst(t *testing.T) {
	t.Parallel()
	for _, defects := range []defect.Set{nil, {defect.AsksTimeLate}} {
		l := newLab(t)
		l.clockAt(labServer)
		registered(t, l, with(defects...))
		notes := l.until(0, "sntp")
		if late := slices.Contains(notes, "tftp "+global); late != (len(defects) > 0) {
			t.Errorf("%v: asked for the time after the first file: %t", defects, late)
		}
	}
}

func TestNoTimeIsNoReasonNotToProvision(t *testing.T) {
	t.Parallel()
	const whole, none = "B G O F V R100", "B R100"
	deaf := func([]byte) []byte { return nil }
	for _, tc := range []struct {
		name, server string
		clock        func([]byte) []byte
		defects      defect.Set
		want         string
	}{
		{"silence", labServer, deaf, nil, whole},
		{"nobody there", "192.0.2.99", nil, nil, whole},
		{"kiss of death", labServer, func(p []byte) []byte { p[1] = 0; copy(p[12:], "DENY"); return p }, nil, whole},
		{"a word too short", labServer, func(p []byte) []byte { return p[:47] }, nil, whole},
		{"wrong mode", labServer, func(p []byte) []byte { p[0]++; return p }, nil, whole},
		{"time, with the defect", labServer, nil, defect.Set{defect.NoTimeNoCycle}, whole},
		{"no server, with the defect", "0.0.0.0", nil, defect.Set{defect.NoTimeNoCycle}, whole},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.clockAt(tc.server)
			l.clock = tc.clock
			registered(t, l, with(tc.defects...))
			if got := short(l.since(0)); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestNoTimeNoCycleWaitsWithoutEnd(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.clockAt(labServer)
	l.clock = func([]byte) []byte { return nil }
	ends := time.After(2 * time.Second) // a healthy one has registered after a tenth of it
	l.handset(func(c *Config) { c.Defects = defect.Set{defect.NoTimeNoCycle} })
	<-ends
	for _, note := range l.since(0) {
		if strings.HasPrefix(note, "register ") || strings.HasPrefix(note, "tftp ") {
			t.Errorf("it went on without the time: %s", note)
		}
	}
}

func TestALateAnswerSetsTheClock(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.clockAt(labServer)
	l.slow = time.Second // of three tries of 50 ms
	l.handset(func(c *Config) { logged(l, c) })
	notes := l.until(0, "log time")
	if given, cycle := slices.Index(notes, "log no time yet"), slices.Index(notes, "tftp "+global); given < 0 || cycle < given {
		t.Errorf("did not go on without the time: %v", notes)
	}
}

func TestTheTimeIsAskedAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.clockAt(labServer)
	registered(t, l, func(c *Config) {
		c.Factor = 360_000 // an hour is 10 ms
		store("NETTIME/interval", "24")(l, c)
	})
	n := l.count()
	l.until(n, "sntp")
	if got := downloads(l.since(n)); len(got) > 0 {
		t.Errorf("asking for the time is no cycle: %v", got)
	}
}

func TestATimeThatIsNoneIsNotBelieved(t *testing.T) {
	t.Parallel()
	const refused, accepted = "B R100", "B hG hO hF hV R100"
	a := newAuthority(t, "A")
	for name, spoil := range map[string]func([]byte) []byte{
		"leap indicator": func(p []byte) []byte { p[0] |= 3 << 6; return p },
		"stratum":        func(p []byte) []byte { p[1] = 16; return p },
	} {
		for _, tc := range []struct {
			defects       defect.Set
			first, second string
		}{{nil, accepted, accepted}, {defect.Set{defect.BelievesUnsynchronised}, refused, refused}} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				l.secure(a)
				l.clockAt(labServer)
				l.late, l.clock = 48*time.Hour, spoil
				h := registered(t, l, func(c *Config) {
					c.Defects = tc.defects
					if err := c.Flash.Update(func(s *flash.State) { s.Installed = [][]byte{a.cert.Raw} }); err != nil {
						t.Fatal(err)
					}
				})
				if got := short(l.since(0)); got != tc.first {
					t.Errorf("%v: got %s, want %s", tc.defects, got, tc.first)
				}
				l.set(func() { l.late, l.clock = 0, nil })
				n := l.cycle(h)
				if got := short(l.until(n, "register ")); got != tc.second {
					t.Errorf("%v: with the right time got %s, want %s", tc.defects, got, tc.second)
				}
			})
		}
	}
}

func TestOtherEventsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, defects := range []defect.Set{nil, {defect.AnyEventResyncs}} {
		l := newLab(t)
		registered(t, l, with(defects...))
		n := l.count()
		l.notify("talk")
		if len(defects) > 0 {
			l.until(n, "tftp "+verFile)
			continue
		}
		l.until(n, "sip 489")
		l.quiet(n, "tftp ")
	}
}

func TestANotifyInACycleIsOneMore(t *testing.T) {
	t.Parallel()
	for _, defects := range []defect.Set{nil, {defect.FloodReboots}} {
		l := newLab(t)
		registered(t, l, with(defects...))
		l.publish(own, breakOff) // it waits for that one
		n := l.count()
		l.notify("check-sync")
		l.until(n, "tftp "+own)
		for _, branch := range []string{"x1", "x2", "x3", "x4"} {
			l.request("NOTIFY", branch, "To: <sip:100@"+labServer+">\r\nEvent: check-sync\r\n", "")
		}
		if len(defects) > 0 {
			l.until(n, "boot ")
			continue
		}
		for range 2 {
			n += len(l.until(n, "tftp "+verFile))
		}
		l.quiet(n, "tftp ")
		if notes := l.since(0); short(notes[1:]) == "" || strings.Count(strings.Join(notes, "\n"), "boot ") != 1 {
			t.Errorf("rebooted: %v", notes)
		}
	}
}

func TestARefusedRegistrationIsNoReboot(t *testing.T) {
	t.Parallel()
	for _, refuses := range []string{"403 Forbidden", "503 Service Unavailable\r\nRetry-After: 900"} {
		for _, defects := range []defect.Set{nil, {defect.RefusedRegistrationReboots}} {
			l := newLab(t)
			l.set(func() { l.refuses = refuses })
			registered(t, l, with(defects...))
			n := l.count()
			if len(defects) > 0 {
				l.until(n, "boot ")
				continue
			}
			l.quiet(n, "boot ")
		}
	}
}

func TestANotifyWhileUnregisteredIsNoReboot(t *testing.T) {
	t.Parallel()
	const cycle, reboot = "G O F V", "B G O F V"
	for _, tc := range []struct {
		name, refuses string
		defects       defect.Set
		want          string
	}{
		{"healthy", "503 Service Unavailable\r\nRetry-After: 900", nil, cycle},
		{"sick", "503 Service Unavailable\r\nRetry-After: 900", defect.Set{defect.UnregisteredNotifyReboots}, reboot},
		{"sick, but registered", "", defect.Set{defect.UnregisteredNotifyReboots}, cycle},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.set(func() { l.refuses = tc.refuses })
			l.handset(func(c *Config) {
				logged(l, c)
				c.Defects = tc.defects
				c.Flash = newFlash(t, c.Model, map[string]string{"VOIP/line1_name": "100", "VOIP/line1_proxy_address": labServer})
			})
			l.until(0, "log registration")
			n := l.count()
			l.notify("check-sync")
			notes := l.until(n, "tftp "+verFile)
			if got := strings.ReplaceAll(short(notes), "R100 ", ""); got != tc.want { // a REGISTER may be sent again
				t.Errorf("got %s, want %s", got, tc.want)
			}
			l.quiet(n+len(notes), "boot ")
		})
	}
}

func TestPeriodicResync(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, use, kind string
		defects         defect.Set
		want            bool
	}{
		{"an interval", "enable", "1", nil, true},
		{"switched off", "disable", "1", nil, false},
		{"daily, without time", "enable", "2", nil, false},
		{"defect", "enable", "1", defect.Set{defect.NoPeriodicResync}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			registered(t, l, func(c *Config) {
				c.Factor, c.Defects = 36_000, tc.defects // an hour is 100 ms
				store("PROVISION/smartup_use", tc.use)(l, c)
				store("PROVISION/smartup_type", tc.kind)(l, c)
				store("PROVISION/smartup_interval", "60")(l, c)
			})
			n := l.count()
			if tc.want {
				l.until(n, "tftp "+verFile)
				return
			}
			l.quiet(n, "tftp ")
		})
	}
}

func TestWhenThePeriodicResyncComes(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name     string
		settings map[string]string
		clock    time.Time // blank for not known
		option   []byte    // 2
		defects  defect.Set
		want     time.Duration
	}{
		{"an interval", map[string]string{"smartup_type": "1", "smartup_interval": "7200"}, time.Time{}, nil, nil, 2 * time.Hour},
		{"one that is too short", map[string]string{"smartup_type": "1", "smartup_interval": "60"}, time.Time{}, nil, nil, time.Hour},
		{"daily, an hour of GMT", map[string]string{"smartup_time": "13"}, noon, []byte{0, 0, 0, 0}, nil, time.Hour},
		{"daily, the hour is over", map[string]string{"smartup_time": "11"}, noon, []byte{0, 0, 0, 0}, nil, 23 * time.Hour},
		{"daily, at the offset of DHCP", map[string]string{"smartup_time": "11"}, noon, []byte{0xff, 0xff, 0xe3, 0xe0}, nil, time.Hour},
		{"daily, in the time zone", map[string]string{"smartup_time": "11"}, noon, nil, nil, 7 * time.Hour},
		{"daily, without time", nil, time.Time{}, nil, nil, never},
		{"switched off", map[string]string{"smartup_use": "disable"}, noon, nil, nil, never},
		{"defect", map[string]string{"smartup_type": "1"}, noon, nil, defect.Set{defect.NoPeriodicResync}, never},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			stored := map[string]string{}
			for name, value := range tc.settings {
				stored["PROVISION/"+name] = value
			}
			h, err := New(Config{Model: model.IP8830, MAC: phoneMAC, Port: wire.NewSwitch().Access("x", 1), Flash: newFlash(t, model.IP8830, stored), Defects: tc.defects})
			if err != nil {
				t.Fatal(err)
			}
			n := &network{lease: dhcpc.Lease{Options: map[uint8][]byte{2: tc.option}}}
			due := &schedule{device: h.device, clock: &clock{net: n, timed: !tc.clock.IsZero(), offset: time.Until(tc.clock)}, last: time.Now()}
			if got := due.untilSmartUpdate().Round(time.Minute); got != tc.want {
				t.Errorf("in %v, want %v", got, tc.want)
			}
		})
	}
	for code, want := range map[int]int{3: -480, 60: -720, 9: -300, 15: -210, 23: 0, 28: 60, 47: 270, 48: 330, 58: 780, 67: 660, 0: 0, 99: 0} {
		if got := zoneMinutes(code); got != want {
			t.Errorf("zone %d: got %d minutes, want %d", code, got, want)
		}
	}
}

// flap takes the link away for a moment.
func (l *lab) flap() {
	l.port.SetLink(false)
	<-time.After(20 * time.Millisecond)
	l.port.SetLink(true)
}

func TestGoesOnAfterTheLossOfTheLink(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, fact string
		want       string
	}{{"renews", "renew", "renew "}, {"asks for its address", "init-reboot", "boot "}, {"does nothing", "nothing", ""}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			registered(t, l, func(c *Config) { withFact(t, c, model.LinkUpDHCP, tc.fact) })
			n := l.count()
			l.flap()
			if tc.want == "" {
				l.quiet(n, "renew ")
				l.quiet(n, "boot ")
			} else {
				l.until(n, tc.want)
			}
			l.notify("check-sync")
			notes := l.until(n, "tftp "+verFile)
			// It may also register anew, now that the link is back, before the cycle
			// or within it.
			if got := strings.ReplaceAll(strings.TrimPrefix(short(notes), "B "), "R100 ", ""); got != "G O F V" {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestLinkLossSticks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := registered(t, l, with(defect.LinkLossSticks))
	n := l.count()
	l.flap()
	l.until(n, "renew ")
	l.notify("check-sync")
	l.until(n, "sip 200")
	l.quiet(n, "tftp ")
	n = l.cycle(h)
	if got, want := short(l.until(n, "register ")), "B G O F V R100"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestACycleThatTheLinkBreaksOffIsRunAgain(t *testing.T) {
	t.Parallel()
	for _, tries := range []string{"1", "0"} {
		t.Run(tries, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.publish(own, breakOff)
			l.handset(func(c *Config) {
				logged(l, c)
				c.Flash = newFlash(t, c.Model, map[string]string{"VOIP/line1_name": "100", "VOIP/line1_proxy_address": labServer})
				withFact(t, c, model.RetryCycle, tries)
			})
			l.until(0, "tftp "+own)
			l.port.SetLink(false)
			n := l.count()
			l.until(n, "log cycle ends")
			l.publish(own, "[VOIP]\nline1_name 201\n")
			n = l.count()
			l.port.SetLink(true)
			if tries == "0" {
				l.quiet(n, "tftp ")
				return
			}
			if got, want := short(l.until(n, "register <sip:201")), "G O F V R201"; !strings.HasSuffix(strings.Replace(got, " R100", "", 1), want) {
				t.Errorf("got %s, want %s at its end", got, want)
			}
			l.quiet(l.count(), "tftp ")
		})
	}
}

func TestBootsWhenTheLinkComes(t *testing.T) {
	t.Parallel()
	for name, module := range map[string]net.HardwareAddr{"wired": nil, "wifi": moduleMAC} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.port.SetLink(false)
			l.handset(func(c *Config) { c.Module = module })
			l.quiet(0, "boot ")
			l.port.SetLink(true)
			l.until(0, "tftp "+verFile)
		})
	}
}

func TestComesBackToTheAccessPoint(t *testing.T) {
	t.Parallel()
	for _, defects := range []defect.Set{nil, {defect.DeauthSticks}} {
		l := newLab(t)
		h := registered(t, l, func(c *Config) { c.Defects, c.Module = defects, moduleMAC })
		n := l.count()
		l.flap()
		if len(defects) == 0 {
			l.until(n, "renew ")
			l.notify("check-sync")
			l.until(n, "tftp "+verFile)
			continue
		}
		l.notify("check-sync")
		l.quiet(n, "")
		l.cycle(h)
		l.until(n, "boot ")
	}
}

func TestDeauthSticksOnlyWithoutWire(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	registered(t, l, with(defect.DeauthSticks))
	n := l.count()
	l.flap()
	l.until(n, "renew ")
}

func TestBootsInTime(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		module  net.HardwareAddr
		defects defect.Set
		factor  float64
		least   time.Duration
		most    time.Duration
	}{
		// At a factor of 20 the boot loader takes 300 ms, the association 150 ms.
		{"wired", nil, nil, 20, 300 * time.Millisecond, 3 * time.Second},
		{"a slow boot loader", nil, defect.Set{defect.BootsSlowly}, 50, 600 * time.Millisecond, time.Minute},
		{"wifi", moduleMAC, nil, 20, 450 * time.Millisecond, 3 * time.Second},
		{"a slow association", moduleMAC, defect.Set{defect.AssociatesSlowly}, 50, 630 * time.Millisecond, time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			start := time.Now()
			l.handset(func(c *Config) { c.Factor, c.Module, c.Defects = tc.factor, tc.module, tc.defects })
			l.until(0, "boot ")
			if took := time.Since(start); took < tc.least || took >= tc.most {
				t.Errorf("first frame after %v, want %v to %v", took, tc.least, tc.most)
			}
		})
	}
}

func TestModuleThatIsChangedByHand(t *testing.T) {
	t.Parallel()
	const phone, module = "B G O F V R100", "B G W E V R100"
	for _, tc := range []struct {
		name                string
		defects             defect.Set
		fitted              bool
		first, same, second string
	}{
		{"removed", nil, true, module, "G W E V", phone},
		{"installed", nil, false, phone, "G O F V", module},
		{"removed, and its name sticks", defect.Set{defect.ModuleNameSticks}, true, module, "G W E V", module},
		{"never there, with the defect", defect.Set{defect.ModuleNameSticks}, false, phone, "G O F V", module},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			h := registered(t, l, func(c *Config) {
				c.Defects = tc.defects
				if tc.fitted {
					c.Module = moduleMAC
				}
			})
			if got := short(l.since(0)); got != tc.first {
				t.Errorf("got %s, want %s", got, tc.first)
			}
			if tc.fitted {
				h.RemoveModule()
			} else if err := h.InstallModule(moduleMAC); err != nil {
				t.Fatal(err)
			}
			n := l.count()
			l.notify("check-sync")
			if got := short(l.until(n, "tftp "+verFile)); got != tc.same {
				t.Errorf("before the power cycle: got %s, want %s", got, tc.same)
			}
			n = l.cycle(h)
			notes := l.until(n, "register ")
			if got := short(notes); got != tc.second {
				t.Errorf("after the power cycle: got %s, want %s", got, tc.second)
			}
			want := "boot " + phoneMAC.String()
			if !tc.fitted {
				want = "boot " + moduleMAC.String()
			}
			if !slices.Contains(notes, want) {
				t.Errorf("no %q among %v", want, notes)
			}
		})
	}
}

func TestInstallModuleRefuses(t *testing.T) {
	t.Parallel()
	h, err := New(Config{Model: model.IP8830, MAC: phoneMAC, Port: wire.NewSwitch().Access("x", 1)})
	if err != nil {
		t.Fatal(err)
	}
	for _, mac := range []net.HardwareAddr{nil, {1, 2, 3}, {1, 0, 0, 0, 0, 0}} {
		if err := h.InstallModule(mac); err == nil {
			t.Errorf("%v was installed", mac)
		}
	}
}

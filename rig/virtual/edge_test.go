package virtual

import (
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/wire"
)

func TestPowerCutInTheFlashWriteLeavesTheOldVersion(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.firmware("2.0")
	slow, err := model.Default(model.IP8830).Override(model.FlashWriteTime, "24h", "2026-01-02", "test")
	if err != nil {
		t.Fatal(err)
	}
	h := l.handset(func(c *Config) { c.Facts = slow })
	l.until(0, "tftp a.xml")
	n := l.cycle(h)
	again := l.until(n, "tftp a.xml")
	if got, want := short(again), "B G O F V a x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s := h.Flash().Read(); s.Running() != FactoryVersion {
		t.Errorf("runs %s, want %s", s.Running(), FactoryVersion)
	}
}

func TestBadFirmwareIsNotInstalled(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*lab){
		"missing":   func(l *lab) { l.publish("a.xml", "") },
		"truncated": func(l *lab) { l.publish("a.bin", "2.0") },
		"unclear":   func(l *lab) { l.publish(verFile, "version 2.0\nmain\n") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.firmware("2.0")
			spoil(l)
			l.publish(own, golden())
			h := l.handset(nil)
			if got := short(l.until(0, "register ")); strings.Count(got, "B") != 1 {
				t.Errorf("rebooted: %s", got)
			}
			if h.Version() != FactoryVersion {
				t.Errorf("runs %s, want %s", h.Version(), FactoryVersion)
			}
		})
	}
}

func TestALeaseThatIsTakenBackIsReplacedWithoutReboot(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.lease = 2 * time.Second
	registered(t, l, nil)
	n := l.count()
	l.mu.Lock()
	l.phone = "192.0.2.51"
	l.mu.Unlock()
	notes := l.until(n, "register ")
	if got := notes[len(notes)-1]; !strings.Contains(got, "from 192.0.2.51:5060") {
		t.Errorf("got %s, want it from 192.0.2.51", got)
	}
	if got := downloads(notes); len(got) > 0 {
		t.Errorf("a new address is no cycle: %v", got)
	}
}

func TestTimeIsAskedBeforeTheHandshakeAndJudgesExpiry(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "A")
	for _, tc := range []struct {
		name    string
		late    time.Duration
		defects defect.Set
		want    string
	}{
		{"right time", 0, nil, "B hG hO hF hV R100"},
		{"two days late", 48 * time.Hour, nil, "B R100"},
		{"two days late, dates not checked", 48 * time.Hour, defect.Set{defect.AcceptsExpired}, "B hG hO hF hV R100"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.secure(a)
			l.late = tc.late
			l.options[42] = net.ParseIP(labServer).To4()
			registered(t, l, func(c *Config) {
				c.Defects = tc.defects
				if err := c.Flash.Update(func(s *flash.State) { s.Installed = [][]byte{a.cert.Raw} }); err != nil {
					t.Fatal(err)
				}
			})
			notes := l.since(0)
			asked := slices.Index(notes, "sntp")
			first := slices.IndexFunc(notes, func(s string) bool { return strings.HasPrefix(s, "http ") })
			if asked < 0 || first >= 0 && first < asked {
				t.Errorf("time was not asked first: %v", notes)
			}
			if got := short(notes); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestOptionThatIsNoURLSurvives(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ option, want string }{
		"empty":             {"", "B G O F V R100"},
		"NULs":              {"\x00\x00", "B G O F V R100"},
		"no scheme":         {"192.0.2.1", "B R100"},
		"tftp":              {"tftp://192.0.2.1", "B R100"},
		"control bytes":     {"http://192.0.2.1/\x01", "B R100"},
		"255 bytes":         {strings.Repeat("x", 255), "B R100"},
		"unresolvable":      {"http://nowhere.example/", "B R100"},
		"trailing NUL":      {"http://192.0.2.1/\x00", "B hG hO hF hV R100"},
		"upper-case scheme": {"HTTP://192.0.2.1", "B hG hO hF hV R100"},
		"user information":  {"http://a:b@192.0.2.1/", "B hG hO hF hV R100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.options[160] = []byte(tc.option)
			registered(t, l, nil)
			if got := short(l.since(0)); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestStoredURLIsCompleted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ stored, port, want string }{
		{"http://h/p", "8443", "http://h/p"},
		{"https://h/p", "443", "https://h/p"},
		{"https://h/p", "8443", "https://h:8443/p"},
		{"https://h:444/p", "8443", "https://h:444/p"},
		{"h/p", "443", "https://h/p"},
	} {
		h, err := New(Config{Model: model.IP8830, MAC: phoneMAC, Port: wire.NewSwitch().Access("x", 1), Flash: newFlash(t, model.IP8830, map[string]string{httpsPort: tc.port})})
		if err != nil {
			t.Fatal(err)
		}
		if got := storedURL(h.settings(), tc.stored); got != tc.want {
			t.Errorf("%s with port %s: got %s, want %s", tc.stored, tc.port, got, tc.want)
		}
	}
}

// blinking is a supply whose cuts are shorter than a look.
type blinking struct {
	*wire.SwitchPort
	cuts chan uint64
}

func (b blinking) Outages() uint64 {
	n := <-b.cuts
	b.cuts <- n
	return n
}

func TestAShortCutIsNotMissed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	supply := blinking{l.port, make(chan uint64, 1)}
	supply.cuts <- 0
	registered(t, l, func(c *Config) { c.Supply = supply })
	n := l.count()
	<-supply.cuts
	supply.cuts <- 1
	l.port.SetPower(false)
	l.port.SetPower(true)
	l.until(n, "boot ")
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := Config{Model: model.IP8830, MAC: phoneMAC, Port: wire.NewSwitch().Access("x", 1)}
	for field, change := range map[string]func(*Config){
		"Model":  func(c *Config) { c.Model = "8850" },
		"MAC":    func(c *Config) { c.MAC = nil },
		"Module": func(c *Config) { c.Module = net.HardwareAddr{1, 2} },
		"Port":   func(c *Config) { c.Port = nil },
		"Factor": func(c *Config) { c.Factor = -1 },
		"Flash":  func(c *Config) { c.Flash = newFlash(t, model.IP8820, nil) },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v, want an error that names it", field, err)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

// TestIndependence holds that the handset shares nothing with the rig but the
// wire, the host, the facts, and virtual time, which the host runs in.
func TestIndependence(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{"ip88rig/rig/wire", "ip88rig/rig/host", "ip88rig/rig/model", "ip88rig/rig/vtime"}
	for dep := range strings.Lines(string(out)) {
		dep = strings.TrimSpace(dep)
		if strings.HasPrefix(dep, "ip88rig/") && !strings.HasPrefix(dep, "ip88rig/rig/virtual") && !slices.Contains(allowed, dep) {
			t.Errorf("the handset depends on %s", dep)
		}
	}
}

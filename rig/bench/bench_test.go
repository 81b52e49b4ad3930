package bench_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ip88rig/fixtures"
	"ip88rig/rig/bench"
	"ip88rig/rig/model"
)

func TestTheEmbeddedBenchHasEachModelWiredAndWiFi(t *testing.T) {
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	addrs := map[string]bool{}
	for _, h := range b.Handsets {
		seen[h.Model.String()+" "+string(h.Link)] = true
		a := b.Addresses(h)
		for _, s := range []string{a.Server.String(), a.Second.String(), a.Handset.String(), a.Beside.Addr().String(), a.ServerMAC.String()} {
			if addrs[s] {
				t.Errorf("%s is used twice", s)
			}
			addrs[s] = true
		}
		if !b.Subnet.Contains(a.Handset) || a.Prefix.Bits() != b.Subnet.Bits() || a.Beside.Masked() != a.Prefix.Masked() {
			t.Errorf("%s is outside %s", a.Prefix, b.Subnet)
		}
		if h.Patience != model.DefaultPatience() || h.Factor != 1 {
			t.Errorf("%s: patience %+v and factor %v are not those of a real handset", h.Name, h.Patience, h.Factor)
		}
	}
	if len(seen) != 6 || len(b.Handsets) != 6 {
		t.Errorf("handsets %v, want three models on two links", seen)
	}
	if !b.Simulated() {
		t.Error("the embedded bench is said to hold a real handset")
	}
}

const good = `name: lab
wire: {interface: eth1, vlan: 88}
handsets:
  - name: desk
    model: IP8830
    mac: b4:0e:dc:00:11:22
`

func TestOneRealPhoneOnADeskNeedsThreeLines(t *testing.T) {
	b, err := bench.Parse("lab.yaml", []byte(good), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := b.Handsets[0]
	if h.Power.Kind != "operator" || h.Simulated || h.GoldenFirmware != nil || h.Phone != "desk" || h.Link != bench.Wired {
		t.Errorf("got %+v", h)
	}
	if got, want := h.OwnFile(), "b40edc001122"; got != want {
		t.Errorf("own file %q, want %q", got, want)
	}
	if h.Patience != model.DefaultPatience() {
		t.Errorf("patience %+v", h.Patience)
	}
}

func TestEveryMistakeIsNamedWithItsPlace(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ from, to, want string }{
		"unknown key":             {"    model: IP8830", "    modell: IP8830", `unknown field "modell"`},
		"not YAML":                {"handsets:", "handsets: [", "lab.yaml: ["},
		"unknown model":           {"IP8830", "IP8831", `lab.yaml:5:12: handsets[0].model: unknown model "IP8831"`},
		"bad MAC":                 {"b4:0e:dc:00:11:22", "b4:0e:dc", `lab.yaml:6:10: handsets[0].mac: "b4:0e:dc" is not a MAC`},
		"group MAC":               {"b4:0e:dc:00:11:22", "b5:0e:dc:00:11:22", "is a group address"},
		"missing MAC":             {"    mac: b4:0e:dc:00:11:22\n", "", `handsets[0].mac: "" is not a MAC`},
		"bad name":                {"name: desk", "name: ../desk", "lab.yaml:4:11: handsets[0].name"},
		"no wire":                 {"wire: {interface: eth1, vlan: 88}\n", "", "wire: say memory: true or name an interface"},
		"memory and interface":    {"{interface: eth1, vlan: 88}", "{interface: eth1, memory: true}", "exclude each other"},
		"real phone in memory":    {"{interface: eth1, vlan: 88}", "{memory: true}", "a real handset is not on a wire in memory"},
		"VLAN out of range":       {"vlan: 88", "vlan: 4095", "lab.yaml:2:31: wire.vlan: 4095 is not a VLAN id"},
		"priority out of range":   {"vlan: 88", "priority: 8", "8 is not a priority"},
		"bad subnet":              {"handsets:", "addresses: {subnet: 10.0.0.0/30}\nhandsets:", "want an IPv4 prefix from /8 to /24"},
		"no prefix":               {"handsets:", "addresses: {subnet: lan}\nhandsets:", `"lan" is not a prefix`},
		"no handset":              {good[strings.Index(good, "handsets:"):], "handsets: []\n", "no handset is entered"},
		"doubled name":            {"", "  - {name: desk, model: IP8820, mac: 'b4:0e:dc:00:11:23'}\n", `handsets[1].name: "desk" stands twice`},
		"doubled MAC":             {"", "  - {name: other, model: IP8820, mac: 'b4:0e:dc:00:11:22'}\n", `is "desk"'s too`},
		"bad link":                {"", "    link: radio\n", `"radio" is neither wired nor wifi`},
		"WiFi without module":     {"", "    link: wifi\n", "needs module"},
		"module without WiFi":     {"", "    module: b4:0e:dc:00:11:29\n", "link: wifi is not said"},
		"module on a cable":       {"", "    link: wired\n    module: b4:0e:dc:00:11:29\n", "a wired handset has no module"},
		"factor of a real phone":  {"", "    factor: 10\n", "cannot be sped up"},
		"factor in memory":        {good, strings.NewReplacer("interface: eth1, vlan: 88", "memory: true").Replace(good) + "    simulated: true\n    factor: 10\n", "lab.yaml:8:13: handsets[0].factor: the wire is in memory, where time is virtual and waits cost nothing"},
		"factor out of range":     {"", "    factor: 1001\n", "lab.yaml:7:13: handsets[0].factor: 1001 is not from 1 to 1000"},
		"passphrase stays wrong":  {"handsets:", "access-point: {passphrase-wrong: 'true'}\nhandsets:", "lab.yaml:3:34: access-point.passphrase-wrong: needs passphrase-right"},
		"passphrase never wrong":  {"", "    link: wifi\n    module: b4:0e:dc:00:11:29\n    access-point: {passphrase-right: 'true'}\n", "handsets[0].access-point.passphrase-right: needs passphrase-wrong"},
		"access point on a cable": {"", "    access-point: {roam: 'true'}\n", "lab.yaml:7:19: handsets[0].access-point: a handset without link: wifi is at no access point"},
		"access point in memory":  {"    mac: b4:0e:dc:00:11:22\n", "    mac: b4:0e:dc:00:11:22\n    simulated: true\n    link: wifi\n    module: b4:0e:dc:00:11:29\n    access-point: {roam: 'true'}\n", "a simulated handset has an access point of its own"},
		"unknown deed":            {"handsets:", "access-point: {reboot: 'true'}\nhandsets:", `unknown field "reboot"`},
		"unknown power":           {"", "    power: {kind: poe}\n", "is none of simulated, command, operator"},
		"half a power command":    {"", "    power: {on: 'true'}\n", "needs both on and off"},
		"power on without kind":   {"", "    power: {kind: operator, on: 'true'}\n", "go with kind: command"},
		"simulated power":         {"", "    power: {kind: simulated}\n", "only a simulated handset"},
		"unknown authority":       {"", "    authority: yes\n", `"yes" is not "uploaded"`},
		"unknown verb":            {"", "    verbs: [dance]\n", `handsets[0].verbs[0]: unknown verb "dance"`},
		"missing golden folder":   {"", "    golden: nowhere\n", "no such file"},
		"golden is a file":        {"", "    golden: plain\n", "is not a folder"},
		"empty golden folder":     {"", "    golden: empty\n", "is empty"},
		"bundle without version":  {"", "    firmware: {golden: {folder: empty, files: [a]}}\n", "version string"},
		"bundle without files":    {"", "    firmware: {golden: {folder: empty, version: '1'}}\n", "no listed file"},
		"bundle that escapes":     {"", "    firmware: {golden: {folder: empty, version: '1', files: [../a]}}\n", "is not a plain file name"},
		"next is golden":          {"", "    firmware: {golden: {folder: fw, version: '1.9', files: [plain]}, next: {folder: fw, version: '1.9', files: [plain]}}\n", "golden and next name the same version"},
		"next is golden, longer":  {"", "    firmware: {golden: {folder: fw, version: '1.9', files: [plain]}, next: {folder: fw, version: '1.9.0', files: [plain]}}\n", `handsets[0].firmware.next: next's version "1.9.0" is neither higher nor lower than golden's "1.9"`},
		"unknown fact":            {"", "    facts: {colour: {value: red, measured: 2026-01-01, grounds: seen}}\n", `unknown fact "colour"`},
		"fact of the wrong form":  {"", "    facts: {own-file-case: {value: mixed, measured: 2026-01-01, grounds: seen}}\n", "is none of lower, upper"},
		"fact without date":       {"", "    facts: {own-file-case: {value: upper, grounds: seen}}\n", "is not of the form"},
		"fact without grounds":    {"", "    facts: {own-file-case: {value: upper, measured: 2026-01-01}}\n", "grounds are missing"},
		"bad patience":            {"handsets:", "patience: {boot: soon}\nhandsets:", `lab.yaml:3:18: patience.boot: "soon" is not a duration`},
		"simulated without peer":  {"", "    simulated: true\n", "needs wire.memory or wire.peer"},
		"without lacks a reason":  {"", "    without: [{rows: [TLS-01]}]\n", "needs rows and a reason"},
		"bad foreign server":      {"vlan: 88", "expect-foreign-dhcp: [x]", "is not a MAC address"},
		"peer without interface":  {"{interface: eth1, vlan: 88}", "{peer: eth2}", "needs wire.interface"},
		"block out of range":      {"", "    block: 9000\n", "is not from 1 to 8190"},
		"shared block":            {"", "    block: 7\n  - {name: other, model: IP8820, mac: 'b4:0e:dc:00:11:23', block: 7}\n", "would share their addresses"},
		"no file of deviations":   {"handsets:", "deviations: nowhere.yaml\nhandsets:", "lab.yaml:3:13: deviations: stat"},
		"deviations in a folder":  {"handsets:", "deviations: empty\nhandsets:", "is a folder"},
		"records in a file":       {"handsets:", "golden-records: plain\nhandsets:", "lab.yaml:3:17: golden-records:"},
		"public authority halved": {"handsets:", "public-authority: {name: x}\nhandsets:", "certificate is missing"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := good + tt.to
			if tt.from != "" {
				text = strings.Replace(good, tt.from, tt.to, 1)
				if text == good {
					t.Fatalf("%q does not stand in the good file", tt.from)
				}
			}
			_, err := bench.Parse("lab.yaml", []byte(text), dir)
			if err == nil {
				t.Fatalf("accepted:\n%s", text)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "lab.yaml") {
				t.Errorf("got  %v\nwant %q with the file's name", err, tt.want)
			}
		})
	}
}

func TestAHandsetsAccessPointGoesBeforeTheBenchs(t *testing.T) {
	text := strings.Replace(good, "handsets:", "access-point: {deauth: all, restart: all, passphrase-wrong: all, passphrase-right: all, roam: ' '}\nhandsets:", 1) + `    link: wifi
    module: b4:0e:dc:00:11:29
    access-point: {deauth: own, passphrase-wrong: own, passphrase-right: own}
  - {name: cable, model: IP8820, mac: 'b4:0e:dc:00:11:23'}
`
	b, err := bench.Parse("lab.yaml", []byte(text), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := bench.AccessPoint{Deauth: "own", Restart: "all", PassphraseWrong: "own", PassphraseRight: "own"}
	if got := b.Handsets[0].AccessPoint; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := b.Handsets[1].AccessPoint; got != (bench.AccessPoint{}) {
		t.Errorf("a handset on a cable has %+v", got)
	}
}

func TestRecordsAndDeviationsStandBesideTheBenchFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lab.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("lab.yaml", good)
	b, err := bench.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.GoldenRecords != filepath.Join(dir, "lab.golden") || b.Deviations != "" {
		t.Errorf("by default: records %q, deviations %q", b.GoldenRecords, b.Deviations)
	}
	write("known.yaml", "")
	write("lab.yaml", "deviations: known.yaml\ngolden-records: certified\n"+good)
	if b, err = bench.Load(path); err != nil {
		t.Fatal(err)
	}
	if b.GoldenRecords != filepath.Join(dir, "certified") || b.Deviations != filepath.Join(dir, "known.yaml") {
		t.Errorf("records %q, deviations %q", b.GoldenRecords, b.Deviations)
	}
}

func TestMeasuredFactsReplaceAssumptions(t *testing.T) {
	b, err := bench.Parse("lab.yaml", []byte(good+"    facts: {own-file-case: {value: upper, measured: 2026-01-31, grounds: seen in the first boot's capture}}\n"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := b.Handsets[0]
	if got := h.OwnFile(); got != "B40EDC001122" {
		t.Errorf("own file %q", got)
	}
	fact, _ := h.Facts.Get(model.OwnFileCase)
	if !fact.Source.Settled() || fact.Date != "2026-01-31" {
		t.Errorf("fact %+v", fact)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add(fixtures.EmbeddedBench())
	f.Add([]byte("handsets: [{name: a, facts: {x: {}}}]"))
	f.Add([]byte("wire: &a {memory: *a}"))
	f.Add([]byte("access-point: {deauth: a}\nhandsets: [{name: a, link: wifi, access-point: {passphrase-right: x}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := bench.Parse("fuzz.yaml", data, t.TempDir())
		if err == nil && len(b.Handsets) == 0 {
			t.Error("a bench without handsets was accepted")
		}
	})
}

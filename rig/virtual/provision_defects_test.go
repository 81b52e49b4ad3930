package virtual

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/virtual/version"
	"ip88rig/rig/wire"
)

// fact replaces one of the handset's facts.
func fact(name, value string) func(*lab, *Config) {
	return func(_ *lab, c *Config) {
		if len(c.Facts.All()) == 0 {
			c.Facts = model.Default(c.Model)
		}
		facts, err := c.Facts.Override(name, value, "2026-01-02", "test")
		if err != nil {
			panic(err)
		}
		c.Facts = facts
	}
}

// broken is a file that breaks off behind its first whole block.
func broken(text string) string {
	const block = 512
	first := text + ";" + strings.Repeat("-", block-len(text)-2) + "\n"
	return first + breakOff + text
}

// list publishes a version file with a CRC-32 for each file's text.
func (l *lab) list(version string, files ...string) {
	text := "version " + version + "\n"
	for i := 0; i < len(files); i += 2 {
		l.publish(files[i], files[i+1])
		text += fmt.Sprintf("img %s %08x\n", files[i], crc32.ChecksumIEEE([]byte(files[i+1])))
	}
	l.publish(verFile, text)
}

// step is a power cycle (but for the first, which is the first boot) up to the
// registration.
type step struct {
	before        func(*lab, *Handset)
	healthy, sick string
}

func publish(name, text string) func(*lab, *Handset) {
	return func(l *lab, _ *Handset) { l.publish(name, text) }
}

func upgrade(version string) func(*lab, *Handset) {
	return func(l *lab, _ *Handset) { l.firmware(version) }
}

func wrongKey(_ *lab, c *Config) {
	store("PROVISION/decrypt_key", strings.Repeat("00112233", 4))(nil, c)
}

const (
	calm     = "B G O F V R100"
	twice    = "B G O F V B G O F V R100"
	upgraded = "B G O F V a x B G O F V R100"
	name201  = "[VOIP]\nline1_name 201\n"
	name202  = "[VOIP]\nline1_name 202\n"
)

// TestEachProvisioningDefectShows tells the story of a healthy handset and of
// one with the defect: what each asks for, boot by boot.
func TestEachProvisioningDefectShows(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		defect defect.Name
		given  []func(*lab, *Config)
		steps  []step
	}{
		{"version file at the root only", defect.RootVersionOnly, nil, []step{
			{nil, calm, "B G O V R100"},
		}},
		{"global file missing", defect.StopsWithoutGlobal, given(serve(own, name202)), []step{
			{nil, "B G O F V R202", "B G R100"},
			{publish(global, ";"), "B G O F V R202", "B G O F V R202"},
		}},
		{"own file missing", defect.StopsWithoutOwn, given(offer("2.0")), []step{
			{nil, upgraded, "B G O R100"},
			{publish(own, ";"), calm, upgraded},
		}},
		{"version file missing", defect.MissingVersionReboots, nil, []step{
			{nil, calm, twice},
			{upgrade(FactoryVersion), calm, calm},
			{publish(verFile, ""), calm, twice},
		}},
		{"name template over HTTP", defect.IgnoresMacForm, given(populate("http://192.0.2.1/"), store(httpsMACForm, "x/$MAC.cfg")), []step{
			{nil, "B hG h?x/" + own + ".cfg hF hV R100", "B hG hO hF hV R100"},
		}},
		{"name template of the global file", defect.IgnoresMacForm, given(populate("http://192.0.2.1/"), serve(global, "[PROVISION]\nhttps_macform every\n")), []step{
			{nil, "B hG h?every hF hV R100", "B hG hO hF hV R100"},
		}},
		{"name template over TFTP where that is a fact", defect.IgnoresMacForm, given(fact(model.NameTemplateOver, "tftp http"), store(httpsMACForm, "$MAC.cfg")), []step{
			{nil, "B G ?" + own + ".cfg F V R100", calm},
		}},
		{"unmentioned settings", defect.ResetsUnmentioned, given(serve(global, name201)), []step{
			{nil, "B G O F V R201", "B G O F V R201"},
			{publish(own, "[VOIP]\nline1_proxy_address "+labServer+"\n"), "B G O F V R201", "B G O F V R201"},
			{publish(own, golden("local_udp_port 5070")), "B G O F V B G O F V R201", "B G O F V B G O F V R201"},
			{publish(own, golden()), "B G O F V R201", "B G O F V B G O F V R201"},
		}},
		{"a damaged file", defect.DamagedFileSticks, given(serve(own, "no section\n")), []step{
			{nil, calm, calm},
			{publish(own, name201), "B G O F V R201", calm},
			{upgrade("2.0"), "B G O F V a x B G O F V R201", upgraded},
		}},
		{"a file with a NUL", defect.DamagedFileSticks, given(serve(own, "[VOIP]\n\x00\x00line1_name 203\n")), []step{
			{nil, calm, calm},
			{publish(own, name201), "B G O F V R201", calm},
		}},
		{"a good file does not stick", defect.DamagedFileSticks, given(serve(own, "; x\n"+name201)), []step{
			{publish(global, "; nothing\n"), "B G O F V R201", "B G O F V R201"},
			{publish(own, name202), "B G O F V R202", "B G O F V R202"},
		}},
		{"a file with a byte order mark", defect.DamagedFileSticks, given(serve(own, "\ufeff; x\n"+name201)), []step{
			{nil, "B G O F V R201", calm},
			{publish(own, name202), "B G O F V R202", calm},
		}},
		{"a line that makes no sense does not stick", defect.DamagedFileSticks, given(serve(own, name201+"line1_authname 2 0 1\n")), []step{
			{nil, "B G O F V R201", "B G O F V R201"},
			{publish(own, name202), "B G O F V R202", "B G O F V R202"},
		}},
		{"an encrypted file that is cut", defect.BrokenCipherSticks, given(store(decryptKey, testKey), serve(own, encrypted(name201)[:21])), []step{
			{nil, calm, calm},
			{publish(own, encrypted(name201)), "B G O F V R201", calm},
			{publish(own, name202), "B G O F V R202", "B G O F V R202"},
		}},
		{"an encrypted file that is cut behind a block", defect.BrokenCipherSticks, given(store(decryptKey, testKey), serve(own, encrypted(name201)[:16])), []step{
			{nil, calm, calm},
			{publish(own, encrypted(name201)), "B G O F V R201", calm},
		}},
		{"a whole file under another key does not stick", defect.BrokenCipherSticks, given(wrongKey, serve(own, encrypted(name201))), []step{
			{nil, calm, calm},
			{publish(global, "[PROVISION]\ndecrypt_key "+testKey+"\n"), "B G O F V R201", "B G O F V R201"},
		}},
		{"a key of the global file", defect.LateKey, given(serve(global, "[PROVISION]\ndecrypt_key "+testKey+"\n"), serve(own, encrypted(name201))), []step{
			{nil, "B G O F V R201", calm},
			{nil, "B G O F V R201", "B G O F V R201"},
		}},
		{"a reboot for an asterisked field", defect.RebootFlagSticks, given(serve(own, "[VOIP]\nlocal_udp_port 5070\n")), []step{
			{nil, twice, "B G O F V B G O F V B G O F V R100"},
			{nil, calm, calm},
		}},
		{"a reboot for software", defect.RebootFlagSticks, given(offer("2.0")), []step{
			{nil, upgraded, "B G O F V a x B G O F V B G O F V R100"},
			{nil, calm, calm},
		}},
		{"an upgrade", defect.VersionLoop, given(offer("2.0")), []step{
			{nil, upgraded, "B G O F V a x B G O F V a x B G O F V a x B G O F V a x B G O F V R100"},
			{nil, calm, calm},
		}},
		{"an asterisked field set back", defect.SetBackReboots, given(serve(global, "[VOIP]\nlocal_udp_port 5070"), serve(own, "[VOIP]\nlocal_udp_port 5060")), []step{
			{nil, calm, twice},
			{nil, calm, twice},
		}},
		{"an asterisked field set back where that reboots", defect.SetBackReboots, given(fact(model.SetBackReboots, "yes"), serve(global, "[VOIP]\nlocal_udp_port 5070"), serve(own, "[VOIP]\nlocal_udp_port 5060")), []step{
			{nil, "", calm}, // it reboots without end
		}},
		{"an asterisked field changed for good", defect.SetBackReboots, given(serve(global, "[VOIP]\nlocal_udp_port 5070")), []step{
			{nil, twice, twice},
		}},
		{"a file broken off", defect.BrokenCycleReboots, given(serve(own, broken(name201))), []step{
			{nil, calm, twice},
		}},
		{"a file broken off over HTTP", defect.AppliesPartialFile, given(populate("http://192.0.2.1"), serve(own, broken(name201))), []step{
			{nil, "B hG hO hF hV R100", "B hG hO hF hV R201"},
		}},
		{"a file broken off over TFTP", defect.AppliesPartialFile, given(serve(own, broken(name201))), []step{
			{nil, calm, "B G O F V R201"},
		}},
		{"a listed file missing", defect.InstallsIncomplete, given(offer("2.0"), serve("a.xml", "")), []step{
			{nil, "B G O F V a x R100", upgraded},
			{upgrade("2.0"), upgraded, calm},
		}},
		{"a listed file cut", defect.IgnoresChecksum, given(offer("2.0"), serve("a.bin", "2.0")), []step{
			{nil, "B G O F V a R100", upgraded},
			{upgrade("2.0"), upgraded, calm},
		}},
		{"another model's image", defect.IgnoresChecksum, given(func(l *lab, _ *Config) { l.list("2.0", "a.bin", "\x7fIP8820 2.0\x00", "a.xml", "<x/>") }), []step{
			{nil, "B G O F V a R100", upgraded},
		}},
		{"another model's image under its own checksum", defect.TakesAnyModel, given(func(l *lab, _ *Config) { l.list("2.0", "a.bin", "\x7fIP8820 2.0\x00", "a.xml", "<x/>") }), []step{
			{nil, "B G O F V a R100", upgraded},
		}},
		{"the second listed file cut", defect.ChecksMainFileOnly, given(offer("2.0"), serve("a.xml", "<")), []step{
			{nil, "B G O F V a x R100", upgraded},
			{upgrade("2.0"), upgraded, calm},
		}},
		{"the first listed file cut", defect.ChecksMainFileOnly, given(offer("2.0"), serve("a.bin", "2.0")), []step{
			{nil, "B G O F V a R100", "B G O F V a R100"},
		}},
		{"an upgrade", defect.FetchesUnlisted, given(offer("2.0")), []step{
			{nil, upgraded, "B G O F V a x ?bootloader.rom B G O F V R100"},
			{nil, calm, calm},
		}},
		{"the version file over HTTP", defect.VersionByTFTP, given(populate("http://192.0.2.1/")), []step{
			{nil, "B hG hO hF hV R100", "B hG hO hF hV V R100"},
		}},
		{"the version file over TFTP", defect.VersionByTFTP, nil, []step{
			{nil, calm, calm},
		}},
		{"an encrypted file where no key is stored", defect.BlankKeyIsZero, given(serve(own, encryptedWith(strings.Repeat("0", 32), name201))), []step{
			{nil, calm, "B G O F V R201"},
		}},
		{"a carriage return behind the running version", defect.TrailingBytesCount, given(serve("a.bin", "x"), serve(verFile, "version "+FactoryVersion+"\r\nimg a.bin\r\n")), []step{
			{nil, calm, ""}, // it reboots without end
		}},
		{"a blank behind the running version", defect.TrailingBytesCount, given(serve("a.bin", "x"), serve(verFile, "version "+FactoryVersion+" \nimg a.bin\n")), []step{
			{nil, calm, ""},
		}},
		{"an upgrade without phone-specific file", defect.InstallsConfiguredOnly, given(offer("2.0"), serve(own, "")), []step{
			{nil, upgraded, "B G O F V a x B G O F V a x R100"},
		}},
		{"an upgrade with phone-specific file", defect.InstallsConfiguredOnly, given(offer("2.0"), serve(own, ";")), []step{
			{nil, upgraded, upgraded},
		}},
		{"a transfer broken off", defect.InstallsBroken, given(offer("2.0"), serve("a.bin", broken("2.0"))), []step{
			{nil, "B G O F V a R100", upgraded},
			{upgrade("2.0"), upgraded, calm},
		}},
		{"the sixth version in a row", defect.RefusesSixthUpgrade, given(offer("2.0")), []step{
			{nil, upgraded, upgraded},
			{upgrade("1.0"), upgraded, upgraded},
			{upgrade("2.0"), upgraded, upgraded},
			{upgrade("1.0"), upgraded, upgraded},
			{upgrade("2.0"), upgraded, upgraded},
			{upgrade("1.0"), upgraded, "B G O F V a x R100"},
			{nil, calm, upgraded},
		}},
		{"the sixth version, two cycles after the fifth", defect.RefusesSixthUpgrade, given(offer("2.0")), []step{
			{nil, upgraded, upgraded},
			{upgrade("1.0"), upgraded, upgraded},
			{upgrade("2.0"), upgraded, upgraded},
			{upgrade("1.0"), upgraded, upgraded},
			{upgrade("2.0"), upgraded, upgraded},
			{nil, calm, calm},
			{upgrade("1.0"), upgraded, upgraded},
		}},
		{"a version file that is none", defect.DamagedVersionReboots, given(serve(verFile, "<html>")), []step{
			{nil, calm, twice},
		}},
		{"a version file that lists nothing is not damaged", defect.DamagedVersionReboots, given(serve(verFile, "version 2.0\n")), []step{
			{nil, calm, calm},
		}},
	} {
		t.Run(string(tc.defect)+": "+tc.name, func(t *testing.T) {
			t.Parallel()
			for state, defects := range map[string]defect.Set{"healthy": nil, "sick": {tc.defect}} {
				t.Run(state, func(t *testing.T) {
					t.Parallel()
					l := newLab(t)
					var h *Handset
					for i, s := range tc.steps {
						n := l.count()
						if s.before != nil {
							s.before(l, h)
						}
						if i > 0 {
							n = l.cycle(h)
						} else {
							h = l.handset(func(c *Config) {
								c.Defects = defects
								c.Flash = newFlash(t, c.Model, map[string]string{"VOIP/line1_name": "100", "VOIP/line1_proxy_address": labServer})
								for _, g := range tc.given {
									g(l, c)
								}
							})
						}
						want := map[string]string{"healthy": s.healthy, "sick": s.sick}[state]
						if want == "" {
							reboots(t, l, n)
							continue
						}
						if got := short(l.until(n, "register ")); got != want {
							t.Errorf("step %d: got %s, want %s", i, got, want)
						}
					}
				})
			}
		})
	}
}

// reboots waits for the third boot, with no registration before it.
func reboots(t *testing.T, l *lab, from int) {
	t.Helper()
	for range 3 {
		for _, note := range l.until(from, "boot ") {
			if strings.HasPrefix(note, "register ") {
				t.Fatalf("it has registered: %s", note)
			}
			from++
		}
	}
}

func TestWrongKeyWipesTheLine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		key  func(*lab, *Config)
	}{{"another key", wrongKey}, {"no key", func(*lab, *Config) {}}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, defects := range []defect.Set{nil, {defect.WrongKeyWipes}} {
				l := newLab(t)
				l.publish(global, "[VOIP]\ntimer_register_expires 777\n")
				l.publish(own, encrypted("[VOIP]\nline1_name 201\nlocal_udp_port 5070\n"))
				h := l.handset(func(c *Config) {
					c.Defects = defects
					c.Flash = newFlash(t, c.Model, map[string]string{"VOIP/line1_name": "100", "VOIP/line1_proxy_address": labServer})
					tc.key(l, c)
				})
				if len(defects) == 0 {
					notes := l.until(0, "register ")
					if got := short(notes); got != calm || !strings.Contains(notes[len(notes)-1], "5060 expires 777") {
						t.Errorf("healthy: got %s, %s", got, notes[len(notes)-1])
					}
					continue
				}
				l.until(0, "tftp "+verFile)
				if got := h.settings().text(lineName); got != "" {
					t.Errorf("sick: line 1 is %q, want it forgotten", got)
				}
			}
		})
	}
}

func TestResetsUnmentioned(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defects defect.Set
		want    string
	}{{nil, "expires 777"}, {defect.Set{defect.ResetsUnmentioned}, "expires 3600"}} {
		l := newLab(t)
		l.publish(own, golden())
		notes := func() []string {
			registered(t, l, func(c *Config) {
				c.Defects = tc.defects
				store(registerExpires, "777")(l, c)
			})
			return l.since(0)
		}()
		i := slices.IndexFunc(notes, func(s string) bool { return strings.HasPrefix(s, "register ") })
		if !strings.HasSuffix(notes[i], tc.want) {
			t.Errorf("%v: got %s, want %s", tc.defects, notes[i], tc.want)
		}
	}
}

func TestAFactoryResetEndsWhatSticks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.publish(own, "rubbish\n")
	h := registered(t, l, with(defect.DamagedFileSticks))
	l.publish(own, golden())
	n := l.count()
	if err := h.FactoryReset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := short(l.until(n, "register ")), "B G O F V R201"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestKeepsComment(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defects defect.Set
		want    string
	}{{nil, "register <sip:201 LG-"}, {defect.Set{defect.KeepsComment}, "register <sip:201%20;who LG-"}} {
		l := newLab(t)
		l.publish(own, "[VOIP]\nline1_name 201 ;who\n")
		registered(t, l, with(tc.defects...))
		notes := l.until(0, "register ")
		if got := notes[len(notes)-1]; !strings.HasPrefix(got, tc.want) {
			t.Errorf("%v: got %s, want %s", tc.defects, got, tc.want)
		}
	}
}

func TestSingleBankDiesOfAPowerCutInTheFlashWrite(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defects defect.Set
		http    bool
		healthy string
	}{
		{nil, false, calm},
		{defect.Set{defect.SingleBank}, false, ""},
		{defect.Set{defect.SingleBankByTFTP}, false, ""},
		{defect.Set{defect.SingleBankByTFTP}, true, "B hG hO hF hV R100"},
	} {
		l := newLab(t)
		l.firmware("2.0")
		h := l.handset(func(c *Config) {
			c.Defects = tc.defects
			if tc.http {
				populate("http://"+labServer)(l, c)
			}
			c.Flash = newFlash(t, c.Model, map[string]string{"VOIP/line1_name": "100", "VOIP/line1_proxy_address": labServer})
			fact(model.FlashWriteTime, "24h")(l, c)
			if err := c.Flash.Update(func(s *flash.State) { s.Banks[s.Other()].Version = "0.1" }); err != nil {
				t.Fatal(err)
			}
		})
		awaitErasure(t, h)
		l.publish(verFile, "")
		n := l.cycle(h)
		if tc.healthy != "" {
			if got := short(l.until(n, "register ")); got != tc.healthy {
				t.Errorf("%v: got %s, want %s", tc.defects, got, tc.healthy)
			}
			continue
		}
		l.until(n, "boot ")
		n = l.cycle(h) // nor does it help to switch it off and on
		l.until(n, "boot ")
		<-time.After(300 * time.Millisecond) // a healthy one registers in a third of it
		for _, note := range l.since(n) {
			if !strings.HasPrefix(note, "boot ") {
				t.Errorf("a dead handset did %s", note)
			}
		}
	}
}

// awaitErasure waits until the flash write has begun.
func awaitErasure(t *testing.T, h *Handset) {
	t.Helper()
	limit := time.After(8 * time.Second)
	for {
		s := h.Flash().Read()
		if s.Banks[s.Other()].Version == "" {
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-limit:
			t.Fatal("nothing was erased")
		}
	}
}

func TestSingleBankUpgradesWhenPowerStays(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.firmware("2.0")
	h := registered(t, l, with(defect.SingleBank))
	if got := short(l.until(0, "register ")); got != upgraded || h.Version() != "2.0" {
		t.Errorf("got %s and version %s, want %s and 2.0", got, h.Version(), upgraded)
	}
}

func TestLosesSettingsOnUpgrade(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defects defect.Set
		want    string
	}{{nil, "777"}, {defect.Set{defect.LosesSettingsOnUpgrade}, "3600"}} {
		l := newLab(t)
		l.publish(own, golden())
		h := registered(t, l, func(c *Config) {
			c.Defects = tc.defects
			store(registerExpires, "777")(l, c)
		})
		for _, v := range []string{"2.0", "0.5"} {
			l.firmware(v)
			n := l.cycle(h)
			notes := l.until(n, "register ")
			if got := notes[len(notes)-1]; !strings.HasSuffix(got, "expires "+tc.want) || !strings.Contains(got, "v"+v+" ") {
				t.Errorf("%v: got %s, want version %s and expires %s", tc.defects, got, v, tc.want)
			}
		}
	}
}

func TestFetchesTwice(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defects defect.Set
		want    []string
	}{
		{nil, []string{"tftp a.bin", "tftp a.xml"}},
		{defect.Set{defect.FetchesTwice}, []string{"tftp a.bin", "tftp a.bin", "tftp a.xml", "tftp a.xml"}},
	} {
		l := newLab(t)
		l.firmware("2.0")
		registered(t, l, func(c *Config) {
			c.Defects = tc.defects
			fact(model.TFTPTimeout, "20m")(l, c) // so that no retry of a busy machine is counted
		})
		got := slices.DeleteFunc(downloads(l.since(0)), func(s string) bool { return !strings.HasPrefix(s, "tftp a.") })
		same(t, got, tc.want...)
	}
}

func TestReportsOldVersion(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		defects defect.Set
		want    string
	}{{nil, "v2.0 "}, {defect.Set{defect.ReportsOldVersion}, "v" + FactoryVersion + " "}} {
		l := newLab(t)
		l.firmware("2.0")
		h := registered(t, l, with(tc.defects...))
		notes := l.until(0, "register ")
		if got := short(notes); got != upgraded {
			t.Errorf("%v: got %s, want %s", tc.defects, got, upgraded)
		}
		if got := notes[len(notes)-1]; !strings.Contains(got, tc.want) || h.Version() != "2.0" {
			t.Errorf("%v: tells %s and runs %s, want %s told and 2.0 run", tc.defects, got, h.Version(), tc.want)
		}
	}
}

func TestDamagedConfigurationIsSurvived(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ text, want string }{
		"cut in the middle of a line": {"[VOIP]\nline1_name 201\nline1_pro", "R201"},
		"empty":                       {"\n", "R100"},
		"1 MiB":                       {name201 + strings.Repeat("; filler\n", 1<<20/9), "R201"},
		"NULs":                        {"[VOIP]\nline1_name 201\x00\n", "R100"},
		"CRLF":                        {"[VOIP]\r\nline1_name 201\r\n", "R201"},
		"a byte order mark":           {"\xef\xbb\xbf" + name201, "R201"},
		"no section":                  {"line1_name 201\n", "R100"},
		"a doubled section":           {name201 + "[VOIP]\ntimer_register_expires 600\n", "R201"},
		"an unknown section":          {"[NONE]\nline1_name 203\n" + name201, "R201"},
		"an unknown name":             {"[VOIP]\nline1_colour red\nline1_name 201\n", "R201"},
		"a name twice":                {"[VOIP]\nline1_name 203\nline1_name 201\n", "R201"},
		"blanks without quotes":       {"[VOIP]\nline1_name 2 0 1\n", "R100"},
		"an overlong value":           {"[VOIP]\nline1_name " + strings.Repeat("2", 51) + "\n", "R100"},
		"a value out of range":        {"[VOIP]\nlocal_udp_port 99999\nline1_name 201\n", "R201"},
		"a page":                      {"<html><body>none</body></html>\n", "R100"},
		"a cipher that is cut":        {encrypted(name201)[:19], "R100"},
		"a cipher padded wrongly":     {encrypted(name201 + "\x03\x03\x03"), "R100"},
		"a cipher with a bit flipped": {flip(encrypted(name201 + strings.Repeat("; filler\n", 9))), "R100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.publish(own, tc.text)
			h := registered(t, l, func(c *Config) { store(decryptKey, testKey)(l, c) })
			if got, want := short(l.until(0, "register ")), "B G O F V "+tc.want; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			l.publish(own, name202)
			n := l.cycle(h)
			if got, want := short(l.until(n, "register ")), "B G O F V R202"; got != want {
				t.Errorf("at the next good cycle: got %s, want %s", got, want)
			}
		})
	}
}

func flip(s string) string {
	b := []byte(s)
	b[len(b)/2] ^= 0x10
	return string(b)
}

func TestDamagedVersionFileChangesNothing(t *testing.T) {
	t.Parallel()
	const list = "main a.bin\nxml a.xml\n"
	for name, text := range map[string]string{
		"blank":                      " \n",
		"CRLF":                       "version " + FactoryVersion + "\r\nmain a.bin\r\n",
		"trailing blanks":            "version " + FactoryVersion + " \t \nmain a.bin  \n",
		"no version":                 list,
		"no files":                   "version 2.0\n",
		"a line of 64 KiB":           "version " + strings.Repeat("2", 64<<10) + "\n" + list,
		"a comment of 64 KiB":        "#" + strings.Repeat("2", 64<<10) + "\nversion 2.0\n" + list,
		"bytes":                      "\x7fELF\x02\x01\x00version 2.0\n" + list,
		"bytes behind the version":   "version 2.0\x00\xff\n" + list,
		"cut in a checksum":          "version 2.0\nmain a.bin 0123",
		"a version of several words": "version 2.0 of today\n" + list,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.firmware("2.0")
			l.publish(verFile, text)
			h := registered(t, l, nil)
			if got := short(l.until(0, "register ")); got != calm {
				t.Errorf("got %s, want %s", got, calm)
			}
			l.firmware("2.0")
			n := l.cycle(h)
			if got := short(l.until(n, "register ")); got != upgraded {
				t.Errorf("with a good one: got %s, want %s", got, upgraded)
			}
		})
	}
}

func TestFactsDecideWhatNobodyPromises(t *testing.T) {
	t.Parallel()
	key := "[PROVISION]\ndecrypt_key " + testKey + "\n"
	foreign := func(l *lab, _ *Config) { l.list("2.0", "a.bin", "IP8820", "a.xml", "<x/>") }
	for _, tc := range []struct {
		name  string
		given []func(*lab, *Config)
		want  string
	}{
		{"a key of this cycle", given(serve(global, key), serve(own, encrypted(name201))), "B G O F V R201"},
		{"a key of this cycle does not count", given(fact(model.KeyInCycle, "no"), serve(global, key), serve(own, encrypted(name201))), calm},
		{"the template is not one of TFTP", given(store(httpsMACForm, "x")), calm},
		{"no template at all", given(fact(model.NameTemplateOver, "none"), populate("http://192.0.2.1"), store(httpsMACForm, "x")), "B hG hO hF hV R100"},
		{"a blank template is the MAC", given(populate("http://192.0.2.1"), store(httpsMACForm, "")), "B hG hO hF hV R100"},
		{"another model's image", given(foreign), "B G O F V a R100"},
		{"another model's image where nobody looks", given(fact(model.ImageModelCheck, "no"), foreign), upgraded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			registered(t, l, func(c *Config) {
				for _, g := range tc.given {
					g(l, c)
				}
			})
			if got := short(l.until(0, "register ")); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestAFileWhoseTransferFailsIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ tries, want int }{{1, 1}, {3, 3}} {
		l := newLab(t)
		l.publish(own, broken(name201))
		registered(t, l, func(c *Config) {
			populate("http://192.0.2.1")(l, c)
			fact(model.HTTPTries, "1")(l, c)
			fact(model.FileTries, fmt.Sprint(tc.tries))(l, c)
		})
		for file, want := range map[string]int{own: tc.want, global: 1} {
			got := 0
			for _, note := range l.since(0) {
				if note == "http "+file {
					got++
				}
			}
			if got != want {
				t.Errorf("%d tries: %s was asked for %d times, want %d", tc.tries, file, got, want)
			}
		}
	}
}

// TestPowerCutsOnTheWayToAnUpgrade cuts power at each stage; the handset comes
// back with its settings each time, and upgrades when power stays.
func TestPowerCutsOnTheWayToAnUpgrade(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := registered(t, l, func(c *Config) { store(registerExpires, "777")(l, c) })
	for i, at := range []string{"tftp " + global, "tftp " + verFile, "tftp a.bin", "tftp a.xml"} {
		v := fmt.Sprintf("2.%d", i)
		l.firmware(v)
		n := l.cycle(h)
		l.until(n, at)
		n = l.cycle(h)
		notes := l.until(n, "register ")
		if got := notes[len(notes)-1]; !strings.Contains(got, "<sip:100 ") || !strings.Contains(got, "v"+v+" ") || !strings.HasSuffix(got, "expires 777") {
			t.Errorf("after a cut at %s: got %s, want version %s and the settings", at, got, v)
		}
	}
}

func TestUpAndDownAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := registered(t, l, func(c *Config) { store(registerExpires, "777")(l, c) })
	for range 3 {
		for _, v := range []string{"2.0", "0.9"} {
			l.firmware(v)
			n := l.cycle(h)
			notes := l.until(n, "register ")
			if got := short(notes); got != upgraded {
				t.Errorf("got %s, want %s", got, upgraded)
			}
			if got := notes[len(notes)-1]; !strings.Contains(got, "v"+v+" ") || !strings.HasSuffix(got, "expires 777") {
				t.Errorf("got %s, want version %s and the settings", got, v)
			}
		}
	}
}

// TestFactoryResetKeepsMarksOfSoftware holds that marks of software outlive the reset.
func TestFactoryResetKeepsMarksOfSoftware(t *testing.T) {
	t.Parallel()
	s := flash.State{Marks: map[string]string{markRow: "2", flash.SettingsMark + "x": "yes"}}
	s.Factory()
	if len(s.Marks) != 1 || s.Marks[markRow] != "2" {
		t.Errorf("got %v", s.Marks)
	}
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("IP8820"), uint32(0), false)
	f.Add([]byte{}, uint32(1), true)
	h, err := New(Config{Model: model.IP8830, MAC: phoneMAC, Port: wire.NewSwitch().Access("x", 1)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, sum uint32, has bool) {
		err := (&installer{fetcher: &fetcher{device: h.device}}).inspect(version.Listed{Name: "a", CRC: sum, HasCRC: has}, body)
		if err == nil && (len(body) == 0 || has && crc32.ChecksumIEEE(body) != sum) {
			t.Fatalf("%q was taken", body)
		}
	})
}

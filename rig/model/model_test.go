package model_test

import (
	"strings"
	"testing"
	"time"

	"ip88rig/rig/model"
)

func TestNamesAreThoseOfTheGuide(t *testing.T) {
	for _, m := range model.All() {
		if got, want := m.GlobalFile(), "sysconf_"+string(m)+"_sip.cfg"; got != want {
			t.Errorf("global file %q, want %q", got, want)
		}
		if got, want := m.VersionFile(), "IP_"+string(m)+"_VER_SIP2"; got != want {
			t.Errorf("version file %q, want %q", got, want)
		}
		for _, s := range []string{m.String(), string(m), strings.ToLower(m.String())} {
			if got, err := model.Parse(s); err != nil || got != m {
				t.Errorf("Parse(%q) = %q, %v", s, got, err)
			}
		}
	}
	if _, err := model.Parse("IP8815"); err == nil {
		t.Error("a model that the guide does not name was accepted")
	}
}

// Every default must be of the form that a bench file's value must have, or a
// measured fact could not say the same.
func TestEveryDefaultIsAValueThatMayBeMeasured(t *testing.T) {
	facts := model.Default(model.IP8830)
	for _, f := range facts.All() {
		if f.Doc == "" || f.Source == "" {
			t.Errorf("%s: no meaning or no source", f.Name)
		}
		next, err := facts.Override(f.Name, f.Value, "2026-01-31", "seen")
		if err != nil {
			t.Errorf("%s: its own default is refused: %v", f.Name, err)
			continue
		}
		got, _ := next.Get(f.Name)
		if !got.Source.Settled() || got.Grounds != "seen" {
			t.Errorf("%s: overridden, and still %+v", f.Name, got)
		}
		if was, _ := facts.Get(f.Name); was.Source != f.Source {
			t.Errorf("%s: overriding changed the original", f.Name)
		}
	}
	if n := facts.Duration(model.BootLoaderTime); n <= 0 {
		t.Errorf("boot loader time %v", n)
	}
	if f := facts.Fields(model.DownloadFlagFields); len(f) != 2 || f[1].Name != "sw_download" {
		t.Errorf("fields %v", f)
	}
	if n := facts.Int(model.TFTPTries); n != 5 {
		t.Errorf("tries %d", n)
	}
}

func TestOnlyTheFamilysOwnDocumentsSettleAFact(t *testing.T) {
	for source, want := range map[model.Source]bool{
		model.Guide: true, model.Family: true, model.Edge: true, model.Measured: true,
		model.IP8802: false, model.LIP8002: false, model.LIP68: false, model.LIP8000E: false, model.Inferred: false,
	} {
		if got := source.Settled(); got != want {
			t.Errorf("%s settled: %t, want %t", source, got, want)
		}
	}
}

func TestPatienceIsDividedDownToAFloor(t *testing.T) {
	p := model.DefaultPatience()
	if got := p.Scale(1); got != p {
		t.Errorf("factor 1 changed %+v to %+v", p, got)
	}
	fast := p.Scale(200)
	if fast.Settle != p.Settle/200 || fast.Boot < 5*time.Second || fast.Boot >= p.Boot {
		t.Errorf("factor 200 gave %+v", fast)
	}
	short := model.Patience{Boot: time.Second}
	if got := short.Scale(200).Boot; got != time.Second {
		t.Errorf("a floor made a second longer: %v", got)
	}
}

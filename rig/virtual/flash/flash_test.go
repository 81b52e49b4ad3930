package flash

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"ip88rig/rig/model"
)

func factory(tb testing.TB) *Flash {
	tb.Helper()
	f, err := New(model.IP8830, "1.0")
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func TestUpdateLeavesEarlierReadsAlone(t *testing.T) {
	f := factory(t)
	before := f.Read()
	field := model.Field{Section: "VOIP", Name: "line1_name"}
	if err := f.Update(func(s *State) {
		s.Set(field, "201")
		s.Banks[1] = Bank{"2.0", map[string]int{"a": 1}}
		s.Boot = 1
	}); err != nil {
		t.Fatal(err)
	}
	if _, ok := before.Get(field); ok || before.Running() != "1.0" {
		t.Errorf("the earlier copy changed: %+v", before)
	}
	after := f.Read()
	if got, _ := after.Get(field); got != "201" || after.Running() != "2.0" || after.Other() != 0 {
		t.Errorf("got %+v", after)
	}
}

func TestFactoryKeepsFirmware(t *testing.T) {
	f := factory(t)
	if err := f.Update(func(s *State) {
		s.Banks[1], s.Boot = Bank{Version: "2.0"}, 1
		s.Set(model.Field{Section: "VOIP", Name: "line1_name"}, "201")
		s.Installed, s.Uploaded = [][]byte{{1}}, [][]byte{{2}}
		s.Lease = &Lease{}
		s.Factory()
	}); err != nil {
		t.Fatal(err)
	}
	s := f.Read()
	if s.Running() != "2.0" || len(s.Settings) != 0 || len(s.Uploaded) != 0 || len(s.Installed) != 1 || s.Lease != nil {
		t.Errorf("got %+v", s)
	}
}

func TestKeepSavesEveryChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flash")
	f := factory(t)
	if err := f.Keep(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Update(func(s *State) {
		s.Settings["VOIP/line1_name"] = "201"
		s.Lease = &Lease{Addr: netip.MustParsePrefix("192.0.2.7/24"), Server: netip.MustParseAddr("192.0.2.1")}
	}); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.Read(), f.Read(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

func TestAFailedSaveChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f := factory(t)
	if err := f.Keep(filepath.Join(dir, "flash")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := f.Update(func(s *State) { s.Boot = 1; s.Banks[1].Version = "2.0" }); err == nil {
		t.Error("no error without a folder")
	}
	s := f.Read()
	if got := s.Running(); got != "1.0" {
		t.Errorf("runs %s, want 1.0", got)
	}
}

func TestLoadTellsDamageFromAbsence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flash")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: got %v", err)
	}
	f := factory(t)
	good, err := Encode(f.Read())
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), good...)
	flipped[len(flipped)-10] ^= 1
	for name, data := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)-5], "flipped": flipped, "other": []byte("hello\n"),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if _, err := Load(path); !errors.As(err, &damaged) {
			t.Errorf("%s: got %v, want *DamagedError", name, err)
		}
	}
}

func TestParseAuthorityRefusesRubbish(t *testing.T) {
	for _, text := range []string{"", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := ParseAuthority([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func FuzzDecode(f *testing.F) {
	good, err := Encode(factory(f).Read())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err == nil && s.Running() == "" {
			t.Fatal("nothing to boot")
		}
	})
}

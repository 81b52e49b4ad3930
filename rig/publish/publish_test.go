package publish_test

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"ip88rig/capture/timeline"
	"ip88rig/rig/publish"
)

func TestNamesAreFoundInAnyCaseAndNeverOutsideTheTree(t *testing.T) {
	var told []timeline.Event
	tree := publish.New(func(e timeline.Event) { told = append(told, e) })
	if err := tree.Replace([]publish.File{{Name: "00005e005301", Content: []byte("own")}, {Name: "fw/image.rom", Content: []byte("rom")}}); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		want string
		err  error
	}{
		"00005e005301":        {"own", nil},
		"00005E005301":        {"own", nil},
		"/00005e005301":       {"own", nil},
		"//fw//image.rom":     {"rom", nil},
		"./fw/image.rom":      {"rom", nil},
		"fw/image.rom?x=1":    {"", fs.ErrNotExist},
		"fw/../00005e005301":  {"", fs.ErrPermission},
		"../etc/passwd":       {"", fs.ErrPermission},
		"..\\etc\\passwd":     {"", fs.ErrPermission},
		"image.rom\x00.cfg":   {"", fs.ErrPermission},
		"":                    {"", fs.ErrNotExist},
		"/":                   {"", fs.ErrNotExist},
		"fw":                  {"", fs.ErrNotExist},
		"sysconf_8830_sip.cf": {"", fs.ErrNotExist},
	}
	for name, tt := range tests {
		got, err := tree.Lookup(name, netip.AddrPort{})
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Lookup(%q) = %q, %v; want %q, %v", name, got, err, tt.want, tt.err)
		}
	}
	if len(told) != 2 {
		t.Errorf("told of %d changes, want 2", len(told))
	}
}

func TestReplaceTellsOfChangesOnlyAndRefusesBadTreesWhole(t *testing.T) {
	var told []string
	tree := publish.New(func(e timeline.Event) { told = append(told, e.File+" "+e.Reason) })
	first := []publish.File{{Name: "a", Content: []byte("1"), Meaning: "one"}, {Name: "b", Content: []byte("2"), Meaning: "two"}}
	if err := tree.Replace(first); err != nil {
		t.Fatal(err)
	}
	if err := tree.Replace([]publish.File{{Name: "a", Content: []byte("1"), Meaning: "one"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(told, ","), "a one,b two,b withdrawn"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	for name, files := range map[string][]publish.File{
		"doubled":  {{Name: "A"}, {Name: "a"}},
		"escaping": {{Name: "../a"}},
		"empty":    {{Name: ""}},
		"too big":  {{Name: "big", Content: make([]byte, publish.MaxFile+1)}},
	} {
		if err := tree.Replace(files); err == nil {
			t.Errorf("a tree that is %s was accepted", name)
		}
	}
	if got := tree.Files(); len(got) != 1 || got[0].Name != "a" {
		t.Errorf("a refused tree changed what is published: %v", got)
	}
}

func FuzzLookup(f *testing.F) {
	for _, s := range []string{"a", "../a", "/a/../b", "a\x00", "%2e%2e/a", "A?b"} {
		f.Add(s)
	}
	tree := publish.New(func(timeline.Event) {})
	if err := tree.Replace([]publish.File{{Name: "a", Content: []byte("x")}}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, err := tree.Lookup(name, netip.AddrPort{})
		if err == nil && string(got) != "x" {
			t.Errorf("Lookup(%q) = %q", name, got)
		}
	})
}

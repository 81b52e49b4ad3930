package firmware_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ip88rig/rig/bench"
	"ip88rig/rig/firmware"
	"ip88rig/rig/model"
)

func TestABundleIsTakenOnlyAsItsSumsSay(t *testing.T) {
	write := func(t *testing.T, change map[string]string) bench.Bundle {
		t.Helper()
		dir := t.TempDir()
		files := map[string]string{"IP_8830_VER_SIP2": "version 2.0\nimg a.img 00000000\n", "a.img": "image"}
		var sums strings.Builder
		for name, content := range files {
			fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256([]byte(content)), name)
		}
		files["SHA256SUMS"] = sums.String()
		maps.Copy(files, change)
		for name, content := range files {
			if content == "-" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return bench.Bundle{Folder: dir, Version: "2.0", Files: []string{"a.img"}}
	}
	v, err := firmware.Load(model.IP8830, write(t, nil))
	if err != nil || v.StandIn || len(v.Files) != 1 || string(v.Files[0].Content) != "image" {
		t.Fatalf("got %+v, %v", v, err)
	}
	for name, tt := range map[string]struct {
		change map[string]string
		bundle func(*bench.Bundle)
		want   string
	}{
		"a changed image":        {map[string]string{"a.img": "imagE"}, nil, "does not match SHA256SUMS"},
		"a missing image":        {map[string]string{"a.img": "-"}, nil, "no such file"},
		"no sums":                {map[string]string{"SHA256SUMS": "-"}, nil, "no such file"},
		"empty sums":             {map[string]string{"SHA256SUMS": "\n"}, nil, "holds no sum"},
		"bad sums":               {map[string]string{"SHA256SUMS": "abc a.img\n"}, nil, "SHA256SUMS:1:"},
		"another version":        {nil, func(b *bench.Bundle) { b.Version = "3.0" }, "does not name the version"},
		"an unlisted file":       {map[string]string{"SHA256SUMS": fmt.Sprintf("%x IP_8830_VER_SIP2\n%x b.img\n", sha256.Sum256([]byte("version 2.0\nimg a.img 00000000\n")), sha256.Sum256([]byte("x"))), "b.img": "x"}, func(b *bench.Bundle) { b.Files = []string{"b.img"} }, "does not list"},
		"the wrong model's file": {map[string]string{"IP_8830_VER_SIP2": "-"}, nil, "IP_8830_VER_SIP2"},
	} {
		b := write(t, tt.change)
		if tt.bundle != nil {
			tt.bundle(&b)
		}
		if _, err := firmware.Load(model.IP8830, b); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestCommentsStandOnTopInTheMiddleAndAtTheEnd(t *testing.T) {
	v := firmware.StandIn(model.IP8820, "1.3", 1, 4096)
	got := strings.Split(strings.TrimSpace(string(v.Commented("rig").VersionFile)), "\n")
	if got[0] != "# rig" || got[len(got)-1] != "# rig" || got[2] != "# rig" {
		t.Errorf("got %q", got)
	}
	var rest []string
	for _, l := range got {
		if l != "# rig" {
			rest = append(rest, l)
		}
	}
	if want := strings.TrimSpace(string(v.VersionFile)); strings.Join(rest, "\n") != want {
		t.Errorf("without comments %q, want %q", rest, want)
	}
}

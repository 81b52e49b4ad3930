package firmware_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
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
		"half of its files":      {nil, func(b *bench.Bundle) { b.Files = nil }, "lists \"a.img\", which the bench entry does not"},
		"a part of the version":  {nil, func(b *bench.Bundle) { b.Version = "2" }, "does not name the version"},
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

func TestAVersionFileIsReadByItsForm(t *testing.T) {
	for name, tt := range map[string]struct {
		file  string
		extra string // a file that SHA256SUMS holds beside a.img
		want  string // of the error; blank: it is taken
	}{
		"the known form":                       {file: "version 1.2.38\nimg a.img 00000000\n"},
		"comments, blank lines, no digits":     {file: "# of 9.9\n\nversion 1.2.38\n  # b.img\nimg a.img\n#end"},
		"a file beside it that nobody lists":   {file: "version 1.2.38\nimg a.img 00000000\n", extra: "notes.txt"},
		"a digit more":                         {file: "version 1.2.381\nimg a.img 00000000\n", want: "does not name the version \"1.2.38\""},
		"a word more":                          {file: "version 1.2.38 beta\nimg a.img 00000000\n", want: "but \"1.2.38 beta\""},
		"the version in a comment only":        {file: "# 1.2.38\nversion 1.2.39\nimg a.img 00000000\n", want: "does not name"},
		"a file more":                          {file: "version 1.2.38\nimg a.img 00000000\nboot b.img 00000000\n", extra: "b.img", want: "lists \"b.img\", which"},
		"a file that is commented out":         {file: "version 1.2.38\n# img a.img 00000000\nimg c.img\n", want: "does not list \"a.img\""},
		"a name within a longer one":           {file: "version 1.2.38\nimg aa.img 00000000\n", want: "does not list \"a.img\""},
		"another form":                         {file: "[release]\nver=1.2.38\nimage=a.img\n"},
		"another form, other digits":           {file: "version 1.2.38\nimg a.img md5\n"},
		"another form, a file more":            {file: "ver=1.2.38\nimage=a.img\nboot=b.img\n", extra: "b.img", want: "SHA256SUMS holds \"b.img\""},
		"another form, another version":        {file: "ver=1.2.381\nimage=a.img\n", want: "does not name the version"},
		"another form, a name within a longer": {file: "ver=1.2.38\nimage=aa.img\n", want: "does not list \"a.img\""},
		"another form, commented out":          {file: "ver=1.2.38\n#image=a.img\n", want: "does not list \"a.img\""},
		"a second version":                     {file: "version 1.2.38\nimg a.img\nversion 2\n", extra: "b.img", want: "is not of the form"},
		"nothing listed":                       {file: "version 1.2.38\n", want: "does not list \"a.img\""},
		"an empty file":                        {file: "", want: "does not name the version"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{"IP_8830_VER_SIP2": tt.file, "a.img": "image"}
			if tt.extra != "" {
				files[tt.extra] = "more"
			}
			var sums strings.Builder
			for name, content := range files {
				fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256([]byte(content)), name)
			}
			files["SHA256SUMS"] = sums.String()
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := firmware.Load(model.IP8830, bench.Bundle{Folder: dir, Version: "1.2.38", Files: []string{"a.img"}})
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("version 1.2.38\nimg a.img 00000000\n"))
	f.Add([]byte("# c\nver=1.2.38\nimage=a.img"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, file []byte) {
		dir := t.TempDir()
		for name, content := range map[string]string{
			"IP_8830_VER_SIP2": string(file), "a.img": "image",
			"SHA256SUMS": fmt.Sprintf("%x  IP_8830_VER_SIP2\n%x  a.img\n", sha256.Sum256(file), sha256.Sum256([]byte("image"))),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := firmware.Load(model.IP8830, bench.Bundle{Folder: dir, Version: "1.2.38", Files: []string{"a.img"}})
		if err == nil && (!strings.Contains(string(file), "1.2.38") || !strings.Contains(string(file), "a.img")) {
			t.Errorf("took %q", file)
		}
	})
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

func TestCommentedBehindBlanks(t *testing.T) {
	v := firmware.StandIn(model.IP8830, "1.2.3", 1, 1000)
	text := string(v.CommentedBehindBlanks("rig").VersionFile)
	if !strings.HasPrefix(text, "  # rig\n") || strings.ReplaceAll(text, "  # rig\n", "") != string(v.VersionFile) {
		t.Errorf("got %q", text)
	}
}

func TestWithLineEnds(t *testing.T) {
	v := firmware.StandIn(model.IP8830, "1.2.3", 1, 1000)
	if got := string(v.WithLineEnds("\r\n").VersionFile); !strings.HasPrefix(got, "version 1.2.3\r\n") || strings.Count(got, "\r\n") != strings.Count(string(v.VersionFile), "\n") {
		t.Errorf("got %q", got)
	}
	text := string(v.WithLineEnds("  \n").VersionFile)
	v.VersionFile = bytes.ReplaceAll(v.VersionFile, []byte("\n"), []byte("\r\n"))
	if got := string(v.WithLineEnds("\r\n").VersionFile); got != string(v.VersionFile) {
		t.Errorf("a file with CRLF: got %q", got)
	}
	if got := string(v.WithLineEnds("  \n").VersionFile); got != text {
		t.Errorf("a file with CRLF: got %q, want %q", got, text)
	}
}

// A vendor's file may have CRLF: what is changed in it is nothing but what is told.
func TestAVersionFileWithCRLF(t *testing.T) {
	v := firmware.StandIn(model.IP8830, "1.2.3", 1, 1000)
	plain := string(v.VersionFile)
	v.VersionFile = []byte(strings.ReplaceAll(plain, "\n", "\r\n"))
	for _, c := range []struct {
		name, got, want string
	}{
		{"CRLF in place of CRLF", string(v.WithLineEnds("\r\n").VersionFile), string(v.VersionFile)},
		{"LF in place of CRLF", string(v.WithLineEnds("\n").VersionFile), plain},
		{"its lines but for the comments", strings.ReplaceAll(string(v.Commented("rig").VersionFile), "# rig\r\n", ""), string(v.VersionFile)},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

func TestAForeignVersionHasTheNamesAndRightChecksumsOfAnotherModelsFiles(t *testing.T) {
	v := firmware.StandIn(model.IP8830, "1.2.3", 1, 1000)
	f, err := v.Foreign(model.IP8840, 2, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != v.Name || !f.StandIn || len(f.Files) != len(v.Files) {
		t.Fatalf("got %+v", f)
	}
	for i, file := range f.Files {
		if file.Name != v.Files[i].Name || bytes.Equal(file.Content, v.Files[i].Content) {
			t.Errorf("file %d is %q with the same content: %v", i, file.Name, bytes.Equal(file.Content, v.Files[i].Content))
		}
		if line := fmt.Sprintf("%s %08x\n", file.Name, crc32.ChecksumIEEE(file.Content)); !strings.Contains(string(f.VersionFile), line) {
			t.Errorf("version file %q lacks %q", f.VersionFile, line)
		}
	}
	if !bytes.Contains(f.Files[0].Content[:256], []byte("IP8840")) {
		t.Error("the main file does not name the other model")
	}
	v.StandIn = false
	if _, err := v.Foreign(model.IP8840, 2, 1000); !errors.Is(err, firmware.ErrStandIn) {
		t.Errorf("a vendor's bundle: got %v", err)
	}
}

package version

import (
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	want := File{Version: "v2.0", Files: []Listed{
		{"ker_img", "ip8830.bin", 0xdeadbeef, true},
		{"xml", "ip8830.xml", 0, false},
	}}
	for _, tc := range []struct {
		name, text string
		want       File
		ok         bool
	}{
		{"version and files", "version v2.0\nker_img ip8830.bin DEADBEEF\nxml ip8830.xml\n", want, true},
		{"comments wherever they stand", "#a\nversion v2.0\n# b c d e\nker_img ip8830.bin deadbeef\n#\nxml ip8830.xml\n#é\n", want, true},
		{"blanks before a comment", " # x\nversion v2.0\nker_img ip8830.bin deadbeef\n\t#y\nxml ip8830.xml", want, true},
		{"CRLF, blank lines, trailing blanks", "version v2.0  \r\n\r\nker_img  ip8830.bin\tdeadbeef \r\nxml ip8830.xml\r\n", want, true},
		{"no files", "version v2.0\n", File{Version: "v2.0"}, true},
		{"an empty file", "", File{}, false},
		{"no version", "ker_img a.bin deadbeef\n", File{}, false},
		{"version below a file", "ker_img a.bin deadbeef\nversion 1\n", File{}, false},
		{"two versions", "version 1\nversion 2\n", File{}, false},
		{"a version of two words", "version 1 2\n", File{}, false},
		{"an html page", "<html><body>404</body></html>", File{}, false},
		{"bytes", "\x7fELF\x00\x01version 1", File{}, false},
		{"a NUL behind the version", "version 1\x00\n", File{}, false},
		{"a checksum that is none", "version 1\na b 123\n", File{}, false},
		{"a line cut off", "version 1\nker\n", File{}, false},
		{"a name out of the tree", "version 1\na ../b\n", File{}, false},
		{"a long line", "version " + strings.Repeat("1", 60000), File{}, false},
		{"a long file", strings.Repeat("#\n", 60000), File{}, false},
		{"many files", "version 1\n" + strings.Repeat("a b\n", MaxFiles+1), File{}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Parse(Syntax, []byte(tc.text), Options{})
			if (err == nil) != tc.ok {
				t.Fatalf("got error %v, want ok %v", err, tc.ok)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestCommentsOnlyOnTop(t *testing.T) {
	text := []byte("# top\nversion 1\n# below\n")
	healthy, err := Parse(Syntax, text, Options{})
	if err != nil || len(healthy.Files) != 0 {
		t.Fatalf("healthy: got %v, %v", healthy, err)
	}
	sick, err := Parse(Syntax, text, Options{CommentsOnlyOnTop: true})
	if err != nil || len(sick.Files) != 1 || sick.Files[0].Name != "below" {
		t.Errorf("with the defect: got %v, %v", sick, err)
	}
}

func TestNewer(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"1.2.3", "1.2.2", true},
		{"1.10", "1.9", true},
		{"1.9", "1.10", false},
		{"1.0", "1.0", false},
		{"v1.0a", "v1.0", true},
		{"v01", "v1", false},
		{"b", "a", true},
	} {
		if got := Newer(tc.a, tc.b); got != tc.want {
			t.Errorf("%s after %s: got %v, want %v", tc.a, tc.b, got, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# c\nversion v2.0\nker_img ip8830.bin deadbeef\n"), false)
	f.Add([]byte("version 1\n#\n# \n ##\n"), true)
	f.Fuzz(func(t *testing.T, data []byte, top bool) {
		got, err := Parse(Syntax, data, Options{CommentsOnlyOnTop: top})
		if err != nil && (got.Version != "" || got.Files != nil) {
			t.Fatalf("error %v, and yet %v", err, got)
		}
		if err == nil && (got.Version == "" || strings.ContainsAny(got.Version, " \r\n\x00")) {
			t.Fatalf("version %q", got.Version)
		}
	})
}

func TestKeepsTrailing(t *testing.T) {
	for text, want := range map[string]string{"version 1\n": "1", "version 1\r\n": "1\r", "version 1 \t\n": "1 \t", "version 1": "1"} {
		healthy, err := Parse(Syntax, []byte(text), Options{})
		if err != nil || healthy.Version != "1" {
			t.Errorf("%q: healthy: got %+v, %v", text, healthy, err)
		}
		if sick, err := Parse(Syntax, []byte(text), Options{KeepsTrailing: true}); err != nil || sick.Version != want {
			t.Errorf("%q: with the defect: got %+v, %v, want %q", text, sick, err, want)
		}
	}
}

package sysconf_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ip88rig/rig/sysconf"
)

const golden = "; lab\n[VOIP]\nline1_name 201 ;desk\nline1_displayname \"Rig phone 1\"\n\n[PROVISION]\nhttps_url \"\"\n"

func TestFieldsAreSetInPlaceOrAtTheEndOfTheirSection(t *testing.T) {
	f, err := sysconf.Parse("golden.cfg", []byte(golden))
	if err != nil {
		t.Fatal(err)
	}
	g := f.Clone()
	g.Set("VOIP", "line1_name", "202")
	g.Set("VOIP", "line1_displayname", "Two words")
	g.Set("VOIP", "local_udp_port", "5070")
	g.Set("LAN", "tftp_server_address", "192.0.2.1")
	g.Remove("PROVISION", "https_url")
	want := "; lab\n[VOIP]\nline1_name 202\nline1_displayname \"Two words\"\n\nlocal_udp_port 5070\n[PROVISION]\n[LAN]\ntftp_server_address 192.0.2.1\n"
	if got := string(g.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := string(f.Bytes()); got != golden {
		t.Errorf("changing a clone changed the original:\n%s", got)
	}
	for name, want := range map[string]string{"line1_name": "201", "line1_displayname": "Rig phone 1"} {
		if got, ok := f.Get("VOIP", name); !ok || got != want {
			t.Errorf("Get(%s) = %q, %t; want %q", name, got, ok, want)
		}
	}
	if _, ok := f.Get("LAN", "line1_name"); ok {
		t.Error("found a field in the wrong section")
	}
}

func TestAListStandsWithoutQuotes(t *testing.T) {
	f, err := sysconf.Parse("golden", []byte("[VOIP]\npreferred_codec pcmu\n"))
	if err != nil {
		t.Fatal(err)
	}
	f.SetList("VOIP", "preferred_codec", "pcma", "pcmu", "g729")
	if got, want := string(f.Bytes()), "[VOIP]\npreferred_codec pcma pcmu g729\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, _ := f.Get("VOIP", "preferred_codec"); got != "pcma pcmu g729" {
		t.Errorf("read back %q", got)
	}
}

func TestABadGoldenFileIsRefusedWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"a b\n":                                "x.cfg:1: \"a b\" stands before",
		"[VOIP\na b\n":                         "x.cfg:1: section header",
		"[VOIP]\n\nname=value\n":               "x.cfg:3:",
		"[VOIP]\n" + strings.Repeat("a", 5000): "x.cfg:2: the line has",
		"[VOIP]\x00":                           "not a text file",
		"\xff\xfe":                             "not a text file",
	} {
		if _, err := sysconf.Parse("x.cfg", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v, want %q", text, err, want)
		}
	}
}

// The cipher is checked by a program nobody here wrote.
func TestOpenSSLDecryptsWhatIsEncrypted(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	const key = "00112233445566778899aabbccddeeff"
	for form, args := range map[string][]string{
		"3des-2key-hex-cbc-zero-iv-zero-pad": {"enc", "-d", "-des-ede-cbc", "-iv", "0000000000000000"},
		"3des-2key-hex-ecb-zero-pad":         {"enc", "-d", "-des-ede"},
	} {
		sealed, err := sysconf.Encrypt(form, key, []byte(golden))
		if err != nil {
			t.Fatal(err)
		}
		in := filepath.Join(t.TempDir(), "sealed")
		if err := os.WriteFile(in, sealed, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), openssl, append(args, "-K", key, "-nopad", "-in", in)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", form, err, out)
		}
		if got := string(bytes.TrimRight(out, "\x00")); got != golden {
			t.Errorf("%s: openssl reads %q", form, got)
		}
	}
	for _, key := range []string{"", "xyz", "0011"} {
		if _, err := sysconf.Encrypt("3des-2key-hex-ecb-zero-pad", key, nil); err == nil {
			t.Errorf("key %q was accepted", key)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte("[A]\n;\n\r\nfunction tcp enable"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := sysconf.Parse("fuzz", text)
		if err != nil {
			return
		}
		file.Set("VOIP", "line1_name", "x y")
		if got, ok := file.Get("VOIP", "line1_name"); !ok || got != "x y" {
			t.Errorf("set, and read back %q, %t from\n%s", got, ok, file.Bytes())
		}
	})
}

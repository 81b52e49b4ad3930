package config

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"encoding/hex"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/model"
)

func rules() Rules { return NewRules(model.Default(model.IP8830)) }

func settings(f File) []string {
	var out []string
	for _, s := range f.Settings {
		out = append(out, s.Field.Section+"/"+s.Field.Name+"="+s.Value)
	}
	return out
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
		ignored    int
	}{
		{"a plain line", "[VOIP]\nline1_name 201\n", []string{"VOIP/line1_name=201"}, 0},
		{"a comment after a value", "[VOIP]\nline1_name 201 ;who\n; alone\n", []string{"VOIP/line1_name=201"}, 0},
		{"a semicolon without a blank is part of the value", "[VOIP]\nline1_name 2;1\n", []string{"VOIP/line1_name=2;1"}, 0},
		{"several and trailing blanks", "[VOIP]\n  line1_name \t 201  \t\n", []string{"VOIP/line1_name=201"}, 0},
		{"an empty value", "[VOIP]\nline1_extension\nline1_dn ;none\nline1_name \"\"\n", []string{"VOIP/line1_extension=", "VOIP/line1_dn=", "VOIP/line1_name="}, 0},
		{"a quoted value with blank and semicolon", "[VOIP]\nline1_displayname \"Rig ; 1\" ; x\n", []string{"VOIP/line1_displayname=Rig ; 1"}, 0},
		{"an unquoted value with blanks is left out", "[VOIP]\nline1_displayname Rig phone\nline1_name 1\n", []string{"VOIP/line1_name=1"}, 1},
		{"an open quote is left out", "[VOIP]\nline1_displayname \"Rig\nline1_name 1\n", []string{"VOIP/line1_name=1"}, 1},
		{"a list of values", "[VOIP]\npreferred_codec pcma  pcmu g729\n", []string{"VOIP/preferred_codec=pcma pcmu g729"}, 0},
		{"a keyword with a sub-name", "[SYSTEM]\nfunction tcp enable\n[DIAL]\nvsc direct_call_pickup **\n", []string{"SYSTEM/function tcp=enable", "DIAL/vsc direct_call_pickup=**"}, 0},
		{"records", "[PROG]\nadd 3 1 201\nadd 99 1 2\n[ROUTE]\nadd SIP 0 911 0 192.0.2.1\nadd SIP 0 911 0 host\n", []string{"PROG/add 3=1 201", "ROUTE/add SIP 0 911 0 192.0.2.1="}, 2},
		{"CRLF and a byte order mark", "\xef\xbb\xbf[VOIP]\r\nline1_name 201\r\n", []string{"VOIP/line1_name=201"}, 0},
		{"an unknown section hides its lines only", "[NEW]\nline1_name 1\n[VOIP]\nline1_name 2\n", []string{"VOIP/line1_name=2"}, 2},
		{"a broken header hides its lines only", "[VOIP\nline1_name 1\n[VOIP]\nline1_name 2\n", []string{"VOIP/line1_name=2"}, 2},
		{"lines without a section", "line1_name 1\n", nil, 1},
		{"a doubled section goes on", "[VOIP]\nline1_name 1\n[VOIP]\nline1_dn 2\n", []string{"VOIP/line1_name=1", "VOIP/line1_dn=2"}, 0},
		{"an unknown name", "[VOIP]\nline1_colour red\nline99_name 1\nline0_name 2\nLINE1_NAME 2\n", nil, 4},
		{"numbers out of range", "[VOIP]\nlocal_udp_port 80\nlocal_udp_port 70000\nlocal_udp_port x\nlocal_udp_port ;none\nlocal_udp_port 5070\n", []string{"VOIP/local_udp_port=5070"}, 4},
		{"an overlong value", "[VOIP]\nline1_name " + strings.Repeat("1", 51) + "\n", nil, 1},
		{"an overlong line", "[VOIP]\nline1_name " + strings.Repeat("1", 5000) + "\nline1_name 1\n", []string{"VOIP/line1_name=1"}, 1},
		{"the mask is hex 0 to 7", "[PROVISION]\nverifying_cert 7\nverifying_cert 8\nverifying_cert 05\n", []string{"PROVISION/verifying_cert=7", "PROVISION/verifying_cert=05"}, 1},
		{"a field that only the facts name", "[PROVISION]\ndhcp_http_option 161\ndhcp_http_option 255\n", []string{"PROVISION/dhcp_http_option=161"}, 1},
		{"a file cut in the middle of a line", "[VOIP]\nline1_name 201\nline1_pro", []string{"VOIP/line1_name=201"}, 1},
		{"an empty file", "", nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := Parse([]byte(tc.text), rules(), Options{})
			if got := settings(f); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q (%v)", got, tc.want, f.Remarks)
			}
			if f.Ignored != tc.ignored {
				t.Errorf("got %d lines left out, want %d: %v", f.Ignored, tc.ignored, f.Remarks)
			}
		})
	}
}

func TestParseKeepsIncludes(t *testing.T) {
	f := Parse([]byte("[VOIP]\ninclude 00005E005301-phonebook.csv phonebook\ninclude x\n"), rules(), Options{})
	if want := []string{"00005E005301-phonebook.csv"}; !slices.Equal(f.Includes, want) || f.Ignored != 1 {
		t.Errorf("got %q and %d left out, want %q and 1", f.Includes, f.Ignored, want)
	}
}

func TestFactoryDefaultsPassTheirOwnCheck(t *testing.T) {
	for f, rule := range rules().fields {
		if rule.Default == "" {
			continue
		}
		if err := rule.Check(rule.Default); err != nil {
			t.Errorf("%s/%s: %v", f.Section, f.Name, err)
		}
	}
	if got := rules().Default(model.Field{Section: "VOIP", Name: "line3_proxy_port"}); got != "5060" {
		t.Errorf("got default %q of line3_proxy_port, want 5060", got)
	}
}

func TestReadable(t *testing.T) {
	for _, tc := range []struct {
		name string
		data string
		want bool
	}{
		{"an empty file", "", true},
		{"text of any system", "[A]\r\nb\tc\n", true},
		{"UTF-8", "\xef\xbb\xbfé", true},
		{"a NUL", "[A]\n\x00", false},
		{"Latin-1", "\xe9", false},
	} {
		if got := Readable([]byte(tc.data)); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

const (
	keyA = "0123456789abcdeffedcba9876543210"
	keyB = "00112233445566778899aabbccddeeff"
	body = "[VOIP]\nline1_name 201\nline1_authname 201\nline1_password secret\n"
)

func encrypt(t *testing.T, form string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(keyA)
	if err != nil {
		t.Fatal(err)
	}
	b, err := des.NewTripleDESCipher(append(raw, raw[:8]...))
	if err != nil {
		t.Fatal(err)
	}
	data := append([]byte(body), make([]byte, (8-len(body)%8)%8)...)
	if form == FormCBC {
		cipher.NewCBCEncrypter(b, make([]byte, 8)).CryptBlocks(data, data)
		return data
	}
	for i := 0; i < len(data); i += 8 {
		b.Encrypt(data[i:], data[i:])
	}
	return data
}

func TestOpen(t *testing.T) {
	flipped := encrypt(t, FormCBC)
	flipped[9] ^= 1
	for _, tc := range []struct {
		name      string
		data      []byte
		form, key string
		ok        bool
	}{
		{"a readable file needs no key", []byte(body), FormCBC, "", true},
		{"a readable file is not decrypted", []byte(body), FormCBC, keyA, true},
		{"CBC with its key", encrypt(t, FormCBC), FormCBC, keyA, true},
		{"ECB with its key", encrypt(t, FormECB), FormECB, keyA, true},
		{"another key", encrypt(t, FormCBC), FormCBC, keyB, false},
		{"another mode", encrypt(t, FormECB), FormCBC, keyA, false},
		{"no key", encrypt(t, FormCBC), FormCBC, "", false},
		{"a key that is none", encrypt(t, FormCBC), FormCBC, "secret", false},
		{"a key of 64 digits", encrypt(t, FormCBC), FormCBC, keyA + keyA, false},
		{"a cut file", encrypt(t, FormCBC)[:21], FormCBC, keyA, false},
		{"a flipped bit", flipped, FormCBC, keyA, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, err := Open(tc.data, tc.form, tc.key)
			if (err == nil) != tc.ok {
				t.Fatalf("got error %v, want ok %v", err, tc.ok)
			}
			if tc.ok && string(got) != body {
				t.Errorf("got %q, want %q", got, body)
			}
		})
	}
}

// TestDecryptOpenSSL reads what a program encrypted that nobody here wrote.
func TestDecryptOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("needs openssl")
	}
	for form, name := range map[string]string{FormCBC: "-des-ede-cbc", FormECB: "-des-ede"} {
		args := []string{"enc", name, "-K", keyA, "-nopad"}
		if form == FormCBC {
			args = append(args, "-iv", "0000000000000000")
		}
		cmd := exec.CommandContext(t.Context(), openssl, args...)
		cmd.Stdin = bytes.NewReader(append([]byte(body), make([]byte, (8-len(body)%8)%8)...))
		data, err := cmd.Output()
		if err != nil {
			t.Logf("openssl %s: %v", name, err)
			continue
		}
		got, encrypted, err := Open(data, form, keyA)
		if err != nil || !encrypted || string(got) != body {
			t.Errorf("%s: got %q, %v, %v", name, got, encrypted, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("[VOIP]\nline1_name \"a b\" ;c\nfunction\nadd\ninclude a phonebook"))
	f.Add([]byte("[PROG]\nadd 3 1 2\n[ROUTE]\nadd SIP 0 1 2 192.0.2.1\n[SYSTEM]\nfunction tcp enable\n[\n]\n[]\n\"\"\n\"\" x"))
	r := rules()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range Parse(data, r, Options{}).Settings {
			rule, ok := r.Rule(s.Field)
			if !ok {
				t.Fatalf("unknown field %v was set", s.Field)
			}
			if err := rule.Check(s.Value); err != nil {
				t.Fatalf("%v was set: %v", s.Field, err)
			}
		}
	})
}

func FuzzDecrypt(f *testing.F) {
	f.Add([]byte("12345678"), keyA, FormCBC)
	f.Add([]byte{}, "", FormECB)
	f.Fuzz(func(t *testing.T, data []byte, key, form string) {
		text, _, err := Open(data, form, key)
		if err == nil && !Readable(text) {
			t.Fatalf("%q is not readable", text)
		}
	})
}

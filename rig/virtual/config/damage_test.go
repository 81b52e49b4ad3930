package config

import (
	"slices"
	"strings"
	"testing"
)

func TestKeepsComments(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
		ignored    int
	}{
		{"a comment behind a value", "[VOIP]\nline1_name 201 ;who\n", []string{"VOIP/line1_name=201 ;who"}, 0},
		{"a comment behind a quoted value", "[VOIP]\nline1_displayname \"Rig 1\"; x\n", []string{"VOIP/line1_displayname=Rig 1 ; x"}, 0},
		{"a comment behind a number", "[VOIP]\nlocal_udp_port 5070 ;x\n", nil, 1},
		{"a comment behind no value", "[VOIP]\nline1_dn ;none\n", []string{"VOIP/line1_dn="}, 0},
		{"a comment on its own line", "[VOIP]\n;x\nline1_name 201\n", []string{"VOIP/line1_name=201"}, 0},
		{"blanks without quotes", "[VOIP]\nline1_name 2 01 ;x\n", nil, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := Parse([]byte(tc.text), rules(), Options{KeepsComments: true})
			if got := settings(f); !slices.Equal(got, tc.want) || f.Ignored != tc.ignored {
				t.Errorf("got %q and %d left out, want %q and %d", got, f.Ignored, tc.want, tc.ignored)
			}
		})
	}
}

func TestDamagedText(t *testing.T) {
	for _, tc := range []struct {
		name, data string
		want       bool
	}{
		{"text", body, false},
		{"an empty file", "", false},
		{"text with a NUL", "[VOIP]\nline1_name\x00 201\n", true},
		{"a cipher", string(encrypt(t, FormCBC)), false},
		{"too short to tell", "a\x00b", false},
	} {
		if got := DamagedText([]byte(tc.data)); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestDamaged(t *testing.T) {
	for _, form := range []string{FormCBC, FormECB} {
		whole := encrypt(t, form)
		flipped := slices.Clone(whole)
		flipped[len(flipped)-12] ^= 1
		for _, tc := range []struct {
			name string
			data []byte
			key  string
			want bool
		}{
			{"a whole file", whole, keyA, false},
			{"a whole file under another key", whole, keyB, false},
			{"a whole file without a key", whole, "", false},
			{"cut in a block", whole[:len(whole)-3], keyA, true},
			{"cut behind a block", whole[:len(whole)-16], keyA, true},
			{"a bit flipped", flipped, keyA, true},
			{"cut to nothing", nil, keyA, false},
			{"noise", []byte(strings.Repeat("\xff\x80\x00", 16)), keyA, false},
		} {
			t.Run(form+": "+tc.name, func(t *testing.T) {
				if got := Damaged(tc.data, form, tc.key); got != tc.want {
					t.Errorf("got %v, want %v", got, tc.want)
				}
			})
		}
	}
}

func FuzzParseKeepingComments(f *testing.F) {
	f.Add([]byte("[VOIP]\nline1_name 1 ;x\nline1_displayname \"a\";b\npreferred_codec pcma ;y\n"))
	r := rules()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range Parse(data, r, Options{KeepsComments: true}).Settings {
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

func FuzzDamaged(f *testing.F) {
	f.Add([]byte("123456789012345678901234"), keyA, FormCBC)
	f.Add([]byte{}, "", FormECB)
	f.Fuzz(func(t *testing.T, data []byte, key, form string) {
		if Damaged(data, form, key) && len(data) < 8 {
			t.Fatalf("%q opens to text", data)
		}
		if DamagedText(data) && Readable(data) {
			t.Fatalf("%q is readable", data)
		}
	})
}

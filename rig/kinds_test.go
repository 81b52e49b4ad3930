package rig_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/rig"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/fault"
)

// TestEachKindOfFaultReadsBackFromItsText fills each parameter of each kind.
func TestEachKindOfFaultReadsBackFromItsText(t *testing.T) {
	for _, k := range rig.FaultKinds() {
		for _, zero := range k.Zero() {
			filled := reflect.New(reflect.TypeOf(zero)).Elem()
			for i := range filled.NumField() {
				fill(t, filled.Field(i), i)
			}
			for _, e := range []fault.Effect{zero, filled.Interface().(fault.Effect)} {
				text, err := k.Text(e)
				if err != nil {
					t.Error(err)
					continue
				}
				back, err := k.Parse(text)
				if err != nil || back != e {
					t.Errorf("%s: %s: read back as %#v, %v, want %#v", k.Service(), text, back, err, e)
				}
			}
		}
	}
}

// fill gives a parameter a value that is awkward to write.
func fill(t *testing.T, v reflect.Value, i int) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Duration:
		v.Set(reflect.ValueOf(90*time.Second + time.Duration(i)*time.Millisecond))
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2027, 2, 3, 4, 5, 6, 7, time.UTC)))
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.7")))
	case dhcpd.Options:
		v.Set(reflect.ValueOf(dhcpd.Options{{Code: 66, Value: "192.0.2.1"}, {Code: 150, Value: "\xc0\x00\x02\x01"}, {Code: 160, Value: "a; b"}}))
	default:
		switch v.Kind() {
		case reflect.Bool:
			v.SetBool(true)
		case reflect.String:
			v.SetString("a \"b\"\n\x00é=" + strings.Repeat("x", i))
		case reflect.Float64:
			v.SetFloat(0.1 + float64(i))
		case reflect.Int, reflect.Int64:
			v.SetInt(int64(-3 - i))
		case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			v.SetUint(uint64(200 + i))
		default:
			t.Fatalf("a parameter of type %s is not tried", v.Type())
		}
	}
}

// TestEachKindOfFaultIsListed looks for types of the fault files that print as a
// sentence.
func TestEachKindOfFaultIsListed(t *testing.T) {
	for _, k := range rig.FaultKinds() {
		var listed, found []string
		for _, e := range k.Zero() {
			listed = append(listed, reflect.TypeOf(e).Name())
		}
		files, err := filepath.Glob(filepath.Join(k.Service(), "fault_*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if !strings.HasSuffix(path, "_test.go") {
				found = append(found, sentences(t, path)...)
			}
		}
		slices.Sort(listed)
		slices.Sort(found)
		if !slices.Equal(listed, found) {
			t.Errorf("%s: Kinds lists\n%q, its files hold\n%q", k.Service(), listed, found)
		}
	}
}

// sentences are the exported struct types of a file that have a String method.
func sentences(t *testing.T, path string) []string {
	t.Helper()
	text, err := fs.ReadFile(os.DirFS("."), path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range file.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Name.Name != "String" || fn.Recv == nil {
			continue
		}
		if id, ok := fn.Recv.List[0].Type.(*ast.Ident); ok && id.IsExported() {
			out = append(out, id.Name)
		}
	}
	return out
}

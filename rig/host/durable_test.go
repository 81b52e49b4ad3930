package host

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/sleep"
)

// TestTheWaitReasonIsThatOfThisGo reads the number from the runtime's own source.
func TestTheWaitReasonIsThatOfThisGo(t *testing.T) {
	file := filepath.Join(runtime.GOROOT(), "src", "runtime", "runtime2.go") //nolint:staticcheck // the source that this test was built with
	src, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	reason := -1
	for _, d := range src.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for i, spec := range g.Specs { // each has one name, and the first is iota
			if v, ok := spec.(*ast.ValueSpec); ok && v.Names[0].Name == "waitReasonSynctestSelect" {
				reason = i
			}
		}
	}
	if reason < 0 {
		t.Fatalf("%s names no waitReasonSynctestSelect", file)
	}
	if reason != durable {
		minor := strings.Join(strings.SplitN(strings.TrimPrefix(runtime.Version(), "go"), ".", 3)[:2], ".")
		t.Errorf("in %s waitReasonSynctestSelect is %d, and durable is %d: add a file durable_go%s.go, tagged for this version, with\n\tconst durable = %d",
			runtime.Version(), reason, durable, strings.ReplaceAll(minor, ".", ""), reason)
	}
}

func TestVirtualTimeMovesWhileHostsWait(t *testing.T) {
	if err := CheckVirtualTime(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestACheckThatNeverEndsIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := CheckVirtualTime(ctx); err == nil {
		t.Error("nobody waited for it, and it is said to be well")
	}
}

func TestAnotherShapeOfGVisorIsRefused(t *testing.T) {
	for name, v := range map[string]any{
		"no sleeper":          &struct{ closeWaker, newEndpointWaker sleep.Waker }{},
		"a sleeper otherwise": &struct{ sleeper, closeWaker, newEndpointWaker int }{},
		"no waker": &struct {
			sleeper    sleep.Sleeper
			closeWaker sleep.Waker
		}{},
	} {
		if _, err := newProcessor(reflect.ValueOf(v).Elem()); !errors.Is(err, errGVisor) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"ip88rig/rig/virtual/defect"
)

// Where the code of defects stands.
const (
	virtualFolder = "rig/virtual"
	defectFolder  = "rig/virtual/defect"
)

// changedDefects are the defects whose code or expectation differs between a git
// revision and the working tree: those named within three lines of a change
// below rig/virtual, tests aside, and those whose lines in the table of expectations
// are others.
func changedDefects(ctx context.Context, revision string) (map[defect.Name]bool, error) {
	root, err := git(ctx, ".", "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	root = strings.TrimSpace(root)
	if _, err := git(ctx, root, "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}"); err != nil {
		return nil, usage("--changed %s: git knows no such revision here; a shallow clone lacks older ones", revision)
	}
	code, err := git(ctx, root, "diff", "-U3", "--no-color", "--no-ext-diff", revision, "--", virtualFolder, ":!*_test.go")
	if err != nil {
		return nil, err
	}
	constants, err := defectConstants(filepath.Join(root, defectFolder))
	if err != nil {
		return nil, err
	}
	names := map[defect.Name]bool{}
	for _, constant := range namedIn(code) {
		if name, ok := constants[constant]; ok {
			names[name] = true
		}
	}
	was, err := git(ctx, root, "show", revision+":"+declarations)
	if err != nil {
		return names, nil //nolint:nilerr // there was no table yet
	}
	is, err := os.ReadFile(filepath.Join(root, declarations)) //nolint:gosec // the project's own file
	if err != nil {
		return nil, fmt.Errorf("expectations: %w", err)
	}
	before := declaredIn(was)
	for name, lines := range declaredIn(string(is)) {
		if before[name] != lines {
			names[name] = true
		}
	}
	return names, nil
}

// declaredIn are the lines of each defect in a table of expectations, which may be
// one of long ago.
func declaredIn(table string) map[defect.Name]string {
	out := map[defect.Name]string{}
	var name defect.Name
	for line := range strings.Lines(table) {
		if words := strings.Fields(line); len(words) > 0 && words[0][0] != '#' {
			if line[0] != ' ' {
				name = defect.Name(words[0])
			}
			out[name] += line
		}
	}
	return out
}

// namedIn lists the constants of package defect that stand in the hunks of a
// diff, on changed lines or on those around them.
func namedIn(diff string) []string {
	named := regexp.MustCompile(`\bdefect\.([A-Z]\w*)`)
	var out []string
	inHunk := false
	for line := range strings.Lines(diff) {
		switch {
		case strings.HasPrefix(line, "@@"):
			inHunk = true
			continue // what stands behind it is the function, not the change
		case strings.HasPrefix(line, "diff "):
			inHunk = false
		}
		if !inHunk {
			continue
		}
		for _, m := range named.FindAllStringSubmatch(line, -1) {
			out = append(out, m[1])
		}
	}
	return out
}

// defectConstants reads the source of package defect: names by constant.
func defectConstants(folder string) (map[string]defect.Name, error) {
	out := map[string]defect.Name{}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, fmt.Errorf("defects in %s: %w", folder, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("defects in %s: %w", folder, fs.ErrNotExist)
	}
	for _, path := range files {
		text, err := os.ReadFile(path) //nolint:gosec // the project's own source
		if err != nil {
			return nil, fmt.Errorf("defects: %w", err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("defects: %w", err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				if i < len(spec.Values) {
					if lit, ok := spec.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
						if value, err := strconv.Unquote(lit.Value); err == nil {
							out[name.Name] = defect.Name(value)
						}
					}
				}
			}
			return true
		})
	}
	return out, nil
}

// git runs git in a folder and returns what it says.
func git(ctx context.Context, folder string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", folder}, args...)...) //nolint:gosec // git, with a revision that it is asked to verify first
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", usage("--changed asks git what has changed, and there is no git here")
	case err != nil:
		return "", usage("--changed: git %s: %v: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

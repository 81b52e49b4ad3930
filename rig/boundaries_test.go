package rig_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "ip88rig"

// boundary is one rule on who may import whom; transitively, so that nothing
// comes in by a back door. Packages are named from the module's root, "..." as
// the go command has it.
type boundary struct {
	name string
	of   []string
	// except are packages of the pattern that the rule leaves out.
	except []string
	// own are the packages of this module that may be imported; nil is any.
	own []string
	// never may be imported: a package with all below it.
	never []string
	// onlyGo allows nothing but the standard library.
	onlyGo bool
}

func boundaries() []boundary {
	const onsi, suite = "github.com/onsi", module + "/scenarios"
	services := []string{
		module + "/rig/dhcpd", module + "/rig/tftpd", module + "/rig/httpd", module + "/rig/sntpd", module + "/rig/dnsd", module + "/rig/sipd",
	}
	return []boundary{
		{name: "the timeline stands on the standard library alone", of: []string{"/capture/timeline"}, own: []string{}, onlyGo: true},
		{name: "a recording knows nothing of the rig", of: []string{"/capture/..."}, never: []string{module + "/rig", suite}},
		{name: "Gomega is for the matchers alone", of: []string{"/capture/..."}, except: []string{"/capture/match"}, never: []string{onsi}},
		{name: "Ginkgo is for the suite alone", of: []string{"/capture/match"}, own: []string{"/capture/timeline"}, never: []string{onsi + "/ginkgo"}},
		{name: "the rig is a plain library", of: []string{"/rig/...", "/fixtures"}, except: []string{"/rig/cmd/..."}, never: []string{onsi, suite}},
		{name: "the wire knows only frames", of: []string{"/rig/wire"}, own: []string{}},
		{name: "the network namespaces of tests know only the wire", of: []string{"/rig/wire/netns"}, own: []string{"/rig/wire"}},
		{name: "virtual time stands on the standard library alone", of: []string{"/rig/vtime"}, own: []string{}, onlyGo: true},
		{name: "the host knows only the wire and which time it is in", of: []string{"/rig/host"}, own: []string{"/rig/wire", "/rig/vtime"}},
		{name: "a datagram socket and the network for its tests stand on the standard library alone", of: []string{"/rig/datagram/..."}, own: []string{}, onlyGo: true},
		{name: "a network in memory is for tests alone", of: []string{"/rig/..."}, except: []string{"/rig/datagram/memnet"}, never: []string{module + "/rig/datagram/memnet"}},
		{name: "the models are data", of: []string{"/rig/model"}, own: []string{}},
		{
			name: "the simulated handset shares no code with the services that it tests", of: []string{"/rig/virtual/..."},
			own: []string{"/rig/wire", "/rig/host", "/rig/model", "/rig/vtime", "/rig/virtual/..."},
		},
		{name: "a fault knows of an effect only that it prints", of: []string{"/rig/fault"}, own: []string{"/capture/timeline"}},
		{name: "the wire's faults know frames and the vocabulary alone", of: []string{"/rig/impair"}, own: []string{"/rig/fault", "/rig/wire", "/capture/timeline"}},
		{name: "a service knows neither the lane nor the handset", of: under(services), never: append([]string{module + "/rig/virtual", module + "/rig/bench"}, module+"/rig/host")},
	}
}

func under(pkgs []string) []string {
	var out []string
	for _, p := range pkgs {
		out = append(out, strings.TrimPrefix(p, module))
	}
	return out
}

// listed is what the go command says of a package.
type listed struct {
	ImportPath string
	Standard   bool
	Dir        string
	Deps       []string
	GoFiles    []string
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// list asks the go command for packages with all they depend on.
func list(t *testing.T) map[string]listed {
	t.Helper()
	if testing.Short() {
		t.Skip("reads the source code only")
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Dir,Deps,GoFiles", "./...")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	all := map[string]listed{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// within tells whether a package is that of a pattern such as "/rig/...".
func within(pkg, pattern string) bool {
	pattern = module + pattern
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == dir || strings.HasPrefix(pkg, dir+"/")
	}
	return pkg == pattern
}

func TestWhoMayImportWhom(t *testing.T) {
	all := list(t)
	for _, b := range boundaries() {
		t.Run(b.name, func(t *testing.T) {
			for _, pattern := range slices.Concat(b.of, b.except, b.own) {
				if !slices.ContainsFunc(keys(all), func(p string) bool { return within(p, pattern) }) {
					t.Errorf("no package is %s%s: the rule has lost its subject", module, pattern)
				}
			}
			for _, pkg := range keys(all) {
				is := func(pattern string) bool { return within(pkg, pattern) }
				if !slices.ContainsFunc(b.of, is) || slices.ContainsFunc(b.except, is) {
					continue
				}
				for _, dep := range all[pkg].Deps {
					if why := b.forbids(dep, all[dep].Standard); why != "" {
						t.Errorf("%s depends on %s: %s", pkg, dep, why)
					}
				}
			}
		})
	}
}

func (b boundary) forbids(dep string, standard bool) string {
	ours := dep == module || strings.HasPrefix(dep, module+"/")
	switch {
	case standard:
		return ""
	case slices.ContainsFunc(b.never, func(n string) bool { return dep == n || strings.HasPrefix(dep, n+"/") }):
		return b.name
	case !ours && b.onlyGo:
		return "not of the standard library"
	case ours && b.own != nil && !slices.ContainsFunc(b.own, func(p string) bool { return within(dep, p) }):
		return b.name
	}
	return ""
}

func TestARuleForbidsWhatItSays(t *testing.T) {
	for _, c := range []struct {
		name string
		rule boundary
		dep  string
		bad  bool
	}{
		{"the package itself", boundary{never: []string{"github.com/onsi"}}, "github.com/onsi", true},
		{"a package below", boundary{never: []string{"github.com/onsi"}}, "github.com/onsi/gomega/types", true},
		{"a name that only begins alike", boundary{never: []string{"github.com/onsi"}}, "github.com/onsider/x", false},
		{"a library where only Go may be", boundary{onlyGo: true}, "golang.org/x/sys/unix", true},
		{"ours where nothing of ours may be", boundary{own: []string{}}, module + "/rig/fault", true},
		{"a library where nothing of ours may be", boundary{own: []string{}}, "golang.org/x/sys/unix", false},
		{"ours that is allowed", boundary{own: []string{"/rig/..."}}, module + "/rig/fault", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.rule.name = "the rule"
			if got := c.rule.forbids(c.dep, false); (got != "") != c.bad {
				t.Errorf("%s: got %q", c.dep, got)
			}
		})
	}
}

func keys(m map[string]listed) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// The kernel's sockets, by which a service or a simulated handset would leave
// the wire that it was given.
func usesKernelSockets(file *ast.File) []string {
	names := map[string]string{}
	for _, imp := range file.Imports {
		path, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			continue
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if imp.Name != nil {
			name = imp.Name.Name
		}
		names[name] = path
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		switch pkg, name := names[x.Name], sel.Sel.Name; {
		case pkg == "net" && (strings.HasPrefix(name, "Dial") || strings.HasPrefix(name, "Listen") && name != "Listener" ||
			strings.HasPrefix(name, "Lookup") || strings.HasPrefix(name, "Resolve") || strings.HasPrefix(name, "File") || name == "DefaultResolver"),
			pkg == "crypto/tls" && (strings.HasPrefix(name, "Dial") || name == "Listen"),
			pkg == "net/http" && (slices.Contains([]string{"Get", "Head", "Post", "PostForm", "DefaultClient", "DefaultTransport"}, name) || strings.HasPrefix(name, "ListenAndServe")),
			(pkg == "syscall" || pkg == "golang.org/x/sys/unix") && slices.Contains([]string{"Socket", "Socketpair", "Connect", "Bind"}, name):
			found = append(found, pkg+"."+name)
		}
		return true
	})
	return found
}

func TestServicesAndSimulatedHandsetOpenNoSocketOfTheKernel(t *testing.T) {
	seen := 0
	for path, pkg := range list(t) {
		switch {
		case path == module+"/rig", path == module+"/rig/host", strings.HasPrefix(path, module+"/rig/virtual"):
		case slices.Contains([]string{"dhcpd", "tftpd", "httpd", "sntpd", "dnsd", "sipd", "datagram"}, strings.TrimPrefix(path, module+"/rig/")):
		default:
			continue
		}
		for _, name := range pkg.GoFiles {
			seen++
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, use := range usesKernelSockets(file) {
				t.Errorf("%s/%s uses %s: everything goes over the wire that was handed in", path, name, use)
			}
		}
	}
	if seen < 50 {
		t.Errorf("looked at %d files only", seen)
	}
}

func TestKernelSocketsAreFound(t *testing.T) {
	const src = `package p
import ("net"; web "net/http"; "crypto/tls"; "golang.org/x/sys/unix")
var _ net.Listener
func f(c net.Conn, d net.Dialer, l net.ListenConfig) {
	net.Dial("tcp", ""); net.ListenPacket("udp", ""); net.LookupHost(""); net.DefaultResolver.LookupAddr(nil, "")
	web.Get(""); tls.Dial("", "", nil); unix.Socket(0, 0, 0); tls.Server(c, nil)
}`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"net.Dialer", "net.ListenConfig", "net.Dial", "net.ListenPacket", "net.LookupHost", "net.DefaultResolver",
		"net/http.Get", "crypto/tls.Dial", "golang.org/x/sys/unix.Socket",
	}
	if got := usesKernelSockets(file); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestTheTopLevelHoldsOnlyWhatItMay(t *testing.T) {
	allowed := []string{"rig", "scenarios", "capture", "fixtures", "go.mod", "go.sum", "Makefile", "README.md"}
	// What git ignores: built programs and what runs left.
	made := []string{"bin", "out"}
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) && !slices.Contains(made, e.Name()) {
			t.Errorf("%s does not belong at the top", e.Name())
		}
	}
	for _, name := range allowed {
		if !slices.Contains(have, name) {
			t.Errorf("%s is missing at the top", name)
		}
	}
}

// The memory suite needs no network at all: it passes in an empty network
// namespace whose loopback is down.
func TestTheMemorySuitePassesWithoutAnyNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the command")
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("needs unshare (util-linux) to make an empty network namespace")
	}
	if out, err := exec.CommandContext(t.Context(), unshare, "-rn", "true").CombinedOutput(); err != nil {
		t.Skipf("this system does not let us make a network namespace: %v: %s", err, bytes.TrimSpace(out))
	}
	dir := t.TempDir()
	exe := filepath.Join(dir, "ip88rig")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", exe, "./cmd/ip88rig")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	// The namespace is as empty as is claimed: with loopback down there is no
	// address at all.
	addresses, err := exec.CommandContext(t.Context(), unshare, "-rn", "cat", "/proc/net/fib_trie").Output()
	if err != nil || bytes.Contains(addresses, []byte("127.0.0.1")) {
		t.Fatalf("the namespace is not empty: %v\n%s", err, addresses)
	}
	run := exec.CommandContext(t.Context(), unshare, "-rn", exe, "run", "--handset", "ip8830", "--filter", "XPT-0[12]|AUT-02", "--out", filepath.Join(dir, "out"))
	run.Dir = dir
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, row := range []string{"[XPT-01", "[XPT-02", "AUT-02]"} {
		if !strings.Contains(string(out), row) {
			t.Errorf("no spec of %s ran:\n%s", row, out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "out", "latest", "run.json")); errors.Is(err, fs.ErrNotExist) {
		t.Error("no run.json was left")
	}
}

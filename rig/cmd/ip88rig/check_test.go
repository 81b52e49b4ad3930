package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ip88rig/rig/bench"
	"ip88rig/rig/model"
	"ip88rig/rig/preflight"
	"ip88rig/rig/report"
	"ip88rig/rig/stranger"
	"ip88rig/rig/virtual"
	"ip88rig/rig/wire"
)

// screen is a terminal that tests can wait for.
type screen struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newScreen() *screen { return &screen{changed: make(chan struct{})} }

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until the text stands on the screen.
func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		changed, all := s.changed, s.text.String()
		s.mu.Unlock()
		if strings.Contains(all, text) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("waited for %q on the terminal, which shows:\n%s", text, all)
		}
	}
}

// code is what the command would exit with.
func code(err error) int {
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	}
	return 1
}

// write makes a file in a new folder and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const labBench = `
wire: {interface: lab0}
handsets:
  - name: desk
    model: IP8830
    mac: 00:00:5e:00:53:30
    facts: {own-file-case: {value: upper, measured: 2026-11-20, grounds: capture of the first boot}}
  - name: sim
    model: IP8840
    mac: 00:00:5e:00:53:40
`

// sane is a computer on which nothing stops a run; its interface is a port of
// the switch.
func sane(sw *wire.Switch) preflight.System {
	return preflight.System{
		Interface: func(string) (preflight.Interface, error) {
			return preflight.Interface{Up: true, Carrier: true, MTU: 1500}, nil
		},
		DefaultRoutes: func() ([]string, error) { return nil, nil },
		MayUsePackets: func() (bool, error) { return true, nil },
		Open: func(_ string, opts wire.PacketOptions) (wire.Port, error) {
			return wire.Filter(sw.Access("rig", 1), func(f wire.Frame) bool { return opts.Accepts(f.Data) }), nil
		},
		Clock: func() preflight.Reading {
			return preflight.Reading{Wall: time.Date(2026, time.November, 22, 0, 0, 0, 0, time.UTC)}
		},
		Free: func(string) (uint64, error) { return 1 << 40, nil },
	}
}

func TestCheckOfTheEmbeddedBenchIsGreenAndSaysWhatIsNotNeeded(t *testing.T) {
	var out bytes.Buffer
	c := &checkCmd{Out: t.TempDir()}
	if err := c.run(t.Context(), &out, preflight.Local()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"bench embedded, 6 of 6 handsets", "needs no interface, no privileges", "ip8830-wifi: ", "0 would be skipped"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant %q", out.String(), want)
		}
	}
	if strings.Contains(out.String(), "FAIL") || strings.Contains(out.String(), "warn") {
		t.Errorf("got\n%s\nwant every line ok", out.String())
	}
}

func TestCheckOfALab(t *testing.T) {
	t.Parallel()
	path := write(t, "lab.yaml", labBench)
	for _, tt := range []struct {
		name  string
		cmd   checkCmd
		spoil func(*preflight.System)
		code  int
		says  []string
		not   string
	}{
		{
			name: "nothing stops a run", cmd: checkCmd{Bench: path},
			says: []string{"ok    foreign DHCP", "desk: ", "needs firmware bundles golden and next", "needs --allow-risk lockout", "TLS-14: needs public-authority", `dhcp-vendor-class = "LGE" [inf]`},
			not:  "facts of desk",
		},
		{name: "one handset", cmd: checkCmd{Bench: path, Handset: []string{"sim"}}, says: []string{"1 of 2 handsets", "sim: "}, not: "desk"},
		{name: "a risk that is taken", cmd: checkCmd{Bench: path, AllowRisk: []string{"lockout"}}, says: []string{"desk: "}, not: "needs --allow-risk lockout"},
		{
			name: "the facts", cmd: checkCmd{Bench: path, Facts: true},
			says: []string{"facts of desk", "[measured 2026-11-20, capture of the first boot]", "DHCP option 60"},
		},
		{
			name: "the default route", cmd: checkCmd{Bench: path},
			spoil: func(s *preflight.System) {
				s.DefaultRoutes = func() ([]string, error) { return []string{"lab0"}, nil }
			},
			code: report.ExitUsage, says: []string{"FAIL  default route"},
		},
		{name: "no such file", cmd: checkCmd{Bench: path + "x"}, code: report.ExitUsage},
		{name: "no such handset", cmd: checkCmd{Bench: path, Handset: []string{"none"}}, code: report.ExitUsage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := sane(wire.NewSwitch())
			if tt.spoil != nil {
				tt.spoil(&s)
			}
			var out bytes.Buffer
			tt.cmd.Out, tt.cmd.probe = t.TempDir(), time.Millisecond
			err := tt.cmd.run(t.Context(), &out, s)
			if code(err) != tt.code {
				t.Errorf("got %v, code %d, want %d", err, code(err), tt.code)
			}
			for _, want := range tt.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("got\n%s\nwant %q", out.String(), want)
				}
			}
			if tt.not != "" && strings.Contains(out.String(), tt.not) {
				t.Errorf("got\n%s\nwant no %q", out.String(), tt.not)
			}
		})
	}
}

func TestCheckListensForWhatAPhoneAsksFor(t *testing.T) {
	path := write(t, "lab.yaml", labBench)
	sw := wire.NewSwitch()
	own, err := net.ParseMAC("00:00:5e:00:53:30")
	if err != nil {
		t.Fatal(err)
	}
	phone, err := virtual.New(virtual.Config{Model: model.IP8830, MAC: own, Port: sw.Access("phone", 1), Factor: 500, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- phone.Run(ctx) }() // ends with ctx
	var out bytes.Buffer
	c := &checkCmd{Bench: path, Handset: []string{"desk"}, Listen: 30 * time.Second, Out: t.TempDir(), probe: time.Millisecond}
	if err := c.run(t.Context(), &out, sane(sw)); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if want := "comes to TFTP, asked for sysconf_8830_sip.cfg"; !strings.Contains(out.String(), want) {
		t.Errorf("got\n%s\nwant %q", out.String(), want)
	}
}

func TestCheckListensToNoSimulatedHandset(t *testing.T) {
	var out bytes.Buffer
	c := &checkCmd{Listen: time.Minute, Out: t.TempDir()}
	if err := c.run(t.Context(), &out, preflight.Local()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "nothing to listen for") {
		t.Errorf("got\n%s", out.String())
	}
}

func TestRunDoesNotStartWhenPreflightFails(t *testing.T) {
	path := write(t, "lab.yaml", strings.Replace(labBench, "lab0", "nosuch0", 1))
	dir := filepath.Join(t.TempDir(), "out")
	err := (&runCmd{Bench: path, Out: dir, Quiet: true}).Run(t.Context())
	if code(err) != report.ExitUsage || !strings.Contains(err.Error(), "does not start") {
		t.Errorf("got %v, want exit code %d", err, report.ExitUsage)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a run folder was made")
	}
}

func TestRunAsksBeforeTheFirstInstall(t *testing.T) {
	desk := bench.Handset{Name: "desk", Running: "1.2.2", GoldenFirmware: &bench.Bundle{Version: "1.2.3"}}
	same, unknown, simulated, none := desk, desk, desk, desk
	same.Running, unknown.Running, simulated.Simulated, none.GoldenFirmware = "1.2.3", "", true, nil
	for _, tt := range []struct {
		name    string
		handset bench.Handset
		typed   string
		yes     bool
		asks    bool
		code    int
	}{
		{"another version, Enter", desk, "\n", false, true, 0},
		{"another version, a word", desk, "no\n", false, true, report.ExitUsage},
		{"another version, nobody there", desk, "", false, true, report.ExitUsage},
		{"another version, --yes", desk, "", true, false, 0},
		{"an unknown version", unknown, "", false, true, report.ExitUsage},
		{"golden runs", same, "", false, false, 0},
		{"a simulated handset", simulated, "", false, false, 0},
		{"no bundle", none, "", false, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			term := &terminal{out: &out, in: strings.NewReader(tt.typed)}
			err := (&runCmd{Yes: tt.yes}).askBeforeInstall(t.Context(), term, []bench.Handset{tt.handset})
			if code(err) != tt.code {
				t.Errorf("got %v, want code %d", err, tt.code)
			}
			if asked := strings.Contains(out.String(), "golden is 1.2.3"); asked != tt.asks {
				t.Errorf("got %q, asked %t, want %t", out.String(), asked, tt.asks)
			}
		})
	}
}

func TestStrangersAreShownWithTheLinesToPaste(t *testing.T) {
	b, err := bench.Parse("lab.yaml", []byte(labBench), "")
	if err != nil {
		t.Fatal(err)
	}
	sw := wire.NewSwitch()
	discover, err := stranger.Discover(1)
	if err != nil {
		t.Fatal(err)
	}
	out := newScreen()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opened := make(chan struct{})
	s := sane(sw)
	open := s.Open
	s.Open = func(name string, opts wire.PacketOptions) (wire.Port, error) {
		defer close(opened)
		return open(name, opts)
	}
	done := make(chan error, 1)
	go func() { done <- strangers(ctx, &terminal{out: out}, s, b) }() // ends with ctx
	<-opened
	for _, last := range []byte{0x30, 0x77} { // one of the bench, one that is not
		mac := []byte{0, 0, 0x5e, 0, 0x53, last}
		frame := slices.Clone(discover)
		copy(frame[6:], mac)
		copy(frame[14+20+8+28:], mac) // chaddr
		frame[14+20+6], frame[14+20+7] = 0, 0
		if err := sw.Access("phone", 1).Send(wire.Frame{Data: frame}); err != nil {
			t.Fatal(err)
		}
	}
	out.await(t, "mac: 00:00:5e:00:53:77")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if strings.Contains(out.String(), "53:30") {
		t.Errorf("got %q, want no word of the bench's handset", out)
	}
}

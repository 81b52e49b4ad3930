package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ip88rig/rig/report"
	"ip88rig/rig/wire/netns"
)

// binary builds the command.
func binary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the command and runs it")
	}
	path := filepath.Join(t.TempDir(), "ip88rig")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// exitCode is how a program ended.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

func TestTheCommandLineTellsHowItIsUsed(t *testing.T) {
	path := binary(t)
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, 0, "serve"},
		{[]string{"check", "--help"}, 0, "Examples:"},
		{[]string{"serve", "--help"}, 0, "Examples:"},
		{[]string{"authority", "export", "--help"}, 0, "Examples:"},
		{[]string{"handset", "--help"}, 0, "factory-reset"},
		{[]string{"timeline", "--help"}, 0, "Examples:"},
		{[]string{"faults", "sntpd"}, 0, "WrongMode mode=int"},
		{[]string{"faults", "ftpd"}, report.ExitUsage, "want one of dhcpd"},
		{[]string{"mutants", "--only", "nosuch"}, report.ExitUsage, "no such defect"},
		{[]string{"mutants", "--update", "--own"}, report.ExitUsage, "whole suite"},
		{[]string{"timeline"}, report.ExitUsage, "<file>"},
		{[]string{"timeline", "/nosuch.pcapng"}, report.ExitUsage, "/nosuch.pcapng"},
		{[]string{"handset"}, report.ExitUsage, "--interface"},
		{[]string{"handset", "--interface", "nosuch0", "--mac", "x"}, report.ExitUsage, "--mac"},
		{[]string{"check", "--bench", "/nosuch.yaml"}, report.ExitUsage, "/nosuch.yaml"},
		{[]string{"serve", "--interface", "nosuch0"}, report.ExitUsage, "nosuch0"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), path, tt.args...).CombinedOutput()
			if exitCode(err) != tt.code || !strings.Contains(string(out), tt.says) {
				t.Errorf("got code %d and\n%s\nwant %d and %q", exitCode(err), out, tt.code, tt.says)
			}
		})
	}
}

// program is one that runs until it is interrupted.
type program struct {
	cmd  *exec.Cmd
	out  *screen
	in   io.WriteCloser
	stop func() int
}

func start(t *testing.T, cmd func(ctx context.Context, args ...string) *exec.Cmd, args ...string) program {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := cmd(ctx, args...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGINT) }
	c.WaitDelay = 20 * time.Second
	out := newScreen()
	c.Stdout, c.Stderr = out, out
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	code, ended := 0, false
	stop := func() int {
		if !ended {
			cancel()
			_ = c.Wait() // its error is ctx's; the state tells the code
			code, ended = c.ProcessState.ExitCode(), true
		}
		return code
	}
	t.Cleanup(func() { _ = stop() })
	return program{c, out, in, stop}
}

// bare starts a program where the test runs.
func bare(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, args[0], args[1:]...)
}

// child is the one process that a program has started.
func (p program) child(t *testing.T) int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err == nil { // else a thread that has ended
			all = append(all, strings.Fields(string(text))...)
		}
	}
	if len(all) != 1 {
		t.Fatalf("the program has the processes %v, want one", all)
	}
	pid, err := strconv.Atoi(all[0])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestTheToolsBesideAPhone needs root: check, serve and two simulated handsets,
// one of them a stranger, on a veth pair with 802.1Q tags.
func TestTheToolsBesideAPhone(t *testing.T) {
	cable := netns.New(t)
	path := binary(t)
	if out, err := cable.Rig(t.Context(), "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("loopback: %v: %s", err, out)
	}
	runs := t.TempDir()
	lab := write(t, "lab.yaml", "wire: {interface: "+netns.RigEnd+", vlan: 88, priority: 5}\nhandsets:\n  - {name: desk, model: IP8830, mac: 00:00:5e:00:53:30}\n")
	out, err := cable.Rig(t.Context(), path, "check", "--bench", lab, "--out", runs).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ok    foreign DHCP") || !strings.Contains(string(out), "ok    privileges") {
		t.Fatalf("check: %v\n%s", err, out)
	}

	hears := start(t, cable.Rig, path, "serve", "--interface", netns.RigEnd, "--vlan", "88")
	hears.out.await(t, "answering nobody")
	stranger := start(t, cable.Peer, path, "handset", "--interface", netns.PeerEnd, "--vlan", "88", "--factor", "100", "--mac", "00:00:5e:00:53:77")
	hears.out.await(t, "    mac: 00:00:5e:00:53:77")
	if code := hears.stop(); code != 0 {
		t.Errorf("serve --interface ends with code %d", code)
	}

	served := start(t, cable.Rig, path, "serve", "--bench", lab, "--out", runs, "--forward", "0=desk:80")
	served.out.await(t, "switch the handset on")
	served.out.await(t, "stranger  00:00:5e:00:53:77")
	desk := start(t, cable.Peer, path, "handset", "--interface", netns.PeerEnd, "--vlan", "88", "--factor", "100")
	served.out.await(t, "registered as rig-desk")
	port := regexp.MustCompile(`forward (127\.0\.0\.1:\d+) to`).FindStringSubmatch(served.out.String())
	authority := strings.TrimSuffix(lab, ".yaml") + ".state/A.crt"
	reached, err := cable.Rig(t.Context(), "curl", "-sS", "-m", "20", "-w", "%{http_code}", "--data-binary", "@"+authority, "http://"+port[1]+"/authority").CombinedOutput()
	if err != nil || string(reached) != "204" {
		t.Errorf("the Web Manager over the forward: %v, %s", err, reached)
	}
	if _, err := io.WriteString(desk.in, "power off\n"); err != nil {
		t.Fatal(err)
	}
	desk.out.await(t, "ok power off")
	for name, p := range map[string]program{"handset": desk, "stranger": stranger, "serve": served} {
		if code := p.stop(); code != 0 {
			t.Errorf("%s ends with code %d:\n%s", name, code, p.out)
		}
	}
	dir := regexp.MustCompile(`evidence: (\S+) `).FindStringSubmatch(served.out.String())
	if dir == nil {
		t.Fatalf("serve does not say where the evidence is:\n%s", served.out)
	}
	shown, err := exec.CommandContext(t.Context(), path, "timeline", dir[1]).CombinedOutput()
	if err != nil || !strings.Contains(string(shown), "POST /authority") {
		t.Errorf("timeline: %v\n%s", err, shown)
	}
	if strings.Contains(served.out.String(), "trouble") {
		t.Errorf("serve had trouble:\n%s", served.out)
	}
}

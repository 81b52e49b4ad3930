package preflight_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ip88rig/rig/preflight"
	"ip88rig/rig/wire"
	"ip88rig/rig/wire/netns"
)

// TestDnsmasqIsFound needs root: dnsmasq answers on a veth pair as the foreign
// server.
func TestDnsmasqIsFound(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		t.Skip("needs dnsmasq")
	}
	for _, tt := range []struct {
		name   string
		serves bool
		expect bool
		want   preflight.State
	}{
		{"on a wire of our own nobody answers", false, false, preflight.OK},
		{"a foreign server is a clear error", true, false, preflight.Fail},
		{"unless the bench file expects it", true, true, preflight.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cable := netns.New(t)
			cable.Address(t, "192.0.2.1/24")
			out, err := cable.Peer(t.Context(), "cat", "/sys/class/net/"+netns.PeerEnd+"/address").Output()
			if err != nil {
				t.Fatal(err)
			}
			mac := strings.TrimSpace(string(out))
			if tt.serves {
				startDnsmasq(t, cable)
			}
			text := lab
			if tt.expect {
				text = strings.Replace(lab, "interface: lab0", fmt.Sprintf("interface: lab0, expect-foreign-dhcp: [%q]", mac), 1)
			}
			s := sane()
			s.Open = func(_ string, opts wire.PacketOptions) (wire.Port, error) { return cable.Open(t, opts), nil }
			// An answer ends nothing, so a server has the whole time.
			fs := preflight.Check(t.Context(), preflight.Config{Bench: parse(t, text, ""), Probe: 4 * time.Second, System: s})
			f := find(t, fs, "foreign DHCP")
			if f.State != tt.want {
				t.Errorf("got %s, want %s", f, tt.want)
			}
			if tt.serves && !strings.Contains(f.Text, mac) {
				t.Errorf("got %s, want it to name %s", f, mac)
			}
			if tt.want == preflight.Fail && (!strings.Contains(f.Text, "192.0.2.1") || !strings.Contains(f.WhatToDo, "expect-foreign-dhcp")) {
				t.Errorf("got %s, want its address and the way out", f)
			}
		})
	}
}

func startDnsmasq(t *testing.T, cable *netns.Cable) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := cable.Peer(ctx,
		"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--interface="+netns.PeerEnd, "--bind-interfaces", "--user=root",
		"--port=0", "--no-ping", "--dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,1h",
		"--dhcp-leasefile="+filepath.Join(t.TempDir(), "leases"), "--pid-file=", "--log-facility=-",
	)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // ended by us
	})
}

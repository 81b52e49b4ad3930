package dhcpc

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/wire"
)

// inNamespace marks the run of the test in a network namespace of its own.
const inNamespace = "IP88RIG_DHCPC_NAMESPACE"

// TestDnsmasq gets, renews and gives back addresses of a server that nobody
// here wrote, over a veth pair in a namespace of its own.
func TestDnsmasq(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		withDnsmasq(t)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, program := range []string{"dnsmasq", "ip", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", os.Args[0], "-test.run", "^TestDnsmasq$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func withDnsmasq(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	run := func(line string) {
		t.Helper()
		args := strings.Fields(line)
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	run("ip link set lo up")
	run("ip link add near type veth peer name far")
	run("ip addr add 198.51.100.1/24 dev far")
	run("ip link set near up")
	run("ip link set far up")
	run("ip neigh add 198.51.100.100 lladdr " + clientMAC.String() + " dev far") // nobody answers ARP for us here
	conf := filepath.Join(dir, "dnsmasq.conf")
	text := strings.Join([]string{
		"port=0", "interface=far", "bind-interfaces", "no-ping", "user=root", "dhcp-authoritative",
		"dhcp-range=198.51.100.100,198.51.100.100,255.255.255.0,2m", "dhcp-leasefile=" + dir + "/leases", "pid-file=" + dir + "/pid",
		"dhcp-option=3,198.51.100.254", "dhcp-option=42,198.51.100.1", "dhcp-option-force=160,http://198.51.100.1/rig",
		"dhcp-option=option:T1,1", "dhcp-option=option:T2,3", "",
	}, "\n")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	server := exec.CommandContext(t.Context(), "dnsmasq", "--no-daemon", "--log-dhcp", "--conf-file="+conf)
	server.Stdout, server.Stderr = &out, &out
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	port, err := wire.OpenPacket("near", wire.PacketOptions{MACs: []net.HardwareAddr{clientMAC}})
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close() //nolint:errcheck // the namespace ends with it
	cfg := config(port)
	cfg.Timeout, cfg.Tries, cfg.ProbeTime = 200*time.Millisecond, 5, 200*time.Millisecond

	lease, err := Acquire(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lease.Addr != netip.MustParsePrefix("198.51.100.100/24") || lease.Text(160) != "http://198.51.100.1/rig" || lease.Addrs(42)[0].String() != "198.51.100.1" || lease.Renew >= lease.Rebind || lease.Rebind > 3*time.Second {
		t.Errorf("got %+v", lease)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	renewals := 0
	err = Maintain(ctx, cfg, lease, func(l Lease) {
		if renewals++; renewals == 2 {
			cancel()
		}
		lease = l
	})
	if cancel(); err != nil || renewals != 2 {
		t.Errorf("%d renewals and %v, want 2", renewals, err)
	}

	again, err := Acquire(t.Context(), cfg, &lease)
	if err != nil || again.Addr != lease.Addr {
		t.Errorf("INIT-REBOOT: got %v %v", again.Addr, err)
	}
	strange := lease
	strange.Addr = netip.MustParsePrefix("198.51.100.77/24")
	if again, err = Acquire(t.Context(), cfg, &strange); err != nil || again.Addr != lease.Addr {
		t.Errorf("INIT-REBOOT with a strange address: got %v %v", again.Addr, err)
	}
	if err := Release(t.Context(), cfg, again); err != nil {
		t.Error(err)
	}
	for range 100 {
		text, err := os.ReadFile(filepath.Join(dir, "leases"))
		if err == nil && len(strings.TrimSpace(string(text))) == 0 {
			return
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Error("the lease was not given back")
}

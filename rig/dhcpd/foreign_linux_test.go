package dhcpd

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/wire"
	"ip88rig/rig/wire/netns"
)

// longText is the value of an option that needs two pieces (RFC 3396).
func longText() string { return "https://prov.example/" + strings.Repeat("0123456789", 38)[:379] }

// lab is the server on a packet socket, with a recording for tshark.
type lab struct {
	cable  *netns.Cable
	server *Server
	events chan timeline.Event
	file   string
	faults fault.Plan
	// malformed has tshark not mind what a fault spoilt.
	malformed bool
}

// newLab starts a server on one end of a cable. The kernel at the other end has
// the handset's MAC and knows where 192.0.2.1 is, which the bare server does
// not answer ARP for.
func newLab(t *testing.T) *lab {
	t.Helper()
	cable := netns.New(t)
	for _, args := range [][]string{
		{"ip", "link", "set", netns.PeerEnd, "address", phone},
		{"ip", "neigh", "add", "192.0.2.1", "lladdr", server, "dev", netns.PeerEnd},
	} {
		if out, err := cable.Peer(t.Context(), args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}

	x := &lab{cable: cable, events: make(chan timeline.Event, 1000), file: filepath.Join(t.TempDir(), "lab.pcap")}
	file, err := os.Create(x.file)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	w := pcapgo.NewWriter(file)
	if err := w.WriteFileHeader(1<<16, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	number := 0
	record := func(_ int, _ bool, at time.Time, data []byte, _ ...string) int {
		mu.Lock()
		defer mu.Unlock()
		number++
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(data), Length: len(data)}, data); err != nil {
			t.Error(err)
		}
		return number
	}
	port := wire.Filter(wire.Tap(cable.Open(t, wire.PacketOptions{}), record), func(f wire.Frame) bool {
		p, err := parseFrame(f.Data)
		return err == nil && p.dst.Port() == serverPort
	})
	l := lease()
	l.Options[160] = Text(longText())
	x.server, err = New(Config{
		Port: port, ServerMAC: mac(server), ServerIP: netip.MustParseAddr("192.0.2.1"),
		Clients: map[string]Lease{phone: l}, Record: func(e timeline.Event) { x.events <- e }, Faults: &x.faults,
		ARP: wire.Filter(cable.Open(t, wire.PacketOptions{}), func(f wire.Frame) bool { return IsARPProbe(f.Data) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- x.server.Serve(ctx) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
		x.judge(t)
	})
	return x
}

// judge has tshark read what was sent.
func (x *lab) judge(t *testing.T) {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Log("not read by tshark, which is not installed")
		return
	}
	// What root is told goes elsewhere.
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), tshark, "-n", "-r", x.file,
		"-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-Y", fmt.Sprintf("eth.src == %s && udp.srcport == %d", server, serverPort),
		"-T", "fields", "-e", "frame.number", "-e", "dhcp.type", "-e", "dhcp.option.dhcp", "-e", "ip.checksum.status", "-e", "udp.checksum.status",
		"-e", "_ws.malformed", "-e", "_ws.expert.severity").Output()
	if err != nil {
		t.Errorf("tshark: %v", err)
	}
	good, marked := 0, 0
	for line := range strings.Lines(string(out)) {
		part := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(part) != 7 {
			t.Fatalf("tshark says %q", line)
		}
		if sums := part[3] == "1" && part[4] == "1"; part[1] != "" && sums {
			good++
			if part[5] == "" && !warned(t, part[6]) {
				continue
			}
		}
		marked++
	}
	if marked > 0 && !x.malformed || good == 0 {
		t.Errorf("tshark marks %d answers, and %d are good; number, type, message, checksums, malformed, severities:\n%s", marked, good, out)
	}
	t.Logf("tshark reads\n%s", out)
}

// warned tells whether one of tshark's remarks is a warning or worse.
func warned(t *testing.T, severities string) bool {
	t.Helper()
	const warning = 0x00600000
	for s := range strings.SplitSeq(severities, ",") {
		if s == "" {
			continue
		}
		n, err := strconv.ParseUint(s, 0, 32)
		if err != nil {
			t.Errorf("tshark's severity: %v", err)
		}
		if n >= warning {
			return true
		}
	}
	return false
}

// await returns the next event whose Reason begins so.
func (x *lab) await(ctx context.Context, t *testing.T, reason string) timeline.Event {
	t.Helper()
	var seen []string
	for {
		select {
		case e := <-x.events:
			if strings.HasPrefix(e.Reason, reason) {
				return e
			}
			seen = append(seen, string(e.Kind)+" "+e.Reason)
		case <-ctx.Done():
			t.Fatalf("nothing about %q in %q", reason, seen)
		}
	}
}

// client is a program whose script prints its environment, one block for each
// call: the lines between "CALL" and "DONE".
type foreignClient struct {
	cmd *exec.Cmd
	out *bufio.Scanner
	log strings.Builder
}

// start runs a client until ctx ends, which ends a wait for its script too.
func (x *lab) start(ctx context.Context, t *testing.T, args ...string) *foreignClient {
	t.Helper()
	c := &foreignClient{cmd: x.cable.Peer(ctx, args...)}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stdout, c.cmd.Stderr = w, w
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	c.out = bufio.NewScanner(r)
	t.Cleanup(func() {
		c.stop()
		_ = r.Close()
	})
	return c
}

// call returns the environment of the next call of the script for that reason.
func (c *foreignClient) call(t *testing.T, reason string) map[string]string {
	t.Helper()
	var env map[string]string
	for c.out.Scan() {
		line := c.out.Text()
		c.log.WriteString(line + "\n")
		switch {
		case line == "CALL "+reason:
			env = make(map[string]string)
		case line == "DONE" && env != nil:
			return env
		case env != nil:
			name, value, _ := strings.Cut(line, "=")
			env[name] = value
		}
	}
	t.Fatalf("the script was never called for %q (%v):\n%s", reason, c.out.Err(), c.log.String())
	return nil
}

// line waits for output that begins so.
func (c *foreignClient) line(t *testing.T, prefix string) {
	t.Helper()
	for c.out.Scan() {
		c.log.WriteString(c.out.Text() + "\n")
		if strings.HasPrefix(c.out.Text(), prefix) {
			return
		}
	}
	t.Fatalf("it never says %q (%v):\n%s", prefix, c.out.Err(), c.log.String())
}

// stop ends the client without a word to the server.
func (c *foreignClient) stop() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUdhcpcTakesRenewsAndReleasesALease(t *testing.T) {
	t.Parallel()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox")
	}
	x := newLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// udhcpc says that it takes 576 bytes.
	l := lease()
	l.Options[224] = Text(longText())
	if err := x.server.SetLease(phone, l); err != nil {
		t.Fatal(err)
	}
	c := x.start(ctx, t, busybox, "udhcpc", "-i", netns.PeerEnd, "-f", "-t", "5", "-T", "1", "-O", "tftp", "-O", "150", "-O", "160", "-O", "224",
		"-s", script(t, `[ "$1" = bound ] && ip address add "$ip/$mask" dev "$interface"
echo "CALL $1"; env; echo DONE
`))
	env := c.call(t, "bound")
	for name, want := range map[string]string{
		"ip": "192.0.2.10", "mask": "24", "router": "192.0.2.254", "dns": "192.0.2.1 192.0.2.2", "ntpsrv": "192.0.2.1",
		"serverid": "192.0.2.1", "lease": "3600", "tftp": "192.0.2.1",
		"opt150": "c0000201", "opt160": hex.EncodeToString([]byte("https://prov.example/")), "opt224": "",
	} {
		if env[name] != want {
			t.Errorf("udhcpc has %s=%q, want %q", name, env[name], want)
		}
	}
	e := x.await(ctx, t, "DISCOVER: OFFER")
	if e.Frame == 0 || e.SrcMAC != phone {
		t.Errorf("recorded %+v", e)
	}
	x.await(ctx, t, "SELECTING 192.0.2.10: ACK; 548 bytes have no room for 224")

	if err := c.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	c.call(t, "renew")
	x.await(ctx, t, "RENEWING 192.0.2.10: ACK")

	if err := c.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	x.await(ctx, t, "RELEASE of 192.0.2.10")
	if t.Failed() {
		t.Logf("udhcpc says\n%s", c.log.String())
	}
}

func TestDhclientReadsALongOptionAndObeysANak(t *testing.T) {
	t.Parallel()
	dhclient, err := exec.LookPath("dhclient")
	if err != nil {
		t.Skip("needs dhclient (Debian: isc-dhcp-client)")
	}
	x := newLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, []byte(`
option tftp150 code 150 = array of ip-address;
option url160 code 160 = text;
send dhcp-max-message-size 1500;
request url160, tftp150, tftp-server-name, subnet-mask, routers, domain-name-servers, ntp-servers;
initial-interval 1;
reboot 5;
`), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func() *foreignClient {
		return x.start(ctx, t, dhclient, "-4", "-d", "-1", "-v", "-cf", conf, "-lf", filepath.Join(dir, "leases"), "-pf", filepath.Join(dir, "pid"),
			"-sf", script(t, `echo "CALL $reason"; env; echo DONE
`), netns.PeerEnd)
	}
	c := start()
	env := c.call(t, "BOUND")
	c.line(t, "bound to") // the lease is on disk from then on
	c.stop()
	for name, want := range map[string]string{
		"new_ip_address": "192.0.2.10", "new_subnet_mask": "255.255.255.0", "new_routers": "192.0.2.254",
		"new_tftp_server_name": "192.0.2.1", "new_tftp150": "192.0.2.1", "new_url160": longText(), "new_dhcp_renewal_time": "1800",
	} {
		if env[name] != want {
			t.Errorf("dhclient has %s=%q, want %q", name, env[name], want)
		}
	}
	e := x.await(ctx, t, "SELECTING 192.0.2.10: ACK")
	// RFC 3396: the long option stands twice, one piece behind the other.
	if want := "53,54,51,58,59,160,150,66,1,3,6,42"; e.Fields["dhcp.option.type"] != want {
		t.Errorf("sent %s, want %s", e.Fields["dhcp.option.type"], want)
	}

	c = start()
	env = c.call(t, "REBOOT")
	c.line(t, "bound to")
	c.stop()
	x.await(ctx, t, "INIT-REBOOT 192.0.2.10: ACK")
	if env["new_ip_address"] != "192.0.2.10" {
		t.Errorf("after INIT-REBOOT dhclient has %q", env["new_ip_address"])
	}

	moved := lease()
	moved.Addr = netip.MustParsePrefix("192.0.2.20/24")
	if err := x.server.SetLease(phone, moved); err != nil {
		t.Fatal(err)
	}
	c = start()
	env = c.call(t, "BOUND")
	c.stop()
	x.await(ctx, t, "INIT-REBOOT 192.0.2.10, but 192.0.2.20 is the lease: NAK")
	x.await(ctx, t, "SELECTING 192.0.2.20: ACK")
	if env["new_ip_address"] != "192.0.2.20" {
		t.Errorf("after a NAK dhclient has %q", env["new_ip_address"])
	}
	if t.Failed() {
		t.Logf("dhclient says\n%s", c.log.String())
	}
}

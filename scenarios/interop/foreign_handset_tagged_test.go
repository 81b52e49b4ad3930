//go:build linux && interop

package interop

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"ip88rig/rig/wire"
	"ip88rig/rig/wire/netns"
)

const vlan, priority = 88, 5

// tagged puts the handset behind a relay that adds and removes the 802.1Q tag,
// and has tshark witness the trunk.
func tagged(t *testing.T, bin string) {
	t.Helper()
	const module = "02:00:5e:00:53:22"
	trunk, access := netns.New(t), netns.New(t)
	relay(t, wire.Tagged(trunk.OpenPeer(t, wire.PacketOptions{}), vlan, priority), access.Open(t, wire.PacketOptions{}))
	l := newLab(t, bin, foreign{
		model: "8820", mac: module, dhcp: "dhclient", tftp: "busybox",
		edit: strings.NewReplacer(
			"interface: lab0", "interface: lab0\n  vlan: 88\n  priority: 5",
			"mac: 02:00:5e:00:53:41", "mac: 02:00:5e:00:53:21\n    module: "+module+"\n    link: wifi",
			"IP8840", "IP8820", "ip8840", "ip8820",
		),
	}, trunk, access)
	witness := tsharkAt(t, trunk)
	showsJust(t, l.run(`over (tftp|https) \[(XPT-0[126]|`+ordRows+`|WIF-01|CFG-0[13]|FWU-01)`), verdicts{
		pass: "XPT-01 XPT-02 XPT-06 ORD-01 ORD-02 ORD-03 ORD-04 ORD-05 ORD-07 WIF-01 CFG-01 CFG-03 FWU-01 FWU-03 RBT-04",
	})
	from, to := 0, 0
	for line := range strings.Lines(witness()) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 4 || f[0] != module && f[1] != module {
			continue // what the kernels at the ends of the cable say to themselves
		}
		if f[2] != "88" || f[3] != "5" {
			t.Errorf("a frame from %s to %s has VLAN %q, priority %q, want 88 and 5", f[0], f[1], f[2], f[3])
		}
		if f[0] == module {
			from++
		} else {
			to++
		}
	}
	if from < 100 || to < 100 {
		t.Errorf("tshark saw %d frames from the handset and %d to it on the trunk", from, to)
	}
}

// relay carries frames between two ports until the end of the test.
func relay(t *testing.T, a, b wire.Port) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	carry := func(from, to wire.Port) {
		for {
			f, err := from.Receive(ctx)
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("relay: %v", err)
				}
				return
			}
			if err := to.Send(f); err != nil && ctx.Err() == nil {
				t.Logf("relay: %v", err) // as a switch's port without a link does
			}
		}
	}
	wg.Go(func() { carry(a, b) }) // ends with ctx
	wg.Go(func() { carry(b, a) }) // ends with ctx
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// tsharkAt listens on the far side of the rig's end. The function it returns ends
// that, and tells source, destination, VLAN and priority of every frame.
func tsharkAt(t *testing.T, c *netns.Cable) func() string {
	t.Helper()
	var out, said bytes.Buffer
	cmd := c.Peer(context.WithoutCancel(t.Context()), "tshark", "-n", "-i", netns.PeerEnd, "-T", "fields",
		"-e", "eth.src", "-e", "eth.dst", "-e", "vlan.id", "-e", "vlan.priority")
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("tshark: %v: %s", err, said.String())
		}
	})
	t.Cleanup(end)
	return func() string {
		end()
		return out.String()
	}
}

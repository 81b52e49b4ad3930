//go:build linux && interop

package interop

import (
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"ip88rig/rig/report"
	"ip88rig/rig/wire/netns"
)

// wired is the handset of bench.yaml.
func wired(dhcp, tftp, alter string) foreign {
	return foreign{bench: "bench.yaml", model: "8840", mac: "02:00:5e:00:53:41", dhcp: dhcp, tftp: tftp, alter: alter}
}

// TestForeignHandset judges a handset of which nobody here wrote a program, and
// altered versions of it.
func TestForeignHandset(t *testing.T) {
	need(t, "bash", "ip", "setsid", "busybox", "dhclient", "tftp", "atftp", "curl", "openssl", "ntpdig", "sipp", "xxd", "iconv", "tshark")
	bin := command(t)
	var wg sync.WaitGroup
	// They wait more than they work: several at once, also on two cores.
	slots := make(chan struct{}, 6)
	for _, a := range altered() {
		if only := os.Getenv("INTEROP_ALTER"); only != "" && !slices.Contains(strings.Fields(only), a.name) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() { // ends with its test
			defer func() { <-slots }()
			t.Run("altered: "+a.name, func(t *testing.T) {
				cable := netns.New(t)
				l := newLab(t, bin, wired("udhcpc", "tftp-hpa", a.name), cable, cable)
				check(t, l.run(a.filter))
			})
		})
	}
	wg.Wait()
}

type alteration struct {
	name, filter string
	fails        []string
}

func altered() []alteration {
	f := os.Getenv("INTEROP_FILTER")
	return []alteration{
		{name: "", filter: f},
		{name: "own-first", filter: f},
		{name: "skips-own", filter: f},
		{name: "asks-sibling", filter: f},
		{name: "ignores-option", filter: f},
		{name: "forgets-url", filter: f},
		{name: "never-decrypts", filter: f},
		{name: "keeps-nothing", filter: f},
		{name: "reboots-for-all", filter: f},
		{name: "no-reboot", filter: f},
		{name: "newer-only", filter: f},
		{name: "skips-last", filter: f},
		{name: "reads-comments", filter: f},
		{name: "ignores-flags", filter: f},
		{name: "honours-flags", filter: f},
		{name: "ignores-notify", filter: f},
		{name: "preemptive-basic", filter: f},
		{name: "insecure", filter: f},
	}
}

func check(t *testing.T, run report.Run) {
	t.Helper()
	rows := map[report.Verdict][]string{}
	for _, r := range run.Handsets[0].Rows() {
		rows[r.Verdict] = append(rows[r.Verdict], r.ID)
	}
	for _, v := range slices.Sorted(maps.Keys(rows)) {
		t.Logf("%s: %s", v, strings.Join(rows[v], " "))
	}
}

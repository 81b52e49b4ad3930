//go:build linux && interop

package interop

import (
	"os"
	"maps"
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/report"
	"ip88rig/rig/wire/netns"
)

// TestForeignHandset judges a handset of which nobody here wrote a program.
func TestForeignHandset(t *testing.T) {
	need(t, "bash", "ip", "setsid", "busybox", "dhclient", "tftp", "atftp", "curl", "openssl", "ntpdig", "sipp", "xxd", "iconv", "tshark")
	bin := command(t)
	t.Run("passes what its capabilities cover", func(t *testing.T) {
		cable := netns.New(t)
		l := newLab(t, bin, foreign{bench: "bench.yaml", model: "8840", mac: "02:00:5e:00:53:41", dhcp: "udhcpc", tftp: "tftp-hpa"}, cable, cable)
		check(t, l.run(filterFromEnv()))
	})
}

func filterFromEnv() string { return os.Getenv("INTEROP_FILTER") }

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

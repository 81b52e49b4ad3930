package scenarios_test

import (
	"path/filepath"
	"slices"
	"testing"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
	"ip88rig/rig/report"
)

func TestATransferBreaksOffWithinItsFile(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a lane")
	}
	for _, over := range []timeline.Transport{timeline.TFTP, timeline.HTTP} {
		t.Run(string(over), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			specs, err := under(t.Context(), dir, none, "does not reboot after a cycle that was broken off, over "+string(over)+" ", "")
			if err != nil || len(specs) != 1 {
				t.Fatalf("%d specs, %v", len(specs), err)
			}
			if specs[0].Verdict != report.Pass {
				t.Errorf("%s: %s", specs[0].Verdict, specs[0].Reason)
			}
			tl, err := capture.Load(filepath.Join(dir, "ip8830", filepath.Base(specs[0].Folder)))
			if err != nil {
				t.Fatal(err)
			}
			var begun []string
			for _, e := range tl.Events() {
				if e.Kind == timeline.Served && !e.Complete && e.Bytes > 0 && !slices.Contains(begun, e.File) {
					begun = append(begun, e.File)
				}
			}
			want := []string{"sysconf_8830_sip.cfg", "00005e005330", "IP_8830_VER_SIP2"}
			if !slices.Equal(begun, want) {
				t.Errorf("broken off within %q, want %q", begun, want)
			}
		})
	}
}

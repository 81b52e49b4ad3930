package scenarios

import "testing"

func TestNoSilenceThatChangesNothingIsCalledNone(t *testing.T) {
	silences := []point{{name: "3 s"}, {name: "6 s"}}
	for at, want := range map[int][2]string{
		-1: {"none: registers as the file says after 3 s", "3 s"},
		0:  {"registers as the file says after 3 s", "3 s"},
		1:  {"registers as the file says after 6 s", "6 s"},
	} {
		if tells, silence := silentEnd(silences, at); tells != want[0] || silence.name != want[1] {
			t.Errorf("at %d: got %q under %q, want %q", at, tells, silence.name, want)
		}
	}
}

package preflight

import (
	"slices"
	"testing"
)

func TestDefaultRoutesOfBothFamilies(t *testing.T) {
	const head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	const zeros = "00000000000000000000000000000000"
	for _, tt := range []struct {
		name, v4, v6 string
		want         []string
	}{
		{"none", head, "", nil},
		{"v4", head + "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", "", []string{"eth0"}},
		{"a subnet that begins with zeros is not everywhere", head + "eth0\t00000000\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n", "", nil},
		{"two ways", head + "eth0\t00000000\t1\t3\t0\t0\t0\t00000000\t0\t0\t0\nwlan0\t00000000\t1\t3\t0\t0\t600\t00000000\t0\t0\t0\n", "", []string{"eth0", "wlan0"}},
		{"v6 alone", head, zeros + " 00 " + zeros + " 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth1\n", []string{"eth1"}},
		{"the rejecting route of lo", head, zeros + " 00 " + zeros + " 00 " + zeros + " ffffffff 00000001 00000000 00200200 lo\n", nil},
		{"rubbish", "\n\x00 a b\n", "x\n\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := defaultRoutes([]byte(tt.v4), []byte(tt.v6)); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNetRawReadsTheEffectiveCapabilities(t *testing.T) {
	for _, tt := range []struct {
		name, status string
		want, fails  bool
	}{
		{"root", "Name:\tx\nCapEff:\t000001ffffffffff\n", true, false},
		{"nobody", "CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000000\n", false, false},
		{"that one alone", "CapEff:\t0000000000002000\n", true, false},
		{"all but that one", "CapEff:\t000001ffffffdfff\n", false, false},
		{"no such line", "Name:\tx\n", false, true},
		{"no number", "CapEff:\tall\n", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := netRaw([]byte(tt.status))
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %t, %v, want %t, error %t", got, err, tt.want, tt.fails)
			}
		})
	}
}

package dnsd

import (
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"ip88rig/rig/fault"
)

// TestNslookupUnderFaults has busybox, which nobody here wrote, ask over loopback.
func TestNslookupUnderFaults(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox")
	}
	for _, c := range []struct {
		effect Effect
		want   []string
	}{
		{WrongAddress{Addr: netip.MustParseAddr("198.51.100.99")}, []string{"198.51.100.99"}},
		{Rcode{N: 2}, []string{"SERVFAIL"}},
		{Chain{Length: 5}, []string{"canonical name = c5.prov.example", "192.0.2.1"}},
	} {
		t.Run(c.effect.String(), func(t *testing.T) {
			conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			s, _ := faulty(t, conn, fault.On("A").Do(c.effect))
			serve(t, s)
			out, err := exec.CommandContext(t.Context(), busybox, "nslookup", "-type=a", "prov.example", conn.LocalAddr().String()).CombinedOutput()
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("nslookup (%v) does not say %q:\n%s", err, want, out)
				}
			}
		})
	}
}

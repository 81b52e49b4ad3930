package dhcpd

import (
	"context"
	"encoding/hex"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ip88rig/rig/fault"
	"ip88rig/rig/wire/netns"
)

// udhcpc starts busybox's client, which probes its address before it takes it.
func (x *lab) udhcpc(ctx context.Context, t *testing.T, args ...string) *foreignClient {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox")
	}
	return x.start(ctx, t, append([]string{busybox, "udhcpc", "-i", netns.PeerEnd, "-f", "-a500", "-t", "8", "-T", "1", "-A", "1", "-O", "160", "-O", "66", "-s", script(t, `echo "CALL $1"; env; echo DONE
`)}, args...)...)
}

// spared is a lease with a second address, whose options go into file.
func spared() Lease {
	l := lease()
	l.Options[160] = Text("https://prov.example/")
	l.Spare = []netip.Addr{netip.MustParseAddr("192.0.2.30")}
	return l
}

// TestUdhcpcAgainstFaults has a foreign client in front of one fault at a time:
// what it must not mind, and what it must not take.
func TestUdhcpcAgainstFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		rule fault.Rule
		// event is the beginning of the Reason of what must be recorded after the
		// fault.
		event string
		env   map[string]string
		// malformed are faults that tshark marks too.
		malformed bool
	}{
		{
			name: "an address in use is declined, and the next one taken",
			rule: fault.On("ARP probe").Do(InUse{}).Once(), event: "DECLINE of 192.0.2.10: the next OFFER is of 192.0.2.30",
			env: map[string]string{"ip": "192.0.2.30"},
		},
		{
			name: "an OFFER of another transaction is not taken",
			rule: fault.On("OFFER").Do(WrongXID{}).Once(), event: "DISCOVER: OFFER 192.0.2.10",
		},
		{
			name: "an OFFER for another client is not taken",
			rule: fault.On("OFFER").Do(WrongChaddr{MAC: rogue}).Once(), event: "DISCOVER: OFFER 192.0.2.10",
		},
		{
			name: "an OFFER with a wrong cookie is not taken",
			rule: fault.On("OFFER").Do(WrongCookie{Cookie: 0x01020304}).Once(), event: "DISCOVER: OFFER 192.0.2.10", malformed: true,
		},
		{
			name: "an OFFER without a message type is not taken",
			rule: fault.On("OFFER").Do(WithoutOption{Code: 53}).Once(), event: "DISCOVER: OFFER 192.0.2.10", malformed: true,
		},
		{
			name: "a NAK sends it back to the beginning",
			rule: fault.On("ACK").During("selecting").Do(Nak{}).Once(), event: "DISCOVER: OFFER 192.0.2.10",
		},
		{
			name: "a lost ACK is asked for again",
			rule: fault.On("REQUEST").During("selecting").Do(Drop{}).Once(), event: "SELECTING 192.0.2.10: ACK",
		},
		{
			name: "options in file and sname are read",
			rule: fault.On("*").Do(Overload{File: true, Sname: true}), event: "DISCOVER: OFFER",
			env: map[string]string{"opt160": hex.EncodeToString([]byte("https://prov.example/")), "router": "192.0.2.254"},
		},
		{
			name: "unknown options do no harm",
			rule: fault.On("*").Do(UnknownOptions{Len: 4}), event: "DISCOVER: OFFER", malformed: true,
		},
		{
			name:  "the first of two servers is taken",
			rule:  fault.On("OFFER").Do(SecondServer{ID: netip.MustParseAddr("192.0.2.7"), Addr: netip.MustParseAddr("192.0.2.77"), First: true}),
			event: "SELECTING 192.0.2.77: ACK as another server, 192.0.2.7",
			env:   map[string]string{"ip": "192.0.2.77", "serverid": "192.0.2.7"},
		},
		{
			name: "a T1 and T2 past the lease do no harm",
			rule: fault.On("*").Do(LeaseTimes{Lease: 61, T1: 70, T2: 80}), event: "SELECTING",
			env: map[string]string{"lease": "61"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := newLab(t)
			x.malformed = tt.malformed
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := x.server.SetLease(phone, spared()); err != nil {
				t.Fatal(err)
			}
			if err := x.server.Can(tt.rule.Effect()); err != nil {
				t.Fatal(err)
			}
			x.faults.Add(tt.rule)
			c := x.udhcpc(ctx, t)
			env := c.call(t, "bound")
			x.await(ctx, t, tt.rule.String())
			x.await(ctx, t, tt.event)
			want := map[string]string{"ip": "192.0.2.10", "mask": "24"}
			maps.Copy(want, tt.env)
			for name, value := range want {
				if env[name] != value {
					t.Errorf("udhcpc has %s=%q, want %q", name, env[name], value)
				}
			}
			if t.Failed() {
				t.Logf("udhcpc says\n%s", c.log.String())
			}
		})
	}
}

// TestDhclientJoinsWhatIsSplit has a second foreign client, which knows RFC
// 3396, read pieces that stand apart, in file and in sname.
func TestDhclientJoinsWhatIsSplit(t *testing.T) {
	t.Parallel()
	dhclient, err := exec.LookPath("dhclient")
	if err != nil {
		t.Skip("needs dhclient (Debian: isc-dhcp-client)")
	}
	const url = "https://prov.example/"
	for _, tt := range []struct {
		name   string
		effect fault.Effect
		want   string
	}{
		{"in two pieces", SplitOption{Code: 160, At: 5}, url},
		{"in two pieces apart", SplitOption{Code: 160, At: 5, Apart: true}, url},
		{"in two pieces in the wrong order", SplitOption{Code: 160, At: 5, Swapped: true}, url[5:] + url[:5]},
		{"twice", DoubleOption{Code: 160}, url + url},
		{"in file", Overload{File: true}, url},
		{"in sname", Overload{Sname: true}, url},
		{"over 255 bytes", SetOption{Code: 160, Value: longText()}, longText()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := newLab(t)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := x.server.SetLease(phone, spared()); err != nil {
				t.Fatal(err)
			}
			x.faults.Add(fault.On("*").Do(tt.effect))
			dir := t.TempDir()
			conf := filepath.Join(dir, "conf")
			if err := os.WriteFile(conf, []byte("option url160 code 160 = text;\nrequest url160, subnet-mask, routers;\ninitial-interval 1;\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			c := x.start(ctx, t, dhclient, "-4", "-d", "-1", "-v", "-cf", conf, "-lf", filepath.Join(dir, "leases"), "-pf", filepath.Join(dir, "pid"),
				"-sf", script(t, `echo "CALL $reason"; env; echo DONE
`), netns.PeerEnd)
			env := c.call(t, "BOUND")
			if env["new_url160"] != tt.want {
				t.Errorf("dhclient has %q, want %q", env["new_url160"], tt.want)
			}
		})
	}
}

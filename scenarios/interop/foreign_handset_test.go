//go:build linux && interop

package interop

import (
	"slices"
	"strings"
	"testing"

	"ip88rig/rig/report"
	"ip88rig/rig/wire/netns"
)

// TestForeignHandset judges a handset of which nobody here wrote a program: it
// passes what its declared capabilities cover, over each transport and through a
// tagging relay; and of each altered version just the rows fail that it breaks.
func TestForeignHandset(t *testing.T) {
	t.Parallel()
	need(t, "bash", "ip", "setsid", "busybox", "dhclient", "tftp", "atftp", "curl", "openssl", "ntpdig", "sipp", "xxd", "iconv", "tshark")
	bin := command(t)
	parallel := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
	for _, h := range healthy() {
		parallel(h.name, func(t *testing.T) {
			t.Helper()
			if !h.short {
				inWhole(t)
			}
			cable := netns.New(t)
			l := newLab(t, bin, wired(h.dhcp, h.tftp, ""), cable, cable)
			showsJust(t, l.run(h.filter), verdicts{pass: h.pass, skip: h.skip})
		})
	}
	parallel("tagged, named by its WiFi module", func(t *testing.T) {
		t.Helper()
		inWhole(t)
		tagged(t, bin)
	})
	for _, a := range altered() {
		parallel("altered: "+a.name, func(t *testing.T) {
			t.Helper()
			if !a.short {
				inWhole(t)
			}
			cable := netns.New(t)
			f := wired("udhcpc", "tftp-hpa", a.name)
			// What it does not do is waited for in vain: not as long as for a phone, and
			// thirty times as long as it takes where the machine is its own.
			f.edit = strings.NewReplacer("  settle:", "  boot: 1m\n  cycle: 1m\n  upgrade: 2m\n  settle:")
			l := newLab(t, bin, f, cable, cable)
			showsJust(t, l.run(a.filter), verdicts{fail: a.fails})
		})
	}
}

// wired is the handset of bench.yaml.
func wired(dhcp, tftp, alter string) foreign {
	return foreign{model: "8840", mac: "02:00:5e:00:53:41", dhcp: dhcp, tftp: tftp, alter: alter}
}

type part struct {
	name, filter, dhcp, tftp string
	// pass are the rows that it shows, skip those that it has no hands for.
	pass, skip string
	// short says that it is in the short part, too.
	short bool
}

// everywhere are the rows that it shows over each transport.
const everywhere = "ORD-01 ORD-02 ORD-04 ORD-05 ORD-07 CFG-01 CFG-02 CFG-03 CFG-09 CFG-11 " +
	"RBT-01 RBT-02 RBT-03 RBT-04 RBT-05 FWU-01 FWU-02 FWU-03 FWU-04 FWU-09 RSY-01 RSY-03 "

// The rows of requirements that it has hands for, as filters of their families.
// Those of faults and of measured behaviour are not among them: what this handset
// does there nobody decided.
const (
	ordRows = "ORD-0[1-57]"
	xptRows = "XPT-0[1-6]"
	cfgRows = "CFG-(0[1239]|11)"
	rbtRows = "RBT-0[1-5]"
	fwuRows = "FWU-0[1-49]"
	rsyRows = "RSY-0[1-3]"
	autRows = "AUT-0[124]"
	tlsRows = "TLS-(0[1-46-9]|1[45])"
	rows    = `\[(` + ordRows + "|" + xptRows + "|" + cfgRows + "|" + rbtRows + "|" + fwuRows + "|" + rsyRows + "|" + autRows + ")"
)

func healthy() []part {
	const web = everywhere + "XPT-02 XPT-03 XPT-04 XPT-05 XPT-06 AUT-01 AUT-02 AUT-04 "
	return []part{
		{name: "what it asks for at first, made of dhclient and atftp", filter: `over (tftp|https) \[(ORD-01|XPT-0[15]|CFG-01)`, dhcp: "dhclient", tftp: "atftp", pass: "ORD-01 ORD-02 XPT-01 XPT-05 CFG-01", short: true},
		{name: "over TFTP, made of udhcpc and tftp-hpa", filter: "over tftp " + rows, dhcp: "udhcpc", tftp: "tftp-hpa", pass: everywhere + "XPT-01", skip: "RSY-02"},
		{name: "over HTTP, made of dhclient and atftp", filter: "over http " + rows, dhcp: "dhclient", tftp: "atftp", pass: web, skip: "RSY-02"},
		{name: "over HTTPS, made of udhcpc and curl", filter: "over https " + rows, dhcp: "udhcpc", tftp: "curl", pass: web, skip: "RSY-02"},
		{
			name: "shown certificates, made of dhclient and busybox", filter: `over https \[` + tlsRows, dhcp: "dhclient", tftp: "busybox",
			pass: "TLS-01 TLS-02 TLS-03 TLS-04 TLS-06 TLS-09 TLS-14", skip: "TLS-07 TLS-08 TLS-15",
		},
	}
}

type alteration struct {
	name, filter string
	// fails are the rows that the alteration breaks, of those in the filter.
	fails string
	// short says that it is in the short part, too.
	short bool
}

// altered is what the handset does wrong, and what of it is seen.
func altered() []alteration {
	return []alteration{
		{name: "own-first", filter: `over http \[(` + ordRows + `|XPT-06|CFG-02)`, fails: "ORD-01 ORD-04 XPT-06 CFG-02"},
		{name: "skips-own", filter: `over tftp \[(XPT-01|ORD-0[1257]|CFG-01)`, fails: "ORD-02"},
		{name: "asks-sibling", filter: `over tftp \[(` + ordRows + `|XPT-01|CFG-09)`, fails: "ORD-07", short: true},
		{name: "ignores-option", filter: `over http \[(XPT-0[12356]|ORD-0[12])`, fails: "XPT-02 XPT-05"},
		{name: "forgets-url", filter: `over https \[` + xptRows, fails: "XPT-03"},
		{name: "never-decrypts", filter: `over tftp \[` + cfgRows, fails: "CFG-03"},
		{name: "keeps-nothing", filter: `over tftp \[` + cfgRows, fails: "CFG-11"},
		{name: "reboots-for-all", filter: `over tftp \[` + rbtRows, fails: "RBT-02"},
		{name: "no-reboot", filter: `over tftp \[(RBT-0[12]|FWU-0[12])`, fails: "RBT-01 RBT-04"},
		{name: "newer-only", filter: `over tftp \[(FWU-0[12]|ORD-05)`, fails: "FWU-03"},
		{name: "skips-last", filter: `over tftp \[(FWU-0[12]|ORD-05)`, fails: "ORD-05"},
		{name: "reads-comments", filter: `over http \[(FWU-0[24]|ORD-05)`, fails: "FWU-04"},
		{name: "ignores-flags", filter: `over http \[(FWU-0[29]|` + rsyRows + `)`, fails: "FWU-09"},
		{name: "honours-flags", filter: `over tftp \[(RSY-03|FWU-02|ORD-01)`, fails: "RSY-03"},
		{name: "ignores-notify", filter: `over http \[(` + rsyRows + `|ORD-01)`, fails: "RSY-01"},
		{name: "preemptive-basic", filter: `over http \[(` + autRows + `|XPT-06)`, fails: "AUT-02 AUT-04"},
		{name: "insecure", filter: `over https \[(TLS-0[1-469]|XPT-05)`, fails: "TLS-02 TLS-03 TLS-04 TLS-06 TLS-09"},
	}
}

// verdicts are the rows by what must come of them, blank-separated. With fail,
// other rows may be blocked.
type verdicts struct{ pass, skip, fail string }

// showsJust holds the run against what was expected of it.
func showsJust(t *testing.T, run report.Run, want verdicts) {
	t.Helper()
	got := map[report.Verdict]map[string]bool{}
	note := func(v report.Verdict, row string) {
		if got[v] == nil {
			got[v] = map[string]bool{}
		}
		got[v][row] = true
	}
	for _, s := range run.Handsets[0].Specs {
		for _, j := range s.Judgements {
			note(j.Verdict, j.Row)
		}
		switch {
		case s.Verdict == report.Pass, s.Verdict == report.Fail && want.fail != "":
		case s.Verdict == report.Blocked && want.fail != "":
			if !slices.Contains(strings.Fields(want.fail), s.BlockedBy) {
				t.Errorf("%s: %s", s.ID, s.Reason)
			}
		case s.Verdict == report.Skip && (strings.HasPrefix(s.Reason, "needs the verb ") || strings.HasPrefix(s.Reason, "needs --allow-risk ")):
		default:
			t.Errorf("%s: %s: %s\n%s", s.ID, s.Verdict, s.Reason, s.Failure)
		}
	}
	rows := func(v report.Verdict) string {
		list := make([]string, 0, len(got[v]))
		for row := range got[v] {
			// A row may be judged in one spec and lack something in another.
			if v == report.Fail || v == report.Pass && !got[report.Fail][row] || v == report.Skip && !got[report.Pass][row] {
				list = append(list, row)
			}
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	compare := func(v report.Verdict, want string) {
		list := strings.Fields(want)
		slices.Sort(list)
		if got, want := rows(v), strings.Join(list, " "); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", v, got, want)
		}
	}
	compare(report.Fail, want.fail)
	if want.fail == "" {
		compare(report.Pass, want.pass)
		compare(report.Skip, want.skip)
	}
	code := report.ExitPass
	if want.fail != "" {
		code = report.ExitFailed
	}
	if got := run.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
}

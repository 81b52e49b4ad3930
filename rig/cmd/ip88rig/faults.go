package main

import (
	"fmt"
	"slices"
	"strings"

	"ip88rig/rig/dhcpd"
	"ip88rig/rig/dnsd"
	"ip88rig/rig/fault"
	"ip88rig/rig/httpd"
	"ip88rig/rig/impair"
	"ip88rig/rig/sipd"
	"ip88rig/rig/sntpd"
	"ip88rig/rig/tftpd"
)

type faultsCmd struct {
	Service string `arg:"" optional:"" help:"One of them: dhcpd, tftpd, httpd, sntpd, dnsd, sipd, impair (the wire)."`
}

// Help is what "ip88rig faults --help" shows beside the flags.
func (*faultsCmd) Help() string {
	return `Each line is a kind of fault with its parameters, as its text has them.

Examples:
  ip88rig faults
  ip88rig faults httpd`
}

// Run lists the kinds of faults.
func (c *faultsCmd) Run() error {
	all := []fault.Kinds{dhcpd.Kinds(), tftpd.Kinds(), httpd.Kinds(), sntpd.Kinds(), dnsd.Kinds(), sipd.Kinds(), impair.Kinds()}
	if c.Service != "" && !slices.ContainsFunc(all, func(k fault.Kinds) bool { return k.Service() == c.Service }) {
		var names []string
		for _, k := range all {
			names = append(names, k.Service())
		}
		return usage("no service %q: want one of %s", c.Service, strings.Join(names, ", "))
	}
	for _, k := range all {
		if c.Service != "" && k.Service() != c.Service {
			continue
		}
		fmt.Printf("%s\n", k.Service())
		for _, line := range k.Usage() {
			fmt.Printf("  %s\n", line)
		}
	}
	return nil
}

package main

import (
	"fmt"
	"slices"
	"strings"

	"ip88rig/rig"
	"ip88rig/rig/fault"
)

type faultsCmd struct {
	Service string `arg:"" optional:"" help:"One of them: dhcpd, tftpd, httpd, sntpd, dnsd, sipd, impair (the wire)."`
}

// Help is what "ip88rig faults --help" shows beside the flags.
func (*faultsCmd) Help() string {
	return `Lists each kind of fault with the names and types of its parameters. What a kind
does is documented beside its type, in the fault_*.go files of rig/SERVICE.
A duration is written as 1m30s, an address as 192.0.2.1, a time as
2027-02-03T04:05:06Z, DHCP options as "66=192.0.2.1; 160=0x6874".

Examples:
  ip88rig faults
  ip88rig faults httpd`
}

// Run lists the kinds of faults.
func (c *faultsCmd) Run() error {
	all := rig.FaultKinds()
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

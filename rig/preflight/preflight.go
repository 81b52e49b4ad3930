// Package preflight looks before a run leaps: is the interface the right one,
// may this process use it, is there a foreign DHCP server, is the clock sane, is
// there room for the evidence, are the files whole that handsets would be
// offered, and what is only assumed of them. Everything it asks of the computer
// is a function in System, so that each line can be shown red in a test.
package preflight

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ip88rig/rig/bench"
	"ip88rig/rig/firmware"
	"ip88rig/rig/stranger"
	"ip88rig/rig/sysconf"
	"ip88rig/rig/wire"
)

// State says how a line came out.
type State string

// The states. Only Fail stops a run.
const (
	OK   State = "ok"
	Warn State = "warn"
	Fail State = "FAIL"
)

// Finding is one line of preflight.
type Finding struct {
	// Name is the line: "interface", "foreign DHCP".
	Name  string
	State State
	// Text is what was found.
	Text string
	// WhatToDo mends it; blank when it is OK.
	WhatToDo string
}

// String is the finding for a terminal.
func (f Finding) String() string {
	const column = 29
	s := fmt.Sprintf("%-4s  %-22s %s", f.State, f.Name, strings.ReplaceAll(f.Text, "\n", "\n"+strings.Repeat(" ", column)))
	if f.WhatToDo != "" {
		s += "\n" + strings.Repeat(" ", column) + "-> " + f.WhatToDo
	}
	return s
}

// Failed tells whether anything would stop a run.
func Failed(fs []Finding) bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.State == Fail })
}

// Interface is what the computer says of a network interface.
type Interface struct {
	MAC net.HardwareAddr
	// Up is the administrator's doing, Carrier the cable's.
	Up, Carrier bool
	// MTU is in bytes.
	MTU int
	// Wireless tells a WiFi card, Physical a network card from a virtual one.
	Wireless, Physical bool
	// Master is the bridge or bond that it is part of; blank: none.
	Master string
}

// Reading is one look at two clocks: the wall's, and one that nobody sets.
type Reading struct {
	Wall    time.Time
	Elapsed time.Duration
}

// System is what is asked of the computer.
type System struct {
	// Interface looks an interface up by name.
	Interface func(name string) (Interface, error)
	// DefaultRoutes are the interfaces with a route to everywhere.
	DefaultRoutes func() ([]string, error)
	// MayUsePackets tells whether this process has CAP_NET_RAW.
	MayUsePackets func() (bool, error)
	// Open opens an interface.
	Open func(name string, opts wire.PacketOptions) (wire.Port, error)
	// Clock reads both clocks.
	Clock func() Reading
	// Free is the room left for a folder, in bytes; the folder may be missing.
	Free func(dir string) (uint64, error)
}

// Config says what is looked at.
type Config struct {
	Bench bench.Bench
	// Handsets are those that would be run; nil is all of the bench.
	Handsets []bench.Handset
	// Out is where the evidence goes.
	Out string
	// Probe is how long a foreign DHCP server may take to show itself; 0 is
	// DefaultProbe.
	Probe  time.Duration
	System System
}

// DefaultProbe is how long foreign DHCP servers are waited for: dnsmasq and the
// ISC server answer after up to 3 s when they ping an address first.
const DefaultProbe = 4 * time.Second

// Bounds of the room for evidence, in bytes: a night of one handset is some
// hundred MiB.
const (
	leastRoom  = 256 << 20
	enoughRoom = 2 << 30
)

// Years that a clock may show: authorities are valid until the end of 2037, and
// old handsets count seconds in 32 bits.
const (
	firstYear = 2025
	lastYear  = 2037
)

// stepLimit is the step of the wall clock that makes a recording inconclusive
// (design, section 5).
const stepLimit = time.Millisecond

// Check looks at everything and returns a finding for each. It takes as long as
// Probe on an interface, and no time on a wire in memory.
func Check(ctx context.Context, cfg Config) []Finding {
	if cfg.Handsets == nil {
		cfg.Handsets = cfg.Bench.Handsets
	}
	if cfg.Probe == 0 {
		cfg.Probe = DefaultProbe
	}
	begin := cfg.System.Clock()
	var out []Finding
	if cfg.Bench.Wire.Memory {
		out = append(out, Finding{Name: "wire", State: OK, Text: "a switch in memory: needs no interface, no privileges and no search for DHCP servers"})
	} else {
		out = append(out, cfg.wire(ctx)...)
	}
	out = append(out, cfg.disk(), cfg.publicAuthority())
	for _, h := range cfg.Handsets {
		out = append(out, handset(h)...)
	}
	// Last, because the steps of a clock need time to show.
	return append(out, clock(begin, cfg.System.Clock()))
}

func (c *Config) wire(ctx context.Context) []Finding {
	var out []Finding
	usable := true
	names := []string{c.Bench.Wire.Interface}
	if c.Bench.Wire.Peer != "" {
		names = append(names, c.Bench.Wire.Peer)
	}
	for _, name := range names {
		f := c.link(name)
		usable = usable && f.State != Fail
		out = append(out, f)
	}
	route := c.route()
	may := c.privileges()
	out = append(out, route, may, c.addresses())
	if !usable || route.State == Fail || may.State == Fail {
		return append(out, Finding{
			Name: "foreign DHCP", State: Fail, Text: "not looked for: the interface cannot be used",
			WhatToDo: "mend the lines above first",
		})
	}
	return append(out, c.foreignDHCP(ctx))
}

// link looks at an interface.
func (c *Config) link(name string) Finding {
	f := Finding{Name: "interface " + name}
	i, err := c.System.Interface(name)
	switch {
	case err != nil:
		f.State, f.Text = Fail, err.Error()
		f.WhatToDo = "name an interface that \"ip link\" shows in wire.interface"
	case !i.Up:
		f.State, f.Text, f.WhatToDo = Fail, "it is down", "ip link set "+name+" up"
	case i.Wireless:
		f.State, f.Text = Fail, "a WiFi card: it cannot speak with the rig's own MACs"
		f.WhatToDo = "use a wired interface; handsets with a WiFi module reach it by their access point"
	case i.Master != "":
		f.State, f.Text = Fail, "it is part of "+i.Master
		f.WhatToDo = "ip link set " + name + " nomaster: the rig must have the wire for itself"
	case !i.Carrier:
		f.State, f.Text = Warn, "it is up, but has no link"
		f.WhatToDo = "plug the cable in, switch the switch on"
	case i.MTU < 1500:
		f.State, f.Text = Warn, fmt.Sprintf("its MTU is %d: full frames do not fit", i.MTU)
		f.WhatToDo = "ip link set " + name + " mtu 1500"
	default:
		f.State, f.Text = OK, "up, "+i.MAC.String()
		if c.Bench.Wire.VLAN != 0 {
			f.Text += fmt.Sprintf(", VLAN %d", c.Bench.Wire.VLAN)
		}
	}
	return f
}

// route refuses the interface that the office is reached by.
func (c *Config) route() Finding {
	f := Finding{Name: "default route", State: OK, Text: "none over " + c.Bench.Wire.Interface}
	routes, err := c.System.DefaultRoutes()
	switch {
	case err != nil:
		f.State, f.Text, f.WhatToDo = Fail, err.Error(), "the rig refuses an interface it cannot tell from the office's"
	case slices.Contains(routes, c.Bench.Wire.Interface):
		f.State, f.Text = Fail, c.Bench.Wire.Interface+" carries the default route: it is not a test wire"
		f.WhatToDo = "use an interface of its own for the test VLAN; a DHCP server on this one would take the office down"
	}
	return f
}

func (c *Config) privileges() Finding {
	f := Finding{Name: "privileges", State: OK, Text: "packet sockets are allowed"}
	may, err := c.System.MayUsePackets()
	if err == nil && may {
		return f
	}
	f.State, f.Text = Fail, "this process lacks CAP_NET_RAW"
	if err != nil {
		f.Text += ": " + err.Error()
	}
	f.WhatToDo = "run as root, or once: setcap cap_net_raw+ep /path/to/ip88rig"
	return f
}

// addresses says what a switch with port security must let pass.
func (c *Config) addresses() Finding {
	var own []string
	for _, h := range c.Handsets {
		own = append(own, c.Bench.Addresses(h).ServerMAC.String())
	}
	f := Finding{
		Name: "addresses", State: OK,
		Text: fmt.Sprintf("in promiscuous mode, with MACs of the rig's own: %s", strings.Join(append(own, stranger.MAC().String()), " ")),
	}
	i, err := c.System.Interface(c.Bench.Wire.Interface)
	if err == nil && i.Physical {
		f.State = Warn
		f.WhatToDo = "port security of the switch must permit them all on this port: DHCP without answers is its sign"
	}
	return f
}

func (c *Config) foreignDHCP(ctx context.Context) Finding {
	f := Finding{Name: "foreign DHCP", State: Fail}
	w := c.Bench.Wire
	opened, err := c.System.Open(w.Interface, wire.PacketOptions{MACs: []net.HardwareAddr{stranger.MAC()}})
	if err != nil {
		f.Text, f.WhatToDo = err.Error(), "mend that, or nobody knows who else answers there"
		return f
	}
	defer func() { _ = opened.Close() }()
	port := opened
	if w.VLAN > 0 {
		port = wire.Tagged(opened, w.VLAN, w.Priority)
	}
	known := stranger.Known(c.Bench)
	heard, err := stranger.Probe(ctx, port, known, time.Second, c.Probe)
	if err != nil {
		f.Text, f.WhatToDo = err.Error(), "the probe must come to its end"
		return f
	}
	var wrong, expected []string
	clients := 0
	for _, h := range heard {
		switch {
		case !h.Server:
			clients++
		case slices.ContainsFunc(w.ExpectDHCP, func(m net.HardwareAddr) bool { return m.String() == h.MAC.String() }):
			expected = append(expected, h.MAC.String())
		default:
			wrong = append(wrong, h.String())
		}
	}
	if len(wrong) > 0 {
		f.Text = "on " + w.Interface + ": " + strings.Join(wrong, "\n")
		f.WhatToDo = "take it off the wire, or name its MAC in wire.expect-foreign-dhcp if it must be there"
		return f
	}
	f.State, f.Text = OK, fmt.Sprintf("no server answered a DISCOVER within %s", c.Probe)
	if len(expected) > 0 {
		f.Text = "heard only the expected " + strings.Join(expected, " ")
	}
	if clients > 0 {
		f.Text += fmt.Sprintf("; %d hosts that are not in the bench file ask for addresses", clients)
	}
	return f
}

func (c *Config) disk() Finding {
	f := Finding{Name: "disk", State: OK}
	free, err := c.System.Free(c.Out)
	f.Text = fmt.Sprintf("%d MiB are free for %s", free>>20, c.Out)
	switch {
	case err != nil:
		f.State, f.Text, f.WhatToDo = Fail, err.Error(), "name a folder for the evidence with --out"
	case free < leastRoom:
		f.State = Fail
		f.WhatToDo = fmt.Sprintf("make room: a recording that is cut short cannot be judged (at least %d MiB)", leastRoom>>20)
	case free < enoughRoom:
		f.State = Warn
		f.WhatToDo = "make room before a night's run: old runs lie in " + c.Out
	}
	return f
}

// clock says whether the wall clock can be believed. What passes between the
// readings of one look makes the wall seem late, never early, and 1 ms of it is
// forgiven.
func clock(begin, end Reading) Finding {
	f := Finding{Name: "clock", State: OK, Text: end.Wall.Format("2006-01-02 15:04:05 MST")}
	step := end.Wall.Sub(begin.Wall) - (end.Elapsed - begin.Elapsed)
	switch year := end.Wall.Year(); {
	case year < firstYear || year > lastYear:
		f.State = Fail
		f.WhatToDo = fmt.Sprintf("set the clock: certificates are made by it, and it is not between %d and %d", firstYear, lastYear)
	case step > stepLimit || step < -stepLimit:
		f.State = Fail
		f.Text += fmt.Sprintf(": it was set by %s while being looked at", step)
		f.WhatToDo = "wait until the time service has settled: a recording in which the clock steps is inconclusive"
	}
	return f
}

func (c *Config) publicAuthority() Finding {
	f := Finding{Name: "public authority", State: OK, Text: "none: the spec of built-in authorities (TLS-14) is skipped"}
	p := c.Bench.PublicChain
	switch {
	case p == nil:
	case p.Embedded:
		f.Text = "made by the rig, and built into simulated handsets"
	default:
		pair, err := tls.LoadX509KeyPair(p.Certificate, p.Key)
		if err == nil {
			err = c.publicLeaf(pair, p.Name)
		}
		f.Text = p.Certificate + " for " + p.Name
		if err != nil {
			f.State, f.Text = Fail, p.Certificate+": "+err.Error()
			f.WhatToDo = "renew it, or take public-authority out of the bench file: TLS-14 is then skipped"
		}
	}
	return f
}

func (c *Config) publicLeaf(pair tls.Certificate, name string) error {
	now := c.System.Clock().Wall
	switch leaf := pair.Leaf; {
	case leaf == nil:
		return errors.New("holds no certificate")
	case now.After(leaf.NotAfter):
		return fmt.Errorf("expired on %s", leaf.NotAfter.Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("not valid before %s", leaf.NotBefore.Format(time.DateOnly))
	default:
		return leaf.VerifyHostname(name)
	}
}

// handset looks at what one handset would be offered.
func handset(h bench.Handset) []Finding {
	out := []Finding{golden(h)}
	out = append(out, bundles(h)...)
	return append(out, install(h), assumptions(h))
}

// golden looks at the configuration that a handset goes home to.
func golden(h bench.Handset) Finding {
	f := Finding{Name: h.Name + " golden", State: OK, Text: "the rig's minimal configuration"}
	if h.Golden == "" {
		return f
	}
	global, own := h.Model.GlobalFile(), h.OwnFile()
	var errs, found []string
	for _, name := range []string{global, own} {
		text, err := os.ReadFile(filepath.Join(h.Golden, name)) //nolint:gosec // the folder that the user's bench file names
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err == nil:
			_, err = sysconf.Parse(name, text)
		}
		if err != nil {
			errs = append(errs, err.Error())
		}
		found = append(found, name)
	}
	f.Text = h.Golden + ": " + strings.Join(found, ", ")
	switch {
	case len(errs) > 0:
		f.State, f.Text = Fail, h.Golden+": "+strings.Join(errs, "\n")
		f.WhatToDo = "mend the file: golden is served in every spec"
	case len(found) == 0:
		f.State, f.Text = Fail, fmt.Sprintf("%s holds neither %s nor %s", h.Golden, global, own)
		f.WhatToDo = "put them there (the names are taken letter by letter), or take golden: out of the bench entry"
	}
	return f
}

// bundles looks at the firmware that a handset may be offered.
func bundles(h bench.Handset) []Finding {
	var out []Finding
	for _, x := range []struct {
		name   string
		bundle *bench.Bundle
	}{{"golden", h.GoldenFirmware}, {"next", h.NextFirmware}} {
		if x.bundle == nil {
			continue
		}
		f := Finding{Name: h.Name + " firmware", State: OK, Text: fmt.Sprintf("%s: version %s, sums match", x.name, x.bundle.Version)}
		if _, err := firmware.Load(h.Model, *x.bundle); err != nil {
			f.State, f.Text = Fail, fmt.Sprintf("%s: %v", x.name, err)
			f.WhatToDo = "a bundle that is not whole can kill a handset: restore it from the vendor's archive"
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		text := "no bundle: the version file is answered \"not found\" and firmware specs are skipped"
		if h.Simulated {
			text = "stand-ins, made by the rig"
		}
		out = append(out, Finding{Name: h.Name + " firmware", State: OK, Text: text})
	}
	return out
}

// Installs tells whether golden would install another version than the one that
// is known to run, so that somebody must be asked before; why is for him.
func Installs(h bench.Handset) (why string, installs bool) {
	if h.Simulated || h.GoldenFirmware == nil || h.Running == h.GoldenFirmware.Version {
		return "", false
	}
	if h.Running == "" {
		return fmt.Sprintf("it is not known what version runs; golden is %s", h.GoldenFirmware.Version), true
	}
	return fmt.Sprintf("%s runs, golden is %s", h.Running, h.GoldenFirmware.Version), true
}

func install(h bench.Handset) Finding {
	f := Finding{Name: h.Name + " version", State: OK, Text: "no other version is installed by golden"}
	if h.Running != "" {
		f.Text = h.Running + " runs; " + f.Text
	}
	if why, installs := Installs(h); installs {
		f.State, f.Text = Warn, why+": the first boot installs it"
		f.WhatToDo = "\"run\" asks before; enter running: in the bench file when the phone shows golden's version"
	}
	return f
}

// assumptions lists what nobody has measured on a real handset.
func assumptions(h bench.Handset) Finding {
	var open []string
	all := h.Facts.All()
	for _, f := range all {
		if !f.Source.Settled() {
			open = append(open, fmt.Sprintf("%s = %q [%s]", f.Name, f.Value, f.Source))
		}
	}
	f := Finding{Name: h.Name + " facts", State: OK, Text: fmt.Sprintf("all %d are measured or from the guide", len(all))}
	switch {
	case len(open) == 0:
	case h.Simulated:
		f.Text = fmt.Sprintf("%d of %d are assumed; a simulated handset behaves as assumed", len(open), len(all))
	default:
		f.State = Warn
		f.Text = fmt.Sprintf("%d of %d are assumed: a judgement that rests on one is inconclusive\n%s", len(open), len(all), strings.Join(open, "\n"))
		f.WhatToDo = "measure them and enter them under facts: of the bench entry, each with value, measured (a date) and grounds; \"ip88rig check --facts\" says what each means"
	}
	return f
}

package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/report"
	"ip88rig/rig/virtual"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/wire"
)

type handsetCmd struct {
	Interface       string  `required:"" help:"Interface it sits on."`
	VLAN            uint16  `name:"vlan" help:"802.1Q tag of its frames; 0 is untagged."`
	Model           string  `help:"IP8820, IP8830 or IP8840." default:"IP8830"`
	MAC             string  `name:"mac" help:"The phone's MAC; without it a documentation address that tells the model."`
	Module          string  `help:"MAC of a WiFi module, which then speaks in its place."`
	Factor          float64 `help:"Divides every wait: 1 is as slow as a real one." default:"1"`
	Defect          string  `help:"What is wrong with it, comma-separated; 'ip88rig defects' lists them."`
	Flash           string  `help:"File that keeps its memory; made when it is missing." type:"path"`
	Version         string  `help:"Software that runs on it when it comes from the factory." default:"1.0.0"`
	Authority       string  `help:"PEM file of authorities that are installed in it when it comes from the factory." type:"path"`
	PublicAuthority string  `help:"PEM file of authorities that are built into its software." type:"path"`
	Seed            uint64  `help:"Makes what is random repeatable; 0 is different each time."`
}

// Help is what "ip88rig handset --help" shows beside the flags.
func (*handsetCmd) Help() string {
	return `Runs one simulated handset alone, on any interface: to try a bench file without
a phone, or a network that is not the rig's. It has power from the start, and
takes commands on standard input, one a line; each is answered by a line that
begins with "ok" or "error".

` + handsetCommands + `
Examples:
  ip88rig handset --interface veth1 --factor 50
  ip88rig handset --interface eth1 --vlan 88 --model IP8840 --mac 02:00:00:00:00:40 --flash phone.flash
  (sleep 5; echo "power off"; sleep 1; echo "power on"; sleep 60) | ip88rig handset --interface veth1

Ctrl-C ends it.`
}

const handsetCommands = `Commands:
  power off, power on
  factory-reset                  settings and uploaded authorities are lost
  upload FILE.pem                an authority, as with the Web Manager
  set SECTION/name value         as with the menu: set PROVISION/verifying_cert 3
  answer, hang-up                the call that rings
  help
`

// Run runs the handset until ctx ends.
func (c *handsetCmd) Run(ctx context.Context) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	macs := []net.HardwareAddr{cfg.MAC}
	if cfg.Module != nil {
		macs = append(macs, cfg.Module)
	}
	port, err := wire.OpenPacket(c.Interface, wire.PacketOptions{MACs: macs})
	if err != nil {
		return exitError{report.ExitUsage, err}
	}
	return errors.Join(c.run(ctx, cfg, port, os.Stdin, os.Stdout), port.Close())
}

// config reads the flags.
func (c *handsetCmd) config() (virtual.Config, error) {
	var cfg virtual.Config
	m, err := model.Parse(c.Model)
	if err != nil {
		return cfg, usage("--model: %v", err)
	}
	cfg.Model = m
	if c.MAC == "" {
		c.MAC = "00:00:5e:00:53:" + string(m)[2:]
	}
	if cfg.MAC, err = stationMAC("--mac", c.MAC); err != nil {
		return cfg, err
	}
	if c.Module != "" {
		if cfg.Module, err = stationMAC("--module", c.Module); err != nil {
			return cfg, err
		}
	}
	if c.VLAN > 4094 {
		return cfg, usage("--vlan %d is not a VLAN id from 1 to 4094 (0 is untagged)", c.VLAN)
	}
	if c.Factor < 1 || c.Factor > 1000 {
		return cfg, usage("--factor %v is not from 1 to 1000", c.Factor)
	}
	cfg.Factor, cfg.Seed = c.Factor, c.Seed
	if cfg.Defects, err = defect.Parse(c.Defect); err != nil {
		return cfg, usage("--defect: %v", err)
	}
	if cfg.PublicAuthorities, err = readAuthorities("--public-authority", c.PublicAuthority); err != nil {
		return cfg, err
	}
	cfg.Flash, err = c.memory(m)
	return cfg, err
}

func stationMAC(flag, s string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 || mac[0]&1 == 1 {
		return nil, usage("%s %q is not the MAC address of one station, such as 02:00:00:00:00:30", flag, s)
	}
	return mac, nil
}

func readAuthorities(flag, path string) ([]*x509.Certificate, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // the file that the user names
	if err != nil {
		return nil, usage("%s: %v", flag, err)
	}
	certs, err := flash.ParseAuthority(text)
	if err != nil {
		return nil, usage("%s %s: %v", flag, path, err)
	}
	return certs, nil
}

// memory is the one that is kept, or a new one.
func (c *handsetCmd) memory(m model.Model) (*flash.Flash, error) {
	installed, err := readAuthorities("--authority", c.Authority)
	if err != nil {
		return nil, err
	}
	var f *flash.Flash
	if c.Flash != "" {
		f, err = flash.Load(c.Flash)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, exitError{report.ExitUsage, err}
		}
	}
	if f == nil {
		if f, err = flash.New(m, c.Version, installed...); err != nil {
			return nil, usage("--version: %v", err)
		}
	} else {
		if s := f.Read(); s.Model != m {
			return nil, usage("--flash %s is that of an %s, --model says %s", c.Flash, s.Model, m)
		}
		if len(installed) > 0 {
			return nil, usage("--authority: %s holds a handset that has left the factory: \"upload %s\" copies it there", c.Flash, c.Authority)
		}
	}
	if c.Flash != "" {
		if err := f.Keep(c.Flash); err != nil {
			return nil, exitError{report.ExitUsage, fmt.Errorf("--flash: %w", err)}
		}
	}
	return f, nil
}

// outlet is the supply of a handset without a switch.
type outlet struct {
	mu      sync.Mutex
	on      bool
	outages uint64
	changed chan struct{}
}

var _ virtual.Supply = (*outlet)(nil)

// Power implements virtual.Supply.
func (o *outlet) Power() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.on
}

// Watch implements virtual.Supply.
func (o *outlet) Watch() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// Outages reports a cut that was over before the handset looked.
func (o *outlet) Outages() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.outages
}

func (o *outlet) set(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.on == on {
		return
	}
	o.on = on
	if !on {
		o.outages++
	}
	close(o.changed)
	o.changed = make(chan struct{})
}

// run runs a handset on a port, and does what in says.
func (c *handsetCmd) run(ctx context.Context, cfg virtual.Config, port wire.Port, in io.Reader, out io.Writer) error {
	if c.VLAN > 0 {
		port = wire.Tagged(port, c.VLAN, 5)
	}
	t := &terminal{out: out}
	supply := &outlet{on: true, changed: make(chan struct{})}
	cfg.Port, cfg.Supply, cfg.Log = port, supply, slog.New(slog.NewTextHandler(printer{t}, nil))
	h, err := virtual.New(cfg)
	if err != nil {
		return exitError{report.ExitUsage, err}
	}
	t.print(fmt.Sprintf("simulated %s %s, version %s; \"help\" lists the commands, Ctrl-C ends it\n", cfg.Model, h.MAC(), h.Version()))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }() // ends with ctx, or when the port fails
	lines := make(chan string)
	// Ends with in, or at the first line after ctx; a read that blocks ends with
	// the process.
	go func() {
		defer close(lines)
		for sc := bufio.NewScanner(in); sc.Scan(); {
			select {
			case lines <- sc.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case err := <-ended:
			return err
		case line, ok := <-lines:
			if !ok {
				lines = nil // the handset stays
				continue
			}
			c.command(ctx, t, h, supply, line)
		}
	}
}

// commandTime is how long a command may take: a boot, and more.
const commandTime = 2 * time.Minute

func (c *handsetCmd) command(ctx context.Context, t *terminal, h *virtual.Handset, supply *outlet, line string) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	words := strings.Fields(line)
	if len(words) == 0 {
		return
	}
	verb, rest := words[0], words[1:]
	err := errors.New("not a command; \"help\" lists them")
	switch {
	case verb == "help":
		t.print(handsetCommands)
		return
	case line == "power on" || line == "power off":
		supply.set(line == "power on")
		err = nil
	case verb == "factory-reset" && len(rest) == 0:
		err = h.FactoryReset(ctx)
	case verb == "answer" && len(rest) == 0:
		err = h.Answer(ctx)
	case verb == "hang-up" && len(rest) == 0:
		err = h.HangUp(ctx)
	case verb == "upload" && len(rest) > 0:
		var text []byte
		if text, err = os.ReadFile(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), verb))); err == nil {
			err = h.UploadAuthority(ctx, text)
		}
	case verb == "set" && len(rest) > 0:
		section, name, ok := strings.Cut(rest[0], "/")
		if !ok {
			err = fmt.Errorf("%q is not SECTION/name", rest[0])
			break
		}
		err = h.SetByHand(ctx, model.Field{Section: section, Name: name}, strings.Join(rest[1:], " "))
	}
	if err != nil {
		t.print("error " + strings.Join(words, " ") + ": " + err.Error() + "\n")
		return
	}
	t.print("ok " + strings.Join(words, " ") + "\n")
}

// printer writes to a terminal that others write to as well.
type printer struct{ t *terminal }

// Write implements io.Writer.
func (p printer) Write(b []byte) (int, error) {
	p.t.print(string(b))
	return len(b), nil
}

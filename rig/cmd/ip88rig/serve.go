package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/control"
	"ip88rig/rig/firmware"
	"ip88rig/rig/model"
	"ip88rig/rig/publish"
	"ip88rig/rig/report"
	"ip88rig/rig/stranger"
	"ip88rig/rig/sysconf"
	"ip88rig/rig/wire"
)

type serveCmd struct {
	Bench     string   `help:"Bench file; without it the embedded bench of simulated handsets." type:"path"`
	Handset   string   `help:"The handset to serve (a name of the bench file)."`
	Folder    string   `help:"Folder whose files are published as they are, and again when they change; without it a minimal configuration." type:"path"`
	URL       string   `name:"url" help:"Sent as DHCP option 160, so that the handset comes by HTTP or HTTPS."`
	Forward   []string `help:"Reach a port of the handset from here: 127.0.0.1:8880=NAME:80 (or an address)." sep:"none"`
	Interface string   `help:"Only listen on this interface, and show the phones that speak there; answers nobody."`
	VLAN      uint16   `name:"vlan" help:"With --interface: the 802.1Q tag to listen on; 0 hears tagged and untagged frames."`
	Factor    *float64 `help:"How many times as fast as a real one a simulated handset on a wire in memory is, from 1 to 1000 (default 20)."`
	Out       string   `help:"Folder for the evidence." default:"out" type:"path"`
	Seed      int64    `help:"Seed of what is random." default:"1"`

	every time.Duration // how often the folder is looked at; 0: each second
}

// Help is what "ip88rig serve --help" shows beside the flags.
func (*serveCmd) Help() string {
	return `Serves one handset of the bench with DHCP, TFTP, HTTP, HTTPS, SNTP, DNS and SIP,
shows what it does line by line ("->" from the handset) and records it all. On
the embedded bench the simulated handset is switched on, to be watched booting.

With --interface alone no bench file is needed: it shows which phones speak, and
the lines to enter them with.

Examples:
  ip88rig serve                                          watch the simulated ip8830 boot
  ip88rig serve --factor 1                               at a real phone's pace
  ip88rig serve --interface eth1                         which phones are there?
  ip88rig serve --bench lab.yaml --handset desk          beside a phone
  ip88rig serve --bench lab.yaml --handset desk --folder ./files
  ip88rig serve --bench lab.yaml --handset desk --url http://198.18.8.1/
  ip88rig serve --handset ip8830 --forward 127.0.0.1:8880=ip8830:80

Ctrl-C ends it.`
}

// Run serves until ctx ends.
func (c *serveCmd) Run(ctx context.Context) error {
	t := &terminal{out: os.Stdout, in: os.Stdin}
	if c.Interface == "" {
		if c.VLAN != 0 {
			return usage("--vlan goes with --interface; a bench file says it in wire.vlan")
		}
		return c.serve(ctx, t)
	}
	if c.Bench != "" || c.Handset != "" || c.Folder != "" || c.URL != "" || len(c.Forward) > 0 || c.Factor != nil {
		return usage("--interface only listens: it goes with --vlan alone; to serve a phone enter it in a bench file")
	}
	if c.VLAN > 4094 {
		return usage("--vlan %d is not a VLAN id from 1 to 4094 (0 hears all)", c.VLAN)
	}
	port, err := wire.OpenPacket(c.Interface, wire.PacketOptions{MACs: []net.HardwareAddr{}})
	if err != nil {
		return exitError{report.ExitUsage, err}
	}
	return errors.Join(c.listen(ctx, t, port), port.Close())
}

// listen shows the phones on a wire and answers nobody.
func (c *serveCmd) listen(ctx context.Context, t *terminal, port wire.Port) error {
	if c.VLAN > 0 {
		port = wire.Tagged(port, c.VLAN, 0)
	}
	t.print("listening on " + c.Interface + ", answering nobody: power-cycle the phones, Ctrl-C ends it\n")
	found := 0
	err := stranger.Watch(ctx, stranger.Config{Port: port, Heard: func(h stranger.Host) {
		if h.MAC.String() == stranger.MAC().String() {
			return // another rig's check
		}
		if h.Server {
			t.print("server    " + h.String() + "\n          no place for a test wire, unless it must be there: expect-foreign-dhcp: [\"" + h.MAC.String() + "\"]\n")
			return
		}
		found++
		t.print("phone     " + h.String() + "\n")
		if found == 1 {
			t.print(c.wireLines(h))
		}
		t.print(h.Lines())
	}})
	t.print(fmt.Sprintf("%d phones heard\n", found))
	return err
}

// wireLines open a bench file.
func (c *serveCmd) wireLines(h stranger.Host) string {
	vlan := c.VLAN
	if h.Tagged {
		vlan = h.VLAN
	}
	s := "wire:\n  interface: " + c.Interface + "\n"
	if vlan > 0 {
		s += fmt.Sprintf("  vlan: %d\n", vlan)
	}
	return s + "handsets:\n"
}

// pick returns the handset to serve.
func (c *serveCmd) pick(b bench.Bench) (bench.Handset, error) {
	name := c.Handset
	switch {
	case name != "":
	case len(b.Handsets) == 1:
		return b.Handsets[0], nil
	case c.Bench == "":
		name = "ip8830"
	default:
		names := make([]string, len(b.Handsets))
		for i, h := range b.Handsets {
			names[i] = h.Name
		}
		return bench.Handset{}, usage("--handset is needed: one of %s", strings.Join(names, ", "))
	}
	hs, err := chosen(b, []string{name})
	if err != nil {
		return bench.Handset{}, err
	}
	return hs[0], nil
}

// defaultFactor is how many times as fast as a real one a simulated handset is that
// somebody watches: slow enough to be read along.
const defaultFactor = 20

// paced is a handset with the pace that it is served at: somebody watches, so time
// is real on a wire in memory, too.
func (c *serveCmd) paced(b bench.Bench, h bench.Handset) (bench.Handset, error) {
	factor := float64(defaultFactor)
	if c.Factor != nil {
		factor = *c.Factor
	}
	switch {
	case b.Wire.Memory && factor >= 1 && factor <= 1000:
		h.Factor, h.Patience = factor, h.Patience.Scale(factor)
		return h, nil
	case b.Wire.Memory:
		return h, usage("--factor %v is not from 1 to 1000", factor)
	case c.Factor == nil:
		return h, nil
	case h.Simulated:
		return h, usage("--factor is for a wire in memory: here factor: of %s in the bench file says it", h.Name)
	default:
		return h, usage("--factor: %s is a real handset, which cannot be sped up", h.Name)
	}
}

// serve brings a lane up and follows it.
func (c *serveCmd) serve(ctx context.Context, t *terminal) (err error) {
	b, err := loadBench(c.Bench)
	if err != nil {
		return err
	}
	h, err := c.pick(b)
	if err != nil {
		return err
	}
	if h, err = c.paced(b, h); err != nil {
		return err
	}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return usage("--url %q is not an http or https URL", c.URL)
	}
	// What can be wrong with the command line is found before the wire is touched.
	var forwards []forward
	for _, s := range c.Forward {
		f, err := parseForward(s, h, b.Addresses(h).Handset)
		if err != nil {
			return err
		}
		forwards = append(forwards, f)
	}
	var files []publish.File
	if c.Folder != "" {
		if files, err = c.read(h); err != nil {
			return exitError{report.ExitUsage, err}
		}
	}
	if err := look(ctx, t, b, []bench.Handset{h}, c.Out, false); err != nil {
		return err
	}
	authorities, err := rig.LoadAuthorities(b.StateDir(c.Out))
	if err != nil {
		return err
	}
	listeners, err := c.listeners(ctx, forwards)
	defer func() {
		for _, ln := range listeners {
			_ = ln.Close() // again, unless something fails before they serve
		}
	}()
	if err != nil {
		return err
	}
	cfg := rig.Config{Bench: b, Handset: h, Seed: c.Seed, Authorities: authorities}
	if !h.Simulated {
		cfg.Operator = asker{t}
	}
	lane, err := rig.Open(ctx, cfg)
	if err != nil {
		return err
	}
	dir, err := freeFolder(filepath.Join(c.Out, "serve-"+time.Now().Format("20060102-150405")))
	if err != nil {
		return errors.Join(err, lane.Close())
	}
	err = lane.OpenRecording(dir)
	if err == nil {
		err = c.follow(ctx, t, lane, files, forwards, listeners)
	}
	troubles := lane.Troubles()
	events := lane.Recorder.Timeline().Log()
	err = errors.Join(err, lane.Close())
	text := timeline.Text(events)
	err = errors.Join(err, os.WriteFile(filepath.Join(dir, "timeline.txt"), []byte(text), 0o644)) //nolint:gosec // evidence is for everybody on the lab machine
	for _, s := range troubles {
		t.print("trouble: " + s + "\n")
	}
	t.print("\nevidence: " + dir + " (capture.pcapng, journal.jsonl, timeline.txt)\n")
	return err
}

// freeFolder is the name, or the name with a number after it.
func freeFolder(name string) (string, error) {
	for n := 1; n < 1000; n++ {
		dir := name
		if n > 1 {
			dir = fmt.Sprintf("%s-%d", name, n)
		}
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%s and a thousand more are taken", name)
}

// listeners binds every forwarded port; on an error those that it could.
func (c *serveCmd) listeners(ctx context.Context, forwards []forward) ([]net.Listener, error) {
	var out []net.Listener
	for _, f := range forwards {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
		if err != nil {
			return out, usage("--forward: %v", err)
		}
		out = append(out, ln)
	}
	return out, nil
}

// follow serves and shows until ctx ends.
func (c *serveCmd) follow(ctx context.Context, t *terminal, lane *rig.Lane, files []publish.File, forwards []forward, listeners []net.Listener) error {
	h, a := lane.Handset, lane.Addrs
	kind := "real"
	if h.Simulated {
		kind = "simulated"
	}
	t.print(fmt.Sprintf("serving %s, a %s %s (%s), at %s; the rig is %s, also %s and %s\n", h.Name, kind, h.Model, h.Active(), a.Handset, a.Server, a.Second, a.Name))
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i, f := range forwards {
		t.print(fmt.Sprintf("forward %s to %s\n", listeners[i].Addr(), f.to))
		// Ends with ctx.
		wg.Go(func() {
			if err := f.serve(ctx, listeners[i], lane.DialTCP, t.print); err != nil {
				t.print(err.Error() + "\n")
			}
		})
	}
	if !lane.Bench.Wire.Memory {
		defer hearStrangers(ctx, t, lane.Bench)()
	}
	if files == nil {
		var err error
		if files, err = minimal(lane); err != nil {
			return err
		}
	}
	if err := lane.Tree.Replace(files); err != nil {
		return err
	}
	if c.URL != "" {
		if err := lane.Offer(rig.Offer{TFTP: true, SNTP: true, URL: c.URL}); err != nil {
			return err
		}
	}
	if c.Folder != "" {
		wg.Go(func() { c.watchFolder(ctx, t, lane) }) // ends with ctx
	}
	if h.Simulated {
		if err := lane.Power.On(ctx); err != nil {
			return err
		}
	} else {
		t.print("switch the handset on; its power is not touched\n")
	}
	t.print(fmt.Sprintf("%11s %11s      what (Ctrl-C ends it)\n", "frame", "seconds"))
	newLadder(lane).follow(ctx, t)
	return nil
}

// asker asks the person at the terminal.
type asker struct{ t *terminal }

var _ control.Operator = asker{}

// Do implements control.Operator.
func (a asker) Do(ctx context.Context, r control.Request) error {
	return a.t.question(ctx, r.Handset+": "+r.Text)
}

// ladder shows a timeline while it grows.
type ladder struct {
	tl    *timeline.Timeline
	start []timeline.Event
	seen  int
}

func newLadder(lane *rig.Lane) *ladder {
	l := &ladder{tl: lane.Recorder.Timeline()}
	at := time.Now()
	if events := l.tl.Events(); len(events) > 0 {
		at = events[0].At
	}
	// What Text needs to know before the first line: when it began, and who the
	// handset is.
	for _, mac := range l.tl.HandsetMACs() {
		l.start = append(l.start, timeline.Event{At: at, By: timeline.Wire, Kind: timeline.DHCPDiscover, SrcMAC: mac})
	}
	return l
}

// follow prints until ctx ends.
func (l *ladder) follow(ctx context.Context, t *terminal) {
	for {
		changed := l.tl.Changed()
		l.print(t)
		select {
		case <-changed:
		case <-ctx.Done():
			l.print(t)
			return
		}
	}
}

func (l *ladder) print(t *terminal) {
	events := l.tl.Events()
	for _, e := range events[l.seen:] {
		if shown(&e) {
			lines := strings.Split(strings.TrimRight(timeline.Text(timeline.LogOf(append(slices.Clip(l.start), e)...)), "\n"), "\n")
			t.print(lines[len(lines)-1] + "\n")
		}
	}
	l.seen = len(events)
}

// shown leaves out what only explains itself, blocks of transfers, and what
// services say of what the wire shows.
func shown(e *timeline.Event) bool {
	switch e.Kind {
	case timeline.TFTPData, timeline.TFTPAck, timeline.TFTPOAck, timeline.ARPRequest, timeline.ARPReply, timeline.ARPProbe, timeline.ARPAnnouncement,
		timeline.TCPTry, timeline.TCPOpen, timeline.TCPClosed, timeline.TLSServerHello, timeline.TLSCertificate, timeline.TLSData, timeline.ConnClosed,
		timeline.ServiceUp, timeline.CarriedState, timeline.Asked, timeline.Verb:
		return false
	case timeline.HTTPRequest, timeline.HTTPResponse:
		return e.By == timeline.Wire || e.Transport == timeline.HTTPS
	case timeline.ServiceDown:
		return e.Reason != ""
	case timeline.Served: // what is not served at all is an error on the wire
		return !e.Complete && e.Bytes > 0
	case timeline.DHCPDiscover, timeline.DHCPOffer, timeline.DHCPRequest, timeline.DHCPDecline, timeline.DHCPAck, timeline.DHCPNak, timeline.DHCPRelease, timeline.DHCPInform,
		timeline.TFTPRead, timeline.TFTPWrite, timeline.TFTPError, timeline.TLSClientHello, timeline.TLSAlert, timeline.SIPRequest, timeline.SIPResponse,
		timeline.SNTPRequest, timeline.SNTPResponse, timeline.DNSQuery, timeline.DNSResponse:
		return e.By == timeline.Wire
	default: // the others tell something
		return true
	}
}

// minimal is the configuration that makes a handset register with the rig: its
// golden files, where it has some, with what the rig needs set in them. It
// clears a stored URL, so that the handset comes to TFTP from then on. A real
// handset is offered no software.
func minimal(lane *rig.Lane) ([]publish.File, error) {
	h, a := lane.Handset, lane.Addrs
	texts := lane.GoldenFiles()
	names := [2]string{h.Model.GlobalFile(), h.OwnFile()}
	var sys [2]*sysconf.File
	for i, text := range texts {
		f, err := sysconf.Parse(names[i], text)
		if err != nil {
			return nil, fmt.Errorf("golden: %w", err)
		}
		sys[i] = f
	}
	global, own := sys[0], sys[1]
	global.Set("LAN", "tftp_server_address", a.Server.String())
	global.Set("PROVISION", "smartup_use", "disable")
	for _, f := range h.Facts.Fields(model.StoredURLField) {
		global.Set(f.Section, f.Name, "")
	}
	for _, x := range [][2]string{
		{"line1_proxy_address", a.Server.String()},
		{"line1_proxy_port", "5060"},
		{"line1_displayname", "Rig " + h.Name},
		{"line1_name", "rig-" + h.Name},
		{"line1_authname", "rig-" + h.Name},
		{"line1_password", "rig-" + strconv.Itoa(h.Block)},
		{"line1_type", "private"},
		{"line1_registration", "enable"},
	} {
		own.Set("VOIP", x[0], x[1])
	}
	files := []publish.File{
		{Name: names[0], Content: global.Bytes(), Meaning: "global configuration, minimal"},
		{Name: names[1], Content: own.Bytes(), Meaning: "phone-specific configuration, minimal"},
	}
	if !h.Simulated {
		return files, nil
	}
	v, err := lane.Firmware("golden")
	if err != nil {
		return nil, err
	}
	files = append(files, publish.File{Name: h.Model.VersionFile(), Content: v.VersionFile, Meaning: "version file naming " + v.Name})
	return append(files, v.Files...), nil
}

// read reads the folder to publish. A real handset is only offered the software
// of its bundles, and of those only whole.
func (c *serveCmd) read(h bench.Handset) ([]publish.File, error) {
	files := []publish.File{}
	err := filepath.WalkDir(c.Folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(c.Folder, path)
		if err != nil {
			return err
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path) //nolint:gosec // the folder that the user names
		if err != nil {
			return err
		}
		files = append(files, publish.File{Name: filepath.ToSlash(name), Content: text, Meaning: "of the folder"})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("--folder: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("--folder %s is empty", c.Folder)
	}
	if err := admit(h, files); err != nil {
		return nil, fmt.Errorf("--folder %s: %w", c.Folder, err)
	}
	return files, nil
}

// admit refuses software that a real handset must not be offered.
func admit(h bench.Handset, files []publish.File) error {
	if h.Simulated {
		return nil
	}
	for _, f := range files {
		base := strings.ToLower(f.Name[strings.LastIndexByte(f.Name, '/')+1:])
		if !strings.HasPrefix(base, "ip_") || !strings.HasSuffix(base, "_ver_sip2") {
			continue
		}
		if err := admitVersion(h, f, files); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func admitVersion(h bench.Handset, file publish.File, files []publish.File) error {
	for _, b := range []*bench.Bundle{h.GoldenFirmware, h.NextFirmware} {
		if b == nil {
			continue
		}
		v, err := firmware.Load(h.Model, *b)
		if err != nil {
			return err
		}
		if !bytes.Equal(v.VersionFile, file.Content) {
			continue
		}
		for _, want := range v.Files {
			if !slices.ContainsFunc(files, func(f publish.File) bool {
				return strings.EqualFold(f.Name, want.Name) && bytes.Equal(f.Content, want.Content)
			}) {
				return fmt.Errorf("it lists %s, which the folder does not hold as the bundle has it: a handset may not survive half an upgrade", want.Name)
			}
		}
		return nil
	}
	return fmt.Errorf("%w: this version file is not one of %s's", firmware.ErrStandIn, h.Name)
}

// watchFolder publishes anew what changes, until ctx ends.
func (c *serveCmd) watchFolder(ctx context.Context, t *terminal, lane *rig.Lane) {
	every := c.every
	if every == 0 {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	before, said := stamps(c.Folder), ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := stamps(c.Folder)
		if maps.Equal(before, now) {
			continue
		}
		files, err := c.read(lane.Handset)
		if err == nil {
			err = lane.Tree.Replace(files)
		}
		if err != nil {
			// Half written, perhaps: what was published stays, and it is tried again.
			if said != err.Error() {
				said = err.Error()
				t.print("not published: " + said + "\n")
			}
			continue
		}
		before, said = now, ""
	}
}

// stamps tells a changed folder from the same one.
func stamps(dir string) map[string]string {
	out := map[string]string{}
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			out[path] = err.Error()
			return nil //nolint:nilerr // it is part of what is compared
		}
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			out[path] = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return out
}

// Package bench reads the bench file: which wire, which addresses, which
// handsets, how each is powered, what files it may be offered, what was
// measured of it and how patient the rig is. Reading is strict: a mistake is
// an error with file, line and column before anything on the wire is touched.
package bench

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"ip88rig/fixtures"
	"ip88rig/rig/deviation"
	"ip88rig/rig/model"
)

// Link is how a handset is connected.
type Link string

// The links of a handset.
const (
	Wired Link = "wired"
	WiFi  Link = "wifi"
)

// Bench is a checked bench file.
type Bench struct {
	Name string
	// Path is where the file was read from; blank for the embedded bench.
	Path     string
	Wire     Wire
	Subnet   netip.Prefix
	Handsets []Handset
	// PublicChain names a chain of a built-in public authority (TLS-14).
	PublicChain *PublicChain
	// Deviations is the file of known deviations; blank: none.
	Deviations string
	// GoldenRecords is the folder of golden records; blank: those that came with
	// the embedded bench.
	GoldenRecords string
}

// Wire is what the rig's port is.
type Wire struct {
	// Memory: a switch in memory, simulated handsets only.
	Memory bool
	// Interface is a network interface of this machine.
	Interface string
	// VLAN is the 802.1Q tag on Interface; 0 is untagged. Priority is its PCP.
	VLAN     uint16
	Priority uint8
	// Peer is the interface on which simulated handsets sit, for trying an
	// interface without a phone (the other end of a veth pair).
	Peer string
	// ExpectDHCP lists MACs of foreign DHCP servers that may be on the wire.
	ExpectDHCP []net.HardwareAddr
}

// PublicChain is a chain of a built-in public authority.
type PublicChain struct {
	// Embedded: the authority that simulated handsets have built in.
	Embedded bool
	// Certificate and Key are PEM files, Name the name the chain is for.
	Certificate, Key, Name string
}

// Power is how a handset's supply is switched.
type Power struct {
	// Kind is "simulated", "command" or "operator".
	Kind string
	// On and Off are shell commands.
	On, Off string
}

// Bundle is a folder with a vendor's firmware.
type Bundle struct {
	Folder  string
	Version string
	Files   []string
}

// Without says which rows a handset cannot show, and why.
type Without struct {
	Rows   []string
	Reason string
}

// Handset is one phone on one link.
type Handset struct {
	Name  string
	Model model.Model
	// MAC names the phone; Module is the WiFi module's and zero when wired.
	MAC, Module net.HardwareAddr
	// Phone is the physical phone: entries of one phone never run at once.
	Phone     string
	Link      Link
	Simulated bool
	// Factor divides every wait of a simulated handset on an interface, and of the
	// scenarios; 1 on a wire in memory.
	Factor float64
	Power  Power
	// AccessPoint is what the lab's access point can be asked for.
	AccessPoint AccessPoint
	// KnowsAuthority: the bench's authority A was copied to it. Without it a
	// handset rightly asks for nothing over HTTPS.
	KnowsAuthority bool
	// Verbs are what a person (or the script in his place) can do.
	Verbs []string
	// Golden is a folder with configuration files; blank is the minimal default.
	Golden string
	// Running is the version the handset is known to run, blank when unknown.
	Running string
	// GoldenFirmware and NextFirmware are vendor bundles; nil when there is none.
	GoldenFirmware, NextFirmware *Bundle
	Facts                        model.Facts
	Patience                     model.Patience
	Without                      []Without
	// Block numbers the handset's eight addresses within the subnet.
	Block int
}

// AccessPoint is what commands have the access point of a real handset with a
// WiFi module do; a blank one is not supported.
type AccessPoint struct {
	Deauth          string `yaml:"deauth"`
	Restart         string `yaml:"restart"`
	PassphraseWrong string `yaml:"passphrase-wrong"`
	PassphraseRight string `yaml:"passphrase-right"`
	Roam            string `yaml:"roam"`
	Channel         string `yaml:"channel"`
}

// over is a with what it leaves blank from base. The passphrases belong together.
func (a AccessPoint) over(base AccessPoint) AccessPoint {
	a.Deauth, a.Restart = cmp.Or(a.Deauth, base.Deauth), cmp.Or(a.Restart, base.Restart)
	if a.PassphraseWrong == "" && a.PassphraseRight == "" {
		a.PassphraseWrong, a.PassphraseRight = base.PassphraseWrong, base.PassphraseRight
	}
	a.Roam, a.Channel = cmp.Or(a.Roam, base.Roam), cmp.Or(a.Channel, base.Channel)
	return a
}

// Active is the MAC that the handset speaks from.
func (h Handset) Active() net.HardwareAddr {
	if len(h.Module) > 0 {
		return h.Module
	}
	return h.MAC
}

// OwnFile is the name of the phone-specific file in the letter case that is
// held to be the handset's (guide F-2; the case is a fact).
func (h Handset) OwnFile() string {
	name := fmt.Sprintf("%x", []byte(h.Active()))
	if h.Facts.Text(model.OwnFileCase) == "upper" {
		name = strings.ToUpper(name)
	}
	return name
}

// Software is the version that the specs judge: golden's where the bench names
// a bundle, else the one it is known to run; blank when neither is known.
func (h Handset) Software() string {
	if h.GoldenFirmware != nil {
		return h.GoldenFirmware.Version
	}
	return h.Running
}

// Addresses are what a lane uses. They derive from the handset and stay the
// same from run to run, because a phone stores them.
type Addresses struct {
	Server, Second netip.Addr
	Handset        netip.Addr
	Prefix         netip.Prefix
	// Beside is the phone's own where Handset is its WiFi module's: with a cable in
	// beside the module it may speak from both.
	Beside    netip.Prefix
	ServerMAC net.HardwareAddr
	// Name and SecondName resolve to Server and Second on this wire only.
	Name, SecondName string
}

// Addresses returns the lane's addresses for a handset.
func (b Bench) Addresses(h Handset) Addresses {
	base := b.Subnet.Masked().Addr().As4()
	first := binary.BigEndian.Uint32(base[:]) + uint32(h.Block)*8 //nolint:gosec // Block is bounded by the subnet
	addr := func(n uint32) netip.Addr {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], first+n)
		return netip.AddrFrom4(a)
	}
	mac := h.Active()
	return Addresses{
		Server: addr(1), Second: addr(2), Handset: addr(4),
		Prefix:     netip.PrefixFrom(addr(4), b.Subnet.Bits()),
		Beside:     netip.PrefixFrom(addr(5), b.Subnet.Bits()),
		ServerMAC:  net.HardwareAddr{0x02, 0x88, mac[2], mac[3], mac[4], mac[5]},
		Name:       "prov." + h.Name + ".rig.test",
		SecondName: "other." + h.Name + ".rig.test",
	}
}

// Handset returns the entry of that name.
func (b Bench) Handset(name string) (Handset, bool) {
	i := slices.IndexFunc(b.Handsets, func(h Handset) bool { return h.Name == name })
	if i < 0 {
		return Handset{}, false
	}
	return b.Handsets[i], true
}

// StateDir is where authorities and the state file live.
func (b Bench) StateDir(out string) string {
	if b.Path == "" {
		return filepath.Join(out, "state")
	}
	return strings.TrimSuffix(b.Path, filepath.Ext(b.Path)) + ".state"
}

// GoldenFS is where golden records are read.
func (b Bench) GoldenFS() fs.FS {
	if b.GoldenRecords == "" {
		return fixtures.GoldenRecords()
	}
	return os.DirFS(b.GoldenRecords)
}

// Simulated tells whether every handset of the bench is simulated.
func (b Bench) Simulated() bool {
	return !slices.ContainsFunc(b.Handsets, func(h Handset) bool { return !h.Simulated })
}

// The bench file as it is written.
type file struct {
	Name      string        `yaml:"name"`
	Wire      wireFile      `yaml:"wire"`
	Addresses addressesFile `yaml:"addresses"`
	Patience  patienceFile  `yaml:"patience"`
	Air       AccessPoint   `yaml:"access-point"`
	Public    *publicFile   `yaml:"public-authority"`
	Known     string        `yaml:"deviations"`
	Records   string        `yaml:"golden-records"`
	Handsets  []handsetFile `yaml:"handsets"`
}

type wireFile struct {
	Memory     bool     `yaml:"memory"`
	Interface  string   `yaml:"interface"`
	VLAN       int      `yaml:"vlan"`
	Priority   int      `yaml:"priority"`
	Peer       string   `yaml:"peer"`
	ExpectDHCP []string `yaml:"expect-foreign-dhcp"`
}

type addressesFile struct {
	Subnet string `yaml:"subnet"`
}

type patienceFile struct {
	Boot     string `yaml:"boot"`
	Cycle    string `yaml:"cycle"`
	Upgrade  string `yaml:"upgrade"`
	Flash    string `yaml:"flash"`
	Settle   string `yaml:"settle"`
	Off      string `yaml:"off"`
	Operator string `yaml:"operator"`
}

type publicFile struct {
	Embedded    bool   `yaml:"embedded"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	Name        string `yaml:"name"`
}

type bundleFile struct {
	Folder  string   `yaml:"folder"`
	Version string   `yaml:"version"`
	Files   []string `yaml:"files"`
}

type firmwareFile struct {
	Golden *bundleFile `yaml:"golden"`
	Next   *bundleFile `yaml:"next"`
}

type factFile struct {
	Value    string `yaml:"value"`
	Measured string `yaml:"measured"`
	Grounds  string `yaml:"grounds"`
}

type powerFile struct {
	Kind string `yaml:"kind"`
	On   string `yaml:"on"`
	Off  string `yaml:"off"`
}

type withoutFile struct {
	Rows   []string `yaml:"rows"`
	Reason string   `yaml:"reason"`
}

type handsetFile struct {
	Name      string              `yaml:"name"`
	Model     string              `yaml:"model"`
	MAC       string              `yaml:"mac"`
	Module    string              `yaml:"module"`
	Phone     string              `yaml:"phone"`
	Link      string              `yaml:"link"`
	Simulated bool                `yaml:"simulated"`
	Factor    float64             `yaml:"factor"`
	Power     powerFile           `yaml:"power"`
	Air       *AccessPoint        `yaml:"access-point"`
	Authority string              `yaml:"authority"`
	Verbs     []string            `yaml:"verbs"`
	Golden    string              `yaml:"golden"`
	Running   string              `yaml:"running"`
	Firmware  firmwareFile        `yaml:"firmware"`
	Facts     map[string]factFile `yaml:"facts"`
	Patience  patienceFile        `yaml:"patience"`
	Without   []withoutFile       `yaml:"without"`
	Block     int                 `yaml:"block"`
}

// Verbs that a person can be asked for, in the order of the guide.
func Verbs() []string {
	return []string{"factory-reset", "upload-authority", "menu", "answer", "hang-up", "remove-module", "install-module", "wifi-security", "plug-cable", "unplug-cable"}
}

// Embedded returns the bench that needs nothing: six simulated handsets on a
// wire in memory.
func Embedded() (Bench, error) {
	return Parse("(embedded bench)", fixtures.EmbeddedBench(), "")
}

// Load reads a bench file. The errors name file, line and column.
func Load(path string) (Bench, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the user's own bench file
	if err != nil {
		return Bench{}, fmt.Errorf("bench file: %w", err)
	}
	b, err := Parse(path, data, filepath.Dir(path))
	if err != nil {
		return Bench{}, err
	}
	b.Path = path
	if b.GoldenRecords == "" {
		b.GoldenRecords = strings.TrimSuffix(path, filepath.Ext(path)) + ".golden"
	}
	return b, nil
}

// Parse checks a bench file's text. name stands in errors; dir is what
// relative paths are relative to.
func Parse(name string, data []byte, dir string) (b Bench, err error) {
	// The YAML library panics on some texts that are no YAML.
	defer func() {
		if r := recover(); r != nil {
			b, err = Bench{}, fmt.Errorf("%s: not readable as YAML: %v", name, r)
		}
	}()
	var f file
	dec := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict(), yaml.DisallowUnknownField())
	if err := dec.Decode(&f); err != nil {
		return Bench{}, fmt.Errorf("%s: %s", name, strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	p := parser{name: name, data: data, dir: dir}
	b = p.bench(f)
	if len(p.errs) > 0 {
		return Bench{}, errors.Join(p.errs...)
	}
	return b, nil
}

type parser struct {
	name string
	data []byte
	dir  string
	errs []error
}

// fail notes a mistake at a YAML path such as "$.handsets[1].mac".
func (p *parser) fail(path, format string, args ...any) {
	where := p.name
	// The place of the nearest thing that stands in the file.
	for at := path; at != ""; at = parent(at) {
		if line, col, ok := p.position(at); ok {
			where = fmt.Sprintf("%s:%d:%d", p.name, line, col)
			break
		}
	}
	p.errs = append(p.errs, fmt.Errorf("%s: %s: %s", where, strings.TrimPrefix(path, "$."), fmt.Sprintf(format, args...)))
}

func parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i <= 0 || path == "$" {
		return ""
	}
	return path[:i]
}

func (p *parser) position(path string) (line, col int, ok bool) {
	yp, err := yaml.PathString(path)
	if err != nil {
		return 0, 0, false
	}
	node, err := yp.ReadNode(bytes.NewReader(p.data))
	if err != nil || node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return 0, 0, false
	}
	pos := node.GetToken().Position
	return pos.Line, pos.Column, true
}

func (p *parser) bench(f file) Bench {
	b := Bench{Name: f.Name}
	if b.Name == "" {
		b.Name = strings.TrimSuffix(filepath.Base(p.name), filepath.Ext(p.name))
	}
	b.Wire = p.wire(f.Wire)
	b.Subnet = p.subnet(f.Addresses.Subnet)
	b.PublicChain = p.public(f.Public)
	b.Deviations, b.GoldenRecords = p.path(f.Known), p.path(f.Records)
	if b.Deviations != "" {
		if info, err := os.Stat(b.Deviations); err != nil {
			p.fail("$.deviations", "%v", err)
		} else if info.IsDir() {
			p.fail("$.deviations", "%s is a folder", b.Deviations)
		}
	}
	// A folder of records that is not there yet is one that holds none.
	if info, err := os.Stat(b.GoldenRecords); err == nil && !info.IsDir() {
		p.fail("$.golden-records", "%s is not a folder", b.GoldenRecords)
	}
	common := p.patience("$.patience", f.Patience, model.DefaultPatience())
	if len(f.Handsets) == 0 {
		p.fail("$.handsets", "no handset is entered; \"ip88rig serve --interface IF\" shows those it hears, with the lines to paste")
	}
	air := p.accessPoint("$.access-point", f.Air)
	for i, h := range f.Handsets {
		b.Handsets = append(b.Handsets, p.handset(i, h, b, common))
		p.ownAccessPoint(fmt.Sprintf("$.handsets[%d].access-point", i), h, air, &b.Handsets[i])
	}
	return b
}

// ownAccessPoint is a handset's, with what it does not say from the bench's.
func (p *parser) ownAccessPoint(path string, f handsetFile, common AccessPoint, h *Handset) {
	switch {
	case f.Air != nil && h.Link != WiFi:
		p.fail(path, "a handset without link: wifi is at no access point")
	case f.Air != nil && h.Simulated:
		p.fail(path, "a simulated handset has an access point of its own")
	case f.Air != nil:
		h.AccessPoint = p.accessPoint(path, *f.Air).over(common)
	case h.Link == WiFi && !h.Simulated:
		h.AccessPoint = common
	}
}

// accessPoint wants no passphrase that stays wrong.
func (p *parser) accessPoint(path string, a AccessPoint) AccessPoint {
	for _, command := range []*string{&a.Deauth, &a.Restart, &a.PassphraseWrong, &a.PassphraseRight, &a.Roam, &a.Channel} {
		*command = strings.TrimSpace(*command)
	}
	switch {
	case a.PassphraseWrong != "" && a.PassphraseRight == "":
		p.fail(path+".passphrase-wrong", "needs passphrase-right, the command that undoes it")
	case a.PassphraseWrong == "" && a.PassphraseRight != "":
		p.fail(path+".passphrase-right", "needs passphrase-wrong, the command that it undoes")
	}
	return a
}

func (p *parser) wire(f wireFile) Wire {
	w := Wire{Memory: f.Memory, Interface: f.Interface, Peer: f.Peer}
	switch {
	case f.Memory && f.Interface != "":
		p.fail("$.wire.interface", "memory: true and an interface exclude each other")
	case !f.Memory && f.Interface == "":
		p.fail("$.wire", "say memory: true or name an interface")
	}
	if f.Peer != "" && f.Interface == "" {
		p.fail("$.wire.peer", "needs wire.interface")
	}
	if f.VLAN < 0 || f.VLAN > 4094 {
		p.fail("$.wire.vlan", "%d is not a VLAN id from 1 to 4094 (0 is untagged)", f.VLAN)
	} else {
		w.VLAN = uint16(f.VLAN)
	}
	if f.Priority < 0 || f.Priority > 7 {
		p.fail("$.wire.priority", "%d is not a priority from 0 to 7", f.Priority)
	} else {
		w.Priority = uint8(f.Priority)
	}
	for i, s := range f.ExpectDHCP {
		mac, err := net.ParseMAC(s)
		if err != nil || len(mac) != 6 {
			p.fail(fmt.Sprintf("$.wire.expect-foreign-dhcp[%d]", i), "%q is not a MAC address", s)
			continue
		}
		w.ExpectDHCP = append(w.ExpectDHCP, mac)
	}
	return w
}

// DefaultSubnet is the range reserved for benchmarking network devices (RFC
// 2544), so that a rig never meets an office's addresses.
const DefaultSubnet = "198.18.0.0/16"

func (p *parser) subnet(s string) netip.Prefix {
	if s == "" {
		s = DefaultSubnet
	}
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		p.fail("$.addresses.subnet", "%q is not a prefix such as %s", s, DefaultSubnet)
		return netip.MustParsePrefix(DefaultSubnet)
	case !prefix.Addr().Is4() || prefix.Bits() > 24 || prefix.Bits() < 8:
		p.fail("$.addresses.subnet", "%s: want an IPv4 prefix from /8 to /24", s)
		return netip.MustParsePrefix(DefaultSubnet)
	}
	return prefix.Masked()
}

func (p *parser) public(f *publicFile) *PublicChain {
	if f == nil {
		return nil
	}
	c := &PublicChain{Embedded: f.Embedded, Name: f.Name, Certificate: p.path(f.Certificate), Key: p.path(f.Key)}
	if f.Embedded {
		if f.Certificate != "" || f.Key != "" {
			p.fail("$.public-authority", "embedded: true and a certificate exclude each other")
		}
		return c
	}
	for key, v := range map[string]string{"certificate": f.Certificate, "key": f.Key, "name": f.Name} {
		if v == "" {
			p.fail("$.public-authority", "%s is missing", key)
		}
	}
	for key, v := range map[string]string{"certificate": c.Certificate, "key": c.Key} {
		if v != "" {
			if _, err := os.Stat(v); err != nil {
				p.fail("$.public-authority."+key, "%v", err)
			}
		}
	}
	return c
}

func (p *parser) path(s string) string {
	if s == "" || filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(p.dir, s)
}

func (p *parser) patience(path string, f patienceFile, base model.Patience) model.Patience {
	for _, x := range []struct {
		key  string
		text string
		to   *time.Duration
	}{
		{"boot", f.Boot, &base.Boot},
		{"cycle", f.Cycle, &base.Cycle},
		{"upgrade", f.Upgrade, &base.Upgrade},
		{"flash", f.Flash, &base.Flash},
		{"settle", f.Settle, &base.Settle},
		{"off", f.Off, &base.Off},
		{"operator", f.Operator, &base.Operator},
	} {
		if x.text == "" {
			continue
		}
		d, err := time.ParseDuration(x.text)
		if err != nil || d <= 0 {
			p.fail(path+"."+x.key, "%q is not a duration such as 90s or 4m", x.text)
			continue
		}
		*x.to = d
	}
	return base
}

func (p *parser) handset(i int, f handsetFile, b Bench, patience model.Patience) Handset {
	at := func(key string) string { return fmt.Sprintf("$.handsets[%d].%s", i, key) }
	h := Handset{
		Name: f.Name, Phone: f.Phone, Simulated: f.Simulated, Factor: f.Factor,
		Running: f.Running, Link: Link(f.Link), Verbs: f.Verbs,
	}
	if h.Name == "" || strings.Trim(h.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.HasPrefix(h.Name, "-") {
		p.fail(at("name"), "%q: a name is made of lower-case letters, digits and dashes, because folders and host names are called after it", f.Name)
	}
	if slices.ContainsFunc(b.Handsets, func(o Handset) bool { return o.Name == h.Name }) {
		p.fail(at("name"), "%q stands twice", h.Name)
	}
	m, err := model.Parse(f.Model)
	if err != nil {
		p.fail(at("model"), "%v", err)
	}
	h.Model = m
	h.MAC = p.mac(at("mac"), f.MAC)
	if h.Phone == "" {
		h.Phone = h.Name
	}
	p.link(at, f, &h)
	for _, o := range b.Handsets {
		if len(h.Active()) > 0 && bytes.Equal(o.Active(), h.Active()) {
			p.fail(at("mac"), "%s is %q's too", h.Active(), o.Name)
		}
	}
	switch {
	case f.Factor < 0 || f.Factor > 1000:
		p.fail(at("factor"), "%v is not from 1 to 1000", f.Factor)
	case f.Factor != 0 && !f.Simulated:
		p.fail(at("factor"), "a real handset cannot be sped up")
	case f.Factor != 0 && b.Wire.Memory:
		p.fail(at("factor"), "the wire is in memory, where time is virtual and waits cost nothing: leave it out (\"ip88rig serve\" has --factor)")
	case b.Wire.Memory:
		h.Factor = 1
	case f.Factor == 0 && f.Simulated:
		h.Factor = DefaultFactor
	}
	if f.Simulated && !b.Wire.Memory && b.Wire.Peer == "" {
		p.fail(at("simulated"), "a simulated handset needs wire.memory or wire.peer, the interface it sits on")
	}
	if !f.Simulated && b.Wire.Memory {
		p.fail(at("simulated"), "a real handset is not on a wire in memory: say simulated: true or name wire.interface")
	}
	switch f.Authority {
	case "":
		h.KnowsAuthority = f.Simulated
	case "uploaded":
		h.KnowsAuthority = true
	default:
		p.fail(at("authority"), "%q is not \"uploaded\", which says that authority A was copied to the handset", f.Authority)
	}
	h.Power = p.power(at, f)
	for j, v := range f.Verbs {
		if !slices.Contains(Verbs(), v) {
			p.fail(fmt.Sprintf("$.handsets[%d].verbs[%d]", i, j), "unknown verb %q: want some of %s", v, strings.Join(Verbs(), ", "))
		}
	}
	if f.Golden != "" {
		h.Golden = p.folder(at("golden"), f.Golden)
	}
	h.GoldenFirmware = p.bundle(at("firmware.golden"), f.Firmware.Golden)
	h.NextFirmware = p.bundle(at("firmware.next"), f.Firmware.Next)
	if golden, next := h.GoldenFirmware, h.NextFirmware; golden != nil && next != nil {
		switch {
		case golden.Version == next.Version:
			p.fail(at("firmware.next"), "golden and next name the same version %q", next.Version)
		case deviation.Compare(golden.Version, next.Version) == 0:
			p.fail(at("firmware.next"), "next's version %q is neither higher nor lower than golden's %q: there would be no downgrade (FWU-03)", next.Version, golden.Version)
		}
	}
	h.Facts = p.facts(i, f, h.Model)
	h.Patience = p.patience(at("patience"), f.Patience, patience)
	if h.Simulated {
		h.Patience = h.Patience.Scale(h.Factor)
	}
	for j, w := range f.Without {
		if len(w.Rows) == 0 || w.Reason == "" {
			p.fail(fmt.Sprintf("$.handsets[%d].without[%d]", i, j), "needs rows and a reason")
		}
		h.Without = append(h.Without, Without(w))
	}
	h.Block = p.block(at, f, h, b)
	return h
}

// DefaultFactor speeds a simulated handset on an interface up so that a cycle takes
// about 0.2 s.
const DefaultFactor = 200

func (p *parser) mac(path, s string) net.HardwareAddr {
	mac, err := net.ParseMAC(s)
	switch {
	case err != nil || len(mac) != 6:
		p.fail(path, "%q is not a MAC address such as b4:0e:dc:00:11:22", s)
		return nil
	case mac[0]&1 != 0:
		p.fail(path, "%s is a group address", mac)
	}
	return mac
}

func (p *parser) link(at func(string) string, f handsetFile, h *Handset) {
	switch h.Link {
	case "":
		h.Link = Wired
		if f.Module != "" {
			p.fail(at("link"), "a module is named but link: wifi is not said")
		}
	case Wired:
		if f.Module != "" {
			p.fail(at("module"), "a wired handset has no module")
		}
	case WiFi:
		if f.Module == "" {
			p.fail(at("link"), "link: wifi needs module, the WiFi module's MAC")
			return
		}
		h.Module = p.mac(at("module"), f.Module)
	default:
		p.fail(at("link"), "%q is neither wired nor wifi", f.Link)
	}
}

func (p *parser) power(at func(string) string, f handsetFile) Power {
	pw := Power{Kind: f.Power.Kind, On: f.Power.On, Off: f.Power.Off}
	if pw.Kind == "" {
		switch {
		case f.Simulated:
			pw.Kind = "simulated"
		case pw.On != "" || pw.Off != "":
			pw.Kind = "command"
		default:
			pw.Kind = "operator"
		}
	}
	switch pw.Kind {
	case "simulated":
		if !f.Simulated {
			p.fail(at("power.kind"), "only a simulated handset has simulated power")
		}
	case "operator":
	case "command":
		if pw.On == "" || pw.Off == "" {
			p.fail(at("power"), "a command needs both on and off")
		}
	default:
		p.fail(at("power.kind"), "%q is none of simulated, command, operator", pw.Kind)
	}
	if pw.Kind != "command" && (pw.On != "" || pw.Off != "") {
		p.fail(at("power"), "on and off go with kind: command")
	}
	return pw
}

func (p *parser) folder(path, s string) string {
	full := p.path(s)
	info, err := os.Stat(full)
	switch {
	case err != nil:
		p.fail(path, "%v", err)
	case !info.IsDir():
		p.fail(path, "%s is not a folder", full)
	default:
		entries, err := os.ReadDir(full)
		if err == nil && len(entries) == 0 {
			p.fail(path, "%s is empty", full)
		}
	}
	return full
}

func (p *parser) bundle(path string, f *bundleFile) *Bundle {
	if f == nil {
		return nil
	}
	b := &Bundle{Folder: p.folder(path+".folder", f.Folder), Version: f.Version, Files: f.Files}
	if f.Version == "" {
		p.fail(path+".version", "the version string that the version file names is missing")
	}
	if len(f.Files) == 0 {
		p.fail(path+".files", "no listed file is named")
	}
	for j, name := range f.Files {
		if name == "" || filepath.Base(name) != name {
			p.fail(fmt.Sprintf("%s.files[%d]", path, j), "%q is not a plain file name", name)
		}
	}
	return b
}

func (p *parser) facts(i int, f handsetFile, m model.Model) model.Facts {
	facts := model.Default(m)
	names := make([]string, 0, len(f.Facts))
	for name := range f.Facts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		x := f.Facts[name]
		next, err := facts.Override(name, x.Value, x.Measured, x.Grounds)
		if err != nil {
			p.fail(fmt.Sprintf("$.handsets[%d].facts.%s", i, name), "%v", err)
			continue
		}
		facts = next
	}
	return facts
}

// block derives the handset's place in the subnet from its MAC.
func (p *parser) block(at func(string) string, f handsetFile, h Handset, b Bench) int {
	blocks := 1 << (32 - b.Subnet.Bits() - 3)
	n := f.Block
	if n == 0 {
		sum := fnv.New32a()
		_, _ = sum.Write(h.Active())
		// Block 0 holds the network's own address, the last one its broadcast.
		n = 1 + int(sum.Sum32()%uint32(blocks-2)) //nolint:gosec // blocks is at least 32
	}
	if n < 1 || n > blocks-2 {
		p.fail(at("block"), "%d is not from 1 to %d, the blocks of eight addresses in %s", n, blocks-2, b.Subnet)
		return 1
	}
	for _, o := range b.Handsets {
		if o.Block == n {
			p.fail(at("block"), "handsets %q and %q would share their addresses: give one of them another block: number (1 to %d)", o.Name, h.Name, blocks-2)
		}
	}
	return n
}

// Package rig opens a lane: one handset with a network of its own. A lane is a
// wire, a user-space host on it, the services that a handset provisions from, a
// recorder that sees every frame, and the means to act on the handset. All of
// it starts and stops together, and the code is the same for a switch in memory
// and for a lab interface.
package rig

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
	"ip88rig/rig/bench"
	"ip88rig/rig/control"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/dnsd"
	"ip88rig/rig/fault"
	"ip88rig/rig/firmware"
	"ip88rig/rig/host"
	"ip88rig/rig/httpd"
	"ip88rig/rig/impair"
	"ip88rig/rig/pki"
	"ip88rig/rig/publish"
	"ip88rig/rig/report"
	"ip88rig/rig/sipd"
	"ip88rig/rig/sntpd"
	"ip88rig/rig/tftpd"
	"ip88rig/rig/virtual"
	"ip88rig/rig/virtual/air"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/vtime"
	"ip88rig/rig/wire"
)

// Config says what lane to open.
type Config struct {
	Bench   bench.Bench
	Handset bench.Handset
	Seed    int64
	// Authorities are those of the bench: see LoadAuthorities.
	Authorities Authorities
	// Defects are what is wrong with a simulated handset.
	Defects defect.Set
	// Operator does by hand what must be; nil where there is nobody. At a
	// simulated handset a script does all but switching its power.
	Operator control.Operator
	// Port is the rig's end of the wire and Phone the simulated handset's; nil
	// opens what the bench says.
	Port  wire.Port
	Phone wire.Port
	// ImageSize is the main file's of a firmware stand-in, in bytes; 0: 64 KiB.
	ImageSize int
	// Hooks change what the lane is made of.
	Hooks Hooks
}

// Authorities are what certificates on a bench are signed by.
type Authorities struct {
	A, B, C, P *pki.Authority
	// Keys are where those of the leaves come from.
	Keys pki.Keys
}

// LoadAuthorities reads the bench's authorities from its state folder and makes
// those that are missing; C is minted anew for each run.
func LoadAuthorities(dir string) (Authorities, error) { return loadAuthorities(dir, nil) }

// MemoryAuthorities is LoadAuthorities for a wire in memory: what its certificates
// protect goes nowhere, and each key is made once for all runs that keep their
// state in dir.
func MemoryAuthorities(dir string) (Authorities, error) {
	keys := pki.KeptKeys(dir)
	a, err := loadAuthorities(dir, keys)
	if err == nil {
		// Made before all lanes ask for it at once.
		_, err = keys(pki.RSA2048, pki.LeafKey)
	}
	return a, err
}

func loadAuthorities(dir string, keys pki.Keys) (Authorities, error) {
	a := Authorities{Keys: keys}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return a, fmt.Errorf("state folder: %w", err)
	}
	for name, to := range map[string]**pki.Authority{pki.A: &a.A, pki.B: &a.B, pki.P: &a.P} {
		got, err := pki.LoadOrCreate(dir, name, pki.Options{Seed: filepath.Base(dir)})
		if err != nil {
			return a, fmt.Errorf("state folder %s: %w", dir, err)
		}
		*to = got
	}
	c, err := pki.NewAuthority(pki.C, pki.Options{Seed: fmt.Sprint(time.Now().UnixNano()), Keys: keys})
	if err != nil {
		return a, fmt.Errorf("authority C: %w", err)
	}
	a.C = c
	return a, nil
}

// Offer is what DHCP leads a handset to.
type Offer struct {
	// TFTP sends options 66 and 150, SNTP option 42.
	TFTP, SNTP bool
	// URL goes out as option URLOption; 0 is 160, the guide's default.
	URL       string
	URLOption int
	// Lease is its duration; 0 is an hour.
	Lease time.Duration
	// TFTPName and TFTPServer are what options 66 and 150 say instead of the
	// rig's first address.
	TFTPName   string
	TFTPServer netip.Addr
	// Raw is sent as option URLOption in the place of a URL, whatever it holds.
	Raw *string
}

// String is the offer in words, without a password in the URL.
func (o Offer) String() string {
	var parts []string
	if o.TFTP {
		parts = append(parts, "TFTP server")
	}
	if o.SNTP {
		parts = append(parts, "SNTP server")
	}
	if o.URL != "" {
		text := "a URL"
		if u, err := url.Parse(o.URL); err == nil {
			text = u.Redacted()
		}
		parts = append(parts, fmt.Sprintf("option %d %s", o.urlOption(), text))
	}
	if o.Raw != nil {
		parts = append(parts, fmt.Sprintf("option %d %q", o.urlOption(), *o.Raw))
	}
	if o.TFTPName != "" {
		parts = append(parts, "option 66 "+o.TFTPName)
	}
	if o.TFTPServer.IsValid() {
		parts = append(parts, "option 150 "+o.TFTPServer.String())
	}
	if o.Lease > 0 {
		parts = append(parts, "lease "+o.Lease.String())
	}
	if len(parts) == 0 {
		return "an address alone"
	}
	return strings.Join(parts, ", ")
}

func (o Offer) urlOption() int {
	if o.URLOption == 0 {
		return 160
	}
	return o.URLOption
}

// Scheme is a way to ask for HTTP authentication.
type Scheme int

// The schemes of the guide.
const (
	NoAuth Scheme = iota
	Basic
	Digest
	DigestQOP
)

// String is the scheme in the guide's words.
func (s Scheme) String() string {
	switch s {
	case NoAuth:
		return "no authentication"
	case Basic:
		return "Basic"
	case Digest:
		return "Digest"
	case DigestQOP:
		return "Digest with qop"
	}
	return fmt.Sprintf("scheme %d", int(s))
}

// Lane is one handset with its network. Its methods are for one goroutine, the
// spec's; the services run on their own.
type Lane struct {
	Config
	Addrs    bench.Addresses
	Recorder *capture.Recorder
	Tree     *publish.Tree
	Faults   *fault.Plan
	Power    control.Power

	host  *host.Host
	port  wire.Port
	sw    *wire.SwitchPort
	dhcp  *dhcpd.Server
	https []*httpd.Server
	sip   *sipd.Server
	// late has the answers sent that services hold back.
	late    []func()
	serving map[string]faulty
	mint    *pki.Mint
	now     func() time.Time
	// instant: the lane is in virtual time.
	instant bool
	virtual *virtual.Handset
	// air is the network that a simulated WiFi module is in; nil without one.
	air    *air.Air
	phone  wire.Port
	public *tls.Certificate

	wait   func() error
	cancel context.CancelFunc
	// restore gives a handset without power its power back; supply knows whether
	// it is.
	restore func() error
	supply  *recordedPower

	// bad is what goes wrong on the wire, impaired the wire it goes wrong on.
	bad      *impair.Server
	impaired *wire.Impaired
	deeds    deeds
	// pulse is nil in virtual time.
	pulse *pulse

	// hands do what is asked for by hand: the operator's, or the script's.
	hands control.Operator

	mu       sync.Mutex
	died     []string
	cert     *tls.Certificate
	label    string
	auth     [2]httpd.Auth
	skew     time.Duration
	unsynced bool
	// registrar is the password by authentication name; empty: no challenge.
	registrar map[string]string

	folder  string
	between int
	lost    uint64
	quarrel []string
	text    string
	images  map[string]firmware.Version
	verbs   int
}

type faulty interface{ Can(e fault.Effect) error }

// Open brings a lane up. When it returns, every port is bound and serving.
func Open(ctx context.Context, cfg Config) (*Lane, error) {
	if cfg.ImageSize == 0 {
		cfg.ImageSize = 64 << 10
	}
	l := &Lane{
		Config: cfg, instant: vtime.Virtual(), Addrs: cfg.Bench.Addresses(cfg.Handset), Faults: &fault.Plan{}, now: time.Now,
		mint: pki.NewMint(fmt.Sprintf("%d/%s", cfg.Seed, cfg.Handset.Name), cfg.Authorities.Keys), serving: map[string]faulty{},
		images: map[string]firmware.Version{},
	}
	ctx, l.cancel = context.WithCancel(ctx)
	if err := l.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("lane %s: %w", cfg.Handset.Name, err), l.Close())
	}
	return l, nil
}

func (l *Lane) open(ctx context.Context) error {
	h := l.Handset
	macs := []net.HardwareAddr{h.MAC}
	if len(h.Module) > 0 {
		macs = append(macs, h.Module)
	}
	// A packet ring hands its frames over in blocks.
	settle := 100 * time.Millisecond
	if l.Bench.Wire.Memory {
		settle = 20 * time.Millisecond
	}
	names := make([]string, len(macs))
	for i, m := range macs {
		names[i] = m.String()
	}
	recording := wrap(l.Hooks.Recorder, capture.Options{
		MACs: names, ServerMACs: []string{l.Addrs.ServerMAC.String(), dhcpd.SecondServerMAC, dhcpd.ConflictMAC},
		Now: l.now, Settle: settle, Pace: settle, Instant: l.instant,
	})
	l.now = recording.Now
	l.Recorder = capture.New(recording)
	l.Tree = publish.New(l.Recorder.Record)
	l.bad = impair.New(impair.Config{Faults: l.Faults, Record: l.Recorder.Record, Now: l.now})
	l.Faults.Act(func(d fault.Deed, sentence string) { l.act(ctx, d, sentence) })
	if !l.instant {
		l.pulse = newPulse(settle/ticks, h.Patience.Settle)
	}
	if err := l.openWire(macs); err != nil {
		return err
	}
	if err := l.openPublicChain(); err != nil {
		return err
	}
	if err := l.preparePower(ctx); err != nil {
		return err
	}
	port := l.openHearing()
	if l.Bench.Wire.VLAN > 0 {
		port = wire.Tagged(port, l.Bench.Wire.VLAN, l.Bench.Wire.Priority)
	}
	l.impaired = wire.Impair(port, l.Recorder.Frame, l.bad.Judge)
	bits := l.Bench.Subnet.Bits()
	port = l.impaired
	if l.instant {
		port = wire.InOrder(port)
	}
	var err error
	// It ends by Close, after the services that stand on it: with ctx it would
	// take their sockets from them before they know that they are to end.
	l.host, err = host.New(context.WithoutCancel(ctx), host.Config{
		Port: port, MAC: l.Addrs.ServerMAC,
		Addrs: []netip.Prefix{netip.PrefixFrom(l.Addrs.Server, bits), netip.PrefixFrom(l.Addrs.Second, bits)},
		Seed:  l.chance("host"),
	})
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	l.wait = g.Wait
	if err := l.serve(gctx, g); err != nil {
		return err
	}
	if !l.instant {
		// Ends with ctx.
		g.Go(func() error { return l.tick(gctx, settle) })
	}
	if l.virtual != nil {
		// Ends with ctx.
		g.Go(func() error { return l.watch("simulated handset", l.virtual.Run(gctx)) })
	}
	l.Reset()
	return l.Offer(Offer{TFTP: true, SNTP: true})
}

func (l *Lane) openWire(macs []net.HardwareAddr) error {
	w := l.Bench.Wire
	switch {
	case l.Port != nil:
		l.port = l.Port
	case w.Memory:
		sw := wire.NewSwitch()
		if l.instant {
			sw = wire.NewTimedSwitch()
		}
		l.port = sw.Access("rig", 1)
		l.sw = sw.Access("handset", 1)
		l.sw.SetPower(false)
		l.phone = l.sw
		if l.instant {
			l.phone = wire.InOrder(l.sw)
		}
	default:
		p, err := wire.OpenPacket(w.Interface, wire.PacketOptions{MACs: append(slices.Clone(macs), l.Addrs.ServerMAC)})
		if err != nil {
			return err
		}
		l.port = p
		if l.Handset.Simulated {
			peer, err := wire.OpenPacket(w.Peer, wire.PacketOptions{MACs: macs})
			if err != nil {
				return err
			}
			l.phone = peer
		}
	}
	if l.Phone != nil {
		l.phone = l.Phone
	}
	return nil
}

func (l *Lane) seed(what string) uint64 {
	sum := fnv.New64a()
	_, _ = fmt.Fprintf(sum, "%d/%s/%s", l.Seed, l.Handset.Name, what)
	return sum.Sum64()
}

// chance is the seed of what is random in the lane: on a wire in memory its own,
// elsewhere 0, which stands for another one each time.
func (l *Lane) chance(what string) uint64 {
	if !l.Bench.Wire.Memory {
		return 0
	}
	return l.seed(what)
}

// texts makes nonces and ids as crypto/rand.Text does, by chance; nil where that
// is the one to take.
func (l *Lane) texts(what string) func() string {
	seed := l.chance(what)
	if seed == 0 {
		return nil
	}
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable on purpose
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], random.Uint64())
		binary.BigEndian.PutUint64(b[8:], random.Uint64())
		return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
	}
}

// serve binds every port, then starts everything.
func (l *Lane) serve(ctx context.Context, g *errgroup.Group) error {
	record := l.Recorder.Gather
	run := func(name string, s faulty, serve func(context.Context) error) {
		l.serving[name] = s
		// Ends with ctx.
		g.Go(func() error { return l.watch(name, serve(ctx)) })
	}
	dhcp, err := dhcpd.New(configured(l, dhcpd.Config{
		Port: l.host.Claim(isDHCP), ARP: l.host.Claim(l.isProbe), ServerMAC: l.Addrs.ServerMAC, ServerIP: l.Addrs.Server,
		Record: record, Faults: l.Faults, Now: l.now,
	}))
	if err != nil {
		return err
	}
	l.dhcp = dhcp
	any4 := netip.IPv4Unspecified()
	conn, err := l.host.ListenUDP(netip.AddrPortFrom(any4, 69))
	if err != nil {
		return err
	}
	tftp, err := tftpd.New(configured(l, tftpd.Config{
		Conn: conn, Lookup: l.Tree.Lookup, Timeout: l.timeout(), Record: record, Faults: l.Faults, Now: l.now,
		Transfer: l.anyPort,
		Elsewhere: func(port uint16) (net.PacketConn, error) {
			c, err := l.host.ListenUDP(netip.AddrPortFrom(l.Addrs.Second, port))
			if err != nil {
				return nil, err
			}
			return c, nil
		},
	}))
	if err != nil {
		return err
	}
	conn, err = l.host.ListenUDP(netip.AddrPortFrom(any4, 123))
	if err != nil {
		return err
	}
	sntp, err := sntpd.New(configured(l, sntpd.Config{Open: l.anyPort, Conn: conn, Clock: l.clock, Record: record, Faults: l.Faults, Now: l.now}))
	if err != nil {
		return err
	}
	conn, err = l.host.ListenUDP(netip.AddrPortFrom(any4, 53))
	if err != nil {
		return err
	}
	dns, err := dnsd.New(configured(l, dnsd.Config{Conn: conn, Names: l.names, Record: record, Faults: l.Faults, Now: l.now}))
	if err != nil {
		return err
	}
	l.late = []func(){sntp.Release, dns.Release}
	if err := l.openSIP(); err != nil {
		return err
	}
	type web struct {
		name string
		s    *httpd.Server
	}
	var webs []web
	for i, addr := range []netip.Addr{l.Addrs.Server, l.Addrs.Second} {
		for _, secure := range []bool{false, true} {
			s, err := l.web(i, addr, secure)
			if err != nil {
				return err
			}
			l.https = append(l.https, s)
			l.late = append(l.late, s.Release)
			webs = append(webs, web{fmt.Sprintf("httpd %s %t", addr, secure), s})
		}
	}
	run("dhcpd", dhcp, dhcp.Serve)
	run("tftpd", tftp, tftp.Serve)
	run("sntpd", sntp, sntp.Serve)
	run("dnsd", dns, dns.Serve)
	run("sipd", l.sip, l.sip.Serve)
	for _, w := range webs {
		run(w.name, w.s, w.s.Serve)
	}
	return nil
}

// timeout is how long the rig's TFTP server waits for an acknowledgement: a
// simulated handset's waits are divided, so the rig's are too.
func (l *Lane) timeout() time.Duration {
	if l.Handset.Simulated {
		return max(time.Duration(float64(2*time.Second)/l.Handset.Factor), 100*time.Millisecond)
	}
	return 2 * time.Second
}

func (l *Lane) web(i int, addr netip.Addr, secure bool) (*httpd.Server, error) {
	port := uint16(80)
	if secure {
		port = 443
	}
	ln, err := l.host.ListenTCP(netip.AddrPortFrom(addr, port))
	if err != nil {
		return nil, err
	}
	shown := func(c *tls.Certificate) *tls.Certificate {
		if l.instant && c != nil {
			return pki.Steady(c)
		}
		return c
	}
	cfg := httpd.Config{
		Listener: ln, Lookup: l.Tree.Lookup, Record: l.Recorder.Gather, Faults: l.Faults, Now: l.now,
		Text: l.texts(fmt.Sprintf("httpd %s %d", addr, port)), KeyLog: l.Recorder.KeyLog(), Linger: 200 * time.Millisecond,
		Auth: func(string) httpd.Auth {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.auth[i]
		},
	}
	if secure {
		cfg.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, string, error) {
			l.mu.Lock()
			c, label := l.cert, l.label
			l.mu.Unlock()
			return shown(c), label, nil
		}
		cfg.Other = func(label string) (*tls.Certificate, error) {
			c, err := l.other(label)
			return shown(c), err
		}
	}
	return httpd.New(configured(l, cfg))
}

// anyPort opens a fresh port of an address of the rig's.
func (l *Lane) anyPort(local netip.Addr) (net.PacketConn, error) {
	c, err := l.host.ListenUDP(netip.AddrPortFrom(local, 0))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// other is the certificate that a fault shows in the place of the one in force:
// by the name of its flaws.
func (l *Lane) other(label string) (*tls.Certificate, error) {
	for _, f := range pki.Flaws() {
		if f.String() == label {
			leaf, err := l.variant(f)
			if err != nil {
				return nil, err
			}
			return leaf.TLS(), nil
		}
	}
	return nil, fmt.Errorf("no certificate is called %q", label)
}

// isProbe picks ARP probes and announcements of addresses that are not the
// rig's own.
func (l *Lane) isProbe(f []byte) bool {
	if !dhcpd.IsARPProbe(f) && !dhcpd.IsARPAnnouncement(f) {
		return false
	}
	target, ok := dhcpd.ARPTarget(f)
	return ok && target != l.Addrs.Server && target != l.Addrs.Second
}

// isDHCP picks what clients send to a DHCP server: IPv4, UDP, port 67.
func isDHCP(f []byte) bool {
	return len(f) >= 38 && f[12] == 8 && f[13] == 0 && f[14]>>4 == 4 && f[23] == 17 &&
		len(f) >= 14+int(f[14]&15)*4+4 && f[14+int(f[14]&15)*4+2] == 0 && f[14+int(f[14]&15)*4+3] == 67
}

func (l *Lane) names(name string) []netip.Addr {
	switch name {
	case l.Addrs.Name:
		return []netip.Addr{l.Addrs.Server}
	case l.Addrs.SecondName:
		return []netip.Addr{l.Addrs.Second}
	case strings.ToLower(l.PublicName()):
		return []netip.Addr{l.Addrs.Server}
	}
	return nil
}

func (l *Lane) clock(_ netip.Addr, now time.Time) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Add(l.skew), !l.unsynced
}

// watch keeps the reason why a part of the rig ended while it should not.
func (l *Lane) watch(name string, err error) error {
	if err != nil {
		l.mu.Lock()
		l.died = append(l.died, fmt.Sprintf("%s died: %v", name, err))
		l.mu.Unlock()
	}
	return nil
}

// ticks is how often the watermark moves while a frame settles.
const ticks = 4

func (l *Lane) tick(ctx context.Context, every time.Duration) error {
	t := time.NewTicker(every / ticks)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			now := l.now()
			l.pulse.beat(now)
			l.Recorder.Tick(now)
		}
	}
}

// Close stops everything and waits for it. A handset is left with power: where
// the last command took it away, it is given back within 30 s, or the error
// says that it was not.
func (l *Lane) Close() error {
	var errs []error
	// What the deeds take to be undone, an access point's a minute, the power does
	// not wait for; a power cut among them has an end of its own.
	var back error
	if l.restore != nil {
		back = l.restore()
	}
	l.deeds.close()
	if l.restore != nil && back == nil {
		back = l.restore()
	}
	errs = append(errs, back)
	if l.sw != nil {
		l.sw.SetPower(true)
	}
	l.cancel()
	if l.wait != nil {
		errs = append(errs, l.wait())
	}
	if l.host != nil {
		errs = append(errs, l.host.Close())
	}
	for _, p := range []wire.Port{l.port, l.phone} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	if l.Recorder != nil {
		errs = append(errs, l.Recorder.Close())
	}
	return errors.Join(errs...)
}

// Offer changes what DHCP says from the next message on.
func (l *Lane) Offer(o Offer) error {
	a := l.Addrs
	lease := dhcpd.Lease{
		Addr: a.Prefix, Router: a.Server, DNS: []netip.Addr{a.Server}, Duration: time.Hour,
		Options: map[uint8][]byte{},
	}
	if o.Lease > 0 {
		lease.Duration = o.Lease
	}
	if o.SNTP {
		lease.NTP = []netip.Addr{a.Server}
	}
	if o.TFTP {
		name, server := a.Server.String(), a.Server
		if o.TFTPName != "" {
			name = o.TFTPName
		}
		if o.TFTPServer.IsValid() {
			server = o.TFTPServer
		}
		lease.Options[66] = dhcpd.Text(name)
		lease.Options[150] = dhcpd.Addrs(server)
	}
	if o.URL != "" {
		number := uint8(o.urlOption()) //nolint:gosec // scenarios name option numbers
		if o.URLOption != 0 {
			// A handset that is set to another number may still ask for 160 only.
			lease.Force = []uint8{number}
		}
		lease.Options[number] = dhcpd.Text(o.URL)
	}
	if o.Raw != nil {
		lease.Options[uint8(o.urlOption())] = []byte(*o.Raw) //nolint:gosec // scenarios name option numbers
		lease.Oversize = true                                // what has no room is left out otherwise, and nobody meets it
	}
	l.givenAs("offer", o.String(), offerFields(lease), o.String())
	lease = wrap(l.Hooks.Lease, lease)
	if err := l.dhcp.SetLease(l.Handset.Active().String(), lease); err != nil || len(l.Handset.Module) == 0 {
		return err
	}
	// The phone's own, once its module is gone, or with a cable in beside it.
	lease.Addr = a.Beside
	return l.dhcp.SetLease(l.Handset.MAC.String(), lease)
}

// Reset makes every service well behaved again. Link and power are back; faults
// stay in force.
func (l *Lane) Reset() {
	leaf, err := l.variant(pki.Good)
	if err != nil {
		l.Note(err.Error())
		return
	}
	l.givenAs("reset", "no authentication, the right time, a good certificate", l.resetFields(certificateFields(leaf.TLS(), pki.Good.String())))
	l.deeds.end()
	l.bad.SetPhase("")
	l.mu.Lock()
	l.auth = [2]httpd.Auth{}
	l.registrar = nil
	l.skew, l.unsynced = 0, false
	l.mu.Unlock()
	for _, s := range l.https {
		s.Forget()
	}
	l.present(leaf.TLS(), pki.Good.String())
}

// Present shows a certificate with the flaws in every handshake from now on.
func (l *Lane) Present(f pki.Flaw) error {
	leaf, err := l.variant(f)
	if err != nil {
		return err
	}
	l.givenAs("present", "certificate: "+f.String(), certificateFields(leaf.TLS(), f.String()), f)
	l.present(leaf.TLS(), f.String())
	return nil
}

// PresentVariant shows a certificate of the catalogue in every handshake from now
// on.
func (l *Lane) PresentVariant(name string) error {
	leaf, err := l.mint.Catalogued(l.server(), name)
	if err != nil {
		return fmt.Errorf("certificate %q: %w", name, err)
	}
	l.givenAs("present", "certificate: "+name, certificateFields(leaf.TLS(), name), name)
	l.present(leaf.TLS(), name)
	return nil
}

func (l *Lane) variant(f pki.Flaw) (*pki.Leaf, error) {
	leaf, err := l.mint.Variant(l.server(), f)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", f, err)
	}
	return leaf, nil
}

// server is what certificates are made for: valid by the time that is served.
func (l *Lane) server() pki.Server {
	return pki.Server{
		Names: []string{l.Addrs.Name, l.Addrs.SecondName}, IPs: []netip.Addr{l.Addrs.Server, l.Addrs.Second},
		At: l.now().Add(l.skew).Truncate(time.Hour), Known: l.Authorities.A, Unknown: l.Authorities.B,
	}
}

func (l *Lane) present(c *tls.Certificate, label string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cert, l.label = c, label
}

// PresentFrom shows a good certificate of an authority: pki.A, B, C or P.
func (l *Lane) PresentFrom(name string) error {
	if name == pki.P {
		c := l.PublicLeaf()
		if c == nil {
			return errors.New("no chain of a public authority on this bench")
		}
		l.givenAs("present", "certificate of a public authority", certificateFields(c, "of a public authority"), name)
		l.present(c, "of a public authority")
		return nil
	}
	leaf, err := l.leaf(l.authority(name))
	if err != nil {
		return err
	}
	l.givenAs("present", "certificate of authority "+name, certificateFields(leaf.TLS(), "of authority "+name), name)
	l.present(leaf.TLS(), "of authority "+name)
	return nil
}

func (l *Lane) leaf(a *pki.Authority) (*pki.Leaf, error) {
	now := l.now().Truncate(time.Hour)
	leaf, err := l.mint.Leaf(pki.Request{
		Authority: a, Names: []string{l.Addrs.Name, l.Addrs.SecondName}, IPs: []netip.Addr{l.Addrs.Server, l.Addrs.Second},
		NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(1, 0, 0),
	})
	if err != nil {
		return nil, fmt.Errorf("certificate of authority %s: %w", a.Name(), err)
	}
	return leaf, nil
}

func (l *Lane) authority(name string) *pki.Authority {
	switch name {
	case pki.A:
		return l.Authorities.A
	case pki.B:
		return l.Authorities.B
	case pki.C:
		return l.Authorities.C
	}
	return l.Authorities.P
}

// AuthorityPEM is an authority's certificate, as it is copied to a handset.
func (l *Lane) AuthorityPEM(name string) []byte { return l.authority(name).ExportPEM() }

// PublicLeaf is the bench's chain of a built-in authority; nil without one.
func (l *Lane) PublicLeaf() *tls.Certificate { return l.public }

// PublicName is the name that chain is for: the rig's own, unless the bench file
// gives a real chain with another one. It resolves to the rig on this wire only.
func (l *Lane) PublicName() string {
	if c := l.Bench.PublicChain; c != nil && c.Name != "" {
		return c.Name
	}
	return l.Addrs.Name
}

func (l *Lane) openPublicChain() error {
	c := l.Bench.PublicChain
	switch {
	case c == nil:
	case c.Embedded:
		leaf, err := l.leaf(l.Authorities.P)
		if err != nil {
			return err
		}
		l.public = leaf.TLS()
	default:
		pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
		if err != nil {
			return fmt.Errorf("public-authority: %w", err)
		}
		l.public = &pair
	}
	return nil
}

// Challenge asks for authentication at both servers from now on.
func (l *Lane) Challenge(s Scheme, user, password string) {
	l.givenAs("challenge", fmt.Sprintf("%s as %s", s, user), l.challengeFields(s, 0, 1), s, user, password)
	l.challenge(s, user, password, 0, 1)
}

// ChallengeFirstOnly asks for it at the first server and not at the second.
func (l *Lane) ChallengeFirstOnly(s Scheme, user, password string) {
	l.givenAs("challenge first only", fmt.Sprintf("%s as %s", s, user), l.challengeFields(s, 0), s, user, password)
	l.challenge(s, user, password, 0)
}

func (l *Lane) challenge(s Scheme, user, password string, servers ...int) {
	auth := httpd.Auth{Realm: "ip88rig", User: user, Password: func() string { return password }}
	switch s {
	case NoAuth:
		auth = httpd.Auth{}
	case Basic:
		auth.Scheme = httpd.Basic
	case Digest:
		auth.Scheme = httpd.Digest
	case DigestQOP:
		auth.Scheme, auth.QOP = httpd.Digest, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.auth = [2]httpd.Auth{}
	for _, i := range servers {
		l.auth[i] = auth
	}
}

// ChallengeSIP asks for digest authentication at every REGISTER from now on.
func (l *Lane) ChallengeSIP(user, password string) {
	l.givenAs("challenge SIP", "Digest as "+user, map[string]string{timeline.GivenRegistrar: "challenge"}, user, password)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.registrar = map[string]string{user: password}
}

// Inject puts a fault in force at the service that can do it; the error says
// that none can.
func (l *Lane) Inject(r fault.Rule) error {
	if impair.Kinds().Has(r.Effect()) {
		err := l.bad.Can(r.Effect())
		if deed, ok := r.Effect().(impair.Air); ok && err == nil {
			err = l.CanAir(deed.Does)
		}
		if err != nil {
			return fmt.Errorf("fault %q: %w", r, err)
		}
		l.Faults.Add(l.bad.Bind(r))
		return nil
	}
	var errs []error
	for name, s := range l.serving {
		err := s.Can(r.Effect())
		if err == nil {
			// Another one would meet the rule too, and not know what to do.
			service, _, _ := strings.Cut(name, " ")
			l.Faults.Add(r.In(service))
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("fault %q: %w", r, errors.Join(errs...))
}

// Verb writes a step of a scenario into the journal and returns the window that
// begins with it.
func (l *Lane) Verb(name string, number int, args any) *timeline.Window {
	l.verbs++
	l.Recorder.Record(timeline.Event{By: "scenario", Kind: timeline.Verb, Message: name, Number: number, SHA256: digest(name, number, args)})
	tl := l.Recorder.Timeline()
	for e := range tl.Log().Backward() {
		if e.Kind == timeline.Verb && e.Number == number {
			return tl.Since(e.Seq)
		}
	}
	return tl.Mark()
}

// given writes down what a scenario sets before it acts: text without secrets,
// and a digest of all the arguments.
func (l *Lane) given(name, text string, args ...any) {
	l.givenAs(name, text, nil, args...)
}

// digest is the SHA-256 of values as Go writes them, by which two runs of a
// scenario are told apart.
func digest(values ...any) string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%#v", values)))
}

// Note writes free text into the journal.
func (l *Lane) Note(text string) {
	l.Recorder.Record(timeline.Event{By: "rig", Kind: timeline.Note, Reason: text})
}

// Judged writes a judgement into the journal.
func (l *Lane) Judged(j report.Judgement) {
	l.Recorder.Record(timeline.Event{
		By: "scenario", Kind: timeline.Judgement, Message: j.Row, Reason: j.Reason, Number: j.Upto,
		Fields: map[string]string{
			"verdict": string(j.Verdict), "case": j.Case, "matcher": j.Matcher, "args": string(j.Args),
			"window": string(j.Window), "negated": fmt.Sprint(j.Negated), "watermark": j.Watermark.Format(time.RFC3339Nano),
			"measured": measured(j.Measured),
		},
	})
}

// measured writes values down; blank for a row that is judged.
func measured(values []report.Value) string {
	if values == nil {
		return ""
	}
	b, err := json.Marshal(values)
	if err != nil {
		return "" // cannot happen: they hold strings only
	}
	return string(b)
}

// OpenRecording starts the recording of a spec in a folder of its own.
func (l *Lane) OpenRecording(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, capture.CaptureFile)); err == nil {
		return fmt.Errorf("%s holds a recording already", dir)
	}
	l.folder = dir
	l.lost = l.dropped()
	l.pulse.forget()
	l.deeds.forget()
	if err := l.Recorder.Open(dir); err != nil {
		return err
	}
	l.tellTree()
	return nil
}

// CloseRecording ends the spec's recording; frames from now on go to a numbered
// folder below between, without a gap. What faults did to the bench is undone.
func (l *Lane) CloseRecording(between string) error {
	l.mend()
	l.text = timeline.Text(l.Recorder.Timeline().Log())
	err := os.WriteFile(filepath.Join(l.folder, "timeline.txt"), []byte(l.text), 0o644) //nolint:gosec // evidence is for everybody on the lab machine
	l.between++
	return errors.Join(err, l.Recorder.Open(filepath.Join(between, fmt.Sprintf("%03d", l.between))))
}

// LastText is timeline.txt of the recording that was closed last.
func (l *Lane) LastText() string { return l.text }

// RebootedBetween tells of a reboot since the last spec's recording was closed.
func (l *Lane) RebootedBetween() (string, bool) {
	for e := range l.Recorder.Timeline().Log().All() {
		if e.Kind == timeline.Rebooted {
			return e.Reason, true
		}
	}
	return "", false
}

// inFlight is for how long frames may be on a cable in virtual time, one behind the
// other: 100 of full length.
const inFlight = 20 * time.Millisecond

// Settle waits until everything that was on the wire is in the recording, and
// both witnesses of it agree or will not.
func (l *Lane) Settle(ctx context.Context) {
	from := l.now()
	tl := l.Recorder.Timeline()
	limit := time.After(2 * time.Second)
	l.quarrel = nil
	if l.instant {
		l.Recorder.Tick(from)
		// What was sent by now arrives by then.
		from = from.Add(inFlight)
	}
	for {
		changed := tl.Changed()
		if tl.Watermark().Before(from) {
			tl.WakeAt(from)
		} else if l.quarrel = timeline.Disagreements(tl.Log()); len(l.quarrel) == 0 {
			return
		} // else a service may still be about to write its entry
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-limit:
			return
		}
	}
}

func (l *Lane) dropped() uint64 {
	n := l.host.Dropped()
	if d, ok := l.port.(interface{ Dropped() uint64 }); ok {
		n += d.Dropped()
	}
	if s, ok := l.port.(interface {
		Stats() (received, dropped uint64)
	}); ok {
		_, lost := s.Stats()
		n += lost
	}
	return n
}

// Starved says for how long the rig did not get to run since the recording
// began; blank: it always did, as in virtual time. What a handset failed then may
// be the rig's fault. What it did right is not, and quiet is only counted while the
// rig ran.
func (l *Lane) Starved() string { return l.pulse.trouble() }

// Troubles lists what is wrong with the rig or the lab, so that nothing may be
// judged from the recording.
func (l *Lane) Troubles() []string {
	l.mu.Lock()
	out := slices.Clone(l.died)
	l.mu.Unlock()
	out = append(out, l.deeds.troubles()...)
	if err := l.Recorder.Err(); err != nil {
		out = append(out, "the recording is not whole: "+err.Error())
	}
	if n := l.dropped(); n > l.lost {
		out = append(out, fmt.Sprintf("%d frames were lost on the way in", n-l.lost))
	}
	if len(l.quarrel) > 0 {
		out = append(out, "the witnesses disagree: "+strings.Join(l.quarrel, "; "))
	}
	for e := range l.Recorder.Timeline().Log().All() {
		switch e.Kind {
		case timeline.FramesLost, timeline.ClockStepped, timeline.Stranger:
			out = append(out, strings.TrimSpace(string(e.Kind)+" "+e.SrcMAC+" "+e.Reason))
		case timeline.ServiceOddity:
			if what := e.Fields[timeline.FaultUndone]; what != "" {
				out = append(out, fmt.Sprintf("%s was told a fault, and could not: %s: %s", e.By, what, e.Reason))
			}
		default:
			if server, ok := l.strayed(*e); ok {
				out = append(out, fmt.Sprintf("the handset takes the offer of another DHCP server, %s (frame %d)", server, e.Frame))
			}
		}
	}
	return out
}

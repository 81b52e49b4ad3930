package scenarios_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"

	"ip88rig/capture"
	"ip88rig/capture/timeline"
	"ip88rig/rig"
	"ip88rig/rig/bench"
	"ip88rig/rig/control"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/dnsd"
	"ip88rig/rig/fault"
	"ip88rig/rig/host"
	"ip88rig/rig/httpd"
	"ip88rig/rig/pki"
	"ip88rig/rig/sipd"
	"ip88rig/rig/sntpd"
	"ip88rig/rig/tftpd"
	"ip88rig/rig/vtime"
	"ip88rig/rig/wire"
	"ip88rig/scenarios"
)

// sabotage is the name of a way to break the rig itself, as a defect is one to
// break a simulated handset: the proof that a broken rig never fails a handset. Each
// breaks the thing at its source; what is then noticed is up to the rig.
type sabotage string

const (
	// none breaks nothing.
	none sabotage = "none"
	// starved is the one that needs real time.
	starved sabotage = "starved"
)

// spoiler breaks the rig: it changes what a lane is opened with, before the suite runs.
type spoiler func(*rig.Config, *scenarios.Options)

// sabotages are all there are. The first ones are troubles, after which nothing may
// be judged: inconclusive.
func sabotages() map[sabotage]spoiler {
	return map[sabotage]spoiler{
		// The service's socket fails at its first request, dhcpd's at its second.
		"dhcpd-dies":  service(func(c *dhcpd.Config) { c.Port = &spoiltPort{Port: c.Port, dies: 2} }),
		"tftpd-dies":  service(func(c *tftpd.Config) { c.Conn = dying(c.Conn) }),
		"sntpd-dies":  service(func(c *sntpd.Config) { c.Conn = dying(c.Conn) }),
		"dnsd-dies":   service(func(c *dnsd.Config) { c.Conn = dying(c.Conn) }),
		"sipd-dies":   service(func(c *sipd.Config) { c.Conn = dying(c.Conn) }),
		"httpd-dies":  web(false, func(c *httpd.Config) { c.Listener = dyingListener{c.Listener} }),
		"httpsd-dies": web(true, func(c *httpd.Config) { c.Listener = dyingListener{c.Listener} }),

		// The service does its work, and its journal has no entry of it.
		"dhcpd-unsaid": service(func(c *dhcpd.Config) {
			c.Record = without(c.Record, timeline.DHCPOffer, timeline.DHCPAck, timeline.DHCPNak)
		}),
		"tftpd-unsaid":         service(func(c *tftpd.Config) { c.Record = without(c.Record, timeline.Served) }),
		"sntpd-unsaid":         service(func(c *sntpd.Config) { c.Record = without(c.Record, timeline.SNTPResponse) }),
		"dnsd-unsaid":          service(func(c *dnsd.Config) { c.Record = without(c.Record, timeline.DNSResponse) }),
		"sipd-unsaid":          service(func(c *sipd.Config) { c.Record = without(c.Record, timeline.SIPResponse) }),
		"httpd-request-unsaid": service(func(c *httpd.Config) { c.Record = without(c.Record, timeline.HTTPRequest) }),
		"httpd-handshake-unsaid": service(func(c *httpd.Config) {
			c.Record = without(c.Record, timeline.Handshake, timeline.TLSClientHello)
		}),

		// The journal says what the wire did not carry.
		"tftpd-bytes-invented":   service(func(c *tftpd.Config) { c.Record = moreBytes(c.Record) }),
		"httpd-bytes-invented":   service(func(c *httpd.Config) { c.Record = moreBytes(c.Record) }),
		"httpd-request-invented": web(false, func(c *httpd.Config) { c.Record = twice(c.Record, timeline.HTTPRequest, 0) }),
		"sntpd-answer-invented":  service(func(c *sntpd.Config) { c.Record = twice(c.Record, timeline.SNTPResponse, 1) }),

		// Every tenth frame never reaches the rig, and the port counts it.
		"frames-dropped": switched(func(_ *wire.Switch, p wire.Port) wire.Port { return &spoiltPort{Port: p, every: 10} }),
		// The capture cannot be written any more.
		"disk-full": diskFull,
		// Somebody sets the clock by 5 ms, each time that the handset gets its power.
		"clock-stepped": stepClock,
		// Another DHCP server answers on the wire.
		"strange-dhcp-server": switched(haunt),
		// Other work keeps the rig from the processor. There is none in virtual time,
		// which waits for the rig.
		starved: powered(starve),
		// No service is asked for the faults that are declared.
		"faults-unheard": ignoreFaults,
		// The handset loses its power between two specs, and nobody says so.
		"restarted-between": restartBetween,
		// The power port does not answer when the power is to be taken.
		"power-silent": func(c *rig.Config, _ *scenarios.Options) {
			c.Hooks.Power = func(p control.Power) control.Power { return silentPower{p} }
		},
		// Waits end long before their windows close.
		"impatient-wait": func(*rig.Config, *scenarios.Options) {
			BeforeEach(func() {
				EnforceDefaultTimeoutsWhenUsingContexts()
				SetDefaultEventuallyTimeout(time.Millisecond)
			})
		},
		// A call is never placed.
		"call-silent": service(func(c *sipd.Config) { c.Conn = mute(c.Conn, "INVITE") }),

		// Givens that are taken away: the spec is blocked by the given.
		"offer-withheld":  lease(withhold),
		"offer-wrong":     lease(misdirect),
		"offer-silent":    service(func(c *dhcpd.Config) { c.Port = wire.Filter(c.Port, func(wire.Frame) bool { return false }) }),
		"publish-missing": published(missing),
		"publish-old":     published((&attic{files: map[string][]byte{}}).lookup),
		"publish-silent":  service(func(c *tftpd.Config) { c.Conn = deaf(c.Conn, "") }),
		"present-other":   web(true, func(c *httpd.Config) { c.Certificate = presentOther(c, false) }),
		"present-lies":    web(true, func(c *httpd.Config) { c.Certificate = presentOther(c, true) }),
		"clock-silent":    service(func(c *sntpd.Config) { c.Conn = deaf(c.Conn, "") }),
		"clock-wrong": service(func(c *sntpd.Config) {
			right := c.Clock
			c.Clock = func(client netip.Addr, now time.Time) (time.Time, bool) { return right(client, now.Add(48*time.Hour)) }
		}),
		"names-silent": service(func(c *dnsd.Config) { c.Conn = deaf(c.Conn, "") }),
		"names-wrong": service(func(c *dnsd.Config) {
			right := c.Names
			c.Names = func(name string) []netip.Addr {
				if len(right(name)) == 0 {
					return right(name)
				}
				return []netip.Addr{nowhere()}
			}
		}),
		"challenge-none": service(func(c *httpd.Config) { c.Auth = func(string) httpd.Auth { return httpd.Auth{} } }),
		"challenge-unasked": service(func(c *httpd.Config) {
			right := c.Auth
			c.Auth = func(name string) httpd.Auth {
				if a := right(name); a.User != "" {
					return a
				}
				return httpd.Auth{Scheme: httpd.Basic, Realm: "ip88rig", User: "nobody", Password: func() string { return "nothing" }}
			}
		}),
		"registrar-silent": service(func(c *sipd.Config) { c.Conn = deaf(c.Conn, "REGISTER") }),
		"registrar-open":   service(func(c *sipd.Config) { c.Challenge = func() bool { return false } }),
		"notify-unsent":    service(func(c *sipd.Config) { c.Conn = mute(c.Conn, "NOTIFY") }),
		"hands-idle": func(c *rig.Config, _ *scenarios.Options) {
			c.Hooks.Hands = func(o control.Operator) control.Operator {
				looker, _ := o.(control.Looker)
				return idle{looker}
			}
		},
	}
}

var errSabotaged = errors.New("sabotaged")

// spoil breaks what a lane is about to be opened with. It refuses a handset that is
// no simulated one, and what virtual time knows nothing of.
func (s sabotage) spoil(c *rig.Config, o *scenarios.Options) error {
	if s == none {
		return nil
	}
	spoil, ok := sabotages()[s]
	switch {
	case !ok:
		return fmt.Errorf("no sabotage is called %q", s)
	case !c.Handset.Simulated:
		return fmt.Errorf("sabotage %s: only rigs of simulated handsets are broken on purpose", s)
	case s == starved && vtime.Virtual():
		return fmt.Errorf("sabotage %s: virtual time waits for the rig, which so cannot be starved", s)
	}
	spoil(c, o)
	return nil
}

func TestWhatIsNotBrokenOnPurpose(t *testing.T) {
	b, err := bench.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	simulated, phone := b.Handsets[0], b.Handsets[0]
	phone.Simulated = false
	refused := func(s sabotage, h bench.Handset, why string) {
		t.Helper()
		err := s.spoil(&rig.Config{Bench: b, Handset: h}, &scenarios.Options{})
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got %v, want it refused: %s", s, err, why)
		}
	}
	refused("disk-fill", simulated, `no sabotage is called "disk-fill"`)
	refused("disk-full", phone, "only rigs of simulated handsets")
	vtime.Test(t, func(*testing.T) { refused(starved, simulated, "virtual time waits for the rig") })
}

// How a lane is spoilt.

// service spoils the configuration of each service of a kind.
func service[C any](spoil func(*C)) spoiler {
	return func(c *rig.Config, _ *scenarios.Options) {
		before := c.Hooks.Service
		c.Hooks.Service = func(config any) {
			if before != nil {
				before(config)
			}
			if c, ok := config.(*C); ok {
				spoil(c)
			}
		}
	}
}

// web spoils the web servers that speak TLS, or those that do not.
func web(secure bool, spoil func(*httpd.Config)) spoiler {
	return service(func(c *httpd.Config) {
		if secure == (c.Certificate != nil) {
			spoil(c)
		}
	})
}

// lease spoils each lease.
func lease(spoil func(*dhcpd.Lease)) spoiler {
	return func(c *rig.Config, _ *scenarios.Options) {
		c.Hooks.Lease = func(l dhcpd.Lease) dhcpd.Lease {
			spoil(&l)
			return l
		}
	}
}

// all has several spoilers at work.
func all(spoilers ...spoiler) spoiler {
	return func(c *rig.Config, o *scenarios.Options) {
		for _, spoil := range spoilers {
			spoil(c, o)
		}
	}
}

// switched puts the lane on a switch of its own, behind the port that rigs makes of
// the one for the rig.
func switched(rigs func(*wire.Switch, wire.Port) wire.Port) spoiler {
	return func(c *rig.Config, _ *scenarios.Options) {
		sw := wire.NewTimedSwitch()
		c.Port = rigs(sw, sw.Access("rig", 1))
		c.Phone = wire.InOrder(sw.Access("handset", 1))
	}
}

// powered does something each time that the handset was given its power: in the
// middle of a spec.
func powered(do func()) spoiler {
	return func(c *rig.Config, _ *scenarios.Options) {
		c.Hooks.Power = func(p control.Power) control.Power { return meddledPower{p, do} }
	}
}

// meddledPower does more than it should.
type meddledPower struct {
	control.Power

	then func()
}

// On implements control.Power.
func (p meddledPower) On(ctx context.Context) error {
	err := p.Power.On(ctx)
	if err == nil {
		p.then()
	}
	return err
}

// silentPower never hears that the power is to be taken.
type silentPower struct{ control.Power }

// Off implements control.Power.
func (silentPower) Off(context.Context) error {
	return fmt.Errorf("the power port does not answer: %w", errSabotaged)
}

// Sockets and ports.

// dying is a socket that fails at its first datagram.
func dying(c net.PacketConn) net.PacketConn {
	return &spoiltConn{UDPConn: c.(*host.UDPConn), dies: true}
}

// deaf is a socket that does not hear what begins so.
func deaf(c net.PacketConn, to string) net.PacketConn {
	return &spoiltConn{UDPConn: c.(*host.UDPConn), deaf: func(b []byte) bool { return strings.HasPrefix(string(b), to) }}
}

// mute is a socket that does not send what begins so, and says that it did.
func mute(c net.PacketConn, of string) net.PacketConn {
	return &spoiltConn{UDPConn: c.(*host.UDPConn), mute: func(b []byte) bool { return strings.HasPrefix(string(b), of) }}
}

type spoiltConn struct {
	*host.UDPConn

	dies       bool
	deaf, mute func([]byte) bool
}

// ReadFromTo is the socket's, for one reader.
func (c *spoiltConn) ReadFromTo(b []byte) (n int, from, to netip.AddrPort, err error) {
	for {
		n, from, to, err = c.UDPConn.ReadFromTo(b)
		switch {
		case err != nil:
			return n, from, to, err
		case c.dies:
			return 0, from, to, errors.Join(errSabotaged, c.Close())
		case c.deaf == nil || !c.deaf(b[:n]):
			return n, from, to, nil
		}
	}
}

// WriteFromTo is the socket's.
func (c *spoiltConn) WriteFromTo(b []byte, from, to netip.AddrPort) (int, error) {
	if c.mute != nil && c.mute(b) {
		return len(b), nil
	}
	return c.UDPConn.WriteFromTo(b, from, to)
}

// dyingListener fails at its first connection.
type dyingListener struct{ net.Listener }

// Accept is the listener's.
func (l dyingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(errSabotaged, c.Close(), l.Close())
}

// spoiltPort is a port that fails at a frame, or loses frames and counts them.
type spoiltPort struct {
	wire.Port

	dies, every int
	heard       int
	lost        atomic.Uint64
}

// Receive is the port's, for one caller.
func (p *spoiltPort) Receive(ctx context.Context) (wire.Frame, error) {
	for {
		f, err := p.Port.Receive(ctx)
		if err != nil {
			return f, err
		}
		p.heard++
		if p.heard == p.dies {
			return f, errSabotaged
		}
		if p.every == 0 || p.heard%p.every != 0 {
			return f, nil
		}
		p.lost.Add(1)
	}
}

// Dropped is how many frames were lost.
func (p *spoiltPort) Dropped() uint64 { return p.lost.Load() }

// haunt has another DHCP server answer whatever handset the rig's port hears.
func haunt(sw *wire.Switch, rigs wire.Port) wire.Port {
	stranger := sw.Access("stranger", 1)
	return wire.Filter(rigs, func(f wire.Frame) bool {
		packet := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.NoCopy)
		if asked, ok := packet.Layer(layers.LayerTypeDHCPv4).(*layers.DHCPv4); ok && asked.Operation == layers.DHCPOpRequest {
			_ = stranger.Send(wire.Frame{Data: strangeOffer(asked)})
		}
		return true
	})
}

// strangeOffer is the OFFER of a server that nobody knows, broadcast.
func strangeOffer(asked *layers.DHCPv4) []byte {
	server := net.IP{203, 0, 113, 1}
	ethernet := &layers.Ethernet{
		SrcMAC: net.HardwareAddr{0x00, 0x00, 0x5e, 0x00, 0x53, 0xee}, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeIPv4,
	}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: server, DstIP: net.IPv4bcast}
	udp := &layers.UDP{SrcPort: 67, DstPort: 68}
	offer := &layers.DHCPv4{
		Operation: layers.DHCPOpReply, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: asked.Xid,
		YourClientIP: net.IP{203, 0, 113, 7}, ClientHWAddr: asked.ClientHWAddr,
		Options: layers.DHCPOptions{
			layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(layers.DHCPMsgTypeOffer)}),
			layers.NewDHCPOption(layers.DHCPOptServerID, server),
			layers.NewDHCPOption(layers.DHCPOptLeaseTime, []byte{0, 0, 14, 16}),
			layers.NewDHCPOption(layers.DHCPOptEnd, nil),
		},
	}
	buf := gopacket.NewSerializeBuffer()
	if err := errors.Join(udp.SetNetworkLayerForChecksum(ip),
		gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ethernet, ip, udp, offer)); err != nil {
		panic(err) // these layers always fit
	}
	return buf.Bytes()
}

// A journal that is not honest.

type recording func(timeline.Event)

// without is a journal that lacks entries of some kinds.
func without(record recording, kinds ...timeline.Kind) recording {
	return func(e timeline.Event) {
		if !slices.Contains(kinds, e.Kind) {
			record(e)
		}
	}
}

// moreBytes is a journal that makes files and connections larger than they were.
func moreBytes(record recording) recording {
	return func(e timeline.Event) {
		switch {
		case e.Kind == timeline.Served && e.Complete:
			e.Bytes++
		case e.Kind == timeline.ConnClosed && e.Transport == timeline.HTTPS:
			e.Fields = maps.Clone(e.Fields)
			e.Fields["bytes.out"] += "0"
		}
		record(e)
	}
}

// twice is a journal that has the entries of a kind twice; where flip is 1, the
// second one is of a flow that is not there.
func twice(record recording, kind timeline.Kind, flip uint16) recording {
	return func(e timeline.Event) {
		record(e)
		if e.Kind == kind {
			e.Src = netip.AddrPortFrom(e.Src.Addr(), e.Src.Port()^flip)
			record(e)
		}
	}
}

// diskFull takes the file of each capture away when TFTP's first file is asked for.
func diskFull(c *rig.Config, o *scenarios.Options) {
	var mu sync.Mutex
	var file *os.File
	c.Hooks.Recorder = func(o capture.Options) capture.Options {
		o.Create = func(path string) (*os.File, error) {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			mu.Lock()
			defer mu.Unlock()
			file = f
			return f, err
		}
		return o
	}
	service(func(c *tftpd.Config) {
		find := c.Lookup
		c.Lookup = func(name string, from netip.AddrPort) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			_ = file.Close() // the second time it is closed already
			return find(name, from)
		}
	})(c, o)
}

// stepClock sets the wall clock back and forth, against the clock that nobody sets.
func stepClock(c *rig.Config, o *scenarios.Options) {
	var stepped atomic.Bool
	c.Hooks.Recorder = func(o capture.Options) capture.Options {
		start := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(start) }
		o.Now = func() time.Time {
			if stepped.Load() {
				return time.Now().Add(5 * time.Millisecond)
			}
			return time.Now()
		}
		return o
	}
	powered(func() { stepped.Store(!stepped.Load()) })(c, o)
}

// starve keeps one processor busy with more than the rig, for a while.
func starve() {
	const others, long = 100, 1500 * time.Millisecond
	was := runtime.GOMAXPROCS(1)
	until := time.Now().Add(long)
	var spinning sync.WaitGroup
	for range others {
		// Ends after long.
		spinning.Go(func() {
			for time.Now().Before(until) {
				for range 1 << 16 {
				}
			}
		})
	}
	// Ends with the spinners.
	go func() {
		spinning.Wait()
		runtime.GOMAXPROCS(was)
	}()
}

// ignoreFaults gives each service a plan of its own, in which nothing ever is.
func ignoreFaults(c *rig.Config, o *scenarios.Options) {
	nothing := &fault.Plan{}
	all(
		service(func(c *dhcpd.Config) { c.Faults = nothing }),
		service(func(c *tftpd.Config) { c.Faults = nothing }),
		service(func(c *sntpd.Config) { c.Faults = nothing }),
		service(func(c *dnsd.Config) { c.Faults = nothing }),
		service(func(c *sipd.Config) { c.Faults = nothing }),
		service(func(c *httpd.Config) { c.Faults = nothing }),
	)(c, o)
}

// restartBetween cuts the power after each spec, when the recording of what lies
// between it and the next one has begun, and waits until that was seen.
func restartBetween(c *rig.Config, o *scenarios.Options) {
	var supply control.Power
	c.Hooks.Power = func(p control.Power) control.Power {
		supply = p // the journal hears of what goes through the lane's alone
		return p
	}
	AfterEach(func(ctx SpecContext) {
		if CurrentSpecReport().State == types.SpecStateSkipped {
			return
		}
		Expect(supply.Off(ctx)).To(Succeed())
		Expect(supply.On(ctx)).To(Succeed())
		tl := o.Lane.Recorder.Timeline()
		for limit := time.After(c.Handset.Patience.Boot); ; {
			changed := tl.Changed()
			if _, seen := o.Lane.RebootedBetween(); seen {
				return
			}
			select {
			case <-changed:
			case <-limit:
				return
			}
		}
	})
}

// Givens.

// nowhere is an address at which nobody is.
func nowhere() netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, 9}) }

// withhold offers an address alone.
func withhold(l *dhcpd.Lease) { l.Options, l.NTP, l.Force = map[uint8][]byte{}, nil, nil }

// misdirect offers servers at which nobody is.
func misdirect(l *dhcpd.Lease) {
	for n := range l.Options {
		l.Options[n] = dhcpd.Text("tftp.invalid")
		if n == 150 {
			l.Options[n] = dhcpd.Addrs(nowhere())
		}
	}
}

type lookup func(name string, from netip.AddrPort) ([]byte, error)

// published spoils what files are found, over TFTP and over HTTP.
func published(spoil func(lookup) lookup) spoiler {
	return all(
		service(func(c *tftpd.Config) { c.Lookup = spoil(c.Lookup) }),
		service(func(c *httpd.Config) { c.Lookup = spoil(c.Lookup) }),
	)
}

// missing finds nothing.
func missing(lookup) lookup {
	return func(name string, _ netip.AddrPort) ([]byte, error) {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
}

// attic keeps what each file was when it was first asked for.
type attic struct {
	mu    sync.Mutex
	files map[string][]byte
}

// lookup finds what was found first.
func (a *attic) lookup(find lookup) lookup {
	return func(name string, from netip.AddrPort) ([]byte, error) {
		content, err := find(name, from)
		a.mu.Lock()
		defer a.mu.Unlock()
		key := strings.ToLower(name)
		if was, ok := a.files[key]; ok || err != nil {
			return was, err
		}
		a.files[key] = content
		return content, nil
	}
}

// presentOther shows another certificate than is told to; lying, the journal calls
// it what it should be.
func presentOther(c *httpd.Config, lies bool) func(*tls.ClientHelloInfo) (*tls.Certificate, string, error) {
	told, other := c.Certificate, c.Other
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, string, error) {
		_, label, err := told(hello)
		if err != nil {
			return nil, label, err
		}
		flaw := pki.Good
		if label == pki.Good.String() {
			flaw = pki.Expired
		}
		shown, err := other(flaw.String())
		if !lies {
			label = flaw.String()
		}
		return shown, label, err
	}
}

// idle says that it is done and does nothing. Asked what the handset shows, it
// tells the truth.
type idle struct{ eyes control.Looker }

// Do implements control.Operator.
func (idle) Do(context.Context, control.Request) error { return nil }

// Look implements control.Looker.
func (i idle) Look(ctx context.Context, r control.Request) error {
	if i.eyes == nil {
		return nil
	}
	return i.eyes.Look(ctx, r)
}

package virtual

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"ip88rig/rig/host"
	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/dhcpc"
	"ip88rig/rig/virtual/dnsc"
	"ip88rig/rig/virtual/flash"
	"ip88rig/rig/virtual/sntpc"
)

// DHCP options that the manuals of the line name (8002, 68).
const (
	optSNTP       = 42
	optTFTPName   = 66
	optTFTPServer = 150
	optURL        = 160 // by default (guide F-2)
)

// network is the handset's TCP/IP from the first lease to the end of a boot.
type network struct {
	h    *Handset
	b    *boot
	host *host.Host
	dhcp dhcpc.Config // its Port is that of the claim once host stands

	mu     sync.Mutex
	lease  dhcpc.Lease
	static bool
	offset time.Duration // of the real time
	timed  bool          // offset is known
	asks   int           // how often the time was asked for
	told   int           // the latest ask that was answered
	asked  time.Time     // when it was last asked for, zero for never
}

// connect gets an address, however long that takes, and starts the host, which
// lives as long as power does.
func (b *boot) connect(ctx, power context.Context) (*network, error) {
	n := &network{h: b.h, b: b}
	n.believed()
	n.dhcp = dhcpc.Config{
		Port: b.h.cord, MAC: b.h.MAC(),
		VendorClass:  b.h.expand(model.DHCPVendorClass, b.version),
		HostName:     b.h.expand(model.DHCPHostName, b.version),
		RequestList:  b.h.requestList(),
		Timeout:      b.h.retry(model.DHCPTimeout),
		Tries:        b.h.cfg.Facts.Int(model.DHCPTries),
		ProbeTime:    b.h.wait(model.ARPProbeTime),
		DefaultLease: b.h.cfg.Facts.Duration(model.DHCPDefaultLease),
		Again:        b.link.again,
		Defects:      b.h.cfg.Defects,
		Seed:         b.h.seed(1),
	}
	lease, err := n.address(ctx)
	if err != nil {
		return nil, err
	}
	n.lease = lease
	n.host, err = host.New(power, host.Config{
		Port: b.h.cord, MAC: b.h.MAC(), Addrs: []netip.Prefix{lease.Addr}, Gateway: gateway(lease), Seed: b.h.seed(2),
	})
	if err != nil {
		return nil, fmt.Errorf("virtual: handset %s: %w", b.h.MAC(), err)
	}
	return n, nil
}

// requestList is option 55, with the number of the HTTPS option as it is set.
func (h *Handset) requestList() []uint8 {
	number := h.settings().optionNumber()
	var out []uint8
	for _, word := range h.cfg.Facts.List(model.DHCPRequestList) {
		n, err := strconv.ParseUint(word, 10, 8)
		if err != nil {
			continue
		}
		if n == optURL {
			n = uint64(number)
		}
		out = append(out, uint8(n))
	}
	return out
}

// address is the static one, or one by DHCP.
func (n *network) address(ctx context.Context) (dhcpc.Lease, error) {
	set := n.h.settings()
	if lease, ok := set.static(); ok {
		n.static = true
		n.h.log.Info("static address", "addr", lease.Addr)
		return lease, nil
	}
	var previous *dhcpc.Lease
	if s := n.h.flash.Read(); s.Lease != nil {
		previous = &dhcpc.Lease{Addr: s.Lease.Addr, Server: s.Lease.Server, Acquired: s.Lease.Acquired, Ends: s.Lease.Ends}
	}
	for round := uint64(0); ; round++ {
		cfg := n.dhcp
		if cfg.Seed != 0 {
			cfg.Seed += round << 32
		}
		lease, err := n.acquire(ctx, cfg, previous)
		if err == nil {
			n.keep(lease)
			return lease, nil
		}
		if ctx.Err() != nil || !errors.Is(err, dhcpc.ErrNoServer) && !errors.Is(err, errLinkBack) {
			return dhcpc.Lease{}, err
		}
		n.h.log.Warn("no address, starting over", "error", err)
	}
}

// errLinkBack ends a search for an address that the link has come back in: what
// was asked meanwhile went nowhere.
var errLinkBack = errors.New("link is back")

// acquire is one search for an address. It is broken off when the link has been
// lost and is back.
func (n *network) acquire(ctx context.Context, cfg dhcpc.Config, previous *dhcpc.Lease) (dhcpc.Lease, error) {
	_, _, change := n.b.link.state()
	own, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() { // ends when own does
		defer close(watched)
		for own.Err() == nil {
			select {
			case <-change:
			case <-own.Done():
			}
			var up bool
			if up, _, change = n.b.link.state(); up { // and it has changed
				cancel(errLinkBack)
			}
		}
	}()
	lease, err := dhcpc.Acquire(own, cfg, previous)
	if err != nil && own.Err() != nil {
		err = context.Cause(own)
	}
	cancel(nil)
	<-watched
	return lease, err
}

// keep notes the lease for INIT-REBOOT.
func (n *network) keep(lease dhcpc.Lease) {
	n.h.log.Info("address", "addr", lease.Addr, "gateway", lease.Gateway, "from", lease.Server)
	n.h.store(func(s *flash.State) {
		s.Lease = &flash.Lease{Addr: lease.Addr, Server: lease.Server, Acquired: lease.Acquired, Ends: lease.Ends}
	})
}

// gateway leaves out what is not on the lease's own network.
func gateway(l dhcpc.Lease) netip.Addr {
	if l.Gateway.Is4() && !l.Gateway.IsUnspecified() && l.Addr.Contains(l.Gateway) {
		return l.Gateway
	}
	return netip.Addr{}
}

// maintain keeps the lease, and gets a new one when it is lost. moved is called
// after the address has changed.
func (n *network) maintain(ctx context.Context, moved func()) error {
	if n.static {
		return nil
	}
	for {
		cfg := n.dhcp
		cfg.Port = n.host.Claim(dhcpFrame)
		err := dhcpc.Maintain(ctx, cfg, n.current(), n.renewed)
		err = errors.Join(err, cfg.Port.Close())
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to stop
		}
		if !errors.Is(err, dhcpc.ErrLeaseEnded) && !errors.Is(err, dhcpc.ErrNak) {
			return fmt.Errorf("virtual: handset %s: %w", n.h.MAC(), err)
		}
		n.h.log.Warn("lease lost", "error", err)
		if errors.Is(err, dhcpc.ErrLeaseEnded) && n.h.cfg.Defects.Has(defect.LeaseEndReboots) {
			return &reboot{"end of the lease (defect)"}
		}
		if err := n.replace(ctx); err != nil {
			return quiet(ctx, err)
		}
		moved()
	}
}

// replace is INIT again, with the host up but without an address.
func (n *network) replace(ctx context.Context) error {
	old := n.current().Addr.Addr()
	n.h.store(func(s *flash.State) { s.Lease = nil })
	if err := n.host.RemoveAddr(old); err != nil {
		return err
	}
	raw := n.dhcp.Port
	n.dhcp.Port = n.host.Claim(func(f []byte) bool { return dhcpFrame(f) || etherType(f) == 0x0806 })
	lease, err := n.address(ctx)
	err = errors.Join(err, n.dhcp.Port.Close())
	n.dhcp.Port = raw
	if err != nil {
		return err
	}
	if err := n.host.AddAddr(lease.Addr); err != nil {
		return err
	}
	n.mu.Lock()
	n.lease = lease
	n.mu.Unlock()
	return n.host.SetGateway(gateway(lease))
}

func (n *network) renewed(lease dhcpc.Lease) {
	n.mu.Lock()
	n.lease = lease
	n.mu.Unlock()
	n.keep(lease)
	if err := n.host.SetGateway(gateway(lease)); err != nil {
		n.h.log.Warn("gateway", "error", err)
	}
}

func (n *network) current() dhcpc.Lease {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lease
}

func etherType(f []byte) uint16 {
	if len(f) < 14 {
		return 0
	}
	return binary.BigEndian.Uint16(f[12:])
}

// dhcpFrame tells frames to the DHCP client.
func dhcpFrame(f []byte) bool {
	const head, udp, client = 14, 17, 68
	if etherType(f) != 0x0800 || len(f) < head+20 || f[head+9] != udp {
		return false
	}
	port := head + int(f[head]&0x0f)*4 + 2
	return len(f) >= port+2 && binary.BigEndian.Uint16(f[port:]) == client
}

// listen opens a UDP socket for one exchange.
func (n *network) listen(context.Context) (net.PacketConn, error) {
	return n.host.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
}

// listenTFTP is listen, noting the port for the defect that needs to know.
func (n *network) listenTFTP(context.Context) (net.PacketConn, error) {
	c, err := n.host.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	if err != nil {
		return nil, err
	}
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok && n.h.cord.sender != nil {
		n.h.cord.transfer(a.AddrPort().Port())
	}
	return c, nil
}

func (n *network) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return n.host.DialTCP(ctx, netip.AddrPort{}, to)
}

// resolve asks the DNS servers of DHCP, then the stored ones.
func (n *network) resolve(ctx context.Context, name string) (netip.Addr, error) {
	servers := slices.Clone(n.current().DNS)
	set := n.h.settings()
	for _, f := range []string{dns1, dns2} {
		if a, err := netip.ParseAddr(set.text(f)); err == nil && !a.IsUnspecified() && !slices.Contains(servers, a) {
			servers = append(servers, a)
		}
	}
	for {
		// Nothing says how long a handset waits for DNS: as long as for SNTP (assumed).
		addr, err := dnsc.Lookup(ctx, dnsc.Config{
			Listen: n.listen, Servers: servers, Timeout: n.h.retry(model.SNTPTimeout), Seed: n.h.seed(3),
		}, name)
		if !errors.Is(err, dnsc.ErrTimeout) || !n.h.cfg.Defects.Has(defect.UnresolvedNameHangs) {
			return addr, err
		}
		if err := n.h.pause(ctx, n.h.retry(model.SNTPTimeout)); err != nil {
			return netip.Addr{}, err
		}
	}
}

// askTime sets the clock by the server of option 42, else by the stored one
// (assumed order). Without an answer the clock stays as it is, not known after a
// boot; one that comes later is used then. It returns false, for a defect, when
// there is to be no cycle.
func (n *network) askTime(ctx context.Context) bool {
	if n.h.cfg.Defects.Has(defect.AsksTimeLate) {
		return true
	}
	return n.askTimeNow(ctx)
}

func (n *network) askTimeNow(ctx context.Context) bool {
	servers, known := n.timeServers(ctx)
	for _, a := range servers {
		if n.askTimeOf(ctx, a) || ctx.Err() != nil {
			break
		}
	}
	_, timed := n.now()
	if !timed && known && n.h.cfg.Defects.Has(defect.NoTimeNoCycle) {
		<-ctx.Done()
		return false
	}
	return true
}

// timeServers are at most two; known is true also when the only one has a name
// without an address.
func (n *network) timeServers(ctx context.Context) (servers []netip.Addr, known bool) {
	for _, a := range n.current().Addrs(optSNTP) {
		if !a.IsUnspecified() {
			servers = append(servers, a)
		}
	}
	if name := n.h.settings().text(sntpServer); len(servers) == 0 && name != "" {
		a, err := n.resolve(ctx, name)
		if err != nil {
			n.h.log.Warn("time server", "name", name, "error", err)
			return nil, true
		}
		servers = append(servers, a)
	}
	return servers[:min(len(servers), 2)], len(servers) > 0
}

// askTimeOf waits for one server's answer until it gives up; the task goes on
// listening then, as long as the facts say.
func (n *network) askTimeOf(ctx context.Context, server netip.Addr) (told bool) {
	n.mu.Lock()
	n.asks++
	number := n.asks
	n.asked = time.Now()
	n.mu.Unlock()
	timeout, tries := n.h.sntpPatience()
	late := n.h.wait(model.SNTPLateAnswer)
	asked := time.Now()
	over := make(chan bool, 2)
	n.b.task(func() { // ends with an answer, with late, or with the boot
		answer, err := sntpc.Ask(ctx, sntpc.Config{
			Listen: n.listen, Server: netip.AddrPortFrom(server, 0), Timeout: timeout, Tries: tries, Late: late,
			Defects: n.h.cfg.Defects,
			GaveUp: func(err error) {
				n.h.log.Warn("no time yet", "error", err)
				over <- false
			},
		})
		switch {
		case err != nil:
			n.h.log.Warn("no time", "error", err)
		case n.h.tooLate(time.Since(asked)):
			n.h.log.Warn("no time: told too late")
		default:
			n.setClock(number, server, answer)
		}
		over <- err == nil
	})
	return <-over // in time: Ask ends with ctx
}

// markBelieved holds the time of an unsynchronised server, as an offset of the
// real one (believes-unsynchronised).
const markBelieved = "believed"

// believed has the clock go by that time.
func (n *network) believed() {
	if !n.h.cfg.Defects.Has(defect.BelievesUnsynchronised) {
		return
	}
	s := n.h.flash.Read()
	if offset, err := time.ParseDuration(s.Marks[markBelieved]); err == nil {
		n.offset, n.timed = offset, true
	}
}

// setClock takes an answer, unless one to a later question has come before.
func (n *network) setClock(number int, from netip.Addr, answer sntpc.Answer) {
	defer n.b.nudge()
	if answer.Unsynchronised {
		n.h.store(func(s *flash.State) {
			if s.Marks[markBelieved] == "" {
				s.Marks[markBelieved] = answer.Offset.String()
			}
		})
	}
	offset := n.h.clockOffset(answer.Offset)
	n.mu.Lock()
	defer n.mu.Unlock()
	if number < n.told {
		return
	}
	n.offset, n.timed, n.told = offset, true, number
	n.believed()
	n.h.log.Info("time", "from", from, "now", time.Now().Add(n.offset).UTC().Format(time.RFC3339))
}

// lastAsked tells when a server was last asked for the time, zero for never.
func (n *network) lastAsked() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// askAgain asks for the time while other things go on.
func (n *network) askAgain(ctx context.Context) {
	n.mu.Lock()
	n.asked = time.Now()
	n.mu.Unlock()
	n.b.task(func() { n.askTimeNow(ctx) }) // ends as askTimeNow does
}

// Fields of the clock (68), as SECTION/name.
const (
	smartTime    = "PROVISION/smartup_time"
	timeInterval = "NETTIME/interval"
	timeZone     = "NETTIME/timezone"
)

// optTimeOffset is in seconds from GMT (8002).
const optTimeOffset = 2

// zone is that of DHCP option 2, else of the field; summer time is not
// simulated.
func (n *network) zone(set settings) *time.Location {
	if b := n.current().Options[optTimeOffset]; len(b) == 4 {
		return time.FixedZone("", int(int32(binary.BigEndian.Uint32(b)))) //nolint:gosec // it is signed
	}
	return time.FixedZone("", zoneMinutes(set.number(timeZone))*60)
}

// zoneMinutes is how far a code of the field timezone is ahead of GMT (68; table
// 2.5 of the phone facts).
func zoneMinutes(code int) int {
	hours := map[int]int{60: -12, 61: -11, 1: -10, 62: -9, 4: -7, 63: -2, 59: 1, 64: 5, 65: 6, 51: 8, 55: 10, 67: 11, 58: 13}
	halves := map[int]int{15: -210, 44: 210, 47: 270, 48: 330, 66: 390, 54: 570}
	if m, ok := halves[code]; ok {
		return m
	}
	if h, ok := hours[code]; ok {
		return h * 60
	}
	for _, r := range [...]struct{ from, to, hours int }{
		{2, 3, -8},
		{5, 7, -6},
		{8, 11, -5},
		{12, 14, -4},
		{16, 18, -3},
		{19, 20, -1},
		{21, 23, 0},
		{24, 34, 1},
		{35, 39, 2},
		{40, 43, 3},
		{45, 46, 4},
		{49, 50, 7},
		{52, 53, 9},
		{56, 57, 12},
	} {
		if code >= r.from && code <= r.to {
			return r.hours * 60
		}
	}
	return 0
}

// now tells the time, and whether a server has told it. The handset has no
// battery: every boot begins without (assumed).
func (n *network) now() (time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Now().Add(n.offset), n.timed
}

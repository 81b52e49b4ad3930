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
	host *host.Host
	dhcp dhcpc.Config // its Port is that of the claim once host stands

	mu     sync.Mutex
	lease  dhcpc.Lease
	static bool
	offset time.Duration // of the real time
	timed  bool          // offset is known
}

// connect gets an address, however long that takes, and starts the host, which
// lives as long as power does.
func (b *boot) connect(ctx, power context.Context) (*network, error) {
	n := &network{h: b.h}
	n.dhcp = dhcpc.Config{
		Port: b.h.cord, MAC: b.h.MAC(),
		VendorClass: b.h.expand(model.DHCPVendorClass, b.version),
		HostName:    b.h.expand(model.DHCPHostName, b.version),
		RequestList: b.h.requestList(),
		Timeout:     b.h.retry(model.DHCPTimeout),
		Tries:       b.h.cfg.Facts.Int(model.DHCPTries),
		ProbeTime:   b.h.wait(model.ARPProbeTime),
		Seed:        b.h.seed(1),
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
		lease, err := dhcpc.Acquire(ctx, cfg, previous)
		if err == nil {
			n.keep(lease)
			return lease, nil
		}
		if ctx.Err() != nil || !errors.Is(err, dhcpc.ErrNoServer) {
			return dhcpc.Lease{}, err
		}
		n.h.log.Warn("no address, starting over", "error", err)
	}
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
	// Nothing says how long a handset waits for DNS: as long as for SNTP (assumed).
	return dnsc.Lookup(ctx, dnsc.Config{
		Listen: n.listen, Servers: servers, Timeout: n.h.retry(model.SNTPTimeout), Seed: n.h.seed(3),
	}, name)
}

// askTime sets the clock by the server of option 42, else by the stored one
// (assumed order). Without an answer the clock stays as it is: not known after
// a boot.
func (n *network) askTime(ctx context.Context) {
	var servers []netip.Addr
	for _, a := range n.current().Addrs(optSNTP) {
		if !a.IsUnspecified() {
			servers = append(servers, a)
		}
	}
	if name := n.h.settings().text(sntpServer); len(servers) == 0 && name != "" {
		a, err := n.resolve(ctx, name)
		if err != nil {
			n.h.log.Warn("time server", "name", name, "error", err)
			return
		}
		servers = append(servers, a)
	}
	timeout, tries := n.h.sntpPatience()
	for _, a := range servers[:min(len(servers), 2)] {
		offset, err := sntpc.Query(ctx, n.listen, netip.AddrPortFrom(a, 0), timeout, tries)
		if err != nil {
			n.h.log.Warn("no time", "error", err)
			continue
		}
		offset = n.h.clockOffset(offset)
		n.mu.Lock()
		n.offset, n.timed = offset, true
		n.mu.Unlock()
		n.h.log.Info("time", "from", a, "now", time.Now().Add(offset).UTC().Format(time.RFC3339))
		return
	}
}

// now tells the time, and whether a server has told it. The handset has no
// battery: every boot begins without (assumed).
func (n *network) now() (time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Now().Add(n.offset), n.timed
}

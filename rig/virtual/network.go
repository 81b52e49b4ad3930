package virtual

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"ip88rig/rig/host"
	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/dhcpc"
	"ip88rig/rig/virtual/dnsc"
	"ip88rig/rig/virtual/flash"
)

// network is the handset's TCP/IP from the first lease to the end of a boot.
type network struct {
	*device

	link *link
	host *host.Host
	dhcp dhcpc.Config // its Port is that of the claim once host stands

	mu     sync.Mutex
	lease  dhcpc.Lease
	static bool
}

// connect gets an address, however long that takes, and starts the host, which
// lives as long as power does.
func connect(ctx, power context.Context, d *device, l *link, version string) (*network, error) {
	n := &network{device: d, link: l}
	n.dhcp = dhcpc.Config{
		Port: d.cord, MAC: d.MAC(),
		VendorClass:  d.expand(model.DHCPVendorClass, version),
		HostName:     d.expand(model.DHCPHostName, version),
		RequestList:  d.settings().requestList(),
		Timeout:      d.retry(model.DHCPTimeout),
		Tries:        d.cfg.Facts.Int(model.DHCPTries),
		ProbeTime:    d.wait(model.ARPProbeTime),
		DefaultLease: d.cfg.Facts.Duration(model.DHCPDefaultLease),
		Again:        l.again,
		Defects:      d.cfg.Defects,
		Seed:         d.seed(1),
	}
	lease, err := n.address(ctx)
	if err != nil {
		return nil, err
	}
	n.lease = lease
	n.host, err = host.New(power, host.Config{
		Port: d.cord, MAC: d.MAC(), Addrs: []netip.Prefix{lease.Addr}, Gateway: gateway(lease), Seed: d.seed(2),
	})
	if err != nil {
		return nil, fmt.Errorf("virtual: handset %s: %w", d.MAC(), err)
	}
	return n, nil
}

// address is the static one, or one by DHCP.
func (n *network) address(ctx context.Context) (dhcpc.Lease, error) {
	set := n.settings()
	if lease, ok := set.static(); ok {
		n.static = true
		n.log.Info("static address", "addr", lease.Addr)
		return lease, nil
	}
	var previous *dhcpc.Lease
	if s := n.flash.Read(); s.Lease != nil {
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
		n.log.Warn("no address, starting over", "error", err)
	}
}

// errLinkBack ends a search for an address that the link has come back in: what
// was asked meanwhile went nowhere.
var errLinkBack = errors.New("link is back")

// acquire is one search for an address. It is broken off when the link has been
// lost and is back.
func (n *network) acquire(ctx context.Context, cfg dhcpc.Config, previous *dhcpc.Lease) (dhcpc.Lease, error) {
	_, _, change := n.link.state()
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
			if up, _, change = n.link.state(); up { // and it has changed
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
	n.log.Info("address", "addr", lease.Addr, "gateway", lease.Gateway, "from", lease.Server)
	n.store(func(s *flash.State) {
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
			return fmt.Errorf("virtual: handset %s: %w", n.MAC(), err)
		}
		n.log.Warn("lease lost", "error", err)
		if errors.Is(err, dhcpc.ErrLeaseEnded) && n.has(defect.LeaseEndReboots) {
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
	n.store(func(s *flash.State) { s.Lease = nil })
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
		n.log.Warn("gateway", "error", err)
	}
}

func (n *network) current() dhcpc.Lease {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lease
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
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok && n.cord.sender != nil {
		n.cord.transfer(a.AddrPort().Port())
	}
	return c, nil
}

func (n *network) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return n.host.DialTCP(ctx, netip.AddrPort{}, to)
}

// resolve asks the DNS servers of DHCP, then the stored ones.
func (n *network) resolve(ctx context.Context, name string) (netip.Addr, error) {
	servers := slices.Clone(n.current().DNS)
	set := n.settings()
	for _, f := range []string{dns1, dns2} {
		if a, err := netip.ParseAddr(set.text(f)); err == nil && !a.IsUnspecified() && !slices.Contains(servers, a) {
			servers = append(servers, a)
		}
	}
	for {
		// Nothing says how long a handset waits for DNS: as long as for SNTP (assumed).
		addr, err := dnsc.Lookup(ctx, dnsc.Config{
			Listen: n.listen, Servers: servers, Timeout: n.retry(model.SNTPTimeout), Seed: n.seed(3),
		}, name)
		if !errors.Is(err, dnsc.ErrTimeout) || !n.has(defect.UnresolvedNameHangs) {
			return addr, err
		}
		if err := pause(ctx, n.retry(model.SNTPTimeout)); err != nil {
			return netip.Addr{}, err
		}
	}
}

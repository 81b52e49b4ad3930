package preflight

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ip88rig/capture/timeline"
	"ip88rig/rig/bench"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/dnsd"
	"ip88rig/rig/host"
	"ip88rig/rig/sntpd"
	"ip88rig/rig/wire"
)

// Contact is what a handset asked for when it was given an address and nothing
// else.
type Contact struct {
	Handset bench.Handset
	Server  netip.Addr
	// DHCP: it asked for an address.
	DHCP bool
	// Files are those it asked for over TFTP.
	Files []string
	// URLs are what it asked for over HTTP and HTTPS; the path within HTTPS is
	// not seen.
	URLs []string
	// Names are those it looked up.
	Names []string
}

// FirstContact gives one handset an address, the time and an answer to every
// name, serves no file, and listens until it is known what the handset comes
// for, or ctx ends. Wherever it wants to connect to, it is let in as far as the
// URL. The error is the port's.
func FirstContact(ctx context.Context, port wire.Port, b bench.Bench, h bench.Handset) (Contact, error) {
	a := b.Addresses(h)
	l := &listening{
		contact: Contact{Handset: h, Server: a.Server},
		addrs:   map[netip.Addr]bool{a.Server: true, a.Handset: true}, ports: map[uint16]bool{},
		known: make(chan struct{}),
	}
	filtered := wire.Filter(port, func(f wire.Frame) bool {
		if len(f.Data) < 14 || string(f.Data[6:12]) != string(h.Active()) {
			return false
		}
		// Before the host sees the frame, so that it answers this one already.
		l.see(f.Data)
		return true
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tcp, err := host.New(ctx, host.Config{
		Port: filtered, MAC: a.ServerMAC, Addrs: []netip.Prefix{netip.PrefixFrom(a.Server, b.Subnet.Bits())},
	})
	if err != nil {
		return l.contact, err
	}
	g, gctx := errgroup.WithContext(ctx)
	err = l.serve(gctx, g, tcp, a, h)
	if err == nil {
		select {
		case <-gctx.Done(): // ctx has ended, or a service
		case <-tcp.Done():
			err = tcp.Err()
		case <-l.known:
			select {
			case <-gctx.Done():
			case <-time.After(afterwards):
			}
		}
	}
	ended := ctx.Err() != nil || err == nil && gctx.Err() == nil
	cancel()
	err = errors.Join(err, tcp.Close(), g.Wait())
	if ended {
		err = nil // the sockets ended because they were told to
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.contact, err
}

type listening struct {
	// addrs and ports are what the host has taken on; used by the host's reader
	// alone.
	addrs map[netip.Addr]bool
	ports map[uint16]bool

	known chan struct{} // closed when it asked for a file
	once  sync.Once

	mu      sync.Mutex
	contact Contact
	take    func(to netip.AddrPort) // nil until the host stands
}

// afterwards is how long is listened once something was asked for: the rest of
// the names and tries.
const afterwards = time.Second

// serve starts what the handset needs to show where it wants to go.
func (l *listening) serve(ctx context.Context, g *errgroup.Group, tcp *host.Host, a bench.Addresses, h bench.Handset) error {
	silent := func(timeline.Event) {}
	dhcp, err := dhcpd.New(dhcpd.Config{Port: tcp.Claim(toServer), ServerMAC: a.ServerMAC, ServerIP: a.Server, Record: silent})
	if err != nil {
		return err
	}
	// As a run does: TFTP is offered, option 160 withheld.
	err = dhcp.SetLease(h.Active().String(), dhcpd.Lease{
		Addr: a.Prefix, Router: a.Server, DNS: []netip.Addr{a.Server}, NTP: []netip.Addr{a.Server}, Duration: time.Hour,
		Options: map[uint8][]byte{66: dhcpd.Text(a.Server.String()), 150: dhcpd.Addrs(a.Server)},
	})
	if err != nil {
		return err
	}
	conn, err := tcp.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 53))
	if err != nil {
		return err
	}
	dns, err := dnsd.New(dnsd.Config{Conn: conn, Record: silent, Names: func(name string) []netip.Addr {
		l.note(func(c *Contact) { c.Names = add(c.Names, name) })
		return []netip.Addr{a.Server}
	}})
	if err != nil {
		return err
	}
	conn, err = tcp.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 123))
	if err != nil {
		return err
	}
	sntp, err := sntpd.New(sntpd.Config{Conn: conn, Record: silent, Clock: func(_ netip.Addr, now time.Time) (time.Time, bool) { return now, true }})
	if err != nil {
		return err
	}
	// They end with ctx.
	for _, s := range []func(context.Context) error{dhcp.Serve, dns.Serve, sntp.Serve} {
		g.Go(func() error { return s(ctx) })
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.take = func(to netip.AddrPort) { l.takeOn(ctx, g, tcp, to) }
	return nil
}

func add(list []string, s string) []string {
	if slices.Contains(list, s) || len(list) >= 64 {
		return list
	}
	return append(list, s)
}

func (l *listening) note(change func(*Contact)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.contact)
}

// see looks at a frame of the handset.
func (l *listening) see(b []byte) {
	switch kind := binary.BigEndian.Uint16(b[12:]); {
	case kind == 0x0806 && len(b) >= 42:
		// Asked by somebody with an address, for another one; else it is a probe.
		sender, target := netip.AddrFrom4([4]byte(b[28:32])), netip.AddrFrom4([4]byte(b[38:42]))
		if b[21] == 1 && !sender.IsUnspecified() && sender != target {
			l.want(netip.AddrPortFrom(target, 0))
		}
	case kind == 0x0800 && len(b) >= 34 && b[14]>>4 == 4:
		ip := b[14:]
		head := int(ip[0]&15) * 4
		if head < 20 || len(ip) < head+14 {
			return
		}
		dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[16:20])), binary.BigEndian.Uint16(ip[head+2:]))
		switch {
		case ip[9] == 6 && ip[head+13]&0x12 == 0x02: // SYN without ACK
			l.want(dst)
		case ip[9] == 17 && dst.Port() == 67:
			l.note(func(c *Contact) { c.DHCP = true })
		case ip[9] == 17 && dst.Port() == 69 && ip[head+8] == 0 && ip[head+9] == 1: // RRQ
			name, _, _ := strings.Cut(string(ip[head+10:]), "\x00")
			l.note(func(c *Contact) { c.Files = add(c.Files, name) })
			l.once.Do(func() { close(l.known) })
		}
	}
}

// want takes on what the handset wants to reach; without a port only an address
// that it looks for.
func (l *listening) want(to netip.AddrPort) {
	l.mu.Lock()
	take := l.take
	l.mu.Unlock()
	if take != nil {
		take(to)
	}
}

// limit bounds the addresses and the ports that are taken on.
const limit = 64

// takeOn gives the host the address and listens on the port.
func (l *listening) takeOn(ctx context.Context, g *errgroup.Group, tcp *host.Host, to netip.AddrPort) {
	if a := to.Addr(); !l.addrs[a] && len(l.addrs) < limit && !a.IsMulticast() && !a.IsUnspecified() {
		l.addrs[a] = true
		if err := tcp.AddAddr(netip.PrefixFrom(a, 32)); err != nil {
			l.url(fmt.Sprintf("%s (%v)", to, err))
		}
	}
	p := to.Port()
	if p == 0 || l.ports[p] || len(l.ports) >= limit {
		return
	}
	l.ports[p] = true
	ln, err := tcp.ListenTCP(netip.AddrPortFrom(netip.IPv4Unspecified(), p))
	if err != nil {
		l.url(fmt.Sprintf("tcp://%s (%v)", to, err))
		return
	}
	g.Go(func() error { return l.accept(ctx, g, ln) }) // ends with ctx
}

func (l *listening) accept(ctx context.Context, g *errgroup.Group, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return nil // ctx has ended, or the host with its port, which says why
		}
		g.Go(func() error { // ends with the connection, within its deadline
			defer func() { _ = conn.Close() }()
			l.read(ctx, conn)
			return nil
		})
	}
}

// patience is how long a connection may take to say what it wants.
const patience = 10 * time.Second

// read takes the URL out of what a connection begins with.
func (l *listening) read(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(patience))
	local := conn.LocalAddr().String()
	in := bufio.NewReader(conn)
	first, err := in.Peek(1)
	if err != nil {
		l.url("tcp://" + local + " (said nothing)")
		return
	}
	// A TLS record of a handshake, or a ClientHello of SSLv2.
	if first[0] == 22 || first[0]&0x80 != 0 {
		name := ""
		server := tls.Server(peeked{conn, in}, &tls.Config{
			GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				name = hello.ServerName
				return nil, errors.New("only the name was wanted")
			},
		})
		_ = server.HandshakeContext(ctx) // fails by intent
		l.url(address("https", name, local) + "/…")
		return
	}
	r, err := http.ReadRequest(in)
	if err != nil {
		l.url("tcp://" + local + " (not HTTP)")
		return
	}
	_ = r.Body.Close()
	l.url(address("http", r.Host, local) + r.URL.Path)
	_, _ = conn.Write([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
}

func (l *listening) url(s string) {
	l.note(func(c *Contact) { c.URLs = add(c.URLs, s) })
	l.once.Do(func() { close(l.known) })
}

// address is scheme and authority of a URL: the name when it was said, without
// the scheme's usual port.
func address(scheme, name, local string) string {
	ip, port, err := net.SplitHostPort(local)
	if err != nil {
		return scheme + "://" + local
	}
	if name == "" {
		name = ip
	}
	if _, _, err := net.SplitHostPort(name); err == nil || port == "80" && scheme == "http" || port == "443" && scheme == "https" {
		return scheme + "://" + name
	}
	return scheme + "://" + net.JoinHostPort(name, port)
}

// peeked reads what a reader has taken out of a connection.
type peeked struct {
	net.Conn
	in *bufio.Reader
}

// Read implements net.Conn.
func (p peeked) Read(b []byte) (int, error) { return p.in.Read(b) }

// toServer picks what clients send to a DHCP server.
func toServer(f []byte) bool {
	if len(f) < 38 || f[12] != 8 || f[13] != 0 || f[14]>>4 != 4 || f[23] != 17 {
		return false
	}
	at := 14 + int(f[14]&15)*4
	return len(f) >= at+4 && binary.BigEndian.Uint16(f[at+2:]) == 67
}

// Finding says whether a run would find its way to the handset, and what to do
// when it would not.
func (c Contact) Finding() Finding {
	f := Finding{Name: c.Handset.Name + " contact", State: Warn}
	var seen []string
	for _, n := range c.Names {
		seen = append(seen, "looked up "+strconv.Quote(n))
	}
	for _, u := range c.URLs {
		seen = append(seen, "asked for "+strconv.Quote(u))
	}
	text := strings.Join(seen, "\n")
	switch {
	case len(c.Files) > 0:
		f.State, f.Text = OK, "comes to TFTP, asked for "+strings.Join(c.Files, ", ")
	case len(c.URLs) > 0 || len(c.Names) > 0:
		f.Text = "does not come to TFTP: XPT-01 would block everything\n" + text
		f.WhatToDo = fmt.Sprintf("it holds a URL in memory. Serve it once with option 160, whose configuration clears that URL: "+
			"ip88rig serve --bench … --handset %s --url http://%s/; or clear it by hand in its menu or Web Manager", c.Handset.Name, c.Server)
	case c.DHCP:
		f.Text = "asked for an address and then for nothing"
		f.WhatToDo = "let it boot while check listens, and listen longer; see whether its downloads are switched off"
	default:
		f.Text = "was not heard"
		f.WhatToDo = fmt.Sprintf("power-cycle it while check listens; is %s its MAC, is it on this wire and VLAN, does it have a static address?", c.Handset.Active())
	}
	return f
}

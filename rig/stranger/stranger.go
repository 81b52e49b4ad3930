// Package stranger listens for DHCP hosts that are not in the bench file:
// phones that somebody has plugged in, with the lines to paste into the file,
// and servers that should not be there. It answers nobody. The services of a
// lane hear their own handset only, so whoever owns the terminal listens here,
// on a socket of its own.
package stranger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"ip88rig/capture/timeline"
	"ip88rig/rig/bench"
	"ip88rig/rig/dhcpd"
	"ip88rig/rig/wire"
)

// MAC is what the listener calls itself: a locally administered address in the
// rig's own block that no lane has.
func MAC() net.HardwareAddr { return net.HardwareAddr{0x02, 0x88, 0, 0, 0, 1} }

// Host is one that was heard.
type Host struct {
	MAC net.HardwareAddr
	// Server tells a DHCP server from a client.
	Server bool
	// ServerID is the address that a server gives as its own (option 54); blank
	// when it gave none.
	ServerID string
	// Says is a sentence for the reader: what was heard of it.
	Says string
	// Tagged tells a frame with an 802.1Q tag on a port that takes none off;
	// VLAN is its identifier, 0 of a priority tag.
	Tagged bool
	VLAN   uint16
	// VendorClass is option 60, HostName option 12, RequestList option 55 as
	// decimal numbers; blank where absent.
	VendorClass, HostName, RequestList string
}

// Config says where to listen.
type Config struct {
	// Port is the wire. It is not closed. Only DHCP frames of it are looked at.
	Port wire.Port
	// Known are the addresses that are no strangers: handsets of the bench, the
	// rig's own servers, servers that the bench file expects.
	Known []net.HardwareAddr
	// Heard is called once for each host, from the goroutine of Watch.
	Heard func(Host)
}

// Known returns the addresses that a bench file speaks of: phones, modules and
// the servers that the rig makes for them.
func Known(b bench.Bench) []net.HardwareAddr {
	out := []net.HardwareAddr{MAC()}
	for _, h := range b.Handsets {
		out = append(out, h.MAC, b.Addresses(h).ServerMAC)
		if len(h.Module) > 0 {
			out = append(out, h.Module)
		}
	}
	return out
}

// Watch listens until ctx ends and returns nil then. It returns an error when
// the port fails before that.
func Watch(ctx context.Context, cfg Config) error {
	if cfg.Port == nil || cfg.Heard == nil {
		return errors.New("stranger: Port and Heard are needed")
	}
	w := &watcher{heard: cfg.Heard, done: map[string]bool{}}
	for _, m := range cfg.Known {
		w.done[m.String()] = true
	}
	server, err := dhcpd.New(dhcpd.Config{
		// The server records within the call that received, so what keep noted of
		// the frame is that of the event.
		Port: wire.Filter(cfg.Port, w.keep), ServerMAC: MAC(), ServerIP: netip.AddrFrom4([4]byte{192, 0, 2, 1}),
		Record: w.record,
	})
	if err != nil {
		return fmt.Errorf("stranger: %w", err)
	}
	if err := server.Serve(ctx); err != nil {
		return fmt.Errorf("stranger: %w", err)
	}
	return nil
}

type watcher struct {
	heard func(Host)
	done  map[string]bool

	tagged bool
	vlan   uint16
}

// keep lets DHCP pass and notes its tag.
func (w *watcher) keep(f wire.Frame) bool {
	b := f.Data
	w.tagged = false
	if len(b) >= 18 && b[12] == 0x81 && b[13] == 0 {
		w.tagged, w.vlan = true, binary.BigEndian.Uint16(b[14:])&0xfff
		b = b[4:]
	}
	if len(b) < 14+20+4 || b[12] != 8 || b[13] != 0 || b[14]>>4 != 4 || b[23] != 17 {
		return false
	}
	udp := 14 + int(b[14]&15)*4
	if len(b) < udp+4 {
		return false
	}
	src, dst := binary.BigEndian.Uint16(b[udp:]), binary.BigEndian.Uint16(b[udp+2:])
	return src == 67 || dst == 67
}

// record picks strangers out of what the server says of itself.
func (w *watcher) record(e timeline.Event) {
	if e.Kind != timeline.Stranger || w.done[e.SrcMAC] {
		return
	}
	mac, err := net.ParseMAC(e.SrcMAC)
	if err != nil {
		return
	}
	w.done[e.SrcMAC] = true
	// Of clients the server says that it does not answer them.
	server := strings.HasPrefix(e.Reason, "another DHCP server")
	says := e.Reason
	if !server {
		says = "asks for an address (" + e.Message + ")"
	}
	w.heard(Host{
		MAC: mac, Server: server, ServerID: e.Fields["dhcp.option.dhcp_server_id"], Says: says,
		Tagged: w.tagged, VLAN: w.vlan,
		VendorClass: e.Fields["dhcp.option.vendor_class_id"], HostName: e.Fields["dhcp.option.hostname"],
		RequestList: e.Fields["dhcp.option.request_list"],
	})
}

// String is the host in one line.
func (h Host) String() string {
	parts := []string{h.MAC.String()}
	if h.Tagged {
		parts = append(parts, fmt.Sprintf("on VLAN %d (tagged)", h.VLAN))
	}
	for _, x := range []struct{ name, value string }{
		{"option 60", h.VendorClass}, {"host name", h.HostName}, {"server", h.ServerID},
	} {
		if x.value != "" {
			parts = append(parts, fmt.Sprintf("%s %q", x.name, x.value))
		}
	}
	if h.RequestList != "" {
		parts = append(parts, "option 55 "+h.RequestList)
	}
	return strings.Join(append(parts, h.Says), ", ")
}

// Lines are what a bench file needs to know of a phone, below "handsets:". The
// model is left to whoever sees the phone; one is named when option 60 or 12
// tells it.
func (h Host) Lines() string {
	var b strings.Builder
	name := "phone-" + strings.ReplaceAll(h.MAC.String()[9:], ":", "")
	fmt.Fprintf(&b, "  - name: %s\n", name)
	model := "IP88?0 # IP8820, IP8830 or IP8840: see the label"
	for _, m := range []string{"8820", "8830", "8840"} {
		if strings.Contains(h.VendorClass+" "+h.HostName, m) {
			model = "IP" + m + " # as it says itself: compare with the label"
		}
	}
	fmt.Fprintf(&b, "    model: %s\n", model)
	fmt.Fprintf(&b, "    mac: %s # with a WiFi module: the phone's own here, this one as module:, and link: wifi\n", h.MAC)
	return b.String()
}

// Discover is a DISCOVER broadcast from MAC, to make servers show themselves.
func Discover(transaction uint32) ([]byte, error) {
	var id dhcpv4.TransactionID
	binary.BigEndian.PutUint32(id[:], transaction)
	d, err := dhcpv4.NewDiscovery(MAC(), dhcpv4.WithBroadcast(true), dhcpv4.WithTransactionID(id))
	if err != nil {
		return nil, fmt.Errorf("stranger: DISCOVER: %w", err)
	}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4zero, DstIP: net.IPv4bcast}
	udp := &layers.UDP{SrcPort: 68, DstPort: 67}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, fmt.Errorf("stranger: DISCOVER: %w", err)
	}
	buf := gopacket.NewSerializeBuffer()
	err = gopacket.SerializeLayers(
		buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: MAC(), DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeIPv4},
		ip, udp, gopacket.Payload(d.ToBytes()),
	)
	if err != nil {
		return nil, fmt.Errorf("stranger: DISCOVER: %w", err)
	}
	return buf.Bytes(), nil
}

// Probe asks for DHCP servers, once every interval, and listens for wait. It
// returns every host heard that is not known, servers and clients. The error is
// the port's or ctx's.
func Probe(ctx context.Context, port wire.Port, known []net.HardwareAddr, interval, wait time.Duration) ([]Host, error) {
	limit, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var heard []Host
	done := make(chan error, 1)
	// Ends with limit, or when the port fails.
	go func() {
		done <- Watch(limit, Config{Port: port, Known: known, Heard: func(h Host) { heard = append(heard, h) }})
	}()
	t := time.NewTicker(interval)
	defer t.Stop()
	for n := uint32(1); ; n++ {
		frame, err := Discover(0x88000000 | n)
		if err == nil {
			err = port.Send(wire.Frame{Data: frame, At: time.Now()})
		}
		if err != nil {
			cancel()
			return nil, errors.Join(fmt.Errorf("probe for DHCP servers: %w", err), <-done)
		}
		select {
		case err := <-done:
			if err == nil {
				err = ctx.Err()
			}
			slices.SortStableFunc(heard, func(a, b Host) int { return strings.Compare(a.MAC.String(), b.MAC.String()) })
			return heard, err
		case <-t.C:
		}
	}
}

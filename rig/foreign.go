package rig

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/bench"
	"ip88rig/rig/wire"
)

// hearing says whose frames belong into a lane's recording.
type hearing struct {
	// handset are the addresses of phone and module, server the lane's own.
	handset []net.HardwareAddr
	server  net.HardwareAddr
	// known are DHCP servers that are no strangers: those of all lanes, and those
	// that the bench file expects.
	known []net.HardwareAddr
}

func newHearing(b bench.Bench, h bench.Handset) *hearing {
	out := &hearing{handset: []net.HardwareAddr{h.MAC}, server: b.Addresses(h).ServerMAC}
	if len(h.Module) > 0 {
		out.handset = append(out.handset, h.Module)
	}
	out.known = append(out.known, out.server)
	for _, o := range b.Handsets {
		out.known = append(out.known, b.Addresses(o).ServerMAC)
	}
	out.known = append(out.known, b.Wire.ExpectDHCP...)
	return out
}

// fromHandset tells a frame that the handset sent.
func (h *hearing) fromHandset(data []byte) bool {
	return len(data) >= 12 && among(h.handset, data[6:12])
}

// cable tells a frame of the handset's cable: what it sends, and what another
// DHCP server answers it. Both were really there, and the second is not the
// handset's doing.
func (h *hearing) cable(data []byte) bool { return h.fromHandset(data) || h.foreign(data) }

// foreign tells a DHCP answer to the handset that the lane did not send, tagged
// or not: whichever VLAN the handset takes it on, it is led astray.
func (h *hearing) foreign(data []byte) bool {
	return len(data) >= 12 && string(data[6:12]) != string(h.server) && !h.fromHandset(data) &&
		among(h.handset, answered(data))
}

// stranger tells whether a foreign server is one that nobody expects.
func (h *hearing) stranger(data []byte) bool { return h.foreign(data) && !among(h.known, data[6:12]) }

func among(macs []net.HardwareAddr, mac []byte) bool {
	for _, m := range macs {
		if len(m) > 0 && string(m) == string(mac) {
			return true
		}
	}
	return false
}

// answered returns the hardware address of the client that a BOOTP reply (RFC
// 951: IPv4, UDP from port 67 to 68) is for; nil when the frame is none.
func answered(b []byte) []byte {
	const ethernet, tag, ipUDP, hardware = 14, 4, 28, 28
	if len(b) < ethernet {
		return nil
	}
	kind, b := binary.BigEndian.Uint16(b[12:]), b[ethernet:]
	if kind == 0x8100 && len(b) >= tag {
		kind, b = binary.BigEndian.Uint16(b[2:]), b[tag:]
	}
	if kind != 0x0800 || len(b) < ipUDP || b[0]>>4 != 4 || b[9] != 17 || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return nil
	}
	header := int(b[0]&15) * 4
	if header < 20 || len(b) < header+8+hardware+6 {
		return nil
	}
	udp := b[header:]
	if binary.BigEndian.Uint16(udp) != 67 || binary.BigEndian.Uint16(udp[2:]) != 68 {
		return nil
	}
	const reply, onEthernet, addrLen = 2, 1, 6
	m := udp[8:]
	if m[0] != reply || m[1] != onEthernet || m[2] != addrLen {
		return nil
	}
	return m[hardware : hardware+addrLen]
}

// openHearing puts the recorder between the wire and the rig's host, and
// returns the port for the host. A foreign server's answer is recorded and goes
// no further.
func (l *Lane) openHearing() wire.Port {
	h := newHearing(l.Bench, l.Handset)
	told := map[string]*timeline.Timeline{} // the host receives from one goroutine
	port := wire.Filter(l.port, func(f wire.Frame) bool { return h.cable(f.Data) })
	port = wire.Tap(port, func(iface int, outbound bool, at time.Time, data []byte, comments ...string) int {
		n := l.Recorder.Frame(iface, outbound, at, data, comments...)
		if outbound || !h.stranger(data) {
			return n
		}
		mac := net.HardwareAddr(data[6:12]).String()
		// Once in every recording: each is judged by itself.
		if tl := l.Recorder.Timeline(); told[mac] != tl && n > 0 {
			told[mac] = tl
			l.Recorder.Record(timeline.Event{
				By: "rig", Kind: timeline.Stranger, Frame: n, SrcMAC: mac,
				Reason: fmt.Sprintf("another DHCP server answers the handset %s", net.HardwareAddr(answered(data))),
			})
		}
		return n
	})
	return wire.Filter(port, func(f wire.Frame) bool { return h.fromHandset(f.Data) })
}

// strayed tells a REQUEST that selects another server than the lane's (RFC 2131,
// 4.3.2), and that server's address. A switch keeps an answer to the handset
// alone from the rig; what the handset makes of it is broadcast.
func (l *Lane) strayed(e timeline.Event) (server string, ok bool) {
	if e.By != timeline.Wire || e.Kind != timeline.DHCPRequest || len(l.Bench.Wire.ExpectDHCP) > 0 {
		return "", false
	}
	server = e.Fields["dhcp.option.dhcp_server_id"]
	// The second address is the rig's as well: a fault offers from there.
	return server, server != "" && server != l.Addrs.Server.String() && server != l.Addrs.Second.String()
}

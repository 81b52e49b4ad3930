package timeline

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// dhcpSent folds a DHCP message of the handset.
func (d *deriver) dhcpSent(e *Event) {
	mac := strings.ToLower(e.SrcMAC)
	xid := e.Fields["dhcp.id"]
	switch {
	case e.Kind == DHCPDiscover:
		d.starts(e, mac, xid, "DISCOVER")
	case e.Kind == DHCPRequest && initReboot(e):
		d.starts(e, mac, xid, "INIT-REBOOT")
		d.requested(mac, xid, e.At)
	case e.Kind == DHCPRequest:
		d.requested(mac, xid, e.At)
	case e.Kind == DHCPDecline:
		delete(d.s.Leases, mac)
	case e.Kind == DHCPRelease:
		if _, ok := d.s.Leases[mac]; ok {
			delete(d.s.Leases, mac)
			d.s.Released = true
			d.weak("RELEASE", e)
		}
	}
}

// requested keeps when a REQUEST was first sent: a lease counts from there (RFC
// 2131, 4.4.1).
func (d *deriver) requested(mac, xid string, at time.Time) {
	if x, ok := d.s.Requests[mac]; !ok || x.XID != xid {
		remember(&d.s.Requests, mac, exchange{XID: xid, At: at})
	}
}

// starts folds a message that opens DHCP anew.
func (d *deriver) starts(e *Event, mac, xid, what string) {
	held, ok := d.s.Leases[mac]
	switch {
	case !ok:
		if d.s.Expect && len(d.s.Leases) == 0 { // an expected boot of a handset of which nothing was known
			d.ground(what, e)
		} else if d.s.Released && d.s.Removed {
			d.ground(what, e)
		}
	case xid != "" && xid == held.XID && !held.Used:
		// The exchange that gave the lease, sent again.
	case !held.Until.IsZero() && !e.At.Before(held.Until):
		delete(d.s.Leases, mac)
		d.weak(what+" after the lease ended", e)
	case d.s.LinkExcuse:
		delete(d.s.Leases, mac)
		d.weak(what+" after link down", e)
	default:
		d.ground(what+" while "+held.Addr+" was leased", e)
	}
}

// initReboot recognises a REQUEST of a client that starts with a remembered address
// (RFC 2131, 4.3.2): option 50, no server identifier, ciaddr zero.
func initReboot(e *Event) bool {
	return e.Fields["dhcp.option.requested_ip_address"] != "" && e.Fields["dhcp.option.dhcp_server_id"] == "" && unset(e.Fields["dhcp.ip.client"])
}

func unset(addr string) bool { return addr == "" || addr == "0.0.0.0" }

// dhcpAnswer folds ACK and NAK of any server.
func (d *deriver) dhcpAnswer(e *Event) {
	mac := strings.ToLower(e.Fields["dhcp.hw.mac_addr"])
	if mac == "" {
		mac = strings.ToLower(e.DstMAC)
	}
	if !d.isHandset(mac) {
		return
	}
	if e.Kind == DHCPNak {
		if _, ok := d.s.Leases[mac]; ok {
			delete(d.s.Leases, mac)
			d.weak("NAK", e)
		}
		return
	}
	addr := e.Fields["dhcp.ip.your"]
	if unset(addr) { // the answer to INFORM
		return
	}
	from := e.At
	x, ok := d.s.Requests[mac]
	if ok && x.XID == e.Fields["dhcp.id"] {
		from = x.At
	}
	l := lease{Addr: addr, Server: e.Fields["dhcp.option.dhcp_server_id"], XID: e.Fields["dhcp.id"]}
	if l.Server == "" && e.Src.IsValid() {
		l.Server = e.Src.Addr().String()
	}
	if secs, err := strconv.ParseUint(e.Fields["dhcp.option.ip_address_lease_time"], 10, 32); err == nil && secs > 0 && secs != forever {
		// The handset's clock is not ours: from a little before the end on,
		// starting anew is not held against it.
		full := time.Duration(secs) * time.Second
		l.Until = from.Add(full - min(time.Second, full/10)).UTC()
	}
	before, held := d.s.Leases[mac]
	if held && before.Addr == l.Addr && before.XID == l.XID {
		l.Used = before.Used
	}
	remember(&d.s.Leases, mac, l)
	d.s.Released = false
	if !d.s.LinkDown {
		d.s.LinkExcuse = false
	}
	if held && before.Addr == addr {
		return // renewed
	}
	bound := Event{Kind: Bound, SrcMAC: mac, DstMAC: e.SrcMAC, Dst: e.Src}
	if a, err := netip.ParseAddr(addr); err == nil {
		remember(&d.s.Addrs, a.Unmap(), true)
		bound.Src = netip.AddrPortFrom(a, 68)
	}
	if a, err := netip.ParseAddr(l.Server); err == nil {
		bound.Dst = netip.AddrPortFrom(a, 67)
	}
	d.emit(bound)
}

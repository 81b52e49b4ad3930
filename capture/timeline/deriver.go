package timeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// stateField is where a CarriedState event holds the state, as JSON.
	stateField = "state"
	// ExpectField is a field that, set to "boot" on any journal entry, says
	// that what follows was asked for by the rig without its power port (an operator pulls the
	// plug): the next sign of a boot is Booted, not Rebooted.
	ExpectField = "expect"
	expectBoot  = "boot"
	// forever is the DHCP lease time that never ends (RFC 2131, 3.3).
	forever = 0xffffffff
)

// deriver turns what was seen into facts about the handset. It is a state
// machine without a clock: every time in it is the time of an event, so that
// the same events give the same facts whenever they are folded.
//
// A reboot is a contradiction to what the current boot has established:
//
//   - DISCOVER, or INIT-REBOOT, while a lease of this boot is held;
//   - REGISTER with a new Call-ID while a registration of this boot, of the
//     same user at the same registrar, stands (RFC 3261, 10.2: a Call-ID is
//     kept until reboot).
//
// A boot, seen or commanded, forgets lease and registrations. So the DISCOVER,
// its retransmissions and the REGISTER of one reboot are one, and a handset
// that has an address again before it boots once more has rebooted twice.
//
//   - DISCOVER or INIT-REBOOT after the handset gave up lease and registration
//     both, as in an orderly shutdown.
//
// What the rig or the clock provoked is excused: NAK, DECLINE, RELEASE and the
// end of the lease take the lease away; a commanded loss of link excuses the
// next DISCOVER. An excused DISCOVER, and a link that was lost without a
// command, are kept as grounds that need a second one. A registration is gone
// when it was removed (Expires 0), has run out, or its refresh was turned down.
// Neither NOTIFY check-sync nor a command over telnet excuses: where they make
// the handset reboot, that is a reboot.
type deriver struct {
	handset []string
	s       state
	out     []Event // reused
}

// state is what survives from one recording to the next.
type state struct {
	// Power is "", "off", "starting" (switched on, no sign of life yet) or "on".
	Power string `json:"power,omitempty"`
	// Expect is set while a boot that was asked for otherwise is due.
	Expect bool `json:"expect,omitempty"`
	// LinkDown is set while the rig holds the link down; LinkExcuse from then
	// until the handset is seen at work again.
	LinkDown   bool `json:"linkdown,omitempty"`
	LinkExcuse bool `json:"linkexcuse,omitempty"`
	// Released and Removed are set once the handset gave up its lease, and its
	// registration, in this boot: both together are a shutdown.
	Released bool `json:"released,omitempty"`
	Removed  bool `json:"removed,omitempty"`
	// Weak are grounds that need a second one.
	Weak []string `json:"weak,omitempty"`
	// Leases by MAC.
	Leases map[string]lease `json:"leases,omitempty"`
	// Requests are the DHCP exchanges under way, by MAC.
	Requests map[string]exchange `json:"requests,omitempty"`
	// Addrs are the addresses that the handset has used.
	Addrs map[netip.Addr]bool `json:"addrs,omitempty"`
	// Registrations by user and registrar; Registers are requests by Call-ID.
	Registrations map[string]registration `json:"registrations,omitempty"`
	Registers     map[string]register     `json:"registers,omitempty"`
	// Transfers are TFTP transfers by the handset's end.
	Transfers map[netip.AddrPort]transfer `json:"transfers,omitempty"`
	// Challenged are requests answered 401, whose repetition is the same ask.
	Challenged map[string]bool `json:"challenged,omitempty"`
	// Refusals are connections whose refusal was told.
	Refusals map[netip.AddrPort]bool `json:"refusals,omitempty"`
	// Hellos are connections of this boot on which a ClientHello was seen: a
	// handshake that ends otherwise is one of a boot before, cut off with it.
	Hellos map[netip.AddrPort]bool `json:"hellos,omitempty"`
}

type lease struct {
	Addr   string    `json:"addr"`
	Server string    `json:"server"`
	Until  time.Time `json:"until,omitzero"`
	XID    string    `json:"xid,omitempty"`
	// Used is set once the handset did anything but DHCP and ARP with it.
	Used bool `json:"used,omitempty"`
}

type exchange struct {
	XID string    `json:"xid"`
	At  time.Time `json:"at"`
}

type registration struct {
	CallID string    `json:"callid"`
	Until  time.Time `json:"until"`
}

type register struct {
	CSeq    string         `json:"cseq"`
	User    string         `json:"user"`
	Expires string         `json:"expires,omitempty"`
	Agent   string         `json:"agent,omitempty"`
	Contact string         `json:"contact,omitempty"`
	Src     netip.AddrPort `json:"src"`
	Dst     netip.AddrPort `json:"dst"`
	Done    bool           `json:"done,omitempty"`
}

type transfer struct {
	File string `json:"file"`
	// Moving is set once the handset acknowledged something, or was told an error.
	Moving bool `json:"moving,omitempty"`
	Done   bool `json:"done,omitempty"`
}

// remembered bounds each table of the state: a handset gone mad must not fill
// the memory. What is forgotten is the smallest key, so that it is the same
// live and offline.
const remembered = 1024

func newDeriver(handset []string) *deriver { return &deriver{handset: handset, s: emptyState()} }

func emptyState() state {
	return state{
		Leases: map[string]lease{}, Requests: map[string]exchange{}, Addrs: map[netip.Addr]bool{},
		Registrations: map[string]registration{}, Registers: map[string]register{},
		Transfers: map[netip.AddrPort]transfer{}, Challenged: map[string]bool{}, Refusals: map[netip.AddrPort]bool{}, Hellos: map[netip.AddrPort]bool{},
	}
}

func (d *deriver) encode() string {
	b, err := json.Marshal(d.s)
	if err != nil {
		return "{}" // cannot happen: the state holds strings, times and addresses only
	}
	return string(b)
}

// restore replaces the state; one that cannot be read leaves nothing known.
func (d *deriver) restore(text string) {
	s := emptyState()
	if json.Unmarshal([]byte(text), &s) != nil {
		s = emptyState()
	}
	d.s = s
	e := emptyState()
	d.s.Leases = orEmpty(s.Leases, e.Leases)
	d.s.Requests = orEmpty(s.Requests, e.Requests)
	d.s.Addrs = orEmpty(s.Addrs, e.Addrs)
	d.s.Registrations = orEmpty(s.Registrations, e.Registrations)
	d.s.Registers = orEmpty(s.Registers, e.Registers)
	d.s.Transfers = orEmpty(s.Transfers, e.Transfers)
	d.s.Challenged = orEmpty(s.Challenged, e.Challenged)
	d.s.Refusals = orEmpty(s.Refusals, e.Refusals)
	d.s.Hellos = orEmpty(s.Hellos, e.Hellos)
}

// orEmpty replaces the nil map that JSON null leaves.
func orEmpty[M ~map[K]V, K comparable, V any](m, empty M) M {
	if m == nil {
		return empty
	}
	return m
}

// fold takes one event in and returns the facts that it proves, in order. The
// slice is good until the next call.
func (d *deriver) fold(e *Event) []Event {
	d.out = d.out[:0]
	if e.By == Wire {
		d.wire(e)
	} else {
		d.journal(e)
	}
	return d.out
}

func (d *deriver) emit(e Event) {
	if e.Kind == Fetched && e.Transport != HTTPS && !d.s.LinkDown {
		// The cable had the file whole: the link serves again. Of HTTPS a service
		// says so, which may have sent the end into the void.
		d.s.LinkExcuse = false
	}
	d.out = append(d.out, e)
}

// isHandset tells whether a MAC is one of the handset's.
func (d *deriver) isHandset(mac string) bool {
	for _, m := range d.handset {
		if m == mac || strings.EqualFold(m, mac) {
			return true
		}
	}
	return false
}

// journal folds what the rig's own parts say.
func (d *deriver) journal(e *Event) {
	if e.Fields[ExpectField] == expectBoot {
		d.s.Expect = true
	}
	switch e.Kind {
	case CarriedState:
		d.restore(e.Fields[stateField])
	case PowerOff:
		d.forget()
		d.s.Power, d.s.Expect = "off", false
	case PowerOn:
		if d.s.Power != "on" && d.s.Power != "starting" { // a port told twice has not cut the power
			d.forget()
			d.s.Power = "starting"
		}
	case LinkDown:
		d.s.LinkDown, d.s.LinkExcuse = true, true
	case LinkUp:
		d.s.LinkDown = false
	case LinkLost:
		d.weak("link lost", e)
	case HTTPRequest, HTTPResponse, Served, Handshake:
		if d.isHandset(e.SrcMAC) || e.SrcMAC == "" && d.s.Addrs[e.Src.Addr().Unmap()] {
			d.httpd(e)
		}
	default: // most kinds prove nothing
	}
}

// httpd folds the journal of the HTTPS service: what is encrypted on the wire
// has no other witness. Over HTTP the wire says it.
func (d *deriver) httpd(e *Event) {
	if e.Kind == Handshake {
		if !e.Complete {
			if d.s.Hellos[e.Src] {
				d.refused(e, e.Src, e.Dst, handshakeRefusal(e))
			}
		} else {
			delete(d.s.Refusals, e.Src)
		}
		return
	}
	if e.Transport != HTTPS {
		return
	}
	switch e.Kind {
	case HTTPRequest:
		d.httpAsked(e)
	case HTTPResponse:
		d.httpAnswered(e, e.Src, e.Dst)
	case Served:
		if e.Complete && whole(e.Status) {
			d.emit(Event{Kind: Fetched, Src: e.Src, Dst: e.Dst, SrcMAC: e.SrcMAC, Transport: HTTPS, File: e.File, Bytes: e.Bytes, SHA256: e.SHA256, Complete: true})
		}
	default: // the caller lets four kinds in
	}
}

// wire folds what was seen on the handset's cable.
func (d *deriver) wire(e *Event) {
	from, to := d.isHandset(e.SrcMAC), d.isHandset(e.DstMAC)
	if from {
		d.alive(e)
		if a := e.Src.Addr(); a.IsValid() && !a.IsUnspecified() {
			remember(d.s.Addrs, a.Unmap(), true)
		}
	}
	switch e.Kind {
	case DHCPDiscover, DHCPRequest, DHCPDecline, DHCPRelease, DHCPInform:
		if from {
			d.dhcpSent(e)
		}
	case DHCPAck, DHCPNak:
		d.dhcpAnswer(e)
	case TFTPRead, TFTPAck, TFTPError:
		d.tftp(e, from, to)
	case TCPOpen, TLSClientHello:
		if from {
			delete(d.s.Refusals, e.Src) // the port begins a new connection
			if e.Kind == TLSClientHello {
				remember(d.s.Hellos, e.Src, true)
			} else {
				delete(d.s.Hellos, e.Src)
			}
		}
	case TLSAlert:
		if name := alertName(e.Reason); from && aboutCertificate(name) {
			d.refused(e, e.Src, e.Dst, name)
		}
	case HTTPRequest:
		if from && e.Transport != HTTPS {
			d.httpAsked(e)
		}
	case HTTPResponse:
		if to && e.Transport != HTTPS {
			d.httpAnswered(e, e.Dst, e.Src)
			if e.Complete && whole(e.Status) && e.Message != "HEAD" && e.Message != "" {
				d.emit(Event{Kind: Fetched, SrcMAC: e.DstMAC, DstMAC: e.SrcMAC, Src: e.Dst, Dst: e.Src, Transport: HTTP, File: e.File, Bytes: e.Bytes, SHA256: e.SHA256, Complete: true})
			}
		}
	case SIPRequest:
		if from && e.Message == "REGISTER" {
			d.registerSent(e)
		}
	case SIPResponse:
		if to && e.Message == "REGISTER" {
			d.registerAnswer(e)
		}
	default: // most kinds prove nothing
	}
	if from {
		d.used(e)
	}
}

// alive derives Booted from the first frame after the power came back.
func (d *deriver) alive(e *Event) {
	if d.s.Power == "starting" {
		d.s.Power, d.s.Expect = "on", false
		d.booted(e, "first "+string(e.Kind)+" after power on")
	}
}

func (d *deriver) booted(e *Event, reason string) {
	d.emit(Event{Kind: Booted, SrcMAC: e.SrcMAC, Src: e.Src, Reason: reason})
}

// used notes that the handset is at work: what it does next that looks like a
// boot can no longer be blamed on the link.
func (d *deriver) used(e *Event) {
	switch e.Kind {
	case DHCPDiscover, DHCPRequest, DHCPDecline, DHCPRelease, DHCPInform, ARPRequest, ARPReply, ARPProbe, ARPAnnouncement, Malformed, TCPClosed:
		return
	default: // anything else is work
	}
	if l, ok := d.s.Leases[e.SrcMAC]; ok && !l.Used {
		l.Used = true
		d.s.Leases[e.SrcMAC] = l
	}
}

// forget begins a new boot: nothing of the old one stands any more.
func (d *deriver) forget() {
	clear(d.s.Leases)
	clear(d.s.Requests)
	clear(d.s.Registrations)
	clear(d.s.Registers)
	clear(d.s.Transfers)
	clear(d.s.Challenged)
	clear(d.s.Refusals)
	clear(d.s.Hellos)
	d.s.LinkExcuse = d.s.LinkDown
	d.s.Released, d.s.Removed = false, false
	d.s.Weak = nil
}

// weak keeps a ground that does not suffice alone.
func (d *deriver) weak(ground string, e *Event) {
	if len(d.s.Weak) < 8 { // a flapping link says nothing more the ninth time
		d.s.Weak = append(d.s.Weak, withFrame(ground, e))
	}
}

// ground derives a reboot from a ground that suffices.
func (d *deriver) ground(ground string, e *Event) {
	grounds := append(slices.Clone(d.s.Weak), withFrame(ground, e))
	expected := d.s.Expect
	d.forget()
	d.s.Expect = false
	reason := strings.Join(grounds, "; ")
	if expected {
		d.booted(e, "asked for: "+reason)
		return
	}
	d.emit(Event{Kind: Rebooted, SrcMAC: e.SrcMAC, Src: e.Src, Reason: reason})
}

func withFrame(ground string, e *Event) string {
	if e.Frame > 0 {
		return ground + " (frame " + strconv.Itoa(e.Frame) + ")"
	}
	return ground
}

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
		remember(d.s.Requests, mac, exchange{XID: xid, At: at})
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

// initReboot tells a REQUEST of a client that starts with a remembered address
// (RFC 2131, 4.3.2): option 50, no server identifier, ciaddr zero.
func initReboot(e *Event) bool {
	return e.Fields["dhcp.option.requested_ip_address"] != "" && e.Fields["dhcp.option.dhcp_server_id"] == "" && unset(e.Fields["dhcp.ip.client"])
}

func unset(addr string) bool { return addr == "" || addr == "0.0.0.0" }

// dhcpAnswer folds ACK and NAK, whoever sent them.
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
	remember(d.s.Leases, mac, l)
	d.s.Released = false
	if !d.s.LinkDown {
		d.s.LinkExcuse = false
	}
	if held && before.Addr == addr {
		return // renewed
	}
	bound := Event{Kind: Bound, SrcMAC: mac, DstMAC: e.SrcMAC, Dst: e.Src}
	if a, err := netip.ParseAddr(addr); err == nil {
		remember(d.s.Addrs, a.Unmap(), true)
		bound.Src = netip.AddrPortFrom(a, 68)
	}
	if a, err := netip.ParseAddr(l.Server); err == nil {
		bound.Dst = netip.AddrPortFrom(a, 67)
	}
	d.emit(bound)
}

// tftp follows read transfers by the handset's end, its transfer identifier. A
// packet of an unknown identifier says nothing of them.
func (d *deriver) tftp(e *Event, from, to bool) {
	if e.Fields["tftp.unknown_tid"] == "true" {
		return
	}
	end := e.Src
	if to && !from {
		end = e.Dst
	}
	t, known := d.s.Transfers[end]
	switch {
	case e.Kind == TFTPRead && from:
		if known && t.File == e.File && !t.Moving && !t.Done {
			return // sent again
		}
		remember(d.s.Transfers, end, transfer{File: e.File})
		d.asked(e, TFTP)
	case e.Kind == TFTPError && (from || to):
		if known {
			t.Moving = true
			d.s.Transfers[end] = t
		}
	case e.Kind == TFTPAck && from:
		late := known && t.File != e.File // of the transfer before from the same port
		if !late && t.Done {
			return // the last acknowledgement sent again
		}
		if !late {
			remember(d.s.Transfers, end, transfer{File: e.File, Moving: true, Done: e.Complete})
		}
		if e.Complete {
			d.emit(Event{Kind: Fetched, SrcMAC: e.SrcMAC, DstMAC: e.DstMAC, Src: e.Src, Dst: e.Dst, Transport: TFTP, File: e.File, Bytes: e.Bytes, SHA256: e.SHA256, Complete: true})
		}
	}
}

func (d *deriver) asked(e *Event, over Transport) {
	if !d.s.LinkDown {
		d.s.LinkExcuse = false
	}
	d.emit(Event{Kind: Asked, SrcMAC: e.SrcMAC, DstMAC: e.DstMAC, Src: e.Src, Dst: e.Dst, Transport: over, File: e.File})
}

// httpAsked folds a GET. After 401 the same request with credentials is the
// same ask.
func (d *deriver) httpAsked(e *Event) {
	if e.Message != "" && e.Message != "GET" {
		return
	}
	over := e.Transport
	if over == "" {
		over = HTTP
	}
	key := requestKey(over, e.Src, e.Dst, e.File)
	if (e.Fields["http.authorization.scheme"] != "" || e.Fields["auth.scheme"] != "") && d.s.Challenged[key] {
		delete(d.s.Challenged, key)
		return
	}
	delete(d.s.Challenged, key)
	d.asked(e, over)
}

func (d *deriver) httpAnswered(e *Event, handset, server netip.AddrPort) {
	if e.Status != 401 {
		return
	}
	over := e.Transport
	if over == "" {
		over = HTTP
	}
	remember(d.s.Challenged, requestKey(over, handset, server, e.File), true)
}

func requestKey(over Transport, handset, server netip.AddrPort, file string) string {
	return fmt.Sprint(over, " ", handset.Addr().Unmap(), " ", server, " ", file)
}

// whole tells whether a status goes with a whole file; 0 is a service that
// does not say.
func whole(status int) bool { return status == 0 || status == 200 }

// refused tells a refusal once per connection: over TLS 1.2 both the wire and
// the service see it.
func (d *deriver) refused(e *Event, handset, server netip.AddrPort, reason string) {
	if reason == "" || d.s.Refusals[handset] {
		return
	}
	remember(d.s.Refusals, handset, true)
	refusal := Event{Kind: Refused, SrcMAC: e.SrcMAC, Src: handset, Dst: server, Transport: HTTPS, Reason: reason}
	if cert := e.Fields["tls.cert"]; cert != "" {
		refusal.Fields = map[string]string{"tls.cert": cert}
	}
	d.emit(refusal)
}

// handshakeRefusal returns why a handshake that the service saw fail failed,
// as far as that is the certificate; else the empty string.
func handshakeRefusal(e *Event) string {
	for _, text := range []string{e.Fields["tls.alert"], e.Reason} {
		if name := alertName(text); aboutCertificate(name) {
			return name
		}
	}
	if e.Fields["tls.alert"] != "" || e.Fields["tls.alert_message.desc"] != "" || e.Fields["tls.cert"] == "" {
		return "" // another alert, or no certificate was shown yet
	}
	// A stack without alerts just goes away once it has seen the certificate.
	if strings.Contains(e.Reason, "by the handset") {
		return "without an alert: " + e.Reason
	}
	return ""
}

// alertName brings the name of an alert into the form of RFC 8446, section 6:
// crypto/tls writes "remote error: tls: unknown certificate authority".
func alertName(text string) string {
	text = strings.ToLower(text)
	if i := strings.LastIndex(text, "tls: "); i >= 0 {
		text = text[i+len("tls: "):]
	}
	switch text {
	case "unknown certificate authority":
		return "unknown_ca"
	case "expired certificate":
		return "certificate_expired"
	case "revoked certificate":
		return "certificate_revoked"
	case "unknown certificate":
		return "certificate_unknown"
	}
	return strings.ReplaceAll(text, " ", "_")
}

func aboutCertificate(alert string) bool {
	switch alert {
	case "bad_certificate", "unsupported_certificate", "certificate_revoked", "certificate_expired", "certificate_unknown", "unknown_ca",
		"no_certificate", "bad_certificate_status_response", "bad_certificate_hash_value":
		return true
	}
	return false
}

// registerSent folds a REGISTER of the handset.
func (d *deriver) registerSent(e *Event) {
	call, user := e.Fields["sip.Call-ID"], e.Fields["sip.From.user"]
	key := registrationKey(user, e.Dst)
	r, ok := d.s.Registrations[key]
	switch {
	case ok && r.CallID != call && e.At.Before(r.Until):
		d.ground("REGISTER with a new Call-ID", e)
	case !ok && d.s.Expect && len(d.s.Registrations) == 0 && len(d.s.Leases) == 0:
		d.ground("REGISTER", e)
	}
	cseq := e.Fields["sip.CSeq.seq"]
	if old, ok := d.s.Registers[call]; ok && old.CSeq == cseq {
		return // sent again
	}
	remember(d.s.Registers, call, register{
		CSeq: cseq, User: user, Expires: e.Fields["sip.Expires"], Agent: e.Fields["sip.User-Agent"], Contact: e.Fields["sip.contact"],
		Src: e.Src, Dst: e.Dst,
	})
}

func registrationKey(user string, registrar netip.AddrPort) string {
	return user + "@" + registrar.String()
}

// registerAnswer folds the final answer to a REGISTER.
func (d *deriver) registerAnswer(e *Event) {
	call := e.Fields["sip.Call-ID"]
	r, known := d.s.Registers[call]
	if !known || r.CSeq != e.Fields["sip.CSeq.seq"] {
		// Its request was not seen, or is an older one: what the answer says of
		// itself has to do.
		r = register{CSeq: e.Fields["sip.CSeq.seq"], User: e.Fields["sip.From.user"], Expires: e.Fields["sip.Expires"], Contact: e.Fields["sip.contact"], Src: e.Dst, Dst: e.Src}
	}
	if e.Status < 200 || r.Done {
		return
	}
	key := registrationKey(r.User, r.Dst)
	switch {
	case e.Status == 401, e.Status == 407, e.Status == 423:
		return // comes again with credentials, or with a longer expiry
	case e.Status >= 300:
		delete(d.s.Registrations, key)
		return
	}
	r.Done = true
	remember(d.s.Registers, call, r)
	granted, ok := seconds(e.Fields["sip.Expires"])
	if !ok {
		if granted, ok = seconds(r.Expires); !ok {
			granted = 3600 // RFC 3261, 10.3: the registrar's own choice; its usual one
		}
	}
	if granted == 0 {
		if _, ok := d.s.Registrations[key]; ok {
			delete(d.s.Registrations, key)
			d.s.Removed = true
			d.weak("registration removed", e)
		}
		return
	}
	d.s.Removed = false
	remember(d.s.Registrations, key, registration{CallID: call, Until: e.At.Add(time.Duration(granted) * time.Second).UTC()})
	if !d.s.LinkDown {
		d.s.LinkExcuse = false
	}
	d.s.Weak = nil
	fields := map[string]string{"sip.Call-ID": call, "sip.From.user": r.User}
	for name, value := range map[string]string{"sip.Expires": r.Expires, "sip.User-Agent": r.Agent, "sip.contact": r.Contact} {
		if value != "" {
			fields[name] = value
		}
	}
	d.emit(Event{Kind: Registered, SrcMAC: e.DstMAC, DstMAC: e.SrcMAC, Src: r.Src, Dst: r.Dst, Status: e.Status, Number: granted, Fields: fields})
}

// seconds reads a count of seconds (RFC 3261: up to 2**32-1).
func seconds(s string) (int, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	return int(n), err == nil
}

// remember puts a value into a bounded table.
func remember[K comparable, V any](m map[K]V, key K, value V) {
	if _, ok := m[key]; !ok && len(m) >= remembered {
		delete(m, slices.MinFunc(slices.Collect(maps.Keys(m)), inOrder[K]))
	}
	m[key] = value
}

// inOrder compares two keys of a table.
func inOrder[K comparable](a, b K) int {
	switch x := any(a).(type) {
	case string:
		if y, ok := any(b).(string); ok {
			return strings.Compare(x, y)
		}
	case netip.AddrPort:
		if y, ok := any(b).(netip.AddrPort); ok {
			return x.Compare(y)
		}
	}
	return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

package timeline

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

const (
	phone  = "00:00:5e:00:53:01"
	module = "00:00:5e:00:53:02"
	server = "00:00:5e:00:53:fe"
)

// start is when every script begins.
func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// script writes events by hand, one second apart.
type script struct {
	events []Event
	at     time.Time
	frame  int
	mac    string
	cseq   int
}

func newScript(build ...func(*script)) *script {
	s := &script{at: start(), mac: phone}
	for _, b := range build {
		b(s)
	}
	return s
}

func (s *script) wait(d time.Duration) { s.at = s.at.Add(d) }

func (s *script) add(e Event) {
	s.at = s.at.Add(time.Second)
	e.At = s.at
	e.After = s.frame
	s.events = append(s.events, e)
}

func (s *script) journal(by string, k Kind) { s.add(Event{By: by, Kind: k}) }

func (s *script) sent(e Event) {
	s.frame++
	e.By, e.Frame, e.SrcMAC, e.DstMAC = Wire, s.frame, s.mac, server
	s.add(e)
}

func (s *script) got(e Event) {
	s.frame++
	e.By, e.Frame, e.SrcMAC, e.DstMAC = Wire, s.frame, server, s.mac
	s.add(e)
}

func end4(addr string, port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(port))
}

func (s *script) own(port int) netip.AddrPort { return end4("192.0.2.10", port) }
func (s *script) rig(port int) netip.AddrPort { return end4("192.0.2.1", port) }

func (s *script) dhcp(k Kind, xid string, fields ...string) {
	f := map[string]string{"dhcp.id": xid, "dhcp.hw.mac_addr": s.mac, "dhcp.ip.client": "0.0.0.0", "dhcp.ip.your": "0.0.0.0"}
	for i := 0; i+1 < len(fields); i += 2 {
		f[fields[i]] = fields[i+1]
	}
	e := Event{Kind: k, Fields: f}
	switch k {
	case DHCPOffer, DHCPAck, DHCPNak:
		e.Src, e.Dst = s.rig(67), end4("255.255.255.255", 68)
		s.got(e)
	default:
		e.Src, e.Dst = end4("0.0.0.0", 68), end4("255.255.255.255", 67)
		s.sent(e)
	}
}

func (s *script) discover(xid string) { s.dhcp(DHCPDiscover, xid) }

func (s *script) selecting(xid string) {
	s.dhcp(DHCPRequest, xid, "dhcp.option.requested_ip_address", "192.0.2.10", "dhcp.option.dhcp_server_id", "192.0.2.1")
}

func (s *script) initReboot(xid string) {
	s.dhcp(DHCPRequest, xid, "dhcp.option.requested_ip_address", "192.0.2.10")
}

func (s *script) renew(xid string) { s.dhcp(DHCPRequest, xid, "dhcp.ip.client", "192.0.2.10") }

func (s *script) ack(xid string, lease int) {
	s.dhcp(DHCPAck, xid, "dhcp.ip.your", "192.0.2.10", "dhcp.option.dhcp_server_id", "192.0.2.1", "dhcp.option.ip_address_lease_time", strconv.Itoa(lease))
}

// bind is a whole exchange.
func (s *script) bind(xid string) {
	s.discover(xid)
	s.dhcp(DHCPOffer, xid, "dhcp.ip.your", "192.0.2.10")
	s.selecting(xid)
	s.ack(xid, 3600)
}

func (s *script) rrq(file string, port int) {
	s.sent(Event{Kind: TFTPRead, Transport: TFTP, File: file, Src: s.own(port), Dst: s.rig(69)})
}

func (s *script) data(file string, port, block int) {
	s.got(Event{Kind: TFTPData, Transport: TFTP, File: file, Number: block, Bytes: 512, Src: s.rig(40000), Dst: s.own(port)})
}

func (s *script) tftpAck(file string, port, block int, complete bool) {
	e := Event{Kind: TFTPAck, Transport: TFTP, File: file, Number: block, Src: s.own(port), Dst: s.rig(40000), Complete: complete}
	if complete {
		e.Bytes, e.SHA256 = int64(block)*512, "0123456789abcdef"
	}
	s.sent(e)
}

// fetch is a whole transfer of one block.
func (s *script) fetch(file string, port int) {
	s.rrq(file, port)
	s.data(file, port, 1)
	s.tftpAck(file, port, 1, true)
}

func (s *script) notFound(file string, port int) {
	s.rrq(file, port)
	s.got(Event{Kind: TFTPError, Transport: TFTP, File: file, Status: 1, Src: s.rig(40000), Dst: s.own(port)})
}

func (s *script) registerSent(user, call string, expires int) {
	s.cseq++
	s.sent(Event{Kind: SIPRequest, Message: "REGISTER", Src: s.own(5060), Dst: s.rig(5060), Fields: map[string]string{
		"sip.Call-ID": call, "sip.CSeq.seq": strconv.Itoa(s.cseq), "sip.From.user": user, "sip.Expires": strconv.Itoa(expires), "sip.User-Agent": "LG 1.2.3",
	}})
}

func (s *script) registerAnswer(user, call string, status, expires int) {
	f := map[string]string{"sip.Call-ID": call, "sip.CSeq.seq": strconv.Itoa(s.cseq), "sip.From.user": user}
	if expires >= 0 {
		f["sip.Expires"] = strconv.Itoa(expires)
	}
	s.got(Event{Kind: SIPResponse, Message: "REGISTER", Status: status, Src: s.rig(5060), Dst: s.own(5060), Fields: f})
}

func (s *script) register(user, call string) {
	s.registerSent(user, call, 300)
	s.registerAnswer(user, call, 200, 300)
}

func (s *script) powerCycle() {
	s.journal("power", PowerOff)
	s.journal("power", PowerOn)
}

func (s *script) get(over Transport, file string, port int, fields ...string) {
	e := Event{Kind: HTTPRequest, Message: "GET", Transport: over, File: file, Src: s.own(port), Dst: s.rig(80), Fields: map[string]string{}}
	for i := 0; i+1 < len(fields); i += 2 {
		e.Fields[fields[i]] = fields[i+1]
	}
	if over == HTTPS {
		e.By, e.Dst = "httpd", s.rig(443)
		s.add(e)
		return
	}
	s.sent(e)
}

func (s *script) answer(over Transport, file string, port, status int, complete bool) {
	if over == HTTPS {
		e := Event{By: "httpd", Kind: HTTPResponse, Transport: HTTPS, File: file, Status: status, Src: s.own(port), Dst: s.rig(443)}
		s.add(e)
		if status == 200 {
			e.Kind, e.Complete, e.Bytes, e.SHA256 = Served, complete, 1000, "fedcba98"
			s.add(e)
		}
		return
	}
	s.got(Event{Kind: HTTPResponse, Message: "GET", Transport: over, File: file, Status: status, Complete: complete, Bytes: 1000, SHA256: "fedcba98", Src: s.rig(80), Dst: s.own(port)})
}

func (s *script) handshake(port int, complete bool, reason string) {
	s.add(Event{By: "httpd", Kind: Handshake, Transport: HTTPS, Complete: complete, Reason: reason, Src: s.own(port), Dst: s.rig(443), Fields: map[string]string{"tls.cert": "expired"}})
}

func (s *script) hello(port int) {
	s.sent(Event{Kind: TLSClientHello, Transport: HTTPS, Src: s.own(port), Dst: s.rig(443)})
}

func (s *script) alert(port int, reason string) {
	s.sent(Event{Kind: TLSAlert, Transport: HTTPS, Reason: reason, Src: s.own(port), Dst: s.rig(443)})
}

// fold makes a timeline of the script.
func (s *script) fold() *Timeline {
	t := New(Config{HandsetMACs: []string{phone, module}, ServerMACs: []string{server}})
	for _, e := range s.events {
		t.Add(e)
	}
	return t
}

// facts are what was derived, as words.
func facts(events []Event) []string {
	var out []string
	for i := range events {
		if e := &events[i]; e.By == Derived {
			out = append(out, Words(*e))
		}
	}
	return out
}

func describe(events []Event) string {
	s := ""
	for i, e := range events {
		s += fmt.Sprintf("%d: %s %s\n", i+1, e.By, Words(e))
	}
	return s
}

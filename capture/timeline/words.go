package timeline

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

// Words says in the words of the field what happened, without when and where it
// is recorded.
func Words(e Event) string { return words(&e, bare) }

// form is how much is said of an event.
type form int

const (
	bare  form = iota // what happened
	short             // and which service says so
	long              // and everything that decides what a handset does next
)

func words(e *Event, as form) string {
	f := e.Fields
	var s string
	switch e.Kind {
	case DHCPDiscover, DHCPOffer, DHCPRequest, DHCPDecline, DHCPAck, DHCPNak, DHCPRelease, DHCPInform, BOOTP, DHCPOther:
		s = dhcpWords(e, as)
	case ARPRequest, ARPReply, ARPProbe, ARPAnnouncement:
		s = arpWords(e)
	case TFTPRead, TFTPWrite:
		s = join(string(e.Kind), nonEmpty(f["tftp.source_file"], e.File))
	case TFTPData:
		s = fmt.Sprintf("DATA block %d, %d bytes, of %s", e.Number, e.Bytes, e.File)
	case TFTPAck:
		s = fmt.Sprintf("ACK block %d of %s", e.Number, e.File)
		if e.Complete {
			s += ", complete"
		}
	case TFTPOAck:
		s = join("OACK", e.File)
	case TFTPError:
		s = join(fmt.Sprintf("error %d", e.Status), e.Reason, "for "+nonEmpty(f["tftp.source_file"], e.File))
	case HTTPRequest:
		s = join(nonEmpty(e.Message, "request"), "/"+path(e.File))
		if scheme := nonEmpty(f["http.authorization.scheme"], f["auth.scheme"]); scheme != "" {
			s = join(s, "with "+scheme+" credentials", userOf(nonEmpty(f["http.authorization.username"], f["auth.user"])))
		}
		s += secured(e)
	case HTTPResponse:
		s = fmt.Sprintf("%d for /%s, %d bytes", e.Status, path(e.File), e.Bytes) + secured(e)
		if e.Message == "" && e.By == Wire {
			s = fmt.Sprintf("%d, %d bytes, for a request that is not in the capture", e.Status, e.Bytes)
		}
		if !e.Complete && e.By == Wire {
			s += commaed(e.Reason)
		}
		if strings.HasSuffix(strings.ToLower(f["http.transfer_encoding"]), "chunked") {
			s += ", chunked"
		}
		if v := f["http.location"]; v != "" {
			s += ", Location " + path(v)
		}
		if v := f["http.www_authenticate.text"]; v != "" {
			s += ", " + v
		}
	case SIPRequest:
		s = sipWords(e)
	case SIPResponse:
		s = join(strconv.Itoa(e.Status), f["sip.reason"])
		if e.Message != "" {
			s += " to " + e.Message
		}
		s += commaed(e.Reason)
		if v := f["sip.WWW-Authenticate.text"]; v != "" {
			s += ", " + v
		}
	case DNSQuery, DNSResponse:
		s = dnsWords(e)
	case SNTPRequest, SNTPResponse:
		s = sntpWords(e)
	case TLSClientHello:
		s = join("ClientHello", f["tls.handshake.extensions_server_name"])
		if as == long {
			s += commaed(tlsVersion(highest(nonEmpty(f["tls.handshake.extensions.supported_version"], f["tls.handshake.version"]))))
		}
	case TLSServerHello:
		s = join("ServerHello", e.Message)
		s += commaed(tlsVersion(nonEmpty(f["tls.handshake.extensions.supported_version"], f["tls.handshake.version"])))
		s += commaed(suiteName(f["tls.handshake.ciphersuite"]))
	case TLSCertificate:
		s = certificateWords(e)
	case ICMPUnreachable:
		s = "ICMP " + e.Message
		switch {
		case e.File != "":
			s += ", for RRQ " + e.File
		case f["icmp.about"] != "":
			s += ", for " + f["icmp.about"]
		}
	case TCPTry:
		s = "TCP try"
		if as == long {
			s = join(s, "to", end(e.Dst))
		}
	case TCPRefused:
		s = "TCP refused (RST)"
	case EAPOL:
		s = e.Message
		if !strings.HasPrefix(s, "EAP") {
			s = "EAPOL " + s
		}
	case Malformed:
		s = "malformed " + e.Reason
		if strings.HasSuffix(e.Reason, "in answer to a ClientHello") {
			s = e.Reason
		}
	case CutShort:
		s = fmt.Sprintf("%s, cut by the capture at %d bytes", e.Message, e.Bytes)
	case TLSAlert:
		s = join("alert", e.Reason)
	case Asked:
		s = fmt.Sprintf("asked for %s over %s at %s", path(e.File), e.Transport, end(e.Dst))
	case Fetched:
		s = fmt.Sprintf("fetched %s over %s, %d bytes", path(e.File), e.Transport, e.Bytes)
		if e.SHA256 != "" {
			s += ", sha256 " + e.SHA256[:min(8, len(e.SHA256))]
		}
	case Bound:
		s = "bound to " + e.Src.Addr().String()
	case Registered:
		s = fmt.Sprintf("registered as %s at %s from port %d", f["sip.From.user"], end(e.Dst), e.Src.Port())
		if x := f["sip.Expires"]; x != "" {
			s += ", expires " + x
		}
		if a := f["sip.User-Agent"]; a != "" {
			s += ", " + strconv.Quote(a)
		}
	case Refused:
		s = join("refused the certificate", f["tls.cert"]) + ": " + e.Reason
	case Rebooted, Booted:
		s = string(e.Kind) + ": " + e.Reason
	case Handshake:
		s = join("handshake", f["tls.version"])
		if c := f["tls.cert"]; c != "" {
			s = join(s, "with certificate", c)
		}
		if e.Complete {
			s += ", complete"
		} else {
			s += ", not complete: " + e.Reason
		}
	case Served:
		s = fmt.Sprintf("served %s over %s, %d bytes", path(e.File), e.Transport, e.Bytes)
		if !e.Complete {
			s = join(s+", not whole:", nonEmpty(e.Reason, "broken off"))
		}
	case Verb:
		s = "verb " + e.Message
	case Given:
		s = "given " + e.Message
		if e.Reason != "" {
			s += ": " + e.Reason
		}
	case Judgement:
		s = join("judgement", e.Message, f["case"]) + ":"
		if f["negated"] == "true" {
			s += " not"
		}
		s = join(s, f["matcher"], nonEmpty(f["verdict"], "no verdict"), e.Reason)
	case TCPClosed:
		s = fmt.Sprintf("TCP closed after %d bytes", e.Bytes)
	case ConnClosed:
		s = join("connection", nonEmpty(e.Reason, "closed"))
	case CarriedState:
		s = "state carried over"
	default:
		s = join(string(e.Kind), e.Message, e.File, e.Reason)
	}
	if as != bare && e.By != Wire && e.By != Derived && e.Kind != Verb && e.Kind != Given && e.Kind != Judgement && e.By != "" {
		s = e.By + ": " + s
	}
	return printable(s)
}

// secured marks a message that the wire does not show.
func secured(e *Event) string {
	if e.Transport == HTTPS {
		return " (https)"
	}
	return ""
}

func userOf(user string) string {
	if user == "" {
		return ""
	}
	return "of " + user
}

func nonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// join puts those parts together that are not empty.
func join(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		if p == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p)
	}
	return b.String()
}

func end(a netip.AddrPort) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

// path leaves the query out: it may hold what nobody else should read.
func path(file string) string {
	if p, _, found := strings.Cut(file, "?"); found {
		return p + "?…"
	}
	return file
}

// printable keeps what a host wrote from moving the terminal's cursor.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0 {
		return s
	}
	return strings.Trim(strconv.Quote(s), `"`)
}

// commaed is ", text", or nothing.
func commaed(text string) string {
	if text == "" {
		return ""
	}
	return ", " + text
}

func dhcpWords(e *Event, as form) string {
	f := e.Fields
	client, wanted := f["dhcp.ip.client"], f["dhcp.option.requested_ip_address"]
	var s string
	switch e.Kind {
	case DHCPRequest:
		switch server := f["dhcp.option.dhcp_server_id"]; {
		case server != "":
			s = join("REQUEST", wanted, "of server", server)
		case !unset(client) && e.Dst.IsValid() && e.Dst.Addr() == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			s = join("REQUEST, rebinding", client)
		case !unset(client):
			s = join("REQUEST, renewing", client)
		case wanted != "":
			s = join("REQUEST, INIT-REBOOT,", wanted)
		default:
			s = "REQUEST"
		}
	case DHCPDiscover, DHCPDecline, DHCPInform:
		s = join(string(e.Kind), wanted)
		if !unset(client) {
			s = join(s, "by "+client)
		}
	case DHCPRelease:
		s = join(string(e.Kind), client)
	case DHCPOffer, DHCPAck:
		s = string(e.Kind)
		if your := f["dhcp.ip.your"]; unset(your) {
			s += ", options only"
		} else {
			s = join(s, your)
		}
		if server := f["dhcp.option.dhcp_server_id"]; server != "" {
			s = join(s, "from server", server)
		}
		if t := f["dhcp.option.ip_address_lease_time"]; t != "" {
			s += " for " + t + " s"
		}
	case DHCPNak:
		s = join("NAK", e.Reason)
		if server := f["dhcp.option.dhcp_server_id"]; server != "" {
			s = join(s, "from server", server)
		}
	case DHCPOther:
		s = fmt.Sprintf("DHCP message type %d", e.Number)
	default:
		s = join(string(e.Kind), e.Message)
	}
	if as != long {
		return s
	}
	for _, o := range [][2]string{
		{"class ", f["dhcp.option.vendor_class_id"]},
		{"host name ", f["dhcp.option.hostname"]},
		{"asks for ", f["dhcp.option.request_list"]},
		{"router ", f["dhcp.option.router"]},
		{"DNS ", f["dhcp.option.domain_name_server"]},
		{"42 ", f["dhcp.option.ntp_server"]},
		{"43 ", f["dhcp.option.value.43"]},
		{"66 ", f["dhcp.option.tftp_server_name"]},
		{"67 ", f["dhcp.option.bootfile_name"]},
		{"132 ", f["dhcp.option.value.132"]},
		{"150 ", f["dhcp.option.tftp_server_address"]},
		{"160 ", f["dhcp.option.160"]},
		{"siaddr ", set(f["dhcp.ip.server"])},
		{"sname ", f["dhcp.server"]},
		{"file ", f["dhcp.file"]},
		{"relay ", set(f["dhcp.ip.relay"])},
		{"VLAN ", f["vlan.id"]},
	} {
		if o[1] != "" {
			s += ", " + o[0] + o[1]
		}
	}
	return s
}

// set is an address, or empty for 0.0.0.0.
func set(addr string) string {
	if unset(addr) {
		return ""
	}
	return addr
}

func arpWords(e *Event) string {
	f := e.Fields
	from, to, mac := f["arp.src.proto_ipv4"], f["arp.dst.proto_ipv4"], f["arp.src.hw_mac"]
	switch {
	case f == nil:
		return string(e.Kind)
	case e.Kind == ARPReply:
		return join("ARP reply:", from, "is at", mac)
	case e.Kind == ARPRequest:
		return join("ARP request: who has", to+"?", "asks", from)
	}
	return join(string(e.Kind), to)
}

// sipWords names both ends of a request: who sends it and which line it is for.
func sipWords(e *Event) string {
	f := e.Fields
	if e.Message == "REGISTER" {
		s := join("REGISTER", f["sip.From.user"], "at", end(e.Dst))
		if x := f["sip.Expires"]; x != "" {
			s += ", expires " + x
		}
		return s + commaed(e.Reason)
	}
	s := join(e.Message, f["sip.Event"])
	if user := f["sip.To.user"]; user != "" {
		s = join(s, "to", user)
	}
	if user := f["sip.From.user"]; user != "" {
		s = join(s, "from", user)
	}
	return s + commaed(e.Reason)
}

func dnsWords(e *Event) string {
	f := e.Fields
	s := join(string(e.Kind), e.Message)
	if kind := f["dns.qry.type"]; kind != "" && kind != "A" {
		s = join(s, kind)
	}
	if e.Kind == DNSQuery {
		return s
	}
	switch code := map[int]string{1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}[e.Status]; {
	case code != "":
		return s + ": " + code
	case e.Status != 0:
		return fmt.Sprintf("%s: rcode %d", s, e.Status)
	}
	return s + ": " + nonEmpty(nonEmpty(f["dns.srv"], f["dns.a"]), "no answer in it")
}

func sntpWords(e *Event) string {
	f := e.Fields
	s := string(e.Kind)
	if mode := map[string]string{"1": "symmetric active", "2": "symmetric passive", "5": "broadcast", "6": "control", "7": "private"}[f["ntp.flags.mode"]]; mode != "" {
		s = "NTP " + mode
	}
	if e.Kind == SNTPRequest {
		return s
	}
	if f["ntp.stratum"] == "0" && e.Reason != "" {
		return join(s, "kiss of death", e.Reason)
	}
	s += commaed(join("stratum", f["ntp.stratum"]))
	switch f["ntp.flags.li"] {
	case "1":
		s += ", a leap second is to come"
	case "2":
		s += ", a second is to be left out"
	case "3":
		s += ", not synchronised"
	}
	return s
}

func certificateWords(e *Event) string {
	f := e.Fields
	s := "Certificate"
	if f == nil {
		return s
	}
	s = join(s, f["x509.subject"])
	if names := f["x509.names"]; names != "" && names != f["x509.subject"] {
		s += ", names " + names
	}
	s += ", by " + nonEmpty(f["x509.issuer"], "nobody named")
	return fmt.Sprintf("%s, %s to %s, %s", s, f["x509.not_before"], f["x509.not_after"], f["x509.key"])
}

// highest is the highest version of a list, leaving out what only tests whether a
// server minds unknown values (RFC 8701).
func highest(list string) string {
	best := ""
	for v := range strings.SplitSeq(list, ",") {
		if v > best && tlsVersion(v) != "" {
			best = v
		}
	}
	return best
}

func tlsVersion(code string) string {
	return map[string]string{"0x0002": "SSL 2.0", "0x0300": "SSL 3.0", "0x0301": "TLS 1.0", "0x0302": "TLS 1.1", "0x0303": "TLS 1.2", "0x0304": "TLS 1.3"}[code]
}

// suiteName names a cipher suite as the registry of IANA does, without TLS_, where
// Go knows it.
func suiteName(code string) string {
	n, err := strconv.ParseUint(strings.TrimPrefix(code, "0x"), 16, 16)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(tls.CipherSuiteName(uint16(n)), "TLS_")
}

package timeline

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// flow is one exchange as both witnesses know it: the handset's end, and the
// file where one end serves several files in turn.
type flow struct {
	src  netip.AddrPort
	file string
}

// Disagreements compares the two witnesses of a recording: what
// the services wrote into the journal, and what the frames of the handset's
// cable show. Each transfer, request and answer of the journal must have its
// frames, each flow to a service its entry, and the bytes must be the same: of
// each file and answer in clear, of each connection that ended in order. The result
// is empty when they agree; it is a pure function of the events. Transfers that
// still run count for neither side. Of a flow that the rig itself impaired, or
// of which a fault hid an ACK from it, a service may have seen less than the
// cable carried, and something else where frames were altered on their way.
func Disagreements(events Log) []string {
	var out []string
	// Over the wire: whole TFTP transfers, requests in clear, whole answers, ClientHellos.
	wire, journal := ledger{}, ledger{}
	opened, named := map[netip.AddrPort]bool{}, map[netip.AddrPort]bool{}
	// A handset that goes away between SYN and ACK, its power cut, leaves a
	// connection that no service ever gets.
	used := map[netip.AddrPort]bool{}
	started := map[flow]bool{}
	// A service does not count what it calls odd (HTTP in clear at the TLS port).
	odd := map[netip.AddrPort]bool{}
	webs := connections{}
	impaired, altered := map[netip.AddrPort]bool{}, map[netip.AddrPort]bool{}
	for e := range events.All() {
		switch e.By {
		case Wire:
			wire.wire(e, opened, started)
			webs.wire(e)
			if e.Kind != TCPTry && e.Kind != TCPOpen && e.Kind != TCPClosed {
				used[e.Src] = true
			}
		case "httpd", "tftpd":
			if e.Src.IsValid() {
				named[e.Src] = true
				// A fault hid this ACK from the service; it may be the last.
				impaired[e.Src] = impaired[e.Src] || e.Kind == FaultFired && e.By == "tftpd" && e.Message == string(TFTPAck)
				odd[e.Src] = odd[e.Src] || e.Kind == ServiceOddity
				// A fault may be recorded before the first frame of its flow.
				if e.Frame == 0 && e.Kind != FaultFired && !brokenOff(e) && e.At.Sub(events.At(0).At) > inFlight {
					out = append(out, fmt.Sprintf("%s speaks of %s from %s, and no frame of that flow is recorded", e.By, e.Kind, e.Src))
				}
			}
			journal.journal(e)
			if e.By == "httpd" {
				webs.journal(e)
			}
		case Impair:
			if e.Kind == FaultFired && e.Src.IsValid() {
				impaired[e.Src] = true
				altered[e.Src] = altered[e.Src] || e.Fields[ImpairDid] == ImpairAltered
			}
		}
	}
	for src := range opened {
		if used[src] && !named[src] && !impaired[src] {
			out = append(out, fmt.Sprintf("the wire shows a connection from %s, and no service speaks of it", src))
		}
	}
	for key, n := range wire.counts {
		got := journal.counts[key]
		if got != n && !odd[key.src] && !altered[key.src] && (!impaired[key.src] || got > n) {
			out = append(out, fmt.Sprintf("%s: the wire shows %d, the journal %d", key, n, got))
		}
	}
	for key, n := range journal.counts {
		// A flow that began before the recording is not followed in it.
		if _, ok := wire.counts[key]; !ok && !altered[key.src] && (opened[key.src] || started[flow{key.src, key.file}]) {
			out = append(out, fmt.Sprintf("%s: the journal speaks of %d, the wire of none", key, n))
		}
	}
	for key, n := range wire.bytes {
		if got, ok := journal.bytes[key]; ok && got != n && !altered[key.src] {
			out = append(out, fmt.Sprintf("%s: %d bytes on the wire, %d in the journal", key, n, got))
		}
	}
	out = append(out, webs.quarrels(altered)...)
	out = append(out, unspoken(events, impaired)...)
	slices.Sort(out)
	return out
}

// unspoken compares answers of one datagram (those to SIP requests among them), and
// requests over TLS, with the journal: each answer on the wire to a request of this
// recording has its entry, and each answer in the journal has its request.
func unspoken(events Log, impaired map[netip.AddrPort]bool) []string {
	var out []string
	own := handsetMACs(events)
	type key struct{ by, id string }
	asked, said, answered := map[key]bool{}, map[key]bool{}, map[key]int{}
	// The frames do not show which message one that cannot be read is.
	unreadable := map[netip.AddrPort]bool{}
	requests, powered := map[netip.AddrPort]int{}, false
	complain := func(k key, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if !slices.Contains(out, text) && k.by != "" {
			out = append(out, text)
		}
	}
	for e := range events.All() {
		k := key{e.By, e.Src.String()}
		switch {
		case e.Kind == PowerOn:
			powered = true
		case e.By == Wire:
			switch e.Kind {
			case SNTPRequest:
				asked[key{"sntpd", e.Src.String()}] = true
			case DNSQuery:
				asked[key{"dnsd", e.Src.String()}] = true
			case DHCPDiscover, DHCPRequest, DHCPInform:
				asked[key{"dhcpd", e.Fields["dhcp.id"]}] = true
			case SIPRequest:
				if own[e.SrcMAC] {
					asked[key{"sipd", transaction(e)}] = true
				}
			case SIPResponse:
				if !own[e.SrcMAC] {
					answered[key{"sipd", transaction(e)}] = e.Frame
				}
			case Malformed:
				unreadable[e.Src] = true
			case SNTPResponse, DNSResponse:
				by := "sntpd"
				if e.Kind == DNSResponse {
					by = "dnsd"
				}
				if !impaired[e.Dst] {
					answered[key{by, e.Dst.String()}] = e.Frame
				}
			case DHCPOffer, DHCPAck, DHCPNak:
				answered[key{"dhcpd", e.Fields["dhcp.id"]}] = e.Frame
			default:
			}
		case e.By == "dhcpd":
			said[key{e.By, e.Fields["dhcp.id"]}] = true
		case e.By == "sntpd" || e.By == "dnsd":
			said[k] = true
			if (e.Kind == SNTPResponse || e.Kind == DNSResponse) && e.Reason == "" && powered && !asked[k] && !impaired[e.Src] {
				complain(k, "%s speaks of an answer to %s, and the wire shows no request", e.By, e.Src)
			}
		case e.By == "sipd" && e.Kind == SIPResponse:
			said[key{e.By, transaction(e)}] = true
			// One that is sent again may answer a request of long before.
			if e.Reason == "" && powered && !asked[key{e.By, transaction(e)}] && !unreadable[e.Src] && !impaired[e.Src] {
				complain(k, "sipd speaks of an answer to %s of %s, and the wire shows no request", e.Message, e.Src)
			}
		case e.By == "httpd" && e.Kind == HTTPRequest:
			requests[e.Src]++
		case e.By == "httpd" && e.Kind == HTTPResponse:
			if requests[e.Src]--; requests[e.Src] < 0 && powered {
				complain(k, "httpd speaks of an answer to %s, and not of the request", e.Src)
			}
		}
	}
	for k, frame := range answered {
		if asked[k] && !said[k] {
			complain(k, "the wire shows an answer to %s (frame %d), and %s does not speak of it", k.id, frame, k.by)
		}
	}
	return out
}

// transaction names a SIP request and its answers: Call-ID, number and method.
func transaction(e *Event) string {
	// Any white space may stand between the two (RFC 3261, section 25.1: LWS).
	words := strings.Fields(e.Fields["sip.CSeq"])
	if len(words) > 0 {
		words[0] = strings.TrimLeft(words[0], "0")
	}
	return fmt.Sprintf("%.256s %s", e.Fields["sip.Call-ID"], strings.Join(words, " "))
}

// account is what is counted of a flow.
type account struct {
	what string
	flow
}

func (a account) String() string {
	if a.file == "" {
		return fmt.Sprintf("%s from %s", a.what, a.src)
	}
	return fmt.Sprintf("%s of %q from %s", a.what, a.file, a.src)
}

type ledger struct {
	counts map[account]int
	bytes  map[account]int64
}

func (l *ledger) add(what string, src netip.AddrPort, file string, n int64) {
	if l.counts == nil {
		l.counts, l.bytes = map[account]int{}, map[account]int64{}
	}
	key := account{what, flow{src, file}}
	l.counts[key]++
	if n >= 0 {
		l.bytes[key] += n
	}
}

// inFlight is how long after its beginning a recording may hold entries whose
// frames are still in the one before.
const inFlight = time.Second

// brokenOff recognises an entry that says no more than how a flow ended. The flow
// may have begun before the recording: a service waits in vain for a handset whose
// power was cut.
func brokenOff(e *Event) bool {
	return e.Kind == ConnClosed || e.Kind == ServiceOddity || !e.Complete && (e.Kind == Served || e.Kind == Handshake)
}

func (l *ledger) wire(e *Event, opened map[netip.AddrPort]bool, started map[flow]bool) {
	switch e.Kind {
	case TCPOpen:
		opened[e.Src] = true
	case TFTPRead:
		started[flow{e.Src, e.File}] = true
	case TFTPAck:
		if e.Complete {
			l.add("TFTP transfer", e.Src, e.File, e.Bytes)
		}
	case HTTPRequest:
		l.add("HTTP request", e.Src, "", -1)
	case TLSClientHello:
		l.add("ClientHello", e.Src, "", -1)
	default: // services write no entries about the others
	}
}

func (l *ledger) journal(e *Event) {
	switch {
	case e.By == "tftpd" && e.Kind == Served && e.Complete:
		l.add("TFTP transfer", e.Src, e.File, e.Bytes)
	case e.By == "httpd" && e.Kind == HTTPRequest && e.Transport == HTTP:
		l.add("HTTP request", e.Src, "", -1)
	case e.By == "httpd" && e.Kind == TLSClientHello:
		l.add("ClientHello", e.Src, "", -1)
	}
}

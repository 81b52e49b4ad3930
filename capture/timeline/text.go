package timeline

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Bounds of a ladder, in lines and columns.
const (
	ladderHead  = 8
	ladderTail  = 32
	ladderWidth = 56
)

// Text writes events down for a reader, as in timeline.txt: one line each with
// frame number, seconds since the first event, direction (-> from the handset,
// <- towards it) and the words of the field. The blocks of one TFTP transfer
// are one line. Verbs and judgements stand out. Passwords and keys are not in
// events, and query strings are left out.
func Text(events Log) string {
	if events.Len() == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "from %s\n", events.At(0).At.UTC().Format("2006-01-02 15:04:05.000000 MST"))
	fmt.Fprintf(&b, "%11s %11s      %s\n", "frame", "seconds", "what")
	for _, r := range rows(events, nil) {
		fmt.Fprintf(&b, "%11s %11s  %s  %s\n", r.frames, r.at, r.arrow(), r.words)
	}
	return b.String()
}

// Ladder is a short form of Text for failure texts: handset on the left, rig on
// the right, without what only explains itself, and cut in the middle when it
// is long. It is empty when there is nothing to show.
func Ladder(events Log) string {
	all := rows(events, tells)
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%11s %11s  handset%*s\n", "frame", "seconds", ladderWidth-len("handset")+2, "rig")
	for i, r := range all {
		if rest := len(all) - ladderHead - ladderTail; rest > 1 && i >= ladderHead && i < ladderHead+rest {
			if i == ladderHead {
				fmt.Fprintf(&b, "%11s %11s  … %d lines left out …\n", "", "", rest)
			}
			continue
		}
		fmt.Fprintf(&b, "%11s %11s  %s\n", r.frames, r.at, r.rung())
	}
	return b.String()
}

// tells says whether an event belongs into a ladder.
func tells(e *Event) bool {
	switch e.Kind {
	case ARPRequest, ARPReply, ARPProbe, ARPAnnouncement, TCPTry, TCPOpen, TCPClosed, TLSServerHello, TLSCertificate, TLSData,
		ConnClosed, ServiceUp, ServiceDown, Published, CarriedState, Served, Asked, Fetched, Bound:
		return false
	case HTTPRequest, HTTPResponse:
		return e.By == Wire || e.Transport == HTTPS
	default: // the others tell something
	}
	// Of what services say of plain protocols the wire is the better witness.
	return e.By == Wire || e.By == Derived || !spoken(e.Kind)
}

// spoken tells whether a kind is a message of a protocol.
func spoken(k Kind) bool {
	switch k {
	case DHCPDiscover, DHCPOffer, DHCPRequest, DHCPDecline, DHCPAck, DHCPNak, DHCPRelease, DHCPInform,
		TFTPRead, TFTPWrite, TFTPData, TFTPAck, TFTPError, TFTPOAck, TLSClientHello, TLSAlert,
		SIPRequest, SIPResponse, SNTPRequest, SNTPResponse, DNSQuery, DNSResponse:
		return true
	default: // the others are not
	}
	return false
}

// direction is who an event goes to.
type direction int

const (
	nowhere direction = iota
	fromHandset
	toHandset
	bothWays
)

// row is one line.
type row struct {
	frames string
	at     string
	dir    direction
	mark   string // for those that go nowhere
	words  string
}

func (r row) arrow() string {
	switch r.dir {
	case fromHandset:
		return "->"
	case toHandset:
		return "<-"
	case bothWays:
		return "<>"
	case nowhere:
	}
	return r.mark
}

func (r row) rung() string {
	dashes := strings.Repeat("-", max(1, ladderWidth-2-len([]rune(r.words))))
	switch r.dir {
	case fromHandset:
		return r.words + " " + dashes + ">"
	case toHandset:
		return "<" + dashes + " " + r.words
	case bothWays:
		return "<" + strings.Repeat("-", max(1, len(dashes)-3)) + " " + r.words + " ->"
	case nowhere:
	}
	return r.mark + " " + r.words
}

// rows makes the lines, of those events that keep wants (nil: of all).
func rows(events Log, keep func(*Event) bool) []row {
	if events.Len() == 0 {
		return nil
	}
	start := events.At(0).At
	own := handsetMACs(events)
	out := make([]row, 0, min(events.Len(), 1024))
	for i := 0; i < events.Len(); {
		e := events.At(i)
		if keep != nil && !keep(e) {
			i++
			continue
		}
		if n, r := blocks(events.From(i)); n > 1 {
			r.at = since(start, e.At)
			out = append(out, r)
			i += n
			continue
		}
		out = append(out, row{frames: frames(e.Frame, e.Frame), at: since(start, e.At), dir: way(e, own), mark: mark(e), words: words(e, true)})
		i++
	}
	return out
}

// blocks tells how many of the events are blocks and acknowledgements of one
// transfer in a row, and sums them up.
func blocks(events Log) (int, row) {
	n := 0
	var data, acks, bytes, lastData, lastAck int64
	firstData, firstAck := int64(-1), int64(-1)
	complete := false
	first, last := 0, 0
	one := events.At(0)
	for e := range events.All() {
		if e.Kind != TFTPData && e.Kind != TFTPAck || e.File != one.File || !sameFlow(e, one) {
			break
		}
		n++
		if first == 0 {
			first = e.Frame
		}
		last = max(last, e.Frame)
		number := int64(e.Number)
		if e.Kind == TFTPData {
			data++
			bytes += e.Bytes
			if firstData < 0 {
				firstData = number
			}
			lastData = number
			continue
		}
		acks++
		if firstAck < 0 {
			firstAck = number
		}
		lastAck = number
		complete = complete || e.Complete
	}
	if n < 2 {
		return n, row{}
	}
	var parts []string
	if data > 0 {
		parts = append(parts, fmt.Sprintf("%d DATA (%s, %d bytes)", data, span(firstData, lastData), bytes))
	}
	if acks > 0 {
		parts = append(parts, fmt.Sprintf("%d ACK (%s)", acks, span(firstAck, lastAck)))
	}
	text := strings.Join(parts, ", ") + " of " + printable(one.File)
	if complete {
		text += ", complete"
	}
	return n, row{frames: frames(first, last), dir: bothWays, words: text}
}

func span(first, last int64) string {
	if first == last {
		return fmt.Sprintf("block %d", first)
	}
	return fmt.Sprintf("blocks %d to %d", first, last)
}

func sameFlow(a, b *Event) bool {
	return a.Src == b.Src && a.Dst == b.Dst || a.Src == b.Dst && a.Dst == b.Src
}

func frames(first, last int) string {
	switch first {
	case 0:
		return ""
	case last:
		return strconv.Itoa(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func since(start, at time.Time) string { return fmt.Sprintf("%.6f", at.Sub(start).Seconds()) }

// handsetMACs learns the handset's addresses from what only clients send.
func handsetMACs(events Log) map[string]bool {
	own := map[string]bool{}
	for e := range events.All() {
		if e.SrcMAC == "" {
			continue
		}
		switch e.Kind {
		case DHCPDiscover, DHCPRequest, DHCPDecline, DHCPRelease, DHCPInform, TFTPRead, TFTPWrite, TLSClientHello, TCPTry, TCPOpen, SNTPRequest, DNSQuery,
			Booted, Rebooted, Asked, Fetched, Registered, Bound:
			own[e.SrcMAC] = true
		case HTTPRequest:
			if e.By == Wire {
				own[e.SrcMAC] = true
			}
		case SIPRequest:
			if e.Message == "REGISTER" {
				own[e.SrcMAC] = true
			}
		default: // the others go both ways
		}
	}
	return own
}

func way(e *Event, own map[string]bool) direction {
	hidden := e.Transport == HTTPS && (e.Kind == HTTPRequest || e.Kind == HTTPResponse) // the wire shows ciphertext
	if e.By == Derived || e.By != Wire && !hidden {
		return nowhere
	}
	switch {
	case own[e.SrcMAC]:
		return fromHandset
	case own[e.DstMAC]:
		return toHandset
	}
	switch e.Kind {
	case DHCPOffer, DHCPAck, DHCPNak, TFTPData, TFTPOAck, TLSServerHello, TLSCertificate, HTTPResponse, SNTPResponse, DNSResponse:
		return toHandset
	case DHCPDiscover, DHCPRequest, DHCPDecline, DHCPRelease, DHCPInform, TFTPRead, TFTPWrite, TLSClientHello, HTTPRequest, SNTPRequest, DNSQuery:
		return fromHandset
	default: // by kind, where no address says it
	}
	return nowhere
}

func mark(e *Event) string {
	switch {
	case e.Kind == Verb, e.Kind == Given, e.Kind == Judgement:
		return "=="
	case e.By == Derived:
		return " *"
	case e.Kind == FaultFired, e.Kind == FramesLost, e.Kind == ClockStepped:
		return " !"
	}
	return "  "
}

// Words says in the words of the field what happened, without when and where it
// is recorded.
func Words(e Event) string { return words(&e, false) }

func words(e *Event, line bool) string {
	f := e.Fields
	var s string
	switch e.Kind {
	case DHCPDiscover, DHCPRequest, DHCPDecline, DHCPInform:
		s = join(string(e.Kind), f["dhcp.option.requested_ip_address"])
		if a := f["dhcp.ip.client"]; !unset(a) {
			s = join(s, "by "+a)
		}
	case DHCPRelease:
		s = join(string(e.Kind), f["dhcp.ip.client"])
	case DHCPOffer, DHCPAck:
		s = join(string(e.Kind), f["dhcp.ip.your"])
		if t := f["dhcp.option.ip_address_lease_time"]; t != "" {
			s += " for " + t + " s"
		}
	case DHCPNak:
		s = join("NAK", e.Reason)
	case TFTPRead, TFTPWrite:
		s = join(string(e.Kind), e.File)
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
		s = join(fmt.Sprintf("error %d", e.Status), e.Reason, "for "+e.File)
	case HTTPRequest:
		s = join(nonEmpty(e.Message, "request"), "/"+path(e.File))
		if scheme := nonEmpty(f["http.authorization.scheme"], f["auth.scheme"]); scheme != "" {
			s = join(s, "with "+scheme+" credentials", userOf(nonEmpty(f["http.authorization.username"], f["auth.user"])))
		}
		s += secured(e)
	case HTTPResponse:
		s = fmt.Sprintf("%d for /%s, %d bytes", e.Status, path(e.File), e.Bytes) + secured(e)
	case SIPRequest:
		s = join(e.Message, f["sip.From.user"], f["sip.Event"])
		if x := f["sip.Expires"]; x != "" && e.Message == "REGISTER" {
			s += ", expires " + x
		}
	case SIPResponse:
		s = fmt.Sprintf("%d to %s", e.Status, e.Message)
	case TLSClientHello:
		s = join("ClientHello", f["tls.handshake.extensions_server_name"])
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
	if line && e.By != Wire && e.By != Derived && e.Kind != Verb && e.Kind != Given && e.Kind != Judgement && e.By != "" {
		s = e.By + ": " + s
	}
	return printable(s)
}

// secured tells a message that the wire does not show.
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

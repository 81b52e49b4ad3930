package timeline

import (
	"fmt"
	"io"
	"strings"
)

// Bounds of a ladder, in lines and columns.
const (
	ladderHead  = 8
	ladderTail  = 32
	ladderWidth = 56
)

// Text prints events for a reader, as in timeline.txt: one line each with
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
	writeText(&b, rows(events, nil))
	return b.String()
}

// writeText writes lines with their heading. A failed write shows in the writer.
func writeText(w io.Writer, all []row) {
	_, _ = fmt.Fprintf(w, "%11s %11s      %s\n", "frame", "seconds", "what")
	for _, r := range all {
		_, _ = fmt.Fprintf(w, "%11s %11s  %s  %s\n", r.frames, r.at, r.arrow(), r.words)
	}
}

// Ladder is a short form of Text for failure texts: handset on the left, rig on
// the right, without the events that only confirm others, and cut in the middle
// when it is long. It is empty when there is nothing to show.
func Ladder(events Log) string {
	all := rows(events, inLadder)
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	writeLadder(&b, all)
	return b.String()
}

// writeLadder writes lines as a ladder, cut in the middle when it is long. A failed
// write shows in the writer.
func writeLadder(w io.Writer, all []row) {
	_, _ = fmt.Fprintf(w, "%11s %11s  handset%*s\n", "frame", "seconds", ladderWidth-len("handset")+2, "rig")
	for i, r := range all {
		if rest := len(all) - ladderHead - ladderTail; rest > 1 && i >= ladderHead && i < ladderHead+rest {
			if i == ladderHead {
				_, _ = fmt.Fprintf(w, "%11s %11s  … %d lines left out …\n", "", "", rest)
			}
			continue
		}
		_, _ = fmt.Fprintf(w, "%11s %11s  %s\n", r.frames, r.at, r.rung())
	}
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

// inLadder reports whether an event belongs into a ladder.
func inLadder(e *Event) bool {
	switch e.Kind {
	case ARPRequest, ARPReply, ARPProbe, ARPAnnouncement, TCPTry, TCPOpen, TCPClosed, TLSServerHello, TLSCertificate, TLSData,
		ConnClosed, ServiceUp, ServiceDown, Published, CarriedState, Served, Asked, Fetched, Bound:
		return false
	case HTTPRequest, HTTPResponse:
		return e.By == Wire || e.Transport == HTTPS
	default: // the others are shown
	}
	// For protocols in clear the wire is a better witness than the services.
	return e.By == Wire || e.By == Derived || !spoken(e.Kind)
}

// spoken reports whether a kind is a message of a protocol.
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

// rows makes the lines, of those events that keep wants (nil: of all).
func rows(events Log, keep func(*Event) bool) []row {
	if events.Len() == 0 {
		return nil
	}
	as := long
	if keep != nil {
		as = short
	}
	t := newTeller(events.At(0).At, handsetMACs(events), as)
	for e := range events.All() {
		if keep == nil || keep(e) {
			t.add(e)
		}
	}
	return t.finish()
}

// handsetMACs learns the handset's addresses: the clients of DHCP, and whoever
// something was derived of. Where there is neither, it is who asks for files or
// registers.
func handsetMACs(events Log) map[string]bool {
	sure, likely := map[string]bool{}, map[string]bool{}
	for e := range events.All() {
		switch e.Kind {
		case DHCPDiscover, DHCPRequest, DHCPDecline, DHCPRelease, DHCPInform:
			sure[nonEmpty(e.Fields["dhcp.hw.mac_addr"], e.SrcMAC)] = true
		case Booted, Rebooted, Asked, Fetched, Registered, Bound:
			sure[e.SrcMAC] = true
		case TFTPRead, TFTPWrite, TLSClientHello:
			likely[e.SrcMAC] = true
		case HTTPRequest:
			if e.By == Wire {
				likely[e.SrcMAC] = true
			}
		case SIPRequest:
			if e.Message == "REGISTER" {
				likely[e.SrcMAC] = true
			}
		default: // the others go both ways
		}
	}
	if delete(sure, ""); len(sure) > 0 {
		return sure
	}
	delete(likely, "")
	return likely
}

package sipd

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, SUBSCRIBE, INFO, UPDATE"

// statusBadEvent is RFC 6665 section 8.3.2.
const statusBadEvent = 489

// keepAlive reports whether a datagram only holds a path open: nothing, line ends
// (RFC 5626) or zero bytes.
func keepAlive(b []byte) bool {
	return len(bytes.Trim(b, "\r\n\x00 \t")) == 0
}

// incomplete says which of the headers that a transaction rests on a request
// lacks (RFC 3261 section 8.1.1); empty when it is whole.
func incomplete(req *sip.Request) string {
	switch {
	case req.Via() == nil:
		return "no Via"
	case req.From() == nil:
		return "no From"
	case req.To() == nil:
		return "no To"
	case req.CallID() == nil:
		return "no Call-ID"
	case req.CSeq() == nil:
		return "no CSeq"
	case req.CSeq().MethodName != req.Method:
		return fmt.Sprintf("method %s with CSeq of %s", req.Method, req.CSeq().MethodName)
	}
	return ""
}

// value returns the first header of one of these names, empty if there is none.
func value(msg sip.Message, names ...string) string {
	for _, name := range names {
		if hs := msg.GetHeaders(name); len(hs) > 0 {
			return strings.TrimSpace(hs[0].Value())
		}
	}
	return ""
}

// number reads a count of seconds (RFC 3261 section 25.1, delta-seconds).
func number(s string) (seconds int, ok bool) {
	v, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	return int(v), err == nil
}

// answerTo is where the answer to a request goes: to the source of the request,
// and to the port that its Via names unless it asks for the source port
// (RFC 3261 section 18.2.2, RFC 3581 section 4).
func answerTo(req *sip.Request, h hop) netip.AddrPort {
	via := req.Via()
	if via.Params.Has("rport") {
		return h.peer
	}
	return withPort(h.peer.Addr(), via.Port)
}

func contact(h hop) *sip.ContactHeader {
	return &sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: userAgent, Host: h.local.Addr().String(), Port: int(h.local.Port())}}
}

// outgoing builds a request of ours up to its body.
func outgoing(method sip.RequestMethod, target sip.Uri, from *sip.FromHeader, to *sip.ToHeader, callID string, seq uint32, branch string, h hop) *sip.Request {
	req := sip.NewRequest(method, *target.Clone())
	via := &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "UDP",
		Host: h.local.Addr().String(), Port: int(h.local.Port()), Params: sip.NewParams(),
	}
	via.Params.Add("branch", branch)
	via.Params.Add("rport", "")
	id, hops := sip.CallIDHeader(callID), sip.MaxForwardsHeader(70)
	req.AppendHeader(via)
	req.AppendHeader(&hops)
	req.AppendHeader(from)
	req.AppendHeader(to)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: method})
	req.AppendHeader(sip.NewHeader("User-Agent", userAgent))
	return req
}

// reason is the phrase of a status (RFC 3261 section 21, RFC 6665).
func reason(status int) string {
	phrases := map[int]string{
		sip.StatusOK:                           "OK",
		sip.StatusBadRequest:                   "Bad Request",
		sip.StatusUnauthorized:                 "Unauthorized",
		sip.StatusForbidden:                    "Forbidden",
		sip.StatusNotFound:                     "Not Found",
		sip.StatusMethodNotAllowed:             "Method Not Allowed",
		sip.StatusRequestTimeout:               "Request Timeout",
		sip.StatusIntervalToBrief:              "Interval Too Brief",
		sip.StatusTemporarilyUnavailable:       "Temporarily Unavailable",
		sip.StatusCallTransactionDoesNotExists: "Call/Transaction Does Not Exist",
		sip.StatusBusyHere:                     "Busy Here",
		statusBadEvent:                         "Bad Event",
		sip.StatusInternalServerError:          "Server Internal Error",
		sip.StatusNotImplemented:               "Not Implemented",
		sip.StatusServiceUnavailable:           "Service Unavailable",
	}
	return cmp.Or(phrases[status], "As Told")
}

// userAgent names us in requests and responses.
const userAgent = "ip88rig"

// hop is a handset's end and the end of ours that it talks to.
type hop struct{ peer, local netip.AddrPort }

// withPort is the address with SIP's port where none is told.
func withPort(addr netip.Addr, port int) netip.AddrPort {
	if port <= 0 || port > 65535 {
		port = sip.DefaultUdpPort
	}
	return netip.AddrPortFrom(addr, uint16(port))
}

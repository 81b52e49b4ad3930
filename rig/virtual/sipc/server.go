package sipc

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"ip88rig/rig/virtual/defect"
)

// checkSync is the event package that is understood unless told otherwise.
const checkSync = "check-sync"

// maxServerTx bounds what is remembered of a flood of requests.
const maxServerTx = 1024

// serverTx remembers the answer to a request, for when it comes again.
type serverTx struct {
	last  []byte
	to    netip.AddrPort
	until time.Time
}

// request answers a request, or repeats the answer it was given before.
func (a *Agent) request(req *sip.Request, from netip.AddrPort) {
	if req.IsAck() {
		a.acked(req)
		return
	}
	key := txKey(req, string(req.Method))
	if tx, ok := a.servers[key]; ok && a.now.Before(tx.until) {
		if tx.last != nil {
			a.send(tx.to, tx.last)
		}
		return
	}
	a.forgetOld()
	tx := &serverTx{to: replyTo(req, from), until: a.now.Add(timeoutT1s * a.cfg.T1)}
	a.servers[key] = tx
	a.dispatch(req, tx, from)
}

// txKey tells requests apart (RFC 3261, 17.2.3).
func txKey(req *sip.Request, method string) string {
	via := req.Via()
	branch, _ := via.Params.Get("branch")
	if strings.HasPrefix(branch, magic) {
		return fmt.Sprintf("%s %s:%d %s", branch, strings.ToLower(via.Host), via.Port, method)
	}
	return fmt.Sprintf("%s %d %s %s %s %s", req.CallID().Value(), req.CSeq().SeqNo, tagOf(req.From().Params), req.Recipient.String(), via.Value(), method)
}

func (a *Agent) forgetOld() {
	if len(a.servers) < maxServerTx {
		return
	}
	for key, tx := range a.servers {
		if !a.now.Before(tx.until) {
			delete(a.servers, key)
		}
	}
	for len(a.servers) >= maxServerTx { // still too many: the oldest but the call's
		oldest := ""
		for key, tx := range a.servers {
			if a.call != nil && a.call.tx == tx {
				continue
			}
			if old := a.servers[oldest]; old == nil || cmp.Or(tx.until.Compare(old.until), strings.Compare(key, oldest)) < 0 {
				oldest = key
			}
		}
		delete(a.servers, oldest)
	}
}

// replyTo is RFC 3261, 18.2.2 with RFC 3581.
func replyTo(req *sip.Request, from netip.AddrPort) netip.AddrPort {
	if req.Via().Params.Has("rport") {
		return from
	}
	port := uint16(defaultPort)
	if p := req.Via().Port; p > 0 && p <= 0xffff {
		port = uint16(p)
	}
	return netip.AddrPortFrom(from.Addr(), port)
}

func (a *Agent) dispatch(req *sip.Request, tx *serverTx, from netip.AddrPort) {
	inDialog := tagOf(req.To().Params) != ""
	switch {
	case req.Method == sip.CANCEL:
		a.cancelled(req, tx, from)
	case !strings.EqualFold(req.Recipient.Scheme, "sip"):
		a.reply(req, tx, from, 416, "Unsupported URI Scheme")
	case value(req, "Require") != "":
		a.reply(req, tx, from, 420, "Bad Extension", "Unsupported: "+strings.Join(values(req, "Require"), ", "))
	case inDialog && req.Method != sip.NOTIFY && req.Method != sip.OPTIONS:
		a.inDialog(req, tx, from)
	case req.Method == sip.OPTIONS:
		a.reply(req, tx, from, 200, "OK", "Accept: application/sdp", "Allow-Events: "+a.cfg.Event)
	case req.Method != sip.INVITE && req.Method != sip.NOTIFY:
		if req.Method == sip.BYE {
			a.reply(req, tx, from, 481, "Call/Transaction Does Not Exist")
			return
		}
		a.reply(req, tx, from, 405, "Method Not Allowed")
	case unescape(req.Recipient.User) != a.cfg.User:
		a.reply(req, tx, from, 404, "Not Found")
	case req.Method == sip.NOTIFY:
		a.notified(req, tx, from)
	default:
		a.invited(req, tx, from)
	}
}

func (a *Agent) notified(req *sip.Request, tx *serverTx, from netip.AddrPort) {
	event := value(req, "Event", "o")
	name, _, _ := strings.Cut(event, ";")
	switch name = strings.TrimSpace(name); {
	case name == "" || len(values(req, "Event", "o")) > 1:
		a.reply(req, tx, from, 400, "Bad Request") // RFC 6665, 8.2.1: exactly one
		return
	case !strings.EqualFold(name, a.cfg.Event) && !a.cfg.Defects.Has(defect.AnyEventResyncs):
		a.reply(req, tx, from, 489, "Bad Event", "Allow-Events: "+a.cfg.Event)
		return
	}
	a.reply(req, tx, from, 200, "OK")
	if a.cfg.OnNotify != nil && !a.cfg.Defects.Has(defect.IgnoresCheckSync) {
		a.cfg.OnNotify(event)
	}
}

// reply sends a response without a body.
func (a *Agent) reply(req *sip.Request, tx *serverTx, from netip.AddrPort, status int, reason string, more ...string) {
	a.respond(req, tx, from, status, reason, a.token(), "", more...)
}

// respond sends a response and remembers it. tag completes a To without one.
func (a *Agent) respond(req *sip.Request, tx *serverTx, from netip.AddrPort, status int, reason, tag, body string, more ...string) {
	m := &strings.Builder{}
	fmt.Fprintf(m, "SIP/2.0 %d %s\r\n", status, reason)
	top := true
	for _, h := range req.GetHeaders("Via") {
		v := h.Value()
		if via, ok := h.(*sip.ViaHeader); ok && top {
			v = received(via.Clone(), from)
		}
		top = false
		line(m, "Via", v)
	}
	if status < 300 {
		for _, rr := range values(req, "Record-Route") {
			line(m, "Record-Route", rr)
		}
	}
	line(m, "From", req.From().Value())
	to := req.To().Value()
	if tagOf(req.To().Params) == "" {
		to += ";tag=" + tag
	}
	line(m, "To", to)
	line(m, "Call-ID", req.CallID().Value())
	line(m, "CSeq", req.CSeq().Value())
	if req.Method == sip.INVITE && status < 300 {
		line(m, "Contact", a.contact())
	}
	line(m, "Allow", allow)
	if a.cfg.UserAgent != "" {
		line(m, "User-Agent", a.cfg.UserAgent)
	}
	for _, h := range more {
		m.WriteString(h + "\r\n")
	}
	if body != "" {
		line(m, "Content-Type", "application/sdp")
	}
	line(m, "Content-Length", strconv.Itoa(len(body)))
	m.WriteString("\r\n" + body)
	tx.last = []byte(m.String())
	a.send(tx.to, tx.last)
}

// received notes in the top Via where the request came from (RFC 3261, 18.2.1;
// RFC 3581, 4).
func received(via *sip.ViaHeader, from netip.AddrPort) string {
	rport := via.Params.Has("rport")
	if rport {
		via.Params.Remove("rport")
		via.Params.Add("rport", strconv.Itoa(int(from.Port())))
	}
	if rport || via.Host != from.Addr().String() {
		via.Params.Remove("received")
		via.Params.Add("received", from.Addr().String())
	}
	return via.Value()
}

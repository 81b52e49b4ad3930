package sipc

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// maxServerTx bounds what is remembered of a flood of requests.
const maxServerTx = 1024

// servers are the transactions of requests that came.
type servers struct {
	*endpoint

	known map[string]*serverTx
}

// serverTx is one request, with its answer for when it comes again.
type serverTx struct {
	req   *sip.Request
	from  netip.AddrPort
	held  bool // the call's: not to be forgotten
	last  []byte
	to    netip.AddrPort
	until time.Time
}

// take enters a request. It returns nil for one that came before, which gets the
// answer of then.
func (s *servers) take(req *sip.Request, from netip.AddrPort) *serverTx {
	key := txKey(req, string(req.Method))
	if tx, ok := s.known[key]; ok && s.now.Before(tx.until) {
		if tx.last != nil {
			s.send(tx.to, tx.last)
		}
		return nil
	}
	s.forgetOld()
	tx := &serverTx{req: req, from: from, to: replyTo(req, from), until: s.now.Add(timeoutT1s * s.cfg.T1)}
	s.known[key] = tx
	return tx
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

func (s *servers) forgetOld() {
	if len(s.known) < maxServerTx {
		return
	}
	for key, tx := range s.known {
		if !s.now.Before(tx.until) {
			delete(s.known, key)
		}
	}
	for len(s.known) >= maxServerTx { // still too many: the oldest but the call's
		oldest := ""
		for key, tx := range s.known {
			if tx.held {
				continue
			}
			if old := s.known[oldest]; old == nil || cmp.Or(tx.until.Compare(old.until), strings.Compare(key, oldest)) < 0 {
				oldest = key
			}
		}
		delete(s.known, oldest)
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

// reply sends a response without a body.
func (s *servers) reply(tx *serverTx, status int, reason string, more ...string) {
	s.respond(tx, status, reason, s.token(), "", more...)
}

// respond sends a response and remembers it. tag completes a To without one.
func (s *servers) respond(tx *serverTx, status int, reason, tag, body string, more ...string) {
	req := tx.req
	m := &strings.Builder{}
	fmt.Fprintf(m, "SIP/2.0 %d %s\r\n", status, reason)
	top := true
	for _, h := range req.GetHeaders("Via") {
		v := h.Value()
		if via, ok := h.(*sip.ViaHeader); ok && top {
			v = received(via.Clone(), tx.from)
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
		line(m, "Contact", s.contact())
	}
	line(m, "Allow", allow)
	if s.cfg.UserAgent != "" {
		line(m, "User-Agent", s.cfg.UserAgent)
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
	s.send(tx.to, tx.last)
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

// decline ends an INVITE that never became the call; the response is sent again
// until it is acknowledged (timers G and H).
func (s *servers) decline(tx *serverTx, tag string, status int, reason string) {
	s.respond(tx, status, reason, tag, "")
	tx.until = s.now.Add(timeoutT1s * s.cfg.T1)
	s.untilAcked(ackKey(tx.req), tx, s.cfg.T1)
}

// untilAcked sends a response again after an interval, and so on.
func (s *servers) untilAcked(key string, tx *serverTx, interval time.Duration) {
	s.after(interval, func() {
		if tx.last == nil || !s.now.Before(tx.until) || s.known[key] != tx {
			return
		}
		s.send(tx.to, tx.last)
		s.untilAcked(key, tx, min(2*interval, slowestT1s*s.cfg.T1))
	})
}

// ackKey is the key of the INVITE that an ACK, a CANCEL or the INVITE itself
// belongs to.
func ackKey(req *sip.Request) string { return txKey(req, string(sip.INVITE)) }

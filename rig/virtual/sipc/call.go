package sipc

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// ringT1s is how long the handset rings before it gives up, 3 min at a T1 of
// 500 ms.
const ringT1s = 360

// call is the one call, from the INVITE to its end.
type call struct {
	invite   *sip.Request
	tx       *serverTx
	from     netip.AddrPort
	tag      string // ours
	session  string // what we answer with
	answered bool   // 200 was sent
	acked    bool
	cseq     uint32 // of our own requests in the dialog

	timeout  *alarm // end of ringing, or of waiting for the ACK
	resend   *alarm
	interval time.Duration
}

// invited rings, or is busy.
func (a *Agent) invited(req *sip.Request, tx *serverTx, from netip.AddrPort) {
	if a.call != nil {
		a.decline(req, tx, from, a.token(), 486, "Busy Here")
		return
	}
	session, ok := a.sdp(req)
	if !ok {
		a.decline(req, tx, from, a.token(), 488, "Not Acceptable Here")
		return
	}
	a.call = &call{invite: req, tx: tx, from: from, tag: a.token(), session: session}
	tx.until = a.now.Add((ringT1s + 2*timeoutT1s) * a.cfg.T1)
	a.setBusy(true)
	a.respond(req, tx, from, 180, "Ringing", a.call.tag, "")
	a.call.timeout = a.after(ringT1s*a.cfg.T1, func() { a.refuse(480, "Temporarily Unavailable") })
	if a.cfg.AutoAnswer {
		_ = a.answer() // it rings, so it can be answered
	}
}

// decline ends an INVITE that never became the call; the response is sent again
// until it is acknowledged (timers G and H).
func (a *Agent) decline(req *sip.Request, tx *serverTx, from netip.AddrPort, tag string, status int, reason string) {
	a.respond(req, tx, from, status, reason, tag, "")
	tx.until = a.now.Add(timeoutT1s * a.cfg.T1)
	key := ackKey(req)
	p := &pending{tx: tx, interval: a.cfg.T1}
	a.declined(key, p)
}

// pending is a final response that awaits its ACK.
type pending struct {
	tx       *serverTx
	interval time.Duration
}

func (a *Agent) declined(key string, p *pending) {
	a.after(p.interval, func() {
		if p.tx.last == nil || !a.now.Before(p.tx.until) || a.servers[key] != p.tx {
			return
		}
		a.send(p.tx.to, p.tx.last)
		p.interval = min(2*p.interval, slowestT1s*a.cfg.T1)
		a.declined(key, p)
	})
}

// ackKey is the key of the INVITE that an ACK, a CANCEL or the INVITE itself
// belongs to.
func ackKey(req *sip.Request) string { return txKey(req, string(sip.INVITE)) }

// acked stops the repetition of a final response.
func (a *Agent) acked(req *sip.Request) {
	if c := a.call; c != nil && c.answered && req.CallID().Value() == c.invite.CallID().Value() && req.CSeq().SeqNo == c.invite.CSeq().SeqNo {
		c.acked = true
		a.cancel(c.resend)
		a.cancel(c.timeout)
		return
	}
	if tx, ok := a.servers[ackKey(req)]; ok {
		tx.last = nil // confirmed: nothing is sent any more
	}
}

// answer sends the 200 and sees to its ACK (RFC 3261, 13.3.1.4).
func (a *Agent) answer() error {
	c := a.call
	if c == nil || c.answered {
		return fmt.Errorf("%w: nothing rings", ErrNoCall)
	}
	c.answered = true
	a.cancel(c.timeout)
	a.respond(c.invite, c.tx, c.from, 200, "OK", c.tag, c.session)
	c.interval = a.cfg.T1
	c.resend = a.after(c.interval, a.resendAnswer)
	c.timeout = a.after(timeoutT1s*a.cfg.T1, a.bye) // nobody acknowledges
	return nil
}

func (a *Agent) resendAnswer() {
	c := a.call
	a.send(c.tx.to, c.tx.last)
	c.interval = min(2*c.interval, slowestT1s*a.cfg.T1)
	c.resend = a.after(c.interval, a.resendAnswer)
}

func (a *Agent) hangUp() error {
	switch c := a.call; {
	case c == nil:
		return fmt.Errorf("%w: idle", ErrNoCall)
	case !c.answered:
		a.refuse(603, "Decline")
	default:
		a.bye()
	}
	return nil
}

// refuse ends the call that rings.
func (a *Agent) refuse(status int, reason string) {
	c := a.call
	a.decline(c.invite, c.tx, c.from, c.tag, status, reason)
	a.end()
}

// cancelled is RFC 3261, 9.2.
func (a *Agent) cancelled(req *sip.Request, tx *serverTx, from netip.AddrPort) {
	c := a.call
	if c == nil || ackKey(req) != ackKey(c.invite) {
		a.reply(req, tx, from, 481, "Call/Transaction Does Not Exist")
		return
	}
	a.respond(req, tx, from, 200, "OK", c.tag, "")
	if !c.answered {
		a.refuse(487, "Request Terminated")
	}
}

// inDialog takes requests of the call: BYE, and an INVITE that changes it.
func (a *Agent) inDialog(req *sip.Request, tx *serverTx, from netip.AddrPort) {
	c := a.call
	if c == nil || req.CallID().Value() != c.invite.CallID().Value() || tagOf(req.To().Params) != c.tag {
		if req.Method == sip.INVITE {
			a.decline(req, tx, from, "", 481, "Call/Transaction Does Not Exist")
			return
		}
		a.reply(req, tx, from, 481, "Call/Transaction Does Not Exist")
		return
	}
	switch req.Method {
	case sip.BYE:
		a.reply(req, tx, from, 200, "OK")
		if !c.answered {
			a.refuse(487, "Request Terminated")
			return
		}
		a.end()
	case sip.INVITE:
		body, ok := a.sdp(req)
		switch {
		case !c.acked: // RFC 3261, 14.2
			a.decline(req, tx, from, c.tag, 491, "Request Pending")
		case !ok:
			a.decline(req, tx, from, c.tag, 488, "Not Acceptable Here")
		default:
			c.invite, c.tx, c.from, c.acked, c.answered = req, tx, from, false, true
			a.respond(req, tx, from, 200, "OK", c.tag, body)
			c.interval = a.cfg.T1
			c.resend = a.after(c.interval, a.resendAnswer)
			c.timeout = a.after(timeoutT1s*a.cfg.T1, a.bye)
		}
	default:
		a.reply(req, tx, from, 405, "Method Not Allowed")
	}
}

// bye ends the answered call from our side.
func (a *Agent) bye() {
	c := a.call
	c.cseq++
	target, _, ok := cutContact(value(c.invite, "Contact", "m"))
	if !ok {
		target = c.invite.From().Address.String()
	}
	// The route set of the callee is the Record-Route as it came (RFC 3261, 12.1.1).
	var routes []string
	for _, h := range values(c.invite, "Record-Route") {
		routes = append(routes, splitList(h)...)
	}
	next := target
	if len(routes) > 0 {
		next, _, _ = cutContact(routes[0])
	}
	to, ok := addrOf(next)
	if !ok {
		to = c.from // a name: back where the INVITE came from
	}
	branch := magic + a.token()
	m := a.head("BYE", target, branch)
	for _, r := range routes {
		line(m, "Route", r)
	}
	from := c.invite.To().Value()
	if tagOf(c.invite.To().Params) == "" {
		from += ";tag=" + c.tag
	}
	line(m, "From", from)
	line(m, "To", c.invite.From().Value())
	line(m, "Call-ID", c.invite.CallID().Value())
	line(m, "CSeq", fmt.Sprintf("%d BYE", c.cseq))
	if a.cfg.UserAgent != "" {
		line(m, "User-Agent", a.cfg.UserAgent)
	}
	line(m, "Content-Length", "0")
	m.WriteString("\r\n")
	a.start("BYE", branch, []byte(m.String()), to, nil)
	a.end()
}

// end makes the handset idle.
func (a *Agent) end() {
	c := a.call
	a.cancel(c.resend)
	a.cancel(c.timeout)
	a.call = nil
	a.setBusy(false)
}

// sdp answers the offer of an INVITE, or makes one when it has none; ok is
// false when there is no audio both can do.
func (a *Agent) sdp(req *sip.Request) (body string, ok bool) {
	var own []string
	if a.cfg.Formats != nil {
		own = a.cfg.Formats()
	}
	formats := own
	if len(own) == 0 {
		formats = []string{"0", "8"}
	}
	if offer := string(req.Body()); strings.TrimSpace(offer) != "" {
		var both []string
		for l := range strings.Lines(offer) {
			rest, found := strings.CutPrefix(strings.TrimSpace(l), "m=audio ")
			offered := strings.Fields(rest)
			if !found || len(offered) < 3 {
				continue
			}
			offered = offered[2:]
			first, second := offered, formats
			if len(own) > 0 {
				first, second = formats, offered
			}
			for _, f := range first {
				if slices.Contains(second, f) {
					both = append(both, f)
				}
			}
			break
		}
		if len(both) == 0 {
			return "", false
		}
		formats = both
	}
	family := "IP4"
	if a.cfg.Local.Addr().Is6() {
		family = "IP6"
	}
	addr := a.cfg.Local.Addr()
	// Origin and session name as the previous generation writes them.
	return fmt.Sprintf("v=0\r\no=LGEIPP 1 1 IN %s %v\r\ns=SIP Call\r\nc=IN %s %v\r\nt=0 0\r\nm=audio %d RTP/AVP %s\r\n",
		family, addr, family, addr, a.cfg.MediaPort, strings.Join(formats, " ")), true
}

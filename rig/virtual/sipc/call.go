package sipc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// ringT1s is how long the handset rings before it gives up, 3 min at a T1 of
// 500 ms.
const ringT1s = 360

// call is the one call, from the INVITE to its end.
type call struct {
	tx       *serverTx // of the INVITE
	tag      string    // ours
	session  string    // what we answer with
	answered bool      // 200 was sent
	acked    bool
	cseq     uint32 // of our own requests in the dialog

	timeout  *alarm // end of ringing, or of waiting for the ACK
	resend   *alarm
	interval time.Duration
}

// phone takes one call at a time.
type phone struct {
	*endpoint

	clients *clients
	servers *servers
	call    *call // nil without one

	mu   sync.Mutex
	busy bool
	idle chan struct{} // closed while idle
}

func newPhone(e *endpoint, c *clients, s *servers) *phone {
	p := &phone{endpoint: e, clients: c, servers: s, idle: make(chan struct{})}
	close(p.idle)
	return p
}

// invited rings, or is busy.
func (p *phone) invited(tx *serverTx) {
	if p.call != nil {
		p.servers.decline(tx, p.token(), 486, "Busy Here")
		return
	}
	session, ok := p.sdp(tx.req)
	if !ok {
		p.servers.decline(tx, p.token(), 488, "Not Acceptable Here")
		return
	}
	p.call = &call{tx: tx, tag: p.token(), session: session}
	tx.held = true
	tx.until = p.now.Add((ringT1s + 2*timeoutT1s) * p.cfg.T1)
	p.setBusy(true)
	p.servers.respond(tx, 180, "Ringing", p.call.tag, "")
	p.call.timeout = p.after(ringT1s*p.cfg.T1, func() { p.refuse(480, "Temporarily Unavailable") })
	if p.cfg.AutoAnswer {
		_ = p.answer() // it rings, so it can be answered
	}
}

// acked stops the repetition of a final response.
func (p *phone) acked(req *sip.Request) {
	if c := p.call; c != nil && c.answered && req.CallID().Value() == c.tx.req.CallID().Value() && req.CSeq().SeqNo == c.tx.req.CSeq().SeqNo {
		c.acked = true
		p.cancel(c.resend)
		p.cancel(c.timeout)
		return
	}
	if tx, ok := p.servers.known[ackKey(req)]; ok {
		tx.last = nil // confirmed: nothing is sent any more
	}
}

// answer sends the 200 and sees to its ACK (RFC 3261, 13.3.1.4).
func (p *phone) answer() error {
	c := p.call
	if c == nil || c.answered {
		return fmt.Errorf("%w: nothing rings", ErrNoCall)
	}
	c.answered = true
	p.cancel(c.timeout)
	p.confirm(c.session)
	return nil
}

// confirm sends the 200 to the call's last INVITE, until its ACK comes.
func (p *phone) confirm(session string) {
	c := p.call
	p.servers.respond(c.tx, 200, "OK", c.tag, session)
	c.interval = p.cfg.T1
	c.resend = p.after(c.interval, p.resendAnswer)
	c.timeout = p.after(timeoutT1s*p.cfg.T1, p.bye) // nobody acknowledges
}

func (p *phone) resendAnswer() {
	c := p.call
	p.send(c.tx.to, c.tx.last)
	c.interval = min(2*c.interval, slowestT1s*p.cfg.T1)
	c.resend = p.after(c.interval, p.resendAnswer)
}

func (p *phone) hangUp() error {
	switch c := p.call; {
	case c == nil:
		return fmt.Errorf("%w: idle", ErrNoCall)
	case !c.answered:
		p.refuse(603, "Decline")
	default:
		p.bye()
	}
	return nil
}

// refuse ends the call that rings.
func (p *phone) refuse(status int, reason string) {
	c := p.call
	p.servers.decline(c.tx, c.tag, status, reason)
	p.end()
}

// cancelled is RFC 3261, 9.2.
func (p *phone) cancelled(tx *serverTx) {
	c := p.call
	if c == nil || ackKey(tx.req) != ackKey(c.tx.req) {
		p.servers.reply(tx, 481, "Call/Transaction Does Not Exist")
		return
	}
	p.servers.respond(tx, 200, "OK", c.tag, "")
	if !c.answered {
		p.refuse(487, "Request Terminated")
	}
}

// inDialog takes requests of the call: BYE, and an INVITE that changes it.
func (p *phone) inDialog(tx *serverTx) {
	c, req := p.call, tx.req
	if c == nil || req.CallID().Value() != c.tx.req.CallID().Value() || tagOf(req.To().Params) != c.tag {
		if req.Method == sip.INVITE {
			p.servers.decline(tx, "", 481, "Call/Transaction Does Not Exist")
			return
		}
		p.servers.reply(tx, 481, "Call/Transaction Does Not Exist")
		return
	}
	switch req.Method {
	case sip.BYE:
		p.servers.reply(tx, 200, "OK")
		if !c.answered {
			p.refuse(487, "Request Terminated")
			return
		}
		p.end()
	case sip.INVITE:
		body, ok := p.sdp(req)
		switch {
		case !c.acked: // RFC 3261, 14.2
			p.servers.decline(tx, c.tag, 491, "Request Pending")
		case !ok:
			p.servers.decline(tx, c.tag, 488, "Not Acceptable Here")
		default:
			c.tx.held, tx.held = false, true
			c.tx, c.acked, c.answered = tx, false, true
			p.confirm(body)
		}
	default:
		p.servers.reply(tx, 405, "Method Not Allowed")
	}
}

// bye ends the answered call from our side.
func (p *phone) bye() {
	c := p.call
	c.cseq++
	target, _, ok := cutContact(value(c.tx.req, "Contact", "m"))
	if !ok {
		target = c.tx.req.From().Address.String()
	}
	// The route set of the callee is the Record-Route as it came (RFC 3261, 12.1.1).
	var routes []string
	for _, h := range values(c.tx.req, "Record-Route") {
		routes = append(routes, splitList(h)...)
	}
	next := target
	if len(routes) > 0 {
		next, _, _ = cutContact(routes[0])
	}
	to, ok := addrOf(next)
	if !ok {
		to = c.tx.from // a name: back where the INVITE came from
	}
	branch := magic + p.token()
	m := p.head("BYE", target, branch)
	for _, r := range routes {
		line(m, "Route", r)
	}
	from := c.tx.req.To().Value()
	if tagOf(c.tx.req.To().Params) == "" {
		from += ";tag=" + c.tag
	}
	line(m, "From", from)
	line(m, "To", c.tx.req.From().Value())
	line(m, "Call-ID", c.tx.req.CallID().Value())
	line(m, "CSeq", fmt.Sprintf("%d BYE", c.cseq))
	if p.cfg.UserAgent != "" {
		line(m, "User-Agent", p.cfg.UserAgent)
	}
	line(m, "Content-Length", "0")
	m.WriteString("\r\n")
	p.clients.start("BYE", branch, []byte(m.String()), to, nil)
	p.end()
}

// end makes the handset idle.
func (p *phone) end() {
	c := p.call
	p.cancel(c.resend)
	p.cancel(c.timeout)
	c.tx.held = false
	p.call = nil
	p.setBusy(false)
}

// sdp answers the offer of an INVITE, or makes one when it has none; ok is
// false when there is no audio both can do.
func (p *phone) sdp(req *sip.Request) (body string, ok bool) {
	var own []string
	if p.cfg.Formats != nil {
		own = p.cfg.Formats()
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
	if p.cfg.Local.Addr().Is6() {
		family = "IP6"
	}
	addr := p.cfg.Local.Addr()
	// Origin and session name as the previous generation writes them.
	return fmt.Sprintf("v=0\r\no=LGEIPP 1 1 IN %s %v\r\ns=SIP Call\r\nc=IN %s %v\r\nt=0 0\r\nm=audio %d RTP/AVP %s\r\n",
		family, addr, family, addr, p.cfg.MediaPort, strings.Join(formats, " ")), true
}

// ErrNoCall is returned by Answer and HangUp when there is no fitting call.
var ErrNoCall = errors.New("sip: no such call")

func (p *phone) isBusy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy
}

func (p *phone) whenIdle() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idle
}

func (p *phone) setBusy(busy bool) {
	p.mu.Lock()
	changed := p.busy != busy
	p.busy = busy
	if changed && busy {
		p.idle = make(chan struct{})
	}
	if changed && !busy {
		close(p.idle)
	}
	p.mu.Unlock()
	if changed && !busy && p.cfg.OnIdle != nil {
		p.cfg.OnIdle()
	}
}

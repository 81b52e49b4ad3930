package sipc

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

const (
	defaultPort = 5060
	magic       = "z9hG4bK" // RFC 3261, 8.1.1.7
	allow       = "INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY"

	timeoutT1s = 64 // timers B, F, H and J: 64 T1
	slowestT1s = 8  // T2: 4 s at a T1 of 500 ms

	// Registrations that failed are tried again after 30 s, 60 s, ... 30 min at a
	// T1 of 500 ms (RFC 5626, 4.5), the first half certain, the rest by chance.
	retryT1s    = 60
	maxRetryT1s = 3600
)

// clientTx is a non-INVITE client transaction (RFC 3261, 17.1.2).
type clientTx struct {
	method   string
	raw      []byte
	to       netip.AddrPort
	interval time.Duration
	resend   *alarm
	give     *alarm
	done     func(*sip.Response) // nil for silence
}

// start sends a request and sees to it that it is answered.
func (a *Agent) start(method, branch string, raw []byte, to netip.AddrPort, done func(*sip.Response)) {
	tx := &clientTx{method: method, raw: raw, to: to, interval: a.cfg.T1, done: done}
	a.clients[branch] = tx
	a.send(to, raw)
	tx.resend = a.after(tx.interval, func() { a.again(tx) })
	tx.give = a.after(timeoutT1s*a.cfg.T1, func() { a.finish(branch, nil) })
}

func (a *Agent) again(tx *clientTx) {
	a.send(tx.to, tx.raw)
	tx.interval = min(2*tx.interval, slowestT1s*a.cfg.T1)
	tx.resend = a.after(tx.interval, func() { a.again(tx) })
}

func (a *Agent) finish(branch string, res *sip.Response) {
	tx := a.clients[branch]
	delete(a.clients, branch)
	a.cancel(tx.resend)
	a.cancel(tx.give)
	if tx.done != nil {
		tx.done(res)
	}
}

func (a *Agent) response(res *sip.Response) {
	branch, _ := res.Via().Params.Get("branch")
	tx, ok := a.clients[branch]
	if !ok || tx.method != string(res.CSeq().MethodName) {
		return
	}
	if res.StatusCode < 200 {
		tx.interval = slowestT1s * a.cfg.T1
		return
	}
	a.finish(branch, res)
}

// registration is what lasts from one REGISTER to the next.
type registration struct {
	cseq      uint32
	tag       string
	expires   int // asked for, in seconds
	challenge *digest.Challenge
	header    string // that carries the credentials
	count     int    // requests sent with the nonce
	answered  int    // challenges answered in this attempt
	raised    bool   // Expires was raised in this attempt
	failures  int    // in a row
	pause     *alarm // before the next attempt after a failed one
}

// maxChallenges bounds the answers to challenges of one attempt: the first, and
// a stale nonce or two.
const maxChallenges = 3

// register begins an attempt.
func (a *Agent) register() {
	a.reg.answered, a.reg.raised = 0, false
	a.sendRegister()
}

func (a *Agent) sendRegister() {
	a.reg.cseq++
	uri := "sip:" + a.host
	aor := "<sip:" + escapeUser(a.cfg.User) + "@" + a.host + ">"
	branch := magic + a.token()
	m := a.head("REGISTER", uri, branch)
	line(m, "From", quoteName(a.cfg.DisplayName)+aor+";tag="+a.reg.tag)
	line(m, "To", aor)
	line(m, "Call-ID", a.cfg.CallID)
	line(m, "CSeq", fmt.Sprintf("%d REGISTER", a.reg.cseq))
	line(m, "Contact", a.contact())
	line(m, "Expires", strconv.Itoa(a.reg.expires))
	line(m, "Allow", allow)
	if a.cfg.UserAgent != "" {
		line(m, "User-Agent", a.cfg.UserAgent)
	}
	if a.reg.challenge != nil {
		a.reg.count++
		credentials, err := digest.Digest(a.reg.challenge, digest.Options{
			Method: "REGISTER", URI: uri, Count: a.reg.count, Cnonce: a.token(),
			Username: a.cfg.AuthUser, Password: a.cfg.Password,
		})
		if err == nil { // usable challenges only are kept
			line(m, a.reg.header, credentials.String())
		}
	}
	line(m, "Content-Length", "0")
	m.WriteString("\r\n")
	a.start("REGISTER", branch, []byte(m.String()), a.cfg.Proxy, a.registerDone)
}

// registerDone decides what follows a REGISTER; res is nil after silence.
func (a *Agent) registerDone(res *sip.Response) {
	status := 0
	if res != nil {
		status = res.StatusCode
	}
	switch {
	case status/100 == 2:
		a.registerGranted(res)
	case (status == 401 || status == 407) && a.challenged(res):
		a.sendRegister()
	case status == 423 && !a.reg.raised && seconds(res, "Min-Expires") > a.reg.expires:
		a.reg.raised = true
		a.reg.expires = seconds(res, "Min-Expires")
		a.sendRegister()
	default:
		a.registerFailed(res)
	}
}

func (a *Agent) registerGranted(res *sip.Response) {
	granted := a.granted(res)
	if granted <= 0 {
		a.registerFailed(res)
		return
	}
	a.reg.failures = 0
	if !a.registered {
		a.registered = true
		select {
		case <-a.first:
		default:
			close(a.first)
		}
	}
	// Early enough for a REGISTER that is only answered at the last moment.
	refresh := max(granted/2, granted-timeoutT1s*a.cfg.T1)
	a.after(refresh, a.register)
	if a.cfg.OnRegister != nil {
		a.cfg.OnRegister(true)
	}
}

// granted is the expiry of our own Contact, else of the response, else what we
// asked for (RFC 3261, 10.2.4).
func (a *Agent) granted(res *sip.Response) time.Duration {
	for _, h := range values(res, "Contact", "m") {
		for _, contact := range splitList(h) {
			uri, params, ok := cutContact(contact)
			if !ok || !a.isContact(uri) {
				continue
			}
			for p := range strings.SplitSeq(params, ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
				if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 32); err == nil && strings.EqualFold(name, "expires") {
					return time.Duration(n) * time.Second
				}
			}
		}
	}
	if n := seconds(res, "Expires"); n >= 0 {
		return time.Duration(n) * time.Second
	}
	return time.Duration(a.reg.expires) * time.Second
}

func (a *Agent) registerFailed(res *sip.Response) {
	a.registered = false
	a.reg.failures++
	a.reg.challenge = nil
	const doublings = 6 // past these it is the longest anyway
	wait := time.Duration(min(retryT1s<<min(a.reg.failures-1, doublings), maxRetryT1s)) * a.cfg.T1
	wait = wait/2 + time.Duration(a.random.Int64N(int64(wait/2)+1))
	if res != nil {
		if n := seconds(res, "Retry-After"); n >= 0 {
			wait = max(time.Duration(n)*time.Second, a.cfg.T1)
		}
	}
	a.reg.pause = a.after(wait, func() {
		a.reg.pause = nil
		a.register()
	})
	if a.cfg.OnRegister != nil {
		a.cfg.OnRegister(false)
	}
	if a.cfg.OnRefused != nil && res != nil && res.StatusCode >= 300 {
		a.cfg.OnRefused(res.StatusCode)
	}
}

// challenged keeps a challenge that can be answered and has not been in vain.
func (a *Agent) challenged(res *sip.Response) bool {
	header, answer := "WWW-Authenticate", "Authorization"
	if res.StatusCode == http.StatusProxyAuthRequired {
		header, answer = "Proxy-Authenticate", "Proxy-Authorization"
	}
	for _, value := range values(res, header) {
		c, err := digest.ParseChallenge(value)
		if err != nil {
			continue
		}
		for i, qop := range c.QOP {
			c.QOP[i] = strings.ToLower(strings.TrimSpace(qop))
		}
		c.QOP = slices.DeleteFunc(c.QOP, func(qop string) bool { return qop == "" })
		// RFC 3261 knows MD5 only.
		if !digest.CanDigest(c) || c.Algorithm != "" && !strings.EqualFold(c.Algorithm, "MD5") {
			continue
		}
		if a.reg.answered >= maxChallenges || a.reg.answered > 0 && !c.Stale {
			return false
		}
		a.reg.answered++
		a.reg.challenge, a.reg.header, a.reg.count = c, answer, 0
		return true
	}
	return false
}

func (a *Agent) contact() string {
	return "<sip:" + escapeUser(a.cfg.User) + "@" + a.cfg.Local.String() + ">"
}

func (a *Agent) isContact(uri string) bool {
	var u sip.Uri
	if sip.ParseUri(uri, &u) != nil {
		return false
	}
	port := u.Port
	if port == 0 {
		port = defaultPort
	}
	return unescape(u.User) == a.cfg.User && u.Host == a.cfg.Local.Addr().String() && port == int(a.cfg.Local.Port())
}

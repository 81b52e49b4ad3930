package sipc

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// registration keeps the line registered. It lasts from one REGISTER to the next.
type registration struct {
	*endpoint

	clients    *clients
	first      chan struct{} // closed at the first registration
	registered bool

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
func (r *registration) register() {
	r.answered, r.raised = 0, false
	r.sendRegister()
}

func (r *registration) sendRegister() {
	r.cseq++
	uri := "sip:" + r.host
	aor := "<sip:" + escapeUser(r.cfg.User) + "@" + r.host + ">"
	branch := magic + r.token()
	m := r.head("REGISTER", uri, branch)
	line(m, "From", quoteName(r.cfg.DisplayName)+aor+";tag="+r.tag)
	line(m, "To", aor)
	line(m, "Call-ID", r.cfg.CallID)
	line(m, "CSeq", fmt.Sprintf("%d REGISTER", r.cseq))
	line(m, "Contact", r.contact())
	line(m, "Expires", strconv.Itoa(r.expires))
	line(m, "Allow", allow)
	if r.cfg.UserAgent != "" {
		line(m, "User-Agent", r.cfg.UserAgent)
	}
	if r.challenge != nil {
		r.count++
		credentials, err := digest.Digest(r.challenge, digest.Options{
			Method: "REGISTER", URI: uri, Count: r.count, Cnonce: r.token(),
			Username: r.cfg.AuthUser, Password: r.cfg.Password,
		})
		if err == nil { // usable challenges only are kept
			line(m, r.header, credentials.String())
		}
	}
	line(m, "Content-Length", "0")
	m.WriteString("\r\n")
	r.clients.start("REGISTER", branch, []byte(m.String()), r.cfg.Proxy, r.registerDone)
}

// registerDone decides what follows a REGISTER; res is nil after silence.
func (r *registration) registerDone(res *sip.Response) {
	status := 0
	if res != nil {
		status = res.StatusCode
	}
	switch {
	case status/100 == 2:
		r.registerGranted(res)
	case (status == 401 || status == 407) && r.challenged(res):
		r.sendRegister()
	case status == 423 && !r.raised && seconds(res, "Min-Expires") > r.expires:
		r.raised = true
		r.expires = seconds(res, "Min-Expires")
		r.sendRegister()
	default:
		r.registerFailed(res)
	}
}

func (r *registration) registerGranted(res *sip.Response) {
	granted := r.granted(res)
	if granted <= 0 {
		r.registerFailed(res)
		return
	}
	r.failures = 0
	if !r.registered {
		r.registered = true
		select {
		case <-r.first:
		default:
			close(r.first)
		}
	}
	// Early enough for a REGISTER that is only answered at the last moment.
	refresh := max(granted/2, granted-timeoutT1s*r.cfg.T1)
	r.after(refresh, r.register)
	if r.cfg.OnRegister != nil {
		r.cfg.OnRegister(true)
	}
}

// granted is the expiry of our own Contact, else of the response, else what we
// asked for (RFC 3261, 10.2.4).
func (r *registration) granted(res *sip.Response) time.Duration {
	for _, h := range values(res, "Contact", "m") {
		for _, contact := range splitList(h) {
			uri, params, ok := cutContact(contact)
			if !ok || !r.isContact(uri) {
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
	return time.Duration(r.expires) * time.Second
}

func (r *registration) registerFailed(res *sip.Response) {
	r.registered = false
	r.failures++
	r.challenge = nil
	const doublings = 6 // past these it is the longest anyway
	wait := time.Duration(min(retryT1s<<min(r.failures-1, doublings), maxRetryT1s)) * r.cfg.T1
	wait = wait/2 + time.Duration(r.random.Int64N(int64(wait/2)+1))
	if res != nil {
		if n := seconds(res, "Retry-After"); n >= 0 {
			wait = max(time.Duration(n)*time.Second, r.cfg.T1)
		}
	}
	r.pause = r.after(wait, func() {
		r.pause = nil
		r.register()
	})
	if r.cfg.OnRegister != nil {
		r.cfg.OnRegister(false)
	}
	if r.cfg.OnRefused != nil && res != nil && res.StatusCode >= 300 {
		r.cfg.OnRefused(res.StatusCode)
	}
}

// challenged keeps a challenge that can be answered and has not failed before.
func (r *registration) challenged(res *sip.Response) bool {
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
		if r.answered >= maxChallenges || r.answered > 0 && !c.Stale {
			return false
		}
		r.answered++
		r.challenge, r.header, r.count = c, answer, 0
		return true
	}
	return false
}

package sipd

import (
	"fmt"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Respond answers a request of the handset with this status and does nothing
// else. RetryAfter, in seconds, is sent if it is above 0.
type Respond struct {
	Code       int
	RetryAfter int
}

func (e Respond) String() string {
	if e.RetryAfter > 0 {
		return fmt.Sprintf("answers %d with Retry-After %d", e.Code, e.RetryAfter)
	}
	return fmt.Sprintf("answers %d", e.Code)
}

func (e Respond) check() error {
	if e.Code < 200 || e.Code > 699 {
		return fmt.Errorf("sipd cannot answer %d: a final status is 200 to 699", e.Code)
	}
	if e.RetryAfter < 0 || e.RetryAfter > int(24*time.Hour/time.Second) {
		return fmt.Errorf("sipd cannot send Retry-After %d: 0 to a day", e.RetryAfter)
	}
	return nil
}

func (Respond) fits(phase string) bool { return phase == PhaseAnswer }

func (e Respond) answer(r *registrar, req *sip.Request, h hop) *sip.Response {
	res := r.response(req, h, e.Code)
	if e.RetryAfter > 0 {
		res.AppendHeader(sip.NewHeader("Retry-After", fmt.Sprint(e.RetryAfter)))
	}
	return res
}

// Challenge answers a request of the handset with 401, whatever credentials it
// has: without end it is a loop. Empty fields are what they should be.
type Challenge struct {
	// Stale says that only the nonce was old (RFC 2617 section 3.2.1): the
	// handset may try again with the same password. The nonce that it came with
	// is spent: it does no more.
	Stale bool
	// Nonce is sent in place of a fresh one. Credentials made of it are refused
	// as stale, for it was never given out.
	Nonce string
	// Realm is another than the server's; the handset may have no password for it.
	Realm string
	// Algorithm is another than MD5, as in "SHA-256" or "MD5-sess".
	Algorithm string
}

func (e Challenge) String() string {
	var with []string
	if e.Stale {
		with = append(with, "stale=true")
	}
	for _, p := range []struct{ name, value string }{{"nonce", e.Nonce}, {"realm", e.Realm}, {"algorithm", e.Algorithm}} {
		if p.value != "" {
			with = append(with, fmt.Sprintf("%s %q", p.name, p.value))
		}
	}
	if with == nil {
		return "challenges it again"
	}
	return "challenges it again with " + strings.Join(with, ", ")
}

func (e Challenge) check() error {
	for _, v := range []string{e.Nonce, e.Realm, e.Algorithm} {
		if strings.ContainsAny(v, "\"\r\n") {
			return fmt.Errorf("sipd cannot put %q into a challenge", v)
		}
	}
	return nil
}

func (Challenge) fits(phase string) bool { return phase == PhaseAnswer }

func (e Challenge) answer(r *registrar, req *sip.Request, h hop) *sip.Response {
	if e.Stale {
		r.spend(req)
	}
	d := &decision{}
	res := r.challenged(req, h, terms(e), d)
	d.commit()
	return res
}

package httpd

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Stale takes right digest credentials for stale: it asks again with a new nonce
// and stale=true (RFC 7616, 3.3). The old nonce stays stale, also where the rule
// applies no more.
type Stale struct{}

func (Stale) String() string { return "takes the nonce for stale" }

func (Stale) suits(x *exchange) bool { return passed(x) && x.verdict.nonce != nil }

func (Stale) alter(x *exchange) { x.askAgain(true) }

// AskAgain asks again though the credentials were right, with a new nonce and
// without saying why: without a bound, a loop of 401. Nothing is said of the old
// nonce, which stays good.
type AskAgain struct{}

func (AskAgain) String() string { return "asks again for right credentials" }

func (AskAgain) suits(x *exchange) bool { return passed(x) }

func (AskAgain) alter(x *exchange) { x.askAgain(false) }

// NonceOnce lets a nonce be used once: the request that uses it again is asked
// for credentials anew. So each file is challenged.
type NonceOnce struct {
	// Stale says stale=true then.
	Stale bool
}

func (e NonceOnce) String() string {
	if e.Stale {
		return "takes a nonce once, then for stale"
	}
	return "takes a nonce once"
}

func (NonceOnce) suits(x *exchange) bool {
	n := x.verdict.nonce
	return passed(x) && n != nil && x.c.srv.gate.used(n) > 1
}

func (e NonceOnce) alter(x *exchange) { x.askAgain(e.Stale) }

// NextNonce gives the nonce of the next request with the answer (RFC 7616, 3.5).
type NextNonce struct{}

func (NextNonce) String() string { return "gives the next nonce with the answer" }

func (NextNonce) suits(x *exchange) bool {
	return passed(x) && x.verdict.nonce != nil && x.verdict.nonce.asked != nil
}

func (NextNonce) alter(x *exchange) {
	x.a.lines = append(x.a.lines, "Authentication-Info: nextnonce="+quoted(x.c.srv.gate.next(x.verdict.nonce)))
}

// Accept lets wrong credentials pass: another password, an nc that does not
// count up.
type Accept struct{}

func (Accept) String() string { return "accepts wrong credentials" }

func (Accept) suits(x *exchange) bool {
	return x.asked != nil && x.r.Header.Get("Authorization") != ""
}

func (Accept) alter(x *exchange) { x.a, x.asked = x.c.lookup(x.r), nil }

// Realm makes the challenge with another realm, of which the right credentials
// are then made.
type Realm struct {
	// Text is the realm; it may hold quotes and backslashes, or be empty.
	Text string
	// Unquoted leaves the quotes out; Text must be a token then.
	Unquoted bool
}

func (e Realm) String() string {
	if e.Unquoted {
		return fmt.Sprintf("asks with the realm %s, unquoted", e.Text)
	}
	return fmt.Sprintf("asks with the realm %q", e.Text)
}

func (e Realm) check() error {
	if !isLine(e.Text) || e.Unquoted && !isToken(e.Text) {
		return fmt.Errorf("realm %q, unquoted %t", e.Text, e.Unquoted)
	}
	return nil
}

func (e Realm) ask(a *ask) { a.realm, a.unquoted = e.Text, e.Unquoted }

// Offer makes the challenge with other schemes, in the order given; each of them
// may be answered.
type Offer struct {
	// Schemes are separated by ";". Each is "Basic", or "Digest" which an
	// algorithm of RFC 7616 may follow ("MD5", "MD5-sess", "SHA-256",
	// "SHA-256-sess", "SHA-512-256", or one that nobody knows), and then the qop
	// offered ("auth", "auth-int", "auth,auth-int"):
	// "Digest SHA-256 auth; Digest MD5 auth; Basic".
	Schemes string
}

func (e Offer) String() string { return fmt.Sprintf("offers %q", e.Schemes) }

func (e Offer) check() error {
	_, err := e.offers()
	return err
}

func (e Offer) offers() ([]offer, error) {
	var all []offer
	for one := range strings.SplitSeq(e.Schemes, ";") {
		words := strings.Fields(one)
		if len(words) == 0 {
			return nil, fmt.Errorf("an empty scheme in %q", e.Schemes)
		}
		o := offer{scheme: Scheme(words[0])}
		switch {
		case o.scheme == Basic && len(words) == 1:
		case o.scheme == Digest && len(words) <= 3:
			words = append(words, "", "")
			o.algorithm, o.qop = words[1], words[2]
			if o.algorithm != "" && !isToken(o.algorithm) || o.qop != "" && !slices.Contains([]string{"auth", "auth-int", "auth,auth-int", "auth-int,auth"}, o.qop) {
				return nil, fmt.Errorf("scheme %q has no such algorithm or qop", one)
			}
		default:
			return nil, fmt.Errorf("scheme %q is neither Basic nor Digest with algorithm and qop", one)
		}
		all = append(all, o)
	}
	return all, nil
}

func (e Offer) ask(a *ask) {
	if offers, err := e.offers(); err == nil {
		a.offers = offers
	}
}

// Opaque adds text to the challenge that must come back (RFC 7616, 3.3).
type Opaque struct {
	// Text is what must come back.
	Text string
}

func (e Opaque) String() string { return fmt.Sprintf("asks with the opaque %q", e.Text) }

func (e Opaque) check() error {
	if e.Text == "" || !isLine(e.Text) {
		return fmt.Errorf("opaque %q", e.Text)
	}
	return nil
}

func (e Opaque) ask(a *ask) { a.opaque = e.Text }

// passed tells of credentials that were looked at and found right.
func passed(x *exchange) bool { return x.verdict.fields["auth.ok"] == "true" && x.a.isFile }

func (x *exchange) askAgain(stale bool) {
	x.asked = x.auth.ask(stale)
	if n := x.verdict.nonce; n != nil && n.asked != nil {
		again := *n.asked
		again.stale = stale
		x.asked = &again
	}
	if n := x.verdict.nonce; n != nil && stale {
		x.c.srv.gate.spend(n)
	}
	x.a = text(http.StatusUnauthorized)
}

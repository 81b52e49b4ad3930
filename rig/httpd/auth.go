package httpd

import (
	"crypto/md5" //nolint:gosec // G501: RFC 2617 and the handset know no other digest
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Scheme is a way to ask for credentials.
type Scheme string

// The schemes of the Installer Guide, page F-2.
const (
	None   Scheme = ""
	Basic  Scheme = "Basic"
	Digest Scheme = "Digest"
)

// Auth says what credentials a file needs. The zero value: none.
type Auth struct {
	Scheme Scheme
	Realm  string
	User   string
	// Password returns the secret. It is a function so that it is not printed.
	Password func() string
	// QOP offers qop="auth" (RFC 2617); without it the challenge is that of RFC 2069.
	QOP bool
	// NonceUses is how many requests a nonce is good for; the next is answered
	// with stale=true. 0: any number.
	NonceUses int
}

// maxNonces bounds how many nonces are remembered.
const maxNonces = 4096

// gate judges credentials. The zero value knows of no challenge. It is safe
// for concurrent use.
type gate struct {
	// text makes nonces; nil: crypto/rand.Text.
	text func() string

	mu     sync.Mutex
	nonces map[string]*nonce
	order  []string
	// challenged holds who got a challenge where.
	challenged map[challenge]bool
	// asked holds the last challenge for each handset and server.
	asked map[challenge]*ask
}

type nonce struct {
	last  uint64 // nc of the last request
	uses  int
	stale bool // as was said
	// asked and offer are what it was given out with; nil: what Auth says.
	asked *ask
	offer offer
}

// offer is one way in which a challenge lets itself be answered.
type offer struct {
	scheme Scheme
	// algorithm is that of a digest (RFC 7616, 3.3); empty: not named, MD5.
	algorithm string
	// qop is the list of a digest; empty: none, as in RFC 2069.
	qop string
}

// ask is a challenge before it is written.
type ask struct {
	realm    string
	unquoted bool // the realm
	opaque   string
	stale    bool
	offers   []offer
}

// ask is the challenge that a asks for.
func (a Auth) ask(stale bool) *ask {
	o := offer{scheme: a.Scheme}
	if a.QOP {
		o.algorithm, o.qop = "MD5", "auth"
	}
	return &ask{realm: a.Realm, stale: stale, offers: []offer{o}}
}

// challenge is one protection space as one handset knows it. Without realm: any.
type challenge struct {
	from         netip.Addr
	space, realm string
}

// verdict is what becomes of a request: status 0 lets it pass.
type verdict struct {
	status int
	stale  bool
	fields map[string]string
	// nonce is what was used, as it is after that; nil where none was.
	nonce *nonce
}

func (g *gate) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nonces, g.order, g.challenged, g.asked = nil, nil, nil, nil
}

// judge compares the credentials of r with what a asks for.
func (g *gate) judge(a Auth, r *request, space string, from netip.Addr) verdict {
	values := r.Header.Values("Authorization")
	entity := ""
	if len(values) > 0 && strings.Contains(values[0], "auth-int") {
		entity = r.entity()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	v := verdict{fields: map[string]string{}}
	if len(values) == 0 {
		if a.Scheme != None {
			v.status = http.StatusUnauthorized
		}
		return v
	}
	key := challenge{from, space, a.Realm}
	if a.Scheme == None {
		key.realm = ""
	}
	if !g.challenged[key] {
		v.fields["auth.unasked"] = "true"
	}
	given, err := parseAuthorization(values[0])
	v.note("auth.scheme", given.scheme)
	v.note("auth.user", given.user)
	v.note("auth.realm", given.params["realm"])
	v.note("auth.nonce", given.params["nonce"])
	v.note("auth.uri", given.params["uri"])
	v.note("auth.nc", given.params["nc"])
	v.note("auth.qop", given.params["qop"])
	v.note("auth.algorithm", given.params["algorithm"])
	if a.Scheme == None {
		return v
	}
	var problems []string
	switch {
	case len(values) > 1:
		problems = append(problems, fmt.Sprintf("%d Authorization lines", len(values)))
	case err != nil:
		problems = append(problems, err.Error())
	case !g.offered(a, Scheme(given.scheme), challenge{from: from, space: space}):
		problems = append(problems, fmt.Sprintf("%s where %s was asked for", given.scheme, a.Scheme))
	case strings.EqualFold(given.scheme, string(Basic)):
		if given.user != a.User {
			problems = append(problems, "another user than the one assigned")
		}
		if given.password != a.Password() {
			problems = append(problems, "wrong password")
		}
	default:
		v.nonce = g.nonces[given.params["nonce"]]
		problems, v.stale, v.status = g.judgeDigest(a, given, r, entity)
	}
	v.fields["auth.ok"] = strconv.FormatBool(len(problems) == 0)
	if len(problems) > 0 {
		v.fields["auth.problem"] = strings.Join(problems, "; ")
		if len(problems) == 1 && (problems[0] == nonceUnknown && v.stale || problems[0] == nonceStale) {
			v.fields["auth.stale"] = "true"
		}
		if v.status == 0 {
			v.status = http.StatusUnauthorized
		}
	}
	return v
}

func (v verdict) note(name, value string) {
	if value != "" {
		v.fields[name] = value
	}
}

// offered tells whether scheme is what a asks for, or the last challenge did.
func (g *gate) offered(a Auth, scheme Scheme, key challenge) bool {
	same := func(o offer) bool { return strings.EqualFold(string(o.scheme), string(scheme)) }
	if last := g.asked[key]; last != nil {
		return slices.ContainsFunc(last.offers, same)
	}
	return same(offer{scheme: a.Scheme})
}

// judgeDigest is RFC 2617, 3.2.2 and 3.3, with the algorithms of RFC 7616. stale
// says that only the nonce is at fault; status is set where the answer is not
// another challenge.
func (g *gate) judgeDigest(a Auth, given credentials, r *request, entity string) (problems []string, stale bool, status int) {
	p := given.params
	asked := a.ask(false)
	o := asked.offers[0]
	if n := g.nonces[p["nonce"]]; n != nil && n.asked != nil {
		asked, o = n.asked, n.offer
	}
	for _, name := range []string{"username", "realm", "nonce", "uri", "response"} {
		if _, ok := p[name]; !ok {
			problems = append(problems, "no "+name)
		}
	}
	if p["username"] != a.User {
		problems = append(problems, "another user than the one assigned")
	}
	if p["realm"] != asked.realm {
		problems = append(problems, fmt.Sprintf("realm %q is not %q", p["realm"], asked.realm))
	}
	if p["opaque"] != asked.opaque && asked.opaque != "" {
		problems = append(problems, fmt.Sprintf("opaque %q is not %q", p["opaque"], asked.opaque))
	}
	want := orElse(o.algorithm, "MD5")
	if alg, ok := p["algorithm"]; ok && !strings.EqualFold(alg, want) {
		problems = append(problems, fmt.Sprintf("algorithm %q is not %s", alg, want))
	} else if !ok && !strings.EqualFold(want, "MD5") {
		problems = append(problems, fmt.Sprintf("no algorithm where %s was asked for", want))
	}
	hash, session := digestOf(want)
	if hash == nil {
		problems = append(problems, fmt.Sprintf("algorithm %s is unknown here, too", want))
		hash, _ = digestOf("MD5")
	}
	qop, hasQOP := p["qop"]
	switch {
	case hasQOP && o.qop == "":
		problems = append(problems, fmt.Sprintf("qop %q where none was offered", qop))
	case hasQOP && !slices.Contains(strings.Split(o.qop, ","), qop):
		problems = append(problems, fmt.Sprintf("qop %q is not %s", qop, strings.ReplaceAll(o.qop, ",", " or ")))
	case hasQOP && p["cnonce"] == "":
		problems = append(problems, "qop without cnonce")
	}
	ha1 := hash(a.User, asked.realm, a.Password())
	if session {
		ha1 = hash(ha1, p["nonce"], p["cnonce"])
	}
	ha2 := hash(r.Method, p["uri"])
	if qop == "auth-int" {
		ha2 = hash(r.Method, p["uri"], hash(entity))
	}
	response := hash(ha1, p["nonce"], ha2)
	if hasQOP {
		response = hash(ha1, p["nonce"], p["nc"], p["cnonce"], qop, ha2)
	}
	right := strings.EqualFold(p["response"], response)
	if !right {
		problems = append(problems, "wrong response: another password, or computed wrongly")
	}
	if p["uri"] != r.RequestURI {
		// RFC 2617, 3.2.2.5: may be an attack, so not asked again.
		status = http.StatusBadRequest
		problems = append(problems, fmt.Sprintf("uri %q is not that of the request, %q", p["uri"], r.target()))
	}
	if len(problems) > 0 {
		return append(problems, g.count(a, p, hasQOP, right)...), false, status
	}
	problems = g.count(a, p, hasQOP, right)
	return problems, len(problems) > 0, 0
}

// What is wrong with a nonce without the handset's fault.
const (
	nonceUnknown = "nonce was not given out here, or was forgotten"
	nonceStale   = "nonce is stale"
)

// count judges nonce and nc, and counts the request if its response is right.
func (g *gate) count(a Auth, p map[string]string, hasQOP, right bool) (problems []string) {
	n := g.nonces[p["nonce"]]
	if n == nil {
		return []string{nonceUnknown}
	}
	last := n.last
	if hasQOP {
		nc, err := strconv.ParseUint(p["nc"], 16, 32)
		switch {
		case err != nil || len(p["nc"]) != 8:
			problems = append(problems, fmt.Sprintf("nc %q is not eight hexadecimal digits", p["nc"]))
		case nc <= n.last:
			problems = append(problems, fmt.Sprintf("nc did not count up: %08x after %08x", nc, n.last))
		default:
			last = nc
		}
	}
	if n.stale || a.NonceUses > 0 && n.uses >= a.NonceUses {
		problems = append(problems, nonceStale)
	}
	if right {
		n.last, n.uses = last, n.uses+1
	}
	return problems
}

// mark remembers a challenge that a fault made.
func (g *gate) mark(realm, space string, from netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remember(realm, space, from)
}

func (g *gate) remember(realm, space string, from netip.Addr) {
	if g.challenged == nil {
		g.challenged = map[challenge]bool{}
	}
	g.challenged[challenge{from, space, realm}] = true
	g.challenged[challenge{from, space, ""}] = true
}

// ask makes the lines of a challenge, one for each offer, and remembers it.
func (g *gate) ask(what ask, space string, from netip.Addr) (lines []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remember(what.realm, space, from)
	if g.asked == nil {
		g.asked = map[challenge]*ask{}
	}
	g.asked[challenge{from: from, space: space}] = &what
	for _, o := range what.offers {
		realm := quoted(what.realm)
		if what.unquoted {
			realm = what.realm
		}
		value := string(o.scheme) + " realm=" + realm
		if o.scheme == Digest {
			value += ", nonce=" + quoted(g.fresh(&what, o))
			if o.qop != "" {
				value += ", qop=" + quoted(o.qop)
			}
			if o.algorithm != "" {
				value += ", algorithm=" + o.algorithm
			}
			if what.opaque != "" {
				value += ", opaque=" + quoted(what.opaque)
			}
			if what.stale {
				value += ", stale=true"
			}
		}
		lines = append(lines, "WWW-Authenticate: "+value)
	}
	return lines
}

// fresh makes a nonce that answers o; the gate is locked.
func (g *gate) fresh(what *ask, o offer) string {
	text := g.text
	if text == nil {
		text = rand.Text
	}
	id := text()
	if g.nonces == nil {
		g.nonces = map[string]*nonce{}
	}
	g.nonces[id] = &nonce{asked: what, offer: o}
	g.order = append(g.order, id)
	if len(g.order) > maxNonces {
		delete(g.nonces, g.order[0])
		g.order = g.order[1:]
	}
	return id
}

// next is a nonce to follow n.
func (g *gate) next(n *nonce) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fresh(n.asked, n.offer)
}

// spend makes n stale for good.
func (g *gate) spend(n *nonce) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n.stale = true
}

// used tells how often n was.
func (g *gate) used(n *nonce) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return n.uses
}

// digestOf is the hash of an algorithm (RFC 7616, 3.2 and 3.3), and whether it
// is of a session; nil: unknown.
func digestOf(algorithm string) (hash func(parts ...string) string, session bool) {
	name, session := strings.CutSuffix(strings.ToUpper(algorithm), "-SESS")
	var sum func(b []byte) []byte
	switch name {
	case "MD5":
		sum = func(b []byte) []byte { h := md5.Sum(b); return h[:] } //nolint:gosec // G401: RFC 2617
	case "SHA-256":
		sum = func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }
	case "SHA-512-256":
		sum = func(b []byte) []byte { h := sha512.Sum512_256(b); return h[:] }
	default:
		return nil, session
	}
	return func(parts ...string) string { return hex.EncodeToString(sum([]byte(strings.Join(parts, ":")))) }, session
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// credentials are what an Authorization line says. It is never printed.
type credentials struct {
	scheme, user, password string
	params                 map[string]string // of every scheme but Basic; names in lower case
}

// parseAuthorization reads credentials (RFC 9110, 11.4). Errors do not repeat
// what may be secret.
func parseAuthorization(value string) (credentials, error) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	c := credentials{scheme: scheme}
	if !isToken(scheme) {
		return credentials{}, errors.New("credentials without a scheme")
	}
	rest = strings.TrimSpace(rest)
	if strings.EqualFold(scheme, string(Basic)) {
		plain, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return c, errors.New("credentials that are not base64")
		}
		user, password, ok := strings.Cut(string(plain), ":")
		if !ok {
			return c, errors.New("credentials without a colon")
		}
		c.user, c.password = user, password
		return c, nil
	}
	params, err := parseParams(rest)
	c.params = params
	c.user = params["username"]
	return c, err
}

// parseParams reads a list of name=value, where value is a token or quoted.
func parseParams(s string) (map[string]string, error) {
	params := map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t,") // empty elements are allowed
		if s == "" {
			return params, nil
		}
		name, rest, ok := strings.Cut(s, "=")
		name = strings.ToLower(strings.TrimRight(name, " \t"))
		if !ok || !isToken(name) {
			return params, errors.New("credentials with a parameter that is not name=value")
		}
		if _, twice := params[name]; twice {
			return params, fmt.Errorf("credentials with two values of %q", name)
		}
		value, rest, ok := parseValue(strings.TrimLeft(rest, " \t"))
		if !ok {
			return params, fmt.Errorf("credentials with a bad value of %q", name)
		}
		params[name] = value
		s = strings.TrimLeft(rest, " \t")
		if s != "" && s[0] != ',' {
			return params, fmt.Errorf("credentials without a comma behind %q", name)
		}
	}
}

func parseValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, " \t,")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], end > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

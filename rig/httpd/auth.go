package httpd

import (
	"crypto/md5" //nolint:gosec // G501: RFC 2617 and the handset know no other digest
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
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
	mu     sync.Mutex
	nonces map[string]*nonce
	order  []string
	// challenged holds who got a challenge where.
	challenged map[challenge]bool
}

type nonce struct {
	last uint64 // nc of the last request
	uses int
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
}

func (g *gate) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.nonces, g.order, g.challenged = nil, nil, nil
}

// judge compares the credentials of r with what a asks for.
func (g *gate) judge(a Auth, r *request, space string, from netip.Addr) verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := verdict{fields: map[string]string{}}
	values := r.Header.Values("Authorization")
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
	if a.Scheme == None {
		return v
	}
	var problems []string
	switch {
	case len(values) > 1:
		problems = append(problems, fmt.Sprintf("%d Authorization lines", len(values)))
	case err != nil:
		problems = append(problems, err.Error())
	case !strings.EqualFold(given.scheme, string(a.Scheme)):
		problems = append(problems, fmt.Sprintf("%s where %s was asked for", given.scheme, a.Scheme))
	case a.Scheme == Basic:
		if given.user != a.User {
			problems = append(problems, "another user than the one assigned")
		}
		if given.password != a.Password() {
			problems = append(problems, "wrong password")
		}
	default:
		problems, v.stale, v.status = g.judgeDigest(a, given, r)
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

// judgeDigest is RFC 2617, 3.2.2 and 3.3. stale says that only the nonce is at
// fault; status is set where the answer is not another challenge.
func (g *gate) judgeDigest(a Auth, given credentials, r *request) (problems []string, stale bool, status int) {
	p := given.params
	for _, name := range []string{"username", "realm", "nonce", "uri", "response"} {
		if _, ok := p[name]; !ok {
			problems = append(problems, "no "+name)
		}
	}
	if p["username"] != a.User {
		problems = append(problems, "another user than the one assigned")
	}
	if p["realm"] != a.Realm {
		problems = append(problems, fmt.Sprintf("realm %q is not %q", p["realm"], a.Realm))
	}
	if alg, ok := p["algorithm"]; ok && !strings.EqualFold(alg, "MD5") {
		problems = append(problems, fmt.Sprintf("algorithm %q is not MD5", alg))
	}
	qop, hasQOP := p["qop"]
	switch {
	case hasQOP && !a.QOP:
		problems = append(problems, fmt.Sprintf("qop %q where none was offered", qop))
	case hasQOP && qop != "auth":
		problems = append(problems, fmt.Sprintf("qop %q is not auth", qop))
	case hasQOP && p["cnonce"] == "":
		problems = append(problems, "qop without cnonce")
	}
	ha1 := hash(a.User, a.Realm, a.Password())
	ha2 := hash(r.Method, p["uri"])
	want := hash(ha1, p["nonce"], ha2)
	if hasQOP {
		want = hash(ha1, p["nonce"], p["nc"], p["cnonce"], qop, ha2)
	}
	right := strings.EqualFold(p["response"], want)
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
	if a.NonceUses > 0 && n.uses >= a.NonceUses {
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

// challenge is the value of WWW-Authenticate, and is remembered.
func (g *gate) challenge(a Auth, space string, from netip.Addr, stale bool) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remember(a.Realm, space, from)
	value := string(a.Scheme) + " realm=" + quoted(a.Realm)
	if a.Scheme != Digest {
		return value
	}
	id := rand.Text()
	if g.nonces == nil {
		g.nonces = map[string]*nonce{}
	}
	g.nonces[id] = &nonce{}
	g.order = append(g.order, id)
	if len(g.order) > maxNonces {
		delete(g.nonces, g.order[0])
		g.order = g.order[1:]
	}
	value += ", nonce=" + quoted(id)
	if a.QOP {
		value += `, qop="auth", algorithm=MD5`
	}
	if stale {
		value += ", stale=true"
	}
	return value
}

func hash(parts ...string) string {
	sum := md5.Sum([]byte(strings.Join(parts, ":"))) //nolint:gosec // G401: RFC 2617
	return hex.EncodeToString(sum[:])
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

package httpc

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/icholy/digest"

	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/trust"
)

// space is a protection space (RFC 2617, 1.2) that has challenged us.
type space struct {
	origin   origin
	prefixes []string // paths it covers
	realm    string
	digest   *digest.Challenge // nil for Basic
	count    int               // requests sent with the nonce
	stale    bool              // the last challenge said so
}

// spaceOf finds the protection space that a URL is known to be in, the one with
// the longest path if several are.
func (c *Client) spaceOf(u *url.URL) *space {
	var found *space
	longest := -1
	for _, s := range c.spaces {
		for _, prefix := range s.prefixes {
			if s.origin == originOf(u) && len(prefix) > longest && strings.HasPrefix(u.EscapedPath(), prefix) {
				found, longest = s, len(prefix)
			}
		}
	}
	return found
}

// challenged remembers what a 401 asks for: Digest if it can be answered, else
// Basic, else nil.
func (c *Client) challenged(u *url.URL, headers []string) *space {
	s := &space{origin: originOf(u)}
	basic := false
	for _, challenge := range splitChallenges(headers) {
		scheme, params, _ := strings.Cut(challenge, " ")
		switch strings.ToLower(scheme) {
		case "basic":
			if !basic {
				s.realm = realm(params)
			}
			basic = true
		case "digest":
			parsed, err := digest.ParseChallenge("Digest " + params)
			if err != nil || s.digest != nil {
				continue
			}
			for i, qop := range parsed.QOP {
				parsed.QOP[i] = strings.ToLower(strings.TrimSpace(qop))
			}
			parsed.QOP = slices.DeleteFunc(parsed.QOP, func(qop string) bool { return qop == "" })
			if c.canDigest(parsed) {
				s.digest = parsed
			}
		}
	}
	if basic && c.PreferBasic {
		s.digest = nil
	}
	switch {
	case s.digest != nil:
		s.realm, s.stale = s.digest.Realm, s.digest.Stale
		s.prefixes = digestPrefixes(u, s.digest.Domain)
	case basic:
		// RFC 2617, 2: at or deeper than the last symbolic element of the path.
		path := u.EscapedPath()
		s.prefixes = []string{path[:strings.LastIndexByte(path, '/')+1]}
	default:
		return nil
	}
	c.spaces = slices.DeleteFunc(c.spaces, func(old *space) bool { return old.origin == s.origin && old.realm == s.realm })
	c.spaces = append(c.spaces, s)
	return s
}

// canDigest strikes out what is not known of the qualities of protection, and
// reports whether the rest can be answered. RFC 2617 knows MD5 only, and so do
// handsets of its time.
func (c *Client) canDigest(challenge *digest.Challenge) bool {
	known := c.Digest
	if known == nil {
		known = []string{"MD5", "auth"}
	}
	asked := len(challenge.QOP)
	if asked == 0 && c.Defects.Has(defect.DigestNeedsQOP) {
		return false
	}
	challenge.QOP = slices.DeleteFunc(challenge.QOP, func(qop string) bool { return !slices.Contains(known, qop) })
	algorithm := strings.ToUpper(challenge.Algorithm)
	if algorithm == "" {
		algorithm = "MD5"
	}
	return digest.CanDigest(challenge) && slices.Contains(known, algorithm) && (asked == 0 || len(challenge.QOP) > 0)
}

// answers reports whether there are credentials to answer a challenge with.
func (c *Client) answers() bool { return c.ID != "" || c.Password != "" || c.AnswerBlank }

// elsewhere returns the Authorization header for a host that a redirection has led
// to: none.
func (c *Client) elsewhere(v *visit, u *url.URL) (string, error) {
	switch {
	case !c.Defects.Has(defect.CredentialsToOtherHost) || !c.answers():
		return "", nil
	case v.last == nil:
		return c.basic(), nil
	}
	return c.authorize(v.last, u)
}

// sendToRefused is the defect credentials-to-refused: over a connection of its own, so
// that the refusal is one. The answer is not looked at.
func (c *Client) sendToRefused(ctx context.Context, addr netip.AddrPort, u *url.URL) {
	if c.ID+c.Password == "" {
		return
	}
	raw, err := c.Dial(ctx, addr)
	if err != nil {
		return
	}
	defer raw.Close()                                       //nolint:errcheck // of no use any more
	defer context.AfterFunc(ctx, func() { raw.Close() })()  //nolint:errcheck,gosec // it only wakes the reader
	stream, err := c.handshake(ctx, raw, u, trust.Policy{}) // whatever the certificate
	if err != nil {
		return
	}
	req := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}}
	req.Header.Set("User-Agent", c.UserAgent)
	req.Header.Set("Authorization", c.basic())
	if req.Write(stream) == nil {
		_, _ = stream.Read(make([]byte, 1)) // so that the server has seen it whole
	}
}

func (c *Client) forget(s *space) {
	c.spaces = slices.DeleteFunc(c.spaces, func(old *space) bool { return old == s })
}

// digestPrefixes is RFC 2617, 3.2.1 "domain": the URIs covered, all of the
// server when none is named. Other servers in the list are left out: they have
// not challenged.
func digestPrefixes(u *url.URL, domain []string) []string {
	var out []string
	for _, d := range domain {
		if covered, err := u.Parse(d); err == nil && originOf(covered) == originOf(u) {
			out = append(out, covered.EscapedPath())
		}
	}
	if len(domain) == 0 {
		out = []string{"/"}
	}
	return out
}

// authorize returns the Authorization header for a request in the space, blank
// for none.
func (c *Client) authorize(s *space, u *url.URL) (string, error) {
	if !c.answers() {
		return "", nil
	}
	if s == nil {
		if c.Defects.Has(defect.PreemptiveBasic) && c.ID+c.Password != "" {
			return c.basic(), nil
		}
		return "", nil
	}
	if s.digest == nil {
		return c.basic(), nil
	}
	s.count++
	if c.Defects.Has(defect.DigestCountStuck) {
		s.count = 1
	}
	options := digest.Options{
		Method: http.MethodGet, URI: u.RequestURI(), Count: s.count, Username: c.ID, Password: c.Password,
	}
	if c.Cnonce != nil {
		options.Cnonce = c.Cnonce()
	}
	credentials, err := digest.Digest(s.digest, options)
	if err != nil {
		return "", fmt.Errorf("challenge of realm %q: %w", s.realm, err)
	}
	return credentials.String(), nil
}

func (c *Client) basic() string {
	password := c.Password
	if c.Defects.Has(defect.BasicWithoutPassword) {
		password = ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.ID+":"+password))
}

// splitChallenges takes WWW-Authenticate headers apart: one may hold several
// challenges, and commas part both challenges and their parameters (RFC 2617,
// 1.2).
func splitChallenges(headers []string) []string {
	var out []string
	for _, header := range headers {
		for _, item := range splitList(header) {
			// An item that begins with "token SP" (not "token =") opens a challenge.
			word, rest, _ := strings.Cut(item, " ")
			opens := !strings.Contains(word, "=") && !strings.HasPrefix(strings.TrimLeft(rest, " \t"), "=")
			switch {
			case opens || len(out) == 0:
				out = append(out, item)
			default:
				last := len(out) - 1
				if strings.Contains(out[last], " ") {
					out[last] += ", " + item
				} else {
					out[last] += " " + item
				}
			}
		}
	}
	return out
}

// splitList parts a list at commas outside of quotes.
func splitList(s string) []string {
	var out []string
	start, quoted := 0, false
	add := func(item string) {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			add(s[start:i])
			start = i + 1
		}
	}
	add(s[start:])
	return out
}

// realm reads the parameter out of a Basic challenge.
func realm(params string) string {
	for _, item := range splitList(params) {
		name, value, _ := strings.Cut(item, "=")
		if strings.EqualFold(strings.TrimSpace(name), "realm") {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

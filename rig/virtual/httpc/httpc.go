// Package httpc is the HTTP and HTTPS downloader of the simulated handset:
// HTTP/1.1 with connections kept within one cycle, Basic and Digest
// authentication (RFC 2617), and the certificate checks of package trust. It
// does without net/http's Transport, because that repeats requests by itself
// and the rig counts them.
package httpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/trust"
)

const (
	defaultLimit   = 64 << 20
	maxHead        = 64 << 10 // bytes of a status line with its header
	maxInterim     = 5        // 1xx answers before the real one
	maxStale       = 2        // stale nonces that are replaced in one Get
	defaultTimeout = 20 * time.Second
)

// ErrURL is wrapped by the errors about URLs that cannot be asked for.
var ErrURL = errors.New("url cannot be used")

// Client downloads files. Its exported fields are set before the first Get and
// not changed afterwards. It may be used by several goroutines; requests to
// one server go one after the other. Close it at the end of a cycle.
type Client struct {
	// Dial opens a TCP connection.
	Dial func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	// Resolve finds the address of a host name; it is not asked for literals.
	// Nil refuses names.
	Resolve func(ctx context.Context, host string) (netip.Addr, error)
	// ID and Password are the stored credentials. With both blank a challenge is
	// not answered.
	ID, Password string
	// UserAgent is sent when it is not blank.
	UserAgent string
	// Policy checks certificates. The client's Defects are added to its own.
	Policy trust.Policy
	// MinVersion and MaxVersion bound the TLS versions (crypto/tls numbers); 0 is
	// TLS 1.0, and TLS 1.2.
	MinVersion, MaxVersion uint16
	// Timeout ends a connection that makes no progress; 20 s when 0.
	Timeout time.Duration
	// Tries is how often a request is sent when the connection fails, at least
	// once. An HTTP status and a refused certificate are answers, and not tried
	// again.
	Tries int
	// Redirects is how many redirections one Get follows. When it is 0 their
	// status is returned. A host that one leads to is not given the credentials.
	Redirects int
	// Slowest is how many bytes of an answer must come within Timeout; 0 sets no
	// bound. FileTime bounds one Get with all its tries; 0 sets no bound.
	Slowest  int
	FileTime time.Duration
	// RetryStatuses are asked again after, as long as Tries last: when Retry-After
	// says how many seconds to wait, and not more than RetryAfterLimit; a 408
	// without it at once.
	RetryStatuses   []int
	RetryAfterLimit time.Duration
	// TakeEncoded takes the bytes of a body with a Content-Encoding, which was not
	// asked for, as they are; otherwise such a body is an error.
	TakeEncoded bool
	// Digest names the algorithms (MD5, SHA-256) and qualities of protection
	// (auth, auth-int) that can be answered; nil is MD5 and auth.
	Digest []string
	// PreferBasic answers Basic when Digest is offered too.
	PreferBasic bool
	// AuthTries is how often the credentials are sent in one Get that is answered
	// 401 each time, at least once; stale nonces do not count.
	AuthTries int
	// AnswerBlank answers a challenge with blank credentials, too.
	AnswerBlank bool
	// Limit is the longest body taken, in bytes; 64 MiB when 0.
	Limit int64
	// Cnonce makes client nonces; nil is at random.
	Cnonce func() string
	// Defects are the handset's.
	Defects defect.Set

	mu     sync.Mutex
	conns  map[origin]*conn
	spaces []*space
	// inClear says that a server has not understood the defect tls-to-http-url.
	inClear bool
}

// origin is a server as RFC 2617, 1.2 sees it: scheme and authority.
type origin struct{ scheme, host string }

// conn is one connection with what was read ahead.
type conn struct {
	net.Conn
	r    *bufio.Reader
	head *io.LimitedReader // bounds what one answer's head may take
	pace *pace             // bounds how slowly it may come
	used bool              // a request was answered on it
}

// Get asks for an http or https URL and returns the body whole, with the
// status; err is nil whatever the status is. User information in the URL is
// not used. A refused certificate is a *trust.Refusal, and a body that broke
// off a *BrokenError. Errors of a connection that could not be opened wrap
// ErrUnreachable.
func (c *Client) Get(ctx context.Context, rawURL string) (body []byte, status int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u, err := parse(rawURL)
	if err != nil {
		return nil, 0, err
	}
	if c.FileTime > 0 && !c.endless() {
		var done context.CancelFunc
		ctx, done = context.WithTimeoutCause(ctx, c.FileTime, fmt.Errorf("not done after %v", c.FileTime))
		defer done()
	}
	visit := visit{home: u.Hostname()}
	for hop := 0; ; hop++ {
		answer, err := c.get(ctx, u, &visit)
		if err != nil {
			return nil, 0, fmt.Errorf("GET %s: %w", u.Redacted(), err)
		}
		location := answer.Header.Get("Location")
		if !redirects(answer.StatusCode) || location == "" {
			return answer.body, answer.StatusCode, nil
		}
		if hop >= c.Redirects {
			if !c.Defects.Has(defect.FollowsRedirectsForever) {
				return answer.body, answer.StatusCode, nil
			}
			if err := pause(ctx, c.timeout()/endlessPace); err != nil {
				return nil, 0, err
			}
		}
		next, err := u.Parse(location)
		if err == nil {
			next, err = parse(next.String())
		}
		if err != nil {
			return nil, answer.StatusCode, fmt.Errorf("GET %s: redirected to %q: %w", u.Redacted(), location, err)
		}
		u = next
	}
}

// Close ends the kept connections and forgets the challenges.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, kept := range c.conns {
		errs = append(errs, kept.Close())
	}
	c.conns, c.spaces = nil, nil
	return errors.Join(errs...)
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	default:
		return false
	}
}

func parse(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrURL, err)
	}
	u.Scheme, u.User, u.Fragment = strings.ToLower(u.Scheme), nil, ""
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%w: %q: scheme is not http or https", ErrURL, rawURL)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("%w: %q: no host", ErrURL, rawURL)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%w: %q: port %s", ErrURL, rawURL, p)
		}
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body []byte
}

// visit is what one Get knows while it is redirected.
type visit struct {
	home string // host of the URL asked for: the one that may see the credentials
	last *space // that was answered at home
}

// get asks, answers challenges as often as is sensible, and asks again where
// the status says so.
func (c *Client) get(ctx context.Context, u *url.URL, v *visit) (answer, error) {
	home := strings.EqualFold(u.Hostname(), v.home)
	var known *space
	if home {
		known = c.spaceOf(u)
	}
	sent, stale, again := 0, 0, 0 // credentials, fresh nonces for stale ones, requests after a status
	for {
		if known != nil {
			v.last = known
		}
		a, err := c.try(ctx, u, func() (string, error) {
			if !home {
				return c.elsewhere(v, u)
			}
			return c.authorize(known, u)
		})
		if err != nil {
			return answer{}, err
		}
		if a.StatusCode != http.StatusUnauthorized {
			wait, repeat := c.repeats(a)
			if again++; !repeat || again >= max(c.Tries, 1) {
				return a, nil
			}
			c.drop(u)
			if err := pause(ctx, wait); err != nil {
				return answer{}, err
			}
			continue
		}
		if !home {
			return a, nil
		}
		next := c.challenged(u, a.Header.Values("WWW-Authenticate"))
		if next == nil || !c.answers() {
			return a, nil
		}
		switch {
		case c.Defects.Has(defect.AuthenticatesForever):
			if sent++; sent > 1 {
				if err := pause(ctx, c.timeout()/endlessPace); err != nil {
					return answer{}, err
				}
			}
		case next.stale && c.Defects.Has(defect.IgnoresStale):
			return a, nil
		case next.stale && stale >= maxStale:
			return a, nil
		case next.stale && sent > 0:
			stale++
		case sent >= max(c.AuthTries, 1):
			c.forget(next) // the server has just seen our credentials and did not like them
			return a, nil
		default:
			sent++
		}
		known = next
	}
}

// try sends one request, again over a new connection when the connection fails.
// A kept connection that the server has closed meanwhile does not count.
func (c *Client) try(ctx context.Context, u *url.URL, authorize func() (string, error)) (answer, error) {
	var errs []error
	for try := 0; try < max(c.Tries, 1); {
		kept, err := c.connect(ctx, u)
		if err == nil {
			authorization, failed := authorize() // anew each time: a nonce counts requests
			if failed != nil {
				return answer{}, failed
			}
			var a answer
			reused := kept.used
			a, err = c.exchange(ctx, kept, u, authorization)
			if err == nil {
				return a, nil
			}
			c.drop(u)
			if reused && closedByPeer(err) {
				continue
			}
		}
		if ctx.Err() != nil {
			return answer{}, context.Cause(ctx)
		}
		if refusal, ok := errors.AsType[*trust.Refusal](err); ok {
			return answer{}, refusal
		}
		if errors.Is(err, errEncoded) {
			return answer{}, err
		}
		try++
		errs = append(errs, err)
	}
	return answer{}, errors.Join(errs...)
}

func closedByPeer(err error) bool {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return false
	}
	return errors.Is(err, errNoAnswer)
}

// errNoAnswer marks a connection that ended before the first byte of an answer.
var errNoAnswer = errors.New("connection ended without an answer")

// connect returns the kept connection to the URL's server, or a new one.
func (c *Client) connect(ctx context.Context, u *url.URL) (*conn, error) {
	key := originOf(u)
	if kept, ok := c.conns[key]; ok {
		return kept, nil
	}
	addr, err := c.resolve(ctx, u)
	if err != nil {
		return nil, err
	}
	dialCtx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	raw, err := c.Dial(dialCtx, addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	below := &patient{Conn: raw, timeout: c.timeout()}
	var stream net.Conn = below
	if c.secures(u) {
		if c.Defects.Has(defect.HandshakeHangs) {
			dialCtx, below.endless = ctx, true
		}
		policy := c.Policy
		policy.Defects = append(slices.Clip(policy.Defects), c.Defects...)
		if stream, err = c.handshake(dialCtx, below, u, policy); err != nil {
			err = errors.Join(err, raw.Close())
			if u.Scheme == "http" { // tls-to-http-url: once more, in clear
				c.inClear = true
				return c.connect(ctx, u)
			}
			if _, refused := errors.AsType[*trust.Refusal](err); refused && c.Defects.Has(defect.CredentialsToRefused) {
				c.sendToRefused(dialCtx, addr, u)
			}
			return nil, err
		}
		below.endless = false
	}
	pace := &pace{Reader: stream, least: c.Slowest, within: c.timeout()}
	head := &io.LimitedReader{R: pace}
	kept := &conn{Conn: stream, head: head, pace: pace, r: bufio.NewReader(head)}
	if c.conns == nil {
		c.conns = map[origin]*conn{}
	}
	c.conns[key] = kept
	return kept, nil
}

// secures reports whether TLS is spoken to a URL's server.
func (c *Client) secures(u *url.URL) bool {
	if u.Scheme == "https" {
		return !c.Defects.Has(defect.ClearForHTTPS)
	}
	return c.Defects.Has(defect.TLSToHTTPURL) && !c.inClear
}

func (c *Client) drop(u *url.URL) {
	key := originOf(u)
	if kept, ok := c.conns[key]; ok {
		kept.Close() //nolint:errcheck,gosec // it has failed already, or is of no use
		delete(c.conns, key)
	}
}

func (c *Client) resolve(ctx context.Context, u *url.URL) (netip.AddrPort, error) {
	port := uint16(80)
	if u.Scheme == "https" {
		port = 443
	}
	if p, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = uint16(p)
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return netip.AddrPortFrom(addr, port), nil
	}
	if c.Resolve == nil {
		return netip.AddrPort{}, fmt.Errorf("%w: host %q: names are not resolved", ErrURL, u.Hostname())
	}
	addr, err := c.Resolve(ctx, u.Hostname())
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("host %q: %w", u.Hostname(), err)
	}
	return netip.AddrPortFrom(addr, port), nil
}

// BrokenError is a file whose body ended before it was whole.
type BrokenError struct {
	// Got is what had come until then.
	Got []byte
	// Err says why it ended.
	Err error
}

// Error says why the body ended.
func (e *BrokenError) Error() string { return e.Err.Error() }

// Unwrap returns why the body ended.
func (e *BrokenError) Unwrap() error { return e.Err }

// Partial returns what had come of the file.
func (e *BrokenError) Partial() []byte { return e.Got }

// exchange sends one GET and reads its answer whole.
func (c *Client) exchange(ctx context.Context, kept *conn, u *url.URL, authorization string) (answer, error) {
	stop := context.AfterFunc(ctx, func() { kept.Close() }) //nolint:errcheck,gosec // it only wakes whoever reads or writes
	defer stop()

	req := &http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
	}
	req.Header.Set("User-Agent", c.UserAgent) // blank: none at all
	req.Header.Set("Accept", "*/*")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	if err := req.Write(kept); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	kept.pace.begin()
	kept.head.N = maxHead
	if _, err := kept.r.Peek(1); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	for interim := 0; ; interim++ {
		res, err := http.ReadResponse(kept.r, req) //nolint:bodyclose // the connection is ours: it is kept or dropped whole
		if err != nil {
			return answer{}, fmt.Errorf("answer: %w", kept.pace.reason(err))
		}
		if res.StatusCode/100 == 1 && interim < maxInterim {
			continue
		}
		if enc := res.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") && res.StatusCode == http.StatusOK && !c.TakeEncoded {
			return answer{}, fmt.Errorf("%w: %s", errEncoded, enc)
		}
		limit := c.Limit
		if limit <= 0 {
			limit = defaultLimit
		}
		kept.head.N = limit + limit/8 + maxHead // chunk heads included
		body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
		if errors.Is(err, ErrGap) || err != nil && res.ContentLength > 0 && ended(err) && c.Defects.Has(defect.TakesShortBody) {
			res.Close, err = true, nil
		}
		if err != nil {
			err = fmt.Errorf("body after %d bytes: %w", len(body), kept.pace.reason(err))
			if res.StatusCode == http.StatusOK {
				err = &BrokenError{body, err}
			}
			return answer{}, err
		}
		if int64(len(body)) > limit {
			return answer{}, fmt.Errorf("body is longer than %d bytes", limit)
		}
		kept.used = true
		if res.Close || kept.r.Buffered() > 0 {
			c.drop(u) // asked for, or the server has sent more than it said
		}
		return answer{res, body}, nil
	}
}

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return defaultTimeout
}

// originOf tells servers apart; a port that goes without saying is not said.
func originOf(u *url.URL) origin {
	host := strings.ToLower(u.Hostname())
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return origin{u.Scheme, net.JoinHostPort(host, port)}
}

// handshake opens TLS. A certificate that the policy refuses ends it with the
// refusal's alert.
func (c *Client) handshake(ctx context.Context, raw net.Conn, u *url.URL, policy trust.Policy) (net.Conn, error) {
	host := u.Hostname()
	alert := &alerting{Conn: raw}
	cfg := &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, check by check
		ServerName:         host, // sent for names, not for addresses (RFC 6066, 3)
		MinVersion:         orVersion(c.MinVersion, tls.VersionTLS10),
		MaxVersion:         orVersion(c.MaxVersion, tls.VersionTLS12),
		CipherSuites:       suites(),
		VerifyConnection: func(state tls.ConnectionState) error {
			err := policy.Verify(state.PeerCertificates, host)
			var refusal *trust.Refusal
			if !errors.As(err, &refusal) || c.Defects.Has(defect.RequestsAfterRefusal) {
				return nil
			}
			alert.instead = byte(refusal.Alert())
			if c.Defects.Has(defect.WrongAlert) {
				alert.instead = certificateUnknown
			}
			return err
		},
	}
	if c.Defects.Has(defect.NoServerName) {
		cfg.ServerName = ""
	}
	stream := tls.Client(alert, cfg)
	if err := stream.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return stream, nil
}

func orVersion(v, otherwise uint16) uint16 {
	if v != 0 {
		return v
	}
	return otherwise
}

// suites lists all of them: a handset of 2010 offers RSA key exchange, 3DES and
// RC4, which crypto/tls only does when told.
func suites() []uint16 {
	var out []uint16
	for _, s := range tls.CipherSuites() {
		out = append(out, s.ID)
	}
	for _, s := range tls.InsecureCipherSuites() {
		out = append(out, s.ID)
	}
	return out
}

// certificateUnknown is the alert of the defect wrong-alert (RFC 5246, 7.2).
const certificateUnknown = 46

// alerting puts the right description into the alert that ends a handshake:
// crypto/tls says bad_certificate whatever VerifyConnection found. Up to TLS
// 1.2 the alert is in clear, so it can be put right; TLS 1.3 encrypts it, and
// it stays bad_certificate.
type alerting struct {
	net.Conn
	instead byte // alert description, 0 for none
}

func (a *alerting) Write(b []byte) (int, error) {
	const recordAlert, fatal, length = 21, 2, 7
	if a.instead != 0 && len(b) == length && b[0] == recordAlert && b[5] == fatal && trust.Alert(b[6]) == trust.BadCertificate {
		b = append(b[:6:6], a.instead)
	}
	return a.Conn.Write(b)
}

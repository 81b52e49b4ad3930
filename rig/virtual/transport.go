package virtual

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/dhcpc"
	"ip88rig/rig/virtual/httpc"
	"ip88rig/rig/virtual/tftpc"
	"ip88rig/rig/virtual/trust"
)

// errMissing says that the server does not have a file.
var errMissing = errors.New("no such file")

// source is the server of one cycle over the transport of that cycle.
type source interface {
	// get fetches a file whole. It wraps errMissing when there is none, and a
	// *trust.Refusal when the server's certificate was refused.
	get(ctx context.Context, name string) ([]byte, error)
	// transport is "tftp", "http" or "https".
	transport() string
	close()
	String() string
}

// refused reports whether nothing of the server may be used.
func refused(err error) bool {
	var r *trust.Refusal
	return errors.As(err, &r)
}

// transports opens sources.
type transports struct {
	*device

	net     *network
	clock   *clock
	version string // of the software that runs
}

// tftp is a source over TFTP.
type tftp struct{ cfg tftpc.Config }

func (t *transports) overTFTP(server netip.AddrPort) *tftp {
	options, err := tftpc.ParseOptions(t.cfg.Facts.Text(model.TFTPOptions))
	if err != nil {
		t.log.Warn("fact "+model.TFTPOptions, "error", err)
	}
	return &tftp{tftpc.Config{
		Listen: t.net.listenTFTP, Server: server, Options: options,
		Timeout: t.retry(model.TFTPTimeout), Tries: t.cfg.Facts.Int(model.TFTPTries),
		Limit: t.cfg.Facts.Int(model.TFTPFileLimit), Defects: t.cfg.Defects,
	}}
}

func (t *tftp) get(ctx context.Context, name string) ([]byte, error) {
	body, err := tftpc.Get(ctx, t.cfg, name)
	var refusal *tftpc.ServerError
	if errors.As(err, &refusal) && refusal.Code == tftpc.FileNotFound {
		return nil, fmt.Errorf("%w: %v", errMissing, err)
	}
	return body, err
}

func (*tftp) transport() string { return "tftp" }

func (*tftp) close() {}

func (t *tftp) String() string { return "tftp://" + t.cfg.Server.Addr().String() }

// web is a source over HTTP or HTTPS.
type web struct {
	*transports

	base   *url.URL
	user   *url.Userinfo // of the URL, nil when it is ignored
	client *httpc.Client
	id, pw string
	// failed says that a connection could not be opened, reached that one could,
	// refused that a certificate was refused.
	failed, reached, refused bool
}

// overHTTP takes a URL as a folder: names are appended to its path. $MAC in it
// is replaced and user information is used, if the facts say so; a query is
// left out.
func (t *transports) overHTTP(set settings, raw string) (*web, error) {
	for _, c := range raw {
		if c <= ' ' || c == 0x7f {
			return nil, fmt.Errorf("url %.60q holds control characters or blanks", raw)
		}
	}
	if t.cfg.Facts.Yes(model.URLMACExpansion) {
		raw = strings.ReplaceAll(raw, "$MAC", t.ownName())
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("url %.60q is not http://host or https://host", raw)
	}
	w := &web{transports: t, base: u}
	if t.cfg.Facts.Text(model.URLUserInfo) == "used" {
		w.user = u.User
	}
	u.User, u.RawQuery, u.Fragment, u.ForceQuery = nil, "", "", false
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	if t.has(defect.IgnoresURLPort) {
		u.Host = u.Hostname()
	}
	if t.has(defect.DropsURLPath) {
		u.Path = ""
	}
	w.connect(set)
	return w, nil
}

// credentials are the stored ones, or those of the URL where these count.
func (w *web) credentials(set settings) (id, password string) {
	if w.user != nil {
		password, _ = w.user.Password()
		return w.user.Username(), password
	}
	return set.fact(model.CredentialFields, 0), set.fact(model.CredentialFields, 1)
}

// connect makes the client with what is stored now.
func (w *web) connect(set settings) {
	facts := w.cfg.Facts
	low, high := tlsVersions(facts.List(model.TLSVersions))
	w.id, w.pw = w.credentials(set)
	var statuses []int
	for _, word := range facts.List(model.HTTPRetryStatuses) {
		if n, err := strconv.Atoi(word); err == nil {
			statuses = append(statuses, n)
		}
	}
	var cnonce func() string
	if seed := w.seed(7); seed != 0 {
		random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable on purpose
		cnonce = func() string { return fmt.Sprintf("%016x", random.Uint64()) }
	}
	w.client = &httpc.Client{
		Dial: w.dial, Resolve: w.net.resolve, ID: w.id, Password: w.pw,
		UserAgent:  w.expand(model.HTTPUserAgent, w.version),
		Policy:     w.policy(set),
		MinVersion: low, MaxVersion: high,
		Timeout: max(w.retry(model.HTTPTimeout), min(facts.Duration(model.HTTPTimeout), shortestHTTP)), Tries: facts.Int(model.HTTPTries),
		Slowest: facts.Int(model.HTTPSlowest), FileTime: w.retry(model.HTTPFileTime),
		Redirects:     facts.Int(model.HTTPRedirects),
		RetryStatuses: statuses, RetryAfterLimit: facts.Duration(model.HTTPRetryAfterLimit), // whole seconds are not divided
		TakeEncoded: facts.Text(model.HTTPUnaskedEncoding) == "as-it-is",
		Digest:      facts.List(model.HTTPDigest), PreferBasic: facts.Text(model.HTTPSchemePreferred) == "basic",
		AuthTries: facts.Int(model.HTTPAuthTries), AnswerBlank: (facts.Text(model.HTTPNoCredentials) == "sent") != w.has(defect.AnswersBlank),
		Cnonce: cnonce, Defects: w.cfg.Defects,
	}
}

// policy is that of the certificate checks, as mask and facts have it.
func (w *web) policy(set settings) trust.Policy {
	facts := w.cfg.Facts
	takes := []trust.Trait{} // none is not what a nil stands for
	for _, word := range facts.List(model.CertificateTakes) {
		takes = append(takes, trust.Trait(word))
	}
	var alerts [3]trust.Alert
	for i, word := range facts.List(model.RefusalAlerts) {
		if n, err := strconv.ParseUint(word, 10, 8); err == nil && i < len(alerts) {
			alerts[i] = trust.Alert(n)
		}
	}
	return trust.Policy{
		Mask: set.mask(), Authorities: w.authorities(), Now: w.clock.now,
		RefuseUntimed: facts.Text(model.ExpiredWithoutTime) == "refuse",
		Takes:         takes, Depth: facts.Int(model.CertificateDepth), MaxBytes: facts.Int(model.CertificateBytes),
		Alerts: alerts, Past: w.memory.read().past,
	}
}

// dial opens a connection, and notes whether that could be done.
func (w *web) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	conn, err := w.net.dial(ctx, to)
	w.failed, w.reached = w.failed || err != nil, w.reached || err == nil
	if gaps := w.cord.gaps; gaps != nil && err == nil {
		conn = gaps.watch(conn)
	}
	return conn, err
}

// unreached reports whether the server could not be reached at all.
func (w *web) unreached() bool { return w.failed && !w.reached }

// givesUp reports whether a server that cannot be reached is left for TFTP.
func (w *web) givesUp() bool {
	toTFTP := w.cfg.Facts.Text(model.UnreachableFallback) == "tftp"
	return toTFTP != w.has(defect.NoFallback)
}

func tlsVersions(words []string) (low, high uint16) {
	known := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	if len(words) > 0 {
		low = known[words[0]]
		high = known[words[len(words)-1]]
	}
	return low, high
}

func (w *web) get(ctx context.Context, name string) ([]byte, error) {
	// Credentials that a file of this cycle has changed are used from then on.
	set := w.settings()
	if id, pw := w.credentials(set); id != w.id || pw != w.pw {
		w.close()
		w.connect(set)
	}
	if w.unreached() && w.givesUp() {
		return nil, httpc.ErrUnreachable
	}
	u := *w.base
	u.Path += "/" + name
	body, status, err := w.client.Get(ctx, u.String())
	switch {
	case err != nil:
		w.refused = w.refused || refused(err)
		return nil, err
	case status == http.StatusOK:
		return body, nil
	case w.has(defect.AppliesErrorPage) && w.configures(name):
		return body, nil
	case status == http.StatusNotFound:
		return nil, fmt.Errorf("%w: GET %s: %d", errMissing, u.Redacted(), status)
	default:
		return nil, fmt.Errorf("GET %s: %d %s", u.Redacted(), status, http.StatusText(status))
	}
}

// configures reports whether a file is one of the two of the configuration, for
// the defect applies-error-page.
func (w *web) configures(name string) bool {
	return name == w.cfg.Model.GlobalFile() || name == w.ownName()
}

func (w *web) transport() string { return w.base.Scheme }

func (w *web) close() {
	if err := w.client.Close(); err != nil {
		w.log.Debug("http", "error", err)
	}
}

func (w *web) String() string { return w.base.Redacted() }

// tftpServer is option 150, which wins over 66 (8002), else the stored address.
func (t *transports) tftpServer(ctx context.Context, set settings, lease dhcpc.Lease) (netip.AddrPort, error) {
	name := ""
	if set.enabled(dhcpGetTFTP) {
		if by66 := strings.TrimSpace(lease.Text(optTFTPName)); by66 != "" && t.has(defect.Option66Wins) {
			if a, err := t.net.resolve(ctx, by66); err == nil {
				return netip.AddrPortFrom(a, 0), nil
			}
		}
		for _, a := range lease.Addrs(optTFTPServer) {
			if !a.IsUnspecified() {
				return netip.AddrPortFrom(a, 0), nil
			}
		}
		name = strings.TrimSpace(lease.Text(optTFTPName))
	}
	if name == "" {
		name = strings.TrimSpace(set.text(tftpServer))
	}
	if name == "" {
		return netip.AddrPort{}, errors.New("neither by DHCP nor in memory")
	}
	a, err := t.net.resolve(ctx, name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(a, 0), nil
}

// errCycleOver says that nothing more is asked of the server in this cycle.
var errCycleOver = errors.New("the cycle is over")

// partial is an error that holds what had come of a file.
type partial interface{ Partial() []byte }

// fetcher gets the files of one cycle.
type fetcher struct {
	*device

	src source
	// over ends the cycle: the server's certificate was refused.
	over bool
	// broken says that the transfer of a file broke off, failed that one failed in
	// any way, which a cycle once more may help.
	broken, failed bool
}

// ask gets a file, again as the facts say when its transfer fails. A file that
// cannot be had is gone without, and the cycle goes on (assumed), but for a
// server whose certificate was refused.
func (f *fetcher) ask(ctx context.Context, name string) ([]byte, error) {
	for try := 1; ; try++ {
		if f.over {
			return nil, errCycleOver
		}
		body, err := f.src.get(ctx, name)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			f.log.Info("fetched", "file", name, "bytes", len(body))
			return body, nil
		}
		f.log.Warn("not fetched", "file", name, "error", err)
		var part partial
		f.over = f.over || refused(err)
		f.broken = f.broken || errors.As(err, &part)
		f.failed = f.failed || !f.over && !errors.Is(err, errMissing)
		if f.over || errors.Is(err, errMissing) || try >= f.cfg.Facts.Int(model.FileTries) {
			return nil, err
		}
		if err := pause(ctx, f.retry(model.FileRetryTime)); err != nil {
			return nil, err
		}
	}
}

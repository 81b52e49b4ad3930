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
	"ip88rig/rig/virtual/flash"
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

// refused tells whether nothing of the server may be used.
func refused(err error) bool {
	var r *trust.Refusal
	return errors.As(err, &r)
}

// choose is the guide's choice of the transport: HTTP or HTTPS with the URL of
// the DHCP option, if that is populated; else with the URL held in memory; else
// TFTP. It returns nil when there is no server to ask. What nobody says:
//   - an option that is populated with what is no URL means HTTP all the same,
//     so this cycle asks nobody;
//   - blanks and NULs at its ends do not count, and only they leave it empty;
//   - which of two URLs counts, and what follows when the server cannot be
//     reached, are facts.
func (b *boot) choose(ctx context.Context) source {
	set, lease, defects := b.h.settings(), b.net.current(), b.h.cfg.Defects
	number := set.optionNumber()
	if defects.Has(defect.OptionNumberFixed) {
		number = optURL
	}
	option := strings.Trim(lease.Text(number), " \t\r\n\x00")
	stored := strings.TrimSpace(set.fact(model.StoredURLField, 0))
	if defects.Has(defect.ForgetsURL) {
		stored = ""
	}
	offered := option != "" && set.enabled(dhcpGetHTTP)
	switch {
	case offered && (stored == "" || b.h.cfg.Facts.Text(model.URLPrecedence) == "offered"):
		src, err := b.overHTTP(set, option)
		if err != nil {
			b.h.log.Warn("option cannot be used", "number", number, "error", err)
			if defects.Has(defect.MalformedURLHangs) {
				<-ctx.Done()
			}
			if defects.Has(defect.MalformedURLWipes) {
				b.h.forgetLines()
			}
			return nil
		}
		b.remember(set, option)
		if defects.Has(defect.RRQBesideURL) && set.fact(model.DownloadFlagFields, 0) != "disable" {
			b.askBeside(ctx, set, lease, defect.RRQBesideURL, b.h.cfg.Model.GlobalFile())
		}
		return src
	case stored != "":
		src, err := b.overHTTP(set, storedURL(set, stored))
		if err != nil {
			b.h.log.Warn("stored URL cannot be used", "error", err)
			return nil
		}
		return src
	}
	server, err := b.tftpServer(ctx, set, lease)
	if err != nil {
		b.h.log.Warn("no TFTP server", "error", err)
		return nil
	}
	if defects.Has(defect.HTTPAtTFTPServer) && set.fact(model.DownloadFlagFields, 0) != "disable" {
		b.askByHTTP(ctx, set, server)
	}
	return b.overTFTP(server)
}

// remember stores the URL of the DHCP option in memory, where the fact says so.
func (b *boot) remember(set settings, option string) {
	fields := b.h.cfg.Facts.Fields(model.StoredURLField)
	if !b.h.cfg.Facts.Yes(model.OfferedURLRemembered) && !b.h.cfg.Defects.Has(defect.RemembersOfferedURL) ||
		len(fields) == 0 || set.get(fields[0]) == option {
		return
	}
	b.h.store(func(s *flash.State) { s.Set(fields[0], option) })
	b.h.log.Info("offered URL is remembered")
}

// fallback is what a cycle goes on with after a source that was of no use: TFTP
// after an HTTP server that could not be reached, where the fact says so, else
// nothing. A refused certificate leads nowhere.
func (b *boot) fallback(ctx context.Context, src source) source {
	w, ok := src.(*web)
	if !ok || ctx.Err() != nil {
		return nil
	}
	switch {
	case w.refused && b.h.cfg.Defects.Has(defect.TFTPAfterRefusal):
	case w.unreached() && w.givesUp():
	default:
		return nil
	}
	server, err := b.tftpServer(ctx, b.h.settings(), b.net.current())
	if err != nil {
		b.h.log.Warn("no TFTP server to fall back to", "error", err)
		return nil
	}
	return b.overTFTP(server)
}

// storedURL completes what the memory holds: the field is that of an HTTPS URL
// and has a port beside it (68), so a value without a scheme is https, and one
// without a port has that port.
func storedURL(set settings, stored string) string {
	if !strings.Contains(stored, "://") {
		stored = "https://" + stored
	}
	u, err := url.Parse(stored)
	if err != nil || u.Port() != "" || !strings.EqualFold(u.Scheme, "https") {
		return stored
	}
	if port := set.number(httpsPort); port > 0 && port != 443 {
		u.Host += ":" + strconv.Itoa(port)
	}
	return u.String()
}

// tftpServer is option 150, which wins over 66 (8002), else the stored address.
func (b *boot) tftpServer(ctx context.Context, set settings, lease dhcpc.Lease) (netip.AddrPort, error) {
	name := ""
	if set.enabled(dhcpGetTFTP) {
		if by66 := strings.TrimSpace(lease.Text(optTFTPName)); by66 != "" && b.h.cfg.Defects.Has(defect.Option66Wins) {
			if a, err := b.net.resolve(ctx, by66); err == nil {
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
	a, err := b.net.resolve(ctx, name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(a, 0), nil
}

// tftp is a source over TFTP.
type tftp struct{ cfg tftpc.Config }

func (b *boot) overTFTP(server netip.AddrPort) *tftp {
	options, err := tftpc.ParseOptions(b.h.cfg.Facts.Text(model.TFTPOptions))
	if err != nil {
		b.h.log.Warn("fact "+model.TFTPOptions, "error", err)
	}
	return &tftp{tftpc.Config{
		Listen: b.net.listenTFTP, Server: server, Options: options,
		Timeout: b.h.retry(model.TFTPTimeout), Tries: b.h.cfg.Facts.Int(model.TFTPTries),
		Limit: b.h.cfg.Facts.Int(model.TFTPFileLimit), Defects: b.h.cfg.Defects,
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
func (*tftp) close()            {}
func (t *tftp) String() string  { return "tftp://" + t.cfg.Server.Addr().String() }

// web is a source over HTTP or HTTPS.
type web struct {
	b      *boot
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
func (b *boot) overHTTP(set settings, raw string) (*web, error) {
	for _, c := range raw {
		if c <= ' ' || c == 0x7f {
			return nil, fmt.Errorf("url %.60q holds control characters or blanks", raw)
		}
	}
	if b.h.cfg.Facts.Yes(model.URLMACExpansion) {
		raw = strings.ReplaceAll(raw, "$MAC", b.h.ownName())
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("url %.60q is not http://host or https://host", raw)
	}
	w := &web{b: b, base: u}
	if b.h.cfg.Facts.Text(model.URLUserInfo) == "used" {
		w.user = u.User
	}
	u.User, u.RawQuery, u.Fragment, u.ForceQuery = nil, "", "", false
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	if b.h.cfg.Defects.Has(defect.IgnoresURLPort) {
		u.Host = u.Hostname()
	}
	if b.h.cfg.Defects.Has(defect.DropsURLPath) {
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
	h := w.b.h
	facts := h.cfg.Facts
	low, high := tlsVersions(facts.List(model.TLSVersions))
	w.id, w.pw = w.credentials(set)
	var statuses []int
	for _, word := range facts.List(model.HTTPRetryStatuses) {
		if n, err := strconv.Atoi(word); err == nil {
			statuses = append(statuses, n)
		}
	}
	var cnonce func() string
	if seed := h.seed(7); seed != 0 {
		random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // repeatable on purpose
		cnonce = func() string { return fmt.Sprintf("%016x", random.Uint64()) }
	}
	w.client = &httpc.Client{
		Dial: w.dial, Resolve: w.b.net.resolve, ID: w.id, Password: w.pw,
		UserAgent:  h.expand(model.HTTPUserAgent, w.b.version),
		Policy:     w.policy(set),
		MinVersion: low, MaxVersion: high,
		Timeout: max(h.retry(model.HTTPTimeout), min(facts.Duration(model.HTTPTimeout), shortestHTTP)), Tries: facts.Int(model.HTTPTries),
		Slowest: facts.Int(model.HTTPSlowest), FileTime: h.retry(model.HTTPFileTime),
		Redirects:     facts.Int(model.HTTPRedirects),
		RetryStatuses: statuses, RetryAfterLimit: facts.Duration(model.HTTPRetryAfterLimit), // whole seconds are not divided
		TakeEncoded: facts.Text(model.HTTPUnaskedEncoding) == "as-it-is",
		Digest:      facts.List(model.HTTPDigest), PreferBasic: facts.Text(model.HTTPSchemePreferred) == "basic",
		AuthTries: facts.Int(model.HTTPAuthTries), AnswerBlank: (facts.Text(model.HTTPNoCredentials) == "sent") != h.cfg.Defects.Has(defect.AnswersBlank),
		Cnonce: cnonce, Defects: h.cfg.Defects,
	}
}

// policy is that of the certificate checks, as mask and facts have it.
func (w *web) policy(set settings) trust.Policy {
	h := w.b.h
	facts := h.cfg.Facts
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
	h.mu.Lock()
	past := h.memory.past
	h.mu.Unlock()
	return trust.Policy{
		Mask: set.mask(), Authorities: h.authorities(), Now: w.b.net.now,
		RefuseUntimed: facts.Text(model.ExpiredWithoutTime) == "refuse",
		Takes:         takes, Depth: facts.Int(model.CertificateDepth), MaxBytes: facts.Int(model.CertificateBytes),
		Alerts: alerts, Past: past,
	}
}

// dial notes whether the server is there at all.
func (w *web) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	conn, err := w.b.net.dial(ctx, to)
	w.failed, w.reached = w.failed || err != nil, w.reached || err == nil
	if gaps := w.b.h.cord.gaps; gaps != nil && err == nil {
		conn = gaps.watch(conn)
	}
	return conn, err
}

// unreached tells whether the server could not be reached at all.
func (w *web) unreached() bool { return w.failed && !w.reached }

// givesUp tells whether a server that cannot be reached is left for TFTP.
func (w *web) givesUp() bool {
	toTFTP := w.b.h.cfg.Facts.Text(model.UnreachableFallback) == "tftp"
	return toTFTP != w.b.h.cfg.Defects.Has(defect.NoFallback)
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
	set := w.b.h.settings()
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
	case w.b.h.cfg.Defects.Has(defect.AppliesErrorPage) && w.b.h.configures(name):
		return body, nil
	case status == http.StatusNotFound:
		return nil, fmt.Errorf("%w: GET %s: %d", errMissing, u.Redacted(), status)
	default:
		return nil, fmt.Errorf("GET %s: %d %s", u.Redacted(), status, http.StatusText(status))
	}
}

// configures tells whether a file is one of the two of the configuration, for
// the defect applies-error-page.
func (h *Handset) configures(name string) bool {
	return name == h.cfg.Model.GlobalFile() || name == h.ownName()
}

func (w *web) transport() string { return w.base.Scheme }

func (w *web) close() {
	if err := w.client.Close(); err != nil {
		w.b.h.log.Debug("http", "error", err)
	}
}

func (w *web) String() string { return w.base.Redacted() }

// askBeside asks for a file by TFTP too, as a defect has it.
func (b *boot) askBeside(ctx context.Context, set settings, lease dhcpc.Lease, why defect.Name, file string) {
	server, err := b.tftpServer(ctx, set, lease)
	if err != nil {
		server = netip.AddrPortFrom(lease.Server, 0)
	}
	_, err = b.overTFTP(server).get(ctx, file)
	b.h.log.Info("defect "+string(why), "error", err)
}

// askByHTTP is the defect http-at-tftp-server.
func (b *boot) askByHTTP(ctx context.Context, set settings, server netip.AddrPort) {
	w, err := b.overHTTP(set, "http://"+server.Addr().String())
	if err == nil {
		w.client.Tries = 1
		_, err = w.get(ctx, b.h.cfg.Model.GlobalFile())
		w.close()
	}
	b.h.log.Info("defect "+string(defect.HTTPAtTFTPServer), "error", err)
}

package virtual

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
//   - a server that cannot be reached is not replaced by another.
func (b *boot) choose(ctx context.Context) source {
	set, lease, defects := b.h.settings(), b.net.current(), b.h.cfg.Defects
	number := set.optionNumber()
	if defects.Has(defect.OptionNumberFixed) {
		number = optURL
	}
	option := strings.Trim(lease.Text(number), " \t\r\n\x00")
	stored := strings.TrimSpace(set.fact(model.StoredURLField, 0))
	switch {
	case option != "" && set.enabled(dhcpGetHTTP):
		src, err := b.overHTTP(set, option)
		if err != nil {
			b.h.log.Warn("option cannot be used", "number", number, "error", err)
			return nil
		}
		if defects.Has(defect.RRQBesideURL) && set.fact(model.DownloadFlagFields, 0) != "disable" {
			b.askBeside(ctx, set, lease)
		}
		return src
	case stored != "" && !defects.Has(defect.ForgetsURL):
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
	client *httpc.Client
	id, pw string
}

// overHTTP takes a URL as a folder: names are appended to its path. $MAC in it
// is replaced; a query is left out.
func (b *boot) overHTTP(set settings, raw string) (*web, error) {
	for _, c := range raw {
		if c <= ' ' || c == 0x7f {
			return nil, fmt.Errorf("url %.60q holds control characters or blanks", raw)
		}
	}
	u, err := url.Parse(strings.ReplaceAll(raw, "$MAC", b.h.ownName()))
	if err != nil {
		return nil, err
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("url %.60q is not http://host or https://host", raw)
	}
	u.User, u.RawQuery, u.Fragment, u.ForceQuery = nil, "", "", false
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	w := &web{b: b, base: u}
	w.connect(set)
	return w, nil
}

// connect makes the client with what is stored now.
func (w *web) connect(set settings) {
	h := w.b.h
	low, high := tlsVersions(h.cfg.Facts.List(model.TLSVersions))
	w.id, w.pw = set.fact(model.CredentialFields, 0), set.fact(model.CredentialFields, 1)
	w.client = &httpc.Client{
		Dial: w.b.net.dial, Resolve: w.b.net.resolve, ID: w.id, Password: w.pw,
		UserAgent:  h.expand(model.HTTPUserAgent, w.b.version),
		Policy:     trust.Policy{Mask: set.mask(), Authorities: h.authorities(), Now: w.b.net.now},
		MinVersion: low, MaxVersion: high,
		Timeout: h.retry(model.HTTPTimeout), Tries: h.cfg.Facts.Int(model.HTTPTries),
		Redirects: maxRedirects, Defects: h.cfg.Defects,
	}
}

// maxRedirects is how many redirections are followed (assumed).
const maxRedirects = 3

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
	if set := w.b.h.settings(); set.fact(model.CredentialFields, 0) != w.id || set.fact(model.CredentialFields, 1) != w.pw {
		w.close()
		w.connect(set)
	}
	u := *w.base
	u.Path += "/" + name
	body, status, err := w.client.Get(ctx, u.String())
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusOK:
		return body, nil
	case status == http.StatusNotFound:
		return nil, fmt.Errorf("%w: GET %s: %d", errMissing, u.Redacted(), status)
	default:
		return nil, fmt.Errorf("GET %s: %d %s", u.Redacted(), status, http.StatusText(status))
	}
}

func (w *web) transport() string { return w.base.Scheme }

func (w *web) close() {
	if err := w.client.Close(); err != nil {
		w.b.h.log.Debug("http", "error", err)
	}
}

func (w *web) String() string { return w.base.Redacted() }

// askBeside is the defect rrq-beside-url.
func (b *boot) askBeside(ctx context.Context, set settings, lease dhcpc.Lease) {
	server, err := b.tftpServer(ctx, set, lease)
	if err != nil {
		server = netip.AddrPortFrom(lease.Server, 0)
	}
	_, err = b.overTFTP(server).get(ctx, b.h.cfg.Model.GlobalFile())
	b.h.log.Info("defect "+string(defect.RRQBesideURL), "error", err)
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

package virtual

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ip88rig/rig/model"
	"ip88rig/rig/virtual/defect"
	"ip88rig/rig/virtual/flash"
)

func option(code uint8, value []byte) func(*lab, *Config) {
	return func(l *lab, _ *Config) { l.options[code] = value }
}

// answering has some requests answered by a function.
func answering(web func(w http.ResponseWriter, r *http.Request) bool) func(*lab, *Config) {
	return func(l *lab, _ *Config) { l.web = web }
}

// failing answers requests for the global file with a status and a text.
func failing(status int, text string) func(*lab, *Config) {
	return answering(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, global) {
			return false
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
		return true
	})
}

// demanding challenges every request that comes without an Authorization.
func demanding(authorization string) func(*lab, *Config) {
	return answering(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == authorization {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="rig"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
}

// given runs a handset that registers as 100 if nothing else is served, and
// returns what was noted up to its registration.
func (l *lab) given(list ...func(*lab, *Config)) (*Handset, string) {
	l.t.Helper()
	h := registered(l.t, l, func(c *Config) {
		for _, g := range list {
			g(l, c)
		}
	})
	return h, short(l.since(0))
}

func sick(d ...defect.Name) func(*lab, *Config) {
	return func(_ *lab, c *Config) { c.Defects = d }
}

func TestWebDefectsShow(t *testing.T) {
	t.Parallel()
	const (
		overTFTP, overHTTP, nothing = "B G O F V R100", "B hG hO hF hV R100", "B R100"
		web, closed                 = "http://192.0.2.1", "http://192.0.2.1:81"
		page                        = "[VOIP]\nline1_name 201\n"
		applied                     = "B hG hO hF hV R201"
		blank, stored               = "Basic Og==", "Basic dTpw" // nobody's, and those of u with password p
	)
	prefixed := "B h?p/" + global + " h?p/" + own + " h?p/" + own + "/" + verFile + " h?p/" + verFile + " R100"
	for _, tc := range []struct {
		defect        defect.Name
		name          string
		given         []func(*lab, *Config)
		healthy, sick string
	}{
		{defect.Option66Wins, "150 is dead", given(option(150, []byte{192, 0, 2, 9}), option(66, []byte(labServer))), nothing, overTFTP},
		{defect.Option66Wins, "150 is blank", given(option(150, []byte{0, 0, 0, 0}), option(66, []byte(labServer))), overTFTP, overTFTP},
		{defect.DropsURLPath, "a path", given(populate(web + "/p/")), prefixed, overHTTP},
		{defect.DropsURLPath, "no path", given(populate(web)), overHTTP, overHTTP},
		{defect.IgnoresURLPort, "a port where nobody listens", given(populate(closed)), nothing, overHTTP},
		{defect.IgnoresURLPort, "no port", given(populate(web)), overHTTP, overHTTP},
		{defect.NoFallback, "none", given(populate(closed)), nothing, overTFTP},
		{defect.NoFallback, "TFTP", given(populate(closed), fact(model.UnreachableFallback, "tftp")), overTFTP, nothing},
		{defect.NoFallback, "nobody has the address", given(populate("http://192.0.2.9")), nothing, overTFTP},
		{defect.NoFallback, "a server that is there", given(populate(web)), overHTTP, overHTTP},
		{defect.AppliesErrorPage, "500", given(populate(web), failing(500, page)), overHTTP, "B hG hO hF hV R201"},
		{defect.AppliesErrorPage, "404", given(populate(web), failing(404, page)), overHTTP, "B hG hO hF hV R201"},
		{defect.AppliesErrorPage, "none", given(populate(web), serve(global, page)), "B hG hO hF hV R201", "B hG hO hF hV R201"},
		{defect.MalformedURLWipes, "a good URL", given(populate(web)), overHTTP, overHTTP},
		{defect.AnswersBlank, "blank", given(populate(web), serve(global, page), demanding(blank)), overHTTP, applied},
		{defect.AnswersBlank, "blank, sent", given(populate(web), serve(global, page), demanding(blank), fact(model.HTTPNoCredentials, "sent")), applied, overHTTP},
		{defect.AnswersBlank, "stored", given(populate(web), serve(global, page), demanding(stored), store("PROVISION/https_id", "u"), store("PROVISION/https_password", "p")), applied, applied},
		{defect.TakesShortBody, "short", given(populate(web), serve(global, page+breakOff)), overHTTP, "B hG hO hF hV R201"},
	} {
		t.Run(string(tc.defect)+" "+tc.name, func(t *testing.T) {
			t.Parallel()
			for want, defects := range map[string]defect.Set{tc.healthy: nil, tc.sick: {tc.defect}} {
				if _, got := newLab(t).given(append(tc.given, sick(defects...))...); got != want {
					t.Errorf("%v: got %s, want %s", defects, got, want)
				}
			}
			if tc.healthy == tc.sick { // the map holds the last of both only
				if _, got := newLab(t).given(tc.given...); got != tc.healthy {
					t.Errorf("healthy: got %s, want %s", got, tc.healthy)
				}
			}
		})
	}
}

func TestMalformedURLHangs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.options[42] = net.ParseIP(labServer).To4()
	l.options[160] = []byte("192.0.2.1")
	h := l.handset(func(c *Config) {
		c.Defects = defect.Set{defect.MalformedURLHangs}
		c.Flash = newFlash(t, c.Model, map[string]string{"VOIP/line1_name": "100", "VOIP/line1_proxy_address": labServer})
	})
	l.until(0, "sntp")
	settle := time.After(300 * time.Millisecond)
	<-settle
	if got := short(l.since(0)); got != "B" {
		t.Errorf("got %s, want it to hang", got)
	}
	l.options[160] = []byte("http://192.0.2.1")
	n := l.cycle(h)
	if got, want := short(l.until(n, "register ")), "B hG hO hF hV R100"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMalformedURLWipes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		defects defect.Set
		want    string // name of line 1
	}{"healthy": {nil, "100"}, "sick": {defect.Set{defect.MalformedURLWipes}, ""}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.options[160] = []byte("192.0.2.1")
			h := l.handset(func(c *Config) {
				logged(l, c)
				c.Defects = tc.defects
				c.Flash = newFlash(t, c.Model, map[string]string{"VOIP/line1_name": "100", "VOIP/line1_proxy_address": labServer})
			})
			l.until(0, "log nothing to provision from")
			if got := h.settings().text(lineName); got != tc.want {
				t.Errorf("line 1 is %q, want %q", got, tc.want)
			}
			l.set(func() { l.options[160] = []byte("http://192.0.2.1") })
			n := l.cycle(h)
			if tc.want != "" {
				if got, want := short(l.until(n, "register ")), "B hG hO hF hV R"+tc.want; got != want {
					t.Errorf("next boot: got %s, want %s", got, want)
				}
				return
			}
			l.until(n, "log cycle ends")
			l.quiet(0, "register ")
		})
	}
}

func TestUnresolvedNameHangs(t *testing.T) {
	t.Parallel()
	var healthy time.Duration
	for _, defects := range []defect.Set{nil, {defect.UnresolvedNameHangs}} {
		l := newLab(t)
		l.options[6] = net.ParseIP(labServer).To4() // where nobody knows of names
		l.options[160] = []byte("http://prov.example")
		start := time.Now()
		h := l.handset(func(c *Config) {
			c.Defects = defects
			c.Flash = newFlash(t, c.Model, map[string]string{"VOIP/line1_name": "100", "VOIP/line1_proxy_address": labServer})
		})
		if defects == nil {
			if got := short(l.until(0, "register ")); got != "B R100" {
				t.Errorf("got %s, want it to register all the same", got)
			}
			healthy = time.Since(start)
			continue
		}
		<-time.After(2 * healthy)
		if got := short(l.since(0)); got != "B" {
			t.Errorf("got %s, want it to hang", got)
		}
		l.set(func() { l.options[160] = []byte("http://192.0.2.1") })
		n := l.cycle(h)
		if got, want := short(l.until(n, "register ")), "B hG hO hF hV R100"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestAfterAMalformedOptionTheNextBootAsksAgain(t *testing.T) {
	t.Parallel()
	long := "http://192.0.2.1/" + strings.Repeat("x", 255-len("http://192.0.2.1/"))
	for name, tc := range map[string]struct{ option, want string }{
		"no scheme":          {"192.0.2.1/p", "B R100"},
		"tftp":               {"tftp://192.0.2.1", "B R100"},
		"control bytes":      {"http://192.0.2.1/\x01\x7f", "B R100"},
		"a NUL in it":        {"http://192.0.2.1\x00/p", "B R100"},
		"bytes past ASCII":   {"\xff\xfe\x80", "B R100"},
		"a bad port":         {"http://192.0.2.1:99999", "B R100"},
		"an open bracket":    {"http://[192.0.2.1", "B R100"},
		"a bad escape":       {"http://192.0.2.1/%zz", "B R100"},
		"255 bytes":          {strings.Repeat("h", 255), "B R100"},
		"a URL of 255 bytes": {long, "B h?" + long[17:] + "/" + global + " h?" + long[17:] + "/" + own + " h?" + long[17:] + "/" + own + "/" + verFile + " h?" + long[17:] + "/" + verFile + " R100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			h, got := l.given(populate(tc.option))
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			l.mu.Lock()
			l.options[160] = []byte("http://192.0.2.1")
			l.mu.Unlock()
			n := l.cycle(h)
			if got, want := short(l.until(n, "register ")), "B hG hO hF hV R100"; got != want {
				t.Errorf("next boot: got %s, want %s", got, want)
			}
		})
	}
}

func TestFormsOfURLs(t *testing.T) {
	t.Parallel()
	var asked atomic.Value // Authorization
	challenge := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" {
			asked.Store(r.Header.Get("Authorization"))
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="rig"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	in := func(folder string) string {
		return "B h?" + folder + global + " h?" + folder + own + " h?" + folder + own + "/" + verFile + " h?" + folder + verFile + " R100"
	}
	for name, tc := range map[string]struct {
		given []func(*lab, *Config)
		want  string
	}{
		"port":              {given(populate("http://192.0.2.1:80")), "B hG hO hF hV R100"},
		"trailing slash":    {given(populate("http://192.0.2.1/p/")), in("p/")},
		"path":              {given(populate("http://192.0.2.1/p/q")), in("p/q/")},
		"query":             {given(populate("http://192.0.2.1/p?a=b")), in("p/")},
		"escapes":           {given(populate("http://192.0.2.1/a%20b")), in("a b/")},
		"MAC":               {given(populate("http://192.0.2.1/$MAC/")), strings.Replace(in(own+"/"), "h?"+own+"/"+verFile+" R", "hF R", 1)},
		"MAC is not known":  {given(populate("http://192.0.2.1/$MAC/"), fact(model.URLMACExpansion, "no")), in("$MAC/")},
		"user is ignored":   {given(populate("http://u:p@192.0.2.1/p")), in("p/")},
		"name":              {given(populate("http://prov.example/p"), named), in("p/")},
		"stored counts":     {given(populate("http://192.0.2.1/o"), store("PROVISION/https_url", "http://192.0.2.1/s"), fact(model.URLPrecedence, "stored")), in("s/")},
		"offered counts":    {given(populate("http://192.0.2.1/o"), store("PROVISION/https_url", "http://192.0.2.1/s")), in("o/")},
		"nothing is stored": {given(populate("http://192.0.2.1/o"), fact(model.URLPrecedence, "stored")), in("o/")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, got := newLab(t).given(tc.given...); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
	t.Run("user is used", func(t *testing.T) {
		t.Parallel()
		newLab(t).given(populate("http://u:p@192.0.2.1/p"), fact(model.URLUserInfo, "used"), answering(challenge))
		if got := asked.Load(); got != "Basic dTpw" {
			t.Errorf("sent %v", got)
		}
	})
}

// named has names resolved, all of them to the server.
func named(l *lab, _ *Config) {
	l.options[6] = net.ParseIP(labServer).To4()
	conn, err := l.host.ListenUDP(netip.MustParseAddrPort("0.0.0.0:53"))
	if err != nil {
		l.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with the socket
		defer close(done)
		buf := make([]byte, 600)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil || n < 12 {
				return
			}
			end := 12 + bytes.IndexByte(buf[12:n], 0) + 5
			res := append([]byte{}, buf[:end]...)
			res[2], res[3] = 0x81, 0x80
			binary.BigEndian.PutUint16(res[6:], 1)
			binary.BigEndian.PutUint32(res[8:], 0)
			res = append(res, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			_, _ = conn.WriteTo(append(res, net.ParseIP(labServer).To4()...), from)
		}
	}()
	l.t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
}

func TestAnOfferedURLIsRememberedWhereToldSo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		given []func(*lab, *Config)
		want  string
	}{
		"healthy": {nil, "B G O F V R100"},
		"fact":    {given(fact(model.OfferedURLRemembered, "yes")), "B hG hO hF hV R100"},
		"defect":  {given(sick(defect.RemembersOfferedURL)), "B hG hO hF hV R100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			h, got := l.given(append(tc.given, populate("http://192.0.2.1"))...)
			if want := "B hG hO hF hV R100"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			l.mu.Lock()
			delete(l.options, 160)
			l.mu.Unlock()
			n := l.cycle(h)
			if got := short(l.until(n, "register ")); got != tc.want {
				t.Errorf("withheld: got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestNothingOfAnEncodedFileIsApplied(t *testing.T) {
	t.Parallel()
	zipped := answering(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, global) {
			return false
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x8b, 0x0e, 0xf3, 0xf7, 0xf4, 0x89, 0xe5, 0, 0, 0, 0})
		return true
	})
	for _, value := range []string{"refused", "as-it-is"} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			_, got := newLab(t).given(populate("http://192.0.2.1"), zipped, fact(model.HTTPUnaskedEncoding, value), store("PROVISION/decrypt_key", testKey))
			if want := "B hG hO hF hV R100"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestEveryStatusLeavesAHandsetThatRegisters(t *testing.T) {
	t.Parallel()
	for _, status := range []int{204, 206, 301, 302, 307, 400, 401, 403, 404, 408, 429, 500, 503} {
		l := newLab(t)
		_, got := l.given(populate("http://192.0.2.1"), failing(status, map[bool]string{true: "", false: "[VOIP]\nline1_name 201\n"}[status == 204]))
		if want := "B hG hO hF hV R100"; got != want {
			t.Errorf("%d: got %s, want %s", status, got, want)
		}
	}
}

// leaf is a certificate of the server under an authority.
func (a authority) leaf(t *testing.T, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: labServer}, IPAddresses: []net.IP{net.ParseIP(labServer)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// https serves the files with whatever certificate is current.
func (l *lab) https(cert *atomic.Pointer[tls.Certificate]) {
	l.t.Helper()
	inner, err := l.host.ListenTCP(netip.MustParseAddrPort("0.0.0.0:443"))
	if err != nil {
		l.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(l.http), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var task sync.WaitGroup
	task.Go(func() {
		_ = server.Serve(tls.NewListener(inner, &tls.Config{MinVersion: tls.VersionTLS10, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert.Load(), nil }}))
	})
	l.t.Cleanup(func() {
		_ = server.Close()
		task.Wait()
	})
	l.options[160] = []byte("https://" + labServer)
}

// trusting knows an authority from the factory.
func trusting(a authority) func(*lab, *Config) {
	return func(l *lab, c *Config) {
		if err := c.Flash.Update(func(s *flash.State) { s.Installed = append(s.Installed, a.cert.Raw) }); err != nil {
			l.t.Fatal(err)
		}
	}
}

func serving(cert *tls.Certificate) func(*lab, *Config) {
	return func(l *lab, _ *Config) {
		var p atomic.Pointer[tls.Certificate]
		p.Store(cert)
		l.https(&p)
	}
}

// timed has a time server that is late ahead.
func timed(late time.Duration) func(*lab, *Config) {
	return func(l *lab, _ *Config) {
		l.options[42] = net.ParseIP(labServer).To4()
		l.mu.Lock()
		l.late = late
		l.mu.Unlock()
	}
}

func TestCertificatesAndTheTime(t *testing.T) {
	t.Parallel()
	const refused, accepted, overTFTP = "B R100", "B hG hO hF hV R100", "B G O F V R100"
	a, other := newAuthority(t, "A"), newAuthority(t, "other")
	good := a.leaf(t, nil)
	past := a.leaf(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = c.NotBefore.AddDate(-1, 0, 0), c.NotBefore })
	early := a.leaf(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = c.NotAfter, c.NotAfter.AddDate(1, 0, 0) })
	unknown := other.leaf(t, nil)
	slowly := func(l *lab, c *Config) {
		timed(0)(l, c)
		l.slow = 700 * time.Millisecond
		fact(model.SNTPTimeout, "200s")(l, c)
	}
	for name, tc := range map[string]struct {
		given []func(*lab, *Config)
		want  string
	}{
		"refused is the end":                     {given(serving(unknown)), refused},
		"refused, and fallback is for the other": {given(serving(unknown), fact(model.UnreachableFallback, "tftp")), refused},
		"TFTP after a refusal":                   {given(serving(unknown), sick(defect.TFTPAfterRefusal)), overTFTP},
		"TFTP after a refusal, but none":         {given(serving(good), sick(defect.TFTPAfterRefusal)), accepted},

		"expired, no time":                  {given(serving(past)), accepted},
		"good, no time":                     {given(serving(good)), accepted},
		"expired, no time, refuse":          {given(serving(past), fact(model.ExpiredWithoutTime, "refuse")), refused},
		"good, no time, refuse":             {given(serving(good), fact(model.ExpiredWithoutTime, "refuse")), refused},
		"good, time, refuse":                {given(serving(good), timed(0), fact(model.ExpiredWithoutTime, "refuse")), accepted},
		"untimed defect, expired":           {given(serving(past), sick(defect.AcceptsExpiredUntimed)), refused},
		"untimed defect, good":              {given(serving(good), sick(defect.AcceptsExpiredUntimed)), accepted},
		"untimed defect, expired, refuse":   {given(serving(past), sick(defect.AcceptsExpiredUntimed), fact(model.ExpiredWithoutTime, "refuse")), accepted},
		"untimed defect, expired, but time": {given(serving(past), timed(0), sick(defect.AcceptsExpiredUntimed)), refused},

		"late time, expired":         {given(serving(past), slowly), refused},
		"late time, good":            {given(serving(good), slowly), accepted},
		"late time defect, expired":  {given(serving(past), slowly, sick(defect.LateTimeAcceptsExpired)), accepted},
		"time defect, but not late":  {given(serving(past), timed(0), fact(model.SNTPTimeout, "200s"), sick(defect.LateTimeAcceptsExpired)), refused},
		"not yet valid":              {given(serving(early), timed(0)), refused},
		"not yet valid, taken":       {given(serving(early), timed(0), fact(model.CertificateTakes, "ecdsa ip-san not-yet-valid")), accepted},
		"not yet valid, defect":      {given(serving(early), timed(0), sick(defect.AcceptsNotYetValid)), accepted},
		"ECDSA is not taken":         {given(serving(good), timed(0), fact(model.CertificateTakes, "ip-san")), refused},
		"the chain is too large":     {given(serving(good), fact(model.CertificateBytes, "100")), refused},
		"the address is not in SAN ": {given(serving(good), fact(model.CertificateTakes, "ecdsa")), refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, got := newLab(t).given(append(given(trusting(a)), tc.given...)...); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestACertificateIsJudgedAtEveryConnection(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t, "A"), newAuthority(t, "other")
	good, unknown := a.leaf(t, nil), other.leaf(t, nil)
	elsewhere := a.leaf(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 9)} })
	for name, tc := range map[string]struct {
		defect      defect.Name
		then        *tls.Certificate
		want, power string // at the next cycle, and after a power cycle
	}{
		"wrong name":         {"", elsewhere, "", "B R100"},
		"unknown":            {"", unknown, "", "B R100"},
		"wrong name, defect": {defect.NameCheckedOnce, elsewhere, "hG hO hF hV", "B R100"},
		"unknown, defect":    {defect.TrustsSeenLeaf, unknown, "hG hO hF hV", "B R100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cert atomic.Pointer[tls.Certificate]
			cert.Store(good)
			l := newLab(t)
			l.https(&cert)
			h, got := l.given(trusting(a), sick(tc.defect))
			if want := "B hG hO hF hV R100"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			cert.Store(tc.then)
			n := l.count()
			l.options[42] = net.ParseIP(labServer).To4() // a witness at the next boot
			l.notify("check-sync")
			if tc.want != "" {
				l.until(n, "http "+verFile)
			} else {
				l.until(n, "sip 200 1 NOTIFY")
			}
			<-time.After(200 * time.Millisecond)
			if got := strings.Join(downloads(l.since(n)), " "); (got == "") != (tc.want == "") {
				t.Errorf("next cycle: got %s, want %s", got, tc.want)
			}
			n = l.cycle(h)
			if got := short(l.until(n, "register ")); got != tc.power {
				t.Errorf("after power: got %s, want %s", got, tc.power)
			}
		})
	}
}

func TestAWrongClockLocksNobodyOut(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "A")
	const refused, accepted = "B R100", "B hG hO hF hV R100"
	for name, tc := range map[string]struct {
		defects     defect.Set
		first, then time.Duration
		want, after string
	}{
		"1990, then right":          {nil, -36 * 365 * 24 * time.Hour, 0, refused, accepted},
		"years off, then right":     {nil, 5 * 365 * 24 * time.Hour, 0, refused, accepted},
		"right, then years off":     {nil, 0, 5 * 365 * 24 * time.Hour, accepted, refused},
		"defect, 1990, then right":  {defect.Set{defect.ClockSticks}, -36 * 365 * 24 * time.Hour, 0, refused, accepted},
		"defect, ahead, then right": {defect.Set{defect.ClockSticks}, 5 * 365 * 24 * time.Hour, 0, refused, refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			h, got := l.given(trusting(a), serving(a.leaf(t, nil)), timed(tc.first), sick(tc.defects...))
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			l.mu.Lock()
			l.late = tc.then
			l.mu.Unlock()
			n := l.cycle(h)
			if got := short(l.until(n, "register ")); got != tc.after {
				t.Errorf("after power: got %s, want %s", got, tc.after)
			}
		})
	}
	t.Run("within one boot", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		l.given(trusting(a), serving(a.leaf(t, nil)), timed(5*365*24*time.Hour))
		l.mu.Lock()
		l.late = 0
		l.mu.Unlock()
		n := l.count()
		l.notify("check-sync")
		if got, want := short(l.until(n, "http "+verFile)), "hG hO hF hV"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// TestTLSToAnHTTPURL sees what comes to the port of an http URL, from a server
// that knows no TLS and from one that knows nothing else.
func TestTLSToAnHTTPURL(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		defects defect.Set
		hello   bool
	}{
		"healthy": {nil, false},
		"defect":  {defect.Set{defect.TLSToHTTPURL}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			inner, err := l.host.ListenTCP(netip.MustParseAddrPort("0.0.0.0:8080"))
			if err != nil {
				t.Fatal(err)
			}
			const handshake = 0x16
			var task sync.WaitGroup
			task.Go(func() { // ends when inner is closed
				for {
					c, err := inner.Accept()
					if err != nil {
						return
					}
					first := make([]byte, 1)
					if _, err := io.ReadFull(c, first); err == nil {
						l.note("hello %v", first[0] == handshake)
						_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
					}
					_ = c.Close()
				}
			})
			t.Cleanup(func() {
				_ = inner.Close()
				task.Wait()
			})
			l.given(populate("http://"+labServer+":8080"), sick(tc.defects...))
			var hellos, inClear int
			for _, n := range l.since(0) {
				switch n {
				case "hello true":
					hellos++
				case "hello false":
					inClear++
				}
			}
			if want := map[bool]int{true: 1}[tc.hello]; hellos != want || inClear < 4 {
				t.Errorf("%d handshakes and %d requests in clear, want %d and one for each file", hellos, inClear, want)
			}
		})
	}
	t.Run("a server of nothing else", func(t *testing.T) {
		t.Parallel()
		a := newAuthority(t, "A")
		for want, defects := range map[string]defect.Set{"B R100": nil, "B hG hO hF hV R100": {defect.TLSToHTTPURL}} {
			if _, got := newLab(t).given(trusting(a), serving(a.leaf(t, nil)), populate("http://"+labServer+":443"), sick(defects...)); got != want {
				t.Errorf("%v: got %s, want %s", defects, got, want)
			}
		}
	})
}

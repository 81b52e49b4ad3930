package httpd

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ip88rig/capture/timeline"
	"ip88rig/rig/fault"
	"ip88rig/rig/pki"
)

// certificates are minted once for all tests: RSA keys take time.
var certificates = sync.OnceValues(func() (map[pki.Flaw]*pki.Leaf, error) {
	known, err := pki.NewAuthority(pki.A, pki.Options{})
	if err != nil {
		return nil, err
	}
	unknown, err := pki.NewAuthority(pki.B, pki.Options{})
	if err != nil {
		return nil, err
	}
	mint, leaves := pki.NewMint("s", nil), map[pki.Flaw]*pki.Leaf{}
	for _, f := range pki.Flaws() {
		leaves[f], err = mint.Variant(pki.Server{
			Names: []string{"localhost"}, IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, At: time.Now(), Known: known, Unknown: unknown,
		}, f)
		if err != nil {
			return nil, err
		}
	}
	return leaves, nil
})

func leaf(t *testing.T, f pki.Flaw) *pki.Leaf {
	t.Helper()
	leaves, err := certificates()
	if err != nil {
		t.Fatal(err)
	}
	return leaves[f]
}

// roots is a file with the authority that the clients hold.
func roots(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(path, leaf(t, pki.Good).Request.Authority.ExportPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func shows(l *pki.Leaf) func(*tls.ClientHelloInfo) (*tls.Certificate, string, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, string, error) { return l.TLS(), l.Label, nil }
}

func TestForeignClientsShakeHandsInEveryVersion(t *testing.T) {
	t.Parallel()
	gnutls := func(version, cipher string) []string {
		return []string{"wget", "-q", "-O", "-", "--ciphers=NONE:+VERS-" + version + ":+" + cipher + ":+SHA1:+SHA256:+AEAD:+RSA:+ECDHE-RSA:+GROUP-ALL:+SIGN-ALL:+COMP-ALL:+CTYPE-X509"}
	}
	curl := func(args ...string) []string { return append([]string{"curl", "-sS", "-f"}, args...) }
	for name, c := range map[string]struct {
		args            []string
		version, cipher string // as the journal has them
	}{
		"curl, TLS 1.0":                    {curl("--tlsv1.0", "--tls-max", "1.0", "--ciphers", "DEFAULT:@SECLEVEL=0"), "TLS 1.0", ""},
		"curl, TLS 1.1":                    {curl("--tlsv1.1", "--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0"), "TLS 1.1", ""},
		"curl, TLS 1.2":                    {curl("--tlsv1.2", "--tls-max", "1.2"), "TLS 1.2", ""},
		"curl, TLS 1.3":                    {curl("--tlsv1.3"), "TLS 1.3", ""},
		"curl, TLS 1.0, RSA key exchange":  {curl("--tlsv1.0", "--tls-max", "1.0", "--ciphers", "AES128-SHA:@SECLEVEL=0"), "TLS 1.0", "TLS_RSA_WITH_AES_128_CBC_SHA"},
		"curl, TLS 1.2, RSA key exchange":  {curl("--tls-max", "1.2", "--ciphers", "AES256-SHA:@SECLEVEL=0"), "TLS 1.2", "TLS_RSA_WITH_AES_256_CBC_SHA"},
		"wget of GnuTLS, TLS 1.0 and 3DES": {gnutls("TLS1.0", "3DES-CBC"), "TLS 1.0", "3DES_EDE_CBC_SHA"},
		"wget of GnuTLS, TLS 1.0 and RC4":  {gnutls("TLS1.0", "ARCFOUR-128"), "TLS 1.0", "RC4_128_SHA"},
		"wget of GnuTLS, TLS 1.3":          {gnutls("TLS1.3", "AES-128-GCM"), "TLS 1.3", "TLS_AES_128_GCM_SHA256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := serve(t, Config{Certificate: shows(leaf(t, pki.Good))})
			args := append(c.args, "--cacert", roots(t))
			if c.args[0] == "wget" {
				args = append(c.args, "--ca-certificate="+roots(t))
			}
			out, err := run(t, args[0], append(args[1:], "https://"+addr+"/sysconf_8830_sip.cfg")...)
			if err != nil || out != "[LAN]\n" {
				t.Errorf("%q, %v\n%s", out, err, j)
			}
			closed := j.wait(t, timeline.ConnClosed, 1)[0]
			want := []string{"ClientHello", "handshake", "HTTP request GET sysconf_8830_sip.cfg", "HTTP response GET sysconf_8830_sip.cfg 200", "served sysconf_8830_sip.cfg 200", "connection closed"}
			if got := kinds(j.all()); !slices.Equal(got, want) {
				t.Fatalf("recorded %q, want %q", got, want)
			}
			shake := j.of(timeline.Handshake)[0]
			if f := shake.Fields; !shake.Complete || shake.Reason != "" || f["tls.version"] != c.version || !strings.Contains(f["tls.cipher"], c.cipher) || f["tls.cert"] != "good" || f["tls.resumed"] != "false" {
				t.Errorf("handshake %+v, want %s with %s", shake, c.version, c.cipher)
			}
			for _, e := range j.all() {
				if e.Transport != timeline.HTTPS || e.Src != closed.Src || e.By != by {
					t.Errorf("%+v", e)
				}
			}
			if n, err := strconv.Atoi(closed.Fields["bytes.out"]); err != nil || n < 1000 {
				t.Errorf("bytes.out %d, %v: the handshake is not in it", n, err)
			}
		})
	}
}

func TestARefusalIsRecordedWithItsAlert(t *testing.T) {
	t.Parallel()
	openssl := func(version string) []string {
		return []string{"openssl", "s_client", "-" + version, "-cipher", "DEFAULT:@SECLEVEL=0", "-verify_return_error", "-verify_ip", "127.0.0.1", "-ign_eof"}
	}
	for name, c := range map[string]struct {
		flaw   pki.Flaw
		args   []string
		reason string
		status int
	}{
		"openssl, TLS 1.0, unknown authority": {pki.UnknownAuthority, openssl("tls1"), "unknown_ca", 48},
		"openssl, TLS 1.0, expired":           {pki.Expired, openssl("tls1"), "certificate_expired", 45},
		"openssl, TLS 1.2, unknown authority": {pki.UnknownAuthority, openssl("tls1_2"), "unknown_ca", 48},
		"openssl, TLS 1.2, wrong name":        {pki.WrongName, openssl("tls1_2"), "bad_certificate", 42},
		"openssl, TLS 1.2, expired":           {pki.Expired, openssl("tls1_2"), "certificate_expired", 45},
		"openssl, TLS 1.3, unknown authority": {pki.UnknownAuthority, openssl("tls1_3"), "unknown_ca", 48},
		"openssl, TLS 1.3, wrong name":        {pki.WrongName, openssl("tls1_3"), "bad_certificate", 42},
		"openssl, TLS 1.3, expired":           {pki.Expired, openssl("tls1_3"), "certificate_expired", 45},
		"curl, TLS 1.2, expired":              {pki.Expired, []string{"curl", "-sS", "--tls-max", "1.2"}, "certificate_expired", 45},
		"curl, TLS 1.3, expired":              {pki.Expired, []string{"curl", "-sS"}, "certificate_expired", 45},
		// These look at the name only when the handshake is over.
		"curl, TLS 1.2, wrong name": {pki.WrongName, []string{"curl", "-sS", "--tls-max", "1.2"}, "closed by the handset after the handshake, nothing was sent", 0},
		"curl, TLS 1.3, wrong name": {pki.WrongName, []string{"curl", "-sS"}, "closed by the handset after the handshake, nothing was sent", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := serve(t, Config{Certificate: shows(leaf(t, c.flaw))})
			args := append(c.args, "-connect", addr, "-CAfile", roots(t), "-no-CApath", "-no-CAstore")
			if c.args[0] == "curl" {
				args = append(c.args, "--cacert", roots(t), "https://"+addr+"/image.rom")
			}
			if out, err := run(t, args[0], args[1:]...); err == nil {
				t.Errorf("accepted:\n%s", out)
			}
			j.wait(t, timeline.ConnClosed, 1)
			shakes := j.of(timeline.Handshake)
			if len(shakes) != 1 || shakes[0].Complete || shakes[0].Reason != c.reason || shakes[0].Status != c.status {
				t.Errorf("handshakes %+v, want %q, %d", shakes, c.reason, c.status)
			}
			if finished := shakes[0].Fields["tls.finished"] == "true"; finished != (c.status == 0) {
				t.Errorf("finished %t", finished)
			}
			if got := shakes[0].Fields["tls.cert"]; got != c.flaw.String() {
				t.Errorf("showed %q", got)
			}
			if len(j.of(timeline.HTTPRequest)) > 0 {
				t.Errorf("a request after the refusal:\n%s", j)
			}
		})
	}
}

// poisoned hands its reader a record that nothing can decrypt, which makes a
// TLS client send an alert of its own, once it is told to.
type poisoned struct {
	net.Conn
	now bool
}

func (p *poisoned) Read(b []byte) (int, error) {
	if p.now {
		return copy(b, append([]byte{23, 3, 3, 0, 64}, make([]byte, 64)...)), nil
	}
	return p.Conn.Read(b)
}

func TestAnAlertBehindTheHandshakeMakesItIncomplete(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		addr, j := serve(t, Config{Certificate: shows(leaf(t, pki.Good))})
		raw := &poisoned{Conn: dial(t, addr)}
		client := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		if err := client.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		raw.now = true
		if _, err := client.Read(make([]byte, 1)); err == nil {
			t.Fatal("the poisoned record was taken")
		}
		_ = raw.Close()
		j.wait(t, timeline.ConnClosed, 1)
		shakes := j.of(timeline.Handshake)
		if len(shakes) != 1 || shakes[0].Complete || shakes[0].Fields["tls.finished"] != "true" || shakes[0].Reason != "bad_record_mac" || shakes[0].Status != 20 {
			t.Errorf("%s: handshakes %+v", tls.VersionName(version), shakes)
		}
	}
}

func TestSessionsAreResumedOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	for _, resume := range []bool{false, true} {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			addr, j := serve(t, Config{Certificate: shows(leaf(t, pki.Good)), Resume: resume})
			session := filepath.Join(t.TempDir(), "session")
			ask := func(args ...string) {
				cmd := exec.CommandContext(t.Context(), need(t, "openssl"), append([]string{"s_client", version, "-connect", addr, "-ign_eof"}, args...)...)
				cmd.Stdin = strings.NewReader("GET /empty HTTP/1.0\r\n\r\n")
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				if got := strings.Contains(string(out), "TLS session ticket:"); got != resume {
					t.Errorf("%s, resume %t: given a ticket %t", version, resume, got)
				}
			}
			ask("-sess_out", session)
			j.wait(t, timeline.ConnClosed, 1)
			if _, err := os.Stat(session); err != nil {
				if resume {
					t.Error(err)
				}
				continue // TLS 1.3 without a ticket is no session
			}
			ask("-sess_in", session)
			shakes := j.wait(t, timeline.Handshake, 2)
			if got := shakes[1].Fields["tls.resumed"]; got != strconv.FormatBool(resume) {
				t.Errorf("%s, resume %t: resumed %s", version, resume, got)
			}
		}
	}
}

func TestTheCertificateIsChosenLive(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	next := leaf(t, pki.Good)
	addr, j := serve(t, Config{Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, string, error) {
		mu.Lock()
		defer mu.Unlock()
		if next == nil {
			return nil, "none", nil
		}
		return next.TLS(), next.Label, nil
	}})
	for n, l := range []*pki.Leaf{leaf(t, pki.Good), leaf(t, pki.Expired), nil} {
		mu.Lock()
		next = l
		mu.Unlock()
		client := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true, ServerName: "provision.example"})
		err := client.HandshakeContext(t.Context())
		if (err == nil) != (l != nil) {
			t.Errorf("handshake: %v", err)
		}
		if l != nil && !bytes.Equal(client.ConnectionState().PeerCertificates[0].Raw, l.ExportDER()) {
			t.Errorf("not the certificate %q", l.Label)
		}
		_ = client.Close()
		j.wait(t, timeline.ConnClosed, n+1)
	}
	shakes := j.of(timeline.Handshake)
	for i, want := range []string{"good", "expired", "none"} {
		if got := shakes[i].Fields; got["tls.cert"] != want || got["tls.sni"] != "provision.example" {
			t.Errorf("handshake %d: %v, want %s", i, got, want)
		}
	}
	if want := "handshake: no certificate to show"; shakes[2].Reason != want || shakes[2].Status != 0 {
		t.Errorf("reason %q, want %q", shakes[2].Reason, want)
	}
}

func TestAClientOfTLS12ThatKnowsOnlySHA1IsServed(t *testing.T) {
	t.Parallel()
	addr, j := serve(t, Config{Certificate: shows(leaf(t, pki.Good))})
	cmd := exec.CommandContext(t.Context(), need(t, "openssl"), "s_client", "-tls1_2", "-sigalgs", "RSA+SHA1", "-cipher", "ALL:@SECLEVEL=0", "-connect", addr, "-ign_eof")
	cmd.Stdin = strings.NewReader("GET /sysconf_8830_sip.cfg HTTP/1.0\r\n\r\n")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "[LAN]\n") {
		t.Errorf("%v\n%s", err, out)
	}
	if shake := j.wait(t, timeline.Handshake, 1)[0]; !shake.Complete || !strings.HasPrefix(shake.Fields["tls.cipher"], "TLS_RSA_") {
		t.Errorf("handshake %+v", shake)
	}
}

func TestTheKeyLogTakesTheSecrets(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	addr, j := serve(t, Config{Certificate: shows(leaf(t, pki.Good)), KeyLog: &log})
	for _, newest := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true, MaxVersion: newest})
		if err := client.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
	}
	j.wait(t, timeline.ConnClosed, 2)
	for _, want := range []string{"CLIENT_RANDOM ", "CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "SERVER_TRAFFIC_SECRET_0 "} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in the key log", want)
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *syncBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

// record is a TLS record around a handshake message.
func record(version uint16, message []byte) []byte {
	return append([]byte{recordHandshake, byte(version >> 8), byte(version), byte(len(message) >> 8), byte(len(message))}, message...)
}

// hello10 is a ClientHello without extensions, as firmware of 2010 sends it.
func hello10(version uint16, suites ...uint16) []byte {
	body := append([]byte{byte(version >> 8), byte(version)}, make([]byte, 32)...)
	body = append(body, 0, byte(len(suites)>>7), byte(len(suites)<<1))
	for _, s := range suites {
		body = append(body, byte(s>>8), byte(s))
	}
	body = append(body, 1, 0)
	return record(version, append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...))
}

// ssl2 is an SSLv2-framed ClientHello that offers TLS 1.0 with RC4 and an own suite of SSLv2.
func ssl2() []byte {
	body := append([]byte{1, 3, 1, 0, 6, 0, 0, 0, 16, 0, 0, 5, 7, 0, 0xc0}, make([]byte, 16)...)
	return append([]byte{0x80, byte(len(body))}, body...)
}

func TestWhatCannotShakeHandsIsSeenAllTheSame(t *testing.T) {
	t.Parallel()
	const older = "this handset needs a server older than Go speaks: "
	for name, c := range map[string]struct {
		in     []byte
		half   bool // the client closes its side
		hello  map[string]string
		reason string
		alert  string
		oddity string
	}{
		"SSLv2 framing": {
			in: ssl2(), reason: older + "its ClientHello is framed as in SSLv2, offering TLS 1.0 at most", alert: "15030000020228",
			hello: map[string]string{"tls.handshake.version": "0x0301", "tls.handshake.cipherspec": "0x000005,0x0700c0"},
		},
		"SSLv3": {
			in: hello10(0x0300, 0x0005, 0x000a), reason: older + "it offers SSLv3 at most", alert: "15030000020228",
			hello: map[string]string{"tls.handshake.version": "0x0300", "tls.handshake.ciphersuite": "0x0005,0x000a"},
		},
		"no suite that Go has": {
			in: hello10(0x0301, 0x0004, 0x00ff), reason: older + "it offers no cipher suite that Go has, only 0x0004", alert: "15030000020228",
			hello: map[string]string{"tls.handshake.version": "0x0301", "tls.handshake.ciphersuite": "0x0004,0x00ff"},
		},
		"a hello in two records, then an alert": {
			in:     append(slices.Concat(record(0x0301, hello10(0x0301, 0x002f)[5:20]), record(0x0301, hello10(0x0301, 0x002f)[20:])), 21, 3, 1, 0, 2, 2, 42),
			reason: "bad_certificate", hello: map[string]string{"tls.handshake.ciphersuite": "0x002f"},
		},
		"a warning and then the end": {
			in: append(hello10(0x0301, 0x002f), 21, 3, 1, 0, 2, 1, 42), half: true,
			reason: "bad_certificate", hello: map[string]string{},
		},
		"the end in the middle of the hello": {in: hello10(0x0301, 0x002f)[:20], half: true, reason: "no whole ClientHello: closed by the handset"},
		"the end behind the hello":           {in: hello10(0x0301, 0x002f), half: true, reason: "handshake: closed by the handset", hello: map[string]string{}},
		"another handshake message":          {in: record(0x0301, []byte{2, 0, 0, 0}), reason: "no whole ClientHello: handshake message 2 where a ClientHello belongs"},
		"HTTP":                               {in: []byte("GET /x HTTP/1.1\r\nAuthorization: Basic s3cret\r\n\r\n"), oddity: `HTTP or something else spoken to the TLS port: "GET /x HTTP/1.1"`},
		"noise":                              {in: []byte{0xff, 0xff, 0xff, 0xff}, oddity: `HTTP or something else spoken to the TLS port: "\xff\xff\xff\xff"`},
		"nothing":                            {half: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, j := serve(t, Config{Certificate: shows(leaf(t, pki.Good))})
			client := dial(t, addr)
			if _, err := client.Write(c.in); err != nil {
				t.Fatal(err)
			}
			if c.half {
				if err := client.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			out, err := io.ReadAll(client)
			if err != nil {
				t.Errorf("not a clean end: %v", err)
			}
			if c.alert != "" && hex.EncodeToString(out) != c.alert || c.oddity != "" && len(out) > 0 {
				t.Errorf("answered %x, want %q", out, c.alert)
			}
			_ = client.Close()
			closed := j.wait(t, timeline.ConnClosed, 1)[0]
			if got := closed.Fields["bytes.in"]; got != strconv.Itoa(len(c.in)) {
				t.Errorf("bytes.in %s, want %d", got, len(c.in))
			}
			shakes := j.of(timeline.Handshake)
			if c.reason == "" && len(shakes) > 0 || c.reason != "" && (len(shakes) != 1 || shakes[0].Complete || shakes[0].Reason != c.reason) {
				t.Errorf("handshakes %+v, want %q", shakes, c.reason)
			}
			hellos := j.of(timeline.TLSClientHello)
			if (len(hellos) == 1) != (c.hello != nil) {
				t.Fatalf("%d hellos", len(hellos))
			}
			for k, want := range c.hello {
				if got := hellos[0].Fields[k]; got != want {
					t.Errorf("%s: %q, want %q", k, got, want)
				}
			}
			odd := j.of(timeline.ServiceOddity)
			if c.oddity == "" && len(odd) > 0 || c.oddity != "" && (len(odd) != 1 || odd[0].Reason != c.oddity) {
				t.Errorf("oddities %+v, want %q", odd, c.oddity)
			}
		})
	}
}

func TestTLSSpokenToThePlainPortIsSeen(t *testing.T) {
	t.Parallel()
	addr, j := serve(t, Config{})
	out, err := run(t, "curl", "-sS", "--tls-max", "1.2", "--connect-to", "provision.example:443:"+addr, "https://provision.example/x")
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		t.Errorf("curl: %v, %s", err, out)
	}
	odd := j.wait(t, timeline.ServiceOddity, 1)[0]
	if want := `TLS spoken to the plain port: a ClientHello offering TLS 1.2 to "provision.example"`; odd.Reason != want {
		t.Errorf("%q, want %q", odd.Reason, want)
	}
	if len(odd.Fields["tls.handshake.ciphersuite"]) < 100 {
		t.Errorf("fields %v", odd.Fields)
	}
	client := dial(t, addr)
	if _, err := client.Write([]byte{0xff, 0xfe, 0x00}); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(client); err != nil || len(all) > 0 {
		t.Errorf("%q, %v", all, err)
	}
	if odd := j.wait(t, timeline.ServiceOddity, 2)[1]; odd.Reason != "neither HTTP nor TLS spoken to the plain port: it begins ff fe 00" {
		t.Errorf("%q", odd.Reason)
	}
}

func TestTheHelloOfAForeignClientIsReadWhole(t *testing.T) {
	t.Parallel()
	addr, j := serve(t, Config{Certificate: shows(leaf(t, pki.Good))})
	if out, err := run(t, "curl", "-sS", "-k", "--connect-to", "localhost:443:"+addr, "https://localhost/empty"); err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	f := j.wait(t, timeline.TLSClientHello, 1)[0].Fields
	for name, want := range map[string]string{
		"tls.handshake.version":                      "0x0303",
		"tls.handshake.extensions.supported_version": "0x0304,0x0303,0x0302,0x0301",
		"tls.handshake.extensions_server_name":       "localhost",
		"tls.handshake.extensions_alpn_str":          "h2,http/1.1",
	} {
		if f[name] != want {
			t.Errorf("%s: %q, want %q", name, f[name], want)
		}
	}
	for name, want := range map[string]string{
		"tls.handshake.ciphersuite":                "0x1302,",
		"tls.handshake.extension.type":             ",0x002b,",
		"tls.handshake.extensions_supported_group": "0x001d",
		"tls.handshake.sig_hash_alg":               "0x0804",
	} {
		if !strings.Contains(f[name], want) {
			t.Errorf("%s: %q, want %q in it", name, f[name], want)
		}
	}
}

func TestFaultsInTheHandshake(t *testing.T) {
	plan := func(e fault.Effect) *fault.Plan {
		p := &fault.Plan{}
		p.Add(fault.On("ClientHello").Do(e).Once())
		return p
	}
	fetch := func(t *testing.T, addr string) error {
		t.Helper()
		_, err := run(t, "curl", "-sS", "-k", "--max-time", "20", "https://"+addr+"/empty")
		return err
	}
	t.Run("a reset, once", func(t *testing.T) {
		addr, j := serve(t, Config{Certificate: shows(leaf(t, pki.Good)), Faults: plan(Reset{})})
		var exit *exec.ExitError
		if err := fetch(t, addr); !errors.As(err, &exit) || exit.ExitCode() != 35 { // CURLE_SSL_CONNECT_ERROR
			t.Errorf("curl: %v", err)
		}
		if err := fetch(t, addr); err != nil {
			t.Errorf("the second time: %v", err)
		}
		shakes := j.wait(t, timeline.Handshake, 2)
		if shakes[0].Complete || shakes[0].Reason != "reset by the rig as told" || !shakes[1].Complete {
			t.Errorf("handshakes %+v", shakes)
		}
		if want := "on ClientHello: resets the connection, once"; j.of(timeline.FaultFired)[0].Reason != want {
			t.Errorf("fired %+v", j.of(timeline.FaultFired))
		}
	})
	t.Run("silence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newPipe()
			j := serveOn(t, p, Config{Certificate: shows(&pki.Leaf{}), Faults: plan(FallSilent{})})
			client := p.dial()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			err := tls.Client(client, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("handshake: %v", err)
			}
			j.wait(t, timeline.ConnClosed, 1)
			if shake := j.of(timeline.Handshake)[0]; shake.Complete || shake.Reason != "the rig falls silent as told" {
				t.Errorf("handshake %+v", shake)
			}
		})
	})
	t.Run("a status has no place there", func(t *testing.T) {
		p := plan(Status{Code: 503})
		addr, _ := serve(t, Config{Certificate: shows(leaf(t, pki.Good)), Faults: p})
		if err := fetch(t, addr); err != nil {
			t.Error(err)
		}
		if fired := p.Ledger()[0].Fired; fired != 0 {
			t.Errorf("fired %d times", fired)
		}
	})
}

func TestASilentHandshakeIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, in := range map[string][]byte{"nothing": nil, "half a hello": hello10(0x0301, 0x002f)[:20]} {
			p := newPipe()
			j := serveOn(t, p, Config{Certificate: shows(&pki.Leaf{})})
			client := p.dial()
			start := time.Now()
			if _, err := client.Write(in); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(client); err != nil {
				t.Error(err)
			}
			if got := time.Since(start); got != time.Minute {
				t.Errorf("%s: given up after %s", name, got)
			}
			if got := len(j.wait(t, timeline.ConnClosed, 1)); got != 1 {
				t.Errorf("%s: %d ends", name, got)
			}
		}
	})
}

func TestAlertsInClearAreSeenHoweverTheyAreCut(t *testing.T) {
	t.Parallel()
	stream := append(hello10(0x0301, 0x002f), 21, 3, 1, 0, 2, 2, 48)
	for size := 1; size < 12; size++ {
		var w alertWatch
		for part := range slices.Chunk(stream, size) {
			w.see(part)
		}
		if got := w.last(); got != 48 {
			t.Errorf("in pieces of %d: %d", size, got)
		}
	}
	var w alertWatch
	w.see(append([]byte{20, 3, 1, 0, 1, 1}, 21, 3, 1, 0, 2, 2, 48))
	if got := w.last(); got != -1 {
		t.Errorf("an alert was read out of ciphertext: %d", got)
	}
}

func FuzzClientHello(f *testing.F) {
	f.Add(hello10(0x0301, 0x002f))
	f.Add(hello10(0x0300, 0x0005, 0x0a0a))
	f.Add(ssl2())
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Add(slices.Concat(record(0x0301, hello10(0x0301, 0x002f)[5:20]), record(0x0301, hello10(0x0301, 0x002f)[20:])))
	near, far := net.Pipe()
	// Ends when near is closed below.
	go func() {
		_ = tls.Client(far, &tls.Config{ServerName: "a.example", NextProtos: []string{"h2"}}).HandshakeContext(f.Context())
	}()
	read, h, _, err := peekHello(near)
	if err != nil || h.sni != "a.example" {
		f.Fatalf("Go's own hello: %v, %v", h, err)
	}
	_ = near.Close()
	f.Add(read)
	f.Fuzz(func(t *testing.T, data []byte) {
		h, what, err := parseHello(data)
		if what == helloWhole && (h == nil || err != nil) {
			t.Fatalf("whole, but %v, %v", h, err)
		}
		if h != nil {
			_, _ = h.fields(), h.tooOld()
		}
		var w alertWatch
		w.see(data)
		read, again, whole, _ := peekHello(bytes.NewReader(data))
		if !bytes.HasPrefix(data, read) || what == helloWhole && (whole != helloWhole || again.sni != h.sni) {
			t.Errorf("read %d of %d bytes as %d, then %d", len(read), len(data), what, whole)
		}
	})
}

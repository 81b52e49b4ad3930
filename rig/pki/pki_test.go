package pki

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// at is the time that the rig of these tests serves, far from any real one.
var at = time.Date(2011, time.March, 4, 12, 0, 0, 0, time.UTC)

func authority(t *testing.T, name string, opts Options) *Authority {
	t.Helper()
	a, err := NewAuthority(name, opts)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func server(t *testing.T) Server {
	t.Helper()
	return Server{
		Names: []string{"provision.example"}, IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, At: at,
		Known: authority(t, A, Options{Seed: "s"}), Unknown: authority(t, B, Options{Seed: "s"}),
	}
}

// verifier asks one program or library about leaf. Checks whose bit is not in
// mask are switched off. It returns the reason of a refusal, empty when there
// is none.
type verifier func(t *testing.T, s Server, leaf *Leaf, mask Flaw) string

// goVerify asks crypto/x509.
func goVerify(t *testing.T, s Server, leaf *Leaf, mask Flaw) string {
	t.Helper()
	opts := x509.VerifyOptions{Roots: s.Known.Pool(), CurrentTime: s.At}
	if !mask.Has(UnknownAuthority) {
		opts.Roots.AddCert(s.Unknown.Cert())
	}
	if !mask.Has(Expired) {
		opts.CurrentTime = leaf.Cert().NotBefore.Add(time.Hour)
	}
	_, err := leaf.Cert().Verify(opts)
	if err == nil && mask.Has(WrongName) {
		for _, name := range append([]string{s.IPs[0].String()}, s.Names...) {
			err = errors.Join(err, leaf.Cert().VerifyHostname(name))
		}
	}
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return ""
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return UnknownAuthority.String()
	case errors.As(err, new(x509.HostnameError)):
		return WrongName.String()
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Expired.String()
	default:
		return err.Error()
	}
}

// opensslVerify asks a program that nobody here wrote.
func opensslVerify(t *testing.T, s Server, leaf *Leaf, mask Flaw) string {
	t.Helper()
	dir := t.TempDir()
	roots := s.Known.ExportPEM()
	if !mask.Has(UnknownAuthority) {
		roots = append(roots, s.Unknown.ExportPEM()...)
	}
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	args := []string{"verify", "-x509_strict", "-purpose", "sslserver", "-no-CApath", "-no-CAstore", "-CAfile", file("roots.pem", roots)}
	if mask.Has(Expired) {
		args = append(args, "-attime", strconv.FormatInt(s.At.Unix(), 10))
	} else {
		args = append(args, "-no_check_time")
	}
	if mask.Has(WrongName) {
		args = append(args, "-verify_hostname", s.Names[0], "-verify_ip", s.IPs[0].String())
	}
	out, err := exec.CommandContext(t.Context(), "openssl", append(args, file("leaf.pem", leaf.ExportPEM()))...).CombinedOutput()
	text := string(out)
	switch {
	case err == nil && strings.HasSuffix(strings.TrimSpace(text), "OK"):
		return ""
	case strings.Contains(text, "error 20 at 0 depth lookup"):
		return UnknownAuthority.String()
	case strings.Contains(text, "error 62 at 0 depth lookup"), strings.Contains(text, "error 64 at 0 depth lookup"):
		return WrongName.String()
	case strings.Contains(text, "error 10 at 0 depth lookup"):
		return Expired.String()
	default:
		return fmt.Sprintf("%v: %s", err, text)
	}
}

func verifiers(t *testing.T) map[string]verifier {
	t.Helper()
	all := map[string]verifier{"crypto/x509": goVerify}
	if openSSL(t) {
		all["openssl verify"] = opensslVerify
	}
	return all
}

// openSSL tells whether there is one; where all must be proven there has to be.
func openSSL(t *testing.T) bool {
	t.Helper()
	_, err := exec.LookPath("openssl")
	if err != nil && os.Getenv("CI") != "" {
		t.Error("openssl is not installed: half of the proof is missing")
	} else if err != nil {
		t.Log("openssl is not installed: only Go judges")
	}
	return err == nil
}

func TestASingleFlawIsTheOnlyReasonToRefuse(t *testing.T) {
	s, m := server(t), NewMint("s", nil)
	mend := map[Flaw]func(*Request){
		UnknownAuthority: func(r *Request) { r.Authority = s.Known },
		WrongName:        func(r *Request) { r.Names, r.IPs = s.Names, s.IPs },
		Expired:          func(r *Request) { r.NotAfter = s.At.Add(margin) },
	}
	const all = UnknownAuthority | WrongName | Expired
	for by, verify := range verifiers(t) {
		for flaw, mended := range mend {
			t.Run(by+" refuses "+flaw.String()+" and accepts it mended", func(t *testing.T) {
				bad, err := m.Variant(s, flaw)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := verify(t, s, bad, all), flaw.String(); got != want {
					t.Errorf("unmended: refused for %q, want %q", got, want)
				}
				if bad.Reason == "" || strings.Contains(bad.Reason, ";") || bad.Label != flaw.String() {
					t.Errorf("label %q, reason %q: want the flaw and one reason", bad.Label, bad.Reason)
				}
				r := bad.Request
				mended(&r)
				good, err := m.Leaf(r)
				if err != nil {
					t.Fatal(err)
				}
				if got := verify(t, s, good, all); got != "" {
					t.Errorf("mended: refused for %q", got)
				}
			})
		}
	}
}

func TestEachCheckSeesOnlyItsOwnFlaw(t *testing.T) {
	s, m := server(t), NewMint("s", nil)
	for by, verify := range verifiers(t) {
		for _, flaw := range Flaws() {
			leaf, err := m.Variant(s, flaw)
			if err != nil {
				t.Fatal(err)
			}
			for _, mask := range Flaws() {
				got := verify(t, s, leaf, mask)
				if want := mask&flaw != 0; (got != "") != want {
					t.Errorf("%s, %s under mask %d: refused %t (%s), want %t", by, flaw, mask, got != "", got, want)
				}
				if single := mask&flaw == 1 || mask&flaw == 2 || mask&flaw == 4; single && got != (mask&flaw).String() {
					t.Errorf("%s, %s under mask %d: refused for %q", by, flaw, mask, got)
				}
			}
		}
	}
}

func TestVariantsSayWhatIsWrong(t *testing.T) {
	s, m := server(t), NewMint("s", nil)
	serials := map[string]Flaw{}
	for _, flaw := range Flaws() {
		leaf, err := m.Variant(s, flaw)
		if err != nil {
			t.Fatal(err)
		}
		reasons := 0
		if leaf.Reason != "" {
			reasons = len(strings.Split(leaf.Reason, "; "))
		}
		if want := strings.Count(fmt.Sprintf("%b", flaw), "1"); reasons != want {
			t.Errorf("%s: %d reasons in %q, want %d", flaw, reasons, leaf.Reason, want)
		}
		if other, taken := serials[leaf.Cert().SerialNumber.String()]; taken {
			t.Errorf("%s and %s share a serial", flaw, other)
		}
		serials[leaf.Cert().SerialNumber.String()] = flaw
		if cn := leaf.Cert().Subject.CommonName; cn != leaf.Cert().DNSNames[0] {
			t.Errorf("%s: CN %q is not in SAN %q", flaw, cn, leaf.Cert().DNSNames)
		}
		if leaf.Cert().SignatureAlgorithm != x509.SHA256WithRSA {
			t.Errorf("%s: signed with %s", flaw, leaf.Cert().SignatureAlgorithm)
		}
	}
}

func TestTheSameRequestGivesTheSameLeaf(t *testing.T) {
	s, m := server(t), NewMint("s", nil)
	one, err := m.Variant(s, Good)
	if err != nil {
		t.Fatal(err)
	}
	two, err := m.Variant(s, Good)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.ExportDER(), two.ExportDER()) {
		t.Error("two different leaves under one serial")
	}
	other, err := NewMint("other", nil).Variant(s, Good)
	if err != nil {
		t.Fatal(err)
	}
	if other.Cert().SerialNumber.Cmp(one.Cert().SerialNumber) == 0 {
		t.Error("the serial does not derive from the seed")
	}
	again, err := NewMint("s", nil).Variant(s, Good)
	if err != nil {
		t.Fatal(err)
	}
	if again.Cert().SerialNumber.Cmp(one.Cert().SerialNumber) != 0 {
		t.Error("the same seed gave another serial")
	}
}

func TestRequestsThatCannotBeMetAreRefused(t *testing.T) {
	s, m := server(t), NewMint("s", nil)
	for name, c := range map[string]struct {
		spoil func(*Server)
		flaw  Flaw
		want  string
	}{
		"no name at all":                  {func(s *Server) { s.Names, s.IPs = nil, nil }, Good, "neither name nor address"},
		"the authority known is missing":  {func(s *Server) { s.Known = nil }, Good, "needs an authority"},
		"both authorities are one":        {func(s *Server) { s.Unknown = s.Known }, Good, "both authorities"},
		"a flaw that does not exist":      {func(*Server) {}, 8, "no such flaw"},
		"a time before the authority":     {func(s *Server) { s.At = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) }, Good, "authority A is valid from 2000-01-01"},
		"a time after the authority":      {func(s *Server) { s.At = time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC) }, Expired, "authority A is valid from 2000-01-01"},
		"a kind of key that is not known": {func(s *Server) { s.Key = 99 }, Good, "key kind 99 is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			spoilt := s
			c.spoil(&spoilt)
			leaf, err := m.Variant(spoilt, c.flaw)
			if err == nil {
				t.Fatalf("got a leaf for %s, want an error", leaf.Cert().Subject)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
	if _, err := m.Leaf(Request{Authority: s.Known, Names: s.Names, NotBefore: at, NotAfter: at}); err == nil {
		t.Error("a leaf that ends as it begins was minted")
	}
}

func TestOtherKeysAndSignatures(t *testing.T) {
	known, unknown := authority(t, A, Options{Key: ECDSAP256}), authority(t, B, Options{Key: RSA1024, Signature: x509.SHA1WithRSA})
	s := Server{IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, At: at, Known: known, Unknown: unknown, Key: ECDSAP256}
	m := NewMint("s", nil)
	leaf, err := m.Variant(s, Good)
	if err != nil {
		t.Fatal(err)
	}
	if got := goVerifyOnlyIP(s, leaf); got != nil {
		t.Errorf("ECDSA leaf by ECDSA authority: %v", got)
	}
	if got, want := leaf.Cert().Subject.CommonName, "192.0.2.1"; got != want {
		t.Errorf("CN %q, want %q", got, want)
	}
	old, err := m.Leaf(Request{
		Authority: unknown, Names: []string{"provision.example"}, NotBefore: at, NotAfter: at.Add(time.Hour),
		Key: RSA1024, Signature: x509.SHA1WithRSA,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := old.Cert().SignatureAlgorithm; got != x509.SHA1WithRSA {
		t.Errorf("signed with %s", got)
	}
	if err := unknown.Save(t.TempDir()); err != nil {
		t.Error(err)
	}
}

func goVerifyOnlyIP(s Server, leaf *Leaf) error {
	_, err := leaf.Cert().Verify(x509.VerifyOptions{Roots: s.Known.Pool(), CurrentTime: s.At, DNSName: s.IPs[0].String()})
	return err
}

func TestAHandshakeWorksWithALeaf(t *testing.T) {
	s := server(t)
	leaf, err := NewMint("s", nil).Variant(s, Good)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	done := make(chan error, 1)
	// Ends with the handshake, which the client below finishes or breaks.
	go func() {
		done <- tls.Server(far, &tls.Config{Certificates: []tls.Certificate{*leaf.TLS()}, SessionTicketsDisabled: true}).HandshakeContext(t.Context())
	}()
	client := tls.Client(near, &tls.Config{RootCAs: s.Known.Pool(), ServerName: s.Names[0], Time: func() time.Time { return at }})
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAnAuthorityPersists(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	made, err := LoadOrCreate(dir, A, Options{Seed: "one"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreate(dir, A, Options{Seed: "another"})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made.ExportDER(), again.ExportDER()) {
		t.Error("the second run has another authority")
	}
	leaf, err := NewMint("s", nil).Leaf(Request{Authority: again, Names: []string{"a.example"}, NotBefore: at, NotAfter: at.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.Cert().CheckSignatureFrom(made.Cert()); err != nil {
		t.Errorf("the key that was loaded is not the key that was saved: %v", err)
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]fs.FileMode{"A.pem": 0o600, "A.crt": 0o644, ".": 0o700} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("%s has mode %o, want %o", name, got, want)
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
	copied, err := os.ReadFile(filepath.Join(dir, "A.crt"))
	if err != nil || !bytes.Equal(copied, made.ExportPEM()) || bytes.Contains(copied, []byte("KEY")) {
		t.Errorf("A.crt is not the certificate alone (%v)", err)
	}
	if err := authority(t, A, Options{}).Save(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an authority was replaced: %v", err)
	}
}

func TestProcessesThatCreateAtTheSameTimeAgree(t *testing.T) {
	dir := t.TempDir()
	const n = 4
	got := make(chan []byte, n)
	for range n {
		// Ends once it has its authority.
		go func() {
			a, err := LoadOrCreate(dir, A, Options{Key: ECDSAP256})
			if err != nil {
				t.Error(err)
				got <- nil
				return
			}
			got <- a.ExportDER()
		}()
	}
	first := <-got
	for range n - 1 {
		if !bytes.Equal(first, <-got) {
			t.Error("two authorities under one name")
		}
	}
}

func TestADamagedFileIsRefusedAndKept(t *testing.T) {
	a, b := authority(t, A, Options{}), authority(t, B, Options{})
	file := func(x *Authority) []byte {
		dir := t.TempDir()
		if err := x.Save(dir); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, x.Name()+".pem"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	whole, other := file(a), file(b)
	leaf, err := NewMint("s", nil).Leaf(Request{Authority: a, Names: []string{"a.example"}, NotBefore: at, NotAfter: at.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	key, err := leaf.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	_, rest := pem.Decode(whole)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":                             {nil, "no certificate"},
		"cut in the middle":                 {whole[:len(whole)/2], "bytes that are not PEM"},
		"cut after the certificate":         {whole[:len(whole)-len(rest)], "no key"},
		"a byte of the certificate changed": {bytes.Replace(whole, []byte("\nMII"), []byte("\nMIJ"), 1), "certificate"},
		"the key alone":                     {rest, "no certificate"},
		"two certificates":                  {append(b.ExportPEM(), whole...), "two certificates"},
		"another authority's key":           {append(b.ExportPEM(), rest...), "do not belong together"},
		"another authority renamed":         {other, "not authority A"},
		"a leaf in its place":               {append(leaf.ExportPEM(), key...), "may not sign others"},
		"text behind it":                    {append(bytes.Clone(whole), "more"...), "4 bytes that are not PEM"},
		"something else in it":              {append(bytes.Clone(whole), "-----BEGIN X-----\n-----END X-----\n"...), `unexpected "X"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "A.pem")
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadOrCreate(dir, A, Options{Key: ECDSAP256})
			if err == nil {
				t.Fatal("taken, want an error")
			}
			for _, want := range []string{"authority A", path, "damaged", c.want, "move it away"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, c.data) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestAKeyThatOthersCanReadIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing on windows")
	}
	dir := t.TempDir()
	if err := authority(t, A, Options{Key: ECDSAP256}).Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "A.pem"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreate(dir, A, Options{}); err == nil || !strings.Contains(err.Error(), "mode 0640") {
		t.Errorf("got %v, want an error about mode 0640", err)
	}
}

func TestNamesOfAuthoritiesCannotLeaveTheFolder(t *testing.T) {
	for _, name := range []string{"", "../A", "A/B", "A.pem", ".", "A\x00", strings.Repeat("A", 33)} {
		if _, err := LoadOrCreate(t.TempDir(), name, Options{Key: ECDSAP256}); err == nil {
			t.Errorf("name %q was taken", name)
		}
	}
}

func FuzzAuthorityFile(f *testing.F) {
	a, err := NewAuthority(A, Options{Key: ECDSAP256})
	if err != nil {
		f.Fatal(err)
	}
	dir := f.TempDir()
	if err := a.Save(dir); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "A.pem"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(a.ExportPEM())
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parse(A, data)
		if (got == nil) == (err == nil) {
			t.Errorf("authority %v and error %v", got, err)
		}
	})
}

func TestKeptKeysAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	same := func(a, b crypto.Signer) bool {
		return a.(*rsa.PrivateKey).Equal(b)
	}
	get := func(use string) crypto.Signer {
		key, err := KeptKeys(dir)(RSA1024, use)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	leaf := get(LeafKey)
	if !same(leaf, get(LeafKey)) {
		t.Error("the second process has another key")
	}
	if same(leaf, get("root")) {
		t.Error("two uses share a key")
	}
	if err := os.WriteFile(filepath.Join(dir, "leaf-RSA-1024.key"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := KeptKeys(dir)(RSA1024, LeafKey); err == nil || !strings.Contains(err.Error(), "leaf-RSA-1024.key") {
		t.Errorf("a damaged key: %v", err)
	}
}

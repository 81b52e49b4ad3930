package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// minted is one server and one mint for all tests: keys are slow to make.
var minted = sync.OnceValues(func() (Server, error) {
	known, err1 := NewAuthority(A, Options{Seed: "s"})
	unknown, err2 := NewAuthority(B, Options{Seed: "s", Key: ECDSAP256})
	return Server{
		// A name that a wildcard can stand for, as a lane's is.
		Names: []string{"prov.desk.example"}, IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, At: at, Known: known, Unknown: unknown,
	}, errors.Join(err1, err2)
})

var mint = sync.OnceValue(func() *Mint { return NewMint("s", nil) })

func catalogueServer(t *testing.T) (Server, *Mint) {
	t.Helper()
	s, err := minted()
	if err != nil {
		t.Fatal(err)
	}
	return s, mint()
}

// goTakes asks crypto/x509 about a chain as it is sent; blank: accepted.
func goTakes(t *testing.T, s Server, leaf *Leaf, byAddress bool) string {
	t.Helper()
	opts := x509.VerifyOptions{Roots: leaf.Root.Pool(), CurrentTime: s.At, Intermediates: x509.NewCertPool(), DNSName: s.Names[0]}
	if byAddress {
		opts.DNSName = s.IPs[0].String()
	}
	for _, der := range leaf.Chain() {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		opts.Intermediates.AddCert(cert)
	}
	if _, err := leaf.Cert().Verify(opts); err != nil {
		return err.Error()
	}
	return ""
}

// opensslTakes asks openssl verify at the security level of an ordinary TLS
// client; blank: accepted.
func opensslTakes(t *testing.T, s Server, leaf *Leaf, byAddress bool) string {
	t.Helper()
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var chain []byte
	for _, der := range leaf.Chain() {
		chain = append(chain, certPEM(der)...)
	}
	args := []string{
		"verify", "-x509_strict", "-auth_level", "2", "-purpose", "sslserver", "-no-CApath", "-no-CAstore",
		"-attime", strconv.FormatInt(s.At.Unix(), 10), "-CAfile", file("root.pem", leaf.Root.ExportPEM()),
	}
	if len(chain) > 0 {
		args = append(args, "-untrusted", file("chain.pem", chain))
	}
	if byAddress {
		args = append(args, "-verify_ip", s.IPs[0].String())
	} else {
		args = append(args, "-verify_hostname", s.Names[0])
	}
	out, err := exec.CommandContext(t.Context(), "openssl", append(args, file("leaf.pem", leaf.ExportPEM()))...).CombinedOutput()
	if err == nil && strings.HasSuffix(strings.TrimSpace(string(out)), "OK") {
		return ""
	}
	return fmt.Sprintf("%v: %s", err, out)
}

func TestEachCertificateOfTheCatalogueIsJudgedForItsOneReason(t *testing.T) {
	s, m := catalogueServer(t)
	openssl := openSSL(t)
	// What the two say of the bad ones: the words of Go, the number of openssl
	// (x509_vfy.h) with the depth.
	reasons := map[string][2]string{
		NotYetValid:         {"is before 2011-04-03", "error 9 at 0 depth"},
		SelfSigned:          {"unknown authority", "error 18 at 0 depth"},
		MissingIntermediate: {"unknown authority", "error 20 at 0 depth"},
		WrongOrder:          {},
		NoCAFlag:            {"parent certificate cannot sign this kind of certificate", "error 79 at 1 depth"},
		WrongUsage:          {"incompatible key usage", "error 26 at 0 depth"},
		NameInCN:            {"legacy Common Name", ""},
		ExpiredIntermediate: {"is after 2011-02-02", "error 10 at 1 depth"},
		ExpiredRoot:         {"is after 2011-02-02", "error 10 at 1 depth"},
		SHA1:                {"insecure algorithm SHA1", "error 68 at 0 depth"},
		Key1024:             {"", "error 66 at 0 depth"},
		ExcludedName:        {"is excluded by constraint", "error 48 at 0 depth"},
		CriticalExtension:   {"unhandled critical extension", "error 34 at 0 depth"},
		PathTooLong:         {"too many intermediates", "error 25 at 2 depth"},
		WrongKeyUsage:       {"", "error 26 at 0 depth"},
	}
	for _, e := range Catalogue() {
		t.Run(e.Name, func(t *testing.T) {
			want, told := reasons[e.Name]
			if told != e.Bad || e.Reason == "" || !e.Bad && e.GoTakes+e.OpenSSLTakes != "" {
				t.Fatalf("%+v does not fit the test's own list", e)
			}
			leaf, err := m.Catalogued(s, e.Name)
			if err != nil {
				t.Fatal(err)
			}
			good, err := m.Mended(s, e.Name)
			if err != nil {
				t.Fatal(err)
			}
			if leaf.Reason != e.Reason || leaf.Label != e.Name || good.Reason != "" || bytes.Equal(leaf.ExportDER(), good.ExportDER()) {
				t.Errorf("label %q, reason %q, mended %q", leaf.Label, leaf.Reason, good.Reason)
			}
			if own := leaf.Root != s.Known; own != e.OwnRoot || (good.Root != s.Known) != e.OwnRoot {
				t.Errorf("signed by an authority of its own: %t, want %t", own, e.OwnRoot)
			}
			if e.OwnRoot {
				// The other root alone must not do, nor look like it where they are listed.
				if bytes.Equal(leaf.Root.cert.RawSubject, good.Root.cert.RawSubject) {
					t.Errorf("its root and that of the mended one are both called %q", leaf.Root.cert.Subject.CommonName)
				}
				other := *leaf
				other.Root = good.Root
				if got := goTakes(t, s, &other, e.ByAddress); !strings.Contains(got, "unknown authority") {
					t.Errorf("under the root of the mended one: %q, want unknown authority", got)
				}
			}
			for _, v := range []struct {
				by, takes, want string
				ask             func(*testing.T, Server, *Leaf, bool) string
				skip            bool
			}{
				{"crypto/x509", e.GoTakes, want[0], goTakes, false},
				{"openssl verify", e.OpenSSLTakes, want[1], opensslTakes, !openssl},
			} {
				if v.skip {
					continue
				}
				got := v.ask(t, s, leaf, e.ByAddress)
				switch refuses := e.Bad && v.takes == ""; {
				case !refuses && got != "":
					t.Errorf("%s refuses it: %s", v.by, got)
				case refuses && (v.want == "" || !strings.Contains(got, v.want)):
					t.Errorf("%s says %q, want %q", v.by, got, v.want)
				}
				if got := v.ask(t, s, good, false); got != "" {
					t.Errorf("%s refuses it mended: %s", v.by, got)
				}
			}
		})
	}
}

func TestTheCatalogueHoldsWhatItSays(t *testing.T) {
	s, m := catalogueServer(t)
	get := func(name string) *Leaf {
		t.Helper()
		leaf, err := m.Catalogued(s, name)
		if err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	if n := len(get(Huge).ExportDER()); n != 65536 {
		t.Errorf("the 64 KiB certificate has %d bytes", n)
	}
	if n := len(get(LongChain).Chain()); n != 10 {
		t.Errorf("the very long chain has %d intermediates", n)
	}
	for name, bits := range map[string]int{Key1024: 1024, Key2048: 2048, Key4096: 4096} {
		if key, ok := get(name).Cert().PublicKey.(*rsa.PublicKey); !ok || key.Size()*8 != bits {
			t.Errorf("%s has a %T", name, get(name).Cert().PublicKey)
		}
	}
	if _, ok := get(KeyP256).Cert().PublicKey.(*ecdsa.PublicKey); !ok {
		t.Errorf("%s has a %T", KeyP256, get(KeyP256).Cert().PublicKey)
	}
	if got := get(Wildcard).Cert(); !slices.Equal(got.DNSNames, []string{"*.desk.example"}) || got.Subject.CommonName != "*.desk.example" {
		t.Errorf("the wildcard is made out to %q, %q", got.DNSNames, got.Subject)
	}
	if got := get(NameInSAN).Cert().Subject.CommonName; got != "" {
		t.Errorf("name only in SAN has the CN %q", got)
	}
	if got := get(NameInCN).Cert(); len(got.DNSNames)+len(got.IPAddresses) != 0 || got.Subject.CommonName != s.Names[0] {
		t.Errorf("name only in CN has SAN %q", got.DNSNames)
	}
	wrong, right := get(WrongOrder).Chain(), get(LongChain).Chain()
	if cert := parseDER(t, right[0]); get(LongChain).Cert().Issuer.String() != cert.Subject.String() {
		t.Errorf("the first one sent, %s, has not signed the leaf", cert.Subject)
	}
	if cert := parseDER(t, wrong[0]); get(WrongOrder).Cert().Issuer.String() == cert.Subject.String() {
		t.Error("the wrong order is the right one")
	}
	serials := map[string]string{}
	for _, e := range Catalogue() {
		leaf := get(e.Name)
		number := leaf.Root.Subject() + leaf.Cert().Issuer.String() + leaf.Cert().SerialNumber.String()
		if other, taken := serials[number]; taken {
			t.Errorf("%s and %s share a serial", e.Name, other)
		}
		serials[number] = e.Name
		if again := get(e.Name); again != leaf {
			t.Errorf("%s was minted twice", e.Name)
		}
		if leaf.Cert().NotAfter.Year() >= 2038 {
			t.Errorf("%s ends %s", e.Name, leaf.Cert().NotAfter)
		}
	}
}

func parseDER(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestTheCatalogueFollowsTheServedTime(t *testing.T) {
	s, m := catalogueServer(t)
	first, err := m.Catalogued(s, NotYetValid)
	if err != nil {
		t.Fatal(err)
	}
	s.At = s.At.Add(365 * 24 * time.Hour)
	later, err := m.Catalogued(s, NotYetValid)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Cert().NotBefore.Before(s.At) || !later.Cert().NotBefore.After(s.At) {
		t.Errorf("at %s: begins %s, was %s", s.At, later.Cert().NotBefore, first.Cert().NotBefore)
	}
}

func TestWhatTheCatalogueCannotMakeIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		cell  string
		spoil func(*Server)
		want  string
	}{
		"not in the catalogue":            {"MD5", func(*Server) {}, `certificate "MD5": not in the catalogue`},
		"a wildcard of a name too short":  {Wildcard, func(s *Server) { s.Names = []string{"prov.example"} }, "no domain of two parts"},
		"a wildcard of no name":           {Wildcard, func(s *Server) { s.Names = nil }, "the server has no name"},
		"an address that there is not":    {AddressOnly, func(s *Server) { s.IPs = nil }, "the server has no address"},
		"neither name nor address":        {SHA1, func(s *Server) { s.Names, s.IPs = nil, nil }, "neither name nor address"},
		"a time the authority has not":    {SHA1, func(s *Server) { s.At = time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC) }, "authority A is valid from"},
		"no authority that would sign it": {SHA1, func(s *Server) { s.Known = nil }, "needs an authority"},
	} {
		t.Run(name, func(t *testing.T) {
			s, m := catalogueServer(t)
			c.spoil(&s)
			if _, err := m.Catalogued(s, c.cell); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestEachCertificateOfTheCatalogueCanBeShown(t *testing.T) {
	s, m := catalogueServer(t)
	for _, e := range Catalogue() {
		t.Run(e.Name, func(t *testing.T) {
			leaf, err := m.Catalogued(s, e.Name)
			if err != nil {
				t.Fatal(err)
			}
			near, far := net.Pipe()
			done := make(chan error, 1)
			// Ends with the handshake, which the client below finishes or breaks.
			go func() {
				err := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{*leaf.TLS()}, SessionTicketsDisabled: true}).HandshakeContext(t.Context())
				done <- errors.Join(err, far.Close())
			}()
			sent := 0
			client := tls.Client(near, &tls.Config{
				InsecureSkipVerify: true,
				VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
					sent = len(raw)
					if !bytes.Equal(raw[0], leaf.ExportDER()) {
						return errors.New("the leaf does not come first")
					}
					return nil
				},
			})
			if err := client.HandshakeContext(t.Context()); err != nil {
				t.Error(err)
			}
			if err := near.Close(); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if want := 1 + len(leaf.Chain()); sent != want {
				t.Errorf("%d certificates were sent, want %d", sent, want)
			}
		})
	}
}

func TestTheCatalogueNamesAllOfTheRequirement(t *testing.T) {
	const row = "not yet valid, self-signed leaf, missing intermediate, wrong order, issuer without CA flag, wrong extended key usage, name only in CN, " +
		"name only in SAN, wildcard, IP SAN, expired intermediate, expired root, SHA-1, RSA 1024, RSA 2048, RSA 4096, ECDSA, very long chain, 64 KiB certificate"
	for want := range strings.SplitSeq(row, ", ") {
		if !slices.ContainsFunc(Catalogue(), func(e Entry) bool { return regexp.MustCompile(`(?i)\b` + want + `\b`).MatchString(e.Name) }) {
			t.Errorf("%q is not in the catalogue", want)
		}
	}
}

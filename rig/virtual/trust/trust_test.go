package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/virtual/defect"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issue makes a certificate; a nil issuer signs itself.
func issue(t *testing.T, issuer *pair, edit func(*x509.Certificate)) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0),
	}
	edit(c)
	self := &pair{c, key}
	if issuer == nil {
		issuer = self
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer.cert, key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{cert, key}
}

func ca(name string, edit func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid, c.KeyUsage = name, true, true, x509.KeyUsageCertSign
		if edit != nil {
			edit(c)
		}
	}
}

func leaf(edit func(*x509.Certificate)) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.DNSNames = []string{"rig.example"}
		if edit != nil {
			edit(c)
		}
	}
}

func failed(err error) uint8 {
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok {
		return 0
	}
	return refusal.Failed
}

func TestEveryMaskAgainstEveryFlaw(t *testing.T) {
	a, b := issue(t, nil, ca("A", nil)), issue(t, nil, ca("B", nil))
	for flaws := range uint8(8) {
		issuer, edit := a, func(c *x509.Certificate) {
			if flaws&ServerName != 0 {
				c.DNSNames = []string{"other.example"}
			}
			if flaws&Expiry != 0 {
				c.NotAfter = now.AddDate(0, 0, -1)
			}
		}
		if flaws&Authority != 0 {
			issuer = b
		}
		chain := []*x509.Certificate{issue(t, issuer, leaf(edit)).cert}
		for mask := range uint8(8) {
			p := Policy{Mask: mask, Authorities: []*x509.Certificate{a.cert}, Now: func() (time.Time, bool) { return now, true }}
			if got, want := failed(p.Verify(chain, "rig.example")), flaws&mask; got != want {
				t.Errorf("flaws %d under mask %d: failed %d, want %d", flaws, mask, got, want)
			}
			p.Now = func() (time.Time, bool) { return now, false }
			if got, want := failed(p.Verify(chain, "rig.example")), flaws&mask&^Expiry; got != want {
				t.Errorf("flaws %d under mask %d without time: failed %d, want %d", flaws, mask, got, want)
			}
		}
	}
}

func TestDefects(t *testing.T) {
	a, b := issue(t, nil, ca("A", nil)), issue(t, nil, ca("B", nil))
	good := issue(t, a, leaf(nil)).cert
	unknown := issue(t, b, leaf(nil)).cert
	name := issue(t, a, leaf(func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} })).cert
	expired := issue(t, a, leaf(func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) })).cert
	for _, test := range []struct {
		defect defect.Name
		chain  *x509.Certificate
		mask   uint8
		want   uint8
	}{
		{defect.AcceptsUnknownAuthority, unknown, 7, 0},
		{defect.AcceptsUnknownAuthority, name, 7, 2},
		{defect.AcceptsWrongName, name, 7, 0},
		{defect.AcceptsWrongName, expired, 7, 4},
		{defect.AcceptsExpired, expired, 7, 0},
		{defect.AcceptsExpired, unknown, 7, 1},
		{defect.NameNeedsAuthority, name, 7, 2},
		{defect.NameNeedsAuthority, name, 3, 2},
		{defect.NameNeedsAuthority, name, 2, 0},
		{defect.NameNeedsAuthority, name, 6, 0},
		{defect.NameNeedsAuthority, expired, 6, 4},
		{defect.AlwaysChecksName, name, 0, 2},
		{defect.AlwaysChecksName, name, 5, 2},
		{defect.AlwaysChecksName, name, 7, 2},
		{defect.AlwaysChecksName, good, 0, 0},
		{defect.AlwaysChecksName, unknown, 0, 0},
		{defect.AlwaysChecksName, expired, 1, 0},
		{defect.RefusesUnderMask6, good, 6, 6},
		{defect.RefusesUnderMask6, good, 7, 0},
		{defect.RefusesUnderMask6, good, 2, 0},
	} {
		p := Policy{Mask: test.mask, Authorities: []*x509.Certificate{a.cert}, Now: func() (time.Time, bool) { return now, true }, Defects: defect.Set{test.defect}}
		if got := failed(p.Verify([]*x509.Certificate{test.chain}, "rig.example")); got != test.want {
			t.Errorf("%s, mask %d: failed %d, want %d", test.defect, test.mask, got, test.want)
		}
	}
}

func TestAuthority(t *testing.T) {
	root := issue(t, nil, ca("root", nil))
	other := issue(t, nil, ca("other", nil))
	namesake := issue(t, nil, ca("root", nil))
	middle := issue(t, root, ca("middle", nil))
	lower := issue(t, middle, ca("lower", nil))
	short := issue(t, root, ca("short", func(c *x509.Certificate) { c.MaxPathLenZero = true }))
	belowShort := issue(t, short, ca("below", nil))
	noFlag := issue(t, root, func(c *x509.Certificate) { c.Subject.CommonName = "no flag" })
	noSign := issue(t, root, ca("no sign", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }))
	expired := issue(t, root, ca("expired", func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) }))
	self := issue(t, nil, leaf(nil))
	for _, test := range []struct {
		name string
		mask uint8
		want uint8
		sent []*pair
		also []*pair
	}{
		{"issued by the authority", 1, 0, []*pair{issue(t, root, leaf(nil))}, nil},
		{"through two intermediates", 1, 0, []*pair{issue(t, lower, leaf(nil)), lower, middle}, nil},
		{"intermediates in the wrong order, with a stranger and the root", 1, 0, []*pair{issue(t, lower, leaf(nil)), root, middle, other, lower}, nil},
		{"intermediate missing", 1, 1, []*pair{issue(t, lower, leaf(nil)), middle}, nil},
		{"intermediate known as an authority", 1, 0, []*pair{issue(t, lower, leaf(nil))}, []*pair{lower}},
		{"unknown authority that sends itself", 1, 1, []*pair{issue(t, other, leaf(nil)), other}, nil},
		{"another authority of the same name", 1, 1, []*pair{issue(t, namesake, leaf(nil)), namesake}, nil},
		{"self-signed", 1, 1, []*pair{self}, nil},
		{"self-signed and uploaded", 1, 0, []*pair{self}, []*pair{self}},
		{"issuer without the CA flag", 1, 1, []*pair{issue(t, noFlag, leaf(nil)), noFlag}, nil},
		{"issuer that may not sign certificates", 1, 1, []*pair{issue(t, noSign, leaf(nil)), noSign}, nil},
		{"path length kept", 1, 0, []*pair{issue(t, short, leaf(nil)), short}, nil},
		{"path length broken", 1, 1, []*pair{issue(t, belowShort, leaf(nil)), belowShort, short}, nil},
		{"for clients only", 1, 1, []*pair{issue(t, root, leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }))}, nil},
		{"expired intermediate, authority alone checked", 1, 0, []*pair{issue(t, expired, leaf(nil)), expired}, nil},
		{"expired intermediate, expiry checked", 5, 4, []*pair{issue(t, expired, leaf(nil)), expired}, nil},
		{"not yet valid", 4, 4, []*pair{issue(t, root, leaf(func(c *x509.Certificate) { c.NotBefore = now.AddDate(0, 0, 1) }))}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := Policy{Mask: test.mask, Authorities: []*x509.Certificate{root.cert}, Now: func() (time.Time, bool) { return now, true }}
			for _, more := range test.also {
				p.Authorities = append(p.Authorities, more.cert)
			}
			var chain []*x509.Certificate
			for _, c := range test.sent {
				chain = append(chain, c.cert)
			}
			if got := failed(p.Verify(chain, "rig.example")); got != test.want {
				t.Errorf("failed %d, want %d: %v", got, test.want, p.Verify(chain, "rig.example"))
			}
		})
	}
	if err := (Policy{Mask: All}).Verify(nil, "rig.example"); err == nil {
		t.Error("no certificate was accepted")
	}
}

func TestName(t *testing.T) {
	for _, test := range []struct {
		cn   string
		dns  []string
		ips  []string
		name string
		ok   bool
	}{
		{"", []string{"rig.example"}, nil, "rig.example", true},
		{"", []string{"rig.example"}, nil, "RIG.example.", true},
		{"", []string{"*.example"}, nil, "rig.example", true},
		{"", []string{"*.example"}, nil, "a.rig.example", false},
		{"", []string{"*.example"}, nil, "example", false},
		{"", []string{"r*.example"}, nil, "rig.example", false},
		{"", []string{"*"}, nil, "example", false},
		{"rig.example", nil, nil, "rig.example", true},
		{"*.example", nil, nil, "rig.example", true},
		{"rig.example", []string{"other.example"}, nil, "rig.example", false},
		{"rig.example", nil, []string{"192.0.2.1"}, "rig.example", false},
		{"", nil, []string{"192.0.2.1"}, "192.0.2.1", true},
		{"", nil, []string{"192.0.2.1"}, "192.0.2.2", false},
		{"", []string{"192.0.2.1"}, nil, "192.0.2.1", false},
		{"192.0.2.1", nil, nil, "192.0.2.1", true},
		{"*.0.2.1", nil, nil, "192.0.2.1", false},
		{"", nil, nil, "rig.example", false},
	} {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: test.cn}, DNSNames: test.dns}
		for _, ip := range test.ips {
			c.IPAddresses = append(c.IPAddresses, net.ParseIP(ip))
		}
		if err := (Policy{}).checkName(c, test.name); (err == nil) != test.ok {
			t.Errorf("CN %q, names %v %v, asked for %s: got %v, want accepted %v", test.cn, test.dns, test.ips, test.name, err, test.ok)
		}
	}
}

func TestAlerts(t *testing.T) {
	for failed, want := range map[uint8]Alert{1: UnknownCA, 2: BadCertificate, 4: CertificateExpired, 3: UnknownCA, 6: CertificateExpired, 7: UnknownCA} {
		if got := (&Refusal{Failed: failed}).Alert(); got != want {
			t.Errorf("failed %d: alert %v, want %v", failed, got, want)
		}
	}
}

// TestAgreesWithOpenSSL takes certificates of a program that nobody here wrote,
// old signatures and keys among them.
func TestAgreesWithOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "openssl", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	read := func(name string) *x509.Certificate {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for i, digest := range []string{"-sha256", "-sha1"} {
		for _, bits := range []string{"rsa:1024", "rsa:2048"} {
			root, leaf, key := fmt.Sprintf("root%d.pem", i), fmt.Sprintf("leaf%d.pem", i), fmt.Sprintf("key%d.pem", i)
			run("req", "-x509", digest, "-newkey", bits, "-nodes", "-keyout", key, "-out", root, "-subj", "/CN=root", "-days", "9")
			run("req", "-new", "-newkey", bits, "-nodes", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=rig.example")
			run("x509", "-req", digest, "-in", "leaf.csr", "-CA", root, "-CAkey", key, "-CAcreateserial", "-out", leaf, "-days", "9")
			p := Policy{Mask: All, Authorities: []*x509.Certificate{read(root)}, Now: func() (time.Time, bool) { return time.Now().Add(time.Minute), true }}
			if err := p.Verify([]*x509.Certificate{read(leaf)}, "rig.example"); err != nil {
				t.Errorf("%s %s: %v", digest, bits, err)
			}
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add("*.example", "rig.example")
	f.Add("", "192.0.2.1")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if matches(pattern, name) && !strings.HasPrefix(pattern, "*.") && !strings.EqualFold(strings.TrimSuffix(pattern, "."), name) {
			t.Errorf("%q matches %q", pattern, name)
		}
	})
}

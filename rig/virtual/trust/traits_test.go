package trust

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"ip88rig/rig/virtual/defect"
)

func certs(pairs ...*pair) []*x509.Certificate {
	var out []*x509.Certificate
	for _, p := range pairs {
		out = append(out, p.cert)
	}
	return out
}

// withRSA is a server's certificate with an RSA key, signed with an algorithm.
func withRSA(t *testing.T, bits int, issuer *pair, issuerKey *rsa.PrivateKey, algorithm x509.SignatureAlgorithm) *pair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), SignatureAlgorithm: algorithm}
	leaf(nil)(c)
	var parent *x509.Certificate
	var signer crypto.Signer
	if issuer == nil {
		ca("rsa", nil)(c)
		parent, signer = c, key
	} else {
		parent, signer = issuer.cert, issuerKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{cert, key}
}

// TestTraits has each catalogue case judged by a handset that takes the usual,
// and by one that differs in the trait alone.
func TestTraits(t *testing.T) {
	root := issue(t, nil, ca("root", nil))
	middle := issue(t, root, ca("middle", nil))
	lower := issue(t, middle, ca("lower", nil))
	noFlag := issue(t, root, func(c *x509.Certificate) { c.Subject.CommonName = "no flag" })
	past := issue(t, root, ca("past", func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) }))
	pastRoot := issue(t, nil, ca("past root", func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) }))
	rsaRoot := withRSA(t, 2048, nil, nil, x509.SHA256WithRSA)
	rsaKey := rsaRoot.key.(*rsa.PrivateKey)
	old := withRSA(t, 2048, rsaRoot, rsaKey, x509.SHA1WithRSA)
	authorities := certs(root, pastRoot, rsaRoot)
	for _, test := range []struct {
		trait Trait
		name  string
		chain []*x509.Certificate
		asked string
		bit   uint8 // of the check that fails without the trait
	}{
		{WrongOrder, "wrong order", certs(issue(t, lower, leaf(nil)), middle, lower), "rig.example", Authority},
		{CommonName, "name only in the common name", certs(issue(t, root, func(c *x509.Certificate) { c.Subject.CommonName = "rig.example" })), "rig.example", ServerName},
		{Wildcard, "wildcard", certs(issue(t, root, leaf(func(c *x509.Certificate) { c.DNSNames = []string{"*.example"} }))), "rig.example", ServerName},
		{IPSAN, "address", certs(issue(t, root, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} })), "192.0.2.1", ServerName},
		{SHA1, "SHA-1", []*x509.Certificate{old.cert}, "rig.example", Authority},
		{ShortRSA, "RSA 1024", certs(withRSA(t, 1024, rsaRoot, rsaKey, x509.SHA256WithRSA)), "rig.example", Authority},
		{LongRSA, "RSA 4096", certs(withRSA(t, 4096, rsaRoot, rsaKey, x509.SHA256WithRSA)), "rig.example", Authority},
		{ECDSA, "ECDSA", certs(issue(t, root, leaf(nil))), "rig.example", Authority},
		{NotYetValid, "not yet valid", certs(issue(t, root, leaf(func(c *x509.Certificate) { c.NotBefore = now.AddDate(0, 0, 1) }))), "rig.example", Expiry},
		{NoCAFlag, "issuer without CA flag", certs(issue(t, noFlag, leaf(nil)), noFlag), "rig.example", Authority},
		{WrongUsage, "wrong usage", certs(issue(t, root, leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }))), "rig.example", Authority},
		{SelfSigned, "self-signed", certs(issue(t, nil, leaf(nil))), "rig.example", Authority},
		{ExpiredIntermediate, "expired intermediate", certs(issue(t, past, leaf(nil)), past), "rig.example", Expiry},
		{ExpiredRoot, "expired root, not sent", certs(issue(t, pastRoot, leaf(nil))), "rig.example", Expiry},
		{ExpiredRoot, "expired root, sent", certs(issue(t, pastRoot, leaf(nil)), pastRoot), "rig.example", Expiry},
	} {
		t.Run(test.name, func(t *testing.T) {
			usual := slices.Contains(usable(), test.trait)
			for _, takes := range []bool{true, false} {
				list := slices.DeleteFunc(usable(), func(x Trait) bool { return x == test.trait })
				if takes {
					list = append(list, test.trait)
				}
				want := test.bit
				if takes {
					want = 0
				}
				p := Policy{Mask: All, Authorities: authorities, Takes: list, Now: func() (time.Time, bool) { return now, true }}
				if got := failed(p.Verify(test.chain, test.asked)); got != want {
					t.Errorf("takes %v: failed %d, want %d: %v", takes, got, want, p.Verify(test.chain, test.asked))
				}
				for mask := range uint8(8) {
					if p.Mask = mask; failed(p.Verify(test.chain, test.asked)) != want&mask {
						t.Errorf("takes %v, mask %d: failed %d, want %d", takes, mask, failed(p.Verify(test.chain, test.asked)), want&mask)
					}
				}
				if p.Mask, p.Takes = All, nil; takes == usual && failed(p.Verify(test.chain, test.asked)) != want {
					t.Errorf("by default: %v", p.Verify(test.chain, test.asked))
				}
			}
		})
	}
}

func TestSizeAndDepth(t *testing.T) {
	root := issue(t, nil, ca("root", nil))
	chain := []*pair{root}
	for i := range 4 {
		chain = append(chain, issue(t, chain[i], ca(strings.Repeat("x", i+1), nil)))
	}
	chain = append(chain, issue(t, chain[4], leaf(nil)))
	slices.Reverse(chain)
	sent := certs(chain...)[:5] // four intermediates
	big := certs(issue(t, root, leaf(func(c *x509.Certificate) {
		for range 2000 {
			c.DNSNames = append(c.DNSNames, strings.Repeat("x", 60)+".example")
		}
	})))
	for _, test := range []struct {
		name            string
		chain           []*x509.Certificate
		depth, maxBytes int
		want            uint8
	}{
		{"as deep as may be", sent, 5, 0, 0},
		{"deeper", sent, 4, 0, Authority},
		{"by default", sent, 0, 0, 0},
		{"large, without a bound", big, 0, 0, 0},
		{"larger than may be", big, 0, 102400, Authority},
		{"not larger", sent, 0, 102400, 0},
	} {
		p := Policy{Mask: All, Authorities: certs(root), Depth: test.depth, MaxBytes: test.maxBytes}
		if got := failed(p.Verify(test.chain, "rig.example")); got != test.want {
			t.Errorf("%s: failed %d, want %d", test.name, got, test.want)
		}
	}
}

func TestWithoutTheTime(t *testing.T) {
	root := issue(t, nil, ca("root", nil))
	good := certs(issue(t, root, leaf(nil)))
	expired := certs(issue(t, root, leaf(func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) })))
	sick := defect.Set{defect.AcceptsExpiredUntimed}
	for _, test := range []struct {
		name    string
		chain   []*x509.Certificate
		refuse  bool
		known   bool
		defects defect.Set
		want    uint8
	}{
		{"accept: expired", expired, false, false, nil, 0},
		{"accept: good", good, false, false, nil, 0},
		{"refuse: expired", expired, true, false, nil, Expiry},
		{"refuse: good", good, true, false, nil, Expiry},
		{"refuse, but the time is known", good, true, true, nil, 0},
		{"defect where expired is accepted", expired, false, false, sick, Expiry},
		{"defect where expired is accepted: good", good, false, false, sick, 0},
		{"defect where expired is refused", expired, true, false, sick, 0},
		{"defect with the time", expired, false, true, sick, Expiry},
	} {
		p := Policy{Mask: All, Authorities: certs(root), RefuseUntimed: test.refuse, Defects: test.defects, Now: func() (time.Time, bool) { return now, test.known }}
		if got := failed(p.Verify(test.chain, "rig.example")); got != test.want {
			t.Errorf("%s: failed %d, want %d", test.name, got, test.want)
		}
	}
}

func TestDefectsOfSingleFlaws(t *testing.T) {
	root := issue(t, nil, ca("root", nil))
	noFlag := issue(t, root, func(c *x509.Certificate) { c.Subject.CommonName = "no flag" })
	early := certs(issue(t, root, leaf(func(c *x509.Certificate) { c.NotBefore = now.AddDate(0, 0, 1) })))
	late := certs(issue(t, root, leaf(func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) })))
	below := certs(issue(t, noFlag, leaf(nil)), noFlag)
	for _, test := range []struct {
		defect defect.Name
		chain  []*x509.Certificate
		want   uint8
	}{
		{"", early, Expiry},
		{defect.AcceptsNotYetValid, early, 0},
		{defect.AcceptsNotYetValid, late, Expiry},
		{defect.AcceptsNotYetValid, below, Authority},
		{"", below, Authority},
		{defect.AcceptsIssuerWithoutCA, below, 0},
		{defect.AcceptsIssuerWithoutCA, early, Expiry},
	} {
		p := Policy{Mask: All, Authorities: certs(root), Takes: usable(), Defects: defect.Set{test.defect}, Now: func() (time.Time, bool) { return now, true }}
		if got := failed(p.Verify(test.chain, "rig.example")); got != test.want {
			t.Errorf("%q: failed %d, want %d", test.defect, got, test.want)
		}
	}
}

func TestDefectsThatRemember(t *testing.T) {
	a, b := issue(t, nil, ca("A", nil)), issue(t, nil, ca("B", nil))
	good := certs(issue(t, a, leaf(nil)))
	wrongName := certs(issue(t, a, leaf(func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} })))
	unknown := certs(issue(t, b, leaf(nil)))
	for _, test := range []struct {
		name   string
		defect defect.Name
		then   []*x509.Certificate
		want   uint8
	}{
		{"healthy, wrong name", "", wrongName, ServerName},
		{"healthy, unknown", "", unknown, Authority},
		{"name once", defect.NameCheckedOnce, wrongName, 0},
		{"name once, unknown", defect.NameCheckedOnce, unknown, Authority},
		{"seen, unknown", defect.TrustsSeenLeaf, unknown, 0},
		{"seen, wrong name", defect.TrustsSeenLeaf, wrongName, 0},
	} {
		p := Policy{Mask: All, Authorities: certs(a), Defects: defect.Set{test.defect}, Past: &Past{}}
		if got := failed(p.Verify(test.then, "rig.example")); got == 0 {
			t.Errorf("%s: accepted at first", test.name)
		}
		p.Past = &Past{}
		if err := p.Verify(good, "rig.example"); err != nil {
			t.Fatal(err)
		}
		if got := failed(p.Verify(test.then, "rig.example")); got != test.want {
			t.Errorf("%s: failed %d, want %d", test.name, got, test.want)
		}
		p.Past = nil
		if got := failed(p.Verify(test.then, "rig.example")); got == 0 {
			t.Errorf("%s: remembers without a memory", test.name)
		}
	}
	p := Policy{Mask: All, Authorities: certs(a), Defects: defect.Set{defect.TrustsSeenLeaf}, Past: &Past{}}
	if err := p.Verify(good, "rig.example"); err != nil {
		t.Fatal(err)
	}
	if failed(p.Verify(unknown, "192.0.2.1")) == 0 {
		t.Error("another server is trusted, too")
	}
}

func TestAlertsAreThePolicys(t *testing.T) {
	a, b := issue(t, nil, ca("A", nil)), issue(t, nil, ca("B", nil))
	late := func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -1) }
	for _, test := range []struct {
		chain []*x509.Certificate
		asked string
		want  Alert
	}{
		{certs(issue(t, b, leaf(nil))), "rig.example", 43},
		{certs(issue(t, a, leaf(late))), "rig.example", 46},
		{certs(issue(t, a, leaf(nil))), "other.example", 47},
	} {
		p := Policy{Mask: All, Authorities: certs(a), Alerts: [3]Alert{43, 46, 47}, Now: func() (time.Time, bool) { return now, true }}
		refusal, ok := p.Verify(test.chain, test.asked).(*Refusal) //nolint:errorlint // the very value
		if !ok || refusal.Alert() != test.want {
			t.Errorf("got %v, want alert %d", refusal, test.want)
		}
	}
}

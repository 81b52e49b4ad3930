package pki

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// said is what a certificate says, by field: all but who it is and who signed it
// (serial, key identifiers and the names of authorities, which differ from one
// minting to the next), and which key it holds.
func said(c *x509.Certificate) map[string]string {
	f := map[string]string{
		"begins": c.NotBefore.UTC().String(), "ends": c.NotAfter.UTC().String(), "version": fmt.Sprint(c.Version),
		"key usage": fmt.Sprint(c.KeyUsage), "extended key usage": fmt.Sprint(c.ExtKeyUsage, c.UnknownExtKeyUsage),
		"is an authority": fmt.Sprint(c.BasicConstraintsValid, c.IsCA), "path length": fmt.Sprint(c.MaxPathLen, c.MaxPathLenZero),
		"names": fmt.Sprint(c.DNSNames, c.IPAddresses, c.EmailAddresses, c.URIs), "signed over": c.SignatureAlgorithm.String(),
		"kind of key":      fmt.Sprint(c.PublicKeyAlgorithm),
		"excluded names":   fmt.Sprint(c.PermittedDNSDomainsCritical, c.PermittedDNSDomains, c.ExcludedDNSDomains, c.PermittedIPRanges, c.ExcludedIPRanges),
		"where to look up": fmt.Sprint(c.OCSPServer, c.IssuingCertificateURL, c.CRLDistributionPoints, c.PolicyIdentifiers),
	}
	if key, ok := c.PublicKey.(*rsa.PublicKey); ok {
		f["kind of key"] += fmt.Sprintf(" %d", key.Size()*8)
	}
	if !c.IsCA && len(c.ExtKeyUsage) > 0 { // the leaf, whose name is the server's
		f["subject"] = c.Subject.String()
	}
	for _, e := range c.Extensions {
		f["extension "+e.Id.String()] = fmt.Sprintf("critical: %t", e.Critical)
	}
	return f
}

// chainSaid is what leaf, root and the intermediates say, from the top, and who
// of those that are sent has signed whom.
func chainSaid(t *testing.T, l *Leaf) map[string]string {
	t.Helper()
	out := map[string]string{}
	tell := func(who string, c *x509.Certificate) {
		for name, text := range said(c) {
			out[who+": "+name] = text
		}
	}
	tell("leaf", l.Cert())
	tell("root", l.Root.cert)
	above := []*x509.Certificate{}
	for _, der := range l.Chain() {
		above = append(above, parseDER(t, der))
	}
	signer := func(c *x509.Certificate) string {
		for i, p := range above {
			// By name: intermediates share one key.
			if string(c.AuthorityKeyId) == string(p.SubjectKeyId) && c.Issuer.String() == p.Subject.String() {
				return fmt.Sprintf("the one sent as number %d", i+1)
			}
		}
		switch c.Issuer.String() {
		case l.Root.cert.Subject.String():
			return "the root"
		case c.Subject.String():
			return "itself"
		}
		return "one that is not sent"
	}
	out["leaf: signer"] = signer(l.Cert())
	for i, c := range above {
		out[fmt.Sprintf("sent %d: signer", i+1)] = signer(c)
	}
	// By their place below the root, whatever the order in which they are sent.
	slices.SortStableFunc(above, func(a, b *x509.Certificate) int {
		return strings.Compare(number(a), number(b))
	})
	for _, c := range above {
		tell("intermediate "+number(c), c)
	}
	return out
}

// number is that of an intermediate, which its name holds.
func number(c *x509.Certificate) string {
	_, rest, _ := strings.Cut(c.Subject.CommonName, "intermediate ")
	n, _, _ := strings.Cut(rest, " ")
	return n
}

func TestOnlyTheOneThingIsMended(t *testing.T) {
	// What may differ, of each bad entry.
	want := map[string][]string{
		NotYetValid:         {"leaf: begins"},
		SelfSigned:          {"leaf: signer", "leaf: extension 2.5.29.35"}, // it names no other key as its signer's
		MissingIntermediate: {"intermediate 1", "leaf: signer", "sent 1"},
		WrongOrder:          {"leaf: signer", "sent 1: signer", "sent 2: signer"},
		NoCAFlag:            {"intermediate 1: is an authority"},
		WrongUsage:          {"leaf: extended key usage"},
		NameInCN:            {"leaf: names", "leaf: extension 2.5.29.17"},
		ExpiredIntermediate: {"intermediate 1: ends"},
		ExpiredRoot:         {"root: ends"},
		SHA1:                {"leaf: signed over"},
		Key1024:             {"leaf: kind of key"},
		ExcludedName:        {"intermediate 1: excluded names"},
		CriticalExtension:   {"leaf: extension " + filler().String()},
		PathTooLong:         {"intermediate 1: path length"},
		WrongKeyUsage:       {"leaf: key usage"},
	}
	s, m := catalogueServer(t)
	for _, e := range Catalogue() {
		if !e.Bad {
			continue
		}
		t.Run(e.Name, func(t *testing.T) {
			bad, err := m.Catalogued(s, e.Name)
			if err != nil {
				t.Fatal(err)
			}
			good, err := m.Mended(s, e.Name)
			if err != nil {
				t.Fatal(err)
			}
			was, is := chainSaid(t, bad), chainSaid(t, good)
			all := maps.Clone(was)
			maps.Copy(all, is)
			differs := map[string]bool{}
			for _, name := range slices.Sorted(maps.Keys(all)) {
				if was[name] == is[name] {
					continue
				}
				i := slices.IndexFunc(want[e.Name], func(w string) bool { return strings.HasPrefix(name, w) })
				if i < 0 {
					t.Errorf("%s: %q, mended %q", name, was[name], is[name])
					continue
				}
				differs[want[e.Name][i]] = true
			}
			for _, w := range want[e.Name] {
				if !differs[w] {
					t.Errorf("%s was to be mended and is the same", w)
				}
			}
		})
	}
}

// The mended root has another name, so that a list shows which one is held; that
// the name is not what is wrong with it is shown here.
func TestTheExpiredRootIsBadForItsEndAlone(t *testing.T) {
	s, m := catalogueServer(t)
	bad, err := m.Catalogued(s, ExpiredRoot)
	if err != nil {
		t.Fatal(err)
	}
	root := *bad.Root.cert
	root.NotAfter = s.At.Add(margin)
	der, err := x509.CreateCertificate(rand.Reader, &root, &root, bad.Root.key.Public(), bad.Root.key)
	if err != nil {
		t.Fatal(err)
	}
	mended := *bad
	mended.Root = &Authority{name: bad.Root.name, cert: parseDER(t, der), key: bad.Root.key}
	if why := goTakes(t, s, &mended, false); why != "" {
		t.Errorf("crypto/x509 refuses it: %s", why)
	}
	if openSSL(t) {
		if why := opensslTakes(t, s, &mended, false); why != "" {
			t.Errorf("openssl verify refuses it: %s", why)
		}
	}
}

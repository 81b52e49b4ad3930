// Package trust decides for the simulated handset whether a server's
// certificate is good: the three checks of the Installer Guide (F-2), authority,
// server name and expiry, each by itself under a mask. crypto/x509 cannot say
// this: its Verify reports only the first flaw and knows no common name.
package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"ip88rig/rig/virtual/defect"
)

// The checks, as bits of the mask (verifying_cert of the vendor's configuration
// files).
const (
	Authority  uint8 = 1
	ServerName uint8 = 2
	Expiry     uint8 = 4
	// All is the handset's state from the factory.
	All = Authority | ServerName | Expiry
)

// Alert is a TLS alert description (RFC 5246, 7.2).
type Alert uint8

// The alerts of a refusal.
const (
	BadCertificate     Alert = 42
	CertificateExpired Alert = 45
	UnknownCA          Alert = 48
)

// String returns the name that RFC 5246 gives the alert.
func (a Alert) String() string {
	switch a {
	case BadCertificate:
		return "bad_certificate"
	case CertificateExpired:
		return "certificate_expired"
	case UnknownCA:
		return "unknown_ca"
	default:
		return fmt.Sprintf("alert %d", uint8(a))
	}
}

// Policy is what a handset checks, and against what.
type Policy struct {
	// Mask holds the bits of the checks that are on.
	Mask uint8
	// Authorities are trusted to issue. A server's own certificate that is
	// among them is trusted as well.
	Authorities []*x509.Certificate
	// Now tells the time, and whether an SNTP server has told it. Nil, or an
	// unknown time, skips the expiry check: the guide has it "verifiable only if
	// an SNTP server provides time".
	Now func() (now time.Time, known bool)
	// RefuseUntimed has the expiry check fail while the time is not known.
	RefuseUntimed bool
	// Takes are the traits that pass; nil is what any client of its time takes.
	Takes []Trait
	// Depth bounds the certificates above the server's own, the authority's
	// included; 10 when 0. MaxBytes bounds the DER of the chain; no bound when 0.
	Depth, MaxBytes int
	// Alerts are for the authority, for expiry and for the name; those of the
	// constants when zero.
	Alerts [3]Alert
	// Past remembers for defects; nil remembers nothing.
	Past *Past
	// Defects are the handset's.
	Defects defect.Set
}

// Refusal says which checks a chain failed.
type Refusal struct { //nolint:errname // the field's word for it
	// Failed holds the bits of the checks that failed, of those that are on.
	Failed uint8
	// Reason says why, for people.
	Reason string

	alerts [3]Alert
}

// Error says the reason.
func (r *Refusal) Error() string { return "certificate refused: " + r.Reason }

// Alert returns the alert that tells the server: the authority's before the
// expiry's before the name's.
func (r *Refusal) Alert() Alert {
	alerts := r.alerts
	if alerts == [3]Alert{} {
		alerts = [3]Alert{UnknownCA, CertificateExpired, BadCertificate}
	}
	switch {
	case r.Failed&Authority != 0:
		return alerts[0]
	case r.Failed&Expiry != 0:
		return alerts[1]
	default:
		return alerts[2]
	}
}

// Verify checks the chain as the server sent it, its own certificate first,
// against the name (or address) that the handset asked for. It returns nil or
// a *Refusal that names every check that failed. Intermediate certificates may
// stand in any order, if the policy takes that.
func (p Policy) Verify(chain []*x509.Certificate, serverName string) error {
	if len(chain) == 0 {
		return &Refusal{Failed: p.Mask, Reason: "no certificate", alerts: p.Alerts}
	}
	if p.Defects.Has(defect.TrustsSeenLeaf) && p.Past.knows(serverName) {
		return nil
	}
	mask := p.Mask & All
	if p.Defects.Has(defect.RefusesUnderMask6) && mask == ServerName|Expiry {
		return &Refusal{Failed: mask, Reason: "mask 6 (defect " + string(defect.RefusesUnderMask6) + ")", alerts: p.Alerts}
	}
	if p.Defects.Has(defect.AlwaysChecksName) {
		mask |= ServerName
	}
	if p.Defects.Has(defect.NameNeedsAuthority) && mask&Authority == 0 {
		mask &^= ServerName
	}
	if p.Defects.Has(defect.AcceptsUnknownAuthority) {
		mask &^= Authority
	}
	if p.Defects.Has(defect.AcceptsWrongName) {
		mask &^= ServerName
	}
	if p.Defects.Has(defect.AcceptsExpired) {
		mask &^= Expiry
	}
	if p.Past.nameAgain() && p.Defects.Has(defect.NameCheckedOnce) {
		mask &^= ServerName
	}

	var failed uint8
	var reasons []string
	refuse := func(bit uint8, err error) {
		if err != nil && mask&bit != 0 {
			failed |= bit
			reasons = append(reasons, err.Error())
		}
	}
	path, err := p.path(chain)
	refuse(Authority, err)
	refuse(ServerName, p.checkName(chain[0], serverName))
	refuse(Expiry, p.checkDates(chain, path))
	if failed == 0 {
		p.Past.accept(serverName)
		return nil
	}
	return &Refusal{Failed: failed, Reason: strings.Join(reasons, "; "), alerts: p.Alerts}
}

// checkDates judges every certificate that was sent, and the authority's own
// when the chain leads to one.
func (p Policy) checkDates(chain, path []*x509.Certificate) error {
	if p.Now == nil {
		return nil
	}
	now, known := p.Now()
	otherwise := p.Defects.Has(defect.AcceptsExpiredUntimed)
	switch {
	case known:
	case p.RefuseUntimed && !otherwise:
		return errors.New("the time is not known, and so whether the certificate has expired")
	case p.RefuseUntimed || !otherwise:
		return nil
	}
	for _, c := range slices.Concat(chain, path) {
		switch {
		case now.After(c.NotAfter):
			if t, ok := p.above(c, chain[0]); ok && p.takes(t) {
				continue
			}
			return fmt.Errorf("%s expired at %s, it is %s", subject(c), c.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		case now.Before(c.NotBefore) && !p.takes(NotYetValid):
			return fmt.Errorf("%s is not valid before %s, it is %s", subject(c), c.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// above tells what a certificate above the server's own is when it has expired.
func (p Policy) above(c, leaf *x509.Certificate) (Trait, bool) {
	switch {
	case c.Equal(leaf):
		return "", false
	case slices.ContainsFunc(p.Authorities, c.Equal), bytes.Equal(c.RawSubject, c.RawIssuer):
		return ExpiredRoot, true
	default:
		return ExpiredIntermediate, true
	}
}

// defaultDepth bounds the search for an authority, in certificates above the
// server's own; longer chains are refused.
const defaultDepth = 10

// maxSignatures bounds the work that one chain can cause.
const maxSignatures = 100

// path finds a chain of good signatures from the server's certificate to a
// known authority, whatever the dates, and returns it with the authority.
func (p Policy) path(chain []*x509.Certificate) ([]*x509.Certificate, error) {
	leaf := chain[0]
	if err := p.checkSize(chain); err != nil {
		return nil, err
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 && !p.takes(WrongUsage) &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil, fmt.Errorf("%s is not issued for servers", subject(leaf))
	}
	budget := maxSignatures
	path := p.extend([]*x509.Certificate{leaf}, chain[1:], &budget)
	switch {
	case path != nil:
		return path, p.checkTraits(path, chain)
	case selfSigned(leaf) && p.takes(SelfSigned):
		return nil, nil
	}
	return nil, fmt.Errorf("%s, issued by %q: authority unknown", subject(leaf), leaf.Issuer.String())
}

// extend walks from the last certificate of path to a known authority.
func (p Policy) extend(path, rest []*x509.Certificate, budget *int) []*x509.Certificate {
	last := path[len(path)-1]
	if slices.ContainsFunc(p.Authorities, last.Equal) {
		return path
	}
	depth := p.Depth
	if depth <= 0 {
		depth = defaultDepth
	}
	if len(path) > depth {
		return nil
	}
	below := 0 // intermediates between the issuer sought and the server's certificate
	for _, c := range path[1:] {
		if !bytes.Equal(c.RawSubject, c.RawIssuer) {
			below++
		}
	}
	for i, issuer := range slices.Concat(p.Authorities, rest) {
		if *budget <= 0 {
			return nil
		}
		if !bytes.Equal(issuer.RawSubject, last.RawIssuer) || slices.ContainsFunc(path, issuer.Equal) || !p.mayIssue(issuer, below) {
			continue
		}
		*budget--
		if checkSignature(last, issuer) != nil {
			continue
		}
		longer := append(slices.Clone(path), issuer)
		if i < len(p.Authorities) {
			return longer
		}
		if found := p.extend(longer, rest, budget); found != nil {
			return found
		}
	}
	return nil
}

// mayIssue is RFC 5280, 4.2.1.3 and 4.2.1.9: the CA flag, its path length, and
// the key usage. A version 1 certificate cannot carry them and may issue.
func (p Policy) mayIssue(c *x509.Certificate, below int) bool {
	if c.Version < 3 || p.takes(NoCAFlag) && (!c.BasicConstraintsValid || !c.IsCA) {
		return true
	}
	if !c.BasicConstraintsValid || !c.IsCA {
		return false
	}
	if (c.MaxPathLen > 0 || c.MaxPathLenZero) && below > c.MaxPathLen {
		return false
	}
	return c.KeyUsage == 0 || c.KeyUsage&x509.KeyUsageCertSign != 0
}

// checkSignature takes SHA-1 too, which handsets of this age accept and
// crypto/x509 does not.
func checkSignature(c, issuer *x509.Certificate) error {
	var hash crypto.Hash
	switch c.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1:
		hash = crypto.SHA1
	default:
		return issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature)
	}
	h := hash.New()
	h.Write(c.RawTBSCertificate)
	switch key := issuer.PublicKey.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, hash, h.Sum(nil), c.Signature)
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(key, h.Sum(nil), c.Signature) {
			return nil
		}
	}
	return errors.New("signature does not fit the key of the issuer")
}

// checkName compares as RFC 2818, 3.1 does: subject alternative names when
// there are any of the two kinds, else the common name.
func (p Policy) checkName(c *x509.Certificate, name string) error {
	name = strings.TrimSuffix(name, ".")
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	isAddr := err == nil
	if isAddr {
		for _, ip := range c.IPAddresses {
			if san, ok := netip.AddrFromSlice(ip); ok && san.Unmap() == addr.Unmap() && p.takes(IPSAN) {
				return nil
			}
		}
	} else if slices.ContainsFunc(c.DNSNames, func(pattern string) bool { return p.matches(pattern, name) }) {
		return nil
	}
	if len(c.DNSNames)+len(c.IPAddresses) > 0 {
		return fmt.Errorf("%s is for %s, not for %s", subject(c), strings.Join(names(c), ", "), name)
	}
	cn := c.Subject.CommonName
	if p.takes(CommonName) && (isAddr && cn == addr.String() || !isAddr && p.matches(cn, name)) {
		return nil
	}
	return fmt.Errorf("%s is not for %s", subject(c), name)
}

func (p Policy) matches(pattern, name string) bool {
	return matches(pattern, name) && (p.takes(Wildcard) || !strings.HasPrefix(pattern, "*."))
}

// matches allows "*" as the whole first label, for one label.
func matches(pattern, name string) bool {
	pattern = strings.TrimSuffix(pattern, ".")
	if pattern == "" || name == "" {
		return false
	}
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		label, parent, found := strings.Cut(name, ".")
		return found && label != "" && rest != "" && strings.EqualFold(rest, parent)
	}
	return strings.EqualFold(pattern, name)
}

func names(c *x509.Certificate) []string {
	out := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

func subject(c *x509.Certificate) string { return fmt.Sprintf("certificate %q", c.Subject.String()) }

// Trait is a property of a certificate or chain that one handset takes and
// another does not: a word of the fact certificate-takes.
type Trait string

// The traits. Up to ECDSA they are usable in any client of their time; those
// after it no check should let pass.
const (
	WrongOrder Trait = "wrong-order" // intermediates do not stand in the order of their signatures
	CommonName Trait = "cn-only"     // the server's name is in the common name alone
	Wildcard   Trait = "wildcard"
	IPSAN      Trait = "ip-san"
	SHA1       Trait = "sha-1"
	ShortRSA   Trait = "rsa-1024" // less than 2048 bits
	LongRSA    Trait = "rsa-4096" // more than 2048 bits
	ECDSA      Trait = "ecdsa"

	NotYetValid         Trait = "not-yet-valid"
	NoCAFlag            Trait = "no-ca-flag"
	WrongUsage          Trait = "wrong-eku"
	SelfSigned          Trait = "self-signed"
	ExpiredIntermediate Trait = "expired-intermediate"
	ExpiredRoot         Trait = "expired-root"
)

func usable() []Trait {
	return []Trait{WrongOrder, CommonName, Wildcard, IPSAN, SHA1, ShortRSA, LongRSA, ECDSA}
}

// takes reports whether certificates with the trait pass.
func (p Policy) takes(t Trait) bool {
	switch {
	case t == NotYetValid && p.Defects.Has(defect.AcceptsNotYetValid), t == NoCAFlag && p.Defects.Has(defect.AcceptsIssuerWithoutCA):
		return true
	case p.Takes == nil:
		return slices.Contains(usable(), t)
	}
	return slices.Contains(p.Takes, t)
}

// checkSize refuses a chain that is too large to be looked at.
func (p Policy) checkSize(chain []*x509.Certificate) error {
	size := 0
	for _, c := range chain {
		size += len(c.Raw)
	}
	if p.MaxBytes > 0 && size > p.MaxBytes {
		return fmt.Errorf("chain of %d bytes is longer than %d", size, p.MaxBytes)
	}
	return nil
}

// checkTraits judges keys and signatures of a path to an authority, and the
// order in which it was sent. The authority's own signature is nobody's concern.
func (p Policy) checkTraits(path, chain []*x509.Certificate) error {
	for i, c := range path {
		if t, ok := keyTrait(c); ok && !p.takes(t) {
			return fmt.Errorf("%s has a key of the kind %s", subject(c), t)
		}
		last := i == len(path)-1
		if sha1 := c.SignatureAlgorithm == x509.SHA1WithRSA || c.SignatureAlgorithm == x509.ECDSAWithSHA1; sha1 && !last && !p.takes(SHA1) {
			return fmt.Errorf("%s is signed with SHA-1", subject(c))
		}
		if sent := slices.IndexFunc(chain, c.Equal); sent >= 0 && sent != i && !p.takes(WrongOrder) {
			return fmt.Errorf("%s stands at place %d of the chain, not at %d", subject(c), sent+1, i+1)
		}
	}
	return nil
}

func keyTrait(c *x509.Certificate) (Trait, bool) {
	switch key := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return ECDSA, true
	case *rsa.PublicKey:
		switch bits := key.N.BitLen(); {
		case bits < 2048:
			return ShortRSA, true
		case bits > 2048:
			return LongRSA, true
		}
	}
	return "", false
}

// selfSigned reports whether the server's certificate is its own issuer.
func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && checkSignature(c, c) == nil
}

// Past is what a handset has seen since power came: nothing that a healthy one
// goes by. It is safe for concurrent use.
type Past struct {
	mu       sync.Mutex
	named    bool            // the name of a server was checked
	accepted map[string]bool // servers by name
}

// nameAgain reports whether a name was checked before, for the defect
// name-checked-once.
func (p *Past) nameAgain() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.named
	p.named = true
	return was
}

// knows reports whether the server was accepted before, for the defect
// trusts-seen-leaf.
func (p *Past) knows(server string) bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted[strings.ToLower(server)]
}

func (p *Past) accept(server string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepted == nil {
		p.accepted = map[string]bool{}
	}
	p.accepted[strings.ToLower(server)] = true
}

package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ip88rig/rig/virtual/defect"
)

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

// takes tells whether certificates with the trait pass.
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

// selfSigned tells whether the server's certificate is its own issuer.
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

// nameAgain tells whether a name was checked before, for the defect
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

// knows tells whether the server was accepted before, for the defect
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

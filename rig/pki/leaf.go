package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Flaw is a set of reasons to refuse a certificate. Its bits are those of the
// handset's own mask of checks (verifying_cert, phone-facts 5.1): a handset
// refuses a leaf exactly when mask and flaw have a bit in common.
type Flaw uint8

// The three reasons of the Installer Guide, page F-2.
const (
	// UnknownAuthority is a leaf signed by an authority the handset does not hold.
	UnknownAuthority Flaw = 1
	// WrongName is a leaf for another server.
	WrongName Flaw = 2
	// Expired is a leaf whose time is over.
	Expired Flaw = 4
	// Good is no flaw.
	Good Flaw = 0
)

// Flaws returns good, the three single flaws and their four combinations, in
// the order of their bits.
func Flaws() []Flaw { return []Flaw{0, 1, 2, 3, 4, 5, 6, 7} }

// Has tells whether all bits of other are in f.
func (f Flaw) Has(other Flaw) bool { return f&other == other }

// String names the flaws: "good", "expired", "unknown authority + wrong name".
func (f Flaw) String() string {
	if f == Good {
		return "good"
	}
	var names []string
	for _, n := range []struct {
		bit  Flaw
		name string
	}{{UnknownAuthority, "unknown authority"}, {WrongName, "wrong name"}, {Expired, "expired"}} {
		if f.Has(n.bit) {
			names = append(names, n.name)
		}
	}
	if rest := f &^ (UnknownAuthority | WrongName | Expired); rest != 0 {
		names = append(names, fmt.Sprintf("flaw %d", uint8(rest)))
	}
	return strings.Join(names, " + ")
}

// Request says what leaf to mint.
type Request struct {
	// Authority signs it.
	Authority *Authority
	// Names are host names and IPs addresses; one at least is needed. All go
	// into SAN, the first name (or else address) into CN too, because old
	// firmware looks nowhere else.
	Names []string
	IPs   []netip.Addr
	// NotBefore and NotAfter bound its validity.
	NotBefore, NotAfter time.Time
	// Key is the kind of its key.
	Key KeyKind
	// Signature is how the authority signs it; zero: SHA-256 with the kind of
	// the authority's key.
	Signature x509.SignatureAlgorithm
	// Label is what the journal calls it; empty: its name and authority.
	Label string
}

// Leaf is a server's certificate with its key.
type Leaf struct {
	// Label is what the journal calls it: "expired".
	Label string
	// Flaw is what is wrong with it, Reason the same in words; empty if good.
	Flaw   Flaw
	Reason string
	// Request is what it was minted from.
	Request Request
	// Root is the authority that a verifier must hold.
	Root *Authority

	cert *x509.Certificate
	key  crypto.Signer
	// chain are the intermediates, as they are sent behind it.
	chain [][]byte
}

// Cert is its certificate, not to be changed.
func (l *Leaf) Cert() *x509.Certificate { return l.cert }

// Chain are the intermediates in binary, as they are sent behind it.
func (l *Leaf) Chain() [][]byte { return slices.Clone(l.chain) }

// TLS returns it for a crypto/tls server, with the intermediates that are sent.
// The authority is not sent along, as servers do when it signs leaves itself.
func (l *Leaf) TLS() *tls.Certificate {
	return &tls.Certificate{Certificate: append([][]byte{l.cert.Raw}, l.chain...), PrivateKey: l.key, Leaf: l.cert}
}

// ExportPEM returns the certificate, without the key.
func (l *Leaf) ExportPEM() []byte { return certPEM(l.cert.Raw) }

// ExportDER returns the certificate, without the key, in binary.
func (l *Leaf) ExportDER() []byte { return append([]byte(nil), l.cert.Raw...) }

// KeyPEM returns the key (PKCS #8), for a server that is not ours.
func (l *Leaf) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(l.key)
	if err != nil {
		return nil, fmt.Errorf("leaf %s: key: %w", l.Label, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: typePrivateKey, Bytes: der}), nil
}

// Mint makes the leaves of one run. All leaves of one kind of key share one
// key pair: making RSA keys is slow, and so two leaves differ in nothing but
// what was asked for. It is safe for concurrent use.
type Mint struct {
	seed   string
	source Keys

	mu     sync.Mutex
	keys   map[KeyKind]crypto.Signer
	leaves map[string]*x509.Certificate
	// catalogue holds what Catalogued and Mended have minted; between and root are
	// the keys of its intermediates and of its authority, nil until needed.
	catalogue     map[string]*Leaf
	between, root crypto.Signer
}

// NewMint returns a mint whose serials and wrong names derive from seed, and whose
// keys come from a source.
func NewMint(seed string, source Keys) *Mint {
	return &Mint{seed: seed, source: source, keys: map[KeyKind]crypto.Signer{}, leaves: map[string]*x509.Certificate{}, catalogue: map[string]*Leaf{}}
}

// Leaf mints what r asks for, or returns the leaf minted for the same request
// before: no authority signs two leaves under one serial.
func (m *Mint) Leaf(r Request) (*Leaf, error) {
	if r.Authority == nil {
		return nil, errors.New("leaf: no authority to sign it")
	}
	names := hostNames(r.Names, r.IPs)
	if len(names) == 0 {
		return nil, errors.New("leaf: neither name nor address")
	}
	if !r.NotBefore.Before(r.NotAfter) {
		return nil, fmt.Errorf("leaf for %s: it would end at %s, before it begins at %s", names[0], stamp(r.NotAfter), stamp(r.NotBefore))
	}
	label := r.Label
	if label == "" {
		label = names[0] + " by " + r.Authority.name
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key, err := m.key(r.Key)
	if err != nil {
		return nil, fmt.Errorf("leaf %s: %w", label, err)
	}
	algorithm := signature(r.Signature, r.Authority.key)
	number := serial(append([]string{
		m.seed, "leaf", r.Authority.name, r.Authority.Subject(), stamp(r.NotBefore), stamp(r.NotAfter), r.Key.String(), strconv.Itoa(int(algorithm)),
	}, names...)...)
	id := hex.EncodeToString(r.Authority.cert.RawSubjectPublicKeyInfo) + number.Text(16)
	cert := m.leaves[id]
	if cert == nil {
		template := &x509.Certificate{
			SerialNumber:          number,
			Subject:               pkix.Name{Organization: []string{organization}, CommonName: names[0]},
			NotBefore:             r.NotBefore,
			NotAfter:              r.NotAfter,
			DNSNames:              r.Names,
			KeyUsage:              x509.KeyUsageDigitalSignature,
			ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			BasicConstraintsValid: true,
			SignatureAlgorithm:    algorithm,
		}
		if _, ok := key.(*ecdsa.PrivateKey); !ok {
			template.KeyUsage |= x509.KeyUsageKeyEncipherment // RSA key exchange of old TLS
		}
		for _, ip := range r.IPs {
			template.IPAddresses = append(template.IPAddresses, net.IP(ip.Unmap().AsSlice()))
		}
		cert, err = sign(template, r.Authority.cert, key, r.Authority.key)
		if err != nil {
			return nil, fmt.Errorf("leaf %s: %w", label, err)
		}
		m.leaves[id] = cert
	}
	return &Leaf{Label: label, Request: r, Root: r.Authority, cert: cert, key: key}, nil
}

func (m *Mint) key(kind KeyKind) (crypto.Signer, error) {
	if key := m.keys[kind]; key != nil {
		return key, nil
	}
	key, err := m.source.get(kind, LeafKey)
	if err != nil {
		return nil, err
	}
	m.keys[kind] = key
	return key, nil
}

// Server is whom the variants of a certificate are made for.
type Server struct {
	// Names and IPs are what the handset's URL may call it; one at least.
	Names []string
	IPs   []netip.Addr
	// At is the time the handset knows: what the rig serves by SNTP.
	At time.Time
	// Known is the authority that the handset holds, Unknown one that it does not.
	Known, Unknown *Authority
	// Key and Signature are as in Request.
	Key       KeyKind
	Signature x509.SignatureAlgorithm
}

// margin keeps every date far enough from At that a handset which compares in
// its own time zone, or whose clock drifts, comes to the same result.
const margin = 30 * 24 * time.Hour

// Variant mints the leaf of s that is bad for exactly the reasons in f.
func (m *Mint) Variant(s Server, f Flaw) (*Leaf, error) {
	r, reason, err := m.request(s, f)
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", f, err)
	}
	leaf, err := m.Leaf(r)
	if err != nil {
		return nil, err
	}
	leaf.Flaw, leaf.Reason = f, reason
	return leaf, nil
}

// request begins with what is good and spoils one field per flaw, which is why
// each can be mended alone.
func (m *Mint) request(s Server, f Flaw) (Request, string, error) {
	if f > UnknownAuthority|WrongName|Expired {
		return Request{}, "", errors.New("no such flaw")
	}
	if s.Known == nil || s.Unknown == nil {
		return Request{}, "", errors.New("needs an authority that is known and one that is not")
	}
	if s.Known.cert.Subject.String() == s.Unknown.cert.Subject.String() {
		return Request{}, "", fmt.Errorf("both authorities are called %q", s.Known.Subject())
	}
	r := Request{
		Authority: s.Known, Names: s.Names, IPs: s.IPs,
		NotBefore: s.At.Add(-3 * margin), NotAfter: s.At.Add(12 * margin),
		Key: s.Key, Signature: s.Signature, Label: f.String(),
	}
	var reasons []string
	if f.Has(UnknownAuthority) {
		r.Authority = s.Unknown
		reasons = append(reasons, fmt.Sprintf("signed by %q, which the handset does not hold", s.Unknown.Subject()))
	}
	if f.Has(WrongName) {
		r.Names, r.IPs = m.wrong(s)
		reasons = append(reasons, fmt.Sprintf("made out to %s, not to %s", strings.Join(hostNames(r.Names, r.IPs), ", "), strings.Join(hostNames(s.Names, s.IPs), ", ")))
	}
	if f.Has(Expired) {
		r.NotAfter = s.At.Add(-margin)
		reasons = append(reasons, fmt.Sprintf("ended %s, before the served time %s", stamp(r.NotAfter), stamp(s.At)))
	}
	// An authority that is itself not valid at the time would be a second reason.
	if ca := r.Authority.cert; s.At.Before(ca.NotBefore.Add(margin)) || s.At.After(ca.NotAfter.Add(-margin)) {
		return Request{}, "", fmt.Errorf("authority %s is valid from %s to %s, not safely at %s", r.Authority.name, stamp(ca.NotBefore), stamp(ca.NotAfter), stamp(s.At))
	}
	return r, strings.Join(reasons, "; "), nil
}

// wrong returns as many kinds of names as s has, none of them right: a name
// under .invalid (RFC 6761), an address of the documentation ranges.
func (m *Mint) wrong(s Server) (names []string, ips []netip.Addr) {
	if len(s.Names) > 0 {
		names = []string{"other-" + hex.EncodeToString(derive(m.seed, "wrong name")[:4]) + ".invalid"}
	}
	if len(s.IPs) > 0 {
		other := netip.AddrFrom4([4]byte{198, 51, 100, derive(m.seed, "wrong address")[0]})
		for has(s.IPs, other) {
			other = other.Next()
		}
		ips = []netip.Addr{other}
	}
	return names, ips
}

func has(ips []netip.Addr, ip netip.Addr) bool {
	for _, i := range ips {
		if i.Unmap() == ip {
			return true
		}
	}
	return false
}

func hostNames(names []string, ips []netip.Addr) []string {
	all := append([]string(nil), names...)
	for _, ip := range ips {
		all = append(all, ip.Unmap().String())
	}
	return all
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Entry is one certificate of the catalogue (requirement TLS-10).
type Entry struct {
	// Name is what the journal and the golden record call it.
	Name string
	// Reason is the one thing about it, in a sentence.
	Reason string
	// Bad tells whether a strict verifier refuses it.
	Bad bool
	// GoTakes and OpenSSLTakes say why crypto/x509, or openssl verify at security
	// level 2, accepts a bad one all the same; blank: it refuses. What a handset
	// does there says which kind of verifier it has.
	GoTakes, OpenSSLTakes string
	// ByAddress: it is good under the server's address only, so that the handset's
	// URL must name that.
	ByAddress bool
	// OwnRoot: it comes with an authority of its own, Leaf.Root, which must be
	// uploaded to the handset first.
	OwnRoot bool

	make func(*recipe)
}

// The names of the catalogue.
const (
	NotYetValid         = "not yet valid"
	SelfSigned          = "self-signed leaf"
	MissingIntermediate = "missing intermediate"
	WrongOrder          = "chain in wrong order"
	NoCAFlag            = "issuer without CA flag"
	WrongUsage          = "wrong extended key usage"
	NameInCN            = "name only in CN"
	NameInSAN           = "name only in SAN"
	Wildcard            = "wildcard"
	AddressOnly         = "IP SAN only"
	ExpiredIntermediate = "expired intermediate"
	ExpiredRoot         = "expired root"
	SHA1                = "SHA-1 signature"
	Key1024             = "RSA 1024"
	Key2048             = "RSA 2048"
	Key4096             = "RSA 4096"
	KeyP256             = "ECDSA P-256"
	LongChain           = "very long chain"
	Huge                = "64 KiB certificate"
	ExcludedName        = "name constraints exclude it"
	CriticalExtension   = "unknown critical extension"
	PathTooLong         = "path length exceeded"
	WrongKeyUsage       = "wrong key usage"
)

const (
	// longChain is how many intermediates stand in the very long chain.
	longChain = 10
	// huge is the size of the 64 KiB certificate, in bytes.
	huge = 64 << 10
)

// Catalogue returns the certificates beyond the three flaws of the guide, in the
// order of TLS-10. Each is good but for one thing, whatever that is; an MD5
// signature is not among them, because the library makes none any more (and
// refuses MD5 without looking, so that it could not be proven bad for that reason
// alone).
func Catalogue() []Entry {
	return []Entry{
		{Name: NotYetValid, Reason: "the leaf begins a month after the served time", Bad: true, make: func(r *recipe) { r.leaf.NotBefore = r.at.Add(margin) }},
		{Name: SelfSigned, Reason: "the leaf is signed by its own key and not by an authority", Bad: true, make: func(r *recipe) { r.selfSigned = true }},
		{Name: MissingIntermediate, Reason: "the intermediate that signed the leaf is not sent", Bad: true, make: func(r *recipe) { r.between, r.send = 1, func([][]byte) [][]byte { return nil } }},
		{
			Name: WrongOrder, Reason: "the two intermediates are sent in reverse, so that none certifies the one before it (RFC 5246, 7.4.2)", Bad: true,
			GoTakes: "it builds the path whatever the order", OpenSSLTakes: "it builds the path whatever the order (RFC 8446, 4.4.2 asks for that)",
			make: func(r *recipe) {
				r.between = 2
				r.send = func(chain [][]byte) [][]byte { slices.Reverse(chain); return chain }
			},
		},
		{Name: NoCAFlag, Reason: "the intermediate that signed the leaf says of itself that it is no authority (basicConstraints CA:FALSE)", Bad: true, make: func(r *recipe) {
			r.between, r.intermediate = 1, func(_ int, t *x509.Certificate) { t.IsCA = false }
		}},
		{Name: WrongUsage, Reason: "the leaf may be used by a client only (extended key usage clientAuth)", Bad: true, make: func(r *recipe) {
			r.leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}},
		{
			Name: NameInCN, Reason: "the leaf has the name in its subject and no SAN", Bad: true,
			OpenSSLTakes: "it looks into CN where there is no name in SAN (RFC 6125, 6.4.4), as old firmware does",
			make:         func(r *recipe) { r.leaf.DNSNames, r.leaf.IPAddresses = nil, nil },
		},
		{Name: NameInSAN, Reason: "the leaf has the name in SAN and no CN", make: func(r *recipe) { r.leaf.Subject.CommonName = "" }},
		{Name: Wildcard, Reason: "the leaf is made out to any name of the server's domain (*.domain)", make: func(r *recipe) { r.wildcard() }},
		{Name: AddressOnly, Reason: "the leaf is made out to the server's address and to no name", ByAddress: true, make: func(r *recipe) {
			if len(r.leaf.IPAddresses) == 0 {
				r.err = errors.New("the server has no address")
				return
			}
			r.leaf.DNSNames, r.leaf.Subject.CommonName = nil, r.leaf.IPAddresses[0].String()
		}},
		{Name: ExpiredIntermediate, Reason: "the intermediate that signed the leaf ended a month before the served time", Bad: true, make: func(r *recipe) {
			r.between, r.intermediate = 1, func(_ int, t *x509.Certificate) { t.NotAfter = r.at.Add(-margin) }
		}},
		{Name: ExpiredRoot, Reason: "the authority itself, which the handset holds, ended a month before the served time", Bad: true, OwnRoot: true, make: func(r *recipe) {
			r.rootEnd = r.at.Add(-margin)
		}},
		{Name: SHA1, Reason: "the leaf is signed over SHA-1", Bad: true, make: func(r *recipe) {
			r.leaf.SignatureAlgorithm = x509.SHA1WithRSA
			if _, ok := r.root.key.(*ecdsa.PrivateKey); ok {
				r.leaf.SignatureAlgorithm = x509.ECDSAWithSHA1
			}
		}},
		{
			Name: Key1024, Reason: "the leaf's key is RSA of 1024 bits", Bad: true, GoTakes: "it looks at the signature, not at the strength of the leaf's key",
			make: func(r *recipe) { r.key = RSA1024 },
		},
		{Name: Key2048, Reason: "the leaf's key is RSA of 2048 bits", make: func(r *recipe) { r.key = RSA2048 }},
		{Name: Key4096, Reason: "the leaf's key is RSA of 4096 bits", make: func(r *recipe) { r.key = RSA4096 }},
		{Name: KeyP256, Reason: "the leaf's key is ECDSA on P-256", make: func(r *recipe) { r.key = ECDSAP256 }},
		{Name: LongChain, Reason: fmt.Sprintf("%d intermediates stand between the leaf and the authority", longChain), make: func(r *recipe) { r.between = longChain }},
		{Name: Huge, Reason: fmt.Sprintf("the leaf is %d bytes long, most of them an extension of no meaning", huge), make: func(r *recipe) { r.size = huge }},
		{Name: ExcludedName, Reason: "the intermediate that signed the leaf may sign for any name but the server's (nameConstraints)", Bad: true, make: func(r *recipe) {
			r.between, r.intermediate = 1, func(_ int, t *x509.Certificate) { r.exclude(t, r.server.Names, r.server.IPs) }
		}},
		{Name: CriticalExtension, Reason: "the leaf has an extension that nobody knows and that is critical", Bad: true, make: func(r *recipe) { r.extend(true) }},
		{Name: PathTooLong, Reason: "the upper one of two intermediates may have none below it (pathlen 0)", Bad: true, make: func(r *recipe) { r.pathLen(0) }},
		{
			Name: WrongKeyUsage, Reason: "the leaf's key may encrypt data and neither sign nor encipher keys (keyUsage)", Bad: true,
			GoTakes: "it leaves the keyUsage of a leaf to the handshake", make: func(r *recipe) { r.leaf.KeyUsage = x509.KeyUsageDataEncipherment },
		},
	}
}

// mend puts the one thing of an entry right, and leaves the rest of it: a chain
// keeps its length, an extension its place.
func (r *recipe) mend(name string) {
	switch name {
	case MissingIntermediate, NoCAFlag, ExpiredIntermediate:
		r.between = 1
	case WrongOrder:
		r.between = 2
	case ExpiredRoot:
		r.rootEnd = r.at.Add(12 * margin)
	case ExcludedName:
		r.between, r.intermediate = 1, func(_ int, t *x509.Certificate) { r.exclude(t, []string{"excluded.invalid"}, nil) }
	case CriticalExtension:
		r.extend(false)
	case PathTooLong:
		r.pathLen(1)
	}
}

// recipe is a chain as it will be made: what is good, and what an entry changes.
type recipe struct {
	// label names it; names that are shown derive from it and not from keys, so that
	// the same seed shows the same.
	label  string
	server Server
	at     time.Time
	root   *Authority
	leaf   *x509.Certificate
	key    KeyKind

	// between is how many intermediates there are, the topmost being number 0.
	between      int
	intermediate func(n int, template *x509.Certificate)
	// send chooses which intermediates are sent, and how; the lowest comes first.
	send       func(chain [][]byte) [][]byte
	selfSigned bool
	// rootEnd is when an authority of its own ends; zero: Server.Known signs.
	rootEnd time.Time
	// size is the leaf's, in bytes; 0: as it comes out.
	size int
	err  error
}

func (r *recipe) wildcard() {
	for i, name := range r.leaf.DNSNames {
		_, domain, ok := strings.Cut(name, ".")
		if !ok || !strings.Contains(domain, ".") {
			r.err = fmt.Errorf("%q has no domain of two parts that a wildcard may stand for", name)
			return
		}
		r.leaf.DNSNames[i] = "*." + domain
	}
	if len(r.leaf.DNSNames) == 0 {
		r.err = errors.New("the server has no name")
		return
	}
	slices.Sort(r.leaf.DNSNames)
	r.leaf.DNSNames = slices.Compact(r.leaf.DNSNames)
	r.leaf.Subject.CommonName = r.leaf.DNSNames[0]
}

func (r *recipe) exclude(t *x509.Certificate, names []string, ips []netip.Addr) {
	t.PermittedDNSDomainsCritical = true
	t.ExcludedDNSDomains = names
	for _, ip := range ips {
		ip = ip.Unmap()
		t.ExcludedIPRanges = append(t.ExcludedIPRanges, &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())})
	}
}

func (r *recipe) pathLen(n int) {
	r.between = 2
	r.intermediate = func(i int, t *x509.Certificate) {
		if i == 0 {
			t.MaxPathLen, t.MaxPathLenZero = n, n == 0
		}
	}
}

// filler is an object identifier that nobody knows; those below 2.25 need no
// registration (X.667).
func filler() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 25, 8830} }

func (r *recipe) extend(critical bool) {
	r.leaf.ExtraExtensions = []pkix.Extension{{Id: filler(), Critical: critical, Value: []byte{0x05, 0x00}}}
}

// Catalogued mints a certificate of the catalogue, with the chain as it is sent.
// The same server and name give the same certificate again.
func (m *Mint) Catalogued(s Server, name string) (*Leaf, error) { return m.catalogued(s, name, false) }

// Mended mints the same with only its one thing put right: what a strict verifier
// accepts.
func (m *Mint) Mended(s Server, name string) (*Leaf, error) { return m.catalogued(s, name, true) }

func (m *Mint) catalogued(s Server, name string, mended bool) (*Leaf, error) {
	all := Catalogue()
	i := slices.IndexFunc(all, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("certificate %q: not in the catalogue", name)
	}
	e := all[i]
	base, _, err := m.request(s, Good)
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", name, err)
	}
	base.Label = name
	if mended {
		base.Label += ", mended"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := strings.Join(append([]string{
		base.Label, hex.EncodeToString(s.Known.cert.RawSubjectPublicKeyInfo), stamp(s.At), s.Key.String(), strconv.Itoa(int(s.Signature)),
	}, hostNames(s.Names, s.IPs)...), "\x00")
	if leaf := m.catalogue[id]; leaf != nil {
		return leaf, nil
	}
	r := recipe{label: base.Label, server: s, at: s.At, root: s.Known, key: s.Key}
	r.leaf, err = m.template(base, id)
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", name, err)
	}
	if mended {
		r.mend(name)
	} else {
		e.make(&r)
	}
	leaf, err := m.bake(&r, id)
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", name, err)
	}
	leaf.Label, leaf.Request = base.Label, base
	leaf.Request.Authority, leaf.Request.Key = leaf.Root, r.key
	if !mended {
		leaf.Reason = e.Reason
	}
	m.catalogue[id] = leaf
	return leaf, nil
}

// template is what is good: the leaf that Variant would mint.
func (m *Mint) template(base Request, id string) (*x509.Certificate, error) {
	names := hostNames(base.Names, base.IPs)
	if len(names) == 0 {
		return nil, errors.New("neither name nor address")
	}
	t := &x509.Certificate{
		SerialNumber: serial(m.seed, "catalogue", id),
		Subject:      pkix.Name{Organization: []string{organization}, CommonName: names[0]},
		NotBefore:    base.NotBefore, NotAfter: base.NotAfter,
		DNSNames:              slices.Clone(base.Names),
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		SignatureAlgorithm:    base.Signature,
	}
	for _, ip := range base.IPs {
		t.IPAddresses = append(t.IPAddresses, net.IP(ip.Unmap().AsSlice()))
	}
	return t, nil
}

// bake signs a recipe from its root down.
func (m *Mint) bake(r *recipe, id string) (*Leaf, error) {
	if r.err != nil {
		return nil, r.err
	}
	key, err := m.key(r.key)
	if err != nil {
		return nil, err
	}
	if r.leaf.KeyUsage == 0 {
		r.leaf.KeyUsage = x509.KeyUsageDigitalSignature
		if _, ok := key.(*ecdsa.PrivateKey); !ok {
			r.leaf.KeyUsage |= x509.KeyUsageKeyEncipherment // RSA key exchange of old TLS
		}
	}
	if !r.rootEnd.IsZero() {
		if r.root, err = m.ownRoot(r, id); err != nil {
			return nil, err
		}
	}
	parent, parentKey := r.root.cert, r.root.key
	var chain [][]byte
	for n := range r.between {
		if m.between == nil {
			if m.between, err = m.source.get(RSA2048, "intermediate"); err != nil {
				return nil, err
			}
		}
		number := strconv.Itoa(n)
		t := &x509.Certificate{
			SerialNumber: serial(m.seed, "intermediate", id, number),
			Subject:      pkix.Name{Organization: []string{organization}, CommonName: fmt.Sprintf("%s intermediate %d %s", organization, n+1, hex.EncodeToString(derive(m.seed, r.label, stamp(r.at), r.server.Known.Subject(), number)[:4]))},
			NotBefore:    r.at.Add(-3 * margin), NotAfter: r.at.Add(12 * margin),
			KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
			BasicConstraintsValid: true,
			IsCA:                  true,
			// They share one key, for speed, and must not be taken for one another.
			SubjectKeyId:       derive(m.seed, "key id", id, number)[:20],
			SignatureAlgorithm: signature(0, parentKey),
		}
		if r.intermediate != nil {
			r.intermediate(n, t)
		}
		cert, err := sign(t, parent, m.between, parentKey)
		if err != nil {
			return nil, fmt.Errorf("intermediate %d: %w", n+1, err)
		}
		parent, parentKey = cert, m.between
		chain = append([][]byte{cert.Raw}, chain...)
	}
	if r.selfSigned {
		parent, parentKey = r.leaf, key
	}
	r.leaf.SignatureAlgorithm = signature(r.leaf.SignatureAlgorithm, parentKey)
	cert, err := r.sized(parent, key, parentKey)
	if err != nil {
		return nil, err
	}
	if r.send != nil {
		chain = r.send(chain)
	}
	return &Leaf{Root: r.root, cert: cert, key: key, chain: chain}, nil
}

// sized signs the leaf, as long as it is to be.
func (r *recipe) sized(parent *x509.Certificate, key, parentKey crypto.Signer) (*x509.Certificate, error) {
	if r.size == 0 {
		return sign(r.leaf, parent, key, parentKey)
	}
	fill := r.size - 4096
	for range 3 {
		r.leaf.ExtraExtensions = []pkix.Extension{{Id: filler(), Value: make([]byte, fill)}}
		cert, err := sign(r.leaf, parent, key, parentKey)
		if err != nil || len(cert.Raw) == r.size {
			return cert, err
		}
		fill += r.size - len(cert.Raw)
	}
	return nil, fmt.Errorf("cannot be made %d bytes long", r.size)
}

// ownRoot is an authority that ends when it is told; two of one server differ in
// that and in their name, which tells it: a list of names shows which one is held,
// and neither vouches for what the other has signed.
func (m *Mint) ownRoot(r *recipe, id string) (*Authority, error) {
	key, err := m.rootKey()
	if err != nil {
		return nil, err
	}
	name := "E until " + r.rootEnd.UTC().Format(time.DateOnly)
	t := &x509.Certificate{
		SerialNumber: serial(m.seed, "own root", id),
		Subject:      subject(name, m.seed),
		NotBefore:    r.at.Add(-24 * margin), NotAfter: r.rootEnd,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SignatureAlgorithm:    signature(0, key),
	}
	cert, err := sign(t, t, key, key)
	if err != nil {
		return nil, fmt.Errorf("authority of its own: %w", err)
	}
	return &Authority{name: name, cert: cert, key: key}, nil
}

func (m *Mint) rootKey() (crypto.Signer, error) {
	if m.root == nil {
		key, err := m.source.get(RSA2048, "root")
		if err != nil {
			return nil, err
		}
		m.root = key
	}
	return m.root, nil
}

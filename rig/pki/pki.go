// Package pki mints what the rig shows in a TLS handshake. The Installer Guide
// (page F-2) promises three checks: the authority is a known one, the server
// is the right one, the certificate has not expired. So every leaf made here
// is either good or bad for stated reasons, each of which is one of the three
// and can be mended alone. Beyond these, Catalogue lists certificates that are
// odd for one reason each (TLS-10), of which nobody promises what a handset does.
//
// The authorities A (installed in handsets), B (never installed) and P (stands
// in for an authority built into the firmware) belong to a bench and persist
// in its state folder; C is made for one run and only ever uploaded. Leaves
// are minted per run by a Mint. Old firmware sets the defaults: RSA 2048 with
// SHA-256, dates before 2038, the name in both CN and SAN.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// The names of the authorities of a bench.
const (
	// A is installed in handsets.
	A = "A"
	// B is never installed in a handset.
	B = "B"
	// C is made anew for each run and only ever uploaded (TLS-08).
	C = "C"
	// P stands in for an authority built into the firmware (TLS-14).
	P = "P"
)

const organization = "ip88rig"

// KeyKind is the kind of a key pair. The zero value is RSA2048.
type KeyKind uint8

// The kinds of keys.
const (
	RSA2048 KeyKind = iota
	RSA1024
	RSA4096
	ECDSAP256
)

// String names the kind.
func (k KeyKind) String() string {
	switch k {
	case RSA2048:
		return "RSA 2048"
	case RSA1024:
		return "RSA 1024"
	case RSA4096:
		return "RSA 4096"
	case ECDSAP256:
		return "ECDSA P-256"
	default:
		return fmt.Sprintf("key kind %d", uint8(k))
	}
}

func (k KeyKind) generate() (crypto.Signer, error) {
	switch k {
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA1024:
		return rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // G403: what a handset makes of a short key is a question the rig asks
	case RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return nil, fmt.Errorf("%s is not known", k)
	}
}

// Authority signs leaves. It is self-signed and safe for concurrent use.
type Authority struct {
	name string
	cert *x509.Certificate
	key  crypto.Signer
}

// Options say how an authority is made. The zero value is what old firmware is
// most likely to take.
type Options struct {
	// Seed is what the number in the subject and the serial derive from.
	Seed string
	// Key is the kind of its key, Keys where that comes from.
	Key  KeyKind
	Keys Keys
	// Signature is how it signs itself; zero: SHA-256 with the key's kind.
	Signature x509.SignatureAlgorithm
	// NotBefore and NotAfter bound its validity; zero: the years 2000 to 2037,
	// because a handset may start with a clock of long ago, and count seconds
	// in 32 bits.
	NotBefore, NotAfter time.Time
}

// NewAuthority makes an authority with a new key.
func NewAuthority(name string, opts Options) (*Authority, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if opts.NotBefore.IsZero() {
		opts.NotBefore = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
	}
	if opts.NotAfter.IsZero() {
		opts.NotAfter = time.Date(2037, time.December, 31, 23, 59, 59, 0, time.UTC)
	}
	key, err := opts.Keys.get(opts.Key, "authority "+name)
	if err != nil {
		return nil, fmt.Errorf("authority %s: key: %w", name, err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(opts.Seed, "authority", name),
		Subject:               subject(name, opts.Seed),
		NotBefore:             opts.NotBefore,
		NotAfter:              opts.NotAfter,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SignatureAlgorithm:    signature(opts.Signature, key),
	}
	cert, err := sign(template, template, key, key)
	if err != nil {
		return nil, fmt.Errorf("authority %s: %w", name, err)
	}
	return &Authority{name: name, cert: cert, key: key}, nil
}

// Name is the name the authority was made under: "A".
func (a *Authority) Name() string { return a.name }

// Subject is the common name that a handset or Wireshark shows.
func (a *Authority) Subject() string { return a.cert.Subject.CommonName }

// Cert is its certificate, not to be changed.
func (a *Authority) Cert() *x509.Certificate { return a.cert }

// Pool holds the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// ExportPEM returns the certificate, without the key, as a handset's Web
// Manager or openssl takes it.
func (a *Authority) ExportPEM() []byte { return certPEM(a.cert.Raw) }

// ExportDER returns the certificate, without the key, in binary.
func (a *Authority) ExportDER() []byte { return append([]byte(nil), a.cert.Raw...) }

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: der})
}

// subject carries the authority's name in a form that load can check, so that
// a file renamed from A to B is not taken.
func subject(name, seed string) pkix.Name {
	return pkix.Name{
		Organization: []string{organization},
		CommonName:   fmt.Sprintf("%s authority %s %s", organization, name, hex.EncodeToString(derive(seed, "subject", name)[:4])),
	}
}

func signature(wanted x509.SignatureAlgorithm, key crypto.Signer) x509.SignatureAlgorithm {
	if wanted != x509.UnknownSignatureAlgorithm {
		return wanted
	}
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		return x509.ECDSAWithSHA256
	}
	return x509.SHA256WithRSA
}

func sign(template, parent *x509.Certificate, key, parentKey crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// serial is positive and 127 bits long (RFC 5280, 4.1.2.2).
func serial(parts ...string) *big.Int {
	sum := derive(append([]string{"serial"}, parts...)...)
	sum[0] = sum[0]&0x7f | 0x40
	return new(big.Int).SetBytes(sum[:16])
}

// derive is a digest of parts that tells ("a","b") from ("ab").
func derive(parts ...string) []byte {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%d:%s", len(p), p)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return sum[:]
}

func checkName(name string) error {
	if name == "" || len(name) > 32 {
		return fmt.Errorf("authority %q: a name has 1 to 32 letters or digits", name)
	}
	for _, r := range name {
		if (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return fmt.Errorf("authority %q: a name has letters and digits only", name)
		}
	}
	return nil
}

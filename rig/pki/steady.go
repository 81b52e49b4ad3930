package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"io"
)

// usual is how long most ECDSA signatures on P-256 are; the others are a byte or
// more shorter or longer.
const usual = 71

// Steady returns the certificate with a key whose signatures are all of one
// length, so that a handshake has the same frames each time.
func Steady(c *tls.Certificate) *tls.Certificate {
	key, ok := c.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return c // those of RSA are
	}
	with := *c
	with.PrivateKey = steady{key}
	return &with
}

// steady is a key on P-256 that signs again until the signature has its usual
// length.
type steady struct{ *ecdsa.PrivateKey }

var _ crypto.Signer = steady{}

// Sign implements crypto.Signer.
func (s steady) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	for {
		signature, err := s.PrivateKey.Sign(rand, digest, opts)
		if err != nil || len(signature) == usual {
			return signature, err
		}
	}
}

package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"testing"
	"time"
)

func TestSteadySignaturesHaveOneLength(t *testing.T) {
	s := server(t)
	leaf, err := mint().Leaf(Request{Authority: s.Known, Names: s.Names, NotBefore: s.At, NotAfter: s.At.Add(time.Hour), Key: ECDSAP256})
	if err != nil {
		t.Fatal(err)
	}
	key, ok := Steady(leaf.TLS()).PrivateKey.(crypto.Signer)
	if !ok {
		t.Fatal("the key signs nothing")
	}
	for i := range 50 {
		digest := sha256.Sum256([]byte{byte(i)})
		signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil || len(signature) != usual {
			t.Fatalf("signature %d has %d bytes, want %d: %v", i, len(signature), usual, err)
		}
	}
}

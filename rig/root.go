package rig

import (
	"fmt"

	"ip88rig/rig/pki"
)

// PresentOwnRoot shows a certificate of the catalogue that comes with an authority
// of its own, from now on, and returns that authority: without it in the handset
// the certificate is one of nobody. Mended, its one thing is put right.
func (l *Lane) PresentOwnRoot(name string, mended bool) (*pki.Authority, error) {
	mint := l.mint.Catalogued
	if mended {
		mint = l.mint.Mended
	}
	leaf, err := mint(l.server(), name)
	if err != nil {
		return nil, fmt.Errorf("certificate %q: %w", name, err)
	}
	l.givenAs("present", "certificate: "+leaf.Label, certificateFields(leaf.TLS(), leaf.Label), leaf.Label)
	l.present(leaf.TLS(), leaf.Label)
	return leaf.Root, nil
}

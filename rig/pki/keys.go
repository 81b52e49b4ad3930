package pki

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Keys is where key pairs come from: use names what one is for, and those of two
// uses differ. Nil makes each anew from the system's random source.
type Keys func(kind KeyKind, use string) (crypto.Signer, error)

// LeafKey is the use of the key that all leaves of a mint share.
const LeafKey = "leaf"

func (k Keys) get(kind KeyKind, use string) (crypto.Signer, error) {
	if k == nil {
		return kind.generate()
	}
	return k(kind, use)
}

// KeptKeys makes each RSA key once and keeps it in dir, for all processes and runs
// that use that folder: to make one takes longer than most specs. It is for leaves
// and authorities of a run on a wire in memory, which protect nothing.
func KeptKeys(dir string) Keys {
	return func(kind KeyKind, use string) (crypto.Signer, error) {
		if kind == ECDSAP256 { // made sooner than read
			return kind.generate()
		}
		name := strings.ReplaceAll(fmt.Sprintf("%s %s.key", use, kind), " ", "-")
		key, err := keptKey(dir, name, kind)
		if err != nil {
			return nil, fmt.Errorf("kept key %s: %w", filepath.Join(dir, name), err)
		}
		return key, nil
	}
}

func keptKey(dir, name string, kind KeyKind) (crypto.Signer, error) {
	key, err := readKey(filepath.Join(dir, name))
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	made, err := kind.generate()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		return nil, err
	}
	err = keep(dir, name, der)
	if errors.Is(err, fs.ErrExist) { // another process was faster: its key counts
		return readKey(filepath.Join(dir, name))
	}
	return made, err
}

func readKey(path string) (crypto.Signer, error) {
	der, err := os.ReadFile(path) //nolint:gosec // G304: the folder is the bench's own, the name is made here
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%T does not sign", key)
	}
	return signer, nil
}

// keep writes a file of mode 0600 that appears whole or not at all; one that is
// there already is left alone: fs.ErrExist.
func keep(dir, name string, data []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	temp, err := write(dir, name, data, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp) }()
	// A link, unlike a rename, does not replace what is there.
	if err := os.Link(temp, path); err != nil {
		if _, there := os.Stat(path); there == nil || errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", path, fs.ErrExist)
		}
		return os.Rename(temp, path) // some shared folders know no links
	}
	return nil
}

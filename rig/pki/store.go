package pki

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	typeCertificate = "CERTIFICATE"
	typePrivateKey  = "PRIVATE KEY"
)

// LoadOrCreate returns the authority kept in dir, and makes it when there is
// none. The file NAME.pem (0600) holds certificate and key together, so that
// neither can be there without the other; NAME.crt beside it is a copy of the
// certificate alone, to install in handsets. opts say how a new one is made.
// A damaged file is an error and never replaced: handsets may hold the
// authority it was.
func LoadOrCreate(dir, name string, opts Options) (*Authority, error) {
	a, err := Load(dir, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return a, err
	}
	a, err = NewAuthority(name, opts)
	if err != nil {
		return nil, err
	}
	err = a.Save(dir)
	if errors.Is(err, fs.ErrExist) { // another process was faster: its authority counts
		return Load(dir, name)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Load reads the authority kept in dir; fs.ErrNotExist says that there is none.
func Load(dir, name string) (*Authority, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name+".pem")
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("authority %s: %w", name, err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return nil, fmt.Errorf("authority %s: %s has mode %04o: others can read or change its key; chmod 600 it, or replace the authority", name, path, mode)
	}
	data, err := os.ReadFile(path) //nolint:gosec // G304: the folder is the bench's own, the name is checked
	if err != nil {
		return nil, fmt.Errorf("authority %s: %w", name, err)
	}
	a, err := parse(name, data)
	if err != nil {
		return nil, fmt.Errorf("authority %s: %s is damaged: %w; restore it, or move it away to have a new one made, which handsets must then be given", name, path, err)
	}
	return a, a.saveCopy(dir)
}

// Save keeps the authority in dir. The file appears whole or not at all, and
// one that is there already is left alone: fs.ErrExist.
func (a *Authority) Save(dir string) error {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return fmt.Errorf("authority %s: key: %w", a.name, err)
	}
	data := append(a.ExportPEM(), pem.EncodeToMemory(&pem.Block{Type: typePrivateKey, Bytes: key})...)
	if err := keep(dir, a.name+".pem", data); err != nil {
		return fmt.Errorf("authority %s: %w", a.name, err)
	}
	return a.saveCopy(dir)
}

func (a *Authority) saveCopy(dir string) error {
	path := filepath.Join(dir, a.name+".crt")
	have, err := os.ReadFile(path) //nolint:gosec // G304: the folder is the bench's own, the name is checked
	if err == nil && bytes.Equal(have, a.ExportPEM()) {
		return nil
	}
	temp, err := write(dir, a.name, a.ExportPEM(), 0o644)
	if err != nil {
		return fmt.Errorf("authority %s: copy of the certificate: %w", a.name, err)
	}
	if err := os.Rename(temp, path); err != nil { //nolint:gosec // G703: the folder is the bench's own, the name is checked
		_ = os.Remove(temp) //nolint:gosec // G703: the folder is the bench's own, the name is checked
		return fmt.Errorf("authority %s: copy of the certificate: %w", a.name, err)
	}
	return nil
}

func write(dir, name string, data []byte, mode fs.FileMode) (temp string, err error) {
	f, err := os.CreateTemp(dir, "."+name+"-*") // made with mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		_ = os.Remove(f.Name()) //nolint:gosec // G703: the folder is the bench's own, the name is checked
		return "", err
	}
	return f.Name(), nil
}

func parse(name string, data []byte) (*Authority, error) {
	var cert *x509.Certificate
	var key crypto.Signer
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		switch block.Type {
		case typeCertificate:
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("certificate: %w", err)
			}
			if cert != nil {
				return nil, errors.New("two certificates")
			}
			cert = c
		case typePrivateKey:
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("key: %w", err)
			}
			signer, ok := k.(crypto.Signer)
			if !ok || key != nil {
				return nil, fmt.Errorf("not one key that signs: %T", k)
			}
			key = signer
		default:
			return nil, fmt.Errorf("unexpected %q", block.Type)
		}
	}
	switch {
	case len(bytes.TrimSpace(data)) > 0:
		return nil, fmt.Errorf("%d bytes that are not PEM", len(data))
	case cert == nil:
		return nil, errors.New("no certificate")
	case key == nil:
		return nil, errors.New("no key")
	}
	public, ok := cert.PublicKey.(interface{ Equal(x crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, errors.New("key and certificate do not belong together")
	}
	if !cert.IsCA {
		return nil, errors.New("its certificate may not sign others")
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil && !errors.As(err, new(x509.InsecureAlgorithmError)) {
		return nil, fmt.Errorf("signature: %w", err)
	}
	if !strings.HasPrefix(cert.Subject.CommonName, organization+" authority "+name+" ") {
		return nil, fmt.Errorf("it is %q, not authority %s", cert.Subject.CommonName, name)
	}
	return &Authority{name: name, cert: cert, key: key}, nil
}

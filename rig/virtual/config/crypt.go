package config

import (
	"bytes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // the handsets' cipher
	"encoding/hex"
	"errors"
	"fmt"
)

// The ciphers that the fact decrypt-key-form may name.
const (
	FormCBC = "3des-2key-hex-cbc-zero-iv-zero-pad"
	FormECB = "3des-2key-hex-ecb-zero-pad"
)

// ErrNoKey says that a file is not readable and no key is stored.
var ErrNoKey = errors.New("file is not readable and no decrypt_key is stored")

// Open returns the text of a configuration file. A readable file is returned
// as it is, whether a key is stored or not; any other is decrypted, and refused
// unless the outcome is readable, so that nothing of a file under another key
// is applied (guide F-2).
func Open(data []byte, form, key string) (text []byte, encrypted bool, err error) {
	if Readable(data) {
		return data, false, nil
	}
	text, err = Decrypt(data, form, key)
	return text, true, err
}

// Decrypt returns the text of an encrypted file. form is the fact
// decrypt-key-form. It fails on a file that is not whole blocks, and when the
// outcome is not readable.
func Decrypt(data []byte, form, key string) ([]byte, error) {
	out, err := blocks(data, form, key)
	if err != nil {
		return nil, err
	}
	// Zero bytes fill the last block only.
	last := len(out) - des.BlockSize
	out = append(out[:last], bytes.TrimRight(out[last:], "\x00")...)
	if !Readable(out) {
		return nil, errors.New("decrypt: the outcome is not readable, the key is another one or the file is damaged")
	}
	return out, nil
}

// blocks decrypts whole blocks, whatever comes out.
func blocks(data []byte, form, key string) ([]byte, error) {
	if key == "" {
		return nil, ErrNoKey
	}
	block, err := keyed(key)
	if err != nil {
		return nil, err
	}
	size := block.BlockSize()
	if len(data) == 0 || len(data)%size != 0 {
		return nil, fmt.Errorf("decrypt: %d bytes are not whole blocks of %d", len(data), size)
	}
	out := make([]byte, len(data))
	switch form {
	case FormCBC:
		cipher.NewCBCDecrypter(block, make([]byte, size)).CryptBlocks(out, data)
	case FormECB:
		for i := 0; i < len(data); i += size {
			block.Decrypt(out[i:], data[i:])
		}
	default:
		return nil, fmt.Errorf("decrypt: unknown form %q", form)
	}
	return out, nil
}

// Damaged reports whether a file is one under the key, but not whole: some of it
// opens to text, and all of it does not, or ends in the middle of a line. Two
// blocks that are text are no chance.
func Damaged(data []byte, form, key string) bool {
	text, err := Decrypt(data, form, key)
	if err == nil {
		return len(text) > 0 && text[len(text)-1] != '\n'
	}
	out, err := blocks(data[:len(data)/des.BlockSize*des.BlockSize], form, key)
	if err != nil {
		return false
	}
	const span = 2 * des.BlockSize
	for at := 0; at+span <= len(out); at += des.BlockSize {
		if Readable(out[at : at+span]) {
			return true
		}
	}
	return false
}

// keyed makes two-key 3DES (EDE) of 32 hex digits; parity bits are not looked at.
func keyed(key string) (cipher.Block, error) {
	raw, err := hex.DecodeString(key)
	if err != nil || len(raw) != 16 {
		return nil, fmt.Errorf("decrypt: key of %d characters is not 32 hex digits", len(key))
	}
	return des.NewTripleDESCipher(append(raw, raw[:8]...)) //nolint:gosec // the handsets' cipher
}

// Package seal keeps free text, names and addresses unreadable at rest: XChaCha20-Poly1305 with a key that lies outside
// the database, and the place of each value (table:column:id) as associated data, so that a value moved elsewhere does not open.
package seal

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is the size of a sealing key in octets.
const KeySize = 32

// Box seals and opens with one key.
type Box struct {
	aead cipher.AEAD
	mac  []byte
	rand io.Reader
}

// New makes a box from a key of KeySize octets; rand gives the nonces.
func New(key []byte, rand io.Reader) (*Box, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("the sealing key has %d octets, not %d", len(key), KeySize)
	}
	enc, err := hkdf.Key(sha256.New, key, nil, "starling seal", KeySize)
	if err != nil {
		return nil, err
	}
	mac, err := hkdf.Key(sha256.New, key, nil, "starling hash", KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(enc)
	if err != nil {
		return nil, err
	}
	return &Box{aead: aead, mac: mac, rand: rand}, nil
}

// Seal makes text unreadable; place says where it will lie ("rooms:name:12").
func (b *Box) Seal(place string, text []byte) []byte {
	nonce := make([]byte, b.aead.NonceSize(), b.aead.NonceSize()+len(text)+b.aead.Overhead())
	if _, err := io.ReadFull(b.rand, nonce); err != nil {
		panic("no randomness: " + err.Error()) // nothing safe can be done without it
	}
	return b.aead.Seal(nonce, nonce, text, []byte(place))
}

// Open gives back what Seal made unreadable at the same place. An empty value opens to an empty text.
func (b *Box) Open(place string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	n := b.aead.NonceSize()
	if len(sealed) < n {
		return nil, errors.New("a sealed value is too short")
	}
	text, err := b.aead.Open(nil, sealed[:n], sealed[n:], []byte(place))
	if err != nil {
		return nil, fmt.Errorf("a sealed value of %s does not open: another key, or it was moved", place[:bytes.LastIndexByte([]byte(place), ':')+1])
	}
	return text, nil
}

// Hash is the keyed hash by which sealed values are compared; kind keeps different kinds of value apart.
func (b *Box) Hash(kind, text string) []byte {
	h := hmac.New(sha256.New, b.mac)
	io.WriteString(h, kind)
	h.Write([]byte{0})
	io.WriteString(h, text)
	return h.Sum(nil)[:20]
}

// KeyError says why a key cannot be used, and what to do about it.
type KeyError string

func (e KeyError) Error() string { return string(e) }

// LoadKey reads the key file, or makes one (mode 0600) where there is none and mayCreate holds.
func LoadKey(path string, mayCreate bool, rand io.Reader) ([]byte, error) {
	key, err := os.ReadFile(path)
	switch {
	case err == nil:
		if len(key) != KeySize {
			return nil, KeyError("the key file " + path + " is damaged: restore it from a backup, without it the database cannot be read")
		}
		if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o077 != 0 {
			return nil, KeyError("the key file " + path + " can be read by others: chmod 600 it")
		}
		return key, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the key file cannot be read: %w", err)
	case !mayCreate:
		return nil, KeyError("the key file " + path + " is missing: restore it from a backup, without it the database cannot be read")
	}
	key = make([]byte, KeySize)
	if _, err := io.ReadFull(rand, key); err != nil {
		return nil, err
	}
	if err := write(path, key); err != nil {
		return nil, fmt.Errorf("the key file cannot be made: %w", err)
	}
	return key, nil
}

// write makes a file that is there whole or not at all, whenever the power fails.
func write(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

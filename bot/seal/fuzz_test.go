package seal

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
)

// FuzzOpen: only what was sealed opens, and only where it was sealed; a file that is no key is refused.
func FuzzOpen(f *testing.F) {
	key := bytes.Repeat([]byte{7}, KeySize)
	box, err := New(key, rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "a", "police at the door"} {
		f.Add(s, "outbox:data:1", box.Seal("outbox:data:1", []byte(s)))
	}
	f.Add("x", "", []byte{})
	f.Add("x", "p", bytes.Repeat([]byte{0}, 24))
	path := filepath.Join(f.TempDir(), "key")
	f.Fuzz(func(t *testing.T, text, place string, other []byte) {
		sealed := box.Seal(place, []byte(text))
		if got, err := box.Open(place, sealed); err != nil || string(got) != text {
			t.Errorf("%q came back as %q (%v)", text, got, err)
		}
		if _, err := box.Open(place+"x", sealed); err == nil {
			t.Error("it opens in another place")
		}
		if len(sealed) > 0 {
			i := int(uint(len(other)+len(text)) % uint(len(sealed)))
			sealed[i] ^= 1
			if _, err := box.Open(place, sealed); err == nil {
				t.Errorf("it opens with octet %d changed", i)
			}
		}
		if len(other) > 0 {
			if got, err := box.Open("nowhere", other); err == nil {
				t.Errorf("%x opens as %q", other, got)
			}
		}
		if err := os.WriteFile(path, other, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := LoadKey(path, false, rand.Reader); (err == nil) != (len(other) == KeySize) || err == nil && !bytes.Equal(got, other) {
			t.Errorf("the key file %x is read as %x (%v)", other, got, err)
		}
	})
}

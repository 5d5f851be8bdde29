package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func box(t *testing.T, fill byte) *Box {
	t.Helper()
	b, err := New(bytes.Repeat([]byte{fill}, KeySize), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatIsSealedOpensOnlyAtItsPlaceAndWithItsKey(t *testing.T) {
	b := box(t, 1)
	for _, text := range []string{"", "a", "salâm, ça va", strings.Repeat("long ", 10_000)} {
		sealed := b.Seal("rooms:name:1", []byte(text))
		if got, err := b.Open("rooms:name:1", sealed); err != nil || string(got) != text {
			t.Errorf("%.20q opens as %.20q: %v", text, got, err)
		}
		if len(text) > 3 && bytes.Contains(sealed, []byte(text[:3])) {
			t.Errorf("%.20q can be read", text)
		}
		if bytes.Equal(sealed, b.Seal("rooms:name:1", []byte(text))) {
			t.Error("the same text is sealed the same way twice")
		}
		for name, open := range map[string]func() ([]byte, error){
			"another row":    func() ([]byte, error) { return b.Open("rooms:name:2", sealed) },
			"another column": func() ([]byte, error) { return b.Open("rooms:address:1", sealed) },
			"another key":    func() ([]byte, error) { return box(t, 2).Open("rooms:name:1", sealed) },
			"changed": func() ([]byte, error) {
				return b.Open("rooms:name:1", append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1))
			},
			"cut": func() ([]byte, error) { return b.Open("rooms:name:1", sealed[:20]) },
		} {
			got, err := open()
			if err == nil {
				t.Errorf("%s: it opens as %.20q", name, got)
			} else if strings.Contains(err.Error(), ":1") || strings.Contains(err.Error(), ":2") {
				t.Errorf("%s: the error names the row: %v", name, err)
			}
		}
	}
	if got, err := b.Open("rooms:name:1", nil); err != nil || len(got) != 0 {
		t.Errorf("no value opens as %q: %v", got, err)
	}
}

func TestHashesAreKeyedAndOfTheirKind(t *testing.T) {
	b := box(t, 1)
	if !bytes.Equal(b.Hash("person", "@ana"), b.Hash("person", "@ana")) {
		t.Error("the same value has two hashes")
	}
	for _, other := range [][]byte{b.Hash("room", "@ana"), b.Hash("person", "@ann"), b.Hash("perso", "n@ana"), box(t, 2).Hash("person", "@ana")} {
		if bytes.Equal(b.Hash("person", "@ana"), other) {
			t.Error("two values have the same hash")
		}
	}
}

func TestTheKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if _, err := LoadKey(path, false, rand.Reader); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("got %v", err)
	}
	// A crash while it was first made leaves no half a key in its place.
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := LoadKey(path, true, rand.Reader)
	if err != nil || len(key) != KeySize {
		t.Fatalf("%d octets: %v", len(key), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	again, err := LoadKey(path, true, rand.Reader)
	if err != nil || !bytes.Equal(key, again) {
		t.Errorf("it is another key: %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path, true, rand.Reader); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path, true, rand.Reader); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
}

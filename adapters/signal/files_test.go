package signal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What came attached is deleted wherever in a message it stands; no name leads out of the folder, and at the start all of it goes.
func TestWhatCameAttachedIsDeleted(t *testing.T) {
	d := newDaemon(Config{Data: t.TempDir(), Account: own})
	for _, name := range []string{"attachments/photo.jpg", "attachments/photo.jpg.preview", "attachments/thumb", "attachments/image", "attachments/next.jpg", "account.db"} {
		path := filepath.Join(d.cfg.Data, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (names []string) {
		err := filepath.WalkDir(d.cfg.Data, func(path string, f os.DirEntry, err error) error {
			if err == nil && !f.IsDir() {
				names = append(names, f.Name())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	for _, told := range []string{
		`{"account":"+15550199","envelope":{"dataMessage":{"attachments":[{"contentType":"image/jpeg","id":"next.jpg"}]}}}`, // somebody else's
		`{"envelope":{"dataMessage":{"message":"next.jpg","attachments":[{"contentType":"image/jpeg","id":"photo.jpg"},{"contentType":"x","id":"../account.db"},{"contentType":"x","id":""}],` +
			`"quote":{"id":5,"attachments":[{"contentType":"image/jpeg","thumbnail":{"contentType":"image/jpeg","id":"thumb"}}]}}}}`,
		`{"result":{"envelope":{"syncMessage":{"sentMessage":{"previews":[{"image":{"contentType":"image/jpeg","id":"image"}}]}}}}}`,
		`{"contentType":`,
	} {
		d.forget(json.RawMessage(told))
	}
	if diff := cmp.Diff([]string{"account.db", "next.jpg"}, left()); diff != "" {
		t.Errorf("after the messages (-want +got)\n%s", diff)
	}
	for accounts, want := range map[string][]string{
		`{"number":"` + own + `"},{"number":"` + anaCall + `"}`: {"account.db", "accounts.json", "next.jpg"},
		`{"number":"` + anaCall + `"}`:                          {"account.db", "accounts.json", "next.jpg"},
		`{"number":"` + own + `"}`:                              {"account.db", "accounts.json"},
	} {
		if err := os.MkdirAll(filepath.Join(d.cfg.Data, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(d.files(), 0o700); err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string]string{filepath.Join(d.cfg.Data, "data", "accounts.json"): `{"accounts":[` + accounts + `]}`, filepath.Join(d.files(), "next.jpg"): "x"} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d.sweep()
		got := left()
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after a start with the accounts %s (-want +got)\n%s", accounts, diff)
		}
	}
}

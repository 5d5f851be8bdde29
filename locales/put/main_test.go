package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"starling/locales"
)

func putText(t *testing.T, dir, lang, text string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "entries.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(dir, lang, "", []string{file})
}

func content(t *testing.T, dir, lang string) string {
	t.Helper()
	data, err := os.ReadFile(path(dir, lang))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPutMergesSortsAndStamps(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ lang, text string }{
		{"en", "[needs]\nsaved = \"Saved: {{.Code}}\"\nclosed = \"Closed\""},
		{"es", "[needs]\nsaved = \"Guardado: {{.Code}}\""},
		{"es", "[needs.closed]\nother = \"Cerrado\"\nhash = \"mine\""},
		{"en", "[needs]\nsaved = \"Kept: {{.Code}}\""},
	} {
		if err := putText(t, dir, c.lang, c.text); err != nil {
			t.Fatal(err)
		}
	}
	// sha1 of "Closed" and of the "Saved: {{.Code}}" that Spanish was made from, as goi18n writes them.
	want := `["needs.closed"]
hash = "sha1-88d86b7721d587644e9c4cf33a084202cb3b0ff0"
other = "Cerrado"

["needs.saved"]
hash = "sha1-84acf38f6fc8f2b064d36df0cb25c76204c3612a"
other = "Guardado: {{.Code}}"
`
	if got := content(t, dir, "es"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := content(t, dir, "en"), "[\"needs.closed\"]\nother = \"Closed\"\n\n[\"needs.saved\"]\nother = \"Kept: {{.Code}}\"\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPutWritesNothingWhenSomethingIsWrong(t *testing.T) {
	dir := t.TempDir()
	if err := putText(t, dir, "en", "[a]\nb = \"{{.X}}\"\n[a.c]\none=\"{{.Count}} room\"\nother=\"{{.Count}} rooms\""); err != nil {
		t.Fatal(err)
	}
	before := content(t, dir, "en")
	for _, c := range []struct{ lang, text, want string }{
		{"es", "[a]\nz = \"x\"", "put the English entry first"},
		{"es", "[a]\nb = \"x\"", "lacks {{.X}}"},
		{"es", "[a]\nb = \"{{.X\"", "unclosed action"},
		{"es", "[a.c]\none=\"{{.Count}}\"\nother=\"{{.Count}}\"", "exactly one, many, other"},
		{"en", "[a]\nb = \"{{nothing .X}}\"", "not defined"},
		{"en", "a = \"x\"", "no dot"},
		{"xx", "[a]\nb = \"x\"", "no language"},
		{"", "", "no language"},
	} {
		err := putText(t, dir, c.lang, c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: got %v, want %q", c.lang, c.text, err, c.want)
		}
	}
	if got := content(t, dir, "en"); got != before {
		t.Errorf("English is now\n%s", got)
	}
	if _, err := os.Stat(path(dir, "es")); !os.IsNotExist(err) {
		t.Errorf("Spanish was written: %v", err)
	}
}

func TestDeleteTakesAKeyOutOfAllLanguages(t *testing.T) {
	dir := t.TempDir()
	for _, lang := range []string{"en", "de"} {
		if err := putText(t, dir, lang, "[a]\nb = \"x\"\nc = \"y\""); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(dir, "", "a.b", nil); err != nil {
		t.Fatal(err)
	}
	for _, lang := range []string{"en", "de"} {
		if got := content(t, dir, lang); strings.Contains(got, "a.b") || !strings.Contains(got, "a.c") {
			t.Errorf("%s: %s", lang, got)
		}
	}
	if err := run(dir, "", "a.b", nil); err == nil {
		t.Error("a second time: want an error")
	}
}

func TestManyPutAtTheSameTime(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 20 {
		text := fmt.Sprintf("[a]\nkey%d = \"x\"", i)
		wg.Go(func() {
			unlock, err := lock(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			if err := put(dir, "en", []byte(text)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := locales.Parse([]byte(content(t, dir, "en")))
	if err != nil || len(entries) != 20 {
		t.Errorf("got %d entries, %v, want 20", len(entries), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".put-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"starling/adapters/rig"
)

var (
	letters = regexp.MustCompile(`\pL{5,}`)
	zones   = regexp.MustCompile(`(?:africa|america|asia|australia|europe|pacific)/[a-z_/]+`)
)

// vocabulary are the words that people type and that a database holds all the same, because they are the program's own: those of its
// tables, of the keys of what it says, and of what a room can set.
var vocabulary = sync.OnceValues(func() (all string, err error) {
	add := func(text string) { all += " " + strings.Join(letters.FindAllString(strings.ToLower(text), -1), " ") }
	schemas, err := filepath.Glob("*/upgrades/*.sql")
	if err != nil {
		return "", err
	}
	more, err := filepath.Glob("*/*/upgrades/*.sql")
	if err != nil {
		return "", err
	}
	for _, file := range append(schemas, more...) {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		add(string(text))
	}
	caps, err := content(defaultConfig())
	if err != nil {
		return "", err
	}
	registry, _, err := texts(caps)
	if err != nil {
		return "", err
	}
	add(strings.ReplaceAll(strings.Join(registry.Keys(), " "), "_", " "))
	add("starling matrix confirm raise alerts anyone moderators joining paused setup alerta alerte lista liste") // the last four: a column after another
	return all, nil
})

// checkFiles fails where the files of a database hold what somebody said, or what a person or a room is called.
func checkFiles(t *testing.T, script, dir string) {
	t.Helper()
	lines, err := rig.Lines(script)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]bool{}
	for _, l := range lines {
		for _, a := range l.Acts {
			said := strings.ToLower(strings.ToValidUTF8(a.Text, ""))
			for _, part := range parts(said) {
				// "/forget" is found where any byte that happens to be a "/" stands before a key of ours.
				secrets[part] = secrets[part] || !strings.Contains(ours, strings.TrimLeft(part, "/!"))
			}
			names := []string{a.Room, a.Person, a.Options["chapter"], a.Options["members"], a.Options["by"]}
			for _, word := range letters.FindAllString(said+" "+strings.ToLower(strings.Join(names, " ")), -1) {
				secrets[word] = secrets[word] || !strings.Contains(ours, word)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "starling.db*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("the files are %v: %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		data = zones.ReplaceAll(bytes.ToLower(data), nil)
		for secret, is := range secrets {
			if !is {
				continue
			}
			if at := bytes.Index(data, []byte(secret)); at >= 0 {
				t.Errorf("%s holds %q: …%q…", filepath.Base(file), secret, data[max(0, at-40):min(len(data), at+len(secret)+20)])
			}
		}
	}
}

// TestTheSearchOfFilesKnowsItsOwnWords makes sure that the search above can fail.
func TestTheSearchOfFilesKnowsItsOwnWords(t *testing.T) {
	ours, err := vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"blanket", "police", "harbour", "barcelona"} {
		if strings.Contains(ours, word) {
			t.Errorf("%q is taken for a word of the program's own", word)
		}
	}
}

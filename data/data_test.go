package data

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"starling/locales/markup"
)

var languages = []string{"en", "es", "fr", "pt", "de", "ar", "ku"}

func shipped(t *testing.T) []Principle {
	t.Helper()
	fsys, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Principles(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFourPrinciplesShip(t *testing.T) {
	var ids []string
	for i, p := range shipped(t) {
		ids = append(ids, p.ID)
		if p.Number != i+1 {
			t.Errorf("%s has the number %d, want %d", p.ID, p.Number, i+1)
		}
		if len(p.Hash) != 64 {
			t.Errorf("%s has the hash %q", p.ID, p.Hash)
		}
	}
	if want := []string{"life", "patriarchy", "ecology", "democracy"}; !slices.Equal(ids, want) {
		t.Errorf("got %v, want %v", ids, want)
	}
}

func TestPrinciplesAreWholeInEveryLanguage(t *testing.T) {
	for _, p := range shipped(t) {
		if len(p.Texts) != len(languages) {
			t.Errorf("%s stands in %d languages, want %d", p.ID, len(p.Texts), len(languages))
		}
		for _, lang := range languages {
			text, ok := p.Texts[lang]
			if !ok {
				t.Errorf("%s is missing in %s", p.ID, lang)
				continue
			}
			length := func(what, s string, low, high int) {
				if n := len(strings.Fields(s)); n < low || n > high {
					t.Errorf("%s %s: the %s has %d words, want %d to %d: %s", p.ID, lang, what, n, low, high, s)
				}
				if strings.ContainsAny(s, "!¡！") {
					t.Errorf("%s %s: the %s shouts: %s", p.ID, lang, what, s)
				}
				if markup.Clean(s) != s || strings.Contains(s, "\n") {
					t.Errorf("%s %s: the %s is not one clean line: %q", p.ID, lang, what, s)
				}
			}
			length("title", text.Title, 1, 6)
			length("sentence", text.Sentence, 8, 30)
			length("paragraph", text.Text, 60, 160)
			if n := len(text.Practice); n < 3 || n > 5 {
				t.Errorf("%s %s asks %d things of us, want 3 to 5", p.ID, lang, n)
			}
			for _, point := range text.Practice {
				length("point", point, 5, 24)
			}
			if len(text.Words) < 5 {
				t.Errorf("%s %s is found by %d words only", p.ID, lang, len(text.Words))
			}
		}
	}
}

func TestAWordFindsOnePrinciple(t *testing.T) {
	for _, lang := range languages {
		found := map[string]string{}
		for _, p := range shipped(t) {
			for _, word := range p.Texts[lang].Words {
				word = markup.FoldWord(word)
				if other, ok := found[word]; ok && other != p.ID {
					t.Errorf("%s: %q finds both %s and %s", lang, word, other, p.ID)
				}
				found[word] = p.ID
			}
		}
	}
}

func TestHashIsOfTheContent(t *testing.T) {
	read := func(edit func(string) string) string {
		t.Helper()
		raw, err := fs.ReadFile(embedded, "principles/1-life.toml")
		if err != nil {
			t.Fatal(err)
		}
		all, err := Principles(fstest.MapFS{"principles/x.toml": {Data: []byte(edit(string(raw)))}})
		if err != nil {
			t.Fatal(err)
		}
		return all[0].Hash
	}
	same := read(func(s string) string { return s })
	if got := read(func(s string) string { return "# a comment\n" + strings.Replace(s, "number = 1", "number = 9", 1) }); got != same {
		t.Error("comment and number change the hash")
	}
	if got := read(func(s string) string { return strings.Replace(s, "Life before", "Life after", 1) }); got == same {
		t.Error("another title leaves the hash as it is")
	}
}

func TestPrinciplesRefuseWhatIsWrong(t *testing.T) {
	const good = "id = \"a\"\nnumber = 1\n[text.en]\ntitle = \"A\"\nsentence = \"B\"\ntext = \"C\"\npractice = [\"D\"]\n"
	for _, tc := range []struct{ name, file, want string }{
		{"unknown key", good + "tittle = \"x\"\n", "principles/x.toml:8: unknown key [text en tittle]"},
		{"wrong type", strings.Replace(good, "number = 1", "number = \"one\"", 1), "principles/x.toml:2"},
		{"not TOML", "id = ", "principles/x.toml:1"},
		{"no number", strings.Replace(good, "number = 1", "", 1), "needs an id, a number"},
		{"empty sentence", strings.Replace(good, "\"B\"", "\" \"", 1), "text.en needs"},
		{"no practice", strings.Replace(good, "[\"D\"]", "[]", 1), "text.en needs"},
		{"too long", good + "#" + strings.Repeat("x", maxFile), "at most"},
		{"number taken", good, "another file has the id"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Principles(fstest.MapFS{"principles/a.toml": {Data: []byte(good)}, "principles/x.toml": {Data: []byte(tc.file)}})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestAFolderReplacesFileByFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "principles"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, id, number string) {
		t.Helper()
		file := "id = \"" + id + "\"\nnumber = " + number + "\n[text.ca]\ntitle = \"A\"\nsentence = \"B\"\ntext = \"C\"\npractice = [\"D\"]\n"
		if err := os.WriteFile(filepath.Join(dir, "principles", name), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("2-patriarchy.toml", "patriarchy", "2")
	write("5-ours.toml", "ours", "5")
	fsys, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Principles(fsys)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range all {
		got = append(got, p.ID)
	}
	if want := []string{"life", "patriarchy", "ecology", "democracy", "ours"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if all[1].Texts["ca"].Title != "A" || len(all[1].Texts) != 1 {
		t.Errorf("the folder's file did not take the place of the shipped one: %v", all[1].Texts)
	}
	if _, err := ClientNames(fsys); err != nil {
		t.Errorf("what the folder lacks is not taken from what ships: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

func TestClientNames(t *testing.T) {
	names, err := ClientNames(embedded)
	if err != nil {
		t.Fatal(err)
	}
	for name, clients := range names {
		if len(clients) == 0 || markup.FoldWord(name) != name {
			t.Errorf("%q of %v: want a folded name with its clients", name, clients)
		}
	}
	for _, known := range strings.Fields(`help join invite me msg nick part op kick ban topic verify whois view query plain html spoiler shrug
		remove unban ignore unignore deop goto roomname roomavatar myroomnick roomnick myavatar upgraderoom jumptodate devtools addwidget
		discardsession rainbow lenny tableflip unflip rageshake holdcall converttodm converttoroom confetti snowfall`) {
		if len(names[known]) == 0 {
			t.Errorf("%q is missing", known)
		}
	}
	for _, ours := range strings.Fields("starling room my relay principles needs calendar alert forget") {
		if clients := names[ours]; clients != nil {
			t.Errorf("our command %q belongs to %v", ours, clients)
		}
	}
}

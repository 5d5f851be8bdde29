package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"starling/adapters"
	"starling/bot"
	"starling/bot/dbtest"
	"starling/commands/starling"
	"starling/data"
	"starling/locales"
	"starling/locales/markup"
)

// house is all that the bot can do and say.
type house struct {
	bundle   *locales.Bundle
	commands []bot.Info
	find     func(string) (bot.Info, bool)
}

func wholeHouse(t *testing.T) house {
	t.Helper()
	caps, err := content(config{})
	if err != nil {
		t.Fatal(err)
	}
	registry := locales.NewRegistry()
	bot.Messages(registry, caps...)
	registry.Add(adapters.Messages()...)
	bundle, err := locales.Load(registry)
	if err != nil {
		t.Fatal(err)
	}
	// The engine refuses to open when one word means two commands.
	dir := t.TempDir()
	e, err := bot.Open(bot.Config{Dir: dir, Database: dbtest.For(t, dir), Name: "Starling", Lang: locales.Source, Messages: registry, Locales: bundle, NoSync: true}, caps...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return house{bundle, e.Commands(), e.FindCommand}
}

// TestLocales renders every message of the house in every language and plural form.
func TestLocales(t *testing.T) {
	for _, err := range locales.Check(wholeHouse(t).bundle) {
		t.Error(err)
	}
}

// TestCommandWords checks that each command has a word, a line of help and an example in every language, and that no client
// keeps a word for itself.
func TestCommandWords(t *testing.T) {
	h := wholeHouse(t)
	fsys, err := data.Open("")
	if err != nil {
		t.Fatal(err)
	}
	owned, err := data.ClientNames(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range h.commands {
		path := strings.Join(c.Path, ".")
		words := h.bundle.Words("command." + path)
		for _, l := range locales.Languages() {
			if len(words[l.Code]) == 0 {
				t.Errorf("command.%s has no word in %s", path, l.Code)
			}
			for _, w := range words[l.Code] {
				if strings.ContainsAny(w, " /!@") {
					t.Errorf("%s (%s): %q cannot be typed as one word", path, l.Code, w)
				}
				if clients := owned[strings.ToLower(w)]; len(c.Path) == 1 && clients != nil {
					t.Errorf("%s (%s): %v keep /%s for themselves", path, l.Code, clients, w)
				}
			}
			for _, kind := range []string{"help", "example"} {
				if h.bundle.Text(l.Code, kind+"."+path) == "" {
					t.Errorf("%s.%s is missing in %s", kind, path, l.Code)
				}
			}
			for _, p := range c.Params {
				if h.bundle.Text(l.Code, "param."+p.Name) == "" {
					t.Errorf("%s: param.%s is missing in %s", path, p.Name, l.Code)
				}
				for _, v := range p.Choices {
					if h.bundle.Text(l.Code, "choice."+v) == "" {
						t.Errorf("%s: choice.%s is missing in %s", path, v, l.Code)
					}
				}
			}
		}
	}
}

// TestChoices checks that no word stands for two choices of one parameter.
func TestChoices(t *testing.T) {
	h := wholeHouse(t)
	for _, c := range h.commands {
		for _, p := range c.Params {
			taken := map[string]string{}
			for _, v := range p.Choices {
				for lang, words := range h.bundle.Words("choice." + v) {
					for _, w := range words {
						f := markup.FoldWord(w)
						if other, ok := taken[f]; ok && other != v {
							t.Errorf("%s: %q (%s) is %s and %s", strings.Join(c.Path, " "), w, lang, v, other)
						}
						taken[f] = v
					}
				}
			}
		}
	}
}

// TestExamples reads the example of every command in every language as if it had been typed.
func TestExamples(t *testing.T) {
	h := wholeHouse(t)
	for _, c := range h.commands {
		path := strings.Join(c.Path, ".")
		for _, l := range locales.Languages() {
			example := h.bundle.Text(l.Code, "example."+path)
			found, ok := h.find(example)
			typed := strings.Fields(example)
			switch {
			case !strings.HasPrefix(example, "/"):
				t.Errorf("%s (%s): %q is no command", path, l.Code, example)
				continue
			case !ok || len(found.Path) < len(c.Path) || !slices.Equal(found.Path[:len(c.Path)], c.Path):
				t.Errorf("%s (%s): %q is read as %v", path, l.Code, example, found.Path)
				continue
			case !native(h.bundle, l.Code, found.Path, typed):
				t.Errorf("%s (%s): %q has words of another language", path, l.Code, example)
			}
			if len(found.Path) > len(c.Path) {
				continue // one of its sub-commands shows how it is used
			}
			rest := typed[len(c.Path):]
			for _, p := range c.Params {
				if len(rest) == 0 {
					if !p.Optional {
						t.Errorf("%s (%s): %q lacks its %s", path, l.Code, example, p.Name)
					}
					break
				}
				if !h.reads(p, l.Code, rest) {
					t.Errorf("%s (%s): %q is no %s", path, l.Code, strings.Join(rest, " "), p.Name)
				}
				rest = rest[1:]
			}
		}
	}
}

// reads is whether typed words begin with a value of a parameter, as far as that can be said without a room.
func (h house) reads(p bot.Param, lang string, typed []string) bool {
	switch p.Type {
	case bot.ParamNumber:
		_, err := strconv.Atoi(markup.Digits(typed[0]))
		return err == nil
	case bot.ParamChoice:
		return slices.ContainsFunc(p.Choices, func(v string) bool { return slices.Contains(h.bundle.Words("choice." + v)[lang], typed[0]) })
	case bot.ParamCode:
		return regexp.MustCompile(`^[A-Z]-[0-9A-HJKMNP-TV-Z]{4,}$`).MatchString(typed[0])
	case bot.ParamLanguage:
		_, ok := locales.LanguageNamed(strings.Join(typed, " "))
		return ok
	case bot.ParamCommand:
		_, ok := h.find(strings.Join(typed, " "))
		return ok
	}
	return true
}

// native is whether the words of a command belong to a language.
func native(b *locales.Bundle, lang string, path, typed []string) bool {
	for i := range path {
		f := markup.FoldWord(strings.TrimLeft(typed[i], "/!"))
		if !slices.ContainsFunc(b.Words("command." + strings.Join(path[:i+1], "."))[lang], func(w string) bool { return markup.FoldWord(w) == f }) {
			return false
		}
	}
	return true
}

// said finds commands in an entry: in code, or after a space.
var said = regexp.MustCompile("(?:^|[\\s`(«“„\"])/(\\p{L}[^`\\n·]*)")

// TestCommandsInEntries checks that every command that an entry names is one in the language of that entry.
func TestCommandsInEntries(t *testing.T) {
	h := wholeHouse(t)
	for _, l := range locales.Languages() {
		for _, key := range h.bundle.Keys(l.Code) {
			for _, m := range said.FindAllStringSubmatch(h.bundle.Text(l.Code, key), -1) {
				found, ok := h.find(m[1])
				if !ok || !native(h.bundle, l.Code, found.Path, strings.Fields(m[1])) {
					t.Errorf("%s (%s): /%s is no command in this language", key, l.Code, m[1])
				}
			}
		}
	}
}

// TestDocs checks that docs/commands.md is what the table of commands gives: go test -run TestDocs . -update
func TestDocs(t *testing.T) {
	const name = "docs/commands.md"
	h := wholeHouse(t)
	var want bytes.Buffer
	if err := starling.Docs(&want, h.commands, h.bundle); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(name, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("%s is not current (-want +got; -update writes it anew):\n%s", name, diff)
	}
}

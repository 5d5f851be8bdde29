package locales

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"sync"

	names "github.com/go-playground/locales"
	"github.com/nicksnyder/go-i18n/v2/i18n"
	"github.com/pelletier/go-toml/v2"
	xlanguage "golang.org/x/text/language"
)

//go:embed active.*.toml
var files embed.FS

// Bundle is all entries in all languages. It is safe for concurrent use.
type Bundle struct {
	reg        *Registry
	i18n       *i18n.Bundle
	localizers map[string]*i18n.Localizer
	entries    map[string]map[string]*i18n.Message // by language and key
	parsers    map[string]parser
	calendars  map[string]names.Translator
	cities     map[string]map[string]string // by language and zone
	zones      sync.Map                     // name: *time.Location
}

// Load reads the entries that are built in.
func Load(reg *Registry) (*Bundle, error) { return LoadFS(reg, files) }

// LoadFS reads active.<lang>.toml of every language from the top of fsys. A file that is missing or does not parse is an error,
// and so is an entry whose template does not parse.
func LoadFS(reg *Registry, fsys fs.FS) (*Bundle, error) {
	b := &Bundle{
		reg:        reg,
		i18n:       i18n.NewBundle(xlanguage.English),
		localizers: map[string]*i18n.Localizer{},
		entries:    map[string]map[string]*i18n.Message{},
		parsers:    map[string]parser{},
		calendars:  map[string]names.Translator{},
		cities:     readCities(),
	}
	for _, l := range Languages() {
		name := "active." + l.Code + ".toml"
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("locales: %w", err)
		}
		entries, err := Parse(data)
		if err != nil {
			return nil, fmt.Errorf("locales: %s: %w", name, err)
		}
		p := newParser(b, l.Code)
		for _, m := range entries {
			if err := checkTemplates(p, m); err != nil {
				return nil, fmt.Errorf("locales: %s: %w", name, err)
			}
			if err := b.i18n.AddMessages(xlanguage.Make(l.Code), m); err != nil {
				return nil, fmt.Errorf("locales: %s: %w", name, err)
			}
		}
		b.entries[l.Code], b.parsers[l.Code] = entries, p
		b.calendars[l.Code] = calendar(l.Code)
		b.localizers[l.Code] = i18n.NewLocalizer(b.i18n, l.Code)
	}
	return b, nil
}

// Parse reads the entries of one file or fragment in go-i18n's TOML format, by key.
func Parse(data []byte) (map[string]*i18n.Message, error) {
	entries := map[string]*i18n.Message{}
	if len(strings.TrimSpace(string(data))) == 0 {
		return entries, nil
	}
	msgs, err := i18n.ParseMessageBytes(data, toml.Unmarshal)
	if err != nil {
		return nil, fmt.Errorf("not a message file: %w", err)
	}
	for _, m := range msgs {
		switch {
		case !strings.Contains(m.ID, "."):
			return nil, fmt.Errorf("the key %q has no dot", m.ID)
		case entries[m.ID] != nil:
			return nil, fmt.Errorf("the key %q stands there twice", m.ID)
		case m.Other == "":
			return nil, fmt.Errorf("%s has no text `other`", m.ID)
		}
		entries[m.ID] = m
	}
	return entries, nil
}

// Text is an entry without variables. It is "" when the language has no such entry: there is no fallback to English.
func (b *Bundle) Text(lang, key string) string {
	m := b.entries[lang][key]
	if m == nil {
		return ""
	}
	return m.Other
}

// Words is a word list in every language: the entry's parts between "|", trimmed.
func (b *Bundle) Words(key string) map[string][]string {
	words := map[string][]string{}
	for _, l := range Languages() {
		for w := range strings.SplitSeq(b.Text(l.Code, key), "|") {
			if w = strings.TrimSpace(w); w != "" {
				words[l.Code] = append(words[l.Code], w)
			}
		}
	}
	return words
}

// Keys lists the keys of a language's entries, sorted.
func (b *Bundle) Keys(lang string) []string {
	keys := make([]string, 0, len(b.entries[lang]))
	for k := range b.entries[lang] {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// localize executes the entry of key with data. count chooses the plural form where the entry has several.
func (b *Bundle) localize(lang, key string, data map[string]any, count *int) (string, error) {
	m := b.entries[lang][key]
	if m == nil {
		// Not left to go-i18n: it would answer in English.
		return "", fmt.Errorf("no entry %q in language %q", key, lang)
	}
	conf := &i18n.LocalizeConfig{MessageID: key, TemplateData: data, TemplateParser: b.parsers[lang]}
	if len(forms(m)) > 1 {
		if count == nil {
			return "", fmt.Errorf("%s (%s): several plural forms, and no count", key, lang)
		}
		conf.PluralCount = *count
	}
	text, tag, err := b.localizers[lang].LocalizeWithTag(conf)
	if err == nil && tag != xlanguage.Make(lang) {
		err = errors.New("found in another language")
	}
	if err != nil {
		return "", fmt.Errorf("%s (%s): %w", key, lang, err)
	}
	return text, nil
}

// forms are an entry's texts by CLDR plural category.
func forms(m *i18n.Message) map[string]string {
	f := map[string]string{"zero": m.Zero, "one": m.One, "two": m.Two, "few": m.Few, "many": m.Many, "other": m.Other}
	for k, v := range f {
		if v == "" {
			delete(f, k)
		}
	}
	return f
}

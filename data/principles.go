package data

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Principle is a value that chapters share, in its own words in each language. No language is the original.
type Principle struct {
	ID     string // stable: life, patriarchy, ecology, democracy
	Number int    // how people name it, from 1
	Hash   string // of its content, SHA-256 in hexadecimal: what a chapter adopts
	Texts  map[string]PrincipleText
}

// PrincipleText is a principle in one language, plain text.
type PrincipleText struct {
	Title    string   `toml:"title" json:"title"`
	Sentence string   `toml:"sentence" json:"sentence"` // the whole of it in one sentence
	Text     string   `toml:"text" json:"text"`         // a paragraph
	Practice []string `toml:"practice" json:"practice"` // what it asks of us
	Words    []string `toml:"words" json:"-"`           // by which it is found
}

// Principles reads all files below principles/, ordered by number. A file that lacks something, or an id or number that
// stands twice, is an error that names the file.
func Principles(fsys fs.FS) ([]Principle, error) {
	names, err := fs.Glob(fsys, "principles/*.toml")
	if err != nil {
		return nil, err
	}
	var all []Principle
	for _, name := range names {
		var file struct {
			ID     string                   `toml:"id"`
			Number int                      `toml:"number"`
			Text   map[string]PrincipleText `toml:"text"`
		}
		if err := decode(fsys, name, &file); err != nil {
			return nil, err
		}
		p := Principle{ID: file.ID, Number: file.Number, Texts: file.Text}
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if slices.ContainsFunc(all, func(q Principle) bool { return q.ID == p.ID || q.Number == p.Number }) {
			return nil, fmt.Errorf("%s: another file has the id %q or the number %d", name, p.ID, p.Number)
		}
		if p.Hash, err = p.hash(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Principle) int { return cmp.Compare(a.Number, b.Number) })
	return all, nil
}

func (p Principle) check() error {
	if p.ID == "" || p.Number < 1 || len(p.Texts) == 0 {
		return fmt.Errorf("needs an id, a number from 1 and a text in some language")
	}
	for lang, t := range p.Texts {
		fields := append([]string{t.Title, t.Sentence, t.Text}, t.Practice...)
		if len(t.Practice) == 0 || slices.ContainsFunc(fields, func(s string) bool { return strings.TrimSpace(s) == "" }) {
			return fmt.Errorf("text.%s needs title, sentence, text and practice", lang)
		}
	}
	return nil
}

// hash is over id and texts, without what only helps to find them. encoding/json orders the languages.
func (p Principle) hash() (string, error) {
	content, err := json.Marshal(struct {
		ID    string                   `json:"id"`
		Texts map[string]PrincipleText `json:"texts"`
	}{p.ID, p.Texts})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}

// Package principles shows what the chapters share, in the words of each language. The texts are content, not code: package
// data has them, and no language is the original.
package principles

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"starling/bot"
	"starling/data"
	"starling/locales"
	"starling/locales/markup"
)

// What is said. Each is a locale entry principles.<snake_case type>.
type (
	// List is all of them; Line is one, in a sentence.
	List struct {
		Lines []any
		First any // how to read one whole
	}
	Line struct {
		Number          int
		Title, Sentence locales.Safe
	}
	// Read says how one is read whole.
	Read struct{ Number int }
	// Whole is one of them, with what it asks of us.
	Whole struct {
		Number                int
		Title, Sentence, Text locales.Safe
		Practice              []any
	}
	// NoSuch says which there are.
	NoSuch struct {
		Text  string
		Known []any
		Read  any
	}
)

// Capability is /principles, with these texts.
func Capability(all []data.Principle) bot.Capability {
	p := principles(all)
	return bot.Capability{
		Name: "principles",
		Commands: []bot.Command{{
			Name: "principles", Do: p.answer,
			Params: []bot.Param{{Name: "principle", Type: bot.ParamText, Optional: true}},
		}},
		Messages: []any{List{}, Line{}, Read{}, Whole{}, NoSuch{}},
	}
}

type principles []data.Principle

// answer lists them, or shows the one that was named.
func (all principles) answer(t *bot.Turn, a bot.Args) error {
	typed := strings.Trim(a.Text("principle"), "#.:;!?,،؛ ")
	if typed == "" {
		return t.Done(all.list(t))
	}
	found := all.find(t, typed)
	switch len(found) {
	case 0:
		msg := NoSuch{Text: markup.Truncate(typed, 60), Read: Read{Number: all.first()}}
		for _, p := range all {
			msg.Known = append(msg.Known, bot.Numbered{Number: p.Number, Label: safe(text(t, p).Title)})
		}
		return bot.Refuse(msg)
	case 1:
		return t.Done(whole(t, found[0]))
	}
	return t.Done(principles(found).list(t))
}

func (all principles) list(t *bot.Turn) List {
	msg := List{First: Read{Number: all.first()}}
	for _, p := range all {
		s := text(t, p)
		msg.Lines = append(msg.Lines, Line{Number: p.Number, Title: safe(s.Title), Sentence: safe(s.Sentence)})
	}
	return msg
}

func (all principles) first() int {
	if len(all) == 0 {
		return 1
	}
	return all[0].Number
}

func whole(t *bot.Turn, p data.Principle) Whole {
	s := text(t, p)
	msg := Whole{Number: p.Number, Title: safe(s.Title), Sentence: safe(s.Sentence), Text: safe(s.Text)}
	for _, one := range s.Practice {
		msg.Practice = append(msg.Practice, safe(one))
	}
	return msg
}

// text is a principle in the reader's language, or in the first that there is.
func text(t *bot.Turn, p data.Principle) data.PrincipleText {
	for _, lang := range t.Langs() {
		if s, ok := p.Texts[lang]; ok {
			return s
		}
	}
	return data.PrincipleText{}
}

// safe takes a text of ours as it stands: nothing in it formats.
func safe(s string) locales.Safe { return locales.Safe(markup.Escape(strings.TrimSpace(s))) }

// find looks for a number, else for a word or title: first whole, in the reader's language before the others, then by the
// beginning of a word. Several are found only by a word that they share.
func (all principles) find(t *bot.Turn, typed string) []data.Principle {
	if n, err := strconv.Atoi(markup.Digits(typed)); err == nil {
		i := slices.IndexFunc(all, func(p data.Principle) bool { return p.Number == n })
		if i < 0 {
			return nil
		}
		return all[i : i+1]
	}
	typed = markup.FoldWord(typed)
	same := func(word string) bool { return word == typed }
	begins := func(word string) bool { return utf8.RuneCountInString(typed) >= 4 && strings.HasPrefix(word, typed) }
	for _, fits := range []func(string) bool{same, begins} {
		for _, lang := range t.Langs() {
			if found := all.withWord(lang, fits); len(found) > 0 {
				return found
			}
		}
	}
	return nil
}

func (all principles) withWord(lang string, fits func(string) bool) []data.Principle {
	var found []data.Principle
	for _, p := range all {
		s := p.Texts[lang]
		words := append([]string{p.ID, s.Title}, s.Words...)
		if slices.ContainsFunc(words, func(w string) bool { return fits(markup.FoldWord(w)) }) {
			found = append(found, p)
		}
	}
	return found
}

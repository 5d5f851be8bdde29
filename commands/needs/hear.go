package needs

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"starling/bot"
	"starling/bot/when"
	"starling/locales"
	"starling/locales/markup"
)

// Values of the draft. A category that was chosen begins with chosen, so that no typed text is taken for one.
const (
	chosen    = "="
	noHurry   = "open"
	here      = "here"
	dayLayout = time.DateOnly
)

// hear reads a free text into the draft: by when and where, if it surely says so, and the rest as what is needed. What an
// earlier version of the text said no longer counts.
func hear(t *bot.Turn, d bot.Draft, text string) {
	for _, field := range strings.Fields(d["heard"]) {
		delete(d, field)
	}
	heard := []string{"what"}
	if r, rest, found := when.Extract(text, t.Dates()); found && r.Problem == when.None {
		settle(t, d, r.Readings)
		heard = append(heard, "due", "readings")
		text = rest
	}
	if place, rest := placeIn(t.Locales(), t.Langs(), text); place != "" {
		d["place"] = place
		heard = append(heard, "place")
		text = rest
	}
	if d["what"] = strings.TrimSpace(text); d["what"] == "" {
		delete(d, "what")
	}
	d["heard"] = strings.Join(heard, " ")
}

// settle takes over by when; of several readings one will be asked for.
func settle(t *bot.Turn, d bot.Draft, readings []when.Reading) {
	delete(d, "due")
	delete(d, "readings")
	var values []string
	for _, r := range readings {
		values = append(values, r.String())
	}
	if len(values) == 1 {
		d["due"] = values[0]
		return
	}
	d["readings"] = strings.Join(values, " ")
}

// dueOf reads it back. day is "" for a moment; due is the end of the day.
func dueOf(t *bot.Turn, value string) (day string, due time.Time) {
	if at, err := time.ParseInLocation(dayLayout, value, t.Zone()); err == nil {
		return value, at.AddDate(0, 0, 1)
	}
	due, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return "", time.Time{} // no hurry, or not answered
	}
	return "", due
}

// sayDay is by when, as it is said: the date that was named, or the moment in the reader's zone.
func sayDay(day string, due time.Time) any {
	if d, err := time.Parse(dayLayout, day); err == nil {
		return locales.DayOf(d.Date())
	}
	return locales.Time{At: due}
}

// placeIn finds where something is needed: a word that surely begins a place ("near", "next to") and what follows it, up to
// the next pause. Too long for a place, it is none.
func placeIn(b *locales.Bundle, langs []string, text string) (place, rest string) {
	words := fields(text)
	markers := b.Words("needs.place.words")
	for _, lang := range langs {
		for i := 1; i < len(words); i++ {
			first := i + marked(words[i:], markers[lang])
			end := first
			for end < len(words) && (end == first || !words[end-1].pause) {
				end++
			}
			if first == i || end == first || end-i > maxPlaceWords {
				continue
			}
			from, to := words[i].start, words[end-1].end
			place = strings.TrimRight(text[from:to], " ,;.،؛")
			rest = strings.TrimRight(text[:from], " \n,;،؛") + " " + strings.TrimSpace(text[to:])
			return place, strings.TrimSpace(rest)
		}
	}
	return "", text
}

// maxPlaceWords is how long a place in the midst of a text may be.
const maxPlaceWords = 8

// marked is how many words at the beginning mark a place, 0 if none do.
func marked(words []span, markers []string) (most int) {
	for _, marker := range markers {
		m := strings.Fields(markup.FoldWord(marker))
		fits := len(m) <= len(words) && len(m) > most
		for i := 0; fits && i < len(m); i++ {
			fits = words[i].fold == m[i]
		}
		if fits {
			most = len(m)
		}
	}
	return most
}

// span is a word of a text: its bytes, how it compares, and whether the text pauses after it.
type span struct {
	start, end int
	fold       string
	pause      bool
}

func fields(text string) []span {
	var all []span
	start := -1
	add := func(end int) {
		word := text[start:end]
		bare := strings.TrimFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })
		last, _ := utf8.DecodeLastRuneInString(word)
		all = append(all, span{start, end, markup.FoldWord(bare), strings.ContainsRune(",;.،؛", last)})
		start = -1
	}
	for i, r := range text {
		switch {
		case unicode.IsSpace(r) && start >= 0:
			add(i)
			if r == '\n' {
				all[len(all)-1].pause = true
			}
		case !unicode.IsSpace(r) && start < 0:
			start = i
		}
	}
	if start >= 0 {
		add(len(text))
	}
	return all
}

// category finds what kind of need a text is about: the category most of whose words are in it, of those the one that is
// named first. The words of the reader's language count before those of the others: "pain" is bread in French.
func category(b *locales.Bundle, langs []string, text string) string {
	words := fields(text)
	for _, lang := range langs {
		best, most, first := "", 0, 0
		for _, c := range categories[:len(categories)-1] {
			list := b.Words("needs.category." + c + ".words")[lang]
			count, at := 0, -1
			for i, w := range words {
				if slices.ContainsFunc(list, func(entry string) bool { return fitsWord(entry, w.fold) }) {
					if count++; at < 0 {
						at = i
					}
				}
			}
			if count > most || count == most && count > 0 && at < first {
				best, most, first = c, count, at
			}
		}
		if best != "" {
			return best
		}
	}
	return other
}

// isCategory is whether a text is nothing but the name of a category.
func isCategory(t *bot.Turn, category, text string) bool {
	fold := markup.FoldWord(text)
	for _, lang := range t.Langs() {
		if markup.FoldWord(t.Locales().Text(lang, string(categoryName(category)))) == fold {
			return true
		}
	}
	return false
}

// fitsWord compares a folded word with an entry; an entry that ends in * fits what begins with it. Arabic writes "and",
// "the", "for" onto the word.
func fitsWord(entry, word string) bool {
	stem, open := strings.CutSuffix(entry, "*")
	stem = markup.FoldWord(stem)
	for {
		if word == stem || open && strings.HasPrefix(word, stem) {
			return true
		}
		cut := ""
		for _, prefix := range []string{"ال", "لل", "و", "ل", "ب"} {
			if rest, ok := strings.CutPrefix(word, prefix); ok && utf8.RuneCountInString(rest) >= 3 {
				cut = rest
				break
			}
		}
		if cut == "" {
			return false
		}
		word = cut
	}
}

// number finds how many a text says; ok is false when it says nothing, or several things.
func number(t *bot.Turn, text string) (n int, unit, rest string, ok bool) {
	return when.Quantity(text, t.Langs())
}

// forMany says for how many, as a text has it; nil when it says so of no people.
func forMany(count int, unit string) any {
	switch unit {
	case "people":
		return ForPeople{Count: count}
	case "families":
		return ForFamilies{Count: count}
	case "households":
		return ForHouseholds{Count: count}
	case "children":
		return ForChildren{Count: count}
	}
	return nil
}

// oneLine is at most n characters of a text, in one line.
func oneLine(text string, n int) string {
	return markup.Truncate(strings.Join(strings.Fields(text), " "), n)
}

// readable is whether there is a letter or a number in a text.
func readable(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
}

package when

import (
	"strings"
	"time"
)

// Duration reads a length of time: "3 hours", "10 min", "1 hour 30 minutes", "2 Tage". A day counts 24 hours here,
// and a month, which has no fixed length, is not understood.
func Duration(text string, o Options) (time.Duration, bool) {
	if tooLong(text, maxPhrase) {
		return 0, false
	}
	toks := tokenise(text)
	for _, lex := range lexicons(o.Langs) {
		r := reader{lex: lex, items: lex.items(toks)}
		var total spanLength
		for r.i < len(r.items) {
			n := r.amount(0, &total)
			if n == 0 {
				break
			}
			r.i += n
		}
		minutes := total.minutes + 24*60*total.days
		if len(r.items) > 0 && r.i == len(r.items) && total.months == 0 && minutes > 0 {
			return time.Duration(minutes) * time.Minute, true
		}
	}
	return 0, false
}

// Quantity finds the one number that says how many. When it counts people, unit is what it counts as a word for
// programs ("people", "families", "households", "children") and rest is the text without number, unit and "for":
// "food for 20 people" is 20, "people", "food". Else unit is "" and rest is the text without the number:
// "12 mattresses" is 12, "", "mattresses". It is not ok when there is no number, or several and none counts people.
func Quantity(text string, langs []string) (n int, unit string, rest string, ok bool) {
	if tooLong(text, maxText) {
		return 0, "", text, false
	}
	toks := tokenise(text)
	// Number words count in the given languages only: French "du mal" is no two households in Kurmanji.
	spoken := lexicons(langs)
	if len(langs) > 0 {
		spoken = spoken[:min(len(spoken), len(langs))]
	}
	for i, lex := range lexicons(langs) {
		if n, unit, rest, ok := lex.counted(text, toks, i < len(spoken)); ok {
			return n, unit, rest, true
		}
	}
	for i, lex := range lexicons(langs) {
		n, rest, ok := lex.onlyNumber(text, toks)
		if ok && (i < len(spoken) || rest == "") {
			return n, "", rest, true
		}
	}
	return 0, "", text, false
}

// counted finds the one number that counts people.
func (lex *lexicon) counted(text string, toks []token, words bool) (n int, unit, rest string, ok bool) {
	items := lex.items(toks)
	times := 0
	for _, it := range items {
		var value int
		switch {
		case it.is("one") && words:
			value = 1
		case it.isNum && !it.ord && it.num > 0 && (words || it.digits > 0):
			value = it.num
		default:
			continue
		}
		word, end := lex.unitAt(toks, it.end)
		if word == "" {
			continue
		}
		times++
		start := it.start
		for words := 2; words > 0; words-- {
			if w := lastBefore(toks, it.start, words); w != nil && lex.forWords[key(w)] {
				start = w[0].start
				break
			}
		}
		n, unit, rest = value, word, cut(text, start, end)
	}
	return n, unit, rest, times == 1
}

// unitAt returns the unit whose word begins right after the byte at, and where that word ends.
func (lex *lexicon) unitAt(toks []token, at int) (unit string, end int) {
	for _, t := range toks {
		if t.start >= at {
			return lex.units[t.text], t.end
		}
	}
	return "", 0
}

// lastBefore returns the last n tokens that end before the byte at, nil when there are fewer.
func lastBefore(toks []token, at, n int) []token {
	end := len(toks)
	for end > 0 && toks[end-1].end > at {
		end--
	}
	if end < n {
		return nil
	}
	return toks[end-n : end]
}

// onlyNumber finds the one number of a text.
func (lex *lexicon) onlyNumber(text string, toks []token) (n int, rest string, ok bool) {
	times := 0
	for _, it := range lex.items(toks) {
		if it.dates != nil || it.clock != nil || it.dot != nil || strings.ContainsAny(text[it.start:it.end], "-/:") && !it.isNum {
			return 0, text, false
		}
		if it.isNum && !it.ord && it.num > 0 {
			times++
			n, rest = it.num, cut(text, it.start, it.end)
		}
	}
	return n, rest, times == 1
}

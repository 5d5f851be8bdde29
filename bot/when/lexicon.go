package when

import (
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/text/unicode/norm"

	"starling/locales/markup"
)

//go:embed tables/*.toml
var tables embed.FS

// Languages that have a table, in the order in which they are tried when nobody says otherwise.
var languages = [...]string{"en", "es", "fr", "pt", "de", "ar", "ku"}

// tokenKind says what a token is made of.
type tokenKind int

const (
	word tokenKind = iota
	number
	punct
)

// token is a run of letters, a run of digits, or a single other character. Its offsets count bytes.
type token struct {
	kind       tokenKind
	raw, text  string // as typed in lower case; folded: no case, no diacritics, ASCII digits
	start, end int
	glued      bool // no space between it and the token before
}

func tokenise(s string) []token {
	var toks []token
	glued := false
	for i := 0; i < len(s); {
		r, n := decode(s[i:])
		switch {
		case unicode.IsSpace(r):
			glued = false
			i += n
			continue
		case unicode.Is(unicode.Cf, r): // marks of direction change nothing
			i += n
			continue
		}
		kind, is := punct, func(rune) bool { return false }
		switch {
		case unicode.Is(unicode.Nd, r):
			kind, is = number, func(r rune) bool { return unicode.Is(unicode.Nd, r) }
		case unicode.IsLetter(r):
			kind, is = word, func(r rune) bool { return unicode.IsLetter(r) || unicode.Is(unicode.Mn, r) }
		}
		end := i + n
		for end < len(s) {
			r, n := decode(s[end:])
			if !is(r) {
				break
			}
			end += n
		}
		t := token{kind: kind, start: i, end: end, glued: glued}
		t.raw = norm.NFC.String(strings.ToLower(s[i:end]))
		if t.text = markup.FoldWord(s[i:end]); t.text == "" {
			t.text = t.raw
		}
		toks = append(toks, t)
		glued = true
		i = end
	}
	return toks
}

// key joins tokens to what a phrase is looked up by.
func key(toks []token) string {
	parts := make([]string, len(toks))
	for i, t := range toks {
		parts[i] = t.text
	}
	return strings.Join(parts, " ")
}

func rawKey(toks []token) string {
	parts := make([]string, len(toks))
	for i, t := range toks {
		parts[i] = t.raw
	}
	return strings.Join(parts, " ")
}

// sense is one meaning of a phrase: what it does in the grammar (kind) and its value.
//
//	day N        so many days from today          weekday N    0 is Sunday
//	month N      1 is January                     num N        a number word
//	part P       a part of the day                unit U       minute, hour, day, week, month
//	span N U     "half an hour": a whole duration past N       N minutes past the hour that follows
//	plus N       N minutes past the hour before   mark         "Uhr", "h": the number before is an hour
//	zone         UTC
//
// and words without a value: next, this, nextweek, in, later, by, on, at, from, to, of, the, one, tail, noon, midnight,
// every (it recurs), stop (it turns the meaning: "before", "not").
type sense struct {
	kind string
	val  int
	name string // of the part or unit
}

type entry struct {
	senses   []sense
	sequence bool // the senses follow each other ("tonight" is today and night) instead of being alternatives
	weak     bool // inside other text not surely a date: "sun", "mon", "segunda"
	common   bool // the same in all languages
}

type lexicon struct {
	lang           string
	phrases, exact map[string]entry
	longest        int // tokens in the longest phrase
	ordinals       map[string]bool
	open           map[string]bool
	units          map[string]string
	forWords       map[string]bool
	clock24        bool
	dotted         bool
	articleRepeats bool
	weekStarts     []int
	fuzzyDays      map[int]int
}

// table is what stands in tables/<lang>.toml.
type table struct {
	Clock24        bool           `toml:"clock24"`         // 10:30 is before noon
	DottedDates    bool           `toml:"dotted_dates"`    // 5.12. is 5 December, 5. the fifth
	ArticleRepeats bool           `toml:"article_repeats"` // "le vendredi" may be every Friday
	WeekStarts     []string       `toml:"week_starts"`     // where people see the week begin
	FuzzyDays      map[string]int `toml:"fuzzy_days"`      // "15 days" is two weeks to many
	Ordinals       []string       `toml:"ordinals"`
	WeekdayPrefix  []string       `toml:"weekday_prefixes"`
	Weekdays       [][]string     `toml:"weekdays"` // Sunday first
	Months         [][]string     `toml:"months"`
	Numbers        [][]string     `toml:"numbers"` // from one
	Open           []string       `toml:"open"`
	// Say maps a meaning to the phrases that have it. "~" before a phrase marks it weak, "=" as valid only with its signs.
	Say   map[string][]string `toml:"say"`
	Units map[string][]string `toml:"units"` // what is counted in Quantity, and the words before the number ("for")
}

var loadLexicons = sync.OnceValue(func() map[string]*lexicon {
	lexs := map[string]*lexicon{}
	for _, lang := range languages {
		lex, err := load(lang)
		if err != nil {
			panic(err) // the tables are part of the program: a test loads them
		}
		lexs[lang] = lex
	}
	return lexs
})

// lexicons returns every language, those in langs first.
func lexicons(langs []string) []*lexicon {
	all := loadLexicons()
	var out []*lexicon
	for _, lang := range slices.Concat(langs, languages[:]) {
		base, _, _ := strings.Cut(strings.ToLower(lang), "-")
		if lex := all[base]; lex != nil && !slices.Contains(out, lex) {
			out = append(out, lex)
		}
	}
	return out
}

func load(lang string) (*lexicon, error) {
	lex := &lexicon{
		lang: lang, phrases: map[string]entry{}, exact: map[string]entry{}, ordinals: map[string]bool{},
		open: map[string]bool{}, units: map[string]string{}, forWords: map[string]bool{}, fuzzyDays: map[int]int{},
	}
	for _, name := range []string{"common", lang} {
		raw, err := tables.ReadFile("tables/" + name + ".toml")
		if err != nil {
			return nil, err
		}
		var t table
		dec := toml.NewDecoder(strings.NewReader(string(raw)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&t); err != nil {
			return nil, fmt.Errorf("when: table %s: %w", name, err)
		}
		if err := lex.add(t, name == "common"); err != nil {
			return nil, fmt.Errorf("when: table %s: %w", name, err)
		}
	}
	return lex, nil
}

func (lex *lexicon) add(t table, common bool) error {
	lex.clock24 = lex.clock24 || t.Clock24
	lex.dotted = lex.dotted || t.DottedDates
	lex.articleRepeats = lex.articleRepeats || t.ArticleRepeats
	for _, day := range t.WeekStarts {
		lex.weekStarts = append(lex.weekStarts, map[string]int{"sunday": 0, "monday": 1, "saturday": 6}[day])
	}
	for said, meant := range t.FuzzyDays {
		n, err := strconv.Atoi(said)
		if err != nil {
			return err
		}
		lex.fuzzyDays[n] = meant
	}
	for _, o := range t.Ordinals {
		lex.ordinals[key(tokenise(o))] = true
	}
	for _, o := range t.Open {
		lex.open[key(tokenise(o))] = true
	}
	for unit, words := range t.Units {
		for _, w := range words {
			if unit == "for" {
				lex.forWords[key(tokenise(w))] = true
			} else {
				lex.units[key(tokenise(w))] = unit
			}
		}
	}
	for i, names := range t.Weekdays {
		for _, name := range names {
			lex.addPhrase(name, entry{senses: []sense{{kind: "weekday", val: i}}})
			for _, prefix := range t.WeekdayPrefix {
				lex.addPhrase(prefix+" "+strings.TrimLeft(name, "~="), entry{senses: []sense{{kind: "weekday", val: i}}})
			}
		}
	}
	for i, names := range t.Months {
		for _, name := range names {
			lex.addPhrase(name, entry{senses: []sense{{kind: "month", val: i + 1}}})
		}
	}
	for i, names := range t.Numbers {
		for _, name := range names {
			lex.addPhrase(name, entry{senses: []sense{{kind: "num", val: i + 1}}})
		}
	}
	for meaning, phrases := range t.Say {
		e := entry{common: common}
		for _, one := range strings.Split(meaning, ", ") {
			s, err := parseSense(one)
			if err != nil {
				return err
			}
			e.senses = append(e.senses, s)
		}
		e.sequence = len(e.senses) > 1
		for _, phrase := range phrases {
			lex.addPhrase(phrase, e)
		}
	}
	return nil
}

func parseSense(s string) (sense, error) {
	f := strings.Fields(s)
	out := sense{kind: f[0]}
	for _, arg := range f[1:] {
		if n, err := strconv.Atoi(arg); err == nil {
			out.val = n
		} else {
			out.name = arg
		}
	}
	_, isPart := parts[out.name]
	switch out.kind {
	case "part":
		if !isPart {
			return out, fmt.Errorf("no such part of the day: %q", s)
		}
	case "unit", "span":
		if !slices.Contains([]string{"minute", "hour", "day", "week", "month"}, out.name) {
			return out, fmt.Errorf("no such unit: %q", s)
		}
	case "day", "weekday", "month", "num", "past", "plus", "mark", "zone", "next", "this", "nextweek", "in", "later", "by", "on", "at",
		"from", "to", "of", "the", "one", "tail", "noon", "midnight", "every", "stop", "am", "pm":
	default:
		return out, fmt.Errorf("no such meaning: %q", s)
	}
	if out.kind == "am" || out.kind == "pm" {
		out = sense{kind: "part", name: out.kind}
	}
	return out, nil
}

func (lex *lexicon) addPhrase(phrase string, e entry) {
	into := lex.phrases
	toks := tokenise(strings.TrimLeft(phrase, "~="))
	k := key(toks)
	switch phrase[0] {
	case '~':
		e.weak = true
	case '=':
		into, k = lex.exact, rawKey(toks)
	}
	lex.longest = max(lex.longest, len(toks))
	// A language's own meaning wins over the common one: German "am" is "on the".
	if old, ok := into[k]; ok && !old.sequence && !e.sequence && old.common == e.common {
		// Another sense of the same phrase; the table's order is lost, so the grammar asks for the kind that it needs.
		e.senses = append(slices.Clone(old.senses), e.senses...)
		e.weak = e.weak || old.weak
	}
	into[k] = e
}

// item is one thing the grammar reads: a phrase, or a number in one of its forms.
type item struct {
	senses     []sense
	entry      entry
	start, end int
	glued      bool
	comma      bool
	symbol     string // another punctuation mark

	isNum  bool
	digits int // how many, 0 for a number word
	lead   bool
	ord    bool // "5th"
	num    int

	dates  []ymd  // a date in numbers; two where day and month can be exchanged
	iso    bool   // it was written as in ISO 8601
	isoT   bool   // with a T, so an offset may follow the time
	clock  *clock // 18:30
	dot    *[2]int
	offset *int // minutes east of UTC
	zone   *time.Location
}

func (it item) has(kind string) (sense, bool) {
	for _, s := range it.senses {
		if s.kind == kind {
			return s, true
		}
	}
	return sense{}, false
}

func (it item) is(kind string) bool { _, ok := it.has(kind); return ok }

// known says whether the grammar has any use for it.
func (it item) known() bool {
	return len(it.senses) > 0 || it.isNum || it.comma || it.dates != nil || it.clock != nil || it.dot != nil || it.offset != nil || it.zone != nil
}

// items turns tokens into what the grammar reads: the longest phrase at each place, else a number, else a symbol.
func (lex *lexicon) items(toks []token) []item {
	var out []item
	for i := 0; i < len(toks); {
		if made, n := lex.phrase(toks[i:]); n > 0 {
			out = append(out, made...)
			i += n
			continue
		}
		it, n := zoneName(toks[i:])
		if n == 0 {
			it, n = lex.numeric(toks[i:])
		}
		it.start, it.end, it.glued = toks[i].start, toks[i+n-1].end, toks[i].glued
		out = append(out, it)
		i += n
	}
	return out
}

func (lex *lexicon) phrase(toks []token) ([]item, int) {
	if toks[0].kind == number {
		// Numbers are read as numbers; only "12 noon" begins with one.
		if e, ok := lex.phrases[key(toks[:min(2, len(toks))])]; ok && len(toks) > 1 {
			return lex.made(e, toks[:2]), 2
		}
		return nil, 0
	}
	for n := min(lex.longest, len(toks)); n > 0; n-- {
		e, ok := lex.exact[rawKey(toks[:n])]
		if !ok {
			e, ok = lex.phrases[key(toks[:n])]
		}
		if ok {
			return lex.made(e, toks[:n]), n
		}
	}
	return nil, 0
}

// zoneName reads an IANA name, "Europe/Paris", and returns how many tokens it took.
func zoneName(toks []token) (item, int) {
	if len(toks) < 3 || toks[0].kind != word || toks[1].text != "/" || !toks[1].glued {
		return item{}, 0
	}
	name := toks[0].text
	n := 1
	for n < len(toks) && toks[n].glued && n < 9 && (toks[n].kind == word || toks[n].text == "/" || toks[n].text == "_" || toks[n].text == "-") {
		name += toks[n].text
		n++
	}
	p, ok := loadGazetteer().zones[placeKey(name)]
	if !ok {
		return item{}, 0
	}
	zone, err := time.LoadLocation(p.Zone)
	if err != nil {
		return item{}, 0
	}
	return item{zone: zone}, n
}

func (lex *lexicon) made(e entry, toks []token) []item {
	it := item{senses: e.senses, entry: e, start: toks[0].start, end: toks[len(toks)-1].end, glued: toks[0].glued}
	var out []item
	for i := range e.senses {
		if e.sequence {
			it.senses = e.senses[i : i+1]
		}
		s, ok := it.has("num")
		it.isNum, it.num = ok, s.val
		out = append(out, it)
		if !e.sequence {
			break
		}
	}
	return out
}

// wordless says whether nothing in a phrase belongs to a language.
func wordless(items []item) bool {
	for _, it := range items {
		if len(it.senses) > 0 && !it.entry.common {
			return false
		}
	}
	return true
}

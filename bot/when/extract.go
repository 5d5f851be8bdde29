package when

import "strings"

// Extract finds the one date phrase in a free text and returns what it means and the text without it.
//
// It would rather find nothing than take a word for a date that is none: a lone weekday counts only at either end of
// the text or after "by", "on" and the like, abbreviations only beside a time or a date, a bare number never as an
// hour when something follows that it may count. Two phrases are as good as none. When found, r may still hold a
// Problem, which is worth telling: the date is over, the hour is missing, it recurs.
func Extract(text string, o Options) (r Result, rest string, found bool) {
	if tooLong(text, maxText) {
		return Result{Problem: TooLong}, text, false
	}
	toks := tokenise(text)
	var best stretch
	for i, lex := range lexicons(o.Langs) {
		s, ok := lex.find(lex.items(toks), o)
		// A time alone counts only in the room's language: the words beside it may be the day in another.
		if !ok || s.problem == NoDay && i > 0 {
			continue
		}
		if s.end-s.start > best.end-best.start {
			best = s
		}
	}
	if best.end == 0 {
		return Result{Problem: Unknown}, text, false
	}
	rest = cut(text, best.start, best.end)
	if best.problem != None {
		return Result{Problem: best.problem}, rest, true
	}
	return Parse(text[best.start:best.end], o), rest, true
}

// stretch is a piece of text, by its bytes.
type stretch struct {
	start, end int
	problem    Problem
}

// find returns the only date phrase among items.
func (lex *lexicon) find(items []item, o Options) (stretch, bool) {
	var all []stretch
	for i := 0; i < len(items); {
		n, s := lex.longestAt(items, i, o)
		if n == 0 {
			i++
			continue
		}
		all = append(all, s)
		i += n
	}
	for _, s := range all {
		if s.problem == Range {
			return stretch{all[0].start, all[len(all)-1].end, Range}, true
		}
	}
	if len(all) != 1 || all[0].problem == Unknown {
		return stretch{}, false
	}
	return all[0], true
}

// longestAt returns the longest date phrase that begins at items[i], and how many items it has. A phrase that may be
// no date has the problem Unknown: it makes another one doubtful.
func (lex *lexicon) longestAt(items []item, i int, o Options) (int, stretch) {
	if first := items[i]; first.comma || !first.known() || i > 0 && first.start < items[i-1].end {
		return 0, stretch{}
	}
	limit := i
	for limit < len(items) && limit < i+maxSpan && items[limit].known() {
		limit++
	}
	for end := limit; end > i; end-- {
		if items[end-1].comma || end < len(items) && items[end].start < items[end-1].end {
			continue
		}
		f := lex.parse(items[i:end], o)
		if f.problem == Unknown || (f.problem == Range || f.problem == Repeats) && !dateish(&items[end-1]) && !items[end-1].is("part") {
			continue
		}
		c := context{items: items, start: i, end: end}
		s := stretch{items[i].start, items[end-1].end, c.problem(f)}
		switch {
		case c.surelyDate(f):
			return end - i, s
		case f.strong:
			s.problem = Unknown
			return end - i, s
		}
	}
	return 0, stretch{}
}

// context is a phrase in the midst of a text: items[start:end].
type context struct {
	items      []item
	start, end int
}

// at returns an item of the text, nil past its edges.
func (c context) at(i int) *item {
	if i < 0 || i >= len(c.items) {
		return nil
	}
	return &c.items[i]
}

// stops says whether the text pauses at an item: nothing, punctuation, or a word that begins a phrase of place.
func stops(it *item) bool {
	return it == nil || it.comma || it.symbol != "" && !dash(it) ||
		it.is("at") || it.is("on") || it.is("in") || it.is("by") || it.is("of")
}

// surelyDate says whether a phrase that can be read as a date is meant as one in the midst of a text.
func (c context) surelyDate(f found) bool {
	before, after := c.at(c.start-1), c.at(c.end)
	if f.problem == Repeats || f.problem == Range || f.problem == NoDay {
		return f.problem != NoDay
	}
	if f.loose && !stops(after) {
		return false
	}
	switch {
	case f.calendar && f.weakMonth && !f.explicit && f.weekday < 0:
		return f.intro && stops(after)
	case f.calendar, f.dayWord:
		return true
	case !f.instant.IsZero():
		return true
	case f.weekday >= 0 && f.hasClock:
		return true
	case f.weekday >= 0:
		edge := before == nil || after == nil || before.comma || after.comma
		// "the friday market" names no day, "el viernes" does.
		if first := c.at(c.start); first.is("the") && !first.is("on") {
			return false
		}
		return f.strong && (edge || f.intro) || f.intro && after == nil
	case f.hasDay: // "the 15th"
		return f.intro && stops(after)
	}
	// A time alone shows that a date was meant; which day, another word may have said that was not understood.
	return f.timeAlone()
}

func (f found) timeAlone() bool { return f.hasClock && f.explicit && !f.hasDay && f.weekday < 0 }

// dateish says whether an item names a day or a time by itself.
func dateish(it *item) bool {
	return it != nil && (it.is("weekday") || it.is("day") || it.is("month") || it.isNum || it.dates != nil || it.clock != nil || it.is("noon") || it.is("midnight"))
}

func dash(it *item) bool {
	return it != nil && it.symbol != "" && strings.Contains("-–—/:+", it.symbol)
}

// problem says what the words beside a phrase make of it: something else than that date, or no date.
func (c context) problem(f found) Problem {
	if f.problem == Repeats || f.problem == Range {
		return f.problem
	}
	if f.timeAlone() {
		return NoDay
	}
	first, before, after := c.at(c.start), c.at(c.start-1), c.at(c.end)
	switch {
	case before != nil && before.is("every"):
		return Repeats
	case first.is("to") && dateish(before), before != nil && (before.is("to") || dash(before)) && dateish(c.at(c.start-2)):
		return Range
	case after != nil && (after.is("to") || dash(after)) && (f.hasClock || !after.is("at")) && dateish(c.at(c.end+1)):
		return Range
	case after != nil && after.is("at") && !f.hasClock && dateish(c.at(c.end+1)):
		return Unknown // an hour, or the number of a house
	case before != nil && (before.is("stop") || dash(before) || dateish(before) && !(before.isNum && f.intro)):
		return Unknown
	case after != nil && (dash(after) && after.glued || dateish(after) || after.offset != nil || after.is("unit") || after.is("next") || after.is("part")):
		return Unknown
	}
	return None
}

// cut returns text without the bytes from start to end, the seam closed.
func cut(text string, start, end int) string {
	left := strings.TrimRight(text[:start], " \t\n,،")
	right := strings.TrimLeft(text[end:], " \t\n,،")
	if strings.HasSuffix(left, "(") && strings.HasPrefix(right, ")") {
		left, right = strings.TrimRight(left[:len(left)-1], " "), strings.TrimLeft(right[1:], " ")
	}
	switch {
	case left == "":
		return strings.TrimSpace(right)
	case right == "" || strings.ContainsAny(right[:1], ".;:!?)"):
		return strings.TrimSpace(left + right)
	}
	return strings.TrimSpace(left + " " + right)
}

// Package when reads dates, times, durations and places for time zones as people write them, in the languages that
// Starling speaks and in ISO 8601.
//
// A small grammar of our own reads tables per language (tables/). Every word of a phrase has to be understood: what is
// not surely understood is refused with a Problem, and what can mean two things gives two readings that the caller
// asks about. Libraries that guess were measured and are worse than none: a wrong day is worse than a question.
package when

import (
	"time"
	_ "time/tzdata" // a bot on a machine without zone files still knows every zone
)

// Limits on what is looked at, in runes. A date is short; longer text is not one.
const (
	maxPhrase = 200
	maxText   = 1000
	maxSpan   = 16 // the longest date phrase inside a text, in words
)

// Reading is one way to understand a phrase.
type Reading struct {
	At     time.Time      // when it is or begins, in Zone; for a whole day the first instant of that day
	AllDay bool           // a day was named and no time
	End    time.Time      // zero: no end was named
	Zone   *time.Location // the zone that the phrase named, else the room's
}

// String is a reading as a draft keeps it: a day, or a moment in its zone.
func (r Reading) String() string {
	if r.AllDay {
		return r.At.Format(time.DateOnly)
	}
	return r.At.Format(time.RFC3339)
}

// Problem says why a phrase has no reading.
type Problem string

const (
	None      Problem = ""
	Unknown   Problem = "unknown"   // not a date, or one that is not surely understood
	NoTime    Problem = "notime"    // a part of the day ("tomorrow evening"): the hour is missing
	NoDay     Problem = "noday"     // a week or month: the day is missing
	NoDate    Problem = "nodate"    // a day that no calendar has: 30 February
	Mismatch  Problem = "mismatch"  // the parts contradict each other: a weekday and a date, 19:00 in the morning
	Past      Problem = "past"      // it is over
	Gap       Problem = "gap"       // clocks jump over this local time on that day
	Repeats   Problem = "repeats"   // something that recurs: "every Friday"
	Range     Problem = "range"     // a span: "from Friday to Sunday"
	Ambiguous Problem = "ambiguous" // more than three readings, or none that one could choose from
	TooLong   Problem = "toolong"   // longer than a date can be
)

// Result is what was understood: one reading is sure, two or three are to be asked, none comes with a Problem.
type Result struct {
	Readings []Reading
	Problem  Problem
}

// Options say who wrote the phrase, where and when.
type Options struct {
	Langs []string       // language tags, the room's first; languages that are not named are tried after these
	Zone  *time.Location // the zone of the room; nil is UTC
	Now   time.Time      // when the message was sent
}

func (o Options) zone() *time.Location {
	if o.Zone == nil {
		return time.UTC
	}
	return o.Zone
}

func (o Options) now() time.Time { return o.Now.In(o.zone()) }

// Parse reads a text that is a date, a time or both, and nothing else.
func Parse(text string, o Options) Result {
	if tooLong(text, maxPhrase) {
		return Result{Problem: TooLong}
	}
	toks := sentence(tokenise(text))
	var best Result
	problem := Unknown
	for i, lex := range lexicons(o.Langs) {
		items := lex.items(toks)
		// A phrase without words is read as the room's own language writes numbers.
		if i > 0 && wordless(items) {
			break
		}
		r := lex.read(items, o)
		switch {
		case r.Problem == Unknown:
		case len(best.Readings) > 0:
			best.Readings = append(best.Readings, otherDays(best.Readings, r.Readings)...)
		case r.Problem != None:
			// A language that understands the phrase and finds a fault in it is not overruled by another.
			if problem == Unknown {
				problem = r.Problem
			}
		case problem == Unknown:
			best = r
		}
	}
	switch {
	case len(best.Readings) == 0:
		return Result{Problem: problem}
	case len(best.Readings) > 3:
		return Result{Problem: Ambiguous}
	}
	return best
}

// sentence leaves out the sign that ends a sentence; the dot of "5.12." is no such sign.
func sentence(toks []token) []token {
	n := len(toks)
	if n > 1 && (toks[n-1].text == "!" || toks[n-1].text == "." && toks[n-2].text != "." && (toks[n-2].kind == word || n > 2 && toks[n-3].text == ":")) {
		return toks[:n-1]
	}
	return toks
}

// otherDays returns the readings in more that fall on a day which none in have names: languages that share a word
// and mean another day by it make a question. They do not differ about the hour: there the room's language counts.
func otherDays(have, more []Reading) []Reading {
	var other []Reading
	for _, r := range more {
		known := false
		for _, h := range have {
			known = known || civilOf(h.At) == civilOf(r.At)
		}
		if !known {
			other = append(other, r)
		}
	}
	return other
}

// Open says whether text answers "by when?" with "no hurry": no date is wanted.
func Open(text string, langs []string) bool {
	if tooLong(text, maxPhrase) {
		return false
	}
	toks := sentence(tokenise(text))
	for _, lex := range lexicons(langs) {
		if lex.open[key(toks)] {
			return true
		}
	}
	return false
}

func tooLong(s string, runes int) bool {
	for range s {
		if runes--; runes < 0 {
			return true
		}
	}
	return false
}

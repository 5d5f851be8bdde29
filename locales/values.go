package locales

import "time"

// A field of type string is text that people typed: it is cleaned, escaped and set off when it is rendered. The types
// below say that a field is something else. int and bool stay what they are; a field Count chooses the plural form.

// Safe is our own text, in the Markdown subset: put as it is. Never make one from what people typed.
type Safe string

// Code is what is always typed the same way, such as N-7K3Q: never turned around in right-to-left text.
type Code string

// Term is the key of an entry without variables, rendered as that entry in the reader's language.
type Term string

// Lang is a language code, rendered as the language's own name.
type Lang string

// Zone is an IANA time zone name, rendered as its city.
type Zone string

// Span is a length of time, rendered in its two largest units: "3 hours", "1 day and 2 hours".
type Span time.Duration

// Time is a moment, rendered with date, 24-hour time and city. Zone is an IANA name; "" is the reader's own.
type Time struct {
	At   time.Time
	Zone string
}

// Clock is a moment of which only the time of day is said. Zone is an IANA name; "" is the reader's own.
type Clock struct {
	At   time.Time
	Zone string
}

// Day is a date: the one at which At falls in Zone ("" is the reader's own), or, with a Year, that very date.
type Day struct {
	At   time.Time
	Zone string

	Year  int
	Month time.Month
	Day   int
}

// DayOf is a date that belongs to no time zone.
func DayOf(year int, month time.Month, day int) Day {
	return Day{Year: year, Month: month, Day: day}
}

package when

import (
	"slices"
	"time"
)

// part is a part of the day: the hours on a 24-hour clock that belong to it, from (inclusive) and to (exclusive), and
// what an hour on the dial (0 for twelve) means in it.
type part struct {
	from, to int
	dial     [12]dialHour
}

// dialHour says how an hour on the dial is read.
type dialHour int

const (
	never  dialHour = iota // a contradiction: three in the evening
	early                  // before noon
	late                   // after noon
	unsure                 // people mean different things by it: twelve in the morning
	night                  // after midnight, of this night or of the one before
	either                 // late, or after midnight
)

// dial spells the twelve hours out, twelve first.
func dial(s string) (d [12]dialHour) {
	for i, c := range s {
		d[i] = map[rune]dialHour{'-': never, 'e': early, 'l': late, '?': unsure, 'n': night, '=': either}[c]
	}
	return d
}

var parts = map[string]part{
	//                             12 1 2 3 4 5 6 7 8 9 10 11
	"morning":   {0, 13, dial("?eeeeeeeeeee")},
	"early":     {0, 7, dial("neeeeee-----")}, // madrugada
	"noon":      {11, 16, dial("llll-------e")},
	"afternoon": {12, 21, dial("llllllllll--")},
	"evening":   {16, 24, dial("?---llllllll")},
	"late":      {12, 24, dial("?lllllllllll")}, // Arabic masāʾ: all that is after noon
	"night":     {18, 30, dial("nnnn==llllll")},
	"am":        {0, 12, dial("neeeeeeeeeee")},
	"pm":        {12, 24, dial("llllllllllll")},
}

// found is what the grammar has understood of a phrase so far.
type found struct {
	days      []ymd // alternatives; empty when no day was named
	hasDay    bool
	weekday   int // a weekday beside a date: they must agree; -1 none
	clocks    []clock
	noon      bool
	midnight  bool
	hasClock  bool
	part      string
	instant   time.Time
	zone      *time.Location
	iso, isoT bool
	clock24   bool // the language's clock has 24 hours
	problem   Problem

	// What Extract wants to know.
	numbered  bool // "friday 4": a day of the month only if a time follows, else perhaps an hour
	calendar  bool // a date with day and month
	weakMonth bool // whose name is another word too: "12 out of 20"
	dayWord   bool // today, tomorrow, in three days
	strong    bool // a weekday that is not a homograph
	intro     bool // begins with "by", "on", "until"
	loose     bool // ends in a number that might count what follows
	explicit  bool // the time is written as one
}

// reader walks over the items of one phrase in one language.
type reader struct {
	lex   *lexicon
	items []item
	i     int
	now   time.Time // in the room's zone
	f     found
}

// read understands a whole phrase in one language or says why not.
func (lex *lexicon) read(items []item, o Options) Result {
	f := lex.parse(items, o)
	if f.problem != None {
		return Result{Problem: f.problem}
	}
	return f.resolve(o)
}

func (lex *lexicon) parse(items []item, o Options) found {
	r := reader{lex: lex, items: items, now: o.now(), f: found{weekday: -1, clock24: lex.clock24}}
	if len(items) > 0 && (items[0].is("by") || items[0].is("on")) {
		r.f.intro = true
	}
	for r.i < len(items) {
		if !(r.date() || r.span() || r.clock() || r.part() || r.zone() || r.filler()) {
			return found{problem: r.why()}
		}
		if r.f.problem != None {
			return r.f
		}
	}
	if r.f.numbered && !r.f.hasClock {
		return found{problem: Unknown}
	}
	if len(r.f.days) == 0 && !r.f.hasClock && r.f.instant.IsZero() && r.f.part == "" {
		return found{problem: r.why()}
	}
	return r.f
}

// why names the reason when a phrase has words that the grammar does not join to a date: it recurs, or it is a span.
func (r *reader) why() Problem {
	day, every, from, to := false, false, false, false
	for _, it := range r.items {
		if !it.known() && it.symbol == "" {
			return Unknown
		}
		day = day || it.is("weekday") || it.is("day") || it.dates != nil || it.clock != nil || it.is("month") || it.is("unit")
		day = day || it.is("mark") || every && it.is("every")
		every = every || it.is("every")
		from = from || it.is("from")
		to = to || it.is("to")
	}
	for i, it := range r.items {
		if it.is("nextweek") && len(r.items) == 1 || it.is("month") && len(r.items) == 1 && i == 0 {
			return NoDay
		}
	}
	switch {
	case day && every:
		return Repeats
	case day && from && to:
		return Range
	}
	return Unknown
}

// at returns the item i places on, an empty one past either end.
func (r *reader) at(i int) item {
	if i += r.i; i < 0 || i >= len(r.items) {
		return item{}
	}
	return r.items[i]
}

// filler passes over what joins and means nothing by itself, as long as something follows.
func (r *reader) filler() bool {
	it := r.at(0)
	if it.is("tail") && (r.items[0].is("on") || r.items[0].is("in")) && (r.f.hasDay || !r.f.instant.IsZero()) {
		r.i++
		return true
	}
	if r.i+1 >= len(r.items) {
		return false
	}
	switch next := r.at(1); {
	case it.comma:
		r.i++
		return !next.comma && r.i > 1
	case it.is("of") && r.f.hasClock && (next.is("weekday") || next.is("day") || next.is("the")):
		r.i++
		return true
	case it.is("by"), it.is("on"):
		// "by 19:00" and "on tomorrow", but not "by by".
		if next.is("by") && it.is("by") || next.comma {
			return false
		}
		r.i++
		return true
	}
	return false
}

// setDay takes the alternatives for the day, once.
func (r *reader) setDay(days []ymd, taken int) bool {
	if r.f.hasDay || !r.f.instant.IsZero() {
		return false
	}
	r.f.days, r.f.hasDay = days, true
	r.i += taken
	return true
}

func (r *reader) today() ymd { return civilOf(r.now) }

func (r *reader) date() bool {
	j, definite := 0, false
	for ; j < 3 && (r.at(j).is("by") || r.at(j).is("on") || r.at(j).is("the")) && !r.at(j).isNum; j++ {
		definite = definite || r.at(j).is("on") || r.at(j).is("the")
	}
	it := r.at(j)
	switch {
	case it.dates != nil:
		r.f.iso, r.f.isoT = it.iso, it.isoT
		r.f.calendar = true
		return r.setDay(r.upcoming(it.dates), j+1)
	case it.dot != nil && definite && r.lex.dotted && !r.at(j+1).is("mark"):
		r.f.calendar = true
		return r.setDay(r.upcoming([]ymd{{0, it.dot[1], it.dot[0]}}), j+1)
	case it.is("day"):
		s, _ := it.has("day")
		if s.val < 0 {
			r.f.problem = Past
		}
		r.f.dayWord = !it.entry.weak
		return r.setDay([]ymd{plusDays(r.today(), s.val)}, j+1)
	}
	if n := r.dayAndMonth(j); n > 0 {
		return true
	}
	if r.weekdayPhrase(j) {
		return true
	}
	// "the 15th", "Friday 27": the next day of that number.
	next := r.at(j + 1)
	beside := r.f.weekday >= 0 && (r.at(-1).is("weekday") || r.at(-1).comma)
	definite = definite || beside
	if it.isNum && (it.ord || definite && it.digits > 0) && it.num >= 1 && it.num <= 31 && it.digits <= 2 &&
		!next.is("mark") && !next.is("part") && !next.is("plus") && !next.is("unit") && (it.ord || !next.isNum) && next.clock == nil {
		if !definite && !r.f.intro {
			return false
		}
		r.f.loose = r.f.loose || beside && !it.ord
		r.f.numbered = beside && j == 0 && !it.ord && it.num <= 24
		return r.setDay(r.nextNumbered(it.num), j+1)
	}
	return false
}

// dayAndMonth reads "5 December 2026" and "December 5th", and returns how many items it took.
func (r *reader) dayAndMonth(j int) int {
	n, day, month, year, weak := j, 0, 0, 0, false
	if it := r.at(n); it.isNum && it.num >= 1 && it.digits <= 2 {
		day = it.num
		n++
		if r.at(n).is("of") && r.at(n+1).is("month") {
			n++
		}
		s, ok := r.at(n).has("month")
		if !ok {
			return 0
		}
		month, weak = s.val, r.at(n).entry.weak
		n++
	} else if s, ok := it.has("month"); ok {
		month, weak = s.val, it.entry.weak
		n++
		if r.at(n).is("the") {
			n++
		}
		it := r.at(n)
		if !it.isNum || it.digits > 2 || it.digits == 0 || r.at(n+1).is("mark") || r.at(n+1).is("part") {
			return 0
		}
		day = it.num
		n++
	} else {
		return 0
	}
	m := n
	if (r.at(m).is("of") || r.at(m).comma) && r.at(m+1).digits == 4 {
		m++
	}
	if y := r.at(m); y.digits == 4 && y.num >= 1900 && !r.at(m+1).is("mark") {
		year = y.num
		n = m + 1
		r.f.loose = true
	}
	r.f.calendar, r.f.weakMonth = true, weak && year == 0
	if !r.setDay(r.upcoming([]ymd{{year, month, day}}), n) {
		return 0
	}
	return n
}

// weekdayPhrase reads "friday", "next friday", "friday of next week", with what stands before and after.
func (r *reader) weekdayPhrase(j int) bool {
	next, this, week := false, false, false
	n := j
	if r.at(n).is("nextweek") {
		week = true
		n++
		if r.at(n).is("on") || r.at(n).comma {
			n++
		}
	}
	for r.at(n).is("next") || r.at(n).is("this") {
		next = next || r.at(n).is("next")
		this = this || r.at(n).is("this")
		n++
	}
	it := r.at(n)
	s, ok := it.has("weekday")
	if !ok || r.f.weekday >= 0 {
		return false
	}
	n++
	article := j > 0 && r.at(j-1).is("the")
	switch {
	case r.at(n).is("nextweek"):
		week = true
		n++
	case r.at(n).is("of") && r.at(n+1).is("nextweek"):
		week = true
		n += 2
	case r.at(n).is("next") && !r.at(n+1).is("weekday"):
		next = true
		n++
	}
	r.f.weekday = s.val
	r.f.strong = r.f.strong || !it.entry.weak
	r.i += n
	today := r.today()
	ahead := (s.val - weekdayOf(today) + 7) % 7
	var days []ymd
	switch {
	case next && this || week && (next || this):
		return false
	case week:
		for _, start := range r.lex.weekStarts {
			into := (weekdayOf(today) - start + 7) % 7
			days = append(days, plusDays(today, 7-into+(s.val-start+7)%7))
		}
	case next && ahead == 0:
		days = []ymd{plusDays(today, 7)}
	case next:
		days = []ymd{plusDays(today, ahead), plusDays(today, ahead+7)}
	case ahead == 0:
		days = []ymd{today, plusDays(today, 7)}
	default:
		days = []ymd{plusDays(today, ahead)}
	}
	if r.f.hasDay || !r.f.instant.IsZero() {
		return r.f.instant.IsZero() && !next && !week
	}
	r.f.days = slices.Compact(days)
	if article && r.lex.articleRepeats && !this && !next && !week && !r.dateFollows() {
		r.f.problem = Repeats
	}
	return true
}

// dateFollows says whether a date that fixes a weekday comes next.
func (r *reader) dateFollows() bool {
	i := 0
	if r.at(i).comma {
		i++
	}
	return r.at(i).dates != nil || r.at(i).isNum && (r.at(i+1).is("month") || r.at(i+1).is("of"))
}

// span reads a duration from now: "in 3 days", "45 minutes from now".
func (r *reader) span() bool {
	n := 0
	before := r.at(0).is("in")
	if before {
		n++
	}
	total := spanLength{}
	count := 0
	for {
		taken := r.amount(n, &total)
		if taken == 0 {
			break
		}
		n += taken
		count++
	}
	if count == 0 {
		return false
	}
	if !before {
		if !r.at(n).is("later") {
			return false
		}
		n++
	}
	if r.f.hasDay || r.f.hasClock || r.f.weekday >= 0 || !r.f.instant.IsZero() {
		return false
	}
	r.f.dayWord = true
	switch {
	case total.minutes > 0 && (total.days > 0 || total.months > 0):
		return false
	case total.minutes > 0:
		if total.minutes > 366*24*60 {
			return false
		}
		r.f.instant = r.now.Add(time.Duration(total.minutes) * time.Minute)
		r.i += n
		return true
	case total.months > 0:
		today := r.today()
		day := ymd{today.y, today.m + total.months, today.d}
		for day.m > 12 {
			day.y, day.m = day.y+1, day.m-12
		}
		if total.days > 0 || total.months > 36 || !day.exists() {
			return false
		}
		return r.setDay([]ymd{day}, n)
	}
	if total.days > 1100 {
		return false
	}
	days := []ymd{plusDays(r.today(), total.days)}
	if meant, ok := r.lex.fuzzyDays[total.days]; ok && total.dayCount == total.days {
		days = append(days, plusDays(r.today(), meant))
	}
	return r.setDay(days, n)
}

// spanLength adds up a duration; days counts weeks too, dayCount only what was said in days.
type spanLength struct{ minutes, days, months, dayCount int }

func (l *spanLength) add(n int, unit string) {
	switch unit {
	case "minute":
		l.minutes += n
	case "hour":
		l.minutes += 60 * n
	case "day":
		l.days += n
		l.dayCount += n
	case "week":
		l.days += 7 * n
	case "month":
		l.months += n
	}
}

// amount reads one number and unit at place n and returns how many items that took.
func (r *reader) amount(n int, total *spanLength) int {
	it := r.at(n)
	if s, ok := it.has("span"); ok {
		total.add(s.val, s.name)
		return 1
	}
	if s, ok := it.has("unit"); ok && r.lex.lang == "ar" && r.at(n-1).is("in") {
		total.add(1, s.name) // Arabic leaves "one" away
		return 1
	}
	if s, ok := r.at(n + 1).has("unit"); ok {
		switch {
		case it.is("one"):
			total.add(1, s.name)
			return 2
		case it.isNum && !it.ord && it.num > 0 && it.num <= 9999:
			total.add(it.num, s.name)
			if last := r.at(n + 2); s.name == "hour" && r.at(n+1).glued && last.isNum && last.glued && last.digits == 2 && last.num < 60 {
				total.add(last.num, "minute")
				return 3
			}
			return 2
		}
	}
	return 0
}

// clock reads a time of day.
func (r *reader) clock() bool {
	if r.f.hasClock || !r.f.instant.IsZero() {
		return false
	}
	n, at := 0, false
	if r.at(0).is("at") {
		n, at = 1, true
	}
	it := r.at(n)
	c := clock{}
	explicit := true
	switch {
	case it.is("noon"):
		r.f.noon, r.f.hasClock, r.f.explicit = true, true, true
		r.i += n + 1
		return true
	case it.is("midnight"):
		r.f.midnight, r.f.hasClock, r.f.explicit = true, true, true
		r.i += n + 1
		return true
	case it.is("past"):
		s, _ := it.has("past")
		hour := r.at(n + 1)
		if !hour.isNum || hour.ord || hour.num < 1 || hour.num > 12 {
			return false
		}
		total := (hour.num*60 + s.val) % 720
		c = clock{h: total / 60, m: total % 60, twelve: true}
		n += 2
		if r.at(n).is("mark") {
			n++
		}
	case it.clock != nil:
		if it.dot != nil && !at && !r.at(n+1).is("mark") && !r.at(n+1).is("part") && it.clock.h < 13 {
			return false
		}
		c = *it.clock
		n++
		if r.at(n).is("mark") {
			n++
		}
	case it.isNum && !it.ord && it.num <= 24 && it.digits <= 2:
		c = clock{h: it.num, lead: it.lead, digits: it.digits}
		n++
		if mark := r.at(n); mark.is("mark") {
			c.marked = true
			n++
			if min := r.at(n); min.digits == 2 && !min.ord && min.num < 60 && min.glued == mark.glued {
				c.m = min.num
				r.f.loose = r.f.loose || !min.glued
				n++
				if s, ok := r.at(n).has("unit"); ok && s.name == "minute" && r.at(n).glued {
					n++
				}
			}
		}
		if s, ok := r.at(n).has("plus"); ok {
			total := c.h*60 + c.m + s.val
			if c.m != 0 || total < 0 {
				return false
			}
			c.h, c.m, c.marked = total/60, total%60, true
			c.twelve = it.num >= 1 && it.num <= 12 && !it.lead
			if c.twelve {
				c.h %= 12
			}
			n++
		} else if !c.marked && !at && !r.at(n).is("part") && !(r.at(n).is("of") && r.at(n+1).is("part")) {
			return false
		}
		explicit = c.marked
		if !c.valid() {
			return false
		}
	default:
		return false
	}
	r.i += n
	if r.at(0).is("of") && r.at(1).is("part") {
		r.i++
	}
	if r.at(0).is("part") {
		if !r.part() {
			return false
		}
		explicit = true
	}
	if r.at(0).is("tail") {
		r.i++
	}
	r.f.loose = r.f.loose || !explicit
	r.f.explicit = explicit
	r.f.clocks, r.f.hasClock = []clock{c}, true
	if off := r.at(0); off.offset != nil && r.f.isoT {
		r.f.zone = time.FixedZone("", *off.offset*60)
		r.i++
	}
	return true
}

func (r *reader) part() bool {
	s, ok := r.at(0).has("part")
	if !ok || r.f.part != "" {
		return false
	}
	r.f.part = s.name
	r.i++
	return true
}

func (r *reader) zone() bool {
	it := r.at(0)
	if (it.is("zone") || it.zone != nil) && r.f.hasClock && r.f.zone == nil {
		if r.f.zone = it.zone; r.f.zone == nil {
			r.f.zone = time.UTC
		}
		r.i++
		return true
	}
	return false
}

// upcoming gives dates without a year the next one, leaving out what no calendar has.
func (r *reader) upcoming(dates []ymd) []ymd {
	today := r.today()
	var out []ymd
	for _, d := range dates {
		if d.y == 0 {
			d.y = today.y
			if d.before(today) {
				d.y++
			}
			for y := d.y; !d.exists() && d.y < y+8 && d.m == 2 && d.d == 29; {
				d.y++
			}
		}
		if d.exists() {
			out = append(out, d)
		}
	}
	if len(out) == 0 {
		r.f.problem = NoDate
	}
	return out
}

// nextNumbered returns the next day with that number in its month.
func (r *reader) nextNumbered(n int) []ymd {
	d := r.today()
	for d.d != n {
		d = plusDays(d, 1)
	}
	return []ymd{d}
}

package when

import (
	"slices"
	"time"
)

func civilOf(t time.Time) ymd {
	y, m, d := t.Date()
	return ymd{y, int(m), d}
}

// utc is the day's midnight in UTC, for counting days.
func (d ymd) utc() time.Time { return time.Date(d.y, time.Month(d.m), d.d, 0, 0, 0, 0, time.UTC) }

func (d ymd) exists() bool {
	return d.m >= 1 && d.m <= 12 && d.d >= 1 && d.d <= 31 && civilOf(d.utc()) == d
}

func (d ymd) before(e ymd) bool { return d.utc().Before(e.utc()) }

func plusDays(d ymd, n int) ymd { return civilOf(d.utc().AddDate(0, 0, n)) }

func weekdayOf(d ymd) int { return int(d.utc().Weekday()) }

// moment is a wall-clock time on the named day or so many days after it.
type moment struct{ minutes, seconds, shift int }

// resolve turns what was understood into instants.
func (f found) resolve(o Options) Result {
	zone := o.zone()
	if f.zone != nil {
		zone = f.zone
	}
	if !f.instant.IsZero() {
		if f.part != "" {
			return Result{Problem: Unknown}
		}
		return Result{Readings: []Reading{{At: f.instant, Zone: zone}}}
	}
	if f.part != "" && !f.hasClock {
		return Result{Problem: NoTime}
	}
	today := civilOf(o.now())
	days := f.days
	if f.weekday >= 0 && f.hasDay {
		days = slices.DeleteFunc(slices.Clone(days), func(d ymd) bool { return weekdayOf(d) != f.weekday })
		if len(days) == 0 {
			return Result{Problem: Mismatch}
		}
	}
	if !f.hasClock {
		return f.wholeDays(days, today, zone)
	}
	moments, problem := f.moments()
	if problem != None {
		return Result{Problem: problem}
	}
	var out []Reading
	problem = Past
	add := func(d ymd, m moment) {
		times := wall(plusDays(d, m.shift), m.minutes, m.seconds, zone)
		if len(times) == 0 {
			problem = Gap
		}
		for _, t := range times {
			if !t.Before(o.Now) && !slices.ContainsFunc(out, func(r Reading) bool { return r.At.Equal(t) }) {
				out = append(out, Reading{At: t, Zone: zone})
			}
		}
	}
	for _, m := range moments {
		if len(days) == 0 { // a time alone is the next such time
			n := len(out)
			if add(today, m); len(out) == n {
				add(plusDays(today, 1), m)
			}
			continue
		}
		for _, d := range days {
			add(d, m)
		}
	}
	switch {
	case problem == Gap || len(out) == 0:
		return Result{Problem: problem}
	case len(out) > 3:
		return Result{Problem: Ambiguous}
	}
	slices.SortFunc(out, func(a, b Reading) int { return a.At.Compare(b.At) })
	return Result{Readings: out}
}

func (f found) wholeDays(days []ymd, today ymd, zone *time.Location) Result {
	var out []Reading
	for _, d := range days {
		if !d.before(today) {
			out = append(out, Reading{At: dayStart(d, zone), AllDay: true, Zone: zone})
		}
	}
	if len(out) == 0 {
		return Result{Problem: Past}
	}
	slices.SortFunc(out, func(a, b Reading) int { return a.At.Compare(b.At) })
	out = slices.CompactFunc(out, func(a, b Reading) bool { return a.At.Equal(b.At) })
	return Result{Readings: out}
}

// moments returns the times of day that the clock and the part of the day can mean together.
func (f found) moments() ([]moment, Problem) {
	switch {
	case f.midnight && f.part == "evening":
		return []moment{{shift: 1}}, None
	case f.noon && f.part != "", f.midnight && f.part != "" && f.part != "night":
		return nil, Mismatch
	case f.noon:
		return []moment{{minutes: 720}}, None
	case f.midnight: // the one that begins the day, or the one that ends it
		return []moment{{}, {shift: 1}}, None
	}
	c := f.clocks[0]
	total := c.h*60 + c.m
	if f.part != "" {
		return partMoments(c, parts[f.part])
	}
	if !c.twelve {
		switch {
		case c.h == 24:
			return []moment{{shift: 1}}, None
		case c.h == 0, c.h > 12, c.lead, f.iso, c.marked && c.digits == 2 && f.clock24:
			return []moment{{minutes: total, seconds: c.s}}, None
		case c.h == 12 && c.m == 0 && !c.marked: // "at 12": noon, or either midnight
			return []moment{{}, {minutes: 720}, {shift: 1}}, None
		}
	}
	t := total % 720
	return []moment{{minutes: t, seconds: c.s}, {minutes: t + 720, seconds: c.s}}, None
}

func partMoments(c clock, p part) ([]moment, Problem) {
	total := c.h*60 + c.m
	if !c.twelve && (c.h == 0 || c.h > 12) {
		for _, h := range []int{c.h, c.h + 24} {
			if h >= p.from && h < p.to {
				if p.to > 24 && c.h < p.to-24 {
					return []moment{{minutes: total, seconds: c.s}, {minutes: total, seconds: c.s, shift: 1}}, None
				}
				if c.h == 24 {
					return []moment{{shift: 1}}, None
				}
				return []moment{{minutes: total, seconds: c.s}}, None
			}
		}
		return nil, Mismatch
	}
	t := total % 720
	before := moment{minutes: t, seconds: c.s}
	after := moment{minutes: t + 720, seconds: c.s}
	nextDay := moment{minutes: t, seconds: c.s, shift: 1}
	switch p.dial[t/60] {
	case early:
		return []moment{before}, None
	case late:
		return []moment{after}, None
	case night:
		return []moment{before, nextDay}, None
	case either:
		return []moment{before, after, nextDay}, None
	case unsure:
		return nil, Ambiguous
	}
	return nil, Mismatch
}

// wall returns the instants at which clocks in zone show that time on that day: none when they jump over it, two when
// they are set back and show it twice.
func wall(d ymd, minutes, seconds int, zone *time.Location) []time.Time {
	as := time.Date(d.y, time.Month(d.m), d.d, 0, minutes, seconds, 0, time.UTC)
	var out []time.Time
	for _, around := range []time.Duration{-26 * time.Hour, 0, 26 * time.Hour} {
		_, offset := as.Add(around).In(zone).Zone()
		t := as.Add(-time.Duration(offset) * time.Second).In(zone)
		y, mo, da := t.Date()
		same := ymd{y, int(mo), da} == civilOf(as) && t.Hour() == as.Hour() && t.Minute() == as.Minute() && t.Second() == as.Second()
		if same && !slices.ContainsFunc(out, t.Equal) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// dayStart is the first instant of a day: midnight, or what clocks show first where they jump over midnight.
func dayStart(d ymd, zone *time.Location) time.Time {
	for minutes := 0; minutes < 24*60; minutes += 15 {
		if times := wall(d, minutes, 0, zone); len(times) > 0 {
			return times[0]
		}
	}
	return time.Date(d.y, time.Month(d.m), d.d, 0, 0, 0, 0, zone) // a day that a zone skipped (Samoa, 2011)
}

package calendar

import (
	"strings"
	"time"
	"unicode/utf8"

	"starling/bot"
	"starling/bot/when"
	"starling/locales"
)

// Fields of the draft besides those of the questions: the readings among which one is asked for.
const readings = "readings"

// wholeDay is the answer that there is no hour.
const wholeDay = "day"

// add reads what and when from one line. What is not surely understood is refused, what could be two things is asked.
func add(t *bot.Turn, a bot.Args) error {
	if t.Here.Encrypted && !t.Room.Encrypted {
		return bot.Refuse(AddThere{})
	}
	r, rest, found := when.Extract(a.Text("event"), t.Dates())
	if !found {
		r.Problem = when.Unknown
	}
	if r.Problem != when.None {
		return bot.Refuse(bot.Wrong{What: Why{Reason: reason(r.Problem)}, Example: locales.Safe(t.Locales().Text(t.Lang, "example.calendar.add"))})
	}
	d := bot.Draft{}
	settle(d, r.Readings)
	if rest = strings.Join(strings.Fields(rest), " "); rest != "" {
		if err := checkSummary(rest); err != nil {
			return err
		}
		d["summary"] = rest
	}
	return t.Start(addDialogue.Name, d)
}

func checkSummary(text string) error {
	if utf8.RuneCountInString(text) > maxSummary {
		return bot.Refuse(bot.TooLong{Count: maxSummary})
	}
	return nil
}

// reason says in the reader's words why a text is no date.
func reason(p when.Problem) locales.Term {
	switch p {
	case when.Past, when.NoDate, when.NoDay, when.NoTime, when.Mismatch, when.Gap, when.Repeats, when.Range:
		return locales.Term("calendar.why." + string(p))
	}
	return "calendar.why.unknown"
}

// settle takes over when it is; of several readings one will be asked for.
func settle(d bot.Draft, all []when.Reading) {
	delete(d, "when")
	delete(d, "time")
	var values []string
	for _, r := range all {
		values = append(values, r.String())
	}
	d[readings] = strings.Join(values, " ")
	if len(values) == 1 {
		d["when"] = values[0]
	}
}

// isDay is whether a value is a day without an hour.
func isDay(v string) bool { return len(v) == len(time.DateOnly) }

var addDialogue = bot.Dialogue{Name: "calendar.add", Steps: steps, Review: review, Done: save}

func steps(t *bot.Turn, d bot.Draft) []bot.Step {
	all := []bot.Step{
		{Field: "summary", Ask: AskSummary{}, Hint: HintSummary{}, Parse: func(_ *bot.Turn, text string) (string, error) {
			return strings.Join(strings.Fields(text), " "), checkSummary(text)
		}},
		askWhen(t, d),
	}
	if isDay(d["when"]) {
		all = append(all, askTime(d))
	}
	return all
}

// askWhen asks when it is; which of several readings, when what was said could be several.
func askWhen(t *bot.Turn, d bot.Draft) bot.Step {
	s := bot.Step{Field: "when", Ask: AskWhen{}, Hint: HintWhen{}, Parse: func(t *bot.Turn, text string) (string, error) {
		r := when.Parse(text, t.Dates())
		if r.Problem != when.None {
			return "", bot.Refuse(BadWhen{Reason: reason(r.Problem), Hint: HintWhen{}})
		}
		settle(d, r.Readings)
		if d["when"] == "" {
			return "", bot.ErrUnsettled
		}
		return d["when"], nil
	}}
	if several := strings.Fields(d[readings]); d["when"] == "" && len(several) > 1 {
		s.Ask, s.Hint = AskWhich{}, nil
		for _, v := range several {
			s.Choices = append(s.Choices, bot.Option{Value: v, Label: say(t, v)})
		}
	}
	return s
}

// askTime asks for the hour of a day.
func askTime(d bot.Draft) bot.Step {
	day := d["when"]
	return bot.Step{Field: "time", Ask: AskTime{}, Hint: HintTime{}, Choices: []bot.Option{{Value: wholeDay, Label: AllDay{}, Words: "calendar.words.all_day"}},
		Parse: func(t *bot.Turn, text string) (string, error) {
			r := when.Parse(day+" "+text, t.Dates())
			switch {
			case r.Problem == when.Past, r.Problem == when.Gap:
				return "", bot.Refuse(BadWhen{Reason: reason(r.Problem), Hint: HintTime{}})
			case r.Problem != when.None:
				return "", bot.Refuse(BadWhen{Reason: "calendar.why.hour", Hint: HintTime{}})
			case len(r.Readings) != 1:
				return "", bot.Refuse(BadWhen{Reason: "calendar.why.half", Hint: HintTime{}})
			case r.Readings[0].AllDay:
				return wholeDay, nil
			}
			return r.Readings[0].String(), nil
		}}
}

// say is a value of the draft as people read it, in full.
func say(t *bot.Turn, v string) any { return eventAt(t, v).say() }

// eventAt makes an event of a value.
func eventAt(t *bot.Turn, v string) event {
	zone := t.Zone()
	e := event{Zone: zone.String(), Status: confirmed}
	if day, err := time.ParseInLocation(time.DateOnly, v, zone); err == nil {
		e.Day, e.Start, e.End = v, day, day.AddDate(0, 0, 1)
		return e
	}
	e.Start, _ = time.Parse(time.RFC3339, v) // it is of a reading
	return e
}

// read makes a draft the event that it will be.
func read(t *bot.Turn, d bot.Draft) event {
	v := d["when"]
	if isDay(v) && d["time"] != wholeDay {
		v = d["time"]
	}
	e := eventAt(t, v)
	e.Summary = d["summary"]
	return e
}

// review reads the whole back: weekday, date, time and zone. Its lines are numbered like the questions.
func review(t *bot.Turn, d bot.Draft) any {
	e := read(t, d)
	r := Review{Summary: e.Summary, When: e.say()}
	if isDay(d["when"]) {
		v, _ := time.Parse(time.DateOnly, d["when"]) // it is one
		r.When = OnDay{Day: locales.DayOf(v.Year(), v.Month(), v.Day())}
		r.Time = AllDay{}
		if e.Day == "" {
			r.Time = OClock{At: locales.Time{At: e.Start}}
		}
	}
	c, err := t.Chapter(t.Room.Chapter)
	switch {
	case err == nil && c != nil:
		r.Chapter = c.Name
	case t.Here != t.Room:
		r.Room = t.Room.Called()
	}
	return r
}

// save keeps what was confirmed.
func save(t *bot.Turn, d bot.Draft) error {
	if err := t.MayKeep(); err != nil {
		return err
	}
	e := read(t, d)
	r, err := t.NewRecord(Kind, e, e.over().Add(keep))
	if err != nil {
		return err
	}
	if t.Here != t.Room {
		if _, err := t.Say(Added{Code: r.Code(), Summary: e.Summary, When: e.say()}, bot.About(r)); err != nil {
			return err
		}
	}
	return t.Done(Saved{Code: r.Code(), Summary: e.Summary, When: e.say()}, bot.About(r))
}

package needs

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"starling/bot"
	"starling/bot/when"
	"starling/locales"
)

// raise begins the dialogue with what was already said. A code alone shows that need.
func raise(t *bot.Turn, a bot.Args) error {
	text := a.Text("need")
	if !strings.ContainsFunc(text, unicode.IsSpace) {
		found, err := t.FindRecords(t.Room, text, Kind)
		if err != nil {
			return err
		}
		if len(found) == 1 && strings.Contains(text, "-") {
			return shown(t, found[0])
		}
	}
	if t.Here.Encrypted && !t.Room.Encrypted {
		return bot.Refuse(RaiseThere{Room: t.Room.Called()})
	}
	if text == "" {
		return t.Start(dialogue.Name, nil)
	}
	if err := checkText(text, maxText); err != nil {
		return err
	}
	known := bot.Draft{}
	hear(t, known, text)
	tellAt(t, known, "")
	delete(known, "heard") // the line stands: another wording of what is needed changes nothing else
	return t.Start(dialogue.Name, known)
}

func checkText(text string, limit int) error {
	switch {
	case utf8.RuneCountInString(text) > limit:
		return bot.Refuse(bot.TooLong{Count: limit})
	case !readable(text):
		return bot.Refuse(bot.Empty{})
	}
	return nil
}

var dialogue = bot.Dialogue{Name: "needs.raise", Steps: steps, Review: review, Done: save}

// steps lists the questions. For how many is not asked when the text says it.
func steps(t *bot.Turn, d bot.Draft) []bot.Step {
	what := bot.Step{Field: "what", Ask: AskWhat{}, Parse: func(t *bot.Turn, text string) (string, error) {
		if err := checkText(text, maxText); err != nil {
			return "", err
		}
		hear(t, d, text)
		if d["what"] == "" {
			d["what"] = text
		}
		tellAt(t, d, "what")
		return d["what"], nil
	}}
	for _, c := range categories {
		o := bot.Option{Value: chosen + c, Label: categoryName(c)}
		if c == other {
			o.Words = "needs.category.other.words"
		}
		what.Choices = append(what.Choices, o)
	}
	all := []bot.Step{what}
	if d["what"] == chosen+other {
		all = append(all, bot.Step{Field: "words", Ask: AskWords{}, Parse: limited(maxText)})
	}
	if d["what"] != "" && !saysMany(t, d) {
		all = append(all, bot.Step{Field: "many", Ask: AskMany{}, Hint: HintMany{}, Optional: true, Parse: func(t *bot.Turn, text string) (string, error) {
			if _, _, _, ok := number(t, text); !ok && !strings.ContainsFunc(text, unicode.IsLetter) {
				return "", bot.Refuse(BadMany{Hint: HintMany{}})
			}
			return limited(maxMany)(t, text)
		}})
	}
	all = append(all, askDue(d),
		bot.Step{Field: "place", Ask: AskPlace{}, Hint: HintPlace{}, Optional: true, Parse: limited(maxPlace)},
		askUrgency(),
		askWhom(t))
	for i := range all {
		if all[i].Field == d["tell"] {
			all[i].Before = understood(t, d)
		}
	}
	return all
}

// limited takes a text as it stands, in one line.
func limited(limit int) func(*bot.Turn, string) (string, error) {
	return func(_ *bot.Turn, text string) (string, error) {
		return strings.Join(strings.Fields(text), " "), checkText(text, limit)
	}
}

// saysMany is whether the words for what is needed say for how many, or how many of it.
func saysMany(t *bot.Turn, d bot.Draft) bool {
	_, _, _, ok := number(t, words(d))
	return ok
}

// words is what is needed in people's own words, "" when a category alone was chosen.
func words(d bot.Draft) string {
	if strings.HasPrefix(d["what"], chosen) {
		return d["words"]
	}
	return d["what"]
}

// askDue asks by when; which day, when that could be several.
func askDue(d bot.Draft) bot.Step {
	s := bot.Step{Field: "due", Ask: AskDue{}, Hint: HintDue{}, Parse: func(t *bot.Turn, text string) (string, error) {
		if when.Open(text, t.Langs()) {
			return noHurry, nil
		}
		r := when.Parse(text, t.Dates())
		if r.Problem != when.None {
			return "", bot.Refuse(BadDue{Reason: reason(r.Problem), Hint: HintDue{}})
		}
		settle(t, d, r.Readings)
		if d["due"] == "" {
			return "", bot.ErrUnsettled
		}
		d["heard"] = "due"
		tellAt(t, d, "due")
		return d["due"], nil
	}}
	if d["due"] == "" && d["readings"] != "" {
		s.Ask, s.Hint = AskDay{}, nil
		for _, v := range strings.Fields(d["readings"]) {
			s.Choices = append(s.Choices, bot.Option{Value: v, Label: sayDue(v)})
		}
	}
	return s
}

// sayDue is a value of the draft as people read it.
func sayDue(value string) any {
	at, _ := time.Parse(time.RFC3339, value) // else it is a day
	return sayDay(value, at)
}

// reason says in the reader's words why a text is no date.
func reason(p when.Problem) locales.Term {
	switch p {
	case when.Past, when.NoDate, when.NoDay, when.NoTime, when.Mismatch:
		return locales.Term("needs.due." + string(p))
	case when.Repeats, when.Range:
		return "needs.due.range"
	}
	return "needs.due.unknown"
}

func askUrgency() bot.Step {
	s := bot.Step{Field: "urgency", Ask: AskUrgency{}}
	for u := 1; u <= urgencies; u++ {
		s.Choices = append(s.Choices, bot.Option{Value: string(rune('0' + u)), Label: urgencyName(u)})
	}
	return s
}

// askWhom asks whom people should answer. A name is shown only because she chose it here.
func askWhom(t *bot.Turn) bot.Step {
	s := bot.Step{Field: "whom", Ask: AskWhom{}, Hint: HintWhom{}, Parse: limited(maxName), Choices: []bot.Option{{Value: chosen + here, Label: Here{}}}}
	if t.Person != nil && t.Person.Name != "" {
		s.Choices = append(s.Choices, bot.Option{Value: oneLine(t.Person.Name, maxName), Label: AskFor{Name: oneLine(t.Person.Name, maxName)}})
	}
	return s
}

// tellAt notes at which question it is said what was understood: the first open one after field.
func tellAt(t *bot.Turn, d bot.Draft, field string) {
	delete(d, "tell")
	all := steps(t, d)
	from := slices.IndexFunc(all, func(s bot.Step) bool { return s.Field == field }) + 1
	for _, s := range all[from:] {
		if d[s.Field] == "" {
			d["tell"] = s.Field
			return
		}
	}
}

// understood says how a free text was read; nil when there is nothing to tell.
func understood(t *bot.Turn, d bot.Draft) any {
	n := read(t, d)
	var parts []any
	fields := strings.Fields(d["heard"])
	if len(fields) == 0 { // a line
		fields = []string{"what", "due", "place"}
	}
	for _, field := range fields {
		switch {
		case field == "what" && n.Category != other && n.Many == "" && n.forWhom() != nil:
			parts = append(parts, What{Category: categoryName(n.Category), For: n.forWhom()})
		case field == "what" && n.Text != "":
			parts = append(parts, Bold{Text: oneLine(n.Text, 60)})
		case field == "due" && d["due"] != "":
			parts = append(parts, n.by())
		case field == "place" && n.Place != "":
			parts = append(parts, Place{Text: n.Place})
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return Heard{Parts: parts}
}

// read makes a draft the need that it will be.
func read(t *bot.Turn, d bot.Draft) need {
	n := need{Text: words(d), Place: d["place"], Contact: d["whom"], Many: d["many"]}
	n.Category = strings.TrimPrefix(d["what"], chosen)
	if n.Category == d["what"] {
		n.Category = category(t.Locales(), t.Langs(), n.Text)
	}
	if count, unit, rest, ok := number(t, n.Text); ok {
		n.Count, n.Unit = count, unit
		if unit != "" && isCategory(t, n.Category, rest) {
			n.Text = "" // "food for 20 people": all of it is understood
		}
	} else if count, unit, rest, ok = number(t, n.Many); ok && rest == "" {
		if n.Count, n.Unit = count, unit; unit == "" {
			n.Unit = "people"
		}
	}
	n.Day, n.Due = dueOf(t, d["due"])
	n.Urgency, _ = strconv.Atoi(d["urgency"]) // only the numbers of the choices get there
	if n.Contact == chosen+here {
		n.Contact = ""
	}
	return n
}

// review shows the whole, a line for each question.
func review(t *bot.Turn, d bot.Draft) any {
	delete(d, "tell")
	n := read(t, d)
	var r Review
	for i, s := range steps(t, d) {
		r.Lines = append(r.Lines, Line{Number: i + 1, Text: n.line(d, s.Field)})
	}
	c, err := t.Chapter(t.Room.Chapter)
	switch {
	case err == nil && c != nil:
		r.Stays = StaysChapter{Chapter: c.Name}
	case t.Here != t.Room:
		r.Stays = StaysRoom{Room: t.Room.Called()}
	default:
		r.Stays = StaysHere{}
	}
	return r
}

// line is what was answered to one question.
func (n need) line(d bot.Draft, field string) any {
	switch field {
	case "what":
		if n.Category == other && d["words"] != "" {
			return What{Category: categoryName(other)} // the words have their own line
		}
		return n.what()
	case "words":
		return Words{Text: n.Text}
	case "many":
		if who := n.forWhom(); who != nil {
			return who
		}
		return NoMany{}
	case "due":
		return n.by()
	case "place":
		if n.Place == "" {
			return NoPlace{}
		}
		return Place{Text: n.Place}
	case "urgency":
		return urgencyName(n.Urgency)
	}
	return n.whom()
}

// save keeps what was confirmed.
func save(t *bot.Turn, d bot.Draft) error {
	if err := t.MayKeep(); err != nil {
		return err
	}
	n := read(t, d)
	r, err := t.NewRecord(Kind, n, n.expires(t.Now()))
	if err != nil {
		return err
	}
	if t.Here != t.Room {
		if _, err := t.Say(Raised{Code: r.Code(), Urgency: urgencyName(n.Urgency), Lines: n.lines(t.Time)}, bot.About(r)); err != nil {
			return err
		}
	}
	return t.Done(Saved{Code: r.Code()}, bot.About(r))
}

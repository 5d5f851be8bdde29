package room

import (
	"errors"
	"slices"

	"starling/bot"
	"starling/locales"
	"starling/locales/markup"
)

type (
	// AskLanguage asks which language the room speaks.
	AskLanguage struct{}
	// AskChapter asks for the chapter's name. ChapterHint shows one, and says what a room without a chapter can do.
	AskChapter  struct{}
	ChapterHint struct{ Alone bool }
	// NameKnown says that there is a chapter of that name, AskPart asks whether this room is part of it, JoinIt is the answer that
	// it is, AnotherName how to answer that it is not.
	NameKnown   struct{ Name string }
	AskPart     struct{}
	JoinIt      struct{}
	AnotherName struct{}
	// SoFar is what a question would change.
	SoFar struct{ Value any }
	// Ready sums up and says what comes next.
	Ready struct {
		Chapter string
		Asked   string // the chapter that was asked to let this room in
		Taken   string // a name that another chapter took meanwhile
		Lang    locales.Lang
		Zone    locales.Zone
		Now     locales.Clock
		Raise   locales.Term
		Name    locales.Safe // the command that gives the chapter a name
		Help    locales.Safe
		Room    locales.Safe
	}
)

// joinIt stands for the name of a chapter that is there already.
const joinIt = "\x00join"

var setupDialogue = bot.Dialogue{Name: dialogueSetup, Effect: bot.Changes, Steps: setupSteps, Done: setupDone}

func setup(t *bot.Turn, _ bot.Args) error { return t.Start(dialogueSetup, nil) }

func setupSteps(t *bot.Turn, d bot.Draft) []bot.Step {
	steps := []bot.Step{languageStep(t.Room)}
	chapter, err := t.Chapter(t.Room.Chapter)
	if err != nil {
		panic(err)
	}
	if chapter == nil || t.Room.Speaks {
		steps = append(steps, chapterStep(d, chapter))
	}
	city := cityStep(d)
	if t.Room.Zone != "" {
		city.Optional, city.Before = true, SoFar{Value: locales.Zone(t.Room.Zone)}
	}
	return append(steps, city)
}

func languageStep(room *bot.Room) bot.Step {
	s := bot.Step{Field: "language", Ask: AskLanguage{}, Then: setLanguage, Parse: func(_ *bot.Turn, text string) (string, error) {
		l, ok := locales.LanguageNamed(text)
		if !ok {
			return "", bot.Refuse(bot.NoSuchLanguage{Text: markup.Truncate(text, 60), Known: languageNames()})
		}
		return l.Code, nil
	}}
	for _, l := range locales.Languages() {
		s.Choices = append(s.Choices, bot.Option{Value: l.Code, Label: bot.LanguageName{Lang: locales.Lang(l.Code)}})
	}
	if room.Lang != "" {
		s.Optional, s.Before = true, SoFar{Value: locales.Lang(room.Lang)}
	}
	return s
}

func languageNames() []any {
	var names []any
	for _, l := range locales.Languages() {
		names = append(names, bot.LanguageName{Lang: locales.Lang(l.Code)})
	}
	return names
}

// chapterStep asks for the name of the chapter; now is the one that the room belongs to.
func chapterStep(d bot.Draft, now *bot.Chapter) bot.Step {
	s := bot.Step{Field: "chapter", Ask: AskChapter{}, Hint: ChapterHint{Alone: now == nil}, Optional: true, Parse: func(t *bot.Turn, text string) (string, error) {
		if now == nil && isNo(t, text) {
			return "", nil
		}
		name, err := chapterName(t, text)
		if err != nil {
			return "", err
		}
		other, err := t.ChapterNamed(name)
		if err != nil || other == nil || now != nil && other.ID == now.ID {
			return name, err
		}
		if now != nil {
			return "", bot.Refuse(NameTaken{Name: name})
		}
		d["taken"] = other.Name
		return "", bot.ErrUnsettled
	}}
	switch {
	case now != nil:
		s.Before = SoFar{Value: now.Name}
	case d["taken"] != "":
		s.Before, s.Ask, s.Hint = NameKnown{Name: d["taken"]}, AskPart{}, AnotherName{}
		s.Choices = []bot.Option{{Value: joinIt, Label: JoinIt{}, Words: "word.yes"}}
	}
	return s
}

// isNo is whether somebody answered that there is none.
func isNo(t *bot.Turn, text string) bool {
	for _, words := range t.Locales().Words("word.no") {
		if slices.ContainsFunc(words, func(w string) bool { return markup.FoldWord(w) == markup.FoldWord(text) }) {
			return true
		}
	}
	return false
}

func setupDone(t *bot.Turn, d bot.Draft) error {
	if !t.Moderator() {
		return t.OnlyModerators()
	}
	if d["zone"] != "" {
		if err := setZone(t, d["zone"]); err != nil {
			return err
		}
	}
	r := Ready{Lang: locales.Lang(t.Room.Lang), Zone: locales.Zone(t.Room.Zone), Now: locales.Clock{At: t.Now(), Zone: t.Room.Zone}, Raise: raise(t.Room),
		Name: t.Command("room", "name"), Help: t.Command("starling"), Room: t.Command("room")}
	later := "" // the chapter that is not asked before she says again that it should be
	switch d["chapter"] {
	case "":
	case joinIt:
		other, err := t.ChapterNamed(d["taken"])
		if err != nil {
			return err
		}
		if other == nil || t.Room.Chapter != "" {
			break
		}
		var late *bot.Refusal
		if err := t.May(bot.Sends); errors.As(err, &late) {
			later = other.Name
			break
		} else if err != nil {
			return err
		}
		if err := askToJoin(t, other); err != nil {
			return err
		}
		r.Asked = other.Name
	default:
		err := nameChapter(t, d["chapter"])
		if errors.Is(err, bot.ErrNameTaken) {
			r.Taken = d["chapter"] // by somebody who was quicker
		} else if err != nil {
			return err
		}
	}
	chapter, err := t.Chapter(t.Room.Chapter)
	if err != nil {
		return err
	}
	if chapter != nil {
		r.Chapter = chapter.Name
	}
	if err := done(t, r); err != nil || later == "" {
		return err
	}
	return t.Run(later, "room", "join")
}

package room

import (
	"errors"

	"starling/bot"
	"starling/bot/when"
	"starling/locales"
	"starling/locales/markup"
)

type (
	// AskCity asks for a city, because nobody knows the name of a time zone. CityHint shows what one can write.
	AskCity  struct{}
	CityHint struct{}
	// AskWhichCity asks which of several cities of one name; Place is one of them.
	AskWhichCity struct{}
	Place        struct {
		City string
		Zone locales.Zone
	}
)

// cityStep asks for a city. Where several have the name and their clocks differ, it asks which.
func cityStep(d bot.Draft) bot.Step {
	s := bot.Step{Field: "zone", Ask: AskCity{}, Hint: CityHint{}, Parse: func(_ *bot.Turn, text string) (string, error) {
		places := when.FindZone(text)
		switch len(places) {
		case 0:
			return "", bot.Refuse(bot.NoSuchZone{Text: markup.Truncate(text, 60)})
		case 1:
			return places[0].Zone, nil
		}
		d["city"] = text
		return "", bot.ErrUnsettled
	}}
	places := when.FindZone(d["city"])
	if len(places) < 2 {
		return s
	}
	s.Ask, s.Hint = AskWhichCity{}, nil
	for _, p := range places {
		s.Choices = append(s.Choices, bot.Option{Value: p.Zone, Label: Place{City: p.City, Zone: locales.Zone(p.Zone)}})
	}
	return s
}

// zoneDialogue asks which city was meant, for the room or for the person alone.
var zoneDialogue = bot.Dialogue{
	Name:   dialogueZone,
	Effect: bot.Changes,
	Steps:  func(_ *bot.Turn, d bot.Draft) []bot.Step { return []bot.Step{cityStep(d)} },
	Done: func(t *bot.Turn, d bot.Draft) error {
		if d["whose"] == "mine" {
			return keepMyZone(t, d["zone"])
		}
		if !t.Moderator() {
			return t.OnlyModerators()
		}
		return keepZone(t, d["zone"])
	},
}

// zone reads a city that was typed with a command and goes on with keep, or asks which city was meant.
func zone(t *bot.Turn, city, whose, command string, keep func(*bot.Turn, string) error) error {
	d := bot.Draft{"whose": whose}
	value, err := cityStep(d).Parse(t, city)
	if err == bot.ErrUnsettled {
		return t.Start(dialogueZone, d)
	}
	var refused *bot.Refusal
	if errors.As(err, &refused) {
		return bot.Refuse(bot.Wrong{What: refused.Message, Example: locales.Safe(t.Locales().Text(t.Lang, "example."+command))})
	}
	if err != nil {
		return err
	}
	return keep(t, value)
}

func timezone(t *bot.Turn, a bot.Args) error {
	return zone(t, a.Text("city"), "room", "room.timezone", keepZone)
}

func keepZone(t *bot.Turn, name string) error {
	if err := setZone(t, name); err != nil {
		return err
	}
	return done(t, ZoneSet{Zone: locales.Zone(name), Now: locales.Clock{At: t.Now(), Zone: name}})
}

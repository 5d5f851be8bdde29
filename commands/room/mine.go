package room

import (
	"starling/bot"
	"starling/locales"
)

type (
	// Mine is what a person decided for herself.
	Mine struct {
		Lang     locales.Lang
		Zone     locales.Zone
		Language locales.Safe // the commands that change it
		Timezone locales.Safe
	}
	// NothingKept is said to who shares no room with the bot.
	NothingKept struct{}
	// MyLanguage and MyZone: what counts for her from now on.
	MyLanguage struct{ Lang locales.Lang }
	MyZone     struct {
		Zone locales.Zone
		Now  locales.Clock
	}
)

func mine(t *bot.Turn, _ bot.Args) error {
	if err := known(t); err != nil {
		return err
	}
	return t.Done(Mine{Lang: locales.Lang(t.Person.Lang), Zone: locales.Zone(t.Person.Zone),
		Language: t.Command("my", "language"), Timezone: t.Command("my", "timezone")})
}

// known refuses who shares no room with the bot: nothing is kept of strangers.
func known(t *bot.Turn) error {
	rooms, err := t.RoomsOf(t.Person.ID)
	if err != nil {
		return err
	}
	if len(rooms) == 0 {
		return bot.Refuse(NothingKept{})
	}
	return nil
}

func myLanguage(t *bot.Turn, a bot.Args) error {
	if err := known(t); err != nil {
		return err
	}
	t.Person.Lang = a.Text("language")
	if t.Here.Direct {
		t.Lang = t.Person.Lang
	}
	if err := t.SavePerson(t.Person); err != nil {
		return err
	}
	return t.Done(MyLanguage{Lang: locales.Lang(t.Person.Lang)})
}

func myTimezone(t *bot.Turn, a bot.Args) error {
	if err := known(t); err != nil {
		return err
	}
	return zone(t, a.Text("city"), "mine", "my.timezone", keepMyZone)
}

func keepMyZone(t *bot.Turn, name string) error {
	t.Person.Zone = name
	if err := t.SavePerson(t.Person); err != nil {
		return err
	}
	return t.Done(MyZone{Zone: locales.Zone(name), Now: locales.Clock{At: t.Now(), Zone: name}})
}

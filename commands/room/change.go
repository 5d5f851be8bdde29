package room

import (
	"slices"
	"strings"

	"starling/bot"
	"starling/locales"
)

type (
	// LanguageSet and ZoneSet: what this room now reads and by which clock.
	LanguageSet struct{ Lang locales.Lang }
	ZoneSet     struct {
		Zone locales.Zone
		Now  locales.Clock
	}
	// RaiseSet says who may raise an alert from now on.
	RaiseSet struct{ Raise locales.Term }
	// ConfirmSet says how people confirm from now on.
	ConfirmSet struct{ Word bool }
	// Paused and Resumed: whether anything from other chapters is shown here.
	Paused  struct{ Resume locales.Safe }
	Resumed struct{}
	// TurnedOff, TurnedOn and CannotTurnOff are about one command.
	TurnedOff struct {
		Command locales.Safe
		On      locales.Safe
	}
	TurnedOn      struct{ Command locales.Safe }
	CannotTurnOff struct{ Command locales.Safe }
	// Ignored, Heeded and CannotIgnore are about one person, IgnoredPeople about all.
	Ignored struct {
		Name string
		Heed locales.Safe
	}
	Heeded        struct{ Name string }
	CannotIgnore  struct{ Name string }
	IgnoredPeople struct{ Names []string }
)

func language(t *bot.Turn, a bot.Args) error {
	if err := setLanguage(t, a.Text("language")); err != nil {
		return err
	}
	return done(t, LanguageSet{Lang: locales.Lang(a.Text("language"))})
}

// setLanguage makes it the room's, and this turn's where it is spoken in the room itself.
func setLanguage(t *bot.Turn, lang string) error {
	t.Room.Lang = lang
	if t.Here.ID == t.Room.ID {
		t.Lang = lang
	}
	return t.SaveRoom(t.Room)
}

func setZone(t *bot.Turn, zone string) error {
	t.Room.Zone = zone
	return t.SaveRoom(t.Room)
}

// set writes one setting; the value "" is the default.
func set(t *bot.Turn, setting, value string) error {
	if value == "" {
		delete(t.Room.Settings, setting)
	} else {
		t.Room.Settings[setting] = value
	}
	return t.SaveRoom(t.Room)
}

func alerts(t *bot.Turn, a bot.Args) error {
	if err := set(t, bot.SettingRaise, a.Text("who")); err != nil {
		return err
	}
	return done(t, RaiseSet{Raise: raise(t.Room)})
}

func confirm(t *bot.Turn, a bot.Args) error {
	if err := set(t, bot.SettingConfirm, a.Text("how")); err != nil {
		return err
	}
	return done(t, ConfirmSet{Word: t.Room.ConfirmByWord()})
}

func pause(t *bot.Turn, _ bot.Args) error {
	if err := set(t, bot.SettingPaused, "yes"); err != nil {
		return err
	}
	return done(t, Paused{Resume: t.Command("room", "resume")})
}

func resume(t *bot.Turn, _ bot.Args) error {
	if err := set(t, bot.SettingPaused, ""); err != nil {
		return err
	}
	return done(t, Resumed{})
}

// alwaysOn is what nobody can be left without: help, the way back, and the way out.
var alwaysOn = []string{"starling", "room", "my", "forget"}

func off(t *bot.Turn, a bot.Args) error {
	command := strings.Fields(a.Text("command"))[0]
	if slices.Contains(alwaysOn, command) {
		return bot.Refuse(CannotTurnOff{Command: t.Command(command)})
	}
	if !t.Room.Off(command) {
		if err := set(t, bot.SettingOff, strings.TrimSpace(t.Room.Settings[bot.SettingOff]+" "+command)); err != nil {
			return err
		}
	}
	return done(t, TurnedOff{Command: t.Command(command), On: t.Command("room", "on") + " " + bare(t.Command(command))})
}

func on(t *bot.Turn, a bot.Args) error {
	command := strings.Fields(a.Text("command"))[0]
	rest := slices.DeleteFunc(strings.Fields(t.Room.Settings[bot.SettingOff]), func(c string) bool { return c == command })
	if err := set(t, bot.SettingOff, strings.Join(rest, " ")); err != nil {
		return err
	}
	return done(t, TurnedOn{Command: t.Command(command)})
}

func ignore(t *bot.Turn, a bot.Args) error {
	p := a.Person("person")
	if p == nil {
		return ignored(t)
	}
	m, err := t.Tx.Member(t.Room.ID, p.ID)
	if err != nil {
		return err
	}
	if m == nil {
		return bot.Refuse(bot.NoSuchPerson{Text: p.Name})
	}
	if m.Moderator {
		return bot.Refuse(CannotIgnore{Name: p.Name})
	}
	m.Ignored = true
	if err := t.SaveMember(t.Room.ID, *m); err != nil {
		return err
	}
	return done(t, Ignored{Name: p.Name, Heed: t.Command("room", "heed")})
}

func heed(t *bot.Turn, a bot.Args) error {
	p := a.Person("person")
	m, err := t.Tx.Member(t.Room.ID, p.ID)
	if err != nil {
		return err
	}
	if m == nil {
		return bot.Refuse(bot.NoSuchPerson{Text: p.Name})
	}
	m.Ignored = false
	if err := t.SaveMember(t.Room.ID, *m); err != nil {
		return err
	}
	return done(t, Heeded{Name: p.Name})
}

// ignored lists whom the bot does not listen to in this room.
func ignored(t *bot.Turn) error {
	members, err := t.Members(t.Room.ID)
	if err != nil {
		return err
	}
	var list IgnoredPeople
	for _, m := range members {
		if !m.Ignored {
			continue
		}
		p, err := t.Tx.Person(m.Person)
		if err != nil {
			return err
		}
		if p != nil {
			list.Names = append(list.Names, p.Name)
		}
	}
	return done(t, list)
}

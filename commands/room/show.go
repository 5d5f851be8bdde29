package room

import (
	"strings"

	"starling/bot"
	"starling/locales"
)

// Settings is how a room is set.
type Settings struct {
	Room    any // its name, where it is looked at from elsewhere
	Chapter string
	Speaks  bool
	Lang    locales.Lang
	Zone    locales.Zone
	Now     locales.Clock
	Raise   locales.Term
	Hears   []string
	Asked   []string // chapters that have not answered yet
	Off     []any
	Paused  bool
	Word    bool
	Setup   locales.Safe // for who may change it
	Help    locales.Safe
}

func show(t *bot.Turn, _ bot.Args) error {
	r := t.Room
	s := Settings{Speaks: r.Speaks, Lang: locales.Lang(r.Lang), Zone: locales.Zone(r.Zone), Now: locales.Clock{At: t.Now(), Zone: r.Zone},
		Raise: raise(r), Paused: r.Settings[bot.SettingPaused] == "yes", Word: r.ConfirmByWord()}
	if t.Here.ID != r.ID {
		s.Room = r.Called()
	}
	chapter, err := t.Chapter(r.Chapter)
	if err != nil {
		return err
	}
	if chapter != nil {
		s.Chapter = chapter.Name
	}
	follows, err := t.Following(r.ID)
	if err != nil {
		return err
	}
	for _, f := range follows {
		c, err := t.Chapter(f.Chapter)
		if err != nil {
			return err
		}
		switch {
		case c == nil:
		case f.Active:
			s.Hears = append(s.Hears, c.Name)
		default:
			s.Asked = append(s.Asked, c.Name)
		}
	}
	for _, c := range strings.Fields(r.Settings[bot.SettingOff]) {
		s.Off = append(s.Off, "`"+t.Command(c)+"`")
	}
	if t.Moderator() {
		s.Setup, s.Help = t.Command("room", "setup"), t.Command("starling")+" "+bare(t.Command("room"))
	}
	return t.Done(s)
}

// bare is a command without its slash, as it stands after another.
func bare(command locales.Safe) locales.Safe {
	return locales.Safe(strings.TrimPrefix(string(command), "/"))
}

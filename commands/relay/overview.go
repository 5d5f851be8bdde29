package relay

import (
	"slices"

	"starling/bot"
	"starling/locales"
)

// maxListed bounds how many listed chapters are offered at once.
const maxListed = 10

// overview says what this room hears, who hears its chapter, and what is still open.
func overview(t *bot.Turn, _ bot.Args) error {
	c, err := own(t)
	if err != nil {
		return err
	}
	if c == nil {
		return t.Done(NoChapter{})
	}
	visible, err := t.VisibleChapters(t.Room)
	if err != nil {
		return err
	}
	wishes, err := asks(t.Tx, `room = $1 AND state = $2 AND asker = $3`, t.Room.ID, waiting, c.ID)
	if err != nil {
		return err
	}
	mod := t.Moderator()
	msg := Overview{Hears: Hears{Paused: t.Room.Settings[bot.SettingPaused] == "yes"}, Moderator: mod, Deciding: mod && t.Room.Speaks, Listed: c.Listed, Open: c.Open}
	for _, o := range visible { // what this room may not know of is not in it, asked or not
		if o.ID == c.ID {
			continue
		}
		name, err := t.NameIn(t.Room, o)
		if err != nil {
			return err
		}
		hears, err := heard(t.Tx, t.Room.ID, o.ID)
		if err != nil {
			return err
		}
		asked := slices.IndexFunc(wishes, func(a ask) bool { return a.Chapter == o.ID })
		switch {
		case hears:
			msg.Hears.Chapters = append(msg.Hears.Chapters, name)
		case asked >= 0:
			msg.Waiting = append(msg.Waiting, Since{Chapter: name, Day: locales.Day{At: wishes[asked].At}})
		case o.Listed && mod && len(msg.Others) < maxListed:
			if there, err := spokesroom(t.Tx, o); err != nil {
				return err
			} else if there != nil {
				msg.Others = append(msg.Others, name)
			}
		}
	}
	list, err := hearing(t, c)
	if err != nil {
		return err
	}
	msg.Own, msg.Heard = list.own, list.message(mod)
	if msg.Deciding {
		if msg.Asking, msg.No, err = askers(t, c); err != nil {
			return err
		}
	}
	return t.Done(msg)
}

package rig

import (
	"fmt"
	"slices"
	"time"

	"starling/bot"
	"starling/locales"
)

// Home is a room that was set up long before a conversation begins: nothing is said about it.
type Home struct {
	Adapter string
	Room    Room
	Lang    string // "": it never chose one
	Zone    string
	Chapter string   // the name of a new chapter, or of one that it is a further room of; "" without one
	Follows []string // names of the chapters that it hears
	Since   time.Time
}

// Members reads the list of a room's people as directives have it: "luc,ines*".
func Members(list string) []Member { return members(list) }

// SetUp lets the engine know the room as if that had been so for long.
func (h Home) SetUp(tx *bot.Tx) error {
	if h.Lang != "" && !slices.ContainsFunc(locales.Languages(), func(l locales.Language) bool { return l.Code == h.Lang }) {
		return fmt.Errorf("the bot does not speak %q", h.Lang)
	}
	room := &bot.Room{Adapter: h.Adapter, Address: h.Room.ID, Name: h.Room.Name, Joined: true, Encrypted: h.Room.Encrypted, Lang: h.Lang, Zone: h.Zone}
	if err := tx.SaveRoom(room); err != nil {
		return err
	}
	for _, m := range h.Room.Members {
		who, err := tx.Meet(room.Adapter, m.Person, m.Name)
		if err != nil {
			return err
		}
		if err := tx.SaveMember(room.ID, bot.Member{Person: who.ID, Moderator: m.Moderator, Present: true, Since: h.Since}); err != nil {
			return err
		}
	}
	if err := h.chapter(tx, room); err != nil {
		return err
	}
	for _, name := range h.Follows {
		c, err := tx.ChapterNamed(name)
		if err != nil {
			return err
		}
		if c == nil {
			return fmt.Errorf("there is no chapter %s", name)
		}
		if err := tx.SetFollow(bot.Follow{Room: room.ID, Chapter: c.ID, Active: true}); err != nil {
			return err
		}
	}
	return nil
}

func (h Home) chapter(tx *bot.Tx, room *bot.Room) error {
	if h.Chapter == "" {
		return nil
	}
	c, err := tx.ChapterNamed(h.Chapter)
	if err != nil {
		return err
	}
	if c == nil {
		_, err = tx.NewChapter(room, h.Chapter)
		return err
	}
	room.Chapter = c.ID
	return tx.SaveRoom(room)
}

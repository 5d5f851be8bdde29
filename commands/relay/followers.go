package relay

import (
	"slices"

	"starling/bot"
	"starling/locales/markup"
)

// followers lists who hears this chapter, and who asks to.
func followers(t *bot.Turn, _ bot.Args) error {
	c, err := own(t)
	if err != nil {
		return err
	}
	list, err := hearing(t, c)
	if err != nil {
		return err
	}
	msg := Followers{Heard: list.message(true)}
	if len(list.chapters) > 0 {
		msg.Example = list.chapters[0]
	}
	if msg.Asking, msg.No, err = askers(t, c); err != nil {
		return err
	}
	return t.Done(msg)
}

// hearers is which chapters hear one.
type hearers struct {
	own      bot.ChapterName
	chapters []any
}

func hearing(t *bot.Turn, c *bot.Chapter) (h hearers, err error) {
	if h.own, err = t.NameIn(t.Room, c); err != nil {
		return h, err
	}
	rooms, err := followerRooms(t.Tx, c.ID)
	if err != nil {
		return h, err
	}
	visible, err := t.VisibleChapters(t.Room)
	if err != nil {
		return h, err
	}
	for _, v := range visible {
		if len(rooms[v.ID]) == 0 {
			continue
		}
		name, err := t.NameIn(t.Room, v)
		if err != nil {
			return h, err
		}
		h.chapters = append(h.chapters, name)
	}
	return h, nil
}

// message says how many hear the chapter, and, to who may know, which.
func (h hearers) message(names bool) any {
	if len(h.chapters) == 0 {
		return NotHeard{Own: h.own}
	}
	msg := HeardBy{Own: h.own, Count: len(h.chapters)}
	if names {
		msg.Chapters = h.chapters
	}
	return msg
}

// askers names the chapters that wait for this one's answer, the first to ask first; no is that one, unless it hears this
// chapter in another room already.
func askers(t *bot.Turn, c *bot.Chapter) (names []any, no any, err error) {
	all, err := asking(t.Tx, c.ID)
	if err != nil {
		return nil, nil, err
	}
	hearing, err := followerRooms(t.Tx, c.ID)
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	for _, a := range all {
		asker, err := t.Chapter(a.Asker)
		if err != nil {
			return nil, nil, err
		}
		if asker == nil || seen[asker.ID] {
			continue
		}
		seen[asker.ID] = true
		name, err := t.NameIn(t.Room, asker)
		if err != nil {
			return nil, nil, err
		}
		if names == nil && len(hearing[asker.ID]) == 0 {
			no = name
		}
		names = append(names, name)
	}
	return names, no, nil
}

// between finds the chapter that was named among those that hear this one or ask to, with its rooms and its asks.
func between(t *bot.Turn, c *bot.Chapter, typed string) (other *bot.Chapter, rooms []*bot.Room, open []ask, err error) {
	byChapter, err := followerRooms(t.Tx, c.ID)
	if err != nil {
		return nil, nil, nil, err
	}
	all, err := asking(t.Tx, c.ID)
	if err != nil {
		return nil, nil, nil, err
	}
	var among []*bot.Chapter
	add := func(id string) error {
		if slices.ContainsFunc(among, func(o *bot.Chapter) bool { return o.ID == id }) {
			return nil
		}
		o, err := t.Chapter(id)
		if o != nil {
			among = append(among, o)
		}
		return err
	}
	for id := range byChapter {
		if err := add(id); err != nil {
			return nil, nil, nil, err
		}
	}
	for _, a := range all {
		if err := add(a.Asker); err != nil {
			return nil, nil, nil, err
		}
	}
	if other = bot.PickChapter(among, typed); other == nil {
		return nil, nil, nil, nil
	}
	for _, a := range all {
		if a.Asker == other.ID {
			open = append(open, a)
		}
	}
	return other, byChapter[other.ID], open, nil
}

// allow says yes to every room of a chapter that asks: for who no longer finds the question.
func allow(t *bot.Turn, a bot.Args) error {
	c, err := deciding(t)
	if err != nil {
		return err
	}
	typed := a.Text("chapter")
	other, _, open, err := between(t, c, typed)
	if err != nil {
		return err
	}
	if len(open) == 0 {
		return t.Done(NotAsking{Name: markup.Truncate(typed, maxName)})
	}
	names, err := bothIn(t.Tx, t.Room, c, other)
	if err != nil {
		return err
	}
	clear := false
	for _, wish := range open {
		room, err := t.Tx.Room(wish.Room)
		if err != nil {
			return err
		}
		c, err := agree(t.Tx, c, wish, room)
		if err != nil {
			return err
		}
		clear = clear || c
	}
	return t.Done(Agreed{Own: names.own, Chapter: names.other, Clear: clear})
}

// remove ends at once what a chapter hears of this one, in all its rooms; what it asked is declined.
func remove(t *bot.Turn, a bot.Args) error {
	c, err := deciding(t)
	if err != nil {
		return err
	}
	typed := a.Text("chapter")
	other, rooms, open, err := between(t, c, typed)
	if err != nil {
		return err
	}
	if other == nil {
		return t.Done(NotFollowing{Name: markup.Truncate(typed, maxName)})
	}
	names, err := bothIn(t.Tx, t.Room, c, other)
	if err != nil {
		return err
	}
	told := false
	for _, wish := range open {
		room, err := t.Tx.Room(wish.Room)
		if err != nil {
			return err
		}
		if told, err = decline(t.Tx, wish, room); err != nil {
			return err
		}
	}
	for _, room := range rooms {
		if err := sendAway(t, c, other, room); err != nil {
			return err
		}
	}
	if len(rooms) == 0 {
		return t.Done(Declined{Own: names.own, Chapter: names.other, Told: told})
	}
	return t.Done(Removed{Own: names.own, Chapter: names.other})
}

// sendAway ends what one room hears of a chapter and tells it so.
func sendAway(t *bot.Turn, c, other *bot.Chapter, room *bot.Room) error {
	if _, err := tell(t.Tx, room, c.ID, func(name bot.ChapterName) any { return RemovedThere{Chapter: name} }); err != nil {
		return err
	}
	if _, err := t.EndFollow(room.ID, c.ID); err != nil {
		return err
	}
	return settle(t.Tx, ask{Room: room.ID, Chapter: c.ID, Asker: other.ID, At: t.Now()}, declined)
}

// setOpen says whether chapters that want to hear this one must ask.
func setOpen(t *bot.Turn, a bot.Args) error {
	c, name, err := choosing(t)
	if err != nil {
		return err
	}
	c.Open = a.Text("switch") == "on"
	return choose(t, c, c.Open, Opened{Own: name, Hidden: !c.Listed}, Closed{Own: name})
}

// setListed says whether other chapters see that this one exists.
func setListed(t *bot.Turn, a bot.Args) error {
	c, name, err := choosing(t)
	if err != nil {
		return err
	}
	c.Listed = a.Text("switch") == "on"
	return choose(t, c, c.Listed, Listed{Own: name}, Unlisted{Own: name})
}

// choose keeps what was chosen: more than before is shown only on a word that is fresh.
func choose(t *bot.Turn, c *bot.Chapter, more bool, yes, no any) error {
	if more {
		if err := t.May(bot.Sends); err != nil {
			return err
		}
	}
	if err := t.SaveChapter(c); err != nil {
		return err
	}
	if more {
		return t.Done(yes)
	}
	return t.Done(no)
}

func choosing(t *bot.Turn) (*bot.Chapter, bot.ChapterName, error) {
	c, err := deciding(t)
	if err != nil {
		return nil, bot.ChapterName{}, err
	}
	name, err := t.NameIn(t.Room, c)
	return c, name, err
}

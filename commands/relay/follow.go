package relay

import (
	"starling/bot"
	"starling/locales"
	"starling/locales/markup"
)

// maxName bounds how much of a name that somebody typed is said back, in characters.
const maxName = 60

// maxNames bounds how many names a line lists.
const maxNames = 5

// follow asks a chapter whether this room may hear it.
func follow(t *bot.Turn, a bot.Args) error {
	typed := a.Text("chapter")
	c, err := t.FindChapter(t.Room, typed)
	if err != nil {
		return err
	}
	if c != nil {
		msg, err := request(t, c)
		if err != nil {
			return err
		}
		return t.Done(msg)
	}
	// The name of a chapter that is not listed, or of none: the answer is the same.
	if c, err = t.ChapterNamed(typed); err != nil {
		return err
	}
	if c != nil {
		msg, err := request(t, c)
		if err != nil {
			return err
		}
		if now, ok := msg.(HearsNow); ok { // it is open to all who know its name
			return t.Done(now)
		}
	}
	return t.Done(AskedIf{Name: markup.Truncate(typed, maxName)})
}

// request puts the wish of this turn's room to a chapter, if it can be put now, and gives what a room that knows of that
// chapter reads.
func request(t *bot.Turn, c *bot.Chapter) (any, error) {
	name, err := t.NameIn(t.Room, c)
	if err != nil {
		return nil, err
	}
	if c.ID == t.Room.Chapter {
		return OwnChapter{Own: name}, nil
	}
	if hears, err := heard(t.Tx, t.Room.ID, c.ID); err != nil || hears {
		return Already{Chapter: name}, err
	}
	before, err := askOf(t.Tx, t.Room.ID, c.ID)
	if err != nil {
		return nil, err
	}
	if before != nil && before.State == waiting {
		if before.Asker == t.Room.Chapter {
			return AskedBefore{Chapter: name, Day: locales.Day{At: before.At}}, nil
		}
		if err := takeBack(t.Tx, *before); err != nil { // the room asked for another chapter, then
			return nil, err
		}
	}
	no, err := refused(t.Tx, c.ID, t.Room.Chapter)
	if err != nil {
		return nil, err
	}
	if again := no.Add(pause); t.Now().Before(again) {
		return SaidNo{Chapter: name, Again: locales.Time{At: again}}, nil
	}
	to, err := spokesroom(t.Tx, c)
	if err != nil {
		return nil, err
	}
	if to == nil {
		return OutOfReach{Chapter: name}, nil
	}
	asker, err := own(t)
	if err != nil {
		return nil, err
	}
	clear, err := leavesOut(t.Tx, c, t.Room)
	if err != nil {
		return nil, err
	}
	there, err := bothIn(t.Tx, to, c, asker)
	if err != nil {
		return nil, err
	}
	wish := ask{Room: t.Room.ID, Chapter: c.ID, Asker: asker.ID, At: t.Now()}
	if c.Open && no.IsZero() {
		wish.State = agreed
		if err := saveAsk(t.Tx, wish); err != nil {
			return nil, err
		}
		if err := t.SetFollow(bot.Follow{Room: t.Room.ID, Chapter: c.ID, Active: true}); err != nil {
			return nil, err
		}
		_, err = t.Post(to.ID, HeardNow{Own: there.own, Chapter: there.other, Clear: clear})
		return HearsNow{Chapter: name, Clear: clear}, err
	}
	another, err := hearsAnywhere(t.Tx, asker.ID, c.ID)
	if err != nil {
		return nil, err
	}
	question := AskToHear{Own: there.own, Chapter: there.other, Another: another, Clear: clear, Word: to.ConfirmByWord()}
	opts := []bot.PostOption{bot.Topic(topicAsk, wish.ref())}
	if !question.Word {
		opts = append(opts, bot.Buttons("✅", "❌"))
	}
	if wish.Question, err = t.Post(to.ID, question, opts...); err != nil {
		return nil, err
	}
	return Asked{Chapter: name}, saveAsk(t.Tx, wish)
}

// heard is whether a room hears a chapter.
func heard(tx *bot.Tx, room bot.RoomID, chapter string) (bool, error) {
	all, err := tx.Following(room)
	for _, f := range all {
		if f.Chapter == chapter && f.Active {
			return true, err
		}
	}
	return false, err
}

// hearsAnywhere is whether some room of a chapter hears another chapter.
func hearsAnywhere(tx *bot.Tx, asker, chapter string) (bool, error) {
	rooms, err := followerRooms(tx, chapter)
	return len(rooms[asker]) > 0, err
}

// followerRooms gives the rooms that hear a chapter, by their own chapters.
func followerRooms(tx *bot.Tx, chapter string) (map[string][]*bot.Room, error) {
	all, err := tx.Followers(chapter)
	if err != nil {
		return nil, err
	}
	rooms := map[string][]*bot.Room{}
	for _, f := range all {
		r, err := tx.Room(f.Room)
		if err != nil {
			return nil, err
		}
		if f.Active && r.Chapter != "" {
			rooms[r.Chapter] = append(rooms[r.Chapter], r)
		}
	}
	return rooms, nil
}

// spokesroom is where a chapter is asked: its first room, else another that may speak for it; nil when the bot is in none.
func spokesroom(tx *bot.Tx, c *bot.Chapter) (*bot.Room, error) {
	rooms, err := tx.RoomsOfChapter(c.ID)
	if err != nil {
		return nil, err
	}
	var found *bot.Room
	for _, r := range rooms {
		if r.ID == c.Room {
			return r, nil
		}
		if r.Speaks && found == nil {
			found = r
		}
	}
	return found, nil
}

// leavesOut is whether some of what a chapter shares cannot go to a room: from an encrypted room nothing goes to one that is not.
func leavesOut(tx *bot.Tx, c *bot.Chapter, to *bot.Room) (bool, error) {
	rooms, err := tx.RoomsOfChapter(c.ID)
	for _, r := range rooms {
		if r.Encrypted && !to.Encrypted {
			return true, err
		}
	}
	return false, err
}

// pair is how a room reads its own chapter and another one.
type pair struct{ own, other bot.ChapterName }

func bothIn(tx *bot.Tx, room *bot.Room, own, other *bot.Chapter) (p pair, err error) {
	if p.own, err = tx.NameIn(room, own, other); err != nil {
		return p, err
	}
	p.other, err = tx.NameIn(room, other)
	return p, err
}

// answered takes what somebody in the asked chapter's room says to the question.
func answered(t *bot.Turn, ref string, a bot.Answer) error {
	if !a.On || !a.Yes && !a.No && !a.Typed {
		return nil
	}
	if !t.Moderator() {
		return notTheirs(t, ref, a)
	}
	if a.Yes && !a.Typed && t.Room.ConfirmByWord() {
		return bot.Refuse(bot.TypeYes{})
	}
	wish, err := askNamed(t.Tx, ref)
	if err != nil {
		return err
	}
	if wish == nil || wish.Chapter != t.Room.Chapter {
		return t.Done(NoLongerAsked{})
	}
	c, err := deciding(t)
	if err != nil {
		return err
	}
	room, err := wish.room(t.Tx)
	if err != nil {
		return err
	}
	asker, err := t.Chapter(wish.Asker)
	if err != nil {
		return err
	}
	if room == nil || asker == nil {
		return t.Done(NoLongerAsked{})
	}
	names, err := bothIn(t.Tx, t.Room, c, asker)
	if err != nil {
		return err
	}
	switch {
	case wish.State != waiting:
		if a.Yes == (wish.State == agreed) && !a.Typed {
			return nil // of one mind
		}
		return t.Done(Decided{Chapter: names.other, Yes: wish.State == agreed})
	case a.Yes:
		if err := t.May(bot.Sends); err != nil {
			return err
		}
		clear, err := agree(t.Tx, c, *wish, room)
		if err != nil {
			return err
		}
		return t.Done(Agreed{Own: names.own, Chapter: names.other, Clear: clear})
	case a.No:
		if err := t.May(bot.Changes); err != nil {
			return err
		}
		told, err := decline(t.Tx, *wish, room)
		if err != nil {
			return err
		}
		return t.Done(Declined{Own: names.own, Chapter: names.other, Told: told})
	}
	// People may talk about it by replying.
	if first, err := t.Once("relay talk " + ref); err != nil || !first {
		return err
	}
	return t.Done(YesOrNo{Word: t.Room.ConfirmByWord()})
}

// notTheirs says once, however many react, who decides.
func notTheirs(t *bot.Turn, ref string, a bot.Answer) error {
	if !a.Yes && !a.No {
		return nil
	}
	if first, err := t.Once("relay " + ref); err != nil || !first {
		return err
	}
	names, err := t.Moderators(t.Room.ID)
	if err != nil {
		return err
	}
	return t.Done(bot.OnlyModerators{Names: names[:min(len(names), maxNames)]})
}

// agree makes a room hear a chapter and tells it so.
func agree(tx *bot.Tx, c *bot.Chapter, wish ask, room *bot.Room) (clear bool, err error) {
	if err := tx.SetFollow(bot.Follow{Room: room.ID, Chapter: c.ID, Active: true}); err != nil {
		return false, err
	}
	if err := settle(tx, wish, agreed); err != nil {
		return false, err
	}
	if clear, err = leavesOut(tx, c, room); err != nil {
		return false, err
	}
	_, err = tell(tx, room, c.ID, func(name bot.ChapterName) any { return AgreedThere{Chapter: name, Clear: clear} })
	return clear, err
}

// decline says no. The asking room is told once, unless that alone would show it that there is such a chapter.
func decline(tx *bot.Tx, wish ask, room *bot.Room) (told bool, err error) {
	if err := settle(tx, wish, declined); err != nil {
		return false, err
	}
	return tell(tx, room, wish.Chapter, func(c bot.ChapterName) any { return DeclinedThere{Chapter: c} })
}

// unfollow ends what this room hears of a chapter, or takes its question back.
func unfollow(t *bot.Turn, a bot.Args) error {
	typed := a.Text("chapter")
	c, err := t.FindChapter(t.Room, typed)
	if err != nil {
		return err
	}
	known := c != nil
	if !known {
		if c, err = t.ChapterNamed(typed); err != nil {
			return err
		}
	}
	nothing := HearsNothing{Name: markup.Truncate(typed, maxName)}
	if c == nil {
		return t.Done(nothing)
	}
	name, err := t.NameIn(t.Room, c)
	if err != nil {
		return err
	}
	if c.ID == t.Room.Chapter {
		return t.Done(OwnChapter{Own: name})
	}
	ended, err := t.EndFollow(t.Room.ID, c.ID)
	if err != nil {
		return err
	}
	if ended {
		if err := drop(t.Tx, t.Room.ID, c.ID); err != nil {
			return err
		}
		return t.Done(Unfollowed{Chapter: name})
	}
	wish, err := askOf(t.Tx, t.Room.ID, c.ID)
	if err != nil {
		return err
	}
	if wish == nil || wish.State != waiting {
		return t.Done(nothing)
	}
	if err := takeBack(t.Tx, *wish); err != nil {
		return err
	}
	if !known {
		return t.Done(nothing)
	}
	return t.Done(TakenBack{Chapter: name})
}

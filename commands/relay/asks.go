package relay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"starling/bot"
)

// States of an ask.
const (
	waiting = iota
	agreed
	declined // or ended by the chapter that was heard
)

// ask is one room's wish to hear one chapter, as it was put to that chapter last.
type ask struct {
	Room     bot.RoomID
	Chapter  string // that is asked
	Asker    string // the chapter of the room when it asked
	At       time.Time
	State    int
	Settled  time.Time // when it was answered; zero while it waits
	Question bot.RowID
}

// ref names this very ask in the topic of its question: an older question of the same room is another one.
func (a ask) ref() string { return fmt.Sprintf("%d %s %d", a.Room, a.Chapter, a.At.UnixMilli()) }

func asks(tx *bot.Tx, where string, args ...any) ([]ask, error) {
	var all []ask
	err := tx.Each(`SELECT room, chapter, asker, at, state, settled, question FROM relay_asks WHERE `+where+` ORDER BY at, room, chapter`, args, func(row bot.Row) error {
		var a ask
		var at, settled int64
		err := row.Scan(&a.Room, &a.Chapter, &a.Asker, &at, &a.State, &settled, &a.Question)
		a.At, a.Settled = time.UnixMilli(at), time.UnixMilli(settled)
		all = append(all, a)
		return err
	})
	return all, err
}

// askOf gives the ask of a room to a chapter; nil when there is none.
func askOf(tx *bot.Tx, room bot.RoomID, chapter string) (*ask, error) {
	all, err := asks(tx, `room = $1 AND chapter = $2`, room, chapter)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// askNamed finds an ask by its ref; nil when it was taken back, lapsed, or gave way to another.
func askNamed(tx *bot.Tx, ref string) (*ask, error) {
	var room bot.RoomID
	var chapter string
	if _, err := fmt.Sscan(ref, &room, &chapter); err != nil {
		return nil, err
	}
	a, err := askOf(tx, room, chapter)
	if err != nil || a == nil || a.ref() != ref {
		return nil, err
	}
	return a, nil
}

// asking lists what waits for a chapter's answer, but for rooms that have gone or changed sides since.
func asking(tx *bot.Tx, chapter string) ([]ask, error) {
	all, err := asks(tx, `chapter = $1 AND state = $2`, chapter, waiting)
	if err != nil {
		return nil, err
	}
	var live []ask
	for _, a := range all {
		room, err := a.room(tx)
		if err != nil {
			return nil, err
		}
		if room != nil {
			live = append(live, a)
		}
	}
	return live, nil
}

// room is the asking room; nil when the bot is no longer in it, or it belongs to another chapter than the one that asked.
func (a ask) room(tx *bot.Tx) (*bot.Room, error) {
	r, err := tx.Room(a.Room)
	if err != nil || !r.Joined || r.Chapter != a.Asker {
		return nil, err
	}
	return r, nil
}

func saveAsk(tx *bot.Tx, a ask) error {
	return tx.Exec(`INSERT INTO relay_asks (room, chapter, asker, at, state, settled, question) VALUES ($1,$2,$3,$4,$5,$6,$7)
		ON CONFLICT (room, chapter) DO UPDATE SET asker = excluded.asker, at = excluded.at, state = excluded.state, settled = excluded.settled, question = excluded.question`,
		a.Room, a.Chapter, a.Asker, a.At.UnixMilli(), a.State, max(0, a.Settled.UnixMilli()), a.Question)
}

// settle notes the answer to an ask.
func settle(tx *bot.Tx, a ask, state int) error {
	a.State, a.Settled = state, tx.Now()
	return saveAsk(tx, a)
}

// takeBack deletes an ask and its question.
func takeBack(tx *bot.Tx, a ask) error {
	if err := tx.Delete(a.Question); err != nil {
		return err
	}
	return drop(tx, a.Room, a.Chapter)
}

func drop(tx *bot.Tx, room bot.RoomID, chapter string) error {
	return tx.Exec(`DELETE FROM relay_asks WHERE room = $1 AND chapter = $2`, room, chapter)
}

// refused is when a chapter last said no to another one, or sent it away; zero when it did not, as far as is remembered.
func refused(tx *bot.Tx, chapter, asker string) (time.Time, error) {
	all, err := asks(tx, `chapter = $1 AND asker = $2 AND state = $3`, chapter, asker, declined)
	var last time.Time
	for _, a := range all {
		if a.Settled.After(last) {
			last = a.Settled
		}
	}
	return last, err
}

// lapse takes back questions that nobody answered, and forgets answers that are old.
func lapse(_ context.Context, tx *bot.Tx, now time.Time) error {
	if err := tx.Exec(`DELETE FROM relay_asks WHERE state <> $1 AND settled < $2`, waiting, now.Add(-remembers).UnixMilli()); err != nil {
		return err
	}
	old, err := asks(tx, `state = $1 AND at < $2`, waiting, now.Add(-waits).UnixMilli())
	if err != nil {
		return err
	}
	for _, a := range old {
		if err := takeBack(tx, a); err != nil {
			return err
		}
		room, err := a.room(tx)
		if err != nil {
			return err
		}
		if room == nil {
			continue
		}
		if _, err := tell(tx, room, a.Chapter, func(c bot.ChapterName) any { return Lapsed{Chapter: c} }); err != nil {
			return err
		}
	}
	return nil
}

// tell says something about a chapter in a room, if the room can know that there is such a chapter.
func tell(tx *bot.Tx, room *bot.Room, chapter string, msg func(bot.ChapterName) any) (told bool, err error) {
	visible, err := tx.VisibleChapters(room)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(visible, func(c *bot.Chapter) bool { return c.ID == chapter })
	if i < 0 {
		return false, nil
	}
	name, err := tx.NameIn(room, visible[i])
	if err != nil {
		return false, err
	}
	_, err = tx.Post(room.ID, msg(name))
	return err == nil, err
}

package bot

import (
	"errors"
	"slices"
	"strings"
	"time"

	"starling/locales"
)

// Effect says how far it reaches what a command does, or what a yes to a question of the bot does.
type Effect int

const (
	Shows   Effect = iota // it shows or asks; what it leads to is confirmed later
	Changes               // it changes what is kept or how a room works
	Sends                 // it sends, shares or reveals something where it was not seen before
)

// staleAfter is how long ago a command or a yes may have been said and still send, share or reveal something.
const staleAfter = 10 * time.Minute

// oldest is how far back a network's clock is believed: dates count from no earlier moment.
const oldest = 7 * 24 * time.Hour

// May refuses an effect that what is being handled must not have, and says why: who is no longer in the room does not change it,
// a device that its owner did not sign may ask and not confirm, and what was said long ago does not send, share or reveal
// anything before she was asked again. It is called before anything is done. Commands and dialogues that name their Effect have
// been asked already.
func (t *Turn) May(e Effect) error {
	if e == Shows || t.Person == nil || t.In == nil || t.In.Kind == KindJobResult {
		return nil
	}
	if !t.present() {
		return Refuse(NotInRoom{})
	}
	if t.In.Trust == TrustUnsigned {
		return Refuse(Unsigned{})
	}
	if e < Sends || t.renewed {
		return nil
	}
	stale, err := t.stale()
	if err != nil || !stale {
		return err
	}
	q := StillSo{At: t.moment(t.Time), Word: t.Room.ConfirmByWord()}
	r := &Refusal{Message: q, stale: true}
	if !q.Word {
		r.opts = []PostOption{Buttons("✅", "❌")}
	}
	return r
}

// MayKeep is May for what is kept for this turn's room. That reveals it to the room, where it was said in a direct chat, and to the
// other rooms of the chapter, which find it in their lists.
func (t *Turn) MayKeep() error {
	reveals := t.Here != t.Room
	if !reveals && t.Room.Chapter != "" {
		rooms, err := t.RoomsOfChapter(t.Room.Chapter)
		if err != nil {
			return err
		}
		reveals = slices.ContainsFunc(rooms, func(r *Room) bool { return r.ID != t.Room.ID && (r.Encrypted || !t.Encrypted()) })
	}
	if !reveals {
		return t.May(Changes)
	}
	return t.May(Sends)
}

// present is whether who speaks is in the room that this is about.
func (t *Turn) present() bool { return t.Room.Direct || t.Member != nil && t.Member.Present }

// stale is whether what is being handled was said too long ago. An answer is at most as old as what it answers, by our own clock:
// else a clock that is wrong would have people asked for ever.
func (t *Turn) stale() (bool, error) {
	if t.now.Sub(t.Time) <= staleAfter {
		return false, nil
	}
	var at int64
	if t.answers == 0 {
		return true, nil
	}
	found, err := t.One(`SELECT at FROM outbox WHERE id = $1 AND state = 1`, []any{t.answers}, &at)
	return !found || t.now.Sub(fromMillis(at)) > staleAfter, err
}

// moment says when something was: the time of day, with the date where that could be another day's.
func (t *Turn) moment(at time.Time) any {
	if t.now.Sub(at) < 12*time.Hour {
		return locales.Clock{At: at}
	}
	return locales.Time{At: at}
}

// isStale is whether an error is May's asking again.
func isStale(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.stale
}

// askAgain asks who sent a command long ago whether it still holds.
func (t *Turn) askAgain(n *node, rest string) error {
	return t.Start(dialogueStill, Draft{"command": strings.Join(n.path, " "), "rest": rest, "at": t.Time.Format(time.RFC3339)})
}

const dialogueStill = "bot.still"

// still is the dialogue that asks whether a command that came late still holds.
var still = Dialogue{
	Name:   dialogueStill,
	Effect: Sends,
	Steps:  func(*Turn, Draft) []Step { return nil },
	Review: func(t *Turn, d Draft) any {
		at, _ := time.Parse(time.RFC3339, d["at"]) // it is written by askAgain alone
		return StillWanted{At: t.moment(at), Command: t.Command(strings.Fields(d["command"])...), Text: d["rest"]}
	},
	Done: func(t *Turn, d Draft) error {
		t.renewed = true
		t.refusal = nil // when the command refuses, this is answered for all the same
		return t.attempt(func() error { return t.run(t.e.commands.at(strings.Fields(d["command"])...), d["rest"]) })
	},
}

// Package forget takes back what people told the bot: everything of one person, or one entry. It says beforehand what goes, and
// afterwards what remains, because the network remembers for itself.
package forget

import (
	"fmt"
	"time"

	"starling/bot"
	"starling/locales"
)

const (
	// topicAll is the question before everything of a person is erased; its ref says whose, and when it was asked.
	topicAll = "forget.all"
	// fresh is how long that question can be answered: what cannot be undone must not wait for a stray yes.
	fresh = 10 * time.Minute
	// maxNames bounds how many names a line lists.
	maxNames = 5
)

// kinds are the records that have a name of their own here; the others are counted together.
var kinds = []string{"need", "event", "alert"}

// Capability is /forget.
func Capability() bot.Capability {
	code := []bot.Param{{Name: "code", Type: bot.ParamCode, Optional: true}}
	return bot.Capability{
		Name: "forget",
		Commands: []bot.Command{{
			Name: "forget", Effect: bot.Changes, Params: code, Do: entry,
			Sub: []bot.Command{
				{Name: "me", Do: ask},
				{Name: "this", Effect: bot.Changes, Params: code, Do: entry},
			},
		}},
		Messages: messages,
		Topics:   map[string]func(*bot.Turn, string, bot.Answer) error{topicAll: answered},
	}
}

var messages = []any{Ask{}, Kind{}, Erased{}, Entries{}, Kept{}, TooLate{}, EntryErased{}, NothingHere{}, NotYours{}, NotOurs{}}

// What the capability says. Each is a locale entry forget.<snake_case type>.
type (
	// Ask says what would go and what would stay. In a room it does not count what she has.
	Ask struct {
		Alone bool  // in a direct chat
		Kinds []any // Kind; only when alone
		Word  bool  // yes must be typed
	}
	// Kind is how many of one kind.
	Kind struct {
		Kind   locales.Term
		Number int
	}
	// Erased says what remains. Entries is nil in a room, and when there were none.
	Erased  struct{ Entries any }
	Entries struct{ Count int }
	// Kept ends the question without anything erased, TooLate because the yes came late.
	Kept    struct{}
	TooLate struct{}

	// EntryErased, NothingHere, NotYours, NotOurs: what becomes of one entry.
	EntryErased struct{ Code locales.Code }
	NothingHere struct{}
	NotYours    struct {
		Code  locales.Code
		Names []string
	}
	NotOurs struct {
		Code    locales.Code
		Chapter any
	}
)

// ask shows what would be erased, before it is.
func ask(t *bot.Turn, _ bot.Args) error {
	q := Ask{Alone: t.Here.Direct, Word: t.Room.ConfirmByWord()}
	if q.Alone {
		mine, err := t.RecordsOf(t.Person.ID)
		if err != nil {
			return err
		}
		q.Kinds = count(mine)
	}
	opts := []bot.PostOption{bot.Topic(topicAll, fmt.Sprintf("%d %d", t.Person.ID, t.Now().UnixMilli()))}
	if !q.Word {
		opts = append(opts, bot.Buttons("✅", "❌"))
	}
	return t.Done(q, opts...)
}

// count says how many records there are of each kind.
func count(all []*bot.Record) []any {
	left := len(all)
	var out []any
	add := func(kind string, n int) {
		if n > 0 {
			out = append(out, Kind{Kind: locales.Term("forget.kind." + kind), Number: n})
			left -= n
		}
	}
	for _, kind := range kinds {
		n := 0
		for _, r := range all {
			if r.Kind == kind {
				n++
			}
		}
		add(kind, n)
	}
	add("rest", left)
	return out
}

// answered erases everything of who asked for it, on her own yes.
func answered(t *bot.Turn, ref string, a bot.Answer) error {
	var whose bot.PersonID
	var at int64
	if _, err := fmt.Sscan(ref, &whose, &at); err != nil {
		return err
	}
	switch {
	case whose != t.Person.ID || !a.On:
		return nil
	case a.No:
		return t.Done(Kept{})
	case !a.Yes:
		return nil
	case t.Now().Sub(time.UnixMilli(at)) > fresh:
		return bot.Refuse(TooLate{})
	case !a.Typed && t.Room.ConfirmByWord():
		return bot.Refuse(bot.TypeYes{})
	}
	if err := t.May(bot.Changes); err != nil {
		return err
	}
	n, err := t.Forget(whose)
	if err != nil {
		return err
	}
	var done Erased
	if t.Here.Direct && n > 0 {
		done.Entries = Entries{Count: n}
	}
	return t.Done(done)
}

// entry erases one record: the one that was named, or that the message is about to which this is a reply.
func entry(t *bot.Turn, a bot.Args) error {
	r := a.Record("code")
	for _, message := range []string{t.In.ReplyTo, t.In.Thread} {
		if r != nil {
			break
		}
		var err error
		if r, err = t.RecordAt(message); err != nil {
			return err
		}
	}
	if r == nil {
		return bot.Refuse(NothingHere{})
	}
	if err := mayErase(t, r); err != nil {
		return err
	}
	code := r.Code()
	if err := t.Erase(r); err != nil {
		return err
	}
	return t.Done(EntryErased{Code: code})
}

// mayErase refuses who neither wrote a record nor moderates the room that it came from.
func mayErase(t *bot.Turn, r *bot.Record) error {
	if r.Author == t.Person.ID {
		return nil
	}
	m, err := t.Tx.Member(r.Room, t.Person.ID)
	if err != nil {
		return err
	}
	if m != nil && m.Present && m.Moderator {
		return nil
	}
	c, err := t.Chapter(r.Chapter)
	if err != nil {
		return err
	}
	if r.Room != t.Room.ID && c != nil && c.ID != t.Room.Chapter {
		name, err := t.NameIn(t.Room, c)
		if err != nil {
			return err
		}
		return bot.Refuse(NotOurs{Code: r.Code(), Chapter: name})
	}
	no := NotYours{Code: r.Code()}
	if r.Room == t.Room.ID {
		names, err := t.Moderators(r.Room)
		if err != nil {
			return err
		}
		no.Names = names[:min(len(names), maxNames)]
	}
	return bot.Refuse(no)
}

package alert

import (
	"starling/bot"
	"starling/locales"
)

// clearAlert asks for an all-clear. The same rule holds as for raising: a false all-clear is worse than a false alarm.
func clearAlert(t *bot.Turn, a bot.Args) error {
	r := a.Record("code")
	b, err := read(r)
	if err != nil {
		return err
	}
	if r.Chapter != t.Room.Chapter {
		name, err := chapterName(t, t.Room, r.Chapter)
		if err != nil {
			return err
		}
		return bot.Refuse(NotOurs{Chapter: name})
	}
	if !t.Visible(r) {
		return bot.Refuse(OnlyEncrypted{Code: r.Code()})
	}
	if t.Here.Encrypted && !t.Room.Encrypted {
		return bot.Refuse(SayThere{})
	}
	if b.State == stateOver {
		return bot.Refuse(AlreadyOver{Code: r.Code()})
	}
	if b.State != stateSent {
		return bot.Refuse(NotSent{})
	}
	if err := mayRaise(t); err != nil {
		return err
	}
	words := a.Text("words")
	c, err := t.NewRecord(kind, body{MsgType: typeCancel, References: r.ID, Description: words, Language: t.Called, Zone: zoneOf(t.Room), State: stateDraft}, t.Now().Add(keep))
	if err != nil {
		return err
	}
	rooms, err := reached(t, r)
	if err != nil {
		return err
	}
	p := ClearPreview{Code: r.Code(), Alert: quote(b.Description), Lines: quote(words), Confirm: confirmTerm(t.Room)}
	if len(rooms) > 0 {
		p.To = ClearTo{Count: len(rooms)}
	}
	return ask(t, c, p, bot.Lists(r))
}

// sendClear posts a confirmed all-clear under the alert wherever that arrived, and edits the alert to say so. Where it still
// waits, only the edited alert is said.
func sendClear(t *bot.Turn, c *bot.Record, cb body) error {
	r, b, err := load(t, cb.References)
	if err != nil {
		return err
	}
	if r == nil || b.State != stateSent {
		return drop(t, c, cb, Dropped{})
	}
	now := t.Now()
	b.State, b.Cleared = stateOver, now
	rooms, err := reached(t, r)
	if err != nil {
		return err
	}
	for _, d := range rooms {
		room, err := t.Tx.Room(d.Room)
		if err != nil {
			return err
		}
		over, err := framed(t, r, b, room)
		if err != nil {
			return err
		}
		if err := t.Edit(d.Row, over); err != nil {
			return err
		}
		if d.Delivered {
			if err := postClear(t, r, c, cb, d.Row, room); err != nil {
				return err
			}
		}
	}
	if c.Room != r.Room { // another room of the chapter cleared it
		row, err := previewRow(t, r.ID)
		if err != nil {
			return err
		}
		origin, err := t.Tx.Room(r.Room)
		if err != nil {
			return err
		}
		if err := postClear(t, r, c, cb, row, origin); err != nil {
			return err
		}
	}
	n, err := count(t, r)
	if err != nil {
		return err
	}
	closed := Closed{Code: r.Code(), At: locales.Clock{At: now}, Lines: quote(b.Description), Progress: n.progress(), Seen: n.seen, Help: n.help}
	if err := editPreview(t, r.ID, closed); err != nil {
		return err
	}
	if err := t.Revise(r, b); err != nil {
		return err
	}
	cb.State, cb.Sent = stateClear, now
	c.Scope, c.Expires = bot.ScopeFollowers, r.Expires
	if err := t.Revise(c, cb); err != nil {
		return err
	}
	return editPreview(t, c.ID, ClearSent{Code: r.Code()})
}

// postClear says the all-clear under what a room was shown of the alert. Words from an encrypted room stay in such.
func postClear(t *bot.Turn, r, c *bot.Record, cb body, row bot.RowID, room *bot.Room) error {
	name, err := chapterName(t, room, r.Chapter)
	if err != nil {
		return err
	}
	msg := AllClear{Chapter: name, At: times(t.Now(), cb.Zone, room), Code: r.Code()}
	if !c.Encrypted || room.Encrypted {
		msg.Lines = quote(cb.Description)
	}
	if len(msg.Lines) > 0 {
		msg.In = foreign(cb.Language, room)
	}
	_, err = t.Post(room.ID, msg, bot.Rings(), bot.About(r), bot.Lists(c), bot.Under(row), bot.Origin(c.Room), bot.Expires(t.Now().Add(deliverWithin)))
	return err
}

package calendar

import (
	"time"

	"starling/bot"
	"starling/locales"
)

// What a list shows at most.
const (
	ahead = 30 * 24 * time.Hour
	page  = 10
)

// list shows what is coming in the room and its chapter's other rooms.
func list(t *bot.Turn, _ bot.Args) error {
	records, err := t.List(t.Room, Kind, confirmed)
	if err != nil {
		return err
	}
	msg := Coming{Zone: locales.Zone(t.Zone().String())}
	later, hidden := 0, 0
	var shown []*bot.Record
	for _, r := range records {
		e, err := body(r)
		if err != nil {
			return err
		}
		switch {
		case e.over().Before(t.Time):
			continue
		case !t.Visible(r):
			hidden++
			continue
		case e.Start.After(t.Time.Add(ahead)) || len(msg.Lines) == page:
			later++
			continue
		}
		line := Listed{Code: r.Code(), Summary: e.Summary}
		if d, err := time.Parse(time.DateOnly, e.Day); err == nil {
			line.Day = locales.DayOf(d.Year(), d.Month(), d.Day())
		} else {
			line.Day, line.Clock = locales.Day{At: e.Start}, OnlyClock{At: locales.Clock{At: e.Start}}
		}
		msg.Lines, shown = append(msg.Lines, line), append(shown, r)
	}
	if later > 0 {
		msg.More = Later{Count: later}
	}
	if hidden > 0 {
		msg.Hidden = Hidden{Count: hidden}
	}
	if len(msg.Lines) == 0 {
		return t.Done(Nothing{More: msg.More, Hidden: msg.Hidden})
	}
	return t.Done(msg, bot.Lists(shown...))
}

// show shows one event.
func show(t *bot.Turn, a bot.Args) error {
	r := a.Record("code")
	if !t.Visible(r) {
		return bot.Refuse(OnlyEncrypted{Code: r.Code()})
	}
	e, err := body(r)
	if err != nil {
		return err
	}
	return t.Done(Shown{Code: r.Code(), Summary: e.Summary, When: e.say(), Cancelled: e.Status == cancelled}, bot.About(r))
}

var cancelDialogue = bot.Dialogue{
	Name:  "calendar.cancel",
	Steps: func(*bot.Turn, bot.Draft) []bot.Step { return nil },
	Review: func(t *bot.Turn, d bot.Draft) any {
		r, e, err := ours(t, d["id"])
		if err != nil {
			return Gone{}
		}
		return AskCancel{Code: r.Code(), Summary: e.Summary, When: e.say()}
	},
	MayConfirm: func(t *bot.Turn, d bot.Draft) error { _, _, err := ours(t, d["id"]); return err },
	Done: func(t *bot.Turn, d bot.Draft) error {
		r, e, err := ours(t, d["id"])
		if err != nil {
			return err
		}
		if t.Here.ID != r.Room {
			if err := t.May(bot.Sends); err != nil { // that room hears of it
				return err
			}
		}
		e.Status = cancelled
		if err := t.Revise(r, e); err != nil {
			return err
		}
		said := Cancelled{Code: r.Code(), Summary: e.Summary}
		if t.Here.ID != r.Room {
			if _, err := t.Post(r.Room, said, bot.About(r), bot.Origin(t.Here.ID)); err != nil {
				return err
			}
		}
		return t.Done(said, bot.About(r))
	},
}

// cancel asks before it cancels.
func cancel(t *bot.Turn, a bot.Args) error {
	r := a.Record("code")
	if _, _, err := ours(t, r.ID); err != nil {
		return err
	}
	return t.Start(cancelDialogue.Name, bot.Draft{"id": r.ID})
}

// ours gives an event that this person may cancel: its author may, and who moderates the room that it came from.
func ours(t *bot.Turn, id string) (*bot.Record, event, error) {
	r, err := t.Record(id)
	if err != nil {
		return nil, event{}, err
	}
	if r == nil {
		return nil, event{}, bot.Refuse(Gone{})
	}
	e, err := body(r)
	switch {
	case err != nil:
		return nil, e, err
	case r.Room != t.Room.ID && (r.Chapter == "" || r.Chapter != t.Room.Chapter):
		return nil, e, bot.Refuse(NotOurs{Code: r.Code()})
	case !t.Visible(r):
		return nil, e, bot.Refuse(OnlyEncrypted{Code: r.Code()})
	case e.Status == cancelled:
		return nil, e, bot.Refuse(AlreadyCancelled{Code: r.Code()})
	case r.Author == t.Person.ID:
		return r, e, nil
	}
	m, err := t.Tx.Member(r.Room, t.Person.ID)
	if err != nil {
		return nil, e, err
	}
	if m == nil || !m.Present || !m.Moderator {
		names, err := t.Moderators(r.Room)
		if err != nil {
			return nil, e, err
		}
		return nil, e, bot.Refuse(WhoMayCancel{Code: r.Code(), Names: names})
	}
	return r, e, nil
}

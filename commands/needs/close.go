package needs

import (
	"starling/bot"
	"starling/locales"
)

// closeNeed closes a need, as met if nothing else is said. Its author may, and who moderates the room that it came from.
// One that is withdrawn loses its words.
func closeNeed(t *bot.Turn, a bot.Args) error {
	r := a.Record("code")
	if r.Room != t.Room.ID && (r.Chapter == "" || r.Chapter != t.Room.Chapter) || r.Chapter != "" && r.Chapter != t.Room.Chapter {
		return bot.Refuse(NotOurs{Code: r.Code()})
	}
	if r.Author != t.Person.ID {
		m, err := t.Tx.Member(r.Room, t.Person.ID)
		if err != nil {
			return err
		}
		if m == nil || !m.Present || !m.Moderator {
			names, err := t.Moderators(r.Room)
			if err != nil {
				return err
			}
			return bot.Refuse(WhoMayClose{Code: r.Code(), Names: names})
		}
	}
	n, err := body(r)
	if err != nil {
		return err
	}
	if n.state() == closed {
		return bot.Refuse(AlreadyClosed{Code: r.Code(), Outcome: outcomeName(n.Outcome), Day: locales.Day{At: n.Closed}})
	}
	n.Outcome = a.Text("outcome")
	switch n.Outcome {
	case withdrawn:
		code := r.Code()
		if err := t.Erase(r); err != nil {
			return err
		}
		return t.Done(bot.Withdrawn{Code: code})
	case "":
		n.Outcome = met
	}
	n.Closed = t.Now()
	r.Expires = n.expires(t.Now())
	if err := t.Revise(r, n); err != nil {
		return err
	}
	return t.Done(Closed{Code: r.Code(), Outcome: outcomeName(n.Outcome)}, bot.About(r))
}

package alert

import (
	"slices"

	"starling/bot"
	"starling/locales"
)

// maxItems is how many alerts a list shows.
const maxItems = 10

// status says where an alert has arrived, to the chapter that sent it; to others it shows the alert again.
func status(t *bot.Turn, a bot.Args) error {
	r := a.Record("code")
	if !t.Visible(r) {
		return bot.Refuse(OnlyEncrypted{Code: r.Code()})
	}
	b, err := read(r)
	if err != nil {
		return err
	}
	if b.State != stateSent && b.State != stateOver {
		return bot.Refuse(NotSent{})
	}
	if r.Chapter != t.Room.Chapter {
		msg, err := framed(t, r, b, t.Room)
		if err != nil {
			return err
		}
		return t.Done(msg, bot.Lists(r))
	}
	s := Status{Code: r.Code(), Urgency: urgencyTerm(b.Urgency), At: locales.Time{At: b.Sent, Zone: b.Zone}, Lines: quote(b.Description)}
	if b.State == stateOver {
		s.Over = locales.Clock{At: b.Cleared}
	}
	n, err := count(t, r)
	if err != nil {
		return err
	}
	s.Seen, s.Help = n.seen, n.help
	if err := s.places(t, r); err != nil {
		return err
	}
	if err := s.helpers(t, r); err != nil {
		return err
	}
	return t.Done(s, bot.Lists(r))
}

// tally counts by name, in the order in which names first come.
type tally struct {
	names  []any // a room's name, or a bot.ChapterName
	counts map[any]int
}

func (y *tally) add(name any, n int) {
	if y.counts == nil {
		y.counts = map[any]int{}
	}
	if y.counts[name] == 0 {
		y.names = append(y.names, name)
	}
	y.counts[name] += n
}

// places fills in what became of the alert in each room, by chapter.
func (s *Status) places(t *bot.Turn, r *bot.Record) error {
	all, err := t.Deliveries(r.ID)
	if err != nil {
		return err
	}
	var arrived, waiting, failed tally
	for _, d := range all {
		if d.Topic != topicAnswer {
			continue
		}
		room, err := t.Tx.Room(d.Room)
		if err != nil {
			return err
		}
		if room.Chapter == "" && !d.Delivered {
			continue // it left its chapter meanwhile, and there is no name for it here
		}
		name, err := placeName(t, room, r.Chapter)
		if err != nil {
			return err
		}
		switch {
		case d.Delivered:
			arrived.add(name, 1)
		case d.SetAside:
			failed.add(name, 1)
		default:
			waiting.add(name, 1)
		}
	}
	list := func(y tally) (items []any) {
		for _, name := range y.names {
			items = append(items, InRooms{Name: name, Count: y.counts[name]})
		}
		return items
	}
	s.Arrived, s.Waiting, s.Failed = list(arrived), list(waiting), list(failed)
	return nil
}

// helpers fills in from which chapters people can help.
func (s *Status) helpers(t *bot.Turn, r *bot.Record) error {
	type row struct {
		room   bot.RoomID
		people int
	}
	var rows []row
	err := t.Each(`SELECT room, COUNT(*) FROM alert_answers WHERE alert = $1 AND kind = $2 GROUP BY room ORDER BY room`, []any{r.ID, emojiHelp}, func(one bot.Row) error {
		var x row
		err := one.Scan(&x.room, &x.people)
		rows = append(rows, x)
		return err
	})
	if err != nil {
		return err
	}
	var y tally
	for _, x := range rows {
		room, err := t.Tx.Room(x.room)
		if err != nil {
			return err
		}
		name, err := placeName(t, room, r.Chapter)
		if err != nil {
			return err
		}
		y.add(name, x.people)
	}
	for _, name := range y.names {
		s.From = append(s.From, CanHelp{Name: name, Count: y.counts[name]})
	}
	return nil
}

// list shows the alerts that are current here: the chapter's own and those that were received, the newest first.
func list(t *bot.Turn, _ bot.Args) error {
	own, err := t.List(t.Room, kind, stateSent)
	if err != nil {
		return err
	}
	received, err := t.Shown(t.Room, kind, stateSent)
	if err != nil {
		return err
	}
	all := slices.DeleteFunc(append(own, received...), func(r *bot.Record) bool { return r.Due.Before(t.Now()) })
	current := len(all)
	all = slices.DeleteFunc(all, func(r *bot.Record) bool { return !t.Visible(r) })
	var hidden any
	if n := current - len(all); n > 0 {
		hidden = Hidden{Count: n}
	}
	if len(all) == 0 {
		return t.Done(Nothing{Hidden: hidden})
	}
	slices.SortStableFunc(all, func(a, b *bot.Record) int { return b.At.Compare(a.At) })
	l := List{More: max(0, len(all)-maxItems), Hidden: hidden}
	all = all[:len(all)-l.More]
	for _, r := range all {
		b, err := read(r)
		if err != nil {
			return err
		}
		name, err := chapterName(t, t.Room, r.Chapter)
		if err != nil {
			return err
		}
		l.Items = append(l.Items, Item{Mark: mark(b.Urgency), Code: r.Code(), Day: locales.Day{At: b.Sent}, Clock: locales.Clock{At: b.Sent}, Text: short(b.Description), Chapter: name})
	}
	return t.Done(l, bot.Lists(all...))
}

package needs

import (
	"cmp"
	"slices"

	"starling/bot"
	"starling/locales"
)

// page is how many needs one message lists.
const page = 10

// list shows the open needs of the room and of its chapter's other rooms: the most urgent first, then what is due first.
func list(t *bot.Turn, a bot.Args) error {
	records, err := t.List(t.Room, Kind, open)
	if err != nil {
		return err
	}
	var all []entry
	hidden := 0
	for _, r := range records {
		if !t.Visible(r) {
			hidden++
			continue
		}
		n, err := body(r)
		if err != nil {
			return err
		}
		all = append(all, entry{r, n})
	}
	var rest any
	if hidden > 0 {
		rest = Hidden{Count: hidden}
	}
	if len(all) == 0 {
		return t.Done(None{Hidden: rest})
	}
	slices.SortStableFunc(all, func(x, y entry) int { return cmp.Compare(x.Urgency, y.Urgency) })
	last := (len(all) - 1) / page
	at := min(max(a.Number("page"), 1)-1, last)
	msg := List{Count: len(all), Hidden: rest}
	var shown []*bot.Record
	for _, e := range all[at*page : min((at+1)*page, len(all))] {
		line := Listed{Code: e.r.Code(), Urgency: urgencyName(e.Urgency), What: e.brief(), By: e.by()}
		if e.late(t.Time) {
			line.By = Late{Day: sayDay(e.Day, e.Due)}
		}
		msg.Lines, shown = append(msg.Lines, line), append(shown, e.r)
	}
	msg.Code = all[at*page].r.Code()
	if after := len(all) - (at+1)*page; after > 0 {
		msg.More = More{Count: after, Page: at + 2}
	}
	return t.Done(msg, bot.Lists(shown...))
}

type entry struct {
	r *bot.Record
	need
}

func show(t *bot.Turn, a bot.Args) error { return shown(t, a.Record("code")) }

// shown shows one need, whole.
func shown(t *bot.Turn, r *bot.Record) error {
	if !t.Visible(r) {
		return bot.Refuse(OnlyEncrypted{Code: r.Code()})
	}
	n, err := body(r)
	if err != nil {
		return err
	}
	msg := Shown{Code: r.Code(), Lines: n.lines(t.Time)}
	if n.state() == open {
		msg.State, msg.Open = OpenAs{Urgency: urgencyName(n.Urgency)}, true
	} else {
		msg.State = ClosedAs{Outcome: outcomeName(n.Outcome), Day: locales.Day{At: n.Closed}}
	}
	return t.Done(msg, bot.About(r))
}

package alert

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"starling/bot"
)

// What people put under an alert.
const (
	emojiSeen = "👀"
	emojiHelp = "✋"
)

// answersTable keeps who saw an alert and who can help: a person once in a room, for as long as the alert is kept. Only
// numbers leave it.
var answersTable = bot.Table{
	Name: "alert_answers",
	Forget: func(_ context.Context, tx *bot.Tx, person bot.PersonID) error {
		return tx.Exec(`DELETE FROM alert_answers WHERE person = $1`, person)
	},
	Expire: func(_ context.Context, tx *bot.Tx, _ time.Time) error {
		return tx.Exec(`DELETE FROM alert_answers WHERE NOT EXISTS (SELECT 1 FROM bodies b WHERE b.id = alert_answers.alert)`)
	},
	Export:  exportAnswers,
	Rebuild: bot.NothingToRebuild, // people's own reactions, in no record
}

func exportAnswers(_ context.Context, tx *bot.Tx, chapter string, w io.Writer) error {
	enc := json.NewEncoder(w)
	return tx.Each(`SELECT a.alert, a.kind, COUNT(*) FROM alert_answers a JOIN records r ON r.id = a.alert AND r.latest
		WHERE r.chapter = $1 GROUP BY a.alert, a.kind ORDER BY a.alert, a.kind`, []any{chapter}, func(row bot.Row) error {
		var line struct {
			Alert string `json:"alert"`
			Kind  string `json:"answer"`
			Count int    `json:"count"`
		}
		if err := row.Scan(&line.Alert, &line.Kind, &line.Count); err != nil {
			return err
		}
		return enc.Encode(line)
	})
}

// alertAnswer counts 👀 and ✋ under an alert in a room that it reached. What people write below it is their own talk.
func alertAnswer(t *bot.Turn, id string, a bot.Answer) error {
	if a.Typed {
		return nil
	}
	r, b, err := load(t, id)
	if err != nil || r == nil || b.State != stateSent {
		return err
	}
	var changed int64
	switch {
	case a.On && (a.Emoji == emojiSeen || a.Emoji == emojiHelp):
		changed, err = t.Changed(`INSERT INTO alert_answers (alert, room, person, kind, at) VALUES ($1,$2,$3,$4,$5) ON CONFLICT DO NOTHING`,
			id, t.Here.ID, t.Person.ID, a.Emoji, t.Now().UnixMilli())
	case !a.On && a.Emoji == "":
		changed, err = t.Changed(`DELETE FROM alert_answers WHERE alert = $1 AND room = $2 AND person = $3`, id, t.Here.ID, t.Person.ID)
	case !a.On:
		changed, err = t.Changed(`DELETE FROM alert_answers WHERE alert = $1 AND room = $2 AND person = $3 AND kind = $4`, id, t.Here.ID, t.Person.ID, a.Emoji)
	}
	if err != nil || changed == 0 {
		return err
	}
	return tell(t, r, b)
}

// settled is told that an alert arrived in a room, or never will.
func settled(t *bot.Turn, r *bot.Record, d bot.Delivery) error {
	if d.Topic != topicAnswer {
		return nil
	}
	b, err := read(r)
	if err != nil || b.State != stateSent {
		return err
	}
	return tell(t, r, b)
}

// tell brings the numbers at the origin up to date.
func tell(t *bot.Turn, r *bot.Record, b body) error {
	row, err := previewRow(t, r.ID)
	if err != nil || row == 0 {
		return err
	}
	n, err := count(t, r)
	if err != nil {
		return err
	}
	return t.EditCounter(row, n.sent(r, b))
}

// numbers are what became of an alert.
type numbers struct {
	rooms, delivered, failed int
	seen, help               int
}

func count(t *bot.Turn, r *bot.Record) (numbers, error) {
	var n numbers
	all, err := t.Deliveries(r.ID)
	if err != nil {
		return n, err
	}
	for _, d := range all {
		if d.Topic != topicAnswer {
			continue
		}
		n.rooms++
		if d.Delivered {
			n.delivered++
		}
		if d.SetAside {
			n.failed++
		}
	}
	err = t.Each(`SELECT kind, COUNT(*) FROM alert_answers WHERE alert = $1 GROUP BY kind`, []any{r.ID}, func(row bot.Row) error {
		var emoji string
		var people int
		err := row.Scan(&emoji, &people)
		switch emoji {
		case emojiSeen:
			n.seen = people
		case emojiHelp:
			n.help = people
		}
		return err
	})
	return n, err
}

func (n numbers) sent(r *bot.Record, b body) Sent {
	return Sent{Code: r.Code(), Urgency: urgencyTerm(b.Urgency), Lines: quote(b.Description), Progress: n.progress(), Failed: n.failed, Seen: n.seen, Help: n.help}
}

func (n numbers) progress() any {
	if waiting := n.rooms - n.delivered - n.failed; n.delivered == 0 && waiting > 0 {
		return OnItsWay{Count: waiting}
	}
	return Reached{Delivered: n.delivered, Count: n.rooms}
}

// withdrawn tells the rooms that an alert reached that its words were erased; the messages themselves are deleted where the
// network can.
func withdrawn(t *bot.Turn, r *bot.Record) error {
	if err := t.Exec(`DELETE FROM alert_answers WHERE alert = $1`, r.ID); err != nil {
		return err
	}
	if err := t.Unschedule(timerLapse, r.ID); err != nil {
		return err
	}
	b, err := read(r)
	if err != nil || b.State != stateSent || b.MsgType != typeAlert {
		return err
	}
	rooms, err := reached(t, r)
	if err != nil {
		return err
	}
	for _, d := range rooms {
		if !d.Delivered {
			continue
		}
		room, err := t.Tx.Room(d.Room)
		if err != nil {
			return err
		}
		name, err := chapterName(t, room, r.Chapter)
		if err != nil {
			return err
		}
		if _, err := t.Post(d.Room, TookBack{Chapter: name, Code: r.Code()}, bot.Rings(), bot.Origin(r.Room), bot.Expires(t.Now().Add(deliverWithin))); err != nil {
			return err
		}
	}
	return nil
}

// reached lists where an alert was sent and is still heard: who unfollowed meanwhile hears no more.
func reached(t *bot.Turn, r *bot.Record) ([]bot.Delivery, error) {
	hear, _, err := t.Reach(r.Chapter, kind, r.Encrypted, r.Room)
	if err != nil {
		return nil, err
	}
	ids := map[bot.RoomID]bool{}
	for _, room := range hear {
		ids[room.ID] = true
	}
	all, err := t.Deliveries(r.ID)
	if err != nil {
		return nil, err
	}
	var rooms []bot.Delivery
	for _, d := range all {
		if d.Topic == topicAnswer && !d.SetAside && ids[d.Room] {
			rooms = append(rooms, d)
		}
	}
	return rooms, nil
}

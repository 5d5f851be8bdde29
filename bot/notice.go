package bot

import (
	"encoding/json"
	"fmt"
	"time"
)

// SettingOperators is "yes" in the rooms that hear of the bot's own troubles.
const SettingOperators = "operators"

const topicNotice, topicAsked = "bot.notice", "bot.asked"

// askedJobFor is how long what moderators agreed to is tried.
const askedJobFor = time.Hour

// noticed says what an adapter wants people to know: in the room that it concerns, and where operators listen.
func (tx *Tx) noticed(in *Incoming) error {
	var rooms []*Room
	if in.Room != "" {
		here, err := tx.RoomAt(in.Adapter, in.Room)
		if err != nil {
			return err
		}
		if here != nil && here.Joined {
			rooms = append(rooms, here)
		}
	}
	if in.Notice.Operators {
		listening, err := tx.OperatorRooms()
		if err != nil {
			return err
		}
		for _, r := range listening {
			if len(rooms) == 0 || rooms[0].ID != r.ID {
				rooms = append(rooms, r)
			}
		}
	}
	for _, r := range rooms {
		if err := tx.notice(in, r); err != nil {
			return err
		}
	}
	return nil
}

// OperatorRooms lists the rooms that hear of the bot's own troubles.
func (tx *Tx) OperatorRooms() ([]*Room, error) {
	return tx.roomsWhere(`joined AND settings LIKE '%"` + SettingOperators + `":"yes"%'`)
}

func (tx *Tx) notice(in *Incoming, r *Room) error {
	n := in.Notice
	again := n.Again
	if again == 0 {
		again = seenFor
	}
	hash := tx.Hash("notice", fmt.Sprintf("%d %s %s", r.ID, in.Adapter, n.Key))
	var last int64
	found, err := tx.One(`SELECT at FROM seen WHERE id = $1`, []any{hash}, &last)
	if err != nil || found && tx.now.Sub(fromMillis(last)) < again {
		return err
	}
	if err := tx.Exec(`INSERT INTO seen (id, at) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET at = excluded.at`, hash, tx.now.UnixMilli()); err != nil {
		return err
	}
	p := &post{msg: n.Message}
	p.room, p.kind, p.priority = r.ID, OutMessage, PriorityAnswer
	if r.Address == in.Room && r.Adapter == in.Adapter {
		p.parcel.Thread, p.parcel.Reply, p.parcel.ReplyTo = in.Thread, in.ReplyTo, in.Person
		if n.Ask != nil {
			p.topic, p.ref, p.parcel.Ask = topicNotice, "ask", n.Ask
			if !r.ConfirmByWord() {
				p.buttons = []string{"✅"}
			}
		}
	}
	_, err = tx.enqueue(p)
	return err
}

// noticeAnswer takes the moderators' answer to what an adapter asked.
func noticeAnswer(t *Turn, _ string, a Answer) error {
	if !a.On || !a.Yes {
		return nil
	}
	p, err := t.parcel(a.Row)
	if err != nil || p.Ask == nil {
		return err
	}
	switch {
	case !t.Moderator():
		return t.OnlyModerators()
	case !a.Typed && t.Room.ConfirmByWord():
		return Refuse(TypeYes{})
	}
	if err := t.May(Changes); err != nil {
		return err
	}
	if first, err := t.Once(fmt.Sprintf("asked %d", a.Row)); err != nil || !first {
		return err
	}
	return t.Job(p.Ask.Kind, topicAsked, "", p.Ask.Payload, askedJobFor)
}

// askedDone says what came of it.
func askedDone(t *Turn, _ string, a Answer) error {
	if a.Job == nil {
		return nil
	}
	_, err := t.Say(AskedDone{Failed: a.Job.Failed})
	return err
}

// Ask is something that moderators decide and the adapter then does: a job of this kind, which the adapter runs (JobRunner).
type Ask struct {
	Kind    string          `json:"k"`
	Payload json.RawMessage `json:"p"`
}

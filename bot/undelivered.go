package bot

import (
	"encoding/json"
	"slices"
	"time"

	"starling/locales"
)

// gather is how long what can never be delivered waits to be told, together with what else of a record cannot.
const gather = 10 * time.Second

// undeliverable sets a row aside for good and tells the room that it came from, once for each chapter that a record does not reach.
func (tx *Tx) undeliverable(w *waiting, gone bool) error {
	if err := tx.unsent(w); err != nil {
		return err
	}
	room, err := tx.Room(w.room)
	if err != nil {
		return err
	}
	if gone && room.Joined {
		if err := tx.outOf(room); err != nil {
			return err
		}
	}
	var origin RoomID
	var record, code string
	found, err := tx.One(`SELECT o.origin, r.id, r.code FROM outbox o JOIN records r ON r.id = o.record AND r.latest WHERE o.id = $1`, []any{w.id}, &origin, &record, &code)
	if err == nil && !found {
		return tx.notReached(w, room)
	}
	if err != nil || origin == 0 || origin == w.room {
		return err
	}
	from, err := tx.Room(origin)
	if err != nil {
		return err
	}
	if from.Direct {
		return tx.sayOnce(from, record, NotThere{Code: locales.Code(code)})
	}
	chapter, err := tx.Chapter(room.Chapter)
	if err != nil || chapter == nil {
		return err
	}
	return tx.notDelivered(origin, record, locales.Code(code), chapter.Name)
}

// notDelivered tells where a record came from that a chapter does not get it. What fails within seconds is one message.
func (tx *Tx) notDelivered(origin RoomID, record string, code locales.Code, chapter string) error {
	rows, err := tx.rows(`room = $1 AND record = $2 AND key = 'bot.undelivered'`, origin, record)
	if err != nil {
		return err
	}
	var last RowID
	var said Undelivered
	for _, last = range rows {
		p, err := tx.parcel(last)
		if err != nil {
			return err
		}
		said = Undelivered{}
		if p.Data == nil {
			continue // set aside, or erased
		}
		if err := json.Unmarshal(p.Data, &said); err != nil {
			return err
		}
		if said.Chapter == chapter || slices.Contains(said.Others, chapter) {
			return nil
		}
	}
	waits, err := tx.One(`SELECT 1 FROM outbox WHERE id = $1 AND state = 0`, []any{last}, new(int))
	if err != nil {
		return err
	}
	if waits && tx.hold(last) {
		said.Others = append(said.Others, chapter)
		return tx.rewrite(last, said)
	}
	_, err = tx.Post(origin, Undelivered{Code: code, Chapter: chapter}, NotBefore(tx.now.Add(gather)), func(p *post) { p.record = record })
	return err
}

// sayOnce is sayAbout, once.
func (tx *Tx) sayOnce(room *Room, record string, msg any) error {
	key, _, err := tx.e.cfg.Messages.Encode(msg)
	if err != nil {
		return err
	}
	said, err := tx.One(`SELECT 1 FROM outbox WHERE room = $1 AND record = $2 AND key = $3 LIMIT 1`, []any{room.ID, record, key}, new(int))
	if err != nil || said {
		return err
	}
	return tx.sayAbout(room.ID, record, msg)
}

// sayAbout says something about a record in a room; in a direct chat in the language in which she was last answered.
func (tx *Tx) sayAbout(room RoomID, record string, msg any) error {
	var lang string
	if _, err := tx.One(`SELECT lang FROM outbox WHERE room = $1 AND lang <> '' ORDER BY id DESC LIMIT 1`, []any{room}, &lang); err != nil {
		return err
	}
	_, err := tx.Post(room, msg, func(p *post) { p.record, p.lang = record, lang })
	return err
}

// revoked sets a row aside that who confirmed it may not send any more, and tells the room that it came from.
func (tx *Tx) revoked(w *waiting) error {
	if err := tx.unsent(w); err != nil {
		return err
	}
	var origin RoomID
	var record, code string
	found, err := tx.One(`SELECT o.origin, r.id, r.code FROM outbox o JOIN records r ON r.id = o.record AND r.latest WHERE o.id = $1`, []any{w.id}, &origin, &record, &code)
	if err != nil || !found || origin == 0 {
		return err
	}
	room, err := tx.Room(origin)
	if err != nil {
		return err
	}
	return tx.sayOnce(room, record, Revoked{Code: locales.Code(code)})
}

// notReached tells the room that a question came from that it cannot be delivered; what came from none is told nobody.
func (tx *Tx) notReached(w *waiting, room *Room) error {
	var origin RoomID
	if _, err := tx.One(`SELECT origin FROM outbox WHERE id = $1 AND record = ''`, []any{w.id}, &origin); err != nil || origin == 0 || origin == w.room || w.kind != OutMessage {
		return err
	}
	chapter, err := tx.Chapter(room.Chapter)
	if err != nil || chapter == nil {
		return err
	}
	_, err = tx.Post(origin, NotReached{Chapter: chapter.Name})
	return err
}

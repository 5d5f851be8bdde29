package bot

import (
	"database/sql"
	"errors"
)

// Roles are read when something is handled, and again when it leaves: it may have waited for hours.

// entitled is whom an answer in a direct chat may be told, or who confirmed what others are told: somebody who must still be in the
// room that it is about.
type entitled struct {
	Person    PersonID `json:"p"`
	Room      RoomID   `json:"r"`
	Moderator bool     `json:"m,omitempty"` // and moderate
	Sends     bool     `json:"s,omitempty"` // it is her yes that sends it; see Confirmed
}

// entitlement is what somebody must still be when she reads an answer; nil where that does not matter, as where everybody in the
// room reads it, and where she is told just now that she may not.
func (t *Turn) entitlement() *entitled {
	if !t.Here.Direct || t.Person == nil || t.Room.ID == t.Here.ID || t.Member == nil || !t.Member.Present || t.Member.Ignored {
		return nil
	}
	return &entitled{Person: t.Person.ID, Room: t.Room.ID, Moderator: t.cmd != nil && t.cmd.Who == Moderators && t.Moderator()}
}

// Confirmed lets a message about a record leave only while who says yes now is still in this turn's room and not ignored there (and
// moderates it), until a first room was told: then all are, whoever has gone. Who is in danger may be taken out of a room by her friends.
func (t *Turn) Confirmed(moderator bool) PostOption {
	return func(p *post) {
		p.parcel.For = &entitled{Person: t.Person.ID, Room: t.Room.ID, Moderator: moderator, Sends: true}
	}
}

// begun is whether another room was told what a row says.
func (d *dispatcher) begun(w *waiting) (bool, error) {
	var n int
	err := d.e.db.QueryRow(d.ctx, `SELECT COUNT(*) FROM outbox w JOIN outbox o ON o.record = w.record AND o.topic = w.topic AND o.origin = w.origin
		WHERE w.id = $1 AND o.kind = $2 AND o.state = $3`, w.id, string(OutMessage), stateDelivered).Scan(&n)
	return n > 0, err
}

// holds is whether she still is it.
func (d *dispatcher) holds(e *entitled) (bool, error) {
	var present, ignored, moderator bool
	err := d.e.db.QueryRow(d.ctx, `SELECT present, ignored, moderator FROM members WHERE room = $1 AND person = $2`, e.Room, e.Person).Scan(&present, &ignored, &moderator)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return present && !ignored && (moderator || !e.Moderator), err
}

// hears is whether a room may still be shown the record that a row is about: its own, one of its chapter's, or one of a chapter that
// it follows, unless it paused that. What came from an encrypted room goes to encrypted ones alone.
func (d *dispatcher) hears(w *waiting, room *Room) (bool, error) {
	var chapter, kind string
	var origin RoomID
	var encrypted bool
	err := d.e.db.QueryRow(d.ctx, `SELECT r.chapter, r.kind, r.room, r.encrypted FROM outbox o JOIN records r ON r.id = o.record AND r.latest WHERE o.id = $1`, w.id).
		Scan(&chapter, &kind, &origin, &encrypted)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return true, nil
	case err != nil:
		return false, err
	case origin == room.ID || room.Direct: // who reads a direct chat is asked for by its entitlement
		return true, nil
	case encrypted && !room.Encrypted:
		return false, nil
	case chapter != "" && chapter == room.Chapter:
		return true, nil
	case room.Settings[SettingPaused] == "yes":
		return false, nil
	}
	f := Follow{}
	err = d.e.db.QueryRow(d.ctx, `SELECT kinds FROM follows WHERE room = $1 AND chapter = $2 AND active`, room.ID, chapter).Scan(&f.Kinds)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil && f.Hears(kind), err
}

// takenBack is whether a row is to be deleted as soon as it has arrived.
func (d *dispatcher) takenBack(w *waiting) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.rooms[w.room]
	for _, lane := range q.lanes {
		for _, o := range lane {
			if o.kind == OutDelete && o.target == w.id {
				return true
			}
		}
	}
	return false
}

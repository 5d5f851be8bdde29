package bot

import (
	"context"
	"fmt"
)

// RecordsOf lists what a person wrote and is still kept, by kind and age.
func (tx *Tx) RecordsOf(person PersonID) ([]*Record, error) {
	return tx.records(`r.latest AND r.author = $1 AND b.body IS NOT NULL ORDER BY r.kind, r.id`, person)
}

// Forget erases a person's words everywhere, and says how many records that were. What the bot said about them is deleted
// where the network can, and so is what it asked her: questions repeat the answers. The envelopes of the records stay, and
// so does what the network itself shows: that she is there.
func (t *Turn) Forget(person PersonID) (records int, err error) {
	mine, err := t.RecordsOf(person)
	if err != nil {
		return 0, err
	}
	for _, r := range mine {
		if err := t.Erase(r); err != nil {
			return 0, err
		}
	}
	for _, table := range t.e.Tables() {
		if err := table.Forget(t.ctx, t.Tx, person); err != nil {
			return 0, fmt.Errorf("%s: %w", table.Name, err)
		}
	}
	if t.Person != nil && t.Person.ID == person {
		t.Person, err = t.Tx.Person(person) // else what this turn still saves would bring her name back
	}
	return len(mine), err
}

// forgetPerson takes a person's name and choices away; her address stays while the network shows her in a room.
func forgetPerson(_ context.Context, tx *Tx, person PersonID) error {
	p, err := tx.Person(person)
	if err != nil || p == nil {
		return err
	}
	p.Name, p.Lang, p.Zone, p.LastRoom = "", "", "", 0
	return tx.SavePerson(p)
}

// forgetRooms takes the person out of the rooms that she invited the bot to, and her name, language and zone off her direct chat.
func forgetRooms(_ context.Context, tx *Tx, person PersonID) error {
	rooms, err := tx.roomsWhere(`inviter = $1 OR direct AND id IN (SELECT room FROM members WHERE person = $1)`, person)
	if err != nil {
		return err
	}
	for _, r := range rooms {
		if r.Inviter == person {
			r.Inviter = 0
		}
		if r.Direct {
			r.Name, r.Lang, r.Zone = "", "", ""
		}
		if err := tx.SaveRoom(r); err != nil {
			return err
		}
	}
	return nil
}

func forgetRecords(_ context.Context, tx *Tx, person PersonID) error {
	mine, err := tx.records(`r.latest AND r.author = $1`, person)
	if err != nil {
		return err
	}
	for _, r := range mine {
		if err := tx.erase(r); err != nil {
			return err
		}
	}
	return nil
}

// forgetOutbox drops what was still to be said to a person, deletes what a dialogue with her repeated of her words, and
// forgets what else she was told.
func forgetOutbox(_ context.Context, tx *Tx, person PersonID) error {
	if err := tx.forgetJoined(person); err != nil {
		return err
	}
	if err := tx.drop(`person = $1`, person); err != nil {
		return err
	}
	asked, err := tx.rows(`person = $1 AND kind = $2 AND (state = 0 OR state = 1 AND topic = $3)`, person, string(OutMessage), topicDialogue)
	if err != nil {
		return err
	}
	for _, id := range asked {
		if err := tx.Delete(id); err != nil {
			return err
		}
	}
	return tx.Exec(`UPDATE outbox SET data = NULL, person = 0 WHERE person = $1 AND state <> 0`, person)
}

package bot

import (
	"encoding/json"
	"slices"
)

// Bounds of what is joined: a message that is still read on a phone.
const (
	joinAtMost = 5
	joinOctets = 6000 // of the data behind it
)

// join makes one message of an answer that is about to leave and of those that wait behind it, where the account is short of calls.
// It is stored before it is sent: a crash finds one row, with one idempotency key. Only what nothing hangs on is joined: no alert,
// no question, nothing about a record, nothing that is to be edited, in one lane and thread. A reply to the joined message is a
// reply to its first answer, as good as one to any of them; it can be neither edited nor deleted for one part's sake.
func (d *dispatcher) join(w *waiting) error {
	behind := d.behind(w)
	if len(behind) == 0 {
		return nil
	}
	return d.e.Do(d.ctx, "answers are joined", func(tx *Tx) error { return tx.join(w, behind) })
}

// behind lists the rows that may be joined to one that is about to leave.
func (d *dispatcher) behind(w *waiting) (all []*waiting) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.e.clock.Now()
	q := d.rooms[w.room]
	if !now.Before(d.account(q.adapter).short) {
		return nil
	}
	needed := map[RowID]bool{}
	for _, lane := range q.lanes {
		for _, o := range lane {
			needed[o.after], needed[o.target] = true, true
		}
	}
	fits := func(o *waiting) bool {
		return o.kind == OutMessage && o.priority == PriorityAnswer && !o.fixed && !o.tried && !o.about && o.target == 0 && o.after == 0 &&
			!needed[o.id] && !now.Before(o.notBefore)
	}
	if !fits(w) {
		return nil
	}
	lane := q.lanes[w.lane]
	for _, o := range lane[slices.Index(lane, w)+1:] {
		if !fits(o) || now.Before(o.retryAt) || d.held[o.id] > 0 || len(all) == joinAtMost-1 {
			break // what comes later stays later
		}
		all = append(all, o)
	}
	return all
}

// part is a row as it can be joined.
type part struct {
	id     RowID
	person PersonID
	lang   string
	parcel parcel
	msgs   []any
	octets int
}

// part reads a row; nil when something hangs on it.
func (tx *Tx) part(id RowID) (*part, error) {
	p := &part{id: id}
	var key, topic, ref, record, lists string
	var rings bool
	var expires, origin int64
	var sealed []byte
	found, err := tx.One(`SELECT key, topic, ref, record, lists, rings, expires, origin, person, lang, data FROM outbox WHERE id = $1 AND state = 0`, []any{id},
		&key, &topic, &ref, &record, &lists, &rings, &expires, &origin, &p.person, &p.lang, &sealed)
	if err != nil || !found || key == "" || topic+ref+record+lists != "" || rings || expires != 0 || origin != 0 {
		return nil, err
	}
	text, err := tx.Open("outbox", "data", id, sealed)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), &p.parcel); err != nil {
		return nil, err
	}
	if p.parcel.For != nil || p.parcel.File != nil {
		return nil, nil
	}
	msg, err := tx.e.cfg.Messages.Decode(key, p.parcel.Data)
	if err != nil {
		return nil, err
	}
	p.msgs, p.octets = []any{msg}, len(p.parcel.Data)
	if several, ok := msg.(Joined); ok {
		p.msgs = several.Messages
	} else {
		p.parcel.People = []PersonID{p.person}
	}
	return p, nil
}

func (tx *Tx) join(w *waiting, behind []*waiting) error {
	first, err := tx.part(w.id)
	if err != nil || first == nil {
		return err
	}
	var joined []RowID
	for _, o := range behind {
		p, err := tx.part(o.id)
		if err != nil {
			return err
		}
		if p == nil || p.lang != first.lang || p.parcel.Zone != first.parcel.Zone || p.parcel.Thread != first.parcel.Thread || len(first.msgs)+len(p.msgs) > joinAtMost ||
			first.octets+p.octets > joinOctets || !tx.hold(o.id) {
			break
		}
		first.msgs, first.octets = append(first.msgs, p.msgs...), first.octets+p.octets
		first.parcel.People = append(first.parcel.People, p.parcel.People...)
		joined = append(joined, o.id)
	}
	if len(joined) == 0 {
		return nil
	}
	if slices.ContainsFunc(first.parcel.People, func(p PersonID) bool { return p != first.person }) {
		first.parcel.Reply, first.parcel.ReplyTo = "", "" // it answers several people
	}
	w.joined = true
	if err := tx.rejoin(first); err != nil {
		return err
	}
	for _, id := range joined {
		tx.dropped = append(tx.dropped, id)
		if err := tx.Exec(`UPDATE outbox SET state = 1, data = NULL, at = $1 WHERE id = $2`, tx.now.UnixMilli(), id); err != nil {
			return err
		}
	}
	return nil
}

// rejoin writes what a joined message says.
func (tx *Tx) rejoin(p *part) error {
	key, data, err := tx.e.cfg.Messages.Encode(Joined{Messages: p.msgs})
	if err != nil {
		return err
	}
	p.parcel.Data = data
	sealed, err := json.Marshal(p.parcel)
	if err != nil {
		return err
	}
	tx.rewritten = append(tx.rewritten, p.id)
	return tx.Exec(`UPDATE outbox SET key = $1, data = $2 WHERE id = $3`, key, tx.Seal("outbox", "data", p.id, string(sealed)), p.id)
}

// keyJoined is the key of Joined.
const keyJoined = "bot.joined"

// forgetJoined takes what was to be said to a person out of the joined messages that wait.
func (tx *Tx) forgetJoined(person PersonID) error {
	rows, err := tx.rows(`state = 0 AND key = $1`, keyJoined)
	if err != nil {
		return err
	}
	for _, id := range rows {
		p, err := tx.part(id)
		if err != nil || p == nil {
			return err
		}
		if !slices.Contains(p.parcel.People, person) || !tx.hold(id) {
			continue
		}
		var rest []any
		var people []PersonID
		for i, whose := range p.parcel.People {
			if whose != person && i < len(p.msgs) {
				rest, people = append(rest, p.msgs[i]), append(people, whose)
			}
		}
		if len(rest) == 0 {
			err = tx.setAside(id)
		} else {
			p.msgs, p.parcel.People = rest, people
			err = tx.rejoin(p)
		}
		if err == nil {
			err = tx.Exec(`UPDATE outbox SET person = 0 WHERE id = $1 AND person = $2`, id, person)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

package bot

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Priority decides across lanes: what goes first when several rows of a room, or of a limited account, wait.
type Priority int

const (
	PriorityAlert Priority = iota
	PriorityAnswer
	PriorityReminder
	PriorityDecoration
)

// States of an outbox row.
const (
	stateWaiting   = 0
	stateDelivered = 1
	stateSetAside  = 2
	stateUntold    = 3 // set aside in a backup that was restored; see restored
)

// editPause is the least time between two edits of a counter.
const editPause = 10 * time.Second

// keepPosted is how long the bot remembers what it said; answers to older messages find nothing.
const keepPosted = 30 * 24 * time.Hour

// parcel is the sealed part of an outbox row: what is said, and where on the network it hangs.
type parcel struct {
	Data    json.RawMessage `json:"d,omitempty"`
	Text    string          `json:"x,omitempty"`  // an emoji
	Thread  string          `json:"th,omitempty"` // network id of the thread's root
	Reply   string          `json:"re,omitempty"` // network id of what is answered
	ReplyTo string          `json:"rp,omitempty"` // its author's address
	Target  string          `json:"ta,omitempty"` // network id of somebody else's message that is reacted to
	File    *FileOut        `json:"f,omitempty"`
	Ask     *Ask            `json:"as,omitempty"`
	For     *entitled       `json:"for,omitempty"` // who must still be what she was
	People  []PersonID      `json:"pp,omitempty"`  // of a joined message: whom each part answers
	Zone    string          `json:"z,omitempty"`   // in a direct chat: in which zone it is read
}

// waiting is an outbox row as the dispatcher holds it in memory: all but what is said.
type waiting struct {
	id        RowID
	room      RoomID
	lane      string
	priority  Priority
	kind      OutKind
	target    RowID // own row that is edited, reacted to, deleted or replied to
	after     RowID // must be delivered before
	notBefore time.Time
	about     bool    // a record is what it is about
	born      int64   // when it was written, in Unix milliseconds
	fresh     *spoken // what is said, while that is known; else it is read from the database

	// How sending it went so far; under the dispatcher's lock:
	retryAt time.Time
	tries   int
	fixed   bool // an earlier try may have shown it: what it says cannot be changed any more
	joined  bool // it holds the answers that waited behind it
	tried   bool // and the network cannot tell a second try from the first
}

// spoken is what a row says.
type spoken struct {
	key     string
	lang    string
	rings   bool
	expires int64
	parcel  parcel
}

// maxFresh bounds how many rows are held in memory together with what they say.
const maxFresh = 500

// post is an outbox row on its way into the database.
type post struct {
	waiting
	msg     any
	key     string
	person  PersonID
	topic   string
	ref     string
	record  string
	lists   string // "" or " ID ID": other records that stand in it
	origin  RoomID
	expires time.Time
	rings   bool
	lang    string
	parcel  parcel
	buttons []string
}

// PostOption says how something is posted.
type PostOption func(*post)

// Rings makes phones ring: alerts.
func Rings() PostOption {
	return func(p *post) { p.rings, p.priority = true, PriorityAlert }
}

// WithPriority overrides the priority (answers, by default).
func WithPriority(pr Priority) PostOption { return func(p *post) { p.priority = pr } }

// About ties the message to a record: a reaction or reply to it goes to topic with ref, /forget finds it, and its lane is the record's.
func About(r *Record) PostOption {
	return func(p *post) { p.record, p.lane = r.ID, r.ID }
}

// Lists ties the message to records whose words stand in it beside others: it goes when one of them is erased.
func Lists(all ...*Record) PostOption {
	return func(p *post) {
		for _, r := range all {
			p.lists += " " + r.ID
		}
	}
}

// Topic routes reactions on the message, and replies to it, to the handler of that name.
func Topic(name, ref string) PostOption {
	return func(p *post) { p.topic, p.ref = name, ref }
}

// Buttons puts the bot's own reactions under the message. Where the network has none they are left out.
func Buttons(emoji ...string) PostOption { return func(p *post) { p.buttons = emoji } }

// NotBefore holds the message back until then.
func NotBefore(t time.Time) PostOption { return func(p *post) { p.notBefore = t } }

// Expires drops the message if it could not be delivered by then.
func Expires(t time.Time) PostOption { return func(p *post) { p.expires = t } }

// Origin names the room that is told if the message can never be delivered.
func Origin(r RoomID) PostOption { return func(p *post) { p.origin = r } }

// After holds the message back until that row was delivered.
func After(row RowID) PostOption { return func(p *post) { p.after = row } }

// Under posts as a reply to what the bot said before in that room, once that was delivered.
func Under(row RowID) PostOption {
	return func(p *post) { p.target, p.after = row, row }
}

// InMain posts to the room itself, also when what is answered stands in a thread.
func InMain() PostOption {
	return func(p *post) { p.parcel.Thread = "" }
}

// Plain posts without hanging the message on anything (no reply, no thread).
func Plain() PostOption {
	return func(p *post) { p.parcel.Thread, p.parcel.Reply, p.parcel.ReplyTo = "", "", "" }
}

// enqueue writes a row, and the rows of its buttons.
func (tx *Tx) enqueue(p *post) (RowID, error) {
	var err error
	if p.msg != nil {
		p.key, p.parcel.Data, err = tx.e.cfg.Messages.Encode(p.msg)
		if err != nil {
			return 0, err
		}
	}
	p.id = nextID[RowID](tx, "outbox")
	if p.lane == "" {
		p.lane = "room"
	}
	sealed, err := json.Marshal(p.parcel)
	if err != nil {
		return 0, err
	}
	err = tx.Exec(`INSERT INTO outbox (id, room, person, lane, priority, kind, key, data, target, after, topic, ref, record, lists, origin, not_before, expires, rings, lang, state, tried, at)
		VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,0,false,$20)`,
		p.id, p.room, p.person, p.lane, int(p.priority), string(p.kind), p.key, tx.Seal("outbox", "data", p.id, string(sealed)), p.target, p.after,
		p.topic, p.ref, p.record, p.lists, p.origin, millis(p.notBefore), millis(p.expires), p.rings, p.lang, tx.now.UnixMilli())
	if err != nil {
		return 0, err
	}
	w := p.waiting
	w.about, w.born, w.fresh = p.record != "", tx.now.UnixMilli(), &spoken{p.key, p.lang, p.rings, millis(p.expires), p.parcel}
	tx.queued = append(tx.queued, &w)
	room, err := tx.Room(p.room)
	if err != nil {
		return 0, err
	}
	if a := tx.e.adapters[room.Adapter]; a != nil && !a.Abilities().Reactions {
		p.buttons = nil
	}
	for _, emoji := range p.buttons {
		b := &post{parcel: parcel{Text: emoji}, record: p.record}
		b.room, b.kind, b.target, b.after, b.priority = p.room, OutReaction, p.id, p.id, PriorityDecoration
		b.lane = fmt.Sprintf("buttons %d", p.id)
		if _, err := tx.enqueue(b); err != nil {
			return 0, err
		}
	}
	return p.id, nil
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Post says something in a room. Capabilities post only where people asked for it: the room of the command, rooms of
// the same chapter, and what Reach gives.
func (tx *Tx) Post(room RoomID, msg any, opts ...PostOption) (RowID, error) {
	p := &post{msg: msg}
	p.room, p.kind, p.priority = room, OutMessage, PriorityAnswer
	for _, o := range opts {
		o(p)
	}
	return tx.enqueue(p)
}

// Edit changes what an own message says. An original that has not left yet is changed in place; an edit that waits
// gives way to the newer one, and does not make it wait.
func (tx *Tx) Edit(row RowID, msg any, opts ...PostOption) error {
	var room RoomID
	var state int
	var lane, record string
	var priority Priority
	var deleted bool
	found, err := tx.One(`SELECT room, state, lane, record, priority, EXISTS (SELECT 1 FROM outbox d WHERE d.target = o.id AND d.kind = $2 AND d.state <> 2)
		FROM outbox o WHERE o.id = $1`, []any{row, string(OutDelete)}, &room, &state, &lane, &record, &priority, &deleted)
	if err != nil || !found || deleted || state == stateSetAside {
		return err // expired, never said or taken back: nothing to edit
	}
	if state == stateWaiting && tx.hold(row) {
		return tx.rewrite(row, msg)
	}
	p := &post{msg: msg, record: record}
	p.room, p.kind, p.target, p.after, p.priority, p.lane = room, OutEdit, row, row, priority, lane
	for _, o := range opts {
		o(p)
	}
	var edit RowID
	var waits string
	found, err = tx.One(`SELECT id, lane FROM outbox WHERE target = $1 AND kind = $2 AND state = 0 ORDER BY id DESC LIMIT 1`, []any{row, string(OutEdit)}, &edit, &waits)
	if err != nil {
		return err
	}
	if found && tx.hold(edit) {
		if waits == p.lane || p.lane == counterLane(row) {
			return tx.rewrite(edit, msg)
		}
		if err := tx.setAside(edit); err != nil { // a counter, which has time
			return err
		}
	}
	_, err = tx.enqueue(p)
	return err
}

// counterLane is where the edits of a counter wait, beside what matters more.
func counterLane(row RowID) string { return fmt.Sprintf("counter %d", row) }

// EditCounter is Edit for numbers that move: at most one edit every ten seconds.
func (tx *Tx) EditCounter(row RowID, msg any) error {
	var last int64
	if _, err := tx.One(`SELECT COALESCE(MAX(at), 0) FROM outbox WHERE target = $1 AND kind = $2`, []any{row, string(OutEdit)}, &last); err != nil {
		return err
	}
	opts := []PostOption{WithPriority(PriorityDecoration), func(p *post) { p.lane = counterLane(row) }}
	if last != 0 {
		opts = append(opts, NotBefore(fromMillis(min(last, tx.now.UnixMilli())).Add(editPause))) // the clock may have been put back
	}
	return tx.Edit(row, msg, opts...)
}

// hold keeps a waiting row from leaving until this transaction ends; false when it is on its way or gone.
func (tx *Tx) hold(row RowID) bool { return tx.holds(row, false) }

func (tx *Tx) holds(row RowID, anyway bool) bool {
	if !tx.e.out.hold(row, anyway) {
		return false
	}
	tx.held = append(tx.held, row)
	return true
}

// rewrite replaces what a waiting row says.
func (tx *Tx) rewrite(row RowID, msg any) error {
	key, data, err := tx.e.cfg.Messages.Encode(msg)
	if err != nil {
		return err
	}
	p, err := tx.parcel(row)
	if err != nil {
		return err
	}
	p.Data = data
	sealed, err := json.Marshal(p)
	if err != nil {
		return err
	}
	tx.rewritten = append(tx.rewritten, row)
	return tx.Exec(`UPDATE outbox SET key = $1, data = $2 WHERE id = $3`, key, tx.Seal("outbox", "data", row, string(sealed)), row)
}

func (tx *Tx) parcel(row RowID) (parcel, error) {
	var sealed []byte
	var p parcel
	if _, err := tx.One(`SELECT data FROM outbox WHERE id = $1`, []any{row}, &sealed); err != nil {
		return p, err
	}
	text, err := tx.Open("outbox", "data", row, sealed)
	if err != nil || text == "" {
		return p, err
	}
	return p, json.Unmarshal([]byte(text), &p)
}

// Delete takes back what the bot said, edits included: a waiting row is dropped, a delivered one is deleted where the network
// can, and one that is on its way is deleted once it has arrived.
func (tx *Tx) Delete(row RowID) error {
	var room RoomID
	var state int
	var lane string
	found, err := tx.One(`SELECT room, state, lane FROM outbox WHERE id = $1`, []any{row}, &room, &state, &lane)
	if err != nil || !found || state == stateSetAside {
		return err
	}
	if state == stateWaiting && tx.hold(row) {
		return tx.setAside(row)
	}
	// On Matrix an edit is a message of its own, with all of the words in it.
	if err := tx.drop(`target = $1 AND kind IN ($2, $3)`, row, string(OutEdit), string(OutReaction)); err != nil {
		return err
	}
	said, err := tx.rows(`(id = $1 OR target = $1 AND kind = $2 AND state <> 2)
		AND NOT EXISTS (SELECT 1 FROM outbox d WHERE d.target = outbox.id AND d.kind = $3 AND d.state <> 2)`, row, string(OutEdit), string(OutDelete))
	if err != nil {
		return err
	}
	for _, id := range said {
		p := &post{}
		p.room, p.kind, p.target, p.after, p.priority, p.lane = room, OutDelete, id, id, PriorityAnswer, lane
		if _, err := tx.enqueue(p); err != nil {
			return err
		}
	}
	return nil
}

// drop sets aside the waiting rows that fit, but for those that are on their way or may have been shown.
func (tx *Tx) drop(where string, args ...any) error { return tx.drops(false, where, args...) }

func (tx *Tx) drops(anyway bool, where string, args ...any) error {
	rows, err := tx.rows(`state = 0 AND `+where, args...)
	for _, id := range rows {
		if tx.holds(id, anyway) {
			err = errors.Join(err, tx.setAside(id))
		}
	}
	return err
}

// rows lists the ids of the outbox rows that fit.
func (tx *Tx) rows(where string, args ...any) ([]RowID, error) {
	return idsOf[RowID](tx, `SELECT id FROM outbox WHERE `+where+` ORDER BY id`, args...)
}

// setAside gives up on a waiting row: it and what waits for it never leave.
func (tx *Tx) setAside(row RowID) error {
	tx.dropped = append(tx.dropped, row)
	if err := tx.Exec(`UPDATE outbox SET state = 2, data = NULL WHERE id = $1`, row); err != nil {
		return err
	}
	rest, err := tx.rows(`state = 0 AND (after = $1 OR target = $1)`, row)
	if err != nil {
		return err
	}
	for _, id := range rest {
		if err := tx.setAside(id); err != nil {
			return err
		}
	}
	return nil
}

// React puts a reaction of the bot on what it said.
func (tx *Tx) React(row RowID, emoji string) error {
	var room RoomID
	found, err := tx.One(`SELECT room FROM outbox WHERE id = $1`, []any{row}, &room)
	if err != nil || !found {
		return err
	}
	p := &post{parcel: parcel{Text: emoji}}
	p.room, p.kind, p.target, p.after, p.priority = room, OutReaction, row, row, PriorityDecoration
	p.lane = fmt.Sprintf("buttons %d", row)
	_, err = tx.enqueue(p)
	return err
}

// Leave makes the bot leave a room once all that was to be said there is said.
func (tx *Tx) Leave(room RoomID, last RowID) error {
	p := &post{}
	p.room, p.kind, p.after, p.priority, p.lane = room, OutLeave, last, PriorityDecoration, "leave"
	_, err := tx.enqueue(p)
	return err
}

// Delivery is what became of one message about a record in one room.
type Delivery struct {
	Row       RowID
	Room      RoomID
	Delivered bool
	SetAside  bool
	Topic     string
}

// Deliveries lists what was posted about a record (messages only), in the order of their rows.
func (tx *Tx) Deliveries(record string) ([]Delivery, error) {
	var all []Delivery
	err := tx.Each(`SELECT id, room, state, topic FROM outbox WHERE record = $1 AND kind = $2 ORDER BY id`, []any{record, string(OutMessage)}, func(row Row) error {
		var d Delivery
		var state int
		err := row.Scan(&d.Row, &d.Room, &state, &d.Topic)
		d.Delivered, d.SetAside = state == stateDelivered, state == stateSetAside
		all = append(all, d)
		return err
	})
	return all, err
}

// posted finds an own message by its network id.
func (tx *Tx) posted(room RoomID, netID string) (row RowID, topic, ref, record string, person PersonID, err error) {
	if netID == "" {
		return
	}
	// Some networks give each edit an id of its own, and answers may name that.
	found, err := tx.One(`SELECT m.id, m.topic, m.ref, m.record, m.person FROM outbox o JOIN outbox m ON m.id = CASE WHEN o.kind = $2 THEN o.id ELSE o.target END
		WHERE o.net_hash = $1 AND o.kind IN ($2, $4) AND o.room = $3 AND m.kind = $2`,
		[]any{tx.Hash("message", netID), string(OutMessage), room, string(OutEdit)}, &row, &topic, &ref, &record, &person)
	if err == nil && !found {
		return tx.doubted(room, netID)
	}
	if err != nil {
		return 0, "", "", "", 0, err
	}
	return
}

// doubted finds the message that people saw although the answer to the call was lost, so that the bot never heard its id: the one
// message of the room whose arrival was in doubt when the id says that it was sent.
func (tx *Tx) doubted(room RoomID, netID string) (row RowID, topic, ref, record string, person PersonID, err error) {
	r, err := tx.Room(room)
	if err != nil {
		return 0, "", "", "", 0, err
	}
	dated, ok := tx.e.adapters[r.Adapter].(Dated)
	if !ok {
		return 0, "", "", "", 0, nil
	}
	at, own := dated.SentAt(netID)
	if !own {
		return 0, "", "", "", 0, nil
	}
	n := 0
	err = tx.Each(`SELECT id, topic, ref, record, person FROM outbox WHERE room = $1 AND kind = $2 AND tried AND doubt_from > 0 AND doubt_from <= $3
		AND (doubt_to >= $3 OR doubt_to = 0 AND state = 0) LIMIT 2`, []any{room, string(OutMessage), at.UnixMilli()}, func(found Row) error {
		n++
		return found.Scan(&row, &topic, &ref, &record, &person)
	})
	if err != nil || n != 1 {
		return 0, "", "", "", 0, err
	}
	return row, topic, ref, record, person, nil
}

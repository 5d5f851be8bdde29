package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"starling/locales"
)

// Bounds of the dispatcher.
const (
	defaultInFlight = 64
	sendTimeout     = 90 * time.Second
	firstBackoff    = time.Second
	longestBackoff  = 10 * time.Minute
)

// dispatcher holds what waits in the outbox, without its text, and hands it to the adapters: rooms side by side, one call
// at a time in each, order kept per lane, priority across lanes. Claims live here and nowhere else: after a crash the rows
// are simply still waiting.
type dispatcher struct {
	e  *Engine
	mu sync.Mutex

	rooms    map[RoomID]*roomQueue
	byID     map[RowID]*waiting
	netIDs   map[RowID]string // what was sent and is not yet stored as delivered
	held     map[RowID]int
	sending  map[RowID]bool
	inFlight map[string]int       // by adapter
	closed   map[string]time.Time // account-wide stop, by adapter
	wakeUp   chan struct{}
	alarm    func()
	ctx      context.Context
}

type roomQueue struct {
	adapter string
	busy    bool
	lanes   map[string][]*waiting
}

func newDispatcher(e *Engine) *dispatcher {
	return &dispatcher{e: e, rooms: map[RoomID]*roomQueue{}, byID: map[RowID]*waiting{}, netIDs: map[RowID]string{}, held: map[RowID]int{},
		sending: map[RowID]bool{}, inFlight: map[string]int{}, closed: map[string]time.Time{}, wakeUp: make(chan struct{}, 1)}
}

// load reads the waiting rows; for start-up.
func (d *dispatcher) load(tx *Tx) error {
	return tx.Each(`SELECT id, room, lane, priority, kind, target, after, not_before, tried FROM outbox WHERE state = 0 ORDER BY id`, nil, func(row Row) error {
		var w waiting
		var kind string
		var notBefore int64
		if err := row.Scan(&w.id, &w.room, &w.lane, &w.priority, &kind, &w.target, &w.after, &notBefore, &w.maybeSent); err != nil {
			return err
		}
		w.kind, w.notBefore = OutKind(kind), fromMillis(notBefore)
		tx.queued = append(tx.queued, &w)
		return nil
	})
}

// add takes over what a commit wrote.
func (d *dispatcher) add(rows []*waiting, dropped []RowID) {
	d.mu.Lock()
	for _, w := range rows {
		q := d.rooms[w.room]
		if q == nil {
			q = &roomQueue{lanes: map[string][]*waiting{}}
			if r := d.e.cache.room(w.room); r != nil {
				q.adapter = r.Adapter
			}
			d.rooms[w.room] = q
		}
		q.lanes[w.lane] = append(q.lanes[w.lane], w)
		d.byID[w.id] = w
	}
	for _, id := range dropped {
		d.remove(id)
	}
	d.mu.Unlock()
	d.wake()
}

// remove forgets a row; the caller holds the lock.
func (d *dispatcher) remove(id RowID) {
	w := d.byID[id]
	if w == nil {
		return
	}
	delete(d.byID, id)
	q := d.rooms[w.room]
	lane := slices.DeleteFunc(q.lanes[w.lane], func(o *waiting) bool { return o.id == id })
	if len(lane) > 0 {
		q.lanes[w.lane] = lane
		return
	}
	delete(q.lanes, w.lane)
	if len(q.lanes) == 0 && !q.busy {
		delete(d.rooms, w.room)
	}
}

// hold keeps a row from leaving; false when it is on its way or no longer waits.
func (d *dispatcher) hold(id RowID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, sent := d.netIDs[id]; sent || d.sending[id] {
		return false
	}
	if w := d.byID[id]; w != nil && w.maybeSent {
		return false
	}
	d.held[id]++
	return true
}

func (d *dispatcher) release(ids []RowID) {
	if len(ids) == 0 {
		return
	}
	d.mu.Lock()
	for _, id := range ids {
		if d.held[id]--; d.held[id] <= 0 {
			delete(d.held, id)
		}
	}
	d.mu.Unlock()
	d.wake()
}

// settle forgets network ids that can be read from the database now.
func (d *dispatcher) settle(rows []RowID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range rows {
		delete(d.netIDs, id)
	}
}

func (d *dispatcher) wake() {
	select {
	case d.wakeUp <- struct{}{}:
	default:
	}
}

func (d *dispatcher) start(ctx context.Context) {
	d.ctx = ctx
	d.e.goes(func() {
		for {
			d.pass()
			d.e.note()
			select {
			case <-ctx.Done():
				return
			case <-d.e.stopped:
				return
			case <-d.wakeUp:
			}
		}
	})
}

// pass starts every call that may start now, the most urgent first, and sets the alarm for the next.
func (d *dispatcher) pass() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.alarm != nil {
		d.alarm()
		d.alarm = nil
	}
	ready, next := d.ready()
	for _, w := range ready {
		d.claim(w)
	}
	if !next.IsZero() {
		d.alarm = d.e.clock.AfterFunc(next.Sub(d.e.clock.Now()), d.wake)
	}
}

// ready lists, at most one a room, the rows that may leave now, and when the next one may.
func (d *dispatcher) ready() (ready []*waiting, next time.Time) {
	now := d.e.clock.Now()
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, q := range d.rooms {
		if q.busy || d.e.adapters[q.adapter] == nil {
			continue
		}
		if until, ok := d.closed[q.adapter]; ok {
			if now.Before(until) {
				sooner(until)
				continue
			}
			delete(d.closed, q.adapter)
		}
		var best *waiting
		for _, lane := range q.lanes {
			w := lane[0]
			if d.held[w.id] > 0 || d.byID[w.after] != nil || d.sending[w.after] {
				continue
			}
			if now.Before(w.notBefore) {
				sooner(w.notBefore)
				continue
			}
			if best == nil || w.priority < best.priority || w.priority == best.priority && w.id < best.id {
				best = w
			}
		}
		if best != nil {
			ready = append(ready, best)
		}
	}
	slices.SortFunc(ready, func(a, b *waiting) int {
		if a.priority != b.priority {
			return int(a.priority - b.priority)
		}
		return int(a.id - b.id)
	})
	return ready, next
}

// claim starts one call; the caller holds the lock.
func (d *dispatcher) claim(w *waiting) {
	q := d.rooms[w.room]
	a := d.e.adapters[q.adapter]
	limit := a.Abilities().InFlight
	if limit == 0 {
		limit = defaultInFlight
	}
	if d.inFlight[q.adapter] >= limit {
		return // whoever ends next wakes us
	}
	q.busy = true
	d.inFlight[q.adapter]++
	d.sending[w.id] = true
	d.e.goes(func() {
		done := d.send(a, w)
		d.mu.Lock()
		q.busy = false
		d.inFlight[q.adapter]--
		delete(d.sending, w.id)
		if done {
			d.remove(w.id)
		}
		if len(q.lanes) == 0 {
			delete(d.rooms, w.room)
		}
		d.mu.Unlock()
		d.wake()
	})
}

// errNothing says that a row has nothing to be sent any more.
var errNothing = errors.New("nothing to send")

// send makes one call and stores what came of it; true when the row no longer waits.
func (d *dispatcher) send(a Adapter, w *waiting) bool {
	out, err := d.prepare(a, w)
	if errors.Is(err, errNothing) {
		return d.store(w, func(tx *Tx) error { return tx.unsent(w) })
	}
	if err != nil && d.ctx.Err() != nil {
		return false // stopping: the row waits for the next start
	}
	if err != nil && ours(err) {
		d.retry(w, a, &SendError{Err: err})
		return false
	}
	if err != nil {
		d.e.log.Error().Err(err).Int64("row", int64(w.id)).Msg("a message cannot be made")
		d.e.countError()
		return d.store(w, func(tx *Tx) error { return tx.unsent(w) })
	}
	idempotent := a.Abilities().Idempotent
	if !idempotent {
		// Written before the call: after a crash in it, the repeat is marked as one.
		if err := d.e.Do(d.ctx, "tried", func(tx *Tx) error { return tx.Exec(`UPDATE outbox SET tried = true WHERE id = $1`, w.id) }); err != nil {
			d.retry(w, a, &SendError{Err: err})
			return false
		}
	}
	if d.e.fault("before-send") {
		return false
	}
	ctx, cancel := context.WithTimeout(d.ctx, sendTimeout)
	var id string
	err = guard(func() (err error) { id, err = a.Send(ctx, out); return err })
	cancel()
	if d.e.fault("after-send") {
		return false
	}
	w.maybeSent = true
	if err == nil {
		d.mu.Lock()
		d.netIDs[w.id] = id
		d.mu.Unlock()
		done := d.e.submit("delivered", func(tx *Tx) error { return tx.delivered(w, id) })
		if !idempotent {
			<-done
		}
		return true
	}
	var known *SendError
	if !errors.As(err, &known) {
		known = &SendError{Err: err}
	}
	if known.Permanent || known.Gone {
		d.e.log.Warn().Err(known.Err).Int64("row", int64(w.id)).Int64("room", int64(w.room)).Msg("a message was set aside: it can never be delivered")
		return d.store(w, func(tx *Tx) error { return tx.undeliverable(w, known.Gone) })
	}
	if d.ctx.Err() == nil {
		d.retry(w, a, known)
	}
	return false
}

// store writes the end of a row.
func (d *dispatcher) store(w *waiting, do func(*Tx) error) bool {
	if err := d.e.Do(d.ctx, "set aside", do); err != nil {
		d.mu.Lock()
		w.notBefore = d.e.clock.Now().Add(firstBackoff)
		d.mu.Unlock()
		return false
	}
	return true
}

// retry sets when a row is tried again: exponential with jitter, or as the network said.
func (d *dispatcher) retry(w *waiting, a Adapter, err *SendError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.tries++
	wait := firstBackoff << min(w.tries-1, 10)
	wait = min(wait, longestBackoff)
	wait += time.Duration(d.jitter(int64(w.id)+int64(w.tries)) * float64(wait) / 4)
	wait = max(wait, err.After)
	until := d.e.clock.Now().Add(wait)
	d.e.log.Info().Err(err.Err).Int64("row", int64(w.id)).Int("tries", w.tries).Dur("wait", wait).Msg("a call failed and is tried again")
	if err.Account {
		d.closed[a.Name()] = until
		return
	}
	w.notBefore = until
}

// jitter spreads retries, from 0 to 1; the same row and try give the same, so that a conversation can be played again.
func (d *dispatcher) jitter(n int64) float64 {
	x := uint64(n) * 0x9E3779B97F4A7C15
	return float64(x>>40) / float64(1<<24)
}

// prepare reads a row and renders it for the room that reads it.
func (d *dispatcher) prepare(a Adapter, w *waiting) (Outgoing, error) {
	room := d.e.cache.room(w.room)
	if room == nil {
		return Outgoing{}, fmt.Errorf("room %d is unknown", w.room)
	}
	if !room.Joined {
		return Outgoing{}, errNothing
	}
	var key, lang string
	var sealed []byte
	var expires int64
	var person PersonID
	out := Outgoing{ID: fmt.Sprintf("%s-%d", d.e.instance, w.id), Room: room.Address, Kind: w.kind, Encrypted: room.Encrypted, Repeated: w.maybeSent && !a.Abilities().Idempotent}
	err := d.e.db.QueryRow(d.ctx, `SELECT key, data, expires, rings, lang, person FROM outbox WHERE id = $1`, w.id).Scan(&key, &sealed, &expires, &out.Rings, &lang, &person)
	if err != nil {
		return out, err
	}
	now := d.e.clock.Now()
	if expires != 0 && now.UnixMilli() > expires {
		return out, errNothing
	}
	raw, err := d.e.box.Open(place("outbox", "data", w.id), sealed)
	if err != nil {
		return out, err
	}
	var p parcel
	if err := json.Unmarshal(raw, &p); err != nil {
		return out, err
	}
	able := a.Abilities()
	out.ReplyTo, out.ReplyPerson, out.Text, out.File, out.Target = p.Reply, p.ReplyTo, p.Text, p.File, p.Target
	if able.Threads {
		out.Thread = p.Thread
	}
	if w.target != 0 {
		if out.Target, err = d.netID(w.target); err != nil {
			return out, err
		}
		if out.Target == "" && out.Kind != OutEdit && out.Kind != OutMessage {
			return out, errNothing
		}
	}
	switch {
	case out.Kind == OutMessage && w.target != 0:
		out.ReplyTo, out.Target = out.Target, ""
	case out.Kind == OutReaction && !able.Reactions, out.Kind == OutDelete && !able.Deletes, out.Kind == OutFile && !able.Files:
		return out, errNothing
	case out.Kind == OutEdit:
		may, err := d.mayEdit(able, w.target, out.Target, now)
		if err != nil {
			return out, err
		}
		if !may && w.priority == PriorityDecoration {
			return out, errNothing // a number that moves is not worth a message of its own
		}
		if !may {
			out.Kind, out.ReplyTo, out.Target = OutMessage, out.Target, ""
		}
	}
	if key == "" {
		return out, nil
	}
	msg, err := d.e.cfg.Messages.Decode(key, p.Data)
	if err != nil {
		return out, err
	}
	if out.Repeated {
		msg = Perhaps{Message: msg}
	}
	reader := d.e.reader(room, lang, now)
	out.Lang = reader.Lang
	out.Text, err = d.e.cfg.Locales.Render(reader, msg)
	return out, err
}

// mayEdit is whether the network still lets an own message be edited.
func (d *dispatcher) mayEdit(able Abilities, row RowID, netID string, now time.Time) (bool, error) {
	if !able.Edits || netID == "" {
		return false, nil
	}
	if able.EditWindow == 0 && able.MaxEdits == 0 {
		return true, nil
	}
	var said int64
	var edits int
	err := d.e.db.QueryRow(d.ctx, `SELECT at, (SELECT COUNT(*) FROM outbox e WHERE e.target = $1 AND e.kind = $2 AND e.state = 1) FROM outbox WHERE id = $1`,
		row, string(OutEdit)).Scan(&said, &edits)
	return (able.EditWindow == 0 || now.Sub(fromMillis(said)) < able.EditWindow) && (able.MaxEdits == 0 || edits < able.MaxEdits), err
}

// reader says who reads in a room: its language, else the one that the message was meant in.
func (e *Engine) reader(room *Room, lang string, now time.Time) locales.Reader {
	if room.Lang != "" && !room.Direct {
		lang = room.Lang
	}
	if lang == "" {
		lang = e.cfg.Lang
	}
	return locales.Reader{Lang: lang, Zone: room.Location(), Now: now}
}

// netID gives the network's id of an own message.
func (d *dispatcher) netID(row RowID) (string, error) {
	d.mu.Lock()
	id, ok := d.netIDs[row]
	d.mu.Unlock()
	if ok {
		return id, nil
	}
	var sealed []byte
	if err := d.e.db.QueryRow(d.ctx, `SELECT net_id FROM outbox WHERE id = $1`, row).Scan(&sealed); err != nil {
		return "", err
	}
	b, err := d.e.box.Open(place("outbox", "net_id", row), sealed)
	return string(b), err
}

// delivered stores that a row was sent.
func (tx *Tx) delivered(w *waiting, netID string) error {
	tx.settled = append(tx.settled, w.id)
	if netID == "" || w.kind != OutMessage {
		var sealed []byte // by its id an edit can be deleted
		if w.kind == OutEdit && netID != "" {
			sealed = tx.Seal("outbox", "net_id", w.id, netID)
		}
		if err := tx.Exec(`UPDATE outbox SET state = 1, data = NULL, at = $1, net_id = $2 WHERE id = $3`, tx.now.UnixMilli(), sealed, w.id); err != nil || w.kind != OutDelete {
			return err
		}
		// What was deleted there is forgotten here.
		return tx.Exec(`UPDATE outbox SET data = NULL, person = 0 WHERE id = $1`, w.target)
	}
	if err := tx.Exec(`UPDATE outbox SET state = 1, at = $1, net_id = $2, net_hash = $3 WHERE id = $4`,
		tx.now.UnixMilli(), tx.Seal("outbox", "net_id", w.id, netID), tx.Hash("message", netID), w.id); err != nil {
		return err
	}
	return tx.tell(w, true)
}

// unsent sets a row aside for good.
func (tx *Tx) unsent(w *waiting) error {
	if err := tx.setAside(w.id); err != nil {
		return err
	}
	return tx.tell(w, false)
}

// tell lets whoever keeps the record that a message was about know what became of the message.
func (tx *Tx) tell(w *waiting, delivered bool) error {
	if w.kind != OutMessage {
		return nil
	}
	d := Delivery{Row: w.id, Room: w.room, Delivered: delivered, SetAside: !delivered}
	var record, kind string
	found, err := tx.One(`SELECT r.id, r.kind, o.topic FROM outbox o JOIN records r ON r.id = o.record AND r.latest WHERE o.id = $1 AND o.record <> ''`,
		[]any{w.id}, &record, &kind, &d.Topic)
	hook := tx.e.kinds[kind].Settled
	if err != nil || !found || hook == nil {
		return err
	}
	r, err := tx.Record(record)
	if err != nil || r == nil {
		return err
	}
	room, err := tx.Room(w.room)
	if err != nil {
		return err
	}
	t, err := tx.turn(&Incoming{Adapter: room.Adapter, Room: room.Address, Kind: KindJobResult}, room, nil, "")
	if err != nil {
		return err
	}
	if err := t.attempt(func() error { return hook(t, r, d) }); err != nil {
		if ours(err) {
			return err
		}
		tx.e.log.Error().Err(err).Str("kind", kind).Msg("what became of a message could not be noted")
		tx.e.countError()
	}
	return nil
}

// undeliverable sets a row aside for good and tells the room that it came from, once a record.
func (tx *Tx) undeliverable(w *waiting, gone bool) error {
	if err := tx.unsent(w); err != nil {
		return err
	}
	room, err := tx.Room(w.room)
	if err != nil {
		return err
	}
	if gone && room.Joined {
		room.Joined = false
		if err := tx.SaveRoom(room); err != nil {
			return err
		}
	}
	var origin RoomID
	var record string
	if _, err := tx.One(`SELECT origin, record FROM outbox WHERE id = $1`, []any{w.id}, &origin, &record); err != nil || origin == 0 || origin == w.room {
		return err
	}
	var code string
	if _, err := tx.One(`SELECT code FROM records WHERE id = $1 AND latest`, []any{record}, &code); err != nil {
		return err
	}
	var told int
	if _, err := tx.One(`SELECT COUNT(*) FROM outbox WHERE room = $1 AND record = $2 AND key = 'bot.undelivered'`, []any{origin, record}, &told); err != nil || told > 0 {
		return err
	}
	chapter, err := tx.Chapter(room.Chapter)
	if err != nil || chapter == nil {
		return err
	}
	_, err = tx.Post(origin, Undelivered{Code: tx.e.shortCode(code), Chapter: chapter.Name}, func(p *post) { p.record = record })
	return err
}

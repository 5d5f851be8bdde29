package bot

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	longestAlert    = time.Minute // a room that is back after an outage hears soon what rings
	// waitedFor is how many tries of a call, some four minutes, what stands behind it in a room waits for where a second try shows twice.
	waitedFor = 8
	// decorateAfter is how long decoration waits for alerts at most.
	decorateAfter = 5 * time.Second
	// clockAgain is how often it is looked whether a clock that leapt was put right.
	clockAgain = 5 * time.Minute
)

// dispatcher holds what waits in the outbox, without its text, and hands it to the adapters: rooms side by side, one call
// at a time in each, order kept per lane, priority across lanes. Claims live here and nowhere else: after a crash the rows
// are simply still waiting.
type dispatcher struct {
	e  *Engine
	mu sync.Mutex

	rooms    map[RoomID]*roomQueue
	byID     map[RowID]*waiting
	unstored map[RowID]sent // what was sent and is not yet stored as delivered
	held     map[RowID]int
	sending  map[RowID]bool
	inFlight map[string]int      // by adapter
	accounts map[string]*account // by adapter
	sent     map[string]int      // calls that succeeded since the start, by adapter
	failed   map[string]int      // and that did not
	wakeUp   chan struct{}
	stale    bool // something moved since the last pass
	alarm    func()
	ctx      context.Context
}

// sent is a row that the network took, and the id that it gave it.
type sent struct {
	w     *waiting
	netID string
}

type roomQueue struct {
	adapter string
	call    *waiting  // what is on its way
	since   time.Time // of that call
	lanes   map[string][]*waiting
}

func newDispatcher(e *Engine) *dispatcher {
	return &dispatcher{e: e, rooms: map[RoomID]*roomQueue{}, byID: map[RowID]*waiting{}, unstored: map[RowID]sent{}, held: map[RowID]int{},
		sending: map[RowID]bool{}, inFlight: map[string]int{}, accounts: map[string]*account{}, sent: map[string]int{}, failed: map[string]int{}, wakeUp: make(chan struct{}, 1)}
}

// load reads the waiting rows; for start-up.
func (d *dispatcher) load(tx *Tx) error {
	return tx.Each(`SELECT id, room, lane, priority, kind, target, after, not_before, tried, record <> '', at, key = 'bot.joined' FROM outbox WHERE state = 0 ORDER BY id`, nil, func(row Row) error {
		w := waiting{fixed: true} // it may have been under way when the bot stopped
		var kind string
		var notBefore int64
		if err := row.Scan(&w.id, &w.room, &w.lane, &w.priority, &kind, &w.target, &w.after, &notBefore, &w.tried, &w.about, &w.born, &w.joined); err != nil {
			return err
		}
		w.kind, w.notBefore = OutKind(kind), fromMillis(notBefore)
		tx.queued = append(tx.queued, &w)
		return nil
	})
}

// add takes over what a commit wrote.
func (d *dispatcher) add(rows []*waiting, dropped, rewritten []RowID) {
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
		if len(d.byID) > maxFresh {
			w.fresh = nil
		}
	}
	for _, id := range rewritten {
		if w := d.byID[id]; w != nil {
			w.fresh = nil
		}
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
	if len(q.lanes) == 0 && q.call == nil {
		delete(d.rooms, w.room)
	}
}

// hold keeps a row from leaving; false when it is on its way or no longer waits, and, unless anyway, when an earlier try may
// have shown it.
func (d *dispatcher) hold(id RowID, anyway bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, gone := d.unstored[id]; gone || d.sending[id] {
		return false
	}
	if w := d.byID[id]; w != nil && w.fixed && !anyway {
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
		delete(d.unstored, id)
	}
}

func (d *dispatcher) wake() {
	d.mu.Lock()
	d.stale = true
	d.mu.Unlock()
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
	d.stale = false
	d.disarm()
	if d.e.over() || d.ctx.Err() != nil {
		return
	}
	d.discard(d.e.clock.Now())
	ready, next := d.alertsFirst(d.ready())
	for _, w := range ready {
		d.claim(w)
	}
	if !next.IsZero() {
		d.alarm = d.e.clock.AfterFunc(next.Sub(d.e.clock.Now()), d.wake)
	}
}

// disarm takes back the call for the next row that is due; the caller holds the lock.
func (d *dispatcher) disarm() {
	if d.alarm != nil {
		d.alarm()
		d.alarm = nil
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
		if q.call != nil || d.e.adapters[q.adapter] == nil {
			continue
		}
		acc := d.account(q.adapter)
		if now.Before(acc.closed) {
			sooner(acc.closed)
			continue
		}
		short, idempotent := now.Before(acc.short), d.e.adapters[q.adapter].Abilities().Idempotent
		// What would be tried in the place of a call that failed would overtake it if the network is back, and bear the mark of a
		// repetition, too, if it is not.
		var best, failed *waiting
		for _, lane := range q.lanes {
			var w *waiting
			for _, o := range lane { // what is for later holds up nothing; what could not be sent yet holds up its lane
				if !now.Before(o.notBefore) {
					w = o
					break
				}
				sooner(o.notBefore)
			}
			if w == nil || d.held[w.id] > 0 || d.sending[w.id] || d.byID[w.after] != nil || short && w.spare() {
				continue
			}
			if now.Before(w.retryAt) {
				sooner(w.retryAt)
				if !idempotent && w.tries > 0 && w.tries <= waitedFor && (failed == nil || inOrder(w, failed) < 0) {
					failed = w
				}
				continue
			}
			if best == nil || inOrder(w, best) < 0 {
				best = w
			}
		}
		if best != nil && (failed == nil || inOrder(best, failed) < 0) {
			ready = append(ready, best)
		}
	}
	slices.SortFunc(ready, inOrder)
	ready = d.oneByOne(ready, now, sooner)
	return ready, next
}

// alertsFirst leaves out decoration, for a while, where alerts are on their way or the network has yet to show them: each call would
// take the network's time from them.
func (d *dispatcher) alertsFirst(ready []*waiting, next time.Time) ([]*waiting, time.Time) {
	now := d.e.clock.Now()
	until := map[string]time.Time{} // by adapter
	for name, acc := range d.accounts {
		until[name] = acc.shown
	}
	urgent := func(w *waiting) {
		if w != nil && w.priority == PriorityAlert {
			until[d.rooms[w.room].adapter] = now.Add(decorateAfter)
		}
	}
	for _, q := range d.rooms {
		urgent(q.call)
	}
	for _, w := range ready {
		urgent(w)
	}
	ready = slices.DeleteFunc(ready, func(w *waiting) bool {
		at := until[d.rooms[w.room].adapter]
		if last := fromMillis(w.born).Add(decorateAfter); last.Before(at) {
			at = last
		}
		if w.priority != PriorityDecoration || !now.Before(at) {
			return false
		}
		if next.IsZero() || at.Before(next) {
			next = at
		}
		return true
	})
	return ready, next
}

// inOrder compares two rows as they leave: the more urgent first, then the older.
func inOrder(a, b *waiting) int {
	return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.id, b.id))
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
	q.call, q.since = w, d.e.clock.Now()
	d.inFlight[q.adapter]++
	d.sending[w.id] = true
	d.e.goes(func() {
		done := d.send(a, w)
		d.mu.Lock()
		q.call = nil
		if w.priority == PriorityAlert {
			d.account(q.adapter).shown = d.e.clock.Now().Add(a.Abilities().Shows)
		}
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

// errNothing says that a row has nothing to be sent any more, errTooLate that it was to be said before now, errRevoked that who
// confirmed it may not any more, errNotThere that the bot is no longer where it was to be said.
var (
	errNothing  = errors.New("nothing to send")
	errTooLate  = errors.New("too late to be said")
	errRevoked  = errors.New("not confirmed any more")
	errNotThere = errors.New("the bot is not in that room")
)

// send makes one call and stores what came of it; true when the row no longer waits.
func (d *dispatcher) send(a Adapter, w *waiting) bool {
	var out Outgoing
	err := guard(func() (err error) {
		if err = d.join(w); err == nil {
			out, err = d.prepare(a, w)
		}
		return err
	})
	switch {
	case err == nil:
	case d.ctx.Err() != nil:
		return false
	case errors.Is(err, errNothing):
		return d.store(w, func(tx *Tx) error { return tx.unsent(w) })
	case errors.Is(err, errTooLate):
		return d.expire(w)
	case errors.Is(err, errRevoked):
		return d.store(w, func(tx *Tx) error { return tx.revoked(w) })
	case errors.Is(err, errNotThere):
		return d.store(w, func(tx *Tx) error { return tx.undeliverable(w, false) })
	case ours(err):
		d.later(w, storeAgain)
		return false
	default:
		d.e.log.Error().Err(err).Int64("row", int64(w.id)).Msg("a message cannot be made")
		d.e.countError()
		return d.store(w, func(tx *Tx) error { return tx.undeliverable(w, false) })
	}
	idempotent := a.Abilities().Idempotent
	if !idempotent {
		// Written before the call: after a crash in it, the repeat is marked as one.
		query := `UPDATE outbox SET tried = true, doubt_from = $1 WHERE id = $2`
		if w.tried {
			query = `UPDATE outbox SET doubt_to = $1 WHERE id = $2`
		}
		if err := d.e.Do(d.ctx, "tried", func(tx *Tx) error { return tx.Exec(query, tx.now.UnixMilli(), w.id) }); err != nil {
			d.later(w, storeAgain)
			return false
		}
	}
	if d.e.fault("before-send") {
		return false
	}
	ctx, cancel := context.WithTimeout(d.ctx, sendTimeout)
	var id string
	began := d.e.clock.Now()
	err = guard(func() (err error) { id, err = a.Send(ctx, out); return err })
	cancel()
	if d.e.fault("after-send") {
		return false
	}
	if err == nil {
		d.mu.Lock()
		d.unstored[w.id] = sent{w, id}
		d.account(a.Name()).refusals = 0
		d.sent[a.Name()]++
		d.mu.Unlock()
		done := d.e.insist("delivered", func(tx *Tx) error { return tx.delivered(w, out.Kind, id) })
		if !idempotent { // what follows must not be shown before this is known to be
			select {
			case <-done:
			case <-d.e.stopped:
			}
		}
		return true
	}
	var known *SendError
	if !errors.As(err, &known) {
		known = &SendError{Err: err}
	}
	d.mu.Lock()
	if d.failed[a.Name()]++; !known.Account && !known.Unseen || known.Perhaps { // else it was refused, and nobody has seen it
		w.fixed, w.tried = true, !idempotent
	}
	d.mu.Unlock()
	if known.Permanent || known.Gone {
		d.e.log.Warn().Str("error", unquoted(known)).Int64("row", int64(w.id)).Int64("room", int64(w.room)).Msg("a message was set aside: it can never be delivered")
		return d.store(w, func(tx *Tx) error { return tx.undeliverable(w, known.Gone) })
	}
	if d.ctx.Err() == nil {
		d.retry(w, a, known, began)
	}
	return false
}

// store writes the end of a row.
func (d *dispatcher) store(w *waiting, do func(*Tx) error) bool {
	if err := d.e.Do(d.ctx, "set aside", do); err != nil {
		d.later(w, storeAgain)
		return false
	}
	return true
}

// later looks at a row again after a while, through no fault of the network's: nothing could be read or written, or the clock may be
// wrong.
func (d *dispatcher) later(w *waiting, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.retryAt = d.e.clock.Now().Add(wait)
}

// expire ends a row that was to be said before now. After a leap of the clock that is left for when what is past its time is erased,
// too: if the clock was wrong and is put right, the row is still said.
func (d *dispatcher) expire(w *waiting) bool {
	late := false
	stored := d.store(w, func(tx *Tx) (err error) {
		if late, err = tx.mayErase(); err != nil || !late {
			return err
		}
		return tx.undeliverable(w, false)
	})
	if stored && !late {
		d.later(w, clockAgain)
	}
	return stored && late
}

// retry sets when a row is tried again: exponential with jitter, or as the network said.
func (d *dispatcher) retry(w *waiting, a Adapter, err *SendError, began time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err.Account {
		wait := d.account(a.Name()).refused(began, d.e.clock.Now(), err.After)
		d.e.log.Info().Str("error", unquoted(err)).Int64("row", int64(w.id)).Dur("wait", wait).Msg("the account has to wait")
		return
	}
	w.tries++
	longest := longestBackoff
	if w.priority == PriorityAlert {
		longest = longestAlert
	}
	wait := min(firstBackoff<<min(w.tries-1, 10), longest)
	wait += time.Duration(d.jitter(int64(w.id)+int64(w.tries)) * float64(wait) / 4)
	wait = max(wait, err.After)
	d.e.log.Info().Str("error", unquoted(err)).Int64("row", int64(w.id)).Int("tries", w.tries).Dur("wait", wait).Msg("a call failed and is tried again")
	w.retryAt = d.e.clock.Now().Add(wait)
}

// jitter spreads retries, from 0 to 1; the same row and try give the same, so that a conversation can be played again.
func (d *dispatcher) jitter(n int64) float64 {
	x := uint64(n) * 0x9E3779B97F4A7C15
	return float64(x>>40) / float64(1<<24)
}

// prepare reads a row and renders it for the room that reads it.
func (d *dispatcher) prepare(a Adapter, w *waiting) (Outgoing, error) {
	able := a.Abilities()
	room := d.e.cache.room(w.room)
	if room == nil {
		return Outgoing{}, fmt.Errorf("room %d is unknown", w.room)
	}
	if !room.Joined {
		return Outgoing{}, errNotThere
	}
	out := Outgoing{ID: d.e.outID(w), Room: room.Address, Kind: w.kind, Encrypted: room.Encrypted, Again: w.fixed}
	says, err := d.says(w)
	if err != nil {
		return out, err
	}
	now := d.e.clock.Now()
	if w.about && w.kind != OutDelete {
		if hears, err := d.hears(w, room); err != nil || !hears {
			return out, cmp.Or(err, errNothing)
		}
	}
	if says.expires != 0 && now.UnixMilli() > says.expires {
		return out, errTooLate
	}
	p := says.parcel
	out.Rings = says.rings
	out.ReplyTo, out.ReplyPerson, out.Text, out.File, out.Target = p.Reply, p.ReplyTo, p.Text, p.File, p.Target
	if able.Threads {
		out.Thread = p.Thread
	}
	if err := d.aim(&out, w, able, now); err != nil {
		return out, err
	}
	if says.key == "" {
		return out, nil
	}
	msg, err := d.e.cfg.Messages.Decode(says.key, p.Data)
	if err != nil {
		return out, err
	}
	if w.fixed && out.Kind == OutMessage && d.takenBack(w) {
		if !able.Idempotent {
			return out, errNothing // another one would be shown, and the lost one stay
		}
		// If the lost call had arrived, this one only tells its id; else these words are shown instead.
		msg, out.Rings = TakenBack{}, false
	}
	if p.For != nil {
		if holds, err := d.holds(p.For); err != nil {
			return out, err
		} else if !holds && p.For.Sends {
			if begun, err := d.begun(w); err != nil || !begun {
				return out, cmp.Or(err, errRevoked)
			}
		} else if !holds {
			msg = NoLonger{}
		}
	}
	if w.tried && !able.Idempotent && out.Kind == OutMessage {
		out.Repeated = true
		msg = Perhaps{Message: msg}
	}
	reader := d.e.reader(room, says.lang, now)
	if p.Zone != "" {
		reader.Zone = location(p.Zone)
	}
	out.Lang = reader.Lang
	out.Text, err = d.e.cfg.Locales.Render(reader, msg)
	return out, err
}

// says gives what a row says, from memory or from the database.
func (d *dispatcher) says(w *waiting) (*spoken, error) {
	d.mu.Lock()
	fresh := w.fresh
	d.mu.Unlock()
	if fresh != nil {
		return fresh, nil
	}
	var s spoken
	var sealed []byte
	err := d.e.db.QueryRow(d.ctx, `SELECT key, data, expires, rings, lang FROM outbox WHERE id = $1`, w.id).Scan(&s.key, &sealed, &s.expires, &s.rings, &s.lang)
	if err != nil {
		return nil, err
	}
	raw, err := d.e.box.Open(place("outbox", "data", w.id), sealed)
	if err != nil {
		return nil, err
	}
	return &s, json.Unmarshal(raw, &s.parcel)
}

// aim finds the own message that a call is about, and makes of an edit that the network cannot make, or not any more, a
// message of its own; one that only moves numbers is left out then.
func (d *dispatcher) aim(out *Outgoing, w *waiting, able Abilities, now time.Time) error {
	if w.target != 0 {
		var err error
		if out.Target, err = d.netID(w.target); err != nil {
			return err
		}
	}
	switch out.Kind {
	case OutReaction, OutDelete:
		if out.Target == "" || out.Kind == OutReaction && !able.Reactions || out.Kind == OutDelete && !able.Deletes {
			return errNothing
		}
	case OutFile:
		if !able.Files {
			return errNothing
		}
	case OutEdit:
		can, err := d.editable(w, able, now)
		switch {
		case err != nil:
			return err
		case can && out.Target != "":
			if able.EditsLast {
				out.Target, err = d.lastVersion(w.target, out.Target)
			}
			return err
		case w.priority == PriorityDecoration:
			return errNothing
		}
		out.Kind = OutMessage
	}
	if out.Kind == OutMessage && w.target != 0 {
		out.ReplyTo, out.Target = out.Target, ""
	}
	return nil
}

// lastVersion gives the network's id of the last edit of an own message, first where there is none.
func (d *dispatcher) lastVersion(row RowID, first string) (string, error) {
	var edit RowID
	err := d.e.db.QueryRow(d.ctx, `SELECT id FROM outbox WHERE target = $1 AND kind = $2 AND state = 1 ORDER BY at DESC, id DESC LIMIT 1`, row, string(OutEdit)).Scan(&edit)
	if errors.Is(err, sql.ErrNoRows) {
		return first, nil
	}
	if err != nil {
		return "", err
	}
	last, err := d.netID(edit)
	return cmp.Or(last, first), err
}

// editable is whether the network still lets an own message be edited. Where an edit names the one before it, none can after one of
// which it is not known whether it arrived.
func (d *dispatcher) editable(w *waiting, able Abilities, now time.Time) (bool, error) {
	if !able.Edits || able.EditWindow == 0 && able.MaxEdits == 0 {
		return able.Edits, nil
	}
	var at int64
	var edits, lost int
	err := d.e.db.QueryRow(d.ctx, `SELECT at, (SELECT COUNT(*) FROM outbox e WHERE e.target = o.id AND e.kind = $1 AND e.state = 1),
		(SELECT COUNT(*) FROM outbox e WHERE e.target = o.id AND e.kind IN ($1, $3) AND e.tried AND (e.state = 2 OR e.doubt_to > 0)) FROM outbox o WHERE o.id = $2`,
		string(OutEdit), w.target, string(OutMessage)).Scan(&at, &edits, &lost)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if able.EditsLast && (w.tried || lost > 0) {
		return false, err
	}
	return err == nil && (able.EditWindow == 0 || now.Sub(fromMillis(at)) < able.EditWindow) && (able.MaxEdits == 0 || edits < able.MaxEdits), err
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

// netID gives the network's id of an own message; "" when it has none, or is long forgotten.
func (d *dispatcher) netID(row RowID) (string, error) {
	d.mu.Lock()
	s, ok := d.unstored[row]
	d.mu.Unlock()
	if ok {
		return s.netID, nil
	}
	var sealed []byte
	err := d.e.db.QueryRow(d.ctx, `SELECT net_id FROM outbox WHERE id = $1`, row).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	b, err := d.e.box.Open(place("outbox", "net_id", row), sealed)
	return string(b), err
}

// outID is the idempotency key of a row. The time is in it because a backup that is restored gives numbers a second time.
func (e *Engine) outID(w *waiting) string {
	return fmt.Sprintf("%s-%s-%d", e.instance, strconv.FormatInt(w.born, 36), w.id)
}

// waits gives the row with a key of which it is not stored that it was delivered; nil when it is, or never was.
func (d *dispatcher) waits(outID string) *waiting {
	row, err := strconv.ParseInt(outID[strings.LastIndexByte(outID, '-')+1:], 10, 64)
	if err != nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range []*waiting{d.byID[RowID(row)], d.unstored[RowID(row)].w} {
		if w != nil && d.e.outID(w) == outID {
			return w
		}
	}
	return nil
}

// echoed takes from the network itself that a row was delivered: the answer to the call may have been lost in a crash.
func (tx *Tx) echoed(in *Incoming) error {
	w := tx.e.out.waits(in.Target)
	if w == nil {
		return nil
	}
	tx.dropped = append(tx.dropped, w.id)
	return tx.delivered(w, w.kind, in.ID)
}

// delivered stores, once, that a row was sent, and as what: an edit may have become a message.
func (tx *Tx) delivered(w *waiting, as OutKind, netID string) error {
	tx.settled = append(tx.settled, w.id)
	var sealed, hash []byte
	if netID != "" && !w.joined && (as == OutMessage || as == OutEdit) { // by its id an edit can be deleted
		sealed = tx.Seal("outbox", "net_id", w.id, netID)
	}
	room, err := tx.Room(w.room)
	if err != nil {
		return err
	}
	fades := room.last(tx.now, time.Time{})
	if err := tx.sweepAt(fades); err != nil {
		return err
	}
	if as != OutMessage {
		if sealed != nil { // and answers may name it
			hash = tx.Hash("message", netID)
		}
		n, err := tx.Changed(`UPDATE outbox SET state = 1, data = NULL, at = $1, net_id = $2, net_hash = $3, fades = $4 WHERE id = $5 AND state <> 1`,
			tx.now.UnixMilli(), sealed, hash, millis(fades), w.id)
		if err != nil || n == 0 || as != OutDelete {
			return err
		}
		// What was deleted there is forgotten here.
		return tx.Exec(`UPDATE outbox SET data = NULL, person = 0 WHERE id = $1`, w.target)
	}
	if netID != "" {
		hash = tx.Hash("message", netID)
	}
	n, err := tx.Changed(`UPDATE outbox SET state = 1, at = $1, net_id = $2, net_hash = $3, fades = $4 WHERE id = $5 AND state <> 1`,
		tx.now.UnixMilli(), sealed, hash, millis(fades), w.id)
	if err != nil || n == 0 {
		return err
	}
	if w.kind == OutEdit { // answers to it are answers to what it changed
		return tx.Exec(`UPDATE outbox SET kind = $1, topic = (SELECT o.topic FROM outbox o WHERE o.id = $2), ref = (SELECT o.ref FROM outbox o WHERE o.id = $2),
			person = (SELECT o.person FROM outbox o WHERE o.id = $2), lists = (SELECT o.lists FROM outbox o WHERE o.id = $2) WHERE id = $3`, string(OutMessage), w.target, w.id)
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
	if w.kind != OutMessage || !w.about {
		return nil
	}
	d := Delivery{Row: w.id, Room: w.room, Delivered: delivered, SetAside: !delivered}
	return tx.try("what became of a message could not be noted", "record", func() error {
		var record, kind string
		found, err := tx.One(`SELECT r.id, r.kind, o.topic FROM outbox o JOIN records r ON r.id = o.record AND r.latest WHERE o.id = $1`,
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
		return t.attempt(func() error { return hook(t, r, d) })
	})
}

// try calls what must not hold up the rest: an error that is not the database's own is logged.
func (tx *Tx) try(what, of string, do func() error) error {
	if err := tx.Exec(`SAVEPOINT try`); err != nil {
		return err
	}
	err := do()
	if err == nil {
		return tx.Exec(`RELEASE try`)
	}
	if ours(err) {
		return err
	}
	if err := tx.Exec(`ROLLBACK TO try`); err != nil {
		return err
	}
	if err := tx.Exec(`RELEASE try`); err != nil {
		return err
	}
	tx.e.log.Error().Str("error", unquoted(err)).Str("of", of).Msg(what)
	tx.e.countError()
	return nil
}

// outOf notes that the bot is no longer in a room.
func (tx *Tx) outOf(r *Room) error {
	r.Joined = false
	if err := tx.SaveRoom(r); err != nil {
		return err
	}
	t, err := tx.turn(&Incoming{Adapter: r.Adapter, Room: r.Address, Kind: KindRoom}, r, nil, "")
	if err != nil {
		return err
	}
	return t.hooks("that the bot left a room could not be noted", func(c Capability) func(*Turn) error { return c.Left })
}

// hooks calls a hook of every capability that has it; one that fails holds up nothing.
func (t *Turn) hooks(failed string, hook func(Capability) func(*Turn) error) error {
	for _, c := range t.e.caps {
		if h := hook(c); h != nil {
			if err := t.try(failed, c.Name, func() error { return t.attempt(func() error { return h(t) }) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// arriving is whether a message may be one that is just being sent: its room has a call under way, or what came of the call
// waits to be stored.
func (d *dispatcher) arriving(adapter, address, message string) bool {
	id, ok := d.e.cache.roomAt(adapter, d.e.box.Hash("room", address))
	d.mu.Lock()
	defer d.mu.Unlock()
	if q := d.rooms[id]; ok && q != nil && q.call != nil && d.e.clock.Now().Sub(q.since) < earlyWait {
		return true
	}
	for _, s := range d.unstored {
		if s.netID == message {
			return true
		}
	}
	return false
}

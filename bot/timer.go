package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

const (
	timerExpire = "bot.expire"
	eraseEvery  = time.Hour
)

// At calls the timer handler kind with ref when the time has come, once, about this turn's room. A second call with the same kind
// and ref moves it.
func (t *Turn) At(due time.Time, kind, ref string) error {
	return t.schedule(kind, ref, t.Room.ID, due, true)
}

// Unschedule takes a timer back.
func (tx *Tx) Unschedule(kind, ref string) error {
	return tx.Exec(`DELETE FROM timers WHERE kind = $1 AND ref = $2`, kind, ref)
}

func (tx *Tx) schedule(kind, ref string, room RoomID, due time.Time, move bool) error {
	tx.timers = true
	q := `INSERT INTO timers (kind, ref, room, due) VALUES ($1,$2,$3,$4) ON CONFLICT (kind, ref) DO NOTHING`
	if move {
		q = `INSERT INTO timers (kind, ref, room, due) VALUES ($1,$2,$3,$4) ON CONFLICT (kind, ref) DO UPDATE SET room = excluded.room, due = excluded.due`
	}
	return tx.Exec(q, kind, ref, room, due.UnixMilli())
}

// rearm sets the clock for the next due timer, but not sooner than in least.
func (e *Engine) rearm(least time.Duration) {
	var next int64
	if err := e.db.QueryRow(context.Background(), `SELECT COALESCE(MIN(due), 0) FROM timers`).Scan(&next); err != nil {
		e.log.Error().Err(err).Msg("timers cannot be read")
		e.countError()
		next, least = e.clock.Now().UnixMilli(), storeAgain
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer()
	}
	if next == 0 || !e.running || e.over() {
		return
	}
	wait := max(least, time.UnixMilli(next).Sub(e.clock.Now()))
	if e.lookAgain > 0 {
		wait = min(wait, e.lookAgain)
	}
	e.timer = e.clock.AfterFunc(wait, func() {
		if now := e.clock.Now(); now.UnixMilli() < next {
			if time.UnixMilli(next).Sub(now) > eraseEvery+lookAgain { // there is always something due within that time
				e.submit("the clock was set back", func(tx *Tx) error { return tx.schedule(timerExpire, "", 0, tx.now, true) })
				return
			}
			e.rearm(0)
			return
		}
		t := e.task("due", (*Tx).due)
		t.failed = func(error) { e.rearm(storeAgain) }
		e.hand(t)
	})
}

// due handles every timer whose time has come, oldest first.
func (tx *Tx) due() error {
	tx.timers = true // set the clock again, whatever comes of it
	type row struct {
		kind, ref string
		room      RoomID
		due       int64
	}
	var all []row
	err := tx.Each(`SELECT kind, ref, room, due FROM timers WHERE due <= $1 ORDER BY due, kind, ref LIMIT 100`, []any{tx.now.UnixMilli()}, func(r Row) error {
		var one row
		err := r.Scan(&one.kind, &one.ref, &one.room, &one.due)
		all = append(all, one)
		return err
	})
	if err != nil {
		return err
	}
	for _, one := range all {
		if err := tx.Unschedule(one.kind, one.ref); err != nil {
			return err
		}
		h := tx.e.timers[one.kind]
		if h == nil {
			continue // of a capability that is gone
		}
		if err := tx.try("a timer could not be handled", one.kind, func() error { return tx.ring(one.room, one.ref, fromMillis(one.due), h) }); err != nil {
			return err
		}
	}
	return nil
}

// ring calls a timer's handler; the turn's Time is when it was due.
func (tx *Tx) ring(about RoomID, ref string, due time.Time, h func(*Turn, string) error) (err error) {
	room := &Room{}
	if about != 0 {
		if room, err = tx.Room(about); err != nil {
			return err
		}
	}
	t, err := tx.turn(&Incoming{Adapter: room.Adapter, Room: room.Address, Kind: KindJobResult, Sent: due}, room, nil, "")
	if err != nil {
		return err
	}
	return t.attempt(func() error { return h(t, ref) })
}

// expireDue erases what is past its time, every hour, in every table. A table that fails keeps no other from it.
func expireDue(t *Turn, _ string) error {
	if ok, err := t.mayErase(); err != nil {
		return err
	} else if !ok {
		return t.schedule(timerExpire, "", 0, t.now.Add(eraseEvery), true)
	}
	for _, table := range t.e.Tables() {
		expire := func() error { return table.Expire(t.ctx, t.Tx, t.now) }
		if err := t.try("what is past its time could not be erased", table.Name, func() error { return t.attempt(expire) }); err != nil {
			return err
		}
	}
	return t.schedule(timerExpire, "", 0, t.now.Add(eraseEvery), true)
}

// Nothing is a hook that does not apply to a table.
func Nothing[T any](context.Context, *Tx, T) error { return nil }

// NothingToExport and NothingToRebuild say that of a table.
func NothingToExport(context.Context, *Tx, string, io.Writer) error { return nil }
func NothingToRebuild(context.Context, *Tx) error                   { return nil }

// Tables lists what every table does about people and time: the engine's own first.
func (e *Engine) Tables() []Table {
	all := ownTables()
	for _, c := range e.caps {
		all = append(all, c.Tables...)
	}
	return all
}

func ownTables() []Table {
	sql := func(query string) func(context.Context, *Tx, PersonID) error {
		return func(_ context.Context, tx *Tx, p PersonID) error { return tx.Exec(query, p) }
	}
	old := func(query string, age time.Duration) func(context.Context, *Tx, time.Time) error {
		return func(_ context.Context, tx *Tx, now time.Time) error { return tx.Exec(query, now.Add(-age).UnixMilli()) }
	}
	return []Table{
		{Name: "people", Forget: forgetPerson, Export: NothingToExport, Rebuild: NothingToRebuild,
			Expire: forgetStrangers},
		{Name: "members", Forget: Nothing[PersonID], Export: NothingToExport, Rebuild: NothingToRebuild, // the network's own facts while she is there
			Expire: func(_ context.Context, tx *Tx, now time.Time) error {
				return tx.Exec(`DELETE FROM members WHERE NOT present AND NOT ignored AND since < $1`, now.Add(-keepPosted).UnixMilli())
			}},
		{Name: "rooms", Forget: forgetRooms, Expire: Nothing[time.Time], Export: exportRooms, Rebuild: NothingToRebuild},
		{Name: "chapters", Forget: Nothing[PersonID], Expire: Nothing[time.Time], Export: exportChapter, Rebuild: NothingToRebuild},
		{Name: "records", Forget: forgetRecords, Expire: expireRecords, Export: exportRecords, Rebuild: rebuildRecords},
		{Name: "bodies", Forget: Nothing[PersonID], Expire: Nothing[time.Time], Export: NothingToExport, Rebuild: NothingToRebuild}, // with records
		{Name: "outbox", Forget: forgetOutbox, Export: NothingToExport, Rebuild: NothingToRebuild,
			Expire: func(_ context.Context, tx *Tx, now time.Time) error {
				if err := tx.Exec(`DELETE FROM outbox WHERE state <> 0 AND at < $1`, now.Add(-keepPosted).UnixMilli()); err != nil {
					return err
				}
				return vanished(tx, now)
			}},
		{Name: "dialogues", Forget: sql(`DELETE FROM dialogues WHERE person = $1`), Expire: old(`DELETE FROM dialogues WHERE expires < $1`, 0), Export: NothingToExport, Rebuild: NothingToRebuild},
		{Name: "jobs", Forget: sql(`DELETE FROM jobs WHERE person = $1`), Expire: Nothing[time.Time], Export: NothingToExport, Rebuild: NothingToRebuild}, // each ends at its own time
		{Name: "seen", Forget: Nothing[PersonID], Expire: old(`DELETE FROM seen WHERE at < $1`, seenFor), Export: NothingToExport, Rebuild: NothingToRebuild},
		{Name: "invitations", Forget: Nothing[PersonID], Export: NothingToExport, Rebuild: NothingToRebuild,
			Expire: func(_ context.Context, tx *Tx, now time.Time) error {
				return tx.Exec(`DELETE FROM invitations WHERE day < $1`, now.Unix()/86400-1)
			}},
	}
}

// forgetStrangers deletes who is in no room any more and wrote nothing that is kept.
func forgetStrangers(_ context.Context, tx *Tx, _ time.Time) error {
	gone, err := idsOf[PersonID](tx, `SELECT id FROM people WHERE NOT EXISTS (SELECT 1 FROM members m WHERE m.person = people.id)
		AND NOT EXISTS (SELECT 1 FROM records r WHERE r.author = people.id) AND NOT EXISTS (SELECT 1 FROM dialogues d WHERE d.person = people.id)
		AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.person = people.id) AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.person = people.id)`)
	if err != nil {
		return err
	}
	for _, id := range gone {
		if err := tx.Exec(`DELETE FROM people WHERE id = $1`, id); err != nil {
			return err
		}
		tx.people[id] = &Person{ID: id} // without an address: the cache lets go of her
	}
	return nil
}

// expireRecords erases the words of what is past its time, and a month later the envelope too.
func expireRecords(_ context.Context, tx *Tx, now time.Time) error {
	gone, err := tx.records(`r.latest AND r.expires <> 0 AND r.expires < $1 AND b.body IS NOT NULL`, now.UnixMilli())
	if err != nil {
		return err
	}
	for _, r := range gone {
		if err := tx.blank(r); err != nil {
			return err
		}
	}
	return tx.Exec(`DELETE FROM records WHERE state = 'erased' AND expires <> 0 AND expires < $1`, now.Add(-keepPosted).UnixMilli())
}

// rebuildRecords computes anew what is derived from bodies and versions: which is latest, state, due.
func rebuildRecords(_ context.Context, tx *Tx) error {
	all, err := tx.records(`true ORDER BY r.id, r.version, r.at, r.hash`)
	if err != nil {
		return err
	}
	for i, r := range all {
		latest := i+1 == len(all) || all[i+1].ID != r.ID
		state, due := "erased", time.Time{}
		if r.Body != nil {
			k, ok := tx.e.kinds[r.Kind]
			if !ok {
				continue
			}
			state, due = k.Index(r.Body)
		}
		if err := tx.Exec(`UPDATE records SET latest = $1, state = $2, due = $3 WHERE id = $4 AND version = $5`, latest, state, millis(due), r.ID, r.Version); err != nil {
			return err
		}
	}
	return nil
}

func exportRecords(_ context.Context, tx *Tx, chapter string, w io.Writer) error {
	all, err := tx.records(`r.chapter = $1 ORDER BY r.id, r.version`, chapter)
	if err != nil {
		return err
	}
	for _, r := range all {
		line := struct {
			Envelope  json.RawMessage `json:"envelope"`
			Hash      string          `json:"hash"`
			Signature string          `json:"signature"`
			Code      string          `json:"code"`
			Salt      string          `json:"salt,omitempty"` // before the body, under the hash in the envelope
			Body      json.RawMessage `json:"body,omitempty"`
		}{r.canonical(), r.Hash, r.Signature, r.code, "", r.Body}
		if _, err := tx.One(`SELECT salt FROM bodies WHERE id = $1 AND version = $2`, []any{r.ID, r.Version}, &line.Salt); err != nil {
			return err
		}
		if err := json.NewEncoder(w).Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func exportChapter(_ context.Context, tx *Tx, chapter string, w io.Writer) error {
	c, err := tx.Chapter(chapter)
	if err != nil || c == nil {
		return err
	}
	key, err := tx.signer(c.ID)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(map[string]any{"chapter": c.ID, "name": c.Name, "public": []byte(c.Public), "secret": []byte(key.Seed()), "listed": c.Listed, "open": c.Open})
}

func exportRooms(_ context.Context, tx *Tx, chapter string, w io.Writer) error {
	rooms, err := tx.roomsWhere(`chapter = $1`, chapter)
	if err != nil {
		return err
	}
	for _, r := range rooms {
		if err := json.NewEncoder(w).Encode(map[string]any{"room": r.Name, "network": r.Adapter, "lang": r.Lang, "zone": r.Zone, "speaks": r.Speaks, "settings": r.Settings}); err != nil {
			return err
		}
	}
	return nil
}

// Rebuild computes every derived table anew.
func (e *Engine) Rebuild(ctx context.Context) error {
	return e.Do(ctx, "rebuild", func(tx *Tx) error {
		for _, table := range e.Tables() {
			if err := table.Rebuild(tx.ctx, tx); err != nil {
				return fmt.Errorf("%s: %w", table.Name, err)
			}
		}
		return nil
	})
}

// Export writes all that is kept of a chapter, its key included, as JSON lines.
func (e *Engine) Export(ctx context.Context, name string, w io.Writer) error {
	return e.Do(ctx, "export", func(tx *Tx) error {
		c, err := tx.ChapterNamed(name)
		if err != nil {
			return err
		}
		if c == nil {
			return fmt.Errorf("no chapter is called %q", name)
		}
		for _, table := range e.Tables() {
			if err := table.Export(tx.ctx, tx, c.ID, w); err != nil {
				return fmt.Errorf("%s: %w", table.Name, err)
			}
		}
		return nil
	})
}

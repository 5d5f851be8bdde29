package bot

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"starling/locales/markup"
)

// RoomID, PersonID and RowID are internal ids; network addresses stand in one table each, sealed.
type (
	RoomID   int64
	PersonID int64
	RowID    int64
)

// Room is a room as the engine knows it. A handler that changes it saves it with Tx.SaveRoom.
type Room struct {
	ID        RoomID
	Adapter   string
	Address   string
	Name      string
	Joined    bool
	Encrypted bool
	Direct    bool
	Lang      string // "" until somebody set it
	Zone      string // IANA name; "" until somebody set it
	Chapter   string // id of its chapter; "" without one
	Speaks    bool   // may speak for the chapter
	Settings  map[string]string
	Inviter   PersonID
}

// Location is the room's time zone, UTC until one is set.
func (r *Room) Location() *time.Location { return location(r.Zone) }

// Called is the room's name as it is said, or that it has none.
func (r *Room) Called() any {
	if r.Name == "" {
		return NamelessRoom{}
	}
	return RoomName{Name: r.Name}
}

func location(zone string) *time.Location {
	if zone == "" {
		return time.UTC
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return time.UTC
	}
	return loc
}

// Person is one network account. Accounts are never joined.
type Person struct {
	ID       PersonID
	Adapter  string
	Address  string
	Name     string
	Lang     string
	Zone     string
	LastRoom RoomID
}

// Member is a person's place in a room, as the network gives it.
type Member struct {
	Person    PersonID
	Moderator bool
	Present   bool
	Ignored   bool
	Since     time.Time // when the bot first saw that person there
}

// Tx is the transaction in which one thing happens, with everything that follows from it.
// It is never handed to an adapter.
type Tx struct {
	e   *Engine
	ctx context.Context
	now time.Time

	meant bool     // what is handled is for the bot
	batch *overlay // what earlier work in the same commit changed
	overlay
}

// overlay is what a transaction has changed and read, not yet in the cache.
type overlay struct {
	rooms     map[RoomID]*Room
	people    map[PersonID]*Person
	queued    []*waiting // new outbox rows
	dropped   []RowID    // outbox rows set aside
	held      []RowID    // outbox rows that must not leave before this commits
	rewritten []RowID    // outbox rows that say something else now
	settled   []RowID    // outbox rows whose network id is stored
	charged   []charge   // what was taken from people's allowances
	jobs      bool       // a job was written
	timers    bool       // a timer was written
}

func newOverlay() overlay {
	return overlay{rooms: map[RoomID]*Room{}, people: map[PersonID]*Person{}}
}

// merge takes over what a later transaction changed.
func (o *overlay) merge(later *overlay) {
	maps.Copy(o.rooms, later.rooms)
	maps.Copy(o.people, later.people)
	o.queued = append(o.queued, later.queued...)
	o.dropped = append(o.dropped, later.dropped...)
	o.held = append(o.held, later.held...)
	o.settled = append(o.settled, later.settled...)
	o.rewritten = append(o.rewritten, later.rewritten...)
	o.charged = append(o.charged, later.charged...)
	o.jobs = o.jobs || later.jobs
	o.timers = o.timers || later.timers
}

// Now is when this is handled.
func (tx *Tx) Now() time.Time { return tx.now }

// Exec runs a statement; parameters are $1, $2 …
func (tx *Tx) Exec(query string, args ...any) error {
	_, err := tx.e.db.Exec(tx.ctx, query, args...)
	return err
}

// Changed runs a statement and says how many rows it changed.
func (tx *Tx) Changed(query string, args ...any) (int64, error) {
	res, err := tx.e.db.Exec(tx.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// One reads one row; found is false when there is none.
func (tx *Tx) One(query string, args []any, into ...any) (found bool, err error) {
	err = tx.e.db.QueryRow(tx.ctx, query, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Each reads rows; scan is called once a row and must not use the transaction.
func (tx *Tx) Each(query string, args []any, scan func(row Row) error) error {
	rows, err := tx.e.db.Query(tx.ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// idsOf lists the ids that a query gives.
func idsOf[T ~int64](tx *Tx, query string, args ...any) (all []T, err error) {
	err = tx.Each(query, args, func(row Row) error {
		var id T
		err := row.Scan(&id)
		all = append(all, id)
		return err
	})
	return all, err
}

// Row is what Each hands to its function.
type Row interface{ Scan(into ...any) error }

// Seal makes text unreadable for the column of the row with this id.
func (tx *Tx) Seal(table, column string, id any, text string) []byte {
	return tx.e.box.Seal(place(table, column, id), []byte(text))
}

// Open gives back what Seal sealed.
func (tx *Tx) Open(table, column string, id any, sealed []byte) (string, error) {
	b, err := tx.e.box.Open(place(table, column, id), sealed)
	return string(b), err
}

func place(table, column string, id any) string { return fmt.Sprintf("%s:%s:%v", table, column, id) }

// Hash is the keyed hash by which a sealed value is found.
func (tx *Tx) Hash(kind, text string) []byte { return tx.e.box.Hash(kind, text) }

const roomColumns = `id, adapter, address, name, joined, encrypted, direct, lang, zone, chapter, speaks, settings, inviter`

func (e *Engine) scanRoom(row Row) (*Room, error) {
	var r Room
	var address, name []byte
	var settings string
	if err := row.Scan(&r.ID, &r.Adapter, &address, &name, &r.Joined, &r.Encrypted, &r.Direct, &r.Lang, &r.Zone, &r.Chapter, &r.Speaks, &settings, &r.Inviter); err != nil {
		return nil, err
	}
	a, err := e.box.Open(place("rooms", "address", r.ID), address)
	if err != nil {
		return nil, err
	}
	n, err := e.box.Open(place("rooms", "name", r.ID), name)
	if err != nil {
		return nil, err
	}
	r.Address, r.Name = string(a), string(n)
	return &r, json.Unmarshal([]byte(settings), &r.Settings)
}

// Room gives a room by its id. What it returns is the caller's own copy.
func (tx *Tx) Room(id RoomID) (*Room, error) {
	if r := tx.rooms[id]; r != nil {
		return r.clone(), nil
	}
	if r := tx.batch.rooms[id]; r != nil {
		return r.clone(), nil
	}
	if r := tx.e.cache.room(id); r != nil {
		return r.clone(), nil
	}
	r, err := tx.e.scanRoom(tx.e.db.QueryRow(tx.ctx, `SELECT `+roomColumns+` FROM rooms WHERE id = $1`, int64(id)))
	if err != nil {
		return nil, fmt.Errorf("room %d: %w", id, err)
	}
	tx.rooms[id] = r
	return r.clone(), nil
}

func (r *Room) clone() *Room {
	c := *r
	c.Settings = maps.Clone(r.Settings)
	if c.Settings == nil {
		c.Settings = map[string]string{}
	}
	return &c
}

// RoomAt gives a room by its network address; nil when the bot never was there.
func (tx *Tx) RoomAt(adapter, address string) (*Room, error) {
	hash := tx.Hash("room", address)
	if id, ok := tx.e.cache.roomAt(adapter, hash); ok {
		if r, err := tx.Room(id); err != nil || r.Address == address {
			return r, err
		} // else it has moved in this commit
	}
	var id RoomID
	found, err := tx.One(`SELECT id FROM rooms WHERE adapter = $1 AND address_hash = $2`, []any{adapter, hash}, &id)
	if err != nil || !found {
		return nil, err
	}
	return tx.Room(id)
}

// SaveRoom writes a room; a room with ID 0 is new and gets one.
func (tx *Tx) SaveRoom(r *Room) error {
	settings, err := json.Marshal(r.Settings)
	if err != nil {
		return err
	}
	if r.Settings == nil {
		settings = []byte("{}")
	}
	if r.ID == 0 {
		r.ID = nextID[RoomID](tx, "rooms")
		err = tx.Exec(`INSERT INTO rooms (`+roomColumns+`, address_hash) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14)`,
			r.ID, r.Adapter, tx.Seal("rooms", "address", r.ID, r.Address), tx.Seal("rooms", "name", r.ID, r.Name), r.Joined, r.Encrypted,
			r.Direct, r.Lang, r.Zone, r.Chapter, r.Speaks, string(settings), r.Inviter, tx.Hash("room", r.Address))
	} else {
		err = tx.Exec(`UPDATE rooms SET address = $1, address_hash = $2, name = $3, joined = $4, encrypted = $5, direct = $6, lang = $7, zone = $8,
			chapter = $9, speaks = $10, settings = $11, inviter = $12 WHERE id = $13`,
			tx.Seal("rooms", "address", r.ID, r.Address), tx.Hash("room", r.Address), tx.Seal("rooms", "name", r.ID, r.Name), r.Joined, r.Encrypted,
			r.Direct, r.Lang, r.Zone, r.Chapter, r.Speaks, string(settings), r.Inviter, r.ID)
	}
	if err != nil {
		return err
	}
	tx.rooms[r.ID] = r.clone()
	return nil
}

const personColumns = `id, adapter, address, name, lang, zone, last_room`

func (e *Engine) scanPerson(row Row) (*Person, error) {
	var p Person
	var address, name []byte
	if err := row.Scan(&p.ID, &p.Adapter, &address, &name, &p.Lang, &p.Zone, &p.LastRoom); err != nil {
		return nil, err
	}
	a, err := e.box.Open(place("people", "address", p.ID), address)
	if err != nil {
		return nil, err
	}
	n, err := e.box.Open(place("people", "name", p.ID), name)
	p.Address, p.Name = string(a), string(n)
	return &p, err
}

// Person gives a person by id; nil when that person was forgotten.
func (tx *Tx) Person(id PersonID) (*Person, error) {
	p := tx.people[id]
	if p == nil {
		p = tx.batch.people[id]
	}
	if p == nil {
		p = tx.e.cache.person(id)
	}
	if p != nil {
		if p.Address == "" {
			return nil, nil // forgotten in this commit
		}
		c := *p
		return &c, nil
	}
	var err error
	p, err = tx.e.scanPerson(tx.e.db.QueryRow(tx.ctx, `SELECT `+personColumns+` FROM people WHERE id = $1`, int64(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	tx.people[id] = p
	c := *p
	return &c, nil
}

// personAt gives the person with this address; nil if the bot never met her.
func (tx *Tx) personAt(adapter, address string) (*Person, error) {
	hash := tx.Hash("person", address)
	if id, ok := tx.e.cache.personAt(adapter, hash); ok {
		return tx.Person(id)
	}
	var id PersonID
	found, err := tx.One(`SELECT id FROM people WHERE adapter = $1 AND address_hash = $2`, []any{adapter, hash}, &id)
	if err != nil || !found {
		return nil, err
	}
	return tx.Person(id)
}

// Meet gives the person with this address and makes her known; name, when there is one, is what the network calls her now.
func (tx *Tx) Meet(adapter, address, name string) (*Person, error) {
	name = markup.Truncate(markup.Line(name), 60)
	p, err := tx.personAt(adapter, address)
	if err != nil {
		return nil, err
	}
	if p != nil && (name == "" || name == p.Name) {
		return p, nil
	}
	if p == nil {
		p = &Person{Adapter: adapter, Address: address}
	}
	p.Name = name
	return p, tx.SavePerson(p)
}

// SavePerson writes a person; one with ID 0 is new.
func (tx *Tx) SavePerson(p *Person) (err error) {
	if p.ID == 0 {
		p.ID = nextID[PersonID](tx, "people")
		err = tx.Exec(`INSERT INTO people (`+personColumns+`, address_hash) VALUES ($1,$2,$3,$4,$5,$6,$7,$8)`, p.ID, p.Adapter,
			tx.Seal("people", "address", p.ID, p.Address), tx.Seal("people", "name", p.ID, p.Name), p.Lang, p.Zone, p.LastRoom, tx.Hash("person", p.Address))
	} else {
		err = tx.Exec(`UPDATE people SET name = $1, lang = $2, zone = $3, last_room = $4 WHERE id = $5`,
			tx.Seal("people", "name", p.ID, p.Name), p.Lang, p.Zone, p.LastRoom, p.ID)
	}
	if err != nil {
		return err
	}
	c := *p
	tx.people[p.ID] = &c
	return nil
}

// nextID gives the next free id of a table. The engine is the only writer.
func nextID[T ~int64](tx *Tx, table string) T {
	tx.e.ids[table]++
	return T(tx.e.ids[table])
}

// Member gives a person's place in a room; nil if she never was there as far as the bot knows.
func (tx *Tx) Member(room RoomID, person PersonID) (*Member, error) {
	m := Member{Person: person}
	var since int64
	found, err := tx.One(`SELECT moderator, present, ignored, since FROM members WHERE room = $1 AND person = $2`,
		[]any{room, person}, &m.Moderator, &m.Present, &m.Ignored, &since)
	if err != nil || !found {
		return nil, err
	}
	m.Since = time.UnixMilli(since)
	return &m, nil
}

// SaveMember writes a person's place in a room. Since is kept while she is there; for who was not there it is m.Since, or now.
func (tx *Tx) SaveMember(room RoomID, m Member) error {
	if m.Since.IsZero() {
		m.Since = tx.now
	}
	return tx.Exec(`INSERT INTO members (room, person, moderator, present, ignored, since) VALUES ($1,$2,$3,$4,$5,$6)
		ON CONFLICT (room, person) DO UPDATE SET moderator = excluded.moderator, present = excluded.present, ignored = excluded.ignored,
		since = CASE WHEN members.present THEN members.since ELSE excluded.since END`,
		room, m.Person, m.Moderator, m.Present, m.Ignored, m.Since.UnixMilli())
}

// Members lists who is in a room now.
func (tx *Tx) Members(room RoomID) ([]Member, error) {
	var all []Member
	err := tx.Each(`SELECT person, moderator, ignored, since FROM members WHERE room = $1 AND present ORDER BY person`, []any{room}, func(row Row) error {
		m := Member{Present: true}
		var since int64
		err := row.Scan(&m.Person, &m.Moderator, &m.Ignored, &since)
		m.Since = time.UnixMilli(since)
		all = append(all, m)
		return err
	})
	return all, err
}

// Moderators lists the names of a room's moderators, for sentences that say who may. Names only of people who were heard of.
func (tx *Tx) Moderators(room RoomID) ([]string, error) {
	members, err := tx.Members(room)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range members {
		if !m.Moderator {
			continue
		}
		p, err := tx.Person(m.Person)
		if err != nil {
			return nil, err
		}
		if p != nil && p.Name != "" {
			names = append(names, p.Name)
		}
	}
	return names, nil
}

// RoomsOf lists the rooms (not direct chats) that a person shares with the bot.
func (tx *Tx) RoomsOf(person PersonID) ([]*Room, error) {
	return tx.roomsWhere(`joined AND NOT direct AND id IN (SELECT room FROM members WHERE person = $1 AND present AND NOT ignored)`, person)
}

// RoomsOfChapter lists the rooms of a chapter in which the bot is.
func (tx *Tx) RoomsOfChapter(chapter string) ([]*Room, error) {
	return tx.roomsWhere(`joined AND chapter = $1`, chapter)
}

func (tx *Tx) roomsWhere(where string, args ...any) ([]*Room, error) {
	ids, err := idsOf[RoomID](tx, `SELECT id FROM rooms WHERE `+where+` ORDER BY id`, args...)
	if err != nil {
		return nil, err
	}
	rooms := make([]*Room, len(ids))
	for i, id := range ids {
		if rooms[i], err = tx.Room(id); err != nil {
			return nil, err
		}
	}
	return rooms, nil
}

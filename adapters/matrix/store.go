package matrix

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-sqlite3"
	"go.mau.fi/util/dbutil"
	_ "go.mau.fi/util/dbutil/litestream" // the dialect sqlite3-fk-wal-fullsync
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
	"maunium.net/go/mautrix/sqlstatestore"

	"starling/bot/seal"
)

//go:embed upgrades/*.sql
var upgradeFiles embed.FS

const (
	databaseFile = "crypto.db"
	keyFile      = "crypto.key"
	recoveryFile = "matrix-recovery-key.txt"
)

// store is crypto.db: the library's crypto and state stores and our own tables, in one file that is never backed up.
//
// Transactions begin without a lock, because one begins before the library takes its Olm lock; each therefore writes first
// (touch), so that no read of an older snapshot stands before its write.
type store struct {
	db     *dbutil.Database
	own    *dbutil.Database
	crypto *cryptoStore
	state  *stateStore
	box    *seal.Box

	spoilt  chan struct{} // closed when the file turned out to be damaged
	spoiled sync.Once
}

const touchQuery = `UPDATE matrix_session SET id = id WHERE id = 0`

// openStore opens the database in dir. Where there is none it makes one if create holds, else the error is ErrNotLoggedIn.
func openStore(ctx context.Context, dir string, create bool) (*store, error) {
	file := filepath.Join(dir, databaseFile)
	_, err := os.Stat(file)
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the Matrix database cannot be reached: %w", err)
	case !exists && !create:
		return nil, ErrNotLoggedIn
	case !exists:
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("the state directory cannot be made: %w", err)
		}
		if err := removeDatabase(dir); err != nil { // what is left of an earlier one is of no use
			return nil, fmt.Errorf("the Matrix database cannot be made: %w", err)
		}
		// SQLite gives its side files the mode of this one.
		f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("the Matrix database cannot be made: %w", err)
		}
		f.Close()
	default:
		if st, err := os.Stat(filepath.Join(dir, keyFile)); errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() != seal.KeySize {
			return nil, ErrUnreadable
		}
	}
	key, err := seal.LoadKey(filepath.Join(dir, keyFile), !exists, rand.Reader)
	if err != nil {
		return nil, err
	}
	box, err := seal.New(key, rand.Reader)
	if err != nil {
		return nil, err
	}
	// Many connections, each with half a MiB of pages instead of two.
	db, err := dbutil.NewWithDialect("file:"+uriPath.Replace(file)+"?_cache_size=-512", "sqlite3-fk-wal-fullsync")
	if err != nil {
		return nil, err
	}
	db.RawDB.SetMaxOpenConns(16)
	db.RawDB.SetMaxIdleConns(16)
	if err := quickCheck(ctx, db.RawDB); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &store{db: db, box: box, spoilt: make(chan struct{})}
	db.Log = &watch{dbutil.NoopLogger, s}
	s.own = db.Child("matrix_version", dbutil.BuildUpgradeTable().WithFSPath(upgradeFiles, "upgrades").Finish(), nil)
	s.state = &stateStore{SQLStateStore: sqlstatestore.NewSQLStateStore(db, nil, false), box: box}
	s.state.DisableNameDisambiguation = true
	s.crypto = &cryptoStore{SQLCryptoStore: crypto.NewSQLCryptoStore(db, nil, "", "", key)}
	for _, part := range []*dbutil.Database{s.own, s.state.Database, s.crypto.DB} {
		if err := part.Upgrade(ctx); err != nil {
			db.Close()
			switch {
			case damaged(err):
				return nil, ErrUnreadable
			case errors.Is(err, dbutil.ErrUnsupportedDatabaseVersion):
				return nil, ErrNewerDatabase
			}
			return nil, fmt.Errorf("the Matrix database %s cannot be used: %w", databaseFile, err)
		}
	}
	return s, nil
}

// quickCheck refuses a file that is no whole database: what it gives could be anything, keys of others too.
func quickCheck(ctx context.Context, db *sql.DB) error {
	var result string
	err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&result)
	switch {
	case damaged(err), err == nil && result != "ok":
		return ErrUnreadable
	case err != nil:
		return fmt.Errorf("the Matrix database %s cannot be read: %w", databaseFile, err)
	}
	return nil
}

// watch sees the failures of all statements, those too that the library only logs.
type watch struct {
	dbutil.DatabaseLogger
	s *store
}

// failureKey is where a context carries a *failure.
type failureKey struct{}

// failure is the first statement that could not be done for want of a database that works.
type failure struct {
	mu  sync.Mutex
	err error
}

// watched gives a context for statements whose failures are wanted.
func watched(ctx context.Context) (context.Context, *failure) {
	f := &failure{}
	return context.WithValue(ctx, failureKey{}, f), f
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// QueryTiming implements dbutil.DatabaseLogger.
func (w *watch) QueryTiming(ctx context.Context, _, _ string, _ []any, _ int, _ time.Duration, err error) {
	w.s.look(err)
	if f, ok := ctx.Value(failureKey{}).(*failure); ok && stuck(err) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.err == nil {
			f.err = err
		}
	}
}

// look notes whether an error says that the file is damaged: the sync then ends the bot.
func (s *store) look(err error) {
	if damaged(err) {
		s.spoiled.Do(func() { close(s.spoilt) })
	}
}

// stuck tells that the database itself does not work, a full disk above all: the same statement succeeds when it does.
func stuck(err error) bool {
	var se sqlite3.Error
	if !errors.As(err, &se) {
		return false
	}
	switch se.Code {
	case sqlite3.ErrConstraint, sqlite3.ErrError, sqlite3.ErrMismatch, sqlite3.ErrRange, sqlite3.ErrTooBig, sqlite3.ErrMisuse:
		return false
	}
	return true
}

// uriPath is a path as SQLite's file: names want it.
var uriPath = strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23")

func (s *store) close() error { return s.db.Close() }

// errStumbled stands for a panic.
var errStumbled = errors.New("what came in made the bot stumble")

// txn runs fn in a transaction that holds the write lock from its first statement. A panic of fn is an error: the library would leave
// the transaction open, and the database locked.
func (s *store) txn(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.own.DoTxn(ctx, nil, func(ctx context.Context) (err error) {
		defer func() {
			if recover() != nil {
				err = errStumbled
			}
		}()
		if _, err := s.own.Exec(ctx, touchQuery); err != nil {
			return err
		}
		return fn(ctx)
	})
}

// storeFailed tells a failure of the database, after which nothing may be acknowledged, from one of the message.
func storeFailed(err error) bool {
	var se sqlite3.Error
	return errors.As(err, &se) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// damaged tells that the file is no whole database.
func damaged(err error) bool {
	var se sqlite3.Error
	return errors.As(err, &se) && (se.Code == sqlite3.ErrCorrupt || se.Code == sqlite3.ErrNotADB)
}

// session is the login.
type session struct {
	Homeserver  string
	UserID      id.UserID
	DeviceID    id.DeviceID
	AccessToken string
	Ready       bool
}

func (s *store) session(ctx context.Context) (*session, error) {
	var v session
	var token []byte
	err := s.own.QueryRow(ctx, `SELECT homeserver, user_id, device_id, access_token, ready FROM matrix_session WHERE id = 1`).
		Scan(&v.Homeserver, &v.UserID, &v.DeviceID, &token, &v.Ready)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	open, err := s.box.Open("matrix_session:access_token:1", token)
	v.AccessToken = string(open)
	return &v, err
}

func (s *store) putSession(ctx context.Context, v session) error {
	token := s.box.Seal("matrix_session:access_token:1", []byte(v.AccessToken))
	_, err := s.own.Exec(ctx, `
		INSERT INTO matrix_session (id, homeserver, user_id, device_id, access_token, ready) VALUES (1, $1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET homeserver = excluded.homeserver, user_id = excluded.user_id, device_id = excluded.device_id,
			access_token = excluded.access_token, ready = excluded.ready
	`, v.Homeserver, v.UserID, v.DeviceID, token, v.Ready)
	return err
}

func (s *store) syncToken(ctx context.Context) (token string, err error) {
	err = s.own.QueryRow(ctx, `SELECT sync_token FROM matrix_session WHERE id = 1`).Scan(&token)
	return
}

// What the bot's own place in a room can be.
const (
	invited = "invited" // and the invitation was accepted
	opened  = "opened"  // made by the bot, not yet seen in a sync
	joined  = "joined"
	left    = "left"
)

// What the bot can still have to do.
const (
	wantJoin  = "join"
	wantLeave = "leave"
	wantWord  = "word" // somebody has to hear that it could not be joined
)

// room is what the adapter itself remembers of a room; members and power levels are in the state store.
type room struct {
	ID         id.RoomID
	Membership string
	Inviter    id.UserID
	Next       id.RoomID // the room that it was upgraded to, as its tombstone says
	Name       string
	Encrypted  bool
	Marked     bool
	Direct     bool
	LastEvent  id.EventID
}

const roomColumns = `room_id, membership, inviter, next, name, encrypted, marked, direct, last_event`

func (s *store) scanRoom(row dbutil.Scannable) (*room, error) {
	var r room
	var name []byte
	if err := row.Scan(&r.ID, &r.Membership, &r.Inviter, &r.Next, &name, &r.Encrypted, &r.Marked, &r.Direct, &r.LastEvent); err != nil {
		return nil, err
	}
	open, err := s.box.Open("matrix_room:name:"+r.ID.String(), name)
	r.Name = string(open)
	return &r, err
}

// room gives what is known of a room; of an unknown one, a blank.
func (s *store) room(ctx context.Context, rid id.RoomID) (*room, error) {
	r, err := s.scanRoom(s.own.QueryRow(ctx, `SELECT `+roomColumns+` FROM matrix_room WHERE room_id = $1`, rid))
	if errors.Is(err, sql.ErrNoRows) {
		return &room{ID: rid}, nil
	}
	return r, err
}

func (s *store) joinedRooms(ctx context.Context) ([]*room, error) {
	rows, err := s.own.Query(ctx, `SELECT `+roomColumns+` FROM matrix_room WHERE membership = $1 ORDER BY room_id`, joined)
	return dbutil.NewRowIterWithError(rows, s.scanRoom, err).AsList()
}

// directRooms lists the direct chats, also such as were opened and have not come down in a sync yet.
func (s *store) directRooms(ctx context.Context) ([]*room, error) {
	rows, err := s.own.Query(ctx, `SELECT `+roomColumns+` FROM matrix_room WHERE direct AND membership IN ($1, $2) ORDER BY room_id`, joined, opened)
	return dbutil.NewRowIterWithError(rows, s.scanRoom, err).AsList()
}

func (s *store) putRoom(ctx context.Context, r *room) error {
	var name []byte
	if r.Name != "" {
		name = s.box.Seal("matrix_room:name:"+r.ID.String(), []byte(r.Name))
	}
	_, err := s.own.Exec(ctx, `
		INSERT INTO matrix_room (`+roomColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (room_id) DO UPDATE SET membership = excluded.membership, inviter = excluded.inviter, next = excluded.next,
			name = excluded.name, encrypted = matrix_room.encrypted OR excluded.encrypted, marked = excluded.marked,
			direct = excluded.direct,
			described = CASE WHEN excluded.membership = matrix_room.membership THEN matrix_room.described ELSE '' END, last_event = excluded.last_event
	`, r.ID, r.Membership, r.Inviter, r.Next, name, r.Encrypted, r.Marked, r.Direct, r.LastEvent)
	return err
}

// unsharedRooms lists some encrypted rooms in which no room key of the bot is ready. Very large ones are left out: people
// come and go there all the time, and each time the key is renewed.
func (s *store) unsharedRooms(ctx context.Context) ([]id.RoomID, error) {
	rows, err := s.own.Query(ctx, `
		SELECT r.room_id FROM matrix_room r
		WHERE r.membership = $1 AND r.encrypted
			AND NOT EXISTS (SELECT 1 FROM crypto_megolm_outbound_session o WHERE o.room_id = r.room_id AND o.shared)
			AND (SELECT COUNT(*) FROM mx_user_profile p WHERE p.room_id = r.room_id AND p.membership IN ('join', 'invite')) BETWEEN 2 AND 200
		ORDER BY r.room_id LIMIT 50`, joined)
	return dbutil.NewRowIterWithError(rows, dbutil.ScanSingleColumn[id.RoomID], err).AsList()
}

// errand is a room that the bot still has to join or leave.
type errand struct {
	Room     id.RoomID
	Want     string
	Via      string
	WantedAt time.Time
	NextTry  time.Time
	Tries    int
}

func (s *store) want(ctx context.Context, rid id.RoomID, what, via string, now time.Time) error {
	_, err := s.own.Exec(ctx, `
		INSERT INTO matrix_room (room_id, membership, want, via, wanted_at, next_try, tries) VALUES ($1, '', $2, $3, $4, $4, 0)
		ON CONFLICT (room_id) DO UPDATE SET want = excluded.want, via = excluded.via, wanted_at = excluded.wanted_at,
			next_try = excluded.next_try, tries = 0
	`, rid, what, via, now.UnixMilli())
	return err
}

func (s *store) wantNothing(ctx context.Context, rid id.RoomID) error {
	_, err := s.own.Exec(ctx, `UPDATE matrix_room SET want = '' WHERE room_id = $1`, rid)
	return err
}

// putErrand leaves alone what was wanted while the errand was under way, endErrand what is now wanted instead.
func (s *store) putErrand(ctx context.Context, e errand) error {
	_, err := s.own.Exec(ctx, `UPDATE matrix_room SET next_try = $2, tries = $3 WHERE room_id = $1 AND want = $4 AND wanted_at = $5`,
		e.Room, e.NextTry.UnixMilli(), e.Tries, e.Want, e.WantedAt.UnixMilli())
	return err
}

func (s *store) endErrand(ctx context.Context, e errand) error {
	_, err := s.own.Exec(ctx, `UPDATE matrix_room SET want = '' WHERE room_id = $1 AND want = $2`, e.Room, e.Want)
	return err
}

func (s *store) errands(ctx context.Context) ([]errand, error) {
	rows, err := s.own.Query(ctx, `SELECT room_id, want, via, wanted_at, next_try, tries FROM matrix_room WHERE want IN ($1, $2) ORDER BY next_try`, wantJoin, wantLeave)
	return dbutil.NewRowIterWithError(rows, func(row dbutil.Scannable) (e errand, err error) {
		var at, next int64
		err = row.Scan(&e.Room, &e.Want, &e.Via, &at, &next, &e.Tries)
		e.WantedAt, e.NextTry = time.UnixMilli(at), time.UnixMilli(next)
		return
	}, err).AsList()
}

func (s *store) givenUp(ctx context.Context) ([]id.RoomID, error) {
	rows, err := s.own.Query(ctx, `SELECT room_id FROM matrix_room WHERE want = $1 ORDER BY wanted_at`, wantWord)
	return dbutil.NewRowIterWithError(rows, dbutil.ScanSingleColumn[id.RoomID], err).AsList()
}

// What people can make the bot remember is bounded: in a room, of one person there, and under a message.
const (
	maxHeld      = 500
	maxHeldOf    = 50
	maxReactions = 1000
)

func scanHeld(row dbutil.Scannable) (*event.Event, error) {
	var data string
	var evt event.Event
	if err := row.Scan(&data); err != nil {
		return nil, err
	}
	return &evt, json.Unmarshal([]byte(data), &evt)
}

// heldFor lists what waits for a room key, oldest first; session "" gives everything.
func (s *store) heldFor(ctx context.Context, session id.SessionID) ([]*event.Event, error) {
	rows, err := s.own.Query(ctx, `SELECT event FROM matrix_held WHERE $1 = '' OR session_id = $1 ORDER BY held_at, rowid`, session)
	return dbutil.NewRowIterWithError(rows, scanHeld, err).AsList()
}

// reaction is one that somebody put on a message of the bot.
type reaction struct {
	ID, Target id.EventID
	Person     id.UserID
	Emoji      string
}

func (s *store) putReaction(ctx context.Context, r reaction, now time.Time) error {
	_, err := s.own.Exec(ctx, `
		INSERT INTO matrix_reaction (event_id, target, person, emoji, seen_at)
		SELECT $1, $2, $3, $4, $5 WHERE (SELECT COUNT(*) FROM matrix_reaction WHERE target = $2) < $6
		ON CONFLICT (event_id) DO NOTHING
	`, r.ID, r.Target, r.Person, r.Emoji, now.UnixMilli(), maxReactions)
	return err
}

func (s *store) reaction(ctx context.Context, eid id.EventID) (*reaction, error) {
	r := reaction{ID: eid}
	err := s.own.QueryRow(ctx, `SELECT target, person, emoji FROM matrix_reaction WHERE event_id = $1`, eid).Scan(&r.Target, &r.Person, &r.Emoji)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &r, err
}

func (s *store) putOwn(ctx context.Context, eid id.EventID, now time.Time) error {
	_, err := s.own.Exec(ctx, `INSERT INTO matrix_own (event_id, seen_at) VALUES ($1, $2) ON CONFLICT (event_id) DO NOTHING`, eid, now.UnixMilli())
	return err
}

func (s *store) isOwn(ctx context.Context, eid id.EventID) (own bool, err error) {
	err = s.own.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM matrix_own WHERE event_id = $1)`, eid).Scan(&own)
	return
}

// stateStore keeps display names sealed: they are the only free text in the library's tables.
type stateStore struct {
	*sqlstatestore.SQLStateStore
	box *seal.Box
}

func namePlace(rid id.RoomID, person id.UserID) string {
	return "mx_user_profile:displayname:" + rid.String() + person.String()
}

// putMember stores one row of the member list.
func (s *stateStore) putMember(ctx context.Context, rid id.RoomID, person id.UserID, m *event.MemberEventContent) error {
	kept := event.MemberEventContent{Membership: m.Membership}
	if m.Displayname != "" {
		kept.Displayname = string(s.box.Seal(namePlace(rid, person), []byte(clip(m.Displayname, maxName))))
	}
	return s.SetMember(ctx, rid, person, &kept)
}

// name gives a person's display name in a room, "" where none is known.
func (s *stateStore) name(ctx context.Context, rid id.RoomID, person id.UserID) (string, error) {
	m, err := s.TryGetMember(ctx, rid, person)
	if err != nil || m == nil {
		return "", err
	}
	return s.openName(rid, person, m.Displayname), nil
}

func (s *stateStore) openName(rid id.RoomID, person id.UserID, sealed string) string {
	name, err := s.box.Open(namePlace(rid, person), []byte(sealed))
	if err != nil {
		return "" // a name is decoration: without it the person is shown by address
	}
	return string(name)
}

// cryptoStore takes the write lock as the first thing under the library's Olm lock, so that a transaction around the
// handling of a to-device message never waits for one while holding the other.
type cryptoStore struct {
	*crypto.SQLCryptoStore
	// shared hears of each room key that was shared, before it is used; it may be nil.
	shared func(ctx context.Context, key *crypto.OutboundGroupSession)
}

func (s *cryptoStore) AddOutboundGroupSession(ctx context.Context, key *crypto.OutboundGroupSession) error {
	err := s.SQLCryptoStore.AddOutboundGroupSession(ctx, key)
	if err == nil && s.shared != nil {
		s.shared(ctx, key)
	}
	return err
}

func (s *cryptoStore) GetOlmHash(ctx context.Context, hash [32]byte) (time.Time, error) {
	if _, err := s.DB.Exec(ctx, touchQuery); err != nil {
		return time.Time{}, err
	}
	return s.SQLCryptoStore.GetOlmHash(ctx, hash)
}

// peekKey is where a context says that messages are only looked at.
type peekKey struct{}

// ValidateMessageIndex notes which message was opened with which step of a key, so that no other is taken for it.
func (s *cryptoStore) ValidateMessageIndex(ctx context.Context, session id.SessionID, event id.EventID, index uint, timestamp int64) (bool, error) {
	if ctx.Value(peekKey{}) != nil {
		return true, nil
	}
	return s.SQLCryptoStore.ValidateMessageIndex(ctx, session, event, index, timestamp)
}

// HasSession looks where GetLatestSession does. The library's own also counts a session that another goroutine has just begun and not
// stored yet: then no one-time key is claimed, no session is found either, and whoever wrote to the bot while it shared a room key
// does not get that key.
func (s *cryptoStore) HasSession(ctx context.Context, key id.SenderKey) bool {
	latest, err := s.GetLatestSession(ctx, key)
	return err == nil && latest != nil
}

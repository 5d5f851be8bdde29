// Package bot is Starling's engine: one message in, one transaction, messages out. It knows no network and no command:
// adapters hand it what they received (network.go), capabilities say what the bot can do (capability.go), and what is to be
// said waits in the outbox (outbox.go) until an adapter has delivered it.
package bot

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"go.mau.fi/util/dbutil"
	_ "go.mau.fi/util/dbutil/litestream" // registers SQLite with WAL and synchronous FULL

	"starling/bot/seal"
	"starling/locales"
)

//go:embed upgrades/*.sql
var upgradeFiles embed.FS

// Clock tells the time and calls back when some has passed. Tests and talk hand in their own.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f, in a goroutine of its own, after d; stop takes that back.
	AfterFunc(d time.Duration, f func()) (stop func())
}

// WallClock is the machine's clock.
type WallClock struct{}

func (WallClock) Now() time.Time { return time.Now() }

func (WallClock) AfterFunc(d time.Duration, f func()) func() {
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}

// Config is what an engine is made of.
type Config struct {
	Dir      string // state directory, made if it is not there
	Name     string // what the bot is called in rooms
	Lang     string // where nothing else decides the language
	Clock    Clock
	Rand     io.Reader
	Log      zerolog.Logger
	Messages *locales.Registry
	Locales  *locales.Bundle
	// Fault, when set, is called at the points "before-store", "after-store", "before-send", "after-send"; true crashes the
	// engine there, as a power cut would.
	Fault func(point string) bool
	// NoSync trades durability for speed; for talk and tests, whose state is thrown away.
	NoSync bool
}

// Engine is a running bot.
type Engine struct {
	cfg      Config
	db       *dbutil.Database
	box      *seal.Box
	log      zerolog.Logger
	clock    Clock
	instance string // makes idempotency keys of this database unlike any other's
	ids      map[string]int64
	cache    *cache
	lock     *os.File

	caps      []Capability
	commands  *commandTable
	kinds     map[string]RecordKind
	letters   map[string]string // letter → kind
	dialogues map[string]Dialogue
	topics    map[string]func(*Turn, string, Answer) error
	timers    map[string]func(*Turn, string) error
	words     *wordLists

	adapters map[string]Adapter
	out      *dispatcher
	jobs     *jobRunner

	work      chan *task
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced whenever something moved; see WaitIdle
	pending   int           // tasks handed in and not finished
	submitted int           // tasks ever handed in
	running   bool
	errs      int
	stopped   chan struct{}
	once      sync.Once
	wg        sync.WaitGroup
	timer     func() // stops the clock's call for the next due timer
}

// task is one thing to do in a transaction.
type task struct {
	what string
	do   func(*Tx) error
	done chan error
}

// ErrNewerDatabase, ErrDamaged and ErrLocked say why a state directory cannot be used; their text names the remedy.
var (
	ErrNewerDatabase = errors.New("the database was written by a newer Starling: run that version, or restore a backup made by this one; nothing was changed")
	ErrDamaged       = errors.New("the database is damaged: restore a backup into an empty state directory; nothing was changed")
	ErrLocked        = errors.New("another Starling is running on this state directory: stop it first, or name another directory in [state] dir")
)

// Open prepares an engine on a state directory: lock, key, database. Nothing runs before Run.
func Open(cfg Config, caps ...Capability) (*Engine, error) {
	if cfg.Clock == nil {
		cfg.Clock = WallClock{}
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the state directory cannot be made: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, log: cfg.Log, clock: cfg.Clock, lock: lock, ids: map[string]int64{}, caps: caps,
		adapters: map[string]Adapter{}, work: make(chan *task, 4096), changed: make(chan struct{}), stopped: make(chan struct{})}
	if err := e.open(); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) open() error {
	path := filepath.Join(e.cfg.Dir, "starling.db")
	_, statErr := os.Stat(path)
	fresh := errors.Is(statErr, os.ErrNotExist)
	key, err := seal.LoadKey(filepath.Join(e.cfg.Dir, "starling.key"), fresh, e.cfg.Rand)
	if err != nil {
		return err
	}
	// Nonces never come from Config.Rand: a conversation played again with the same seed must not repeat them.
	if e.box, err = seal.New(key, rand.Reader); err != nil {
		return err
	}
	e.cache = newCache(e.box.Hash)
	if fresh { // SQLite would let others read it
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return fmt.Errorf("the database cannot be made: %w", err)
		}
		if err := f.Close(); err != nil {
			return err
		}
	} else {
		if err := checkDatabase(path); err != nil {
			return err
		}
	}
	kind := "sqlite3-fk-wal-fullsync"
	if e.cfg.NoSync {
		kind = "sqlite3-fk-wal"
	}
	e.db, err = dbutil.NewFromConfig("starling", dbutil.Config{PoolConfig: dbutil.PoolConfig{
		Type: kind, URI: "file:" + path + "?_txlock=immediate", MaxOpenConns: 8, MaxIdleConns: 8,
	}}, dbutil.NoopLogger)
	if err != nil {
		return err
	}
	return e.load(context.Background())
}

// ownUpgrades is the engine's own list of schema versions.
func ownUpgrades() dbutil.UpgradeTable {
	return dbutil.BuildUpgradeTable().WithFSPath(upgradeFiles, "upgrades").Finish()
}

// load brings the schema up to date and reads what the engine holds in memory.
func (e *Engine) load(ctx context.Context) error {
	e.db.UpgradeTable = ownUpgrades()
	children := []*dbutil.Database{e.db}
	for _, c := range e.caps {
		if c.Upgrades != nil {
			children = append(children, e.db.Child(c.Name+"_version", c.Upgrades, nil))
		}
	}
	for _, db := range children { // look at all before anything is changed
		if err := checkVersion(ctx, db); err != nil {
			return err
		}
	}
	for _, db := range children {
		if err := db.Upgrade(ctx); err != nil {
			return fmt.Errorf("the database cannot be brought up to date: %w", err)
		}
	}
	if err := e.table(); err != nil {
		return err
	}
	e.out = newDispatcher(e)
	e.jobs = newJobRunner(e)
	return e.inTransaction(ctx, func(tx *Tx) error {
		if err := tx.identify(); err != nil {
			return err
		}
		if err := tx.Each(`SELECT `+roomColumns+` FROM rooms`, nil, func(row Row) error {
			r, err := e.scanRoom(row)
			if err == nil {
				tx.rooms[r.ID] = r
			}
			return err
		}); err != nil {
			return err
		}
		for _, table := range []string{"rooms", "people", "outbox", "dialogues"} { // ids continue, whatever was deleted
			if _, err := tx.One(`SELECT COALESCE(MAX(id), 0) FROM `+table, nil, ptr(e.ids, table)); err != nil {
				return err
			}
		}
		if err := tx.schedule(timerExpire, "", 0, tx.now.Add(time.Hour), false); err != nil {
			return err
		}
		return e.out.load(tx)
	})
}

// ptr scans a count into a map.
func ptr(m map[string]int64, key string) sql.Scanner { return mapInt{m, key} }

type mapInt struct {
	m   map[string]int64
	key string
}

func (p mapInt) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("an id is a %T", v)
	}
	p.m[p.key] = n
	return nil
}

// identify checks that the key fits the database, and gives a new database its name.
func (tx *Tx) identify() error {
	var check string
	found, err := tx.One(`SELECT value FROM meta WHERE key = 'instance'`, nil, &tx.e.instance)
	if err != nil {
		return err
	}
	if !found {
		b := make([]byte, 6)
		if _, err := io.ReadFull(tx.e.cfg.Rand, b); err != nil {
			return err
		}
		tx.e.instance = hex.EncodeToString(b)
		check = hex.EncodeToString(tx.Seal("meta", "value", "key", "fits"))
		if err := tx.Exec(`INSERT INTO meta (key, value) VALUES ('instance', $1), ('key', $2)`, tx.e.instance, check); err != nil {
			return err
		}
		return nil
	}
	if _, err := tx.One(`SELECT value FROM meta WHERE key = 'key'`, nil, &check); err != nil {
		return err
	}
	sealed, err := hex.DecodeString(check)
	if err != nil {
		return ErrDamaged
	}
	if _, err := tx.Open("meta", "value", "key", sealed); err != nil {
		return errors.New("the key file does not fit the database: restore the one that was backed up with it")
	}
	return nil
}

// checkVersion refuses a database that a newer release wrote, before anything is changed.
func checkVersion(ctx context.Context, db *dbutil.Database) error {
	if ok, err := db.TableExists(ctx, db.VersionTable); err != nil || !ok {
		return err
	}
	var compat int
	err := db.QueryRow(ctx, `SELECT COALESCE(compat, version) FROM `+db.VersionTable).Scan(&compat)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil && compat > len(db.UpgradeTable) {
		return ErrNewerDatabase
	}
	return err
}

// checkDatabase looks whether a database file can be read at all, without changing it.
func checkDatabase(path string) error {
	db, err := sql.Open("sqlite3", "file:"+path+"?mode=ro&_busy_timeout=5000")
	if err != nil {
		return err
	}
	defer db.Close()
	var result string
	if err := db.QueryRow(`PRAGMA quick_check(1)`).Scan(&result); err != nil {
		if strings.Contains(err.Error(), "locked") {
			return fmt.Errorf("%w (the database file is locked)", ErrLocked)
		}
		return fmt.Errorf("%w (%v)", ErrDamaged, err)
	}
	if result != "ok" {
		return ErrDamaged
	}
	return nil
}

// Run receives, handles and sends until ctx ends or an adapter fails for good.
func (e *Engine) Run(ctx context.Context, adapters ...Adapter) error {
	ctx, cancel := context.WithCancel(ctx)
	for _, a := range adapters {
		e.adapters[a.Name()] = a
	}
	defer e.wg.Wait()
	defer e.halt()
	defer cancel()
	e.mu.Lock()
	e.running = true
	e.mu.Unlock()
	e.goes(func() { e.write(ctx) })
	e.out.start(ctx)
	e.jobs.start(ctx)
	e.rearm(ctx)
	failed := make(chan error, len(adapters))
	for _, a := range adapters {
		e.goes(func() { failed <- a.Run(ctx, inbox{e, a.Name()}) })
	}
	for range adapters {
		select {
		case err := <-failed:
			if err != nil && ctx.Err() == nil {
				cancel()
				return err
			}
		case <-e.stopped:
			cancel()
			return ErrStopped
		}
	}
	return nil
}

func (e *Engine) goes(f func()) {
	e.wg.Add(1)
	go func() { defer e.wg.Done(); f() }()
}

// halt stops taking work in.
func (e *Engine) halt() {
	e.once.Do(func() { close(e.stopped) })
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer()
	}
}

// Close releases the database and the state directory. Run must have returned.
func (e *Engine) Close() error {
	var err error
	if e.db != nil {
		err = e.db.Close()
	}
	return errors.Join(err, e.lock.Close())
}

// crash is a power cut, for talk: nothing more is written, sent or acknowledged.
func (e *Engine) fault(point string) bool {
	if e.cfg.Fault == nil || !e.cfg.Fault(point) {
		return false
	}
	e.halt()
	return true
}

// maxBatch bounds how many tasks share one commit.
const maxBatch = 64

// write is the single writer: it takes what is waiting, does it in one transaction with a savepoint each, and reports
// when that is durable.
func (e *Engine) write(ctx context.Context) {
	for {
		var batch []*task
		select {
		case <-ctx.Done():
			return
		case <-e.stopped:
			return
		case t := <-e.work:
			batch = append(batch, t)
		}
		for len(batch) < maxBatch {
			select {
			case t := <-e.work:
				batch = append(batch, t)
				continue
			default:
			}
			break
		}
		e.commit(ctx, batch)
	}
}

func (e *Engine) commit(ctx context.Context, batch []*task) {
	all := newOverlay()
	results := make([]error, len(batch))
	// A commit is not torn by a shutdown: what was begun ends.
	err := e.db.DoTxn(context.WithoutCancel(ctx), nil, func(ctx context.Context) error {
		for i, t := range batch {
			results[i] = e.one(ctx, &all, t)
		}
		if e.fault("before-store") {
			return ErrStopped
		}
		return nil
	})
	if err == nil {
		e.cache.publish(all.rooms, all.people)
		e.out.add(all.queued, all.dropped)
		e.out.settle(all.settled)
	}
	e.out.release(all.held)
	if err == nil && e.fault("after-store") {
		err = ErrStopped
	}
	for i, t := range batch {
		if err != nil {
			results[i] = err
		}
		if results[i] != nil && !errors.Is(results[i], ErrStopped) {
			e.log.Error().Err(results[i]).Str("task", t.what).Msg("a task failed")
			e.countError()
		}
		t.done <- results[i]
	}
	if err == nil {
		if all.jobs {
			e.jobs.wake()
		}
		if all.timers {
			e.rearm(ctx)
		}
	}
	e.mu.Lock()
	e.pending -= len(batch)
	e.mu.Unlock()
	e.note()
}

// one does one task inside the transaction in ctx; what it changed is undone when it fails.
func (e *Engine) one(ctx context.Context, all *overlay, t *task) (err error) {
	if _, err := e.db.Exec(ctx, `SAVEPOINT one`); err != nil {
		return err
	}
	tx := &Tx{e: e, ctx: ctx, now: e.clock.Now(), batch: all, overlay: newOverlay()}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in %s: %v\n%s", t.what, r, debug.Stack())
		}
		if err != nil {
			if _, rb := e.db.Exec(ctx, `ROLLBACK TO one`); rb != nil {
				err = errors.Join(err, rb)
			}
			e.out.release(tx.held)
			return
		}
		if _, err = e.db.Exec(ctx, `RELEASE one`); err == nil {
			all.merge(&tx.overlay)
		}
	}()
	return t.do(tx)
}

// inTransaction does one thing before Run has begun, or beside it (start-up, tools).
func (e *Engine) inTransaction(ctx context.Context, do func(*Tx) error) error {
	all := newOverlay()
	err := e.db.DoTxn(ctx, nil, func(ctx context.Context) error {
		return e.one(ctx, &all, &task{what: "set-up", do: do})
	})
	if err == nil {
		e.cache.publish(all.rooms, all.people)
		e.out.add(all.queued, all.dropped)
	}
	return err
}

// Do runs something in a transaction of its own and returns when it is durable. It works before Run, too.
func (e *Engine) Do(ctx context.Context, what string, do func(*Tx) error) error {
	e.mu.Lock()
	running := e.running
	e.mu.Unlock()
	if !running {
		return e.inTransaction(ctx, do)
	}
	done := e.submit(what, do)
	select {
	case err := <-done:
		return err
	case <-e.stopped:
		select {
		case err := <-done:
			return err
		default:
			return ErrStopped
		}
	}
}

// submit hands work to the writer.
func (e *Engine) submit(what string, do func(*Tx) error) <-chan error {
	t := &task{what: what, do: do, done: make(chan error, 1)}
	e.mu.Lock()
	e.pending++
	e.submitted++
	e.mu.Unlock()
	select {
	case <-e.stopped:
		t.done <- ErrStopped
	case e.work <- t:
	}
	return t.done
}

// note wakes who waits for something to move.
func (e *Engine) note() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *Engine) countError() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.errs++
}

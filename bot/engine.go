// Package bot is Starling's engine: one message in, one transaction, messages out. It knows no network and no command:
// adapters hand it what they received (network.go), capabilities say what the bot can do (capability.go), and what is to be
// said waits in the outbox (outbox.go) until an adapter has delivered it.
package bot

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"go.mau.fi/util/dbutil"

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
	Database string // a PostgreSQL server's address, postgres://…; "": SQLite, in Dir
	Version  string // of the program, for operators
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
	// Limits bound what is answered; the zero value has none.
	Limits Limits
	// NoSync trades durability for speed; for talk and tests, whose state is thrown away.
	NoSync bool
}

// Engine is a running bot.
type Engine struct {
	cfg      Config
	db       *dbutil.Database
	tenure   *tenure // nil with SQLite, whose directory is locked
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
	limiter  *limiter
	unstored map[RoomID]string // told that nothing can be stored, each with its adapter; under mu
	jobs     *jobRunner

	work      chan *task
	writing   sync.Mutex // held while a commit is made
	kept      map[string]int64
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced whenever something moved; see WaitIdle
	pending   int           // tasks handed in and not finished
	submitted int           // tasks ever handed in
	running   bool
	cause     error // why the engine stopped by itself: the database is another process's now, or damaged
	errs      int
	started   time.Time
	ending    chan struct{} // closed when nobody hands in work any more: what waits is still done
	stopped   chan struct{} // closed when nothing is done any more
	once      sync.Once
	wg        sync.WaitGroup // all that hands in work
	lookAgain time.Duration  // how long it sleeps at most for a timer; 0 = as long as it takes
	timer     func()         // stops the clock's call for the next due timer
	operator  operatorCode
}

// task is one thing to do in a transaction.
type task struct {
	what string
	do   func(*Tx) error
	done chan error
	// failed, when set, is called after the task failed otherwise than because the engine stopped.
	failed func(error)
}

// errStore says that a whole commit failed, whatever its tasks would have said.
var errStore = errors.New("nothing could be stored")

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
	var look time.Duration
	if _, wall := cfg.Clock.(WallClock); wall {
		look = lookAgain
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the state directory cannot be made: %w", err)
	}
	lock, err := Lock(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, log: cfg.Log, clock: cfg.Clock, lock: lock, ids: map[string]int64{}, kept: map[string]int64{}, caps: caps, limiter: newLimiter(cfg.Limits), unstored: map[RoomID]string{}, lookAgain: look,
		adapters: map[string]Adapter{}, work: make(chan *task, 4096), changed: make(chan struct{}), ending: make(chan struct{}), stopped: make(chan struct{})}
	if err := e.open(); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) open() (err error) {
	var fresh bool
	if e.db, fresh, err = openDatabase(e.cfg.Dir, e.cfg.Database, e.cfg.NoSync, versions(e.caps)); err != nil {
		return err
	}
	key, err := seal.LoadKey(filepath.Join(e.cfg.Dir, "starling.key"), fresh, e.cfg.Rand)
	if err != nil {
		return err
	}
	// Nonces never come from Config.Rand: a conversation played again with the same seed must not repeat them.
	if e.box, err = seal.New(key, rand.Reader); err != nil {
		return err
	}
	e.cache = newCache(e.box.Hash)
	if fresh && e.cfg.Database == "" {
		if err := makeFile(e.cfg.Dir); err != nil {
			return err
		}
	}
	return e.load(context.Background())
}

// versions gives the newest version of each list of upgrades, by the table that holds it.
func versions(caps []Capability) map[string]int {
	known := map[string]int{"version": len(ownUpgrades())}
	for _, c := range caps {
		if c.Upgrades != nil {
			known[versionTable(c)] = len(c.Upgrades)
		}
	}
	return known
}

// ownUpgrades is the engine's own list of schema versions.
func ownUpgrades() dbutil.UpgradeTable {
	return dbutil.BuildUpgradeTable().WithFSPath(upgradeFiles, "upgrades").Finish()
}

func versionTable(c Capability) string { return c.Name + "_version" }

// upgrade brings the schema up to date.
func upgrade(ctx context.Context, db *dbutil.Database, caps []Capability) error {
	db.UpgradeTable = ownUpgrades()
	all := []*dbutil.Database{db}
	for _, c := range caps {
		if c.Upgrades != nil {
			all = append(all, db.Child(versionTable(c), c.Upgrades, nil))
		}
	}
	for _, one := range all {
		if err := one.Upgrade(ctx); err != nil {
			return fmt.Errorf("the database cannot be brought up to date: %w", err)
		}
	}
	return nil
}

// load brings the schema up to date and reads what the engine holds in memory.
func (e *Engine) load(ctx context.Context) (err error) {
	if e.tenure, err = hold(ctx, e.db); err != nil {
		return err
	}
	if err := upgrade(ctx, e.db, e.caps); err != nil {
		return err
	}
	if err := e.table(); err != nil {
		return err
	}
	if err := e.tenure.takeOver(ctx, e.db); err != nil {
		return err
	}
	e.out = newDispatcher(e)
	e.jobs = newJobRunner(e)
	return e.Do(ctx, "set-up", func(tx *Tx) error {
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
		for _, table := range []string{"rooms", "people", "outbox", "dialogues"} {
			if err := tx.lastID(table); err != nil {
				return err
			}
		}
		if err := tx.schedule(timerExpire, "", 0, tx.now.Add(eraseEvery), false); err != nil {
			return err
		}
		if err := e.out.load(tx); err != nil {
			return err
		}
		return tx.restored()
	})
}

// lastID reads the last id that a table ever gave: an id is never given twice, whatever was deleted.
func (tx *Tx) lastID(table string) error {
	var highest, last int64
	if _, err := tx.One(`SELECT COALESCE(MAX(id), 0) FROM `+table, nil, &highest); err != nil {
		return err
	}
	if _, err := tx.One(`SELECT CAST(value AS BIGINT) FROM meta WHERE key = $1`, []any{"last " + table}, &last); err != nil {
		return err
	}
	tx.e.ids[table], tx.e.kept[table] = max(highest, last), last
	return nil
}

// keepIDs writes down the last ids that were given; it gives what is to be noted once that is stored.
func (e *Engine) keepIDs(ctx context.Context) (kept map[string]int64, err error) {
	kept = map[string]int64{}
	for table, id := range e.ids {
		if id == e.kept[table] {
			continue
		}
		kept[table] = id
		if _, err := e.db.Exec(ctx, `INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
			"last "+table, strconv.FormatInt(id, 10)); err != nil {
			return nil, err
		}
	}
	return kept, nil
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
	if moved, err := tx.One(`SELECT value FROM meta WHERE key = 'moved'`, nil, new(string)); err != nil {
		return err
	} else if moved {
		return ErrMoved
	}
	if _, err := tx.One(`SELECT value FROM meta WHERE key = 'key'`, nil, &check); err != nil {
		return err
	}
	sealed, err := hex.DecodeString(check)
	if err != nil {
		return ErrDamaged
	}
	if _, err := tx.Open("meta", "value", "key", sealed); err != nil {
		return seal.KeyError("the key file does not fit the database: restore the one that was backed up with it")
	}
	return nil
}

// Run receives, handles and sends until ctx ends or an adapter fails for good.
func (e *Engine) Run(ctx context.Context, adapters ...Adapter) error {
	ctx, cancel := context.WithCancel(ctx)
	for _, a := range adapters {
		if d, ok := a.(Describer); ok {
			d.Describe(e.descriptions())
		}
	}
	e.begin(adapters)
	written := make(chan struct{})
	go func() { defer close(written); e.write() }()
	defer func() {
		cancel()
		e.wg.Wait() // calls that end now still hand in what came of them …
		close(e.ending)
		<-written // … and that is stored
		e.halt()
	}()
	e.out.start(ctx)
	e.jobs.start(ctx)
	e.rearm(0)
	failed := make(chan error, len(adapters))
	for _, a := range adapters {
		e.goes(func() { failed <- guard(func() error { return a.Run(ctx, inbox{e, a.Name()}) }) })
	}
	for range adapters {
		select {
		case err := <-failed:
			if err != nil && ctx.Err() == nil {
				return e.why(err)
			}
		case <-e.stopped:
			return e.why(ErrStopped)
		}
	}
	return nil
}

// why gives what stands behind ErrStopped, which adapters hand back, where the engine stopped by itself.
func (e *Engine) why(err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause != nil && errors.Is(err, ErrStopped) {
		return e.cause
	}
	return err
}

// halts stops the engine because its database is no good any more.
func (e *Engine) halts(cause error) {
	e.log.Error().Msg(cause.Error())
	e.mu.Lock()
	e.cause = cause
	e.mu.Unlock()
	e.halt()
}

// begin makes the networks known, between two commits.
func (e *Engine) begin(adapters []Adapter) {
	e.writing.Lock()
	defer e.writing.Unlock()
	e.out.mu.Lock()
	for _, a := range adapters {
		e.adapters[a.Name()] = a
	}
	e.out.mu.Unlock()
	e.mu.Lock()
	e.running, e.started = true, e.clock.Now()
	e.mu.Unlock()
}

func (e *Engine) goes(f func()) {
	e.wg.Add(1)
	go func() { defer e.wg.Done(); f() }()
}

// halt ends all work at once.
func (e *Engine) halt() {
	e.once.Do(func() { close(e.stopped) })
	e.mu.Lock()
	if e.timer != nil {
		e.timer()
	}
	e.mu.Unlock()
	if e.out != nil {
		e.out.mu.Lock()
		e.out.disarm()
		e.out.mu.Unlock()
	}
}

// over is whether the engine has stopped.
func (e *Engine) over() bool {
	select {
	case <-e.stopped:
		return true
	default:
		return false
	}
}

// Close releases the database and the state directory. Run must have returned.
func (e *Engine) Close() error {
	e.halt()
	var err error
	if e.db != nil {
		err = errors.Join(e.tenure.end(), e.db.Close())
	}
	return errors.Join(err, e.lock.Close())
}

// fault is a power cut where a test wants one: nothing more is written, sent or acknowledged.
func (e *Engine) fault(point string) bool {
	if e.over() {
		return true
	}
	e.mu.Lock()
	running := e.running
	e.mu.Unlock()
	if e.cfg.Fault == nil || !running || !e.cfg.Fault(point) {
		return false
	}
	e.halt()
	return true
}

// maxBatch bounds how many tasks share one commit.
const maxBatch = 64

// write is the single writer: it takes what is waiting, does it in one transaction with a savepoint each, and reports
// when that is durable.
func (e *Engine) write() {
	for batch := e.take(); len(batch) > 0; batch = e.take() {
		e.commit(batch)
	}
}

// take waits for work; it gives none when there will be none.
func (e *Engine) take() []*task {
	if e.over() {
		return nil
	}
	var batch []*task
	select {
	case <-e.stopped:
		return nil
	case <-e.ending:
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
	return batch
}

// commit does tasks in one transaction and, once that is durable, lets the rest of the engine know.
func (e *Engine) commit(batch []*task) {
	e.writing.Lock()
	defer e.writing.Unlock()
	all := newOverlay()
	results := make([]error, len(batch))
	var kept map[string]int64
	ctx, cancel := context.Background(), func() {}
	if e.tenure != nil {
		ctx, cancel = context.WithTimeout(ctx, storeFor)
	}
	whole := false // all was done but the COMMIT
	err := e.db.DoTxn(ctx, nil, func(ctx context.Context) error {
		for i, t := range batch {
			var broken error
			if results[i], broken = e.one(ctx, &all, t); broken != nil {
				return broken
			}
		}
		var err error
		if kept, err = e.keepIDs(ctx); err != nil {
			return err
		}
		if err := e.tenure.step(ctx, e.db); err != nil {
			return err
		}
		if e.fault("before-store") {
			return ErrStopped
		}
		whole = true
		return nil
	})
	cancel()
	if e.tenure != nil {
		err = e.tenured(err, whole)
	}
	switch {
	case err == nil && e.fault("after-store"):
		err = ErrStopped
	case err == nil:
		maps.Copy(e.kept, kept)
		e.cache.publish(all.rooms, all.people)
		e.out.add(all.queued, all.dropped, all.rewritten)
		e.out.settle(all.settled)
		e.stored(all.charged)
	case !errors.Is(err, ErrStopped):
		err = fmt.Errorf("%w: %w", errStore, err)
	}
	if (damaged(err) || slices.ContainsFunc(results, damaged)) && !e.over() {
		e.halts(ErrDamaged) // what it would answer from now on could be anything; the next start looks at the whole file
	}
	if err != nil {
		e.limiter.refund(all.charged)
	}
	e.out.release(all.held)
	for i, t := range batch {
		if err != nil {
			results[i] = err
		}
		if results[i] != nil && !errors.Is(results[i], ErrStopped) && !errors.Is(results[i], errEarly) {
			e.log.Error().Str("error", unquoted(results[i])).Str("task", t.what).Msg("a task failed")
			e.countError()
			if t.failed != nil {
				t.failed(results[i])
			}
		}
		t.done <- results[i]
	}
	if err == nil {
		if all.jobs {
			e.jobs.wake()
		}
		if all.timers {
			e.rearm(0)
		}
	}
	e.mu.Lock()
	e.pending -= len(batch)
	e.mu.Unlock()
	e.note()
}

// tenured finds out what became of a commit on a server, and stops where another process has taken the database over.
func (e *Engine) tenured(err error, whole bool) error {
	if err != nil && whole {
		made, unknown := e.tenure.landed(e.db, e.stopped)
		if made || unknown != nil {
			err = unknown
		}
	}
	switch {
	case err == nil:
		e.tenure.commits++
	case errors.Is(err, errReplaced):
		e.halts(errReplaced)
		return fmt.Errorf("%w: %w", ErrStopped, errReplaced)
	}
	return err
}

// one does one task inside the transaction in ctx; what it changed is undone when it fails. broken says that this could not
// be done: the transaction is no good any more.
func (e *Engine) one(ctx context.Context, all *overlay, t *task) (err, broken error) {
	if _, err := e.db.Exec(ctx, `SAVEPOINT one`); err != nil {
		return err, err
	}
	tx := &Tx{e: e, ctx: ctx, now: e.clock.Now(), batch: all, overlay: newOverlay()}
	if err = guard(func() error { return t.do(tx) }); err != nil {
		e.out.release(tx.held)
		e.limiter.refund(tx.charged)
		if _, broken := e.db.Exec(ctx, `ROLLBACK TO one`); broken != nil {
			return err, errors.Join(err, broken)
		}
		if _, broken := e.db.Exec(ctx, `RELEASE one`); broken != nil {
			return err, errors.Join(err, broken)
		}
		return err, nil
	}
	if _, err := e.db.Exec(ctx, `RELEASE one`); err != nil {
		e.out.release(tx.held)
		e.limiter.refund(tx.charged)
		return err, err
	}
	all.merge(&tx.overlay)
	return nil, nil
}

// Do runs something in a transaction of its own and returns when it is durable. It works before Run, too. A context that has
// ended keeps it from being begun; what was begun is waited for.
func (e *Engine) Do(ctx context.Context, what string, do func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	running := e.running
	e.mu.Unlock()
	if !running {
		t := e.task(what, do)
		e.commit([]*task{t})
		return <-t.done
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

func (e *Engine) task(what string, do func(*Tx) error) *task {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending++
	e.submitted++
	return &task{what: what, do: do, done: make(chan error, 1)}
}

// submit hands work to the writer.
func (e *Engine) submit(what string, do func(*Tx) error) <-chan error {
	t := e.task(what, do)
	e.hand(t)
	return t.done
}

// insist hands work to the writer until it is stored; for what must not be lost because a disk was full for a moment.
func (e *Engine) insist(what string, do func(*Tx) error) <-chan error {
	t := e.task(what, do)
	t.failed = func(err error) {
		if ours(err) {
			e.clock.AfterFunc(storeAgain, func() { e.insist(what, do) })
		}
	}
	e.hand(t)
	return t.done
}

// storeAgain is how long it takes until what could not be stored is tried again.
const storeAgain = 5 * time.Second

func (e *Engine) hand(t *task) {
	select {
	case <-e.stopped:
		t.done <- ErrStopped
	case e.work <- t:
	}
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

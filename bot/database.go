package bot

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/mattn/go-sqlite3"
	"go.mau.fi/util/dbutil"
	_ "go.mau.fi/util/dbutil/litestream" // registers SQLite with WAL and synchronous FULL
)

// What differs between the two databases, SQLite in the state directory and PostgreSQL on a server, is in this file; queries are
// such that both take them.

const (
	databaseFile = "starling.db"
	// storeFor is how long a commit on a server may take.
	storeFor = time.Minute
	// lockNumber is the lock that a bot holds on its database.
	lockNumber = 0x5374726c // "Strl"
	// lockFor is how long the server may take to see that a bot that was killed is gone.
	lockFor, lockEvery = 5 * time.Second, 20 * time.Millisecond
)

// errReplaced says that another process has taken the database over.
var errReplaced = errors.New("another Starling works on this database now: this one has stopped")

// IsPostgres is whether Config.Database can name a PostgreSQL server with it.
func IsPostgres(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
}

// openDatabase opens the database in a state directory, or the one on a server if server is not "". Fresh is whether nothing
// is in it yet; nothing was changed when an error is returned. known are the newest versions of each list of upgrades.
func openDatabase(dir, server string, noSync bool, known map[string]int) (db *dbutil.Database, fresh bool, err error) {
	if server != "" {
		return openPostgres(server, noSync, known)
	}
	path := filepath.Join(dir, databaseFile)
	_, statErr := os.Stat(path)
	if fresh = errors.Is(statErr, os.ErrNotExist); !fresh {
		if err := checkFile(path, known); err != nil {
			return nil, false, err
		}
	}
	kind := "sqlite3-fk-wal-fullsync"
	if noSync {
		kind = "sqlite3-fk-wal"
	}
	db, err = dbutil.NewFromConfig("starling", dbutil.Config{PoolConfig: dbutil.PoolConfig{
		Type: kind, URI: fileURI(path) + "?_txlock=immediate&_stmt_cache_size=200&_secure_delete=true", MaxOpenConns: 4, MaxIdleConns: 4,
	}}, dbutil.NoopLogger)
	return db, fresh, err
}

// makeFile makes the file of a fresh database: SQLite would let others read it.
func makeFile(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, databaseFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("the database cannot be made: %w", err)
	}
	return f.Close()
}

func openPostgres(server string, noSync bool, known map[string]int) (*dbutil.Database, bool, error) {
	cfg, err := pgx.ParseConfig(server)
	if err != nil {
		return nil, false, errors.New("the database's address is not understood") // the error would tell a password
	}
	for key, value := range map[string]string{
		"application_name": "starling", "statement_timeout": "30s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "60s",
		"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3", // a machine that is gone holds no lock
		"synchronous_commit": map[bool]string{false: "on", true: "off"}[noSync],
	} {
		cfg.RuntimeParams[key] = value
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	db, err := dbutil.NewWithDB(stdlib.OpenDB(*cfg), "pgx")
	if err != nil {
		return nil, false, err
	}
	db.Owner = "starling"
	db.RawDB.SetMaxOpenConns(6)
	db.RawDB.SetMaxIdleConns(4)
	fresh, err := isFresh(db.RawDB)
	if err == nil {
		err = checkVersions(db.RawDB, `SELECT to_regclass($1) IS NOT NULL`, known)
	}
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("the database cannot be used: %w", err), db.Close())
	}
	return db, fresh, nil
}

// checkServer refuses a server that cannot be reached, or whose database is a newer release's, without changing anything.
func checkServer(server string, known map[string]int) error {
	db, _, err := openPostgres(server, false, known)
	if err != nil {
		return err
	}
	return db.Close()
}

func isFresh(db *sql.DB) (bool, error) {
	var there bool
	err := db.QueryRow(`SELECT to_regclass('meta') IS NOT NULL`).Scan(&there)
	if err == nil && there {
		err = db.QueryRow(`SELECT EXISTS (SELECT 1 FROM meta WHERE key = 'instance')`).Scan(&there)
	}
	return !there, err
}

// fileURI names a file for SQLite, which would read signs of a URI in its path.
func fileURI(path string) string {
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
}

// checkFile refuses a database file that cannot be read or that a newer release wrote, without changing a byte of it.
func checkFile(path string, known map[string]int) error {
	db, err := sql.Open("sqlite3", fileURI(path)+"?mode=ro&_busy_timeout=5000")
	if err != nil {
		return err
	}
	defer db.Close()
	var result string
	if err := db.QueryRow(`PRAGMA quick_check(1)`).Scan(&result); err != nil {
		var lite sqlite3.Error
		if errors.As(err, &lite) && (lite.Code == sqlite3.ErrBusy || lite.Code == sqlite3.ErrLocked) {
			return fmt.Errorf("%w (the database file is locked)", ErrLocked)
		}
		return fmt.Errorf("%w (%v)", ErrDamaged, err)
	}
	if result != "ok" {
		return ErrDamaged
	}
	return checkVersions(db, `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1)`, known)
}

// checkVersions refuses a database of a newer release; isThere asks whether a table is there.
func checkVersions(db *sql.DB, isThere string, known map[string]int) error {
	for table, newest := range known {
		var exists bool
		if err := db.QueryRow(isThere, table).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			continue
		}
		var compat int
		err := db.QueryRow(`SELECT COALESCE(NULLIF(compat, 0), version) FROM "` + table + `"`).Scan(&compat)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w (%v)", ErrDamaged, err)
		}
		if compat > newest {
			return ErrNewerDatabase
		}
	}
	return nil
}

// tenure is one process's hold of a database on a server. Others can reach it too, and a connection can end in the middle of a
// COMMIT. So each commit moves a number that stands beside the process's name: who finds another's name has been replaced, and
// who did not hear what became of a commit looks how far the number came.
type tenure struct {
	process string
	commits int64
	lock    *sql.Conn // which holds the server's lock as long as it lasts; it tells who is late, the number alone protects
}

func (t *tenure) at(commits int64) string { return t.process + " " + strconv.FormatInt(commits, 10) }

// hold takes the server's lock, before anything of what is there is changed, its tables too; nil with SQLite.
func hold(ctx context.Context, db *dbutil.Database) (*tenure, error) {
	if db.Dialect != dbutil.Postgres {
		return nil, nil
	}
	conn, err := db.RawDB.Conn(ctx)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(lockEvery) {
		var free bool
		if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, lockNumber).Scan(&free); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		if free {
			return &tenure{process: rand.Text(), lock: conn}, nil
		}
		if time.Since(began) > lockFor {
			return nil, errors.Join(ErrLocked, conn.Close())
		}
	}
}

// takeOver makes this process the one that writes; its tables must be there.
func (t *tenure) takeOver(ctx context.Context, db *dbutil.Database) error {
	if t == nil {
		return nil
	}
	_, err := db.Exec(ctx, `INSERT INTO meta (key, value) VALUES ('writer', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, t.at(0))
	return err
}

// step makes a commit this process's next one.
func (t *tenure) step(ctx context.Context, db *dbutil.Database) error {
	if t == nil {
		return nil
	}
	result, err := db.Exec(ctx, `UPDATE meta SET value = $1 WHERE key = 'writer' AND value = $2`, t.at(t.commits+1), t.at(t.commits))
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return errReplaced
}

// landed finds out whether a commit, of which the server did not say what became of it, was made. It asks until it knows.
func (t *tenure) landed(db *dbutil.Database, stopped <-chan struct{}) (bool, error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), storeFor)
		var value string
		// A commit that is still under way holds the row.
		err := db.QueryRow(ctx, `SELECT value FROM meta WHERE key = 'writer' FOR UPDATE`).Scan(&value)
		cancel()
		switch {
		case err == nil && value == t.at(t.commits+1):
			return true, nil
		case err == nil && value == t.at(t.commits):
			return false, nil
		case err == nil:
			return false, errReplaced
		}
		select {
		case <-stopped:
			return false, ErrStopped
		case <-time.After(time.Second): // by the machine's clock, as servers go
		}
	}
}

func (t *tenure) end() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = t.lock.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, lockNumber) // else it goes with the connection
	if err := t.lock.Close(); err != nil && !errors.Is(err, driver.ErrBadConn) && !errors.Is(err, sql.ErrConnDone) {
		return err
	}
	return nil
}

// damaged is whether SQLite found that its file is no whole database.
func damaged(err error) bool {
	var lite sqlite3.Error
	return errors.As(err, &lite) && (lite.Code == sqlite3.ErrCorrupt || lite.Code == sqlite3.ErrNotADB)
}

// ours is whether an error is the database's own (full disk, lock, damage, a server that is away) and not the handler's.
func ours(err error) bool {
	var lite sqlite3.Error
	if errors.As(err, &lite) {
		switch lite.Code {
		case sqlite3.ErrConstraint, sqlite3.ErrError, sqlite3.ErrMismatch, sqlite3.ErrRange, sqlite3.ErrTooBig:
			return errors.Is(err, errStore)
		}
		return true
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code[:min(2, len(pg.Code))] {
		case "21", "22", "23", "25", "42", "54": // cardinality, data, constraint, a transaction that such an error ended, syntax, too big
			return errors.Is(err, errStore)
		}
		return true
	}
	var cannot *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &cannot) || errors.As(err, &network) {
		return true
	}
	for _, e := range []error{errStore, errReplaced, ErrStopped, context.Canceled, context.DeadlineExceeded, sql.ErrConnDone, sql.ErrTxDone, driver.ErrBadConn, io.ErrUnexpectedEOF} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

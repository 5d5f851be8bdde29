package bot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.mau.fi/util/dbutil"
)

// Moved says how much was copied.
type Moved struct {
	Tables int
	Rows   int
}

// skipped are tables that each database keeps for itself: who owns it and which version its tables have.
func skipped(table string) bool {
	return table == "database_owner" || table == "version" || strings.HasSuffix(table, "_version")
}

// ErrMoved says that a database is only what another was copied from.
var ErrMoved = errors.New("this database was moved with `starling migrate-to`, and another has gone on since: set [database] url as it said then, or move back from there")

// MigrateTo copies all that is kept to a database in which nothing is yet, and reads all of it again to compare. Nothing is there
// when that fails; when not, this database is only good for being looked at. The engine must not be running; to is what Config.Database would be, "" the file in the state directory.
func (e *Engine) MigrateTo(ctx context.Context, to string) (Moved, error) {
	if to == e.cfg.Database {
		return Moved{}, errors.New("the database is there already")
	}
	db, fresh, err := openDatabase(e.cfg.Dir, to, false, versions(e.caps))
	if err != nil {
		return Moved{}, err
	}
	defer db.Close()
	tenure, err := hold(ctx, db)
	if err != nil {
		return Moved{}, fmt.Errorf("the other database: %w", err)
	}
	defer tenure.end()
	if tenure != nil { // a bot may have been there until now
		if fresh, err = isFresh(db.RawDB); err != nil {
			return Moved{}, err
		}
	}
	if !fresh {
		return Moved{}, errors.New("there is something in the other database already: name an empty one")
	}
	if to == "" {
		if err := makeFile(e.cfg.Dir); err != nil {
			return Moved{}, err
		}
	}
	moved, err := e.moveTo(ctx, db)
	if err != nil && to == "" { // it was made here
		for _, end := range []string{"", "-wal", "-shm"} {
			if gone := os.Remove(filepath.Join(e.cfg.Dir, databaseFile+end)); !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}
	if err != nil {
		return Moved{}, err
	}
	return moved, e.Do(ctx, "moved", func(tx *Tx) error {
		return tx.Exec(`INSERT INTO meta (key, value) VALUES ('moved', $1)`, tx.now.UTC().Format(time.RFC3339))
	})
}

func (e *Engine) moveTo(ctx context.Context, db *dbutil.Database) (Moved, error) {
	if err := upgrade(ctx, db, e.caps); err != nil {
		return Moved{}, err
	}
	tables, err := e.allTables(ctx)
	if err != nil {
		return Moved{}, err
	}
	moved := Moved{Tables: len(tables)}
	err = db.DoTxn(ctx, nil, func(ctx context.Context) error {
		for _, table := range tables {
			n, err := e.copyTable(ctx, db, table)
			if err != nil {
				return fmt.Errorf("%s cannot be copied: %w", table, err)
			}
			moved.Rows += n
		}
		for _, table := range tables {
			if err := e.compareTable(ctx, db, table); err != nil {
				return err
			}
		}
		return nil
	})
	return moved, err
}

// allTables lists the tables that hold what is kept.
func (e *Engine) allTables(ctx context.Context) (all []string, err error) {
	list := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`
	if e.db.Dialect == dbutil.Postgres {
		list = `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`
	}
	rows, err := e.db.Query(ctx, list)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		if !skipped(name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all, rows.Err()
}

// eachRow reads a table in an order that both databases agree on, by its whole rows.
func eachRow(ctx context.Context, db *dbutil.Database, table string, columns []string, do func(values []any) error) error {
	query := `SELECT ` + strings.Join(columns, ", ") + ` FROM "` + table + `"`
	if table == "meta" { // who writes is a server's own business
		query += ` WHERE key <> 'writer'`
	}
	rows, err := db.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := do(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

// column is one of a table, and what its values are: SQLite forgets that of truth and text.
type column struct {
	name string
	kind reflect.Kind // Bool, String, Int64, or Slice for octets
}

// columnsOf reads what a table consists of, as it is declared.
func columnsOf(ctx context.Context, db *dbutil.Database, table string) (all []column, err error) {
	rows, err := db.Query(ctx, `SELECT * FROM "`+table+`" WHERE false`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	for _, t := range types {
		c := column{t.Name(), reflect.Slice}
		switch strings.ToUpper(t.DatabaseTypeName()) {
		case "BOOLEAN", "BOOL":
			c.kind = reflect.Bool
		case "TEXT":
			c.kind = reflect.String
		case "BIGINT", "INTEGER", "SMALLINT", "INT8", "INT4", "INT2":
			c.kind = reflect.Int64
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b column) int { return strings.Compare(a.name, b.name) })
	return all, rows.Err()
}

// of gives a value as what it is declared to be; every driver has forms of its own.
func (c column) of(value any) (any, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case []byte:
		if c.kind == reflect.String {
			return string(v), nil
		}
		if c.kind == reflect.Slice {
			return bytes.Clone(v), nil
		}
	case string:
		if c.kind == reflect.String {
			return v, nil
		}
		if c.kind == reflect.Slice {
			return []byte(v), nil
		}
	case bool:
		if c.kind == reflect.Bool {
			return v, nil
		}
	case int64:
		if c.kind == reflect.Int64 {
			return v, nil
		}
		if c.kind == reflect.Bool && (v == 0 || v == 1) {
			return v == 1, nil
		}
	}
	return nil, fmt.Errorf("column %s holds something else than it is for", c.name)
}

func names(columns []column) (all []string) {
	for _, c := range columns {
		all = append(all, `"`+c.name+`"`)
	}
	return all
}

// sameColumns makes sure that a table consists of the same there.
func (e *Engine) sameColumns(ctx context.Context, db *dbutil.Database, table string) ([]column, error) {
	here, err := columnsOf(ctx, e.db, table)
	if err != nil {
		return nil, err
	}
	there, err := columnsOf(ctx, db, table)
	if err == nil && !slices.Equal(here, there) {
		err = errors.New("the table is another one there")
	}
	return here, err
}

func (e *Engine) copyTable(ctx context.Context, db *dbutil.Database, table string) (n int, err error) {
	columns, err := e.sameColumns(ctx, db, table)
	if err != nil {
		return 0, err
	}
	var places []string
	for i := range columns {
		places = append(places, fmt.Sprint("$", i+1))
	}
	insert := `INSERT INTO "` + table + `" (` + strings.Join(names(columns), ", ") + `) VALUES (` + strings.Join(places, ", ") + `)`
	return n, eachRow(ctx, e.db, table, names(columns), func(values []any) error {
		n++
		for i, c := range columns {
			var err error
			if values[i], err = c.of(values[i]); err != nil {
				return err
			}
		}
		_, err := db.Exec(ctx, insert, values...)
		return err
	})
}

// compareTable makes sure that a table holds the same rows there, whatever their order.
func (e *Engine) compareTable(ctx context.Context, db *dbutil.Database, table string) error {
	columns, err := e.sameColumns(ctx, db, table)
	if err != nil {
		return err
	}
	left := map[[sha256.Size]byte]int{} // rows that were seen on one side only
	count := func(by int) func([]any) error {
		return func(values []any) error {
			var row strings.Builder
			for i, c := range columns {
				v, err := c.of(values[i])
				if err != nil {
					return err
				}
				fmt.Fprintf(&row, "%T %q\n", v, fmt.Sprint(v))
			}
			sum := sha256.Sum256([]byte(row.String()))
			if left[sum] += by; left[sum] == 0 {
				delete(left, sum)
			}
			return nil
		}
	}
	if err := errors.Join(eachRow(ctx, e.db, table, names(columns), count(1)), eachRow(ctx, db, table, names(columns), count(-1))); err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("%d rows of %s are not the same there: nothing was moved", len(left), table)
	}
	return nil
}

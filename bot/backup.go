package bot

import (
	"context"
	"database/sql"
	"fmt"

	"starling/locales"
)

// Snapshot writes the database in a file into another, as it is at one moment, whether or not an engine works on it.
func Snapshot(ctx context.Context, from, to string) error {
	db, err := sql.Open("sqlite3", fileURI(from)+"?mode=rw&_busy_timeout=30000")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, to); err != nil {
		return fmt.Errorf("the database cannot be read: %w", err)
	}
	return nil
}

// SetAsideWaiting takes back what waits to be said in a database that comes from a backup: it has most likely been said since,
// and a new device's homeserver does not know it again. What is to be deleted still is: that may come twice. Where it came from
// another room, as an alert does, that room is told when the engine next opens.
func SetAsideWaiting(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite3", fileURI(path)+"?mode=rw&_secure_delete=true&_sync=FULL")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `UPDATE outbox SET data = NULL, state = CASE WHEN kind = $1 AND record <> '' AND origin NOT IN (0, room) THEN $2 ELSE $3 END
		WHERE state = $4 AND kind <> $5`, string(OutMessage), stateUntold, stateSetAside, stateWaiting, string(OutDelete))
	if err != nil {
		err = fmt.Errorf("the backup's database cannot be used: %w", err)
	}
	if closed := db.Close(); err == nil {
		err = closed
	}
	return err
}

// restored tells rooms, once a record, what of theirs was set aside when this database was restored.
func (tx *Tx) restored() error {
	type sent struct {
		origin       RoomID
		record, code string
	}
	var all []sent
	if err := tx.Each(`SELECT DISTINCT o.origin, r.id, r.code FROM outbox o JOIN records r ON r.id = o.record AND r.latest WHERE o.state = $1 ORDER BY o.origin, r.id`,
		[]any{stateUntold}, func(row Row) error {
			var s sent
			err := row.Scan(&s.origin, &s.record, &s.code)
			all = append(all, s)
			return err
		}); err != nil {
		return err
	}
	for _, s := range all {
		if err := tx.sayAbout(s.origin, s.record, Restored{Code: locales.Code(s.code)}); err != nil {
			return err
		}
	}
	return tx.Exec(`UPDATE outbox SET state = $1 WHERE state = $2`, stateSetAside, stateUntold)
}

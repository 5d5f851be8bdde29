package bot

import (
	"context"
	"database/sql"
	"fmt"
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
// and a new device's homeserver does not know it again. What is to be deleted still is: that may come twice.
func SetAsideWaiting(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite3", fileURI(path)+"?mode=rw&_secure_delete=true&_sync=FULL")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `UPDATE outbox SET state = $1, data = NULL WHERE state = $2 AND kind <> $3`, stateSetAside, stateWaiting, string(OutDelete))
	if err != nil {
		err = fmt.Errorf("the backup's database cannot be used: %w", err)
	}
	if closed := db.Close(); err == nil {
		err = closed
	}
	return err
}

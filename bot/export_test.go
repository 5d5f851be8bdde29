package bot

import (
	"context"
	"database/sql"
	"time"
)

// LockNumber is the lock that a bot holds on its database.
const LockNumber = lockNumber

// EachConnection hands every connection to the database to do, while nobody else has one.
func (e *Engine) EachConnection(do func(*sql.Conn) error) error {
	e.writing.Lock()
	defer e.writing.Unlock()
	n := e.db.RawDB.Stats().MaxOpenConnections
	for range n {
		c, err := e.db.RawDB.Conn(context.Background())
		if err != nil {
			return err
		}
		defer c.Close()
		if err := do(c); err != nil {
			return err
		}
	}
	return nil
}

// LookAgain makes the engine look at the clock at least so often.
func (e *Engine) LookAgain(every time.Duration) {
	e.mu.Lock()
	e.lookAgain = every
	e.mu.Unlock()
	e.rearm(0)
}

package matrix

import (
	"context"
	"sync"
	"time"
)

// The clock can be wrong, and be set: bot/clock.go says what follows from that. What is kept here for a day would be lost with one leap.

const (
	// leap is how far the clock may move between two looks, which are a minute apart at most while the bot runs.
	leap = 24 * time.Hour
	// leapGrace is how long the clock is not believed after a leap. After a long absence it is the same: the bot cannot tell.
	leapGrace = time.Hour
)

// clock knows how far the clock is believed.
type clock struct {
	mu       sync.Mutex
	last     time.Time // when it was last looked at
	believed time.Time
	until    time.Time // when it is believed again after a leap
	back     bool      // it was set back
}

// look tells until when it has surely become, and whether that is what the clock says.
func (c *clock) look(now time.Time) (believed time.Time, sure bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall := now.Round(0) // what passed by the machine's own count is no leap of its clock
	c.back = c.back || wall.Before(c.last.Add(-time.Minute))
	c.last = wall
	ahead := wall.Sub(c.believed)
	if !c.believed.IsZero() && ahead > leap {
		if c.until.IsZero() {
			c.until = now.Add(leapGrace)
		}
		if now.Before(c.until) {
			return c.believed, false
		}
	}
	c.believed, c.until = wall, time.Time{}
	return now, true
}

// believed is until when it has surely become.
func (a *Adapter) believed() time.Time {
	t, _ := a.clock.look(a.cfg.Now())
	return t
}

// tooLong tells whether something is surely over since a time.
func (a *Adapter) tooLong(since time.Time, d time.Duration) bool { return a.believed().Sub(since) > d }

// notAhead brings back to now what a clock that was ahead has put into the future.
func (a *Adapter) notAhead(ctx context.Context) {
	now := a.cfg.Now()
	a.clock.look(now)
	a.clock.mu.Lock()
	back := a.clock.back
	a.clock.back = false
	a.clock.mu.Unlock()
	waits := leap // as long as a homeserver can want the bot to wait
	if back {
		waits = maxPause
	}
	if err := a.store.notAhead(ctx, now, waits); err != nil && ctx.Err() == nil {
		a.clock.mu.Lock()
		a.clock.back = a.clock.back || back
		a.clock.mu.Unlock()
		a.log.Warn().Err(clean(err)).Msg("What waits could not be put right after the clock was; trying again in a minute")
	}
}

func (s *store) notAhead(ctx context.Context, now time.Time, waits time.Duration) error {
	return s.txn(ctx, func(ctx context.Context) error {
		for _, query := range []string{
			`UPDATE matrix_held SET held_at = MIN(held_at, $1), told_at = MIN(told_at, $1) WHERE held_at > $1 OR told_at > $1`,
			`UPDATE matrix_room SET wanted_at = MIN(wanted_at, $1), next_try = $1 WHERE want <> '' AND next_try > $2`,
			`UPDATE matrix_gap SET opened_at = MIN(opened_at, $1), next_try = $1 WHERE next_try > $2`,
		} {
			if _, err := s.own.Exec(ctx, query, now.UnixMilli(), now.Add(waits).UnixMilli()); err != nil {
				return err
			}
		}
		return nil
	})
}

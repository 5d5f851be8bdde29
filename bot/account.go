package bot

import "time"

// Bounds of an account that a network keeps short of calls (Synapse as it ships: one message in five seconds).
const (
	// limitedFor is how long after a refusal the account is still taken to be short.
	limitedFor = time.Minute
	// slowCall is how long a call may take before, on such an account, another goes beside it.
	slowCall = 3 * time.Second
	// reckoned is how long after the beginning of a call a network may say how long to wait.
	reckoned = 100 * time.Millisecond
)

// account is how a network's account may send just now. While it is short, calls go one at a time, the most urgent first; the
// bot's own reactions are left out, counters wait until nothing else does, and answers are joined (join.go).
type account struct {
	closed   time.Time // nothing leaves before
	short    time.Time // until then it is short of calls
	refusals int       // in a row
	shown    time.Time // by then people see the alerts that were sent
}

// account gives an adapter's; the caller holds the lock.
func (d *dispatcher) account(adapter string) *account {
	a := d.accounts[adapter]
	if a == nil {
		a = &account{}
		d.accounts[adapter] = a
	}
	return a
}

// refused notes that the network wants no more calls from the account; the caller holds the lock. How long to wait was reckoned
// soon after the call began: Synapse holds a refusal back for half a second, which need not be waited for twice.
func (a *account) refused(began, now time.Time, after time.Duration) (wait time.Duration) {
	if wait = min(after, began.Add(after+reckoned).Sub(now)); after == 0 {
		wait = min(firstBackoff<<min(a.refusals, 10), longestBackoff)
	}
	a.refusals++
	if until := now.Add(wait); until.After(a.closed) {
		a.closed = until
	}
	a.short = a.closed.Add(limitedFor)
	return wait
}

// spare is whether a row is only an ornament: the message says what the reaction under it offers.
func (w *waiting) spare() bool { return w.kind == OutReaction && w.priority == PriorityDecoration }

// counts is whether a row only moves numbers.
func (w *waiting) counts() bool { return w.kind == OutEdit && w.priority == PriorityDecoration }

// oneByOne keeps of the rows that may leave, in their order, one for each account that is short, and none where a call is under way.
func (d *dispatcher) oneByOne(ready []*waiting, now time.Time, sooner func(time.Time)) []*waiting {
	taken := map[string]bool{}
	for _, q := range d.rooms {
		if q.call == nil || !now.Before(d.account(q.adapter).short) {
			continue
		}
		if now.Sub(q.since) < slowCall {
			taken[q.adapter] = true
			sooner(q.since.Add(slowCall))
		}
	}
	kept := ready[:0]
	counters := map[string]bool{}
	for _, w := range ready {
		adapter := d.rooms[w.room].adapter
		if !now.Before(d.account(adapter).short) {
			kept = append(kept, w)
			continue
		}
		if !w.counts() {
			counters[adapter] = true // something else could leave
		}
		if taken[adapter] || w.counts() && counters[adapter] {
			continue
		}
		taken[adapter] = true
		kept = append(kept, w)
	}
	return kept
}

// discard forgets what is spare on accounts that are short; the caller holds the lock.
func (d *dispatcher) discard(now time.Time) {
	var spare []*waiting
	for _, q := range d.rooms {
		if !now.Before(d.account(q.adapter).short) {
			continue
		}
		for _, lane := range q.lanes {
			for _, w := range lane {
				if w.spare() && !d.sending[w.id] && d.held[w.id] == 0 && !now.Before(w.retryAt) {
					d.sending[w.id] = true
					spare = append(spare, w)
				}
			}
		}
	}
	if len(spare) == 0 {
		return
	}
	d.e.goes(func() {
		err := d.e.Do(d.ctx, "decoration is left out", func(tx *Tx) error {
			for _, w := range spare {
				tx.dropped = append(tx.dropped, w.id)
				if err := tx.Exec(`DELETE FROM outbox WHERE id = $1 AND state = 0`, w.id); err != nil {
					return err
				}
			}
			return nil
		})
		d.mu.Lock()
		for _, w := range spare {
			delete(d.sending, w.id)
			if err != nil {
				w.retryAt = d.e.clock.Now().Add(storeAgain)
			}
		}
		d.mu.Unlock()
		d.wake()
	})
}

package bot

import (
	"strconv"
	"time"

	"starling/locales"
)

// Where a network deletes a room's messages after a while, what came from there lives no longer than they do: its records and their
// copies elsewhere, its dialogues, and what the bot remembers of its own messages.

// SettingTimer holds how long messages stay in a room, in seconds, as its people set it on their network; "" = for ever.
const SettingTimer = "timer"

// Timer is how long messages stay in the room; 0 = for ever.
func (r *Room) Timer() time.Duration {
	seconds, err := strconv.ParseInt(r.Settings[SettingTimer], 10, 64)
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, maxTimer)) * time.Second
}

const maxTimer = 366 * 24 * 3600 // seconds

func (r *Room) setTimer(d time.Duration) {
	if d <= 0 {
		delete(r.Settings, SettingTimer)
		return
	}
	r.Settings[SettingTimer] = strconv.FormatInt(max(1, int64(d/time.Second)), 10)
}

// last is when something that is kept from a room must be gone; until is when it would be otherwise, zero = never.
func (r *Room) last(now, until time.Time) time.Time {
	end := now.Add(r.Timer())
	if r.Timer() == 0 || !until.IsZero() && until.Before(end) {
		return until
	}
	return end
}

const timerVanish = "bot.vanish"

// vanishLate is how long after the messages it came from a record goes: its own room's are forgotten by then, and not deleted once more.
const vanishLate = time.Minute

// vanishesAt has a record go with the messages that it came from, whatever becomes of the room's timer.
func (t *Turn) vanishesAt(r *Record) error {
	return t.At(r.Expires.Add(vanishLate), timerVanish, r.ID)
}

// outlivesNothing bounds a record's next version by the messages that its first came from.
func (t *Turn) outlivesNothing(r *Record) error {
	var due int64
	found, err := t.One(`SELECT due FROM timers WHERE kind = $1 AND ref = $2`, []any{timerVanish, r.ID}, &due)
	if end := fromMillis(due).Add(-vanishLate); found && (r.Expires.IsZero() || r.Expires.After(end)) {
		r.Expires = end
	}
	return err
}

// vanish erases a record and its copies elsewhere.
func vanish(t *Turn, id string) error {
	if ok, err := t.mayErase(); err != nil {
		return err
	} else if !ok {
		return t.At(t.now.Add(eraseEvery), timerVanish, id)
	}
	if err := vanished(t.Tx, t.now); err != nil {
		return err
	}
	all, err := t.records(`r.id = $1 AND r.latest`, id)
	if err != nil || len(all) == 0 {
		return err
	}
	return t.erase(all[0])
}

// vanishes says once what the timer means for what has just been kept.
func (t *Turn) vanishes() error {
	r := t.vanishing
	t.vanishing = nil
	if r == nil || t.Person == nil {
		return nil
	}
	timer := t.Room.Timer()
	if here := t.Here.Timer(); timer == 0 || here != 0 && here < timer {
		timer = here
	}
	if first, err := t.Once("timer " + t.Room.Settings[SettingTimer] + " " + t.Here.Settings[SettingTimer] + " " + strconv.Itoa(int(t.Here.ID))); err != nil || !first {
		return err
	}
	return t.Done(Vanishes{Code: r.Code(), After: locales.Span(timer)})
}

// vanished forgets what the bot said in rooms whose messages do not stay.
func vanished(tx *Tx, now time.Time) error {
	return tx.Exec(`DELETE FROM outbox WHERE fades > 0 AND fades < $1`, now.UnixMilli())
}

// timerSweep erases what vanishes, but for records, as it vanishes: housekeeping may be an hour away.
const timerSweep = "bot.sweep"

// sweepAt has a sweep come when something vanishes; zero = it stays. One a minute is enough.
func (tx *Tx) sweepAt(vanishes time.Time) error {
	if vanishes.IsZero() {
		return nil
	}
	tx.timers = true
	return tx.Exec(`INSERT INTO timers (kind, ref, room, due) VALUES ($1,'',0,$2) ON CONFLICT (kind, ref) DO UPDATE SET due = excluded.due WHERE excluded.due < timers.due`,
		timerSweep, vanishes.Add(vanishLate).Truncate(vanishLate).UnixMilli())
}

func sweep(t *Turn, _ string) error {
	if ok, err := t.mayErase(); err != nil || !ok {
		return err // housekeeping does it
	}
	if err := vanished(t.Tx, t.now); err != nil {
		return err
	}
	if err := t.Exec(`DELETE FROM dialogues WHERE expires < $1`, t.now.UnixMilli()); err != nil {
		return err
	}
	for _, first := range []string{`SELECT COALESCE(MIN(fades), 0) FROM outbox WHERE fades > 0`, `SELECT COALESCE(MIN(expires), 0) FROM dialogues`} {
		var next int64
		if _, err := t.One(first, nil, &next); err != nil {
			return err
		}
		if err := t.sweepAt(fromMillis(next)); err != nil {
			return err
		}
	}
	return nil
}

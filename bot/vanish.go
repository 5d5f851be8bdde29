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
	rooms, err := tx.roomsWhere(`settings LIKE '%"` + SettingTimer + `":%'`)
	if err != nil {
		return err
	}
	for _, r := range rooms {
		if r.Timer() == 0 {
			continue
		}
		if err := tx.Exec(`DELETE FROM outbox WHERE state <> 0 AND room = $1 AND at < $2`, r.ID, now.Add(-r.Timer()).UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

package bot

import (
	"strconv"
	"time"
)

// A clock can be wrong, and be set: by NTP after a start without a battery, or by hand. Calls that failed are tried again by the time
// that passed, whatever the clock says; what is due at a time of day goes by the clock as it is now.
const (
	// lookAgain is how long the engine sleeps at most for the next timer: the clock may be set while it does.
	lookAgain = 30 * time.Second
	// leap is how far the clock may move between two looks at what is past its time, which are an hour apart.
	leap = 48 * time.Hour
	// leapGrace is how long nothing is erased after a leap: by then somebody has seen that the clock is wrong. After a long absence
	// it is the same: the bot cannot tell.
	leapGrace = 24 * time.Hour
	// away is how far apart two looks are only after a smaller leap, or when the bot was not running, and awayGrace how long nothing
	// is erased then: a machine that starts with a wrong clock has asked another by then, and what is truly past waits no longer.
	away, awayGrace = 2 * time.Hour, time.Hour
)

// mayErase is whether what is past its time by the clock may be erased.
func (tx *Tx) mayErase() (bool, error) {
	last, err := tx.metaTime("erased at")
	if err != nil {
		return false, err
	}
	until, err := tx.metaTime("erase after")
	if err != nil {
		return false, err
	}
	switch gap := tx.now.Sub(last); {
	case last.IsZero(): // the first time
	case gap > leap:
		until = tx.now.Add(leapGrace)
		tx.e.log.Warn().Msg("the clock leapt forward, or the bot was away for days: what is past its time is erased in a day")
	case gap > away && until.Before(tx.now.Add(awayGrace)):
		until = tx.now.Add(awayGrace)
	case gap < -time.Hour: // it was set back
		until = time.Time{}
	}
	if err := tx.setMetaTime("erased at", tx.now); err != nil {
		return false, err
	}
	return !tx.now.Before(until), tx.setMetaTime("erase after", until)
}

func (tx *Tx) metaTime(key string) (time.Time, error) {
	var text string
	found, err := tx.One(`SELECT value FROM meta WHERE key = $1`, []any{key}, &text)
	if err != nil || !found {
		return time.Time{}, err
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	return fromMillis(ms), err
}

func (tx *Tx) setMetaTime(key string, t time.Time) error {
	return tx.Exec(`INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, strconv.FormatInt(millis(t), 10))
}

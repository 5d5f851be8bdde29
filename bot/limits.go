package bot

import (
	"fmt"
	"time"
)

// Limits bound what is answered: messages a minute, by the time at which they were sent. 0 = without limit.
type Limits struct {
	Person int // commands, answers and reactions of one person
	Room   int // commands and answers in one room
}

const (
	// backlog is how many minutes' worth may arrive at once, as after an outage: senders' clocks say what they like.
	backlog = 10
	// believed is how far back a sender's clock is believed when what she said is counted.
	believed = 24 * time.Hour
	// maxBuckets bounds how many people and rooms are counted at a time.
	maxBuckets = 20_000
)

// bucket counts what one person, or one room, asks. It fills with the time at which things were said, so that who wrote one
// command an hour while the bot was away is answered all of them; and, ten times as large, with our own time. It lives in memory:
// after a restart everybody begins anew.
type bucket struct {
	sent, came time.Time // when it was last filled
	said, let  float64   // what is left, by the sender's time and by ours
	told       bool      // that it was too much
}

// limiter is used by the single writer alone.
type limiter struct {
	limits  Limits
	buckets map[string]*bucket
}

func newLimiter(l Limits) *limiter { return &limiter{limits: l, buckets: map[string]*bucket{}} }

// charge is something that was taken from a bucket, to be given back when it could not be stored.
type charge struct {
	b       *bucket
	told    bool
	adapter string // where it was said
}

// verdict says what becomes of a message.
type verdict int

const (
	heard  verdict = iota
	warned         // it is too much, and that is said
	unheard
)

// fill lets a bucket fill up until now.
func (b *bucket) fill(rate float64, sent, now time.Time) {
	if b.sent.After(now) { // the clock was put back
		b.sent, b.came = now, now
	}
	if sent.After(b.sent) {
		b.said = min(rate, b.said+sent.Sub(b.sent).Minutes()*rate)
		b.sent = sent
	}
	if now.After(b.came) {
		b.let = min(rate*backlog, b.let+now.Sub(b.came).Minutes()*rate)
	}
	b.came = now
	if min(b.said, b.let) >= rate/2 {
		b.told = false
	}
}

// take counts one message. What was sent before something that was counted already (another room's backlog) is only counted by our
// own time.
func (l *limiter) take(key string, perMinute int, sent, now time.Time) (v verdict, c charge) {
	if perMinute == 0 {
		return heard, charge{}
	}
	rate := float64(perMinute)
	b := l.buckets[key]
	if b == nil {
		l.prune(now)
		b = &bucket{sent: sent, came: now, said: rate, let: rate * backlog}
		l.buckets[key] = b
	}
	late := sent.Before(b.sent.Add(-time.Second))
	b.fill(rate, sent, now)
	switch {
	case b.let >= 1 && (late || b.said >= 1):
		if b.let--; !late {
			b.said--
		}
		return heard, charge{b: b}
	case b.told:
		return unheard, charge{}
	}
	b.told = true
	return warned, charge{b: b, told: true}
}

// refund gives back what was taken for something that comes again.
func (l *limiter) refund(all []charge) {
	for _, c := range all {
		switch {
		case c.b == nil:
		case c.told:
			c.b.told = false
		default:
			c.b.said, c.b.let = c.b.said+1, c.b.let+1
		}
	}
}

// prune forgets who has been quiet, and everybody where that is not enough.
func (l *limiter) prune(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	for key, b := range l.buckets {
		if now.Sub(b.came) > backlog*time.Minute {
			delete(l.buckets, key)
		}
	}
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
}

// limit counts something that a person said to the bot, and in a room where that is not 0, before anything is written because of
// it: what is not heard costs no more than ordinary talk.
func (tx *Tx) limit(in *Incoming, room RoomID) (v verdict, forRoom bool) {
	tx.meant = true
	l := tx.e.limiter
	sent := in.Sent
	if sent.IsZero() || sent.After(tx.now) {
		sent = tx.now
	}
	if first := tx.now.Add(-believed); sent.Before(first) {
		sent = first
	}
	v, c := l.take("person "+in.Adapter+" "+in.Person, l.limits.Person, sent, tx.now)
	c.adapter = in.Adapter
	tx.charged = append(tx.charged, c)
	if v == heard && room != 0 {
		v, c = l.take(fmt.Sprint("room ", room), l.limits.Room, sent, tx.now)
		tx.charged = append(tx.charged, c)
		forRoom = true
	}
	return v, forRoom
}

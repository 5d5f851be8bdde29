package rig

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"starling/bot"
)

// faults is what is wrong with a network just now.
type faults struct {
	down    map[string]time.Time     // by room: its server does not answer until then
	slow    map[string]time.Duration // by room: a call takes that long
	refuse  map[string]refusal       // by room
	limited time.Time                // the whole account must wait until then
	noKey   map[string]bool          // by room: what comes cannot be decrypted
	held    []bot.Incoming           // until its key comes
	crash   bool                     // the engine is about to crash
	asleep  int                      // calls that wait for the clock
}

type refusal struct {
	code string
	once bool
}

func newFaults() faults {
	return faults{down: map[string]time.Time{}, slow: map[string]time.Duration{}, refuse: map[string]refusal{}, noKey: map[string]bool{}}
}

// outgoing says what becomes of a call: an error, or how long it takes.
func (f *faults) outgoing(out bot.Outgoing, now time.Time) (time.Duration, error) {
	if now.Before(f.limited) {
		return 0, &bot.SendError{Err: errors.New("too many calls"), Account: true, After: f.limited.Sub(now)}
	}
	if now.Before(f.down[out.Room]) {
		return 0, errors.New("the server does not answer")
	}
	if r, ok := f.refuse[out.Room]; ok {
		if r.once {
			delete(f.refuse, out.Room)
		}
		return 0, &bot.SendError{Err: fmt.Errorf("refused: %s", r.code), Permanent: true, Gone: strings.EqualFold(r.code, "gone")}
	}
	return f.slow[out.Room], nil
}

// hold keeps what cannot be decrypted.
func (f *faults) hold(in bot.Incoming) bool {
	if !f.noKey[in.Room] {
		return false
	}
	f.held = append(f.held, in)
	return true
}

// Down makes a room's server not answer for so long.
func (n *Network) Down(room string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults.down[room] = n.clock.Now().Add(d)
}

// Slow makes every call for a room take so long; 0 ends that.
func (n *Network) Slow(room string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults.slow[room] = d
}

// Refuse makes calls for a room be refused for good: the next one, or all. The code "gone" says that the bot is no longer
// in it.
func (n *Network) Refuse(room, code string, once bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults.refuse[room] = refusal{code, once}
}

// Limit makes the whole account wait for so long (HTTP 429).
func (n *Network) Limit(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults.limited = n.clock.Now().Add(d)
}

// NoKey makes what is said in an encrypted room unreadable for the bot, until Key.
func (n *Network) NoKey(room string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults.noKey[room] = true
}

// Key brings the keys that were missing: what was said meanwhile arrives now.
func (n *Network) Key(room string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.faults.noKey, room)
	var rest []bot.Incoming
	for _, in := range n.faults.held {
		if in.Room != room {
			rest = append(rest, in)
			continue
		}
		in.Received = n.clock.Now()
		n.deliver(in)
	}
	n.faults.held = rest
}

// asleep is how many calls wait for the clock.
func (n *Network) asleep() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.faults.asleep
}

// crashing says that the engine is about to crash: calls then go one at a time, so that it always hits the same one.
func (n *Network) crashing(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults.crash = yes
}

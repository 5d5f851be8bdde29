package rig

import (
	"slices"
	"sync"
	"time"
)

// pulse wakes whoever waits for something on the rig to move.
type pulse struct {
	mu sync.Mutex
	ch chan struct{}
}

// next is closed at the next beat.
func (p *pulse) next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ch == nil {
		p.ch = make(chan struct{})
	}
	return p.ch
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ch != nil {
		close(p.ch)
		p.ch = nil
	}
}

// Clock is a bot.Clock that stands still until it is told to move.
type Clock struct {
	pulse *pulse

	mu      sync.Mutex
	now     time.Time
	waits   []*wait // by time, then in the order in which they were set
	running int     // callbacks under way
	begun   int     // callbacks ever begun
}

type wait struct {
	at time.Time
	f  func()
}

// NewClock is a clock that stands at now.
func NewClock(now time.Time) *Clock { return &Clock{now: now, pulse: &pulse{}} }

// Now is where the clock stands.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc implements bot.Clock. What is due at once is called at once.
func (c *Clock) AfterFunc(d time.Duration, f func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d <= 0 {
		c.call(f)
		return func() {}
	}
	w := &wait{at: c.now.Add(d), f: f}
	i := len(c.waits)
	for i > 0 && c.waits[i-1].at.After(w.at) {
		i--
	}
	c.waits = slices.Insert(c.waits, i, w)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waits = slices.DeleteFunc(c.waits, func(o *wait) bool { return o == w })
	}
}

// set puts the clock anywhere; nothing is called.
func (c *Clock) set(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = to
}

// call starts a callback; the caller holds the lock.
func (c *Clock) call(f func()) {
	c.running++
	c.begun++
	go func() {
		f()
		c.mu.Lock()
		c.running--
		c.mu.Unlock()
		c.pulse.beat()
	}()
}

// callbacks says how many are under way, and how many were ever begun.
func (c *Clock) callbacks() (running, begun int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running, c.begun
}

// step moves the clock to the next due time, but not past limit, and calls the first that is due then. It reports false
// when nothing is due until limit: the clock then stands there.
func (c *Clock) step(limit time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waits) == 0 || c.waits[0].at.After(limit) {
		if limit.After(c.now) {
			c.now = limit
		}
		return false
	}
	w := c.waits[0]
	c.waits = c.waits[1:]
	if w.at.After(c.now) {
		c.now = w.at
	}
	c.call(w.f)
	return true
}

// due is when the next callback is due; ok is false when there is none.
func (c *Clock) due() (at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waits) == 0 {
		return time.Time{}, false
	}
	return c.waits[0].at, true
}

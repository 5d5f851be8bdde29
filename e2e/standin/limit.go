package standin

import "time"

// Limit is what one account may send (messages, reactions, redactions, state), as a homeserver allows it. The zero value is no limit.
type Limit struct {
	Rate  float64       // a second
	Burst int           // at once
	Pause time.Duration // how long a refusal is held back, against clients that try again at once
}

// Synapse is what Synapse allows as it ships: rc_message, and the half second by which it delays a refusal.
func Synapse() Limit { return Limit{Rate: 0.2, Burst: 10, Pause: 500 * time.Millisecond} }

// Times is the same limit where time runs so much faster. Who goes by nothing but retry_after_ms sees no other difference.
func (l Limit) Times(n float64) Limit {
	return Limit{Rate: l.Rate * n, Burst: l.Burst, Pause: time.Duration(float64(l.Pause) / n)}
}

// Limit sets what accounts may send from now on; everybody begins with the whole burst.
func (s *Server) Limit(l Limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Limit = l
	for _, a := range s.accounts {
		a.meter = meter{}
	}
}

// meter is Synapse's limiter for one account, a leaky bucket as a meter (synapse/api/ratelimiting.py, can_do_action): what was
// allowed since the bucket was last empty, of which Rate a second has leaked since. A refusal is not counted.
type meter struct {
	count float64
	since time.Time
}

// take counts one action, or says how long to wait until one is allowed; that is rounded down to milliseconds, as Synapse does.
func (m *meter) take(now time.Time, l Limit) (wait time.Duration, ok bool) {
	if m.since.IsZero() {
		m.since = now
	}
	level := m.count - now.Sub(m.since).Seconds()*l.Rate
	if level < 0 {
		level, m.count, m.since = 0, 0, now
	}
	if level <= float64(l.Burst)-1 {
		m.count++
		return 0, true
	}
	allowed := m.since.Add(time.Duration((m.count - float64(l.Burst) + 1) / l.Rate * float64(time.Second)))
	return max(0, allowed.Sub(now)).Truncate(time.Millisecond), false
}

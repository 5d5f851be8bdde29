package matrix

import (
	"context"
	"sync"
	"time"

	"starling/bot"
)

// report is what the adapter notes of itself for operators.
type report struct {
	mu    sync.Mutex
	state bot.Report
}

func (r *report) note(change func(*bot.Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.state)
}

// Report implements bot.Reporter.
func (a *Adapter) Report() (now bot.Report) {
	a.noted.note(func(r *bot.Report) { now = *r })
	return now
}

// reached notes what came of an exchange with the homeserver.
func (a *Adapter) reached(err error) {
	a.noted.note(func(r *bot.Report) {
		r.Connected, r.Trouble = err == nil, ""
		if err != nil {
			r.Trouble = clean(err).Error() + "; the bot keeps trying, and what is to be said waits. `starling doctor` says more"
		}
	})
}

// received notes a batch that was stored.
func (a *Adapter) received(ctx context.Context, b *batch, now time.Time) {
	a.reached(nil)
	held, err := a.store.countHeld(ctx)
	a.noted.note(func(r *bot.Report) {
		if len(b.in) > 0 || len(b.held) > 0 {
			r.Received = now
		}
		if err == nil {
			r.Held = held
		}
	})
}

func (s *store) countHeld(ctx context.Context) (n int, err error) {
	err = s.own.QueryRow(ctx, `SELECT COUNT(*) FROM matrix_held`).Scan(&n)
	return
}

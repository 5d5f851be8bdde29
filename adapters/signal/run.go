package signal

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v6"

	"starling/bot"
)

const (
	// checkEvery is how often signal-cli must answer, checkFor how long it may take.
	checkEvery = 30 * time.Second
	checkFor   = 20 * time.Second
	// quietFor is how long nothing at all may come in after something went out (receipts alone make a sound), idleFor how long
	// without: signal-cli's receiving can end while everything else goes on. Nothing that an account could send comes back to the
	// device that sent it, so there is no better sign where signal-cli does not say it. To be wrong costs a start of signal-cli; one that
	// is not ours is only attached to anew, which may lose what comes just then, so it is given foreignly times as long.
	quietFor  = 3 * time.Minute
	idleFor   = 30 * time.Minute
	foreignly = 4
	// restFor is how long signal-cli may go on telling what it has begun with when the bot is to end.
	restFor = 5 * time.Second
	// downFor is how long signal-cli may be away until operators are told.
	downFor = 5 * time.Minute
)

// Run implements bot.Adapter: it keeps a link to signal-cli and hands over what comes in.
func (a *Adapter) Run(ctx context.Context, in bot.Inbox) error {
	a.mu.Lock()
	a.inbox = in
	a.mu.Unlock()
	if a.daemon != nil {
		defer a.daemon.stop()
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 500*time.Millisecond, time.Minute
	var since time.Time // when the trouble began
	for ctx.Err() == nil {
		began := time.Now()
		err := a.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > time.Minute {
			pause.Reset()
			since = time.Time{}
		}
		if since.IsZero() {
			since = began
		}
		if a.daemon != nil && isClosed(a.daemon.wearsOut()) {
			a.daemon.kill()
			a.log.Info().Msg("signal-cli is started afresh")
			wait(ctx, pause.NextBackOff())
			continue
		}
		a.log.Warn().Err(err).Msg("No link to signal-cli")
		a.mu.Lock()
		a.report.Connected = false
		if a.report.Trouble == "" || !errors.Is(err, errUnlinked) {
			a.report.Trouble = err.Error()
		}
		a.mu.Unlock()
		if errors.Is(err, errUnlinked) {
			a.unlinked(ctx)
		} else if time.Since(since) > downFor {
			a.tellSoon(ctx, "", &bot.Notice{Message: Down{}, Key: "down", Again: 6 * time.Hour, Operators: true})
		}
		if errors.Is(err, errHangs) && a.daemon != nil {
			a.daemon.stop()
		}
		wait(ctx, pause.NextBackOff())
	}
	return ctx.Err()
}

// errHangs says that signal-cli is there and does nothing.
var errHangs = errors.New("signal-cli hangs")

// session is one link, from its beginning to its end.
func (a *Adapter) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	open := func() (link, error) { return dial(ctx, a.cfg.Address) }
	if a.daemon != nil {
		open = func() (link, error) { return a.daemon.open(ctx) }
	}
	l, err := open()
	if err != nil {
		return err
	}
	defer l.close()
	if err := a.meet(ctx, l); err != nil {
		return err
	}
	a.mu.Lock()
	a.link, a.report.Connected, a.report.Trouble, a.spoke = l, true, "", time.Now()
	close(a.up)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.link, a.up = nil, make(chan struct{})
		a.mu.Unlock()
	}()
	if err := a.learn(ctx); err != nil {
		return err
	}
	a.log.Info().Msg("Linked to signal-cli")
	go a.watch(ctx, l, cancel)
	// What was told is taken in whatever ends the link, for signal-cli tells it once.
	work, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	defer context.AfterFunc(ctx, func() { wait(work, restFor); done() })()
	err = a.receive(ctx, work, l)
	cause := context.Cause(ctx)
	if cause == nil {
		return err
	}
	if !errors.Is(cause, errHangs) {
		l.finish()
		_ = a.receive(work, work, l) // it ends, as it should
	}
	return cause
}

// receive hands over what comes until ctx or the link ends, and what has come by then; work is for the handing over.
func (a *Adapter) receive(ctx, work context.Context, l link) error {
	for work.Err() == nil {
		raw, err := l.next(ctx)
		if err != nil {
			return err
		}
		a.heard()
		if err := a.takeSafely(work, raw); err != nil {
			return err
		}
	}
	return work.Err()
}

// takeSafely takes one message in. What cannot be done because signal-cli refuses or has gone is logged: it would be refused again,
// and the end of a link is seen when all that it told is taken in.
func (a *Adapter) takeSafely(ctx context.Context, raw json.RawMessage) error {
	err := a.take(ctx, raw)
	if a.daemon != nil {
		a.daemon.forget(raw)
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, bot.ErrStopped) {
		return err
	}
	a.log.Warn().Err(err).Msg("what a message needed could not be had from signal-cli")
	return nil
}

// meet finds out whether the account is linked, and who it is.
func (a *Adapter) meet(ctx context.Context, l link) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.checkFor, errHangs)
	defer cancel()
	ok, err := a.holds(ctx, l)
	if err != nil {
		return hangs(ctx, err)
	}
	if !ok {
		return errUnlinked
	}
	var own []who
	if err := a.ask(ctx, l, "listIdentities", map[string]any{"number": a.cfg.Account}, &own); err != nil {
		return hangs(ctx, err)
	}
	for _, o := range own {
		if o.Number == a.cfg.Account && IsPerson(o.UUID) {
			a.mu.Lock()
			a.me = o.UUID
			a.mu.Unlock()
			return nil
		}
	}
	return errUnlinked
}

func hangs(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errHangs
	}
	if errors.Is(err, context.Canceled) {
		return context.Cause(ctx)
	}
	return err
}

// holds is whether signal-cli has the account. One that was unlinked while signal-cli ran is only missing from its list.
func (a *Adapter) holds(ctx context.Context, l link) (bool, error) {
	var all []who
	if err := l.call(ctx, "listAccounts", map[string]any{}, &all); err != nil {
		return false, err
	}
	for _, w := range all {
		if w.Number == a.cfg.Account {
			return true, nil
		}
	}
	return false, nil
}

func (a *Adapter) hasAccount(ctx context.Context) (bool, error) {
	l, err := a.linked(ctx)
	if err != nil {
		return false, err
	}
	return a.holds(ctx, l)
}

// watch ends a link on which signal-cli no longer answers, has lost the account, or tells nothing any more.
func (a *Adapter) watch(ctx context.Context, l link, end context.CancelCauseFunc) {
	tick := time.NewTicker(a.checkEvery)
	defer tick.Stop()
	var worn <-chan struct{}
	if a.daemon != nil {
		worn = a.daemon.wearsOut()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-worn:
			a.retire()
			return
		case <-tick.C:
		}
		check, cancel := context.WithTimeout(ctx, a.checkFor)
		ok, err := a.holds(check, l)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, context.DeadlineExceeded):
			end(errHangs)
			return
		case err == nil && !ok:
			end(errUnlinked)
			return
		}
		if a.deaf() && a.daemon != nil {
			a.daemon.wear()
			continue
		}
		if a.deaf() {
			end(errors.New("signal-cli has told nothing for long; attaching anew"))
			return
		}
		if err := a.again(ctx); err != nil {
			a.log.Warn().Err(err).Msg("An invitation could not be answered")
		}
		a.mu.Lock()
		if !time.Now().Before(a.refused) && a.report.Connected {
			a.report.Trouble = ""
		}
		a.mu.Unlock()
	}
}

// retire ends the bot's own signal-cli: calls under way end first, and what it told is still taken in, for the link is not closed from
// here.
func (a *Adapter) retire() {
	late := time.AfterFunc(stopFor, a.daemon.kill) // a call that hangs holds nothing up
	a.calling.Lock()
	defer a.calling.Unlock()
	if late.Stop() {
		a.daemon.kill()
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// deaf is whether signal-cli may have stopped receiving.
func (a *Adapter) deaf() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	quiet, idle := quietFor, idleFor
	if a.daemon == nil {
		quiet, idle = foreignly*quiet, foreignly*idle
	}
	return time.Since(a.spoke) > idle || a.sent.After(a.spoke) && time.Since(a.sent) > quiet
}

func (a *Adapter) heard() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spoke = time.Now()
	a.report.Received = a.spoke
}

func (a *Adapter) leftNow() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if !a.sent.After(a.spoke) {
		a.sent = now // the first that was not answered by any sound
	}
	a.report.Sent = now
}

func (a *Adapter) self() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.me
}

func (a *Adapter) box() bot.Inbox {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inbox
}

// wait waits; false when ctx ends meanwhile.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

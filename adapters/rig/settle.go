package rig

import (
	"context"
	"fmt"
	"time"

	"starling/bot"
)

// Settle waits until all has happened that can happen without moving the clock on which the engine and the networks run:
// what is under way then waits for its time. It returns bot.ErrStopped when the engine has stopped.
func Settle(ctx context.Context, e *bot.Engine, clock *Clock, nets ...*Network) error {
	return settle(ctx, e, clock, nil, nets)
}

func settle(ctx context.Context, e *bot.Engine, clock *Clock, beside *outside, nets []*Network) error {
	still := func() bool { return still(e, clock, beside, nets) }
	for {
		select {
		case <-e.Stopped():
			return bot.ErrStopped
		default:
		}
		moved := clock.pulse.next()
		if still() {
			return nil
		}
		waiting, cancel := context.WithCancel(ctx)
		go func() {
			select {
			case <-moved:
				cancel()
			case <-waiting.Done():
			}
		}()
		// What it returns does not matter: the loop looks for itself.
		_ = e.Wait(waiting, func(bot.Status) bool { return still() })
		cancel()
		if ctx.Err() != nil {
			return fmt.Errorf("not settled (%+v): %w", e.Status(), ctx.Err())
		}
	}
}

// still is whether nothing moves: all that is under way waits for the clock. What could set the engine going is counted before
// and after it is looked at, so that nothing can slip through between.
func still(e *bot.Engine, clock *Clock, beside *outside, nets []*Network) bool {
	around := func() (running, ever, sleeping int) {
		running, ever = clock.callbacks()
		if beside != nil {
			sleeping = beside.sleeping()
		}
		for _, n := range nets {
			now, all := n.waiting()
			running, ever = running+now, ever+all
			sleeping += n.asleep()
		}
		return running, ever, sleeping
	}
	running, before, sleeping := around()
	s := e.Status()
	_, after, _ := around()
	select {
	case <-e.Stopped():
		return false
	default:
	}
	return running == 0 && before == after && s.Inbox == 0 && s.Ready == 0 && s.Sending+s.Jobs-s.Resting == sleeping
}

// Advance moves the clock on, to each due time in order; what falls due has settled before the next is called.
func Advance(ctx context.Context, e *bot.Engine, clock *Clock, by time.Duration, nets ...*Network) error {
	to := clock.Now().Add(by)
	for clock.step(to) {
		if err := Settle(ctx, e, clock, nets...); err != nil {
			return err
		}
	}
	return nil
}

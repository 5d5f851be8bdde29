package matrix

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v6"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

const (
	// roomsPerDay is how many invitations of one person are taken in a day, unless the operator named that very person.
	roomsPerDay = 3
	// tryFor is how long joining and leaving is tried: over federation both can fail at first.
	tryFor = 24 * time.Hour
	// maxPause is the longest pause between two tries, unless the homeserver wants a longer one.
	maxPause = 10 * time.Minute
	// tombstoneFor is how long an invitation is left open to a room that says it replaces one where the bot is: over federation it
	// can come before the tombstone.
	tombstoneFor = time.Minute
)

// mayInvite tells whether the operator lets a person invite the bot.
func (a *Adapter) mayInvite(person id.UserID) bool {
	for _, rule := range a.cfg.Invite {
		switch {
		case rule == "*" && person != "",
			strings.HasPrefix(rule, ":") && person.Homeserver() == rule[1:],
			strings.HasPrefix(rule, "@") && person.String() == rule:
			return true
		}
	}
	return false
}

// invitation decides about an invitation: it is accepted or declined, by an errand that outlives a crash.
func (a *Adapter) invitation(ctx context.Context, in bot.Inbox, b *batch, rid id.RoomID, state []*event.Event) error {
	r, err := b.room(ctx, a.store, rid)
	if err != nil {
		return err
	}
	if r.Membership == invited && r.Inviter != "" {
		return nil // the same invitation again
	}
	inviter, direct := a.inviter(state)
	via := inviter.Homeserver()
	upgraded, err := a.upgraded(ctx, b, rid)
	if err != nil {
		return err
	}
	may := a.mayInvite(inviter)
	ok := may
	if len(upgraded) > 0 {
		ok = inviter != "" // by its tombstone the old room has said yes
	} else if ok && !slices.Contains(a.cfg.Invite, inviter.String()) {
		if ok, err = in.InviterAllowance(ctx, Name, inviter.String(), roomsPerDay); err != nil {
			return err
		}
	}
	if !ok {
		a.log.Info().Str("room", a.cfg.Hash(rid.String())).Str("inviter", a.cfg.Hash(inviter.String())).Msg("An invitation was declined")
		when := a.cfg.Now()
		if soon, err := a.mayFollow(ctx, state); err != nil {
			return err
		} else if soon {
			when = when.Add(tombstoneFor)
		}
		b.errands = append(b.errands, func(ctx context.Context) error { return a.store.want(ctx, rid, wantLeave, via, when) })
		return nil
	}
	if may {
		r.Inviter = inviter
	}
	r.Membership, r.Marked = invited, r.Marked || direct
	r.Encrypted = r.Encrypted || slices.ContainsFunc(state, func(evt *event.Event) bool { return evt.Type.Type == event.StateEncryption.Type })
	b.want(a, rid, wantJoin, via)
	return nil
}

// inviter reads who invites the bot, and whether to a direct chat. It is nobody where that is not clear: the state that comes with
// an invitation is put together by the inviting homeserver, and nothing proves it.
func (a *Adapter) inviter(state []*event.Event) (inviter id.UserID, direct bool) {
	var found *event.Event
	for _, evt := range state {
		if evt.Type.Type != event.StateMember.Type || evt.StateKey == nil || *evt.StateKey != a.me.String() {
			continue
		}
		if found != nil && (evt.Sender != found.Sender || !reflect.DeepEqual(evt.Content.Raw, found.Content.Raw)) {
			return "", false
		}
		found = evt
	}
	if found == nil || found.Content.Raw["membership"] != string(event.MembershipInvite) {
		return "", false
	}
	direct, _ = found.Content.Raw["is_direct"].(bool)
	return found.Sender, direct
}

func nudge(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// runErrands joins and leaves rooms, each with its own patience. Whether it worked is told by the next sync.
func (a *Adapter) runErrands(ctx context.Context) {
	for {
		wait := a.doErrands(ctx)
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-time.After(wait):
		}
	}
}

// doErrands does what is due, side by side, and tells how long until more is.
func (a *Adapter) doErrands(ctx context.Context) time.Duration {
	const atOnce = 8
	list, err := a.store.errands(ctx)
	if err != nil {
		a.log.Warn().Err(clean(err)).Msg("Rooms to join or leave could not be read")
		return time.Minute
	}
	now := a.cfg.Now()
	wait := time.Minute
	var group sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, e := range list {
		if d := e.NextTry.Sub(now); d > 0 {
			wait = min(wait, d)
			break
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := a.doErrand(ctx, e); err != nil && ctx.Err() == nil {
				a.log.Warn().Err(clean(err)).Msg("What became of a room to join or leave could not be stored")
			}
		})
		wait = 0
	}
	group.Wait()
	if wait == 0 {
		wait = time.Second
	}
	return wait
}

func (a *Adapter) doErrand(ctx context.Context, e errand) error {
	callCtx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var err error
	if e.Want == wantJoin {
		err = a.join(callCtx, e)
	} else {
		err = a.leave(callCtx, e.Room)
	}
	now := a.cfg.Now()
	switch {
	case err == nil && e.Want == wantLeave:
		return a.store.endErrand(ctx, e)
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case a.tooLong(e.WantedAt, tryFor):
		a.log.Warn().Str("room", a.cfg.Hash(e.Room.String())).Str("what", e.Want).Msg("A room could not be joined or left for a day; given up")
		return a.giveUp(ctx, e)
	}
	wait := pause(e.Tries)
	if err == nil {
		wait = time.Minute // joined: should the join not come down in a sync, ask again
	} else {
		wait = max(wait, retryAfter(err))
		a.log.Info().Err(clean(err)).Str("room", a.cfg.Hash(e.Room.String())).Str("what", e.Want).Dur("again_in", wait).Msg("A room cannot be joined or left yet")
	}
	e.Tries++
	e.NextTry = now.Add(wait)
	return a.store.putErrand(ctx, e)
}

// pause is how long to wait after so many tries and one.
func pause(tries int) time.Duration {
	growing := backoff.NewExponentialBackOff()
	growing.InitialInterval, growing.MaxInterval = time.Second, maxPause
	wait := growing.NextBackOff()
	for range min(tries, 20) {
		wait = growing.NextBackOff()
	}
	return wait
}

// giveUp forgets an invitation that could not be taken, so that the next one counts again, and has it told.
func (a *Adapter) giveUp(ctx context.Context, e errand) error {
	r, err := a.store.room(ctx, e.Room)
	if err != nil {
		return err
	}
	if e.Want != wantJoin || r.Membership != invited {
		return a.store.endErrand(ctx, e)
	}
	return a.store.txn(ctx, func(ctx context.Context) error {
		return errors.Join(
			a.store.putRoom(ctx, &room{ID: r.ID, Membership: left, Encrypted: r.Encrypted}),
			a.store.want(ctx, r.ID, wantWord, "", a.cfg.Now()),
		)
	})
}

// GaveUp says that a room could not be joined to which the bot was invited, or which replaced another; Here is said in that other.
type GaveUp struct{ Replaced, Here bool }

func (a *Adapter) tellGivenUp(ctx context.Context, in bot.Inbox) error {
	rooms, err := a.store.givenUp(ctx)
	if err != nil {
		return err
	}
	for _, rid := range rooms {
		key := "gave up " + rid.String()
		upgraded, err := a.upgraded(ctx, newBatch(), rid)
		if err != nil {
			return err
		}
		var word []bot.Incoming
		for _, old := range upgraded {
			one, err := a.notice(ctx, old, key, func(here bool) any { return GaveUp{Replaced: true, Here: here} })
			if err != nil {
				return err
			}
			word = append(word, one)
		}
		if len(word) == 0 {
			word = append(word, a.operators(key, GaveUp{}))
		}
		if err := in.Deliver(ctx, word...); err != nil {
			return err
		}
		if err := a.store.wantNothing(ctx, rid); err != nil {
			return err
		}
	}
	return nil
}

func (a *Adapter) join(ctx context.Context, e errand) error {
	var via []string
	if e.Via != "" {
		via = append(via, e.Via)
	}
	return a.speak(ctx, func(cli *mautrix.Client) error {
		_, err := cli.JoinRoom(ctx, e.Room.String(), &mautrix.ReqJoinRoom{Via: via})
		return err
	})
}

// leave leaves a room or declines an invitation. A room in which the bot is not counts as left.
func (a *Adapter) leave(ctx context.Context, rid id.RoomID) error {
	err := a.speak(ctx, func(cli *mautrix.Client) error {
		_, err := cli.LeaveRoom(ctx, rid)
		return err
	})
	if hasCode(err, "M_FORBIDDEN", "M_NOT_FOUND") {
		return nil
	}
	return err
}

package matrix

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/util/dbutil"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
	"starling/locales"
)

// A timeline that the homeserver has cut short leaves a gap. It is read at once, before what follows; where that fails, the other
// rooms do not wait: the gap is remembered, tried again beside the sync, and what stands in it is handed over late.

const (
	// gapAge is how far a gap may reach back before the bot was last there: what came late over federation bears an older date.
	gapAge    = 24 * time.Hour
	gapPages  = 100
	gapEvents = 100 // a page
	// gapNow is how long all rooms wait for the gap of one.
	gapNow = 10 * time.Second
	// gapFor is how long a gap is tried. Then its room hears that something is missing.
	gapFor = 24 * time.Hour
	// gapsAtOnce bounds what of gaps is in memory.
	gapsAtOnce = 4
)

// Missed says that what was said in a room could not be read.
type Missed struct{ From, Until locales.Time }

// gap is a part of a room's timeline that has not been read. A room has one: what is missed while it is open belongs to it, and so
// does what came between; that is read twice, and the engine knows it by its ids.
type gap struct {
	Room         id.RoomID
	From         string
	Last         id.EventID
	Since, Until time.Time
	OpenedAt     time.Time
	NextTry      time.Time
	Tries        int
}

// gapBefore reads what a limited timeline has left out, or leaves it for later.
func (a *Adapter) gapBefore(ctx context.Context, b *batch, r *room, from string) ([]*event.Event, error) {
	now := a.cfg.Now()
	since, err := a.store.seenAt(ctx)
	if err != nil {
		return nil, err
	}
	if since.After(now) {
		since = now
	}
	g, err := a.store.gap(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if g != nil {
		g.From, g.Until = from, now
		b.gaps[r.ID] = *g
		return nil, nil
	}
	g = &gap{Room: r.ID, From: from, Last: r.LastEvent, Since: since, Until: now, OpenedAt: now, NextTry: now}
	if len(b.gaps) > 0 { // another was not to be had: no second one holds up all rooms
		b.gaps[r.ID] = *g
		return nil, nil
	}
	callCtx, cancel := context.WithTimeout(ctx, gapNow)
	defer cancel()
	found, word, err := a.fillGap(callCtx, *g)
	switch {
	case err == nil:
		b.in = append(b.in, word...)
		return found, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	a.postpone(g, err)
	b.gaps[r.ID] = *g
	return nil, nil
}

// noEntry tells that the homeserver will not give the room's past.
func noEntry(err error) bool {
	return hasCode(err, "M_FORBIDDEN", "M_NOT_FOUND")
}

func (a *Adapter) postpone(g *gap, err error) {
	wait := max(pause(g.Tries), retryAfter(err))
	a.log.Warn().Err(clean(err)).Str("room", a.cfg.Hash(g.Room.String())).Dur("again_in", wait).Msg("What was said while the bot was away cannot be read yet")
	g.Tries++
	g.NextTry = a.cfg.Now().Add(wait)
}

// missed tells a room what of it will not be read any more.
func (a *Adapter) missed(g gap) bot.Incoming {
	a.log.Warn().Str("room", a.cfg.Hash(g.Room.String())).Msg("What was said while the bot was away could not be read; the room is told")
	in := a.operators("missed "+g.From, Missed{From: locales.Time{At: g.Since}, Until: locales.Time{At: g.Until}})
	in.Room, in.Notice.Operators = g.Room.String(), false
	return in
}

// fillGap fetches what stands in a gap: back to the newest event that was handed over, and to the end of that
// page, because events that came late over federation stand further back. Whoever sends an event sets its date: what claims to be
// old is passed over, and hides nothing that stands behind it, unless a whole page does. What of the gap is not to be had, or too
// much, its room is to hear of in word.
func (a *Adapter) fillGap(ctx context.Context, g gap) (found []*event.Event, word []bot.Incoming, err error) {
	oldest := g.Since.Add(-gapAge).UnixMilli()
	filter, err := json.Marshal(map[string]any{"types": timelineTypes})
	if err != nil {
		return nil, nil, err
	}
	from := g.From
pages:
	for n := 1; ; n++ {
		page, err := a.gapPage(ctx, g.Room, from, string(filter))
		if noEntry(err) {
			return nil, []bot.Incoming{a.missed(g)}, nil
		} else if err != nil {
			return nil, nil, err
		}
		known, fresh := false, false
		var reached time.Time
		for _, evt := range *page.Chunk {
			evt.RoomID = g.Room
			switch {
			case a.isOwnJoin(evt, true):
				break pages
			case evt.ID == g.Last:
				known = true
			case evt.Timestamp < oldest:
			default:
				fresh, reached = true, time.UnixMilli(evt.Timestamp)
				if evt.StateKey == nil {
					found = append(found, evt)
				}
			}
		}
		if known || !fresh || page.End == "" || page.End == from {
			break
		}
		if n == gapPages {
			if reached.After(g.Since) && reached.Before(g.Until) { // any other date says nothing about how far it came
				g.Until = reached
			}
			word = append(word, a.missed(g))
			break
		}
		from = page.End
	}
	slices.Reverse(found)
	return found, word, nil
}

type gapPage struct {
	Chunk *events `json:"chunk"`
	End   string  `json:"end"`
}

// gapPage fetches one page of a room's past, the newest event first.
func (a *Adapter) gapPage(ctx context.Context, rid id.RoomID, from, filter string) (page gapPage, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	u := a.cli.BuildURLWithQuery(mautrix.ClientURLPath{"v3", "rooms", rid, "messages"}, map[string]string{
		"dir": "b", "from": from, "limit": strconv.Itoa(gapEvents), "filter": filter,
	})
	err = a.fetch(ctx, u, &page)
	if err == nil && page.Chunk == nil {
		err = errNotMatrix
	}
	return page, err
}

// runGaps tries open gaps again.
func (a *Adapter) runGaps(ctx context.Context, in bot.Inbox) {
	for {
		wait := a.doGaps(ctx, in)
		select {
		case <-ctx.Done():
			return
		case <-a.gapOpened:
		case <-time.After(wait):
		}
	}
}

// doGaps tries what is due and tells how long until more is.
func (a *Adapter) doGaps(ctx context.Context, in bot.Inbox) time.Duration {
	list, err := a.store.openGaps(ctx)
	if err != nil {
		a.log.Warn().Err(clean(err)).Msg("What has not been read yet of rooms could not be looked up")
		return time.Minute
	}
	now := a.cfg.Now()
	wait := time.Minute
	var group sync.WaitGroup
	var failed atomic.Bool
	slots := make(chan struct{}, gapsAtOnce)
	for _, g := range list {
		if d := g.NextTry.Sub(now); d > 0 {
			wait = min(wait, d)
			break
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := a.tryGap(ctx, in, g); err != nil && ctx.Err() == nil {
				failed.Store(true)
				a.log.Warn().Err(clean(err)).Msg("What was said while the bot was away could not be handed over or stored; trying again in a minute")
			}
		})
		wait = time.Second
	}
	group.Wait()
	if failed.Load() { // no new time to try could be stored
		return time.Minute
	}
	return wait
}

func (a *Adapter) tryGap(ctx context.Context, in bot.Inbox, g gap) error {
	found, word, err := a.fillGap(ctx, g)
	switch {
	case err == nil:
		return a.closeGap(ctx, in, g, found, word...)
	case ctx.Err() != nil:
		return ctx.Err()
	case a.tooLong(g.OpenedAt, gapFor):
		return a.closeGap(ctx, in, g, nil, a.missed(g))
	}
	a.postpone(&g, err)
	return a.store.postponeGap(ctx, g)
}

// closeGap hands over what stood in a gap, unless the room was left or has missed more in the meantime.
func (a *Adapter) closeGap(ctx context.Context, in bot.Inbox, g gap, found []*event.Event, word ...bot.Incoming) error {
	a.reading.Lock()
	defer a.reading.Unlock()
	open, err := a.store.gap(ctx, g.Room)
	if err != nil || open == nil || open.From != g.From {
		return err
	}
	token, err := a.store.syncToken(ctx)
	if err != nil {
		return err
	}
	b := newBatch()
	b.in = word
	r, err := b.room(ctx, a.store, g.Room)
	if err != nil {
		return err
	}
	if err := a.knowSenders(ctx, found); err != nil {
		return err
	}
	err = a.store.txn(ctx, func(ctx context.Context) error {
		v := &visit{a: a, b: b, r: r, announced: true}
		for _, evt := range found {
			if err := v.read(ctx, evt, true); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if name, down := a.fenced[g.Room]; down {
		b.fences[g.Room] = name
	}
	b.errands = append(b.errands, func(ctx context.Context) error { return a.store.endGap(ctx, g.Room) })
	if err := a.handOver(ctx, in, b, token); err != nil {
		return err
	}
	delete(a.fenced, g.Room)
	return nil
}

// seenAt is when the bot last had all that the homeserver had for it, zero where it never did.
func (s *store) seenAt(ctx context.Context) (time.Time, error) {
	var ms int64
	err := s.own.QueryRow(ctx, `SELECT seen_at FROM matrix_session WHERE id = 1`).Scan(&ms)
	if err != nil || ms == 0 {
		return time.Time{}, err
	}
	return time.UnixMilli(ms), nil
}

const gapColumns = `room_id, from_token, last_event, since, until, opened_at, next_try, tries`

func scanGap(row dbutil.Scannable) (g gap, err error) {
	var since, until, opened, next int64
	err = row.Scan(&g.Room, &g.From, &g.Last, &since, &until, &opened, &next, &g.Tries)
	g.Since, g.Until, g.OpenedAt, g.NextTry = time.UnixMilli(since), time.UnixMilli(until), time.UnixMilli(opened), time.UnixMilli(next)
	return g, err
}

// gap gives the open gap of a room, nil where there is none.
func (s *store) gap(ctx context.Context, rid id.RoomID) (*gap, error) {
	g, err := scanGap(s.own.QueryRow(ctx, `SELECT `+gapColumns+` FROM matrix_gap WHERE room_id = $1`, rid))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &g, err
}

func (s *store) openGaps(ctx context.Context) ([]gap, error) {
	rows, err := s.own.Query(ctx, `SELECT `+gapColumns+` FROM matrix_gap ORDER BY next_try`)
	return dbutil.NewRowIterWithError(rows, scanGap, err).AsList()
}

func (s *store) putGap(ctx context.Context, g gap) error {
	_, err := s.own.Exec(ctx, `
		INSERT INTO matrix_gap (`+gapColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (room_id) DO UPDATE SET from_token = excluded.from_token, until = excluded.until
	`, g.Room, g.From, g.Last, g.Since.UnixMilli(), g.Until.UnixMilli(), g.OpenedAt.UnixMilli(), g.NextTry.UnixMilli(), g.Tries)
	return err
}

func (s *store) postponeGap(ctx context.Context, g gap) error {
	_, err := s.own.Exec(ctx, `UPDATE matrix_gap SET next_try = $2, tries = $3 WHERE room_id = $1`, g.Room, g.NextTry.UnixMilli(), g.Tries)
	return err
}

func (s *store) endGap(ctx context.Context, rid id.RoomID) error {
	_, err := s.own.Exec(ctx, `DELETE FROM matrix_gap WHERE room_id = $1`, rid)
	return err
}

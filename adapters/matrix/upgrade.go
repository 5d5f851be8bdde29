package matrix

import (
	"context"
	"slices"
	"strings"

	"go.mau.fi/util/dbutil"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

// A room is followed to the one that its tombstone names, with what was set in it, where that one in turn names it as its
// predecessor and is protected no less: neither who moderates a room nor who makes one can take what belongs to another.

// NotFollowed says that a room was replaced by one that does not get what was set in it; Here is said in that very room.
type NotFollowed struct{ Here bool }

// follow reads a tombstone. The bot may be in the new room already, or come there with the same answer of the homeserver.
func (v *visit) follow(ctx context.Context) error {
	next := v.tombstone.Content.AsTombstone().ReplacementRoom
	if len(next) > 255 || !strings.HasPrefix(next.String(), "!") || next == v.r.Next {
		return nil
	}
	v.r.Next = next
	r, err := v.b.room(ctx, v.a.store, next)
	if err != nil || r.Membership == invited {
		return err
	}
	if r.Membership != joined {
		r.Membership, r.Marked = invited, v.r.Marked
		v.b.want(v.a, next, wantJoin, v.tombstone.Sender.Homeserver())
		return nil
	}
	fit, err := v.a.fits(ctx, v.r, r)
	if err != nil {
		return err
	}
	if !fit {
		return v.stay(ctx, v.r)
	}
	change, err := v.a.roomChange(ctx, r, true)
	if err != nil {
		return err
	}
	v.succeed(change, v.r)
	v.b.in = append(v.b.in, *change)
	return nil
}

// replaced gives the room whose place the one that is visited takes, nil where there is none, and tells where it must not.
func (v *visit) replaced(ctx context.Context) (*room, error) {
	upgraded, err := v.a.upgraded(ctx, v.b, v.r.ID)
	if err != nil {
		return nil, err
	}
	for _, old := range upgraded {
		if fit, err := v.a.fits(ctx, old, v.r); err != nil || fit {
			return old, err
		}
	}
	for _, old := range upgraded {
		if err := v.stay(ctx, old); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// succeed makes a room the successor of one that the bot then leaves.
func (v *visit) succeed(change *bot.Incoming, old *room) {
	change.RoomChange.Replaces = old.ID.String()
	v.b.want(v.a, old.ID, wantLeave, "")
}

// stay tells of a room that was not followed.
func (v *visit) stay(ctx context.Context, old *room) error {
	v.a.log.Warn().Str("room", v.a.cfg.Hash(old.ID.String())).Msg("A room was not followed to the one that replaces it: that one does not name it, or is protected less")
	told, err := v.a.notice(ctx, old, "not followed "+old.Next.String(), func(here bool) any { return NotFollowed{Here: here} })
	if err != nil {
		return err
	}
	v.b.in = append(v.b.in, told)
	return nil
}

// notice tells something in a room that was upgraded, or operators where the bot cannot speak there any more.
func (a *Adapter) notice(ctx context.Context, old *room, key string, msg func(here bool) any) (bot.Incoming, error) {
	here, err := a.maySpeak(ctx, old)
	if err != nil || !here {
		return a.operators(key, msg(false)), err
	}
	in := a.operators(key, msg(true))
	in.Room, in.Notice.Operators = old.ID.String(), false
	return in, nil
}

// operators tells something to those who run the bot.
func (a *Adapter) operators(key string, msg any) bot.Incoming {
	now := a.cfg.Now()
	return bot.Incoming{Kind: bot.KindNotice, Sent: now, Received: now, Notice: &bot.Notice{Message: msg, Key: key, Operators: true}}
}

// maySpeak tells whether the bot has the power to say something. Upgrades mostly take it.
func (a *Adapter) maySpeak(ctx context.Context, r *room) (bool, error) {
	levels, err := a.store.state.GetPowerLevels(ctx, r.ID)
	if err != nil || levels == nil {
		return true, err
	}
	kind := event.EventMessage
	if r.Encrypted {
		kind = event.EventEncrypted
	}
	return levels.GetUserLevel(a.me) >= levels.GetEventLevel(kind), nil
}

// upgraded lists the rooms that the bot is in and whose tombstones name a room, as the batch will leave them.
func (a *Adapter) upgraded(ctx context.Context, b *batch, next id.RoomID) ([]*room, error) {
	known, err := a.store.upgradedTo(ctx, next)
	if err != nil {
		return nil, err
	}
	for rid, r := range b.rooms {
		if r.Next == next {
			known = append(known, rid)
		}
	}
	slices.Sort(known)
	var rooms []*room
	for _, rid := range slices.Compact(known) {
		r, err := b.room(ctx, a.store, rid)
		if err != nil {
			return nil, err
		}
		if r.Next == next && r.Membership == joined {
			rooms = append(rooms, r)
		}
	}
	return rooms, nil
}

// mayFollow tells whether what came with an invitation names a room that the bot is in as the predecessor.
func (a *Adapter) mayFollow(ctx context.Context, state []*event.Event) (bool, error) {
	for _, evt := range state {
		if evt.Type.Type != event.StateCreate.Type {
			continue
		}
		predecessor, _ := evt.Content.Raw["predecessor"].(map[string]any)
		if rid, _ := predecessor["room_id"].(string); rid != "" {
			old, err := a.store.room(ctx, id.RoomID(rid))
			return err == nil && old.Membership == joined, err
		}
	}
	return false, nil
}

// fits tells whether a room may take the place of another. What an invitation says of it proves nothing: its own state counts.
func (a *Adapter) fits(ctx context.Context, old, next *room) (bool, error) {
	create, err := a.store.state.GetCreate(ctx, next.ID)
	if err != nil || create == nil || create.Content.AsCreate().GetPredecessor().RoomID != old.ID {
		return false, err
	}
	encrypted, err := a.store.state.IsEncrypted(ctx, next.ID)
	if err != nil || old.Encrypted && !encrypted {
		return false, err
	}
	oldEnter, oldRead, err := a.openTo(ctx, old.ID)
	if err != nil {
		return false, err
	}
	enter, read, err := a.openTo(ctx, next.ID)
	return (oldEnter || !enter) && (oldRead || !read), err
}

// openTo tells whether everybody may enter a room, and whether everybody may read there.
func (a *Adapter) openTo(ctx context.Context, rid id.RoomID) (enter, read bool, err error) {
	rules, err := a.store.state.GetJoinRules(ctx, rid)
	if err != nil {
		return false, false, err
	}
	history, err := a.store.state.GetHistoryVisibility(ctx, rid)
	enter = rules != nil && rules.JoinRule == event.JoinRulePublic
	read = history != nil && history.HistoryVisibility == event.HistoryVisibilityWorldReadable
	return enter, read, err
}

func (s *store) upgradedTo(ctx context.Context, next id.RoomID) ([]id.RoomID, error) {
	rows, err := s.own.Query(ctx, `SELECT room_id FROM matrix_room WHERE next = $1`, next)
	return dbutil.NewRowIterWithError(rows, dbutil.ScanSingleColumn[id.RoomID], err).AsList()
}

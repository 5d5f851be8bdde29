package matrix

import (
	"context"
	"errors"
	"slices"
	"time"

	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

// moderatorLevel is the power from which a person moderates a room.
const moderatorLevel = 50

// isOwnJoin tells whether an event is the moment in which the bot joined. If surely is not set, an event counts that does not
// say what was before: it may also be a change of the bot's own name.
func (a *Adapter) isOwnJoin(evt *event.Event, surely bool) bool {
	if !a.isHere(evt) {
		return false
	}
	if evt.Unsigned.PrevContent == nil {
		return !surely
	}
	prev, _ := evt.Unsigned.PrevContent.Raw["membership"].(string)
	return prev != string(event.MembershipJoin)
}

// isHere tells whether an event says that the bot is in the room.
func (a *Adapter) isHere(evt *event.Event) bool {
	m, _ := evt.Content.Raw["membership"].(string)
	return evt.Type.Type == event.StateMember.Type && evt.StateKey != nil && *evt.StateKey == a.me.String() && m == string(event.MembershipJoin)
}

// readRoom reads what is new in a room that the bot is in. first is the first sync of a login: nothing said before it is answered.
func (a *Adapter) readRoom(ctx context.Context, b *batch, rid id.RoomID, data *joinedRoom, first bool) error {
	r, err := b.room(ctx, a.store, rid)
	if err != nil {
		return err
	}
	was := r.Membership == joined
	state, timeline := data.State.Events, data.Timeline.Events
	if !was && !first && !slices.ContainsFunc(slices.Concat(state, timeline), a.isHere) {
		// An answer made while the join was under way: the room is there, but neither its people nor its encryption. They
		// come with the join itself.
		return nil
	}

	// History comes in the same timeline before the bot's own join. Its state counts, what was said does not.
	heard := -1
	for i, evt := range timeline {
		if a.isOwnJoin(evt, was) {
			heard = i
		}
	}
	if first {
		heard = len(timeline) - 1
	}
	var gap []*event.Event
	if was && !first && heard < 0 && data.Timeline.Limited && data.Timeline.PrevBatch != "" {
		if gap, err = a.gapBefore(ctx, b, r, data.Timeline.PrevBatch); err != nil {
			return err
		}
	}
	for _, evt := range slices.Concat(gap, timeline) {
		evt.RoomID = rid
	}
	if err := a.knowSenders(ctx, slices.Concat(gap, timeline[max(heard, 0):])); err != nil {
		return err
	}

	return a.store.txn(ctx, func(ctx context.Context) error {
		v := &visit{a: a, b: b, r: r, first: first, announced: was, led: r.Membership == invited && r.Inviter == "" && !first}
		if !was {
			r.Membership = joined
			if err := a.store.state.ClearCachedMembers(ctx, rid); err != nil {
				return err
			}
		}
		for _, evt := range state {
			evt.RoomID = rid
			if err := v.read(ctx, evt, false); err != nil {
				return err
			}
		}
		if heard < 0 {
			if err := v.announce(ctx); err != nil {
				return err
			}
		}
		for _, evt := range gap {
			if err := v.read(ctx, evt, true); err != nil {
				return err
			}
		}
		for i, evt := range timeline {
			r.LastEvent = evt.ID
			if err := v.read(ctx, evt, i > heard); err != nil {
				return err
			}
			if i == heard {
				if err := v.announce(ctx); err != nil {
					return err
				}
			}
		}
		return v.end(ctx)
	})
}

// visit is the reading of one room in one sync.
type visit struct {
	a *Adapter
	b *batch
	r *room

	first     bool
	announced bool // the engine knows of the room: changes are told as they come
	led       bool // only a tombstone brought the bot here
	joinID    id.EventID
	tombstone *event.Event
	changed   bool // something has to be told
	whole     bool // with everyone in the room
}

// read reads one event; heard says that what it says counts, not only the state that it sets. One over which the library or the
// adapter stumbles is passed over.
func (v *visit) read(ctx context.Context, evt *event.Event, heard bool) (err error) {
	v.a.guard("event", func() {
		switch {
		case evt.StateKey != nil:
			err = v.state(ctx, evt)
		case heard:
			err = v.message(ctx, evt)
		}
	})
	return err
}

func (v *visit) state(ctx context.Context, evt *event.Event) error {
	evt.Type.Class = event.StateEventType
	if evt.StateKey == nil {
		return nil
	}
	if evt.Type == event.StateEncryption && *evt.StateKey == "" && !v.r.Encrypted {
		v.r.Encrypted, v.changed = true, true // whatever it says: once encrypted, always encrypted
	}
	if err := evt.Content.ParseRaw(evt.Type); err != nil && !errors.Is(err, event.ErrContentAlreadyParsed) {
		return nil
	}
	if err := v.apply(ctx, evt); err != nil {
		return err
	}
	if v.announced && v.changed {
		return v.refresh(ctx)
	}
	return nil
}

func (v *visit) apply(ctx context.Context, evt *event.Event) error {
	st, rid := v.a.store.state, v.r.ID
	if c, ok := evt.Content.Parsed.(*event.MemberEventContent); ok {
		return v.member(ctx, evt, c)
	}
	if *evt.StateKey != "" {
		return nil
	}
	switch c := evt.Content.Parsed.(type) {
	case *event.PowerLevelsEventContent:
		v.changed, v.whole = true, true
		return st.SetPowerLevels(ctx, rid, c)
	case *event.CreateEventContent:
		return st.SetCreate(ctx, evt)
	case *event.EncryptionEventContent:
		if c.Algorithm == id.AlgorithmMegolmV1 {
			return st.SetEncryptionEvent(ctx, rid, c)
		}
	case *event.HistoryVisibilityEventContent:
		v.a.mach.HandleHistoryVisibility(ctx, evt)
		return st.SetHistoryVisibility(ctx, rid, c)
	case *event.JoinRulesEventContent:
		return st.SetJoinRules(ctx, rid, c)
	case *event.RoomNameEventContent:
		if name := clip(c.Name, maxName); name != v.r.Name {
			v.r.Name, v.changed = name, true
		}
	case *event.TombstoneEventContent:
		if c.ReplacementRoom != "" && c.ReplacementRoom != rid {
			v.tombstone = evt
		}
	}
	return nil
}

// member follows who is in the room. Room keys are renewed where somebody came or went.
func (v *visit) member(ctx context.Context, evt *event.Event, c *event.MemberEventContent) error {
	person := id.UserID(*evt.StateKey)
	if len(person) > 255 {
		return nil
	}
	before, err := v.a.store.state.TryGetMember(ctx, v.r.ID, person)
	if err != nil {
		return err
	}
	if err := v.a.store.state.putMember(ctx, v.r.ID, person, c); err != nil {
		return err
	}
	v.a.mach.HandleMemberEvent(ctx, evt)
	if v.announced && c.Membership == event.MembershipJoin && (before == nil || before.Membership != event.MembershipJoin) {
		// The library goes on with a key that was shared when she was invited, with the devices that she had then; the homeserver
		// tells nobody of those that she got before she came.
		err := errors.Join(v.a.store.crypto.RemoveOutboundGroupSession(ctx, v.r.ID), v.a.store.crypto.MarkTrackedUsersOutdated(ctx, []id.UserID{person}))
		if err != nil {
			return err
		}
	}
	if person == v.a.me {
		if c.Membership == event.MembershipJoin {
			v.joinID = evt.ID
		}
		return nil
	}
	if !v.announced {
		return nil
	}
	here := c.Membership == event.MembershipJoin
	levels, err := v.a.store.state.GetPowerLevels(ctx, v.r.ID)
	if err != nil {
		return err
	}
	direct, err := v.a.isDirect(ctx, v.r)
	if err != nil {
		return err
	}
	v.changed = v.changed || direct != v.r.Direct
	name := ""
	if here {
		name = clip(c.Displayname, maxName)
	}
	v.b.in = append(v.b.in, bot.Incoming{
		Kind: bot.KindMember, Room: v.r.ID.String(), Person: person.String(), Name: name,
		Sent: v.a.cfg.Now(), Received: v.a.cfg.Now(), Direct: direct,
		Member: &bot.MemberChange{Joined: here, Moderator: here && moderates(levels, person)},
	})
	return nil
}

// announce tells the engine of a room that the bot has just come to.
func (v *visit) announce(ctx context.Context) error {
	if v.announced {
		return nil
	}
	replaced, err := v.replaced(ctx)
	if err != nil {
		return err
	}
	if v.led && replaced == nil {
		v.r.Membership = left
		v.b.want(v.a, v.r.ID, wantLeave, "")
		return nil
	}
	if !v.first {
		v.a.comes(v.r.ID)
	}
	direct, err := v.a.isDirect(ctx, v.r)
	if err != nil {
		return err
	}
	v.r.Direct, v.announced, v.changed, v.whole = direct, true, false, false
	change, err := v.a.roomChange(ctx, v.r, true)
	if err != nil {
		return err
	}
	if replaced != nil {
		v.succeed(change, replaced)
	} else if v.r.Inviter != "" {
		change.RoomChange.Fresh = true
		change.RoomChange.Inviter = v.r.Inviter.String()
		change.ID = v.joinID.String() // by it the engine knows a second greeting after a crash
	}
	v.b.in = append(v.b.in, *change)
	v.b.errands = append(v.b.errands, func(ctx context.Context) error { return v.a.store.wantNothing(ctx, v.r.ID) })
	return nil
}

// refresh tells what is true of the room now.
func (v *visit) refresh(ctx context.Context) error {
	direct, err := v.a.isDirect(ctx, v.r)
	if err != nil {
		return err
	}
	v.r.Direct = direct
	change, err := v.a.roomChange(ctx, v.r, v.whole)
	if err != nil {
		return err
	}
	v.changed, v.whole = false, false
	v.b.in = append(v.b.in, *change)
	return nil
}

func (v *visit) message(ctx context.Context, evt *event.Event) error {
	if evt.Sender == v.a.me {
		v.b.own[evt.ID] = true
		if evt.Type.Type == fenceType.Type {
			if err := v.fence(ctx, evt); err != nil {
				return err
			}
		}
		if outID := v.a.sentAs(v.r.ID, evt); outID != "" {
			v.b.echoes[outID] = evt.ID
			v.b.in = append(v.b.in, bot.Incoming{Kind: bot.KindEcho, Room: v.r.ID.String(), ID: evt.ID.String(), Target: outID,
				Sent: time.UnixMilli(evt.Timestamp), Received: v.a.cfg.Now()})
		}
		return nil
	}
	if !v.announced {
		return nil
	}
	err := v.a.readMessage(ctx, v.b, v.r, evt)
	if errors.Is(err, errHeld) {
		v.b.held = append(v.b.held, evt)
		return nil
	}
	return err
}

// fence notes that a fence has come down. What was sent before it may stand in a gap.
func (v *visit) fence(ctx context.Context, evt *event.Event) error {
	name, _ := evt.Content.Raw["name"].(string)
	open, err := v.a.store.gap(ctx, v.r.ID)
	if err != nil {
		return err
	}
	if _, opens := v.b.gaps[v.r.ID]; open == nil && !opens {
		v.b.fences[v.r.ID] = name
	} else if v.a.fenceIs(v.r.ID, name) {
		v.a.fenced[v.r.ID] = name
	}
	return nil
}

// end follows an upgrade and leaves a room in which nobody else is.
func (v *visit) end(ctx context.Context) error {
	if !v.announced {
		return nil
	}
	if v.tombstone != nil {
		if err := v.follow(ctx); err != nil {
			return err
		}
	}
	others, err := v.a.store.state.GetRoomMembers(ctx, v.r.ID, event.MembershipJoin, event.MembershipInvite)
	if err != nil {
		return err
	}
	delete(others, v.a.me)
	if len(others) == 0 {
		v.b.want(v.a, v.r.ID, wantLeave, "")
	}
	return nil
}

// readMessage opens and translates one event that somebody else sent. The error is errHeld where its key is missing.
func (a *Adapter) readMessage(ctx context.Context, b *batch, r *room, evt *event.Event) error {
	evt.Type.Class = event.MessageEventType
	if evt.Unsigned.RedactedBecause != nil {
		return nil
	}
	if evt.Type == event.EventEncrypted {
		plain, err := a.decrypt(ctx, evt)
		if plain == nil || err != nil {
			return err
		}
		// A redaction counts only where the homeserver has seen and allowed it.
		if plain.Type == event.EventRedaction || plain.Type == event.EventEncrypted {
			return nil
		}
		evt = plain
	}
	var in *bot.Incoming
	var err error
	a.guard("message", func() { in, err = a.translate(ctx, b, r, evt) })
	if in != nil && err == nil {
		b.in = append(b.in, *in)
	}
	return err
}

// isDirect tells whether a room is somebody's direct chat with the bot: it was said to be one, or nobody else is there and it has
// no name. A room with a name is one that somebody is just setting up for others.
func (a *Adapter) isDirect(ctx context.Context, r *room) (bool, error) {
	if r.Marked || r.Name != "" {
		return r.Marked, nil
	}
	people, err := a.store.state.GetRoomMembers(ctx, r.ID, event.MembershipJoin, event.MembershipInvite)
	if err != nil {
		return false, err
	}
	here := 0
	for _, m := range people {
		if m.Membership == event.MembershipJoin {
			here++
		}
	}
	return here == 2 && len(people) == 2, nil
}

func moderates(levels *event.PowerLevelsEventContent, person id.UserID) bool {
	return levels != nil && levels.GetUserLevel(person) >= moderatorLevel
}

// roomChange tells what is true of a room; whole adds everyone in it.
func (a *Adapter) roomChange(ctx context.Context, r *room, whole bool) (*bot.Incoming, error) {
	now := a.cfg.Now()
	change := &bot.RoomChange{Joined: true, Name: r.Name, Encrypted: r.Encrypted, Direct: r.Direct}
	if whole {
		people, err := a.store.state.GetRoomMembers(ctx, r.ID, event.MembershipJoin)
		if err != nil {
			return nil, err
		}
		levels, err := a.store.state.GetPowerLevels(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		change.Members = make(map[string]bot.MemberInfo, len(people))
		for person, m := range people {
			if person != a.me {
				change.Members[person.String()] = bot.MemberInfo{
					Name:      a.store.state.openName(r.ID, person, m.Displayname),
					Moderator: moderates(levels, person),
				}
			}
		}
	}
	return &bot.Incoming{Kind: bot.KindRoom, Room: r.ID.String(), Sent: now, Received: now, Encrypted: r.Encrypted, Direct: r.Direct, RoomChange: change}, nil
}

func (a *Adapter) gone(rid id.RoomID) bot.Incoming {
	now := a.cfg.Now()
	return bot.Incoming{Kind: bot.KindRoom, Room: rid.String(), Sent: now, Received: now, RoomChange: &bot.RoomChange{}}
}

// leftRoom reads that the bot is no longer in a room, or that an invitation was taken back.
func (a *Adapter) leftRoom(ctx context.Context, b *batch, rid id.RoomID) error {
	r, err := b.room(ctx, a.store, rid)
	if err != nil {
		return err
	}
	if r.Membership == joined {
		b.in = append(b.in, a.gone(rid))
	}
	// The next time is a first time; only that it is encrypted is never unlearnt.
	*r = room{ID: rid, Membership: left, Encrypted: r.Encrypted}
	b.errands = append(b.errands, func(ctx context.Context) error {
		return errors.Join(
			a.store.wantNothing(ctx, rid),
			a.store.endGap(ctx, rid),
			a.store.state.ClearCachedMembers(ctx, rid),
			a.store.crypto.RemoveOutboundGroupSession(ctx, rid),
		)
	})
	return nil
}

// markDirect reads which rooms the account itself calls direct chats.
func (a *Adapter) markDirect(ctx context.Context, b *batch, data []*event.Event) error {
	for _, evt := range data {
		if evt.Type.Type != event.AccountDataDirectChats.Type {
			continue
		}
		for _, list := range evt.Content.Raw {
			rooms, _ := list.([]any)
			for _, one := range rooms {
				rid, _ := one.(string)
				if rid == "" || len(rid) > 255 {
					continue
				}
				r, err := b.room(ctx, a.store, id.RoomID(rid))
				if err != nil {
					return err
				}
				r.Marked = true
			}
		}
	}
	return nil
}

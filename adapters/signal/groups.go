package signal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"starling/bot"
)

// groupsPerDay is how many groups one person may take the bot into in a day, unless the operator named that very person.
const groupsPerDay = 3

// group is a group as signal-cli lists it.
type group struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	IsMember bool   `json:"isMember"`
	Timer    int64  `json:"messageExpirationTime"` // seconds
	Members  []who  `json:"members"`
	Pending  []who  `json:"pendingMembers"`
	Admins   []who  `json:"admins"`

	revision int64
}

type who struct {
	UUID   string `json:"uuid"`
	Number string `json:"number"`
}

func (g *group) has(list []who, uuid string) bool {
	return slices.ContainsFunc(list, func(w who) bool { return w.UUID == uuid })
}

// change tells the engine who is in a group.
func (a *Adapter) change(g *group) *bot.RoomChange {
	me := a.self()
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &bot.RoomChange{Joined: true, Name: clip(g.Name, maxName), Encrypted: true, Timer: time.Duration(g.Timer) * time.Second, Members: map[string]bot.MemberInfo{}}
	for _, m := range g.Members {
		if IsPerson(m.UUID) && m.UUID != me {
			c.Members[m.UUID] = bot.MemberInfo{Name: a.names[m.UUID], Moderator: g.has(g.Admins, m.UUID)}
		}
	}
	return c
}

// list asks signal-cli for groups: one, or all.
func (a *Adapter) list(ctx context.Context, ids ...string) ([]*group, error) {
	params := map[string]any{}
	if len(ids) > 0 {
		params["groupId"] = ids
	}
	var all []*group
	err := a.call(ctx, "listGroups", params, &all)
	return slices.DeleteFunc(all, func(g *group) bool { return g == nil || g.ID == "" }), err
}

// learn reads, at the start of a link, who people are and in which groups the bot is.
func (a *Adapter) learn(ctx context.Context) error {
	rooms, err := a.box().Rooms(ctx, Name)
	if err != nil {
		return err
	}
	a.mu.Lock()
	for _, r := range rooms {
		a.rooms[r] = true
	}
	a.mu.Unlock()
	if err := a.learnNames(ctx); err != nil {
		return err
	}
	all, err := a.list(ctx)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, g := range all {
		listed[g.ID] = true
		if g.IsMember && a.knows(g.ID) {
			if err := a.settle(ctx, g); err != nil {
				return err
			}
		} else if a.knows(g.ID) {
			err = errors.Join(err, a.gone(ctx, g.ID))
		}
		if !g.IsMember && g.has(g.Pending, a.self()) {
			a.open(g.ID, "") // who invited is not listed; what signal-cli still tells of it comes before the next check
		}
	}
	for _, r := range rooms {
		if !IsPerson(r) && !listed[r] {
			err = errors.Join(err, a.gone(ctx, r))
		}
	}
	return err
}

// learnNames reads what people call themselves.
func (a *Adapter) learnNames(ctx context.Context) error {
	var people []struct {
		UUID    string `json:"uuid"`
		Profile struct {
			Given  string `json:"givenName"`
			Family string `json:"familyName"`
		} `json:"profile"`
	}
	if err := a.call(ctx, "listContacts", map[string]any{"allRecipients": true}, &people); err != nil {
		return err
	}
	for _, p := range people {
		name := p.Profile.Given
		if p.Profile.Family != "" {
			name += " " + p.Profile.Family
		}
		a.named(p.UUID, name)
	}
	return nil
}

// named notes what somebody calls herself.
func (a *Adapter) named(uuid, name string) {
	if name == "" || name[0] == '+' || name == uuid { // signal-cli gives the number where it knows no name
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names[uuid] = clip(name, maxName)
}

func (a *Adapter) knows(room string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rooms[room]
}

// settle tells the engine how a group is now.
func (a *Adapter) settle(ctx context.Context, g *group) error {
	a.mu.Lock()
	a.groups[g.ID], a.rooms[g.ID] = g, true
	a.mu.Unlock()
	return a.deliver(ctx, bot.Incoming{Room: g.ID, Kind: bot.KindRoom, RoomChange: a.change(g)})
}

// gone tells the engine that the bot is no longer in a group.
func (a *Adapter) gone(ctx context.Context, id string) error {
	a.mu.Lock()
	delete(a.groups, id)
	delete(a.rooms, id)
	maps.DeleteFunc(a.wrote, func(k [2]string, _ bool) bool { return k[0] == id })
	a.mu.Unlock()
	return a.deliver(ctx, bot.Incoming{Room: id, Kind: bot.KindRoom, RoomChange: &bot.RoomChange{}})
}

// groupSpoke keeps up with a group from which something came; ok is whether the bot is in it.
func (a *Adapter) groupSpoke(ctx context.Context, id, kind string, revision int64, e *envelope) (ok bool, err error) {
	a.mu.Lock()
	known := a.groups[id]
	a.mu.Unlock()
	if known != nil && kind != "UPDATE" && revision <= known.revision {
		return true, nil
	}
	all, err := a.list(ctx, id)
	if known != nil && away(err) {
		return true, nil // the next link learns what has changed
	}
	if err != nil {
		return false, err
	}
	me := a.self()
	if len(all) != 1 || !all[0].IsMember && !all[0].has(all[0].Pending, me) {
		if a.knows(id) {
			return false, a.gone(ctx, id)
		}
		return false, nil
	}
	g := all[0]
	g.revision = revision
	if !g.IsMember && a.knows(id) { // it was put out meanwhile
		if err := a.gone(ctx, id); err != nil {
			return false, err
		}
	}
	if !a.knows(id) {
		return a.invited(ctx, g, kind, e)
	}
	if a.unnamed(g) {
		if err := a.learnNames(ctx); err != nil && !away(err) {
			return false, err
		}
	}
	return true, a.settle(ctx, g)
}

// unnamed is whether an admin's name is not known: sentences that say who may need it.
func (a *Adapter) unnamed(g *group) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(g.Admins, func(w who) bool { return a.names[w.UUID] == "" })
}

// invited decides about a group into which somebody takes the bot, asked or not: it stays, or leaves.
func (a *Adapter) invited(ctx context.Context, g *group, kind string, e *envelope) (ok bool, err error) {
	allowed, named := a.mayInvite(e.SourceUUID, e.SourceNumber)
	if allowed && !named {
		if allowed, err = a.box().InviterAllowance(ctx, Name, e.SourceUUID, groupsPerDay); err != nil {
			return false, err
		}
	} else if !allowed && g.IsMember && kind != "UPDATE" {
		return false, nil // she only speaks; who took the bot in is still to come
	}
	if !allowed {
		a.log.Info().Str("room", a.hash(g.ID)).Str("inviter", a.hash(e.SourceUUID)).Msg("An invitation was declined")
		return false, ignoreRefusal(a.place(ctx, "quitGroup", g.ID))
	}
	if !g.IsMember {
		if g, err = a.accept(ctx, g.ID); err != nil {
			a.open(g.ID, e.SourceUUID)
			a.log.Info().Err(err).Str("room", a.hash(g.ID)).Msg("An invitation could not be accepted yet")
			return false, nil
		}
	}
	return true, a.greet(ctx, g, e.SourceUUID)
}

// accept joins a group into which the bot was invited. The group is never nil.
func (a *Adapter) accept(ctx context.Context, id string) (*group, error) {
	if err := a.place(ctx, "updateGroup", id); err != nil {
		return &group{ID: id}, a.failed(ctx, bot.Outgoing{Kind: bot.OutReaction, Room: id}, err)
	}
	all, err := a.list(ctx, id)
	if err != nil || len(all) != 1 || !all[0].IsMember {
		return &group{ID: id}, errors.Join(err, errors.New("the group is not there"))
	}
	return all[0], nil
}

// place changes the bot's own place in a group.
func (a *Adapter) place(ctx context.Context, method, id string) error {
	var answer sendAnswer
	if err := a.call(ctx, method, map[string]any{"groupId": id}, &answer); err != nil {
		return err
	}
	a.placed(ctx, id, answer.Results, nil)
	return nil
}

// placed reads what came of that for the group's people. It has happened, whoever of them could not be told.
func (a *Adapter) placed(ctx context.Context, id string, results []sendResult, err error) {
	out := bot.Outgoing{Kind: bot.OutReaction, Room: id}
	if err == nil {
		err = a.read(ctx, out, results)
	} else {
		err = a.failed(ctx, out, err)
	}
	if err != nil {
		a.log.Info().Err(err).Str("room", a.hash(id)).Msg("People were not told that the bot came or left")
	}
}

// greet tells the engine of a group in which the bot is new.
func (a *Adapter) greet(ctx context.Context, g *group, inviter string) error {
	if err := a.learnNames(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	a.groups[g.ID], a.rooms[g.ID] = g, true
	a.mu.Unlock()
	c := a.change(g)
	c.Inviter, c.Fresh = inviter, true
	return a.deliver(ctx, bot.Incoming{Room: g.ID, Kind: bot.KindRoom, ID: fmt.Sprintf("join %d", time.Now().UnixMilli()), RoomChange: c})
}

// open notes an invitation that is still to be answered; who invited is "" where that is not known.
func (a *Adapter) open(id, inviter string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.undone[id] == "" {
		a.undone[id] = inviter
	}
}

// again answers the invitations that could not be answered before.
func (a *Adapter) again(ctx context.Context) error {
	a.mu.Lock()
	undone := a.undone
	a.undone = map[string]string{}
	a.mu.Unlock()
	for id, inviter := range undone {
		if a.knows(id) {
			continue // answered meanwhile
		}
		if inviter == "" {
			if wanted, err := a.wanted(ctx, id); !wanted || err != nil {
				if err != nil {
					a.open(id, "")
				}
				continue
			}
		}
		g, err := a.accept(ctx, id)
		if err != nil {
			a.open(id, inviter)
			continue
		}
		if err := a.greet(ctx, g, inviter); err != nil {
			return err
		}
	}
	return nil
}

// wanted decides about an open invitation of which it is not known whose it is: somebody who may take the bot into groups must be in
// that one. Else it is declined.
func (a *Adapter) wanted(ctx context.Context, id string) (bool, error) {
	all, err := a.list(ctx, id)
	if err != nil || len(all) != 1 || !all[0].has(all[0].Pending, a.self()) {
		return false, err
	}
	for _, m := range all[0].Members {
		if _, named := a.mayInvite(m.UUID, m.Number); named {
			return true, nil
		}
	}
	if allowed, _ := a.mayInvite("", ""); allowed {
		if allowed, err = a.box().InviterAllowance(ctx, Name, "", groupsPerDay); allowed || err != nil {
			return allowed, err
		}
	}
	return false, ignoreRefusal(a.place(ctx, "quitGroup", id))
}

// mayInvite tells whether the operator lets a person take the bot into groups, and whether by name.
func (a *Adapter) mayInvite(uuid, number string) (allowed, named bool) {
	named = slices.ContainsFunc(a.cfg.Invite, func(rule string) bool { return rule == uuid || number != "" && rule == number })
	return named || slices.Contains(a.cfg.Invite, "*"), named
}

// directSpoke makes a direct chat known, and its timer, before something of it is handed over.
func (a *Adapter) directSpoke(ctx context.Context, person string, timer time.Duration) error {
	a.mu.Lock()
	was, told := a.timers[person]
	known := a.rooms[person] && told && was == timer
	a.rooms[person], a.timers[person] = true, timer
	a.mu.Unlock()
	if known {
		return nil
	}
	return a.direct(ctx, person, a.name(person), timer)
}

func (a *Adapter) direct(ctx context.Context, person, name string, timer time.Duration) error {
	return a.deliver(ctx, bot.Incoming{Room: person, Kind: bot.KindRoom, RoomChange: &bot.RoomChange{
		Joined: true, Direct: true, Encrypted: true, Timer: timer, Members: map[string]bot.MemberInfo{person: {Name: name}},
	}})
}

// OpenDirect implements bot.DirectOpener: on Signal a direct chat is the person.
func (a *Adapter) OpenDirect(ctx context.Context, person string) (string, error) {
	if !IsPerson(person) {
		return "", &bot.SendError{Err: errors.New("that is nobody on Signal"), Permanent: true}
	}
	a.mu.Lock()
	known, name, timer := a.rooms[person], a.names[person], a.timers[person]
	a.rooms[person] = true
	a.mu.Unlock()
	if known {
		return person, nil
	}
	return person, a.direct(ctx, person, name, timer)
}

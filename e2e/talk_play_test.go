package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"starling/adapters/rig"
	"starling/bot"
	"starling/e2e/lab"
)

// player holds one conversation.
type player struct {
	w      *theatre
	dir    string    // the bot's state
	me     id.UserID // the bot
	bot    *witness
	engine *bot.Engine
	halt   func() error
	clock  *rig.Clock
	codes  codes

	places []*place
	said   map[string]string // room and person → her last message there
	author map[string]string // message → who said it
	cause  []string          // events that the line being played is about
}

// place is a room as the script knows it.
type place struct {
	label   string
	id      string
	chapter string
	left    bool            // the bot is not there any more
	people  []*lab.Person   // who is in it
	heard   []rig.Message   // what the bot said there
	pressed map[string]bool // of these, what bears a reaction
}

// hold plays a conversation and says where it goes another way than it should.
func (w *theatre) hold(ctx context.Context, dir, account string, c conversation) (err error) {
	p := &player{w: w, dir: dir, codes: codes{}, said: map[string]string{}, author: map[string]string{}}
	p.clock = rig.NewClock(c.begins())
	p.bot = &witness{clock: p.clock, changed: make(chan struct{})}
	if err := p.login(ctx, account); err != nil {
		return err
	}
	if err := p.run(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.halt()) }()
	for _, s := range c.steps {
		var got []deed
		for _, a := range s.Acts {
			p.cause = nil
			if err := p.act(ctx, a); err != nil {
				return fmt.Errorf("line %d: %s: %w", s.No, strings.Join(s.Raw, "\n"), err)
			}
			if err := rig.Settle(ctx, p.engine, p.clock); err != nil {
				return fmt.Errorf("line %d: %w", s.No, err)
			}
			done, err := p.look(ctx)
			if err != nil {
				return fmt.Errorf("line %d: %s: %w", s.No, strings.Join(s.Raw, "\n"), err)
			}
			got = append(got, done...)
		}
		if !p.codes.same(s.want, got) {
			return fmt.Errorf("line %d: %s\nwant:\n%s\ngot:\n%s", s.No, strings.Join(s.Raw, "\n"), list(s.want), list(got))
		}
	}
	return nil
}

// begins is where the clock stands at first.
func (c conversation) begins() time.Time {
	for _, s := range c.steps {
		for _, a := range s.Acts {
			if a.Directive == "clock" {
				if at, err := time.Parse(time.RFC3339, a.Words[0]); err == nil {
					return at
				}
			}
			if a.Directive != "seed" {
				return firstInstant()
			}
		}
	}
	return firstInstant()
}

func list(all []deed) string {
	var lines []string
	for _, d := range all {
		lines = append(lines, d.String())
	}
	return strings.Join(lines, "\n")
}

// act makes one thing happen, and waits until the bot knows of it.
func (p *player) act(ctx context.Context, a rig.Act) error {
	switch a.Directive {
	case "":
		return p.deed(ctx, a)
	case "silence", "seed": // what is wanted says so; chance is not ours here
		return nil
	case "clock":
		to, err := time.Parse(time.RFC3339, a.Words[0])
		if err != nil {
			return err
		}
		return rig.Advance(ctx, p.engine, p.clock, to.Sub(p.clock.Now()))
	case "advance":
		by, err := rig.Duration(a.Words[0])
		if err != nil {
			return err
		}
		return rig.Advance(ctx, p.engine, p.clock, by)
	case "restart":
		if err := p.halt(); err != nil {
			return err
		}
		return p.run(ctx)
	case "room":
		return p.setUp(ctx, a)
	case "invite":
		return p.invited(ctx, a)
	}
	at, err := p.place(a.Words[0])
	if err != nil {
		return err
	}
	if a.Directive == "remove" {
		from := p.bot.hears()
		if err := p.asStage(ctx, at, func() error {
			_, err := p.w.stage.KickUser(ctx, id.RoomID(at.id), &mautrix.ReqKickUser{UserID: p.me})
			return err
		}); err != nil {
			return err
		}
		at.left = true
		return p.bot.until(ctx, "it was removed", from, func(in bot.Incoming) bool {
			return in.Kind == bot.KindRoom && in.Room == at.id && !in.RoomChange.Joined
		})
	}
	name := strings.TrimSuffix(a.Words[1], "*")
	switch a.Directive {
	case "join":
		return p.join(ctx, at, name, name != a.Words[1])
	case "leave":
		return p.leave(ctx, at, name)
	case "promote", "demote":
		return p.setPower(ctx, at, name, a.Directive == "promote")
	}
	return fmt.Errorf("real servers cannot play @%s", a.Directive)
}

// invited brings the bot into a new room, or into somebody's direct chat, in which it greets.
func (p *player) invited(ctx context.Context, a rig.Act) error {
	by := rig.Members(a.Options["by"])
	if len(by) != 1 {
		return errors.New("one person invites")
	}
	if name, direct := strings.CutPrefix(a.Words[0], "@"); direct {
		p.bot.greet(address(name).String())
		_, err := p.direct(ctx, name)
		return err
	}
	r := spec(a)
	r.Members = append(r.Members, by...)
	at, err := p.open(ctx, a.Words[0], r)
	if err != nil {
		return err
	}
	p.bot.greet(at.id)
	return p.invite(ctx, at, by[0].Name)
}

// spec reads what a directive says of a room.
func spec(a rig.Act) rig.Room {
	r := rig.Room{Name: a.Words[0], Encrypted: true, Members: rig.Members(a.Options["members"])}
	if len(a.Words) == 2 {
		r.Encrypted = a.Words[1] == "encrypted"
	}
	for i := range r.Members {
		r.Members[i].Person = address(r.Members[i].Name).String()
	}
	return r
}

// setUp makes a room as if it had been there for long.
func (p *player) setUp(ctx context.Context, a rig.Act) error {
	r := spec(a)
	at, err := p.open(ctx, a.Words[0], r)
	if err != nil {
		return err
	}
	r.ID, at.chapter = at.id, a.Options["chapter"]
	home := rig.Home{Adapter: matrixName, Room: r, Lang: a.Options["lang"], Zone: a.Options["tz"], Chapter: at.chapter, Since: p.clock.Now().Add(-since)}
	for name := range strings.SplitSeq(a.Options["follows"], ",") {
		if other, err := p.place(name); err == nil && other.chapter != "" {
			name = other.chapter
		}
		if name != "" {
			home.Follows = append(home.Follows, name)
		}
	}
	if err := p.engine.Do(ctx, "a room is set up", home.SetUp); err != nil {
		return err
	}
	if len(at.people) == 0 {
		return errors.New("a room without people")
	}
	return p.invite(ctx, at, at.people[0].Name)
}

// greet lets the bot greet in a room, or in a person's direct chat, when it comes there.
func (w *witness) greet(where string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.greets = where
}

func (p *player) place(label string) (*place, error) {
	i := slices.IndexFunc(p.places, func(at *place) bool { return at.label == label })
	if i < 0 {
		return nil, fmt.Errorf("there is no room %s", label)
	}
	return p.places[i], nil
}

func (p *player) join(ctx context.Context, at *place, name string, moderator bool) error {
	from := p.bot.hears()
	if !at.has(name) {
		if err := p.enter(ctx, at, name); err != nil {
			return err
		}
		if err := p.bot.until(ctx, name+" has joined", from, func(in bot.Incoming) bool {
			return in.Kind == bot.KindMember && in.Room == at.id && in.Person == address(name).String() && in.Member.Joined
		}); err != nil {
			return err
		}
		if err := p.acquaint(ctx, at); err != nil {
			return err
		}
	}
	if !moderator {
		return nil
	}
	return p.setPower(ctx, at, name, true)
}

func (p *player) leave(ctx context.Context, at *place, name string) error {
	from := p.bot.hears()
	i := slices.IndexFunc(at.people, func(who *lab.Person) bool { return who.Name == name })
	if i < 0 {
		return fmt.Errorf("%s is not in %s", name, at.label)
	}
	if err := at.people[i].Do(ctx, "leave", map[string]any{"room": at.id}, nil); err != nil {
		return err
	}
	at.people = slices.Delete(at.people, i, i+1)
	return p.bot.until(ctx, name+" has left", from, func(in bot.Incoming) bool {
		return in.Kind == bot.KindMember && in.Room == at.id && in.Person == address(name).String() && !in.Member.Joined
	})
}

func (at *place) has(name string) bool {
	return slices.ContainsFunc(at.people, func(who *lab.Person) bool { return who.Name == name })
}

// direct gives somebody's direct chat with the bot, and opens it the first time.
func (p *player) direct(ctx context.Context, name string) (*place, error) {
	if at, err := p.place("@" + name); err == nil {
		return at, nil
	}
	who, err := p.w.person(name)
	if err != nil {
		return nil, err
	}
	from := p.bot.hears()
	chat, err := who.Open(ctx, lab.Room{Direct: p.me.String()})
	if err != nil {
		return nil, err
	}
	at := &place{label: "@" + name, id: chat, people: []*lab.Person{who}, pressed: map[string]bool{}}
	p.places = append(p.places, at)
	if err := p.bot.until(ctx, "it is in a direct chat", from, func(in bot.Incoming) bool {
		return in.Kind == bot.KindRoom && in.Room == chat && in.RoomChange.Joined
	}); err != nil {
		return nil, err
	}
	return at, p.acquaint(ctx, at)
}

// deed lets somebody say or do something.
func (p *player) deed(ctx context.Context, a rig.Act) (err error) {
	var at *place
	if a.Direct {
		at, err = p.direct(ctx, a.Room)
	} else {
		at, err = p.place(a.Room)
	}
	if err != nil {
		return err
	}
	if !at.has(a.Person) || a.Moderator {
		if err := p.join(ctx, at, a.Person, a.Moderator); err != nil {
			return err
		}
		if err := rig.Settle(ctx, p.engine, p.clock); err != nil {
			return err
		}
	}
	who, err := p.w.person(a.Person)
	if err != nil {
		return err
	}
	from, mine := p.bot.hears(), at.label+" "+a.Person
	kind, content := "m.room.message", lab.Text(p.codes.translate(a.Text))
	if users := p.mentions(at, a.Text); len(users) > 0 {
		content = lab.WithMention(content, users...)
	}
	var event string
	switch a.Verb {
	case "deletes":
		p.cause = []string{p.said[mine]}
		err = who.Do(ctx, "redact", map[string]any{"room": at.id, "id": p.said[mine]}, &event)
	case "unreacts":
		event, err = p.unreact(ctx, at, who, a)
	case "reacts":
		to, lost := at.target(who.ID, p.codes.translate(a.Code), true)
		if lost != nil {
			return lost
		}
		p.cause = []string{to.ID}
		at.pressed[to.ID] = true
		event, err = who.Post(ctx, at.id, "m.reaction", lab.Reacting(to.ID, a.Emoji), false)
	case "edits":
		p.cause = []string{p.said[mine]}
		event, err = who.Post(ctx, at.id, kind, lab.Replacing(content, p.said[mine]), false)
	case "replies":
		to, lost := at.target(who.ID, p.codes.translate(a.Code), false)
		if lost != nil {
			return lost
		}
		if to.Thread != "" {
			content = lab.WithThread(content, to.Thread)
		}
		event, err = who.Post(ctx, at.id, kind, lab.WithReply(content, to.ID), a.Clear)
		p.cause = []string{to.ID, event}
		p.said[mine], p.author[event] = event, a.Person
	case "says":
		if a.InThread {
			root, lost := rig.Thread(at.heard, who.ID)
			if lost != nil {
				return lost
			}
			content = lab.WithThread(content, root)
		}
		event, err = who.Post(ctx, at.id, kind, content, a.Clear)
		p.cause = []string{event}
		p.said[mine], p.author[event] = event, a.Person
	default:
		return fmt.Errorf("real clients do not play %q", a.Verb)
	}
	if err != nil || at.left {
		return err
	}
	return p.bot.until(ctx, "this was said", from, func(in bot.Incoming) bool { return in.ID == event })
}

// unreact takes an emoji off what the bot said.
func (p *player) unreact(ctx context.Context, at *place, who *lab.Person, a rig.Act) (event string, err error) {
	to, err := at.target(who.ID, p.codes.translate(a.Code), true)
	if err != nil {
		return "", err
	}
	p.cause = []string{to.ID}
	var m lab.Message
	if err := who.Do(ctx, "wait", map[string]any{"want": lab.Want{Room: at.id, ID: to.ID, Reaction: a.Emoji, By: who.ID}}, &m); err != nil {
		return "", err
	}
	i := slices.IndexFunc(m.Reactions, func(r lab.Reaction) bool { return r.Key == a.Emoji && r.Person == who.ID })
	err = who.Do(ctx, "redact", map[string]any{"room": at.id, "id": m.Reactions[i].ID}, &event)
	return event, err
}

// mentions lists whom a text names with an @, among the people of the room and the bot.
func (p *player) mentions(at *place, text string) (users []string) {
	for word := range strings.FieldsSeq(text) {
		word = strings.TrimRight(word, ".,:;!?")
		switch {
		case word == rig.Bot:
			users = append(users, p.me.String())
		case strings.HasPrefix(word, "@") && at.has(word[1:]):
			users = append(users, address(word).String())
		}
	}
	return users
}

// target is the message of the bot that a reply or reaction is meant for.
func (at *place) target(person, shows string, press bool) (rig.Message, error) {
	return rig.Target(at.heard, person, shows, func(m rig.Message) bool { return press && at.pressed[m.ID] })
}

const matrixName = "matrix"

// look gives what the bot did since the last time, as somebody in each room sees it.
func (p *player) look(ctx context.Context) (all []deed, err error) {
	ctx, cancel := context.WithTimeout(ctx, lab.Patience)
	defer cancel()
	for _, s := range p.bot.take() {
		i := slices.IndexFunc(p.places, func(at *place) bool { return at.id == s.Room })
		if i < 0 {
			return nil, fmt.Errorf("the bot speaks in a room that nobody opened: %s", s.Text)
		}
		d, err := p.seen(ctx, p.places[i], s)
		if err != nil {
			return nil, err
		}
		if d.does != "" {
			all = append(all, d)
		}
	}
	return all, nil
}

// seen is one deed of the bot as the first person in the room sees it.
func (p *player) seen(ctx context.Context, at *place, s sending) (deed, error) {
	d := deed{room: at.label}
	if len(at.people) == 0 {
		return d, fmt.Errorf("nobody in %s sees what the bot does", at.label)
	}
	who := at.people[0]
	see := func(want lab.Want) (m lab.Message, err error) {
		want.Room = at.id
		err = who.Do(ctx, "wait", map[string]any{"want": want}, &m)
		return m, err
	}
	gone := true
	switch s.Kind {
	case bot.OutLeave:
		d.does, at.left = "leaves", true
		return d, who.Do(ctx, "waitMember", map[string]any{"room": at.id, "user": p.me, "membership": "leave"}, nil)
	case bot.OutDelete:
		// An edit is deleted, too: its words stand in an event of its own. A transcript has the message only.
		if i := slices.IndexFunc(at.heard, func(m rig.Message) bool { return m.ID == s.Target }); i >= 0 {
			d.does, at.heard = "deletes", slices.Delete(at.heard, i, i+1)
		}
		_, err := see(lab.Want{ID: s.Target, Redacted: &gone})
		return d, err
	case bot.OutReaction:
		d.does = "reacts"
		m, err := see(lab.Want{ID: s.id, Type: "m.reaction"})
		d.text, at.pressed[s.Target] = m.Key, true
		return d, err
	case bot.OutEdit:
		d.does = "edits"
		m, err := see(lab.Want{ID: s.id, Type: "m.room.message"})
		d.text = isolated.Replace(strings.TrimPrefix(m.Original, "* "))
		d.marks = rings(m)
		for i := range at.heard {
			if at.heard[i].ID == s.Target {
				at.heard[i].Text = d.text
			}
		}
		return d, err
	}
	m, err := see(lab.Want{ID: s.id, Type: "m.room.message"})
	d.does, d.text = "says", isolated.Replace(m.Original)
	marks := []string{rings(m)}
	if m.Thread != "" {
		marks = append(marks, strings.TrimSpace("thread "+code.FindString(p.textOf(at, m.Thread))))
	}
	if m.ReplyTo != "" && !m.ReplyFallback && !slices.Contains(p.cause, m.ReplyTo) {
		marks = append(marks, "reply to "+p.authorOf(at, m.ReplyTo))
	}
	d.marks = strings.Join(slices.DeleteFunc(marks, func(s string) bool { return s == "" }), ", ")
	at.heard = append(at.heard, rig.Message{ID: s.id, Author: rig.Bot, To: s.ReplyPerson, Thread: m.Thread, ReplyTo: m.ReplyTo, Text: d.text})
	return d, err
}

func rings(m lab.Message) string {
	if m.MsgType == "m.text" {
		return "rings"
	}
	return ""
}

// textOf is what the bot said in an event; "" if somebody else did.
func (p *player) textOf(at *place, event string) string {
	for _, m := range at.heard {
		if m.ID == event {
			return m.Text
		}
	}
	return ""
}

// authorOf names whose message is answered: a person, or the code that the bot's shows.
func (p *player) authorOf(at *place, event string) string {
	if shows := code.FindString(p.textOf(at, event)); shows != "" {
		return shows
	}
	return cmp.Or(p.author[event], "starling")
}

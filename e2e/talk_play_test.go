package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"starling/adapters/rig"
	"starling/bot"
	"starling/e2e/lab"
)

// player holds one conversation.
type player struct {
	w      *theatre
	dir    string // the bot's state
	sides  []side // the networks that it is held on; the first where the script names none
	ears   *ears
	engine *bot.Engine
	halt   func() error
	clock  *rig.Clock
	codes  codes

	places []*place
	said   map[string]string // room and person → her last message there
	author map[string]string // message → who said it
	cause  []string          // events that the line being played is about
}

// side is one real network, with people on it and this conversation's bot.
type side interface {
	name() string // the adapter's
	threads() bool
	me() string // the bot's address
	address(person string) string

	login(ctx context.Context, account string) error
	adapter() (adapter, error)       // on what login left behind
	ready(ctx context.Context) error // when what is said from now on reaches the adapter, which runs

	// create makes a room with its people in it, without the bot. All that follows returns when the server has it.
	create(ctx context.Context, r rig.Room) (id string, err error)
	join(ctx context.Context, at *place, person string) error
	leave(ctx context.Context, at *place, person string) error
	invite(ctx context.Context, at *place, by string) error
	remove(ctx context.Context, at *place) error
	promote(ctx context.Context, at *place, person string, moderator bool) error
	// acquaint waits until all who are in a room know of each other: else they could not read what is said next.
	acquaint(ctx context.Context, at *place) error
	// direct opens somebody's direct chat with the bot.
	direct(ctx context.Context, person string) (*place, error)

	post(ctx context.Context, at *place, person string, m posting) (event string, err error)
	// see is one deed of the bot as somebody in the room sees it; s.id names it.
	see(ctx context.Context, at *place, s sending) (glimpse, error)
}

// posting is what a person does.
type posting struct {
	verb     string // says, replies, edits, deletes, reacts, unreacts
	text     string // or the emoji
	mentions []string
	target   string // the event that is edited, deleted, reacted to or answered
	quoted   string // what the bot said there
	thread   string
	clear    bool
}

// glimpse is what a person sees of what the bot did.
type glimpse struct {
	text            string // plain
	rings           bool
	thread, replyTo string
}

// place is a room as the script knows it.
type place struct {
	side    side
	label   string
	id      string
	chapter string
	left    bool            // the bot is not there any more
	people  []string        // who is in it
	heard   []rig.Message   // what the bot said there
	pressed map[string]bool // of these, what bears a reaction
}

// hold plays a conversation and says where it goes another way than it should.
func (w *theatre) hold(ctx context.Context, dir, account string, c conversation, on ...func(*player) side) (err error) {
	p := &player{w: w, dir: dir, codes: codes{}, said: map[string]string{}, author: map[string]string{}}
	p.clock = rig.NewClock(c.begins())
	p.ears = &ears{clock: p.clock, changed: make(chan struct{})}
	for _, of := range on {
		s := of(p)
		if err := s.login(ctx, account); err != nil {
			return err
		}
		p.sides = append(p.sides, s)
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
	case "silence", "seed", "network": // what is wanted says so; chance is not ours here; the network is there
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
		from := p.ears.hears()
		if err := at.side.remove(ctx, at); err != nil {
			return err
		}
		at.left = true
		return p.ears.until(ctx, "it was removed", from, func(in bot.Incoming) bool {
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
		return p.promote(ctx, at, name, a.Directive == "promote")
	}
	return fmt.Errorf("real servers cannot play @%s", a.Directive)
}

// invited brings the bot into a new room, or into somebody's direct chat, in which it greets.
func (p *player) invited(ctx context.Context, a rig.Act) error {
	by := rig.Members(a.Options["by"])
	if len(by) != 1 {
		return errors.New("one person invites")
	}
	on, err := p.side(a)
	if err != nil {
		return err
	}
	if name, direct := strings.CutPrefix(a.Words[0], "@"); direct {
		p.ears.greet(on.address(name))
		_, err := p.direct(ctx, name)
		return err
	}
	r := spec(on, a)
	by[0].Person = on.address(by[0].Name)
	r.Members = append(r.Members, by...)
	at, err := p.open(ctx, on, a.Words[0], r)
	if err != nil {
		return err
	}
	p.ears.greet(at.id)
	return p.invite(ctx, at, by[0].Name)
}

// side is the network that a directive names, else the first.
func (p *player) side(a rig.Act) (side, error) {
	name := a.Options["on"]
	if name == "" {
		return p.sides[0], nil
	}
	i := slices.IndexFunc(p.sides, func(s side) bool { return strings.HasPrefix(s.name(), name) }) // "sig" is what scripts call it
	if i < 0 {
		return nil, fmt.Errorf("there is no network %s", name)
	}
	return p.sides[i], nil
}

// spec reads what a directive says of a room.
func spec(on side, a rig.Act) rig.Room {
	r := rig.Room{Name: a.Words[0], Encrypted: true, Members: rig.Members(a.Options["members"])}
	r.Timer, _ = rig.Duration(cmp.Or(a.Options["timer"], "0s")) // the rig has played it
	if len(a.Words) == 2 {
		r.Encrypted = a.Words[1] == "encrypted"
	}
	for i := range r.Members {
		r.Members[i].Person = on.address(r.Members[i].Name)
	}
	return r
}

// setUp makes a room as if it had been there for long.
func (p *player) setUp(ctx context.Context, a rig.Act) error {
	on, err := p.side(a)
	if err != nil {
		return err
	}
	r := spec(on, a)
	at, err := p.open(ctx, on, a.Words[0], r)
	if err != nil {
		return err
	}
	r.ID, at.chapter = at.id, a.Options["chapter"]
	home := rig.Home{Adapter: on.name(), Room: r, Lang: a.Options["lang"], Zone: a.Options["tz"], Chapter: at.chapter, Since: p.clock.Now().Add(-since)}
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
	return p.invite(ctx, at, at.people[0])
}

// greet lets the bot greet in a room, or in a person's direct chat, when it comes there.
func (w *ears) greet(where string) {
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

// open makes a room with its people in it.
func (p *player) open(ctx context.Context, on side, label string, r rig.Room) (*place, error) {
	id, err := on.create(ctx, r)
	if err != nil {
		return nil, err
	}
	at := &place{side: on, label: label, id: id, pressed: map[string]bool{}}
	for _, m := range r.Members {
		at.people = append(at.people, m.Name)
	}
	p.places = append(p.places, at)
	return at, nil
}

// invite brings the bot into a room.
func (p *player) invite(ctx context.Context, at *place, by string) error {
	from := p.ears.hears()
	if err := at.side.invite(ctx, at, by); err != nil {
		return err
	}
	if err := p.ears.until(ctx, "it is in "+at.label, from, func(in bot.Incoming) bool {
		return in.Kind == bot.KindRoom && in.Room == at.id && in.RoomChange.Joined
	}); err != nil {
		return err
	}
	return at.side.acquaint(ctx, at)
}

func (p *player) join(ctx context.Context, at *place, name string, moderator bool) error {
	from := p.ears.hears()
	if !slices.Contains(at.people, name) {
		if err := at.side.join(ctx, at, name); err != nil {
			return err
		}
		at.people = append(at.people, name)
		if err := p.ears.until(ctx, name+" has joined", from, func(in bot.Incoming) bool {
			present, told := presence(in, at.id, at.side.address(name))
			return told && present
		}); err != nil {
			return err
		}
		if err := at.side.acquaint(ctx, at); err != nil {
			return err
		}
	}
	if !moderator {
		return nil
	}
	return p.promote(ctx, at, name, true)
}

func (p *player) leave(ctx context.Context, at *place, name string) error {
	from := p.ears.hears()
	if !slices.Contains(at.people, name) {
		return fmt.Errorf("%s is not in %s", name, at.label)
	}
	if err := at.side.leave(ctx, at, name); err != nil {
		return err
	}
	at.people = slices.DeleteFunc(at.people, func(who string) bool { return who == name })
	return p.ears.until(ctx, name+" has left", from, func(in bot.Incoming) bool {
		present, told := presence(in, at.id, at.side.address(name))
		return told && !present
	})
}

// promote makes somebody a moderator, or one no more.
func (p *player) promote(ctx context.Context, at *place, name string, moderator bool) error {
	from := p.ears.hears()
	if err := at.side.promote(ctx, at, name, moderator); err != nil {
		return err
	}
	return p.ears.until(ctx, name+" has another role", from, func(in bot.Incoming) bool {
		m, ok := bot.MemberInfo{}, false
		if in.Kind == bot.KindRoom && in.Room == at.id {
			m, ok = in.RoomChange.Members[at.side.address(name)]
		}
		return ok && m.Moderator == moderator
	})
}

// presence is what the engine was told of a person's being in a room, if that was told: by itself or with all members.
func presence(in bot.Incoming, room, person string) (present, told bool) {
	switch {
	case in.Room != room:
		return false, false
	case in.Kind == bot.KindMember && in.Person == person:
		return in.Member.Joined, true
	case in.Kind == bot.KindRoom && in.RoomChange.Members != nil:
		_, present = in.RoomChange.Members[person]
		return present, true
	}
	return false, false
}

// direct gives somebody's direct chat with the bot, and opens it the first time, on the network on which she is.
func (p *player) direct(ctx context.Context, name string) (*place, error) {
	if at, err := p.place("@" + name); err == nil {
		return at, nil
	}
	on := p.sides[0]
	for _, at := range p.places {
		if slices.Contains(at.people, name) {
			on = at.side
			break
		}
	}
	at, err := on.direct(ctx, name)
	if err != nil {
		return nil, err
	}
	at.side, at.label, at.people, at.pressed = on, "@"+name, []string{name}, map[string]bool{}
	p.places = append(p.places, at)
	return at, nil
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
	if !slices.Contains(at.people, a.Person) || a.Moderator {
		if err := p.join(ctx, at, a.Person, a.Moderator); err != nil {
			return err
		}
		if err := rig.Settle(ctx, p.engine, p.clock); err != nil {
			return err
		}
	}
	from, mine, me := p.ears.hears(), at.label+" "+a.Person, at.side.address(a.Person)
	verb := a.Verb
	if a.InThread && !at.side.threads() { // one answers what would be its root
		verb = "replies"
	}
	m := posting{verb: verb, text: p.codes.translate(a.Text), mentions: p.mentions(at, a.Text), clear: a.Clear}
	switch verb {
	case "deletes", "edits":
		m.target = p.said[mine]
		p.cause = []string{m.target}
	case "reacts", "unreacts":
		to, lost := at.target(me, p.codes.translate(a.Code), true)
		if lost != nil {
			return lost
		}
		m.text, m.target = a.Emoji, to.ID
		p.cause = []string{to.ID}
		if a.Verb == "reacts" {
			at.pressed[to.ID] = true
		}
	case "replies":
		to, lost := at.target(me, p.codes.translate(a.Code), false)
		if lost != nil {
			return lost
		}
		m.target, m.thread, m.quoted = to.ID, to.Thread, to.Text
	case "says":
		if a.InThread {
			if m.thread, err = rig.Thread(at.heard, me); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("real clients do not play %q", a.Verb)
	}
	event, err := at.side.post(ctx, at, a.Person, m)
	if err != nil {
		return err
	}
	if verb == "replies" || verb == "says" {
		p.cause = []string{event}
		if m.target != "" {
			p.cause = append(p.cause, m.target)
		}
		p.said[mine], p.author[event] = event, a.Person
	}
	if at.left {
		return nil
	}
	return p.ears.until(ctx, "this was said", from, func(in bot.Incoming) bool { return in.ID == event })
}

// mentions lists whom a text names with an @, among the people of the room and the bot.
func (p *player) mentions(at *place, text string) (people []string) {
	for word := range strings.FieldsSeq(text) {
		word = strings.TrimRight(word, ".,:;!?")
		switch {
		case word == rig.Bot:
			people = append(people, at.side.me())
		case strings.HasPrefix(word, "@") && slices.Contains(at.people, word[1:]):
			people = append(people, at.side.address(word[1:]))
		}
	}
	return people
}

// target is the message of the bot that a reply or reaction is meant for.
func (at *place) target(person, shows string, press bool) (rig.Message, error) {
	return rig.Target(at.heard, person, shows, func(m rig.Message) bool { return press && at.pressed[m.ID] })
}

// look gives what the bot did since the last time, as somebody in each room sees it.
func (p *player) look(ctx context.Context) (all []deed, err error) {
	ctx, cancel := context.WithTimeout(ctx, lab.Patience)
	defer cancel()
	for _, s := range p.ears.take() {
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
	m, err := at.side.see(ctx, at, s)
	if err != nil {
		return d, err
	}
	marks := []string{}
	if m.rings {
		marks = append(marks, "rings")
	}
	switch s.Kind {
	case bot.OutLeave:
		d.does, at.left = "leaves", true
	case bot.OutDelete:
		// An edit is deleted, too: its words stand in an event of its own. A transcript has the message only.
		if i := slices.IndexFunc(at.heard, func(m rig.Message) bool { return m.ID == s.Target }); i >= 0 {
			d.does, at.heard = "deletes", slices.Delete(at.heard, i, i+1)
		}
	case bot.OutReaction:
		d.does, d.text, at.pressed[s.Target] = "reacts", m.text, true
	case bot.OutEdit:
		d.does, d.text = "edits", isolated.Replace(m.text)
		for i := range at.heard {
			if at.heard[i].ID == s.Target {
				at.heard[i].Text = d.text
			}
		}
	default:
		d.does, d.text = "says", isolated.Replace(m.text)
		if m.thread != "" {
			marks = append(marks, strings.TrimSpace("thread "+code.FindString(p.textOf(at, m.thread))))
		}
		if m.replyTo != "" && !slices.Contains(p.cause, m.replyTo) {
			marks = append(marks, "reply to "+p.authorOf(at, m.replyTo))
		}
		at.heard = append(at.heard, rig.Message{ID: s.id, Author: rig.Bot, To: s.ReplyPerson, Thread: m.thread, ReplyTo: m.replyTo, Text: d.text})
	}
	d.marks = strings.Join(marks, ", ")
	return d, nil
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

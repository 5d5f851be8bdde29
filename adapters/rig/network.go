// Package rig is a chat network in memory, and the player of conversations on it.
//
// A Network stands in for Matrix or Signal: it has their abilities, gives back ids, refuses what they would refuse, and
// fails in the ways in which networks fail when it is told to. The console lets a visitor speak on one, tests speak on
// several, and Play reads a conversation from a file and writes what the bot says because of it.
package rig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"starling/bot"
	"starling/locales/markup"
)

// LikeMatrix are the abilities of a Matrix homeserver.
func LikeMatrix() bot.Abilities {
	return bot.Abilities{Threads: true, Edits: true, Reactions: true, Deletes: true, Files: true, Idempotent: true}
}

// LikeSignal are the abilities of Signal: replies instead of threads, edits for a day and at most ten of them, and no way to
// know whether a call whose answer was lost arrived. Long texts need nothing: they travel as files by themselves.
func LikeSignal() bot.Abilities {
	return bot.Abilities{Edits: true, EditWindow: 24 * time.Hour, MaxEdits: 10, EditsLast: true, Reactions: true, Deletes: true, Files: true}
}

// Bot is the author of what the bot itself says.
const Bot = "@starling"

// Room is a room to be made.
type Room struct {
	ID        string // its address; must be new
	Name      string
	Encrypted bool
	Direct    bool
	Timer     time.Duration // after which its messages vanish; 0 = never
	Members   []Member      // people; the bot is no member of the list
}

// Member is a person in a room.
type Member struct {
	Person    string // address
	Name      string // what others see
	Moderator bool
}

// Message is something that was said, as everybody in the room sees it now.
type Message struct {
	ID      string
	Room    string
	Author  string // address; Bot for the bot
	To      string // whom the bot answers, where it says so
	Thread  string // the root; "" outside threads
	ReplyTo string
	Text    string // of the bot: in the Markdown subset of package markup
	At      time.Time
	Edits   int
	Deleted bool
}

// Event is one thing that the bot did.
type Event struct {
	bot.Outgoing
	Message string // the id of the message that was sent, edited, deleted or reacted to
	At      time.Time
}

// Network implements bot.Adapter in memory. What people do on it waits in order until the engine has taken it in; the bot's
// own deeds are told to the watcher. It outlives engines: after a crash the next one finds it as it is.
type Network struct {
	name  string
	able  bot.Abilities
	clock bot.Clock
	pulse *pulse
	watch func(Event)

	mu       sync.Mutex
	rooms    map[string]*room
	messages map[string]*Message
	order    map[string][]string // room → ids of its messages as they came
	sent     map[string]string   // idempotency key → id of what was shown
	marks    map[string][]string // message id → reactions on it, in order, as "author emoji"
	edits    map[string]string   // id of an edit → the message that it changed
	latest   map[string]string   // id of a message → that of its last edit
	next     int                 // last id given to what a person did
	queue    []step              // what the engine has yet to take in
	wake     chan struct{}
	handing  int // 1 while something is being handed over
	ever     int // how much was ever queued
	faults   faults
}

type room struct {
	Room
	joined  bool // the bot is in it
	members map[string]Member
}

// step hands one thing to the engine. It stays first in the queue until it succeeds.
type step func(ctx context.Context, in bot.Inbox) error

var (
	_ bot.Adapter      = (*Network)(nil)
	_ bot.DirectOpener = (*Network)(nil)
)

// NewNetwork makes an empty network. watch, which may be nil, is told of each thing that the bot does, one at a time a room;
// it must not call back.
func NewNetwork(name string, able bot.Abilities, clock bot.Clock, watch func(Event)) *Network {
	p := &pulse{}
	if c, ok := clock.(*Clock); ok {
		p = c.pulse
	}
	if watch == nil {
		watch = func(Event) {}
	}
	return &Network{name: name, able: able, clock: clock, pulse: p, watch: watch, rooms: map[string]*room{}, messages: map[string]*Message{}, order: map[string][]string{},
		sent: map[string]string{}, edits: map[string]string{}, latest: map[string]string{}, marks: map[string][]string{}, wake: make(chan struct{}, 1), faults: newFaults()}
}

// Name implements bot.Adapter.
func (n *Network) Name() string { return n.name }

// Abilities implements bot.Adapter.
func (n *Network) Abilities() bot.Abilities {
	n.mu.Lock()
	defer n.mu.Unlock()
	able := n.able
	if n.faults.crash {
		able.InFlight = 1 // a crash is to hit the same call each time
	}
	return able
}

// Run implements bot.Adapter. Where the network is idempotent like Matrix, what was not stored before a crash comes again; like
// on Signal it is lost otherwise.
func (n *Network) Run(ctx context.Context, in bot.Inbox) error {
	for {
		s := n.take()
		if s == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-n.wake:
				continue
			}
		}
		err := s(ctx, in)
		n.taken(err == nil)
		switch {
		case ctx.Err() != nil || errors.Is(err, bot.ErrStopped):
			return nil
		case err != nil:
			return fmt.Errorf("the engine did not take in what was said: %w", err)
		}
	}
}

// take gives what is to be handed over next; nil when there is nothing.
func (n *Network) take() step {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) == 0 {
		return nil
	}
	s := n.queue[0]
	if !n.able.Idempotent {
		n.queue = n.queue[1:]
	}
	n.handing = 1
	return s
}

// taken notes whether the engine has taken it in.
func (n *Network) taken(ok bool) {
	n.mu.Lock()
	if n.handing = 0; ok && n.able.Idempotent {
		n.queue = n.queue[1:]
	}
	n.mu.Unlock()
	n.pulse.beat()
}

// Waiting is how many things people did that the engine has not taken in.
func (n *Network) Waiting() int {
	now, _ := n.waiting()
	return now
}

// waiting says how many things people did that the engine has not taken in, and how many they ever did.
func (n *Network) waiting() (now, ever int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.able.Idempotent {
		return len(n.queue), n.ever
	}
	return len(n.queue) + n.handing, n.ever
}

// put queues a step; the caller holds the lock.
func (n *Network) put(s step) {
	n.queue = append(n.queue, s)
	n.ever++
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *Network) deliver(in bot.Incoming) {
	n.put(func(ctx context.Context, box bot.Inbox) error { return box.Deliver(ctx, in) })
}

// newID gives the next id of something that a person did; the caller holds the lock.
func (n *Network) newID() string {
	n.next++
	return fmt.Sprintf("$p%d", n.next)
}

// Create makes a room in which the bot already is, and tells the engine. It is silent: nobody invited it just now.
func (n *Network) Create(r Room) error {
	return n.create(r, func(*room) step {
		return func(ctx context.Context, in bot.Inbox) error { return in.Deliver(ctx, n.refresh(r.ID, false, "")) }
	})
}

// Invite makes a room and invites the bot into it. It comes unless that person invited it too often today.
func (n *Network) Invite(r Room, inviter string, perDay int) error {
	return n.create(r, func(made *room) step {
		made.joined = false
		return func(ctx context.Context, in bot.Inbox) error {
			ok, err := in.InviterAllowance(ctx, n.name, inviter, perDay)
			if err != nil || !ok {
				return err
			}
			n.mu.Lock()
			made.joined = true
			n.mu.Unlock()
			change := n.refresh(r.ID, true, inviter)
			change.ID = "$join " + r.ID // by it the engine knows a second greeting after a crash
			return in.Deliver(ctx, change)
		}
	})
}

func (n *Network) create(r Room, arrive func(*room) step) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.rooms[r.ID] != nil {
		return fmt.Errorf("there is a room %s already", r.ID)
	}
	made := &room{Room: r, joined: true, members: map[string]Member{}}
	for _, m := range r.Members {
		made.members[m.Person] = m
	}
	n.rooms[r.ID] = made
	n.put(arrive(made))
	return nil
}

// refresh is all that the network knows of a room.
func (n *Network) refresh(id string, fresh bool, inviter string) bot.Incoming {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.rooms[id]
	c := &bot.RoomChange{Joined: r.joined, Fresh: fresh, Inviter: inviter, Name: r.Name, Encrypted: r.Encrypted, Direct: r.Direct, Timer: r.Timer, Members: map[string]bot.MemberInfo{}}
	for _, m := range r.members {
		c.Members[m.Person] = bot.MemberInfo{Name: m.Name, Moderator: m.Moderator}
	}
	return bot.Incoming{Room: id, Kind: bot.KindRoom, Sent: n.clock.Now(), Received: n.clock.Now(), RoomChange: c}
}

// Join lets a person into a room, or changes her role there.
func (n *Network) Join(room string, m Member) error { return n.member(room, m, true) }

// Leave takes a person out of a room.
func (n *Network) Leave(room, person string) error {
	return n.member(room, Member{Person: person}, false)
}

func (n *Network) member(id string, m Member, joined bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.rooms[id]
	if r == nil {
		return fmt.Errorf("there is no room %s", id)
	}
	if joined {
		r.members[m.Person] = m
	} else {
		delete(r.members, m.Person)
	}
	n.deliver(bot.Incoming{Room: id, Kind: bot.KindMember, Person: m.Person, Name: m.Name, Sent: n.clock.Now(), Received: n.clock.Now(),
		Member: &bot.MemberChange{Joined: joined, Moderator: joined && m.Moderator}})
	return nil
}

// Member gives a person's place in a room.
func (n *Network) Member(room, person string) (Member, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.rooms[room]
	if r == nil {
		return Member{}, false
	}
	m, ok := r.members[person]
	return m, ok
}

// Has is whether there is a room with that address.
func (n *Network) Has(room string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rooms[room] != nil
}

// knows is whether a person is in any room.
func (n *Network) knows(person string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.rooms {
		if _, ok := r.members[person]; ok {
			return true
		}
	}
	return false
}

// Remove puts the bot out of a room.
func (n *Network) Remove(id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.rooms[id]
	if r == nil || !r.joined {
		return fmt.Errorf("the bot is not in %s", id)
	}
	n.left(r)
	return nil
}

// left notes that the bot is out of a room; the caller holds the lock.
func (n *Network) left(r *room) {
	r.joined = false
	n.deliver(bot.Incoming{Room: r.ID, Kind: bot.KindRoom, Sent: n.clock.Now(), Received: n.clock.Now(), RoomChange: &bot.RoomChange{}})
}

// Upgrade replaces a room by a new one with the same people, as Matrix rooms are upgraded.
func (n *Network) Upgrade(old, id string) error {
	n.mu.Lock()
	r := n.rooms[old]
	if r == nil || n.rooms[id] != nil {
		n.mu.Unlock()
		return fmt.Errorf("%s cannot be upgraded to %s", old, id)
	}
	fresh := *r
	fresh.ID = id
	n.rooms[id] = &fresh
	r.joined = false
	n.mu.Unlock()
	in := n.refresh(id, false, "")
	in.RoomChange.Replaces = old
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deliver(in)
	return nil
}

// SetTimer sets after which time a room's messages vanish; 0 = never.
func (n *Network) SetTimer(id string, after time.Duration) error {
	n.mu.Lock()
	r := n.rooms[id]
	if r == nil {
		n.mu.Unlock()
		return fmt.Errorf("there is no room %s", id)
	}
	r.Timer = after
	n.mu.Unlock()
	in := n.refresh(id, false, "")
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deliver(in)
	return nil
}

// Notice lets the network itself say something in a room, or, where that is "", to operators.
func (n *Network) Notice(room string, what bot.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deliver(bot.Incoming{Room: room, Kind: bot.KindNotice, Sent: n.clock.Now(), Received: n.clock.Now(), Notice: &what})
}

// Said is a message of a person.
type Said struct {
	Room, Person string
	Text         string
	Thread       string // the root of the thread
	ReplyTo      string // the message that is answered
	Files        []bot.File
	Mentions     []string  // addresses
	Clear        bool      // in clear text, though the room is encrypted
	Unsigned     bool      // from a device that she did not sign
	Sent         time.Time // zero: now
}

// Say lets a person say something and gives its id.
func (n *Network) Say(s Said) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	in, err := n.incoming(bot.KindText, s.Room, s.Person)
	if err != nil {
		return "", err
	}
	if n.able.Threads {
		in.Thread = s.Thread
	}
	in.ID, in.Text, in.ReplyTo, in.Files, in.Mentions = n.newID(), s.Text, n.named(s.ReplyTo), s.Files, s.Mentions
	in.Mentioned = slices.Contains(s.Mentions, Bot)
	if !s.Sent.IsZero() {
		in.Sent = s.Sent
	}
	if s.Unsigned {
		in.Trust = bot.TrustUnsigned
	}
	if s.Clear {
		in.Encrypted, in.Trust = false, bot.TrustUnknown
	}
	n.remember(&Message{ID: in.ID, Room: s.Room, Author: s.Person, Thread: in.Thread, ReplyTo: s.ReplyTo, Text: s.Text, At: in.Sent})
	n.arrive(in)
	return in.ID, nil
}

// Again delivers a person's message a second time, as networks do after a disturbance.
func (n *Network) Again(id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.messages[id]
	if m == nil {
		return fmt.Errorf("there is no message %s", id)
	}
	in, err := n.incoming(bot.KindText, m.Room, m.Author)
	if err != nil {
		return err
	}
	in.ID, in.Text, in.Thread, in.ReplyTo, in.Sent = id, m.Text, m.Thread, m.ReplyTo, m.At
	n.arrive(in)
	return nil
}

// incoming begins what a person did; the caller holds the lock.
func (n *Network) incoming(kind bot.Kind, id, person string) (bot.Incoming, error) {
	r := n.rooms[id]
	if r == nil {
		return bot.Incoming{}, fmt.Errorf("there is no room %s", id)
	}
	m, ok := r.members[person]
	if !ok {
		return bot.Incoming{}, fmt.Errorf("%s is not in %s", person, id)
	}
	in := bot.Incoming{Room: id, Person: person, Name: m.Name, Kind: kind, Sent: n.clock.Now(), Received: n.clock.Now(), Encrypted: r.Encrypted, Direct: r.Direct}
	if r.Encrypted {
		in.Trust = bot.TrustSigned
	}
	return in, nil
}

// arrive hands something to the bot if it is there to hear it; the caller holds the lock.
func (n *Network) arrive(in bot.Incoming) {
	if !n.rooms[in.Room].joined {
		return
	}
	if in.Encrypted && n.faults.hold(in) {
		return
	}
	n.deliver(in)
}

func (n *Network) remember(m *Message) {
	n.messages[m.ID] = m
	n.order[m.Room] = append(n.order[m.Room], m.ID)
}

// React puts a person's reaction on a message, or takes it off.
func (n *Network) React(room, person, target, emoji string, on bool) error {
	return n.reactAt(room, person, target, emoji, on, time.Time{})
}

// reactAt is React of a moment that is past; zero: now.
func (n *Network) reactAt(room, person, target, emoji string, on bool, sent time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	kind := bot.KindReactionOn
	if !on {
		kind = bot.KindReactOff
	}
	in, err := n.incoming(kind, room, person)
	if err != nil {
		return err
	}
	if m := n.messages[target]; m == nil || m.Room != room {
		return fmt.Errorf("there is no message %s in %s", target, room)
	}
	in.ID, in.Target, in.Text = n.newID(), n.named(target), emoji
	if !sent.IsZero() {
		in.Sent = sent
	}
	n.mark(target, person, emoji, on)
	if n.able.Threads {
		in.Encrypted, in.Trust = false, bot.TrustUnknown // reactions are clear text on Matrix
	}
	n.arrive(in)
	return nil
}

// named is the id by which phones name a message: on Signal, where each edit has a time of its own, that of what they show. The caller
// holds the lock.
func (n *Network) named(message string) string {
	if edit := n.latest[message]; edit != "" && n.able.EditsLast {
		return edit
	}
	return message
}

// mark notes a reaction; the caller holds the lock.
func (n *Network) mark(message, author, emoji string, on bool) {
	one := author + " " + emoji
	marks := slices.DeleteFunc(n.marks[message], func(m string) bool { return m == one })
	if on {
		marks = append(marks, one)
	}
	n.marks[message] = marks
}

// Reactions lists the emoji on a message, each with how many have put it there if that is more than one: "✅", "👀 2".
func (n *Network) Reactions(message string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var order []string
	count := map[string]int{}
	for _, m := range n.marks[message] {
		_, emoji, _ := strings.Cut(m, " ")
		if count[emoji]++; count[emoji] == 1 {
			order = append(order, emoji)
		}
	}
	for i, emoji := range order {
		if count[emoji] > 1 {
			order[i] = fmt.Sprintf("%s %d", emoji, count[emoji])
		}
	}
	return order
}

// Edit replaces the text of a person's own message.
func (n *Network) Edit(room, person, target, text string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	in, err := n.changed(bot.KindEdit, room, person, target)
	if err != nil {
		return err
	}
	n.messages[target].Text = text
	n.messages[target].Edits++
	in.Target, in.Text, in.Thread = n.named(target), text, n.messages[target].Thread
	n.latest[target] = in.ID
	n.arrive(in)
	return nil
}

// Delete takes back a person's own message.
func (n *Network) Delete(room, person, target string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	in, err := n.changed(bot.KindDeletion, room, person, target)
	if err != nil {
		return err
	}
	n.messages[target].Deleted = true
	if n.able.Threads {
		in.Encrypted, in.Trust = false, bot.TrustUnknown // so are redactions
	}
	n.arrive(in)
	return nil
}

func (n *Network) changed(kind bot.Kind, room, person, target string) (bot.Incoming, error) {
	in, err := n.incoming(kind, room, person)
	if err != nil {
		return in, err
	}
	if m := n.messages[target]; m == nil || m.Room != room || m.Author != person || m.Deleted {
		return in, fmt.Errorf("%s has no message %s in %s", person, target, room)
	}
	in.ID, in.Target = n.newID(), target
	return in, nil
}

// Rooms lists the addresses of all rooms, sorted.
func (n *Network) Rooms() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.rooms))
}

// Messages lists what was said in a room and not deleted, oldest first.
func (n *Network) Messages(room string) []Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []Message
	for _, id := range n.order[room] {
		if m := n.messages[id]; !m.Deleted {
			all = append(all, *m)
		}
	}
	return all
}

// Message gives a message by its id.
func (n *Network) Message(id string) (Message, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.messages[id]
	if m == nil {
		return Message{}, false
	}
	return *m, true
}

// directRoom is the address of a person's direct chat.
func directRoom(person string) string { return "!" + person }

// OpenDirect implements bot.DirectOpener.
func (n *Network) OpenDirect(_ context.Context, person string) (string, error) {
	n.mu.Lock()
	var known Member
	for _, r := range n.rooms {
		if m, ok := r.members[person]; ok {
			known = m
		}
	}
	exists := n.rooms[directRoom(person)] != nil
	n.mu.Unlock()
	if known.Person == "" {
		return "", &bot.SendError{Err: errors.New("nobody has that address"), Permanent: true}
	}
	if exists {
		return directRoom(person), nil
	}
	return directRoom(person), n.Create(Room{ID: directRoom(person), Name: known.Name, Direct: true, Encrypted: true, Members: []Member{{Person: person, Name: known.Name}}})
}

// Send implements bot.Adapter.
func (n *Network) Send(ctx context.Context, out bot.Outgoing) (string, error) {
	n.mu.Lock()
	wait, err := n.faults.outgoing(out, n.clock.Now())
	n.mu.Unlock()
	if err != nil {
		return "", err
	}
	if wait > 0 {
		if err := n.sleep(ctx, wait); err != nil {
			return "", err
		}
	}
	n.mu.Lock()
	id, ev, err := n.show(out)
	n.mu.Unlock()
	if ev != nil {
		n.watch(*ev)
	}
	return id, err
}

// sleep lets a call take its time on the network's clock.
func (n *Network) sleep(ctx context.Context, d time.Duration) error {
	var once sync.Once
	asleep := func(by int) {
		n.mu.Lock()
		n.faults.asleep += by
		n.mu.Unlock()
		n.pulse.beat()
	}
	awake := make(chan struct{})
	asleep(1)
	stop := n.clock.AfterFunc(d, func() { once.Do(func() { asleep(-1) }); close(awake) })
	select {
	case <-awake:
		return nil
	case <-ctx.Done():
		stop()
		once.Do(func() { asleep(-1) })
		return ctx.Err()
	}
}

// show makes a call take effect; the caller holds the lock. The event is nil where nobody sees a difference.
func (n *Network) show(out bot.Outgoing) (string, *Event, error) {
	refuse := func(format string, args ...any) (string, *Event, error) {
		return "", nil, &bot.SendError{Err: fmt.Errorf(format, args...), Permanent: true}
	}
	if id, ok := n.sent[out.ID]; ok && n.able.Idempotent {
		return id, nil, nil
	}
	r := n.rooms[out.Room]
	if r == nil || !r.joined {
		return "", nil, &bot.SendError{Err: errors.New("the bot is not in that room"), Permanent: true, Gone: true}
	}
	target := n.messages[out.Target]
	ev := &Event{Outgoing: out, At: n.clock.Now(), Message: out.Target}
	switch out.Kind {
	case bot.OutMessage, bot.OutEdit:
		if r.Encrypted && !out.Encrypted {
			return refuse("clear text for an encrypted room")
		}
		if !utf8.ValidString(out.Text) || strings.TrimSpace(markup.Plain(markup.Parse(out.Text))) == "" {
			return refuse("a message without a readable text")
		}
	case bot.OutFile:
		if out.File == nil {
			return refuse("a file without a file")
		}
	}
	switch out.Kind {
	case bot.OutMessage, bot.OutFile:
		id := "$" + out.ID
		for i := 2; n.messages[id] != nil; i++ {
			id = fmt.Sprintf("$%s-again%d", out.ID, i)
		}
		ev.Message = id
		n.remember(&Message{ID: id, Room: out.Room, Author: Bot, To: out.ReplyPerson, Thread: out.Thread, ReplyTo: out.ReplyTo, Text: out.Text, At: ev.At})
	case bot.OutEdit:
		if n.able.EditsLast {
			ev.Message = cmp.Or(n.edits[out.Target], out.Target)
			target = n.messages[ev.Message]
		}
		switch {
		case n.named(ev.Message) != out.Target:
			return refuse("an edit of an earlier version, which phones pass over")
		case target == nil || target.Author != Bot || target.Deleted:
			return refuse("an edit of something that the bot did not say")
		case n.able.MaxEdits > 0 && target.Edits >= n.able.MaxEdits, n.able.EditWindow > 0 && ev.At.Sub(target.At) > n.able.EditWindow:
			return refuse("too late or too often to edit that message")
		}
		target.Text = out.Text
		target.Edits++
		// An edit is an event of its own, and can be deleted by its id.
		n.edits["$"+out.ID], n.sent[out.ID], n.latest[target.ID] = target.ID, "$"+out.ID, "$"+out.ID
		return "$" + out.ID, ev, nil
	case bot.OutReaction:
		if target == nil || target.Deleted {
			return refuse("a reaction to nothing")
		}
		n.mark(out.Target, Bot, out.Text, true)
	case bot.OutDelete:
		if target == nil && n.edits[out.Target] != "" {
			return "", nil, nil // the words are gone; the message is deleted for itself
		}
		if target == nil || target.Author != Bot {
			return refuse("a deletion of something that the bot did not say")
		}
		if target.Deleted {
			return "", nil, nil
		}
		target.Deleted = true
	case bot.OutLeave:
		n.left(r)
	default:
		return refuse("this network cannot send %q", out.Kind)
	}
	n.sent[out.ID] = ev.Message
	return ev.Message, ev, nil
}

// SentAt implements bot.Dated, as Signal's ids tell it.
func (n *Network) SentAt(id string) (at time.Time, own bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := n.messages[id]
	if m == nil || n.able.Idempotent {
		return time.Time{}, false
	}
	return m.At, m.Author == Bot
}

package rig

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"starling/bot"
	"starling/locales"
)

// Options say with what a conversation is played.
type Options struct {
	// Capabilities are what the bot can do. It is called for each start of the engine.
	Capabilities func() []bot.Capability
	// Messages are what networks say, for @notice; First is what the first network can do: as Matrix, where it is zero.
	Messages []any
	First    bot.Abilities
	// Locales reads the entries; nil takes those that are built in.
	Locales func(*locales.Registry) (*locales.Bundle, error)
	// Files are what people attach and what is served.
	Files fs.FS
	// Log is the engine's log; the zero value is silent.
	Log zerolog.Logger
	// Dir is the state directory; "" is one that is deleted in the end. Database, when set, gives its database, as bot.Config has it.
	Dir      string
	Database func(dir string) string
	// Fault crashes the engine where it says so, beside what @crash asks for.
	Fault func(point string) bool
	// End is called with the engine and the networks when all is played; nil: it is not.
	End func(*bot.Engine, []*Network) error
	// ErrorsAllowed says that errors of the engine (a handler that panics, a message that cannot be made) are part of the
	// conversation; else they are an error at its end.
	ErrorsAllowed bool
	// Live says that somebody types the lines: they are not echoed, nor continued by others, and what is wrong with one is said
	// without ending the conversation.
	Live bool
}

// The defaults of a conversation.
const (
	firstNetwork  = "matrix"
	defaultSeed   = 1
	invitesPerDay = 3
	long          = 90 * 24 * time.Hour // how long the people of a room set up by @room have been there
)

func firstInstant() time.Time { return time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC) }

// Play reads a conversation from in, plays it against an engine of its own on networks in memory, and writes the transcript
// to out: each line as it stands, then what the bot says because of it. What is wrong with a line is an error that names it; a
// @silence that was not one is an error too, at the end.
func Play(ctx context.Context, in io.Reader, out io.Writer, opts Options) error {
	if opts.Dir == "" {
		dir, err := os.MkdirTemp("", "starling-talk-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		opts.Dir = dir
	}
	clock := NewClock(firstInstant())
	p := &player{ctx: ctx, out: out, opts: opts, clock: clock, outside: newOutside(clock), rooms: map[string]*place{}, said: map[string]string{}}
	p.seed(defaultSeed)
	if opts.First == (bot.Abilities{}) {
		opts.First = LikeMatrix()
	}
	p.addNetwork(firstNetwork, opts.First)
	defer p.stop()
	return p.play(newScanner(in))
}

// player plays one conversation.
type player struct {
	ctx     context.Context
	out     io.Writer
	opts    Options
	clock   *Clock
	rand    *mathrand.ChaCha8
	outside *outside
	nets    []*Network
	rooms   map[string]*place // by the name that the script uses; direct chats with @
	said    map[string]string // room and person → id of her last message

	engine   *bot.Engine
	messages *locales.Registry // what can be said
	cancel   context.CancelFunc
	done     chan error

	mu     sync.Mutex
	events []Event
	crash  string // the point at which the engine is to crash
	drawn  []byte // the state of rand at the last commit: what is handled again after a crash draws the same
	calm   bool   // no crash now

	limits bot.Limits
	away   bool     // the bot is stopped, until @restart
	cause  []string // ids of what the line being played said or answered
	spoke  bool     // the bot did something because of the line before
	wrong  []error  // each @silence that was none, and errors of the engine
}

// place is a room as the script knows it.
type place struct {
	label   string
	net     *Network
	id      string
	zone    *time.Location
	chapter string // the name of the one that it was set up in
}

func (p *player) seed(n uint64) {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], n)
	p.rand = mathrand.NewChaCha8(key)
	p.drawn = p.randState()
}

func (p *player) addNetwork(name string, able bot.Abilities) {
	p.nets = append(p.nets, NewNetwork(name, able, p.clock, func(ev Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, ev)
	}))
}

func (p *player) play(s *scanner) error {
	for {
		l, err := s.next(p.opts.Live)
		if err == io.EOF {
			err := p.end()
			return errors.Join(append(p.wrong, err)...)
		}
		if l != nil && !p.opts.Live {
			for _, raw := range l.raw {
				if _, err := fmt.Fprintln(p.out, raw); err != nil {
					return err
				}
			}
		}
		if err == nil {
			err = p.line(l)
		}
		if err != nil && p.opts.Live && p.ctx.Err() == nil && l != nil {
			_, err = fmt.Fprintln(p.out, err)
		}
		if err != nil {
			return err
		}
	}
}

func (p *player) end() error {
	var err error
	if p.away = false; p.opts.End != nil {
		if err = p.start(); err == nil {
			err = p.opts.End(p.engine, p.nets)
		}
	}
	return errors.Join(err, p.stop())
}

func (p *player) line(l *line) error {
	for _, a := range l.acts {
		if a.directive == "silence" {
			if p.spoke {
				p.wrong = append(p.wrong, fmt.Errorf("line %d: the bot was not silent", l.no))
			}
			continue
		}
		p.spoke, p.cause = false, nil
		err := p.act(a)
		if err == nil && p.engine != nil {
			if err = p.settle(); err == nil {
				err = p.flush()
			}
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", l.no, err)
		}
	}
	return nil
}

// start opens the engine on what it left behind, and runs it.
func (p *player) start() error {
	if p.engine != nil || p.away {
		return nil
	}
	var caps []bot.Capability
	if p.opts.Capabilities != nil {
		caps = p.opts.Capabilities()
	}
	reg := locales.NewRegistry()
	bot.Messages(reg, caps...)
	reg.Add(p.opts.Messages...)
	p.messages = reg
	load := p.opts.Locales
	if load == nil {
		load = locales.Load
	}
	bundle, err := load(reg)
	if err != nil {
		return err
	}
	database := ""
	if p.opts.Database != nil {
		database = p.opts.Database(p.opts.Dir)
	}
	p.becalm(true)
	p.engine, err = bot.Open(bot.Config{Dir: p.opts.Dir, Database: database, Name: "Starling", Lang: "en", Clock: p.clock, Rand: p.rand, Log: p.opts.Log,
		Messages: reg, Locales: bundle, Limits: p.limits, Fault: p.fault, NoSync: true}, caps...)
	p.becalm(false)
	if err != nil {
		p.engine = nil
		return err
	}
	p.drawn = p.randState()
	ctx, cancel := context.WithCancel(p.ctx)
	p.cancel, p.done = cancel, make(chan error, 1)
	p.outside.ready = make(chan struct{})
	adapters := []bot.Adapter{p.outside}
	for _, n := range p.nets {
		adapters = append(adapters, n)
	}
	go func() { p.done <- p.engine.Run(ctx, adapters...) }()
	<-p.outside.ready
	return nil
}

// stop ends the engine as it is ended in life; its state stays.
func (p *player) stop() error {
	if p.engine == nil {
		return nil
	}
	p.cancel()
	err := <-p.done
	if errors.Is(err, bot.ErrStopped) {
		err = nil
	}
	if n := p.engine.Status().Errors; n > 0 && !p.opts.ErrorsAllowed {
		p.wrong = append(p.wrong, fmt.Errorf("errors of the engine: %d; its log says more", n))
	}
	err = errors.Join(err, p.engine.Close())
	p.engine = nil
	return err
}

// fault is asked by the engine at each point where it could crash.
func (p *player) fault(point string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if point == "after-store" {
		p.drawn = p.randState()
	}
	if p.calm {
		return false
	}
	if p.opts.Fault != nil && p.opts.Fault(point) {
		return true
	}
	if p.crash != point {
		return false
	}
	p.crash = ""
	return true
}

func (p *player) randState() []byte {
	state, err := p.rand.MarshalBinary()
	if err != nil {
		panic(err) // it never fails
	}
	return state
}

// becalm keeps the engine from crashing while the player itself does something.
func (p *player) becalm(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calm = yes
}

// settle waits until all has happened that can happen without the clock. After a crash the bot is started again.
func (p *player) settle() error {
	for {
		err := settle(p.ctx, p.engine, p.clock, p.outside, p.nets)
		if !errors.Is(err, bot.ErrStopped) {
			return err
		}
		if err := p.again(); err != nil {
			return err
		}
	}
}

// again starts the bot after a crash.
func (p *player) again() error {
	if err := p.stop(); err != nil {
		return err
	}
	*p.rand = mathrand.ChaCha8{} // UnmarshalBinary would keep what is left in its buffer
	if err := p.rand.UnmarshalBinary(p.drawn); err != nil {
		return err
	}
	for _, n := range p.nets {
		n.crashing(false)
	}
	return p.start()
}

// flush writes what the bot did since the last time.
func (p *player) flush() error {
	p.mu.Lock()
	events := p.events
	p.events = nil
	p.mu.Unlock()
	sortEvents(events)
	for _, ev := range events {
		p.spoke = true
		if _, err := fmt.Fprintf(p.out, "[%s] %s\n", p.labelOf(ev.Room), describe(ev, p.marks(ev))); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) labelOf(id string) string {
	for _, at := range p.rooms {
		if at.id == id {
			return at.label
		}
	}
	return strings.TrimPrefix(id, "!") // a direct chat that the bot opened, or a room's former address
}

// marks says what matters about how something is said: that it rings, stands in a thread, or answers something else than what
// was just said.
func (p *player) marks(ev Event) []string {
	var marks []string
	if ev.Rings {
		marks = append(marks, "rings")
	}
	if ev.Kind != bot.OutMessage && ev.Kind != bot.OutFile {
		return marks
	}
	var net *Network
	for _, n := range p.nets {
		if _, ok := n.Message(ev.Message); ok {
			net = n
		}
	}
	if ev.Thread != "" {
		mark := "thread"
		if root, ok := net.Message(ev.Thread); ok && root.Author == Bot {
			if code := shortCode.FindString(root.Text); code != "" {
				mark += " " + code
			}
		}
		marks = append(marks, mark)
	}
	if ev.ReplyTo != "" && !slices.Contains(p.cause, ev.ReplyTo) {
		if m, ok := net.Message(ev.ReplyTo); ok {
			who := strings.TrimPrefix(m.Author, "@")
			if code := shortCode.FindString(m.Text); m.Author == Bot && code != "" {
				who = code
			}
			marks = append(marks, "reply to "+who)
		}
	}
	return marks
}

// act makes one thing happen.
func (p *player) act(a act) error {
	switch a.directive {
	case "":
		return p.deed(a)
	case "clock", "advance":
		return p.moveClock(a)
	case "seed":
		n, err := strconv.ParseUint(a.words[0], 10, 64)
		if err != nil || p.engine != nil {
			return errors.New("@seed takes a number and comes before all that happens")
		}
		p.seed(n)
		return nil
	case "limits":
		if p.engine != nil {
			return errors.New("@limits comes before all that happens")
		}
		for key, into := range map[string]*int{"person": &p.limits.Person, "room": &p.limits.Room} {
			if v, ok := a.opts[key]; ok {
				n, err := strconv.Atoi(v)
				if err != nil {
					return fmt.Errorf("@limits %s= takes a number", key)
				}
				*into = n
			}
		}
		return nil
	case "stop":
		p.away = true
		return p.stop()
	case "restart":
		p.away = false
		if err := p.stop(); err != nil {
			return err
		}
		return p.start()
	case "notice":
		return p.notice(a)
	case "network":
		return p.newNetwork(a)
	case "room":
		return p.setUpRoom(a)
	case "invite":
		return p.invite(a)
	case "crash":
		return p.armCrash(a.words[0])
	case "translator":
		return p.outside.tell(a.words)
	case "serve":
		data, err := p.file(a.words[1])
		if err != nil {
			return err
		}
		p.outside.serve(a.words[0], a.words[1], data)
		return nil
	case "limit":
		d, err := Duration(a.words[1])
		if err != nil {
			return err
		}
		n, err := p.network(a.words[0])
		if err != nil {
			return err
		}
		n.Limit(d)
		return nil
	}
	return p.roomDirective(a)
}

// roomDirective does what is about one room.
func (p *player) roomDirective(a act) error {
	at, err := p.place(a.words[0], false)
	if err != nil {
		return err
	}
	switch a.directive {
	case "join", "leave", "promote", "demote":
		return p.moveMember(at, a.directive, a.words[1])
	case "remove":
		return at.net.Remove(at.id)
	case "upgrade":
		fresh := at.id + "+"
		if err := at.net.Upgrade(at.id, fresh); err != nil {
			return err
		}
		at.id = fresh
	case "timer":
		d, err := Duration(a.words[1])
		if err != nil {
			return err
		}
		return at.net.SetTimer(at.id, d)
	case "down", "slow":
		d, err := Duration(a.words[1])
		if err != nil {
			return err
		}
		if a.directive == "down" {
			at.net.Down(at.id, d)
		} else {
			at.net.Slow(at.id, d)
		}
	case "refuse":
		if a.words[1] != "once" && a.words[1] != "forever" {
			return errors.New("@refuse takes a room, once or forever, and a code")
		}
		at.net.Refuse(at.id, a.words[2], a.words[1] == "once")
	case "nokey":
		at.net.NoKey(at.id)
	case "key":
		at.net.Key(at.id)
	}
	return nil
}

// moveClock lets time pass: everything that falls due happens at its own time and is settled before the next.
func (p *player) moveClock(a act) error {
	to, err := time.Parse(time.RFC3339, a.words[0])
	if a.directive == "advance" {
		var d time.Duration
		d, err = Duration(a.words[0])
		to = p.clock.Now().Add(d)
	}
	switch {
	case err != nil:
		return err
	case to.Before(p.clock.Now()) && p.engine == nil:
		p.clock.set(to)
		return nil
	case to.Before(p.clock.Now()):
		return errors.New("the clock cannot go back")
	}
	for p.clock.step(to) {
		if p.engine == nil {
			continue
		}
		if err := p.settle(); err != nil {
			return err
		}
		if next, ok := p.clock.due(); !ok || next.After(p.clock.Now()) {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// notice lets a network say something of its own in a room, to the room's operators alone where the room is "-".
func (p *player) notice(a act) error {
	if err := p.start(); err != nil {
		return err
	}
	at := &place{net: p.nets[0]}
	if a.words[0] != "-" {
		var err error
		if at, err = p.place(a.words[0], false); err != nil {
			return err
		}
	}
	typ := p.messages.Type(a.words[1])
	if typ == nil {
		return fmt.Errorf("no network says %q", a.words[1])
	}
	msg := reflect.New(typ).Elem()
	if f := msg.FieldByName("Name"); f.IsValid() && f.Kind() == reflect.String {
		f.SetString(a.opts["name"])
	}
	n := bot.Notice{Message: msg.Interface(), Key: a.words[1] + a.opts["name"], Operators: at.id == "" || slices.Contains(a.words[2:], "operators")}
	if slices.Contains(a.words[2:], "ask") {
		n.Ask = &bot.Ask{Kind: "agreed", Payload: json.RawMessage("{}")}
	}
	at.net.Notice(at.id, n)
	return nil
}

func (p *player) armCrash(point string) error {
	if !slices.Contains([]string{"before-store", "after-store", "before-send", "after-send"}, point) {
		return fmt.Errorf("the bot cannot crash at %q", point)
	}
	if err := p.start(); err != nil {
		return err
	}
	for _, n := range p.nets {
		n.crashing(true)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.crash = point
	return nil
}

func (p *player) newNetwork(a act) error {
	able := LikeMatrix()
	switch a.opts["like"] {
	case "", "matrix":
	case "signal":
		able = LikeSignal()
	default:
		return fmt.Errorf("no network is like %q", a.opts["like"])
	}
	if _, err := p.network(a.words[0]); err == nil || a.words[0] == p.outside.Name() {
		return fmt.Errorf("there is a network %s already", a.words[0])
	}
	// An engine gets its networks when it starts.
	if err := p.stop(); err != nil {
		return err
	}
	p.addNetwork(a.words[0], able)
	return nil
}

func (p *player) network(name string) (*Network, error) {
	for _, n := range p.nets {
		if n.Name() == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("there is no network %s", name)
}

// networkOf is the network that a directive names, else the first.
func (p *player) networkOf(a act) (*Network, error) {
	if a.opts["on"] == "" {
		return p.nets[0], nil
	}
	return p.network(a.opts["on"])
}

// place finds a room by the name that the script uses.
func (p *player) place(name string, direct bool) (*place, error) {
	if direct {
		return p.directChat(name)
	}
	if at := p.rooms[name]; at != nil {
		return at, nil
	}
	return nil, fmt.Errorf("there is no room %s", name)
}

// directChat finds a person's direct chat, and opens it the first time. It is on the network on which she was first seen.
func (p *player) directChat(person string) (*place, error) {
	label := "@" + person
	if at := p.rooms[label]; at != nil {
		return at, nil
	}
	net := p.nets[0]
	for _, n := range p.nets {
		if n.knows("@" + person) {
			net = n
			break
		}
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	at := &place{label: label, net: net, id: directRoom("@" + person), zone: time.UTC}
	p.rooms[label] = at
	if net.Has(at.id) { // the bot opened it
		return at, nil
	}
	return at, net.Create(Room{ID: at.id, Name: person, Direct: true, Encrypted: true, Members: []Member{{Person: "@" + person, Name: person}}})
}

func members(list string) []Member {
	var all []Member
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			all = append(all, memberNamed(name))
		}
	}
	return all
}

// memberNamed reads "ines" or "ines*".
func memberNamed(s string) Member {
	name, moderator := strings.CutSuffix(s, "*")
	return Member{Person: "@" + name, Name: name, Moderator: moderator}
}

// newRoom begins a room that a directive names.
func (p *player) newRoom(a act) (*place, Room, error) {
	name := a.words[0]
	r := Room{ID: "!" + name, Name: name, Encrypted: true, Members: members(a.opts["members"])}
	if person, direct := strings.CutPrefix(name, "@"); direct {
		r.ID, r.Name, r.Direct = directRoom(name), person, true
	}
	if len(a.words) == 2 {
		if a.words[1] != "plain" && a.words[1] != "encrypted" {
			return nil, r, fmt.Errorf("a room is plain or encrypted, not %q", a.words[1])
		}
		r.Encrypted = a.words[1] == "encrypted"
	}
	if p.rooms[name] != nil {
		return nil, r, fmt.Errorf("there is a room %s already", name)
	}
	if timer := a.opts["timer"]; timer != "" {
		d, err := Duration(timer)
		if err != nil {
			return nil, r, err
		}
		r.Timer = d
	}
	net, err := p.networkOf(a)
	if err != nil {
		return nil, r, err
	}
	if !r.Encrypted && !net.Abilities().Threads && net != p.nets[0] {
		return nil, r, fmt.Errorf("all rooms on %s are encrypted", net.Name())
	}
	at := &place{label: name, net: net, id: r.ID, zone: time.UTC}
	if tz := a.opts["tz"]; tz != "" {
		if at.zone, err = time.LoadLocation(tz); err != nil {
			return nil, r, fmt.Errorf("there is no time zone %s", tz)
		}
	}
	if err := p.start(); err != nil {
		return nil, r, err
	}
	p.rooms[name] = at
	return at, r, nil
}

func (p *player) invite(a act) error {
	if a.opts["by"] == "" {
		return errors.New("@invite says who invites: by=ines")
	}
	at, r, err := p.newRoom(a)
	if err != nil {
		return err
	}
	by := memberNamed(a.opts["by"])
	r.Members = append(r.Members, by)
	return at.net.Invite(r, by.Person, invitesPerDay)
}

// setUpRoom makes a room as if it had been set up long ago: nothing is said about it.
func (p *player) setUpRoom(a act) error {
	at, r, err := p.newRoom(a)
	if err != nil {
		return err
	}
	if p.engine == nil {
		return errors.New("the bot is stopped")
	}
	if err := p.settle(); err != nil { // the engine has just started
		return err
	}
	at.chapter = a.opts["chapter"]
	home := Home{Adapter: at.net.Name(), Room: r, Lang: a.opts["lang"], Zone: a.opts["tz"], Chapter: at.chapter, Since: p.clock.Now().Add(-long)}
	for name := range strings.SplitSeq(a.opts["follows"], ",") {
		if other := p.rooms[name]; other != nil && other.chapter != "" {
			name = other.chapter
		}
		if name != "" {
			home.Follows = append(home.Follows, name)
		}
	}
	p.becalm(true)
	defer p.becalm(false)
	if err := p.engine.Do(p.ctx, "a room is set up", home.SetUp); err != nil {
		return err
	}
	return at.net.Create(r)
}

func (p *player) moveMember(at *place, how, name string) error {
	m := memberNamed(name)
	old, there := at.net.Member(at.id, m.Person)
	if how != "join" && !there {
		return fmt.Errorf("%s is not in %s", m.Name, at.label)
	}
	switch how {
	case "leave":
		return at.net.Leave(at.id, m.Person)
	case "promote", "demote":
		m = old
		m.Moderator = how == "promote"
	}
	return at.net.Join(at.id, m)
}

func (p *player) file(name string) ([]byte, error) {
	if p.opts.Files == nil {
		return nil, fmt.Errorf("there is no file %s", name)
	}
	data, err := fs.ReadFile(p.opts.Files, name)
	if err != nil {
		return nil, fmt.Errorf("there is no file %s", name)
	}
	return data, nil
}

// deed lets a person say or do something.
func (p *player) deed(a act) error {
	at, err := p.place(a.room, a.direct)
	if err != nil {
		return err
	}
	if err := p.start(); err != nil {
		return err
	}
	me := "@" + a.person
	if m, there := at.net.Member(at.id, me); !there || a.moderator && !m.Moderator {
		if err := at.net.Join(at.id, Member{Person: me, Name: a.person, Moderator: a.moderator || m.Moderator}); err != nil {
			return err
		}
		if p.engine != nil {
			if err := p.settle(); err != nil { // her joining is a thing of its own
				return err
			}
		}
	}
	mine := at.label + " " + me
	switch a.verb {
	case "reacts", "unreacts":
		m, err := p.target(at, me, a.code, true)
		if err != nil {
			return err
		}
		p.cause = []string{m.ID}
		var sent time.Time
		if a.sent != "" {
			if sent, err = p.earlier(a.sent, at.zone); err != nil {
				return err
			}
		}
		return at.net.reactAt(at.id, me, m.ID, a.emoji, a.verb == "reacts", sent)
	case "edits", "deletes":
		id := p.said[mine]
		if id == "" {
			return fmt.Errorf("%s has said nothing in %s", a.person, at.label)
		}
		p.cause = []string{id}
		if a.verb == "deletes" {
			return at.net.Delete(at.id, me, id)
		}
		return at.net.Edit(at.id, me, id, a.text)
	}
	s := Said{Room: at.id, Person: me, Text: a.text, Clear: a.clear, Unsigned: a.unsigned, Mentions: mentions(at, a.text)}
	if a.sent != "" {
		if s.Sent, err = p.earlier(a.sent, at.zone); err != nil {
			return err
		}
	}
	if a.file != "" {
		data, err := p.file(a.file)
		if err != nil {
			return err
		}
		s.Files = []bot.File{{Name: a.file, Type: mediaType(a.file), Size: int64(len(data)), URL: a.file}}
	}
	if a.verb == "replies" {
		m, err := p.target(at, me, a.code, false)
		if err != nil {
			return err
		}
		s.ReplyTo, s.Thread = m.ID, m.Thread
		p.cause = []string{m.ID}
	}
	switch {
	case a.thread && at.net == p.nets[0] && !at.net.Abilities().Threads: // a conversation of threads, held where there are none
		m, err := p.target(at, me, "", false)
		if err != nil {
			return err
		}
		s.ReplyTo = m.ID
		p.cause = []string{m.ID}
	case a.thread:
		if s.Thread, err = p.thread(at, me); err != nil {
			return err
		}
	}
	if a.again {
		if id := p.saidBefore(at, me, a.text); id != "" {
			p.cause = append(p.cause, id)
			return at.net.Again(id)
		}
	}
	id, err := at.net.Say(s)
	if err != nil {
		return err
	}
	p.cause = append(p.cause, id)
	p.said[mine] = id
	if a.again {
		return at.net.Again(id)
	}
	return nil
}

// mentions lists the people of the room, and the bot, whose name stands in a text after an @.
func mentions(at *place, text string) []string {
	var all []string
	for word := range strings.FieldsSeq(text) {
		word = strings.TrimRight(word, ".,:;!?")
		if _, ok := at.net.Member(at.id, word); ok || word == Bot {
			all = append(all, word)
		}
	}
	return all
}

// target is the message of the bot that a reply or reaction is meant for.
func (p *player) target(at *place, person, code string, press bool) (Message, error) {
	m, err := Target(at.net.Messages(at.id), person, code, func(m Message) bool { return press && len(at.net.Reactions(m.ID)) > 0 })
	if err != nil {
		return m, fmt.Errorf("in %s: %w", at.label, err)
	}
	return m, nil
}

// thread is the thread that a person means.
func (p *player) thread(at *place, person string) (string, error) {
	if !at.net.Abilities().Threads {
		return "", fmt.Errorf("there are no threads on %s", at.net.Name())
	}
	root, err := Thread(at.net.Messages(at.id), person)
	if err != nil {
		return "", fmt.Errorf("in %s: %w", at.label, err)
	}
	return root, nil
}

// saidBefore is the id of a person's last message with that text; "" if there is none.
func (p *player) saidBefore(at *place, person, text string) string {
	id := ""
	for _, m := range at.net.Messages(at.id) {
		if m.Author == person && m.Text == text {
			id = m.ID
		}
	}
	return id
}

// earlier reads when something was sent that arrives now: a time of the last 24 hours in the room's zone, or a whole date.
func (p *player) earlier(s string, zone *time.Location) (time.Time, error) {
	now := p.clock.Now().In(zone)
	if t, err := time.ParseInLocation("2006-01-02 15:04", s, zone); err == nil && !t.After(now) {
		return t, nil
	}
	t, err := time.ParseInLocation("15:04", s, zone)
	if err != nil {
		return t, fmt.Errorf("%q is not when something was sent: 10:00, or 2026-11-22 10:00", s)
	}
	sent := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, zone)
	if sent.After(now) {
		sent = sent.AddDate(0, 0, -1)
	}
	return sent, nil
}

// PlayText is Play of a text, giving the transcript also where it ends in an error.
func PlayText(ctx context.Context, script string, opts Options) (string, error) {
	var out bytes.Buffer
	err := Play(ctx, strings.NewReader(script), &out, opts)
	return out.String(), err
}

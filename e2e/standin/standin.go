// Package standin is a stand-in for a Matrix homeserver: plain net/http, everything in memory, and as slow, strict or
// broken as a test or a benchmark wants it. It serves what a bot needs in rooms that are not encrypted (client-server
// API v1.11): login, sync, sending with idempotent transaction ids, state, membership, account data, and keys that are
// kept but never used. It checks no power levels and knows no federation. The people in its rooms are moved from Go.
package standin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Name is the server's name: people are called @ana:standin.
const Name = "standin"

// What is kept, at most.
const (
	maxBody   = 1 << 20 // octets of one request
	maxEvents = 10_000  // events of one room; when there are twice as many, the older half goes
	maxTxns   = 200_000 // remembered transaction ids; the oldest half goes
)

// Options says how the server behaves. The zero value is a fast and faultless one.
type Options struct {
	// Delay is how long every call takes, beside a sync's own wait.
	Delay time.Duration
	// Limit is what one account may send; beyond it the answer is 429 with retry_after_ms.
	Limit Limit
	// Fault, if set, is asked before every call. It may be called from many goroutines at once. Break sets another.
	Fault func(Call) Fault
}

// Call is one request, as a Fault function sees it.
type Call struct {
	Op   string // the route: "sync", "send", "redact", "state", "join", …
	User string // who calls; "" before login
	Room string
	Type string // of the event that is sent
	Txn  string // transaction id, for what has one
}

// Fault is what goes wrong with a call; the zero value is nothing.
type Fault struct {
	Delay  time.Duration // it takes so much longer
	Status int           // it is answered with this HTTP status, e.g. 502
	Body   string        // and this, in place of what the API says; without a status it is 200
	Cut    Cut
	Done   bool // it is done all the same: only the answer goes wrong
}

func (f Fault) breaks() bool { return f.Status != 0 || f.Body != "" || f.Cut != Whole }

// Cut says where the connection closes.
type Cut int

const (
	Whole    Cut = iota
	Silently     // before the answer
	Midway       // in the middle of the answer; for what is done
)

// Event is one event in a room.
type Event struct {
	ID, Room, Sender, Type string
	StateKey               *string
	Content                map[string]any
	Redacts                string
	Txn                    string    // the transaction id it was sent with
	At                     time.Time // when it arrived here
	Redacted               bool

	pos     int64
	service bool // an application service sent it
}

// Text is the body of a message.
func (e Event) Text() string {
	text, _ := e.Content["body"].(string)
	return text
}

// Stats is what the server has counted since its start.
type Stats struct {
	Calls    map[string]int // by Call.Op
	Unknown  map[string]int // requests that it does not know, by method and path
	Repeated int            // sends whose transaction id had come before
	Limited  int            // answers with status 429 by Limit
	InFlight int            // the most calls at once, without syncs
}

// Server is one homeserver. All methods are safe for concurrent use.
type Server struct {
	options Options
	mux     *http.ServeMux
	now     func() time.Time

	mu       sync.Mutex // guards what follows
	pos      int64      // the stream: every event gets the next one
	number   int64      // for ids
	rooms    map[string]*room
	slow     map[string]time.Duration
	accounts map[string]*account
	tokens   map[string]session
	services map[string]bool   // tokens of application services
	txns     map[string]string // user, room, type, transaction id -> event id
	oldTxns  map[string]string
	changed  chan struct{} // closed and replaced whenever something happened
	stats    Stats
	flying   int
}

type session struct{ user, device string }

type room struct {
	events []*Event
	state  map[stateKey]*Event
}

type stateKey struct{ kind, key string }

type account struct {
	password string
	data     map[string]json.RawMessage // account data by type, with the room in front where it has one
	filters  []filter
	devices  map[string]json.RawMessage // device keys
	cross    map[string]json.RawMessage // cross-signing keys by usage
	oneTime  map[string]int             // one-time keys left, by algorithm
	meter    meter
}

// New makes a server without accounts and rooms. It is an http.Handler; Listen serves it.
func New(options Options) *Server {
	s := &Server{
		options:  options,
		now:      time.Now,
		rooms:    make(map[string]*room),
		slow:     make(map[string]time.Duration),
		accounts: make(map[string]*account),
		tokens:   make(map[string]session),
		txns:     make(map[string]string),
		changed:  make(chan struct{}),
		stats:    Stats{Calls: make(map[string]int), Unknown: make(map[string]int)},
	}
	s.mux = s.routes()
	return s
}

// Listen serves on an address of this machine ("" is a free port of 127.0.0.1) and returns the base URL. It ends with stop.
func (s *Server) Listen(address string) (url string, stop func() error, err error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	stop = func() error {
		err := server.Close()
		<-ended
		return err
	}
	return "http://" + listener.Addr().String(), stop, nil
}

// Account makes an account and returns its full id.
func (s *Server) Account(user, password string) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id = "@" + user + ":" + Name
	s.account(id).password = password
	return id
}

// Room makes a room with these people in it (full ids and power levels) and returns its id.
func (s *Server) Room(name string, members map[string]int) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	creator := "@founder:" + Name
	id = s.newRoom(creator, name, "")
	levels := map[string]any{creator: 100}
	for user, level := range members {
		levels[user] = level
	}
	s.put(id, creator, "m.room.power_levels", "", map[string]any{"users": levels, "users_default": 0, "state_default": 50})
	for user := range members {
		s.put(id, user, "m.room.member", user, map[string]any{"membership": "join"})
	}
	return id
}

// Say makes somebody send a text and returns the event's id.
func (s *Server) Say(room, user, text string) (event string) {
	return s.Send(room, user, "m.room.message", map[string]any{"msgtype": "m.text", "body": text, "m.mentions": map[string]any{}})
}

// React makes somebody put an emoji on an event.
func (s *Server) React(room, user, event, emoji string) (reaction string) {
	return s.Send(room, user, "m.reaction", map[string]any{
		"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": event, "key": emoji},
	})
}

// Send makes somebody send any event that is no state.
func (s *Server) Send(room, user, kind string, content map[string]any) (event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.append(&Event{Room: room, Sender: user, Type: kind, Content: content}).ID
}

// SetState makes somebody set a room's state.
func (s *Server) SetState(room, user, kind, key string, content map[string]any) (event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(room, user, kind, key, content).ID
}

// Membership makes by set somebody's membership: "invite", "join", "leave", "ban".
func (s *Server) Membership(room, by, user, membership string) {
	s.SetState(room, by, "m.room.member", user, map[string]any{"membership": membership})
}

// Break sets what goes wrong from now on; nil is nothing.
func (s *Server) Break(fault func(Call) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Fault = fault
}

// Slow makes every call about a room take so much longer; 0 ends it.
func (s *Server) Slow(room string, by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow[room] = by
}

// Events lists what is known of a room, in order of arrival.
func (s *Server) Events(room string) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eventsOf(room)
}

func (s *Server) eventsOf(id string) []Event {
	r := s.rooms[id]
	if r == nil {
		return nil
	}
	all := make([]Event, len(r.events))
	for i, e := range r.events {
		all[i] = *e
	}
	return all
}

// Private lists what a bot's log must not hold: what people typed, and apart from it the lines of the bot's own, the ids and names of
// rooms and people, and the tokens. Events' ids are left out: they are many, and known by their form.
func (s *Server) Private(bot string) (typed, other []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	texts, rest := map[string]bool{}, map[string]bool{}
	for id, r := range s.rooms {
		rest[id] = true
		for _, e := range r.events {
			name, _ := e.Content["name"].(string)
			rest[e.Sender], rest[localpart(e.Sender)], rest[name] = true, true, true
			if e.Sender != bot {
				texts[e.Text()] = true
				continue
			}
			for line := range strings.SplitSeq(e.Text(), "\n") {
				rest[line] = true
			}
		}
	}
	return slices.Collect(maps.Keys(texts)), slices.Concat(slices.Collect(maps.Keys(rest)), slices.Collect(maps.Keys(s.tokens)), slices.Collect(maps.Keys(s.services)))
}

func localpart(user string) string { return strings.TrimPrefix(strings.Split(user, ":")[0], "@") }

// Wait returns the first event of a room that fits, as soon as there is one.
func (s *Server) Wait(ctx context.Context, room string, fits func(Event) bool) (Event, error) {
	for {
		s.mu.Lock()
		events, changed := s.eventsOf(room), s.changed
		s.mu.Unlock()
		for _, e := range events {
			if fits(e) {
				return e, nil
			}
		}
		select {
		case <-ctx.Done():
			return Event{}, fmt.Errorf("no such event among %d in the room: %w", len(events), ctx.Err())
		case <-changed:
		}
	}
}

// WaitMember waits until somebody's membership of a room is this.
func (s *Server) WaitMember(ctx context.Context, room, user, membership string) error {
	for {
		s.mu.Lock()
		now, changed := s.membership(room, user), s.changed
		s.mu.Unlock()
		if now == membership {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("membership is %q, not %q: %w", now, membership, ctx.Err())
		case <-changed:
		}
	}
}

// Stats returns what was counted so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Calls, stats.Unknown = maps.Clone(stats.Calls), maps.Clone(stats.Unknown)
	return stats
}

// What follows is called with the lock held.

func (s *Server) account(id string) *account {
	a := s.accounts[id]
	if a == nil {
		a = &account{
			data:    make(map[string]json.RawMessage),
			devices: make(map[string]json.RawMessage),
			cross:   make(map[string]json.RawMessage),
			oneTime: map[string]int{"signed_curve25519": 0},
		}
		s.accounts[id] = a
	}
	return a
}

func (s *Server) newRoom(creator, name, version string) (id string) {
	if version == "" {
		version = "10"
	}
	s.number++
	id = fmt.Sprintf("!room%d:%s", s.number, Name)
	s.rooms[id] = &room{state: make(map[stateKey]*Event)}
	s.put(id, creator, "m.room.create", "", map[string]any{"creator": creator, "room_version": version})
	s.put(id, creator, "m.room.member", creator, map[string]any{"membership": "join"})
	s.put(id, creator, "m.room.power_levels", "", map[string]any{"users": map[string]any{creator: 100}})
	s.put(id, creator, "m.room.join_rules", "", map[string]any{"join_rule": "invite"})
	if name != "" {
		s.put(id, creator, "m.room.name", "", map[string]any{"name": name})
	}
	return id
}

// put sets state.
func (s *Server) put(room, sender, kind, key string, content map[string]any) *Event {
	return s.append(&Event{Room: room, Sender: sender, Type: kind, StateKey: &key, Content: content})
}

// append gives an event its id and place, and wakes whoever waits.
func (s *Server) append(e *Event) *Event {
	s.pos++
	s.number++
	e.pos, e.ID, e.At = s.pos, eventID(s.number), s.now()
	if r := s.rooms[e.Room]; r != nil {
		if len(r.events) >= 2*maxEvents {
			r.events = append([]*Event(nil), r.events[maxEvents:]...)
		}
		r.events = append(r.events, e)
		if e.StateKey != nil {
			r.state[stateKey{e.Type, *e.StateKey}] = e
		}
	}
	s.wake()
	return e
}

// eventID is of the form that real servers give, so that who searches a log for ids finds these.
func eventID(number int64) string {
	hash := sha256.Sum256(strconv.AppendInt(nil, number, 10))
	return "$" + base64.RawURLEncoding.EncodeToString(hash[:])
}

func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) membership(id, user string) string {
	if r := s.rooms[id]; r != nil {
		if e := r.state[stateKey{"m.room.member", user}]; e != nil {
			membership, _ := e.Content["membership"].(string)
			return membership
		}
	}
	return ""
}

// remembered returns the event that a transaction id stands for, if it has come before.
func (s *Server) remembered(txn string) (event string, ok bool) {
	if event, ok = s.txns[txn]; !ok {
		event, ok = s.oldTxns[txn]
	}
	return event, ok
}

func (s *Server) remember(txn, event string) {
	if len(s.txns) >= maxTxns/2 {
		s.oldTxns, s.txns = s.txns, make(map[string]string)
	}
	s.txns[txn] = event
}

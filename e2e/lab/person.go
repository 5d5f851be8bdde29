package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync/atomic"
)

// Room says what room is made.
type Room struct {
	Name    string
	Plain   bool           // without encryption
	Invite  []string       // full ids
	Power   map[string]int // power levels besides the maker's own 100
	Direct  string         // makes a direct chat with that person
	Events  map[string]int // power needed to send a type of state event
	Version string         // room version; "" = the server's default
	After   string         // the room that it says it was upgraded from
}

// CreateRoom makes a room and returns its id when it has come down this person's sync.
func (p *Person) CreateRoom(room Room) (id string) {
	p.t.Helper()
	id, err := p.Open(context.Background(), room)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// Open is CreateRoom with an error.
func (p *Person) Open(ctx context.Context, room Room) (id string, err error) {
	power := map[string]any{}
	if room.Power != nil {
		users := map[string]int{p.ID: 100}
		maps.Copy(users, room.Power)
		power["users"] = users
	}
	if room.Events != nil {
		power["events"] = room.Events
	}
	options := map[string]any{"name": room.Name, "preset": "private_chat", "visibility": "private", "power_level_content_override": power}
	if room.Version != "" {
		options["room_version"] = room.Version
	}
	if room.After != "" {
		options["creation_content"] = map[string]any{"predecessor": map[string]any{"room_id": room.After}}
	}
	if !room.Plain {
		options["initial_state"] = []any{map[string]any{
			"type": "m.room.encryption", "state_key": "", "content": map[string]any{"algorithm": "m.megolm.v1.aes-sha2"},
		}}
	}
	invite := room.Invite
	if room.Direct != "" {
		options["is_direct"], invite = true, append(invite, room.Direct)
		delete(options, "name")
	}
	if len(invite) > 0 {
		options["invite"] = invite
	}
	args := map[string]any{"options": options, "encrypted": !room.Plain}
	if room.Direct != "" {
		args["direct"] = room.Direct
	}
	err = p.Do(ctx, "createRoom", args, &id)
	p.humans.note(id, room.Name)
	return id, err
}

// Upgrade replaces a room by one of the given version and returns the new one's id.
func (p *Person) Upgrade(room, version string) (id string) {
	p.t.Helper()
	p.must("upgrade", map[string]any{"room": room, "version": version}, &id)
	return id
}

// Invite asks user (a full id) in.
func (p *Person) Invite(room, user string) { p.t.Helper(); p.about("invite", room, user) }

// Kick removes user from the room.
func (p *Person) Kick(room, user string) { p.t.Helper(); p.about("kick", room, user) }

// Ban removes user from the room for good.
func (p *Person) Ban(room, user string) { p.t.Helper(); p.about("ban", room, user) }

// Withhold makes this person's client keep back the keys of what she says from now on, without knowing it.
func (p *Person) Withhold(room string) {
	p.t.Helper()
	p.must("withhold", map[string]any{"room": room}, nil)
}

// HandOver sends the keys that were kept back, LoseKeys forgets them. Both return how many there were; no more are kept.
func (p *Person) HandOver() (keys int) { p.t.Helper(); p.must("handOver", nil, &keys); return keys }
func (p *Person) LoseKeys() (keys int) { p.t.Helper(); p.must("lose", nil, &keys); return keys }

// Uploads says whether this person's client can upload one-time keys; at first it can.
func (p *Person) Uploads(on bool) {
	p.t.Helper()
	p.must("uploads", map[string]any{"on": on}, nil)
}

// Join enters a room and waits until that has come down the sync.
func (p *Person) Join(room string) { p.t.Helper(); p.must("join", map[string]any{"room": room}, nil) }

// Leave leaves a room.
func (p *Person) Leave(room string) { p.t.Helper(); p.must("leave", map[string]any{"room": room}, nil) }

// Sign sets up cross-signing for who came without (Options.Unsigned): her device is then her own.
func (p *Person) Sign() {
	p.t.Helper()
	p.must("sign", map[string]any{"user": p.Name, "password": p.Name + "-password"}, nil)
}

// SetPower gives user a power level: 50 and more is a moderator.
func (p *Person) SetPower(room, user string, level int) {
	p.t.Helper()
	p.must("setPower", map[string]any{"room": room, "user": user, "level": level}, nil)
}

// SetState sends a state event and returns its id.
func (p *Person) SetState(room, kind, key string, content any) (event string) {
	p.t.Helper()
	p.must("setState", map[string]any{"room": room, "type": kind, "key": key, "content": content}, &event)
	return event
}

func (p *Person) about(verb, room, user string) {
	p.t.Helper()
	p.must(verb, map[string]any{"room": room, "user": user}, nil)
}

// Text is the content of a plain text message; the functions With… add to it.
func Text(text string) map[string]any { return map[string]any{"msgtype": "m.text", "body": text} }

// WithThread puts content into the thread that begins with root, as Element does.
func WithThread(content map[string]any, root string) map[string]any {
	content["m.relates_to"] = map[string]any{
		"rel_type": "m.thread", "event_id": root, "is_falling_back": true, "m.in_reply_to": map[string]any{"event_id": root},
	}
	return content
}

// WithReply makes content an answer to the event; in a thread it stays there.
func WithReply(content map[string]any, event string) map[string]any {
	relation, inThread := content["m.relates_to"].(map[string]any)
	if !inThread {
		relation = map[string]any{}
		content["m.relates_to"] = relation
	} else {
		relation["is_falling_back"] = false
	}
	relation["m.in_reply_to"] = map[string]any{"event_id": event}
	return content
}

// WithMention mentions people by the network's own means.
func WithMention(content map[string]any, users ...string) map[string]any {
	content["m.mentions"] = map[string]any{"user_ids": users}
	return content
}

// Voice is the content of a voice message, Photo of a picture. Nothing stands behind their addresses.
func Voice() map[string]any {
	return map[string]any{
		"msgtype": "m.audio", "body": "voice.ogg", "url": "mxc://" + ServerName + "/voice",
		"info": map[string]any{"mimetype": "audio/ogg", "size": 4096, "duration": 3000}, "org.matrix.msc3245.voice": map[string]any{},
	}
}

// Photo is the content of a picture.
func Photo() map[string]any {
	return map[string]any{
		"msgtype": "m.image", "body": "photo.jpg", "url": "mxc://" + ServerName + "/photo",
		"info": map[string]any{"mimetype": "image/jpeg", "size": 4096},
	}
}

// Say sends a text and returns its event id, when the server has it.
func (p *Person) Say(room, text string) (event string) {
	p.t.Helper()
	return p.Send(room, Text(text))
}

// SayInThread sends a text into the thread that begins with root.
func (p *Person) SayInThread(room, root, text string) (event string) {
	p.t.Helper()
	return p.Send(room, WithThread(Text(text), root))
}

// Reply sends a text that answers an event.
func (p *Person) Reply(room, to, text string) (event string) {
	p.t.Helper()
	return p.Send(room, WithReply(Text(text), to))
}

// Send sends a message with any content, encrypted where the room is.
func (p *Person) Send(room string, content map[string]any) (event string) {
	p.t.Helper()
	return p.send(room, "m.room.message", content, false)
}

var clearNumber atomic.Int64

// SendClear sends a message in clear text, whatever the room wants.
func (p *Person) SendClear(room string, content map[string]any) (event string) {
	p.t.Helper()
	return p.send(room, "m.room.message", content, true)
}

// Edit replaces the text of an own message.
func (p *Person) Edit(room, event, text string) (edit string) {
	p.t.Helper()
	return p.Send(room, Replacing(Text(text), event))
}

// Replacing is the content of an edit that puts content in the place of the event's.
func Replacing(content map[string]any, event string) map[string]any {
	edit := Text("* " + content["body"].(string))
	edit["m.new_content"] = content
	edit["m.relates_to"] = map[string]any{"rel_type": "m.replace", "event_id": event}
	return edit
}

// React puts an emoji on an event; deleting what it returns takes it off again.
func (p *Person) React(room, event, emoji string) (reaction string) {
	p.t.Helper()
	return p.send(room, "m.reaction", Reacting(event, emoji), false)
}

// Reacting is the content of a reaction on an event.
func Reacting(event, emoji string) map[string]any {
	return map[string]any{"m.relates_to": map[string]any{"rel_type": "m.annotation", "event_id": event, "key": emoji}}
}

// Unreact takes this person's emoji off an event, once it has been seen there.
func (p *Person) Unreact(room, event, emoji string) {
	p.t.Helper()
	message := p.Wait(Want{Room: room, ID: event, Reaction: emoji, By: p.ID})
	for _, r := range message.Reactions {
		if r.Key == emoji && r.Person == p.ID {
			p.Delete(room, r.ID)
		}
	}
}

// Delete redacts an event.
func (p *Person) Delete(room, event string) {
	p.t.Helper()
	p.must("redact", map[string]any{"room": room, "id": event}, nil)
}

func (p *Person) send(room, kind string, content map[string]any, inClear bool) (event string) {
	p.t.Helper()
	event, err := p.Post(context.Background(), room, kind, content, inClear)
	if err != nil {
		p.t.Fatal(err)
	}
	return event
}

// Post sends an event of any kind, in clear text if that is asked for, and returns its id.
func (p *Person) Post(ctx context.Context, room, kind string, content map[string]any, inClear bool) (event string, err error) {
	args := map[string]any{"room": room, "type": kind, "content": content}
	if inClear {
		args["clear"], args["txn"] = true, "clear"+strconv.FormatInt(clearNumber.Add(1), 10)
	}
	err = p.Do(ctx, "send", args, &event)
	p.humans.note(event)
	if text, ok := content["body"].(string); ok {
		p.humans.note(parts(text)...)
	}
	return event, err
}

// Message is what a person's client shows of one event.
type Message struct {
	Seq           int // its place in what this person's client has seen
	ID            string
	Room          string
	Sender        string
	Type          string // "m.room.message", "m.reaction", …, after decryption
	StateKey      *string
	MsgType       string
	Body          string // the latest wording
	Original      string // the first
	FormattedBody string
	Thread        string // the thread's root
	ReplyTo       string // what it answers
	ReplyFallback bool   // ReplyTo is only there for clients without threads
	Relation      string // rel_type: "m.thread", "m.replace", "m.annotation"
	Target        string // what is edited, reacted to or redacted
	Key           string // a reaction's emoji
	Mentions      *Mentions
	Edits         int
	Reactions     []Reaction
	Redacted      bool
	Encrypted     bool   // it crossed the wire encrypted
	Undecryptable string // why it could not be read
	Membership    string
	Shield        string // "none", "grey", "red" for what could be decrypted
	ShieldReason  int    // the SDK's EventShieldReason
	Content       json.RawMessage
}

// String is a line for what a test says when it fails.
func (m Message) String() string {
	s := fmt.Sprintf("%s %s %q from %s", m.MsgType, m.Type, m.Body, m.Sender)
	for name, value := range map[string]string{"thread": m.Thread, "reply to": m.ReplyTo, "key": m.Key, "undecryptable": m.Undecryptable, "shield": m.Shield} {
		if value != "" {
			s += ", " + name + " " + value
		}
	}
	return s + fmt.Sprintf(", mentions %+v, %d edits, reactions %v, encrypted %v", m.Mentions, m.Edits, m.Reactions, m.Encrypted)
}

// Mentions is m.mentions; nil in a message without it.
type Mentions struct {
	UserIDs []string `json:"user_ids"`
	Room    bool     `json:"room"`
}

// Reaction is one emoji on a message.
type Reaction struct{ Key, Person, ID string }

// Want says which message is waited for: the first in Room for which everything holds that is set.
type Want struct {
	Room     string   `json:"room"`
	ID       string   `json:"id,omitempty"`       // exactly this event, of any type
	From     string   `json:"from,omitempty"`     // full id of the sender
	After    int      `json:"after,omitempty"`    // it stands after this mark
	AfterID  string   `json:"afterId,omitempty"`  // it stands after this event
	Type     string   `json:"type,omitempty"`     // "" = a message that is no edit
	Contains []string `json:"contains,omitempty"` // all in its latest wording
	Matches  string   `json:"matches,omitempty"`  // a JavaScript regular expression on its latest wording, flags su
	MsgType  string   `json:"msgtype,omitempty"`
	Thread   string   `json:"thread,omitempty"`
	ReplyTo  string   `json:"replyTo,omitempty"`
	Edits    int      `json:"edits,omitempty"`    // edited at least so often
	Reaction string   `json:"reaction,omitempty"` // it bears this emoji, from By where that is set
	Without  string   `json:"noReaction,omitempty"`
	By       string   `json:"by,omitempty"`
	Redacted *bool    `json:"redacted,omitempty"`
}

// Wait waits for a message and returns it.
func (p *Person) Wait(want Want) (m Message) {
	p.t.Helper()
	p.must("wait", map[string]any{"want": want}, &m)
	p.humans.note(strings.Split(m.Body, "\n")...)
	return m
}

// WaitDeleted waits until an event is gone.
func (p *Person) WaitDeleted(room, event string) {
	p.t.Helper()
	gone := true
	p.Wait(Want{Room: room, ID: event, Redacted: &gone})
}

// Mark is a place in what this person's client has seen; what comes later stands after it.
func (p *Person) Mark() (mark int) {
	p.t.Helper()
	p.must("mark", nil, &mark)
	return mark
}

// Did lists everything that from ("" = everybody) did in a room after a mark, in order: messages, edits, reactions,
// redactions, state.
func (p *Person) Did(room, from string, after int) (all []Message) {
	p.t.Helper()
	p.must("did", map[string]any{"room": room, "from": from, "after": after}, &all)
	return all
}

// WaitMember waits until user's membership is "join", "invite", "leave" or "ban".
func (p *Person) WaitMember(room, user, membership string) {
	p.t.Helper()
	p.must("waitMember", map[string]any{"room": room, "user": user, "membership": membership}, nil)
}

// WaitPower waits until user has exactly that power level.
func (p *Person) WaitPower(room, user string, level int) {
	p.t.Helper()
	p.must("waitPower", map[string]any{"room": room, "user": user, "level": level}, nil)
}

// WaitInvite waits for an invitation from a person and returns the room.
func (p *Person) WaitInvite(from string) (room string) {
	p.t.Helper()
	p.must("waitInvite", map[string]any{"from": from}, &room)
	return room
}

// State is one state event.
type State struct {
	Key, Sender string
	Content     json.RawMessage
}

// WaitState waits for a state event and returns its content.
func (p *Person) WaitState(room, kind, key string) (content json.RawMessage) {
	p.t.Helper()
	p.must("waitState", map[string]any{"room": room, "type": kind, "key": key}, &content)
	return content
}

// States lists a room's state events of one type.
func (p *Person) States(room, kind string) (all []State) {
	p.t.Helper()
	p.must("states", map[string]any{"room": room, "type": kind}, &all)
	return all
}

// Member is somebody in a room.
type Member struct {
	ID, Name, Membership string
	Power                int
}

// Members lists everybody in a room whom this person's client knows of.
func (p *Person) Members(room string) (all []Member) {
	p.t.Helper()
	p.must("members", map[string]any{"room": room}, &all)
	return all
}

// Trust is what a client knows of somebody's encryption identity.
type Trust struct {
	Identity bool // there is a cross-signing identity
	Devices  []struct {
		ID     string
		Signed bool // by that identity
	}
}

// Trust asks the server for user's keys and says what they are worth.
func (p *Person) Trust(user string) (trust Trust) {
	p.t.Helper()
	p.must("trust", map[string]any{"user": user}, &trust)
	return trust
}

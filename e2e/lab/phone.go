package lab

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"testing"
	"unicode/utf16"
)

// Phone is somebody on Signal. Its methods end the test when a phone or the server refuses, and when what is waited for does not
// come within Patience; Do and Post return the error instead and are safe in any goroutine.
type Phone struct {
	Name   string // "ana"
	Number string
	ID     string // the account's UUID

	signal *Signal
	t      testing.TB
}

// Join gives somebody a phone.
func (s *Signal) Join(t testing.TB, name string) *Phone {
	t.Helper()
	p, err := s.Enter(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return p.In(t)
}

// Enter is Join where there is no test.
func (s *Signal) Enter(ctx context.Context, name string) (*Phone, error) {
	p := &Phone{Name: name, signal: s}
	var made struct{ Number, ACI string }
	if err := p.Do(ctx, "account", nil, &made); err != nil {
		return nil, err
	}
	p.Number, p.ID = made.Number, made.ACI
	s.note(p.Number, p.ID, name)
	return p, nil
}

// In is the same person, for a subtest.
func (p *Phone) In(t testing.TB) *Phone {
	q := *p
	q.t = t
	return &q
}

// Do makes one call of phones.mjs.
func (p *Phone) Do(ctx context.Context, verb string, args map[string]any, out any) error {
	if err := p.signal.do(ctx, p.Name, verb, args, out); err != nil {
		return fmt.Errorf("%s: %s: %w", p.Name, verb, err)
	}
	return nil
}

func (p *Phone) must(verb string, args map[string]any, out any) {
	p.t.Helper()
	if err := p.Do(context.Background(), verb, args, out); err != nil {
		p.t.Fatal(err)
	}
}

// Scan reads the code with which a device asks to be linked, and lets it.
func (p *Phone) Scan(ctx context.Context, uri string) error {
	return p.Do(ctx, "link", map[string]any{"uri": uri}, nil)
}

// SignalGroup says what group is made. Whoever makes it is its admin.
type SignalGroup struct {
	Title   string
	Members []*Phone // besides the maker; they are in it at once
	Admins  []*Phone // of these
	Timer   int      // seconds after which messages vanish
}

// CreateGroup makes a group and returns its id.
func (p *Phone) CreateGroup(g SignalGroup) (id string) {
	p.t.Helper()
	id, err := p.OpenGroup(context.Background(), g)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

// OpenGroup is CreateGroup with an error.
func (p *Phone) OpenGroup(ctx context.Context, g SignalGroup) (id string, err error) {
	names := func(all []*Phone) []string {
		list := []string{}
		for _, m := range all {
			list = append(list, m.Name)
		}
		return list
	}
	err = p.Do(ctx, "createGroup", map[string]any{"title": g.Title, "members": names(g.Members), "admins": names(g.Admins), "timer": g.Timer}, &id)
	p.signal.note(id, g.Title)
	return id, err
}

// Invite asks somebody in, Add puts her in at once, Remove removes her or, of oneself, leaves; SetAdmin and SetTimer change the group.
func (p *Phone) Invite(group string, who *Phone) { p.t.Helper(); p.about("invite", group, who, nil) }
func (p *Phone) Add(group string, who *Phone)    { p.t.Helper(); p.about("add", group, who, nil) }
func (p *Phone) Remove(group string, who *Phone) { p.t.Helper(); p.about("remove", group, who, nil) }
func (p *Phone) SetAdmin(group string, who *Phone, admin bool) {
	p.t.Helper()
	p.about("role", group, who, map[string]any{"admin": admin})
}
func (p *Phone) SetTimer(group string, seconds int) {
	p.t.Helper()
	p.must("timer", map[string]any{"group": group, "timer": seconds}, nil)
}

func (p *Phone) about(verb, group string, who *Phone, more map[string]any) {
	p.t.Helper()
	args := map[string]any{"group": group, "name": who.Name}
	maps.Copy(args, more)
	p.must(verb, args, nil)
}

// GroupMember is somebody in a group, or invited.
type GroupMember struct {
	ACI   string
	Admin bool
}

// Members says who is in a group and who is invited, as the server has it.
func (p *Phone) Members(group string) (members, invited []GroupMember) {
	p.t.Helper()
	var all struct{ Members, Pending []GroupMember }
	p.must("members", map[string]any{"group": group}, &all)
	return all.Members, all.Pending
}

// Letter is what somebody sends: into a group, or to one person.
type Letter struct {
	Group string  `json:"group,omitempty"`
	Phone *Phone  `json:"-"`
	To    string  `json:"to,omitempty"`   // Phone's name
	Kind  string  `json:"kind,omitempty"` // "text" unless it is something else: see contents in phones.mjs
	Text  string  `json:"text,omitempty"`
	Timer int     `json:"timer,omitempty"`
	Quote *Quoted `json:"quote,omitempty"`

	Target string `json:"target,omitempty"` // the time of what is edited, deleted, reacted to
	Author string `json:"author,omitempty"` // whose message a reaction is on: a UUID
	Emoji  string `json:"emoji,omitempty"`
	Off    bool   `json:"remove,omitempty"`

	Mentions []Mention    `json:"mentions,omitempty"`
	Files    []Attachment `json:"files,omitempty"`
	Sticker  string       `json:"sticker,omitempty"`
	ViewOnce bool         `json:"viewOnce,omitempty"`

	Timestamp string `json:"timestamp,omitempty"` // an old one; "" = now
	Sealed    bool   `json:"sealed,omitempty"`    // the server does not see who sends
	Copies    int    `json:"copies,omitempty"`    // how often the server delivers it; 0 = once
}

// Quoted is a message that is answered.
type Quoted struct {
	ID     string `json:"id"`
	Author string `json:"author"`
	Text   string `json:"text"`
}

// Mention stands in a text as U+FFFC; positions are UTF-16 units.
type Mention struct {
	Start  int    `json:"start"`
	Length int    `json:"length"`
	ACI    string `json:"aci"`
}

// Mentioned is a mention of somebody at the first U+FFFC of a text.
func Mentioned(text string, who string) []Mention {
	for i, unit := range utf16.Encode([]rune(text)) {
		if unit == 0xFFFC {
			return []Mention{{Start: i, Length: 1, ACI: who}}
		}
	}
	return nil
}

// Attachment is a file that is sent.
type Attachment struct {
	Type  string `json:"type"`
	Name  string `json:"name,omitempty"`
	Data  string `json:"data,omitempty"` // base64
	Voice bool   `json:"voice,omitempty"`
}

// LongText is a text above 2,000 octets as Signal's apps send it: its beginning, and all of it in an attachment.
func LongText(text string) Letter {
	const most = 2000
	cut := 0
	for i := range text {
		if i > most {
			break
		}
		cut = i
	}
	return Letter{Text: text[:cut], Files: []Attachment{{Type: "text/x-signal-plain", Data: base64.StdEncoding.EncodeToString([]byte(text))}}}
}

// Post sends and returns the message's time, which together with its author is its name.
func (p *Phone) Post(ctx context.Context, l Letter) (id string, err error) {
	if l.Kind == "" {
		l.Kind = "text"
	}
	if l.Phone != nil {
		l.To = l.Phone.Name
	}
	if l.Copies == 0 {
		l.Copies = 1
	}
	p.signal.note(parts(l.Text)...)
	args, err := asMap(l)
	if err != nil {
		return "", err
	}
	return id, p.Do(ctx, "send", args, &id)
}

// Send is Post that ends the test on an error; Say, Reply, React, Edit and Delete are what is done most.
func (p *Phone) Send(l Letter) (id string) {
	p.t.Helper()
	id, err := p.Post(context.Background(), l)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func (p *Phone) Say(group, text string) (id string) {
	p.t.Helper()
	return p.Send(Letter{Group: group, Text: text})
}

// Reply answers what somebody wrote.
func (p *Phone) Reply(group string, to Heard, text string) (id string) {
	p.t.Helper()
	return p.Send(Letter{Group: group, Text: text, Quote: to.Quoted()})
}

// React puts an emoji on a message.
func (p *Phone) React(group string, to Heard, emoji string) {
	p.t.Helper()
	p.Send(Letter{Group: group, Kind: "reaction", Target: to.ID, Author: to.From, Emoji: emoji})
}

// Sync is what a phone tells its linked devices: that its owner wrote something.
func (p *Phone) Sync(group, text string) {
	p.t.Helper()
	p.signal.note(parts(text)...)
	p.must("sync", map[string]any{"group": group, "text": text}, nil)
}

// Heard is what came to a phone.
type Heard struct {
	Seq  int   // its place among all that came to this phone
	At   int64 // when, in milliseconds
	Kind string
	ID   string // the message's time
	From string // UUID
	// Group is "" for what was written to this person alone.
	Group string

	Body     string // after edits; Original before
	Original string
	Edits    int
	Deleted  bool
	Timer    int
	Quote    *Quoted
	Mentions []string
	Styles   []Style
	Files    []struct {
		Name, Type string
		Size       int
	}

	Target string // what an edit, reaction or deletion is about, and its author
	Author string
	Emoji  string
}

// Style is a part of a text that stands out; positions are UTF-16 units.
type Style struct {
	Start, Length int
	Style         string
}

// Quoted is the message as one who answers it quotes it.
func (h Heard) Quoted() *Quoted { return &Quoted{ID: h.ID, Author: h.From, Text: h.Body} }

// Hears says what is waited for. An empty field does not matter, but for the group: "" is what is written to one person.
type Hears struct {
	Group    string   `json:"group,omitempty"`
	After    int      `json:"after,omitempty"` // a Mark or Seq
	Kind     string   `json:"kind,omitempty"`  // "" = a message
	From     string   `json:"from,omitempty"`  // a UUID
	ID       string   `json:"id,omitempty"`
	Target   string   `json:"target,omitempty"`
	Emoji    string   `json:"emoji,omitempty"`
	Contains []string `json:"contains,omitempty"`
	Matches  string   `json:"matches,omitempty"`
	Quotes   string   `json:"quotes,omitempty"` // the time of the message that it answers
	Edits    int      `json:"edits,omitempty"`  // at least so many
	Deleted  *bool    `json:"deleted,omitempty"`
}

// Wait returns the first message that fits.
func (p *Phone) Wait(want Hears) Heard {
	p.t.Helper()
	h, err := p.Await(context.Background(), want)
	if err != nil {
		p.t.Fatal(err)
	}
	return h
}

// Await is Wait with an error.
func (p *Phone) Await(ctx context.Context, want Hears) (h Heard, err error) {
	return h, p.Do(ctx, "wait", map[string]any{"want": want}, &h)
}

// Mark is how much came to this phone so far. Heard lists what came after a mark, in a group.
func (p *Phone) Mark() (seq int) {
	p.t.Helper()
	p.must("mark", nil, &seq)
	return seq
}

func (p *Phone) Heard(group string, after int) (all []Heard) {
	p.t.Helper()
	p.must("heard", map[string]any{"group": group, "after": after}, &all)
	return all
}

// Reinstall is a new phone with the old number: its keys are others. Unlink ends its linked devices. Unregister deletes the
// account, or makes it again.
func (p *Phone) Reinstall() { p.t.Helper(); p.must("reinstall", nil, nil) }
func (p *Phone) Unlink()    { p.t.Helper(); p.must("unlink", nil, nil) }
func (p *Phone) Unregister(back bool) {
	p.t.Helper()
	p.must("unregister", map[string]any{"back": back}, nil)
}

// Challenged lets the server ask for a captcha whenever this account's devices write to somebody; the end of it says how often.
func (p *Phone) Challenged(who *Phone, over bool) (times int) {
	p.t.Helper()
	p.must("challenge", map[string]any{"name": who.Name, "off": over}, &times)
	return times
}

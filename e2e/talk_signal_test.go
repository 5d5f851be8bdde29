package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/rs/zerolog"

	"starling/adapters"
	"starling/adapters/rig"
	"starling/adapters/signal"
	"starling/bot"
	"starling/e2e/lab"
	"starling/locales"
)

// How many conversations are held on signal-cli at least, and how many of them with rooms on Matrix, too.
const (
	leastOnSignal = 50
	leastOnBoth   = 4
)

// daemons is how many signal-cli run side by side. Each says one thing after another (85 ms each), with one processor's work in it.
const daemons = 3

// TestTalkOnSignal holds in real groups every conversation that needs nothing special and no room without encryption, which Signal does
// not have: on the real signal-cli and Signal's own mock server. What is wanted is what the rig says on a network like Signal. Each has an
// account of its own; a signal-cli has many.
func TestTalkOnSignal(t *testing.T) {
	t.Parallel()
	w := newTheatre(t)
	var conversations []conversation
	all := archives(t, func(a *rig.Archive) bool { return a.Plain() })
	for _, f := range all {
		if needsClear(t, f.Archive) {
			continue
		}
		conversations = append(conversations, w.likeSignal(t, f))
	}
	parts := shared(conversations, daemons)
	seats := newSignalStage(t).seats(t, parts...)
	var held atomic.Int32
	var group sync.WaitGroup
	for i, part := range parts {
		group.Go(func() {
			for _, c := range part {
				t.Run(c.name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
					defer cancel()
					if err := w.hold(ctx, t.TempDir(), "", c, seats[i].next()); err != nil {
						t.Error(err)
						return
					}
					held.Add(1)
				})
			}
		})
	}
	group.Wait()
	fmt.Printf("talk on signal-cli: %d conversations; of the %d that need nothing special %d need a room without encryption\n", held.Load(), len(all), len(all)-len(conversations))
	if held.Load() < leastOnSignal {
		t.Errorf("want at least %d conversations", leastOnSignal)
	}
}

// TestTalkOnBothNetworks holds what needs a second network that is like Signal with rooms on Dendrite and groups on signal-cli, by one
// bot.
func TestTalkOnBothNetworks(t *testing.T) {
	t.Parallel()
	files := archives(t, func(a *rig.Archive) bool { return !a.Plain() && a.PlainOnTwo() })
	if len(files) < leastOnBoth {
		t.Fatalf("%d conversations, want at least %d", len(files), leastOnBoth)
	}
	w, server, stage := newTheatre(t), newMatrixStage(t), newSignalStage(t)
	var conversations []conversation
	for _, f := range files {
		steps, err := readSteps(f.Archive)
		if err != nil {
			t.Fatal(err)
		}
		conversations = append(conversations, conversation{f.name, steps})
	}
	seat := stage.seats(t, conversations)[0]
	for i, c := range conversations {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if err := w.hold(ctx, t.TempDir(), fmt.Sprint("starling", i), c, server.side, seat.next()); err != nil {
				t.Error(err)
			}
		})
	}
}

// shared gives each of n about the same to play, the long ones first.
func shared(all []conversation, n int) [][]conversation {
	length := func(c conversation) int {
		sum := len(c.steps)
		for _, s := range c.steps {
			sum += len(s.want)
		}
		return sum
	}
	slices.SortStableFunc(all, func(a, b conversation) int { return length(b) - length(a) })
	parts, has := make([][]conversation, n), make([]int, n)
	for _, c := range all {
		i := slices.Index(has, slices.Min(has))
		parts[i], has[i] = append(parts[i], c), has[i]+length(c)
	}
	return parts
}

// needsClear tells whether a conversation needs a room without encryption.
func needsClear(t *testing.T, a *rig.Archive) bool {
	lines, err := rig.Lines(a.Talk)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		for _, act := range l.Acts {
			if act.Clear || slices.Contains(act.Words[min(1, len(act.Words)):], "plain") {
				return true
			}
		}
	}
	return false
}

// likeSignal is a conversation with what the bot says in it on a network like Signal.
func (w *theatre) likeSignal(t *testing.T, f archive) conversation {
	var out bytes.Buffer
	if err := rig.Play(t.Context(), strings.NewReader(f.Talk), &out, rig.Options{
		First: rig.LikeSignal(), Files: f.Files(), Messages: adapters.Messages(),
		Locales: func(*locales.Registry) (*locales.Bundle, error) { return w.bundle, nil },
		Capabilities: func() []bot.Capability {
			caps, err := capabilities()
			if err != nil {
				panic(err)
			}
			return caps
		},
	}); err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	f.Want = out.String()
	steps, err := readSteps(f.Archive)
	if err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	return conversation{f.name, steps}
}

// signalStage is Signal's server with the phones of the people of all conversations.
type signalStage struct {
	server *lab.Signal
	crowd  crowd[*lab.Phone]
	stage  *lab.Phone // makes the groups, and is not in them when the bot comes
}

func newSignalStage(t *testing.T) *signalStage {
	w := &signalStage{server: lab.StartSignal(t)}
	w.crowd.come = w.server.Enter
	w.stage = w.server.Join(t, "the stage")
	return w
}

// seat is a signal-cli with the accounts of those bots that use it one after another.
type seat struct {
	*signalStage
	daemon   *lab.SignalDaemon
	accounts []*lab.Phone
}

// seats runs one signal-cli for each part of the conversations, with an account for each.
func (w *signalStage) seats(t *testing.T, parts ...[]conversation) []*seat {
	all := make([]*seat, len(parts))
	var group sync.WaitGroup
	for i, part := range parts {
		s := &seat{signalStage: w}
		all[i] = s
		for k := range part {
			s.accounts = append(s.accounts, w.server.Join(t, fmt.Sprintf("starling %d-%d", i, k)))
		}
		group.Go(func() {
			// Somebody is always attached: signal-cli drops what comes just when the last one goes away and the next is not there yet.
			var rpc *lab.RPC
			s.daemon, rpc = w.server.AttachedDaemon(t, s.accounts...)
			go func() {
				for range rpc.Received {
				}
			}()
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// next is for theatre.hold: the next account.
func (s *seat) next() func(*player) side {
	account := s.accounts[0]
	s.accounts = s.accounts[1:]
	return func(p *player) side {
		return &signalSide{seat: s, p: p, account: account, latest: map[string]string{}, first: map[string]string{}}
	}
}

// signalSide is a conversation's bot there.
type signalSide struct {
	*seat
	p        *player
	account  *lab.Phone
	attached *signal.Adapter
	latest   map[string]string // message → its latest edit: phones name it by that
	first    map[string]string // and back
}

func (s *signalSide) name() string  { return signal.Name }
func (s *signalSide) threads() bool { return false }
func (s *signalSide) me() string    { return s.account.ID }

func (s *signalSide) address(person string) string {
	who, err := s.crowd.person(person)
	if err != nil {
		return "nobody: " + err.Error()
	}
	return who.ID
}

func (s *signalSide) login(context.Context, string) error { return nil }

// signalAdapter has nothing to close.
type signalAdapter struct{ *signal.Adapter }

func (signalAdapter) Close() error { return nil }

func (s *signalSide) adapter() (adapter, error) {
	a, err := signal.New(signal.Config{
		Account: s.account.Number, Address: "unix:" + s.daemon.Socket, StateDir: s.p.dir, Invite: []string{"*"}, Trust: signal.TrustFirstUse, Log: zerolog.Nop(),
	})
	s.attached = a
	return signalAdapter{a}, err
}

// ready waits until the bot is attached: before, what is said would be told to others only.
func (s *signalSide) ready(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !s.attached.Report().Connected {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("the bot does not attach to signal-cli")
		}
	}
	return nil
}

// create makes a group. Whoever made it has left.
func (s *signalSide) create(ctx context.Context, r rig.Room) (string, error) {
	g := lab.SignalGroup{Title: r.Name, Timer: int(r.Timer / time.Second)}
	for _, m := range r.Members {
		who, err := s.crowd.person(m.Name)
		if err != nil {
			return "", err
		}
		g.Members = append(g.Members, who)
		if m.Moderator {
			g.Admins = append(g.Admins, who)
		}
	}
	id, err := s.stage.OpenGroup(ctx, g)
	if err != nil || len(g.Members) == 0 {
		return id, err
	}
	return id, s.stage.Do(ctx, "remove", map[string]any{"group": id, "name": s.stage.Name}, nil)
}

// do lets somebody change a group.
func (s *signalSide) do(ctx context.Context, at *place, by, verb, name string, more ...any) error {
	who, err := s.crowd.person(by)
	if err != nil {
		return err
	}
	args := map[string]any{"group": at.id, "name": name}
	if len(more) == 1 {
		args["admin"] = more[0]
	}
	return who.Do(ctx, verb, args, nil)
}

// join lets somebody who is there take another in.
func (s *signalSide) join(ctx context.Context, at *place, person string) error {
	if _, err := s.crowd.person(person); err != nil {
		return err
	}
	if len(at.people) == 0 {
		return errors.New("nobody is there to take her in")
	}
	return s.do(ctx, at, at.people[0], "add", person)
}

func (s *signalSide) leave(ctx context.Context, at *place, person string) error {
	return s.do(ctx, at, person, "remove", person)
}

func (s *signalSide) invite(ctx context.Context, at *place, by string) error {
	return s.do(ctx, at, by, "invite", s.account.Name)
}

func (s *signalSide) remove(ctx context.Context, at *place) error {
	return s.do(ctx, at, at.people[0], "remove", s.account.Name)
}

func (s *signalSide) promote(ctx context.Context, at *place, person string, moderator bool) error {
	return s.do(ctx, at, at.people[0], "role", person, moderator)
}

// acquaint: on Signal nobody needs to know who is there to be read.
func (s *signalSide) acquaint(context.Context, *place) error { return nil }

// direct: a direct chat is the person, and there as soon as something is said.
func (s *signalSide) direct(_ context.Context, person string) (*place, error) {
	who, err := s.crowd.person(person)
	if err != nil {
		return nil, err
	}
	return &place{id: who.ID}, nil
}

// A message is named by its time and its author.
func splitID(event string) (at, author string) {
	at, author, _ = strings.Cut(event, ".")
	return at, author
}

func (s *signalSide) post(ctx context.Context, at *place, person string, m posting) (event string, err error) {
	who, err := s.crowd.person(person)
	if err != nil {
		return "", err
	}
	var l lab.Letter
	if len(m.text) > 2000 {
		l = lab.LongText(m.text)
	} else {
		l.Text, l.Mentions = s.mentioning(at, m.text)
	}
	if strings.HasPrefix(at.label, "@") || at.id == who.ID {
		l.Phone = s.account
	} else {
		l.Group = at.id
	}
	first := m.target
	if edit, ok := s.latest[first]; ok {
		m.target = edit
	}
	target, author := splitID(m.target)
	switch m.verb {
	case "replies":
		l.Quote = &lab.Quoted{ID: target, Author: author, Text: m.quoted}
	case "edits":
		l.Kind, l.Target = "edit", target
	case "deletes":
		l.Kind, l.Target, l.Text = "delete", target, ""
	case "reacts", "unreacts":
		l.Kind, l.Target, l.Author, l.Emoji, l.Off, l.Text = "reaction", target, author, m.text, m.verb == "unreacts", ""
	}
	sent, err := who.Post(ctx, l)
	sent += "." + who.ID
	if m.verb == "edits" {
		s.latest[first], s.first[sent] = sent, first
	}
	return sent, err
}

var named = regexp.MustCompile(`@\S*[^\s.,:;!?]`)

// mentioning puts a mention wherever a text names somebody of the group, or the bot, with an @.
func (s *signalSide) mentioning(at *place, text string) (string, []lab.Mention) {
	var all []lab.Mention
	var b strings.Builder
	done := 0
	for _, m := range named.FindAllStringIndex(text, -1) {
		name, id := text[m[0]:m[1]], ""
		switch {
		case name == rig.Bot:
			id = s.me()
		case slices.Contains(at.people, name[1:]):
			id = s.address(name[1:])
		default:
			continue
		}
		b.WriteString(text[done:m[0]])
		all = append(all, lab.Mention{Start: len(utf16.Encode([]rune(b.String()))), Length: 1, ACI: id})
		b.WriteRune('\uFFFC')
		done = m[1]
	}
	return b.String() + text[done:], all
}

func (s *signalSide) see(ctx context.Context, at *place, d sending) (glimpse, error) {
	who, err := s.crowd.person(at.people[0])
	if err != nil {
		return glimpse{}, err
	}
	group := at.id
	if strings.HasPrefix(at.label, "@") {
		group = ""
	}
	want := lab.Hears{Group: group, From: s.me()}
	want.ID, _ = splitID(d.id)
	switch d.Kind {
	case bot.OutLeave:
		return glimpse{}, s.gone(ctx, who, at)
	case bot.OutDelete:
		want.Kind = "delete"
		want.Target, _ = splitID(d.Target)
	case bot.OutReaction:
		want.Kind = "reaction"
	case bot.OutEdit:
		first := cmp.Or(s.first[d.Target], d.Target)
		if cmp.Or(s.latest[first], first) != d.Target {
			return glimpse{}, errors.New("an edit of an earlier version, which phones pass over")
		}
		want.Kind, s.latest[first], s.first[d.id] = "edit", d.id, first
		want.Target, _ = splitID(d.Target)
	}
	h, err := who.Await(ctx, want)
	if err != nil {
		return glimpse{}, err
	}
	// Phones ring at everything: whether they should is in nothing that they are sent.
	seen := glimpse{text: h.Body, rings: d.Rings}
	switch {
	case d.Kind == bot.OutDelete:
		seen = glimpse{}
	case d.Kind == bot.OutReaction:
		seen.text = h.Emoji
	case d.Kind == bot.OutMessage && h.Quote != nil:
		seen.replyTo = h.Quote.ID + "." + h.Quote.Author
		seen.replyTo = cmp.Or(s.first[seen.replyTo], seen.replyTo)
		seen.text = h.Original // it may have been edited since
	case d.Kind == bot.OutMessage:
		seen.text = h.Original
	}
	return seen, nil
}

// gone tells whether the bot has left a group.
func (s *signalSide) gone(ctx context.Context, who *lab.Phone, at *place) error {
	var now struct{ Members []struct{ ACI string } }
	if err := who.Do(ctx, "members", map[string]any{"group": at.id}, &now); err != nil {
		return err
	}
	for _, m := range now.Members {
		if m.ACI == s.me() {
			return errors.New("the bot is still in the group")
		}
	}
	return nil
}

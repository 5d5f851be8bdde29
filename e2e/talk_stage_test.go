package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/adapters"
	"starling/adapters/matrix"
	"starling/adapters/rig"
	"starling/bot"
	"starling/commands"
	"starling/data"
	"starling/e2e/lab"
	"starling/locales"
)

// theatre is a homeserver with the people of all conversations. Somebody of one name is one person in all of them.
type theatre struct {
	server *lab.Dendrite
	humans *lab.Humans
	stage  *mautrix.Client // makes the rooms, and is not in them when the bot comes

	messages *locales.Registry // what all the bots can say
	bundle   *locales.Bundle

	mu     sync.Mutex
	people map[string]func() (*lab.Person, error)
}

func newTheatre(t *testing.T) *theatre {
	w := &theatre{server: lab.StartDendrite(t), people: map[string]func() (*lab.Person, error){}}
	w.humans = lab.StartHumans(t, w.server)
	var err error
	if w.stage, err = w.account(t.Context(), "stage"); err != nil {
		t.Fatal(err)
	}
	caps, err := capabilities()
	if err != nil {
		t.Fatal(err)
	}
	w.messages = locales.NewRegistry()
	bot.Messages(w.messages, caps...)
	w.messages.Add(adapters.Messages()...)
	if w.bundle, err = locales.Load(w.messages); err != nil {
		t.Fatal(err)
	}
	return w
}

// account makes an account with a plain client, which knows nothing of encryption.
func (w *theatre) account(ctx context.Context, user string) (*mautrix.Client, error) {
	if _, err := w.server.Register(ctx, user, user+"-password"); err != nil {
		return nil, err
	}
	c, err := mautrix.NewClient(w.server.URL, "", "")
	if err != nil {
		return nil, err
	}
	_, err = c.Login(ctx, &mautrix.ReqLogin{
		Type: mautrix.AuthTypePassword, Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: user},
		Password: user + "-password", StoreCredentials: true,
	})
	return c, err
}

// person logs somebody in who is needed for the first time.
func (w *theatre) person(name string) (*lab.Person, error) {
	w.mu.Lock()
	come := w.people[name]
	if come == nil {
		come = sync.OnceValues(func() (*lab.Person, error) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*lab.Patience)
			defer cancel()
			return w.humans.Enter(ctx, name, lab.Options{})
		})
		w.people[name] = come
	}
	w.mu.Unlock()
	return come()
}

// witness is the real adapter. It notes what the engine was told and what was sent, and gives everything the time of the
// conversation's clock.
type witness struct {
	*matrix.Adapter
	clock *rig.Clock

	mu      sync.Mutex
	changed chan struct{} // closed when something was told
	told    []bot.Incoming
	sent    []sending
	greets  string // the room, or person whose direct chat it is, in which it greets; it comes into all others in silence
}

// sending is one call that the homeserver took.
type sending struct {
	bot.Outgoing
	id string // the event
	at time.Time
}

func (w *witness) Run(ctx context.Context, in bot.Inbox) error {
	return w.Adapter.Run(ctx, witnessed{in, w})
}

func (w *witness) Send(ctx context.Context, out bot.Outgoing) (string, error) {
	id, err := w.Adapter.Send(ctx, out)
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent = append(w.sent, sending{out, id, w.clock.Now()})
	}
	return id, err
}

// witnessed is the engine's inbox, with the witness beside it.
type witnessed struct {
	bot.Inbox
	w *witness
}

// InviterAllowance does not count: the same people invite every bot.
func (witnessed) InviterAllowance(context.Context, string, string, int) (bool, error) {
	return true, nil
}

func (i witnessed) Deliver(ctx context.Context, in ...bot.Incoming) error {
	i.w.mu.Lock()
	for n := range in {
		in[n].Sent, in[n].Received = i.w.clock.Now(), i.w.clock.Now()
		if c := in[n].RoomChange; c != nil && in[n].Room != i.w.greets && (!c.Direct || c.Inviter != i.w.greets) {
			c.Fresh = false
		}
	}
	i.w.mu.Unlock()
	if err := i.Inbox.Deliver(ctx, in...); err != nil {
		return err
	}
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	i.w.told = append(i.w.told, in...)
	close(i.w.changed)
	i.w.changed = make(chan struct{})
	return nil
}

// until waits until the engine has stored something that fits, which it was told after the first from.
func (w *witness) until(ctx context.Context, what string, from int, fits func(in bot.Incoming) bool) error {
	for {
		w.mu.Lock()
		changed, found := w.changed, slices.ContainsFunc(w.told[min(from, len(w.told)):], fits)
		w.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the bot was not told that %s", what)
		}
	}
}

// hears is how much the engine was told.
func (w *witness) hears() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.told)
}

// take gives what was sent since the last time, in the order in which a transcript has it.
func (w *witness) take() []sending {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.sent
	w.sent = nil
	slices.SortStableFunc(all, func(a, b sending) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return rig.Row(a.Outgoing) - rig.Row(b.Outgoing)
	})
	return all
}

// capabilities are what the bot can do.
func capabilities() ([]bot.Capability, error) {
	fsys, err := data.Open("")
	if err != nil {
		return nil, err
	}
	principles, err := data.Principles(fsys)
	if err != nil {
		return nil, err
	}
	return commands.All(principles), nil
}

// The clock of a conversation stands where it does on the rig.
func firstInstant() time.Time { return time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC) }

// since is how long the people of a room have been there that is set up.
const since = 90 * 24 * time.Hour

// login gives a conversation's bot its account.
func (p *player) login(ctx context.Context, account string) error {
	c, err := p.w.account(ctx, account)
	if err != nil {
		return err
	}
	p.me = c.UserID
	if err := c.SetDisplayName(ctx, "Starling"); err != nil {
		return err
	}
	if _, err := c.Logout(ctx); err != nil {
		return err
	}
	_, err = matrix.Login(ctx, matrix.LoginOptions{
		StateDir: p.dir, Homeserver: p.w.server.URL, User: p.me.String(), Password: func() (string, error) { return account + "-password", nil },
	})
	return err
}

// run opens the bot on what it left behind and lets it run, until halt.
func (p *player) run(ctx context.Context) error {
	caps, err := capabilities()
	if err != nil {
		return err
	}
	if p.bot.Adapter, err = matrix.New(matrix.Config{StateDir: p.dir, Invite: []string{"*"}, Log: zerolog.Nop()}); err != nil {
		return err
	}
	p.engine, err = bot.Open(bot.Config{Dir: filepath.Join(p.dir, "engine"), Name: "Starling", Lang: "en", Clock: p.clock, Rand: rand.Reader, Log: zerolog.Nop(),
		Messages: p.w.messages, Locales: p.w.bundle, NoSync: true}, caps...)
	if err != nil {
		return errors.Join(err, p.bot.Adapter.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.engine.Run(ctx, p.bot) }()
	p.halt = func() error {
		cancel()
		err := <-ended
		if errors.Is(err, context.Canceled) || errors.Is(err, bot.ErrStopped) {
			err = nil
		}
		if n := p.engine.Status().Errors; n > 0 {
			err = errors.Join(err, fmt.Errorf("errors of the engine: %d", n))
		}
		return errors.Join(err, p.engine.Close(), p.bot.Adapter.Close())
	}
	return nil
}

// open makes a room on the homeserver with its people in it. Whoever made it has left.
func (p *player) open(ctx context.Context, label string, spec rig.Room) (*place, error) {
	powers := map[id.UserID]int{p.w.stage.UserID: 100}
	for _, m := range spec.Members {
		if m.Moderator {
			powers[address(m.Name)] = 50
		}
	}
	invite := 0
	request := &mautrix.ReqCreateRoom{
		Name: spec.Name, Preset: "public_chat", PowerLevelOverride: &event.PowerLevelsEventContent{Users: powers, InvitePtr: &invite},
	}
	if spec.Encrypted {
		request.InitialState = []*event.Event{{Type: event.StateEncryption, Content: event.Content{Parsed: &event.EncryptionEventContent{Algorithm: id.AlgorithmMegolmV1}}}}
	}
	made, err := p.w.stage.CreateRoom(ctx, request)
	if err != nil {
		return nil, err
	}
	at := &place{label: label, id: made.RoomID.String(), pressed: map[string]bool{}}
	for _, m := range spec.Members {
		if err := p.enter(ctx, at, m.Name); err != nil {
			return nil, err
		}
	}
	if len(at.people) > 0 {
		if _, err := p.w.stage.LeaveRoom(ctx, made.RoomID); err != nil {
			return nil, err
		}
	}
	p.places = append(p.places, at)
	return at, nil
}

// enter brings somebody into a room.
func (p *player) enter(ctx context.Context, at *place, name string) error {
	who, err := p.w.person(name)
	if err != nil {
		return err
	}
	if err := who.Do(ctx, "join", map[string]any{"room": at.id}, nil); err != nil {
		return err
	}
	at.people = append(at.people, who)
	return nil
}

// invite brings the bot into a room, and waits until all who are there know of each other: else they would not be able to read
// what is said next.
func (p *player) invite(ctx context.Context, at *place, by string) error {
	from := p.bot.hears()
	who, err := p.w.person(by)
	if err != nil {
		return err
	}
	if err := who.Do(ctx, "invite", map[string]any{"room": at.id, "user": p.me}, nil); err != nil {
		return err
	}
	if err := p.bot.until(ctx, "it is in "+at.label, from, func(in bot.Incoming) bool {
		return in.Kind == bot.KindRoom && in.Room == at.id && in.RoomChange.Joined
	}); err != nil {
		return err
	}
	return p.acquaint(ctx, at)
}

func (p *player) acquaint(ctx context.Context, at *place) error {
	for _, who := range at.people {
		for _, other := range at.people {
			if err := who.Do(ctx, "waitMember", map[string]any{"room": at.id, "user": other.ID, "membership": "join"}, nil); err != nil {
				return err
			}
		}
		if err := who.Do(ctx, "waitMember", map[string]any{"room": at.id, "user": p.me, "membership": "join"}, nil); err != nil {
			return err
		}
	}
	return nil
}

// asStage lets whoever made a room come back for a moment, to do what nobody in it may.
func (p *player) asStage(ctx context.Context, at *place, do func() error) error {
	if _, err := p.w.stage.JoinRoomByID(ctx, id.RoomID(at.id)); err != nil {
		return err
	}
	err := do()
	_, left := p.w.stage.LeaveRoom(ctx, id.RoomID(at.id))
	return errors.Join(err, left)
}

// setPower makes somebody a moderator, or one no more.
func (p *player) setPower(ctx context.Context, at *place, name string, moderator bool) error {
	from := p.bot.hears()
	if err := p.asStage(ctx, at, func() error {
		var levels event.PowerLevelsEventContent
		if err := p.w.stage.StateEvent(ctx, id.RoomID(at.id), event.StatePowerLevels, "", &levels); err != nil {
			return err
		}
		level := 0
		if moderator {
			level = 50
		}
		levels.SetUserLevel(address(name), level)
		_, err := p.w.stage.SendStateEvent(ctx, id.RoomID(at.id), event.StatePowerLevels, "", &levels)
		return err
	}); err != nil {
		return err
	}
	if err := p.bot.until(ctx, name+" has another role", from, func(in bot.Incoming) bool {
		m, ok := bot.MemberInfo{}, false
		if in.Kind == bot.KindRoom && in.Room == at.id {
			m, ok = in.RoomChange.Members[address(name).String()]
		}
		return ok && m.Moderator == moderator
	}); err != nil {
		return err
	}
	return p.bot.until(ctx, "the stage is empty", from, func(in bot.Incoming) bool {
		return in.Kind == bot.KindMember && in.Room == at.id && in.Person == p.w.stage.UserID.String() && !in.Member.Joined
	})
}

func address(name string) id.UserID {
	return id.NewUserID(strings.TrimPrefix(name, "@"), lab.ServerName)
}

package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"starling/adapters"
	"starling/adapters/rig"
	"starling/bot"
	"starling/commands"
	"starling/data"
	"starling/e2e/lab"
	"starling/locales"
)

// theatre is where conversations are held: what all the bots can say, and the servers. Somebody of one name is one person in all
// conversations of a network.
type theatre struct {
	messages *locales.Registry
	bundle   *locales.Bundle
}

func newTheatre(t *testing.T) *theatre {
	caps, err := capabilities()
	if err != nil {
		t.Fatal(err)
	}
	w := &theatre{messages: locales.NewRegistry()}
	bot.Messages(w.messages, caps...)
	w.messages.Add(adapters.Messages()...)
	if w.bundle, err = locales.Load(w.messages); err != nil {
		t.Fatal(err)
	}
	return w
}

// crowd is the people of a network. Whoever is needed for the first time comes then.
type crowd[P any] struct {
	come func(ctx context.Context, name string) (P, error)

	mu     sync.Mutex
	people map[string]func() (P, error)
}

func (c *crowd[P]) person(name string) (P, error) {
	c.mu.Lock()
	come := c.people[name]
	if come == nil {
		come = sync.OnceValues(func() (P, error) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*lab.Patience)
			defer cancel()
			return c.come(ctx, name)
		})
		if c.people == nil {
			c.people = map[string]func() (P, error){}
		}
		c.people[name] = come
	}
	c.mu.Unlock()
	return come()
}

// adapter is what each network's adapter is.
type adapter interface {
	bot.Adapter
	bot.DirectOpener
	Close() error
}

// ears note what the engine was told and what was sent, on all networks of a conversation.
type ears struct {
	clock *rig.Clock

	mu      sync.Mutex
	changed chan struct{} // closed when something was told
	told    []bot.Incoming
	sent    []sending
	greets  string // the room, or person whose direct chat it is, in which it greets; it comes into all others in silence
}

// witness is a real adapter with the ears beside it. It gives everything the time of the conversation's clock.
type witness struct {
	adapter
	w *ears
}

// sending is one call that the network took.
type sending struct {
	bot.Outgoing
	id string // the event
	at time.Time
}

func (w witness) Run(ctx context.Context, in bot.Inbox) error {
	return w.adapter.Run(ctx, witnessed{in, w.w})
}

// Abilities are the adapter's, but for what the conversation's clock would wait for: it stands still meanwhile.
func (w witness) Abilities() bot.Abilities {
	able := w.adapter.Abilities()
	able.Shows = 0
	return able
}

func (w witness) Send(ctx context.Context, out bot.Outgoing) (string, error) {
	id, err := w.adapter.Send(ctx, out)
	if err == nil {
		w.w.mu.Lock()
		defer w.w.mu.Unlock()
		w.w.sent = append(w.w.sent, sending{out, id, w.w.clock.Now()})
	}
	return id, err
}

// witnessed is the engine's inbox, with the ears beside it.
type witnessed struct {
	bot.Inbox
	w *ears
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
func (w *ears) until(ctx context.Context, what string, from int, fits func(in bot.Incoming) bool) error {
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
func (w *ears) hears() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.told)
}

// take gives what was sent since the last time, in the order in which a transcript has it.
func (w *ears) take() []sending {
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

// run opens the bot on what it left behind and lets it run, until halt.
func (p *player) run(ctx context.Context) (err error) {
	caps, err := capabilities()
	if err != nil {
		return err
	}
	var networks []bot.Adapter
	var closing []func() error
	shut := func(err error) error {
		for _, c := range slices.Backward(closing) {
			err = errors.Join(err, c())
		}
		return err
	}
	for _, s := range p.sides {
		a, err := s.adapter()
		if err != nil {
			return shut(err)
		}
		networks, closing = append(networks, witness{a, p.ears}), append(closing, a.Close)
	}
	p.engine, err = bot.Open(bot.Config{Dir: filepath.Join(p.dir, "engine"), Name: "Starling", Lang: "en", Clock: p.clock, Rand: rand.Reader, Log: zerolog.Nop(),
		Messages: p.w.messages, Locales: p.w.bundle, NoSync: true}, caps...)
	if err != nil {
		return shut(err)
	}
	closing = append(closing, p.engine.Close)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.engine.Run(ctx, networks...) }()
	p.halt = func() error {
		cancel()
		err := <-ended
		if errors.Is(err, context.Canceled) || errors.Is(err, bot.ErrStopped) {
			err = nil
		}
		if n := p.engine.Status().Errors; n > 0 {
			err = errors.Join(err, fmt.Errorf("errors of the engine: %d", n))
		}
		return shut(err)
	}
	for _, s := range p.sides {
		if err := s.ready(ctx); err != nil {
			return errors.Join(err, p.halt())
		}
	}
	return nil
}

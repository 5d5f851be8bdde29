package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// Patience is how long a wait lasts before it fails, where the context has no deadline.
const Patience = time.Minute

// Humans is the Node process in which the people's clients run.
type Humans struct {
	*script
	server *Dendrite

	mu      sync.Mutex // guards what follows
	known   []string
	devices []string
}

// Known lists what people's clients know and a log must not: every text that was sent, and the ids of people, rooms and
// messages.
func (h *Humans) Known() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.known)
}

// Devices are the ids of all devices that people have had, which Known lists, too.
func (h *Humans) Devices() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.devices)
}

func (h *Humans) note(known ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known = append(h.known, known...)
	remember(known)
}

// StartHumans starts the process, without anybody logged in yet; it ends with the test.
func StartHumans(t testing.TB, server *Dendrite) *Humans {
	t.Helper()
	h, err := newHumans(server, filepath.Join(t.TempDir(), "humans.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the humans' log ends with:\n%s", lastLines(h.log, 60))
		}
	})
	return h
}

func newHumans(server *Dendrite, logFile string) (*Humans, error) {
	file, err := built("e2e", "human", "human.mjs")
	if err != nil {
		return nil, err
	}
	if _, err := built("e2e", "human", "node_modules", "matrix-js-sdk"); err != nil {
		return nil, err
	}
	s, err := startScript(logFile, file)
	if err != nil {
		return nil, err
	}
	return &Humans{server: server, script: s}, nil
}

// Options says what kind of client somebody uses.
type Options struct {
	// OnlySigned makes a client that gives keys to, and shows messages from, cross-signed devices only
	// (MSC4153, "exclude insecure devices" in Element).
	OnlySigned bool
	// Unsigned leaves cross-signing out, until Sign: a device that its owner did not verify.
	Unsigned bool
}

// Join makes an account, logs in and sets up cross-signing, as a new user of Element does.
func (h *Humans) Join(t testing.TB, user string, options Options) *Person {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	p, err := h.Enter(ctx, user, options)
	if err != nil {
		t.Fatal(err)
	}
	return p.In(t)
}

// Enter is Join where there is no test: only those methods of the person can be used that return errors.
func (h *Humans) Enter(ctx context.Context, user string, options Options) (*Person, error) {
	password := user + "-password"
	if _, err := h.server.Register(ctx, user, password); err != nil {
		return nil, err
	}
	return h.LogIn(ctx, user, password, options)
}

// LogIn is Enter for an account that exists.
func (h *Humans) LogIn(ctx context.Context, user, password string, options Options) (*Person, error) {
	var me struct{ ID, Device string }
	err := h.do(ctx, "", "login", map[string]any{
		"base": h.server.URL, "user": user, "password": password, "onlySigned": options.OnlySigned, "unsigned": options.Unsigned,
	}, &me)
	if err != nil {
		return nil, fmt.Errorf("%s logs in: %w", user, err)
	}
	h.mu.Lock()
	h.devices = append(h.devices, me.Device)
	h.mu.Unlock()
	h.note(me.ID, me.Device, user)
	return &Person{Name: user, ID: me.ID, Device: me.Device, humans: h}, nil
}

// Person is somebody with a client. Its methods end the test when the client or the server refuses, and when what is
// waited for does not come within Patience; Do, Open and Post return the error instead and are safe in any goroutine.
type Person struct {
	Name   string // "ana"
	ID     string // "@ana:localhost"
	Device string

	humans *Humans
	t      testing.TB
}

// In is the same person, for a subtest.
func (p *Person) In(t testing.TB) *Person {
	q := *p
	q.t = t
	return &q
}

// Do makes one call of human.mjs.
func (p *Person) Do(ctx context.Context, verb string, args map[string]any, out any) error {
	if err := p.humans.do(ctx, p.ID, verb, args, out); err != nil {
		return fmt.Errorf("%s: %s: %w", p.Name, verb, err)
	}
	return nil
}

func (p *Person) must(verb string, args map[string]any, out any) {
	p.t.Helper()
	if err := p.Do(context.Background(), verb, args, out); err != nil {
		p.t.Fatal(err)
	}
}

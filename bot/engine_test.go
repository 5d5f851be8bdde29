package bot_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rs/zerolog"

	"starling/adapters/rig"
	"starling/bot"
	"starling/bot/dbtest"
	"starling/locales"
)

// start is where every test's clock begins.
var start = time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)

// clock is a bot.Clock that stands still until a test moves it.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	waits []*wait
	calls int // under way
	ended *sync.Cond
}

func newClock() *clock {
	c := &clock{now: start}
	c.ended = sync.NewCond(&c.mu)
	return c
}

// idle returns when no callback is under way.
func (c *clock) idle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.calls > 0 {
		c.ended.Wait()
	}
}

type wait struct {
	at time.Time
	f  func()
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// jump sets the clock as an administrator would: what waits for so long goes on waiting for as long.
func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for _, w := range c.waits {
		w.at = w.at.Add(d)
	}
}

func (c *clock) AfterFunc(d time.Duration, f func()) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := &wait{c.now.Add(max(d, 0)), f}
	if d <= 0 {
		c.calls++
		go func() {
			f()
			c.mu.Lock()
			defer c.mu.Unlock()
			c.calls--
			c.ended.Broadcast()
		}()
		return func() {}
	}
	c.waits = append(c.waits, w)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waits = slices.DeleteFunc(c.waits, func(o *wait) bool { return o == w })
	}
}

// step moves the clock to the next thing that is due until limit, or to limit, and says whether something was due.
func (c *clock) step(limit time.Time) bool {
	c.mu.Lock()
	slices.SortStableFunc(c.waits, func(a, b *wait) int { return a.at.Compare(b.at) })
	if len(c.waits) == 0 || c.waits[0].at.After(limit) {
		c.now = limit
		c.mu.Unlock()
		return false
	}
	w := c.waits[0]
	c.waits = c.waits[1:]
	if w.at.After(c.now) {
		c.now = w.at
	}
	c.mu.Unlock()
	w.f()
	return true
}

// log collects what the engine logs.
type log struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// house is an engine on a real database with a network in memory, and what a test tells its commands to do.
type house struct {
	t     testing.TB
	dir   string
	clock *clock
	net   *rig.Network
	tap   *tap
	log   *log
	rand  *rand.ChaCha8

	// more are further adapters, and extra further capabilities, from the next start on.
	more  []bot.Adapter
	extra []bot.Capability

	limits bot.Limits

	mu    sync.Mutex
	does  map[string]func(*bot.Turn) error
	shown []rig.Event
	fault func(point string) bool
	// database, when set, is the one that is opened, whatever this run of the tests is about.
	database string
	faults   int

	engine *bot.Engine
	cancel context.CancelFunc
	ended  chan error
}

// build makes a house that stands still; able are the abilities of its network.
func build(t testing.TB, able bot.Abilities) *house {
	t.Helper()
	dir := t.TempDir()
	dbtest.For(t, dir) // it outlives the engine
	h := &house{t: t, dir: dir, clock: newClock(), log: &log{}, rand: rand.NewChaCha8([32]byte{1}), does: map[string]func(*bot.Turn) error{}}
	h.net = rig.NewNetwork("net", able, h.clock, func(ev rig.Event) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.shown = append(h.shown, ev)
	})
	h.tap = newTap(h.net)
	h.tap.stopped = func() <-chan struct{} { return h.engine.Stopped() }
	t.Cleanup(h.stop)
	return h
}

// live is a house that runs, with an encrypted room !room of ana, who moderates it, and luc.
func live(t testing.TB) *house { return liveOn(t, rig.LikeMatrix()) }

func liveOn(t testing.TB, able bot.Abilities) *house {
	t.Helper()
	h := build(t, able)
	h.start()
	h.room("!room", "ana*", "luc")
	return h
}

// open opens the engine without running it.
func (h *house) open() (*bot.Engine, error) {
	caps := append([]bot.Capability{h.capability()}, h.extra...)
	words, err := testWords()
	if err != nil {
		return nil, err
	}
	return bot.Open(bot.Config{Dir: h.dir, Database: cmp.Or(h.database, dbtest.For(h.t, h.dir)), Name: "Starling", Lang: "en", Clock: h.clock, Rand: h.rand, Log: zerolog.New(h.log), Messages: words.reg, Locales: words.bundle,
		NoSync: h.database == "", Limits: h.limits, Fault: h.atPoint}, caps...)
}

func (h *house) start() {
	h.t.Helper()
	var err error
	if h.engine, err = h.open(); err != nil {
		h.t.Fatal(err)
	}
	h.run()
}

func (h *house) run() {
	var ctx context.Context
	ctx, h.cancel = context.WithCancel(context.Background())
	h.ended = make(chan error, 1)
	e := h.engine
	go func() { h.ended <- e.Run(ctx, append([]bot.Adapter{h.tap}, h.more...)...) }()
}

// stop ends the engine, whatever state it is in.
func (h *house) stop() {
	if h.engine == nil {
		return
	}
	if h.cancel != nil {
		h.cancel()
		if err := <-h.ended; err != nil && !errors.Is(err, bot.ErrStopped) {
			h.t.Errorf("the engine ended with %v", err)
		}
	}
	if err := h.engine.Close(); err != nil {
		h.t.Error(err)
	}
	h.engine, h.cancel = nil, nil
}

func (h *house) restart() {
	h.t.Helper()
	h.stop()
	h.start()
}

func (h *house) atPoint(point string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fault == nil || !h.fault(point) {
		return false
	}
	h.faults++
	return true
}

// crashes sets what decides about a crash at each point; nil: none.
func (h *house) crashes(decide func(point string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = decide
}

// settle waits until all has happened that can happen now. A crashed engine is started again.
func (h *house) settle() { h.t.Helper(); h.settleWith(0) }

// settleWith waits until nothing moves but so many calls that hang.
func (h *house) settleWith(hang int) {
	h.t.Helper()
	settled := func(s bot.Status) bool { return s.Inbox+s.Ready+s.Jobs-s.Resting == 0 && s.Sending == hang }
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		taken := h.tap.mark(ctx)
		h.clock.idle()
		err := h.engine.Wait(ctx, settled)
		still := h.tap.mark(ctx) == taken && settled(h.engine.Status())
		select {
		case <-h.engine.Stopped():
			h.restart()
			continue
		default:
		}
		if err != nil || ctx.Err() != nil {
			h.t.Fatalf("not settled: %v: %+v\n%s", err, h.engine.Status(), h.log)
		}
		if still {
			return
		}
	}
}

// tap is the network as the engine sees it. It tells when all that was done on the network until now was taken in: each such
// question is a person who joins a room that the engine never hears of.
type tap struct {
	*rig.Network
	mu    sync.Mutex
	asked int
	told  int
	taken int
	inbox bot.Inbox
	moved chan struct{}
	// stopped is closed when the engine has stopped.
	stopped func() <-chan struct{}
	// before and after, when set, stand around each call: an error is what the engine gets to hear.
	before, after func(ctx context.Context, out bot.Outgoing) error
}

const markRoom = "!mark"

func newTap(n *rig.Network) *tap { return &tap{Network: n, moved: make(chan struct{})} }

// Run implements bot.Adapter.
func (p *tap) Run(ctx context.Context, in bot.Inbox) error {
	defer p.note(func() {})
	p.note(func() { p.inbox = in })
	return p.Network.Run(ctx, tapped{in, p})
}

// Send implements bot.Adapter.
func (p *tap) Send(ctx context.Context, out bot.Outgoing) (string, error) {
	p.mu.Lock()
	before, after := p.before, p.after
	p.mu.Unlock()
	if before != nil {
		if err := before(ctx, out); err != nil {
			return "", err
		}
	}
	id, err := p.Network.Send(ctx, out)
	if err == nil && after != nil {
		err = after(ctx, out)
	}
	return id, err
}

// calls sets what stands around each call.
func (p *tap) calls(before, after func(ctx context.Context, out bot.Outgoing) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before, p.after = before, after
}

func (p *tap) note(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.moved)
	p.moved = make(chan struct{})
}

// mark returns when all that was done until now was taken in, or the engine has stopped, and says how much was ever taken in.
func (p *tap) mark(ctx context.Context) int {
	p.mu.Lock()
	if p.asked == 0 {
		if err := p.Network.Create(rig.Room{ID: markRoom}); err != nil {
			panic(err)
		}
	}
	p.asked++
	mine := p.asked
	p.mu.Unlock()
	if err := p.Network.Join(markRoom, rig.Member{Person: "@mark"}); err != nil {
		panic(err)
	}
	for {
		p.mu.Lock()
		told, taken, moved := p.told, p.taken, p.moved
		p.mu.Unlock()
		if told >= mine {
			return taken
		}
		select {
		case <-moved:
		case <-p.stopped():
			return taken
		case <-ctx.Done():
			return taken
		}
	}
}

type tapped struct {
	bot.Inbox
	tap *tap
}

// Deliver implements bot.Inbox.
func (i tapped) Deliver(ctx context.Context, in ...bot.Incoming) error {
	if in[0].Room != markRoom {
		err := i.Inbox.Deliver(ctx, in...)
		i.tap.note(func() { i.tap.taken++ })
		return err
	}
	if in[0].Kind == bot.KindMember {
		i.tap.note(func() { i.tap.told++ })
	}
	return nil
}

// advance lets time pass: what falls due happens at its own time.
func (h *house) advance(d time.Duration) {
	h.t.Helper()
	h.settle()
	to := h.clock.Now().Add(d)
	for h.clock.step(to) {
		h.settle()
	}
	h.settle()
}

// do is a transaction of the test's own.
func (h *house) do(f func(tx *bot.Tx) error) {
	h.t.Helper()
	if err := h.engine.Do(context.Background(), "test", f); err != nil {
		h.t.Fatal(err)
	}
}

// room makes an encrypted room of people; a star marks who moderates.
func (h *house) room(id string, people ...string) {
	h.t.Helper()
	h.roomOf(rig.Room{ID: id, Name: strings.TrimPrefix(id, "!"), Encrypted: true}, people...)
}

func (h *house) roomOf(r rig.Room, people ...string) {
	h.t.Helper()
	for _, p := range people {
		name, moderator := strings.CutSuffix(p, "*")
		r.Members = append(r.Members, rig.Member{Person: "@" + name, Name: name, Moderator: moderator})
	}
	if err := h.net.Create(r); err != nil {
		h.t.Fatal(err)
	}
	h.settle()
}

// deliver hands something to the engine as the network would.
func (h *house) deliver(in ...bot.Incoming) {
	h.t.Helper()
	h.settle()
	h.tap.mu.Lock()
	inbox := h.tap.inbox
	h.tap.mu.Unlock()
	if err := inbox.Deliver(context.Background(), in...); err != nil {
		h.t.Fatal(err)
	}
	h.settle()
}

// id is a room's internal id.
func (h *house) id(room string) bot.RoomID {
	h.t.Helper()
	var id bot.RoomID
	h.do(func(tx *bot.Tx) error {
		r, err := tx.RoomAt("net", room)
		if err == nil {
			id = r.ID
		}
		return err
	})
	return id
}

// post says something in a room, out of the blue.
func (h *house) post(room, text string, opts ...bot.PostOption) (row bot.RowID) {
	h.t.Helper()
	id := h.id(room)
	h.do(func(tx *bot.Tx) (err error) {
		row, err = tx.Post(id, Said{text}, opts...)
		return err
	})
	return row
}

// chapter makes the room the first of a chapter.
func (h *house) chapter(room, name string) {
	h.t.Helper()
	h.do(func(tx *bot.Tx) error {
		r, err := tx.RoomAt("net", room)
		if err == nil {
			_, err = tx.NewChapter(r, name)
		}
		return err
	})
}

// follows makes a room hear a chapter.
func (h *house) follows(room, chapter string) {
	h.t.Helper()
	h.do(func(tx *bot.Tx) error {
		r, err := tx.RoomAt("net", room)
		if err != nil {
			return err
		}
		c, err := tx.ChapterNamed(chapter)
		if err != nil {
			return err
		}
		return tx.SetFollow(bot.Follow{Room: r.ID, Chapter: c.ID, Active: true})
	})
}

// say lets a person say something in a room, and waits for what follows from it. It gives the message's id.
func (h *house) say(room, person, text string) string {
	h.t.Helper()
	return h.said(rig.Said{Room: room, Person: "@" + person, Text: text})
}

func (h *house) said(s rig.Said) string {
	h.t.Helper()
	id, err := h.net.Say(s)
	if err != nil {
		h.t.Fatal(err)
	}
	h.settle()
	return id
}

// reply answers the bot's last message in a room, in its thread.
func (h *house) reply(room, person, text string) string {
	h.t.Helper()
	m := h.last(room)
	return h.said(rig.Said{Room: room, Person: "@" + person, Text: text, ReplyTo: m.ID, Thread: m.Thread})
}

func (h *house) react(room, person, target, emoji string) {
	h.t.Helper()
	if err := h.net.React(room, "@"+person, target, emoji, true); err != nil {
		h.t.Fatal(err)
	}
	h.settle()
}

// texts lists what the bot says in a room now.
func (h *house) texts(room string) []string {
	var all []string
	for _, m := range h.net.Messages(room) {
		if m.Author == rig.Bot {
			all = append(all, rig.Readable(m.Text))
		}
	}
	return all
}

// last is the bot's last message in a room.
func (h *house) last(room string) rig.Message {
	h.t.Helper()
	all := h.net.Messages(room)
	for _, m := range slices.Backward(all) {
		if m.Author == rig.Bot {
			return m
		}
	}
	h.t.Fatalf("the bot has said nothing in %s\n%s", room, h.log)
	return rig.Message{}
}

// events lists the calls that took effect, of a kind, in a room.
func (h *house) events(room string, kind bot.OutKind) []rig.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.shown), func(ev rig.Event) bool { return ev.Room != room || ev.Kind != kind })
}

func (h *house) want(room string, texts ...string) {
	h.t.Helper()
	if got := h.texts(room); !slices.Equal(got, texts) {
		h.t.Fatalf("in %s the bot says\n%q\nwant\n%q\nlog:\n%s", room, got, texts, h.log)
	}
}

// on says what /do NAME does.
func (h *house) on(name string, do func(t *bot.Turn) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.does[name] = do
}

// call runs what the test set for a name; what is not set does nothing.
func (h *house) call(t *bot.Turn, name string) error {
	h.mu.Lock()
	do := h.does[name]
	h.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(t)
}

// What the test's own capability says.
type (
	Said   struct{ Text string }
	Ask    struct{ Text string }
	Option struct{ Text string }
	Review struct{ What, Size, When string }
	Kept   struct{ What, Size, When string }
)

const entries = `
["command.do"]
other = "do"
["command.echo"]
other = "echo"
["command.where"]
other = "where"
["command.show"]
other = "show"
["example.where"]
other = "/where it"
["example.show"]
other = "/show T-7K3Q"
["command.ask"]
other = "ask"
["param.text"]
other = "text"
["example.do"]
other = "/do it"
["example.echo"]
other = "/echo hello"
["example.ask"]
other = "/ask"
["bot_test.said"]
other = "{{.Text}}"
["bot_test.ask"]
other = "{{.Text}}"
["bot_test.option"]
other = "{{.Text}}"
["bot_test.review"]
other = "what={{.What}} size={{.Size}} when={{.When}}"
["bot_test.kept"]
other = "kept what={{.What}} size={{.Size}} when={{.When}}"
`

type words struct {
	reg    *locales.Registry
	bundle *locales.Bundle
}

// testWords reads the entries once for all tests.
var testWords = sync.OnceValues(func() (words, error) {
	reg := locales.NewRegistry()
	bot.Messages(reg, new(house).capability())
	bundle, err := testLocales(reg)
	return words{reg, bundle}, err
})

// testLocales is what ships, with the entries of the tests in English.
func testLocales(reg *locales.Registry) (*locales.Bundle, error) {
	all := fstest.MapFS{}
	for _, l := range locales.Languages() {
		name := "active." + l.Code + ".toml"
		data, err := fs.ReadFile(os.DirFS("../locales"), name)
		if err != nil {
			return nil, err
		}
		if l.Code == "en" {
			for block := range strings.SplitSeq(entries, "[\"") {
				key, _, ok := strings.Cut(block, "\"]")
				if ok && !strings.Contains(string(data), `["`+key+`"]`) {
					data = append(data, "\n[\""+block...)
				}
			}
		}
		all[name] = &fstest.MapFile{Data: data}
	}
	return locales.LoadFS(reg, all)
}

// capability lets tests do anything: /do NAME calls what was set for NAME; timers, topics and hooks do so too.
func (h *house) capability() bot.Capability {
	text := []bot.Param{{Name: "text", Type: bot.ParamText}}
	return bot.Capability{
		Name:     "test",
		Messages: []any{Said{}, Ask{}, Option{}, Review{}, Kept{}},
		Commands: []bot.Command{
			{Name: "do", Params: text, Do: func(t *bot.Turn, a bot.Args) error { return h.call(t, a.Text("text")) }},
			{Name: "echo", Params: text, Where: bot.InRoom, Do: func(t *bot.Turn, a bot.Args) error { return t.Done(Said{a.Text("text")}) }},
			{Name: "where", Params: text, Where: bot.InRoom, Do: func(t *bot.Turn, _ bot.Args) error { return h.call(t, "where") }},
			{Name: "show", Params: []bot.Param{{Name: "code", Type: bot.ParamCode}}, Do: func(t *bot.Turn, a bot.Args) error {
				return t.Done(Said{"shown " + string(a.Record("code").Code())})
			}},
			{Name: "ask", Where: bot.InRoom, Do: func(t *bot.Turn, _ bot.Args) error { return t.Start("test.ask", nil) }},
		},
		Kinds: []bot.RecordKind{{Name: "thing", Letter: "T", Index: indexThing,
			Settled: func(t *bot.Turn, _ *bot.Record, d bot.Delivery) error { return h.call(t, "settled") }}},
		Dialogues: []bot.Dialogue{{
			Name:   "test.ask",
			Steps:  askSteps,
			Review: func(_ *bot.Turn, d bot.Draft) any { return Review{d["what"], d["size"], d["when"]} },
			Done:   func(t *bot.Turn, d bot.Draft) error { return t.Done(Kept{d["what"], d["size"], d["when"]}) },
		}},
		Topics: map[string]func(*bot.Turn, string, bot.Answer) error{
			"test.topic": func(t *bot.Turn, ref string, a bot.Answer) error {
				h.mu.Lock()
				h.does["answer"] = func(*bot.Turn) error { return t.Done(Said{ref + " " + a.Emoji + a.Text}) }
				h.mu.Unlock()
				return h.call(t, "answer")
			},
			"test.job": func(t *bot.Turn, ref string, a bot.Answer) error {
				if a.Job.Failed {
					return t.Done(Said{ref + " failed"})
				}
				return t.Done(Said{ref + " " + string(a.Job.Result)})
			},
		},
		Timers: map[string]func(*bot.Turn, string) error{
			"test.timer": func(t *bot.Turn, ref string) error { return h.call(t, "timer "+ref) },
		},
		Joined: func(t *bot.Turn) error { return h.call(t, "joined") },
		Left:   func(t *bot.Turn) error { return h.call(t, "left") },
	}
}

func askSteps(*bot.Turn, bot.Draft) []bot.Step {
	return []bot.Step{
		{Field: "what", Ask: Ask{"what"}},
		{Field: "size", Ask: Ask{"size"}, Choices: []bot.Option{{Value: "small", Label: Option{"small"}}, {Value: "large", Label: Option{"large"}}}},
		{Field: "when", Ask: Ask{"when"}, Optional: true},
	}
}

func TestACommandIsAnswered(t *testing.T) {
	h := live(t)
	h.say("!room", "ana", "/echo hello")
	h.want("!room", "hello")
	if s := h.engine.Status(); !s.Idle() || s.Errors != 0 || s.Rooms != 1 {
		t.Errorf("%+v\n%s", s, h.log)
	}
}

type thing struct {
	Text string    `json:"text"`
	Done bool      `json:"done,omitempty"`
	Due  time.Time `json:"due"`
}

func indexThing(body json.RawMessage) (string, time.Time) {
	var b thing
	if json.Unmarshal(body, &b) != nil || b.Done {
		return "closed", b.Due
	}
	return "open", b.Due
}

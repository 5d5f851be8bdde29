package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto/cryptohelper"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/e2e/lab"
)

// watcher is a plain client that notes when events reach it.
type watcher struct {
	*mautrix.Client
	b testing.TB

	mu      sync.Mutex // guards what follows
	events  []*event.Event
	at      []time.Time
	changed chan struct{}
}

// watch makes an account and follows what it sees.
func watch(b testing.TB, server *lab.Dendrite, name string) *watcher {
	b.Helper()
	c := client(b, server, name)
	w := &watcher{Client: c, b: b, changed: make(chan struct{})}
	c.Syncer.(*mautrix.DefaultSyncer).OnEvent(func(_ context.Context, e *event.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events, w.at = append(w.events, e), append(w.at, time.Now())
		close(w.changed)
		w.changed = make(chan struct{})
	})
	follow(b, c)
	return w
}

func client(b testing.TB, server *lab.Dendrite, name string) *mautrix.Client {
	b.Helper()
	if _, err := server.Register(b.Context(), name, name+"-password"); err != nil {
		b.Fatal(err)
	}
	c, err := mautrix.NewClient(server.URL, "", "")
	if err != nil {
		b.Fatal(err)
	}
	c.Client.Transport = &http.Transport{MaxIdleConnsPerHost: 100}
	if _, err = c.Login(b.Context(), &mautrix.ReqLogin{
		Type: mautrix.AuthTypePassword, Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: name},
		Password: name + "-password", StoreCredentials: true,
	}); err != nil {
		b.Fatal(err)
	}
	return c
}

// follow lets a client sync until the test ends.
func follow(b testing.TB, c *mautrix.Client) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.SyncWithContext(ctx) // it says that it was ended
	}()
	b.Cleanup(func() { cancel(); <-done })
}

// mark is a place in what was seen until now.
func (w *watcher) mark() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.events)
}

// wait gives the first event after a mark that fits, and when it came.
func (w *watcher) wait(after int, what string, fits func(*event.Event) bool) (*event.Event, time.Time) {
	w.b.Helper()
	patience := time.After(lab.Patience)
	for {
		w.mu.Lock()
		for ; after < len(w.events); after++ {
			if fits(w.events[after]) {
				defer w.mu.Unlock()
				return w.events[after], w.at[after]
			}
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-patience:
			w.b.Fatalf("waited in vain for %s", what)
		}
	}
}

// last gives when every one of the rooms had a message from somebody after a mark.
func (w *watcher) last(after int, rooms []id.RoomID, from id.UserID) (at time.Time) {
	w.b.Helper()
	missing := map[id.RoomID]bool{}
	for _, r := range rooms {
		missing[r] = true
	}
	w.wait(after, fmt.Sprintf("messages of %s in %d rooms", from, len(rooms)), func(e *event.Event) bool {
		if e.Sender == from && (e.Type == event.EventMessage || e.Type == event.EventEncrypted) {
			delete(missing, e.RoomID)
		}
		return len(missing) == 0
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	missing = map[id.RoomID]bool{}
	for i := after; i < len(w.events); i++ {
		e := w.events[i]
		if e.Sender == from && (e.Type == event.EventMessage || e.Type == event.EventEncrypted) && slices.Contains(rooms, e.RoomID) && !missing[e.RoomID] {
			missing[e.RoomID] = true
			at = w.at[i]
		}
	}
	return at
}

// say sends a text and gives the bot's answer to it.
func (w *watcher) say(room id.RoomID, bot id.UserID, text string) *event.Event {
	w.b.Helper()
	from := w.mark()
	sent, err := w.SendText(w.b.Context(), room, text)
	if err != nil {
		w.b.Fatal(err)
	}
	answer, _ := w.wait(from, "the answer to "+text, func(e *event.Event) bool {
		relation, _ := e.Content.Raw["m.relates_to"].(map[string]any)
		reply, _ := relation["m.in_reply_to"].(map[string]any)
		return e.Sender == bot && e.RoomID == room && e.Type == event.EventMessage && reply["event_id"] == sent.EventID.String()
	})
	return answer
}

// BenchmarkRelayOnDendrite measures on a real homeserver how long an alert takes from its ✅ to the last of fifty rooms, as somebody in all
// of them sees it. Beside it, in turns: a program that only sends to the same rooms, as parallel as is best for it; where the
// rooms are encrypted, one that also encrypts (mautrix-go with its own helper, keys shared before). With -short it only shows that it runs.
func BenchmarkRelayOnDendrite(b *testing.B) {
	rooms, pairs, widths := 50, 10, []int{2, 4, 8, 16, 50}
	if testing.Short() {
		rooms, pairs, widths = 3, 2, []int{2}
	}
	for _, encrypted := range []bool{false, true} {
		b.Run(fmt.Sprintf("encrypted=%v", encrypted), func(b *testing.B) {
			d := newDendriteRelay(b, rooms, encrypted)
			best, least := widths[0], time.Duration(0)
			for _, width := range widths {
				var took []time.Duration
				for range 5 {
					took = append(took, d.bare(width))
				}
				slices.Sort(took)
				if least == 0 || took[2] < least {
					best, least = width, took[2]
				}
			}
			var relay, bare []time.Duration
			var ratios []float64
			for n := range pairs * b.N {
				relay, bare = append(relay, d.relay(n+1)), append(bare, d.bare(best))
				ratios = append(ratios, float64(relay[n])/float64(bare[n]))
			}
			slices.Sort(ratios)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(relay), "ms")
			b.ReportMetric(median(bare), "ms-only-sends")
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
			row(map[bool]string{false: "no", true: "yes"}[encrypted], ms(median(relay)), ms(float64(slices.Max(relay))/1e6), ms(median(bare)),
				fmt.Sprintf("%d at a time", best), fmt.Sprintf("%.2f", ratios[len(ratios)/2]))
		})
	}
}

// dendriteRelay is a chapter that fifty rooms follow.
type dendriteRelay struct {
	b      *testing.B
	ana    *watcher
	peer   *mautrix.Client
	bot    *lab.Starling
	origin id.RoomID
	rooms  []id.RoomID
}

func newDendriteRelay(b *testing.B, rooms int, encrypted bool) *dendriteRelay {
	b.Helper()
	ctx := b.Context()
	server := lab.StartDendrite(b)
	d := &dendriteRelay{b: b, ana: watch(b, server, "ana"), peer: client(b, server, "peer")}
	if encrypted {
		helper, err := cryptohelper.NewCryptoHelper(d.peer, []byte("pickle"), filepath.Join(b.TempDir(), "peer.db"))
		if err != nil {
			b.Fatal(err)
		}
		if err := helper.Init(ctx); err != nil {
			b.Fatal(err)
		}
		d.peer.Crypto = helper
	}
	follow(b, d.peer)
	user, err := server.Register(ctx, botUser, botUser+"-password")
	if err != nil {
		b.Fatal(err)
	}
	d.bot, err = lab.NewStarling(ctx, b.TempDir(), lab.BotConfig{URL: server.URL, User: user, Password: botUser + "-password", Invite: []string{d.ana.UserID.String()}, Level: "warn"})
	if err != nil {
		b.Fatal(err)
	}
	d.bot.Run(b)

	room := func(name string, commands ...string) id.RoomID {
		b.Helper()
		from := d.ana.mark()
		made, err := d.ana.CreateRoom(ctx, &mautrix.ReqCreateRoom{Name: name, Preset: "public_chat", Invite: []id.UserID{id.UserID(user)}})
		if err != nil {
			b.Fatal(err)
		}
		d.ana.wait(from, "the greeting", func(e *event.Event) bool {
			return e.RoomID == made.RoomID && e.Sender == id.UserID(user) && e.Type == event.EventMessage
		})
		for _, text := range append([]string{"/room language en", "/room name " + name}, commands...) {
			d.ana.say(made.RoomID, id.UserID(user), text)
		}
		if _, err := d.peer.JoinRoomByID(ctx, made.RoomID); err != nil {
			b.Fatal(err)
		}
		return made.RoomID
	}
	d.origin = room("Origin", "/room alerts anyone", "/relay open on")
	for n := range rooms {
		d.rooms = append(d.rooms, room(fmt.Sprintf("Follower %d", n), "/relay follow Origin"))
	}
	if encrypted {
		for _, r := range d.rooms {
			if _, err := d.ana.SendStateEvent(ctx, r, event.StateEncryption, "", &event.EncryptionEventContent{Algorithm: id.AlgorithmMegolmV1}); err != nil {
				b.Fatal(err)
			}
		}
		for _, r := range d.rooms { // what is said after it is not read before it
			d.until(r, func(ok bool, err error) bool { return ok && err == nil })
		}
	}
	d.relay(0) // room keys are shared, connections made
	d.bare(8)
	return d
}

// until waits until the peer knows that a room is encrypted.
func (d *dendriteRelay) until(r id.RoomID, fits func(bool, error) bool) {
	d.b.Helper()
	patience := time.After(lab.Patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !fits(d.peer.StateStore.IsEncrypted(d.b.Context(), r)) {
		select {
		case <-tick.C:
		case <-patience:
			d.b.Fatal("the peer does not see that a room is encrypted")
		}
	}
}

// relay raises an alert and gives the time from its ✅ to the last room.
func (d *dendriteRelay) relay(n int) time.Duration {
	d.b.Helper()
	bot := id.UserID(d.bot.ID)
	preview := d.ana.say(d.origin, bot, fmt.Sprintf("/alert now: police at the social centre, number %d", n))
	if !strings.Contains(preview.Content.Raw["body"].(string), "number") {
		d.b.Fatalf("no preview: %v", preview.Content.Raw["body"])
	}
	d.bot.WaitIdle(d.b)
	from, start := d.ana.mark(), time.Now()
	if _, err := d.ana.SendReaction(d.b.Context(), d.origin, preview.ID, "✅"); err != nil {
		d.b.Fatal(err)
	}
	last := d.ana.last(from, d.rooms, bot)
	d.bot.WaitIdle(d.b)
	return last.Sub(start)
}

// bare sends to all rooms, so many at a time, and gives the time to the last.
func (d *dendriteRelay) bare(width int) time.Duration {
	d.b.Helper()
	todo := make(chan id.RoomID)
	var group sync.WaitGroup
	from, start := d.ana.mark(), time.Now()
	for range width {
		group.Go(func() {
			for r := range todo {
				if _, err := d.peer.SendText(d.b.Context(), r, "police at the social centre"); err != nil {
					d.b.Error(err)
				}
			}
		})
	}
	for _, r := range d.rooms {
		todo <- r
	}
	close(todo)
	group.Wait()
	return d.ana.last(from, d.rooms, d.peer.UserID).Sub(start)
}

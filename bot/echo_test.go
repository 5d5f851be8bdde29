package bot_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
)

// wire is a network of which the test does each step itself.
type wire struct {
	inbox chan bot.Inbox
	calls chan bot.Outgoing
	ids   chan string // what the calls answer, in order
}

func newWire() *wire {
	return &wire{inbox: make(chan bot.Inbox, 1), calls: make(chan bot.Outgoing), ids: make(chan string)}
}

func (w *wire) Name() string { return "wire" }
func (w *wire) Abilities() bot.Abilities {
	return bot.Abilities{Threads: true, Reactions: true, Idempotent: true}
}

func (w *wire) Run(ctx context.Context, in bot.Inbox) error {
	w.inbox <- in
	<-ctx.Done()
	return nil
}

func (w *wire) Send(ctx context.Context, out bot.Outgoing) (string, error) {
	select {
	case w.calls <- out:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	select {
	case id := <-w.ids:
		return id, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// A crash takes the answer to a call with it. Where the network shows the bot its own messages, nothing is said again, and a
// reaction is understood that somebody put on such a message meanwhile.
func TestWhatCameBackIsNotSaidAgain(t *testing.T) {
	h := live(t)
	h.stop()
	w := newWire()
	h.more = []bot.Adapter{w}
	h.on("three", func(t *bot.Turn) error {
		for _, text := range []string{"one", "two", "three"} {
			if _, err := t.Answer(Said{text}, bot.Topic("test.topic", text)); err != nil {
				return err
			}
		}
		return nil
	})
	h.start()
	in := <-w.inbox
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	deliver := func(all ...bot.Incoming) {
		t.Helper()
		for i := range all {
			all[i].Room, all[i].Person, all[i].Encrypted = "!far", "@ana", true
		}
		if err := in.Deliver(ctx, all...); err != nil {
			t.Fatal(err)
		}
	}
	deliver(bot.Incoming{Kind: bot.KindRoom, RoomChange: &bot.RoomChange{Joined: true, Encrypted: true, Members: map[string]bot.MemberInfo{"@ana": {}}}},
		bot.Incoming{Kind: bot.KindText, ID: "$do", Text: "/do three"})
	one := <-w.calls
	if one.Again {
		t.Error("the first try is called a repetition")
	}
	w.ids <- "$one"
	two := <-w.calls // two arrives, but its answer is lost, and who knows what became of that to the first

	h.restart()
	in = <-w.inbox
	again := <-w.calls
	if again.ID != one.ID && again.ID != two.ID || !again.Again {
		t.Errorf("after the restart comes %+v", again)
	}
	deliver(bot.Incoming{Kind: bot.KindEcho, ID: "$one", Target: one.ID}, bot.Incoming{Kind: bot.KindEcho, ID: "$two", Target: two.ID},
		bot.Incoming{Kind: bot.KindEcho, ID: "$other", Target: "another-1"},
		bot.Incoming{Kind: bot.KindReactionOn, ID: "$yes", Target: "$two", Text: "✅"})
	w.ids <- "$" + again.Text
	var rest []string
	for range 2 {
		out := <-w.calls
		rest = append(rest, rig.Readable(out.Text))
		w.ids <- "$" + out.ID
	}
	if err := h.engine.Wait(ctx, bot.Status.Idle); err != nil {
		t.Fatal(err)
	}
	slices.Sort(rest)
	if !slices.Equal(rest, []string{"three", "two ✅"}) {
		t.Errorf("then it said %q, want three and the answer to the reaction", rest)
	}
}

// The network forgets that it showed the bot its own message once the bot has taken that in: by then it must be stored, or the
// message waits again after a crash, and nobody knows any more what a reaction on it was to.
func TestWhatCameBackIsStoredBeforeTheNetworkForgets(t *testing.T) {
	h := live(t)
	h.stop()
	w := newWire()
	h.more = []bot.Adapter{w}
	h.on("one", func(t *bot.Turn) error {
		_, err := t.Answer(Said{"one"}, bot.Topic("test.topic", "one"))
		return err
	})
	h.start()
	in := <-w.inbox
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all := []bot.Incoming{{Kind: bot.KindRoom, RoomChange: &bot.RoomChange{Joined: true, Members: map[string]bot.MemberInfo{"@ana": {}}}},
		{Kind: bot.KindText, ID: "$do", Text: "/do one"}}
	for i := range all {
		all[i].Room, all[i].Person = "!far", "@ana"
	}
	if err := in.Deliver(ctx, all...); err != nil {
		t.Fatal(err)
	}
	one := <-w.calls
	storing, crashing := make(chan struct{}), make(chan struct{})
	crash := sync.OnceFunc(func() { close(crashing) })
	defer crash()
	var once sync.Once
	h.crashes(func(point string) bool {
		if point == "before-store" {
			once.Do(func() { close(storing) })
			<-crashing
		}
		return point == "before-store"
	})
	w.ids <- "$one"
	<-storing // the news that it was delivered, which will be lost
	for h.engine.Status().Sending > 0 {
		runtime.Gosched()
	}
	taken := make(chan error, 1)
	go func() {
		taken <- in.Deliver(ctx, bot.Incoming{Room: "!far", Kind: bot.KindEcho, ID: "$one", Target: one.ID})
	}()
	for h.engine.Status().Inbox < 2 {
		select {
		case err := <-taken:
			t.Fatalf("the network may forget what is not stored: %v", err)
		default:
			runtime.Gosched()
		}
	}
	crash()
	if err := <-taken; err == nil {
		t.Fatal("the network may forget what was lost")
	}
	h.crashes(nil)
}

package bot_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
	"starling/bot/dbtest"
)

// spoken lists what was said in a room, in the order in which it was said, edits and reactions included.
func (h *house) spoken(rooms ...string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, ev := range h.shown {
		if slices.Contains(rooms, ev.Room) {
			all = append(all, strings.TrimSpace(rig.Readable(ev.Text)))
		}
	}
	return all
}

func (h *house) wantSpoken(room string, texts ...string) {
	h.t.Helper()
	if got := h.spoken(room); !slices.Equal(got, texts) {
		h.t.Fatalf("in %s was said\n%q\nwant\n%q\nlog:\n%s", room, got, texts, h.log)
	}
}

func TestALimitedAccountOpensWithItsAlerts(t *testing.T) {
	able := rig.LikeMatrix()
	able.InFlight = 1
	h := liveOn(t, able)
	h.room("!other", "luc")
	h.net.Limit(30 * time.Second)
	h.post("!room", "first", bot.WithPriority(bot.PriorityReminder), lane("reminder"))
	h.settle()
	// Everything waits now, rooms that were never called too.
	h.post("!other", "decoration", bot.WithPriority(bot.PriorityDecoration))
	h.post("!room", "answer")
	h.post("!other", "alert 1", bot.Rings(), lane("alert"))
	h.post("!room", "alert 2", bot.Rings(), lane("alert"))
	h.advance(29 * time.Second)
	if got := h.spoken("!room", "!other"); len(got) != 0 {
		t.Fatalf("said %q while the account was closed", got)
	}
	h.advance(time.Minute)
	if got, want := h.spoken("!room", "!other"), []string{"alert 1", "alert 2", "answer", "first", "decoration"}; !slices.Equal(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
}

func lane(name string) bot.PostOption { return bot.About(&bot.Record{ID: name}) }

func TestOrderIsKeptInALane(t *testing.T) {
	h := live(t)
	h.net.Down("!room", 10*time.Second)
	h.post("!room", "a1", lane("a"))
	h.settle()
	h.post("!room", "a2", lane("a"), bot.Rings())
	h.post("!room", "b1", lane("b"))
	h.post("!room", "b2", lane("b"), bot.Rings())
	h.advance(time.Minute)
	got := h.spoken("!room")
	for _, pair := range [][2]string{{"a1", "a2"}, {"b1", "b2"}} {
		if slices.Index(got, pair[0]) < 0 || slices.Index(got, pair[0]) > slices.Index(got, pair[1]) {
			t.Errorf("said %q, want %s before %s", got, pair[0], pair[1])
		}
	}
	if len(got) != 4 {
		t.Errorf("said %q", got)
	}
}

func TestOneSlowRoomDelaysNoOther(t *testing.T) {
	h := live(t)
	h.room("!other", "luc")
	free := make(chan struct{})
	h.tap.calls(func(ctx context.Context, out bot.Outgoing) error {
		if out.Room == "!room" {
			<-free
		}
		return nil
	}, nil)
	h.post("!room", "slow 1")
	h.post("!room", "slow 2")
	h.settleWith(1)
	for i := range 3 {
		h.post("!other", fmt.Sprint("fast ", i))
	}
	h.settleWith(1)
	h.wantSpoken("!other", "fast 0", "fast 1", "fast 2")
	h.wantSpoken("!room")
	close(free)
	h.settle()
	h.wantSpoken("!room", "slow 1", "slow 2")
}

func TestDecorationWaitsUntilAlertsAreSeen(t *testing.T) {
	able := rig.LikeMatrix()
	able.Shows = time.Second
	h := liveOn(t, able)
	h.room("!slow", "luc")
	free := make(chan struct{})
	end := sync.OnceFunc(func() { close(free) })
	defer end()
	h.tap.calls(func(ctx context.Context, out bot.Outgoing) error {
		if out.Room == "!slow" {
			<-free
		}
		return nil
	}, nil)
	stands := func(sending, ready, outbox int, said ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.engine.Wait(ctx, func(s bot.Status) bool { return s.Sending == sending && s.Ready == ready && s.Outbox == outbox }); err != nil {
			t.Fatalf("%v: %+v, said %q", err, h.engine.Status(), h.spoken("!room"))
		}
		h.wantSpoken("!room", said...)
	}
	h.post("!slow", "slow", bot.Rings())
	h.post("!room", "alert", bot.Rings(), bot.Buttons("👀"))
	stands(1, 1, 2, "alert") // another room has yet to hear one
	pass := func(d time.Duration) {
		for to := h.clock.Now().Add(d); h.clock.step(to); {
		}
	}
	pass(5 * time.Second)
	stands(1, 0, 1, "alert", "👀") // a slow room delays no other for long
	h.post("!room", "again", bot.Rings(), bot.Buttons("👀"))
	end()
	stands(0, 1, 1, "alert", "👀", "again") // the network has yet to show them
	pass(time.Second)
	stands(0, 0, 0, "alert", "👀", "again", "👀")
}

func TestRetriesGrowApart(t *testing.T) {
	h := live(t)
	var mu sync.Mutex
	var tries []time.Duration
	h.tap.calls(func(context.Context, bot.Outgoing) error {
		mu.Lock()
		defer mu.Unlock()
		tries = append(tries, h.clock.Now().Sub(start))
		return errors.New("no answer")
	}, nil)
	h.post("!room", "hello")
	h.advance(2 * time.Hour)
	mu.Lock()
	defer mu.Unlock()
	for i := 1; i < len(tries); i++ {
		wait, want := tries[i]-tries[i-1], min(time.Second<<(i-1), 10*time.Minute)
		if wait < want || wait > want*5/4 {
			t.Errorf("try %d came after %v, want %v to a quarter more", i, wait, want)
		}
	}
	if len(tries) < 15 {
		t.Errorf("%d tries in two hours", len(tries))
	}
}

func TestTheNetworkSaysHowLongToWait(t *testing.T) {
	h := live(t)
	refused := false
	h.tap.calls(func(context.Context, bot.Outgoing) error {
		if refused {
			return nil
		}
		refused = true
		return &bot.SendError{Err: errors.New("later"), After: time.Hour}
	}, nil)
	h.post("!room", "hello")
	h.advance(59 * time.Minute)
	h.wantSpoken("!room")
	h.advance(2 * time.Minute)
	h.wantSpoken("!room", "hello")
}

func TestWhatIsForLaterHoldsUpNothing(t *testing.T) {
	h := live(t)
	h.post("!room", "reminder", bot.NotBefore(start.Add(time.Hour)))
	h.say("!room", "ana", "/echo hello")
	h.wantSpoken("!room", "hello")
	h.restart()
	h.advance(59 * time.Minute)
	h.wantSpoken("!room", "hello")
	h.advance(time.Minute)
	h.wantSpoken("!room", "hello", "reminder")
}

func TestWhatWaitsForAnotherComesAfterIt(t *testing.T) {
	h := live(t)
	root := h.post("!room", "root", bot.NotBefore(start.Add(time.Minute)))
	h.post("!room", "reply", bot.Under(root), bot.Rings())
	h.post("!room", "after", bot.After(root), bot.Rings(), lane("x"))
	h.settle()
	h.wantSpoken("!room")
	h.advance(2 * time.Minute)
	h.wantSpoken("!room", "root", "reply", "after")
	m := h.net.Messages("!room")
	if m[1].ReplyTo != m[0].ID || m[2].ReplyTo != "" {
		t.Errorf("reply to %q and %q, want %q and none", m[1].ReplyTo, m[2].ReplyTo, m[0].ID)
	}
	// What waits for something that is taken back never leaves.
	gone := h.post("!room", "gone", bot.NotBefore(start.Add(time.Hour)))
	h.post("!room", "with it", bot.Under(gone))
	h.do(func(tx *bot.Tx) error { return tx.Delete(gone) })
	h.advance(2 * time.Hour)
	h.wantSpoken("!room", "root", "reply", "after")
	if s := h.engine.Status(); !s.Idle() {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsLateIsDropped(t *testing.T) {
	h := live(t)
	h.net.Down("!room", time.Hour)
	h.post("!room", "late", bot.Expires(start.Add(time.Minute)))
	h.post("!room", "still good", bot.Expires(start.Add(24*time.Hour)))
	h.advance(3 * time.Hour)
	h.wantSpoken("!room", "still good")
	if s := h.engine.Status(); !s.Idle() {
		t.Errorf("%+v", s)
	}
}

func TestAnEditGivesWayToANewerOne(t *testing.T) {
	h := live(t)
	edit := func(row bot.RowID, text string) {
		t.Helper()
		h.do(func(tx *bot.Tx) error { return tx.Edit(row, Said{text}) })
	}
	// What has not left yet is changed in place.
	unsent := h.post("!room", "draft", bot.NotBefore(start.Add(time.Minute)))
	edit(unsent, "draft 2")
	edit(unsent, "final")
	h.advance(2 * time.Minute)
	h.wantSpoken("!room", "final")
	// Of edits that wait, one leaves.
	h.net.Limit(time.Minute)
	h.post("!room", "blocks", lane("x"))
	h.settle()
	for i := range 5 {
		edit(unsent, fmt.Sprint("edit ", i))
	}
	h.advance(2 * time.Minute)
	h.wantSpoken("!room", "final", "blocks", "edit 4")
	if m := h.net.Messages("!room"); rig.Readable(m[0].Text) != "edit 4" || m[0].Edits != 1 {
		t.Errorf("%+v", m[0])
	}
}

func TestAnEditOfWhatMayHaveBeenShownIsAnEdit(t *testing.T) {
	h := live(t)
	lost := true
	h.tap.calls(nil, func(_ context.Context, out bot.Outgoing) error {
		if lost && out.Kind == bot.OutMessage {
			lost = false
			return errors.New("the answer was lost")
		}
		return nil
	})
	row := h.post("!room", "first")
	h.settle()
	h.do(func(tx *bot.Tx) error { return tx.Edit(row, Said{"second"}) })
	h.advance(time.Minute)
	// The network shows the first text for the repeated call: only an edit can change it.
	h.wantSpoken("!room", "first", "second")
	h.want("!room", "second")
}

func TestAnEditDuringACallIsAnEdit(t *testing.T) {
	h := live(t)
	free := make(chan struct{})
	h.tap.calls(func(context.Context, bot.Outgoing) error { <-free; return nil }, nil)
	row := h.post("!room", "first")
	h.settleWith(1)
	h.do(func(tx *bot.Tx) error { return tx.Edit(row, Said{"second"}) })
	close(free)
	h.settle()
	h.wantSpoken("!room", "first", "second")
	h.want("!room", "second")
}

func TestAnEditAfterARestartIsSeen(t *testing.T) {
	h := live(t)
	h.crashes(func(point string) bool { return point == "after-send" })
	id := h.id("!room")
	var row bot.RowID
	// Whether it was stored is known before the crash, or not.
	_ = h.engine.Do(context.Background(), "test", func(tx *bot.Tx) (err error) {
		row, err = tx.Post(id, Said{"first"})
		return err
	})
	<-h.engine.Stopped()
	h.crashes(nil)
	// Shown, but the bot does not know: after the crash it is changed before it could be sent again.
	h.stop()
	var err error
	if h.engine, err = h.open(); err != nil {
		t.Fatal(err)
	}
	h.do(func(tx *bot.Tx) error { return tx.Edit(row, Said{"second"}) })
	h.run()
	h.settle()
	h.want("!room", "second")
}

func TestACounterIsEditedEveryTenSeconds(t *testing.T) {
	h := live(t)
	row := h.post("!room", "count 0")
	h.settle()
	for i := range 60 {
		h.do(func(tx *bot.Tx) error { return tx.EditCounter(row, Said{fmt.Sprint("count ", i+1)}) })
		h.advance(time.Second)
	}
	h.advance(time.Minute)
	m := h.net.Messages("!room")
	if rig.Readable(m[0].Text) != "count 60" || m[0].Edits < 6 || m[0].Edits > 8 {
		t.Errorf("%d edits in a minute, ending in %q: %q", m[0].Edits, m[0].Text, h.spoken("!room"))
	}
	var last time.Time
	for _, ev := range h.events("!room", bot.OutEdit) {
		if ev.At.Sub(last) < 10*time.Second {
			t.Errorf("an edit came %v after the one before", ev.At.Sub(last))
		}
		last = ev.At
	}
}

func TestANewWordDoesNotWaitForACounter(t *testing.T) {
	h := live(t)
	row := h.post("!room", "count 0")
	h.settle()
	for i := range 2 {
		h.do(func(tx *bot.Tx) error { return tx.EditCounter(row, Said{fmt.Sprint("count ", i+1)}) })
		h.settle()
	}
	h.do(func(tx *bot.Tx) error { return tx.Edit(row, Said{"over"}) })
	h.settle()
	h.want("!room", "over")
	h.advance(time.Minute)
	h.want("!room", "over")
}

func TestEditsThatTheNetworkDoesNotAllow(t *testing.T) {
	h := liveOn(t, bot.Abilities{Edits: true, EditWindow: time.Hour, MaxEdits: 2, Reactions: true, Idempotent: true})
	edit := func(row bot.RowID, text string) {
		t.Helper()
		h.do(func(tx *bot.Tx) error { return tx.Edit(row, Said{text}) })
		h.settle()
	}
	row := h.post("!room", "a", bot.Topic("test.topic", "ref"))
	h.settle()
	for _, text := range []string{"b", "c", "d"} {
		edit(row, text)
	}
	h.want("!room", "c", "d") // the third is a message
	if m := h.last("!room"); m.ReplyTo != h.net.Messages("!room")[0].ID {
		t.Errorf("the message in the place of an edit hangs on %q", m.ReplyTo)
	}
	h.react("!room", "ana", h.last("!room").ID, "👍")
	h.want("!room", "c", "d", "ref ✅") // and answers to it are heard
	old := h.post("!room", "old")
	h.advance(2 * time.Hour)
	h.do(func(tx *bot.Tx) error { return tx.EditCounter(old, Said{"moved"}) })
	h.settle()
	h.want("!room", "c", "d", "ref ✅", "old") // numbers that move are no news
	edit(old, "new")
	h.want("!room", "c", "d", "ref ✅", "old", "new")
	if h.engine.Status().Errors != 0 || strings.Contains(h.log.String(), "set aside") {
		t.Error(h.log)
	}
}

// share gives three rooms: !room of the chapter Home, and two of chapters that hear it. /do share keeps a thing and tells them.
func share(t *testing.T, opts ...bot.PostOption) (*house, *string) {
	h := live(t)
	h.room("!north", "nora*")
	h.room("!south", "sam*")
	h.chapter("!room", "Home")
	h.chapter("!north", "North")
	h.chapter("!south", "South")
	h.follows("!north", "Home")
	h.follows("!south", "Home")
	var id string
	h.on("share", func(t *bot.Turn) error {
		r, err := t.NewRecord("thing", thing{Text: "news"}, t.Now().AddDate(0, 1, 0))
		if err != nil {
			return err
		}
		id = r.ID
		rooms, _, err := t.Reach(t.Room.Chapter, "thing", t.Encrypted(), t.Room.ID)
		if err != nil {
			return err
		}
		for _, to := range rooms {
			for _, part := range []string{"news 1", "news 2"} {
				if _, err := t.Post(to.ID, Said{part}, append(opts, bot.About(r), bot.Origin(t.Room.ID))...); err != nil {
					return err
				}
			}
		}
		return t.Done(Said{"shared"}, bot.About(r))
	})
	return h, &id
}

func TestWhatCanNeverBeDeliveredIsToldOnce(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(h *house)
		gone  bool
	}{
		{"refused", func(h *house) { h.net.Refuse("!north", "M_FORBIDDEN", false) }, false},
		{"put out, and the network says so in its answer", func(h *house) { h.net.Refuse("!north", "gone", false) }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, id := share(t)
			left := 0
			h.on("left", func(*bot.Turn) error { left++; return nil })
			tc.spoil(h)
			h.say("!room", "ana", "/do share")
			h.advance(10 * time.Second)
			h.wantSpoken("!south", "news 1", "news 2")
			got := h.texts("!room")
			if len(got) != 2 || !strings.Contains(got[1], "North") {
				t.Errorf("the origin reads %q", got)
			}
			h.do(func(tx *bot.Tx) error {
				all, err := tx.Deliveries(*id)
				for _, d := range all {
					if north := d.Room == h.roomIn(tx, "!north"); north != d.SetAside || north == d.Delivered {
						t.Errorf("%+v", d)
					}
				}
				return err
			})
			if want := map[bool]int{true: 1}[tc.gone]; left != want {
				t.Errorf("the hook Left was called %d times, want %d", left, want)
			}
			if err := h.net.Remove("!north"); err != nil { // the network says it once more
				t.Fatal(err)
			}
			h.settle()
			if left != 1 {
				t.Errorf("after all the hook Left was called %d times", left)
			}
			if s := h.engine.Status(); !s.Idle() {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Chapters that refuse at the same time are named in one message, each once; who refuses later, in a further one.
func TestEveryChapterThatDoesNotHearIsNamed(t *testing.T) {
	h, _ := share(t)
	h.room("!east", "eda*")
	h.chapter("!east", "East")
	h.follows("!east", "Home")
	h.net.Down("!east", time.Hour)
	for _, room := range []string{"!north", "!south", "!east"} {
		h.net.Refuse(room, "M_FORBIDDEN", false)
	}
	h.say("!room", "ana", "/do share")
	h.restart()
	h.advance(2 * time.Hour)
	got := h.texts("!room")
	if len(got) != 3 || !strings.Contains(got[1], "North") || !strings.Contains(got[1], "South") || strings.Contains(got[1], "East") {
		t.Fatalf("the origin reads %q", got)
	}
	if !strings.Contains(got[2], "East") || strings.Contains(got[2], "North") || strings.Count(strings.Join(got, ""), "North") != 1 {
		t.Errorf("the origin reads %q", got)
	}
}

// What is too old to be said is said no more, and the room that it came from is told.
func TestWhatIsTooLateIsToldToTheOrigin(t *testing.T) {
	h, _ := share(t, bot.Expires(start.Add(24*time.Hour)))
	h.net.Down("!north", 48*time.Hour)
	h.say("!room", "ana", "/do share")
	h.advance(72 * time.Hour)
	if got := h.texts("!room"); len(got) != 2 || !strings.Contains(got[1], "North") {
		t.Errorf("the origin reads %q", got)
	}
	h.wantSpoken("!north")
}

func (h *house) chapterOf(tx *bot.Tx, address string) string {
	r, err := tx.RoomAt("net", address)
	if err != nil || r == nil {
		h.t.Error(address, err)
		return ""
	}
	return r.Chapter
}

// roomIn is a room's id inside a transaction.
func (h *house) roomIn(tx *bot.Tx, address string) bot.RoomID {
	r, err := tx.RoomAt("net", address)
	if err != nil || r == nil {
		h.t.Error(address, err)
		return 0
	}
	return r.ID
}

func TestARoomThatIsLeftMeanwhileIsToldToTheOrigin(t *testing.T) {
	h, _ := share(t)
	h.net.Down("!north", time.Hour)
	h.say("!room", "ana", "/do share")
	if err := h.net.Remove("!north"); err != nil {
		t.Fatal(err)
	}
	h.settle()
	h.advance(2 * time.Hour)
	if got := h.texts("!room"); len(got) != 2 || !strings.Contains(got[1], "North") {
		t.Errorf("the origin reads %q", got)
	}
	h.wantSpoken("!north")
}

func TestWhoNoLongerFollowsHearsNothingMore(t *testing.T) {
	for _, restart := range []bool{false, true} {
		h, _ := share(t)
		h.net.Down("!north", time.Hour)
		h.say("!room", "ana", "/do share")
		if restart {
			h.restart()
			h.settle()
		}
		h.do(func(tx *bot.Tx) error {
			c, err := tx.ChapterNamed("Home")
			if err != nil {
				return err
			}
			_, err = tx.EndFollow(h.roomIn(tx, "!north"), c.ID)
			return err
		})
		h.advance(2 * time.Hour)
		h.wantSpoken("!north")
		h.wantSpoken("!south", "news 1", "news 2")
	}
}

func TestWhatWaitsForARoomThatPausesIsNotShown(t *testing.T) {
	h, _ := share(t)
	h.net.Down("!north", time.Hour)
	h.say("!room", "ana", "/do share")
	h.say("!north", "nora", "/echo own words")
	h.set("!north", func(r *bot.Room) { r.Settings[bot.SettingPaused] = "yes" })
	h.advance(2 * time.Hour)
	h.wantSpoken("!north", "own words")
	h.wantSpoken("!south", "news 1", "news 2")
	if s := h.engine.Status(); !s.Idle() {
		t.Errorf("%+v", s)
	}
}

func TestALostAnswerOnANetworkWithoutKeysIsMarked(t *testing.T) {
	h := liveOn(t, rig.LikeSignal())
	lost := true
	h.tap.calls(nil, func(context.Context, bot.Outgoing) error {
		if lost {
			lost = false
			return errors.New("the answer was lost")
		}
		return nil
	})
	h.post("!room", "hello")
	h.advance(time.Minute)
	got := h.texts("!room")
	if len(got) != 2 || got[0] != "hello" || got[1] == "hello" || !strings.Contains(got[1], "hello") {
		t.Errorf("said %q, want the second marked", got)
	}
	h.post("!room", "next")
	h.settle()
	if got := rig.Readable(h.last("!room").Text); got != "next" {
		t.Errorf("said %q", got)
	}
}

func TestAReactionFasterThanTheAnswerOfTheNetwork(t *testing.T) {
	h := live(t)
	shown, free := make(chan string, 1), make(chan struct{})
	h.tap.calls(nil, func(_ context.Context, out bot.Outgoing) error {
		if out.Kind == bot.OutMessage {
			shown <- "$" + out.ID
			<-free
		}
		return nil
	})
	h.post("!room", "what?", bot.Topic("test.topic", "ref"))
	message := <-shown
	h.tap.calls(nil, nil)
	if err := h.net.React("!room", "@ana", message, "✅", true); err != nil {
		t.Fatal(err)
	}
	close(free)
	h.settle()
	h.want("!room", "what?", "ref ✅")
}

// A bot that is restored from a backup does not say what waited, and the room that it came from hears of it.
func TestWhatARestoreSetAsideIsToldToTheOrigin(t *testing.T) {
	dbtest.File(t)
	h, id := share(t)
	h.net.Down("!north", time.Hour)
	h.say("!room", "ana", "/do share")
	h.say("!north", "nora", "/echo own words")
	h.stop()
	if err := bot.SetAsideWaiting(t.Context(), filepath.Join(h.dir, "starling.db")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // told once, however often it starts
		h.start()
		h.advance(2 * time.Hour)
		if got := h.texts("!room"); len(got) != 2 || !strings.Contains(got[1], "from a backup") {
			t.Errorf("the origin reads %q", got)
		}
		h.stop()
	}
	h.start()
	h.wantSpoken("!north")
	h.wantSpoken("!south", "news 1", "news 2")
	h.do(func(tx *bot.Tx) error {
		all, err := tx.Deliveries(*id)
		for _, d := range all {
			if d.SetAside == d.Delivered {
				t.Errorf("what became of a message: %+v", d)
			}
		}
		return err
	})
}

package bot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
)

var faultPoints = []string{"before-store", "after-store", "before-send", "after-send"}

// once crashes the first time that a point is reached.
func once(point string) func(string) bool {
	done := false
	return func(p string) bool {
		if p != point || done {
			return false
		}
		done = true
		return true
	}
}

func TestACrashAtEachPointLosesAndRepeatsNothing(t *testing.T) {
	for _, point := range faultPoints {
		t.Run(point, func(t *testing.T) {
			h := live(t)
			h.crashes(once(point))
			h.say("!room", "ana", "/echo hello")
			h.advance(time.Minute)
			h.wantSpoken("!room", "hello")
			if h.faults != 1 {
				t.Errorf("%d crashes", h.faults)
			}
			h.say("!room", "ana", "/echo again")
			h.wantSpoken("!room", "hello", "again")
		})
	}
}

func TestManyCrashesLoseAndRepeatNothing(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			h, _ := share(t)
			r := rand.New(rand.NewPCG(seed, 0))
			n := 0
			h.on("share", func(t *bot.Turn) error {
				rooms, _, err := t.Reach(t.Room.Chapter, "thing", t.Encrypted(), t.Room.ID)
				if err != nil {
					return err
				}
				for _, to := range rooms {
					if _, err := t.Post(to.ID, Said{"shared by " + t.In.ID}, bot.Rings()); err != nil {
						return err
					}
				}
				n++
				return t.Done(Said{"sent"})
			})
			h.crashes(func(string) bool { return r.IntN(12) == 0 })
			for i := range 25 {
				if i%5 == 0 {
					h.say("!room", "ana", "/do share")
				}
				h.say("!room", "ana", fmt.Sprint("/echo ", i))
				if i%7 == 0 {
					h.advance(time.Minute)
				}
			}
			h.crashes(nil)
			h.advance(time.Hour)
			var want []string
			for i := range 25 {
				if i%5 == 0 {
					want = append(want, "sent")
				}
				want = append(want, fmt.Sprint(i))
			}
			got := h.spoken("!room")
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("after %d crashes was said\n%q\nwant\n%q", h.faults, got, want)
			}
			for _, room := range []string{"!north", "!south"} {
				got := h.spoken(room)
				if slices.Sort(got); len(got) != 5 || len(slices.Compact(got)) != 5 {
					t.Errorf("after %d crashes %s heard %q", h.faults, room, got)
				}
			}
			if h.faults < 5 {
				t.Errorf("only %d crashes", h.faults)
			}
			if strings.Contains(h.log.String(), `"level":"error"`) {
				t.Error(h.log)
			}
		})
	}
}

func TestManyCrashesOnANetworkWithoutKeysMarkWhatTheyRepeat(t *testing.T) {
	h := liveOn(t, rig.LikeSignal())
	r := rand.New(rand.NewPCG(5, 0))
	ctx := context.Background()
	id := h.id("!room")
	const posts = 20
	var stored [posts]bool
	for i := range posts {
		if i == 3 {
			h.crashes(func(string) bool { return r.IntN(6) == 0 })
		}
		err := h.engine.Do(ctx, "test", func(tx *bot.Tx) error {
			_, err := tx.Post(id, Said{fmt.Sprintf("message %02d", i)})
			return err
		})
		stored[i] = err == nil
		h.settle()
	}
	h.crashes(nil)
	h.advance(time.Hour)
	plain := map[string]int{}
	repeats := 0
	for _, text := range h.spoken("!room") {
		if plain[text]++; plain[text] > 1 && len(text) == len("message 00") {
			t.Errorf("%q came twice without a mark", text)
		}
		if len(text) > len("message 00") {
			repeats++
		}
	}
	all := strings.Join(h.spoken("!room"), "\n")
	for i, ok := range stored {
		if text := fmt.Sprintf("message %02d", i); ok && !strings.Contains(all, text) {
			t.Errorf("%q was stored and never said", text)
		}
	}
	if h.faults < 5 || repeats == 0 {
		t.Errorf("%d crashes, %d repeats", h.faults, repeats)
	}
}

func TestACleanStopRepeatsNothing(t *testing.T) {
	h := liveOn(t, rig.LikeSignal())
	for i := range 10 {
		free, sent := make(chan struct{}), make(chan struct{}, 1)
		h.tap.calls(nil, func(context.Context, bot.Outgoing) error { sent <- struct{}{}; <-free; return nil })
		h.post("!room", fmt.Sprint("message ", i))
		<-sent
		go close(free)
		h.restart() // while the call ends
		h.tap.calls(nil, nil)
		h.advance(time.Minute)
	}
	if got := h.spoken("!room"); len(got) != 10 {
		t.Errorf("said %q", got)
	}
}

func TestAHandlerThatBreaksLeavesNothingHalfWritten(t *testing.T) {
	for name, breaks := range map[string]func() error{
		"panic":       func() error { panic("broken") },
		"error":       func() error { return errors.New("broken") },
		"refusal":     func() error { return bot.Refuse(Said{"no, because"}) },
		"nil pointer": func() error { var m *struct{ x int }; m.x++; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			h := live(t)
			h.room("!other")
			other := h.id("!other")
			waiting := h.post("!room", "waits", bot.NotBefore(start.Add(time.Hour)))
			h.on("it", func(t *bot.Turn) error {
				if _, err := t.NewRecord("thing", thing{Text: "half"}, t.Now()); err != nil {
					return err
				}
				if _, err := t.Post(other, Said{"half"}); err != nil {
					return err
				}
				if err := t.Job("nothing", "test.job", "", nil, time.Hour); err != nil {
					return err
				}
				if err := t.At(t.Now().Add(time.Minute), "test.timer", "x"); err != nil {
					return err
				}
				if err := t.Edit(waiting, Said{"changed"}); err != nil {
					return err
				}
				t.Room.Lang, t.Person.Zone = "fr", "Europe/Paris"
				if err := errors.Join(t.SaveRoom(t.Room), t.SavePerson(t.Person)); err != nil {
					return err
				}
				return breaks()
			})
			h.on("timer x", func(t *bot.Turn) error { return t.Done(Said{"half"}) })
			h.say("!room", "ana", "/do it")
			got := h.texts("!room")
			if len(got) != 1 || got[0] == "half" {
				t.Fatalf("said %q, want an apology\n%s", got, h.log)
			}
			if refused := got[0] == "no, because"; refused != (name == "refusal") || refused == strings.Contains(h.log.String(), "a handler failed") {
				t.Errorf("said %q, logged %s", got, h.log)
			}
			h.advance(2 * time.Hour)
			h.wantSpoken("!other")
			if got := h.texts("!room"); len(got) != 2 || got[1] != "waits" {
				t.Errorf("said %q", got)
			}
			h.do(func(tx *bot.Tx) error {
				r, err := tx.RoomAt("net", "!room")
				if err != nil || r.Lang != "" {
					t.Errorf("the room speaks %q: %v", r.Lang, err)
				}
				all, err := tx.List(r, "thing", "open")
				if err != nil || len(all) != 0 {
					t.Errorf("%d records: %v", len(all), err)
				}
				return nil
			})
			if s := h.engine.Status(); !s.Idle() {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestTheLogQuotesNobody(t *testing.T) {
	h := live(t)
	for i, quote := range []string{"kingfisher", `king"fisher`, "king`fisher"} {
		h.on("it", func(*bot.Turn) error {
			if i == 0 {
				panic(fmt.Sprintf("not a number: %q", quote))
			}
			_, err := strconv.Atoi(quote)
			return err
		})
		h.say("!room", "ana", "/do it")
	}
	if got := h.log.String(); strings.Contains(got, "fisher") || strings.Count(got, "a handler failed") != 3 {
		t.Error(got)
	}
}

func TestAHookThatBreaksInACommandThatIsRefused(t *testing.T) {
	h, _ := share(t)
	h.on("settled", func(t *bot.Turn) error {
		if err := t.Done(Said{"half"}); err != nil {
			return err
		}
		return errors.New("broken")
	})
	h.net.Down("!north", time.Hour)
	h.say("!room", "ana", "/do share")
	h.on("leave", func(t *bot.Turn) error {
		t.Room.Lang = "fr"
		if err := t.SaveRoom(t.Room); err != nil {
			return err
		}
		if _, err := t.EndFollow(h.roomIn(t.Tx, "!north"), h.chapterOf(t.Tx, "!room")); err != nil {
			return err
		}
		return bot.Refuse(Said{"no"})
	})
	h.say("!room", "ana", "/do leave")
	h.restart() // what memory and database hold is the same
	h.advance(2 * time.Hour)
	h.wantSpoken("!north", "news 1", "news 2")
	h.do(func(tx *bot.Tx) error {
		r, err := tx.RoomAt("net", "!room")
		if err != nil || r.Lang != "" {
			t.Errorf("the room speaks %q: %v", r.Lang, err)
		}
		return nil
	})
}

func TestANetworkThatPanicsIsTriedAgain(t *testing.T) {
	h := live(t)
	panics := 2
	h.tap.calls(func(context.Context, bot.Outgoing) error {
		if panics--; panics >= 0 {
			panic("broken")
		}
		return nil
	}, nil)
	h.say("!room", "ana", "/echo hello")
	h.advance(time.Minute)
	h.wantSpoken("!room", "hello")
}

func TestATransactionOfItsOwnThatFailsIsUndone(t *testing.T) {
	h := live(t)
	id := h.id("!room")
	for _, breaks := range []func() error{func() error { panic("broken") }, func() error { return errors.New("broken") }} {
		err := h.engine.Do(context.Background(), "test", func(tx *bot.Tx) error {
			if _, err := tx.Post(id, Said{"half"}); err != nil {
				return err
			}
			return breaks()
		})
		if err == nil || !strings.Contains(err.Error(), "broken") {
			t.Errorf("got %v", err)
		}
	}
	h.advance(time.Minute)
	h.wantSpoken("!room")
}

func TestWhatTheEngineStumblesOverDoesNotComeAgain(t *testing.T) {
	h := build(t, rig.LikeMatrix())
	calls := 0
	h.extra = []bot.Capability{{Name: "bare", Bare: func(*bot.Tx, *bot.Room, string) string { calls++; panic("broken") }}}
	h.start()
	h.room("!room", "ana")
	h.say("!room", "ana", "ordinary talk")
	if calls != 1 {
		t.Errorf("called %d times", calls)
	}
	h.say("!room", "ana", "/echo hello")
	h.want("!room", "hello")
}

func TestTheSameMessageTwiceIsHandledOnce(t *testing.T) {
	h := live(t)
	id := h.say("!room", "ana", "/echo hello")
	again := func() {
		if err := h.net.Again(id); err != nil {
			t.Fatal(err)
		}
		h.settle()
	}
	again()
	h.restart()
	again()
	h.advance(24 * time.Hour)
	again()
	h.wantSpoken("!room", "hello")
}

// outside runs jobs for tests: do says what comes of one.
type outside struct {
	mu   sync.Mutex
	runs []string
	do   func(ctx context.Context, run int) (string, error)
}

func (o *outside) Name() string             { return "outside" }
func (o *outside) Abilities() bot.Abilities { return bot.Abilities{} }
func (o *outside) Run(ctx context.Context, _ bot.Inbox) error {
	<-ctx.Done()
	return nil
}
func (o *outside) Send(context.Context, bot.Outgoing) (string, error) {
	return "", errors.New("no rooms")
}
func (o *outside) Jobs() []string { return []string{"work", "hang"} }
func (o *outside) RunJob(ctx context.Context, kind string, payload json.RawMessage) (json.RawMessage, error) {
	o.mu.Lock()
	o.runs = append(o.runs, string(payload))
	n := len(o.runs)
	o.mu.Unlock()
	if kind == "hang" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	result, err := o.do(ctx, n)
	return json.RawMessage(result), err
}

func (o *outside) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.runs)
}

func withJobs(t *testing.T, do func(ctx context.Context, run int) (string, error)) (*house, *outside) {
	h := build(t, rig.LikeMatrix())
	o := &outside{do: do}
	h.more = []bot.Adapter{o}
	h.on("job", func(t *bot.Turn) error { return t.Job("work", "test.job", "ref", 1, time.Hour) })
	h.start()
	h.room("!room", "ana*", "luc")
	return h, o
}

func TestAJobIsDoneOnce(t *testing.T) {
	h, o := withJobs(t, func(context.Context, int) (string, error) { return `"result"`, nil })
	h.say("!room", "ana", "/do job")
	h.restart()
	h.advance(2 * time.Hour)
	h.wantSpoken("!room", `ref "result"`)
	if n := o.count(); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

func TestAJobGoesOnAfterARestart(t *testing.T) {
	began := make(chan struct{}, 1)
	h, o := withJobs(t, func(ctx context.Context, run int) (string, error) {
		if run == 1 {
			began <- struct{}{}
			<-ctx.Done()
			return "", ctx.Err()
		}
		return `"result"`, nil
	})
	if _, err := h.net.Say(rig.Said{Room: "!room", Person: "@ana", Text: "/do job"}); err != nil {
		t.Fatal(err)
	}
	<-began
	h.restart()
	h.settle()
	h.wantSpoken("!room", `ref "result"`)
	if n := o.count(); n != 2 {
		t.Errorf("it ran %d times", n)
	}
}

func TestAJobsResultSurvivesCrashesOnce(t *testing.T) {
	h, _ := withJobs(t, func(_ context.Context, run int) (string, error) { return fmt.Sprint(run), nil })
	r := rand.New(rand.NewPCG(2, 0))
	h.crashes(func(string) bool { return r.IntN(4) == 0 })
	for range 8 {
		h.say("!room", "ana", "/do job")
	}
	h.crashes(nil)
	h.advance(time.Hour)
	if got := h.spoken("!room"); len(got) != 8 {
		t.Errorf("after %d crashes 8 jobs gave %q", h.faults, got)
	}
	if h.faults < 3 {
		t.Errorf("only %d crashes", h.faults)
	}
}

func TestAJobIsTriedUntilItsTimeIsOver(t *testing.T) {
	h, o := withJobs(t, func(context.Context, int) (string, error) { return "", errors.New("no answer") })
	h.say("!room", "ana", "/do job")
	h.advance(50 * time.Minute)
	h.wantSpoken("!room")
	h.advance(time.Hour)
	h.wantSpoken("!room", "ref failed")
	if n := o.count(); n < 10 {
		t.Errorf("it was tried %d times", n)
	}
}

func TestAJobThatIsRefusedIsNotTriedAgain(t *testing.T) {
	h, o := withJobs(t, func(context.Context, int) (string, error) {
		return "", &bot.SendError{Err: errors.New("refused"), Permanent: true}
	})
	h.say("!room", "ana", "/do job")
	h.wantSpoken("!room", "ref failed")
	if n := o.count(); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

func TestJobsThatFailOrHangHoldUpNoOther(t *testing.T) {
	h, o := withJobs(t, func(_ context.Context, run int) (string, error) {
		if run > 12 {
			return "1", nil
		}
		return "", errors.New("no answer")
	})
	h.on("hang", func(t *bot.Turn) error { return t.Job("hang", "test.job", "hang", 1, time.Hour) })
	for range 6 {
		h.on("job", func(t *bot.Turn) error { return t.Job("work", "test.job", "resting", 1, time.Hour) })
		h.say("!room", "ana", "/do job")
	}
	for range 6 { // more than run at once
		if _, err := h.net.Say(rig.Said{Room: "!room", Person: "@ana", Text: "/do hang"}); err != nil {
			t.Fatal(err)
		}
	}
	o.mu.Lock()
	o.do = func(context.Context, int) (string, error) { return "1", nil }
	o.mu.Unlock()
	h.on("job", func(t *bot.Turn) error { return t.Job("work", "test.job", "quick", 1, time.Hour) })
	if _, err := h.net.Say(rig.Said{Room: "!room", Person: "@ana", Text: "/do job"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.engine.Wait(ctx, func(bot.Status) bool { return slices.Contains(h.spoken("!room"), "quick 1") }); err != nil {
		t.Errorf("%v: %q, %+v", err, h.spoken("!room"), h.engine.Status())
	}
}

func TestAJobsHandlerThatBreaksIsNotAskedAgain(t *testing.T) {
	h, o := withJobs(t, func(context.Context, int) (string, error) { return `"result"`, nil })
	handled := 0
	h.extra = []bot.Capability{{Name: "breaks", Topics: map[string]func(*bot.Turn, string, bot.Answer) error{
		"breaks.job": func(*bot.Turn, string, bot.Answer) error { handled++; panic("broken") },
	}, Timers: map[string]func(*bot.Turn, string) error{
		"breaks.timer": func(t *bot.Turn, _ string) error { return t.Job("work", "breaks.job", "", 1, time.Hour) },
	}}}
	h.restart()
	id := h.id("!room")
	h.on("job", func(t *bot.Turn) error {
		if err := t.Job("work", "breaks.job", "", 1, time.Hour); err != nil {
			return err
		}
		return t.At(t.Now().Add(time.Minute), "breaks.timer", "") // and one that nobody asked for
	})
	h.say("!room", "ana", "/do job")
	h.advance(2 * time.Hour)
	h.restart()
	h.advance(2 * time.Hour)
	if handled != 2 || o.count() != 2 {
		t.Errorf("handled %d times, ran %d times", handled, o.count())
	}
	if s := h.engine.Status(); !s.Idle() || id == 0 {
		t.Errorf("%+v", s)
	}
}

func TestATimerRingsOnce(t *testing.T) {
	h := live(t)
	rings := 0
	h.on("timer tea", func(t *bot.Turn) error { rings++; return t.Done(Said{"tea"}) })
	h.on("set", func(t *bot.Turn) error { return t.At(t.Now().Add(time.Hour), "test.timer", "tea") })
	h.say("!room", "ana", "/do set")
	h.advance(30 * time.Minute)
	h.say("!room", "ana", "/do set") // moves it
	h.advance(45 * time.Minute)
	h.wantSpoken("!room")
	h.restart()
	h.advance(15 * time.Minute)
	h.wantSpoken("!room", "tea")
	h.restart()
	h.advance(24 * time.Hour)
	h.wantSpoken("!room", "tea")
	// One that was due while the bot was down rings when it is back, also through crashes.
	h.say("!room", "ana", "/do set")
	h.stop()
	for to := h.clock.Now().Add(3 * time.Hour); h.clock.step(to); {
	}
	r := rand.New(rand.NewPCG(3, 0))
	h.crashes(func(string) bool { return r.IntN(3) == 0 })
	h.start()
	h.settle()
	h.crashes(nil)
	h.advance(time.Minute)
	h.wantSpoken("!room", "tea", "tea")
	h.on("unset", func(t *bot.Turn) error {
		if err := t.At(t.Now().Add(time.Hour), "test.timer", "tea"); err != nil {
			return err
		}
		return t.Unschedule("test.timer", "tea")
	})
	h.say("!room", "ana", "/do unset")
	h.advance(24 * time.Hour)
	h.wantSpoken("!room", "tea", "tea")
}

func TestATimerThatBreaksKeepsNoOtherFromRinging(t *testing.T) {
	h := live(t)
	h.on("timer bad", func(*bot.Turn) error { panic("broken") })
	h.on("timer good", func(t *bot.Turn) error { return t.Done(Said{"good"}) })
	h.on("set", func(t *bot.Turn) error {
		due := t.Now().Add(time.Hour)
		return errors.Join(t.At(due, "test.timer", "bad"), t.At(due, "test.timer", "good"))
	})
	h.say("!room", "ana", "/do set")
	h.advance(2 * time.Hour)
	h.wantSpoken("!room", "good")
	if n := strings.Count(h.log.String(), "a timer could not be handled"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestWhatCannotExpireKeepsNothingElse(t *testing.T) {
	h := build(t, rig.LikeMatrix())
	expired := 0
	table := func(name string, expire func() error) bot.Table {
		return bot.Table{Name: name, Forget: bot.Nothing[bot.PersonID], Export: bot.NothingToExport, Rebuild: bot.NothingToRebuild,
			Expire: func(context.Context, *bot.Tx, time.Time) error { return expire() }}
	}
	h.extra = []bot.Capability{{Name: "tables", Tables: []bot.Table{
		table("bad", func() error { panic("broken") }), table("good", func() error { expired++; return nil })}}}
	h.start()
	h.advance(3*time.Hour + time.Minute)
	if expired != 3 {
		t.Errorf("expired %d times in three hours", expired)
	}
}

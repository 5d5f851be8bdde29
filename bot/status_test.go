package bot_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
	"starling/bot/dbtest"
)

func TestAnotherProcessAsksForTheStatus(t *testing.T) {
	h := build(t, rig.LikeMatrix())
	h.dir = filepath.Join(h.dir, strings.Repeat("long", 30)) // longer than the name of a socket may be
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := testWords(); err != nil { // they are read from where the tests begin
		t.Fatal(err)
	}
	t.Chdir(h.dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := bot.AskStatus(ctx, h.dir, false); err == nil {
		t.Error("a bot answers that is not there")
	}
	h.start()
	if err := h.engine.ServeStatus(ctx); err != nil {
		t.Fatal(err)
	}
	h.room("!room", "ana")
	free := make(chan struct{})
	h.tap.calls(func(context.Context, bot.Outgoing) error { <-free; return nil }, nil)
	h.post("!room", "hello")
	h.settleWith(1)
	s, err := bot.AskStatus(ctx, h.dir, false)
	if err != nil || s.Rooms != 1 || s.Sending != 1 || s.Idle() {
		t.Errorf("%+v: %v", s, err)
	}
	idle := make(chan bot.Status, 1)
	go func() {
		s, err := bot.AskStatus(ctx, h.dir, true)
		if err != nil {
			t.Error(err)
		}
		idle <- s
	}()
	select {
	case s := <-idle:
		t.Errorf("idle while something is being sent: %+v", s)
	default:
	}
	close(free)
	if s := <-idle; !s.Idle() || s.Rooms != 1 {
		t.Errorf("%+v", s)
	}
	short, stop := context.WithCancel(ctx)
	stop()
	if _, err := bot.AskStatus(short, h.dir, true); err == nil {
		t.Error("an answer after the time is over")
	}
	h.stop()
	if _, err := bot.AskStatus(ctx, h.dir, false); err == nil {
		t.Error("a bot answers that has ended")
	}
}

// failing is a network that fails for good.
type failing struct{ outside }

func (*failing) Name() string                         { return "failing" }
func (*failing) Run(context.Context, bot.Inbox) error { return errors.New("logged out") }

func TestANetworkThatFailsForGoodEndsTheBot(t *testing.T) {
	h := build(t, rig.LikeMatrix())
	var err error
	if h.engine, err = h.open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.engine.ServeStatus(ctx); err != nil {
		t.Fatal(err)
	}
	if err := h.engine.Run(ctx, h.tap, &failing{}); err == nil || err.Error() != "logged out" || ctx.Err() != nil {
		t.Errorf("it ends with %v", err)
	}
	if err := h.engine.Do(ctx, "test", func(*bot.Tx) error { return nil }); !errors.Is(err, bot.ErrStopped) {
		t.Errorf("afterwards: %v", err)
	}
}

// TestADatabaseThatCannotBeWrittenForAWhile holds SQLite's lock for longer than it is waited for.
func TestADatabaseThatCannotBeWrittenForAWhile(t *testing.T) {
	dbtest.File(t)
	t.Parallel()
	h := live(t)
	row := h.post("!room", "counts", bot.NotBefore(start.Add(time.Minute)))
	h.settle()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(h.dir, "starling.db")+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	h.tap.mu.Lock()
	inbox := h.tap.inbox
	h.tap.mu.Unlock()
	in := bot.Incoming{Kind: bot.KindText, ID: "$1", Room: "!room", Person: "@ana", Name: "ana", Text: "/echo hello", Encrypted: true, Sent: start}
	ctx := context.Background()
	if err := inbox.Deliver(ctx, in); err == nil {
		t.Error("it counts as stored")
	}
	if err := h.engine.Do(ctx, "test", func(tx *bot.Tx) error { return tx.Edit(row, Said{"half"}) }); err == nil {
		t.Error("it counts as stored")
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	h.deliver(in)
	h.deliver(in)
	h.advance(2 * time.Minute)
	if got := h.texts("!room"); len(got) != 3 || !strings.Contains(got[0], "I cannot write anything down") || got[1] != "hello" || got[2] != "counts" {
		t.Errorf("the room reads %q", got)
	}
}

func TestWhatWasSentIsStoredOnceTheDatabaseCanBeWritten(t *testing.T) {
	dbtest.File(t)
	t.Parallel()
	h := live(t)
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(h.dir, "starling.db")+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var tx *sql.Tx
	h.tap.calls(nil, func(context.Context, bot.Outgoing) error {
		tx = must(db.Begin()) // the message is out, and cannot be written down
		return nil
	})
	h.post("!room", "hello")
	h.settle() // when it has failed
	h.tap.calls(nil, nil)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	h.advance(time.Minute)
	h.restart()
	h.advance(time.Minute)
	if rows := h.table("outbox WHERE state = 0"); len(rows) != 0 {
		t.Errorf("it still waits: %q", rows)
	}
	h.wantSpoken("!room", "hello")
}

func TestMessagesOfOlderReleasesStillLeave(t *testing.T) {
	h := live(t)
	h.net.Down("!room", time.Minute)
	row := h.post("!room", "hello")
	h.settle()
	h.do(func(tx *bot.Tx) error { // a field that this release does not know, and none of those that it does
		data := must(json.Marshal(map[string]any{"d": json.RawMessage(`{"Gone":"x","Text":"from before"}`)}))
		return tx.Exec(`UPDATE outbox SET data = $1 WHERE id = $2`, tx.Seal("outbox", "data", row, string(data)), row)
	})
	h.restart()
	h.advance(time.Hour)
	h.wantSpoken("!room", "from before")
}

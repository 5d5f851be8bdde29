package bot_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"starling/bot"
	"starling/bot/dbtest"
)

// pragma sets something on every connection to the database.
func (h *house) pragma(statement string) {
	h.t.Helper()
	if err := h.engine.EachConnection(func(c *sql.Conn) error {
		_, err := c.ExecContext(context.Background(), "PRAGMA "+statement)
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
}

// tries hands something to the engine once, as a network does that will do it again when it fails.
func (h *house) tries(in bot.Incoming) error {
	h.tap.mu.Lock()
	inbox := h.tap.inbox
	h.tap.mu.Unlock()
	return inbox.Deliver(context.Background(), in)
}

// TestAFullOrReadOnlyDiskLosesNothing: SQLite itself refuses to write, because the file may not grow (SQLITE_FULL) or not change
// (SQLITE_READONLY). What people ask meanwhile is not acknowledged, they are told once, and all goes on when there is room again.
func TestAFullOrReadOnlyDiskLosesNothing(t *testing.T) {
	dbtest.File(t)
	for name, disk := range map[string]struct {
		broken, well string
		talk         bool // ordinary talk is taken in
	}{
		"full":      {"max_page_count = 1", "max_page_count = 1000000", true}, // 1: what it has now, not a page more
		"read-only": {"query_only = ON", "query_only = OFF", false},           // no transaction can begin: nothing is acknowledged
	} {
		t.Run(name, func(t *testing.T) {
			h := live(t)
			h.room("!other", "sam")
			h.say("!room", "ana", "/echo before")
			// One message is on its way when the disk fills up: that it was delivered cannot be noted.
			sending, free := make(chan struct{}), make(chan struct{})
			h.tap.calls(func(_ context.Context, out bot.Outgoing) error {
				if strings.Contains(out.Text, "on its way") {
					close(sending)
					<-free
				}
				return nil
			}, nil)
			h.post("!other", "on its way")
			<-sending
			h.pragma(disk.broken)
			close(free)

			var again []bot.Incoming
			for i := range 400 {
				in := bot.Incoming{Room: "!room", Person: "@ana", Kind: bot.KindText, ID: fmt.Sprint("$", i), Text: fmt.Sprintf("/echo number %d.", i), Encrypted: true, Sent: h.clock.Now()}
				if err := h.tries(in); err != nil {
					again = append(again, in)
				}
			}
			if len(again) == 0 {
				t.Fatal("everything could be stored")
			}
			if err := h.tries(bot.Incoming{Room: "!room", Person: "@luc", Kind: bot.KindText, ID: "$talk", Text: "good morning", Encrypted: true, Sent: h.clock.Now()}); (err == nil) != disk.talk {
				t.Errorf("ordinary talk: %v", err)
			}
			h.advance(30 * time.Second)
			for i := range again {
				if err := h.tries(again[i]); err == nil {
					t.Errorf("%s was stored on a disk that takes nothing", again[i].ID)
				}
			}
			h.settle()
			if n := strings.Count(strings.Join(h.texts("!room"), "\n"), "I cannot write anything down"); n != 1 {
				t.Errorf("the room was told %d times", n)
			}

			h.pragma(disk.well)
			for _, in := range again {
				if err := h.tries(in); err != nil {
					t.Fatalf("there is room again: %v", err)
				}
			}
			h.advance(time.Minute)
			got := h.texts("!room")
			for i := range 400 {
				if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != fmt.Sprintf("number %d.", i) })); n != 1 {
					t.Errorf("number %d was answered %d times", i, n)
				}
			}
			if all := h.texts("!other"); !slices.Equal(all, []string{"on its way"}) {
				t.Errorf("the other room reads %q", all)
			}
			// The next time it happens, it is said again.
			h.pragma(disk.broken)
			for i := range 400 {
				if h.tries(bot.Incoming{Room: "!other", Person: "@sam", Kind: bot.KindText, ID: fmt.Sprint("$later", i), Text: "/echo later", Encrypted: true, Sent: h.clock.Now()}) != nil {
					break
				}
			}
			h.settle()
			if !strings.Contains(strings.Join(h.texts("!other"), "\n"), "I cannot write anything down") {
				t.Errorf("the other room is not told")
			}
			h.pragma(disk.well)
			h.advance(time.Minute)
			if s := h.engine.Status(); !s.Idle() {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestADamagedDatabaseEndsTheBot: what SQLite reads in a file that is being destroyed under it could be anything, so nothing is answered
// from it any more. The error is the one that the next start would give, and what was asked is not acknowledged.
func TestADamagedDatabaseEndsTheBot(t *testing.T) {
	dbtest.File(t)
	h := live(t)
	h.say("!room", "ana", "/echo before")
	h.settle()
	h.pragma("wal_checkpoint(TRUNCATE)")
	h.pragma("shrink_memory") // the pages that were read
	path := filepath.Join(h.dir, "starling.db")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte("damage"), int(st.Size()-4096)/6), 4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.tries(bot.Incoming{Room: "!room", Person: "@ana", Kind: bot.KindText, ID: "$after", Text: "/echo after", Encrypted: true, Sent: h.clock.Now()}); err == nil {
		t.Error("it was taken in")
	}
	if err := <-h.ended; !errors.Is(err, bot.ErrDamaged) {
		t.Errorf("the bot ended with %v", err)
	}
	h.cancel = nil
	h.wantSpoken("!room", "before")
}

// TestWhereNoWordLeavesASignSaysThatItWaits: on a network whose own keys cannot be stored, nothing can be encrypted. Then the message
// itself bears a sign, once until something that people of that network ask can be stored again.
func TestWhereNoWordLeavesASignSaysThatItWaits(t *testing.T) {
	h := live(t)
	var mu sync.Mutex
	full := true
	h.tap.calls(func(_ context.Context, out bot.Outgoing) error {
		mu.Lock()
		defer mu.Unlock()
		if full && out.Kind == bot.OutMessage {
			return errors.New("the keys cannot be stored")
		}
		return nil
	}, nil)
	asks := func(text string) bot.Incoming {
		h.say("!room", "ana", "what the network shows") // ordinary talk to the engine
		shown := h.net.Messages("!room")
		return bot.Incoming{Room: "!room", Person: "@ana", Kind: bot.KindText, ID: shown[len(shown)-1].ID, Text: text, Encrypted: true, Sent: h.clock.Now()}
	}
	unstored := func(in ...bot.Incoming) {
		h.tap.mu.Lock()
		inbox := h.tap.inbox
		h.tap.mu.Unlock()
		inbox.Unstored(in...)
		h.settle()
	}
	signs := func() int { return len(h.events("!room", bot.OutReaction)) }
	troubled := func() bool {
		got, err := h.engine.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(got.Troubles(), func(tr bot.Trouble) bool { return tr.Code == "unstored" })
	}
	first := asks("/echo hello")
	unstored(asks("good morning"))
	if signs() != 0 || troubled() {
		t.Error("ordinary talk is told that it waits")
	}
	unstored(first)
	unstored(first, asks("/echo again"))
	if n := signs(); n != 1 || !troubled() {
		t.Errorf("%d signs; operators see it: %v", n, troubled())
	}
	mu.Lock()
	full = false
	mu.Unlock()
	if err := h.tries(first); err != nil {
		t.Fatal(err)
	}
	h.settle()
	if troubled() {
		t.Error("operators still see it")
	}
	h.wantSpoken("!room", "⚠️", "hello")
	unstored(asks("/echo once more"))
	if got := h.texts("!room"); len(got) != 2 || !strings.Contains(got[1], "I cannot write anything down") || signs() != 1 {
		t.Errorf("the next time: %q, %d signs", got, signs())
	}
}

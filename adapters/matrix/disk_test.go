package matrix

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mattn/go-sqlite3"
	"maunium.net/go/mautrix/event"

	"starling/bot"
)

// spoil destroys a file's octets from one on.
func spoil(t *testing.T, file string, from int64) {
	t.Helper()
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(bytes.Repeat([]byte("damage"), int(st.Size()-from)/6), from)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestADamagedDatabaseIsFoundAtTheStart, also where nothing of what the start reads is damaged.
func TestADamagedDatabaseIsFoundAtTheStart(t *testing.T) {
	acc := newAccount(t, newHomeserver(t))
	file := filepath.Join(acc.dir, databaseFile)
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	spoil(t, file, st.Size()-4096)
	if _, err := New(acc.cfg); !errors.Is(err, ErrUnreadable) {
		t.Errorf("got %v", err)
	}
}

func TestANewerDatabaseIsLeftToTheNewerBot(t *testing.T) {
	for _, table := range []string{"matrix_version", "crypto_version", "mx_version"} {
		acc := newAccount(t, newHomeserver(t))
		a := acc.open()
		_, err := a.store.db.RawDB.Exec(`UPDATE ` + table + ` SET version = 99, compat = 98`)
		if err := errors.Join(err, a.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := New(acc.cfg); !errors.Is(err, ErrNewerDatabase) {
			t.Errorf("%s: %v", table, err)
		}
	}
}

// TestADamagedDatabaseEndsTheRun: the bot does not go on with keys that could be anything, whoever finds the damage first.
func TestADamagedDatabaseEndsTheRun(t *testing.T) {
	t.Run("the sync", func(t *testing.T) {
		h := newHomeserver(t)
		acc := newAccount(t, h)
		h.push(settled())
		a := acc.open()
		defer a.Close()
		if _, err := a.store.db.RawDB.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
			t.Fatal(err)
		}
		a.store.db.RawDB.SetMaxIdleConns(0) // with them goes what they have read
		spoil(t, filepath.Join(acc.dir, databaseFile), 4096)
		in := newInbox()
		if err := a.Run(t.Context(), in); !errors.Is(err, ErrUnreadable) {
			t.Errorf("got %v", err)
		}
		if len(in.got) > 0 {
			t.Errorf("it handed over %+v", in.got)
		}
	})
	t.Run("anything else", func(t *testing.T) {
		h := newHomeserver(t)
		h.push(settled())
		a := newAccount(t, h).open()
		defer a.Close()
		done := make(chan error, 1)
		go func() { done <- a.Run(t.Context(), newInbox()) }()
		<-a.ready
		a.store.look(sqlite3.Error{Code: sqlite3.ErrCorrupt})
		h.push(inRoom(nil, []string{text(ana, "/needs")}))
		if err := <-done; !errors.Is(err, ErrUnreadable) {
			t.Errorf("got %v", err)
		}
	})
}

// readOnly makes the database refuse every write, or take them again.
func (s *store) readOnly(t *testing.T, yes bool) {
	t.Helper()
	for range s.db.RawDB.Stats().MaxOpenConnections {
		c, err := s.db.RawDB.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() // all at once: each of them
		if _, err := c.ExecContext(t.Context(), map[bool]string{true: "PRAGMA query_only = ON", false: "PRAGMA query_only = OFF"}[yes]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatCannotBeStoredIsLookedAt: where the database takes nothing, nothing is handed over and nothing acknowledged. The engine hears
// all the same what people ask, in encrypted rooms too, so that they can be told; a sign leaves without a write, a word does not. When
// there is room again, all comes once.
func TestWhatCannotBeStoredIsLookedAt(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	a, in, s := acc.open(), newInbox(), newSpeaker(t)
	s.hands(a)
	acc.run(a, in)
	h.push(settled(encryption()))
	<-a.ready
	a.store.readOnly(t, true)
	h.push(inRoom(nil, []string{ev("m.reaction", ana, `{"m.relates_to":{"rel_type":"m.annotation","event_id":"$x","key":"✅"}}`), s.says("/needs", `"event_id":"$asked"`)}))
	waits := func(text string) func() bool {
		return func() bool {
			return slices.ContainsFunc(in.unstored, func(in bot.Incoming) bool { return in.Text == text && in.ID == "$asked" && in.Encrypted })
		}
	}
	in.wait(t, "what waits", waits("/needs"))
	ctx := t.Context()
	if _, err := a.Send(ctx, bot.Outgoing{ID: "word", Room: roomID, Kind: bot.OutMessage, Text: "wait", Encrypted: true}); err == nil {
		t.Error("a word left whose key could not be stored")
	}
	if _, err := a.Send(ctx, bot.Outgoing{ID: "sign", Room: roomID, Kind: bot.OutReaction, Text: "⚠️", Target: "$asked", Encrypted: true}); err != nil {
		t.Errorf("a sign does not leave: %v", err)
	}
	if got := in.texts(); len(got) > 0 {
		t.Errorf("it handed over %q", got)
	}
	if r := a.Report(); r.Connected || !strings.Contains(r.Trouble, "Matrix database") {
		t.Errorf("operators see %+v", r)
	}
	a.store.readOnly(t, false)
	in.until(t, "what waited", textIs("/needs"))
	if got := in.texts(); len(got) != 1 {
		t.Errorf("it handed over %q", got)
	}
	acc.checkLog()
}

// TestAKeyThatCannotBeStoredComesAgain: the library only logs that. An Olm message opens once, so its step and its key wait together.
func TestAKeyThatCannotBeStoredComesAgain(t *testing.T) {
	h := newHomeserver(t)
	alice, bob := newAccount(t, h).open(), newAccount(t, h).open()
	defer alice.Close()
	defer bob.Close()
	if err := alice.mach.ShareKeys(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	s := newSpeaker(t)
	evt := olmEvent(t, bob, alice, s)
	alice.store.readOnly(t, true)
	if err := alice.toDevice(t.Context(), []*event.Event{olmAgain(t, evt)}); !stuck(err) {
		t.Errorf("got %v", err)
	}
	alice.store.readOnly(t, false)
	if err := alice.toDevice(t.Context(), []*event.Event{olmAgain(t, evt)}); err != nil {
		t.Fatal(err)
	}
	if plain, err := alice.decrypt(t.Context(), asMessage(parse(t, s.says("x")))); plain == nil || err != nil {
		t.Errorf("the key is lost: %v", err)
	}
}

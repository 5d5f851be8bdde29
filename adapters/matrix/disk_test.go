package matrix

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/mattn/go-sqlite3"
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

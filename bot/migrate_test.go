package bot_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"starling/adapters/rig"
	"starling/bot"
	"starling/bot/dbtest"
)

// notWhileAnotherWorksThere tries to move to a database that is still empty while another process has its lock.
func notWhileAnotherWorksThere(t *testing.T, h *house, url string) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() // the lock goes with its connection
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`SELECT pg_advisory_lock($1)`, bot.LockNumber); err != nil {
		t.Fatal(err)
	}
	e, err := h.open()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.MigrateTo(t.Context(), url); !errors.Is(err, bot.ErrLocked) {
		t.Errorf("it moves to where another works: %v", err)
	}
	var tables int
	if err := db.QueryRow(`SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema()`).Scan(&tables); err != nil || tables > 0 {
		t.Errorf("%d tables are there, %v", tables, err)
	}
}

// What was begun on one database goes on on the other, and there and back gives the same rows.
func TestADatabaseMovesToAServerAndBack(t *testing.T) {
	dbtest.File(t)
	h := build(t, rig.LikeMatrix())
	h.start()
	h.room("!room", "ana*", "luc")
	h.chapter("!room", "Home")
	h.keep("bread", nil)
	h.post("!room", "and \x01 an odd sign: Ünïcode 🌹")
	h.settle()
	h.say("!room", "ana", "/ask") // a dialogue is open
	h.settle()
	server, err := dbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.stop()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	url, err := server.Create("starling")
	if err != nil {
		t.Fatal(err)
	}
	tables := []string{"people", "rooms", "members", "chapters", "records", "bodies", "outbox", "dialogues", "seen", "meta", "timers"}
	all := func() (rows []string) {
		for _, name := range tables {
			rows = append(append(rows, name), slices.DeleteFunc(h.table(name), func(row string) bool {
				return name == "meta" && (strings.Contains(row, "moved") || strings.Contains(row, "writer"))
			})...)
		}
		return rows
	}
	move := func(to string) bot.Moved {
		t.Helper()
		h.stop()
		e, err := h.open()
		if err != nil {
			t.Fatal(err)
		}
		moved, err := e.MigrateTo(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.MigrateTo(t.Context(), to); err == nil {
			t.Error("it is moved onto what is there")
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if e, err := h.open(); !errors.Is(err, bot.ErrMoved) {
			t.Errorf("the old database still opens: %v", err)
			if err == nil {
				e.Close()
			}
		}
		return moved
	}
	h.stop()
	before := all()
	notWhileAnotherWorksThere(t, h, url)
	if moved := move(url); moved.Rows < 20 || moved.Tables < len(tables) {
		t.Errorf("moved %+v", moved)
	}
	file := filepath.Join(h.dir, "starling.db")
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	h.database = url
	move("")
	h.database = ""
	if after := all(); !slices.Equal(before, after) {
		t.Errorf("there and back gives\n%q\nfrom\n%q", after, before)
	}
	if url, err = server.Create("second"); err != nil {
		t.Fatal(err)
	}
	move(url)
	h.database = url
	h.start()
	h.settle()
	said := len(h.texts("!room"))
	h.reply("!room", "ana", "bread")
	if got := h.texts("!room"); len(got) != said+1 {
		t.Errorf("after the answer was said %q", got[said:])
	}
}

// A server that keeps something else than what it was given, were it one word, is not moved to.
func TestADatabaseThatComesOutDifferentIsNotMovedTo(t *testing.T) {
	dbtest.File(t)
	h := build(t, rig.LikeMatrix())
	h.start()
	h.room("!room", "ana*")
	h.stop()
	server, err := dbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	url, err := server.Create("starling")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`
		CREATE FUNCTION garble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.lang := 'xx'; RETURN NEW; END $$;
		CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
			IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'public.rooms') THEN
				CREATE TRIGGER garble BEFORE INSERT ON rooms FOR EACH ROW EXECUTE FUNCTION garble();
			END IF;
		END $$;
		CREATE EVENT TRIGGER watch ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION watch();`); err != nil {
		t.Fatal(err)
	}
	e, err := h.open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.MigrateTo(t.Context(), url); err == nil || !strings.Contains(err.Error(), "rows of rooms are not the same there") {
		t.Errorf("it was moved: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	h.start() // where it was before
	h.say("!room", "ana", "/echo here")
	if got := h.texts("!room"); !slices.Contains(got, "here") {
		t.Errorf("the bot says %q", got)
	}
}

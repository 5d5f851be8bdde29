package bot_test

import (
	"bytes"
	"database/sql"
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

func TestOneProcessAStateDirectory(t *testing.T) {
	h := live(t)
	if _, err := h.open(); !errors.Is(err, bot.ErrLocked) {
		t.Errorf("a second engine: %v, want ErrLocked", err)
	}
	h.stop()
	e, err := h.open()
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// files reads all files of a directory but for the lock.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != "lock" && !strings.HasSuffix(e.Name(), "-shm") {
			if all[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// leave copies a state directory while the engine runs, as a power cut leaves it.
func (h *house) leave(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files(t, h.dir) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestADatabaseThatCannotBeUsedIsLeftAsItIs(t *testing.T) {
	dbtest.File(t)
	change := func(statement string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "starling.db"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  error
		says  string
	}{
		{"newer", change(`UPDATE version SET version = 99, compat = 98`), bot.ErrNewerDatabase, "run that version"},
		{"newer without a compatible version", change(`UPDATE version SET version = 99, compat = NULL`), bot.ErrNewerDatabase, "run that version"},
		{"damaged", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "starling.db")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 4096; i < len(data); i += 512 {
				copy(data[i:], "damage damage damage damage damage damage")
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}, bot.ErrDamaged, "restore a backup"},
		{"no database at all", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "starling.db"), []byte("this is a shopping list, and a long one at that"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, bot.ErrDamaged, "restore a backup"},
		{"without its key", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "starling.key")); err != nil {
				t.Fatal(err)
			}
		}, nil, "is missing: restore it"},
		{"another key", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "starling.key"), make([]byte, 32), 0o600); err != nil {
				t.Fatal(err)
			}
		}, nil, "does not fit the database"},
		{"half a key", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "starling.key"), make([]byte, 16), 0o600); err != nil {
				t.Fatal(err)
			}
		}, nil, "is damaged: restore it"},
		{"a key that others can read", func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "starling.key"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, nil, "chmod 600"},
	} {
		for _, how := range []string{"stopped", "after a power cut"} {
			if how != "stopped" && tc.want == bot.ErrDamaged {
				continue // what is not in the file yet cannot be damaged in it
			}
			t.Run(tc.name+", "+how, func(t *testing.T) {
				h := live(t)
				h.say("!room", "ana", "/echo hello")
				dir := h.dir
				if how == "stopped" {
					h.stop()
				} else {
					dir = h.leave(t)
					h.stop()
				}
				tc.spoil(t, dir)
				before := files(t, dir)
				h.dir = dir
				e, err := h.open()
				if err == nil {
					e.Close()
				}
				if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("got %v, want %v with %q", err, tc.want, tc.says)
				}
				after := files(t, dir)
				for name, data := range before {
					if tc.want != nil && !bytes.Equal(after[name], data) {
						t.Errorf("%s was changed", name)
					}
				}
			})
		}
	}
}

func TestACrashInTheFirstStartIsNoDamage(t *testing.T) {
	dbtest.File(t)
	h := build(t, rig.LikeMatrix())
	if err := os.WriteFile(filepath.Join(h.dir, "starling.key"), bytes.Repeat([]byte{7}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "starling.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.room("!room", "ana")
	h.say("!room", "ana", "/echo hello")
	h.want("!room", "hello")
}

func TestAStateDirectoryMayHaveAnyName(t *testing.T) {
	dbtest.File(t)
	h := build(t, rig.LikeMatrix())
	h.dir = filepath.Join(h.dir, "what? 100%25 #1 ñ")
	h.start()
	h.room("!room", "ana")
	h.restart()
	h.say("!room", "ana", "/echo hello")
	h.want("!room", "hello")
	if _, err := os.Stat(filepath.Join(h.dir, "starling.db")); err != nil {
		t.Error(err)
	}
}

func TestWhatIsSaidAfterABackupWasRestoredIsSeen(t *testing.T) {
	dbtest.File(t)
	h := live(t)
	h.stop()
	backup := h.leave(t)
	h.start()
	first := h.post("!room", "said after the backup")
	h.settle()
	h.stop()
	h.dir = backup
	h.clock.step(h.clock.Now().Add(time.Minute))
	h.start()
	second := h.post("!room", "said after it was restored")
	h.settle()
	h.wantSpoken("!room", "said after the backup", "said after it was restored")
	if first != second {
		t.Errorf("the rows %d and %d are not the same: this tests nothing", first, second)
	}
}

func TestNothingThatPeopleSaidIsReadableAtRest(t *testing.T) {
	dbtest.File(t)
	h := live(t)
	h.roomOf(rig.Room{ID: "!direct", Name: "direct-room-name", Direct: true, Encrypted: true}, "ana")
	h.on("keep", func(t *bot.Turn) error {
		if _, err := t.NewRecord("thing", thing{Text: "xylophone"}, t.Now()); err != nil {
			return err
		}
		if err := t.Job("translate", "test.job", "ref", map[string]string{"text": "zeppelin"}, 0); err != nil {
			return err
		}
		_, err := t.NewChapter(t.Room, "Quetzalcoatl")
		return err
	})
	h.net.Down("!room", 1<<40)
	h.say("!room", "ana", "/do keep")
	h.say("!room", "ana", "/echo bumblebee")
	h.say("!room", "ana", "/ask")
	h.say("!room", "ana", "kingfisher and so on")
	h.said(rig.Said{Room: "!room", Person: "@luc", Text: "just talking of nightingales"})
	h.say("!direct", "ana", "/ask")
	h.say("!direct", "ana", "woodpecker")
	all := files(t, h.dir)
	if len(all["starling.db-wal"]) == 0 {
		t.Error("there is no write-ahead log to look into")
	}
	for name, data := range all {
		for _, word := range []string{"xylophone", "zeppelin", "quetzal", "bumblebee", "kingfisher", "nightingale", "woodpecker",
			"@ana", "@luc", "!room", "!direct", "direct-room-name", "\x00ana"} {
			if bytes.Contains(bytes.ToLower(data), []byte(word)) {
				t.Errorf("%s contains %q", name, word)
			}
		}
		if info, err := os.Stat(filepath.Join(h.dir, name)); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others can read %s: %v %v", name, info.Mode(), err)
		}
	}
	for _, word := range []string{"xylophone", "bumblebee", "kingfisher", "nightingale", "woodpecker", "@ana", "@luc", "!room", "$p"} {
		if strings.Contains(strings.ToLower(h.log.String()), word) {
			t.Errorf("the log contains %q:\n%s", word, h.log)
		}
	}
}

package main

import (
	"database/sql"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"filippo.io/age"

	"starling/bot"
)

// noted opens a bot on a directory, notes a word there if one is given, and gives the word that is noted.
func noted(t *testing.T, dir, word string, during func()) (found string) {
	t.Helper()
	e := opened(t, dir)
	defer e.Close()
	if err := e.Do(t.Context(), "test", func(tx *bot.Tx) error {
		if word != "" {
			if err := tx.Exec(`INSERT INTO meta (key, value) VALUES ('test', $1)`, word); err != nil {
				return err
			}
			for id, kind := range map[int]string{900001: string(bot.OutMessage), 900002: string(bot.OutDelete)} {
				if err := tx.Exec(`INSERT INTO outbox (id, room, person, lane, priority, kind, key, target, after, topic, ref, record, origin, not_before, expires, rings, lang, state, tried, at)
					VALUES ($1, 1, 0, '', 1, $2, '', 0, 0, '', '', '', 0, 0, 0, FALSE, 'en', 0, FALSE, 1)`, id, kind); err != nil {
					return err
				}
			}
		}
		_, err := tx.One(`SELECT value FROM meta WHERE key = 'test'`, nil, &found)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if during != nil {
		during()
	}
	return found
}

func TestABackupOfARunningBotIsRestoredElsewhere(t *testing.T) {
	mine, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	file, old, dir := filepath.Join(tmp, "backup.age"), filepath.Join(tmp, "old"), filepath.Join(tmp, "new")
	identities := map[string]string{}
	for name, id := range map[string]*age.X25519Identity{"mine": mine, "other": other} {
		identities[name] = filepath.Join(tmp, name)
		if err := os.WriteFile(identities[name], []byte(id.String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	noted(t, old, "sandpiper", func() {
		if err := backup(t.Context(), old, file, mine.Recipient().String()); err != nil {
			t.Fatal(err)
		}
	})
	if left, _ := filepath.Glob(filepath.Join(old, snapshotPrefix+"*")); len(left) > 0 {
		t.Errorf("the snapshot lies about: %v", left)
	}
	if err := backup(t.Context(), old, file, mine.Recipient().String()); err == nil {
		t.Error("a backup was written over")
	}

	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"half": whole[:len(whole)/2], "all but a byte": whole[:len(whole)-1], "nothing": nil} {
		part := filepath.Join(tmp, "part.age")
		if err := os.WriteFile(part, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if restore(t.Context(), part, identities["mine"], dir) == nil {
			t.Errorf("%s of a backup was restored", name)
		}
	}
	if restore(t.Context(), file, identities["other"], dir) == nil {
		t.Error("somebody else's identity opens it")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 || filepath.Base(left[0]) != "lock" {
		t.Errorf("what was refused left %v", left)
	}
	if restore(t.Context(), file, identities["mine"], old) == nil {
		t.Error("it was restored over a bot that is there")
	}

	if err := restore(t.Context(), file, identities["mine"], dir); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", filepath.Join(dir, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for id, want := range map[int]int{900001: 2, 900002: 0} {
		var state int
		if err := db.QueryRow(`SELECT state FROM outbox WHERE id = ?`, id).Scan(&state); err != nil || state != want {
			t.Errorf("row %d of the outbox has the state %d, not %d: %v", id, state, want, err)
		}
	}
	if got := noted(t, dir, "", nil); got != "sandpiper" {
		t.Errorf("the restored bot knows %q", got)
	}
}

// A restore that was killed leaves a plain key. The next one destroys it and is done, as far as the first one came; a wipe does, too.
func TestAKilledRestoreIsDoneAgain(t *testing.T) {
	if dir := os.Getenv("STARLING_TEST_RESTORE"); dir != "" { // the process that is killed
		t.Fatal(restore(t.Context(), filepath.Join(dir, "pipe"), filepath.Join(dir, "identity"), filepath.Join(dir, "new")))
	}
	tmp := t.TempDir()
	mine, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	file, identity, pipe, old, dir := filepath.Join(tmp, "backup.age"), filepath.Join(tmp, "identity"), filepath.Join(tmp, "pipe"), filepath.Join(tmp, "old"), filepath.Join(tmp, "new")
	// The state directory is a link here: like a mounted one, and one in a folder of root's, it can be filled but not replaced.
	if err := errors.Join(os.WriteFile(identity, []byte(mine.String()+"\n"), 0o600), syscall.Mkfifo(pipe, 0o600),
		os.Mkdir(filepath.Join(tmp, "mounted"), 0o700), os.Symlink("mounted", dir)); err != nil {
		t.Fatal(err)
	}
	noted(t, old, "sandpiper", nil)
	if err := backup(t.Context(), old, file, mine.Recipient().String()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, part := filepath.Join(dir, keyFile), filepath.Join(dir, keyFile+restoring)
	killed := func() {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "STARLING_TEST_RESTORE="+tmp)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		// A pipe holds 64 KiB: when all but the end has gone into it, much more than the key has been read.
		_, err = in.Write(whole[:len(whole)-1])
		if err := errors.Join(err, cmd.Process.Kill(), in.Close()); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if found, err := os.ReadFile(part); err != nil || len(found) == 0 {
			t.Fatalf("killed too early: this tests nothing (%v)", err)
		}
	}
	again := func() {
		t.Helper()
		if err := restore(t.Context(), file, identity, dir); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(filepath.Join(tmp, "*", "*"+restoring+"*")); len(left) > 0 {
			t.Errorf("left are %v", left)
		}
		if got := noted(t, dir, "", nil); got != "sandpiper" {
			t.Errorf("the restored bot knows %q", got)
		}
	}

	killed()
	again()
	// Killed between the two names.
	if err := os.Rename(key, part); err != nil {
		t.Fatal(err)
	}
	again()
	if restore(t.Context(), file, identity, dir) == nil {
		t.Error("it was restored over a bot that is there")
	}

	cfg := defaultConfig()
	cfg.State.Dir = dir
	if err := wipe(t.Context(), cfg, io.Discard); err != nil {
		t.Fatal(err)
	}
	killed()
	if err := wipe(t.Context(), cfg, io.Discard); err != nil {
		t.Fatal(err)
	}
	empty(t, dir)
}

// What a killed backup leaves behind is swept away; a backup that somebody keeps in the state directory is not.
func TestWhatAKilledBackupLeftIsSwept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with [odd] letters")
	left, kept := filepath.Join(dir, snapshotPrefix+"1"), filepath.Join(dir, "backup-1.age")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	part := kept + partMark + "1"
	for _, file := range []string{filepath.Join(left, databaseFile), kept, part} {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := sweep(dir)
	if err != nil || lock == nil {
		t.Fatal(lock, err)
	}
	if err := os.Mkdir(filepath.Join(dir, snapshotPrefix+"2"), 0o700); err != nil {
		t.Fatal(err)
	}
	if again, err := sweep(dir); again != nil || err != nil {
		t.Errorf("while a backup is being made a second one is begun: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, snapshotPrefix+"2")); err != nil {
		t.Errorf("what a backup is just writing is gone: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the snapshot is still there: %v", err)
	}
	if err := sweepParts(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(part); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a backup is still there: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

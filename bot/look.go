package bot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Finding is one thing that `starling doctor` looked at.
type Finding struct {
	Level  Level
	Text   string // what was found
	Remedy string // what to do about it, "" where nothing is to be done
}

// Level says how much a finding matters.
type Level int

const (
	LevelFine    Level = iota
	LevelWarning       // it works, and could be better or safer
	LevelWrong         // it does not work
)

// LookAt examines a state directory, and the database on a server if there is one, without changing anything in them, also beside
// a running bot.
func LookAt(dir, server string, caps ...Capability) (all []Finding) {
	say := func(l Level, text, remedy string) { all = append(all, Finding{l, text, remedy}) }
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		say(LevelWarning, "state: the directory is not there yet", "The first login, or `starling run`, makes it.")
		return all
	case err != nil || !st.IsDir():
		say(LevelWrong, "state: the directory cannot be read", "Run the doctor as the bot's user, and see [state] dir.")
		return all
	}
	open := 0
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 && (path != dir || info.Mode().Perm()&0o007 != 0) && info.Mode()&fs.ModeSymlink == 0 {
			open++
		}
		return nil
	})
	if open > 0 {
		say(LevelWrong, fmt.Sprintf("state: %d files or folders can be read by others", open), "chmod -R go-rwx "+dir)
	} else {
		say(LevelFine, "state: readable by its owner alone", "")
	}
	path := filepath.Join(dir, databaseFile)
	if _, err := os.Stat(path); server == "" && errors.Is(err, fs.ErrNotExist) {
		say(LevelWarning, "state: no database yet", "The first `starling run` makes it.")
		return all
	}
	if key, err := os.Stat(filepath.Join(dir, "starling.key")); err != nil || key.Size() == 0 {
		say(LevelWrong, "state: the key starling.key is missing: without it the database cannot be read", "Put it back from a backup.")
	}
	if server != "" {
		err = checkServer(server, versions(caps))
	} else {
		err = checkFile(path, versions(caps))
	}
	if err != nil {
		todo := `"Backup" in docs/operating.md says how a backup is restored.`
		if server != "" {
			todo = `Is the server up, and does [database] url name it? See "PostgreSQL" in docs/operating.md.`
		}
		say(LevelWrong, "state: "+err.Error(), todo)
	} else {
		say(LevelFine, "state: the database is whole and of this version", "")
	}
	if Running(dir) {
		say(LevelFine, "state: in use by a running bot", "")
	}
	return all
}

// Running tells whether a process works on a state directory.
func Running(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	ossignal "os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"starling/adapters/matrix"
	"starling/bot"
)

type wipeCmd struct {
	Yes bool `help:"Ask nothing: for a script, or a key on the keyboard."`
}

func (w wipeCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if !w.Yes {
		fmt.Printf("This destroys the bot of %s: its keys, its memory, its Matrix device. A backup elsewhere is all that can bring it back.\nType wipe to do it: ", cfg.State.Dir)
		line, err := bufio.NewReader(io.LimitReader(os.Stdin, 100)).ReadString('\n')
		if strings.TrimSpace(line) != "wipe" {
			return errors.Join(errors.New("nothing was wiped"), ignoreEnd(err))
		}
	}
	return wipe(ctx, cfg, os.Stdout)
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// wiped are the files of a state directory, those first without which the others cannot be read; unfinished ones of each among them.
var wiped = []string{keyFile + "*", "crypto.key*", "matrix-recovery-key.txt*", "matrix-appservice.yaml", "matrix-*", "crypto.db*", databaseFile + "*", snapshotPrefix + "*",
	"*" + partMark + "*", "signal-*", "backup.lock", "status.sock"}

// wipe stops a running bot, keeps its place taken, and destroys what it kept, keys first: from then on the rest is noise, whatever
// comes between. The network comes last. It goes on where it can, and can be called again.
func wipe(ctx context.Context, cfg config, out io.Writer) error {
	ossignal.Ignore(syscall.SIGHUP, syscall.SIGPIPE) // the line to the machine may be cut meanwhile
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	dir := cfg.State.Dir
	lock, ran, err := bot.Seize(dir)
	wrong := ignoreGone(err)
	end, err := matrix.Farewell(ctx, dir)
	if err != nil {
		say("The Matrix login cannot be read, so the device is not ended at the homeserver.")
	}
	_, unregistered := os.Lstat(filepath.Join(dir, "matrix-appservice.yaml"))
	files := 0
	for _, pattern := range wiped {
		found, err := fs.Glob(os.DirFS(dir), pattern)
		wrong = errors.Join(wrong, err)
		for _, name := range found {
			n, err := destroy(filepath.Join(dir, name))
			files += n
			wrong = errors.Join(wrong, err)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		wrong = errors.Join(wrong, syncDir(dir))
	}
	switch {
	case wrong != nil:
		say("NOT ALL IS GONE. Do it again, as the user that the bot runs as, or as root:")
	case files == 0:
		say("There was nothing in %s.", dir)
	default:
		say("Destroyed: %d files in %s, the keys first. What was sealed with them cannot be read any more.", files, dir)
	}
	left, _ := os.ReadDir(dir)
	left = slices.DeleteFunc(left, func(d fs.DirEntry) bool { return d.Name() == "lock" })
	if len(left) > 0 {
		say("Not the bot's, and still there: %d other files in %s.", len(left), dir)
	}
	if ran {
		say("The running bot was killed. Where systemd watches over it: systemctl disable --now starling")
	}
	if end != nil {
		if err := end(ctx); err != nil {
			say("The homeserver could not be reached: end the bot's device there as soon as you can (in any client of the account, or ask the server's administrator).")
		} else {
			say("The homeserver has ended the device: a copy of this disk cannot act in the bot's name any more.")
		}
	} else if cfg.Matrix.User != "" {
		say("No Matrix login lies here to be ended. If a wipe was interrupted before, see in any client of the account that the bot's device is gone.")
	}
	if unregistered == nil {
		say("The bot was registered as an application service, and a copy of this disk can act as that: have the registration taken out of the homeserver's configuration.")
	}
	if cfg.Signal.Account != "" {
		say("Signal: its keys lie with signal-cli, not here. Delete them, `signal-cli -a ACCOUNT deleteLocalAccountData`, and on the account's phone: Settings, Linked devices, unlink.")
	}
	if cfg.Database.URL != "" {
		say("The database is on a server, sealed with a key that is gone now. Drop it there all the same: dropdb.")
	}
	say(`What this cannot undo:
- What people wrote stands in their rooms, on their phones and, on Matrix, encrypted or not, on their servers.
- Backups elsewhere, and who has their age identity. Snapshots of this disk or this virtual machine.
- A disk may keep old copies of what is overwritten (an SSD does). Only an encrypted disk whose key is destroyed is surely gone.
- Who had the machine in hand before may have copied everything: tell the chapters, so that they remove the bot from their rooms.`)
	if lock != nil {
		wrong = errors.Join(wrong, os.Remove(lock.Name()), lock.Close())
	}
	return wrong
}

// destroy overwrites and deletes a file, or a folder with what is in it; it tells how many files that were. A link is deleted, and
// said to be one: what it points at is not the bot's to delete.
func destroy(path string) (n int, err error) {
	var wrong error
	err = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Type().IsRegular():
			n++
			wrong = errors.Join(wrong, overwrite(path))
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			wrong = errors.Join(wrong, err, fmt.Errorf("%s was a link: what it points at, %s, is still there", path, to))
		}
		return nil
	})
	return n, errors.Join(wrong, ignoreGone(err), os.RemoveAll(path))
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = io.CopyN(f, rand.Reader, info.Size())
	}
	return errors.Join(err, f.Sync(), f.Close())
}

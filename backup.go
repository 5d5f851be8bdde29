package main

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"filippo.io/age"

	"starling/bot"
)

// A backup is a tar archive of the key file and a snapshot of the engine's database, encrypted to somebody who is not on this
// machine. The keys of the Matrix device (crypto.db) and its token are never in it: two devices with the same keys break both.
const (
	keyFile      = "starling.key"
	databaseFile = "starling.db"
)

type backupCmd struct {
	File      string `arg:"" help:"The file to write; it must not be there yet." type:"path"`
	Recipient string `help:"Whose backup it is: an age public key (age1…), as age-keygen prints it. As [backup] recipient has it, if not given."`
}

func (b backupCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if cfg.Database.URL != "" {
		return errors.New("the database is on a server: back it up there (`pg_dump`), and keep starling.key from the state directory beside it: one is of no use without the other")
	}
	recipient := cmp.Or(b.Recipient, cfg.Backup.Recipient)
	if recipient == "" {
		return errors.New("whose backup is it? Set [backup] recipient, or give --recipient age1… (`age-keygen` makes a pair; the secret half stays off this machine)")
	}
	if err := backup(ctx, cfg.State.Dir, b.File, recipient); err != nil {
		return err
	}
	fmt.Println("Written. Who has the age identity can read all of it: keep that off this machine.")
	return nil
}

func isRecipient(s string) bool {
	_, err := age.ParseX25519Recipient(s)
	return err == nil
}

// backup writes a backup of a state directory, whether or not a bot runs on it. The file is there whole or not at all.
func backup(ctx context.Context, dir, file, recipient string) (err error) {
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return errors.New("the recipient is no age public key: it begins with age1, as age-keygen prints it")
	}
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is there already: name another file", file)
	}
	lock, err := sweep(dir)
	if err != nil {
		return err
	}
	if lock == nil {
		return errors.New("another backup is just being made: wait for it")
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	work, err := os.MkdirTemp(dir, snapshotPrefix) // what people wrote is sealed in it
	if err != nil {
		return fmt.Errorf("there is no room for the snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	snapshot := filepath.Join(work, databaseFile)
	if err := bot.Snapshot(ctx, filepath.Join(dir, databaseFile), snapshot); err != nil {
		return err
	}
	if err := sweepParts(filepath.Dir(file)); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+partMark)
	if err != nil {
		return fmt.Errorf("the backup cannot be written: %w", err)
	}
	defer func() { os.Remove(out.Name()) }() // it has another name by then, if all went well
	if err := syscall.Flock(int(out.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("the backup cannot be written: %w", err)
	}
	err = func() error {
		sealed, err := age.Encrypt(out, to)
		if err != nil {
			return err
		}
		archive := tar.NewWriter(sealed)
		for _, name := range []string{filepath.Join(dir, keyFile), snapshot} {
			if err := addFile(archive, name); err != nil {
				return err
			}
		}
		return errors.Join(archive.Close(), sealed.Close(), out.Sync())
	}()
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("the backup cannot be written: %w", err)
	}
	if err := os.Rename(out.Name(), file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func addFile(archive *tar.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Name: filepath.Base(path), Mode: 0o600, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(archive, f)
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type restoreCmd struct {
	File     string `arg:"" help:"The backup." type:"existingfile"`
	Identity string `required:"" help:"The file with the age identity, as age-keygen wrote it." type:"existingfile"`
}

func (r restoreCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if cfg.Database.URL != "" {
		return errors.New("a backup is restored into SQLite: leave [database] url empty, and `starling migrate-to` the server afterwards")
	}
	if err := restore(ctx, r.File, r.Identity, cfg.State.Dir); err != nil {
		return err
	}
	fmt.Println("Restored. The old bot must never run again. Next: `starling matrix login`, with the recovery key at hand, makes this machine a new device.\nWhat waited to be said when the backup was made is not said any more: it most likely has been.")
	return nil
}

// restore fills a state directory that is empty or not there from a backup. All is whole before it gets its name, the key last, without
// which no bot begins. Nothing is left behind when that fails; what is left when it is killed the next one destroys, or a wipe.
func restore(ctx context.Context, file, identity, dir string) (err error) {
	key, err := os.Open(identity)
	if err != nil {
		return err
	}
	defer key.Close()
	ids, err := age.ParseIdentities(key)
	if err != nil {
		return fmt.Errorf("%s holds no age identity", identity)
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	plain, err := age.Decrypt(bufio.NewReader(in), ids...)
	if err != nil {
		return errors.New("the backup does not open: the identity is another one, or the file is damaged")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := bot.Lock(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := sweepRestore(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, sweepRestore(dir))
		}
	}()
	if err := unpack(plain, dir); err != nil {
		return fmt.Errorf("the backup is not whole: %w", err)
	}
	if err := bot.SetAsideWaiting(ctx, filepath.Join(dir, databaseFile+restoring)); err != nil {
		return err
	}
	for _, name := range []string{databaseFile, keyFile} {
		path := filepath.Join(dir, name)
		if err := syncDir(path + restoring); err != nil {
			return err
		}
		if err := os.Rename(path+restoring, path); err != nil {
			return err
		}
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// restoring ends the names of what a restore has not finished.
const restoring = ".restoring"

// sweepRestore destroys what a restore that was not finished left in a state directory, the key last, by which the rest is known to
// be such. An error says that there is more.
func sweepRestore(dir string) error {
	there, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	has := func(name string) bool {
		return slices.ContainsFunc(there, func(d os.DirEntry) bool { return d.Name() == name })
	}
	var left []string
	for _, d := range there {
		switch name := d.Name(); {
		case name == "lock":
		case strings.Contains(name, restoring), name == databaseFile && has(keyFile+restoring):
			left = append(left, name)
		default:
			return fmt.Errorf("the state directory %s is not empty: name another in [state] dir, or move what is in it away", dir)
		}
	}
	for _, name := range left {
		_, e := destroy(filepath.Join(dir, name))
		err = errors.Join(err, e)
	}
	return err
}

// unpack writes the two files of a backup; whatever else is in it, or is missing, makes it none.
func unpack(plain io.Reader, dir string) error {
	archive := tar.NewReader(plain)
	for _, name := range []string{keyFile, databaseFile} {
		h, err := archive.Next()
		if err != nil {
			return err
		}
		if h.Name != name || h.Typeflag != tar.TypeReg {
			return errors.New("it holds something else than a backup does")
		}
		f, err := os.OpenFile(filepath.Join(dir, name+restoring), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, archive)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		return errors.Join(errors.New("it holds something else than a backup does"), err)
	}
	_, err := io.Copy(io.Discard, plain) // the end is authenticated, too
	return err
}

// partMark is in the name of a backup that is being written. Its file is locked meanwhile.
const partMark = ".starling-part-"

// sweepParts deletes what backups left in a folder that were killed before they had their names.
func sweepParts(dir string) error {
	left, err := fs.Glob(os.DirFS(dir), "*"+partMark+"*")
	for _, name := range left {
		one := filepath.Join(dir, name)
		f, e := os.OpenFile(one, os.O_RDWR, 0)
		if e != nil {
			continue // somebody else's
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			err = errors.Join(err, os.Remove(one))
		}
		err = errors.Join(err, f.Close())
	}
	return err
}

// snapshotPrefix begins the name of the folder in the state directory in which a backup is made; nothing else is called so.
const snapshotPrefix = ".snapshot-"

// sweep deletes what a backup left behind that was killed: a copy of the database, which would keep what is erased later. While the
// lock that it returns is held no other backup is begun; it is nil where one is just being made, which is left alone.
func sweep(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "backup.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("backups cannot be locked: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, fmt.Errorf("backups cannot be locked: %w", err)
	}
	left, err := fs.Glob(os.DirFS(dir), snapshotPrefix+"*")
	for _, name := range left {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

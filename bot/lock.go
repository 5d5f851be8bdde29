package bot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Lock makes sure that one process works on a state directory. The lock ends with the process, however it ends.
func Lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the state directory cannot be locked: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("the state directory cannot be locked: %w", err)
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid()))); err != nil { // for Seize
		return nil, errors.Join(fmt.Errorf("the state directory cannot be locked: %w", err), f.Close())
	}
	return f, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// killFor is how long a killed bot is waited for.
const killFor = 10 * time.Second

// Seize ends the process that works on a state directory at once, as a power cut would, and takes its lock, so that none begins
// in its place (systemd starts a killed bot again); ran is whether there was one.
func Seize(dir string) (lock *os.File, ran bool, err error) {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if lock, err = Lock(dir); !errors.Is(err, ErrLocked) {
			return lock, ran, err
		}
		ran = true
		text, err := os.ReadFile(filepath.Join(dir, "lock"))
		if err != nil {
			return nil, true, err
		}
		pid, err := strconv.Atoi(string(text))
		switch {
		case len(text) == 0: // it begins just now
		case err != nil || pid <= 1 || pid == os.Getpid():
			return nil, true, errors.New("a bot is running on the state directory that cannot be killed from here: stop it")
		default:
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return nil, true, fmt.Errorf("the running bot cannot be killed: %w", err)
			}
		}
		if time.Since(began) > killFor {
			return nil, true, errors.New("the running bot does not end")
		}
	}
}

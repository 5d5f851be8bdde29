package signal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// socketFile is where the daemon that the bot starts listens, in the state directory: `starling signal` finds it there, too.
const socketFile = "signal-cli.sock"

const (
	// startFor is how long signal-cli may take to listen: a Java program on a small machine.
	startFor = 90 * time.Second
	// stopFor is how long it may take to end when it is asked to.
	stopFor = 10 * time.Second
)

// daemon is a signal-cli that the bot runs.
type daemon struct {
	cfg    Config
	manual bool // it receives nothing, so that what waits at Signal goes on waiting for the bot

	mu     sync.Mutex
	cmd    *exec.Cmd
	over   chan struct{} // closed when cmd has ended
	worn   chan struct{} // closed when cmd has to be started afresh
	afresh func()        // closes worn
}

func newDaemon(cfg Config) *daemon { return &daemon{cfg: cfg} }

// address is where the daemon listens. A socket's name must be short: it is given from where we stand, if that is nearer.
func (d *daemon) address() string {
	return "unix:" + shortPath(filepath.Join(d.cfg.StateDir, socketFile))
}

func shortPath(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if near, err := filepath.Rel(wd, path); err == nil && len(near) < len(path) {
			return near
		}
	}
	return path
}

// open gives a link to the daemon, starting it if it does not run.
func (d *daemon) open(ctx context.Context) (link, error) {
	over, err := d.start()
	if err != nil {
		return nil, err
	}
	return d.await(ctx, over)
}

// await opens a link as soon as signal-cli listens; over is closed when it never will.
func (d *daemon) await(ctx context.Context, over <-chan struct{}) (link, error) {
	ctx, cancel := context.WithTimeout(ctx, startFor)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if l, err := dial(ctx, d.address()); err == nil {
			return l, nil
		}
		select {
		case <-over:
			return nil, errors.New("signal-cli ended at once: run it by hand to see why (`starling signal status` says more)")
		case <-ctx.Done():
			return nil, errors.New("signal-cli does not begin to listen")
		case <-tick.C:
		}
	}
}

// start runs the daemon unless it runs; over is closed when it has ended.
func (d *daemon) start() (over <-chan struct{}, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd != nil {
		select {
		case <-d.over:
		default:
			return d.over, nil
		}
	}
	if !d.manual {
		d.sweep()
	}
	socket := filepath.Join(d.cfg.StateDir, socketFile)
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var args []string
	if d.cfg.Data != "" {
		data, err := filepath.Abs(d.cfg.Data)
		if err != nil {
			return nil, err
		}
		args = append(args, "--config", data)
	}
	// Without --no-receive-stdout it would print what people write.
	mode := "on-connection"
	if d.manual {
		mode = "manual"
	}
	// Stories are nobody's business, and signal-cli (0.13.19) stops receiving at one without a background.
	args = append(args, "daemon", "--socket", "./"+socketFile, "--no-receive-stdout", "--receive-mode", mode, "--ignore-stories")
	d.cmd = exec.Command(d.cfg.Command, args...)
	d.cmd.Dir = d.cfg.StateDir // so that the socket's name is short
	if filepath.Base(d.cfg.Command) != d.cfg.Command {
		if d.cmd.Path, err = filepath.Abs(d.cfg.Command); err != nil {
			return nil, err
		}
		d.cmd.Err = nil
	}
	worn := make(chan struct{})
	d.worn, d.afresh = worn, sync.OnceFunc(func() { close(worn) })
	d.cmd.Stdout, d.cmd.Stderr = io.Discard, &complaints{deaf: d.afresh}
	d.cmd.SysProcAttr = orphanless()
	cmd, ended, started := d.cmd, make(chan struct{}), make(chan error)
	go func() {
		// The kernel's death signal comes when the thread ends that started the child, so it stays.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in nobody's hands
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		d.cmd = nil
		return nil, fmt.Errorf("signal-cli cannot be started ([signal] command): %w", err)
	}
	d.over = ended
	return ended, nil
}

// deafened begins the line with which Java says that signal-cli's receiving has died. Calls go on being answered, and to attach anew
// does not help.
const deafened = `Exception in thread "receive-`

// complaints looks for that in what signal-cli says on standard error; nothing of it is kept, for it names people.
type complaints struct {
	line []byte // its beginning
	deaf func()
}

func (c *complaints) Write(b []byte) (int, error) {
	for _, octet := range b {
		switch {
		case octet == '\n':
			c.line = c.line[:0]
		case len(c.line) < len(deafened):
			if c.line = append(c.line, octet); string(c.line) == deafened {
				c.deaf()
			}
		}
	}
	return len(b), nil
}

// wearsOut is closed when the daemon that runs has to be started afresh; wear says that it has to.
func (d *daemon) wearsOut() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.worn
}

func (d *daemon) wear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd != nil {
		d.afresh()
	}
}

// stop ends the daemon, by force if it does not listen.
func (d *daemon) stop() { d.end(syscall.SIGTERM) }

// kill ends it at once: whether signal-cli, asked to end, still tells what it kept to somebody is not known.
func (d *daemon) kill() { d.end(syscall.SIGKILL) }

func (d *daemon) end(how syscall.Signal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(how) // it may have ended
	late := time.NewTimer(stopFor)
	defer late.Stop()
	select {
	case <-d.over:
	case <-late.C:
		_ = d.cmd.Process.Kill()
		<-d.over
	}
	d.cmd = nil
}

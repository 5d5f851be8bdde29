package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Status says what is under way, in numbers only.
type Status struct {
	Inbox   int `json:"inbox"`   // received, not yet stored
	Outbox  int `json:"outbox"`  // waiting to be said, those that wait for their time included
	Ready   int `json:"ready"`   // of these, what could leave now; at least 1 while that has yet to be looked at
	Sending int `json:"sending"` // calls under way
	Jobs    int `json:"jobs"`    // work outside, done or to be done
	Resting int `json:"resting"` // of these, what waits to be tried again
	Errors  int `json:"errors"`  // since the start
	Rooms   int `json:"rooms"`   // in which the bot is
}

// Idle is whether nothing moves and nothing waits.
func (s Status) Idle() bool { return s.Inbox+s.Outbox+s.Sending+s.Jobs == 0 }

// Settled is whether all has happened that can happen now.
func (s Status) Settled() bool { return s.Inbox+s.Ready+s.Sending+s.Jobs-s.Resting == 0 }

// Status tells what is under way. Its numbers are of one moment: no task was handed in while they were read, and whatever
// ends (a call, a job) hands its result in before it is counted as ended.
func (e *Engine) Status() Status {
	var s Status
	for {
		e.mu.Lock()
		submitted := e.submitted
		s.Inbox, s.Jobs, s.Resting, s.Errors = e.pending, len(e.jobs.running)+e.jobs.woken-e.jobs.begun, e.jobs.resting, e.errs
		e.mu.Unlock()
		e.out.mu.Lock()
		ready, _ := e.out.ready()
		s.Outbox, s.Ready, s.Sending = len(e.out.byID), len(ready), len(e.out.sending)
		if e.out.stale {
			s.Ready = max(s.Ready, 1)
		}
		e.out.mu.Unlock()
		e.mu.Lock()
		same := submitted == e.submitted
		e.mu.Unlock()
		if same {
			break
		}
	}
	e.cache.mu.RLock()
	for _, r := range e.cache.rooms {
		if r.Joined {
			s.Rooms++
		}
	}
	e.cache.mu.RUnlock()
	return s
}

// Wait returns when the status is as wanted: for tests and talk, which never wait for a fixed time.
func (e *Engine) Wait(ctx context.Context, wanted func(Status) bool) error {
	for {
		e.mu.Lock()
		changed := e.changed
		e.mu.Unlock()
		if wanted(e.Status()) {
			return nil
		}
		select {
		case <-changed:
		case <-e.stopped:
			return ErrStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Stopped is closed when the engine has stopped.
func (e *Engine) Stopped() <-chan struct{} { return e.stopped }

// socketPath is where the status is asked for. The system takes short names only: a long one is given from where we stand.
func socketPath(dir string) string {
	path := filepath.Join(dir, "status.sock")
	if wd, err := os.Getwd(); err == nil {
		if near, err := filepath.Rel(wd, path); err == nil && len(near) < len(path) {
			return near
		}
	}
	return path
}

// ServeStatus answers on a unix socket in the state directory until ctx ends: each connection gets the status as one line of
// JSON, at once ("now") or when the bot is idle ("idle"), or all that operators see ("health"),
// or a new code by which a room shows that it is theirs ("code").
func (e *Engine) ServeStatus(ctx context.Context) error {
	path := socketPath(e.cfg.Dir)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("the status socket cannot be opened: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return err
	}
	go func() {
		select {
		case <-ctx.Done():
		case <-e.stopped:
		}
		l.Close()
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); e.answerStatus(ctx, c) }()
		}
	}()
	return nil
}

func (e *Engine) answerStatus(ctx context.Context, c net.Conn) {
	var word string
	c.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fscanln(c, &word); err != nil {
		return
	}
	var answer any
	switch word {
	case "health":
		h, err := e.Health(ctx)
		if err != nil {
			return
		}
		answer = h
	case "code":
		answer = e.newCode()
	case "idle":
		if err := e.Wait(ctx, Status.Idle); err != nil {
			return
		}
		answer = e.Status()
	default:
		answer = e.Status()
	}
	// A client that has gone is no error of ours.
	_ = json.NewEncoder(c).Encode(answer)
}

// AskStatus asks a running bot for its status; with idle it waits until the bot is idle or ctx ends.
func AskStatus(ctx context.Context, dir string, idle bool) (s Status, err error) {
	word := "now"
	if idle {
		word = "idle"
	}
	return s, ask(ctx, dir, word, &s)
}

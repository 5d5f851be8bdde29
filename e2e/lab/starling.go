package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Starling is the bot: the real binary, with an account on a homeserver and a state directory of its own.
type Starling struct {
	ID  string // "@starling:localhost"
	Dir string // its state directory and configuration

	binary  string
	process *process
}

// BotConfig says what bot is set up.
type BotConfig struct {
	URL      string   // the homeserver's
	User     string   // full id of an account that exists
	Password string   // of that account
	Invite   []string // who may invite it
	Level    string   // of the log; "" = trace, and it is searched
	Limits   bool     // with the limits that it ships with; else it answers however much is asked
	More     string   // further tables of the configuration
}

// NewStarling writes a configuration below dir and logs the bot in, as README says.
func NewStarling(ctx context.Context, dir string, c BotConfig) (*Starling, error) {
	s, err := SetUpStarling(dir, c)
	if err != nil {
		return nil, err
	}
	_, err = s.Command(ctx, c.Password+"\n", "matrix", "login")
	return s, err
}

// SetUpStarling writes a configuration below dir.
func SetUpStarling(dir string, c BotConfig) (*Starling, error) {
	binary, err := built("starling")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if c.Level == "" {
		c.Level = "trace"
	}
	var quoted []string
	for _, i := range c.Invite {
		quoted = append(quoted, fmt.Sprintf("%q", i))
	}
	s := &Starling{ID: c.User, Dir: dir, binary: binary}
	config := fmt.Sprintf("[state]\ndir = %q\n[matrix]\nuser = %q\nhomeserver = %q\ninvite = [%s]\n[log]\nlevel = %q\n",
		filepath.Join(dir, "var"), c.User, c.URL, strings.Join(quoted, ", "), c.Level)
	if !c.Limits {
		config += "[limits]\nperson_per_minute = 0\nroom_per_minute = 0\n"
	}
	if err := os.WriteFile(s.config(), []byte(config+c.More), 0o600); err != nil {
		return nil, err
	}
	return s, nil
}

// Command runs one of the program's commands with the bot's configuration and returns what it printed.
func (s *Starling) Command(ctx context.Context, input string, args ...string) (printed string, err error) {
	cmd := exec.CommandContext(ctx, s.binary, append(args, "--config", s.config())...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("starling %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func (s *Starling) config() string { return filepath.Join(s.Dir, "config.toml") }

// Log is the file with everything that the bot printed.
func (s *Starling) Log() string { return filepath.Join(s.Dir, "starling.log") }

// StartStarling sets a bot up on a homeserver, runs it, and ends it with the test.
func StartStarling(t testing.TB, server *Dendrite, invite ...string) *Starling {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	id, err := server.Register(ctx, "starling", "starling-password")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStarling(ctx, t.TempDir(), BotConfig{URL: server.URL, User: id, Password: "starling-password", Invite: invite})
	if err != nil {
		t.Fatal(err)
	}
	s.Run(t)
	return s
}

// Run starts the bot and ends it with the test.
func (s *Starling) Run(t testing.TB) {
	t.Helper()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	s.endWith(t)
}

// endWith ends the bot with the test, and shows how its log ends where that failed.
func (s *Starling) endWith(t testing.TB) {
	t.Cleanup(func() {
		if !s.process.ended() {
			if err := s.Stop(); err != nil {
				t.Errorf("the bot's end: %v", err)
			}
		}
		s.CheckLog(t)
		if t.Failed() {
			t.Logf("the bot's log ends with:\n%s", lastLines(s.Log(), 30))
		}
	})
}

// Start runs the bot and returns when its status socket answers.
func (s *Starling) Start() error {
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.binary, "run", "--config", s.config())
	cmd.Stdout, cmd.Stderr = log, log
	if s.process, err = start(cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startGrace)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := s.ask(ctx, "now"); err == nil {
			return nil
		}
		select {
		case <-s.process.done:
			return fmt.Errorf("the bot ended: %v\n%s", s.process.err, lastLines(s.Log(), 10))
		case <-ctx.Done():
			return fmt.Errorf("the bot did not start\n%s", lastLines(s.Log(), 10))
		case <-tick.C:
		}
	}
}

// Stop ends the bot in order, Kill as a power cut would.
func (s *Starling) Stop() error { return s.process.signal(syscall.SIGTERM, stopGrace) }
func (s *Starling) Kill() error { return s.process.signal(syscall.SIGKILL, stopGrace) }

// Resident is how many octets of memory the bot holds now (VmRSS; Linux only).
func (s *Starling) Resident() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); err == nil {
			return kilobytes << 10, nil
		}
	}
	return 0, errors.New("no VmRSS")
}

// Done is closed when the bot has ended.
func (s *Starling) Done() <-chan struct{} { return s.process.done }

// WaitEnd waits until the bot has ended by itself and gives its exit code and the last line that it printed.
func (s *Starling) WaitEnd(t testing.TB) (code int, last string) {
	t.Helper()
	select {
	case <-s.process.done:
	case <-time.After(Patience):
		t.Fatal("the bot does not end")
	}
	return s.process.cmd.ProcessState.ExitCode(), lastLines(s.Log(), 1)
}

// BotStatus is what `starling status` prints.
type BotStatus struct{ Rooms, Inbox, Outbox, Ready, Sending, Jobs, Errors int }

// WaitIdle returns when nothing is under way in the bot any more. What people said last may not have reached it yet: wait
// for its answer to a later message first.
func (s *Starling) WaitIdle(t testing.TB) BotStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	st, err := s.ask(ctx, "idle")
	if err != nil {
		t.Fatalf("the bot is not idle: %v", err)
	}
	return st
}

// WaitStatus returns when the bot's status is as wanted.
func (s *Starling) WaitStatus(t testing.TB, what string, wanted func(BotStatus) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := s.ask(ctx, "now")
		if err != nil {
			t.Fatalf("waiting until %s: %v", what, err)
		}
		if wanted(st) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s: %+v", what, st)
		case <-tick.C:
		}
	}
}

// WaitConnected returns when the bot has read what its networks had for it when it was started.
func (s *Starling) WaitConnected(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var health struct {
			Networks []struct{ Report struct{ Connected bool } }
		}
		if err := s.askFor(ctx, "health", &health); err != nil {
			t.Fatalf("waiting until the bot is connected: %v", err)
		}
		connected := 0
		for _, n := range health.Networks {
			if n.Report.Connected {
				connected++
			}
		}
		if connected > 0 && connected == len(health.Networks) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the bot does not connect: %+v", health)
		case <-tick.C:
		}
	}
}

// Status is what is under way now.
func (s *Starling) Status(ctx context.Context) (BotStatus, error) { return s.ask(ctx, "now") }

func (s *Starling) ask(ctx context.Context, what string) (st BotStatus, err error) {
	err = s.askFor(ctx, what, &st)
	return st, err
}

// askFor speaks to the status socket, as `starling status` does.
func (s *Starling) askFor(ctx context.Context, what string, answer any) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.Dir, "var", "status.sock"))
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := fmt.Fprintln(conn, what); err != nil {
		return err
	}
	return json.NewDecoder(conn).Decode(answer)
}

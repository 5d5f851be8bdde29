package signal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"starling/bot"
)

// The tests' own program is the signal-cli that the adapter starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "daemon" {
		if err := pretend(os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// lives counts in the daemon's folder how often it was started, and with holds what it was started with; hangsFirst lies there if its first
// life is to answer one check only.
const lives, with, hangsFirst = "lives", "with", "hangs"

// late is how many messages the daemon tells when nothing more is asked of it.
const late = 3 * waiting

// pretend is a signal-cli as far as the adapter needs one. It says in which life it is as soon as somebody attaches.
func pretend(socket string) error {
	before, err := os.ReadFile(lives)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	life := len(before) + 1
	if err := os.WriteFile(lives, append(before, '.'), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(with, []byte(strings.Join(os.Args, " ")), 0o600); err != nil {
		return err
	}
	_, err = os.Stat(hangsFirst)
	hanging := err == nil && life == 1
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		tell := func(n int, text string) {
			fmt.Fprintf(conn, `{"method":"receive","params":{"envelope":{"sourceUuid":%q,"timestamp":%d,"dataMessage":{"message":%q,"groupInfo":{"groupId":%q,"type":"DELIVER"}}}}}`+"\n", ana, n, text, groupID)
		}
		tell(1, "life "+strconv.Itoa(life))
		checks := 0
		for calls := bufio.NewScanner(conn); calls.Scan(); {
			var call struct{ ID, Method string }
			if err := json.Unmarshal(calls.Bytes(), &call); err != nil {
				return err
			}
			if call.Method == "listAccounts" {
				if checks++; hanging && checks > 1 {
					continue
				}
			}
			result, _ := inGroup(call.Method, nil)
			switch {
			case call.Method == "listIdentities":
				result = json.RawMessage(`[{"number":"` + own + `","uuid":"` + me + `"}]`)
			case result == nil:
				result = json.RawMessage(`{}`)
			}
			fmt.Fprintf(conn, `{"id":%q,"result":%s}`+"\n", call.ID, result)
		}
		for i := range late {
			tell(i+2, "late "+strconv.Itoa(i))
		}
		conn.Close()
	}
}

// listener is an engine that says what it was told.
type listener struct {
	engine
	said chan string
}

func (l *listener) Deliver(_ context.Context, in ...bot.Incoming) error {
	for _, one := range in {
		if one.Kind == bot.KindText {
			l.said <- one.Text
		}
	}
	return nil
}

// started is an adapter that runs, with a signal-cli of its own; end ends it and waits.
func started(t *testing.T, files ...string) (l *listener, end func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir()) // a socket's name must be short
	for _, f := range files {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := New(Config{Account: own, Command: self, StateDir: "."})
	if err != nil {
		t.Fatal(err)
	}
	a.checkEvery, a.checkFor = 10*time.Millisecond, time.Second
	l = &listener{said: make(chan string, 2*late)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx, l) }()
	end = func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	}
	return l, end
}

func TestASignalCLIThatHangsIsStartedAfresh(t *testing.T) {
	l, end := started(t, hangsFirst)
	defer end()
	for _, want := range []string{"life 1", "life 2"} {
		if got := <-l.said; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// signal-cli tells a message once: what it was telling when the bot is ended is taken in, however much stands between the two.
func TestWhatIsToldAtTheEndIsTakenIn(t *testing.T) {
	l, end := started(t)
	want := []string{"life 1"}
	got := []string{<-l.said}
	end()
	close(l.said)
	for text := range l.said {
		got = append(got, text)
	}
	for i := range late {
		want = append(want, "late "+strconv.Itoa(i))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// By itself signal-cli prints what people write, and tells it to nobody while nobody is attached.
func TestSignalCLIPrintsNothingAndWaitsForTheBot(t *testing.T) {
	l, end := started(t)
	<-l.said
	end()
	got, err := os.ReadFile(with)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--no-receive-stdout", "--receive-mode on-connection", "--ignore-stories"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("started as %s, want it with %s", got, want)
		}
	}
}

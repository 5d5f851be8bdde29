package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"

	"starling/e2e/lab"
)

// TestTryMatrix does what `make try-matrix` promises: a stranger starts it, logs in with what it prints, finds the rooms, asks
// the bot, sends an alert that arrives, and ends it with Ctrl-C.
func TestTryMatrix(t *testing.T) {
	program := filepath.Join(t.TempDir(), "try-matrix")
	if out, err := exec.Command("go", "build", "-o", program, "./cmd/try-matrix").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	space := t.TempDir() // all that it makes is made here
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "TMPDIR="+space)
	var wrong bytes.Buffer
	cmd.Stderr = &wrong
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended, unless the test failed

	says := printed(out)
	wait := func(what, pattern string) string {
		t.Helper()
		text, ok := says(pattern, 2*lab.Patience)
		if !ok {
			t.Fatalf("it does not print %s: %s%s", what, text, wrong.String())
		}
		return text
	}
	url := wait("an address", `Homeserver +(http://127\.0\.0\.1:\d+)\n`)
	password := wait("a password", `Password +(\S+)\n`)
	wait("how it ends", `(Ctrl-C ends everything)`)

	ctx, cancel := context.WithTimeout(t.Context(), 2*lab.Patience)
	defer cancel()
	visitor, err := lab.StartHumans(t, &lab.Dendrite{URL: url}).LogIn(ctx, "visitor", password, lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	visitor = visitor.In(t)
	rooms := roomsOf(t, ctx, url, password)
	if len(rooms) != 3 {
		t.Fatalf("the visitor is in %v, want three rooms", rooms)
	}
	const bot = "@starling:" + lab.ServerName
	asked := visitor.Say(rooms["Lille"], "!starling")
	visitor.Wait(lab.Want{Room: rooms["Lille"], From: bot, AfterID: asked, Contains: []string{"/besoins"}})
	asked = visitor.Say(rooms["London"], "!alert now: police at the social centre")
	preview := visitor.Wait(lab.Want{Room: rooms["London"], From: bot, AfterID: asked, Contains: []string{"Barcelona", "Lille"}})
	visitor.React(rooms["London"], preview.ID, "✅")
	for room, words := range map[string]string{"Barcelona": "Alerta de", "Lille": "Alerte de"} {
		visitor.Wait(lab.Want{Room: rooms[room], From: bot, MsgType: "m.text", Contains: []string{words, "police at the social centre"}})
	}

	children := childrenOf(t, cmd.Process.Pid)
	if len(children) < 2 {
		t.Errorf("its children are %v, want the homeserver and the bot", children)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	wait("that it ends", `(Ending the bot and the homeserver\.)`)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ends with %v\n%s", err, wrong.String())
		}
	case <-time.After(lab.Patience):
		t.Fatal("it does not end")
	}
	for _, child := range children {
		if err := syscall.Kill(child, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("a process of it is left (%v)", err)
		}
	}
	if left, err := os.ReadDir(space); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v (%v)", left, err)
	}
	if res, err := http.Get(url); err == nil {
		res.Body.Close()
		t.Error("the homeserver still answers")
	}
}

// childrenOf lists the processes that a process has started (Linux).
func childrenOf(t *testing.T, pid int) (all []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range strings.Fields(string(data)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, child)
		}
	}
	return all
}

// printed reads what a program prints. The function that it returns waits until all of that matches a pattern, and gives the
// pattern's first group, or what was printed.
func printed(out io.Reader) func(pattern string, patience time.Duration) (string, bool) {
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			lines <- scanner.Text() + "\n"
		}
	}()
	all := ""
	return func(pattern string, patience time.Duration) (string, bool) {
		expression, over := regexp.MustCompile(pattern), time.After(patience)
		for {
			if m := expression.FindStringSubmatch(all); m != nil {
				return m[1], true
			}
			select {
			case line, more := <-lines:
				if all += line; !more {
					return all, false
				}
			case <-over:
				return all, false
			}
		}
	}
}

// roomsOf gives the visitor's rooms by name.
func roomsOf(t *testing.T, ctx context.Context, url, password string) map[string]string {
	t.Helper()
	c, err := mautrix.NewClient(url, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Login(ctx, &mautrix.ReqLogin{
		Type: mautrix.AuthTypePassword, Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: "visitor"},
		Password: password, StoreCredentials: true,
	}); err != nil {
		t.Fatal(err)
	}
	joined, err := c.JoinedRooms(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rooms := map[string]string{}
	for _, room := range joined.JoinedRooms {
		var name event.RoomNameEventContent
		if err := c.StateEvent(ctx, room, event.StateRoomName, "", &name); err != nil {
			t.Fatal(err)
		}
		rooms[name.Name] = room.String()
	}
	return rooms
}

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"starling/e2e/lab"
)

// The steps of docs/signal.md, from a signal-cli that knows no account to an answer in a group.
func TestTheStepsThatPutTheBotOnSignal(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	signal := lab.StartSignal(t)
	phone, ana := signal.Join(t, "starling"), signal.Join(t, "ana")
	daemon, err := signal.NewDaemon(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := daemon.Remove(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	configured := func() *lab.Starling {
		t.Helper()
		s, err := lab.SetUpStarling(dir, lab.BotConfig{More: daemon.Config("", ana)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	starling := configured()
	if said, err := starling.Command(ctx, "", "signal", "status"); err == nil || !strings.Contains(said, "starling signal link") {
		t.Errorf("before: %v: %s", err, said)
	}
	said := linked(ctx, t, starling, phone)
	if _, after, ok := strings.Cut(said, "Linked: the account is "); ok {
		daemon.Number, _, _ = strings.Cut(after, ".")
	}
	if daemon.Number == "" || !strings.Contains(said, fmt.Sprintf("account = %q", daemon.Number)) {
		t.Fatalf("link says %s", said)
	}
	starling = configured()
	if said, err := starling.Command(ctx, "", "signal", "status"); err != nil || !strings.Contains(said, "the account is linked") || !strings.Contains(said, "not running: `starling run`") {
		t.Errorf("after: %v: %s", err, said)
	}
	starling.Run(t)
	group := ana.CreateGroup(lab.SignalGroup{Title: "Lille"})
	ana.Invite(group, phone)
	ana.Wait(lab.Hears{Group: group, Contains: []string{"Starling", "1 English"}})
	ana.Wait(lab.Hears{Group: group, Quotes: ana.Say(group, "/needs list"), Contains: []string{"/needs"}})
}

// linked is what `starling signal link` says when a phone takes the code that it shows.
func linked(ctx context.Context, t *testing.T, starling *lab.Starling, phone *lab.Phone) string {
	t.Helper()
	link := exec.CommandContext(ctx, "../starling", "signal", "link", "--config", filepath.Join(starling.Dir, "config.toml"))
	out, err := link.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	link.Stderr = link.Stdout
	if err := link.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "sgnl://") {
			if err := phone.Scan(ctx, lines.Text()); err != nil {
				t.Error(err)
			}
		}
	}
	if err := link.Wait(); err != nil {
		t.Fatalf("%v: %s", err, all.String())
	}
	return all.String()
}

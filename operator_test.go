package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"starling/bot"
)

func model(t *testing.T) *kong.Application {
	t.Helper()
	k, err := kong.New(new(cli), kong.Name("starling"), kong.Vars{"version": version})
	if err != nil {
		t.Fatal(err)
	}
	return k.Model
}

// A real bash completes from what is printed.
func TestBashCompletesCommandsAndFlags(t *testing.T) {
	var script bytes.Buffer
	if err := bashCompletion(&script, model(t)); err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]string{
		"starling do":                    "doctor",
		"starling matrix ":               "login appservice --help",
		"starling -x matrix log":         "login",
		"starling doctor --r":            "--rates",
		"starling completion f":          "fish",
		"starling matrix login --reset-": "--reset-identity",
		"starling export ":               "--help",
	} {
		words := strings.Split(typed, " ")
		call := script.String() + "\nCOMP_WORDS=("
		for _, w := range words {
			call += "'" + w + "' "
		}
		call += ") COMP_CWORD=" + strconv.Itoa(len(words)-1) + "\n_starling\necho \"${COMPREPLY[*]}\""
		out, err := exec.Command("bash", "--norc", "-c", call).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%q gives %q (%v), want %q", typed, out, err, want)
		}
	}
}

// The other shells may not be there; that all commands and flags are is looked for in the text.
func TestEveryCommandIsCompletedAndInTheManPage(t *testing.T) {
	app := model(t)
	h := wholeHouse(t)
	var bash, zsh, fish, man bytes.Buffer
	if err := errors.Join(bashCompletion(&bash, app), zshCompletion(&zsh, app), fishCompletion(&fish, app), manPage(&man, app, h.commands, h.bundle)); err != nil {
		t.Fatal(err)
	}
	for _, p := range places(app) {
		for name, text := range map[string]string{"bash": bash.String(), "zsh": zsh.String(), "fish": fish.String()} {
			if !strings.Contains(text, p.path) {
				t.Errorf("%s does not know %q", name, p.path)
			}
		}
	}
	for _, leaf := range app.Leaves(true) {
		if !strings.Contains(man.String(), ".B "+roff("starling "+strings.TrimPrefix(leaf.Path(), "starling "))+"\n") {
			t.Errorf("the man page does not name %q", leaf.Path())
		}
	}
	for _, c := range h.commands {
		if c.Do != nil && !strings.Contains(man.String(), ".B "+roff("/"+strings.Join(c.Path, " "))+"\n") {
			t.Errorf("the man page does not name /%s", strings.Join(c.Path, " "))
		}
	}
	for shell, script := range map[string]string{"bash": bash.String(), "zsh": zsh.String(), "fish": fish.String()} {
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		check := exec.Command(path, "-n")
		check.Stdin = strings.NewReader(script)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
	if path, err := exec.LookPath("man"); err == nil {
		file := filepath.Join(t.TempDir(), "starling.1")
		if err := os.WriteFile(file, man.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		render := exec.Command(path, "--warnings", "-l", file)
		var complaints bytes.Buffer
		render.Stderr = &complaints
		out, err := render.Output()
		if err != nil || complaints.Len() > 0 || !strings.Contains(string(out), "IN CHAT") {
			t.Errorf("man: %v %s\n%.200s", err, complaints.String(), out)
		}
	}
}

// A supervisor hears that the bot is ready, that it lives while it answers, and that it ends.
func TestTheSupervisorHearsWhetherTheBotLives(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := func() string {
		t.Helper()
		buf := make([]byte, 100)
		if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := l.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked atomic.Int32
	stuck := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		systemd(ctx, func(context.Context) error {
			if asked.Add(1) > 2 {
				if asked.Load() == 5 {
					close(stuck)
				}
				return errors.New("stuck")
			}
			return nil
		})
	}()
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := heard(); got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	<-stuck // it was asked three times in vain: nothing was said meanwhile
	cancel()
	<-done
	if got := heard(); got != "STOPPING=1" {
		t.Errorf("a bot that does not answer says %q", got)
	}
}

// systemd itself understands the unit, and finds little that it leaves open.
func TestTheUnitIsHardened(t *testing.T) {
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("no systemd here that could say")
		return
	}
	text, err := os.ReadFile("deploy/starling.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := filepath.Join(t.TempDir(), "starling.service")
	if err := os.WriteFile(unit, bytes.ReplaceAll(text, []byte("/opt/starling/starling"), []byte("/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, "--man=no", "verify", unit).CombinedOutput(); err != nil || bytes.Contains(out, []byte("starling.service")) {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := exec.Command(path, "security", "--offline=true", "--threshold=20", "--no-pager", unit).CombinedOutput(); err != nil {
		t.Errorf("it is more open than 2.0: %v\n%s", err, out)
	}
}

// What operators read fits a narrow terminal, and a command to be copied is whole.
func TestWhatOperatorsReadFitsANarrowTerminal(t *testing.T) {
	var out bytes.Buffer
	printFinding(&out, 40, bot.Finding{Level: bot.LevelWarning, Text: strings.Repeat("many words ", 20), Remedy: "Do this:\ncurl -X POST 'https://example.org/a b c d e f g h i j k l m n o p q'\nor that"})
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, "curl") && len(line) > 41 {
			t.Errorf("too wide: %q", line)
		}
	}
	if !strings.Contains(out.String(), "curl -X POST 'https://example.org/a b c d e f g h i j k l m n o p q'\n") {
		t.Errorf("the command is broken:\n%s", out.String())
	}
	out.Reset()
	now := time.Date(2026, 11, 26, 18, 0, 0, 0, time.UTC)
	printHealth(&out, bot.Health{
		Status: bot.Status{Rooms: 1400, Errors: 1}, Version: "1.2.3", Now: now, Started: now.Add(-50 * time.Hour), SetAside: 1,
		Waiting:  []bot.Waiting{{Priority: "alert", Rows: 2, Oldest: now.Add(-90 * time.Second)}, {Priority: "decoration"}},
		Networks: []bot.Network{{Name: "matrix", Sent: 1, Failed: 2, Closed: now.Add(5 * time.Second), Report: &bot.Report{Connected: true, Received: now.Add(-2 * time.Second), Held: 1}}},
	})
	const want = `Starling 1.2.3, up for 2 d 2 h
  1400 rooms, 1 error since the start
matrix
  connected, heard 2 s ago, spoke not yet
  1 message cannot be read yet
  1 call since the start, 2 failed
  rate limit: sends again in 5 s
waiting to be said
  alert       2, oldest 1 min 30 s
  decoration  0
  set aside   1 in thirty days
under way
  0 received, 0 calls, 0 jobs
! the oldest alert has waited for 1m30s
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// The doctor works before anything is set up, and says what fails.
// What works on a bot's memory begins none: after a wipe the folder stays empty.
func TestWhereNoBotHasRunNoneIsBegun(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	c := &cli{Config: filepath.Join(dir, "config.toml")}
	for name, cmd := range map[string]interface {
		Run(context.Context, *cli) error
	}{"export": exportCmd{Chapter: "Barcelona"}, "rebuild": rebuildCmd{}} {
		if err := cmd.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "no bot has run") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestTheDoctorWorksWithNothing(t *testing.T) {
	dir := t.TempDir()
	c := &cli{Config: filepath.Join(dir, "config.toml")}
	t.Chdir(dir)
	if err := (doctorCmd{}).Run(t.Context(), c); err != nil {
		t.Errorf("with nothing at all: %v", err)
	}
	for text, ok := range map[string]bool{
		"[matrix]\nuser = \"@starling:example.org\"\n": false, // not logged in
		"[nothing]\n":                  false,
		"[bot]\nname = \"starling\"\n": true,
	} {
		if err := os.WriteFile(c.Config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (doctorCmd{}).Run(t.Context(), c); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

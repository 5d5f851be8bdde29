package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"starling/adapters/matrix"
	"starling/bot"
)

// kept fills a state directory with one of each file that a bot, and what was killed beside it, can leave there.
func kept(t *testing.T, dir string) config {
	t.Helper()
	for _, name := range []string{keyFile, keyFile + ".new", "crypto.key", "matrix-recovery-key.txt", "matrix-recovery-key.txt.old-1", "matrix-appservice.yaml", "matrix-inviters.txt",
		databaseFile, databaseFile + "-wal", snapshotPrefix + "1/" + databaseFile, "b.age" + partMark + "1", "signal-challenge", "backup.lock", "lock"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("what "+name+" holds"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	cfg := defaultConfig()
	cfg.State.Dir = dir
	return cfg
}

// untouched lists the files below a directory that still hold what kept wrote.
func untouched(t *testing.T, dir string) (all []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		if string(text) == "what "+name+" holds" {
			all = append(all, name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// random makes something happen whenever a file is about to be overwritten.
type random struct {
	io.Reader
	first func()
}

func (r random) Read(p []byte) (int, error) {
	r.first()
	return r.Reader.Read(p)
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v: %v", left, err)
	}
}

// No bot can begin while the wipe goes on, the keys are gone before anything else, and all is gone before the network is used,
// also where the terminal is cut off meanwhile.
func TestAWipeKeepsTheBotsPlaceTakenAndAsksTheNetworkLast(t *testing.T) {
	t.Cleanup(func() { ossignal.Reset(syscall.SIGHUP, syscall.SIGPIPE) })
	dir := filepath.Join(t.TempDir(), "with [odd] letters")
	cfg := kept(t, dir)
	goodbyes := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch filepath.Base(r.URL.Path) {
		case "whoami":
			fmt.Fprint(w, `{"user_id": "@starling:example.org", "device_id": "DEV"}`)
		case "logout":
			goodbyes++
			if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "lock" || !bot.Running(dir) {
				t.Errorf("when the homeserver is asked there are %v: %v; taken is the bot's place: %v", left, err, bot.Running(dir))
			}
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				t.Error(err)
			}
			fmt.Fprint(w, "{}")
		default: // the login is interrupted once it has the token
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer server.Close()
	if err := os.Remove(filepath.Join(dir, "crypto.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := matrix.Login(t.Context(), matrix.LoginOptions{StateDir: dir, Homeserver: server.URL, Token: "secret"}); err == nil {
		t.Fatal("the login was to be interrupted")
	}
	before := rand.Reader
	t.Cleanup(func() { rand.Reader = before })
	n := 0
	rand.Reader = random{before, func() {
		if n++; !bot.Running(dir) {
			t.Errorf("a bot could begin before file %d is destroyed", n)
		}
	}}
	var out bytes.Buffer
	if err := wipe(t.Context(), cfg, &out); err != nil || goodbyes != 1 || !strings.Contains(out.String(), "has ended the device") {
		t.Errorf("%v, %d calls\n%s", err, goodbyes, &out)
	}
	if !strings.Contains(out.String(), "have the registration taken out") {
		t.Errorf("it does not say what an application service can still do:\n%s", &out)
	}
	if n < 10 {
		t.Errorf("only %d files were overwritten", n)
	}
	empty(t, dir)
}

// A wipe that is killed at any file has destroyed the keys before all else, and does the rest when it is called again.
func TestAKilledWipeIsDoneAgain(t *testing.T) {
	if at := 0; os.Getenv("STARLING_TEST_WIPE") != "" { // the process that is killed
		if _, err := fmt.Sscan(os.Getenv("STARLING_TEST_WIPE"), &at); err != nil {
			t.Fatal(err)
		}
		rand.Reader = random{rand.Reader, func() {
			if at--; at == 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}}
		cfg := defaultConfig()
		cfg.State.Dir = os.Getenv("STARLING_TEST_DIR")
		if err := wipe(t.Context(), cfg, io.Discard); err != nil {
			t.Fatal(err)
		}
		return
	}
	keys := []string{keyFile, keyFile + ".new", "crypto.key", "matrix-recovery-key.txt", "matrix-recovery-key.txt.old-1", "matrix-appservice.yaml"}
	isKey := func(name string) bool { return slices.Contains(keys, name) }
	killed := 0
	for at := 1; ; at++ {
		dir := t.TempDir()
		cfg := kept(t, dir)
		all := untouched(t, dir)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), fmt.Sprint("STARLING_TEST_WIPE=", at), "STARLING_TEST_DIR="+dir)
		if out, err := cmd.CombinedOutput(); err == nil {
			break
		} else if cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatal(err, string(out))
		}
		killed++
		left := untouched(t, dir)
		if len(left) == 0 {
			t.Fatal("killed when nothing was left: this tests nothing")
		}
		if key := slices.IndexFunc(left, isKey); key >= 0 {
			for _, name := range all {
				if name != "lock" && !isKey(name) && !slices.Contains(left, name) {
					t.Errorf("%s is gone before %s", name, left[key])
				}
			}
		}
		if err := wipe(t.Context(), cfg, io.Discard); err != nil {
			t.Errorf("again, after a kill at file %d: %v", at, err)
		}
		empty(t, dir)
	}
	if killed < 10 {
		t.Errorf("it was killed at %d files only", killed)
	}
}

// What a link in the state directory points at is not the bot's, and what the state directory itself points at is.
func TestAWipeFollowsNoLinkButTheStateDirectory(t *testing.T) {
	tmp := t.TempDir()
	real, dir, others := filepath.Join(tmp, "real"), filepath.Join(tmp, "var"), filepath.Join(tmp, "others")
	kept(t, others)
	cfg := kept(t, real)
	there := untouched(t, others)
	if err := errors.Join(os.Symlink(real, dir), os.Remove(filepath.Join(real, keyFile)),
		os.Symlink(filepath.Join(others, keyFile), filepath.Join(real, keyFile)),
		os.Symlink(others, filepath.Join(real, snapshotPrefix+"2")),
		os.Symlink(others, filepath.Join(real, snapshotPrefix+"1", "deep"))); err != nil {
		t.Fatal(err)
	}
	cfg.State.Dir = dir
	err := wipe(t.Context(), cfg, io.Discard)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(others, keyFile)+", is still there") {
		t.Errorf("it does not say that the key lies elsewhere: %v", err)
	}
	if now := untouched(t, others); !slices.Equal(now, there) {
		t.Errorf("of what links point at there is left: %v", now)
	}
	empty(t, real)
	if err := wipe(t.Context(), cfg, io.Discard); err != nil {
		t.Error(err)
	}
	empty(t, real)
}

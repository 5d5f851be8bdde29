package e2e

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"starling/e2e/lab"
)

// A backup is made while the bot is busy, and killed at random moments first: no half of one ever bears its name, and the bot does not
// notice. Restored onto a new machine, with the recovery key, it is the same bot with a new, signed device: it knows the rooms,
// the chapter and the needs, and says nothing twice. Then that machine is wiped.
func TestABotIsBackedUpRestoredElsewhereAndWiped(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	ana := humans.Join(t, "ana", lab.Options{OnlySigned: true})
	ctx, cancel := context.WithTimeout(t.Context(), 4*lab.Patience)
	defer cancel()
	id, err := server.Register(ctx, "starling", "starling-password")
	if err != nil {
		t.Fatal(err)
	}
	address, lose := losesAnswers(t, server.URL)
	old, err := lab.NewStarling(ctx, t.TempDir(), lab.BotConfig{URL: address, User: id, Password: "starling-password", Invite: []string{":" + lab.ServerName}})
	if err != nil {
		t.Fatal(err)
	}
	old.Run(t)
	room := ana.CreateRoom(lab.Room{Name: "Barcelona", Invite: []string{old.ID}})
	ana.WaitMember(room, old.ID, "join")
	tell := func(text, contains string) {
		t.Helper()
		m := ana.Wait(lab.Want{Room: room, From: old.ID, ReplyTo: ana.Say(room, text)})
		if !strings.Contains(m.Body, contains) {
			t.Fatalf("%s: %s", text, m.Body)
		}
	}
	ana.Wait(lab.Want{Room: room, From: old.ID})
	tell("/room language en", "")
	tell("/room name Barcelona", "Barcelona")

	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	safe := t.TempDir() // what is not on the machine
	keys, file := filepath.Join(safe, "keys.txt"), filepath.Join(safe, "backup.age")
	if err := os.WriteFile(keys, []byte(identity.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	recoveryKey, err := os.ReadFile(filepath.Join(old.Dir, "var", "matrix-recovery-key.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := old.Command(ctx, "", "backup", file); err == nil || !strings.Contains(out, "age-keygen") {
		t.Errorf("a backup for nobody: %v %s", err, out)
	}
	addTo(t, old, fmt.Sprintf("[backup]\nrecipient = %q\n", identity.Recipient()))

	// How long one takes, while people talk to the bot.
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for range 10 {
			ana.Wait(lab.Want{Room: room, From: old.ID, ReplyTo: ana.Say(room, "/room")})
		}
	}()
	began := time.Now()
	first := filepath.Join(safe, "first.age")
	if out, err := old.Command(ctx, "", "backup", first); err != nil {
		t.Fatal(err, out)
	}
	took := time.Since(began)
	whole := 1
	for i := range 25 {
		name := filepath.Join(safe, fmt.Sprintf("try%d.age", i))
		cmd := exec.Command("../starling", "backup", name, "--config", filepath.Join(old.Dir, "config.toml"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(rand.N(took)) // no wait for anything: this is the random moment
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if _, err := os.Stat(name); err == nil {
			whole++
			opens(t, name, identity)
		}
	}
	t.Logf("a backup takes %v; %d of 26 were whole", took.Round(time.Millisecond), whole)
	<-asked
	ana.Say(room, "/needs 12 blankets for "+soon().String()+" near the harbour")
	need := ana.Wait(lab.Want{Room: room, From: old.ID, Contains: []string{"12 blankets", "How urgent"}})
	old.WaitIdle(t)
	// While the backup is made something is said of which the bot does not hear that it has arrived: it waits to be said again.
	lose()
	tell("/room", "Barcelona")
	if st, err := old.Status(ctx); err != nil || st.Outbox == 0 {
		t.Fatalf("nothing waits: %+v %v", st, err)
	}
	if out, err := old.Command(ctx, "", "backup", file); err != nil {
		t.Fatal(err, out)
	}
	opens(t, file, identity)
	for _, dir := range []string{safe, filepath.Join(old.Dir, "var")} {
		if left, _ := filepath.Glob(filepath.Join(dir, "*part-*")); len(left) > 0 {
			t.Errorf("killed backups left %v", left)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".snapshot-*")); len(left) > 0 {
			t.Errorf("killed backups left %v", left)
		}
	}

	// The machine is gone.
	mark := ana.Mark()
	if err := old.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(old.Dir, "var")); err != nil {
		t.Fatal(err)
	}
	bot, err := lab.SetUpStarling(t.TempDir(), lab.BotConfig{URL: server.URL, User: old.ID, Invite: []string{":" + lab.ServerName}})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := bot.Command(ctx, "", "restore", file, "--identity", keys); err != nil || !strings.Contains(out, "must never run again") {
		t.Fatal(err, out)
	}
	if out, err := bot.Command(ctx, "", "run"); err == nil || !strings.Contains(out, "matrix login") {
		t.Errorf("a restored bot that is not logged in: %v %s", err, out)
	}
	if out, err := bot.Command(ctx, "starling-password\n\n", "matrix", "login"); err == nil || !strings.Contains(out, "recovery key") {
		t.Errorf("a login without the recovery key: %v %s", err, out)
	}
	// It has a device by now, and goes on where it stopped.
	if out, err := bot.Command(ctx, strings.TrimSpace(string(recoveryKey))+"\n", "matrix", "login"); err != nil {
		t.Fatal(err, out)
	}
	bot.Run(t)
	bot.WaitIdle(t)
	ana.SayInThread(room, need.Thread, "2") // how urgent: the dialogue goes on
	next := ana.Wait(lab.Want{Room: room, From: bot.ID, Thread: need.Thread, AfterID: need.ID})
	answer := ana.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: ana.Say(room, "/room"), Contains: []string{"Barcelona"}})
	bot.WaitIdle(t)
	trust := ana.Trust(bot.ID)
	for _, device := range trust.Devices { // the lost one among them
		if !trust.Identity || !device.Signed {
			t.Errorf("the bot's devices: %+v", trust)
		}
	}
	// Nothing twice: what waited had been said.
	var said []string
	for _, m := range ana.Did(room, bot.ID, mark) {
		if m.Undecryptable != "" {
			t.Errorf("ana cannot read what the restored bot said: %s", m.Undecryptable)
		}
		said = append(said, m.ID)
	}
	if want := []string{next.ID, answer.ID}; !slices.Equal(said, want) {
		t.Errorf("the restored bot said %v, not just %v", said, want)
	}

	out, err := bot.Command(ctx, "no\n", "wipe")
	if err == nil || !strings.Contains(out, "nothing was wiped") {
		t.Fatalf("wiped without being told to: %v %s", err, out)
	}
	out, err = bot.Command(ctx, "wipe\n", "wipe")
	for _, want := range []string{"the keys first", "The running bot was killed", "has ended the device", "cannot undo"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("wipe does not say %q: %v\n%s", want, err, out)
		}
	}
	<-bot.Done()
	left, err := os.ReadDir(filepath.Join(bot.Dir, "var"))
	if err != nil || len(left) > 0 {
		t.Errorf("left are %v: %v", left, err)
	}
	if out, err := bot.Command(ctx, "", "wipe", "--yes"); err != nil || !strings.Contains(out, "There was nothing") {
		t.Errorf("a second time: %v %s", err, out)
	}
}

// losesAnswers stands before a homeserver. From when lose is called on, what is sent arrives, and the sender hears no more: neither
// an answer nor, in a sync, that it stands in the room.
func losesAnswers(t *testing.T, behind string) (address string, lose func()) {
	t.Helper()
	to, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	var losing, lost atomic.Bool
	through := httputil.NewSingleHostReverseProxy(to)
	through.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {} // who asked is gone
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if losing.Load() && strings.Contains(r.URL.Path, "/send/") {
			lost.Store(true)
		}
		answer := httptest.NewRecorder()
		through.ServeHTTP(answer, r)
		if lost.Load() {
			<-r.Context().Done()
			return
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = answer.Body.WriteTo(w)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() { losing.Store(true) }
}

func addTo(t *testing.T, bot *lab.Starling, more string) {
	t.Helper()
	file := filepath.Join(bot.Dir, "config.toml")
	config, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(config, more...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// opens fails unless a backup is whole.
func opens(t *testing.T, file string, identity age.Identity) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := age.Decrypt(f, identity)
	if err != nil {
		t.Fatal(err)
	}
	if err := entries(plain, "starling.key", "starling.db"); err != nil {
		t.Errorf("%s: %v", filepath.Base(file), err)
	}
}

// entries fails unless an archive holds just these files, and is whole.
func entries(r io.Reader, names ...string) error {
	archive := tar.NewReader(r)
	for _, name := range names {
		h, err := archive.Next()
		if err != nil || h.Name != name {
			return fmt.Errorf("%v instead of %s: %w", h, name, err)
		}
		if _, err := io.Copy(io.Discard, archive); err != nil {
			return err
		}
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("there is more in it: %w", err)
	}
	_, err := io.Copy(io.Discard, r)
	return err
}

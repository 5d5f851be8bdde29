package e2e

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"starling/e2e/lab"
	"starling/e2e/standin"
)

// service makes the relayed bot an application service that the homeserver knows.
func (r *relayed) service(t *testing.T) {
	t.Helper()
	if _, err := r.bot.Command(t.Context(), "", "matrix", "appservice"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(r.bot.Dir, "var", "matrix-appservice.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	token := regexp.MustCompile(`as_token: "(\w+)"`).FindSubmatch(text)
	if token == nil {
		t.Fatalf("no token in\n%s", text)
	}
	r.server.Service(string(token[1]))
}

// A homeserver with Synapse's own limits holds an application service up nowhere, and killing the bot while it sends an alert to
// thirty rooms loses none, although no transaction id comes back to the bot's device.
func TestAnAlertOfAnApplicationServiceMeetsNoLimitAndSurvivesKills(t *testing.T) {
	const rooms = 30
	r := setUpRelay(t, rooms)
	if err := r.bot.Stop(); err != nil {
		t.Fatal(err)
	}
	r.service(t)
	if err := r.bot.Start(); err != nil {
		t.Fatal(err)
	}
	r.server.Limit(standin.Synapse())
	ctx, cancel := context.WithTimeout(t.Context(), 2*lab.Patience)
	defer cancel()
	start := time.Now()
	preview, err := r.command(r.origin, "/alert now: police at the social centre")
	if err != nil {
		t.Fatal(err)
	}
	r.server.React(r.origin, ana, preview.ID, "✅")
	isAlert := func(e standin.Event) bool {
		return e.Sender == r.id && e.At.After(start) && strings.Contains(e.Text(), "police at the social centre")
	}
	for _, n := range []int{0, rooms / 2, rooms - 1} { // three deaths, each when some room has it
		if _, err := r.server.Wait(ctx, r.rooms[n], isAlert); err != nil {
			t.Fatal(err)
		}
		if err := r.bot.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := r.bot.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for n, room := range r.rooms {
		if _, err := r.server.Wait(ctx, room, isAlert); err != nil {
			t.Fatalf("room %d: %v", n, err)
		}
	}
	r.bot.WaitIdle(t)
	for n, room := range r.rooms {
		if got := r.said(room, start); len(got) != 1 {
			t.Errorf("room %d was told %d times", n, len(got))
		}
	}
	if n := r.server.Stats().Limited; n > 0 {
		t.Errorf("the homeserver held the bot up %d times", n)
	}
}

// The doctor measures what the account may send, names both remedies, and sees when one was taken. It tells no secret.
func TestTheDoctorMeasuresTheLimitAndSeesTheRemedy(t *testing.T) {
	r := setUpRelay(t, 0)
	doctor := func(args ...string) (string, error) {
		t.Helper()
		out, err := r.bot.Command(t.Context(), "", append([]string{"doctor"}, args...)...)
		for _, secret := range []string{"token", "Origin", r.origin, ana} {
			if secret != "token" && strings.Contains(out, secret) {
				t.Errorf("the doctor tells %q:\n%s", secret, out)
			}
		}
		return out, err
	}
	says := func(out string, wanted ...string) {
		t.Helper()
		flat := strings.Join(strings.Fields(out), " ")
		for _, want := range wanted {
			if !strings.Contains(flat, want) {
				t.Errorf("the doctor does not say %q:\n%s", want, out)
			}
		}
	}
	out, err := doctor("--rates")
	if err != nil {
		t.Errorf("a running bot: %v", err)
	}
	says(out, "✓ state: in use by a running bot", "! matrix: rates are not measured beside a running bot", "✓ matrix: logged in as "+r.id,
		"✓ matrix: the device is signed", "! matrix: the recovery key still lies on this machine", "✓ state: readable by its owner alone", "✓ matrix: the clock agrees")
	if err := r.bot.Stop(); err != nil {
		t.Fatal(err)
	}
	r.server.Limit(standin.Synapse())
	out, err = doctor("--rates")
	if err != nil {
		t.Errorf("a limited account is no failure: %v", err)
	}
	says(out, "held up the bot after 10 events", "in 5.0 seconds", "/_synapse/admin/v1/users/"+r.id+"/override_ratelimit'", "starling matrix appservice")

	r.service(t)
	out, err = doctor("--rates")
	if err != nil {
		t.Error(err)
	}
	says(out, "✓ matrix: sends as an application service", "no rate limit that matters")

	if err := os.Chmod(filepath.Join(r.bot.Dir, "var", "starling.db"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err = doctor()
	if err == nil {
		t.Error("a database that all can read is no failure")
	}
	says(out, "✗ state: 1 files or folders can be read by others", "chmod -R go-rwx")
}

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"starling/bot/dbtest"
	"starling/e2e/lab"
	"starling/e2e/standin"
)

// A bot that has been used moves to PostgreSQL with everything it knows; there an alert reaches each room once, whatever dies
// meanwhile: the bot, or the database's server. The database that it came from starts no bot any more.
func TestABotMovesToPostgresAndSurvivesThere(t *testing.T) {
	const rooms = 20
	r := setUpRelay(t, rooms)
	if err := r.bot.Stop(); err != nil {
		t.Fatal(err)
	}
	db, err := dbtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = r.bot.Stop() })
	url, err := db.Create("starling")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*lab.Patience)
	defer cancel()
	said, err := r.bot.Command(ctx, "", "migrate-to", url)
	if err != nil || !strings.Contains(said, "they are the same") {
		t.Fatalf("%v: %s", err, said)
	}
	if said, err := r.bot.Command(ctx, "", "run"); err == nil || !strings.Contains(said+err.Error(), "was moved") {
		t.Errorf("on the old database: %v: %s", err, said)
	}
	file := filepath.Join(r.bot.Dir, "config.toml")
	config, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, fmt.Appendf(config, "[database]\nurl = %q\n", url), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.bot.Start(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	preview, err := r.command(r.origin, "/alert now: police at the social centre")
	if err != nil {
		t.Fatal(err)
	}
	r.server.React(r.origin, ana, preview.ID, "✅")
	isAlert := func(e standin.Event) bool {
		return e.Sender == r.id && e.At.After(start) && strings.Contains(e.Text(), "police at the social centre")
	}
	for _, n := range []int{0, rooms / 2, rooms - 1} {
		if _, err := r.server.Wait(ctx, r.rooms[n], isAlert); err != nil {
			t.Fatal(err)
		}
		if err := db.Kill(); err != nil {
			t.Fatal(err)
		}
		if n == rooms/2 {
			if err := r.bot.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Run(); err != nil {
			t.Fatal(err)
		}
		if n == rooms/2 {
			if err := r.bot.Start(); err != nil {
				t.Fatal(err)
			}
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
	if said, err := r.bot.Command(ctx, "", "doctor"); !strings.Contains(said, "the database is whole") {
		t.Errorf("the doctor: %v: %s", err, said)
	}
}

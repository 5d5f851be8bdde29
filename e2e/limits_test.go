package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"starling/e2e/lab"
	"starling/e2e/standin"
)

// hasten is how much faster than Synapse's the clock of the limit runs in the test; the figure has the real one. The bot goes by
// nothing but what a refusal says, so that only the waiting is shorter.
const hasten = 10

// relayed is the real bot with an origin, and rooms that hear it.
type relayed struct {
	*world
	origin, plaza string
	rooms         []string
}

// setUpRelay sets rooms up, before there is a limit.
func setUpRelay(b testing.TB, rooms int) *relayed {
	b.Helper()
	w := newWorld(b, standin.Options{})
	r := &relayed{world: w, origin: w.server.Room("Origin", map[string]int{ana: 100, w.id: 0})}
	people := map[string]int{w.id: 0}
	for n := range 5 {
		people[person(n)] = 0
	}
	r.plaza = w.server.Room("Plaza", people)
	for n := range rooms {
		r.rooms = append(r.rooms, w.server.Room(fmt.Sprint("Room ", n), map[string]int{ana: 100, w.id: 0}))
	}
	w.start(rooms + 2)
	say := func(room string, texts ...string) {
		b.Helper()
		for _, text := range texts {
			if _, err := w.command(room, text); err != nil {
				b.Fatalf("%s: %v", text, err)
			}
		}
	}
	say(r.origin, "/room language en", "/room name Origin", "/room alerts anyone", "/relay open on")
	for n, room := range r.rooms {
		say(room, "/room language en", fmt.Sprint("/room name Follower ", n), "/relay follow Origin")
	}
	w.settle()
	return r
}

func person(n int) string { return fmt.Sprintf("@person%d:%s", n, standin.Name) }

// said lists what the bot said in a room from a moment on; an edit is none of it.
func (r *relayed) said(room string, since time.Time) (all []standin.Event) {
	for _, e := range r.server.Events(room) {
		relation, _ := e.Content["m.relates_to"].(map[string]any)
		if e.Sender == r.id && e.Type == "m.room.message" && e.At.After(since) && relation["rel_type"] != "m.replace" {
			all = append(all, e)
		}
	}
	return all
}

// TestTheBotLivesWithAPublicHomeserversLimits: what a default Synapse allows is enough for nothing to be lost. A flood of questions
// in one room does not keep an alert from twenty others, and what is only ornament is left out.
func TestTheBotLivesWithAPublicHomeserversLimits(t *testing.T) {
	const rooms = 20
	r := setUpRelay(t, rooms)
	preview, err := r.command(r.origin, "/alert now: police at the social centre")
	if err != nil {
		t.Fatal(err)
	}
	r.settle()
	start := time.Now()
	r.server.Limit(standin.Synapse().Times(hasten))

	questions := []struct{ ask, answer string }{
		{"/needs list", "No open needs here"}, {"/calendar", "Nothing is planned"}, {"/alert list", "No alert is open here"}, {"/relay", "belongs to no chapter"},
	}
	for n := range 5 {
		for _, q := range questions {
			r.server.Say(r.plaza, person(n), q.ask)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.server.Stats().Limited == 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the account was never refused anything")
		}
	}
	r.server.React(r.origin, ana, preview.ID, "✅")

	var first, last time.Time
	for _, room := range r.rooms {
		e, err := r.server.Wait(ctx, room, func(e standin.Event) bool {
			return e.Sender == r.id && e.At.After(start) && strings.Contains(e.Text(), "police at the social centre")
		})
		if err != nil {
			t.Fatalf("a room waits for the alert: %v", err)
		}
		if first.IsZero() || e.At.Before(first) {
			first = e.At
		}
		if e.At.After(last) {
			last = e.At
		}
	}
	// The counter is the last: it waits until nothing else does.
	if _, err := r.server.Wait(ctx, r.origin, func(e standin.Event) bool {
		return e.Sender == r.id && strings.Contains(e.Text(), fmt.Sprintf("%d of %d rooms", rooms, rooms))
	}); err != nil {
		t.Errorf("the origin is not told that all have it: %v", err)
	}
	r.bot.WaitIdle(t)

	for n, room := range r.rooms {
		if got := r.said(room, start); len(got) != 1 {
			t.Errorf("room %d was told %d things, want the alert once", n, len(got))
		}
	}
	answers, between := r.said(r.plaza, start), 0
	var all strings.Builder
	for _, e := range answers {
		all.WriteString(e.Text() + "\n")
		if e.At.After(first) && e.At.Before(last) {
			between++
		}
	}
	for _, q := range questions {
		if n := strings.Count(all.String(), q.answer); n != 5 {
			t.Errorf("%q was answered %d times, want 5", q.ask, n)
		}
	}
	if between > 1 { // one may have been under way
		t.Errorf("%d answers went out before the last alert", between)
	}
	if len(answers) >= 20 {
		t.Errorf("20 answers came as %d messages, want some joined", len(answers))
	}
	for _, room := range append([]string{r.plaza, r.origin}, r.rooms...) {
		for _, e := range r.server.Events(room) {
			if e.Sender == r.id && e.Type == "m.reaction" && e.At.After(first) {
				t.Errorf("a reaction of the bot's own, although the account was short")
			}
		}
	}
	stats := r.server.Stats()
	t.Logf("%d messages for 20 answers; %d refusals; the last of %d rooms %v after the first", len(answers), stats.Limited, rooms, last.Sub(first).Round(time.Millisecond))
}

// BenchmarkPublicLimits measures, at the limits of Synapse as it ships, how long an alert takes from its confirmation to the last
// room. Beside it stands what no program can beat: the burst at once, then one call in five seconds; the bot's own first call, which
// tells the origin that the alert is on its way, is one of them.
func BenchmarkPublicLimits(b *testing.B) {
	limit := standin.Synapse()
	r := setUpRelay(b, 50)
	for _, size := range []int{10, 20, 50} {
		b.Run(fmt.Sprintf("rooms=%d", size), func(b *testing.B) {
			var took time.Duration
			for range b.N {
				took = r.toTheLast(b, size, limit)
			}
			least := time.Duration(float64(max(0, size+1-limit.Burst)) / limit.Rate * float64(time.Second))
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(took.Seconds(), "s-last")
			b.ReportMetric(least.Seconds(), "s-limit")
		})
	}
}

// toTheLast raises an alert to so many of the rooms, the others having paused, and gives the time to the last.
func (r *relayed) toTheLast(b *testing.B, size int, limit standin.Limit) time.Duration {
	b.Helper()
	r.server.Limit(standin.Limit{})
	for n, room := range r.rooms {
		text := "/room resume"
		if n >= size {
			text = "/room pause"
		}
		if _, err := r.command(room, text); err != nil {
			b.Fatal(err)
		}
	}
	preview, err := r.command(r.origin, "/alert now: police at the social centre")
	if err != nil {
		b.Fatal(err)
	}
	r.bot.WaitIdle(b)
	r.server.Limit(limit)
	start := time.Now()
	r.server.React(r.origin, ana, preview.ID, "✅")
	ctx, cancel := context.WithTimeout(b.Context(), time.Duration(size+10)*10*time.Second)
	defer cancel()
	var last time.Time
	for _, room := range r.rooms[:size] {
		e, err := r.server.Wait(ctx, room, func(e standin.Event) bool {
			return e.Sender == r.id && e.At.After(start) && strings.Contains(e.Text(), "police at the social centre")
		})
		if err != nil {
			b.Fatal(err)
		}
		if e.At.After(last) {
			last = e.At
		}
	}
	return last.Sub(start)
}

package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"starling/e2e/lab"
	"starling/e2e/standin"
)

var standinKills = flag.Int("kills", 60, "how often the bot is killed on the stand-in")

// number finds which of many messages something is.
var number = regexp.MustCompile(`number (\d+)\b`)

// raised are the numbers of the alerts that a room was shown, in order.
func (r *relayed) raised(room string, since time.Time) (all []string) {
	for _, e := range r.said(room, since) {
		if m := number.FindStringSubmatch(e.Text()); m != nil {
			all = append(all, m[1])
		}
	}
	return all
}

// A burst of alerts reaches every room, whole, once each, and in the order in which they were confirmed.
func TestABurstOfAlertsArrivesWholeAndInOrder(t *testing.T) {
	const alerts, rooms = 200, 20
	r := setUpRelay(t, rooms)
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 3*lab.Patience)
	defer cancel()
	var commands []string
	for i := range alerts {
		commands = append(commands, r.server.Say(r.origin, ana, fmt.Sprintf("/alert now: police at the social centre, number %d", i)))
	}
	var want []string
	for i, command := range commands {
		preview, err := r.answer(ctx, r.origin, command)
		if err != nil {
			t.Fatalf("number %d: %v", i, err)
		}
		r.server.React(r.origin, ana, preview.ID, "✅")
		want = append(want, fmt.Sprint(i))
	}
	last := fmt.Sprintf("number %d", alerts-1)
	for n, room := range r.rooms {
		if _, err := r.server.Wait(ctx, room, func(e standin.Event) bool {
			return e.Sender == r.id && strings.HasSuffix(strings.TrimSpace(number.FindString(e.Text())), last)
		}); err != nil {
			t.Fatalf("room %d: %v", n, err)
		}
	}
	t.Logf("%d alerts × %d rooms in %v, the commands, previews and yeses among it", alerts, rooms, time.Since(start).Round(time.Millisecond))
	r.settle()
	for n, room := range r.rooms {
		if got := r.raised(room, start); !slices.Equal(got, want) {
			t.Errorf("room %d was shown %d alerts, or not in order: %v", n, len(got), got)
		}
	}
}

// What people ask while the bot is away is answered once, however much it is.
func TestWhatWasAskedWhileTheBotWasAwayIsAnsweredOnce(t *testing.T) {
	const each = 60
	r := setUpRelay(t, 1)
	if err := r.bot.Stop(); err != nil {
		t.Fatal(err)
	}
	asked := map[string]string{} // the command's id, and where
	for range each {
		for _, room := range []string{r.origin, r.rooms[0]} {
			asked[r.server.Say(room, ana, "/room")] = room
		}
	}
	start := time.Now()
	if err := r.bot.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
	defer cancel()
	for command, room := range asked {
		if _, err := r.answer(ctx, room, command); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d commands answered %v after the start", len(asked), time.Since(start).Round(time.Millisecond))
	r.bot.WaitIdle(t)
	answers := map[string]int{}
	for _, room := range []string{r.origin, r.rooms[0]} {
		for _, e := range r.server.Events(room) {
			if to := answered(e); e.Sender == r.id && to != "" {
				answers[to]++
			}
		}
	}
	for command := range asked {
		if n := answers[command]; n != 1 {
			t.Errorf("a command was answered %d times", n)
		}
	}
}

// answered is the event that something is a reply to.
func answered(e standin.Event) string {
	relation, _ := e.Content["m.relates_to"].(map[string]any)
	reply, _ := relation["m.in_reply_to"].(map[string]any)
	to, _ := reply["event_id"].(string)
	if e.Type != "m.room.message" || relation["rel_type"] == "m.replace" {
		return ""
	}
	return to
}

// The bot is killed again and again, at random moments, while people raise alerts and ask other things; each question is answered
// once, and each alert is shown once in each room. `make kills` kills it a thousand times.
func TestKillsOnTheStandinLoseAndDoubleNothing(t *testing.T) {
	const rooms, hands = 5, 6
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	random := rand.New(rand.NewPCG(seed, seed))
	r := setUpRelay(t, rooms)
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(*standinKills)*3*time.Second+2*lab.Patience)
	defer cancel()
	var over atomic.Bool
	var next atomic.Int64
	var mu sync.Mutex
	var asked, yes []string
	said := make(chan struct{}, 1)
	tell := func() {
		select {
		case said <- struct{}{}:
		default:
		}
	}
	var group sync.WaitGroup
	for hand := range hands {
		group.Go(func() {
			for !over.Load() {
				text, n := "/room", ""
				if hand%2 == 0 {
					n = fmt.Sprint(next.Add(1))
					text = "/alert now: police at the social centre, number " + n
				}
				command := r.server.Say(r.origin, ana, text)
				tell()
				answer, err := r.answer(ctx, r.origin, command)
				if err != nil {
					t.Errorf("%s: %v", text, err)
					return
				}
				if n != "" {
					r.server.React(r.origin, ana, answer.ID, "✅")
				}
				mu.Lock()
				asked = append(asked, command)
				if n != "" {
					yes = append(yes, n)
				}
				mu.Unlock()
			}
		})
	}
	began := time.Now()
	for range *standinKills {
		<-said
		<-time.After(time.Duration(random.Int64N(int64(60 * time.Millisecond)))) // no wait for anything: this is the random moment
		if err := r.bot.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := r.bot.Start(); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	over.Store(true)
	group.Wait()
	if _, err := r.command(r.origin, "/room"); err != nil { // all before has come to it
		t.Fatal(err)
	}
	r.bot.WaitIdle(t)
	answers := map[string]int{}
	for _, e := range r.server.Events(r.origin) {
		if e.Sender == r.id {
			answers[answered(e)]++
		}
	}
	lost, doubled := 0, 0
	count := func(n int) {
		if n == 0 {
			lost++
		}
		doubled += max(0, n-1)
	}
	for _, command := range asked {
		count(answers[command])
	}
	for _, room := range r.rooms {
		shown := map[string]int{}
		for _, n := range r.raised(room, start) {
			shown[n]++
		}
		for _, n := range yes {
			count(shown[n])
		}
	}
	t.Logf("seed %d: %d kills in %v, %d questions, %d alerts to %d rooms: %d lost, %d doubled", seed, *standinKills, took.Round(time.Millisecond), len(asked), len(yes), rooms, lost, doubled)
	if lost+doubled > 0 || len(yes) < *standinKills/4 {
		t.Errorf("lost %d, doubled %d of %d alerts and %d questions", lost, doubled, len(yes), len(asked))
	}
}

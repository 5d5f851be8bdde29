package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"starling/e2e/lab"
)

// A safety number changes, the server is away: the people concerned are told, and what waits is not lost.
func TestANewPhoneAndAnOutageLoseNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	signal := lab.StartSignal(t)
	phone, ana, luc, eva := signal.Join(t, "starling"), signal.Join(t, "ana"), signal.Join(t, "luc"), signal.Join(t, "eva")
	daemon := signal.BotDaemon(t, phone)
	starling := daemon.StartStarling(t, "", ana)
	group := ana.CreateGroup(lab.SignalGroup{Title: "Lille", Members: []*lab.Phone{luc, eva}})
	ana.Invite(group, phone)
	ana.Wait(lab.Hears{Group: group, Contains: []string{"1 English"}})
	hears := func(t *testing.T, p *lab.Phone, want lab.Hears) {
		t.Helper()
		want.Group = group
		if _, err := p.Await(ctx, want); err != nil {
			t.Fatal(err)
		}
	}
	hears(t, ana, lab.Hears{Quotes: ana.Say(group, "/room language en")})

	t.Run("a new safety number", func(t *testing.T) {
		mark := ana.Mark()
		luc.Reinstall()
		hears(t, ana, lab.Hears{Quotes: ana.Say(group, "/needs list")})
		hears(t, ana, lab.Hears{After: mark, Contains: []string{"safety number has changed"}})
		hears(t, luc, lab.Hears{Quotes: luc.Say(group, "/needs list")})
	})

	t.Run("a new safety number that speaks first", func(t *testing.T) {
		mark := ana.Mark()
		hears(t, eva, lab.Hears{Quotes: eva.Say(group, "/needs list")})
		eva.Reinstall()
		asked := eva.Say(group, "/room") // signal-cli keeps it until the number is taken, and for a minute more
		hears(t, ana, lab.Hears{After: mark, Contains: []string{"safety number has changed"}})
		eva.In(t).Wait(lab.Hears{Group: group, Quotes: asked})
	})

	t.Run("a story that deafens signal-cli", func(t *testing.T) {
		luc.Send(lab.Letter{Group: group, Kind: "deadlyStory", Text: "our story"})
		hears(t, ana, lab.Hears{Quotes: ana.Say(group, "/needs list")})
	})

	t.Run("the server is away", func(t *testing.T) {
		if err := signal.Outage(ctx, false); err != nil {
			t.Fatal(err)
		}
		asked := ana.Say(group, "/needs list") // it waits at the server
		if err := signal.Outage(ctx, true); err != nil {
			t.Fatal(err)
		}
		hears(t, ana, lab.Hears{Quotes: asked})
		hears(t, luc, lab.Hears{Quotes: asked}) // it is whole before the next begins
		starling.WaitIdle(t)
	})
}

// The server is away for half a minute while alerts are under way, and people go on writing: when it is back all of it comes, in order,
// and what comes a second time says that it may be a repetition.
func TestHalfAMinuteWithoutTheServerLosesNothing(t *testing.T) {
	const followers, many, questions, away = 3, 8, 3, 30 * time.Second
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	signal := lab.StartSignal(t)
	phone, ana := signal.Join(t, "starling"), signal.Join(t, "ana")
	daemon := signal.BotDaemon(t, phone)
	friends := friends(t, signal, followers+1)
	starling := daemon.StartStarling(t, "", friends...)
	origin, groups := chapters(t, ana, phone, friends, followers)
	var previews []lab.Heard
	var numbers []int
	for i := range many {
		numbers = append(numbers, i)
		previews = append(previews, ana.Wait(lab.Hears{Group: origin, Quotes: ana.Say(origin, fmt.Sprintf("/alert now: alarm number %d", i)), Contains: []string{"✅"}}))
	}
	starling.WaitIdle(t)
	mark := ana.Mark()
	for _, p := range previews {
		ana.React(origin, p, "✅")
	}
	ana.Wait(lab.Hears{Group: groups[0], Contains: []string{"alarm number 0"}})
	if err := signal.Outage(ctx, false); err != nil {
		t.Fatal(err)
	}
	back := time.After(away)
	queued, err := starling.Status(ctx)
	if err != nil || queued.Outbox == 0 {
		t.Fatalf("nothing was under way when the server went: %+v %v", queued, err)
	}
	asked := map[string][]string{} // they wait at the server
	for range questions {
		for _, g := range groups {
			asked[g] = append(asked[g], ana.Say(g, "/needs list"))
		}
	}
	<-back
	if err := signal.Outage(ctx, true); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		for _, want := range []lab.Hears{{Quotes: asked[g][questions-1]}, {Contains: []string{fmt.Sprintf("alarm number %d", many-1)}}} {
			want.Group = g
			if _, err := ana.Await(ctx, want); err != nil {
				t.Fatal(err)
			}
		}
	}
	starling.WaitIdle(t)
	for i, g := range groups {
		heard, repeats := alerts(t, ana, g)
		var first []int // without what came again
		for _, n := range heard {
			if !slices.Contains(first, n) {
				first = append(first, n)
			}
		}
		again := len(heard) - len(first)
		t.Logf("of %d messages that waited, group %d hears %d again, and %d bear the mark", queued.Outbox, i, again, repeats)
		// One call to each group is under way at a time.
		if !slices.Equal(first, numbers) || again > repeats || repeats > 1 {
			t.Errorf("group %d hears %v, %d of which bear the mark", i, heard, repeats)
		}
		var answered []string
		for _, m := range ana.Heard(g, mark) {
			if m.Kind == "message" && m.Quote != nil {
				answered = append(answered, m.Quote.ID)
			}
		}
		if !slices.Equal(answered, asked[g]) {
			t.Errorf("group %d: to %q the answers are %q", i, asked[g], answered)
		}
	}
}

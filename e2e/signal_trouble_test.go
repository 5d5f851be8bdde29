package e2e

import (
	"context"
	"testing"
	"time"

	"starling/e2e/lab"
)

// A safety number changes, the server is away: the people concerned are told, and what waits is not lost.
func TestANewPhoneAndAnOutageLoseNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	signal := lab.StartSignal(t)
	phone, ana, luc := signal.Join(t, "starling"), signal.Join(t, "ana"), signal.Join(t, "luc")
	daemon := signal.BotDaemon(t, phone)
	starling := daemon.StartStarling(t, "", ana)
	group := ana.CreateGroup(lab.SignalGroup{Title: "Lille", Members: []*lab.Phone{luc}})
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

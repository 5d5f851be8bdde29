package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"starling/e2e/lab"
)

// With trust = "ask" a new safety number gets nothing until a moderator of the group has said yes; who shares no group is answered on
// her new phone. And an account that is unlinked while the bot runs says so, and goes on once it is linked again, with what waited.
func TestANewSafetyNumberIsAskedForAndAnUnlinkedAccountLinkedAgain(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	signal := lab.StartSignal(t)
	phone, ana, luc, eva, zoe := signal.Join(t, "starling"), signal.Join(t, "ana"), signal.Join(t, "luc"), signal.Join(t, "eva"), signal.Join(t, "zoe")
	daemon := signal.BotDaemon(t, phone)
	starling := daemon.StartStarling(t, "trust = \"ask\"\n", ana)
	group := ana.CreateGroup(lab.SignalGroup{Title: "Lille", Members: []*lab.Phone{luc, eva}})
	ana.Invite(group, phone)
	ana.Wait(lab.Hears{Group: group, Contains: []string{"1 English"}})
	hears := func(p *lab.Phone, want lab.Hears) lab.Heard {
		t.Helper()
		want.Group = group
		h, err := p.Await(ctx, want)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	hears(ana, lab.Hears{Quotes: ana.Say(group, "/room language en")})

	t.Run("a new safety number", func(t *testing.T) {
		mark := luc.Mark()
		luc.Reinstall()
		hears(ana, lab.Hears{Quotes: ana.Say(group, "/needs list")})
		asked := hears(ana, lab.Hears{Contains: []string{"new safety number", "✅"}})
		for _, m := range luc.Heard(group, mark) {
			if m.From == phone.ID {
				t.Errorf("the new phone hears %q before anybody said yes", m.Original)
			}
		}
		ana.React(group, asked, "✅")
		said := ana.Say(group, "/room")
		hears(ana, lab.Hears{Quotes: said})
		// When the yes is done is seen by luc hearing something; each try is a question that the bot answers.
		for {
			short, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, err := luc.Await(short, lab.Hears{Group: group, Quotes: luc.Say(group, "/needs list")})
			cancel()
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Fatal("after the yes the new phone hears nothing")
			}
		}
	})

	t.Run("a new safety number that speaks first", func(t *testing.T) {
		mark := ana.Mark()
		hears(eva, lab.Hears{Quotes: eva.Say(group, "/needs list")})
		eva.Reinstall()
		said := eva.Say(group, "/room") // signal-cli keeps it until somebody has said yes, and for a minute more
		ana.React(group, hears(ana, lab.Hears{After: mark, Contains: []string{"new safety number", "✅"}}), "✅")
		eva.In(t).Wait(lab.Hears{Group: group, Quotes: said})
	})

	t.Run("a new safety number of who shares no group", func(t *testing.T) {
		asks := func(contains ...string) {
			t.Helper()
			mark := zoe.Mark()
			zoe.Send(lab.Letter{Phone: phone, Text: "/starling"})
			for _, c := range contains {
				if _, err := zoe.Await(ctx, lab.Hears{After: mark, Contains: []string{c}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		asks("We share no room yet")
		zoe.Reinstall()
		asks("your safety number has changed", "We share no room yet")
	})

	t.Run("unlinked", func(t *testing.T) {
		starling.WaitIdle(t)
		if err := signal.Fault(ctx, lab.Fault{Verb: "PUT", Path: lab.Sends, Status: 500, Count: 1000}); err != nil {
			t.Fatal(err)
		}
		mark := ana.Mark() // what it is asked now waits when it is unlinked
		waits := map[string]string{"/needs list": "No open needs", "/room": "Who may raise an alert", "/calendar": "Nothing is planned"}
		for asked := range waits {
			ana.Say(group, asked)
		}
		starling.WaitStatus(t, "the answers wait", func(st lab.BotStatus) bool { return st.Outbox >= len(waits) })
		if err := signal.MetFault(ctx); err != nil {
			t.Fatal(err)
		}
		phone.Unlink()
		if _, err := signal.EndFaults(ctx); err != nil {
			t.Fatal(err)
		}
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			if out, err := starling.Command(ctx, "", "signal", "status"); err != nil && strings.Contains(out, "starling signal link") {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatal("it is never said that the account is unlinked")
			case <-tick.C:
			}
		}
		if said := linked(ctx, t, starling, phone); !strings.Contains(said, "Linked: the account is "+daemon.Number) {
			t.Errorf("link says %s", said)
		}
		for asked, answer := range waits {
			hears(ana, lab.Hears{After: mark, Contains: []string{answer}})
			again := -1
			for _, m := range ana.Heard(group, mark) {
				if strings.Contains(m.Original, answer) && !strings.Contains(m.Original, "Perhaps a repetition") {
					again++
				}
			}
			if again > 0 {
				t.Errorf("the answer to %s came %d times more, and none of them says that it may be a repetition", asked, again)
			}
		}
	})
}

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"starling/e2e/lab"
)

// Signal holds the bot up, or wants proof that it is no machine: the group that waits and the operators' room are told what to do, and
// what waits comes when Signal lets it.
func TestWhatSignalRefusesIsToldAndComesLater(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	signal := lab.StartSignal(t)
	phone, ana, luc, op := signal.Join(t, "starling"), signal.Join(t, "ana"), signal.Join(t, "luc"), signal.Join(t, "op")
	daemon := signal.BotDaemon(t, phone)
	starling := daemon.StartStarling(t, "", ana, op)
	group := ana.CreateGroup(lab.SignalGroup{Title: "Lille", Members: []*lab.Phone{luc}})
	ana.Invite(group, phone)
	ana.Wait(lab.Hears{Group: group, Contains: []string{"1 English"}})
	operators := op.CreateGroup(lab.SignalGroup{Title: "Operators"})
	op.Invite(operators, phone)
	op.Wait(lab.Hears{Group: operators, Contains: []string{"1 English"}})
	hears := func(p *lab.Phone, group string, want lab.Hears) {
		t.Helper()
		want.Group = group
		if _, err := p.Await(ctx, want); err != nil {
			t.Fatal(err)
		}
	}
	hears(ana, group, lab.Hears{Quotes: ana.Say(group, "/room language en")})
	hears(op, operators, lab.Hears{Quotes: op.Say(operators, "/room language en")})
	code, err := starling.Command(ctx, "", "status", "--code")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(code)
	hears(op, operators, lab.Hears{Quotes: op.Say(operators, "/status here "+words[len(words)-1])})

	t.Run("too much", func(t *testing.T) {
		starling.WaitIdle(t)
		mark := ana.Mark()
		began := time.Now()
		if err := signal.Fault(ctx, lab.Fault{Verb: "PUT", Path: lab.Sends, Status: 429, Headers: []string{"Retry-After:7"}, Count: 1000}); err != nil {
			t.Fatal(err)
		}
		asked := ana.Say(group, "/needs list")
		closed(ctx, t, starling)
		met, err := signal.EndFaults(ctx)
		if err != nil {
			t.Fatal(err)
		}
		hears(ana, group, lab.Hears{After: mark, Quotes: asked})
		t.Logf("%d requests were refused; the answer came %v after the question", met, time.Since(began).Round(time.Second))
		hears(luc, group, lab.Hears{Quotes: asked})
		hears(ana, group, lab.Hears{After: mark, Contains: []string{"more than Signal lets me"}})
		hears(op, operators, lab.Hears{Contains: []string{"more than Signal lets me"}})
	})

	t.Run("proof", func(t *testing.T) {
		starling.WaitIdle(t)
		mark := ana.Mark()
		if err := signal.Fault(ctx, lab.Fault{Verb: "PUT", Path: lab.Sends, Status: 428, Headers: []string{"Retry-After:600"}, Body: map[string]any{"token": "token", "options": []string{"captcha"}}, Count: 1000}); err != nil {
			t.Fatal(err)
		}
		asked := ana.Say(group, "/needs list")
		closed(ctx, t, starling)
		if said, err := starling.Command(ctx, "", "signal", "status"); err == nil || !strings.Contains(said, "starling signal captcha") {
			t.Errorf("status: %v: %s", err, said)
		}
		if _, err := signal.EndFaults(ctx); err != nil { // the captcha is solved
			t.Fatal(err)
		}
		if said, err := starling.Command(ctx, "", "signal", "captcha", "signalcaptcha://proof"); err != nil {
			t.Fatal(err, said)
		}
		hears(ana, group, lab.Hears{After: mark, Quotes: asked})
		hears(ana, group, lab.Hears{After: mark, Contains: []string{"wants proof", "signal captcha"}})
		hears(op, operators, lab.Hears{Contains: []string{"wants proof", "signal captcha"}})
	})
}

// closed waits until Signal lets the bot send nothing.
func closed(ctx context.Context, t *testing.T, bot *lab.Starling) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, lab.Patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := bot.Command(ctx, "", "status", "--json")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out, `"closed"`) {
			return
		}
		<-tick.C
	}
}

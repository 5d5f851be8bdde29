package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"starling/e2e/lab"
)

// limits is a homeserver that allows an account one of what it limits (joining, leaving, asking who one is) in half a second. Dendrite
// limits no messages; the stand-in does, as Synapse would.
const limits = "rate_limiting: {enabled: true, threshold: 1, cooloff_ms: 500}"

// asService registers a bot as an application service, as README says, and logs it in without any password.
func asService(t *testing.T, server *lab.Dendrite, c lab.BotConfig) *lab.Starling {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*lab.Patience)
	defer cancel()
	c.URL, c.User = server.URL, "@starling:"+lab.ServerName
	bot, err := lab.SetUpStarling(t.TempDir(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bot.Command(ctx, "", "matrix", "appservice"); err != nil {
		t.Fatal(err)
	}
	if out, err := bot.Command(ctx, "", "matrix", "login"); err == nil || !strings.Contains(err.Error(), "does not know the application service") {
		t.Fatalf("a login before the homeserver has the registration: %s %v", out, err)
	}
	registration := filepath.Join(bot.Dir, "var", "matrix-appservice.yaml")
	given := fmt.Sprintf("app_service_api: {config_files: [%q]}", registration)
	if err := server.Configure(ctx, lab.NoServices, given); err != nil {
		t.Fatal(err)
	}
	if out, err := bot.Command(ctx, "", "matrix", "login"); err != nil || !strings.Contains(out, "Logged in") {
		t.Fatalf("%s %v", out, err)
	}
	return bot
}

// As an application service the bot takes up thirty rooms at once on a homeserver that limits accounts, and an alert goes to
// all of them; encrypted rooms are encrypted, without a warning.
func TestAnApplicationServiceIsNotLimited(t *testing.T) {
	server := lab.StartDendrite(t)
	bot := asService(t, server, lab.BotConfig{Invite: []string{":" + lab.ServerName}})
	bot.Run(t)
	humans := lab.StartHumans(t, server)
	ana, luc := humans.Join(t, "ana", lab.Options{OnlySigned: true}), humans.Join(t, "luc", lab.Options{OnlySigned: true})

	origin := ana.CreateRoom(lab.Room{Name: "Barcelona", Invite: []string{luc.ID}})
	luc.Join(luc.WaitInvite(ana.ID))
	ana.WaitMember(origin, luc.ID, "join")
	ana.Invite(origin, bot.ID)
	tell := func(who *lab.Person, room, text string) {
		t.Helper()
		m := who.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: who.Say(room, text)})
		if !m.Encrypted || m.Shield != "none" {
			t.Errorf("%s is answered encrypted %v, with shield %q", text, m.Encrypted, m.Shield)
		}
	}
	ana.WaitMember(origin, bot.ID, "join")
	ana.Wait(lab.Want{Room: origin, From: bot.ID}) // the greeting
	tell(ana, origin, "/room name Barcelona")
	tell(ana, origin, "/room alerts anyone")
	tell(ana, origin, "/relay open on")

	rooms := invited(t, server, humans, bot, 30)
	for i, r := range rooms {
		tell(r.who, r.room, fmt.Sprintf("/room name Chapter%d", i))
		tell(r.who, r.room, "/relay follow Barcelona")
	}
	preview := ana.Wait(lab.Want{Room: origin, From: bot.ID, ReplyTo: ana.Say(origin, "/alert now: police at the social centre")})
	luc.Wait(lab.Want{Room: origin, ID: preview.ID})
	ana.React(origin, preview.ID, "✅")
	for _, r := range rooms {
		if m := r.who.Wait(lab.Want{Room: r.room, From: bot.ID, Contains: []string{"police at the social centre"}}); m.MsgType != "m.text" || m.Shield != "none" {
			t.Errorf("the alert arrives as %s with shield %q", m.MsgType, m.Shield)
		}
	}
	if limited := limitsMet(t, bot); limited > 0 {
		t.Errorf("the homeserver turned the bot away %d times", limited)
	}
}

// The same homeserver and the same bot as an ordinary account: it comes into every room, more slowly.
func TestAnOrdinaryAccountIsLimitedAndGetsThereAllTheSame(t *testing.T) {
	server := lab.StartDendrite(t)
	bot := lab.StartStarling(t, server, ":"+lab.ServerName)
	humans := lab.StartHumans(t, server)
	invited(t, server, humans, bot, 12)
	if limitsMet(t, bot) == 0 {
		t.Error("the homeserver limited nothing, so the other test says nothing")
	}
}

// membership is a room and who made it.
type membership struct {
	who  *lab.Person
	room string
}

// invited has people invite the bot into so many rooms, three each (more are not taken in a day), while it is away: it finds all
// the invitations at once. They wait until it has greeted them.
func invited(t *testing.T, server *lab.Dendrite, humans *lab.Humans, bot *lab.Starling, rooms int) (all []membership) {
	t.Helper()
	if err := bot.Stop(); err != nil {
		t.Fatal(err)
	}
	for i := range rooms / 3 {
		who := humans.Join(t, fmt.Sprint("person", i), lab.Options{})
		for j := range 3 {
			all = append(all, membership{who, who.CreateRoom(lab.Room{Name: fmt.Sprintf("Room %d.%d", i, j), Invite: []string{bot.ID}})})
		}
	}
	// People's own logins would be limited, too.
	if err := server.Configure(t.Context(), lab.NoRateLimits, limits); err != nil {
		t.Fatal(err)
	}
	if err := bot.Start(); err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		m.who.WaitMember(m.room, bot.ID, "join")
		m.who.Wait(lab.Want{Room: m.room, From: bot.ID})
	}
	return all
}

// limitsMet counts in the bot's log how often it was turned away.
func limitsMet(t *testing.T, bot *lab.Starling) int {
	t.Helper()
	log, err := os.ReadFile(bot.Log())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), "M_LIMIT_EXCEEDED")
}

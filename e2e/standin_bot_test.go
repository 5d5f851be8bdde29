package e2e

import (
	"context"
	"testing"

	"starling/e2e/lab"
	"starling/e2e/standin"
)

// The figures on the stand-in are worth something only if the real bot is at home there.
func TestBotIsAtHomeOnTheStandIn(t *testing.T) {
	server := standin.New(standin.Options{})
	url, stop, err := server.Listen("")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stop() }() // it says that it was closed
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
	defer cancel()
	const ana = "@ana:" + standin.Name
	id := server.Account("starling", "starling-password")
	bot, err := lab.NewStarling(ctx, t.TempDir(), lab.BotConfig{URL: url, User: id, Password: "starling-password", Invite: []string{ana}})
	if err != nil {
		t.Fatal(err)
	}
	if err := bot.Start(); err != nil {
		t.Fatal(err)
	}
	room := server.Room("Barcelona", map[string]int{ana: 100})
	server.Membership(room, ana, id, "invite")
	if err := server.WaitMember(ctx, room, id, "join"); err != nil {
		t.Error(err)
	}
	if err := bot.Stop(); err != nil {
		t.Error(err)
	}
	if unknown := server.Stats().Unknown; len(unknown) > 0 {
		t.Errorf("the bot asks for what is not served: %v", unknown)
	}
}

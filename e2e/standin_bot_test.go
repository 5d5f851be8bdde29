package e2e

import (
	"context"
	"testing"

	"starling/e2e/lab"
	"starling/e2e/standin"
)

// The figures on the stand-in are worth something only if the real bot is at home there.
func TestBotIsAtHomeOnTheStandIn(t *testing.T) {
	w := newWorld(t, standin.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
	defer cancel()
	w.start(0)
	room := w.server.Room("Barcelona", map[string]int{ana: 100})
	w.server.Membership(room, ana, w.id, "invite")
	if err := w.server.WaitMember(ctx, room, w.id, "join"); err != nil {
		t.Error(err)
	}
	if err := w.bot.Stop(); err != nil {
		t.Error(err)
	}
	if unknown := w.server.Stats().Unknown; len(unknown) > 0 {
		t.Errorf("the bot asks for what is not served: %v", unknown)
	}
}

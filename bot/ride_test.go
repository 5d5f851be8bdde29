package bot_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
)

// That an answer was delivered is stored with the next commit: a command that comes alone pays for one. What waits when the bot
// ends is stored first.
func TestWhatWasDeliveredIsStoredWithWhatComesNext(t *testing.T) {
	const commands = 20
	h := build(t, rig.LikeMatrix())
	h.ride = time.Hour
	h.start()
	h.room("!room", "ana*")
	sent := make(chan struct{}, commands)
	h.tap.after = func(context.Context, bot.Outgoing) error { sent <- struct{}{}; return nil }
	commits := 0
	h.crashes(func(point string) bool {
		if point == "before-store" {
			commits++
		}
		return false
	})
	for i := range commands {
		h.tap.mu.Lock()
		in := h.tap.inbox
		h.tap.mu.Unlock()
		if err := in.Deliver(t.Context(), bot.Incoming{Room: "!room", Person: "@ana", Kind: bot.KindText, ID: fmt.Sprintf("$%d", i), Text: "/echo hello", Encrypted: true, Sent: h.clock.Now()}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-sent:
		case <-time.After(time.Minute):
			t.Fatal("a command is not answered")
		}
	}
	h.stop()
	if commits < commands || commits > commands+2 { // and what waited in the end
		t.Errorf("%d commits for %d commands", commits, commands)
	}
	h.ride = 0
	h.start()
	h.settle()
	if got := len(h.texts("!room")); got != commands {
		t.Errorf("%d answers to %d commands", got, commands)
	}
	var waiting int
	h.do(func(tx *bot.Tx) error {
		_, err := tx.One(`SELECT COUNT(*) FROM outbox WHERE state = 0`, nil, &waiting)
		return err
	})
	if waiting > 0 {
		t.Errorf("of %d answers it is not known that they were delivered", waiting)
	}
}

package bot_test

import (
	"testing"
	"time"

	"starling/bot"
)

// timer sets how long messages stay in a room, as its people do on their network.
func (h *house) timer(room string, d time.Duration) {
	h.t.Helper()
	h.deliver(bot.Incoming{Kind: bot.KindRoom, Room: room, RoomChange: &bot.RoomChange{Joined: true, Encrypted: true, Timer: d}})
}

// Where messages vanish after five minutes, what came from there goes with them, from wherever it was shown, too: also if it is changed
// meanwhile, or the timer is.
func TestWhatVanishesGoesWithItsMessages(t *testing.T) {
	for name, meanwhile := range map[string]func(h *house, r *bot.Record){
		"as it was said": func(*house, *bot.Record) {},
		"changed": func(h *house, r *bot.Record) {
			if err := h.inTurn("!room", func(t *bot.Turn) error {
				r.Expires = t.Now().AddDate(0, 1, 0)
				return t.Revise(r, thing{Text: "bread, and salt"})
			}); err != nil {
				h.t.Fatal(err)
			}
		},
		"the timer is longer": func(h *house, _ *bot.Record) { h.timer("!room", 24*time.Hour) },
		"the timer ends":      func(h *house, _ *bot.Record) { h.timer("!room", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			h := live(t)
			h.room("!other", "luc")
			h.chapter("!room", "Here")
			h.follows("!other", "Here")
			h.timer("!room", 5*time.Minute)
			to := h.id("!other")
			r := h.keep("bread", func(t *bot.Turn, r *bot.Record) error {
				_, err := t.Post(to, Said{"bread"}, bot.About(r))
				return err
			})
			h.advance(4 * time.Minute)
			meanwhile(h, r)
			if n := h.remains("bodies"); n == 0 || len(h.texts("!other")) == 0 {
				t.Errorf("it is gone too early: %d bodies, elsewhere %q", n, h.texts("!other"))
			}
			h.advance(3 * time.Minute)
			if n := h.remains("bodies"); n > 0 || len(h.texts("!other")) > 0 {
				t.Errorf("after the messages have vanished there are %d bodies, elsewhere %q", n, h.texts("!other"))
			}
		})
	}
}

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

// What the bot remembers of what it said there, and a question that nobody answered, go with the messages, too, not with the next
// housekeeping: also when the timer is taken away meanwhile.
func TestWhatIsRememberedGoesWithItsMessages(t *testing.T) {
	for name, meanwhile := range map[string]func(h *house){
		"as it was said":      func(*house) {},
		"a question further":  func(h *house) { h.say("!room", "ana", "bread") },
		"the timer ends":      func(h *house) { h.timer("!room", 0) },
		"started again since": func(h *house) { h.restart() },
	} {
		t.Run(name, func(t *testing.T) {
			h := live(t)
			h.room("!other", "luc")
			h.timer("!room", 5*time.Minute)
			h.post("!other", "this stays")
			h.say("!room", "ana", "/ask")
			meanwhile(h)
			said := `outbox WHERE data IS NOT NULL`
			if h.remains("dialogues") != 1 || h.remains(said) < 2 {
				t.Fatalf("%d dialogues, %d messages", h.remains("dialogues"), h.remains(said))
			}
			h.advance(8 * time.Minute)
			if dialogues, messages := h.remains("dialogues"), h.remains(said); dialogues > 0 || messages != 1 {
				t.Errorf("three minutes after the messages have vanished %d dialogues remain, and %d messages, want the 1 that stays", dialogues, messages)
			}
		})
	}
}

// What was taken back is not changed any more.
func TestAMessageThatWasTakenBackIsNotEdited(t *testing.T) {
	h := live(t)
	row := h.post("!room", "bread")
	h.do(func(tx *bot.Tx) error { return tx.Delete(row) })
	h.settle()
	h.do(func(tx *bot.Tx) error { return tx.Edit(row, Said{"salt"}) })
	h.settle()
	if n := h.remains(`outbox WHERE kind = $1`, string(bot.OutEdit)); n > 0 {
		t.Errorf("%d edits of it", n)
	}
}

package bot_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
	"starling/bot/dbtest"
)

// limited is a house with these limits.
func limited(t *testing.T, l bot.Limits) *house {
	h := build(t, rig.LikeMatrix())
	h.limits = l
	h.start()
	h.room("!room", "ana*", "luc")
	return h
}

// asks delivers so many commands of ana's, sent at these times.
func (h *house) asks(name string, n int, sent func(i int) time.Time) (answers int) {
	h.t.Helper()
	before := len(h.texts("!room"))
	var all []bot.Incoming
	for i := range n {
		all = append(all, bot.Incoming{Room: "!room", Person: "@ana", Kind: bot.KindText, ID: fmt.Sprint("$", name, i), Text: "/echo hello", Encrypted: true, Sent: sent(i)})
	}
	h.deliver(all...)
	return len(h.texts("!room")) - before
}

// TestAFloodCostsNothingDurable: what is not heard leaves no trace on the disk.
func TestAFloodCostsNothingDurable(t *testing.T) {
	dbtest.File(t)
	h := limited(t, bot.Limits{Person: 20})
	now := func(int) time.Time { return h.clock.Now() }
	if n := h.asks("first", 30, now); n != 21 {
		t.Errorf("%d answers, want 20 and one that says that it is too much", n)
	}
	size := func() int64 {
		f, err := os.Stat(filepath.Join(h.dir, "starling.db-wal"))
		if err != nil {
			t.Fatal(err)
		}
		return f.Size() + f.ModTime().UnixNano()
	}
	before := size()
	if n := h.asks("flood", 2000, now); n != 0 {
		t.Errorf("%d answers to a flood", n)
	}
	if size() != before {
		t.Error("the flood was written to the disk")
	}
	h.advance(time.Minute)
	if n := h.asks("later", 3, now); n != 3 {
		t.Errorf("%d of 3 answered a minute later", n)
	}
}

// TestABacklogIsNoFlood, and a sender whose clock says what suits her has ten minutes' worth.
func TestABacklogIsNoFlood(t *testing.T) {
	h := limited(t, bot.Limits{Person: 20, Room: 60})
	h.advance(48 * time.Hour)
	if n := h.asks("backlog", 120, func(i int) time.Time { return h.clock.Now().Add(time.Duration(i-120) * time.Minute) }); n != 120 {
		t.Errorf("%d of 120 answered that were sent a minute apart while the bot was away", n)
	}
	h.advance(24 * time.Hour)
	if n := h.asks("liar", 1000, func(i int) time.Time { return h.clock.Now().Add(time.Duration(i-1000) * time.Minute) }); n > 201 {
		t.Errorf("%d answers to a flood whose times are made up", n)
	}
	h.advance(24 * time.Hour)
	for name, c := range map[string]struct {
		sent time.Time
		most int
	}{"never": {time.Time{}, 21}, "1970": {time.Unix(0, 0), 201}, "tomorrow": {h.clock.Now().Add(24 * time.Hour), 21}} {
		h.advance(time.Hour)
		if n := h.asks(name, 300, func(int) time.Time { return c.sent }); n > c.most {
			t.Errorf("%d answers to a flood of %s", n, name)
		}
	}
}

// TestAClockThatIsPutBackLimitsNobodyForLong: allowances fill again from where the clock stands.
func TestAClockThatIsPutBackLimitsNobodyForLong(t *testing.T) {
	h := limited(t, bot.Limits{Person: 20})
	now := func(int) time.Time { return h.clock.Now() }
	h.asks("first", 30, now)
	h.clock.jump(-24 * time.Hour)
	if n := h.asks("back", 5, now); n > 1 {
		t.Errorf("%d answers: a clock that is put back is no refill", n)
	}
	h.advance(time.Minute)
	if n := h.asks("later", 10, now); n != 10 {
		t.Errorf("%d of 10 answered a minute after the clock was put back", n)
	}
	h.asks("more", 30, now)
	h.clock.jump(24 * time.Hour)
	if n := h.asks("forth", 30, now); n != 21 {
		t.Errorf("%d answers after the clock was put forward, want a full minute's worth and a word", n)
	}
}

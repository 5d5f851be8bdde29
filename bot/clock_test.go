package bot_test

import (
	"strings"
	"testing"
	"time"

	"starling/bot"
)

// TestTimersFollowAClockThatIsSet, in both directions, and each rings once.
func TestTimersFollowAClockThatIsSet(t *testing.T) {
	h := live(t)
	h.engine.LookAgain(30 * time.Second)
	rung := map[string]int{}
	for _, name := range []string{"forth", "back"} {
		h.on("timer "+name, func(*bot.Turn) error { rung[name]++; return nil })
	}
	in := func(name string, d time.Duration) {
		h.on("set", func(t *bot.Turn) error { return t.At(t.Now().Add(d), "test.timer", name) })
		h.say("!room", "ana", "/do set")
	}
	in("forth", 2*time.Hour)
	h.clock.jump(3 * time.Hour)
	h.advance(31 * time.Second)
	if rung["forth"] != 1 {
		t.Errorf("rang %d times within half a minute after the clock was put past its time", rung["forth"])
	}
	in("back", time.Hour)
	h.clock.jump(-3 * time.Hour)
	h.advance(3*time.Hour + 50*time.Minute)
	if rung["back"] != 0 {
		t.Error("rang before its time by the clock")
	}
	h.advance(time.Hour)
	if rung["forth"] != 1 || rung["back"] != 1 {
		t.Errorf("rang %v", rung)
	}
}

// TestAClockThatLeapsErasesNothingAtOnce: there is a day to see that it is wrong.
func TestAClockThatLeapsErasesNothingAtOnce(t *testing.T) {
	for _, right := range []bool{true, false} {
		h := live(t)
		h.engine.LookAgain(30 * time.Second)
		h.on("keep", func(t *bot.Turn) error {
			_, err := t.NewRecord("thing", thing{Text: secret}, t.Now().AddDate(0, 0, 7))
			return err
		})
		h.say("!room", "ana", "/do keep")
		h.advance(2 * time.Hour)
		h.clock.jump(365 * 24 * time.Hour)
		h.advance(23 * time.Hour)
		if h.remains(`bodies`) != 1 {
			t.Fatal("erased within a day after a leap")
		}
		if right { // the bot was away for a year, or the clock is right now
			h.advance(3 * time.Hour)
			if h.remains(`bodies`) != 0 {
				t.Error("not erased, although a day has passed")
			}
			continue
		}
		h.clock.jump(-365 * 24 * time.Hour)
		h.advance(5 * 24 * time.Hour)
		if h.remains(`bodies`) != 1 {
			t.Error("erased before its time")
		}
		h.advance(2 * 24 * time.Hour)
		if h.remains(`bodies`) != 0 {
			t.Error("not erased when its time had come")
		}
	}
}

// TestAClockThatLeapsKeepsWhatWaitsToBeSaid: it is said when the clock is put right, and given up after a while: sooner where the
// leap could be a short absence.
func TestAClockThatLeapsKeepsWhatWaitsToBeSaid(t *testing.T) {
	for _, tc := range []struct {
		leap, within time.Duration
		right        bool
	}{
		{48 * time.Hour, 23 * time.Hour, true},
		{48 * time.Hour, 23 * time.Hour, false},
		{30 * time.Hour, 50 * time.Minute, true},
		{30 * time.Hour, 50 * time.Minute, false},
	} {
		h, _ := share(t, bot.Expires(start.Add(24*time.Hour)))
		h.advance(150 * time.Minute)
		h.net.Down("!north", time.Hour)
		h.say("!room", "ana", "/do share")
		h.stop()
		h.clock.jump(tc.leap)
		h.start()
		h.advance(tc.within)
		h.wantSpoken("!north")
		if got := h.texts("!room"); len(got) != 1 {
			t.Fatalf("%v after a leap of %v the origin reads %q", tc.within, tc.leap, got)
		}
		if tc.right {
			h.stop()
			h.clock.jump(-tc.leap - tc.within)
			h.start()
			h.advance(2 * time.Hour)
			h.wantSpoken("!north", "news 1", "news 2")
			continue
		}
		h.advance(2 * time.Hour)
		h.wantSpoken("!north")
		if got := h.texts("!room"); len(got) != 2 || !strings.Contains(got[1], "North") {
			t.Errorf("%v after a leap of %v the origin reads %q", tc.within+2*time.Hour, tc.leap, got)
		}
	}
}

// TestACounterGoesOnAfterTheClockWasPutBack.
func TestACounterGoesOnAfterTheClockWasPutBack(t *testing.T) {
	h := live(t)
	row := h.post("!room", "seen 0")
	h.settle()
	for _, text := range []string{"seen 1", "seen 2"} {
		h.do(func(tx *bot.Tx) error { return tx.EditCounter(row, Said{text}) })
		h.advance(time.Minute)
		h.clock.jump(-24 * time.Hour)
	}
	h.advance(time.Minute)
	h.wantSpoken("!room", "seen 0", "seen 1", "seen 2")
}

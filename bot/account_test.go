package bot_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
)

// limit makes the network refuse calls for a while; what is asked meanwhile waits.
func (h *house) limit(d time.Duration) {
	h.t.Helper()
	h.net.Limit(d)
	h.post("!room", "first", lane("the call that is refused"))
	h.settle()
}

func TestAnswersThatWaitAreJoinedAndSurviveACrash(t *testing.T) {
	for _, point := range append([]string{"none"}, faultPoints...) {
		t.Run(point, func(t *testing.T) {
			h := live(t)
			h.limit(time.Minute)
			for _, who := range []string{"ana", "luc", "ana"} {
				h.say("!room", who, "/echo for "+who)
			}
			h.advance(59 * time.Second)
			h.crashes(once(point))
			h.advance(10 * time.Minute)
			got := h.texts("!room")
			slices.Sort(got)
			all := strings.Join(got, "\n")
			if strings.Count(all, "for ana") != 2 || strings.Count(all, "for luc") != 1 || strings.Count(all, "first") != 1 {
				t.Errorf("the bot says %q", got)
			}
			if point == "none" && !slices.Equal(got, []string{"first", "for ana\n\nfor luc\n\nfor ana"}) {
				t.Errorf("not joined: %q", got)
			}
			// Who replies to it has replied to the bot, and to no question.
			h.reply("!room", "luc", "thanks")
			if s := h.engine.Status(); s.Errors != 0 || !s.Idle() {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestWhatHasAMeaningOfItsOwnIsNotJoined(t *testing.T) {
	h := live(t)
	h.limit(time.Minute)
	id := h.id("!room")
	h.do(func(tx *bot.Tx) error {
		var errs []error
		say := func(text string, o ...bot.PostOption) (row bot.RowID) {
			row, err := tx.Post(id, Said{text}, o...)
			errs = append(errs, err)
			return row
		}
		say("plain 1")
		say("a question", bot.Topic("test.topic", "ref"), bot.Buttons("✅"))
		say("plain 2")
		say("plain 3")
		after := say("is waited for")
		say("after it", bot.After(after))
		say("late", bot.Expires(tx.Now().Add(time.Hour)))
		return errors.Join(errs...)
	})
	h.advance(10 * time.Minute)
	got := h.texts("!room")
	want := []string{"first", "plain 1", "a question", "plain 2\n\nplain 3", "is waited for", "after it", "late"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("says %q\nwant %q", got, want)
	}
	// The bot's own reaction was left out; people's count all the same.
	if n := len(h.events("!room", bot.OutReaction)); n != 0 {
		t.Errorf("%d reactions of the bot", n)
	}
	for _, m := range h.net.Messages("!room") {
		if rig.Readable(m.Text) == "a question" {
			h.react("!room", "ana", m.ID, "✅")
		}
	}
	h.advance(time.Minute)
	if all := h.texts("!room"); all[len(all)-1] != "ref ✅" {
		t.Errorf("says %q", all)
	}
}

func TestWhoIsForgottenIsInNoJoinedMessage(t *testing.T) {
	h := live(t)
	h.on("forget", func(t *bot.Turn) error { _, err := t.Forget(t.Person.ID); return err })
	h.limit(time.Minute)
	h.say("!room", "ana", "/echo for ana")
	h.say("!room", "luc", "/echo for luc")
	joined := 0
	h.tap.calls(func(_ context.Context, out bot.Outgoing) error {
		if !strings.Contains(out.Text, "for luc") {
			return nil
		}
		joined++
		return &bot.SendError{Err: errors.New("too many"), Account: true, After: time.Minute}
	}, nil)
	h.advance(61 * time.Second)
	if joined != 1 {
		t.Fatal("they were not joined")
	}
	h.say("!room", "luc", "/do forget")
	h.advance(10 * time.Minute)
	if got := strings.Join(h.texts("!room"), "|"); !strings.Contains(got, "for ana") || strings.Contains(got, "for luc") {
		t.Errorf("says %q", got)
	}
}

func TestCountersWaitUntilNothingElseDoes(t *testing.T) {
	h := live(t)
	row := h.post("!room", "seen 0")
	h.settle()
	h.limit(time.Minute)
	h.do(func(tx *bot.Tx) error { return tx.EditCounter(row, Said{"seen 1"}) })
	h.post("!room", "an answer", lane("another"))
	h.advance(time.Minute + time.Second)
	var order []string
	h.mu.Lock()
	for _, ev := range h.shown {
		order = append(order, rig.Readable(ev.Text))
	}
	h.mu.Unlock()
	if i, j := slices.Index(order, "an answer"), slices.Index(order, "seen 1"); i < 0 || j < i {
		t.Errorf("shown in the order %q", order)
	}
}

// TestALimitSaysNothingOfItsOwnTry: a call that was refused for want of allowance was not shown: it is no repetition, also where
// the network cannot tell.
func TestACallThatWasRefusedWasNotShown(t *testing.T) {
	h := liveOn(t, rig.LikeSignal())
	var again bool
	h.tap.calls(func(_ context.Context, out bot.Outgoing) error {
		again = again || out.Again
		return nil
	}, nil)
	h.limit(time.Minute)
	h.advance(2 * time.Minute)
	h.want("!room", "first")
	if again {
		t.Error("it was said to be a repetition")
	}
}

// TestALimitedAccountWaitsAsLongAsItIsTold, refusal after refusal, and not longer and longer.
func TestALimitedAccountWaitsAsLongAsItIsTold(t *testing.T) {
	h := live(t)
	var calls []time.Duration
	h.tap.calls(func(context.Context, bot.Outgoing) error {
		if calls = append(calls, h.clock.Now().Sub(start)); len(calls) < 20 {
			return &bot.SendError{Err: errors.New("too many"), Account: true, After: 5 * time.Second}
		}
		return nil
	}, nil)
	for i := range 8 {
		h.post("!room", fmt.Sprint(i), lane(fmt.Sprint(i)))
	}
	h.advance(3 * time.Minute)
	for i := 2; i < len(calls) && i < 20; i++ { // the first two are before the engine knows
		if wait := calls[i] - calls[i-1]; wait < 5*time.Second || wait > 6*time.Second {
			t.Errorf("call %d came after %v", i, wait)
		}
	}
	if got := h.texts("!room"); len(got) != 8 {
		t.Errorf("%d of 8 arrived: %q", len(got), got)
	}
}

// TestAnAlertIsTriedAgainSoon: a room that is back after an outage waits a minute for what rings, not ten.
func TestAnAlertIsTriedAgainSoon(t *testing.T) {
	h := live(t)
	h.net.Down("!room", 3*time.Hour)
	h.post("!room", "alert", bot.Rings(), lane("alert"))
	h.post("!room", "answer", lane("answer"))
	h.advance(3*time.Hour + 76*time.Second)
	if got := h.texts("!room"); !slices.Contains(got, "alert") {
		t.Errorf("three hours and a minute later the room reads %q", got)
	}
	h.advance(15 * time.Minute)
	if got := h.texts("!room"); len(got) != 2 {
		t.Errorf("the room reads %q", got)
	}
}

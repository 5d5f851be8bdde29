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

// crashIn does something while a power cut comes right after the next call to the network, and waits until all is over.
func (h *house) crashIn(do func(tx *bot.Tx) error) {
	h.t.Helper()
	before, over := h.faults, false
	h.crashes(func(point string) bool {
		if over || point != "after-send" {
			return false
		}
		over = true
		return true
	})
	_ = h.engine.Do(context.Background(), "test", do) // whether it was stored is known before the crash, or not
	h.settle()
	h.crashes(nil)
	h.advance(time.Minute)
	if h.faults != before+1 {
		h.t.Fatalf("%d crashes", h.faults-before)
	}
}

// Behind a call that failed nothing is tried in its place, but for what is more urgent: the room hears all in order, and nothing that was
// not tried bears the mark.
func TestWhatWaitsBehindACallThatFailedIsNotMarked(t *testing.T) {
	h := liveOn(t, rig.LikeSignal())
	h.net.Down("!room", 30*time.Second)
	for _, text := range []string{"one", "two", "three"} {
		h.post("!room", text, lane(text))
		h.settle()
	}
	h.advance(10 * time.Second)
	h.post("!room", "alert", bot.Rings(), lane("alert"))
	h.advance(time.Minute)
	var got []string
	for _, text := range h.spoken("!room") {
		first, rest, _ := strings.Cut(text, "\n")
		if rest != "" {
			first += " again?"
		}
		got = append(got, first)
	}
	if want := []string{"alert again?", "one again?", "two", "three"}; !slices.Equal(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
}

// What the network took to nobody is said again as if for the first time.
func TestWhatNobodyHasSeenIsNotMarked(t *testing.T) {
	h := liveOn(t, rig.LikeSignal())
	refused := false
	h.tap.calls(func(context.Context, bot.Outgoing) error {
		if refused {
			return nil
		}
		refused = true
		return &bot.SendError{Err: errors.New("a safety number has changed"), Unseen: true}
	}, nil)
	h.post("!room", "come at six")
	h.advance(time.Minute)
	h.wantSpoken("!room", "come at six")
}

// One message that never leaves holds up the others for some minutes, not for ever.
func TestWhatNeverLeavesDoesNotStopARoom(t *testing.T) {
	h := liveOn(t, rig.LikeSignal())
	h.tap.calls(func(_ context.Context, out bot.Outgoing) error {
		if strings.Contains(out.Text, "never") {
			return errors.New("it cannot be uploaded")
		}
		return nil
	}, nil)
	h.post("!room", "never", lane("never"))
	h.settle()
	h.post("!room", "always", lane("always"))
	h.advance(10 * time.Minute)
	h.wantSpoken("!room", "always")
}

// Where the network cannot tell a repetition, people can: it is marked. What leaves no second trace is only done again.
func TestWhatACrashRepeatsIsMarked(t *testing.T) {
	for name, rings := range map[string][]bot.PostOption{"a message": nil, "an alert": {bot.Rings()}} {
		t.Run(name, func(t *testing.T) {
			h := liveOn(t, rig.LikeSignal())
			id := h.id("!room")
			h.crashIn(func(tx *bot.Tx) error {
				_, err := tx.Post(id, Said{"come at six"}, rings...)
				return err
			})
			got := h.spoken("!room")
			if len(got) != 2 || got[0] != "come at six" || !strings.HasPrefix(got[1], "come at six\n") {
				t.Errorf("said %q, want it twice, the second marked", got)
			}
			for _, ev := range h.events("!room", bot.OutMessage) {
				if ev.Rings != (rings != nil) {
					t.Errorf("%q rings: %t", ev.Text, ev.Rings)
				}
			}
		})
	}
	t.Run("an answer to the first", func(t *testing.T) {
		h := liveOn(t, rig.LikeSignal())
		id := h.id("!room")
		h.post("!room", "before", bot.Topic("test.topic", "before"))
		h.settle()
		h.crashIn(func(tx *bot.Tx) error {
			_, err := tx.Post(id, Said{"come at six"}, bot.Topic("test.topic", "six"))
			return err
		})
		h.post("!room", "after", bot.Topic("test.topic", "after"))
		h.settle()
		var copies []string
		for _, ev := range h.events("!room", bot.OutMessage) {
			if strings.Contains(ev.Text, "come at six") {
				copies = append(copies, ev.Message)
			}
		}
		if len(copies) != 2 {
			t.Fatalf("%d copies", len(copies))
		}
		for _, seen := range copies { // the bot never heard the id of the first
			h.react("!room", "ana", seen, "✅")
			if got := rig.Readable(h.last("!room").Text); got != "six ✅" {
				t.Errorf("the answer to %q is %q", seen, got)
			}
		}
	})
	said := func(t *testing.T) (*house, bot.RowID) {
		h := liveOn(t, rig.LikeSignal())
		row := h.post("!room", "come at six")
		h.settle()
		return h, row
	}
	t.Run("an edit", func(t *testing.T) {
		h, row := said(t)
		h.crashIn(func(tx *bot.Tx) error { return tx.Edit(row, Said{"come at seven"}) })
		// Phones take an edit only of the version that they have, and the bot does not know which that is.
		h.do(func(tx *bot.Tx) error { return tx.Edit(row, Said{"come at eight"}) })
		h.settle()
		got := h.spoken("!room")
		if len(got) != 4 || got[1] != "come at seven" || !strings.HasPrefix(got[2], "come at seven\n") || got[3] != "come at eight" || len(h.events("!room", bot.OutEdit)) != 1 {
			t.Errorf("said %q, want the change again with a mark, and the next change as messages", got)
		}
	})
	t.Run("a reaction", func(t *testing.T) {
		h, row := said(t)
		h.crashIn(func(tx *bot.Tx) error { return tx.React(row, "✅") })
		if got := h.net.Reactions(h.last("!room").ID); !slices.Equal(got, []string{"✅"}) {
			t.Errorf("it bears %q", got)
		}
		h.want("!room", "come at six")
	})
	t.Run("a deletion", func(t *testing.T) {
		h, row := said(t)
		h.crashIn(func(tx *bot.Tx) error { return tx.Delete(row) })
		h.want("!room")
	})
	t.Run("an edit that came too late", func(t *testing.T) {
		h, row := said(t)
		h.advance(25 * time.Hour)
		h.crashIn(func(tx *bot.Tx) error { return tx.Edit(row, Said{"it is over"}) })
		got := h.spoken("!room")
		if len(got) != 3 || got[1] != "it is over" || !strings.HasPrefix(got[2], "it is over\n") {
			t.Errorf("said %q, want the change as a message, and again with a mark", got)
		}
	})
}

// After ten edits, and after a day, a change is a message of its own that quotes what it changes.
func TestEditsEndAfterTenAndAfterADay(t *testing.T) {
	for name, c := range map[string]struct {
		edits int
		wait  time.Duration
		more  bool // one more can be an edit
	}{"nine": {9, 0, true}, "ten": {10, 0, false}, "soon": {0, 24*time.Hour - time.Minute, true}, "a day": {0, 24 * time.Hour, false}} {
		t.Run(name, func(t *testing.T) {
			h := liveOn(t, rig.LikeSignal())
			row := h.post("!room", "state 0")
			h.settle()
			first := h.last("!room").ID
			for i := range c.edits {
				h.do(func(tx *bot.Tx) error { return tx.Edit(row, Said{fmt.Sprint("state ", i+1)}) })
				h.settle()
			}
			h.advance(c.wait)
			h.do(func(tx *bot.Tx) error { return tx.Edit(row, Said{"the last"}) })
			h.settle()
			if c.more {
				h.want("!room", "the last")
				return
			}
			h.want("!room", fmt.Sprint("state ", c.edits), "the last")
			if m := h.last("!room"); m.ReplyTo != first {
				t.Errorf("it replies to %q, want %q", m.ReplyTo, first)
			}
		})
	}
}

// A photo or a voice message that answers a question by quoting it is told that only text can be read; the words under one count.
func TestAPhotoThatQuotesTheQuestion(t *testing.T) {
	h := liveOn(t, rig.LikeSignal())
	h.say("!room", "ana", "/ask")
	field, question := h.asked("!room")
	if field != "what" {
		t.Fatalf("asked for %q", field)
	}
	photo := []bot.File{{Name: "photo.jpg", Type: "image/jpeg", Size: 9}}
	before := len(h.net.Messages("!room"))
	h.said(rig.Said{Room: "!room", Person: "@ana", Files: photo}) // to nobody in particular
	if n := len(h.net.Messages("!room")); n != before+1 {
		t.Errorf("%d messages came of a photo that quotes nothing", n-before-1)
	}
	h.said(rig.Said{Room: "!room", Person: "@ana", Files: photo, ReplyTo: question.ID})
	told := h.last("!room")
	if w, err := testWords(); err != nil || rig.Readable(told.Text) != w.bundle.Text("en", "bot.text_only") {
		t.Errorf("told %q (%v)", told.Text, err)
	}
	h.said(rig.Said{Room: "!room", Person: "@ana", Files: photo, Text: "soup", ReplyTo: told.ID}) // and what it said can be quoted
	if field, _ := h.asked("!room"); field != "size" {
		t.Errorf("then it asked for %q: %q", field, h.texts("!room"))
	}
}

package bot_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"starling/adapters/rig"
	"starling/bot"
)

var (
	shownReview = regexp.MustCompile(`(?m)^.*\bwhat=(.*) size=(.*) when=(.*?)\**$`)
	shownKept   = regexp.MustCompile(`(?m)^kept what=(.*) size=(.*) when=(.*)$`)
)

// asked is what the bot last asked in a room: "what", "size", "when", "review", or "" when nothing is open.
func (h *house) asked(room string) (field string, m rig.Message) {
	for _, m := range slices.Backward(h.net.Messages(room)) {
		if m.Author != rig.Bot {
			continue
		}
		text := rig.Readable(m.Text)
		switch {
		case shownKept.MatchString(text) || text == h.left():
			return "", m
		case shownReview.MatchString(text):
			return "review", m
		}
		for _, f := range []string{"what", "size", "when"} {
			if strings.Contains(text, "**"+f+"**") {
				return f, m
			}
		}
	}
	return "", rig.Message{}
}

// left is what ends a dialogue without a trace.
func (h *house) left() string {
	w, err := testWords()
	if err != nil {
		h.t.Fatal(err)
	}
	return w.bundle.Text("en", "bot.left")
}

// review is what the review shows now: the last one, as edited.
func (h *house) review(room string) []string {
	if field, m := h.asked(room); field == "review" {
		return shownReview.FindStringSubmatch(rig.Readable(m.Text))[1:]
	}
	return nil
}

func TestWhatIsConfirmedIsWhatTheReviewShowed(t *testing.T) {
	h := build(t, rig.LikeMatrix())
	h.start()
	rooms := 0
	rapid.Check(t, func(rt *rapid.T) {
		rooms++
		room := fmt.Sprint("!talk", rooms)
		h.room(room, "ana*", "luc")
		h.say(room, "ana", "/ask")
		var answers []string // messages of ana that answered something
		kept := 0
		step := func(op string, n int) {
			before := h.review(room)
			in := func(text string) {
				m := h.last(room)
				answers = append(answers, h.said(rig.Said{Room: room, Person: "@ana", Text: text, ReplyTo: m.ID, Thread: m.Thread}))
			}
			switch op {
			case "text":
				in(fmt.Sprint("thing ", n))
			case "number":
				in(fmt.Sprint(n))
			case "bare number": // counts only where it can be nothing else
				answers = append(answers, h.say(room, "ana", fmt.Sprint(n)))
			case "back", "skip", "cancel", "yes", "large":
				in(op)
			case "✅", "❌", "3️⃣":
				h.react(room, "ana", h.last(room).ID, op)
			case "old ✅": // on anything that the bot said before
				all := h.net.Messages(room)
				for i := range all {
					if m := all[(i+n)%len(all)]; m.Author == rig.Bot && m.ID != h.last(room).ID {
						h.react(room, "ana", m.ID, "✅")
						break
					}
				}
			case "edit":
				if len(answers) > 0 {
					if err := h.net.Edit(room, "@ana", answers[n%len(answers)], fmt.Sprint("edited ", n)); err != nil {
						rt.Fatal(err)
					}
					h.settle()
				}
			case "again":
				if len(answers) > 0 {
					if err := h.net.Again(answers[n%len(answers)]); err != nil {
						rt.Fatal(err)
					}
					h.settle()
				}
			case "restart":
				h.restart()
			case "ask":
				h.say(room, "ana", "/ask")
			case "luc":
				h.reply(room, "luc", "yes")
				h.react(room, "luc", h.last(room).ID, "✅")
			}
			var all [][]string
			for _, text := range h.texts(room) {
				all = append(all, shownKept.FindAllStringSubmatch(text, -1)...)
			}
			if len(all) == kept {
				return
			}
			if len(all) != kept+1 || !slices.Contains([]string{"yes", "✅", "old ✅", "again"}, op) {
				rt.Fatalf("%s kept something:\n%q", op, h.texts(room))
			}
			if got := all[kept][1:]; !slices.Equal(got, before) {
				rt.Fatalf("kept %q, the review showed %q:\n%q", got, before, h.texts(room))
			}
			kept++
		}
		ops := rapid.SampledFrom([]string{"text", "text", "text", "number", "number", "bare number", "large", "back", "skip", "cancel", "yes", "✅", "❌", "3️⃣", "old ✅",
			"edit", "again", "restart", "ask", "luc"})
		for range rapid.IntRange(0, 14).Draw(rt, "steps") {
			step(ops.Draw(rt, "op"), rapid.IntRange(1, 4).Draw(rt, "n"))
		}
		h.settle()
		// However it got there, it can be brought to its end.
		for i := 0; ; i++ {
			switch field, _ := h.asked(room); field {
			case "":
				if s := h.engine.Status(); s.Errors != 0 || !s.Idle() {
					rt.Fatalf("%+v\n%s", s, h.log)
				}
				return
			case "size":
				step("number", 1)
			case "review":
				step("yes", 0)
			default:
				step("text", i)
			}
			if i > 10 {
				rt.Fatalf("it does not end:\n%q", h.texts(room))
			}
		}
	})
}

// fill answers all questions; the review is open then.
func fill(h *house) {
	h.say("!room", "ana", "/ask")
	h.reply("!room", "ana", "soup")
	h.reply("!room", "ana", "2")
	h.reply("!room", "ana", "friday")
}

func (h *house) wantReview(what, size, when string) {
	h.t.Helper()
	if got, want := h.review("!room"), []string{what, size, when}; !slices.Equal(got, want) {
		h.t.Fatalf("the review shows %q, want %q:\n%q", got, want, h.texts("!room"))
	}
}

func (h *house) wantKept(what, size, when string) {
	h.t.Helper()
	if got, want := rig.Readable(h.last("!room").Text), fmt.Sprintf("kept what=%s size=%s when=%s", what, size, when); got != want {
		h.t.Fatalf("the bot says %q, want %q\n%s", got, want, h.log)
	}
}

func TestADialogueInAThread(t *testing.T) {
	h := live(t)
	fill(h)
	h.wantReview("soup", "large", "friday")
	for _, m := range h.net.Messages("!room")[1:] {
		if m.Author == rig.Bot && m.Thread == "" {
			t.Errorf("%q stands outside of the thread", m.Text)
		}
	}
	h.react("!room", "luc", h.last("!room").ID, "✅") // not hers to say
	h.wantReview("soup", "large", "friday")
	h.restart()
	h.react("!room", "ana", h.last("!room").ID, "👍🏽")
	h.wantKept("soup", "large", "friday")
	if m := h.last("!room"); m.Thread != "" {
		t.Error("the room does not see the end")
	}
	h.advance(time.Hour)
	h.say("!room", "ana", "yes") // nothing is open any more
	h.wantKept("soup", "large", "friday")
}

func TestAnAnswerCanBeChangedFromTheReview(t *testing.T) {
	h := live(t)
	fill(h)
	h.reply("!room", "ana", "1")
	h.reply("!room", "ana", "bread")
	h.wantReview("bread", "large", "friday")
	h.reply("!room", "ana", "٢") // two, in Arabic digits
	h.reply("!room", "ana", "back")
	h.wantReview("bread", "large", "friday")
	h.reply("!room", "ana", "back")
	h.reply("!room", "ana", "skip")
	h.wantReview("bread", "large", "")
	h.reply("!room", "ana", "yes")
	h.wantKept("bread", "large", "")
}

func TestAnEditedAnswerCounts(t *testing.T) {
	h := live(t)
	h.say("!room", "ana", "/ask")
	what := h.reply("!room", "ana", "soup")
	edit := func(text string) {
		if err := h.net.Edit("!room", "@ana", what, text); err != nil {
			t.Fatal(err)
		}
		h.settle()
	}
	edit("bread")
	h.reply("!room", "ana", "2")
	h.reply("!room", "ana", "skip")
	h.wantReview("bread", "large", "")
	questions := len(h.texts("!room"))
	edit("cake")
	h.wantReview("cake", "large", "")
	if n := len(h.texts("!room")); n != questions {
		t.Error("an edit is answered by a message of its own")
	}
	h.reply("!room", "ana", "yes")
	h.wantKept("cake", "large", "")
	edit("stone") // too late
	h.wantKept("cake", "large", "")
}

func TestAReactionOnAnEarlierReviewConfirmsNothing(t *testing.T) {
	h := live(t)
	fill(h)
	old := h.last("!room").ID
	h.reply("!room", "ana", "1")
	h.react("!room", "ana", old, "✅")
	h.reply("!room", "ana", "bread")
	h.react("!room", "ana", old, "✅")
	h.wantReview("bread", "large", "friday") // shown again
	if h.last("!room").ID == old {
		t.Error("it was not shown again")
	}
	h.react("!room", "ana", h.last("!room").ID, "✅")
	h.wantKept("bread", "large", "friday")
}

func TestOrdinaryTalkIsNoAnswer(t *testing.T) {
	h := live(t)
	h.say("!room", "ana", "/ask")
	n := len(h.texts("!room"))
	h.say("!room", "ana", "who brings the soup?")
	h.say("!room", "ana", "2")   // not a question of choices
	h.say("!room", "luc", "yes") // not his
	luc := h.say("!room", "luc", "what do you think?")
	h.said(rig.Said{Room: "!room", Person: "@ana", Text: "soup", ReplyTo: luc})
	h.said(rig.Said{Room: "!room", Person: "@ana", Text: "soup", Thread: luc})
	if got := h.texts("!room"); len(got) != n {
		t.Errorf("the bot answers %q", got[n:])
	}
	h.reply("!room", "ana", "soup")
	h.say("!room", "ana", "2") // of the open choice
	h.said(rig.Said{Room: "!room", Person: "@ana", Text: "skip"})
	h.wantReview("soup", "large", "")
	h.say("!room", "ana", "/echo a command is a command")
	h.say("!room", "ana", "yes")
	h.wantKept("soup", "large", "")
}

func TestAMentionInAnAnswerIsNoCommand(t *testing.T) {
	h := live(t)
	h.say("!room", "ana", "/ask")
	m := h.last("!room")
	h.said(rig.Said{Room: "!room", Person: "@ana", Text: "echo of the mountains", ReplyTo: m.ID, Mentions: []string{rig.Bot}})
	h.reply("!room", "ana", "1")
	h.reply("!room", "ana", "skip")
	h.wantReview("echo of the mountains", "small", "")
}

func TestPhotosAreAnsweredInDialoguesOnly(t *testing.T) {
	h := live(t)
	h.roomOf(rig.Room{ID: "!direct", Direct: true, Encrypted: true}, "ana")
	photo := []bot.File{{Name: "a.jpg", Type: "image/jpeg", Size: 7}}
	h.said(rig.Said{Room: "!room", Person: "@ana", Files: photo})
	h.said(rig.Said{Room: "!direct", Person: "@ana", Files: photo})
	h.said(rig.Said{Room: "!room", Person: "@ana", Files: photo, Mentions: []string{rig.Bot}})
	h.want("!room")
	h.want("!direct")
	h.say("!room", "ana", "/ask")
	m := h.last("!room")
	h.said(rig.Said{Room: "!room", Person: "@ana", Files: photo, Thread: m.Thread})
	if got := h.texts("!room"); len(got) != 2 || got[1] == got[0] {
		t.Errorf("the bot says %q", got)
	}
	h.reply("!room", "ana", "soup") // it still waits for an answer
	if field, _ := h.asked("!room"); field != "size" {
		t.Errorf("asks for %q", field)
	}
}

func TestDialoguesAreBounded(t *testing.T) {
	h := live(t)
	var first string
	for i := range 12 {
		h.say("!room", "ana", "/ask")
		if i == 0 {
			first = h.last("!room").Thread
		}
	}
	n := len(h.texts("!room"))
	h.said(rig.Said{Room: "!room", Person: "@ana", Text: "soup", Thread: first})
	if got := h.texts("!room"); len(got) != n {
		t.Errorf("the oldest of many is still open: %q", got[n:])
	}
	h.advance(49 * time.Hour)
	h.reply("!room", "ana", "soup")
	if got := h.texts("!room"); len(got) != n {
		t.Errorf("one of two days ago is still open: %q", got[n:])
	}
}

func TestWhoLeftARoomNoLongerSpeaksForIt(t *testing.T) {
	h := live(t)
	h.roomOf(rig.Room{ID: "!direct", Direct: true, Encrypted: true}, "ana")
	h.say("!direct", "ana", "/ask")
	h.say("!direct", "ana", "soup")
	h.say("!direct", "ana", "1")
	h.say("!direct", "ana", "skip")
	if err := h.net.Leave("!room", "@ana"); err != nil {
		t.Fatal(err)
	}
	h.say("!direct", "ana", "yes")
	if got := rig.Readable(h.last("!direct").Text); strings.Contains(got, "kept") {
		t.Errorf("the bot says %q", got)
	}
	n := len(h.texts("!direct"))
	h.say("!direct", "ana", "yes") // it is over
	if got := rig.Readable(h.last("!direct").Text); strings.Contains(got, "kept") || len(h.texts("!direct")) != n+1 {
		t.Errorf("the bot says %q", got)
	}
}

func TestARefusalAtTheEndLeavesTheDialogueOpen(t *testing.T) {
	h := build(t, rig.LikeMatrix())
	full := true
	h.extra = []bot.Capability{{Name: "refusing", Dialogues: []bot.Dialogue{{Name: "refusing.ask", Steps: askSteps,
		Review: func(_ *bot.Turn, d bot.Draft) any { return Review{d["what"], d["size"], d["when"]} },
		Done: func(t *bot.Turn, d bot.Draft) error {
			if full {
				return bot.Refuse(Said{"not now"})
			}
			return t.Done(Kept{d["what"], d["size"], d["when"]})
		}}}}}
	h.on("refusing", func(t *bot.Turn) error { return t.Start("refusing.ask", bot.Draft{"what": "soup", "size": "large"}) })
	h.start()
	h.room("!room", "ana")
	h.say("!room", "ana", "/do refusing")
	h.reply("!room", "ana", "skip")
	h.reply("!room", "ana", "yes")
	if m := h.last("!room"); rig.Readable(m.Text) != "not now" || m.Thread == "" {
		t.Fatalf("%+v", m)
	}
	full = false
	h.reply("!room", "ana", "yes")
	h.wantKept("soup", "large", "")
}

func TestARoomThatWantsATypedYes(t *testing.T) {
	h := live(t)
	h.do(func(tx *bot.Tx) error {
		r, err := tx.RoomAt("net", "!room")
		if err != nil {
			return err
		}
		r.Settings[bot.SettingConfirm] = "word"
		return tx.SaveRoom(r)
	})
	fill(h)
	review := h.last("!room")
	if got := h.net.Reactions(review.ID); len(got) != 0 {
		t.Errorf("the bot offers %q", got)
	}
	h.react("!room", "ana", review.ID, "✅")
	if got := rig.Readable(h.last("!room").Text); strings.Contains(got, "kept") {
		t.Errorf("a reaction was enough: %q", got)
	}
	h.reply("!room", "ana", "yes")
	h.wantKept("soup", "large", "friday")
}

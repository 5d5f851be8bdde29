package bot_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
)

// notice hands over what an adapter wants people to know.
func (h *house) notice(room string, n bot.Notice) {
	h.t.Helper()
	h.deliver(bot.Incoming{Room: room, Kind: bot.KindNotice, Notice: &n})
}

func TestANoticeIsSaidOnceAndOnlyWhereItBelongs(t *testing.T) {
	h := live(t)
	h.room("!operators", "olga*")
	h.room("!other", "mo*")
	h.set("!operators", func(r *bot.Room) { r.Settings[bot.SettingOperators] = "yes" })
	slow := bot.Notice{Message: Said{"slow"}, Key: "slow", Again: time.Hour}
	h.notice("!room", slow)
	h.notice("!room", slow)
	h.want("!room", "slow")
	h.restart()
	h.advance(59 * time.Minute)
	h.notice("!room", slow)
	h.want("!room", "slow")
	h.advance(2 * time.Minute)
	h.notice("!room", slow)
	h.want("!room", "slow", "slow")
	h.notice("", bot.Notice{Message: Said{"down"}, Key: "down", Operators: true})
	h.notice("!unknown", bot.Notice{Message: Said{"nowhere"}, Key: "nowhere"})
	h.want("!operators", "down")
	h.want("!other")
}

func TestWhatAnAdapterAsksIsDoneWhenAModeratorSaysYes(t *testing.T) {
	h, o := withJobs(t, func(context.Context, int) (string, error) { return `{}`, nil })
	h.notice("!room", bot.Notice{Message: Said{"may I?"}, Key: "may", Ask: &bot.Ask{Kind: "work", Payload: json.RawMessage(`"it"`)}})
	asked := h.last("!room").ID
	h.react("!room", "luc", asked, "✅")
	if o.count() != 0 {
		t.Fatal("it was done for somebody who does not moderate")
	}
	h.react("!room", "ana", asked, "✅")
	h.restart()
	h.reply("!room", "ana", "yes")
	if o.count() != 1 || !slices.Equal(o.runs, []string{`"it"`}) {
		t.Errorf("the job ran %d times: %q", o.count(), o.runs)
	}
	if texts := h.texts("!room"); !slices.Contains(texts, "Done.") {
		t.Errorf("nobody is told: %q", texts)
	}
}

// In a direct chat nobody moderates, and nobody vouches for herself.
func TestWhatAnAdapterAsksIsNotForOneAloneToSay(t *testing.T) {
	h, o := withJobs(t, func(context.Context, int) (string, error) { return `{}`, nil })
	h.roomOf(rig.Room{ID: "!direct", Direct: true, Encrypted: true}, "ana")
	h.notice("!direct", bot.Notice{Message: Said{"may I?"}, Key: "may", Ask: &bot.Ask{Kind: "work", Payload: json.RawMessage(`"it"`)}})
	h.react("!direct", "ana", h.last("!direct").ID, "✅")
	if o.count() != 0 {
		t.Error("it was done on her own yes")
	}
}

func TestTheCodeOfTheMachineIsGoodOnce(t *testing.T) {
	h := live(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := h.engine.ServeStatus(ctx); err != nil {
		t.Fatal(err)
	}
	var typed string
	h.on("code", func(t *bot.Turn) error {
		if t.OperatorCode(typed) {
			return t.Done(Said{"right"})
		}
		return t.Done(Said{"wrong"})
	})
	try := func(code, want string) {
		t.Helper()
		typed = code
		h.say("!room", "luc", "/do code")
		if got := h.texts("!room"); got[len(got)-1] != want {
			t.Errorf("the answer is %q, want %q", got[len(got)-1], want)
		}
	}
	fresh := func() string {
		t.Helper()
		code, err := bot.AskCode(ctx, h.dir)
		if err != nil || len(code) != 8 {
			t.Fatalf("the code is %q: %v", code, err)
		}
		return code
	}
	try("", "wrong")
	code := fresh()
	try("00000000", "wrong")
	try(strings.ToLower(code), "right")
	try(code, "wrong")
	code = fresh()
	h.advance(16 * time.Minute)
	try(code, "wrong")
	code = fresh()
	for range 5 {
		try("", "wrong")
	}
	try(code, "wrong")
}

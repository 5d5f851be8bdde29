package e2e

import (
	"encoding/base64"
	"strings"
	"testing"

	"starling/e2e/lab"
)

// A chapter's first hour with the bot in its Signal group: the real ./starling, the real signal-cli, Signal's mock server.
func TestTheBotSitsInASignalGroup(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	signal := lab.StartSignal(t)
	bot, ana, luc, mallory := signal.Join(t, "starling"), signal.Join(t, "ana"), signal.Join(t, "luc"), signal.Join(t, "mallory")
	daemon := signal.BotDaemon(t, bot)
	starling := daemon.StartStarling(t, "", ana)

	// Who is not allowed to take it into groups cannot; what follows comes later than that.
	trap := mallory.CreateGroup(lab.SignalGroup{Title: "Barcelona", Members: []*lab.Phone{luc}})
	mallory.Invite(trap, bot)
	group := ana.CreateGroup(lab.SignalGroup{Title: "Lille", Members: []*lab.Phone{luc}})
	ana.Invite(group, bot)
	greeting := luc.Wait(lab.Hears{Group: group, Contains: []string{"Starling", "1 English"}})
	if _, invited := mallory.Members(trap); len(invited) != 0 {
		t.Errorf("the bot is still invited by somebody who may not: %+v", invited)
	}
	for _, m := range luc.Heard(trap, 0) {
		if m.Kind == "message" {
			t.Errorf("the bot speaks in a group that it was not let into: %s", m.Body)
		}
	}

	// says lets somebody write, and waits for the answer, which quotes it.
	says := func(t *testing.T, p *lab.Phone, text string, contains ...string) lab.Heard {
		t.Helper()
		return p.Wait(lab.Hears{Group: group, Quotes: p.Say(group, text), Contains: contains})
	}
	// answers lets somebody reply to what the bot asked.
	answers := func(t *testing.T, p *lab.Phone, to lab.Heard, text string, contains ...string) lab.Heard {
		t.Helper()
		return p.Wait(lab.Hears{Group: group, Quotes: p.Reply(group, to, text), Contains: contains})
	}

	t.Run("only admins set it up", func(t *testing.T) {
		ana, luc := ana.In(t), luc.In(t)
		says(t, luc, "/room language fr", "ana")
		asked := ana.Wait(lab.Hears{Group: group, ID: greeting.ID})
		asked = answers(t, ana, asked, "3", "(2")
		asked = answers(t, ana, asked, "Lille", "(3")
		answers(t, ana, asked, "Lille", "Lille")
		ana.SetAdmin(group, luc, true)
		says(t, luc, "/room language en", "English")
		ana.SetAdmin(group, luc, false)
		says(t, luc, "/room language fr", "ana")
	})

	t.Run("a need by quoted replies and a reaction", func(t *testing.T) {
		luc := luc.In(t)
		asked := says(t, luc, "/needs 12 mattresses by "+soon().String()+" near the port", "12 mattresses")
		if len(asked.Styles) == 0 || asked.Styles[0].Style != "BOLD" {
			t.Errorf("nothing is bold: %+v", asked.Styles)
		}
		asked = answers(t, luc, asked, "2", "(5")
		review := answers(t, luc, asked, "1", "✅")
		luc.Wait(lab.Hears{Group: group, Kind: "reaction", Target: review.ID, Emoji: "✅"})
		mark := luc.Mark()
		luc.React(group, review, "✅")
		luc.Wait(lab.Hears{Group: group, After: mark, Contains: []string{"N-"}})
		says(t, luc, "/needs list", "12 mattresses")
	})

	t.Run("mentions, direct chats, long texts", func(t *testing.T) {
		ana, luc := ana.In(t), luc.In(t)
		text := "\uFFFC help"
		luc.Wait(lab.Hears{Group: group, Quotes: luc.Send(lab.Letter{Group: group, Text: text, Mentions: lab.Mentioned(text, bot.ID)}), Contains: []string{"/needs"}})
		mark := ana.Mark()
		ana.Send(lab.Letter{Phone: bot, Text: "help"})
		ana.Wait(lab.Hears{After: mark, Contains: []string{"/needs"}})
		whole := lab.LongText("/needs " + strings.Repeat("🌊", 498) + "YZ")
		whole.Phone, mark = bot, ana.Mark()
		ana.Send(whole)
		ana.Wait(lab.Hears{After: mark, Contains: []string{"🌊", "(2"}})
		ana.Send(lab.Letter{Phone: bot, Text: "cancel"})
		long := lab.LongText("/needs " + strings.Repeat("🌊", 499) + "Z") // over 2,000 octets
		long.Group = group
		asked := luc.Wait(lab.Hears{Group: group, Quotes: luc.Send(long), Contains: []string{"🌊", "(2"}})
		for _, text := range []string{"20 people", soon().String(), "near the port", "2"} {
			asked = answers(t, luc, asked, text)
		}
		asked = answers(t, luc, asked, "1", "🌊Z") // it was read whole, and so is the answer
		answers(t, luc, asked, "cancel")
	})

	t.Run("nothing trips over what else comes", func(t *testing.T) {
		ana, luc := ana.In(t), luc.In(t)
		began := ana.Mark()
		target := luc.Say(group, "good evening")
		photo := []lab.Attachment{{Type: "image/png", Name: "a.png", Data: base64.StdEncoding.EncodeToString([]byte("png"))}}
		for _, l := range []lab.Letter{
			{Kind: "typing"}, {Kind: "receipt", Target: target}, {Kind: "call"}, {Kind: "groupCall"}, {Kind: "story", Text: "our story"},
			{Kind: "reaction", Target: target, Author: luc.ID, Emoji: "👍"}, {Kind: "delete", Target: target}, {Kind: "edit", Target: target, Text: "good night"},
			{Sticker: "🌊"}, {Files: photo}, {Files: photo, ViewOnce: true, Text: "once"}, {Text: "twice", Copies: 2}, {Kind: "unreadable"},
		} {
			l.Group = group
			luc.Send(l)
		}
		bot.In(t).Sync(group, "/needs list")
		asked := says(t, ana, "/needs water", "water")
		// In an open question a voice message is answered, for it was meant as one.
		mark := ana.Mark()
		ana.Send(lab.Letter{Group: group, Quote: asked.Quoted(), Files: []lab.Attachment{{Type: "audio/aac", Data: "AAAA", Voice: true}}})
		ana.Wait(lab.Hears{Group: group, After: mark, Contains: []string{"only read text"}})
		answers(t, ana, asked, "cancel")
		if st := starling.WaitIdle(t); st.Errors != 0 {
			t.Errorf("the bot stumbled: %+v", st)
		}
		for _, m := range ana.Heard(group, began) {
			if m.From == bot.ID && m.Quote != nil && m.Quote.Author != ana.ID {
				t.Errorf("the bot answers ordinary talk, or the account's own phone: %s", m.Body)
			}
		}
		if left, err := daemon.Attachments(); err != nil || len(left) > 0 {
			t.Errorf("what came attached still lies there: %q, %v", left, err)
		}
	})

	t.Run("a timer caps what is kept", func(t *testing.T) {
		ana := ana.In(t)
		ana.SetTimer(group, 3600)
		asked := says(t, ana, "/needs 3 tents by "+soon().String()+" near the port", "3 tents")
		if asked.Timer != 3600 {
			t.Errorf("the bot's message stays for %d s, want 3600", asked.Timer)
		}
		asked = answers(t, ana, asked, "2", "(5")
		review := answers(t, ana, asked, "1", "✅")
		mark := ana.Mark()
		ana.React(group, review, "✅")
		ana.Wait(lab.Hears{Group: group, After: mark, Contains: []string{"vanish here after 1 hour"}})
	})

	t.Run("signal-cli is killed", func(t *testing.T) {
		luc := luc.In(t)
		if err := starling.KillDaemon(ctx, daemon); err != nil {
			t.Fatal(err)
		}
		says(t, luc, "/needs list", "12 mattresses")
	})

	t.Run("the bot is killed", func(t *testing.T) {
		luc := luc.In(t)
		if err := starling.Kill(); err != nil {
			t.Fatal(err)
		}
		asked := luc.Say(group, "/needs list") // it waits at Signal
		if err := starling.Start(); err != nil {
			t.Fatal(err)
		}
		luc.Wait(lab.Hears{Group: group, Quotes: asked, Contains: []string{"12 mattresses"}})
	})

	t.Run("it leaves, and is taken in again", func(t *testing.T) {
		ana := ana.In(t)
		asked := says(t, ana, "/room goodbye", "leave this room")
		mark := ana.Mark()
		ana.React(group, asked, "✅")
		starling.WaitStatus(t, "it is in the direct chat alone", func(st lab.BotStatus) bool { return st.Rooms == 1 })
		ana.Invite(group, bot)
		ana.Wait(lab.Hears{Group: group, After: mark, Contains: []string{"Here I am again"}})
		says(t, ana, "/room", "English")
	})

	t.Run("removed", func(t *testing.T) {
		ana := ana.In(t)
		ana.Remove(group, bot)
		starling.WaitStatus(t, "it is in the direct chat alone", func(st lab.BotStatus) bool { return st.Rooms == 1 })
	})

}

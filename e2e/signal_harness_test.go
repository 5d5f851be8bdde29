package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"starling/e2e/lab"
)

// envelope is what signal-cli tells of one message, as far as it is looked at here.
type envelope struct {
	Envelope struct {
		SourceUUID  string
		DataMessage *struct {
			Message          *string
			ExpiresInSeconds int
			ViewOnce         bool
			GroupInfo        *struct{ GroupID, Type string }
			Quote            *struct{ ID int64 }
			Reaction         *struct {
				Emoji, TargetAuthorUUID string
				IsRemove                bool
			}
			RemoteDelete *struct{ Timestamp int64 }
			Mentions     []struct {
				UUID  string
				Start int
			}
			Sticker     json.RawMessage
			Attachments []struct{ ContentType string }
		}
		EditMessage    *struct{ TargetSentTimestamp int64 }
		StoryMessage   json.RawMessage
		TypingMessage  json.RawMessage
		ReceiptMessage json.RawMessage
		CallMessage    json.RawMessage
		SyncMessage    *struct{ SentMessage *struct{ Message string } }
	}
	Exception *struct{ Type string }
}

// The real signal-cli and the phones do everything that the later tests will ask of them: were the lab itself wrong, it would show
// here and not as a fault of the bot.
func TestPhonesTalkWithSignalCLI(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	signal := lab.StartSignal(t)
	bot, ana, luc := signal.Join(t, "starling"), signal.Join(t, "ana"), signal.Join(t, "luc")
	daemon := signal.StartDaemon(t, bot)
	rpc, err := daemon.Attach(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer rpc.Close()
	group := ana.CreateGroup(lab.SignalGroup{Title: "Barcelona", Members: []*lab.Phone{bot, luc}})

	received := func(t *testing.T, what string, fits func(e envelope) bool) envelope {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, lab.Patience)
		defer cancel()
		var others []string
		for {
			select {
			case line := <-rpc.Received:
				var e envelope
				if err := json.Unmarshal(line, &e); err != nil {
					t.Fatal(err)
				}
				if fits(e) {
					return e
				}
				others = append(others, string(line))
			case <-ctx.Done():
				t.Fatalf("signal-cli was not told of %s, but of\n%s", what, strings.Join(others, "\n"))
			}
		}
	}
	says := func(text string) func(envelope) bool {
		return func(e envelope) bool {
			d := e.Envelope.DataMessage
			return d != nil && d.Message != nil && *d.Message == text
		}
	}
	send := func(t *testing.T, method string, params map[string]any) string {
		t.Helper()
		params["account"] = daemon.Number
		var sent struct {
			Timestamp int64
			Results   []struct{ Type string }
		}
		if err := rpc.Call(ctx, method, params, &sent); err != nil {
			t.Fatal(err)
		}
		for _, r := range sent.Results {
			if r.Type != "SUCCESS" {
				t.Errorf("%s: %s", method, r.Type)
			}
		}
		return fmt.Sprint(sent.Timestamp)
	}

	ana.Say(group, "/needs")
	if got := received(t, "a command", says("/needs")); got.Envelope.SourceUUID != ana.ID || got.Envelope.DataMessage.GroupInfo.GroupID != group {
		t.Errorf("signal-cli was told of %+v, want ana in the group", got.Envelope)
	}
	first := send(t, "send", map[string]any{"groupId": group, "message": "what is needed?", "textStyle": []string{"0:4:BOLD"}})
	heard := ana.Wait(lab.Hears{Group: group})
	if heard.ID != first || heard.Body != "what is needed?" || heard.From != bot.ID || len(heard.Styles) != 1 || heard.Styles[0].Style != "BOLD" {
		t.Errorf("ana hears %+v, want the bold question of the time %s", heard, first)
	}

	t.Run("quote, edit, reaction, deletion, long text from signal-cli", func(t *testing.T) {
		ana, luc := ana.In(t), luc.In(t)
		asked := ana.Say(group, "water")
		received(t, "an answer", says("water"))
		answer := send(t, "send", map[string]any{"groupId": group, "message": "noted", "quoteTimestamp": json.Number(asked), "quoteAuthor": ana.ID, "quoteMessage": "water"})
		if m := luc.Wait(lab.Hears{Group: group, Quotes: asked}); m.ID != answer || m.Quote.Author != ana.ID || m.Quote.Text != "water" {
			t.Errorf("luc sees the quote %+v, want ana's water", m.Quote)
		}
		send(t, "send", map[string]any{"groupId": group, "message": "noted: water", "editTimestamp": json.Number(answer)})
		if m := luc.Wait(lab.Hears{Group: group, ID: answer, Edits: 1}); m.Body != "noted: water" || m.Original != "noted" {
			t.Errorf("after the edit luc reads %q, before it %q", m.Body, m.Original)
		}
		send(t, "sendReaction", map[string]any{"groupId": group, "emoji": "✅", "targetAuthor": daemon.Number, "targetTimestamp": json.Number(answer)})
		luc.Wait(lab.Hears{Group: group, Kind: "reaction", Target: answer, Emoji: "✅"})
		send(t, "remoteDelete", map[string]any{"groupId": group, "targetTimestamp": json.Number(answer)})
		gone := true
		luc.Wait(lab.Hears{Group: group, ID: answer, Deleted: &gone})
		long := strings.Repeat("مياه ", 600)
		send(t, "send", map[string]any{"groupId": group, "message": long})
		if m := ana.Wait(lab.Hears{Group: group, Contains: []string{"مياه"}}); m.Body != long {
			t.Errorf("of %d octets ana reads %d", len(long), len(m.Body))
		}
	})

	t.Run("every kind of message from phones", func(t *testing.T) {
		ana, luc := ana.In(t), luc.In(t)
		type data = struct {
			letter lab.Letter
			told   func(e envelope) bool
		}
		mention := "look \uFFFC"
		long := lab.LongText(strings.Repeat("a", 1990) + " and the end")
		long.Group = group
		for name, k := range map[string]data{
			"quote": {lab.Letter{Text: "yes", Quote: heard.Quoted()}, func(e envelope) bool { return e.Envelope.DataMessage != nil && e.Envelope.DataMessage.Quote != nil }},
			"reaction": {lab.Letter{Kind: "reaction", Target: first, Author: bot.ID, Emoji: "👍"}, func(e envelope) bool {
				d := e.Envelope.DataMessage
				return d != nil && d.Reaction != nil && d.Reaction.TargetAuthorUUID == bot.ID
			}},
			"edit":     {lab.Letter{Kind: "edit", Target: "1700000000000", Text: "edited"}, func(e envelope) bool { return e.Envelope.EditMessage != nil }},
			"deletion": {lab.Letter{Kind: "delete", Target: "1700000000000"}, func(e envelope) bool { d := e.Envelope.DataMessage; return d != nil && d.RemoteDelete != nil }},
			"mention": {lab.Letter{Text: mention, Mentions: lab.Mentioned(mention, luc.ID)}, func(e envelope) bool {
				d := e.Envelope.DataMessage
				return d != nil && len(d.Mentions) == 1 && d.Mentions[0].UUID == luc.ID && d.Mentions[0].Start == 5
			}},
			"sticker":   {lab.Letter{Sticker: "🔥"}, func(e envelope) bool { d := e.Envelope.DataMessage; return d != nil && d.Sticker != nil }},
			"view once": {lab.Letter{ViewOnce: true, Files: []lab.Attachment{{Type: "image/png", Data: "AAAA"}}}, func(e envelope) bool { d := e.Envelope.DataMessage; return d != nil && d.ViewOnce }},
			"voice": {lab.Letter{Files: []lab.Attachment{{Type: "audio/aac", Data: "AAAA", Voice: true}}}, func(e envelope) bool {
				d := e.Envelope.DataMessage
				return d != nil && len(d.Attachments) == 1 && d.Attachments[0].ContentType == "audio/aac"
			}},
			"typing":  {lab.Letter{Kind: "typing"}, func(e envelope) bool { return e.Envelope.TypingMessage != nil }},
			"receipt": {lab.Letter{Kind: "receipt", Target: first}, func(e envelope) bool { return e.Envelope.ReceiptMessage != nil }},
			"call":    {lab.Letter{Kind: "call"}, func(e envelope) bool { return e.Envelope.CallMessage != nil }},
			"story":   {lab.Letter{Kind: "story", Text: "a day"}, func(e envelope) bool { return e.Envelope.StoryMessage != nil }},
			"timer":   {lab.Letter{Text: "this will vanish", Timer: 3600}, func(e envelope) bool { d := e.Envelope.DataMessage; return d != nil && d.ExpiresInSeconds == 3600 }},
			"sealed":  {lab.Letter{Text: "in a sealed envelope", Sealed: true}, says("in a sealed envelope")},
			"old":     {lab.Letter{Text: "held back", Timestamp: "1700000000001"}, says("held back")},
			// signal-cli tells the beginning, and that there is more.
			"long": {long, func(e envelope) bool {
				d := e.Envelope.DataMessage
				return d != nil && d.Message != nil && *d.Message == long.Text && len(d.Attachments) == 1 && d.Attachments[0].ContentType == "text/x-signal-plain"
			}},

			"garbage": {lab.Letter{Kind: "unreadable"}, func(e envelope) bool { return e.Exception != nil }},
		} {
			k.letter.Group = group
			ana.Send(k.letter)
			received(t, name, k.told)
		}
		luc.Send(lab.Letter{Phone: bot, Text: "only for you"})
		if got := received(t, "a direct message", says("only for you")); got.Envelope.DataMessage.GroupInfo != nil {
			t.Error("a direct message came as one of a group")
		}
		bot.In(t).Sync(group, "from my own phone")
		received(t, "what the account's phone wrote", func(e envelope) bool {
			return e.Envelope.SyncMessage != nil && e.Envelope.SyncMessage.SentMessage != nil && e.Envelope.SyncMessage.SentMessage.Message == "from my own phone"
		})
		copies := lab.Letter{Group: group, Text: "twice", Copies: 2}
		ana.Send(copies)
		received(t, "a message", says("twice"))
	})
}

package matrix

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"maunium.net/go/mautrix/event"

	"starling/bot"
)

// bench is an adapter with one room, without a homeserver.
func bench(t *testing.T) (*Adapter, *batch, *room) {
	t.Helper()
	a := alone(t)
	for person, name := range map[string]string{ana: "Ana", botID: "Murmur"} {
		m := &event.MemberEventContent{Membership: event.MembershipJoin, Displayname: name}
		if err := a.store.state.putMember(t.Context(), roomID, eventUser(person), m); err != nil {
			t.Fatal(err)
		}
	}
	return a, newBatch(), &room{ID: roomID, Membership: joined}
}

func parse(t *testing.T, data string) *event.Event {
	t.Helper()
	var evt event.Event
	if err := json.Unmarshal([]byte(data), &evt); err != nil {
		t.Fatal(err)
	}
	evt.RoomID = roomID
	return &evt
}

func TestWhatEventsBecome(t *testing.T) {
	const at = `"event_id":"$it","origin_server_ts":1700000000000`
	msg := func(content string) string { return ev("m.room.message", ana, content, at) }
	text := func(mut func(*bot.Incoming)) *bot.Incoming {
		in := &bot.Incoming{Room: roomID, Person: ana, Name: "Ana", Kind: bot.KindText, ID: "$it", Sent: time.UnixMilli(1700000000000)}
		mut(in)
		return in
	}
	tests := []struct {
		name, event string
		want        *bot.Incoming
	}{
		{"text", msg(`{"msgtype":"m.text","body":"/needs food"}`), text(func(in *bot.Incoming) { in.Text = "/needs food" })},
		{"a notice", msg(`{"msgtype":"m.notice","body":"/needs"}`), nil},
		{"an emote", msg(`{"msgtype":"m.emote","body":"/needs"}`), nil},
		{"another starling's message", msg(`{"msgtype":"m.text","body":"/needs","org.starling.relay":{"v":1}}`), nil},
		{"redacted", msg(`{}`), nil},
		{"a reply, with its fallback", msg(`{"msgtype":"m.text","body":"> <@starling:example.org> For when?\n> 2 of 5\n\nfriday","m.relates_to":{"m.in_reply_to":{"event_id":"$q"}}}`),
			text(func(in *bot.Incoming) { in.Text, in.ReplyTo = "friday", "$q" })},
		{"a quotation that is no reply", msg(`{"msgtype":"m.text","body":"> <x> y\nz"}`), text(func(in *bot.Incoming) { in.Text = "> <x> y\nz" })},
		{"in a thread", msg(`{"msgtype":"m.text","body":"2","m.relates_to":{"rel_type":"m.thread","event_id":"$root","is_falling_back":true,"m.in_reply_to":{"event_id":"$last"}}}`),
			text(func(in *bot.Incoming) { in.Text, in.Thread = "2", "$root" })},
		{"a reply in a thread", msg(`{"msgtype":"m.text","body":"2","m.relates_to":{"rel_type":"m.thread","event_id":"$root","is_falling_back":false,"m.in_reply_to":{"event_id":"$q"}}}`),
			text(func(in *bot.Incoming) { in.Text, in.Thread, in.ReplyTo = "2", "$root", "$q" })},
		{"an edit", msg(`{"msgtype":"m.text","body":"* 3","m.new_content":{"msgtype":"m.text","body":"3"},"m.relates_to":{"rel_type":"m.replace","event_id":"$first"}}`),
			text(func(in *bot.Incoming) { in.Kind, in.Text, in.Target = bot.KindEdit, "3", "$first" })},
		{"an edit without new content", msg(`{"msgtype":"m.text","body":"* 3","m.relates_to":{"rel_type":"m.replace","event_id":"$first"}}`),
			text(func(in *bot.Incoming) { in.Kind, in.Text, in.Target = bot.KindEdit, "3", "$first" })},
		{"mentions", msg(`{"msgtype":"m.text","body":"Cem, Ben and bot","m.mentions":{"user_ids":["@ben:example.org","@starling:example.org","@cem:example.org"]},"format":"org.matrix.custom.html","formatted_body":"<a href=\"https://matrix.to/#/@cem:example.org\">Cem</a> <a href=\"https://matrix.to/#/@eve:example.org\">Eve</a>"}`),
			text(func(in *bot.Incoming) {
				in.Text, in.Mentioned, in.Mentions = "Cem, Ben and bot", true, []string{"@cem:example.org", "@ben:example.org"}
			})},
		{"links to people, from before there were mentions", msg(`{"msgtype":"m.text","body":"x","format":"org.matrix.custom.html","formatted_body":"<a href='https://matrix.to/#/%40starling%3Aexample.org'>s</a>"}`),
			text(func(in *bot.Incoming) { in.Text, in.Mentioned = "x", true })},
		{"called by its name", msg(`{"msgtype":"m.text","body":"murmur: needs"}`), text(func(in *bot.Incoming) { in.Text, in.Mentioned = "murmur: needs", true })},
		{"called by its address", msg(`{"msgtype":"m.text","body":"@starling:example.org needs"}`), text(func(in *bot.Incoming) { in.Text, in.Mentioned = "@starling:example.org needs", true })},
		{"a command of its own", msg(`{"msgtype":"m.text","body":"/needs@starling:example.org list"}`), text(func(in *bot.Incoming) { in.Text, in.Mentioned = "/needs@starling:example.org list", true })},
		{"a command of another bot", msg(`{"msgtype":"m.text","body":"/needs@other:example.org list"}`), text(func(in *bot.Incoming) { in.Text = "/needs@other:example.org list" })},
		{"a word that begins like its name", msg(`{"msgtype":"m.text","body":"murmuration"}`), text(func(in *bot.Incoming) { in.Text = "murmuration" })},
		{"a file with a caption", msg(`{"msgtype":"m.image","body":"the door","filename":"door.jpg","url":"mxc://example.org/x","info":{"mimetype":"image/jpeg","size":7}}`),
			text(func(in *bot.Incoming) {
				in.Text, in.Files = "the door", []bot.File{{Name: "door.jpg", Type: "image/jpeg", Size: 7, URL: "mxc://example.org/x"}}
			})},
		{"a voice message", msg(`{"msgtype":"m.audio","body":"voice.ogg","file":{"url":"mxc://example.org/v"}}`),
			text(func(in *bot.Incoming) { in.Files = []bot.File{{Name: "voice.ogg", URL: "mxc://example.org/v"}} })},
		{"a structured command", msg(`{"msgtype":"m.text","body":"/needs food","m.mentions":{"user_ids":["@starling:example.org"]},"org.matrix.msc4391.command":{"command":"needs","arguments":{"what":"food","n":20,"urgent":true,"tags":["a","b"],"room":{"type":"room_id","id":"!x:y"},"none":null}}}`),
			text(func(in *bot.Incoming) {
				in.Text, in.Mentioned, in.Command = "/needs food", true, "needs"
				in.Args = map[string]string{"what": "food", "n": "20", "urgent": "true", "tags": "a b", "room": "!x:y"}
			})},
		{"a structured command for another bot", msg(`{"msgtype":"m.text","body":"/needs","m.mentions":{"user_ids":["@other:example.org"]},"org.matrix.msc4391.command":{"command":"needs"}}`),
			text(func(in *bot.Incoming) { in.Text, in.Mentions = "/needs", []string{"@other:example.org"} })},
		{"a reaction", ev("m.reaction", ana, `{"m.relates_to":{"rel_type":"m.annotation","event_id":"$q","key":"✅"}}`, at),
			text(func(in *bot.Incoming) { in.Kind, in.Text, in.Target = bot.KindReactionOn, "✅", "$q" })},
		{"a deletion", ev("m.room.redaction", ana, `{}`, at, `"redacts":"$first"`),
			text(func(in *bot.Incoming) { in.Kind, in.Target = bot.KindDeletion, "$first" })},
		{"a deletion of room version 11", ev("m.room.redaction", ana, `{"redacts":"$first"}`, at),
			text(func(in *bot.Incoming) { in.Kind, in.Target = bot.KindDeletion, "$first" })},
	}
	a, b, r := bench(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := a.translate(t.Context(), b, r, asMessage(parse(t, tt.event)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(bot.Incoming{}, "Received")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A redaction names only the reaction: what it was and whose, the adapter remembers.
func TestReactionIsTakenOff(t *testing.T) {
	a, b, r := bench(t)
	ctx := t.Context()
	b.own["$answer"] = true
	read := func(b *batch, data string) *bot.Incoming {
		in, err := a.translate(ctx, b, r, asMessage(parse(t, data)))
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	read(b, ev("m.reaction", ana, `{"m.relates_to":{"rel_type":"m.annotation","event_id":"$answer","key":"👍"}}`, `"event_id":"$r"`))
	read(b, ev("m.reaction", ana, `{"m.relates_to":{"rel_type":"m.annotation","event_id":"$other","key":"👍"}}`, `"event_id":"$r2"`))
	off := ev("m.room.redaction", "@mod:example.org", `{"redacts":"$r"}`)
	check := func(in *bot.Incoming) {
		t.Helper()
		if in.Kind != bot.KindReactOff || in.Target != "$answer" || in.Text != "👍" || in.Person != ana {
			t.Errorf("%+v", in)
		}
	}
	check(read(b, off)) // in the same sync
	if err := a.commit(ctx, b, "s1"); err != nil {
		t.Fatal(err)
	}
	check(read(newBatch(), off)) // and later
	// Reactions between people are not the bot's business and not remembered.
	if in := read(newBatch(), ev("m.room.redaction", ana, `{"redacts":"$r2"}`)); in.Kind != bot.KindDeletion {
		t.Errorf("%+v", in)
	}
}

func FuzzTranslate(f *testing.F) {
	for _, seed := range []string{
		`{"msgtype":"m.text","body":"/needs","m.mentions":{"user_ids":["@a:b"]}}`,
		`{"msgtype":"m.text","body":"x","format":"org.matrix.custom.html","formatted_body":"<a href=\"https://matrix.to/#/@a:b\">"}`,
		`{"msgtype":"m.text","body":"> <@a:b> x\n\ny","m.relates_to":{"rel_type":"m.thread","event_id":"$a","m.in_reply_to":{"event_id":"$b"}}}`,
		`{"msgtype":"m.text","body":"","org.matrix.msc4391.command":{"command":"a","arguments":{"b":[1,{"id":"x"}]}}}`,
	} {
		f.Add(seed)
	}
	a := &Adapter{me: botID}
	f.Fuzz(func(t *testing.T, content string) {
		var evt event.Event
		if json.Unmarshal([]byte(ev("m.room.message", ana, content)), &evt) != nil || asMessage(&evt).Content.ParseRaw(evt.Type) != nil {
			return
		}
		in := &bot.Incoming{}
		c, ok := evt.Content.Parsed.(*event.MessageEventContent)
		if ok && a.message(in, &evt, c, "Murmur") && len(in.Mentions) > maxMentions {
			t.Errorf("%d mentions", len(in.Mentions))
		}
	})
}

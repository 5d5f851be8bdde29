package matrix

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix/event"

	"starling/bot"
	"starling/locales/markup"
)

// FuzzSync puts one event that anybody on any server could have written into an answer to /sync. One that is malformed is passed over:
// the answer is taken in all the same, for else the bot would ask for it again for ever, and hear nobody any more.
func FuzzSync(f *testing.F) {
	at := fmt.Sprintf(`"origin_server_ts":%d,"event_id":"$f"`, time.Now().UnixMilli())
	for i, seed := range []string{
		ev("m.room.message", ana, `{"msgtype":"m.text","body":"/needs","m.mentions":{"user_ids":["@a:b"],"room":true}}`),
		ev("m.room.message", ana, `{"msgtype":"m.text","body":"* x","m.new_content":{"msgtype":"m.text","body":"x"},"m.relates_to":{"rel_type":"m.replace","event_id":"$e1"}}`),
		ev("m.room.message", ana, `{"msgtype":"m.image","body":"x","url":"mxc://a/b","info":{"size":-1,"mimetype":7}}`),
		ev("m.room.message", ana, `{"msgtype":"m.text","body":"/x","org.matrix.msc4391.command":{"command":"needs list","arguments":{"page":{"x":[1,2,{"id":"@a:b"}]}}}}`),
		ev("m.room.message", botID, `{"msgtype":"m.text","body":"own"}`, `"unsigned":{"transaction_id":"x"}`),
		ev("m.room.encrypted", ana, `{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":"AwgAEnACgAkLmt6qF84IK++J7UDH2Za1YVchHyprqTqsg2yyOwAtHYZTwyNg2N4vmf27Fh0PlGVDSeUxNOnMHHpxoM7IR5ki","session_id":"s","sender_key":"k","device_id":"D"}`),
		ev("m.room.encrypted", ana, `{"algorithm":"m.olm.v1.curve25519-aes-sha2","ciphertext":{}}`),
		ev("m.reaction", ana, `{"m.relates_to":{"rel_type":"m.annotation","event_id":"$e1","key":"✅"}}`),
		ev("m.room.redaction", ana, `{"redacts":"$e1"}`),
		ev("m.room.redaction", ana, `{}`, `"redacts":"$e1"`),
		ev("m.sticker", ana, `{"body":"x"}`),
		ev("m.room.member", ana, `{"membership":"leave"}`, `"state_key":"@ana:example.org"`),
		ev("m.room.member", ana, `{"membership":"ban"}`, `"state_key":"`+botID+`"`),
		ev("m.room.member", ana, `{"membership":"join","displayname":7}`, `"state_key":"not an address"`),
		ev("m.room.power_levels", ana, `{"users":{"@ana:example.org":"100","x":null},"users_default":1e300,"events":[]}`, `"state_key":""`),
		ev("m.room.create", ana, `{"predecessor":{"room_id":"!old:example.org","event_id":7},"room_version":"12"}`, `"state_key":""`),
		ev("m.room.encryption", ana, `{"algorithm":"m.megolm.v1.aes-sha2","rotation_period_ms":-1}`, `"state_key":""`),
		ev("m.room.tombstone", ana, `{"replacement_room":"!new:evil.example","body":"x"}`, `"state_key":""`),
		ev("m.room.name", ana, `{"name":"\u202e\u0000"}`, `"state_key":""`),
		ev("m.direct", ana, `{"@ana:example.org":["!room:example.org",7]}`),
		ev("m.room_key", ana, `{"algorithm":"x"}`), ev("m.forwarded_room_key", ana, `{}`), ev("m.key.verification.request", ana, `{}`), ev(fenceType.Type, ana, `{"id":7}`),
		`{"type":7}`, `{}`, `null`, `[]`, `{"type":"m.room.message","content":null,` + at + `}`, `{"type":"m.room.message","sender":"` + ana + `","content":{"body":{}},` + at + `}`,
		`{"type":"m.room.message","sender":"","content":{"msgtype":"m.text","body":"x"},"origin_server_ts":-9223372036854775808,"event_id":""}`,
	} {
		f.Add(uint8(0), seed)
		f.Add(uint8(i), seed)
	}
	acc := newAccount(f, newHomeserver(f))
	a := acc.open()
	f.Cleanup(func() { a.Close() })
	in := newInbox()
	n := 0
	f.Fuzz(func(t *testing.T, where uint8, one string) {
		if !json.Valid([]byte(one)) {
			return // the homeserver writes JSON
		}
		n++
		ctx := t.Context()
		at := []string{"timeline", "state", "invite", "to_device", "account_data"}[int(where)%5]
		events := map[string]string{at: one}
		answer := fmt.Sprintf(`{"next_batch":"s%d","to_device":{"events":[%s]},"account_data":{"events":[%s]},"rooms":{"join":{%q:{"state":{"events":[%s]},"timeline":{"events":[%s]}}},"invite":{"!invited:example.org":{"invite_state":{"events":[%s]}}}}}`,
			n, events["to_device"], events["account_data"], roomID, events["state"], events["timeline"], events["invite"])
		for person, name := range map[string]string{ana: "Ana", botID: "Murmur"} {
			m := &event.MemberEventContent{Membership: event.MembershipJoin, Displayname: name}
			if err := a.store.state.putMember(ctx, roomID, eventUser(person), m); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.store.putRoom(ctx, &room{ID: roomID, Membership: joined}); err != nil {
			t.Fatal(err)
		}
		var resp response
		if err := json.Unmarshal([]byte(answer), &resp); err != nil {
			t.Fatalf("%s: %s: %v", at, one, err)
		}
		b, _, err := a.read(ctx, in, &resp, "s0", false)
		if err != nil {
			t.Fatalf("%s: %s: %v", at, one, err)
		}
		for _, got := range b.in {
			if got.Kind == "" || got.Room == "" || len(got.Mentions) > maxMentions {
				t.Errorf("%s: %s became %+v", at, one, got)
			}
			if at == "timeline" && got.Kind == bot.KindText && (got.Person == "" || got.Person == botID || got.ID == "") {
				t.Errorf("%s became %+v", one, got)
			}
		}
		if err := a.commit(ctx, b, resp.NextBatch); err != nil {
			t.Fatalf("%s: %s: it cannot be stored: %v", at, one, err)
		}
	})
}

// FuzzNobodyIsPinged: whatever somebody typed into what the bot says, the event names whom it mentions, and that is nobody, or who is
// replied to. Nor does it become a link to a person, which clients show as a mention.
func FuzzNobodyIsPinged(f *testing.F) {
	for _, s := range []string{"@room", "@ana:example.org", "https://matrix.to/#/@ana:example.org", "[ana](https://matrix.to/#/@ana:example.org)", "<a href=\"https://matrix.to/#/@ana:example.org\">ana</a>",
		"matrix:u/ana:example.org", "\ufffc", "<mx-reply>x</mx-reply>", "**@room**", "- @room\n- ana", "> <@ana:example.org> x", "@\u200broom", "＠room"} {
		f.Add(s, false, false)
		f.Add(s, true, true)
	}
	f.Fuzz(func(t *testing.T, typed string, reply, edit bool) {
		out := bot.Outgoing{Kind: bot.OutMessage, Text: "**Alert** " + markup.Isolate(markup.Escape(markup.Clean(typed)))}
		if reply {
			out.ReplyTo, out.ReplyPerson = "$q", ana
		}
		if edit {
			out.Kind, out.Target = bot.OutEdit, "$mine"
		}
		var c struct {
			Mentions  *event.Mentions `json:"m.mentions"`
			Formatted string          `json:"formatted_body"`
			New       *struct {
				Mentions  *event.Mentions `json:"m.mentions"`
				Formatted string          `json:"formatted_body"`
			} `json:"m.new_content"`
		}
		raw, err := json.Marshal(textContent(out))
		if err == nil {
			err = json.Unmarshal(raw, &c)
		}
		if err != nil {
			t.Fatal(err)
		}
		check := func(m *event.Mentions, html string) {
			if m == nil || m.Room || len(m.UserIDs) > 1 || len(m.UserIDs) == 1 && (!reply || m.UserIDs[0] != ana) {
				t.Errorf("%q: mentions %+v in %s", typed, m, raw)
			}
			if strings.Contains(html, "<a ") || strings.Contains(html, "<mx-reply") {
				t.Errorf("%q: a link in %s", typed, html)
			}
		}
		check(c.Mentions, c.Formatted)
		if c.New != nil {
			check(c.New.Mentions, c.New.Formatted)
		}
	})
}

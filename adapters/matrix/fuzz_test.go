package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// FuzzDecrypted opens ciphertext that a member made of anything at all, with any relation outside, which homeservers read: what no client
// would write is passed over, and what belongs to another room says nothing in this one.
func FuzzDecrypted(f *testing.F) {
	in := func(kind, content string) string {
		return fmt.Sprintf(`{"room_id":%q,"type":%s,"content":%s}`, roomID, kind, content)
	}
	const reply, thread = `{"m.in_reply_to":{"event_id":"$e1"}}`, `{"rel_type":"m.thread","event_id":"$e1","is_falling_back":true,"m.in_reply_to":{"event_id":"$e2"}}`
	for _, plain := range []string{
		in(`"m.room.message"`, `{"msgtype":"m.text","body":"/needs"}`),
		in(`"m.room.message"`, `{"msgtype":"m.text","body":"* x","m.new_content":{"msgtype":"m.text","body":"x"},"m.relates_to":{"rel_type":"m.replace","event_id":"$e1"}}`),
		in(`"m.room.message"`, `{"msgtype":"m.text","body":"x","m.relates_to":7}`), in(`"m.room.message"`, `{"msgtype":"m.text","body":"x","m.relates_to":[{"rel_type":{}}]}`),
		in(`"m.room.message"`, `{"msgtype":7,"body":{},"m.mentions":"@ana:example.org"}`), in(`"m.room.message"`, `null`), in(`"m.room.message"`, `[]`), in(`"m.room.message"`, `"x"`),
		in(`"m.reaction"`, `{"m.relates_to":{"rel_type":"m.annotation","event_id":"$e1","key":"✅"}}`), in(`"m.reaction"`, `{"m.relates_to":{"rel_type":"m.annotation","event_id":7,"key":[]}}`),
		in(`"m.room.redaction"`, `{"redacts":"$e1"}`), in(`"m.room.encrypted"`, `{"algorithm":"m.megolm.v1.aes-sha2"}`), in(`"m.sticker"`, `{"body":"x","url":7}`),
		in(`7`, `{"msgtype":"m.text","body":"x"}`), in(`{}`, `{}`), in(`null`, `{}`), in(`""`, `{}`), in(`"m.room.member"`, `{"membership":"ban"}`),
		`{"room_id":"!other:example.org","type":"m.room.message","content":{"msgtype":"m.text","body":"elsewhere"}}`,
		`{"room_id":7,"type":"m.room.message","content":{"msgtype":"m.text","body":"x"}}`, `{"room_id":["` + roomID + `"]}`,
		`{"room_id":"` + roomID + `","state_key":"","type":"m.room.name","content":{"name":"x"}}`, `{"room_id":"` + roomID + `","state_key":7}`,
		`{"type":"m.room.message","content":{"msgtype":"m.text","body":"nowhere"}}`, `{}`, `null`, `[]`, `7`, ``, `{`, "\x00\xff",
	} {
		for _, relation := range []string{`null`, `7`, `[]`, `{}`, `{"rel_type":7,"event_id":{}}`, reply, thread} {
			f.Add(plain, relation)
		}
	}
	a := alone(f)
	s := newSpeaker(f)
	s.hands(a)
	if err := a.store.putRoom(f.Context(), &room{ID: roomID, Membership: joined, Encrypted: true}); err != nil {
		f.Fatal(err)
	}
	n := 0
	f.Fuzz(func(t *testing.T, plain, relation string) {
		if plain == "" || !json.Valid([]byte(relation)) {
			return // nothing is not encrypted, and the homeserver writes JSON
		}
		n++
		s.t = t
		evt := strings.Replace(s.encrypts(plain), `"content":{`, `"content":{"m.relates_to":`+relation+`,`, 1)
		var resp response
		if err := json.Unmarshal([]byte(fmt.Sprintf(`{"next_batch":"s%d",%s`, n, strings.TrimPrefix(inRoom(nil, []string{evt}), "{"))), &resp); err != nil {
			t.Fatal(err)
		}
		b, _, err := a.read(t.Context(), newInbox(), &resp, "s0", false)
		if err != nil {
			t.Fatalf("%s, %s: %v", plain, relation, err)
		}
		var envelope struct {
			Room string `json:"room_id"`
		}
		_ = json.Unmarshal([]byte(plain), &envelope)
		for _, got := range b.in {
			if !got.Encrypted || got.Person != ana || got.ID == "" || got.Kind == bot.KindDeletion || envelope.Room != roomID {
				t.Errorf("%s, %s became %+v", plain, relation, got)
			}
		}
		if err := a.commit(t.Context(), b, resp.NextBatch); err != nil {
			t.Fatalf("%s, %s: it cannot be stored: %v", plain, relation, err)
		}
	})
}

// answering gives every request the same answer.
type answering struct{ answer *http.Response }

func (a answering) RoundTrip(*http.Request) (*http.Response, error) { return a.answer, nil }

// answersWith gives the same answer to every call.
type answersWith string

func (body answersWith) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(body))), Request: r}, nil
}

// FuzzAnswer reads whatever a homeserver, or what stands before it, may write when it says yes to anything but /sync: nothing of it ends
// the bot, unless it says that the device is gone, and the log quotes nothing of it.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		`{"chunk":[],"end":"e"}`, `{"chunk":null}`, `{"chunk":{}}`, `{"chunk":[7,null,{"type":7},[]],"end":7}`, `{"chunk":[` + ev("m.room.message", ana, `{"msgtype":"m.text","body":"/needs"}`) + `],"end":"e"}`,
		`{"chunk":[{"origin_server_ts":-9223372036854775808},{"origin_server_ts":1e300}],"end":""}`, `{"device_keys":{}}`, `{"device_keys":{"` + botID + `":{}}}`, `{"device_keys":{"` + botID + `":{"D":{"keys":7}}}}`,
		`{"device_keys":7,"failures":[]}`, `{"user_id":"@ana:example.org","device_id":7}`, `{"user_id":""}`, `{"membership":"join"}`, `{"membership":{}}`, `{"algorithm":"m.megolm.v1.aes-sha2"}`, `{"algorithm":7}`,
		`{"event_id":"$e"}`, `{"event_id":7}`, `{"event_id":""}`, `{"errcode":"M_UNKNOWN_TOKEN"}`, `{}`, `null`, `[]`, `7`, `"@ana:example.org"`, ``, `{`, `<html>@ana</html>`, "\x00\xff",
	} {
		f.Add(body)
	}
	a := alone(f)
	f.Fuzz(func(t *testing.T, body string) {
		ctx, now := quiet(t.Context()), time.Now()
		a.cli.Client = &http.Client{Transport: objects{answersWith(body)}}
		found, word, err := a.fillGap(ctx, gap{Room: roomID, From: "t", Since: now.Add(-time.Hour), Until: now})
		if err == nil && len(word) > 0 && len(found) < gapPages {
			t.Errorf("%q is too much", body)
		}
		_, encrypted := a.mustEncrypt(ctx, "!elsewhere:example.org", false)
		_, sends := a.sendEvent(ctx, roomID, event.EventMessage, map[string]any{}, "txn")
		_, whoami := a.cli.Whoami(ctx)
		for what, err := range map[string]error{"/messages": err, "/keys/query": checkDevice(ctx, a.cli, a.mach), "/whoami": whoami, "encryption": encrypted,
			"a membership": a.whetherGone(ctx, roomID, &bot.SendError{Err: errNotMatrix, Permanent: true, Gone: true}), "a send": sends} {
			switch {
			case err == nil:
			case loggedOut(err), errors.Is(err, ErrDeviceLost) && !strings.Contains(body, botID):
				t.Errorf("%q, the answer to %s, ended the bot: %v", body, what, err)
			case strings.ContainsAny(clean(err).Error(), "@!$<"), len(clean(err).Error()) > 200:
				t.Errorf("of %q, the answer to %s, the log would hold %q", body, what, clean(err))
			}
		}
	})
}

// FuzzRefusal reads what a homeserver, or what stands before it, may write when it says no: the bot waits for a time that has an end, and
// the log quotes nothing of it.
func FuzzRefusal(f *testing.F) {
	for _, body := range []string{
		`{"errcode":"M_LIMIT_EXCEEDED","error":"Too Many Requests","retry_after_ms":2000}`, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":-1}`, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":"2000"}`,
		`{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1e300}`, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":0.1}`, `{"errcode":7}`, `{"errcode":"@ana:example.org said !no"}`, `{"error":{}}`,
		`{"errcode":"M_UNKNOWN_TOKEN","soft_logout":true}`, `{"errcode":"M_UNKNOWN_TOKEN","soft_logout":"yes"}`, `{"errcode":"M_FORBIDDEN"}`, `null`, `[]`, `7`, ``, `<html>@ana</html>`, `{`,
	} {
		for _, after := range []string{"", "1", "-1", "99999999999999999999", "86401", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "soon"} {
			f.Add(uint16(29), body, after)
			f.Add(uint16(len(body)), body, after)
		}
	}
	f.Fuzz(func(t *testing.T, code uint16, body, after string) {
		answer := &http.Response{StatusCode: 400 + int(code)%200, Header: http.Header{"Retry-After": {after}, "Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
		cli, err := newClient("https://matrix.example", &http.Client{Transport: answering{answer}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = cli.Whoami(t.Context())
		if err == nil {
			t.Fatalf("%d %q is no error", answer.StatusCode, body)
		}
		loggedOut(err)
		softLogout(err)
		if wait := retryAfter(err); wait < 0 || wait > 24*time.Hour {
			t.Errorf("%q, %q: waits for %v", body, after, wait)
		}
		var se *bot.SendError
		switch err := sendError(err); {
		case !errors.As(err, &se):
			t.Errorf("%q became %v", body, err)
		case se.After < 0 || se.After > 25*time.Hour, se.Gone && !se.Permanent, se.Permanent && se.Account:
			t.Errorf("%d %q, %q became %+v", answer.StatusCode, body, after, se)
		case strings.ContainsAny(se.Error(), "@!$<"), len(se.Error()) > 200:
			t.Errorf("the log would hold %q", se.Error())
		}
	})
}

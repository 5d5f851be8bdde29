package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

func eventUser(s string) id.UserID { return id.UserID(s) }

func asMessage(evt *event.Event) *event.Event {
	evt.Type.Class = event.MessageEventType
	return evt
}

func TestWhatIsSent(t *testing.T) {
	tests := []struct {
		name string
		out  bot.Outgoing
		want string
	}{
		{"an answer", bot.Outgoing{Kind: bot.OutMessage, Text: "**Saved:** N-7K3Q"},
			`{"body":"Saved: N-7K3Q","format":"org.matrix.custom.html","formatted_body":"<strong>Saved:</strong> N-7K3Q","m.mentions":{},"msgtype":"m.notice","org.starling.relay":{"v":1}}`},
		{"an alert rings", bot.Outgoing{Kind: bot.OutMessage, Text: "now", Rings: true},
			`{"body":"now","m.mentions":{},"msgtype":"m.text","org.starling.relay":{"v":1}}`},
		{"what somebody typed pings nobody", bot.Outgoing{Kind: bot.OutMessage, Text: "@room @ana:example.org"},
			`{"body":"@room @ana:example.org","m.mentions":{},"msgtype":"m.notice","org.starling.relay":{"v":1}}`},
		{"in a thread", bot.Outgoing{Kind: bot.OutMessage, Text: "x", Thread: "$root"},
			`{"body":"x","m.mentions":{},"msgtype":"m.notice","org.starling.relay":{"v":1},"m.relates_to":{"rel_type":"m.thread","event_id":"$root","is_falling_back":true,"m.in_reply_to":{"event_id":"$root"}}}`},
		{"a reply mentions who is replied to", bot.Outgoing{Kind: bot.OutMessage, Text: "x", ReplyTo: "$q", ReplyPerson: ana},
			`{"body":"x","m.mentions":{"user_ids":["@ana:example.org"]},"msgtype":"m.notice","org.starling.relay":{"v":1},"m.relates_to":{"m.in_reply_to":{"event_id":"$q"}}}`},
		{"a reply in a thread", bot.Outgoing{Kind: bot.OutMessage, Text: "x", Thread: "$root", ReplyTo: "$q"},
			`{"body":"x","m.mentions":{},"msgtype":"m.notice","org.starling.relay":{"v":1},"m.relates_to":{"rel_type":"m.thread","event_id":"$root","is_falling_back":false,"m.in_reply_to":{"event_id":"$q"}}}`},
		{"an edit", bot.Outgoing{Kind: bot.OutEdit, Text: "_y_", Target: "$mine", Rings: true},
			`{"body":"* y","format":"org.matrix.custom.html","formatted_body":"* <em>y</em>","m.mentions":{},"msgtype":"m.text","org.starling.relay":{"v":1},"m.relates_to":{"rel_type":"m.replace","event_id":"$mine"},"m.new_content":{"body":"y","format":"org.matrix.custom.html","formatted_body":"<em>y</em>","m.mentions":{},"msgtype":"m.text"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.Marshal(textContent(tt.out))
			if err != nil {
				t.Fatal(err)
			}
			var g, w any
			if err := errors.Join(json.Unmarshal(got, &g), json.Unmarshal([]byte(tt.want), &w)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(w, g); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// inRun is an adapter that has synced once.
func inRun(t *testing.T, h *homeserver, answer string) (*Adapter, *account, func() error) {
	t.Helper()
	acc := newAccount(t, h)
	a := acc.open()
	h.push(answer)
	stop := acc.run(a, newInbox())
	select {
	case <-a.ready:
	case <-time.After(10 * time.Second):
		t.Fatal("the first sync never came")
	}
	return a, acc, stop
}

func TestSameRowIsTheSameTransaction(t *testing.T) {
	h := newHomeserver(t)
	a, _, _ := inRun(t, h, settled())
	out := bot.Outgoing{ID: "row-1", Room: roomID, Kind: bot.OutMessage, Text: "x"}
	for range 2 {
		if _, err := a.Send(t.Context(), out); err != nil {
			t.Fatal(err)
		}
	}
	out.ID = "row-2"
	eid, err := a.Send(t.Context(), out)
	if err != nil || eid != "$sent3" {
		t.Fatal(eid, err)
	}
	if h.calls[0].Path != h.calls[1].Path || h.calls[1].Path == h.calls[2].Path {
		t.Errorf("paths %q %q %q", h.calls[0].Path, h.calls[1].Path, h.calls[2].Path)
	}
}

func TestNothingGoesInClearIntoAnEncryptedRoom(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		told         bool
	}{
		{"the room says so", settled(encryption()), false},
		{"the engine says so", settled(), true},
		{"an encryption that nobody knows", settled(ev("m.room.encryption", ana, `{"algorithm":"rot13"}`, `"state_key":""`)), false},
		{"and one that cannot be read", settled(ev("m.room.encryption", ana, `{"algorithm":13}`, `"state_key":""`)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHomeserver(t)
			a, acc, _ := inRun(t, h, c.answer)
			for _, kind := range []bot.OutKind{bot.OutMessage, bot.OutEdit, bot.OutFile} {
				out := bot.Outgoing{ID: string(kind), Room: roomID, Kind: kind, Text: "the plan", Encrypted: c.told,
					File: &bot.FileOut{Name: "the plan.txt", Type: "text/plain", Description: "the plan", Data: []byte("the plan")}}
				if _, err := a.Send(t.Context(), out); err != nil && kind != bot.OutFile {
					t.Fatal(err)
				}
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.called("/send/m.room.encrypted/") == nil {
				t.Error("nothing was sent encrypted")
			}
			for _, call := range h.calls {
				if strings.Contains(call.Body, "the plan") || strings.Contains(call.Path, "/send/m.room.message/") {
					t.Errorf("in clear: %s %s", call.Path, call.Body)
				}
			}
			acc.checkLog()
		})
	}
}

func TestRoomThatNoSyncHasShownIsAskedFor(t *testing.T) {
	h := newHomeserver(t)
	a, _, _ := inRun(t, h, settled())
	h.fail(200, `{"algorithm":"m.megolm.v1.aes-sha2"}`, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/state/m.room.encryption") })
	if secret, err := a.mustEncrypt(t.Context(), "!other:example.org", false); !secret || err != nil {
		t.Error(secret, err)
	}
	h.fail(404, `{"errcode":"M_NOT_FOUND"}`, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/state/m.room.encryption") })
	if secret, err := a.mustEncrypt(t.Context(), "!other:example.org", false); secret || err != nil {
		t.Error(secret, err)
	}
	h.fail(404, `<html>nothing here</html>`, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/state/m.room.encryption") })
	if _, err := a.mustEncrypt(t.Context(), "!other:example.org", false); err == nil {
		t.Error("what a proxy does not find counts as not encrypted")
	}
	h.fail(502, `bad gateway`, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/state/m.room.encryption") })
	if _, err := a.mustEncrypt(t.Context(), "!other:example.org", false); err == nil {
		t.Error("an unknown room counts as not encrypted")
	}
}

func TestSendErrors(t *testing.T) {
	tests := []struct {
		code   int
		body   string
		member string // what the homeserver says of the bot's membership then
		want   bot.SendError
	}{
		{429, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":7000}`, "", bot.SendError{Account: true, After: 7*time.Second + 2*time.Millisecond}},
		{429, `<html>`, "", bot.SendError{Account: true, After: 2 * time.Second}},
		{403, `{"errcode":"M_FORBIDDEN","error":"@starling:example.org not in room"}`, `leave`, bot.SendError{Permanent: true, Gone: true}},
		{403, `{"errcode":"M_FORBIDDEN"}`, `join`, bot.SendError{Permanent: true}},
		{404, `{"errcode":"M_NOT_FOUND"}`, "", bot.SendError{Permanent: true, Gone: true}},
		{413, `{"errcode":"M_TOO_LARGE"}`, "", bot.SendError{Permanent: true}},
		{400, `{"errcode":"M_BAD_JSON"}`, "", bot.SendError{Permanent: true}},
		{403, `{"errcode":"M_RESOURCE_LIMIT_EXCEEDED"}`, "", bot.SendError{Account: true, After: 10 * time.Minute}},
		{500, `{"errcode":"M_UNKNOWN"}`, "", bot.SendError{}},
		{502, `<html>!room:example.org</html>`, "", bot.SendError{}},
		{200, `garbage`, "", bot.SendError{}},
		{200, `{}`, "", bot.SendError{}},
		{403, `<html>`, "", bot.SendError{}},
		{403, `{"errcode":"M_FORBIDDEN"}`, ` `, bot.SendError{}},
	}
	h := newHomeserver(t)
	a, _, _ := inRun(t, h, settled())
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.code, tt.body), func(t *testing.T) {
			h.mu.Lock()
			h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.Contains(r.URL.Path, "/send/"):
					w.WriteHeader(tt.code)
					fmt.Fprint(w, tt.body)
				case strings.Contains(r.URL.Path, "/state/m.room.member/") && tt.member != "":
					fmt.Fprintf(w, `{"membership":%q}`, strings.TrimSpace(tt.member))
				case strings.Contains(r.URL.Path, "/state/m.room.member/"):
					w.WriteHeader(404)
					fmt.Fprint(w, `{"errcode":"M_NOT_FOUND"}`)
				default:
					return false
				}
				return true
			}
			h.mu.Unlock()
			_, err := a.Send(t.Context(), bot.Outgoing{ID: "x", Room: roomID, Kind: bot.OutMessage, Text: "x"})
			var got *bot.SendError
			if !errors.As(err, &got) {
				t.Fatalf("error %v", err)
			}
			for _, secret := range []string{"@", "!", "example.org"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows %q", err)
				}
			}
			got = &bot.SendError{Permanent: got.Permanent, Gone: got.Gone, Account: got.Account, After: got.After}
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A homeserver may take a while to see the bot in the room that it has let it into.
func TestNothingIsSetAsideRightAfterTheBotHasCome(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	move := movable(acc)
	in := newInbox()
	a := acc.open()
	acc.run(a, in)
	h.push(settled())
	h.push(invite("!new:example.org", ana, ""))
	h.until("the join", func() bool { return h.called("/join/!new:example.org") != nil })
	h.push(strings.ReplaceAll(inRoom([]string{member(ana, "join")}, []string{member(botID, "join")}), roomID, "!new:example.org"))
	in.until(t, "the room", func(in bot.Incoming) bool { return in.Kind == bot.KindRoom && in.Room == "!new:example.org" })
	h.fail(403, `{"errcode":"M_FORBIDDEN"}`, func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/send/") || strings.Contains(r.URL.Path, "/state/")
	})
	send := func(room string) bot.SendError {
		t.Helper()
		var got *bot.SendError
		if _, err := a.Send(t.Context(), bot.Outgoing{ID: "x", Room: room, Kind: bot.OutMessage, Text: "x"}); !errors.As(err, &got) {
			t.Fatalf("error %v", err)
		}
		return *got
	}
	if got := send("!new:example.org"); got.Permanent || got.Gone || got.Account || got.After == 0 {
		t.Errorf("at once it is %+v", got)
	}
	if got := send(roomID); !got.Gone {
		t.Errorf("in a room in which it was before, it is %+v", got)
	}
	move(settleFor + time.Second)
	if got := send("!new:example.org"); !got.Gone {
		t.Errorf("later it is %+v", got)
	}
}

func TestServerThatIsDownIsTriedAgain(t *testing.T) {
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	h := newHomeserver(t)
	a, _, _ := inRun(t, h, settled())
	u := *a.cli.HomeserverURL
	cli, err := newClient(down.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := &Adapter{cfg: a.cfg, store: a.store, cli: cli, mach: a.mach, me: a.me, ready: a.ready, fatal: make(chan error, 1)}
	_, err = gone.Send(context.Background(), bot.Outgoing{ID: "x", Room: roomID, Kind: bot.OutMessage, Text: "x"})
	var se *bot.SendError
	if !errors.As(err, &se) || se.Permanent || se.Account || strings.Contains(err.Error(), "/rooms/") {
		t.Errorf("%v (%+v), %s", err, se, u.Host)
	}
}

func TestReactionThatIsThereAlreadyIsSent(t *testing.T) {
	h := newHomeserver(t)
	a, _, _ := inRun(t, h, settled())
	h.fail(400, `{"errcode":"M_DUPLICATE_ANNOTATION"}`, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/m.reaction/") })
	if _, err := a.Send(t.Context(), bot.Outgoing{ID: "x", Room: roomID, Kind: bot.OutReaction, Target: "$q", Text: "✅"}); err != nil {
		t.Error(err)
	}
}

func TestDirectChatIsFoundOrMade(t *testing.T) {
	h := newHomeserver(t)
	a, _, _ := inRun(t, h, settled())
	h.fail(200, `{}`, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/createRoom") })
	if room, err := a.OpenDirect(t.Context(), "@cem:example.org"); err == nil {
		t.Errorf("a room without an id is taken for %q", room)
	}
	h.mended()
	first, err := a.OpenDirect(t.Context(), "@cem:example.org")
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.OpenDirect(t.Context(), "@cem:example.org")
	if err != nil || again != first {
		t.Errorf("%s, then %s (%v)", first, again, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.calls) != 1 || !strings.Contains(h.calls[0].Body, "m.megolm.v1.aes-sha2") {
		t.Errorf("calls %+v", h.calls)
	}
}

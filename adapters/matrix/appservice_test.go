package matrix

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"starling/bot"
)

// asked collects the calls by who makes them: "device" or "service".
func asked(h *homeserver, token string, refuse bool) func() []string {
	var calls []string
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		who := "device"
		if r.Header.Get("Authorization") == "Bearer "+token {
			who = "service"
			if r.URL.Query().Get("user_id") != botID || r.URL.Query().Get("device_id") != "DEV" {
				h.t.Errorf("the service asks %s for nobody", r.URL)
			}
		}
		for _, what := range []string{"/send/", "/redact/", "/leave", "/join/", "/createRoom", "/sync", "/whoami", "/keys/"} {
			if strings.Contains(r.URL.Path, what) {
				h.mu.Lock()
				calls = append(calls, who+" "+what)
				h.mu.Unlock()
			}
		}
		if refuse && who == "service" {
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"errcode":"M_UNKNOWN_TOKEN"}`))
			return true
		}
		return false
	}
	return func() []string {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.Clone(calls)
	}
}

func registered(t *testing.T, acc *account) (token string) {
	t.Helper()
	file, written, err := WriteRegistration(acc.dir, botID)
	if err != nil || !written {
		t.Fatal(written, err)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("the registration has mode %v, %v", st.Mode(), err)
	}
	if token, err = serviceToken(acc.dir); err != nil || len(token) < 40 {
		t.Fatalf("token %q, %v", token, err)
	}
	if _, written, err := WriteRegistration(acc.dir, botID); err != nil || written {
		t.Fatalf("a second registration: %v, %v", written, err)
	}
	if again, err := serviceToken(acc.dir); err != nil || again != token {
		t.Fatal("the token changed")
	}
	return token
}

// What is limited goes out as the service, all else as the device; what comes back is known without a transaction id.
func TestTheApplicationServiceSpeaksAndTheDeviceListens(t *testing.T) {
	h := newHomeserver(t)
	acc := newAccount(t, h)
	calls := asked(h, registered(t, acc), false)
	a, in := acc.open(), newInbox()
	h.push(settled())
	acc.run(a, in)
	for _, out := range []bot.Outgoing{
		{ID: "x-1", Kind: bot.OutMessage, Text: "alert"},
		{ID: "x-2", Kind: bot.OutReaction, Text: "✅", Target: "$e"},
		{ID: "x-3", Kind: bot.OutDelete, Target: "$e"},
	} {
		out.Room = roomID
		if _, err := a.Send(t.Context(), out); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.OpenDirect(t.Context(), ana); err != nil {
		t.Fatal(err)
	}
	for _, call := range calls() {
		who, what, _ := strings.Cut(call, " ")
		if speaks := slices.Contains([]string{"/send/", "/redact/", "/createRoom"}, what); speaks != (who == "service") && what != "/whoami" {
			t.Errorf("call %s", call)
		}
	}

	h.mu.Lock()
	sent := slices.Clone(h.calls)
	h.mu.Unlock()
	var echoes []string
	for i, id := range []string{"x-1", "x-2", "x-3"} {
		if strings.Contains(sent[i].Body, id) {
			t.Errorf("what is sent shows its id: %s", sent[i].Body)
		}
		kind := []string{"m.room.message", "m.reaction", "m.room.redaction"}[i]
		echoes = append(echoes, ev(kind, botID, sent[i].Body, `"event_id":"$`+id+`"`))
	}
	// Somebody else's copy of a mark says nothing, nor does one in another room.
	h.push(inRoom(nil, append([]string{ev("m.room.message", ana, sent[0].Body, `"event_id":"$forged"`)}, echoes...)))
	for _, id := range []string{"x-1", "x-2", "x-3"} {
		echo := in.until(t, "the echo of "+id, func(in bot.Incoming) bool { return in.Kind == bot.KindEcho && in.Target == id })
		if echo.ID != "$"+id {
			t.Errorf("%s came back as %s", id, echo.ID)
		}
	}
	var content map[string]any
	if err := json.Unmarshal([]byte(sent[0].Body), &content); err != nil {
		t.Fatal(err)
	}
	if _, err := a.store.box.Open(markPlace("!other:example.org"), []byte(content[sentMark].(string))); err == nil {
		t.Error("a mark opens in another room")
	}
	acc.checkLog()
}

// A homeserver that does not know the registration, or no longer, gets an ordinary account: nothing is lost.
func TestWithoutTheHomeserversConsentTheBotIsAnOrdinaryAccount(t *testing.T) {
	for _, when := range []string{"from the start", "meanwhile"} {
		t.Run(when, func(t *testing.T) {
			h := newHomeserver(t)
			acc := newAccount(t, h)
			token := registered(t, acc)
			calls := asked(h, token, when == "from the start")
			a, in := acc.open(), newInbox()
			h.push(settled())
			acc.run(a, in)
			if when == "meanwhile" {
				if _, err := a.Send(t.Context(), bot.Outgoing{ID: "x-0", Room: roomID, Kind: bot.OutMessage, Text: "before"}); err != nil {
					t.Fatal(err)
				}
				calls = asked(h, token, true)
			}
			for _, id := range []string{"x-1", "x-2"} {
				if _, err := a.Send(t.Context(), bot.Outgoing{ID: id, Room: roomID, Kind: bot.OutMessage, Text: "alert"}); err != nil {
					t.Fatal(err)
				}
			}
			got := calls()
			if sent := slices.DeleteFunc(got, func(c string) bool { return !strings.HasSuffix(c, "/send/") || c == "service /send/" }); len(sent) != 2 {
				t.Errorf("calls %v, want two messages of the device", calls())
			}
			if n := strings.Count(acc.log.String(), "application service"); n != 1 {
				t.Errorf("the log says it %d times:\n%s", n, acc.log.String())
			}
			acc.checkLog()
		})
	}
}

func TestARegistrationNeedsAWholeAddress(t *testing.T) {
	for _, user := range []string{"", "starling", "@Starling:example.org", "@star ling:example.org"} {
		if _, _, err := WriteRegistration(t.TempDir(), user); err == nil {
			t.Errorf("%q was taken", user)
		}
	}
}

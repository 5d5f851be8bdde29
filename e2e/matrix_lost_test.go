package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"starling/e2e/lab"
)

const botPassword = "starling-password"

// The bot's account is logged out elsewhere, its device deleted, its database lost: each time the bot ends with a sentence that says what
// to do, and after that has been done it is the same bot in the same rooms, with one device that its identity has signed.
func TestABotThatLostItsLoginComesBack(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	bot := lab.StartStarling(t, server, ":"+lab.ServerName)
	ana, luc := humans.Join(t, "ana", lab.Options{}), humans.Join(t, "luc", lab.Options{OnlySigned: true})
	room := ana.CreateRoom(lab.Room{Name: "Barcelona", Invite: []string{luc.ID, bot.ID}})
	luc.Join(room)
	ana.WaitMember(room, luc.ID, "join")
	ana.WaitMember(room, bot.ID, "join")
	ana.Wait(lab.Want{Room: room, From: bot.ID})
	for _, setting := range []string{"/room language en", "/room name Barcelona"} {
		ana.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: ana.Say(room, setting)})
	}
	state := filepath.Join(bot.Dir, "var")
	keyFile := filepath.Join(state, "matrix-recovery-key.txt")
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(keyFile); err != nil { // it is kept elsewhere, as people are told
		t.Fatal(err)
	}
	recovery := strings.TrimSpace(string(key)) + "\n"

	ends := func(t *testing.T, remedies ...string) {
		t.Helper()
		code, last := bot.WaitEnd(t)
		if code != 78 {
			t.Errorf("the bot ends with exit code %d, want 78", code)
		}
		for _, remedy := range remedies {
			if !strings.Contains(last, remedy) {
				t.Errorf("the bot's last words do not name %q: %s", remedy, last)
			}
		}
	}
	login := func(t *testing.T, input string, flags ...string) (string, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), lab.Patience)
		defer cancel()
		return bot.Command(ctx, input, append([]string{"matrix", "login"}, flags...)...)
	}
	// back runs the bot and looks at it as people do.
	back := func(t *testing.T) {
		t.Helper()
		ana, luc := ana.In(t), luc.In(t)
		mark := ana.Mark()
		if err := bot.Start(); err != nil {
			t.Fatal(err)
		}
		bot.WaitConnected(t) // what is said before its new device has come is not for it
		answer := ana.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: ana.Say(room, "/room")})
		if !strings.Contains(answer.Body, "Barcelona") || !answer.Encrypted || answer.Shield != "none" {
			t.Errorf("ana is answered %s", answer)
		}
		if m := luc.Wait(lab.Want{Room: room, ID: answer.ID}); m.Shield != "none" {
			t.Errorf("luc reads %s", m)
		}
		second := luc.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: luc.Say(room, "/room")})
		if !strings.Contains(second.Body, "Barcelona") {
			t.Errorf("luc is answered %s", second)
		}
		bot.WaitIdle(t)
		ana.Wait(lab.Want{Room: room, ID: second.ID})
		if said := ana.Did(room, bot.ID, mark); len(said) != 2 {
			t.Errorf("besides its two answers the bot has said: %v", said)
		}
		for _, who := range []*lab.Person{ana, luc} {
			if trust := who.Trust(bot.ID); !trust.Identity || len(trust.Devices) != 1 || !trust.Devices[0].Signed {
				t.Errorf("%s sees of the bot's devices %+v, want one, signed", who.Name, trust)
			}
		}
	}

	t.Run("its account is logged out elsewhere", func(t *testing.T) {
		other := elsewhere(t, server, bot.ID, botPassword)
		other.do(http.MethodPost, "logout/all", map[string]any{}, http.StatusOK)
		ends(t, "logged out", "starling matrix login", "recovery key")
		if out, err := login(t, botPassword+"\n"+recovery); err != nil {
			t.Fatal(err, out)
		}
		back(t)
	})

	t.Run("its device is deleted", func(t *testing.T) {
		elsewhere(t, server, bot.ID, botPassword).deleteDevices()
		ends(t, "device was deleted", "starling matrix login", "recovery key")
		if out, err := login(t, botPassword+"\n"+recovery); err != nil {
			t.Fatal(err, out)
		}
		back(t)
	})

	lose := func(t *testing.T) {
		t.Helper()
		if err := bot.Stop(); err != nil {
			t.Fatal(err)
		}
		lost, err := filepath.Glob(filepath.Join(state, "crypto.*"))
		if err != nil || len(lost) < 2 {
			t.Fatalf("there are %v: %v", lost, err)
		}
		for _, file := range lost {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		if err := bot.Start(); err == nil {
			t.Fatal("the bot starts without its database")
		}
		ends(t, "starling matrix login", "recovery key")
	}

	t.Run("its database is lost", func(t *testing.T) {
		lose(t)
		if out, err := login(t, botPassword+"\n"+recovery); err != nil || !strings.Contains(out, "The device that it had before is gone") {
			t.Fatal(err, out)
		}
		back(t)
	})

	for _, file := range []string{"crypto.db", "crypto.key"} {
		t.Run(file+" is damaged", func(t *testing.T) {
			if err := bot.Stop(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(state, file), []byte("not what it was"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := bot.Start(); err == nil {
				t.Fatal("the bot starts with a damaged file")
			}
			ends(t, "starling matrix login --new-device", "recovery key")
			if out, err := login(t, botPassword+"\n"+recovery, "--new-device"); err != nil {
				t.Fatal(err, out)
			}
			back(t)
		})
	}

	t.Run("its database and its recovery key are lost", func(t *testing.T) {
		lose(t)
		out, err := login(t, botPassword+"\n\n")
		if err == nil {
			t.Fatalf("without its recovery key the bot is logged in: %s", out)
		}
		for _, said := range []string{"recovery key", "starling matrix login --reset-identity", "people will see that it changed"} {
			if !strings.Contains(out, said) {
				t.Errorf("that the recovery key is lost is not said plainly (%q): %s", said, out)
			}
		}
		if out, err := login(t, botPassword+"\n", "--reset-identity"); err != nil {
			t.Fatal(err, out)
		}
		if newKey, err := os.ReadFile(keyFile); err != nil || bytes.Equal(newKey, key) {
			t.Errorf("there is no new recovery key: %v", err)
		}
		back(t)
	})
}

// Where only its token has ended (soft_logout), the bot's device goes on: neither a recovery key nor a new device is needed.
func TestABotWhoseTokenEndedKeepsItsDevice(t *testing.T) {
	server := lab.StartDendrite(t)
	humans := lab.StartHumans(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), 2*lab.Patience)
	defer cancel()
	id, err := server.Register(ctx, "starling", botPassword)
	if err != nil {
		t.Fatal(err)
	}
	address, end := endsTokens(t, server.URL)
	bot, err := lab.NewStarling(ctx, t.TempDir(), lab.BotConfig{URL: address, User: id, Password: botPassword, Invite: []string{":" + lab.ServerName}})
	if err != nil {
		t.Fatal(err)
	}
	bot.Run(t)
	ana := humans.Join(t, "ana", lab.Options{OnlySigned: true})
	room := ana.CreateRoom(lab.Room{Name: "Barcelona", Invite: []string{bot.ID}})
	ana.WaitMember(room, bot.ID, "join")
	ana.Wait(lab.Want{Room: room, From: bot.ID})
	before := ana.Trust(bot.ID)
	end()
	ana.Say(room, "its long poll ends") // and the next one meets the end of the token
	if code, last := bot.WaitEnd(t); code != 78 || !strings.Contains(last, "starling matrix login") {
		t.Errorf("the bot ends with exit code %d and %q", code, last)
	}
	if err := os.Remove(filepath.Join(bot.Dir, "var", "matrix-recovery-key.txt")); err != nil {
		t.Fatal(err)
	}
	meanwhile := ana.Say(room, "/starling")
	if out, err := bot.Command(ctx, botPassword+"\n", "matrix", "login"); err != nil {
		t.Fatal(err, out)
	}
	if err := bot.Start(); err != nil {
		t.Fatal(err)
	}
	if m := ana.Wait(lab.Want{Room: room, From: bot.ID, ReplyTo: meanwhile}); m.Shield != "none" {
		t.Errorf("what she asked meanwhile is answered by %s", m)
	}
	after := ana.Trust(bot.ID)
	if len(before.Devices) != 1 || len(after.Devices) != 1 || after.Devices[0] != before.Devices[0] {
		t.Errorf("the bot's devices were %+v and are %+v", before, after)
	}
}

// endsTokens stands before a homeserver. When end is called, the tokens that were used until then have ended.
func endsTokens(t *testing.T, behind string) (address string, end func()) {
	t.Helper()
	to, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	ended := map[string]bool{} // false: in use
	through := httputil.NewSingleHostReverseProxy(to)
	through.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {} // who asked is gone
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("Authorization")
		mu.Lock()
		over := ended[token]
		if token != "" {
			ended[token] = over
		}
		mu.Unlock()
		if over {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errcode":"M_UNKNOWN_TOKEN","soft_logout":true}`)
			return
		}
		through.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() {
		mu.Lock()
		defer mu.Unlock()
		for token := range ended {
			ended[token] = true
		}
	}
}

// session is an account, logged in with a client of the test's own.
type session struct {
	t              *testing.T
	base           string
	user, password string
	token, device  string
}

func elsewhere(t *testing.T, server *lab.Dendrite, user, password string) *session {
	t.Helper()
	s := &session{t: t, base: server.URL, user: user, password: password}
	var got struct {
		AccessToken string `json:"access_token"`
		DeviceID    string `json:"device_id"`
	}
	data := s.do(http.MethodPost, "login", s.confirm(""), http.StatusOK)
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	s.token, s.device = got.AccessToken, got.DeviceID
	return s
}

func (s *session) confirm(uia string) map[string]any {
	content := map[string]any{
		"type": "m.login.password", "identifier": map[string]any{"type": "m.id.user", "user": s.user}, "user": s.user, "password": s.password,
	}
	if uia != "" {
		content["session"] = uia
	}
	return content
}

// deleteDevices ends all of the account's devices, this one last.
func (s *session) deleteDevices() {
	s.t.Helper()
	var all struct {
		Devices []struct {
			DeviceID string `json:"device_id"`
		}
	}
	if err := json.Unmarshal(s.do(http.MethodGet, "devices", nil, http.StatusOK), &all); err != nil {
		s.t.Fatal(err)
	}
	for _, d := range all.Devices {
		if d.DeviceID == s.device {
			continue
		}
		var uia struct{ Session string }
		if err := json.Unmarshal(s.do(http.MethodDelete, "devices/"+d.DeviceID, map[string]any{}, http.StatusUnauthorized), &uia); err != nil {
			s.t.Fatal(err)
		}
		s.do(http.MethodDelete, "devices/"+d.DeviceID, map[string]any{"auth": s.confirm(uia.Session)}, http.StatusOK)
	}
	s.do(http.MethodPost, "logout", map[string]any{}, http.StatusOK)
}

// do makes a request and wants a status.
func (s *session) do(method, path string, content any, status int) []byte {
	s.t.Helper()
	data, err := json.Marshal(content)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, fmt.Sprintf("%s/_matrix/client/v3/%s", s.base, path), bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status {
		s.t.Fatalf("%s %s: %s %s %v", method, path, res.Status, answer, err)
	}
	return answer
}

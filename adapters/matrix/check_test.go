package matrix

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"starling/bot"
)

func TestTheDoctorCallsADeviceLostOnlyWhereTheHomeserverSaysSo(t *testing.T) {
	const unanswered = "did not say which devices"
	for answer, want := range map[string]string{
		`{}`:                                   unanswered,
		`{"device_keys":{}}`:                   unanswered,
		`{"device_keys":{"` + ana + `":{}}}`:   unanswered,
		`{"device_keys":{"` + botID + `":{}}}`: ErrDeviceLost.Error(),
	} {
		h := newHomeserver(t)
		acc := newAccount(t, h)
		h.fail(200, answer, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/keys/query") })
		var wrong []bot.Finding
		for _, f := range Check(t.Context(), acc.cfg, false) {
			if f.Level == bot.LevelWrong {
				wrong = append(wrong, f)
			}
		}
		if len(wrong) != 1 || !strings.Contains(wrong[0].Text, want) || wrong[0].Remedy == "" {
			t.Errorf("%s: the doctor says %+v, want %q with a remedy", answer, wrong, want)
		}
	}
}

// Each thing that can be wrong with a Matrix account is found, and comes with what to do about it.
func TestTheDoctorFindsWhatIsWrongWithTheAccount(t *testing.T) {
	dated := func(off time.Duration) func(*homeserver, *account) {
		return func(h *homeserver, _ *account) {
			h.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
				return false
			}
		}
	}
	answers := func(path string, code int, body string) func(*homeserver, *account) {
		return func(h *homeserver, _ *account) {
			h.fail(code, body, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, path) })
		}
	}
	for name, c := range map[string]struct {
		ill  func(*homeserver, *account)
		want bot.Level
		text string
	}{
		"nobody logged in":        {func(_ *homeserver, acc *account) { acc.cfg.StateDir = t.TempDir() }, bot.LevelWrong, "no Matrix login"},
		"another account":         {func(_ *homeserver, acc *account) { acc.cfg.UserID = "@another:example.org" }, bot.LevelWrong, "names another account"},
		"no homeserver":           {func(h *homeserver, _ *account) { h.Close() }, bot.LevelWrong, "cannot be reached"},
		"no Matrix there":         {answers("/versions", 200, "<html>It works</html>"), bot.LevelWrong, "something that is not Matrix"},
		"a clock that is slow":    {dated(20 * time.Second), bot.LevelWarning, "differ by 20s"},
		"a clock that is wrong":   {dated(-2 * time.Hour), bot.LevelWrong, "differ by 2h0m"},
		"logged out":              {answers("/whoami", 401, `{"errcode":"M_UNKNOWN_TOKEN"}`), bot.LevelWrong, ErrLoggedOut.Error()},
		"a homeserver in trouble": {answers("/whoami", 500, `{}`), bot.LevelWrong, "cannot be tried"},
		"an unsigned device":      {answers("/keys/query", 200, `{"device_keys":{"`+botID+`":{"DEV":{"user_id":"`+botID+`","device_id":"DEV","keys":{"ed25519:DEV":"k"}}}}}`), bot.LevelWrong, "is not signed"},
		"a recovery key left about": {func(_ *homeserver, acc *account) {
			if err := os.WriteFile(filepath.Join(acc.dir, recoveryFile), []byte("EsTK"), 0o600); err != nil {
				t.Error(err)
			}
		}, bot.LevelWarning, "recovery key still lies"},
		"limits never measured": {func(*homeserver, *account) {}, bot.LevelWarning, "was not measured"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHomeserver(t)
			acc := newAccount(t, h)
			c.ill(h, acc)
			found := Check(t.Context(), acc.cfg, false)
			if !slices.ContainsFunc(found, func(f bot.Finding) bool {
				return f.Level == c.want && strings.Contains(f.Text, c.text) && f.Remedy != ""
			}) {
				t.Errorf("the doctor finds %+v, want %q with a remedy", found, c.text)
			}
		})
	}
}

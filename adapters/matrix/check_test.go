package matrix

import (
	"net/http"
	"strings"
	"testing"

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

package bot_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
)

// TestWhatMayStillHaveAnEffect says, for each effect, what a message may have that is late, comes from an unsigned device, or from
// somebody who is not in the room.
func TestWhatMayStillHaveAnEffect(t *testing.T) {
	h := live(t)
	h.advance(24 * time.Hour)
	says := func(message, person string, age time.Duration, trust bot.Trust) []string {
		before := len(h.texts("!room"))
		h.deliver(bot.Incoming{Room: "!room", Person: "@" + person, Kind: bot.KindText, ID: message, Text: "/do it", Encrypted: true, Trust: trust, Sent: h.clock.Now().Add(-age)})
		return h.texts("!room")[before:]
	}
	for name, c := range map[string]struct {
		effect bot.Effect
		person string
		age    time.Duration
		trust  bot.Trust
		want   string
	}{
		"asking, late, from any device":    {bot.Shows, "ana", time.Hour, bot.TrustUnsigned, "done"},
		"asking by who is gone":            {bot.Shows, "nobody", 0, bot.TrustSigned, "done"},
		"changing, late":                   {bot.Changes, "ana", time.Hour, bot.TrustSigned, "done"},
		"changing, device not known":       {bot.Changes, "ana", 0, bot.TrustUnknown, "done"},
		"changing from an unsigned device": {bot.Changes, "ana", 0, bot.TrustUnsigned, "has not proved that this device is yours"},
		"changing by who is gone":          {bot.Changes, "nobody", 0, bot.TrustSigned, "Only people who are in this room"},
		"sending in time":                  {bot.Sends, "ana", 10 * time.Minute, bot.TrustSigned, "done"},
		"sending late":                     {bot.Sends, "ana", 10*time.Minute + time.Second, bot.TrustSigned, "reached me late"},
		"sending, sent in the future":      {bot.Sends, "ana", -time.Hour, bot.TrustSigned, "done"},
		"sending, sent at no time":         {bot.Sends, "ana", 50 * 365 * 24 * time.Hour, bot.TrustSigned, "reached me late"},
		"sending from an unsigned device":  {bot.Sends, "ana", 0, bot.TrustUnsigned, "has not proved that this device is yours"},
		"sending by who is gone":           {bot.Sends, "nobody", time.Hour, bot.TrustSigned, "Only people who are in this room"},
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			h.on("it", func(t *bot.Turn) error {
				if err := t.May(c.effect); err != nil {
					return err
				}
				return t.Done(Said{"done"})
			})
			got := says("$"+name, c.person, c.age, c.trust)
			if len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("says %q, want %s", got, c.want)
			}
		})
	}
}

// TestAWrongClockAsksOnce: where every message looks half an hour old, a yes to "still so?" is a yes.
func TestAWrongClockAsksOnce(t *testing.T) {
	h := live(t)
	h.advance(24 * time.Hour)
	h.on("it", func(t *bot.Turn) error {
		if err := t.May(bot.Sends); err != nil {
			return err
		}
		return t.Done(Said{"done"})
	})
	late := func() time.Time { return h.clock.Now().Add(-30 * time.Minute) }
	h.said(rig.Said{Room: "!room", Person: "@ana", Text: "/do it", Sent: late()})
	asked := h.last("!room")
	h.said(rig.Said{Room: "!room", Person: "@ana", Text: "yes", ReplyTo: asked.ID, Thread: asked.Thread, Sent: late()})
	if got := h.texts("!room"); !slices.Contains(got, "done") || len(got) != 2 {
		t.Errorf("the bot says %q", got)
	}
	// A yes that does come late is asked for once more, and then counts.
	h.said(rig.Said{Room: "!room", Person: "@ana", Text: "/do it", Sent: late()})
	asked = h.last("!room")
	h.advance(11 * time.Minute)
	for range 2 {
		h.advance(time.Minute)
		h.said(rig.Said{Room: "!room", Person: "@ana", Text: "yes", ReplyTo: asked.ID, Thread: asked.Thread, Sent: late()})
		asked = h.last("!room")
	}
	if got := h.texts("!room")[2:]; len(got) != 3 || !strings.Contains(got[1], "Your yes reached me late") || got[2] != "done" {
		t.Errorf("the bot says %q", got)
	}
}
